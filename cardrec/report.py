"""Results and facts as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from cardrec.collection import COLUMNS
from cardrec.labels import answer, printable, title, track_answer

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.table import Table

    from cardrec.collection import Holding
    from cardrec.track import Event, Track
    from cardrec.types import Card, Result
    from cardrec.watch import Seen

__all__ = [
    "LiveTable",
    "console",
    "event_line",
    "facts_table",
    "holdings_table",
    "live_table",
    "results_table",
    "table",
    "tracks_table",
]

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


def tracks_table(name: str, seen: Seen, tracks: Sequence[Track]) -> Group:
    """A row for each card that is there, by its track: status, name, card_id, confidence, since when; then the pace."""
    from rich.console import Group
    from rich.text import Text

    numbers = ("card", "confidence", "since")
    made = table("card", "status", "name", "card_id", "confidence", "since", right=numbers)
    for column, width in zip(made.columns, (4, 9, 32, 14, 10, 7), strict=True):
        column.min_width = width  # or the columns would dance from frame to frame
    if not tracks:
        made.add_row("-", "no card")
    for track in tracks:
        made.add_row(str(track.id), *_track_cells(track), f"{track.first_s:.1f} s")
    pace = printable(
        f"{name}: {seen.time_s:.1f} s, frame {seen.result.index}, {seen.result.timings.total_ms:.1f} ms, "
        f"{seen.per_second:.1f} frames/s, {seen.dropped} dropped"
    )
    return Group(made, Text(pace, "dim"))


def _track_cells(track: Track) -> tuple[Any, ...]:
    """Status, name, card_id and confidence, the latter two of an identity only."""
    from rich.text import Text

    status, name = Text(track.status, _COLORS[track.status]), track_answer(track)
    if track.match is None:
        return status, name, "", ""
    return status, name, printable(track.match.card_id), f"{track.confidence:.0%}"


class LiveTable:
    """Shows the cards that are there on a terminal.

    Args:
        name: of the source.
        put: takes what is to be shown.
    """

    def __init__(self, name: str, put: Callable[[RenderableType], None]) -> None:
        self._name = name
        self._put = put

    def show(self, seen: Seen, _events: Sequence[Event], tracks: Sequence[Track]) -> None:
        """The table of a frame."""
        self._put(tracks_table(self._name, seen, tracks))

    def tell(self, events: Sequence[Event]) -> None:
        """Nothing: the last frame stays on the terminal."""


@contextmanager
def live_table(name: str) -> Iterator[LiveTable]:
    """A table on the terminal that shows what it is given last; other output appears above it."""
    from rich.live import Live

    latest: list[RenderableType] = [""]
    with Live(
        console=console(),
        get_renderable=lambda: latest[0],
        refresh_per_second=_REFRESHES,
        redirect_stderr=sys.stderr.isatty(),  # into a file it goes on going there
    ):
        yield LiveTable(name, lambda shown: latest.__setitem__(0, shown))


def event_line(event: Event) -> str:
    """An event for people: when, which card, what happened, and its name."""
    track = event.track
    parts = [f"{event.time_s:.2f} s", f"card {track.id}", event.kind]
    if event.kind in {"identified", "changed"} and track.match is not None:
        parts += [title(track.match), printable(track.match.card_id), f"{track.confidence:.0%}"]
    elif event.kind == "left":
        parts.append(title(track.match) if track.match else "not identified")
    return "  ".join(parts)


def holdings_table(holdings: Sequence[Holding]) -> Table:
    """A row for each card of a collection."""
    made = table(*COLUMNS, right=("count", "confidence", "first_s", "last_s"))
    for holding in holdings:
        row = holding.to_dict() | {"confidence": f"{holding.confidence:.0%}"}
        made.add_row(*(printable(str(row[column])) for column in COLUMNS))
    return made


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
