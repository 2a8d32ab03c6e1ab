"""Results and facts as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from cardrec.labels import answer, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cardrec.types import Card, Result

__all__ = ["console", "facts_table", "results_table", "table"]

_COLORS = {"match": "green", "ambiguous": "yellow", "unknown": "red"}
_PIPED_WIDTH = 200
"""Columns where stdout is no terminal, so that a table in a file is not wrapped at 80."""


def console(stream: TextIO | None = None) -> Console:
    """A console on a stream, stdout unless said otherwise; names in it are never taken for markup."""
    from rich.console import Console

    stream = stream or sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else _PIPED_WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table; the columns named in ``right`` are aligned to the right."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def results_table(results: Sequence[tuple[str, Result]]) -> Table:
    """A row for each card: picture, status, name, card_id, score, confidence; and the time that the picture took."""
    numbers = ("card", "score", "confidence", "ms")
    made = table("picture", "card", "status", "name", "card_id", "score", "confidence", "ms", right=numbers)
    for name, result in results:
        total = f"{result.timings.total_ms:.1f}"
        if not result.cards:
            made.add_row(printable(name), "-", "no card", "", "", "", "", total)
        for number, card in enumerate(result.cards, start=1):
            made.add_row(printable(name), str(number), *_cells(card), total if number == 1 else "")
    return made


def _cells(card: Card) -> tuple[Any, ...]:
    from rich.text import Text

    score = f"{card.matches[0].score:.3f}" if card.matches else "-"
    card_id = printable(card.matches[0].card_id) if card.status != "unknown" else ""
    return Text(card.status, _COLORS[card.status]), answer(card), card_id, score, f"{card.confidence:.0%}"


def facts_table(facts: Mapping[str, object]) -> Table:
    """Names and values, nested mappings as dotted names."""
    made = table("what", "value")
    for name, value in _flat(facts, ""):
        made.add_row(printable(name), printable(str(value)))
    return made


def _flat(facts: Mapping[str, object], prefix: str) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in facts.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return rows
