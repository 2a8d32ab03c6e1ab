"""A folder of pictures, or a CSV or JSON Lines manifest, becomes the items that a catalog is built from.

A manifest has the columns ``card_id`` and ``image``; all others are metadata. Paths of images are relative to the
manifest's folder. In a folder the card_id is the file's name without its ending.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from cardrec.cards import check_card
from cardrec.errors import InputError
from cardrec.types import ImageLike

__all__ = ["IMAGE_SUFFIXES", "Item", "Items", "open_items"]

Item = tuple[str, ImageLike, Mapping[str, object]]
"""(card_id, image, metadata)"""

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"))
"""Files of a folder with other endings are no pictures and are passed over."""

_LINE_CHARACTERS = 1 << 20  # a JSON line longer than this is no card
_REQUIRED = ("card_id", "image")


class Items:
    """Items that can be gone through again; ``len`` reads the source once, and so finds its faults beforehand."""

    def __init__(self, read: Callable[[], Iterator[Item]]) -> None:
        self._read = read
        self._count: int | None = None

    def __iter__(self) -> Iterator[Item]:
        return self._read()

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self._read())
        return self._count


def open_items(source: str | os.PathLike[str]) -> Items:
    """The items of a folder, or of a .csv, .tsv, .jsonl or .ndjson manifest, read as a stream.

    A fault in a manifest (a column that is missing, a blank card_id, a line that is no JSON) is an `InputError` that
    names file and line, raised while the items are read. Whether the pictures can be read shows when they are encoded.

    Example:
        >>> report = Catalog.build("my.catalog", open_items("cards.csv"), encoder=embedder)

    Raises:
        FileNotFoundError: there is no such file or folder.
        InputError: neither a folder nor a manifest, or a folder without pictures.
    """
    path = Path(source)
    if path.is_dir():
        if next(_from_folder(path), None) is None:
            raise InputError(f"{path}: holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
        return Items(lambda: _from_folder(path))
    path.stat()
    readers = {
        ".csv": lambda: _from_csv(path, ","),
        ".tsv": lambda: _from_csv(path, "\t"),
        ".jsonl": lambda: _from_json_lines(path),
        ".ndjson": lambda: _from_json_lines(path),
    }
    try:
        return Items(readers[path.suffix.lower()])
    except KeyError:
        raise InputError(f"{path}: is no folder and no manifest ({', '.join(readers)})") from None


def _from_folder(folder: Path) -> Iterator[Item]:
    """Files in the order of their names, then folders in theirs; hidden ones, and links to folders, are passed over."""
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        path = Path(entry.path)
        if not entry.is_dir() and path.suffix.lower() in IMAGE_SUFFIXES:
            yield path.stem, path, {}
    for entry in visible:
        if entry.is_dir(follow_symlinks=False):
            yield from _from_folder(Path(entry.path))


def _fault(path: Path, line: int, what: str) -> InputError:
    return InputError(f"{path}, line {line}: {what}")


def _from_csv(path: Path, delimiter: str) -> Iterator[Item]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
        header = _header(path, _next_row(path, rows, 1) or [])
        while (row := _next_row(path, rows, rows.line_num + 1)) is not None:
            if not row:  # a blank line
                continue
            if len(row) != len(header):
                raise _fault(path, rows.line_num, f"has {len(row)} columns, the header has {len(header)}")
            yield _item(path, rows.line_num, {key: value for key, value in zip(header, row, strict=True) if value})


def _next_row(path: Path, rows: Any, line: int) -> list[str] | None:
    try:
        row: list[str] | None = next(rows, None)
    except (csv.Error, UnicodeDecodeError) as error:
        raise _fault(path, line, f"is not CSV in UTF-8 ({error})") from None
    return row


def _header(path: Path, names: list[str]) -> list[str]:
    header = [name.strip() for name in names]
    if missing := [name for name in _REQUIRED if name not in header]:
        raise _fault(path, 1, f"the header {header} has no column {missing[0]!r}; card_id and image are required")
    if "" in header:
        raise _fault(path, 1, f"column {header.index('') + 1} of the header has no name")
    if repeated := [name for index, name in enumerate(header) if name in header[:index]]:
        raise _fault(path, 1, f"the column {repeated[0]!r} occurs twice in the header")
    return header


def _from_json_lines(path: Path) -> Iterator[Item]:
    with path.open(encoding="utf-8-sig") as stream:
        number = 0
        while text := _next_line(path, stream, number + 1):
            number += 1
            if text.strip():
                yield _item(path, number, _json_object(path, number, text))


def _next_line(path: Path, stream: TextIO, number: int) -> str:
    try:
        text = stream.readline(_LINE_CHARACTERS)
    except UnicodeDecodeError as error:
        raise _fault(path, number, f"is not UTF-8 ({error})") from None
    if len(text) == _LINE_CHARACTERS:
        raise _fault(path, number, f"is longer than {_LINE_CHARACTERS} characters")
    return text


def _json_object(path: Path, number: int, text: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    try:
        fields = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _fault(path, number, f"is not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise _fault(path, number, f"holds a {type(fields).__name__}; an object with card_id and image was expected")
    return fields


def _item(path: Path, line: int, fields: Mapping[str, Any]) -> Item:
    for name in _REQUIRED:
        value = fields.get(name)
        if not isinstance(value, str) or not value.strip():
            raise _fault(
                path, line, f"{name} is {'missing or blank' if value in (None, '') else repr(value)}; text was expected"
            )
    meta = {key: value for key, value in fields.items() if key not in _REQUIRED}
    try:
        card_id, _ = check_card(fields["card_id"], meta)
    except InputError as error:
        raise _fault(path, line, str(error)) from None
    return card_id, path.parent / fields["image"], meta
