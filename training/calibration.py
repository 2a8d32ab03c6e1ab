"""From answers to the numbers that `cardrec.decide` needs: the curve of confidence, and what strangers rarely reach."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cardrec.calibrate import fit
from training.retrieval import Answers

__all__ = ["calibrate", "confidence"]

Floats = NDArray[np.float32]


def calibrate(answers: Answers) -> dict[str, float]:
    """The `calibration` object of `model.json`; see `cardrec.calibrate.fit`."""
    inside = answers.score.astype(np.float64), answers.margin.astype(np.float64)
    outside_score, outside_margin = answers.strangers()
    return fit(*inside, answers.right, outside_score.astype(np.float64), outside_margin.astype(np.float64))


def confidence(score: Floats, margin: Floats, numbers: Mapping[str, float]) -> Floats:
    """What `cardrec.decide` makes of scores and margins: (n,) 0..1."""
    logit = (
        numbers["bias"]
        + numbers["score_weight"] * score
        + numbers["margin_weight"] * np.minimum(margin, numbers["max_margin"])
    )
    return np.asarray(1 / (1 + np.exp(-logit)), np.float32)
