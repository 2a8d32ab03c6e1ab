"""A stream of frames as events: what `Recognizer.track` returns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cardrec.errors import InputError
from cardrec.stream import Lease, Stream
from cardrec.track import Event, Track, Tracker
from cardrec.types import ImageLike
from cardrec.watch import Recent

__all__ = ["Tracking"]

FRAMES_PER_SECOND = 30.0
"""Of sources that do not say when a frame was taken: what cameras give unless asked."""


class Tracking(Iterator[Event]):
    """Events of a sequence of frames, in order. A context manager.

    ``next`` raises what a frame raised at its place, and may be called again, as with `Stream`. After the last frame
    comes a `left` for every card that was still there.

    Args:
        open_stream: gives the stream of the frames that it is handed.
        frames: the source; where it has a ``time_s``, as `open_source` gives it, frames are timed by that.
        tracker: a new one.
        frames_per_second: of sources without times.

    Raises:
        InputError: ``frames`` can't be iterated over; ``frames_per_second`` is no positive number.
    """

    def __init__(
        self,
        open_stream: Callable[[Iterable[ImageLike | Lease]], Stream],
        frames: Iterable[ImageLike | Lease],
        tracker: Tracker,
        *,
        frames_per_second: float = FRAMES_PER_SECOND,
    ) -> None:
        self._recent = Recent(keep_pictures=False)
        timed: Any = frames if hasattr(frames, "time_s") else _Timed(frames, frames_per_second)
        self._stream = open_stream(self._recent.passing(timed))
        self._tracker = tracker
        self._events: deque[Event] = deque()
        self._ended = False

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""
        return self._stream.dropped

    @property
    def tracks(self) -> list[Track]:
        """The cards that are there, as of the last event's frame."""
        return self._tracker.tracks

    def __next__(self) -> Event:
        while not self._events:
            self._fetch()
        return self._events.popleft()

    def _fetch(self) -> None:
        """Takes one more frame in."""
        if self._ended:
            raise StopIteration
        result = next(self._stream, None)
        if result is None:
            self._ended = True
            self._events += self._tracker.finish()
        else:
            time_s, _ = self._recent.take(result.index)
            self._events += self._tracker.update(result, time_s)

    def close(self) -> None:
        """Ends the stream, and waits for what is being identified; the cards that were there leave."""
        self._stream.close()

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Timed(Iterator["ImageLike | Lease"]):
    """Frames that were taken at regular times."""

    def __init__(self, frames: Iterable[ImageLike | Lease], frames_per_second: float) -> None:
        if not (isinstance(frames_per_second, (int, float)) and 0 < frames_per_second < float("inf")):
            raise InputError(f"frames_per_second={frames_per_second!r}; expected a number above 0, such as 30")
        try:
            self._frames = iter(frames)
        except TypeError:
            raise InputError(f"frames is {type(frames).__name__}; expected something to iterate over") from None
        self._step_s = 1 / frames_per_second
        self._given = 0

    @property
    def time_s(self) -> float:
        """Of the frame that was given last."""
        return (self._given - 1) * self._step_s

    def __next__(self) -> ImageLike | Lease:
        frame = next(self._frames)
        self._given += 1
        return frame
