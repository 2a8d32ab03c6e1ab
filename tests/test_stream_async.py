"""`AsyncStream`: results as `Stream` gives them, and the event loop goes on."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator

import pytest
from under_way import FRAME, Camera, Desk, Film, endless, ours, result
from under_way_async import Source, awaited, drops, hasty, indices, opened, run, soon, sources

from cardrec.errors import InputError
from cardrec.flight import Drop
from cardrec.stream import AsyncStream, Lease
from cardrec.types import ImageLike, Result

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


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


async def note(results: AsyncStream, found: list[int]) -> None:
    async for each in results:
        found.append(each.index)  # noqa: PERF401 - what comes before an error counts


@sources
@pytest.mark.parametrize("good", [0, 1, 5])
@pytest.mark.parametrize("kind", [OSError, asyncio.CancelledError])
def test_an_error_of_the_source_comes_after_its_frames(source: Source, good: int, kind: type[BaseException]) -> None:
    camera, found = Camera(), list[int]()

    async def main() -> None:
        results = opened(source(Film(camera.frames(good), kind)))
        with pytest.raises(kind, match="the source"):
            await note(results, found)
        assert await anext(results, None) is None

    run(main)
    assert found == list(range(good)) and camera.all_returned_once()


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


def test_frames_are_identified_on_threads() -> None:
    names: set[str] = set()

    def where(_image: ImageLike, index: int) -> Result:
        names.add(threading.current_thread().name.rsplit("_", 1)[0])
        return result(index)

    async def main() -> None:
        await indices(opened(hasty([FRAME] * 5), where))

    run(main)
    assert names == {"cardrec-frame"}


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
