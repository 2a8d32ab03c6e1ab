"""The decision: thresholds, margins, the confidence curve."""

from __future__ import annotations

import math

import pytest

from cardrec.decide import Calibration, decide
from cardrec.errors import ModelError

CALIBRATION = Calibration(
    min_confidence=0.8, min_score=0.6, max_margin=0.2, bias=-8.0, score_weight=10.0, margin_weight=20.0
)


@pytest.mark.parametrize(
    ("scores", "status"),
    [
        ([], "unknown"),
        ([0.59, 0.55], "unknown"),
        ([0.2, 0.1], "unknown"),
        ([0.45, -0.5], "unknown"),  # far ahead of the others, but far from the card itself
        ([0.61], "match"),
        ([0.9, 0.84], "match"),
        ([0.9, 0.89], "ambiguous"),
        ([0.9, 0.9], "ambiguous"),
        ([-0.3, -0.4], "unknown"),
    ],
)
def test_status(scores: list[float], status: str) -> None:
    assert decide(scores, CALIBRATION)[0] == status


def test_confidence_is_the_logistic_of_score_and_margin() -> None:
    expected = 1 / (1 + math.exp(8.0 - 10.0 * 0.9 - 20.0 * 0.1))
    assert decide([0.9, 0.8, 0.1], CALIBRATION)[1] == pytest.approx(expected, rel=1e-12)


def test_confidence_rises_with_score_and_with_margin() -> None:
    by_score = [decide([score, score - 0.1], CALIBRATION)[1] for score in (0.2, 0.5, 0.9)]
    by_margin = [decide([0.9, 0.9 - margin], CALIBRATION)[1] for margin in (0.0, 0.1, 0.2)]
    assert by_score == sorted(by_score) and by_margin == sorted(by_margin)


def test_a_poor_outline_excuses_a_low_score() -> None:
    sure, poor = (decide([0.58, 0.42], CALIBRATION, doubt) for doubt in (0.0, 1.0))
    assert sure[0] == "unknown" and poor[0] == "match"
    odds = [math.log(each[1] / (1 - each[1])) for each in (sure, poor)]
    assert odds[1] - odds[0] == pytest.approx(CALIBRATION.doubt_weight)
    close = [0.9, 0.885]
    assert [CALIBRATION.rivals(close, doubt) for doubt in (0.0, 1.0)] == [2, 1]


def test_extreme_weights_neither_overflow_nor_leave_0_to_1() -> None:
    steep = Calibration(
        min_confidence=0.5, min_score=0.0, max_margin=1.0, bias=-1e6, score_weight=2e6, margin_weight=0.0
    )
    assert decide([0.0], steep)[1] == 0.0
    assert decide([1.0], steep)[1] == 1.0


def test_missing_number_is_named() -> None:
    with pytest.raises(ModelError, match="margin_weight"):
        Calibration.from_numbers(
            {"min_score": 0.5, "min_confidence": 0.9, "max_margin": 0.1, "bias": 0, "score_weight": 1}
        )
