"""Results as a recognizer would give them, made up: cards at places, with a look and what it is taken for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cardrec.track import Event, Tracker
from cardrec.types import Card, Match, Result, Status, Timings

CARD_WH = (100.0, 140.0)
RATE = 15
"""Frames in a second."""


@cache
def look(name: str) -> NDArray[np.float32]:
    """(64,) unit vector: the embedding of a card of this name; others are nearly perpendicular to it."""
    vector = np.random.default_rng(list(name.encode())).normal(size=64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def sighting(
    name: str,
    x: float,
    y: float = 200.0,
    *,
    taken_for: str | None = None,
    others: Sequence[str] = ("o1", "o2"),
    confidence: float = 0.99,
    gap: float = 0.1,
    like: str | None = None,
    size: float = 1.0,
) -> Card:
    """A card that looks like ``name`` (or ``like``) around (x, y), and is read as ``taken_for`` with a confidence."""
    half = np.asarray(CARD_WH) * size / 2
    corners = np.asarray([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half + (x, y)
    best = name if taken_for is None else taken_for
    ranked = [best, *(other for other in others if other != best)]
    matches = tuple(
        Match(card_id, 0.99 - gap * place, place, {"name": card_id.upper()}) for place, card_id in enumerate(ranked)
    )
    status: Status = "match" if confidence >= 0.88 else "ambiguous" if confidence > 0.3 else "unknown"
    seen_as = look(like or name)
    return Card(corners.astype(np.float32), 0.99, matches, status, confidence, embedding=seen_as)


def frame(index: int, cards: Iterable[Card]) -> Result:
    return Result(index, (1280, 720), tuple(cards), Timings(0.0, 0.0, 0.0, 0.0, 0.0))


def follow(frames: Iterable[Iterable[Card]], tracker: Tracker | None = None, *, finish: bool = True) -> list[Event]:
    """The events of a clip."""
    tracker = tracker or Tracker()
    events: list[Event] = []
    for index, cards in enumerate(frames):
        events += tracker.update(frame(index, cards), index / RATE)
    return events + (tracker.finish() if finish else [])


def told(events: Iterable[Event]) -> list[tuple[str, int, str | None]]:
    """Kind, track and identity of each event."""
    return [(event.kind, event.track.id, event.track.match.card_id if event.track.match else None) for event in events]
