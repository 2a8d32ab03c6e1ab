"""Sources of frames: a real video file, a camera and Picamera2 by stand-ins, and what is none of them."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cardrec import source_opencv, source_picamera
from cardrec.errors import DeviceError, DeviceTimeout, DeviceUnavailable, InputError
from cardrec.source_opencv import Camera
from cardrec.sources import Source, open_source
from cardrec.stream import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = 12
FRAMES_PER_SECOND = 10
STEP = 20  # grey of a frame over that of the one before


def grey(index: int) -> NDArray[np.uint8]:
    """The frame with this number: 64x48 pixels, with noise, so that it takes some kilobytes in a file."""
    noise = np.random.default_rng(index).normal(0, 8, (48, 64, 3))
    return np.clip(STEP * index + 10 + noise, 0, 255).astype(np.uint8)


def number_of(frame: object) -> int:
    """Which frame it is."""
    assert isinstance(frame, np.ndarray)
    return int(frame.mean() // STEP)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video of twelve frames, a tenth of a second each."""
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FRAMES_PER_SECOND, (64, 48))
    for index in range(FRAMES):
        writer.write(grey(index))
    writer.release()
    return path


def test_a_video_gives_its_frames_in_order(video: Path) -> None:
    with open_source(video) as source:
        assert (source.name, source.live, source.color) == (str(video), False, "bgr")
        frames = []
        for index, frame in enumerate(source):
            assert source.time_s == pytest.approx(index / FRAMES_PER_SECOND)
            frames.append(frame)
        assert [number_of(frame) for frame in frames] == list(range(FRAMES)), "each in memory of its own"
        assert next(source, None) is None, "the end stays the end"
    assert all(isinstance(frame, np.ndarray) and frame.shape == (48, 64, 3) for frame in frames)


