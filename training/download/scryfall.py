"""Scryfall's bulk data (scryfall.com/docs/api/bulk-data): every printing of every Magic card.

The list of bulk files names a gzipped file of JSON Lines, until summer 2026 a JSON array; both are read as a stream,
whatever their size, after they were downloaded whole (77 MB in August 2026).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import httpx
import ijson

from training.download.cards import Card, Fault, Listed, known
from training.download.session import HttpError, Session
from training.download.transfer import fetch
from training.failure import Failure

__all__ = ["Scryfall", "read_bulk"]

URL = "https://api.scryfall.com"
GZIP = b"\x1f\x8b"

PICTURELESS = frozenset(("missing", "placeholder"))
"""States of images that show no card."""


class Scryfall:
    """Cards of a bulk file.

    Args:
        sets: codes such as ``neo``; empty: all.
        size: ``png`` (745x1040), ``large`` (672x936), ``normal`` (488x680), ``small`` (146x204) or ``border_crop``.
        language: such as ``en``; None: all that the file has.
        bulk: which file: ``default_cards`` (each printing once, in English where there is one), ``all_cards`` (in each
            language), ``unique_artwork``, ``oracle_cards``.
        url: where the API is.
    """

    name = "scryfall"
    note = (
        "Data and pictures: Scryfall (scryfall.com/docs/api), free of charge under the Fan Content Policy of Wizards "
        "of the Coast, for software, research and content about Magic. Not to be sold or put behind a payment, nor to "
        "be shown as if Scryfall had endorsed it; artist and copyright on a picture are not to be cut off or covered. "
        "Magic and the art belong to Wizards of the Coast and the artists."
    )

    def __init__(
        self,
        sets: Sequence[str] = (),
        size: str = "large",
        language: str | None = None,
        bulk: str = "default_cards",
        url: str = URL,
    ) -> None:
        self._sets, self._size, self._language, self._bulk = frozenset(sets), size, language, bulk
        self._url = url.rstrip("/")
        self.rates: Mapping[str, float] = {httpx.URL(self._url).host: 10.0}

    def cards(self, session: Session, workspace: Path) -> Iterator[Listed]:
        try:
            for record in read_bulk(self._download(session, workspace)):
                if self._wanted(record):
                    yield from _faces(record, self._size)
        except HttpError as error:
            raise Failure(f"{error}; check --api-url, or run the same command again later") from error

    def _wanted(self, record: Mapping[str, Any]) -> bool:
        return (not self._sets or record.get("set") in self._sets) and self._language in (None, record.get("lang"))

    def _download(self, session: Session, workspace: Path) -> Path:
        """The bulk file of the day; the one of an earlier day is removed."""
        answer = session.get_json(f"{self._url}/bulk-data")
        files = {each.get("type"): each for each in answer.get("data", [])} if isinstance(answer, dict) else {}
        if self._bulk not in files:
            raise Failure(f"{self._url}/bulk-data has no {self._bulk!r} but {', '.join(map(str, files)) or 'nothing'}")
        found = files[self._bulk]
        url = found.get("jsonl_download_uri") or found.get("download_uri")
        if not url:
            raise Failure(f"{self._url}/bulk-data says no address for {self._bulk!r}; has the API changed?")
        path = workspace / str(url).rsplit("/", 1)[-1].split("?")[0]
        if not path.exists():
            part = fetch(session, url, workspace, self._bulk)
            for old in workspace.iterdir():
                if old != part:
                    old.unlink()
            part.replace(path)
        return path


def read_bulk(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON Lines or of one JSON array, either of them perhaps gzipped.

    Raises:
        Failure: it is damaged; it has been removed.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP
            raw.seek(0)
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw) if packed else raw)
            array = stream.read(1) == b"["
            stream.seek(0)
            for record in ijson.items(stream, "item", use_float=True) if array else map(json.loads, stream):
                if not isinstance(record, dict):
                    raise ValueError(f"it lists {record!r:.40}, no card")
                yield record
    except (ValueError, EOFError, gzip.BadGzipFile, ijson.JSONError) as error:
        path.unlink()
        why = " ".join(str(error).split())
        raise Failure(
            f"{path.name} is damaged ({why}) and has been removed; run the same command again: it is downloaded anew"
        ) from error


def _faces(record: Mapping[str, Any], size: str) -> Iterator[Listed]:
    """A card, or each side of one that has a picture on both."""
    code, number, language = (record.get(key) for key in ("set", "collector_number", "lang"))
    if not code or not number:
        yield Fault(str(record.get("id")), "it has no set or no collector_number")
        return
    card_id = f"{code}-{number}" + (f"-{language}" if language not in (None, "en") else "")
    sides = [record]
    if "image_uris" not in record:
        sides = [side for side in record.get("card_faces", []) if "image_uris" in side] or sides
    for place, side in enumerate(sides, 1):
        shown = record.get("image_status") not in PICTURELESS
        meta = known(
            name=side.get("name"), set=code, set_name=record.get("set_name"), number=number, language=language,
            game="magic", rarity=record.get("rarity"), artist=side.get("artist") or record.get("artist"),
            layout=record.get("layout"), type_line=side.get("type_line") or record.get("type_line"),
            released=record.get("released_at"), scryfall_id=record.get("id"), side=place if len(sides) > 1 else None,
        )  # fmt: skip
        url = side.get("image_uris", {}).get(size) if shown else None
        yield Card(card_id if place == 1 else f"{card_id}-side{place}", meta, url)
