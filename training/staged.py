"""Results of commands that are there whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["staged"]


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
