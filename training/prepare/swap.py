"""A folder that is made beside its place and then put there, whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.failure import Failure

__all__ = ["replaced"]


@contextmanager
def replaced(out: Path, mark: str) -> Iterator[Path]:
    """An empty folder that takes the place of ``out`` when the block ends well, and is removed otherwise.

    An earlier result is recognised by the file ``mark`` in it, which lists its files, one a line, itself included.

    Raises:
        Failure: ``out`` holds something else than an earlier result; nothing is touched then.
    """
    out = out.absolute()
    made, old = (out.with_name(f".{out.name}.{state}") for state in ("part", "old"))
    if old.exists() and not out.exists():  # a run was killed between the two renames
        old.rename(out)
    for left in (made, old):
        if left.exists():
            shutil.rmtree(left)
    _require_own(out, mark)
    made.mkdir(parents=True)
    try:
        yield made
        if out.exists():
            out.rename(old)
        made.rename(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    finally:
        for left in (made, old):
            if left.exists():
                shutil.rmtree(left)


def _require_own(out: Path, mark: str) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise Failure(f"{out} is a file; choose another --out")
    own = set((out / mark).read_text(encoding="utf-8").splitlines()) if (out / mark).is_file() else set()
    foreign = sorted(str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir())
    if foreign := [name for name in foreign if name not in own]:
        raise Failure(f"{out} holds {foreign[0]!r}, which was not made here; move it away, or choose another --out")
