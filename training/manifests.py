"""Which images a source of cards has, and which card each shows: a flat folder, a folder for each card, a manifest.

| layout | card_id | class |
|---|---|---|
| flat folder of images | the file's stem | the card |
| folder that holds one folder for each card, with any number of images | the folder's name | the card |
| `cards.csv` or `cards.jsonl`: `image`, `card_id`, perhaps `face` | `card_id`, may repeat | `face`, else the card |

Paths in a manifest are relative to its folder and stay in it. Other columns are ignored.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.images import SUFFIXES

__all__ = ["Entry", "folder_entries", "manifest_entries"]

REQUIRED = ("image", "card_id")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a source.

    Attributes:
        image: the file.
        name: names the image within the source: its card, followed by ``/stem`` or ``/number`` where a card may have
            several images.
        card_id: the card.
        face: the class, before duplicates are merged.
    """

    image: Path
    name: str
    card_id: str
    face: str


def folder_entries(folder: Path) -> list[Entry]:
    """The images of a folder in the order of their names, or those of its folders, one folder for each card.

    Hidden files and folders are passed over.

    Raises:
        ValueError: images beside folders, folders in a card's folder, a card without images, nothing at all, or two
            images of one name (``a.jpg`` and ``a.png``).
        OSError: the folder can't be read.
    """
    folders, images = _listed(folder)
    if folders and images:
        raise ValueError(
            f"{folder} holds {len(images)} images ({images[0].name}, ...) and {len(folders)} folders "
            f"({folders[0].name}, ...); expected either images or one folder for each card: move one kind elsewhere"
        )
    if not folders and not images:
        raise ValueError(f"{folder} holds no images; expected {', '.join(sorted(SUFFIXES))} or a folder for each card")
    if images:
        return _unique(folder, [Entry(path, path.stem, path.stem, path.stem) for path in images])
    return _unique(folder, [entry for card in folders for entry in _card_entries(card)])


def _card_entries(card: Path) -> list[Entry]:
    folders, images = _listed(card)
    if folders or not images:
        found = f"the folder {folders[0].name}" if folders else "no images"
        raise ValueError(f"{card} holds {found}; a card's folder has images only: add some, or take it out")
    return [Entry(path, f"{card.name}/{path.stem}", card.name, card.name) for path in images]


def _listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders and images of a folder, each by name."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [path for path in visible if path.is_dir()]
    return folders, [path for path in visible if path.suffix.lower() in SUFFIXES and not path.is_dir()]


def _unique(folder: Path, entries: list[Entry]) -> list[Entry]:
    seen: dict[str, Path] = {}
    for entry in entries:
        other = seen.setdefault(entry.name, entry.image)
        if other != entry.image:
            raise ValueError(f"{folder}: {other.name} and {entry.image.name} have one name; rename or remove one")
    return entries


def manifest_entries(path: Path) -> list[Entry]:
    """The images of a manifest in the order of its lines.

    Raises:
        ValueError: names file and line of a column that is missing, a blank value, an image that isn't there, is listed
            twice or lies outside the manifest's folder, of what isn't CSV or JSON in UTF-8; or the manifest is empty.
        OSError: the manifest can't be read.
    """
    readers = {".csv": _csv_lines, ".jsonl": _json_lines}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: a manifest ends in .csv or .jsonl; rename or convert it")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise _fault(path, line, f"is not UTF-8 ({error.reason}); save the file in UTF-8") from None
    # Split at line feeds only, as an editor counts; str.splitlines would also split at U+2028 within a name.
    lines = [line + "\n" for line in text.split("\n")]
    entries = _entries(path, readers[path.suffix.lower()](path, lines))
    if not entries:
        raise ValueError(f"{path} lists no images; expected a line with {' and '.join(REQUIRED)} for each")
    return entries


def _entries(path: Path, lines: Iterable[tuple[int, Mapping[str, Any]]]) -> list[Entry]:
    folder = Path(os.path.normpath(path.parent.absolute()))
    listed: dict[Path, int] = {}
    images_of: dict[str, int] = {}
    entries = []
    for number, fields in lines:
        values = [_text(path, number, fields, key) for key in REQUIRED]
        card_id = values[1]
        face = _text(path, number, fields, "face") if fields.get("face") not in (None, "") else card_id
        image = _image(path, number, folder, values[0])
        first = listed.setdefault(image, number)
        if first != number:
            raise _fault(path, number, f"lists {values[0]!r} again, after line {first}; remove one of the two")
        count = images_of[card_id] = images_of.get(card_id, 0) + 1
        entries.append(Entry(image, card_id if count == 1 else f"{card_id}/{count}", card_id, face))
    return _unique(path, entries)


def _text(path: Path, number: int, fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if value is None:
        raise _fault(path, number, f"has no {key!r}; expected {' and '.join(REQUIRED)}: add it")
    if not isinstance(value, str) or not value.strip():
        raise _fault(path, number, f"{key} is {value!r}; text was expected: fill it in")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _fault(path, number, f"{key} is {value!r}, which is no Unicode text; correct the escape")
    return value


def _image(path: Path, number: int, folder: Path, name: str) -> Path:
    """The file that a line names. Links are not followed: a folder of links to a store elsewhere is fine."""
    if "\0" in name or Path(name).is_absolute():
        raise _fault(path, number, f"image {name!r} is no path relative to {path.parent}; write it as one")
    image = Path(os.path.normpath(folder / name))
    if not image.is_relative_to(folder):
        raise _fault(path, number, f"image {name!r} leaves the manifest's folder; move the image into {path.parent}")
    try:
        missing = not image.is_file()
    except OSError as error:
        raise _fault(path, number, f"image {name!r} can't be looked up ({error.strerror}); correct the path") from None
    if missing:
        raise _fault(path, number, f"image {name!r} is no file in {path.parent}; correct the path or remove the line")
    return image


def _csv_lines(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    rows = csv.reader(lines, strict=True)
    header: list[str] | None = None
    try:
        for row in rows:
            if not row:  # a blank line
                continue
            if header is None:
                header = _header(path, rows.line_num, row)
            elif len(row) != len(header):
                raise _fault(
                    path, rows.line_num, f"has {len(row)} columns, the header has {len(header)}; quote commas in names"
                )
            else:
                yield rows.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise _fault(path, rows.line_num, f"is not CSV ({error}); check its quotation marks") from None


def _header(path: Path, number: int, row: list[str]) -> list[str]:
    header = [name.strip() for name in row]
    for key in REQUIRED:
        if header.count(key) != 1:
            found = "occurs twice" if key in header else "is missing"
            raise _fault(path, number, f"the column {key!r} {found} in the header {header}; expected it once")
    return header


def _json_lines(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _fault(path, number, f"is not JSON ({error}); expected one object on each line") from None
        if not isinstance(fields, dict):
            raise _fault(path, number, f"holds a {type(fields).__name__}; expected an object with image and card_id")
        yield number, fields


def _fault(path: Path, line: int, what: str) -> ValueError:
    return ValueError(f"{path}, line {line}: {what}")
