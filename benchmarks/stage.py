"""One stage as a benchmark: its time, a peer's in turn with it, its budget, and how right it was, in one run.

    def test_resize(stage: Stage, frame: Frame) -> None:
        stage("resize", lambda: whole(frame, out))
        ratios = stage.beside({"OpenCV": theirs})
        stage.right("PSNR dB", psnr(out, reference))

What is found stands in the benchmark's `extra_info`, and as rows of the table that `make bench` ends with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.measure import alternate_ms

Result = TypeVar("Result")


@dataclass
class Row:
    """What the table says of a stage.

    Attributes:
        name: of the stage.
        spent_ms: of each call.
        budget_ms: its share of a Pi's budget, `benchmarks.budgets`; None where it has none.
        ratios: its time over that of each peer, medians of calls in turn.
        right: how right it was, by the name of the measure.
        notes: what else was measured, such as megabytes, by name.
    """

    name: str
    spent_ms: Sequence[float]
    budget_ms: float | None = None
    ratios: dict[str, float] = field(default_factory=dict)
    right: dict[str, float] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON types; p50 and p95 are of the raw data."""
        p50, p95 = np.percentile(self.spent_ms, (50, 95)).tolist()
        share = None if self.budget_ms is None else p50 / self.budget_ms
        return {
            "stage": self.name,
            "p50_ms": p50,
            "p95_ms": p95,
            "budget_pi_ms": self.budget_ms,
            "ratio_to_budget": share,
            "ratio_to_peer": self.ratios,
            "accuracy": self.right,
            "notes": self.notes,
        }


class Stage:
    """Runs a stage under pytest-benchmark, once for each test.

    Args:
        benchmark: the test's.
        facts: what the times depend on; goes into `extra_info` as well.
    """

    def __init__(self, benchmark: BenchmarkFixture, facts: Mapping[str, Any]) -> None:
        self.rows: list[Row] = []
        self._benchmark = benchmark
        self._facts = facts
        self._action: Callable[[], object] | None = None

    def __call__(
        self,
        name: str,
        action: Callable[[], Result],
        *,
        rounds: int = 200,
        warm_up: int = 10,
        budget_ms: float | None = None,
    ) -> Result:
        """Times ``rounds`` calls, each alone, so that percentiles are those of calls; returns what the last gave."""
        self._action = action
        pedantic: Callable[..., Result] = self._benchmark.pedantic
        result = pedantic(action, rounds=rounds, warmup_rounds=warm_up, iterations=1)
        if self._benchmark.stats is not None:  # it is with --benchmark-disable
            self.rows.append(Row(name, [1e3 * spent_s for spent_s in self._benchmark.stats.stats.data], budget_ms))
        return result

    def beside(
        self, peers: Mapping[str, Callable[[], object]], *, rounds: int = 100, warm_up: int = 5
    ) -> dict[str, float]:
        """The stage and each peer in turn: the stage's median over the peer's, by the peer's name."""
        assert self._action is not None, "time the stage first"
        ratios = {}
        for name, peer in peers.items():
            ours_ms, theirs_ms = alternate_ms(self._action, peer, rounds=rounds, warm_up=warm_up)
            ratios[name] = ours_ms / theirs_ms
        if self.rows:
            self.rows[0].ratios |= ratios
        return ratios

    def right(self, measure: str, value: float) -> None:
        """How right the stage was in this run, for example the recall of a search."""
        if self.rows:
            self.rows[0].right[measure] = float(value)

    def also(self, name: str, spent_ms: Sequence[float], *, budget_ms: float | None = None) -> None:
        """A row for a part of what was measured, or for what was measured in another way."""
        if self.rows:
            self.rows.append(Row(name, spent_ms, budget_ms))

    def note(self, name: str, value: float) -> None:
        """What else was measured, such as megabytes."""
        if self.rows:
            self.rows[0].notes[name] = float(value)

    def finish(self) -> list[Row]:
        """Puts everything into `extra_info`; returns the rows of the table."""
        self._benchmark.extra_info |= self._facts
        if self.rows:
            first, *more = (row.to_dict() for row in self.rows)
            self._benchmark.extra_info |= first
            if more:
                self._benchmark.extra_info["parts"] = more
        return self.rows
