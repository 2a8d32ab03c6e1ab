"""The table that `make bench` ends with, instead of pytest-benchmark's own."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmarks import budgets
from benchmarks.stage import Row
from cardrec.report import table

WIDTH = 180


def render(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """Stage, p50, p95, ratios, accuracy; then what it was measured on and what the ratios are."""
    numbers = ("p50 ms", "p95 ms", "of budget")
    made = table("stage", *numbers, "of peer", "accuracy in this run; memory, rate", right=numbers)
    for row in rows:
        made.add_row(row.name, *_cells(row.to_dict()))
    text = io.StringIO()
    Console(file=text, width=WIDTH, markup=False, highlight=False, emoji=False).print(made)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n\n" + _notes(facts)


def _cells(row: Mapping[str, Any]) -> list[str]:
    share, ratios, seen = row["ratio_to_budget"], row["ratio_to_peer"], row["accuracy"] | row["notes"]
    return [
        _ms(row["p50_ms"]),
        _ms(row["p95_ms"]),
        "-" if share is None else f"{share:.2f}",
        ", ".join(f"{ratio:.3g} {name}" for name, ratio in ratios.items()) or "-",
        ", ".join(f"{name} {value:.4g}" for name, value in seen.items()) or "-",
    ]


def _ms(spent_ms: float) -> str:
    return f"{spent_ms:.4f}" if spent_ms < 0.1 else f"{spent_ms:.2f}"


def _notes(facts: Mapping[str, Any]) -> str:
    machine, versions, kernels = facts["machine"], facts["versions"], facts["kernels"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores; search {kernels['search']}, images {kernels['image']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; commit {facts['commit'] or 'unknown'}\n"
        f"of budget: this machine's p50 over what a Raspberry Pi 5 with a Hailo-8 may take, {budgets.TOTAL} ms in all, "
        f"{budgets.HOST} ms of it for the host (benchmarks/budgets.py); nothing was measured on one\n"
        "of peer: the stage's median over the peer's, called in turn; below 1 the stage is faster"
    )
