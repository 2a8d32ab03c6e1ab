"""Commands that must refuse something and leave nothing behind, and a disk that is nearly full."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def files_up_to(count: int) -> Iterator[None]:
    """Files can't grow over so many bytes: writing on fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refusal(what: Callable[[], None], *words: str, command: str = "") -> str:
    """The one line with which a command ends; it has these words, and begins with the command's name."""
    with pytest.raises(SystemExit) as stopped:
        what()
    message = str(stopped.value)
    assert message.startswith(f"{command}: " if command else "") and "\n" not in message
    for word in words:
        assert word in message
    return message


@contextmanager
def refused(out: Path, *words: str) -> Iterator[None]:
    """The command must end with one line of error that has these words, and leave nothing in the folder of ``out``."""
    beside = sorted(out.parent.iterdir())
    with pytest.raises(SystemExit) as caught:
        yield
    line = str(caught.value)
    assert line.startswith("python -m training.") and "\n" not in line
    for word in words:
        assert word in line
    assert sorted(out.parent.iterdir()) == beside
