"""What the commands share: errors as one line, and results that are there whole or not at all."""

from __future__ import annotations

import errno
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cardrec.errors import CardrecError
from cardrec.labels import say_error

__all__ = ["FAILED", "one_line_errors", "staged"]

FAILED = 1
"""Exit code of a command that could not do what it was asked for; argparse's own is 2."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the command with one line on stderr and `FAILED`, where an error says what is wrong and what to do."""
    try:
        yield
    except (CardrecError, OSError, ValueError) as error:
        print(f"error: {_said(error)}", file=sys.stderr)
        raise SystemExit(FAILED) from error


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in _FULL:
        return f"{say_error(error)}; nothing was written: free some space, or name another folder with --out"
    return say_error(error)


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder to write a result's files into; they move to ``out`` when all are there, and none does after an error.

    What ``out`` holds under other names is left alone.

    Raises:
        ValueError: ``out`` is no folder.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; name a folder with --out")
    made = [folder for folder in (out.parent, *out.parent.parents) if not folder.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder
        out.mkdir(exist_ok=True)
        # Small files last: a description never names a file that is not there yet.
        for path in sorted(folder.iterdir(), key=lambda path: (-path.stat().st_size, path.name)):
            path.replace(out / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            if not any(parent.iterdir()):
                parent.rmdir()
