"""What the frames of one card say together: how likely each identity is, one of which is 'not in the catalog'.

A frame gives each of its matches odds against everything else. The best match has those of the calibrated confidence;
the others are less likely than it by exp(-SHARPNESS * gap), gap being how far their cosines lie behind. The best two
together have the odds of the catalog against the unknown: of two printings that look alike neither is likely, but one
of them it is. Not all of them: a stranger resembles several cards a little.

Odds of independent frames would be multiplied. Frames of one card are far from that: the log-odds of ten that a
wandering camera takes in a second have a correlation of 0.9 (`python -m training.evaluate_ten_frames --tuning`), so
that a hundred of them know little that one does not. Products would make any stranger that looks a little like a card
of the catalog into that card, if only it lies there for long enough. So the odds are averaged, and what a threshold
says of one frame, such as how many strangers pass it, holds for a card.

The mean is that of the odds' roots, squared: of a known card in bad light a few frames are good and the others say
nothing, which a mean of logarithms would take for a doubt; of any card a single frame may be misread, which a mean of
the odds themselves would believe. It reaches over the last `HORIZON` frames, so that another card's are believed within
a second however long the first one lay there.

Twins, whose pictures no photo tells apart, share their probability equally, however many frames favour one of them by a
hair: that one always is ahead tells of the two scans, not of the card. Only where a second look named one of them the
others have what that leaves.
"""

from __future__ import annotations

import math

from cardrec.decide import FALSE_ACCEPTS, Calibration, threshold
from cardrec.types import Card, Match

__all__ = ["Evidence", "declared_from"]

SHARPNESS = 57.0
"""Log-probability for each unit of cosine: the weight of the margin in the bundled model's calibration."""

LARGEST = 0.99
"""No frame is surer: a hundredth of all photos shows something that no calibration has seen."""

HORIZON = 15
"""Frames that are averaged: a second of most devices."""

_LEAST = 0.02  # sum of roots, from which a card is a candidate: over all the horizon that is odds of one to a million

EVEN = 0.5
"""Probability from which an identity is declared, at least: it must be likelier than not."""


def declared_from(calibration: Calibration, strangers: float | None) -> float:
    """Probability of the catalog from which an identity is declared, so that few strangers get one: such a share.

    That of one frame may be higher: it also has to keep printings apart that look the same, for which a track has
    `trail.LEAD`.
    """
    if calibration.tail_scale <= 0:
        return calibration.min_confidence
    return threshold(strangers or FALSE_ACCEPTS, calibration.tail_from, calibration.tail_scale, least=EVEN)


class Evidence:
    """Odds of one card's identities."""

    def __init__(self) -> None:
        self._roots: dict[str, float] = {}  # sums over frames of the odds' square roots
        self._inside = 0.0  # the same of the best two matches together
        self._matches: dict[str, Match] = {}
        self._frames = 0.0

    def add(self, card: Card) -> None:
        """Takes a frame's reading in; a card without matches speaks for the unknown."""
        self._forget(HORIZON - 1)
        self._frames += 1
        groups = _groups(card)
        self._inside += _root(sum(sorted(groups.values())[-2:]))
        for group, share in groups.items():
            for card_id in group:
                self._roots[card_id] = self._roots.get(card_id, 0.0) + _root(share / len(group))
        self._matches |= {match.card_id: match for match in (*card.group, *card.matches)}

    def _forget(self, frames: float) -> None:
        """Keeps what is worth so many frames; who has nothing to show for them any more is no candidate."""
        share = min(1.0, frames / max(self._frames, 1.0))
        self._frames *= share
        self._inside *= share
        self._roots = {card_id: root * share for card_id, root in self._roots.items() if root * share > _LEAST}
        self._matches = {card_id: match for card_id, match in self._matches.items() if card_id in self._roots}

    def merge(self, other: Evidence) -> None:
        """Takes in what other frames of the same card said."""
        for card_id, root in other._roots.items():
            self._roots[card_id] = self._roots.get(card_id, 0.0) + root
        self._matches = other._matches | self._matches
        self._frames += other._frames
        self._inside += other._inside
        self._forget(HORIZON)

    def odds(self, card_id: str) -> float:
        """Of one identity against everything else."""
        return self._mean(self._roots.get(card_id, 0.0))

    def _mean(self, root: float) -> float:
        return (root / max(self._frames, 1.0)) ** 2

    def best(self) -> tuple[Match | None, float]:
        """The likeliest card as it was matched last (None: no card of the catalog) and its probability."""
        card_id = max(self._matches, key=self.odds, default=None)
        if card_id is None or self._mean(self._inside) <= 1:
            return None, self.probability(None)
        return self._matches[card_id], self.probability(card_id)

    def lead(self) -> float:
        """By what factor the likeliest card is likelier than the next one."""
        first, second = [*sorted(map(self.odds, self._roots), reverse=True), 0.0, 0.0][:2]
        return first / second if second > 0 else math.inf

    def probability(self, card_id: str | None) -> float:
        """Of one identity; None: no card of the catalog."""
        unknown = 1 / (1 + self._mean(self._inside))
        if card_id is None or card_id not in self._roots:
            return unknown if card_id is None else 0.0
        return (1 - unknown) * self.odds(card_id) / sum(map(self.odds, self._roots))


def _groups(card: Card) -> dict[tuple[str, ...], float]:
    """Of each of a frame's matches, or of it and its twins together, the probability."""
    best = card.matches[0].score if card.matches else 0.0
    found: dict[tuple[str, ...], float] = {}
    for match in card.matches:
        share = card.confidence * math.exp(SHARPNESS * min(0.0, match.score - best))
        group = match.twins or (match.card_id,)
        found[group] = max(found.get(group, 0.0), share * len(group))
    if card.match is not None and card.match.twins:  # a second look told it from them
        del found[card.match.twins]
        left = (1.0 - card.confidence) / (len(card.match.twins) - 1)
        for each in card.match.twins:
            found[(each,)] = card.confidence if each == card.match.card_id else left
    return found


def _root(probability: float) -> float:
    """Of the odds."""
    known = min(probability, LARGEST)
    return math.sqrt(known / (1 - known))
