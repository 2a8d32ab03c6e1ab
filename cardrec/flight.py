"""Frames under way: how many, in which order they come out, and which are dropped."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from cardrec.errors import CardrecError, DeviceTimeout, InputError
from cardrec.types import ImageLike, Result

__all__ = ["IN_FLIGHT", "Drop", "Exhausted", "Identify", "InFlight", "Lease", "Submissions", "release"]

IN_FLIGHT = 3
"""Frames under way unless said otherwise: one that is detected, one that is encoded, one that is searched."""

SUBMIT_TIMEOUT_S = 60.0
"""How long `Submissions.submit` waits for room: far above any frame that is not stuck."""

Drop: TypeAlias = Literal["never", "oldest"]
"""What happens to frames that come faster than they are done: the source waits, or the newest takes the place of the
one that waits."""

Identify: TypeAlias = Callable[[ImageLike, int], Result]
"""From a frame and its number to its result."""


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """A frame in borrowed memory, such as a camera's own: given back when it is done with, or was dropped.

    Attributes:
        image: the frame.
        release: called once, from any thread, when the memory is no longer read.
    """

    image: ImageLike
    release: Callable[[], None]


@dataclass(slots=True, eq=False)
class _Flight:
    """One frame under way."""

    frame: ImageLike | Lease
    future: Future[Result]


class Exhausted(Exception):
    """No more frames come, and all results were fetched."""


class InFlight:
    """Frames under way: at most so many between `put` and `get`. Thread-safe.

    Args:
        identify: what is done with each.
        depth: frames under way at once.
        drop: what happens to a frame for which there is no room.
        changed: called, from any thread, when `get` or `put` may have become possible.

    Attributes:
        dropped: frames that made room for newer ones.

    Raises:
        InputError: ``depth`` is below 1, or ``drop`` is unknown.
    """

    def __init__(
        self, identify: Identify, *, depth: int, drop: Drop, changed: Callable[[], None] = lambda: None
    ) -> None:
        if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
            raise InputError(f"in_flight={depth!r}; expected a whole number from 1 up")
        if drop not in get_args(Drop):
            raise InputError(f"drop={drop!r}; expected 'never' or 'oldest'")
        self._identify, self._depth, self._drop, self._notify = identify, depth, drop, changed
        self._pool = ThreadPoolExecutor(depth, thread_name_prefix="cardrec-frame")
        self._change = threading.Condition()
        self._flights: deque[_Flight] = deque()
        self._next: tuple[int, ImageLike | Lease] | None = None  # waits for room, where frames may be dropped
        self._ended = self._closed = False
        self._source_error: BaseException | None = None
        self.dropped = 0

    @property
    def closed(self) -> bool:
        """Whether no frame is taken any more."""
        return self._closed

    def put(self, index: int, frame: ImageLike | Lease, *, wait: bool = True) -> bool:
        """Takes a frame, and with ``drop="oldest"`` always does.

        Args:
            index: the frame's number.
            frame: it; its memory must not change before its result is there.
            wait: until there is room, where frames are never dropped.

        Returns:
            Whether it was taken; if not, there is no room or all was closed.
        """
        with self._change:
            while not self._closed and len(self._flights) >= self._depth and self._drop == "never":
                if not wait:
                    return False
                self._change.wait()
            if self._closed:
                return False
            if len(self._flights) < self._depth:
                self._start(index, frame)
            else:
                self._drop_next()
                self._next = index, frame
        return True

    def end(self, error: BaseException | None = None) -> None:
        """Says that no more frames come; an error of the source's is raised where its frame would have been."""
        with self._change:
            self._ended, self._source_error = True, error
            self._change.notify_all()
        self._notify()

    def get(self) -> Result:
        """The next result, in the order in which the frames were put.

        Raises:
            Exhausted: there are no more.
            Exception: what identifying this frame raised, or its source; the next call goes on with the next frame.
        """
        with self._change:
            while not self._is_next_done():
                self._change.wait()
            future = self._take()
        self._notify()
        return future.result()

    def get_nowait(self) -> Result | None:
        """The next result, or None if it is not there yet; raises as `get`."""
        with self._change:
            if not self._is_next_done():
                return None
            future = self._take()
        self._notify()
        return future.result()

    def _is_next_done(self) -> bool:
        if self._closed or (self._ended and not self._flights):
            error, self._source_error = self._source_error, None
            if error is not None and not self._closed:
                raise error
            raise Exhausted
        return bool(self._flights) and self._flights[0].future.done()

    def _take(self) -> Future[Result]:
        flight = self._flights.popleft()
        if self._next is not None:
            self._start(*self._next)
            self._next = None
        self._change.notify_all()
        return flight.future

    def close(self, *, wait: bool = True) -> None:
        """Takes and gives nothing more; waits for the frames that are being identified. May be called again."""
        with self._change:
            self._closed = True
            self._drop_next()
            for flight in self._flights:
                if flight.future.cancel():
                    release(flight.frame)
            self._flights.clear()
            self._change.notify_all()
        self._notify()
        self._pool.shutdown(wait=wait)

    def _start(self, index: int, frame: ImageLike | Lease) -> None:
        flight = _Flight(frame, self._pool.submit(self._run, index, frame))
        self._flights.append(flight)
        flight.future.add_done_callback(self._landed)

    def _run(self, index: int, frame: ImageLike | Lease) -> Result:
        try:
            return self._identify(frame.image if isinstance(frame, Lease) else frame, index)
        finally:
            release(frame)

    def _landed(self, _future: Future[Result]) -> None:
        with self._change:
            self._change.notify_all()
        self._notify()

    def _drop_next(self) -> None:
        if self._next is not None:
            release(self._next[1])
            self._next = None
            self.dropped += 1


def release(frame: ImageLike | Lease) -> None:
    """Gives a frame's memory back, where it was lent."""
    if isinstance(frame, Lease):
        frame.release()


class Submissions:
    """Single frames under way, each with its future; `submit` waits while there are ``depth`` of them.

    Args:
        depth: frames under way at once.
    """

    def __init__(self, *, depth: int = IN_FLIGHT) -> None:
        self._pool = ThreadPoolExecutor(depth, thread_name_prefix="cardrec-frame")
        self._room = threading.BoundedSemaphore(depth)
        self._lock = threading.Lock()
        self._count = 0

    def submit(self, identify: Callable[[int], Result]) -> Future[Result]:
        """Starts one; it is called with its number, which counts up.

        Raises:
            CardrecError: closed.
            DeviceTimeout: there was no room for a minute.
        """
        if not self._room.acquire(timeout=SUBMIT_TIMEOUT_S):
            raise DeviceTimeout(f"the frames under way were not done within {SUBMIT_TIMEOUT_S:.0f} s")
        with self._lock:
            try:
                future = self._pool.submit(identify, self._count)
            except RuntimeError:
                self._room.release()
                raise CardrecError("this Recognizer is closed; open another one") from None
            self._count += 1
        future.add_done_callback(lambda _: self._room.release())
        return future

    def close(self) -> None:
        """Takes nothing more, and waits for what is under way."""
        self._pool.shutdown(wait=True)
