"""The folder that a download fills: which pictures are there and whole, and the manifest of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from cardrec.files import sync_folder, write_atomically
from cardrec.image import FORMATS
from training.download.cards import Adapter, Card, Fault
from training.download.names import Names
from training.failure import Failure
from training.images import read_rgb
from training.locks import locked

__all__ = ["Store", "digest_of", "opened_store"]

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
"""Endings by what a file is, not by what its address says: many addresses have none, and some are wrong."""

Entry = dict[str, Any]


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """Pictures and what is known of them. Made by `opened_store`; threads may share it.

    While pictures come in, their lines go to a journal, so that a killed run loses none of them; the manifest is
    written at the end, in the order of ids, and swapped in whole.

    Attributes:
        parts: folder of unfinished downloads.
        workspace: folder for the adapter's own files.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.parts, self.workspace = out, out / ".parts", out / ".listing"
        self._images = out / "images"
        for folder in (self._images, self.parts, self.workspace):
            folder.mkdir(parents=True, exist_ok=True)
        self._manifest, self._journal = out / "cards.jsonl", out / ".journal.jsonl"
        self._entries = {entry["card_id"]: entry for entry in _lines(self._manifest)}
        if self._journal.exists():  # a run was killed
            self._entries |= {entry["card_id"]: entry for entry in _lines(self._journal, torn=True)}
            self._write_manifest()
        self._names = Names(Path(entry["image"]).stem for entry in self._entries.values())
        self._lock = threading.Lock()

    def name_of(self, card: Card) -> str:
        """The name of a card's picture, without its ending: the one that it has, or a new one."""
        with self._lock:
            entry = self._entries.get(card.card_id)
            return Path(entry["image"]).stem if entry else self._names.take(card.card_id)

    def holds(self, card: Card) -> bool:
        """Whether the picture is there, from this address, with the bytes that its checksum was made of."""
        entry = self._entries.get(card.card_id)
        if entry is None or entry.get("image_url") != card.image_url:
            return False
        path = self.out / entry["image"]
        try:
            return bool(path.stat().st_size == entry["bytes"] and digest_of(path) == entry["sha256"])
        except FileNotFoundError:
            return False

    def keep(self, card: Card, name: str, part: Path) -> None:
        """Gives a downloaded picture its name.

        Raises:
            ValueError: it is no picture; it has been removed.
        """
        try:
            suffix = _suffix(part)
        except ValueError:
            part.unlink()
            raise
        path = self._images / (name + suffix)
        entry = {"image": f"images/{path.name}", "sha256": digest_of(part), "bytes": part.stat().st_size}
        part.replace(path)
        with self._lock:
            old = self._entries.get(card.card_id)
            self._note(card, entry)
        if old and old["image"] != entry["image"]:
            (self.out / old["image"]).unlink(missing_ok=True)

    def update(self, card: Card) -> None:
        """Takes over what the source now says of a card whose picture is there."""
        with self._lock:
            old = self._entries[card.card_id]
            entry = {key: old[key] for key in ("image", "sha256", "bytes")}
            if old != _line(card, entry):
                self._note(card, entry)

    def _note(self, card: Card, entry: Entry) -> None:
        line = _line(card, entry)
        with self._journal.open("a", encoding="utf-8") as journal:
            journal.write(_text(line))
        self._entries[card.card_id] = line

    def finish(self, faults: list[Fault]) -> int:
        """Writes manifest and failures; returns how many pictures there are."""
        count = self._write_manifest()
        failures = self.out / "failures.jsonl"
        if faults:
            _replace(failures, "".join(_text(_fault_line(fault)) for fault in faults))
        else:
            failures.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # unless there are parts in it, to go on with
            self.parts.rmdir()
        with contextlib.suppress(OSError):
            self.workspace.rmdir()
        return count

    def _write_manifest(self) -> int:
        present = [entry for _, entry in sorted(self._entries.items()) if (self.out / entry["image"]).is_file()]
        sync_folder(self._images)
        _replace(self._manifest, "".join(map(_text, present)))
        self._journal.unlink(missing_ok=True)
        return len(present)


@contextlib.contextmanager
def opened_store(out: Path, adapter: Adapter) -> Iterator[Store]:
    """A store for a source, locked against other runs.

    Raises:
        Failure: another run writes to it, or it holds another source's cards.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock", f"another download writes to {out}; wait for it, or choose another --out"):
        _claim(out / "source.json", adapter)
        yield Store(out)


def _claim(path: Path, adapter: Adapter) -> None:
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8")).get("source")
        if found != adapter.name:
            raise Failure(f"{path.parent} holds cards of {found}, not of {adapter.name}; choose another --out")
    _replace(path, json.dumps({"source": adapter.name, "note": adapter.note}, indent=2, ensure_ascii=False) + "\n")


def _replace(path: Path, text: str) -> None:
    """Writes a file whole, or leaves it alone where it says that already."""
    data = text.encode()
    if not path.exists() or path.read_bytes() != data:
        write_atomically(path, data)


def _lines(path: Path, *, torn: bool = False) -> list[Entry]:
    """The entries of a manifest; ``torn`` ends at the first line that a killed run has not finished."""
    entries = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else [], 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry["card_id"], str) or Path(entry["image"]).parent != Path("images"):
                raise ValueError("no line of a download")
        except (ValueError, KeyError, TypeError) as error:
            if torn:
                break
            raise Failure(
                f"{path}, line {number}: {error}; it was not written by a download: choose another --out"
            ) from None
        entries.append(entry)
    return entries


def _line(card: Card, entry: Mapping[str, Any]) -> Entry:
    return {"card_id": card.card_id, **entry, "image_url": card.image_url, **card.meta}


def _fault_line(fault: Fault) -> Entry:
    return {"card_id": fault.what, "why": fault.why, "image_url": fault.image_url}


def _text(line: Entry) -> str:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def _suffix(part: Path) -> str:
    """The ending for a picture, which is decoded: not every host says how long a file is, so it may be cut off.

    Raises:
        ValueError: it is none, or damaged.
    """
    try:
        with Image.open(part, formats=FORMATS) as image:
            suffix = SUFFIXES[image.format or ""]
        read_rgb(part)
    except (OSError, KeyError, ValueError, Image.DecompressionBombError) as error:
        with part.open("rb") as file:
            start = file.read(16)
        what = f"{part.stat().st_size:,} bytes that begin {start!r}"
        raise ValueError(f"what was sent is no picture, or a damaged one: {what}") from error
    return suffix
