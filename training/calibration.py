"""From answers to the numbers that `cardrec.decide` needs: the curve of confidence, and what strangers rarely reach."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cardrec.logistic import fit_logistic
from training.retrieval import Answers

__all__ = ["calibrate", "confidence"]

Floats = NDArray[np.float32]

FALSE_ACCEPTS = 0.01
"""Share of cards outside the catalog that the written thresholds may accept."""
RIDGE = 1e-3
AMBIGUOUS_STRANGERS = 0.1
"""Share of cards outside the catalog that may be called ambiguous instead of unknown, or be accepted."""


def calibrate(answers: Answers) -> dict[str, float]:
    """The `calibration` object of `model.json`: the curve, and the confidence and score that strangers rarely reach."""
    outside_score, outside_margin = answers.strangers()
    max_margin = float(np.quantile(outside_margin, 1 - FALSE_ACCEPTS))
    scores = np.concatenate([answers.score, outside_score]).astype(np.float64)
    margins = np.minimum(np.concatenate([answers.margin, outside_margin]), max_margin).astype(np.float64)
    right = np.concatenate([answers.right, np.zeros(len(outside_score), bool)])
    bias, score_weight, margin_weight = fit_logistic(
        np.column_stack([np.ones(len(scores)), scores, margins]), right, ridge=RIDGE
    )
    numbers = {"bias": bias, "score_weight": score_weight, "margin_weight": margin_weight, "max_margin": max_margin}
    numbers["min_score"] = float(np.quantile(outside_score, 1 - AMBIGUOUS_STRANGERS))
    numbers["min_confidence"] = float(
        np.quantile(confidence(outside_score, outside_margin, numbers), 1 - FALSE_ACCEPTS)
    )
    return {name: round(float(value), 4) for name, value in numbers.items()}


def confidence(score: Floats, margin: Floats, numbers: Mapping[str, float]) -> Floats:
    """What `cardrec.decide` makes of scores and margins: (n,) 0..1."""
    logit = (
        numbers["bias"]
        + numbers["score_weight"] * score
        + numbers["margin_weight"] * np.minimum(margin, numbers["max_margin"])
    )
    return np.asarray(1 / (1 + np.exp(-logit)), np.float32)
