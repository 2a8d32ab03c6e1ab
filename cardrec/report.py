"""Results and facts as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from cardrec.labels import answer, printable

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.table import Table

    from cardrec.types import Card, Result
    from cardrec.watch import Seen

__all__ = ["console", "facts_table", "live_table", "results_table", "seen_lines", "seen_table", "table"]

_COLORS = {"match": "green", "ambiguous": "yellow", "unknown": "red"}
_PIPED_WIDTH = 200
"""Columns where stdout is no terminal, so that a table in a file is not wrapped at 80."""

_REFRESHES = 8
"""Of a live table in a second: what people can read; each costs about a millisecond."""


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
    return Text(card.status, _COLORS[card.status]), answer(card), _card_id(card), score, f"{card.confidence:.0%}"


def _card_id(card: Card) -> str:
    """The id of the best match, empty where there is no identity to give."""
    return printable(card.matches[0].card_id) if card.status != "unknown" else ""


def seen_table(name: str, seen: Seen) -> Group:
    """A row for each card of a frame: status, name, card_id, score, confidence; below it the pace."""
    from rich.console import Group
    from rich.text import Text

    made = table("card", "status", "name", "card_id", "score", "confidence", right=("card", "score", "confidence"))
    for column, width in zip(made.columns, (4, 9, 32, 14, 5, 10), strict=True):
        column.min_width = width  # or the columns would dance from frame to frame
    if not seen.result.cards:
        made.add_row("-", "no card")
    for number, card in enumerate(seen.result.cards, start=1):
        made.add_row(str(number), *_cells(card))
    pace = printable(
        f"{name}: {seen.time_s:.1f} s, frame {seen.result.index}, {seen.result.timings.total_ms:.1f} ms, "
        f"{seen.per_second:.1f} frames/s, {seen.dropped} dropped"
    )
    return Group(made, Text(pace, "dim"))


@contextmanager
def live_table(name: str) -> Iterator[Callable[[Seen], None]]:
    """A table on the terminal that shows what it is given last; other output appears above it."""
    from rich.live import Live

    latest: list[RenderableType] = [""]
    with Live(
        console=console(),
        get_renderable=lambda: latest[0],
        refresh_per_second=_REFRESHES,
        redirect_stderr=sys.stderr.isatty(),  # into a file it goes on going there
    ):

        def show(seen: Seen) -> None:
            latest[0] = seen_table(name, seen)

        yield show


def seen_lines(seen: Seen) -> list[str]:
    """A line for each card of a frame, with the frame's time."""
    when = f"{seen.time_s:.2f} s"
    if not seen.result.cards:
        return [f"{when}  no card"]
    return [
        "  ".join(filter(None, (when, card.status, answer(card), _card_id(card), f"{card.confidence:.0%}")))
        for card in seen.result.cards
    ]


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
