"""`AsyncStream` that is left, closed, cancelled, collected, or outlives its event loop."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from under_way import FRAME, Camera, Desk, endless, eventually, ours
from under_way_async import Source, awaited, drops, indices, opened, plain, run, soon, sources

from cardrec.errors import InputError
from cardrec.flight import Drop
from cardrec.stream import AsyncStream
from cardrec.types import ImageLike

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


async def leave_by_break(results: AsyncStream) -> None:
    async for _ in results:
        break


async def leave_by_an_exception(results: AsyncStream) -> None:
    with pytest.raises(ZeroDivisionError):
        _ = [each.index / 0 async for each in results]


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
    desk, camera = Desk(dict.fromkeys(range(10**5), InputError) if leave is leave_after_an_error else None), Camera()
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
