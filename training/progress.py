"""A progress bar for commands: on stderr, and only where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from cardrec.report import console

__all__ = ["Progress", "bar"]


class Progress(Protocol):
    """Told how far a command is."""

    def __call__(self, stage: str, done: int, total: int | None, /) -> None:
        """How much of a stage is done, of how much; None where nobody knows."""


@contextmanager
def bar() -> Iterator[Progress]:
    """A line with a bar for each stage."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    stderr = console(sys.stderr)
    with Bars(*columns, console=stderr, disable=not stderr.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def progress(stage: str, done: int, total: int | None, /) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield progress
