"""`cardrec watch` from end to end: videos, stand-ins for cameras, windows and interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from click.testing import Result
from command import Run, is_one_line_error, lines
from numpy.typing import NDArray
from pictures import card_picture, photo
from test_cli_process import start

from cardrec import Recognizer, sources, window
from cardrec.cli_options import ENVIRONMENT, NOTHING_IDENTIFIED, USAGE
from cardrec.errors import DeviceError, DeviceUnavailable
from cardrec.sources import Source
from cardrec.stream import Lease
from cardrec.track import CONFIRMED
from cardrec.watch import _KEPT_PICTURES, Pace, Recent

if TYPE_CHECKING:
    from cardrec.samples import Sample

BLANK, NAMED = 3, 4  # frames without a card, then frames with one
MARK = 16  # pixels of the square in the lower right corner whose grey is the frame's number

Frame = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no window opens on a desktop."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture(scope="session")
def frames(sample: Sample) -> list[Frame]:
    """An empty table, then a card of the demo catalog; each with its number in a corner."""
    photo = np.asarray(cv2.imread(str(sample.path)), np.uint8)
    made = [np.full_like(photo, 90) for _ in range(BLANK)] + [photo.copy() for _ in range(NAMED)]
    for number, frame in enumerate(made):
        frame[-MARK:, -MARK:] = 20 * number
    return made


def number_of(picture: Frame) -> int:
    """The number in the corner."""
    return round(float(picture[2 - MARK :, 2 - MARK :].mean()) / 20)


def write_video(path: Path, pictures: Iterable[Frame]) -> Path:
    """A video of ten frames a second."""
    writer: cv2.VideoWriter | None = None
    for picture in pictures:
        writer = writer or cv2.VideoWriter(
            str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (picture.shape[1], picture.shape[0])
        )
        writer.write(picture)
    assert writer is not None
    writer.release()
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory, frames: list[Frame]) -> Path:
    """These frames as a video."""
    return write_video(tmp_path_factory.mktemp("videos") / "cards.avi", frames)


class FakeReader:
    """A camera, or a file, whose frames are lent: their memory is overwritten when they were given back."""

    def __init__(self, frames: Iterable[Any], *, live: bool = True, error: Exception | None = None) -> None:
        self.frames = iter(frames)
        self.live = live
        self.error = error
        self.time_s = 0.0
        self.given = self.returned = 0
        self.closed = False

    def read(self) -> Lease | None:
        assert not self.closed
        frame = next(self.frames, None)
        if frame is None and self.error is not None:
            raise self.error
        if frame is None:
            return None
        self.given += 1
        self.time_s = self.given / 4
        memory = frame.copy()
        released: list[bool] = []

        def release() -> None:
            assert not released, "a frame is given back twice"
            released.append(True)
            memory[:] = 255
            self.returned += 1

        return Lease(memory, release)

    def close(self) -> None:
        assert self.given == self.returned, "the stream is closed before its source"
        self.closed = True


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeReader]:
    """Makes a camera of frames the source, whatever is asked for."""

    def plug_in(frames: Iterable[Any], **options: Any) -> FakeReader:
        reader = FakeReader(frames, **options)
        monkeypatch.setattr(sources, "open_source", lambda *_, **__: Source("fake camera", reader))
        return reader

    return plug_in


class FakeWindow:
    """A window that is closed after some pictures."""

    def __init__(self, closes_after: int | None = None) -> None:
        self.pictures: list[Frame] = []
        self.closes_after = closes_after
        self.error: BaseException | None = None
        self.fails_at = 1
        self.closed = 0

    def __call__(self, title: str) -> FakeWindow:
        self.title = title
        return self

    def show(self, picture_bgr: Frame) -> bool:
        assert not self.closed
        self.pictures.append(picture_bgr)
        if self.error is not None and len(self.pictures) == self.fails_at:
            raise self.error
        return len(self.pictures) != self.closes_after

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> FakeWindow:
    """The window that is opened."""
    fake = FakeWindow()
    monkeypatch.setattr(window, "open_window", fake)
    return fake


def summary(result: Result) -> str:
    """The line at the end."""
    last = str(result.stderr.splitlines()[-1])
    assert last.startswith("cardrec: watched: ")
    return last


def test_frames_json_has_a_line_for_each_frame(run: Run, video: Path, sample: Sample) -> None:
    result = run("watch", video, "--frames-json", "--top-k", 2)
    assert result.exit_code == 0, result.stderr
    seen = lines(result)
    assert [line["index"] for line in seen] == list(range(BLANK + NAMED))
    assert [line["time_s"] for line in seen] == pytest.approx([index / 10 for index in range(BLANK + NAMED)])
    assert {line["source"] for line in seen} == {str(video)}
    assert [len(line["cards"]) for line in seen] == [0] * BLANK + [1] * NAMED
    (card,) = seen[-1]["cards"]
    assert (card["status"], card["matches"][0]["card_id"]) == ("match", sample.card_ids[0])
    assert len(card["matches"]) == 2
    assert seen[0]["timings"]["total_ms"] > 0
    assert f"{BLANK + NAMED} frames, " in summary(result)
    assert summary(result).endswith(" frames/s, 0 dropped, cards identified: 1")
    assert len(result.stderr.splitlines()) == 1


def test_plain_lines_say_what_happens(run: Run, video: Path, sample: Sample) -> None:
    result = run("watch", video)
    assert result.exit_code == 0, result.stderr
    appeared, identified, left = result.stdout.splitlines()
    decided = (BLANK + CONFIRMED - 1) / 10
    assert appeared == f"{decided:.2f} s  card 1  appeared"
    assert identified.startswith(f"{decided:.2f} s  card 1  identified  ")
    assert str(sample.card_ids[0]) in identified
    assert left.startswith(f"{(BLANK + NAMED - 1) / 10:.2f} s  card 1  left  ")
    assert "\x1b" not in result.stdout


def test_json_has_a_line_for_each_event(run: Run, video: Path, sample: Sample) -> None:
    result = run("watch", video, "--json")
    assert result.exit_code == 0, result.stderr
    events = lines(result)
    assert [event["event"] for event in events] == ["appeared", "identified", "left"]
    assert {event["source"] for event in events} == {str(video)}
    assert [event["index"] for event in events] == [BLANK + CONFIRMED - 1] * 2 + [BLANK + NAMED - 1]
    assert events[1]["latency_s"] == pytest.approx((CONFIRMED - 1) / 10)
    assert events[1]["track"]["card_id"] == sample.card_ids[0]
    assert events[2]["track"]["frames"] == NAMED


def test_stops_after_some_frames(run: Run, video: Path) -> None:
    result = run("watch", video, "--frames-json", "--frames", 2)
    assert result.exit_code == NOTHING_IDENTIFIED
    assert [line["index"] for line in lines(result)] == [0, 1]
    assert "watched: 2 frames, " in summary(result)


def test_where_and_max_cards(run: Run, video: Path) -> None:
    result = run("watch", video, "--frames-json", "--where", "set=absent", "--max-cards", 3, "--in-flight", 1)
    assert result.exit_code == NOTHING_IDENTIFIED
    assert {card["status"] for line in lines(result) for card in line["cards"]} == {"unknown"}
    assert "cards identified: 0" in summary(result)


def test_in_a_catalog_of_ones_own(run: Run, photo_of_c3: Path, tiny_catalog: Path, tmp_path: Path) -> None:
    picture = np.asarray(cv2.imread(str(photo_of_c3)), np.uint8)
    result = run("watch", write_video(tmp_path / "c3.avi", [picture] * CONFIRMED), "--catalog", tiny_catalog)
    assert result.exit_code == 0, result.stderr
    assert "Card 3  c3  " in result.stdout


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("absent.mp4", USAGE, ["absent.mp4: No such file"]),
        ("99", USAGE, ["/dev/video99", "can't be opened"]),
        ("/dev/null", USAGE, ["/dev/null", "can't be opened"]),
        ("picamera2:x", USAGE, ["picamera2:1"]),
        ("rtsp://camera/1", USAGE, ["network"]),
        ("picamera2", ENVIRONMENT, ["apt install python3-picamera2"]),
    ],
)
def test_sources_that_can_not_be_opened(
    run: Run, source: str, code: int, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    is_one_line_error(run("watch", source), code, *words)


def test_files_that_are_no_videos(run: Run, sample: Sample, tmp_path: Path, video: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    is_one_line_error(run("watch", tmp_path / "notes.txt"), USAGE, "is text")
    is_one_line_error(run("watch", tmp_path), USAGE, "a folder", "cardrec identify")
    is_one_line_error(run("watch", sample.path), USAGE, "a picture", "cardrec identify")
    is_one_line_error(run("watch", video, "--size", "640x480"), USAGE, "only a camera")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("0", "--frames", "0"),
        ("0", "--in-flight", "0"),
        ("0", "--in-flight", "1000"),
        ("0", "--drop", "newest"),
        ("0", "--size", "-1280x720"),
        ("0", "--size", "1280"),
        ("0", "--where", "set"),
    ],
)
def test_wrong_use(run: Run, arguments: tuple[str, ...]) -> None:
    is_one_line_error(run("watch", *arguments), USAGE, "--help")


def test_a_size_that_no_camera_has(run: Run) -> None:
    is_one_line_error(run("watch", "0", "--size", "0x720"), USAGE, "size_wh")


def test_a_camera_gives_and_gets_back_its_frames(
    run: Run, plug: Callable[..., FakeReader], frames: list[Frame]
) -> None:
    reader = plug(frames)
    result = run("watch", "picamera2", "--frames-json", "--drop", "never")
    assert result.exit_code == 0, result.stderr
    assert [line["time_s"] for line in lines(result)] == [(index + 1) / 4 for index in range(len(frames))]
    assert {line["source"] for line in lines(result)} == {"fake camera"}
    assert (reader.returned, reader.closed) == (len(frames), True)


@pytest.mark.parametrize(
    ("live", "drop", "expected"),
    [
        (True, "auto", "oldest"),
        (False, "auto", "never"),
        (True, "never", "never"),
        (False, "oldest", "oldest"),
    ],
)
def test_whether_frames_are_dropped(
    run: Run,
    plug: Callable[..., FakeReader],
    frames: list[Frame],
    monkeypatch: pytest.MonkeyPatch,
    live: bool,
    drop: str,
    expected: str,
) -> None:
    asked: list[dict[str, Any]] = []
    stream = Recognizer.stream

    def spy(recognizer: Recognizer, given: Any, **options: Any) -> Any:
        asked.append(options)
        return stream(recognizer, given, **options)

    monkeypatch.setattr(Recognizer, "stream", spy)
    reader = plug(frames[:2], live=live)
    run("watch", "0", "--drop", drop, "--in-flight", 2)
    assert [(each["drop"], each["in_flight"]) for each in asked] == [(expected, 2)]
    assert reader.given == reader.returned == 2


def test_results_keep_their_numbers_where_frames_are_dropped(
    run: Run, plug: Callable[..., FakeReader], frames: list[Frame], screen: FakeWindow
) -> None:
    reader = plug(frames * 6)
    result = run("watch", "0", "--frames-json", "--in-flight", 1)
    seen = lines(result)
    numbers = [line["index"] for line in seen]
    assert numbers == sorted(set(numbers))
    assert [line["time_s"] for line in seen] == [(number + 1) / 4 for number in numbers]
    assert [number_of(picture) for picture in screen.pictures] == [number % len(frames) for number in numbers]
    dropped = len(frames) * 6 - len(numbers)
    assert f", {dropped} dropped, " in summary(result)
    assert reader.returned == len(frames) * 6


def test_the_window_shows_the_tracks_in_each_frame(
    run: Run, plug: Callable[..., FakeReader], frames: list[Frame], screen: FakeWindow
) -> None:
    plug(frames)
    result = run("watch", "0", "--drop", "never")
    assert result.exit_code == 0, result.stderr
    assert [number_of(picture) for picture in screen.pictures] == list(range(len(frames)))
    for picture, frame in zip(screen.pictures, frames, strict=True):
        assert picture.shape == frame.shape
        changed = (picture != frame).any(axis=2)
        assert 0 < changed.mean() < 0.2, "labels and outlines are drawn, and the colours are those of the frame"
        followed = number_of(frame) >= BLANK + CONFIRMED - 1
        assert changed[200:].any() == followed, "an outline where a card is followed, not where one was read once"
    assert "fake camera" in screen.title
    assert screen.closed == 1


def test_the_window_shows_where_a_card_was_while_it_is_unseen(
    run: Run, plug: Callable[..., FakeReader], frames: list[Frame], screen: FakeWindow
) -> None:
    plug(frames[:1] + [frames[-1]] * NAMED + frames[:1] * 2)
    run("watch", "0", "--drop", "never")
    *_, seen, hidden, still_hidden = ((picture != 90)[200:].any(axis=2) for picture in screen.pictures)
    assert (hidden == still_hidden).all()
    assert 0 < hidden.sum() < 0.5 * seen.sum(), "dashes on the empty table"


def test_a_card_that_was_read_but_not_followed_is_not_identified(
    run: Run, plug: Callable[..., FakeReader], frames: list[Frame]
) -> None:
    plug([frames[0]] + frames[-1:] * (CONFIRMED - 1) + [frames[0]])
    result = run("watch", "0", "--drop", "never", "--frames-json")
    assert {card["status"] for line in lines(result) for card in line["cards"]} == {"match"}
    assert result.exit_code == NOTHING_IDENTIFIED
    assert summary(result).endswith("cards identified: 0")


def test_copies_of_a_card_are_counted_as_the_cards_they_are(run: Run, tiny_catalog: Path, tmp_path: Path) -> None:
    table = photo([card_picture(3), card_picture(3), card_picture(5)], size_wh=(640, 360))
    result = run("watch", write_video(tmp_path / "copies.avi", [table] * 6), "--catalog", tiny_catalog, "--json")
    assert result.exit_code == 0, result.stderr
    assert summary(result).endswith("cards identified: 3"), "without --max-cards"
    identified = [line["track"]["card_id"] for line in lines(result) if line["event"] == "identified"]
    assert sorted(identified) == ["c3", "c3", "c5"]


def test_closing_the_window_ends_it(
    run: Run, plug: Callable[..., FakeReader], frames: list[Frame], screen: FakeWindow
) -> None:
    reader = plug(frames)
    screen.closes_after = BLANK + CONFIRMED
    result = run("watch", "0", "--frames-json", "--drop", "never")
    assert result.exit_code == 0
    assert len(lines(result)) == BLANK + CONFIRMED
    assert reader.given == reader.returned
    assert reader.closed


def test_no_window_where_it_is_not_wanted(run: Run, video: Path, screen: FakeWindow) -> None:
    assert run("watch", video, "--no-window").exit_code == 0
    assert screen.pictures == []


def test_a_window_that_can_not_be_had(run: Run, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_one_line_error(run("watch", video, "--window"), ENVIRONMENT, "no display", "--no-window")

    def fail(_: str) -> None:
        raise DeviceUnavailable("there is nothing to open a window with")

    monkeypatch.setattr(window, "open_window", fail)
    assert run("watch", video, "--frames", BLANK + CONFIRMED).exit_code == 0
    is_one_line_error(run("watch", video, "--window"), ENVIRONMENT, "nothing to open a window with")


def test_a_camera_that_is_unplugged(run: Run, plug: Callable[..., FakeReader], frames: list[Frame]) -> None:
    reader = plug(frames, error=DeviceError("the camera is gone: was it unplugged?"))
    result = run("watch", "0", "--frames-json", "--drop", "never")
    assert result.exit_code == ENVIRONMENT
    assert len(lines(result)) == len(frames), "what came before is there"
    watched, error = result.stderr.splitlines()
    assert watched.startswith(f"cardrec: watched: {len(frames)} frames, ")
    assert error == "cardrec: error: the camera is gone: was it unplugged?"
    assert reader.closed


def test_a_frame_that_can_not_be_used_is_reported_and_the_others_go_on(
    run: Run, plug: Callable[..., FakeReader], frames: list[Frame]
) -> None:
    plug([frames[0], frames[0].astype(np.float32), *frames[-1:] * CONFIRMED])
    result = run("watch", "0", "--frames-json", "--drop", "never")
    assert result.exit_code == 0
    assert [line["index"] for line in lines(result)] == [0, *range(2, 2 + CONFIRMED)]
    assert [line["time_s"] for line in lines(result)] == [0.25, *(0.75 + n / 4 for n in range(CONFIRMED))]
    report, _ = result.stderr.splitlines()
    assert report.startswith("cardrec: error: the array is float32")


def test_no_frame_at_all(run: Run, plug: Callable[..., FakeReader]) -> None:
    plug([])
    result = run("watch", "0")
    assert result.exit_code == NOTHING_IDENTIFIED
    assert summary(result) == "cardrec: watched: 0 frames, 0.0 frames/s, 0 dropped, cards identified: 0"


def test_control_c_ends_it(run: Run, plug: Callable[..., FakeReader], frames: list[Frame], screen: FakeWindow) -> None:
    for given, code in ((frames[BLANK:], 0), (frames[:BLANK], NOTHING_IDENTIFIED)):
        reader = plug(given)
        screen.error, screen.closed = KeyboardInterrupt(), 0
        screen.fails_at = len(screen.pictures) + CONFIRMED
        result = run("watch", "0", "--drop", "never")
        assert result.exit_code == code, result.stderr
        assert f"watched: {CONFIRMED} frames" in summary(result)
        assert (reader.closed, screen.closed) == (True, 1)


def test_control_c_in_a_process_of_its_own(tmp_path: Path, frames: list[Frame]) -> None:
    video = write_video(tmp_path / "long.avi", frames[-1:] * 400)
    process = start("watch", video, "--frames-json", "--threads", 1)
    assert process.stdout is not None
    assert [json.loads(process.stdout.readline())["index"] for _ in range(CONFIRMED)] == list(range(CONFIRMED))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert len(stdout.splitlines()) < 399
    (watched,) = stderr.splitlines()
    assert watched.startswith("cardrec: watched: ")
    assert watched.endswith("cards identified: 1")


def read_terminal(descriptor: int) -> Iterator[bytes]:
    """What a program writes to its terminal, until it ends."""
    while True:
        try:
            block = os.read(descriptor, 1 << 16)
        except OSError:  # what Linux gives when the other end was closed
            return
        if not block:
            return
        yield block


def test_a_live_table_on_a_terminal(video: Path, sample: Sample) -> None:
    ours, theirs = os.openpty()
    environment = {
        **os.environ,
        "TERM": "xterm",
        "COLUMNS": "120",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-m", "cardrec.cli", "watch", str(video), "--threads", "1"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    shown = b"".join(read_terminal(ours)).decode()
    os.close(ours)
    assert process.stderr is not None
    with process.stderr:
        stderr = process.stderr.read().decode()
    assert process.wait(timeout=60) == 0, stderr
    last = shown[shown.rindex("status") :]
    for word in ("name", "card_id", "confidence", "match", str(sample.card_ids[0]), "frames/s", "0 dropped", " ms"):
        assert word in last
    assert f"frame {BLANK + NAMED - 1}," in last
    assert "watched: " in stderr


def test_recent_keeps_few_pictures(frames: list[Frame]) -> None:
    source = Source("fake", FakeReader(frames[:1] * (_KEPT_PICTURES + 5)))
    recent = Recent(keep_pictures=True)
    given = list(recent.passing(source))
    assert len(given) == _KEPT_PICTURES + 5
    assert recent.take(0) == (0.25, None), "too old"
    time_s, picture = recent.take(_KEPT_PICTURES + 4)
    assert time_s == (_KEPT_PICTURES + 5) / 4
    assert isinstance(picture, np.ndarray)
    assert isinstance(given[-1], Lease)
    assert not np.shares_memory(picture, given[-1].image), "the lease is given back"


def test_recent_copies_nothing_without_a_window(frames: list[Frame]) -> None:
    recent = Recent(keep_pictures=False)
    list(recent.passing(Source("fake", FakeReader(frames[:2]))))
    assert recent.take(1) == (0.5, None)


def test_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    pace = Pace()
    assert pace.per_second == 0
    assert pace.count(0) == 0
    for _ in range(40):
        now[0] += 0.5
        latest = pace.count(0)
    assert latest == pace.per_second == 2
    for _ in range(40):
        now[0] += 0.1
        latest = pace.count(7)
    assert latest == pytest.approx(10)
    assert pace.per_second == pytest.approx(80 / 24)
    assert (pace.frames, pace.dropped) == (81, 7)
