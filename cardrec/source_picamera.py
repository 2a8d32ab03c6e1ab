"""The Raspberry Pi's own cameras, by Picamera2: frames stay in the camera's memory, and are given back.

From Picamera2's code (raspberrypi/picamera2: picamera2.py, request.py): a completed request is the camera's again when
it was released; `MappedArray` views its buffer; `RGB888` is BGR in memory; a number as ``wait`` is the seconds after
which there is a TimeoutError, and what timed out has to be cancelled.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from cardrec.errors import DeviceError, DeviceTimeout, DeviceUnavailable, InputError
from cardrec.stream import Lease

if TYPE_CHECKING:
    from picamera2 import Picamera2

__all__ = ["PiCamera"]

FRAME_TIMEOUT_S = 5.0
"""Exposures of a second are possible in the dark; a camera that gives nothing for this long has stopped."""

_SPARE_BUFFERS = 4
"""Beside the frames in flight: one that was just read, one that Picamera2 holds ready, two that the camera fills."""


class PiCamera:
    """A camera of the Raspberry Pi.

    Args:
        number: of the camera, from 0.
        size_wh: width and height in pixels; both are made even.
        frames_per_second: None is Picamera2's choice, 30.
        in_flight: leases that are out at once.

    Raises:
        DeviceUnavailable: Picamera2 is not installed.
        InputError: there is no such camera, or it can't be opened.
    """

    live = True

    def __init__(self, number: int, size_wh: tuple[int, int], frames_per_second: float | None, in_flight: int) -> None:
        self.name = f"picamera2:{number}"
        self._mapped = _library().MappedArray
        self._camera = _open(number)
        try:
            self._start(size_wh, frames_per_second, in_flight + _SPARE_BUFFERS)
        except Exception as error:
            self._camera.close()
            raise InputError(f"the camera {self.name} can't be started: {error}; try another size") from error
        self.time_s = 0.0
        self._opened = time.monotonic()
        self._lock = threading.Lock()
        self._out = 0
        self._closed = False

    def read(self) -> Lease:
        """The next frame, (H, W, 3) BGR, a view of the camera's memory: not to be used after its release.

        Raises:
            DeviceTimeout: the camera gives no frames any more.
            DeviceError: Picamera2 failed.
        """
        try:
            request = self._camera.capture_request(wait=FRAME_TIMEOUT_S)
        except TimeoutError:
            self._camera.cancel_all_and_flush()  # or the camera would wait for this frame before it stops
            cable = "is its cable loose, or are all its frames held?"
            raise DeviceTimeout(f"the camera {self.name} gave no frame for {FRAME_TIMEOUT_S:g} s: {cable}") from None
        except Exception as error:
            raise DeviceError(f"the camera {self.name} failed: {error}") from error
        self.time_s = time.monotonic() - self._opened
        return self._lease(request)

    def close(self) -> None:
        """Stops the camera; it is let go of when the last lease has come back, since it owns their memory."""
        try:
            self._camera.stop()
        finally:
            with self._lock:
                self._closed = True
                last = self._out == 0
            if last:
                self._camera.close()

    def _start(self, size_wh: tuple[int, int], frames_per_second: float | None, buffers: int) -> None:
        main = {"format": "RGB888", "size": (size_wh[0] // 2 * 2, size_wh[1] // 2 * 2)}
        controls = {}
        if frames_per_second is not None:
            microseconds = round(1e6 / frames_per_second)
            controls["FrameDurationLimits"] = (microseconds, microseconds)
        self._camera.configure(
            self._camera.create_video_configuration(main=main, controls=controls, buffer_count=buffers)
        )
        self._camera.start()

    def _lease(self, request: Any) -> Lease:
        """The frame of a request, which is released with it, or at once where it can't be mapped."""
        with ExitStack() as stack:
            with self._lock:
                self._out += 1
            stack.callback(self._returned)
            stack.callback(request.release)
            # Only reading: what is mapped for writing is written back from the caches.
            image = stack.enter_context(self._mapped(request, "main", write=False)).array
            return Lease(image, stack.pop_all().close)

    def _returned(self) -> None:
        with self._lock:
            self._out -= 1
            last = self._closed and self._out == 0
        if last:
            self._camera.close()


def _library() -> Any:
    try:
        import picamera2
    except ImportError as error:
        raise DeviceUnavailable(
            f"Picamera2 can't be imported ({error}): `sudo apt install python3-picamera2`, and make the environment "
            "with `python3 -m venv --system-site-packages`"
        ) from None
    return picamera2


def _open(number: int) -> Picamera2:
    library = _library()
    there = len(library.Picamera2.global_camera_info())
    if number >= there:
        found = f"there {'is' if there == 1 else 'are'} {there}" if there else "none is connected"
        raise InputError(f"there is no camera picamera2:{number}: {found} (`rpicam-hello --list-cameras`)")
    try:
        return library.Picamera2(number)
    except Exception as error:
        remedy = "another program may use it"
        raise InputError(f"the camera picamera2:{number} can't be opened: {error}; {remedy}") from error
