"""cards.sqlite: the id and the metadata of each row of a segment."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cardrec.database import Database, DatabaseWriter
from cardrec.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["COLUMNS", "Cards", "CardsWriter", "Filter", "check_card", "parse_filter"]

COLUMNS = ("name", "set", "number", "language", "game")
"""Metadata keys that have a column of their own; all keys, these included, are in the JSON text of ``meta``."""

MAX_ID_CHARACTERS = 1000

_KEPT_ROWS = 1024

_TABLE = (
    "CREATE TABLE cards(row INTEGER PRIMARY KEY, card_id TEXT NOT NULL, "
    + ", ".join(f'"{column}" TEXT' for column in COLUMNS)
    + ", meta TEXT NOT NULL)"
)
_INDEX = "CREATE INDEX cards_card_id ON cards(card_id)"
_INSERT = f"INSERT INTO cards VALUES ({', '.join('?' * (len(COLUMNS) + 3))})"  # noqa: S608 - question marks only

Filter = tuple[tuple[str, str], ...]
"""A checked ``where``: (metadata key, JSON list of the values), sorted by key."""


def check_card(card_id: object, meta: object) -> tuple[str, str]:
    """The id and the metadata as JSON text.

    Raises:
        InputError: the id is no text, blank or too long, or the metadata can't be written as a JSON object.
    """
    if not isinstance(card_id, str) or not card_id.strip() or len(card_id) > MAX_ID_CHARACTERS:
        raise InputError(f"card_id is {str(card_id)[:60]!r}; text of 1 to {MAX_ID_CHARACTERS} characters was expected")
    if not isinstance(meta, Mapping) or not all(isinstance(key, str) for key in meta):
        raise InputError(f"card {card_id!r}: the metadata is {meta!r:.60}; a mapping with text keys was expected")
    try:
        text = json.dumps(dict(meta), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        (card_id + text).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"card {card_id!r}: the id or the metadata is not valid JSON text ({error})") from None
    return card_id, text


def parse_filter(where: Mapping[str, object]) -> Filter:
    """Check ``where``: each key has one value or a list, tuple or set of values (any of them).

    Values are compared as text, so that ``5`` and ``"5"`` are the same number; ``True`` is 1.

    Raises:
        InputError: a key is no text, or a value is neither text nor a number.
    """
    if not isinstance(where, Mapping):
        raise InputError(
            f"where is {where!r:.60}; a mapping such as {{'set': 'A1', 'language': ['en', 'de']}} was expected"
        )
    return tuple(sorted((_key(key), _values(key, value)) for key, value in where.items()))


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise InputError(f"where has the key {key!r}; the name of a metadata field was expected")
    return key


def _values(key: object, value: object) -> str:
    values = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
    if not all(isinstance(each, (str, int, float)) for each in values):
        raise InputError(f"where[{key!r}] is {value!r:.60}; text, a number, or a list of those was expected")
    try:
        texts = [str(int(each)) if isinstance(each, int) else each for each in values]  # SQLite's integers end at 2**63
        return json.dumps(sorted(texts, key=str), allow_nan=False)
    except ValueError:
        raise InputError(f"where[{key!r}] is {value!r:.60}; a finite number was expected") from None


class CardsWriter(DatabaseWriter):
    """Writes one cards.sqlite."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLE, _INDEX)
        self._rows = 0

    def __contains__(self, card_id: str) -> bool:
        return (
            self._connection.execute("SELECT 1 FROM cards WHERE card_id=? LIMIT 1", (card_id,)).fetchone() is not None
        )

    def add(self, cards: Sequence[tuple[str, str]]) -> None:
        """Append (card_id, metadata as JSON text)."""
        numbered = enumerate(cards, start=self._rows)
        self._connection.executemany(_INSERT, ((row, *_record(card_id, text)) for row, (card_id, text) in numbered))
        self._rows += len(cards)


def _record(card_id: str, text: str) -> tuple[object, ...]:
    meta = json.loads(text)
    return (card_id, *(_column(meta.get(column)) for column in COLUMNS), text)


def _column(value: object) -> object:
    """A scalar for a TEXT column, which turns numbers into text; an int of any size is text already."""
    if isinstance(value, int):
        return str(int(value))
    return value if isinstance(value, (str, float)) else None


