"""Frames under way: how many, in which order they come out, and which are dropped."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from cardrec.errors import CardrecError, DeviceTimeout, InputError
from cardrec.types import ImageLike, Result

__all__ = ["IN_FLIGHT", "Drop", "Exhausted", "Identify", "InFlight", "Lease", "Submissions"]

_LOG = logging.getLogger(__name__)

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
        release: called once, from any thread, when the memory is no longer read. What it raises is raised at its frame,
            or logged if that has no result.
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
    """Frames under way, from `put` to `get`. Thread-safe, for one that puts; `close` may come from anywhere.

    With ``drop="never"`` there are at most ``depth`` of them. With ``"oldest"`` so many are identified, one waits for
    that, and of the results that nobody fetches the older ones make room: there is always one to fetch, a recent one.

    Args:
        identify: what is done with each.
        depth: frames under way at once.
        drop: what happens to a frame for which there is no room.
        changed: called, from any thread, when `get` or `put` may have become possible; raises RuntimeError if nobody
            will ever fetch a result again, which closes.

    Attributes:
        dropped: frames that made room for newer ones, before or after they were identified.

    Raises:
        InputError: ``depth`` is below 1, or ``drop`` is unknown.
    """

    def __init__(
        self, identify: Identify, *, depth: int, drop: Drop, changed: Callable[[], object] = lambda: None
    ) -> None:
        if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
            raise InputError(f"in_flight={depth!r}; expected a whole number from 1 up")
        if drop not in get_args(Drop):
            raise InputError(f"drop={drop!r}; expected 'never' or 'oldest'")
        self._identify, self._depth, self._drop, self._changed = identify, depth, drop, changed
        self._pool = ThreadPoolExecutor(depth, thread_name_prefix="cardrec-frame")
        # Re-entrant: a stream that the garbage collector finds is closed on whatever thread that runs on.
        self._change = threading.Condition(threading.RLock())
        self._flights: deque[_Flight] = deque()
        self._waiting: tuple[int, ImageLike | Lease] | None = None  # only where frames may be dropped
        self._ended = self._closed = False
        self._source_error: BaseException | None = None
        self.dropped = 0

    @property
    def closed(self) -> bool:
        """Whether no frame is taken any more."""
        return self._closed

    def has_room(self) -> bool:
        """Whether a frame may be put."""
        return self._drop == "oldest" or len(self._flights) < self._depth

    def wait_for_room(self) -> bool:
        """Waits until a frame may be put; whether one may, and not all was closed."""
        with self._change:
            while not (self._closed or self.has_room()):
                self._change.wait()
            return not self._closed

    def put(self, index: int, frame: ImageLike | Lease) -> None:
        """Takes a frame, for which there must be room; gives it back if all was closed.

        Args:
            index: the frame's number.
            frame: it; its memory must not change before its result is there.
        """
        with self._change:
            unwanted, self._waiting = self._waiting, (index, frame)
            if self._closed:
                unwanted, self._waiting = self._waiting, None
            elif unwanted is not None:
                self.dropped += 1
            self._start_waiting()
        if unwanted is not None:
            _give_back(unwanted[1])

    def end(self, error: BaseException | None = None) -> None:
        """Says that no more frames come; an error of the source's is raised where its frame would have been."""
        with self._change:
            if not self._closed:
                self._ended, self._source_error = True, self._source_error or error
            self._change.notify_all()
        self._tell()

    def get(self) -> Result:
        """The next result, in the order in which the frames were put.

        Raises:
            Exhausted: there are no more.
            Exception: what identifying this frame raised, or its source; the next call goes on with the next frame.
        """
        with self._change:
            while (result := self.get_nowait()) is None:
                self._change.wait()
        return result

    def get_nowait(self) -> Result | None:
        """The next result, or None if it is not there yet; raises as `get`."""
        with self._change:
            future = self._take()
        if future is None:
            return None
        self._tell()
        try:
            return future.result()
        finally:
            del future  # its exception holds this frame of the stack, which would hold it, and the stream, in turn

    def close(self, *, wait: bool = True) -> None:
        """Takes and gives nothing more; waits for the frames that are being identified. May be called again."""
        with self._change:
            self._closed, self._source_error = True, None
            flights, self._flights = self._flights, deque()
            waiting, self._waiting = self._waiting, None
            self._change.notify_all()
        for flight in flights:
            if flight.future.cancel():
                _give_back(flight.frame)
        if waiting is not None:
            _give_back(waiting[1])
        self._tell()
        self._pool.shutdown(wait=wait)

    def _take(self) -> Future[Result] | None:
        """Takes the next frame out if it is done."""
        if self._closed or (self._ended and not self._flights):
            try:
                raise self._source_error or Exhausted
            finally:
                self._source_error = None
        if not self._flights or not self._flights[0].future.done():
            return None
        future = self._flights.popleft().future
        self._change.notify_all()
        self._start_waiting()
        return future

    def _start_waiting(self) -> None:
        """Starts the frame that waits, if that many may be identified at once."""
        self._drop_results()
        underway = sum(not flight.future.done() for flight in self._flights)
        if self._waiting is None or underway == self._depth or len(self._flights) > self._depth:
            return
        (index, frame), self._waiting = self._waiting, None
        try:
            future = self._pool.submit(self._run, index, frame)
        except RuntimeError as error:
            if self._closed:  # by the garbage collector, just now
                _give_back(frame)
            self.end(error)  # no thread was to be had, or the process is ending
            return
        self._flights.append(_Flight(frame, future))
        future.add_done_callback(self._landed)

    def _drop_results(self) -> None:
        """Makes room for the frame that waits with the oldest results; the newest is kept, or nobody might get one."""
        while self._waiting is not None and len(self._flights) > self._depth:
            if not (self._flights[0].future.done() and self._flights[1].future.done()):
                return
            self._flights.popleft()
            self.dropped += 1

    def _run(self, index: int, frame: ImageLike | Lease) -> Result:
        try:
            return self._identify(frame.image if isinstance(frame, Lease) else frame, index)
        except (StopIteration, StopAsyncIteration) as error:
            raise RuntimeError(f"identifying a frame raised {error!r}") from error  # it would end the caller's loop
        finally:
            if isinstance(frame, Lease):
                frame.release()

    def _landed(self, _future: Future[Result]) -> None:
        with self._change:
            self._change.notify_all()
            self._start_waiting()
        self._tell()

    def _tell(self) -> None:
        try:
            self._changed()
        except RuntimeError:
            if not self._closed:
                self.close(wait=False)


def _give_back(frame: ImageLike | Lease) -> None:
    """Gives borrowed memory of a frame without a result back; an error is logged, there being no place to raise it."""
    if isinstance(frame, Lease):
        try:
            frame.release()
        except Exception:  # noqa: BLE001 - whatever a caller's function raises
            _LOG.exception("giving back the memory of a frame that was not identified failed")


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
