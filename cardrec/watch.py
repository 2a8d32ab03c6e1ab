"""The loop of `cardrec watch`: results of a stream, each with its picture and the pace so far."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cardrec.errors import InputError
from cardrec.stream import Lease
from cardrec.types import ImageLike, Result

if TYPE_CHECKING:
    from cardrec.recognizer import Recognizer
    from cardrec.sources import Source

__all__ = ["Pace", "Recent", "Seen", "watch"]

_WINDOW = 30  # results over which the frames per second are taken: a second of most cameras
_KEPT_PICTURES = 32
"""Frames that may come between one that is being recognised and the newest, for the window: 90 MB of 1280x720."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A result of the stream, and what belongs to it.

    Attributes:
        result: what was found; ``result.index`` is the frame's number in the source.
        time_s: when the frame was taken, in seconds from the source's start.
        picture: the frame, where pictures are kept and it still was.
        per_second: frames per second lately; 0 for the first one.
        dropped: frames dropped so far.
    """

    result: Result
    time_s: float
    picture: ImageLike | None
    per_second: float
    dropped: int


@dataclass(slots=True)
class _Passed:
    """A frame that went into the stream."""

    index: int
    time_s: float
    picture: ImageLike | None


class Recent:
    """The frames that went into the stream and have no result yet, by their number.

    One thread passes frames, another takes them; a deque's ends are safe for that.
    """

    def __init__(self, *, keep_pictures: bool) -> None:
        self._keep_pictures = keep_pictures
        self._passed: deque[_Passed] = deque()
        self._with_picture: deque[_Passed] = deque()

    def passing(self, source: Source) -> Iterator[ImageLike | Lease]:
        """The source's frames as they are; times, and copies of what is borrowed, stay here."""
        for index, frame in enumerate(source):
            passed = _Passed(index, source.time_s, _own(frame) if self._keep_pictures else None)
            self._passed.append(passed)
            if self._keep_pictures:
                self._forget_old(passed)
            yield frame

    def take(self, index: int) -> tuple[float, ImageLike | None]:
        """Time and picture of a frame whose result is there; what came before it was dropped."""
        passed = self._passed.popleft()
        while passed.index < index:
            passed = self._passed.popleft()
        return passed.time_s, passed.picture

    def _forget_old(self, newest: _Passed) -> None:
        self._with_picture.append(newest)
        if len(self._with_picture) > _KEPT_PICTURES:
            self._with_picture.popleft().picture = None


def _own(frame: ImageLike | Lease) -> ImageLike:
    """The frame in memory that stays when a lease is given back."""
    if not isinstance(frame, Lease):
        return frame
    return frame.image.copy() if isinstance(frame.image, np.ndarray) else frame.image


class Pace:
    """Counts frames, and says how many there are in a second."""

    def __init__(self) -> None:
        self.frames = 0
        self.dropped = 0
        self._first = 0.0
        self._lately: deque[float] = deque(maxlen=_WINDOW)

    def count(self, dropped: int) -> float:
        """Counts a frame, with the frames dropped so far; the frames per second lately, 0 while there is one only."""
        self.dropped = dropped
        now = time.perf_counter()
        self._first = self._first or now
        self.frames += 1
        self._lately.append(now)
        return _rate(len(self._lately), now - self._lately[0])

    @property
    def per_second(self) -> float:
        """Frames per second since the first result, 0 while there is one only."""
        return _rate(self.frames, self._lately[-1] - self._first) if self._lately else 0.0


def _rate(frames: int, seconds: float) -> float:
    return (frames - 1) / seconds if seconds > 0 else 0.0


def watch(
    recognizer: Recognizer,
    source: Source,
    pace: Pace,
    *,
    keep_pictures: bool,
    in_flight: int,
    drop: Literal["never", "oldest"],
    where: Mapping[str, object] | None,
) -> Generator[Seen | InputError]:
    """What is seen in a source, frame by frame; a frame that can't be used gives its error in its place.

    Args:
        recognizer: opened with the source's ``color``; stays open.
        source: stays open.
        pace: is told of each result.
        keep_pictures: for a window; they are copied where the source only lends them.
        in_flight: frames that are worked on at once.
        drop: whether old frames give way to new ones.
        where: only cards with this metadata.

    Raises:
        DeviceError: the camera or the accelerator failed; of the frames before, all were given.
    """
    recent = Recent(keep_pictures=keep_pictures)
    with recognizer.stream(recent.passing(source), in_flight=in_flight, drop=drop, where=where) as stream:
        while (step := _next(stream)) is not None:
            if isinstance(step, InputError):
                yield step
            else:
                yield Seen(step, *recent.take(step.index), pace.count(stream.dropped), stream.dropped)


def _next(stream: Iterator[Result]) -> Result | InputError | None:
    """The next result, or what was wrong with the next frame; None at the end."""
    try:
        return next(stream, None)
    except InputError as error:
        return error
