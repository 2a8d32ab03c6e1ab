"""The fit of the detector's weights, on a handful of frames."""

from __future__ import annotations

import numpy as np

from training.fit_detector import Judged, fit, tasks


def test_every_frame_has_its_own_seed() -> None:
    listed = tasks(3, 2, 1)
    assert len(listed) == 12 and len({task.seed for task in listed}) == 12
    assert {(task.level, task.cards) for task in listed} == {(a, b) for a in ("easy", "hard") for b in (0, 1, 6)}


def test_fit_tells_cards_from_other_candidates() -> None:
    rng = np.random.default_rng(0)
    judged = []
    for _ in range(20):
        card = rng.random(50) < 0.2
        measured = rng.normal(0, 1, (50, 3)) + np.outer(card, [2.0, 0.0, -1.0])
        judged.append(Judged("easy, 1", measured, np.where(card, 0.95, 0.1)))
    weights = fit(judged)
    scores = np.concatenate([each.measured for each in judged]) @ weights[:-1] + weights[-1]
    card = np.concatenate([each.iou for each in judged]) > 0.9
    assert weights[0] > 0 > weights[2] and abs(weights[1]) < 0.5
    assert ((scores > 0) == card).mean() > 0.9
