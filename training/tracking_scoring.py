"""What tracking made of a clip whose truth is known: each card's identity, its tracks, and when it was decided."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cardrec import Result
from cardrec.quads import iou
from cardrec.track import Event, Track, Tracker

__all__ = ["CardScore", "Seen", "Tally", "score_clip", "tally"]

LEAST_OVERLAP = 0.5
"""IoU from which a track is on a card: it can't be on two cards that both are to be seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A frame's result and its truth, see `clips.ClipFrame`; ``dropped``: nobody has read it."""

    time_s: float
    result: Result
    quads_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    dropped: bool = False


@dataclass(slots=True)
class CardScore:
    """What became of one physical card.

    Attributes:
        kind: of the clip.
        name: its card_id; None for a card that the catalog lacks.
        named: identities of its tracks at the end.
        switches: how often another track went on with it, and how often a track's identity changed.
        frames_to_decision: frames from the first in which it was to be seen to its right identity; None: never.
    """

    kind: str
    name: str | None
    named: list[str] = field(default_factory=list)
    switches: int = 0
    frames_to_decision: int | None = None

    @property
    def right(self) -> bool:
        """Whether it has its identity and no other; for a stranger, none."""
        return set(self.named) == ({self.name} if self.name else set())

    @property
    def wrong(self) -> bool:
        """Whether a track of it has another's identity."""
        return any(name != self.name for name in self.named)

    @property
    def missed(self) -> bool:
        """Whether it is in the catalog and was never named."""
        return self.name is not None and self.name not in self.named

    @property
    def twice(self) -> int:
        """By how many cards it is counted too often."""
        return max(0, len(self.named) - 1)


@dataclass(slots=True)
class _Log:
    """What a tracker said of a clip."""

    owners: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    on_card: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    events: list[Event] = field(default_factory=list)
    first_seen: dict[int, int] = field(default_factory=dict)


def score_clip(
    kind: str, names: Sequence[str | None], frames: Iterable[Seen], tracker: Tracker
) -> tuple[list[CardScore], int]:
    """Follows a clip's cards.

    Args:
        kind: of the clip.
        names: card_id of each physical card, None where the catalog lacks it.
        frames: in order.
        tracker: a new one.

    Returns:
        Each card's score, and how many named tracks were on no card at all.
    """
    log = _Log()
    for seen in frames:
        for number in np.flatnonzero(seen.visible).tolist():
            log.first_seen.setdefault(number, seen.result.index)
        if seen.dropped:
            continue
        log.events += tracker.update(seen.result, seen.time_s)
        _note(log, seen, [track for track in tracker.tracks if track.last_s == seen.time_s])
    log.events += tracker.finish()
    cards = [CardScore(kind, name) for name in names]
    nobody = 0
    owners = _owners(log, names)
    for event in log.events:
        owner = owners.get(event.track.id)
        if event.kind == "left" and event.track.match:
            nobody += owner is None
        if owner is not None:
            _tell(cards[owner], event, log.first_seen[owner])
    for number, card in enumerate(cards):
        ids = log.on_card[number]
        card.switches += sum(a != b for a, b in pairwise(ids))
    return [card for number, card in enumerate(cards) if number in log.first_seen], nobody


def _note(log: _Log, seen: Seen, tracks: Sequence[Track]) -> None:
    """Which track is on which card in a frame."""
    for number in np.flatnonzero(seen.visible).tolist():
        fits = [(iou(track.corners_px, seen.quads_px[number]), track.id) for track in tracks]
        overlap, track_id = max(fits, default=(0.0, 0))
        if overlap >= LEAST_OVERLAP:
            log.owners[track_id][number] += 1
            log.on_card[number].append(track_id)


def _owners(log: _Log, names: Sequence[str | None]) -> dict[int, int]:
    """The card that each track was on most; of copies, which nobody can tell apart, one that has no track yet."""
    owners: dict[int, int] = {}
    for track_id in sorted(log.owners, key=lambda each: -log.owners[each].total()):
        on = log.owners[track_id]
        most = max(on, key=on.__getitem__)
        copies = [number for number in on if names[number] == names[most] and number not in owners.values()]
        owners[track_id] = max(copies, key=on.__getitem__) if names[most] and copies else most
    return owners


def _tell(card: CardScore, event: Event, first_seen: int) -> None:
    """Writes an event of a card's track into its score."""
    match = event.track.match
    if event.kind == "left" and match:
        card.named.append(match.card_id)
    if event.kind == "changed":
        card.switches += 1
    if (
        event.kind in {"identified", "changed"}
        and match
        and match.card_id == card.name
        and card.frames_to_decision is None
    ):
        card.frames_to_decision = max(0, event.index - first_seen)


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over cards.

    Attributes:
        cards, strangers: physical cards of the catalog, and others.
        right: cards of the catalog with their identity and no other.
        wrong: cards with another's identity.
        strangers_named: strangers with one.
        missed: cards of the catalog without an identity.
        twice: cards counted too often.
        switches: see `CardScore`.
        decisions: frames to the decision of each card that has one.
    """

    cards: int
    strangers: int
    right: int
    wrong: int
    strangers_named: int
    missed: int
    twice: int
    switches: int
    decisions: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        return self.right / max(1, self.cards)

    @property
    def switches_of_fifty(self) -> float:
        return 50 * self.switches / max(1, self.cards + self.strangers)


def tally(scores: Sequence[CardScore]) -> Tally:
    known = [score for score in scores if score.name]
    strangers = [score for score in scores if not score.name]
    return Tally(
        len(known),
        len(strangers),
        sum(score.right for score in known),
        sum(score.wrong for score in known),
        sum(score.wrong for score in strangers),
        sum(score.missed for score in known),
        sum(score.twice for score in scores),
        sum(score.switches for score in scores),
        tuple(score.frames_to_decision for score in known if score.frames_to_decision is not None),
    )
