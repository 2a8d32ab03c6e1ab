"""`AsyncStream`: as `Stream`, and the event loop goes on; cancelling, closing, leaving, loops that end before it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

import pytest
from under_way import FRAME, PATIENCE_S, Camera, Desk, Film, at_once, endless, eventually, nothing_left, ours, result

from cardrec.errors import InputError
from cardrec.flight import Drop
from cardrec.stream import AsyncStream, Lease
from cardrec.types import ImageLike, Result

T = TypeVar("T")
Source = Callable[[Iterable[Any]], Any]


@pytest.fixture(autouse=True)
def _clean(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_left(caplog):
        yield


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.finish_all()


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs it in an event loop of its own, which must not take for ever."""
    return asyncio.run(asyncio.wait_for(main(), 3 * PATIENCE_S))


def opened(frames: Any, identify: Any = at_once, in_flight: int = 3, drop: Drop = "never") -> AsyncStream:
    return AsyncStream(identify, frames, in_flight=in_flight, drop=drop)


async def indices(results: AsyncIterable[Result]) -> list[int]:
    return [each.index async for each in results]


async def soon(condition: Callable[[], bool]) -> None:
    """`eventually` for asyncio."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "this did not come about"
        await asyncio.sleep(1e-3)


async def awaited(frames: Iterable[Any]) -> AsyncIterator[Any]:
    """Gives frames asynchronously, waiting before it takes each."""
    await asyncio.sleep(0)
    for frame in frames:
        yield frame
        await asyncio.sleep(0)


async def hasty(frames: Iterable[Any]) -> AsyncIterator[Any]:
    """Gives frames asynchronously, without ever waiting."""
    for frame in frames:
        yield frame


def plain(frames: Iterable[Any]) -> Iterable[Any]:
    """Gives frames as they are."""
    return frames


sources = pytest.mark.parametrize("source", [plain, awaited, hasty])
drops = pytest.mark.parametrize("drop", ["never", "oldest"])


@sources
def test_results_come_in_the_order_of_the_frames(source: Source) -> None:
    camera = Camera()

    async def main() -> list[int]:
        return await indices(opened(source(camera.frames(50))))

    assert run(main) == list(range(50))
    assert camera.all_returned_once() and camera.most <= 3


@sources
def test_the_source_is_not_read_ahead(source: Source, desk: Desk) -> None:
    film = Film([FRAME] * 10)

    async def main() -> None:
        async with opened(source(film), desk, 2) as results:
            desk.finish_all()
            for fetched in range(5):
                await soon(lambda fetched=fetched: film.taken >= fetched + 2)  # type: ignore[misc]
                await asyncio.sleep(2e-3)  # so that it might take another
                assert film.taken == fetched + 2
                assert (await anext(results)).index == fetched

    run(main)
    assert desk.most <= 2


@sources
def test_the_source_of_a_live_camera_is_not_slowed_down(source: Source, desk: Desk) -> None:
    camera = Camera()

    async def main() -> None:
        async with opened(source(camera.frames(20)), desk, 2, "oldest") as results:
            await soon(lambda: results.dropped == 17)
            assert sorted(desk.begun) == [0, 1]
            desk.finish_all()
            assert await indices(results) == [0, 1, 19]
            assert results.dropped == 17

    run(main)
    assert camera.all_returned_once() and camera.most <= 2 + 2


@pytest.mark.parametrize("in_flight", [1, 3])
def test_after_a_pause_results_are_of_the_newest_frames(in_flight: int) -> None:
    camera = Camera()

    async def live() -> AsyncIterator[Lease]:
        for _ in range(30):
            yield camera.frame()
            await soon(camera.all_returned_once)
        await asyncio.Event().wait()

    async def main() -> None:
        async with opened(live(), in_flight=in_flight, drop="oldest") as results:
            await soon(lambda: camera.lent == 30 and camera.all_returned_once())
            assert (await anext(results)).index >= 30 - in_flight - 1

    run(main)


@sources
@drops
def test_the_event_loop_goes_on(source: Source, drop: Drop) -> None:
    """While frames without end are being identified and nobody fetches results, and while some are fetched."""

    def slow(_image: ImageLike, index: int) -> Result:
        time.sleep(0.01)
        return result(index)

    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(1e-3)

        ticking = asyncio.create_task(tick())
        async with opened(source(endless()), slow, 2, drop) as results:
            await soon(lambda: ticks > 10)
            for _ in range(5):
                before = ticks
                await anext(results)
                await soon(lambda before=before: ticks > before)  # type: ignore[misc]
        ticking.cancel()

    run(main)


@sources
@pytest.mark.parametrize("bad", [(0,), (3,), (5,), (1, 2), tuple(range(6))], ids=str)
def test_errors_are_raised_at_their_frames_and_the_rest_goes_on(source: Source, bad: tuple[int, ...]) -> None:
    desk, camera = Desk(dict.fromkeys(bad, InputError)), Camera()
    desk.finish_all()

    async def main() -> None:
        results = opened(source(camera.frames(6)), desk)
        for index in range(6):
            if index in bad:
                with pytest.raises(InputError, match=f"frame {index}"):
                    await anext(results)
            else:
                assert (await anext(results)).index == index
        assert await anext(results, None) is None and await anext(results, None) is None

    run(main)
    assert camera.all_returned_once()


@sources
@pytest.mark.parametrize("good", [0, 1, 5])
@pytest.mark.parametrize("kind", [OSError, asyncio.CancelledError])
def test_an_error_of_the_source_comes_after_its_frames(source: Source, good: int, kind: type[BaseException]) -> None:
    camera, found = Camera(), []

    async def main() -> None:
        results = opened(source(Film(camera.frames(good), kind)))
        with pytest.raises(kind, match="the source"):
            async for each in results:
                found.append(each.index)
        assert await anext(results, None) is None

    run(main)
    assert found == list(range(good)) and camera.all_returned_once()


async def leave_by_break(results: AsyncStream) -> None:
    async for _ in results:
        break


async def leave_by_an_exception(results: AsyncStream) -> None:
    with pytest.raises(ZeroDivisionError):
        async for _ in results:
            raise ZeroDivisionError


async def leave_after_an_error(results: AsyncStream) -> None:
    with pytest.raises(InputError, match="frame"):
        async for _ in results:
            pass


async def leave_unused(results: AsyncStream) -> None:
    await asyncio.sleep(1e-3)
    del results


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_an_exception, leave_after_an_error, leave_unused])
@sources
@drops
@pytest.mark.parametrize("close", [True, False], ids=["closed", "abandoned"])
def test_leaving_early(leave: Any, source: Source, drop: Drop, close: bool) -> None:
    desk, camera = Desk({index: InputError for index in range(2, 10**5)}), Camera()
    desk.finish_all()

    async def main() -> None:
        if close:
            async with opened(source(camera.frames()), desk, 3, drop) as results:
                await leave(results)
            assert camera.all_returned_once() and ours() == set()
            assert await anext(results, None) is None
            await results.aclose()
        else:
            await leave(opened(source(camera.frames()), desk, 3, drop))
            await soon(lambda: ours() == set() and len(asyncio.all_tasks()) <= 2)
            assert camera.all_returned_once()

    run(main)


def test_what_cant_be_iterated_over_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(InputError, match="frames is int"):
            opened(3)
        with pytest.raises(InputError, match="in_flight=0"):
            opened([], in_flight=0)

    run(main)
    with pytest.raises(RuntimeError, match="no running event loop"):
        opened([])
    assert ours() == set()


def test_cancelling_who_waits_loses_no_frame(desk: Desk) -> None:
    async def main() -> None:
        async with opened([FRAME] * 4, desk) as results:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(results), 0.01)
            waiting = asyncio.ensure_future(anext(results))
            await asyncio.sleep(0)
            desk.finish_all()
            waiting.cancel()
            assert await indices(results) == [0, 1, 2, 3]

    run(main)


def test_several_tasks_may_fetch() -> None:
    async def main() -> None:
        results = opened(awaited([FRAME] * 50), in_flight=2)
        found = await asyncio.gather(*(indices(results) for _ in range(3)))
        assert sorted(itertools.chain(*found)) == list(range(50))
        assert all(numbers == sorted(numbers) for numbers in found)

    run(main)


@sources
def test_closing_ends_the_wait_for_a_result(source: Source, desk: Desk) -> None:
    async def main() -> None:
        results = opened(source([FRAME]), desk)
        waiting = asyncio.ensure_future(anext(results, None))
        await soon(lambda: desk.begun == [0])
        closing = asyncio.ensure_future(results.aclose())
        await soon(lambda: results.in_flight.closed)
        assert not closing.done()  # the frame is still being read
        desk.finish_all()
        assert await waiting is None
        await closing

    run(main)


@sources
@drops
def test_closing_gives_everything_back(source: Source, drop: Drop, desk: Desk) -> None:
    """Frames that are identified, that wait for it, and one for which there is no room."""
    camera = Camera()

    async def main() -> None:
        results = opened(source(camera.frames()), desk, 2, drop)
        await soon(lambda: len(desk.begun) == 2)
        await asyncio.sleep(5e-3)
        closing = asyncio.ensure_future(results.aclose())
        await soon(lambda: results.in_flight.closed)
        desk.finish_all()
        await closing
        assert camera.all_returned_once() and ours() == set()

    run(main)


@drops
def test_a_source_that_gives_nothing_is_cancelled(drop: Drop) -> None:
    ended: list[str] = []

    async def silent() -> AsyncIterator[ImageLike]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("source")
        yield FRAME

    async def main() -> None:
        results = opened(silent(), drop=drop)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(results), 0.01)
        await results.aclose()
        assert ended == ["source"]
        abandoned = opened(silent(), drop=drop)
        await asyncio.sleep(1e-3)
        del abandoned
        await soon(lambda: ended == ["source"] * 2)

    run(main)


def test_a_cancelled_task_closes_its_stream(desk: Desk) -> None:
    camera = Camera()

    async def consume() -> None:
        async with opened(awaited(camera.frames()), desk, 2) as results:
            await indices(results)

    async def main() -> None:
        task = asyncio.create_task(consume())
        await soon(lambda: len(desk.begun) == 2)
        task.cancel()
        desk.finish_all()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert camera.all_returned_once() and ours() == set()

    run(main)


@sources
@drops
def test_the_loop_may_end_before_the_stream(source: Source, drop: Drop) -> None:
    camera, kept = Camera(), []

    async def main() -> None:
        kept.append(opened(source(camera.frames()), in_flight=2, drop=drop))
        assert (await anext(kept[0])).index >= 0

    run(main)
    if source is plain and drop == "never":  # its frames wait to be fetched: nobody can tell that nobody will
        kept.clear()
    else:
        eventually(lambda: "cardrec-source" not in {thread.name for thread in ours()})
        lent = camera.lent
        time.sleep(5e-3)
        assert camera.lent == lent  # nothing goes on, though the stream is held
    kept.clear()
    eventually(camera.all_returned_once)


def test_a_stream_collected_on_another_thread(desk: Desk) -> None:
    async def main() -> None:
        results: Any = opened(awaited(endless()), desk)
        results.itself = results
        await soon(lambda: len(desk.begun) == 3)
        del results
        await asyncio.to_thread(gc.collect)
        desk.finish_all()
        await soon(lambda: ours() == set() and len(asyncio.all_tasks()) <= 2)

    run(main)


def test_frames_are_identified_on_threads() -> None:
    names: set[str] = set()

    def where(_image: ImageLike, index: int) -> Result:
        names.add(threading.current_thread().name.rsplit("_", 1)[0])
        return result(index)

    async def main() -> None:
        await indices(opened(hasty([FRAME] * 5), where))

    run(main)
    assert names == {"cardrec-frame"}
