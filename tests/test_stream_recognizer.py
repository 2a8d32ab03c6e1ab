"""Streams and submissions of a Recognizer: the same results as `identify`, bad frames, closing, stages that overlap."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import card_picture, photo
from under_way import PATIENCE_S, Camera, Desk, endless, eventually, ours

from cardrec import CardrecError, HailoEncoder, InputError, Lease, Model, Recognizer, Result
from cardrec.backends.hailo import SLOTS as HAILO_SLOTS
from cardrec.backends.onnx import SLOTS, OnnxEncoder
from cardrec.backends.simulated import SimulatedPlatform, make_bundle
from cardrec.detect import Detection, Detector, OutlineDetector
from cardrec.flight import IN_FLIGHT
from cardrec.image import Frame

SHOWN = (3, 0, 5, 3, 6, 1, 7)
STAGE_S = 0.03

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.uint8]]:
    """Photos of the cards of the tiny catalog that `SHOWN` lists."""
    return [photo([card_picture(seed)]) for seed in SHOWN]


@pytest.fixture
def tiny(tiny_catalog: Path) -> Iterator[Recognizer]:
    """A recognizer of eight drawn cards, all of whose slots must be free in the end."""
    with Recognizer(tiny_catalog, threads=1) as opened:
        yield opened
        assert_slots_free(opened)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The bundled model for the simulated NPU."""
    pictures = np.stack([np.resize(card_picture(seed), (224, 224, 3)) for seed in range(8)])
    return make_bundle(Model.load(), tmp_path_factory.mktemp("simulated") / "bundle", pictures)


def assert_slots_free(recognizer: Recognizer) -> None:
    """That is, none is held by what was left or failed."""
    encoder = recognizer._encoder
    assert isinstance(encoder, (HailoEncoder, OnnxEncoder))
    assert encoder._free.qsize() == (SLOTS if isinstance(encoder, OnnxEncoder) else HAILO_SLOTS)


def names(results: Iterable[Result]) -> list[str | None]:
    return [result.best.card_id if result.best else None for result in results]


EXPECTED = [f"c{seed}" for seed in SHOWN]


@pytest.mark.parametrize("in_flight", [1, 3, 6])  # 6: more than the encoder has slots
def test_a_stream_gives_what_identify_gives(tiny: Recognizer, photos: list[NDArray[np.uint8]], in_flight: int) -> None:
    found = list(tiny.stream(photos, in_flight=in_flight))
    assert names(found) == EXPECTED and [result.index for result in found] == list(range(len(photos)))
    for result, picture in zip(found, photos, strict=True):
        alone = tiny.identify(picture)
        assert np.array_equal(result.cards[0].corners_px, alone.cards[0].corners_px)
        assert result.cards[0].matches[0] == alone.cards[0].matches[0]


def test_arguments_reach_every_frame(tiny: Recognizer, photos: list[NDArray[np.uint8]]) -> None:
    options: dict[str, Any] = {"top_k": 2, "where": {"set": "S1"}}

    async def main() -> list[Result]:
        return [result async for result in tiny.astream(photos[:2], drop="never", **options)]

    for found in (
        list(tiny.stream(photos[:2], **options)),
        asyncio.run(main()),
        [tiny.submit(picture, **options).result() for picture in photos[:2]],
    ):
        assert [[match.meta["set"] for match in result.cards[0].matches] for result in found] == [["S1"] * 2] * 2
        assert names(found)[0] == "c3"


