"""What the frames of one card say together: log-probabilities of its identities, one of which is 'not in the catalog'.

A frame spreads its probability over the best matches and the unknown. The best match has the calibrated confidence p;
the others are less likely than it by exp(-SHARPNESS * gap), gap being how far their cosines lie behind; what is left is
the unknown's. Frames are combined as a weighted product (a logarithmic opinion pool), which would be Bayes' rule with
an even prior if frames were independent and each weight 1. They are not: a card that lies still shows the same glare,
blur and outline again and again. So a frame weighs as much as it is new, `STANDING` for one that repeats the last and
1 for a card seen from elsewhere. With a correlation of r between neighbours, n frames are worth n * (1 - r) / (1 + r)
independent ones, and `STANDING` is that factor.

Twins, whose pictures no photo tells apart, share their probability equally, however many frames favour one of them by a
hair: that one always is ahead tells of the two scans, not of the card. Only where a second look named one of them the
others have what that leaves.

What was never among the matches has the evidence of `BEYOND` in each frame. No identity falls more than `DEEPEST`
behind the leader, so that another card's frames are believed within a second however long the first one lay there.
"""

from __future__ import annotations

import math

from cardrec.types import Card, Match

__all__ = ["Evidence"]

SHARPNESS = 57.0
"""Log-probability for each unit of cosine: the weight of the margin in the bundled model's calibration."""

STANDING = 0.25
"""Weight of a frame that shows a card as the frame before did, (1 - r) / (1 + r) for a correlation of r = 0.6."""

LARGEST = 0.98
"""No frame is surer: of the strangers' photos 2 % are taken for a card (false accepts of the model's evaluation)."""

MOST_AGAINST = 5.0
"""The most that a frame speaks for the unknown: cards of the catalog go unrecognised in 13 to 25 % of the photos of
bad light, strangers in 98 %, which is a likelihood ratio of 4 to 7."""

BEYOND = 0.005
"""Probability of a card that is not among a frame's matches, at most that of the last match."""

DEEPEST = 7.0
"""Log-probability behind the leader, at most: 1,000 to 1."""


class Evidence:
    """Log-probabilities of one card's identities, up to a constant."""

    def __init__(self) -> None:
        self._logs: dict[str, float] = {}
        self._matches: dict[str, Match] = {}
        self._unknown = 0.0
        self._rest = 0.0  # of any card that was never among the matches

    def add(self, card: Card, weight: float) -> None:
        """Takes a frame's reading in.

        Args:
            card: what was read; a card without matches speaks for the unknown.
            weight: how much of it is new, 0..1.
        """
        shares, unknown, beyond = _shares(card)
        for card_id in shares:
            self._logs.setdefault(card_id, self._rest)
        self._matches |= {match.card_id: match for match in (*card.group, *card.matches)}
        for card_id in self._logs:
            self._logs[card_id] += weight * math.log(shares.get(card_id, beyond))
        self._unknown += weight * math.log(unknown)
        self._rest += weight * math.log(beyond)
        self._level()

    def _level(self) -> None:
        """Puts the leader at 0; what has fallen as far as all the others is forgotten."""
        top = max(self._unknown, self._rest, *self._logs.values(), -math.inf)
        self._unknown = max(self._unknown - top, -DEEPEST)
        self._rest = max(self._rest - top, -DEEPEST)
        levelled = {card_id: max(log - top, -DEEPEST) for card_id, log in self._logs.items()}
        self._logs = {card_id: log for card_id, log in levelled.items() if log > self._rest}
        self._matches = {card_id: match for card_id, match in self._matches.items() if card_id in self._logs}

    def merge(self, other: Evidence) -> None:
        """Takes in what other frames of the same card said."""
        for card_id in other._logs:
            self._logs.setdefault(card_id, self._rest)
        for card_id in self._logs:
            self._logs[card_id] += other._logs.get(card_id, other._rest)
        self._matches |= other._matches
        self._unknown += other._unknown
        self._rest += other._rest
        self._level()

    def best(self) -> tuple[Match | None, float]:
        """The likeliest card as it was matched last (None: no card of the catalog) and its probability."""
        card_id = max(self._matches, key=self._logs.__getitem__, default=None)
        if card_id is None or self._logs[card_id] <= self._unknown:
            return None, self.probability(None)
        return self._matches[card_id], self.probability(card_id)

    def probability(self, card_id: str | None) -> float:
        """Of one identity among all that were candidates; None: no card of the catalog."""
        total = math.exp(self._unknown) + sum(map(math.exp, self._logs.values()))
        log = self._unknown if card_id is None else self._logs.get(card_id, self._rest)
        return min(1.0, math.exp(log) / total)


def _shares(card: Card) -> tuple[dict[str, float], float, float]:
    """A frame's probability of each match, of the unknown, and of any other card; they need not add up to 1."""
    if not card.matches:
        return {}, 1.0, BEYOND
    first = min(card.confidence, LARGEST)
    ratios = _ratios(card, first)
    unknown = max(1.0 - first * sum(ratios.values()), 1.0 - LARGEST)
    first = max(first, unknown / MOST_AGAINST)
    shares = {card_id: max(first * ratio, BEYOND) for card_id, ratio in ratios.items()}
    return shares, unknown, BEYOND


def _ratios(card: Card, first: float) -> dict[str, float]:
    """How likely each of the matches and their twins is beside the first match, whose probability is ``first``."""
    best_score = card.matches[0].score
    ratios = {match.card_id: math.exp(SHARPNESS * min(0.0, match.score - best_score)) for match in card.matches}
    for match in card.matches:
        for twin in match.twins:
            ratios[twin] = max(ratios.get(twin, 0.0), ratios[match.card_id])
    if card.match is not None and card.match.twins:  # a second look told it from them
        left = (1.0 - first) / (first * (len(card.match.twins) - 1))
        ratios |= {twin: left for twin in card.match.twins if twin != card.match.card_id}
    return ratios
