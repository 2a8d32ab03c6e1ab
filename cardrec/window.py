"""A window with the live picture: OpenCV's own, or Tk's where this OpenCV has none (opencv-python-headless)."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Protocol

from cardrec.errors import DeviceUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Window", "open_window"]

_QUIT_KEYS = (ord("q"), ord("Q"), 27)
_SCREEN_SHARE = 0.9  # of the screen's sides at most: panels and the title need the rest
_PROBE = "import cv2; cv2.namedWindow('cardrec'); cv2.waitKey(1)"
_PROBE_TIMEOUT_S = 20.0  # an import of OpenCV from a slow memory card


class Window(Protocol):
    """Shows one picture after the other."""

    def show(self, picture_bgr: NDArray[np.uint8]) -> bool:
        """Shows an (H, W, 3) picture; False when the user has closed the window, or pressed q or Escape."""

    def close(self) -> None:
        """Closes the window; further calls do nothing."""


def open_window(title: str) -> Window:
    """Opens a window on the display. It belongs to the thread that opened it.

    Raises:
        DeviceUnavailable: there is no display, or nothing to open a window with; says the remedy.
    """
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise DeviceUnavailable(
            "there is no display for a window (DISPLAY is not set): call it from the desktop or by `ssh -X`, or "
            "leave the window out (--no-window)"
        )
    if _opencv_has_windows():
        return _OpenCvWindow(title)
    try:
        return _TkWindow(title)
    except ImportError as error:
        raise DeviceUnavailable(
            f"there is nothing to open a window with: this OpenCV has no windows, and Tk can't be imported ({error}): "
            "`sudo apt install python3-tk python3-pil.imagetk`"
        ) from None


def _opencv_has_windows() -> bool:
    """Whether OpenCV can open one, tried in a process of its own: Qt ends the process where the display is gone."""
    import cv2

    if not cv2.currentUIFramework():
        return False
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, check=False, timeout=_PROBE_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


class _OpenCvWindow:
    """A window of OpenCV's highgui."""

    def __init__(self, title: str) -> None:
        import cv2

        self._title = title
        self._open = True
        self._sized = False
        # GUI_NORMAL: without Qt's row of buttons.
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)

    def show(self, picture_bgr: NDArray[np.uint8]) -> bool:
        import cv2

        if not self._open:
            return False
        if not self._sized:
            cv2.resizeWindow(self._title, picture_bgr.shape[1], picture_bgr.shape[0])
            self._sized = True
        cv2.imshow(self._title, picture_bgr)
        # Here the window's events are handled; imshow would open one anew that the user has closed.
        pressed = cv2.waitKey(1) & 0xFF
        self._open = pressed not in _QUIT_KEYS and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        return self._open

    def close(self) -> None:
        import cv2

        self._open = False
        cv2.destroyAllWindows()


class _TkWindow:
    """A window of Tk."""

    def __init__(self, title: str) -> None:
        import tkinter as tk

        from PIL import ImageTk

        try:
            root = tk.Tk(className="cardrec")
        except tk.TclError as error:
            raise DeviceUnavailable(f"the display can't be used ({error}): is it yours, and is it there?") from None
        root.title(title)
        self._photo_of: Any = ImageTk.PhotoImage
        self._photo: Any = None
        self._label = tk.Label(root, borderwidth=0)
        self._label.pack()
        self._root: tk.Tk | None = root
        self._open = True
        root.protocol("WM_DELETE_WINDOW", self._end)
        for key in ("q", "Q", "<Escape>"):
            root.bind(key, self._end)

    def show(self, picture_bgr: NDArray[np.uint8]) -> bool:
        from PIL import Image

        if self._root is None:
            return False
        limit_wh = self._root.winfo_screenwidth() * _SCREEN_SHARE, self._root.winfo_screenheight() * _SCREEN_SHARE
        picture = Image.fromarray(_shrunk(picture_bgr, limit_wh)[:, :, ::-1])
        if self._photo is not None and (self._photo.width(), self._photo.height()) == picture.size:
            self._photo.paste(picture)
        else:
            self._photo = self._photo_of(picture, master=self._root)
            self._label.configure(image=self._photo)
        self._root.update()
        return self._open

    def close(self) -> None:
        if self._root is None:
            return
        self._root.destroy()
        # Tk ends the process when another thread frees its objects, as the collector would some time.
        self._root = self._label = self._photo = None  # type: ignore[assignment]
        gc.collect()

    def _end(self, _event: object = None) -> None:
        self._open = False


def _shrunk(picture: NDArray[np.uint8], limit_wh: tuple[float, float]) -> NDArray[np.uint8]:
    """The picture, made smaller where the screen is."""
    import cv2
    import numpy as np

    height, width = picture.shape[:2]
    scale = min(1.0, limit_wh[0] / width, limit_wh[1] / height)
    if scale == 1.0:
        return picture
    size = max(1, int(width * scale)), max(1, int(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
