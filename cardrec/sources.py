"""Where the frames of a stream come from: a video file, a camera of the system, the Raspberry Pi's own camera."""

from __future__ import annotations

import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from cardrec.errors import InputError
from cardrec.types import Color, ImageLike

if TYPE_CHECKING:
    from cardrec.stream import Lease

__all__ = ["CAMERA_SIZE_WH", "Reader", "Source", "open_source"]

CAMERA_SIZE_WH = (1280, 720)
"""What cameras are asked for: the card in such a frame has about the pixels that the encoder takes."""

_SOURCES = "a video file, a camera's number (0), its path (/dev/video0), or picamera2"
_LARGEST_SIDE = 16_384  # pixels; above every camera, and below what a driver's 32-bit products overflow at
_FASTEST = 1_000.0  # frames per second
_HEAD_BYTES = 4096


class Reader(Protocol):
    """What a kind of source has to do; only ever called by one thread at a time."""

    live: bool
    time_s: float

    def read(self) -> ImageLike | Lease | None:
        """The next frame; None where there is no other."""

    def close(self) -> None:
        """Lets go of the file or camera; called once."""


class Source(Iterator["ImageLike | Lease"]):
    """The frames of one video or camera, each once, in order: what `Recognizer.stream` takes. A context manager.

    Close the stream that reads it first: a `Lease` is the camera's own memory.

    Attributes:
        name: the file or camera, for people.
        live: whether it is a camera, which goes on while frames wait: old ones may be dropped.
        color: what its arrays hold, for ``Recognizer(color=...)``.
    """

    def __init__(self, name: str, reader: Reader, color: Color = "bgr") -> None:
        self.name = name
        self.live = reader.live
        self.color: Color = color
        self._reader = reader
        self._closing = self._closed = False
        # A camera that is closed while another thread reads from it crashes in OpenCV.
        self._lock = threading.Lock()

    @property
    def time_s(self) -> float:
        """When the frame that was given last was taken: seconds into the video, or since the camera was opened."""
        return self._reader.time_s

    def __next__(self) -> ImageLike | Lease:
        """The next frame; no other after `close`.

        Raises:
            DeviceError: the camera was unplugged.
            DeviceTimeout: the camera gives no frames any more.
        """
        with self._lock:
            frame = None if self._closing else self._reader.read()
        if frame is None:
            raise StopIteration
        return frame

    def close(self) -> None:
        """Lets go of the file or camera, after the frame that is being read; further calls do nothing."""
        self._closing = True  # without the lock, which a thread that reads on and on would hardly leave to this one
        with self._lock:
            if not self._closed:
                self._closed = True
                self._reader.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(
    source: str | int | Path,
    *,
    size_wh: tuple[int, int] | None = None,
    frames_per_second: float | None = None,
    in_flight: int = 3,
) -> Source:
    """Opens a video file or a camera.

    Args:
        source: a video file; a camera of the system by its number (``0`` or ``"0"``; a file of this name is ``./0``) or
            path (``/dev/video0``); the Raspberry Pi's own as ``picamera2`` or ``picamera2:1``.
        size_wh: width and height in pixels to ask a camera for, 1280x720 by default; it gives the nearest that it has.
        frames_per_second: to ask a camera for; None is the camera's choice.
        in_flight: frames that are held at once, as `Recognizer.stream` is told; a camera needs memory for them.

    Returns:
        The source, open. Arrays are (H, W, 3) uint8, BGR; Picamera2's are leases of the camera's memory, not copied.

    Raises:
        OSError: the path can't be read (FileNotFoundError, PermissionError, ...).
        InputError: no video, a camera that can't be opened, or an argument that can't be used.
        DeviceUnavailable: Picamera2 is not installed.

    Example:
        >>> with open_source(0) as camera, Recognizer(color=camera.color) as recognizer:
        ...     with recognizer.stream(camera, drop="oldest") as stream:
        ...         for result in stream:
        ...             print(result.best)
    """
    _check_wishes(size_wh, frames_per_second, in_flight)
    wished_wh = size_wh or CAMERA_SIZE_WH
    number = _pi_camera(source)
    if number is not None:
        from cardrec.source_picamera import PiCamera

        return Source(f"picamera2:{number}", PiCamera(number, wished_wh, frames_per_second, in_flight))
    device = _device(source)
    if device is not None:
        from cardrec.source_opencv import Camera

        camera = Camera(device, wished_wh, frames_per_second)
        return Source(camera.name, camera)
    path = Path(str(source))
    _check_video(path)
    if size_wh is not None or frames_per_second is not None:
        raise InputError(f"{path} is a file: its size and its frames per second are its own; only a camera is asked")
    from cardrec.source_opencv import Video

    return Source(str(path), Video(path))


