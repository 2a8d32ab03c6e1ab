"""Commands that must refuse something and leave nothing behind, and a disk that is nearly full."""

from __future__ import annotations

import resource
from collections.abc import Iterator
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