def test_a_video_by_its_name_in_the_working_folder(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(video.parent)
    odd = video.rename("concat:a%02d.avi")  # FFmpeg and OpenCV would read another meaning into it
    with open_source(odd.name) as source:
        assert len(list(source)) == FRAMES


def test_closing_twice_and_reading_on(video: Path) -> None:
    source = open_source(str(video))
    assert number_of(next(source)) == 0
    source.close()
    source.close()
    assert list(source) == []


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_video_that_ends_in_damaged_data(video: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    sound = video.read_bytes()
    half = len(sound) // 2
    video.write_bytes(sound[:half] + (b"" if damage == "cut" else b"\x55" * half))
    with open_source(video) as source, caplog.at_level(logging.WARNING, "cardrec"):
        started = time.monotonic()
        given = len(list(source))
        assert time.monotonic() - started < 10
    assert 0 < given < FRAMES
    assert f"after {given} of {FRAMES} frames" in caplog.text


def test_a_sound_video_gives_no_warning(video: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_source(video) as source, caplog.at_level(logging.WARNING, "cardrec"):
        list(source)
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["notes.txt", "notes.avi", "notes.mp4"])
def test_text_is_no_video(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("FFmpeg draws this in a terminal of its own.\nÄ\n" * 99, encoding="utf-8")
    with pytest.raises(InputError, match="is text, not a video"):
        open_source(tmp_path / name)


def test_what_is_no_video(tmp_path: Path, video: Path, sample_photo: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.avi"):
        open_source(tmp_path / "absent.avi")
    with pytest.raises(InputError, match=r"a folder, not a video.*cardrec identify"):
        open_source(tmp_path)
    with pytest.raises(InputError, match=r"a picture, not a video.*cardrec identify"):
        open_source(sample_photo)
    (tmp_path / "empty.avi").touch()
    with pytest.raises(InputError, match="is empty"):
        open_source(tmp_path / "empty.avi")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe or socket"):
        open_source(tmp_path / "pipe")
    (tmp_path / "head.avi").write_bytes(video.read_bytes()[:300])
    with pytest.raises(InputError, match=r"head\.avi: no frame can be decoded.*ffmpeg"):
        open_source(tmp_path / "head.avi")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(9999))
    with pytest.raises(InputError, match="no frame can be decoded"):
        open_source(tmp_path / "noise.mp4")


@pytest.mark.parametrize(
    "source", [-1, "-1", 256, "99999999999999999999", True, None, 1.0, b"0", "rtsp://camera/1", "a\0"]
)
def test_what_is_no_source(source: Any) -> None:
    with pytest.raises(InputError):
        open_source(source)


@pytest.mark.parametrize(
    "wish",
    [
        {"size_wh": (-1280, 720)},
        {"size_wh": (0, 720)},
        {"size_wh": (1280,)},
        {"size_wh": (1280.0, 720.0)},
        {"size_wh": (1 << 20, 720)},
        {"size_wh": "1280x720"},
        {"frames_per_second": 0},
        {"frames_per_second": -5.0},
        {"frames_per_second": float("nan")},
        {"frames_per_second": "30"},
        {"in_flight": 0},
        {"in_flight": 2.0},
    ],
)
def test_wishes_that_no_camera_fulfils(wish: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wish))):
        open_source(0, **wish)


def test_a_file_has_its_own_size(video: Path) -> None:
    with pytest.raises(InputError, match="only a camera"):
        open_source(video, size_wh=(64, 48))
    with pytest.raises(InputError, match="only a camera"):
        open_source(video, frames_per_second=10)


class FakeCapture:
    """A camera behind OpenCV: what it was told, and frames until it is unplugged."""

    def __init__(self, frames: list[NDArray[np.uint8] | None], *, opens: bool = True) -> None:
        self.frames = [grey(0), *frames]  # the first one is read at opening
        self.opens = opens
        self.asked: list[tuple[int, float]] = []
        self.released = 0
        self.reads = 0
        self.before_read: Callable[[], None] = lambda: None

    def __call__(self, device: int | str, backend: int) -> FakeCapture:
        self.device, self.backend = device, backend
        return self

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.opens and not self.released

    def set(self, what: int, value: float) -> bool:
        self.asked.append((what, value))
        return False

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        assert not self.released, "a camera is read after its release"
        self.before_read()
        self.reads += 1
        frame = self.frames.pop(0) if self.frames else None
        return frame is not None, frame

    def release(self) -> None:
        self.released += 1


Plug: TypeAlias = "Callable[[FakeCapture], FakeCapture]"


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Makes a camera what OpenCV opens."""

    def plug_in(capture: FakeCapture) -> FakeCapture:
        monkeypatch.setattr(cv2, "VideoCapture", capture)
        return capture

    return plug_in


@pytest.mark.parametrize("source", [3, "3"])
def test_a_camera(plug: Plug, source: int | str) -> None:
    capture = plug(FakeCapture([grey(1), grey(2)]))
    with open_source(source, size_wh=(640, 480), frames_per_second=15) as camera:
        assert (camera.name, camera.live, camera.color) == ("/dev/video3", True, "bgr")
        assert (capture.device, capture.backend) == (3, cv2.CAP_V4L2)
        assert [number_of(next(camera)), number_of(next(camera))] == [1, 2]
        assert 0 < camera.time_s < 60
    assert capture.released == 1
    camera.close()
    assert capture.released == 1
    assert list(camera) == []
    assert capture.asked == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 640),
        (cv2.CAP_PROP_FRAME_HEIGHT, 480),
        (cv2.CAP_PROP_FPS, 15),
    ]


def test_a_camera_is_asked_for_1280x720(plug: Plug) -> None:
    capture = plug(FakeCapture([]))
    open_source(0).close()
    assert dict(capture.asked)[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert cv2.CAP_PROP_FPS not in dict(capture.asked)


def test_a_camera_by_its_path(plug: Plug, tmp_path: Path) -> None:
    capture = plug(FakeCapture([grey(4)]))
    link = tmp_path / "by-id"  # as those under /dev/v4l/by-id
    link.symlink_to("/dev/null")
    with open_source(link) as camera:
        assert camera.live
        assert capture.device == str(link)
        assert number_of(next(camera)) == 4


def test_a_camera_that_is_not_there(plug: Plug) -> None:
    capture = plug(FakeCapture([], opens=False))
    with pytest.raises(InputError, match=r"camera /dev/video99 can't be opened: there is no /dev/video99"):
        open_source(99)
    assert capture.released == 1
    with pytest.raises(FileNotFoundError, match="video-that-is-not-there"):
        open_source("/dev/video-that-is-not-there")


def test_what_opencv_says_of_a_camera_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    level = cv2.utils.logging.getLogLevel()
    with pytest.raises(InputError, match=r"/dev/null can't be opened: .*no camera"):
        open_source("/dev/null")
    assert capfd.readouterr().err == ""
    assert cv2.utils.logging.getLogLevel() == level


def test_a_camera_that_may_not_be_read(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    plug(FakeCapture([], opens=False))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="usermod -aG video"):
        open_source("/dev/null")


def test_a_camera_that_is_unplugged(plug: Plug) -> None:
    capture = plug(FakeCapture([grey(1)]))
    with open_source(200) as camera:
        next(camera)
        with pytest.raises(DeviceError, match=r"/dev/video200 is gone: was it unplugged"):
            next(camera)
    assert capture.released == 1


def test_a_camera_that_falls_silent(plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "video0").touch()
    capture = plug(FakeCapture([grey(1)]))
    source = Source("camera", Camera(str(tmp_path / "video0"), (64, 48), None))
    next(source)
    with pytest.raises(DeviceTimeout, match="no frames any more"):
        next(source)
    assert capture.reads == 2 + source_opencv._FAILED_READS
    capture.before_read = lambda: time.sleep(0.01)
    monkeypatch.setattr(source_opencv, "_SILENT_S", 0.005)
    with pytest.raises(DeviceTimeout):
        next(source)
    assert capture.reads == 3 + source_opencv._FAILED_READS, "OpenCV has waited for ten seconds"


def test_a_camera_that_never_gives_a_frame(plug: Plug) -> None:
    capture = plug(FakeCapture([]))
    capture.frames.clear()
    with pytest.raises(InputError, match=r"opens, but gives no frames.*picamera2"):
        open_source(0)
    assert capture.released == 1


def test_a_frame_that_was_damaged_on_its_way_is_passed_over(plug: Plug, tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    plug(FakeCapture([grey(1), None, grey(2), None, None, grey(3)]))
    camera = Camera(str(tmp_path / "video0"), (64, 48), None)
    assert [number_of(camera.read()) for _ in range(3)] == [1, 2, 3]


def test_closing_waits_for_the_frame_that_another_thread_reads(plug: Plug) -> None:
    capture = plug(FakeCapture([grey(1)] * 2))
    source = open_source(0)
    reading, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reading.set()
        assert go_on.wait(30)

    capture.before_read = wait
    frames: list[object] = []
    reader = threading.Thread(target=lambda: frames.extend(source))
    reader.start()
    assert reading.wait(30)
    closer = threading.Thread(target=source.close)
    closer.start()
    closer.join(0.1)
    assert capture.released == 0
    go_on.set()
    reader.join(30)
    closer.join(30)
    assert (capture.released, len(frames)) == (1, 1)


class FakeRequest:
    """A completed request: its buffer is the camera's again when it was released, once."""

    def __init__(self, camera: FakePicamera2, buffer: NDArray[np.uint8]) -> None:
        self.camera, self.buffer = camera, buffer
        self.mapped = 0
        self.released = False

    def release(self) -> None:
        assert not self.released, "a request is released twice"
        assert self.mapped == 0, "a request is released while its buffer is mapped"
        assert not self.camera.closed, "a request is released after the camera was closed"
        self.released = True
        self.buffer[:] = 255  # the camera writes into it
        self.camera.free.append(self.buffer)


class FakeMappedArray:
    """A view of a request's buffer."""

    fails = False

    def __init__(self, request: FakeRequest, stream: str, *, write: bool) -> None:
        assert (stream, write) == ("main", False)
        self.request = request

    def __enter__(self) -> FakeMappedArray:
        assert not self.request.released, "a buffer is mapped after its release"
        if self.fails:
            raise RuntimeError("failed to lock-sync-write dma buf")
        self.request.mapped += 1
        self.array = self.request.buffer.view()
        return self

    def __exit__(self, *_: object) -> None:
        self.request.mapped -= 1


class FakePicamera2:
    """The camera: as many buffers as it was configured with, and a timeout where all are held."""

    there = 2
    opened: FakePicamera2

    @classmethod
    def global_camera_info(cls) -> list[dict[str, object]]:
        return [{"Num": number} for number in range(cls.there)]

    def __init__(self, number: int) -> None:
        FakePicamera2.opened = self
        self.number = number
        self.started = self.closed = False
        self.taken = 0
        self.error: Exception | None = None
        self.waiting = False
        self.requests: list[FakeRequest] = []

    def create_video_configuration(self, **configuration: Any) -> dict[str, Any]:
        return configuration

    def configure(self, configuration: dict[str, Any]) -> None:
        if configuration["main"]["size"][0] > 4608:
            raise RuntimeError("the sensor has fewer pixels")
        self.configuration = configuration
        width, height = configuration["main"]["size"]
        self.free = [np.zeros((height, width, 3), np.uint8) for _ in range(configuration["buffer_count"])]

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        assert not self.waiting, "stopping waits for the frame that never came"
        self.started = False

    def cancel_all_and_flush(self) -> None:
        self.waiting = False

    def capture_request(self, *, wait: float) -> FakeRequest:
        assert self.started
        assert 0 < wait < 60, "every wait has a bound"
        if self.error is not None:
            raise self.error
        if not self.free:
            self.waiting = True
            raise TimeoutError
        buffer = self.free.pop(0)
        self.taken += 1
        buffer[:] = STEP * self.taken
        self.requests.append(FakeRequest(self, buffer))
        return self.requests[-1]

    def close(self) -> None:
        assert not self.closed, "the camera is closed twice"
        self.closed = True


@pytest.fixture
def picamera2(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    """Picamera2, as if it were installed."""
    monkeypatch.setattr(FakePicamera2, "there", 2)
    monkeypatch.setattr(FakeMappedArray, "fails", False)
    library = SimpleNamespace(Picamera2=FakePicamera2, MappedArray=FakeMappedArray)
    monkeypatch.setitem(sys.modules, "picamera2", library)
    return FakePicamera2


def leased(source: Source) -> Lease:
    lease = next(source)
    assert isinstance(lease, Lease)
    return lease


def test_picamera2_lends_its_memory(picamera2: type[FakePicamera2]) -> None:
    with open_source("picamera2", size_wh=(321, 241)) as source:
        assert (source.name, source.live, source.color) == ("picamera2:0", True, "bgr")
        camera = picamera2.opened
        assert camera.configuration["main"] == {"format": "RGB888", "size": (320, 240)}
        assert camera.configuration["controls"] == {}
        for number in (1, 2):
            lease = leased(source)
            assert isinstance(lease.image, np.ndarray)
            assert np.shares_memory(lease.image, camera.requests[-1].buffer), "not copied"
            assert lease.image.shape == (240, 320, 3)
            assert number_of(lease.image) == number
            assert not camera.requests[-1].released
            lease.release()
        assert source.time_s > 0
    assert camera.closed
    assert all(request.released for request in camera.requests)


def test_picamera2_by_number_and_pace(picamera2: type[FakePicamera2]) -> None:
    with open_source("picamera2:1", frames_per_second=50) as source:
        assert source.name == "picamera2:1"
        assert picamera2.opened.number == 1
        assert picamera2.opened.configuration["controls"] == {"FrameDurationLimits": (20000, 20000)}
        assert picamera2.opened.configuration["main"]["size"] == (1280, 720)


@pytest.mark.parametrize("in_flight", [1, 3, 8])
def test_picamera2_goes_on_while_frames_are_in_flight(picamera2: type[FakePicamera2], in_flight: int) -> None:
    with open_source("picamera2", in_flight=in_flight, size_wh=(64, 48)) as source:
        held = [leased(source) for _ in range(in_flight + 1)]
        assert len(picamera2.opened.free) >= 3, "one that is ready, two that are filled"
        assert [number_of(lease.image) for lease in held] == list(range(1, in_flight + 2))
        for lease in reversed(held):
            lease.release()


def test_picamera2_is_closed_when_the_last_lease_has_come_back(picamera2: type[FakePicamera2]) -> None:
    source = open_source("picamera2", size_wh=(64, 48))
    first, second = leased(source), leased(source)
    source.close()
    camera = picamera2.opened
    first.release()
    assert number_of(second.image) == 2, "still sound"
    assert (camera.started, camera.closed) == (False, False)
    second.release()
    assert camera.closed
    source.close()
    assert list(source) == []


def test_a_second_release_is_none(picamera2: type[FakePicamera2]) -> None:
    with open_source("picamera2", size_wh=(64, 48)) as source:
        lease, other = leased(source), leased(source)
        lease.release()
        lease.release()
    assert not picamera2.opened.closed
    other.release()
    assert picamera2.opened.closed


def test_picamera2_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(DeviceUnavailable, match=r"apt install python3-picamera2.*--system-site-packages"):
        open_source("picamera2")


def test_picamera2_without_the_camera(picamera2: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"no camera picamera2:2: there are 2"):
        open_source("picamera2:2")
    monkeypatch.setattr(picamera2, "there", 0)
    with pytest.raises(InputError, match="none is connected"):
        open_source("picamera2")
    for name in ("picamera2:", "picamera2:a", "picamera2:-1"):
        with pytest.raises(InputError, match="names no camera"):
            open_source(name)


def test_picamera2_that_another_program_uses(picamera2: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Camera __init__ sequence did not complete.")

    monkeypatch.setattr(picamera2, "__init__", fail)
    with pytest.raises(InputError, match=r"picamera2:0 can't be opened: .*another program"):
        open_source("picamera2")


def test_picamera2_that_can_not_be_configured(picamera2: type[FakePicamera2]) -> None:
    with pytest.raises(InputError, match="can't be started: the sensor has fewer pixels"):
        open_source("picamera2", size_wh=(9152, 6944))
    assert picamera2.opened.closed


def test_picamera2_that_gives_no_frames(picamera2: type[FakePicamera2]) -> None:
    with open_source("picamera2", size_wh=(64, 48)) as source:
        free, picamera2.opened.free = picamera2.opened.free, []
        with pytest.raises(DeviceTimeout, match=f"no frame for {source_picamera.FRAME_TIMEOUT_S:g} s"):
            next(source)
        picamera2.opened.free = free
        leased(source).release()
        picamera2.opened.error = RuntimeError("camera frontend has timed out")
        with pytest.raises(DeviceError, match="camera frontend has timed out"):
            next(source)
    assert picamera2.opened.closed


def test_a_request_that_can_not_be_mapped_is_given_back(
    picamera2: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeMappedArray, "fails", True)
    with open_source("picamera2", size_wh=(64, 48)) as source, pytest.raises(RuntimeError, match="dma buf"):
        next(source)
    assert picamera2.opened.requests[0].released
    assert picamera2.opened.closed
