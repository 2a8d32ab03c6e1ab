"""Video files and the system's cameras (USB, by V4L2), read by OpenCV."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cardrec.errors import DeviceError, DeviceTimeout, InputError

if TYPE_CHECKING:
    import cv2

__all__ = ["Camera", "Video"]

_log = logging.getLogger("cardrec")

_FAILED_READS = 3
"""In a row, until a camera counts as lost: one or two can be frames that were damaged on their way."""

_SILENT_S = 5.0
"""A failed read that took longer was no damaged frame: OpenCV waits ten seconds for a camera."""

_MISSING = 0.05  # of a video's frames; the number that its header gives is an estimate in most containers


class Video:
    """A video file, as fast as it is read.

    Raises:
        InputError: nothing in it can be decoded.
    """

    live = False

    def __init__(self, path: Path) -> None:
        import cv2

        with _quiet():
            # An absolute path is never taken for an address, such as "concat:a.avi".
            self._capture = cv2.VideoCapture(str(path.absolute()))
        self._path = path
        self.time_s = 0.0
        self._given = 0
        self._first = self._decoded()
        if self._first is None:
            self._capture.release()
            remedy = f"try `ffmpeg -i {path.name} video.mp4`, which says what is wrong with it or converts it"
            raise InputError(
                f"{path}: no frame can be decoded; it is damaged, no video, or of an unknown kind: {remedy}"
            )

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame, (H, W, 3) BGR; None at the end, also where what follows is damaged, which is logged."""
        frame, self._first = (self._first, None) if self._first is not None else (self._decoded(), None)
        if frame is None:
            self._warn_if_short()
        return frame

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()

    def _decoded(self) -> NDArray[np.uint8] | None:
        import cv2

        got, frame = self._capture.read()
        if not got:
            return None
        self._given += 1
        # Below 0 and NaN come from files without times.
        self.time_s = max(0.0, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
        return np.asarray(frame, np.uint8)

    def _warn_if_short(self) -> None:
        import cv2

        announced = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if announced - self._given > max(1.0, _MISSING * announced):
            _log.warning("%s ends after %d of %d frames; the rest is damaged", self._path, self._given, announced)


class Camera:
    """A camera of the system.

    Args:
        device: its number or path.
        size_wh: width and height in pixels to ask for.
        frames_per_second: to ask for; None is the camera's choice.

    Raises:
        InputError: it can't be opened, or gives no frame.
    """

    live = True

    def __init__(self, device: int | str, size_wh: tuple[int, int], frames_per_second: float | None) -> None:
        import cv2

        self._path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
        self.name = str(self._path)
        self.time_s = 0.0
        with _quiet():
            self._capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self._capture.release()
            raise InputError(f"the camera {self.name} can't be opened: {_why(self._path)}")
        _ask(self._capture, size_wh, frames_per_second)
        self._opened = time.monotonic()
        self._frames = 0
        try:
            self.read()  # what gives no frames is told now; the first ones are badly exposed anyhow
        except BaseException:
            self._capture.release()
            raise

    def read(self) -> NDArray[np.uint8]:
        """The next frame, (H, W, 3) BGR, in memory of its own.

        Raises:
            DeviceError: the camera is gone.
            DeviceTimeout: it gives no frames any more.
        """
        for _ in range(_FAILED_READS):
            begun = time.monotonic()
            got, frame = self._capture.read()
            if got:
                self.time_s = time.monotonic() - self._opened
                self._frames += 1
                return np.asarray(frame, np.uint8)
            if not self._path.exists() or time.monotonic() - begun > _SILENT_S:
                break
        raise self._lost()

    def close(self) -> None:
        """Lets go of the camera."""
        self._capture.release()

    def _lost(self) -> InputError | DeviceError:
        """What to say of a camera that gives nothing."""
        if not self._frames:
            own = "the Raspberry Pi's own camera is `picamera2`"
            return InputError(f"the camera {self.name} opens, but gives no frames; try another of its numbers; {own}")
        if not self._path.exists():
            return DeviceError(f"the camera {self.name} is gone: was it unplugged?")
        return DeviceTimeout(f"the camera {self.name} gives no frames any more: unplug it and plug it in again")


def _ask(capture: cv2.VideoCapture, size_wh: tuple[int, int], frames_per_second: float | None) -> None:
    """Asks for a format; what the camera lacks it ignores."""
    import cv2

    # First the compressed format: uncompressed, USB 2 carries 1280x720 ten times a second.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, size_wh[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size_wh[1])
    if frames_per_second is not None:
        capture.set(cv2.CAP_PROP_FPS, frames_per_second)


def _why(path: Path) -> str:
    """What may keep a camera from opening, with the remedy."""
    if not path.exists():
        there = ", ".join(sorted(str(each) for each in Path("/dev").glob("video*")))
        return f"there is no {path} ({f'there are {there}' if there else 'no camera is plugged in'})"
    if not os.access(path, os.R_OK | os.W_OK):
        return "you may not read it: `sudo usermod -aG video $USER`, then log in anew"
    return "another program may use it, or it is no camera; the Raspberry Pi's own camera is `picamera2`"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what OpenCV tries in vain off stderr; our own errors say it."""
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
