"""From the scores of the best cards to an answer: match, ambiguous or unknown, with a probability.

Two numbers decide: the best card's cosine (is it in the catalog at all?) and its lead over the next card (is it this
printing?). A logistic curve makes a probability of them, and a match is what is probable enough. Curve and thresholds
come from simulated captures of cards that no training saw, measured by `python -m training.evaluate` and stored with
the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cardrec.errors import ModelError
from cardrec.types import Status

__all__ = ["Calibration", "decide"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How scores become answers.

    Attributes:
        min_confidence: probability from which the best card is a match.
        min_score: cosine from which a card that is no match is ambiguous: it resembles the catalog's cards, but not one
            of them clearly enough.
        max_margin: the most that the lead counts; a longer one tells of a small catalog, not of the card.
        bias, score_weight, margin_weight: logistic regression of 'the best match is right' on score and margin.
    """

    min_confidence: float
    min_score: float
    max_margin: float
    bias: float
    score_weight: float
    margin_weight: float

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, float]) -> Calibration:
        """From the `calibration` object of a model or catalog.

        Raises:
            ModelError: a number is missing.
        """
        missing = [name for name in cls.__slots__ if name not in numbers]
        if missing:
            raise ModelError(f"the calibration lacks {', '.join(missing)}; evaluate and export the model again")
        return cls(**{name: float(numbers[name]) for name in cls.__slots__})


def decide(scores: Sequence[float], calibration: Calibration) -> tuple[Status, float]:
    """The status, and the probability that the first card is the one in the frame.

    Args:
        scores: cosines of the best cards, one per card, best first; with a single card in the catalog its lead is taken
            over a cosine of 0, that of unrelated cards.
        calibration: thresholds and curve.
    """
    if not scores:
        return "unknown", 0.0
    best, runner_up = scores[0], scores[1] if len(scores) > 1 else 0.0
    margin = min(best - runner_up, calibration.max_margin)
    evidence = calibration.score_weight * best + calibration.margin_weight * margin
    confidence = _logistic(calibration.bias + evidence)
    if confidence >= calibration.min_confidence:
        return "match", confidence
    return ("ambiguous" if best >= calibration.min_score else "unknown"), confidence


def _logistic(x: float) -> float:
    """1 / (1 + exp(-x)) without overflow."""
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))
