"""From the scores of the best cards to an answer: match, ambiguous or unknown, with a probability.

Three numbers decide: the best card's cosine (is it in the catalog at all?), its lead over the next card (is it this
printing?), and how poor the outline is, which excuses a low cosine. A logistic curve makes a probability of them, and a
match is what is probable enough. Curve and thresholds come from simulated photos: of the catalog's own cards where it
was built from pictures (`cardrec.calibrate`), else of cards that no training saw, measured by `python -m
training.evaluate` and stored with the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace

from cardrec.errors import InputError, ModelError
from cardrec.types import Status

__all__ = ["FALSE_ACCEPTS", "LEAST_CONFIDENCE", "TAIL", "Calibration", "decide", "logistic", "threshold"]

FALSE_ACCEPTS = 0.01
"""Share of strangers that are accepted where nothing else is asked for."""

LEAST_CONFIDENCE = 0.8
"""Of a match, however few strangers there are: of two printings that look the same, neither is named."""

TAIL = 0.1
"""Share of the strangers from whose scores it is told how the highest ones fall off."""

DOUBT_WEIGHT = 0.75
"""Log-odds that the poorest outline excuses (`cardrec.detect.Detection.doubt`). Logistic regression on confidence and
doubt of 1,420 hard photos of six catalogs' cards and strangers gives 4.6, standard error 1.0. Most of that is held
back: at 0.75 as many more known cards are named as at 3, and strangers whose outlines are all poor don't pass by it."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How scores become answers.

    Attributes:
        min_confidence: probability from which the best card is a match.
        min_score: cosine from which a card that is no match is ambiguous: it resembles the catalog's cards, but not one
            of them clearly enough.
        max_margin: the most that the lead counts; a longer one tells of a small catalog, not of the card.
        bias, score_weight, margin_weight: logistic regression of 'the best match is right' on score and margin.
        doubt_weight: the same for the outline's doubt, 0..1.
        tail_from, tail_scale: the log-odds that a tenth of the strangers exceeds, and how fast they get rarer from
            there, see `for_false_accepts`; scale 0: not known.
    """

    min_confidence: float
    min_score: float
    max_margin: float
    bias: float
    score_weight: float
    margin_weight: float
    tail_from: float = 0.0
    tail_scale: float = 0.0
    doubt_weight: float = DOUBT_WEIGHT

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, float]) -> Calibration:
        """From the `calibration` object of a model or catalog.

        Raises:
            ModelError: a number is missing.
        """
        missing = [each.name for each in fields(cls) if each.name not in numbers and each.default is MISSING]
        if missing:
            raise ModelError(f"the calibration lacks {', '.join(missing)}; evaluate and export the model again")
        return cls(**{each.name: float(numbers[each.name]) for each in fields(cls) if each.name in numbers})

    def for_false_accepts(self, share: float) -> Calibration:
        """This calibration with the threshold that so many of the strangers pass, but at least `LEAST_CONFIDENCE`.

        Args:
            share: of the cards in view that are not in the catalog, above 0 and at most `TAIL`.

        Raises:
            InputError: the share is out of range, or how rare strangers get was not measured.
        """
        if self.tail_scale <= 0:
            raise InputError(
                f"max_false_accept={share!r}: this catalog was not calibrated on its own cards, and has one threshold "
                "only; build it from pictures"
            )
        return replace(self, min_confidence=threshold(share, self.tail_from, self.tail_scale))

    def rivals(self, scores: Sequence[float], doubt: float = 0.0) -> int:
        """How many of the best cards, the first included, can't be told apart by these scores, best first.

        One that is behind the first by less than a match would need at that score might be the card as well.
        """
        wanted = math.log(self.min_confidence / (1 - self.min_confidence)) if 0 < self.min_confidence < 1 else math.inf
        short = wanted - self.bias - self.score_weight * scores[0] - self.doubt_weight * doubt
        lead = min(self.max_margin, short / self.margin_weight) if self.margin_weight > 0 else 0.0
        return 1 + sum(scores[0] - score < lead for score in scores[1:])


def decide(scores: Sequence[float], calibration: Calibration, doubt: float = 0.0) -> tuple[Status, float]:
    """The status, and the probability that the first card is the one in the frame.

    Args:
        scores: cosines of the best cards, one per card, best first; with a single card in the catalog its lead is taken
            over a cosine of 0, that of unrelated cards.
        calibration: thresholds and curve.
        doubt: how poor the card's outline is, 0..1.
    """
    if not scores:
        return "unknown", 0.0
    best, runner_up = scores[0], scores[1] if len(scores) > 1 else 0.0
    margin = min(best - runner_up, calibration.max_margin)
    evidence = calibration.score_weight * best + calibration.margin_weight * margin
    confidence = logistic(calibration.bias + evidence + calibration.doubt_weight * doubt)
    if confidence >= calibration.min_confidence:
        return "match", confidence
    return ("ambiguous" if best >= calibration.min_score else "unknown"), confidence


def threshold(share: float, tail_from: float, tail_scale: float, least: float = LEAST_CONFIDENCE) -> float:
    """The confidence that so many of the strangers exceed, or the least one that is allowed; see `Calibration`.

    Raises:
        InputError: the share is not above 0 and at most `TAIL`.
    """
    if not 0 < share <= TAIL:
        raise InputError(f"max_false_accept={share!r}; expected a share above 0 and at most {TAIL}")
    return max(logistic(tail_from + tail_scale * math.log(TAIL / share)), least)


def logistic(x: float) -> float:
    """1 / (1 + exp(-x)) without overflow."""
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))