class Cards(Database):
    """A cards.sqlite, opened; it has every row of the segment."""

    def __init__(self, path: Path, rows: int) -> None:
        self._recent: OrderedDict[int, tuple[str, str]] = OrderedDict()
        super().__init__(path, rows)

    def _check(self) -> None:
        with self._reading():
            schema = self._connection.execute("SELECT sql FROM sqlite_master ORDER BY type DESC").fetchall()
        if schema != [(_TABLE,), (_INDEX,)]:
            raise self._unsound("does not have the tables of a catalog")
        span = self._one("SELECT (SELECT min(row) FROM cards), (SELECT max(row) FROM cards)")
        if span != (0, self._rows - 1):
            raise self._unsound(f"has the rows {span[0]} to {span[1]}, 0 to {self._rows - 1} were expected")

    def card(self, row: int) -> tuple[str, dict[str, Any]]:
        """Id and metadata of a row of the segment."""
        return self.cards([row])[0]

    def cards(self, rows: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
        """Ids and metadata of rows of the segment, in their order; those asked for last are kept, as text."""
        with self._reading():
            found = self._texts(rows)
        return [self._parsed(row, *text) for row, text in zip(rows, found, strict=True)]

    def _parsed(self, row: int, card_id: str, text: str) -> tuple[str, dict[str, Any]]:
        try:
            return card_id, json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._unsound(f"row {row} has no sound metadata ({error})") from error

    def _texts(self, rows: Sequence[int]) -> list[tuple[str, str]]:
        """What `text` gives for each; a video shows the same cards again and again."""
        recent = self._recent
        for row in rows:
            if row in recent:
                recent.move_to_end(row)
            else:
                recent[row] = self._text(row)
        found = [recent[row] for row in rows]
        while len(recent) > _KEPT_ROWS:
            recent.popitem(last=False)
        return found

    def text(self, row: int) -> tuple[str, str]:
        """Id and metadata (as JSON text) of a row of the segment."""
        with self._reading():
            return self._text(row)

    def _text(self, row: int) -> tuple[str, str]:
        found = self._connection.execute("SELECT card_id, meta FROM cards WHERE row=?", (row,)).fetchone()
        if found is None:
            raise self._unsound(f"has no row {row}")
        return found[0], found[1]

    def find(self, card_id: str) -> list[int]:
        """The rows of a card."""
        with self._reading():
            found = self._connection.execute("SELECT row FROM cards WHERE card_id=? ORDER BY row", (card_id,))
            rows = [row for (row,) in found]
        return [self._own(row) for row in rows]

    def _own(self, row: int) -> int:
        """A row number that was read; in a damaged file those between the first and the last may be any."""
        if not 0 <= row < self._rows:
            raise self._unsound(f"names row {row} of {self._rows}")
        return row

    def select(self, where: Filter) -> NDArray[np.int64]:
        """The rows whose metadata passes a filter, ascending."""
        statement, parameters = _select(where)
        with self._reading():
            cursor = self._connection.execute(statement, parameters)
            rows = np.fromiter((row for (row,) in cursor), np.int64)
        for outermost in (rows.min(initial=0), rows.max(initial=0)):
            self._own(outermost)
        return rows

    def verify(self, rows: int) -> None:
        """Read everything: SQLite's own integrity check, then the id and the JSON of each row."""
        self._check_integrity()
        for row in range(rows):
            card_id, meta = self._parsed(row, *self.text(row))
            if not isinstance(card_id, str) or not isinstance(meta, dict):
                raise self._unsound(f"row {row} has no id in text, or metadata that are no object")


def _select(where: Filter) -> tuple[str, list[str]]:
    """The statement for a filter. Its text is made of our own column names only; what a caller gave are parameters."""
    wanted = "(SELECT CAST(value AS TEXT) FROM json_each(?))"
    conditions: list[str] = []
    parameters: list[str] = []
    for key, values in where:
        if key in COLUMNS:
            conditions.append(f'"{key}" IN {wanted}')
            parameters.append(values)
        else:
            fields = "json_each(cards.meta) AS field"
            member = f"field.key=? AND CAST(field.value AS TEXT) IN {wanted}"
            conditions.append(f"EXISTS (SELECT 1 FROM {fields} WHERE {member})")  # noqa: S608 - see above
            parameters.extend((key, values))
    return f"SELECT row FROM cards WHERE {' AND '.join(conditions) or '1'} ORDER BY row", parameters  # noqa: S608
