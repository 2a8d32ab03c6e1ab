"""What the frames of one card say together: how likely each identity is, one of which is 'not in the catalog'.

A frame gives each of its matches odds against everything else. The best match has those of the calibrated confidence;
the others are less likely than it by exp(-SHARPNESS * gap), gap being how far their cosines lie behind. Odds of
independent frames would be multiplied. Frames of one card are far from that: the log-odds of ten that a wandering
camera takes in a second have a correlation of 0.9 (`python -m training.evaluate_ten_frames --tuning`), so that a
hundred of them know little that one does not. Products would make any stranger that looks a little like a card of the
catalog into that card, if only it lies there for long enough. So the odds are averaged, and what a threshold says of
one frame, such as how many strangers pass it, holds for a card.

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

from cardrec.decide import Calibration, threshold
from cardrec.types import Card, Match

__all__ = ["Evidence", "declared_from"]

SHARPNESS = 57.0
"""Log-probability for each unit of cosine: the weight of the margin in the bundled model's calibration."""

LARGEST = 0.99
"""No frame is surer: a hundredth of all photos shows something that no calibration has seen."""

HORIZON = 15
"""Frames that are averaged: a second of most devices."""

_LEAST = 0.02  # sum of roots, from which a card is a candidate: over all the horizon that is odds of one to a million


STRANGERS = 0.01
"""Share of the strangers that are named where nothing else is asked for, as in `cardrec.calibrate`."""

EVEN = 0.5
"""Probability from which an identity is declared, at least: it must be likelier than not."""


def declared_from(calibration: Calibration, strangers: float | None) -> float:
    """Probability from which an identity is declared, so that only such a share of the strangers gets one.

    That of one frame may be higher: it also has to keep printings apart that look the same, for which a track has
    `trail.LEAD`.
    """
    if calibration.tail_scale <= 0:
        return calibration.min_confidence
    return threshold(strangers or STRANGERS, calibration.tail_from, calibration.tail_scale, least=EVEN)


class Evidence:
    """Odds of one card's identities."""

    def __init__(self) -> None:
        self._roots: dict[str, float] = {}  # sums over frames of the odds' square roots
        self._matches: dict[str, Match] = {}
        self._frames = 0.0

    def add(self, card: Card) -> None:
        """Takes a frame's reading in; a card without matches speaks for the unknown."""
        self._forget(HORIZON - 1)
        self._frames += 1
        for card_id, odds in _odds(card).items():
            self._roots[card_id] = self._roots.get(card_id, 0.0) + math.sqrt(odds)
        self._matches |= {match.card_id: match for match in (*card.group, *card.matches)}

    def _forget(self, frames: float) -> None:
        """Keeps what is worth so many frames; who has nothing to show for them any more is no candidate."""
        share = min(1.0, frames / max(self._frames, 1.0))
        self._frames *= share
        self._roots = {card_id: root * share for card_id, root in self._roots.items() if root * share > _LEAST}
        self._matches = {card_id: match for card_id, match in self._matches.items() if card_id in self._roots}

    def merge(self, other: Evidence) -> None:
        """Takes in what other frames of the same card said."""
        for card_id, root in other._roots.items():
            self._roots[card_id] = self._roots.get(card_id, 0.0) + root
        self._matches = other._matches | self._matches
        self._frames += other._frames
        self._forget(HORIZON)

    def odds(self, card_id: str) -> float:
        """Of one identity against all that is not in the catalog."""
        return float((self._roots.get(card_id, 0.0) / max(self._frames, 1.0)) ** 2)

    def best(self) -> tuple[Match | None, float]:
        """The likeliest card as it was matched last (None: no card of the catalog) and its probability."""
        card_id = max(self._matches, key=self.odds, default=None)
        if card_id is None or self.odds(card_id) <= 1:
            return None, self.probability(None)
        return self._matches[card_id], self.probability(card_id)

    def lead(self) -> float:
        """By what factor the likeliest card is likelier than the next one."""
        first, second = [*sorted(map(self.odds, self._roots), reverse=True), 0.0, 0.0][:2]
        return first / second if second > 0 else math.inf

    def probability(self, card_id: str | None) -> float:
        """Of one identity among all that were candidates; None: no card of the catalog."""
        total = 1 + sum(map(self.odds, self._roots))
        return (1.0 if card_id is None else self.odds(card_id)) / total


def _odds(card: Card) -> dict[str, float]:
    """Of a frame's matches, each against everything else; of twins, each its share of what the group has."""
    found: dict[str, float] = {}
    for match in card.matches:
        group = match.twins or (match.card_id,)
        behind = math.exp(SHARPNESS * min(0.0, match.score - card.matches[0].score))
        odds = _against_the_rest(len(group) * card.confidence * behind) / len(group)
        found |= {each: max(found.get(each, 0.0), odds) for each in group}
    if card.match is not None and card.match.twins:  # a second look told it from them
        left = (1.0 - card.confidence) / (len(card.match.twins) - 1)
        found |= {each: _against_the_rest(left) for each in card.match.twins}
        found[card.match.card_id] = _against_the_rest(card.confidence)
    return found


def _against_the_rest(probability: float) -> float:
    likely = min(probability, LARGEST)
    return likely / (1 - likely)
