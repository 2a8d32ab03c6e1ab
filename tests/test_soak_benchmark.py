"""The soak of `benchmarks/soak.py`, short: what its long run promises, and that it notices what is wrong."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from benchmarks import soak
from cardrec.types import Match

FRAMES = 400


def test_a_short_soak_has_no_problems(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    outcome = soak.soak(tmp_path, FRAMES, seed=3, rate=0.02)
    assert outcome.problems() == []
    assert outcome.answered + sum(outcome.failed.values()) == FRAMES and outcome.faults


def test_a_wrong_answer_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardrec.answer.Match", lambda _, *rest: Match("another-card", *rest))
    outcome = soak.soak(tmp_path, 20, rate=0.0, timeout_s=60.0)
    assert len(outcome.wrong) == 20 and outcome.problems()
