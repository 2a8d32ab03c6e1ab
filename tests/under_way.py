"""Frames under way, under a test's control: identification that waits to be told, borrowed memory that is counted."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from cardrec.stream import Lease
from cardrec.types import ImageLike, Result, Timings

PATIENCE_S = 10.0
"""How long a test waits for what takes milliseconds, on a machine that does other things as well."""

FRAME = np.zeros((1, 1, 3), np.uint8)


def result(index: int) -> Result:
    """A result without cards."""
    return Result(index, (1, 1), (), Timings(0, 0, 0, 0, 0))


def at_once(_image: ImageLike, index: int) -> Result:
    """Identifies in no time."""
    return result(index)


def endless() -> Iterator[ImageLike]:
    """Frames without end."""
    return itertools.repeat(FRAME)


def eventually(condition: Callable[[], bool]) -> None:
    """Waits for a condition."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "this did not come about"
        time.sleep(1e-3)


def ours() -> set[threading.Thread]:
    """The library's threads."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("cardrec-")}


@contextmanager
def nothing_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What begins within ends without help of the garbage collector, no thread is left, and no complaint is logged."""
    before = ours()
    gc.disable()
    try:
        yield
        eventually(lambda: ours() <= before)
        assert [record.message for record in caplog.records if record.name in ("asyncio", "concurrent.futures")] == []
    finally:
        gc.enable()


class Desk:
    """Identifies a frame when told to, by its number; or raises what is there for it.

    Attributes:
        begun: numbers of the frames so far, as they came.
        most: how many were being identified at once.
        errors: what to raise, by number.
    """

    def __init__(self, errors: dict[int, type[BaseException]] | None = None) -> None:
        self.begun: list[int] = []
        self.most = 0
        self.errors = errors or {}
        self._now = 0
        self._lock = threading.Lock()
        self._done: dict[int, threading.Event] = defaultdict(threading.Event)
        self._all_done = False

    def __call__(self, _image: ImageLike, index: int) -> Result:
        with self._lock:
            self.begun.append(index)
            self._now += 1
            self.most = max(self.most, self._now)
            done = self._done[index]
            if self._all_done:
                done.set()
        assert done.wait(PATIENCE_S), f"frame {index} was never finished"
        with self._lock:
            self._now -= 1
        if index in self.errors:
            raise self.errors[index](f"frame {index}")
        return result(index)

    def finish(self, *indices: int) -> None:
        """Lets frames be done, now or as soon as they come."""
        with self._lock:
            for index in indices:
                self._done[index].set()

    def finish_all(self) -> None:
        """Lets all frames be done as soon as they come."""
        with self._lock:
            self._all_done = True
            for done in self._done.values():
                done.set()

    def wait_for(self, *indices: int) -> None:
        """Waits until exactly these were begun."""
        eventually(lambda: set(self.begun) >= set(indices))
        assert sorted(self.begun) == sorted(indices)


class Camera:
    """Lends frames, and counts what it gets back.

    Attributes:
        lent: frames so far.
        most: how many were lent at once.
        returned: how often each came back.
    """

    def __init__(self) -> None:
        self.lent = 0
        self.most = 0
        self.returned: Counter[int] = Counter()
        self._lock = threading.Lock()

    def frame(self) -> Lease:
        """The next frame."""
        with self._lock:
            number, self.lent = self.lent, self.lent + 1
            self.most = max(self.most, self.lent - len(self.returned))
        return Lease(FRAME, lambda: self._return(number))

    def frames(self, count: int | None = None) -> Iterator[Lease]:
        """So many frames at once, or some thousands a second without end."""
        for _ in itertools.count() if count is None else range(count):
            yield self.frame()
            if count is None:
                time.sleep(2e-4)

    def all_returned_once(self) -> bool:
        """Whether each frame came back, once."""
        with self._lock:
            return self.returned == Counter(range(self.lent))

    def _return(self, number: int) -> None:
        with self._lock:
            self.returned[number] += 1


class Film:
    """A source that counts what is taken from it, and may raise after its frames."""

    def __init__(self, frames: Iterable[ImageLike | Lease], error: type[BaseException] | None = None) -> None:
        self._frames, self._error = iter(frames), error
        self.taken = 0

    def __iter__(self) -> Iterator[ImageLike | Lease]:
        for frame in self._frames:
            self.taken += 1
            yield frame
        if self._error is not None:
            raise self._error("the source")
