"""The cards that were tracked, as a collection: how many of each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cardrec.track import Event

__all__ = ["COLUMNS", "Collection", "Holding"]

_META = ("name", "set", "number", "language")

COLUMNS = ("card_id", *_META, "count", "confidence", "first_s", "last_s")
"""Of the CSV export, in order."""


@dataclass(slots=True)
class Holding:
    """The copies of one card.

    Attributes:
        card_id: the card's.
        meta: its metadata in the catalog.
        count: physical cards.
        confidence: of the least certain of them, 0..1.
        first_s, last_s: when the first one was seen first, and the last one last.
    """

    card_id: str
    meta: Mapping[str, object]
    count: int
    confidence: float
    first_s: float
    last_s: float

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON types, by `COLUMNS`; empty where the catalog does not say."""
        texts = {key: str(value) if (value := self.meta.get(key)) is not None else "" for key in _META}
        numbers = {"confidence": round(self.confidence, 4), "first_s": round(self.first_s, 2)}
        return {"card_id": self.card_id, **texts, "count": self.count, **numbers, "last_s": round(self.last_s, 2)}


class Collection:
    """Counts each physical card once, when its track has ended.

    Attributes:
        unnamed: cards that were seen and got no identity.
    """

    def __init__(self) -> None:
        self.unnamed = 0
        self._holdings: dict[str, Holding] = {}

    @property
    def holdings(self) -> list[Holding]:
        """A row for each card_id, in the order in which they were seen first."""
        return sorted(self._holdings.values(), key=lambda holding: (holding.first_s, holding.card_id))

    def __len__(self) -> int:
        """Physical cards that have an identity."""
        return sum(holding.count for holding in self._holdings.values())

    def add(self, event: Event) -> None:
        """Counts a track that has left; other events tell nothing that it does not."""
        if event.kind != "left":
            return
        track = event.track
        if track.match is None:
            self.unnamed += 1
            return
        new = Holding(track.match.card_id, track.match.meta, 0, 1.0, track.first_s, track.last_s)
        holding = self._holdings.setdefault(new.card_id, new)
        holding.count += 1
        holding.confidence = min(holding.confidence, track.confidence)
        holding.first_s = min(holding.first_s, track.first_s)
        holding.last_s = max(holding.last_s, track.last_s)

    def to_csv(self) -> str:
        """A header and a row for each card_id, as spreadsheets and collection managers read it."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(holding.to_dict() for holding in self.holdings)
        return text.getvalue()
