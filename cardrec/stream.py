"""Frames in flight: several on their way at once, results in the order of the frames.

Each frame goes all its way on a thread of its own, so that one is detected while another is encoded and a third is
searched; nearly all of the work is done without Python's lock. A frame is under way from the moment it is taken from
the source until its result is fetched, and there are never more than `in_flight` of them: whoever fetches slowly slows
the source down. With ``drop="oldest"`` the source is never slowed down. What comes too fast is dropped: frames that
wait for one of the threads, and results that wait for somebody to fetch them; so results are of recent frames even
after a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from functools import partial

from cardrec.errors import InputError
from cardrec.flight import Drop, Exhausted, Identify, InFlight, Lease
from cardrec.types import ImageLike, Result

__all__ = ["AsyncStream", "Lease", "Stream"]

SOURCE_TIMEOUT_S = 5.0
"""How long closing waits for a source that is giving a frame: a camera gives several a second."""


class Stream(Iterator[Result]):
    """Results of a sequence of frames, in their order; what `Recognizer.stream` returns. A context manager.

    ``next`` raises what a frame raised at its place, and may be called again for the frame after it. What the source
    raises comes after the results of its frames. The frames are fetched on a thread of the stream's. A stream that is
    left early, by a ``break`` or an exception, ends by itself; `close` also waits until it has.

    Args:
        identify: what is done with each frame.
        frames: the source.
        in_flight: frames under way at once.
        drop: what happens to frames that come faster than they are done.

    Raises:
        InputError: ``frames`` can't be iterated over; an argument is out of range.
    """

    def __init__(self, identify: Identify, frames: Iterable[ImageLike | Lease], *, in_flight: int, drop: Drop) -> None:
        source = _iterator(frames)
        self.in_flight = InFlight(identify, depth=in_flight, drop=drop)
        # The thread knows the frames in flight, not the stream: so a stream that nobody holds any more is collected.
        self._thread = _pump(self.in_flight, source)

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""
        return self.in_flight.dropped

    def __next__(self) -> Result:
        try:
            return self.in_flight.get()
        except Exhausted:
            self.close()
            raise StopIteration from None

    def close(self) -> None:
        """Ends the stream, and waits for what is being identified and for the source's present frame."""
        self.in_flight.close()
        _join(self._thread)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "in_flight"):
            self.in_flight.close(wait=False)


class AsyncStream(AsyncIterator[Result]):
    """`Stream` for asyncio, made inside a running event loop; frames may come from an asynchronous iterator as well.

    Cancelling whoever waits for a result loses no frame: the stream goes on until `aclose`, or until nobody holds it.
    """

    def __init__(
        self,
        identify: Identify,
        frames: Iterable[ImageLike | Lease] | AsyncIterable[ImageLike | Lease],
        *,
        in_flight: int,
        drop: Drop,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._change = change = asyncio.Event()
        self._feeding: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        source = frames if isinstance(frames, AsyncIterable) else _iterator(frames)
        # As in `Stream`, nothing that lives on by itself may know the stream, or it would never be collected.
        self.in_flight = InFlight(
            identify, depth=in_flight, drop=drop, changed=partial(loop.call_soon_threadsafe, change.set)
        )
        if isinstance(source, AsyncIterable):
            self._feeding = loop.create_task(_feed(self.in_flight, source, change))
        else:
            self._thread = _pump(self.in_flight, source)

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""
        return self.in_flight.dropped

    async def __anext__(self) -> Result:
        while True:
            self._change.clear()
            try:
                result = self.in_flight.get_nowait()
            except Exhausted:
                await self.aclose()
                raise StopAsyncIteration from None
            if result is not None:
                return result
            await self._change.wait()

    async def aclose(self) -> None:
        """Ends the stream, and waits for what is being identified and for the source's present frame."""
        self.in_flight.close(wait=False)
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait([self._feeding], timeout=SOURCE_TIMEOUT_S)
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        self.in_flight.close()
        if self._thread is not None:
            _join(self._thread)

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if hasattr(self, "in_flight"):
            self.in_flight.close(wait=False)
            if self._feeding is not None:
                with contextlib.suppress(RuntimeError):  # the loop was closed, and the task ended with it
                    self._loop.call_soon_threadsafe(self._feeding.cancel)


def _iterator(frames: Iterable[ImageLike | Lease]) -> Iterator[ImageLike | Lease]:
    try:
        return iter(frames)
    except TypeError:
        raise InputError(f"frames is {type(frames).__name__}; expected something to iterate over") from None


def _pump(in_flight: InFlight, source: Iterator[ImageLike | Lease]) -> threading.Thread:
    """Starts a thread that puts what a source gives."""
    thread = threading.Thread(target=_put_all, args=(in_flight, source), name="cardrec-source", daemon=True)
    thread.start()
    return thread


def _put_all(in_flight: InFlight, source: Iterator[ImageLike | Lease]) -> None:
    try:
        for index, frame in enumerate(source):
            in_flight.put(index, frame)
            if not in_flight.wait_for_room():
                return
    except BaseException as error:  # noqa: BLE001 - it is raised where the results are fetched
        in_flight.end(error)
    else:
        in_flight.end()


def _join(thread: threading.Thread) -> None:
    """Waits for a source's thread, unless it is the source that asks."""
    if thread is not threading.current_thread():
        thread.join(SOURCE_TIMEOUT_S)


async def _feed(in_flight: InFlight, source: AsyncIterable[ImageLike | Lease], change: asyncio.Event) -> None:
    """Puts what an asynchronous source gives."""
    index = 0
    try:
        async for frame in source:
            in_flight.put(index, frame)
            index += 1
            await asyncio.sleep(0)  # a source that never waits must not keep the loop to itself
            if not await _room(in_flight, change):
                return
    except BaseException as error:
        in_flight.end(error)  # it is raised where the results are fetched
        if not isinstance(error, Exception):
            raise
    else:
        in_flight.end()


async def _room(in_flight: InFlight, change: asyncio.Event) -> bool:
    """`InFlight.wait_for_room` for asyncio."""
    while not (in_flight.closed or in_flight.has_room()):
        change.clear()
        await change.wait()
    return not in_flight.closed