def test_bad_frames_among_good_ones(tiny: Recognizer, photos: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    absent = tmp_path / "absent.jpg"
    frames: list[Any] = [photos[0], np.zeros((4, 4), np.float32), photos[1], absent, None, photos[2]]
    found: list[str | None] = []
    results = tiny.stream(frames)
    for expected in (None, InputError, None, FileNotFoundError, InputError, None):
        if expected is None:
            found += names([next(results)])
        else:
            with pytest.raises(expected):
                next(results)
    assert found == EXPECTED[:3] and next(results, None) is None


def test_borrowed_memory_may_be_written_once_it_is_given_back(
    tiny: Recognizer, photos: list[NDArray[np.uint8]]
) -> None:
    buffers = [np.empty_like(photos[0]) for _ in range(2)]
    free = set(range(2))

    def camera() -> Iterator[Lease]:
        for picture in photos:
            eventually(lambda: bool(free))
            buffer = free.pop()
            buffers[buffer][:] = picture

            def give_back(buffer: int = buffer) -> None:
                buffers[buffer][:] = 0
                free.add(buffer)

            yield Lease(buffers[buffer], give_back)

    assert names(tiny.stream(camera(), in_flight=2)) == EXPECTED
    assert free == {0, 1}


def test_astream(tiny: Recognizer, photos: list[NDArray[np.uint8]]) -> None:
    async def camera() -> Any:
        for picture in photos:
            yield picture

    async def main() -> None:
        async with tiny.astream(camera(), drop="never") as results:
            assert names([result async for result in results]) == EXPECTED
        newest = [result.index async for result in tiny.astream(photos)]
        assert newest == sorted(set(newest)) and newest[-1] == len(photos) - 1

    asyncio.run(main())


def test_submissions_own_their_results(tiny: Recognizer, photos: list[NDArray[np.uint8]]) -> None:
    picture = photos[0].copy()
    first = tiny.submit(picture)
    kept = first.result(PATIENCE_S).to_dict()
    picture[:] = 0
    futures = [tiny.submit(each) for each in [*photos, np.zeros((2, 2, 9), np.uint8)]]
    with pytest.raises(InputError):
        futures[-1].result(PATIENCE_S)
    found = [future.result(PATIENCE_S) for future in futures[:-1]]
    assert names(found) == EXPECTED and [result.index for result in found] == list(range(1, len(photos) + 1))
    assert first.result().to_dict() == kept
    tiny.close()
    assert ours() == set() and names(future.result() for future in futures[:-1]) == EXPECTED


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"max_cards": 0}], ids=str)
def test_wrong_arguments_are_raised_at_once(tiny: Recognizer, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        tiny.submit(np.zeros((4, 4, 3), np.uint8), **wrong)
    with pytest.raises(InputError):
        tiny.stream([], **wrong)
    with pytest.raises(InputError, match="in_flight"):
        tiny.stream([], in_flight=0)


class Waits(Detector):
    """Finds nothing, when told to."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._calls = iter(range(10**6))

    def detect(self, frame: Frame, *, max_cards: int) -> list[Detection]:  # noqa: ARG002
        self.desk(np.zeros(1, np.uint8), next(self._calls))
        return []


def test_closing_ends_streams_and_submissions(tiny_catalog: Path) -> None:
    desk, camera = Desk(), Camera()
    recognizer = Recognizer(tiny_catalog, detector=Waits(desk))
    results = recognizer.stream(camera.frames(), in_flight=2)
    eventually(lambda: len(desk.begun) == 2)
    submitted = recognizer.submit(np.zeros((4, 4, 3), np.uint8))
    eventually(lambda: len(desk.begun) == 3)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(next, results, None)
        closing = pool.submit(recognizer.close)
        eventually(lambda: results.in_flight.closed)
        assert not closing.done() and not submitted.done()
        desk.finish_all()
        closing.result(PATIENCE_S)
        assert waiting.result(PATIENCE_S) is None
    assert submitted.result().cards == () and camera.all_returned_once()
    assert next(results, None) is None
    recognizer.close()
    for call in (
        lambda: recognizer.submit(np.zeros((4, 4, 3), np.uint8)),
        lambda: recognizer.stream([]),
        lambda: recognizer.astream([]),
    ):
        with pytest.raises(CardrecError, match="closed"):
            call()


def test_closing_while_another_thread_opens() -> None:
    """Whatever it gets is ended, or it is told that the recognizer is closed."""
    blank = np.zeros((4, 4, 3), np.uint8)

    def keep_opening(recognizer: Recognizer, open_one: Callable[[Recognizer], object]) -> None:
        kept: list[object] = []
        with pytest.raises(CardrecError, match="closed"):
            kept.extend(open_one(recognizer) for _ in itertools.count())
        eventually(lambda: ours() == set())  # though they are held

    def stream(recognizer: Recognizer) -> object:
        return recognizer.stream(Camera().frames(1))

    with ThreadPoolExecutor(2) as pool:
        for open_one in (stream, lambda recognizer: recognizer.submit(blank)):
            recognizer = Recognizer(threads=1)
            opening = [pool.submit(keep_opening, recognizer, open_one) for _ in range(2)]
            time.sleep(5e-3)
            recognizer.close()
            for each in opening:
                each.result(PATIENCE_S)


def test_a_stream_opened_while_closing_is_ended(tiny_catalog: Path) -> None:
    recognizer = Recognizer(tiny_catalog)

    class Closes:
        def __iter__(self) -> Iterator[Any]:
            recognizer.close()
            return endless()

    with pytest.raises(CardrecError, match="closed"):
        recognizer.stream(Closes())


class Slow(OutlineDetector):
    """Takes longer to find what it finds."""

    def detect(self, frame: Frame, *, max_cards: int) -> list[Detection]:
        time.sleep(STAGE_S)
        return super().detect(frame, max_cards=max_cards)


@pytest.fixture
def slow(tiny_catalog: Path, bundle: Model) -> Iterator[Recognizer]:
    """A recognizer whose detection and whose simulated NPU take as long as each other."""
    platform = SimulatedPlatform(latency_ms=STAGE_S * 1e3, watch_memory=True)
    encoder = HailoEncoder(bundle, platform=platform)
    with Recognizer(tiny_catalog, encoder=encoder, detector=Slow()) as recognizer:
        yield recognizer
        assert_slots_free(recognizer)
    encoder.close()
    assert platform.broken_rules == []


def test_detection_overlaps_encoding(slow: Recognizer, photos: list[NDArray[np.uint8]]) -> None:
    frames = photos * 2
    begun = time.perf_counter()
    alone = [slow.identify(frame) for frame in frames]
    one_by_one_s = time.perf_counter() - begun
    begun = time.perf_counter()
    together = list(slow.stream(frames))
    at_once_s = time.perf_counter() - begun
    assert names(together) == names(alone) == EXPECTED * 2
    assert at_once_s < 0.8 * one_by_one_s  # about half of it


def test_leaving_a_stream_leaves_no_slot_taken(slow: Recognizer, photos: list[NDArray[np.uint8]]) -> None:
    for result in slow.stream(photos * 10, in_flight=IN_FLIGHT + 2):
        assert result.index == 0
        break
    with slow.stream(photos * 10) as results:
        next(results)
    eventually(lambda: {thread.name for thread in ours()} <= {"cardrec-simulated-npu"})
    assert_slots_free(slow)
