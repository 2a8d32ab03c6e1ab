"""Cards followed over frames: each physical card is one track, named once, when the frames together are sure.

    tracker = Tracker()
    for result, time_s in results:
        for event in tracker.update(result, time_s):
            print(event.kind, event.track.id, event.track.match)
    tracker.finish()

A track goes on where its card lies (`cardrec.associate`), for some seconds also unseen: a hand is over it. A card that
was unseen and turns up elsewhere is known by its look. Evidence is gathered in `cardrec.evidence`. A card that reads,
surely, as another one than the track's is another card, also at the same place: somebody has swapped them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cardrec.associate import Place, pair
from cardrec.errors import InputError
from cardrec.trail import Trail
from cardrec.types import Card, Match, Result, Status

__all__ = ["PATIENCE_S", "Event", "EventKind", "Track", "Tracker"]

EventKind: TypeAlias = Literal["appeared", "identified", "changed", "left"]

PATIENCE_S = 2.0
"""Seconds that a card may be unseen: a hand that puts the next card down covers the last for about one."""

MIN_CONFIDENCE = 0.9
"""Probability of the catalog from which an identity is declared where nothing is known of its strangers."""

CONFIRMED = 3
"""Frames from which a track counts: outlines of hands and shadows seldom last for more than two."""

MISSED = 3
"""Frames in a row after which a track that does not count yet is forgotten."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One physical card, as it is known at some time.

    Attributes:
        id: counts up from 1, in the order in which cards appear.
        card: its best frame's reading.
        corners_px: (4, 2) where it was seen last, the card's own top left, top right, bottom right, bottom left.
        frames: in which it was seen.
        first_s, last_s: when it was seen first and last, in seconds.
        match: its identity; None until one is declared.
        status: ``match`` with an identity; ``unknown``: its frames together say that it is not in the catalog; else
            ``ambiguous``: not identified yet, or one of several that can't be told apart.
        confidence: probability of that identity, 0..1; of the likeliest answer while there is none.
    """

    id: int
    card: Card
    corners_px: NDArray[np.float32]
    frames: int
    first_s: float
    last_s: float
    match: Match | None
    status: Status
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """The track as plain JSON types; the best frame's other matches are left out."""
        match = self.match
        return {
            "id": self.id,
            "card_id": match.card_id if match else None,
            "meta": dict(match.meta) if match else {},
            "status": self.status,
            "confidence": round(self.confidence, 4),
            "frames": self.frames,
            "first_s": round(self.first_s, 3),
            "last_s": round(self.last_s, 3),
            "corners_px": [[round(float(x), 2), round(float(y), 2)] for x, y in self.corners_px],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Something that happened to a track.

    Attributes:
        kind: ``appeared``: a card is there. ``identified``: its identity is declared. ``changed``: another one is,
            for the first was wrong. ``left``: it was not seen for a while, or the frames have ended.
        track: the track as it is now.
        time_s: of the frame that showed it.
        index: that frame's number.
        latency_s: how long it took to say so: since the card was seen first, with ``left`` since it was seen last.
    """

    kind: EventKind
    track: Track
    time_s: float
    index: int
    latency_s: float

    def to_dict(self) -> dict[str, Any]:
        """The event as plain JSON types."""
        return {
            "event": self.kind,
            "index": self.index,
            "time_s": round(self.time_s, 3),
            "latency_s": round(self.latency_s, 3),
            "track": self.track.to_dict(),
        }


class Tracker:
    """Follows cards through the results of one camera, frame after frame. Not thread-safe.

    Args:
        patience_s: seconds that a card may be unseen before it has left. A card that comes back later is a new one.
        min_confidence: probability that a card is in the catalog from which an identity is declared, if no other comes
            near it; `Recognizer.tracker` gives that of its catalog.

    Raises:
        InputError: ``patience_s`` is no positive number; ``min_confidence`` is no probability.
    """

    def __init__(self, *, patience_s: float = PATIENCE_S, min_confidence: float = MIN_CONFIDENCE) -> None:
        if not (isinstance(patience_s, (int, float)) and 0 < patience_s < math.inf):
            raise InputError(f"patience_s={patience_s!r}; expected seconds above 0, such as {PATIENCE_S:.0f}")
        if not (isinstance(min_confidence, (int, float)) and 0 <= min_confidence <= 1):
            raise InputError(f"min_confidence={min_confidence!r}; expected a probability, such as {MIN_CONFIDENCE}")
        self._min_confidence = float(min_confidence)
        self._patience_s = float(patience_s)
        self._trails: list[Trail] = []
        self._count = 0
        self._index = -1
        self._time_s = -math.inf

    @property
    def tracks(self) -> list[Track]:
        """The cards that are there, in the order of their ids; those under a hand as well."""
        trails = sorted((trail for trail in self._trails if trail.id), key=lambda trail: trail.id)
        return [_track(trail) for trail in trails]

    def update(self, result: Result, time_s: float) -> list[Event]:
        """Takes a frame's result in.

        Args:
            result: of a later frame than those before, by its ``index``; frames may be missing. No card leaves while
                there are none: only in frames is it unseen.
            time_s: when the frame was taken, in seconds from any start.

        Returns:
            What happened, tracks that left first; of one track `appeared` comes before `identified`.

        Raises:
            InputError: the frame is not later than the one before.
        """
        self._advance(result.index, time_s)
        events = self._part(lambda trail: trail.missed_s(time_s) > self._patience_s)
        seen = self._follow(result.cards)
        self._trails = [trail for trail in self._trails if trail.id or trail.missed < MISSED]
        for trail in seen:
            events += self._judge(trail)
        return events

    def finish(self) -> list[Event]:
        """Ends all tracks, so that each that appeared has left; the tracker goes on with nothing in view."""
        return self._part(lambda _: True)

    def _advance(self, index: int, time_s: float) -> None:
        if not math.isfinite(time_s) or time_s < self._time_s or index <= self._index:
            raise InputError(
                f"frame {index} at {time_s} s comes after frame {self._index} at {self._time_s} s; a tracker takes "
                "frames in their order: use one for each video"
            )
        self._index, self._time_s = index, float(time_s)

    def _follow(self, cards: tuple[Card, ...]) -> list[Trail]:
        """Gives each card to its trail, or a new one; returns those that were seen."""
        places = [Place.of(card.corners_px) for card in cards]
        for trail in self._trails:
            trail.expect(self._time_s)

        def score(row: int, column: int) -> float | None:
            return self._trails[row].fit(cards[column], places[column])

        pairs = pair(len(self._trails), len(cards), score)
        for row, column in pairs:
            self._trails[row].take(cards[column], places[column], self._time_s)
        seen_rows, seen_columns = {row for row, _ in pairs}, {column for _, column in pairs}
        for row, trail in enumerate(self._trails):
            if row not in seen_rows:
                trail.miss(self._time_s)
        new = [
            Trail(card, self._time_s, self._min_confidence)
            for column, card in enumerate(cards)
            if column not in seen_columns
        ]
        seen = [self._trails[row] for row in sorted(seen_rows)] + new
        self._trails += new
        self._wait_for(seen)
        return seen

    def _wait_for(self, seen: list[Trail]) -> None:
        """Waits longer for a card, up to twice, while one without an identity lies in its place: it may be its back."""
        strangers = [trail for trail in seen if trail.match is None]
        for old in self._trails:
            waited = old.missed and self._time_s - old.last_s <= self._patience_s
            if waited and any(new.lies_on(old) for new in strangers):
                old.missed_from_s = self._time_s

    def _judge(self, trail: Trail) -> list[Event]:
        """What a trail's new frame changes."""
        before = trail.match
        declared = trail.frames >= CONFIRMED and trail.decide()
        events: list[Event] = []
        if not trail.id and trail.frames >= CONFIRMED:
            old = self._returned(trail)
            if old is not None:
                trail.resume(old)
                self._trails.remove(old)
                before, declared = old.match, trail.match is not None and old.match is None
            elif self._is_new(trail):
                self._count += 1
                trail.id = self._count
                events.append(self._event("appeared", trail, trail.first_s))
                declared = trail.match is not None
            else:
                return []
        if declared:
            events.append(self._event("changed" if before else "identified", trail, trail.first_s))
        return events

    def _is_new(self, trail: Trail) -> bool:
        """Whether a trail is a card of its own: it has an identity, or none is out of sight that it may be.

        That one is blurred now because it was moved, turned over, or half under a hand. It comes back or leaves.
        """
        if trail.match is not None:
            return True
        return not any(old.id and old.missed and trail.may_be(old) for old in self._trails)

    def _returned(self, trail: Trail) -> Trail | None:
        """The card that a new trail looks like, if that one was unseen since before it began; the likeliest one."""
        found: tuple[float, Trail] | None = None
        for old in self._trails:
            alike = trail.resembles(old) if old.id and old.missed else None
            if alike is not None and (found is None or alike > found[0]):
                found = alike, old
        return found[1] if found else None

    def _part(self, gone: Callable[[Trail], bool]) -> list[Event]:
        """Forgets trails; of those that counted it is told."""
        leaving = [trail for trail in self._trails if gone(trail)]
        self._trails = [trail for trail in self._trails if trail not in leaving]
        return [self._event("left", trail, trail.last_s) for trail in leaving if trail.id]

    def _event(self, kind: EventKind, trail: Trail, since_s: float) -> Event:
        return Event(kind, _track(trail), self._time_s, self._index, self._time_s - since_s)


def _track(trail: Trail) -> Track:
    return Track(
        trail.id,
        trail.best,
        trail.corners_px,
        trail.frames,
        trail.first_s,
        trail.last_s,
        trail.match,
        trail.status,
        trail.confidence,
    )