def _check_wishes(size_wh: object, frames_per_second: object, in_flight: object) -> None:
    """Refuses numbers that no camera has."""
    if size_wh is not None and not (
        isinstance(size_wh, tuple) and len(size_wh) == 2 and all(_is_count(side, _LARGEST_SIDE) for side in size_wh)
    ):
        raise InputError(f"size_wh={size_wh!r}; expected width and height in pixels, such as (1280, 720)")
    if frames_per_second is not None and not (
        isinstance(frames_per_second, (int, float)) and 0 < frames_per_second <= _FASTEST
    ):
        raise InputError(f"frames_per_second={frames_per_second!r}; expected a number above 0, such as 30")
    if not _is_count(in_flight, 64):
        raise InputError(f"in_flight={in_flight!r}; expected a whole number from 1 to 64")


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _pi_camera(source: str | int | Path) -> int | None:
    """The number of a camera of Picamera2, or None for other sources."""
    if not isinstance(source, str) or not re.match(r"picamera2(:|$)", source):
        return None
    found = re.fullmatch(r"picamera2(?::(\d{1,3}))?", source, re.ASCII)
    if found is None:
        raise InputError(f"{source!r} names no camera; say picamera2, or picamera2:1 for the second one")
    return int(found[1] or 0)


def _device(source: object) -> int | str | None:
    """The number or the path of a camera of the system, or None for a file.

    Raises:
        OSError: there is nothing under this path.
        InputError: it is no source at all.
    """
    if isinstance(source, bool) or not isinstance(source, (str, int, Path)):
        raise InputError(f"{source!r} is no source of frames; give {_SOURCES}")
    if not isinstance(source, Path) and re.fullmatch(r"-?\d+", str(source), re.ASCII):
        number = int(source)
        if not 0 <= number <= 255:
            raise InputError(f"there is no camera {number}: their numbers go from 0 to 255")
        return number
    if "\0" in str(source) or "://" in str(source):
        raise InputError(f"{str(source)!r} is no file, and frames are not read from the network; give {_SOURCES}")
    path = Path(str(source))
    return str(path) if stat.S_ISCHR(path.stat().st_mode) else None


def _check_video(path: Path) -> None:
    """Refuses what FFmpeg would take for a video all the same: pictures, and text, which it draws in a terminal."""
    from cardrec.importer import IMAGE_SUFFIXES

    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        what = "a folder" if path.is_dir() else "a picture"
        raise InputError(f"{path} is {what}, not a video: `cardrec identify` names the cards in pictures")
    if not path.is_file():
        raise InputError(f"{path} is a device, pipe or socket, and no camera; give {_SOURCES}")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head or _is_text(head):
        raise InputError(f"{path} is {'text' if head else 'empty'}, not a video")


def _is_text(head: bytes) -> bool:
    """Whether the start of a file is text: every container of video has zeros or other control bytes there."""
    control = set(range(32)) - {9, 10, 12, 13, 27}
    return not head.startswith(b"YUV4MPEG2") and control.isdisjoint(head)
