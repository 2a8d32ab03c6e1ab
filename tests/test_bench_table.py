"""The table and the JSON of `make bench`: what a stage leaves in them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import budgets, measure, table
from benchmarks.stage import Row, Stage
from cardrec import machine

FACTS = {
    "machine": machine.describe(),
    "versions": {"cardrec": "1.2.3"},
    "kernels": {"search": "neon", "image": "scalar"},
    "commit": None,
}


class Benchmark:
    """What `Stage` uses of pytest-benchmark's fixture."""

    def __init__(self, spent_s: list[float] | None) -> None:
        self.stats = None if spent_s is None else SimpleNamespace(stats=SimpleNamespace(data=spent_s))
        self.extra_info: dict[str, Any] = {}

    def pedantic(self, action: Any, *, rounds: int, warmup_rounds: int, iterations: int) -> object:
        assert iterations == 1
        return [action() for _ in range(warmup_rounds + rounds)][-1]


def staged(spent_s: list[float] | None) -> tuple[Stage, Benchmark]:
    benchmark: Any = Benchmark(spent_s)
    return Stage(benchmark, FACTS), benchmark


def test_percentiles_are_of_the_raw_data() -> None:
    spent_ms = [float(n) for n in range(101)]
    row = Row("search", spent_ms, 25.0).to_dict()
    assert (row["p50_ms"], row["p95_ms"], row["ratio_to_budget"]) == (50.0, 95.0, 2.0)
    assert Row("open", [1.0]).to_dict()["ratio_to_budget"] is None


def test_a_stage_leaves_all_in_extra_info() -> None:
    stage, benchmark = staged([0.002, 0.004, 0.003])
    calls: list[str] = []

    def ours() -> int:
        calls.append("ours")
        return 7

    assert stage("detect", ours, rounds=3, warm_up=1, budget_ms=1.5) == 7
    ratios = stage.beside({"theirs": lambda: calls.append("theirs")}, rounds=2, warm_up=1)
    stage.right("IoU", 0.5)
    stage.note("MB", 3)
    stage.also("a part", [1.0, 3.0])
    assert len(stage.finish()) == 2
    assert calls == ["ours"] * 4 + ["ours", "theirs"] * 3
    found = json.loads(json.dumps(benchmark.extra_info))
    assert found["stage"] == "detect" and found["p50_ms"] == 3.0 and found["ratio_to_budget"] == 2.0
    assert found["ratio_to_peer"] == ratios and ratios["theirs"] > 0
    assert found["accuracy"] == {"IoU": 0.5} and found["notes"] == {"MB": 3.0}
    assert found["parts"][0]["stage"] == "a part" and found["parts"][0]["p50_ms"] == 2.0
    assert found["kernels"] == {"search": "neon", "image": "scalar"} and found["machine"]["cores"] >= 1


def test_without_measurements_there_are_no_rows() -> None:
    stage, benchmark = staged(None)
    assert stage("detect", lambda: 7, rounds=1, warm_up=0) == 7
    stage.right("IoU", 0.5)
    stage.also("a part", [1.0])
    assert stage.finish() == [] and "stage" not in benchmark.extra_info


def test_the_table() -> None:
    rows = [
        Row("search", [0.2, 0.2], 0.4, {"NumPy": 0.123, "Faiss": 2.0}, {"recall@5": 1.0}),
        Row("decide", [0.0012, 0.0012]),
        Row("open", [30.0], notes={"MB": 0.8}),
    ]
    text = table.render(rows, FACTS)
    lines = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}
    assert lines["search"] == "search 0.20 0.20 0.50 0.123 NumPy, 2 Faiss recall@5 1"
    assert lines["decide"] == "decide 0.0012 0.0012 - - -"
    assert lines["open"] == "open 30.00 30.00 - - MB 0.8"
    assert "cardrec 1.2.3; commit unknown" in text and "nothing was measured on one" in text


def test_the_budgets_add_up() -> None:
    host, total = budgets.DETECT + budgets.NOT_DETECT, budgets.HOST + budgets.NETWORK
    assert host == pytest.approx(budgets.HOST) and total == pytest.approx(budgets.TOTAL)


def test_calls_alternate() -> None:
    calls: list[int] = []
    first, second = measure.alternate(lambda: calls.append(1), lambda: calls.append(2), rounds=3, warm_up=2)
    assert calls == [1, 2] * 5 and len(first) == len(second) == 3
