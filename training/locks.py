"""One command at a time at a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from training.failure import Failure

__all__ = ["locked"]


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[IO[str]]:
    """Holds the lock of a file, which is made; processes that are given it hold the lock as well.

    Raises:
        Failure: another holds it; the message is ``refusal``.
    """
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(refusal) from None
        yield stream
