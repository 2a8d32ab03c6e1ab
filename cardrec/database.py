"""A SQLite file of a segment, opened read-only and immutable: what `cards.sqlite` and `pictures.sqlite` share."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cardrec.files import unsound

if TYPE_CHECKING:
    from pathlib import Path

    from cardrec.errors import CatalogFormatError

__all__ = ["Database"]


class Database:
    """An open file, which outlives its name. Safe to use from threads.

    Args:
        path: of the file.
        rows: of the segment that it belongs to.

    Raises:
        CatalogFormatError: it can't be opened, or `_check` finds it to be another.
    """

    def __init__(self, path: Path, rows: int) -> None:
        import sqlite3

        self._path, self._rows = path, rows
        self._lock = threading.Lock()
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            path.stat()  # if it is missing, that is the better error: a compaction may have deleted it just now
            raise self._unsound(f"can't be opened ({error})") from error
        try:
            with self._reading():
                self._connection.execute("PRAGMA trusted_schema=OFF")
                self._connection.execute("PRAGMA query_only=ON")
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        """Refuses a file that has not the schema and the rows that it must have."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        import sqlite3

        with self._lock:
            try:
                yield
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise self._unsound(f"can't be read ({error})") from error

    def _one(self, statement: str, *parameters: object) -> Any:
        """The first row that a statement gives, or None."""
        with self._reading():
            return self._connection.execute(statement, parameters).fetchone()

    def _check_integrity(self) -> None:
        """SQLite's own check of every page."""
        answer = self._one("PRAGMA integrity_check(1)")
        if answer != ("ok",):
            raise self._unsound(f"fails SQLite's integrity check ({answer[0]})")

    def close(self) -> None:
        """Let go of the file; idempotent."""
        self._connection.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # a connection that was never opened
            self._connection.close()

    def _unsound(self, what: str) -> CatalogFormatError:
        return unsound(self._path, what)
