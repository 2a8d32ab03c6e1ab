"""What files hold, as hashes that are computed again only where a file may have changed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from cardrec.files import write_atomically
from training.failure import Failure

__all__ = ["Files", "listed"]

SETTLED_NS = 2_000_000_000
"""Age from which a file's time tells of a later change: coarse clocks give two changes within it the same time."""

Mark = list[int]


class Files:
    """Hashes of files, by size, inode and times of change and modification; kept in a file between runs."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._known: dict[str, tuple[Mark, str]] = {}
        self._used: dict[str, tuple[Mark, str]] = {}
        try:
            kept = json.loads(cache.read_text())
            self._known = {str(path): (list(mark), str(digest)) for path, (mark, digest) in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # without it all is hashed again

    def digest(self, path: Path) -> str:
        """SHA-256 (hex) of a file; empty if there is none.

        Raises:
            Failure: it is there and can't be read.
        """
        try:
            status = path.stat()
            mark = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            name = os.fspath(path.absolute())
            known = self._used.get(name) or self._known.get(name)
            if known is None or known[0] != mark:
                with path.open("rb") as stream:
                    known = mark, hashlib.file_digest(stream, "sha256").hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            raise Failure(f"{path} can't be read: {error.strerror or error}") from error
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_NS:
            self._used[name] = known
        return known[1]

    def save(self) -> None:
        """Keeps what was asked for."""
        write_atomically(self._cache, json.dumps(self._known | self._used).encode())


def listed(path: Path) -> Iterator[Path]:
    """The file itself, or all files below a folder in the order of their names, but for hidden ones.

    Links are followed; a path that is not there has no files.

    Raises:
        Failure: a folder can't be read, or contains itself.
    """
    if not path.is_dir():
        if path.exists():
            yield path
        return
    above = {path.resolve(), *path.resolve().parents}
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise Failure(f"{path} can't be read: {error.strerror or error}") from error
    for entry in entries:
        if entry.is_dir() and entry.is_symlink() and entry.resolve() in above:
            raise Failure(f"{entry} is a link to a folder that it lies in; remove it")
        yield from listed(entry)
