"""The window, without a display: toolkits are stand-ins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageTk

from cardrec.errors import DeviceUnavailable
from cardrec.window import open_window

PICTURE = np.zeros((72, 128, 3), np.uint8)
PICTURE[:, :, 0] = 200  # blue


class FakeTk:
    """Tk: keeps what is shown, and presses keys."""

    def __init__(self, **_: object) -> None:
        self.bound: dict[str, Callable[..., None]] = {}
        self.updates = self.destroyed = 0
        self.shown: Any = None
        FakeTk.opened = self

    opened: FakeTk

    def title(self, title: str) -> None:
        self.name = title

    def protocol(self, name: str, handler: Callable[..., None]) -> None:
        self.bound[name] = handler

    def bind(self, key: str, handler: Callable[..., None]) -> None:
        self.bound[key] = handler

    def winfo_screenwidth(self) -> int:
        return 400

    def winfo_screenheight(self) -> int:
        return 300

    def update(self) -> None:
        assert not self.destroyed
        self.updates += 1

    def destroy(self) -> None:
        self.destroyed += 1


class FakePhoto:
    """A picture that Tk shows."""

    def __init__(self, picture: Image.Image, *, master: FakeTk) -> None:
        master.shown = self
        self.picture = picture
        self.pasted = 0

    def width(self) -> int:
        return self.picture.width

    def height(self) -> int:
        return self.picture.height

    def paste(self, picture: Image.Image) -> None:
        self.picture = picture
        self.pasted += 1


def fake_label(_root: FakeTk, **_: object) -> SimpleNamespace:
    return SimpleNamespace(pack=lambda: None, configure=lambda **_: None)


@pytest.fixture
def tk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A display, an OpenCV without windows, and Tk."""
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    library = SimpleNamespace(Tk=FakeTk, Label=fake_label, TclError=type("TclError", (Exception,), {}))
    monkeypatch.setitem(sys.modules, "tkinter", library)
    monkeypatch.setattr(ImageTk, "PhotoImage", FakePhoto)
    return library


def test_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("WAYLAND_DISPLAY", "")
    with pytest.raises(DeviceUnavailable, match=r"no display .*ssh -X.*--no-window"):
        open_window("cards")


def test_tk_shows_pictures(tk: SimpleNamespace) -> None:
    window = open_window("cards")
    assert FakeTk.opened.name == "cards"
    assert window.show(PICTURE)
    photo = FakeTk.opened.shown
    assert photo.picture.size == (128, 72)
    assert photo.picture.getpixel((5, 5)) == (0, 0, 200), "Tk takes RGB"
    assert window.show(PICTURE[:, ::-1])
    assert (FakeTk.opened.shown, photo.pasted, FakeTk.opened.updates) == (photo, 1, 2)
    window.close()
    window.close()
    assert FakeTk.opened.destroyed == 1
    assert not window.show(PICTURE)


def test_tk_shows_a_large_picture_smaller(tk: SimpleNamespace) -> None:
    window = open_window("cards")
    window.show(np.zeros((1080, 1920, 3), np.uint8))
    assert FakeTk.opened.shown.picture.size == (360, 202)
    window.show(np.zeros((1920, 1080, 3), np.uint8))
    assert FakeTk.opened.shown.picture.size == (151, 270)


@pytest.mark.parametrize("event", ["q", "Q", "<Escape>", "WM_DELETE_WINDOW"])
def test_tk_ends(tk: SimpleNamespace, event: str) -> None:
    window = open_window("cards")
    assert window.show(PICTURE)
    FakeTk.opened.bound[event](*([] if event == "WM_DELETE_WINDOW" else ["event"]))
    assert not window.show(PICTURE)
    window.close()


def test_a_display_that_is_not_there(tk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise tk.TclError('couldn\'t connect to display ":99"')

    monkeypatch.setattr(tk, "Tk", fail)
    with pytest.raises(DeviceUnavailable, match="couldn't connect"):
        open_window("cards")


def test_without_any_toolkit(tk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(DeviceUnavailable, match=r"apt install python3-tk python3-pil\.imagetk"):
        open_window("cards")


class FakeHighgui:
    """OpenCV's windows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.key, self.visible = -1, 1.0
        self.shown: list[tuple[str, Any]] = []
        self.sizes: list[tuple[int, int]] = []
        self.destroyed = 0
        monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT5")
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "resizeWindow", lambda _, width, height: self.sizes.append((width, height)))
        monkeypatch.setattr(cv2, "imshow", lambda title, picture: self.shown.append((title, picture)))
        monkeypatch.setattr(cv2, "waitKey", lambda _: self.key)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: self.visible)
        monkeypatch.setattr(cv2, "destroyAllWindows", self.destroy)

    def destroy(self) -> None:
        self.destroyed += 1


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch, tk: SimpleNamespace) -> SimpleNamespace:
    """What becomes of the process in which OpenCV's windows are tried."""
    outcome = SimpleNamespace(returncode=0, error=None)

    def run(*_: object, timeout: float, **__: object) -> SimpleNamespace:
        assert 0 < timeout <= 60
        if outcome.error:
            raise outcome.error
        return outcome

    monkeypatch.setattr(subprocess, "run", run)
    return outcome


def test_opencv_shows_pictures(probe: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    highgui = FakeHighgui(monkeypatch)
    window = open_window("cards")
    assert window.show(PICTURE)
    assert window.show(PICTURE)
    assert [title for title, _ in highgui.shown] == ["cards", "cards"]
    assert highgui.sizes == [(128, 72)], "once: then the user's"
    window.close()
    assert highgui.destroyed == 1
    assert not window.show(PICTURE)


@pytest.mark.parametrize(
    ("key", "visible"), [(ord("q"), 1.0), (27, 1.0), (0x100000 + ord("Q"), 1.0), (-1, 0.0), (-1, -1.0)]
)
def test_opencv_ends(probe: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, key: int, visible: float) -> None:
    highgui = FakeHighgui(monkeypatch)
    window = open_window("cards")
    assert window.show(PICTURE)
    highgui.key, highgui.visible = key, visible
    assert not window.show(PICTURE)
    assert not window.show(PICTURE)
    assert len(highgui.shown) == 2, "imshow would open the window anew"


@pytest.mark.parametrize("error", [None, subprocess.TimeoutExpired("python", 20), OSError("no memory")])
def test_tk_where_opencv_ends_the_process(
    probe: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    FakeHighgui(monkeypatch)
    probe.returncode, probe.error = -6, error  # Qt aborts where it finds no display
    window = open_window("cards")
    window.show(PICTURE)
    assert FakeTk.opened.updates == 1
