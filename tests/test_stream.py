"""`Stream`: order, back-pressure, dropping, errors, leaving early."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from under_way import (
    FRAME,
    PATIENCE_S,
    Camera,
    Desk,
    Film,
    at_once,
    endless,
    eventually,
    ours,
    result,
)

from cardrec import stream
from cardrec.errors import InputError
from cardrec.flight import Drop
from cardrec.stream import Lease, Stream
from cardrec.types import ImageLike, Result

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def opened(frames: Any, identify: Any = at_once, in_flight: int = 3, drop: Drop = "never") -> Stream:
    return Stream(identify, frames, in_flight=in_flight, drop=drop)


def indices(results: Stream) -> list[int]:
    return [each.index for each in results]


def at_random(_image: ImageLike, index: int) -> Result:
    time.sleep(float(np.random.default_rng(index).uniform(0, 4e-3)))
    return result(index)


@pytest.mark.parametrize("in_flight", [1, 2, 3, 8])
def test_results_come_in_the_order_of_the_frames(in_flight: int) -> None:
    camera = Camera()
    assert indices(opened(camera.frames(50), at_random, in_flight)) == list(range(50))
    assert camera.all_returned_once() and camera.most <= in_flight


def test_frames_may_come_from_anything_that_is_iterated_over() -> None:
    for frames in ([FRAME] * 3, (FRAME,) * 3, iter([FRAME] * 3), np.zeros((3, 1, 1, 3), np.uint8), Film([FRAME] * 3)):
        assert indices(opened(frames)) == [0, 1, 2]
    assert indices(opened([])) == []


def test_at_its_end_a_stream_has_closed_itself() -> None:
    results = opened([FRAME] * 3)
    assert indices(results) == [0, 1, 2]
    assert ours() == set() and next(results, None) is None


def test_identification_is_given_the_frame_and_not_its_lease() -> None:
    seen: list[object] = []

    def look(image: ImageLike, index: int) -> Result:
        seen.append(image)
        return result(index)

    picture = np.ones((2, 2, 3), np.uint8)
    assert indices(opened([Lease(picture, lambda: None), picture], look, 1)) == [0, 1]
    assert seen[0] is picture and seen[1] is picture


@pytest.mark.parametrize("in_flight", [1, 3])
def test_the_source_is_not_read_ahead(desk: Desk, in_flight: int) -> None:
    film = Film([FRAME] * 10)
    with opened(film, desk, in_flight) as results:
        desk.finish_all()
        for fetched in range(5):
            eventually(lambda fetched=fetched: film.taken >= fetched + in_flight)  # type: ignore[misc]
            time.sleep(2e-3)  # so that it might take another
            assert film.taken == fetched + in_flight
            assert next(results).index == fetched
    assert desk.most <= in_flight


def test_the_source_of_a_live_camera_is_not_slowed_down(desk: Desk) -> None:
    camera = Camera()
    with opened(Film(camera.frames(20)), desk, 2, "oldest") as results:
        eventually(lambda: camera.lent == 20)
        desk.wait_for(0, 1)
        eventually(lambda: results.dropped == 17)
        desk.finish_all()
        assert indices(results) == [0, 1, 19]
    assert camera.all_returned_once() and results.dropped == 17 and camera.most <= 2 + 2


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_after_a_pause_results_are_of_the_newest_frames(in_flight: int) -> None:
    shutter = threading.Semaphore(0)
    camera = Camera()

    def live() -> Iterator[Lease]:
        while True:
            shutter.acquire()
            yield camera.frame()

    def shoot(count: int) -> None:
        for lent in range(camera.lent + 1, camera.lent + 1 + count):
            shutter.release()
            eventually(partial(came_back, lent))

    def came_back(lent: int) -> bool:
        return camera.lent == lent and camera.all_returned_once()

    with opened(live(), at_once, in_flight, "oldest") as results:
        last = -1
        for _ in range(5):
            shoot(20)
            first = next(results).index
            assert camera.lent - first <= in_flight + 1 and last < first
            last = next(results).index if in_flight > 1 else first
        assert results.dropped > 5 * (20 - in_flight - 2)
        shutter.release(5)


def test_a_source_without_pause_starves_nobody() -> None:
    with opened(endless(), at_random, 2, "oldest") as results:
        found = [next(results).index for _ in range(30)]
    assert found == sorted(set(found))


@pytest.mark.parametrize("bad", [(0,), (3,), (9,), (2, 3, 4), tuple(range(10))], ids=str)
@pytest.mark.parametrize("kind", [InputError, KeyboardInterrupt])
def test_errors_are_raised_at_their_frames_and_the_rest_goes_on(
    bad: tuple[int, ...], kind: type[BaseException]
) -> None:
    desk, camera = Desk(dict.fromkeys(bad, kind)), Camera()
    desk.finish_all()
    with opened(camera.frames(10), desk) as results:
        for index in range(10):
            if index in bad:
                with pytest.raises(kind, match=f"frame {index}"):
                    next(results)
            else:
                assert next(results).index == index
        assert next(results, None) is None and next(results, None) is None
    assert camera.all_returned_once()


@pytest.mark.parametrize("good", [0, 1, 5])
@pytest.mark.parametrize("drop", ["never", "oldest"])
def test_an_error_of_the_source_comes_after_its_frames(good: int, drop: Drop) -> None:
    camera, found = Camera(), list[int]()
    results = opened(Film(camera.frames(good), OSError), in_flight=5, drop=drop)
    with pytest.raises(OSError, match="the source"):
        found.extend(each.index for each in results)
    assert found == list(range(good)) and camera.all_returned_once()
    assert next(results, None) is None


def test_what_cant_be_iterated_over_is_refused() -> None:
    with pytest.raises(InputError, match="frames is int"):
        opened(3)
    with pytest.raises(InputError, match="in_flight=0"):
        opened([], in_flight=0)
    assert ours() == set()


def leave_by_break(results: Stream) -> None:
    for _ in results:
        break


def leave_by_an_exception(results: Stream) -> None:
    with pytest.raises(ZeroDivisionError):
        _ = [each.index / 0 for each in results]


def leave_after_an_error(results: Stream) -> None:
    with pytest.raises(InputError, match="frame"):
        for _ in results:
            pass


def leave_unused(results: Stream) -> None:
    del results


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_an_exception, leave_after_an_error, leave_unused])
@pytest.mark.parametrize("drop", ["never", "oldest"])
@pytest.mark.parametrize("close", [True, False], ids=["closed", "abandoned"])
def test_leaving_early(leave: Callable[[Stream], None], drop: Drop, close: bool) -> None:
    desk, camera = Desk(dict.fromkeys(range(10**5), InputError) if leave is leave_after_an_error else None), Camera()
    desk.finish_all()
    if close:
        with opened(camera.frames(), desk, 3, drop) as results:
            leave(results)
        assert camera.all_returned_once() and ours() == set()
        assert next(results, None) is None
        results.close()
        del results
    else:
        leave(opened(camera.frames(), desk, 3, drop))
        eventually(lambda: ours() == set())
        assert camera.all_returned_once()


def test_a_stream_in_a_cycle_is_ended_by_the_garbage_collector() -> None:
    camera = Camera()
    results: Any = opened(camera.frames())
    results.itself = results
    del results
    gc.collect()
    eventually(lambda: ours() == set())
    assert camera.all_returned_once()


def test_the_source_is_closed_unless_somebody_else_has_it() -> None:
    closed: list[str] = []

    def source(name: str) -> Iterator[ImageLike]:
        try:
            yield from endless()
        finally:
            closed.append(name)

    kept = source("kept")
    for frames in (kept, source("lent")):
        with opened(frames) as results:
            next(results)
        del results, frames
    assert closed == ["lent"] and next(kept) is FRAME


def test_frames_not_begun_are_given_back_and_those_begun_are_waited_for(desk: Desk) -> None:
    camera = Camera()
    results = opened(camera.frames(), desk, 2, "oldest")
    desk.wait_for(0, 1)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(results.close)
        eventually(lambda: set(camera.returned) == set(range(2, camera.lent)))
        assert not closing.done() and desk.begun == [0, 1]
        desk.finish_all()
        closing.result(PATIENCE_S)
    assert camera.all_returned_once()


def test_closing_from_another_thread_ends_the_wait_for_a_result(desk: Desk) -> None:
    results = opened([FRAME], desk)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(next, results, None)
        desk.wait_for(0)
        closing = pool.submit(results.close)
        eventually(lambda: results.in_flight.closed)
        desk.finish_all()
        closing.result(PATIENCE_S)
        assert waiting.result(PATIENCE_S) is None


def test_closing_while_the_source_is_giving_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SOURCE_TIMEOUT_S", 0.02)
    exposing, shutter, camera = threading.Event(), threading.Event(), Camera()

    def slow() -> Iterator[Lease]:
        yield camera.frame()
        exposing.set()
        shutter.wait(PATIENCE_S)
        yield camera.frame()

    with opened(slow()) as results:
        assert next(results).index == 0
        exposing.wait(PATIENCE_S)
    assert [thread.name for thread in ours()] == ["cardrec-source"]  # the wait for it has a bound
    shutter.set()
    eventually(lambda: camera.lent == 2 and camera.all_returned_once())


def test_the_source_may_close_the_stream() -> None:
    camera = Camera()

    def source() -> Iterator[Lease]:
        yield camera.frame()
        closer.wait(PATIENCE_S)
        results.close()
        yield camera.frame()

    closer = threading.Event()
    results = opened(source())
    assert next(results).index == 0
    closer.set()
    assert next(results, None) is None
    eventually(lambda: camera.lent == 2)
    assert camera.all_returned_once()


def test_several_threads_may_fetch() -> None:
    results, found = opened([FRAME] * 100, at_random), []
    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(indices, results) for _ in range(4)]:
            numbers = each.result(PATIENCE_S)
            assert numbers == sorted(numbers)
            found += numbers
    assert sorted(found) == list(range(100))


def test_closing_and_putting_at_once() -> None:
    for _ in range(100):
        camera = Camera()
        results = opened(camera.frames(), in_flight=2, drop="oldest")
        next(results)
        results.close()
        assert camera.all_returned_once()


def test_frames_are_identified_at_once() -> None:
    """Three that wait for one another."""
    together = threading.Barrier(3)

    def identify(_image: ImageLike, index: int) -> Result:
        together.wait(PATIENCE_S)
        return result(index)

    assert indices(opened([FRAME] * 6, identify)) == list(range(6))


@pytest.mark.parametrize("drop", ["never", "oldest"])
def test_a_process_may_end_with_a_stream_open(drop: Drop) -> None:
    script = f"""
import itertools, time
from cardrec.stream import Stream
def identify(image, index):
    time.sleep(0.01)
    return index
results = Stream(identify, itertools.repeat(None), in_flight=3, drop={drop!r})
print(next(results) >= 0)
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], check=False, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "True", "")


def test_a_lease_has_one_home() -> None:
    import cardrec

    assert cardrec.Lease is Lease and cardrec.Stream is Stream
