"""SQLite files of a segment: written once as a stream, then opened read-only and immutable."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cardrec.files import unsound

if TYPE_CHECKING:
    from pathlib import Path

    from cardrec.errors import CatalogFormatError

__all__ = ["Database", "DatabaseWriter"]


class DatabaseWriter:
    """Writes one file as a stream; without a journal, since a file that is not finished is never read.

    Args:
        path: of the new file.
        schema: the statements that make its tables.
    """

    def __init__(self, path: Path, *schema: str) -> None:
        import sqlite3

        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for statement in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "BEGIN", *schema):
            self._connection.execute(statement)

    def finish(self) -> None:
        """Write everything out."""
        self._connection.execute("COMMIT")
        self.close()

    def close(self) -> None:
        """Let go of the file, finished or not; idempotent."""
        self._connection.close()


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

    def _check_table(self, name: str, schema: str) -> None:
        """Refuses a file that has anything but this table, with some of the segment's rows and no others."""
        with self._reading():
            found = self._connection.execute("SELECT sql FROM sqlite_master").fetchall()
        if found != [(schema,)]:
            raise self._unsound(f"does not have the table of a catalog's {name}")
        low, high = self._one(f"SELECT (SELECT min(row) FROM {name}), (SELECT max(row) FROM {name})")  # noqa: S608
        if low is None or low < 0 or high >= self._rows:
            raise self._unsound(f"has the rows {low} to {high}, some of 0 to {self._rows - 1} were expected")

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
