"""What `cardrec watch` writes to stdout: events, frames, or a live table of what is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from cardrec.cli_options import print_json

if TYPE_CHECKING:
    from cardrec.track import Event, Track
    from cardrec.watch import Seen

__all__ = ["Output", "open_output"]


class Output(Protocol):
    """Takes what is seen, frame by frame."""

    def show(self, seen: Seen, events: Sequence[Event], tracks: Sequence[Track]) -> None:
        """A frame, what happened in it, and the cards that are there."""

    def tell(self, events: Sequence[Event]) -> None:
        """What happened after the last frame."""


class _EventLines:
    """A line for each event, JSON or text."""

    def __init__(self, name: str, *, as_json: bool) -> None:
        self._name = name
        self._as_json = as_json

    def show(self, _seen: Seen, events: Sequence[Event], _tracks: Sequence[Track]) -> None:
        self.tell(events)

    def tell(self, events: Sequence[Event]) -> None:
        from cardrec.report import event_line

        for event in events:
            if self._as_json:
                print_json({"source": self._name, **event.to_dict()})
            else:
                click.echo(event_line(event))


class _FrameLines:
    """A line of JSON for each frame, as it was read on its own."""

    def __init__(self, name: str) -> None:
        self._name = name

    def show(self, seen: Seen, _events: Sequence[Event], _tracks: Sequence[Track]) -> None:
        print_json({"source": self._name, "time_s": round(seen.time_s, 3), **seen.result.to_dict()})

    def tell(self, events: Sequence[Event]) -> None:
        """Nothing: frames know no events."""


@contextmanager
def open_output(name: str, *, as_json: bool, frames_json: bool) -> Iterator[Output]:
    """The output for a source: as asked, else a table on a terminal, and lines elsewhere."""
    from cardrec.report import live_table

    if frames_json:
        yield _FrameLines(name)
    elif as_json or not sys.stdout.isatty():
        yield _EventLines(name, as_json=as_json)
    else:
        with live_table(name) as table:
            yield table
