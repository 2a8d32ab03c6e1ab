"""What a caller gives and gets: pictures in, results out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

ImageLike: TypeAlias = Union[str, "os.PathLike[str]", "PILImage", NDArray[np.uint8]]
"""A path, a PIL image, or a uint8 array: HxW grey, HxWx3 or HxWx4, BGR order unless ``color="rgb"`` is said; with
``color="nv12"`` or ``"i420"`` (H * 3/2)xW."""

Color: TypeAlias = Literal["bgr", "rgb", "nv12", "i420"]
"""What arrays hold: the order of their channels (a fourth one is alpha and ignored), or luma and chroma as video has
them (see `cardrec.image.load`)."""

Status: TypeAlias = Literal["match", "ambiguous", "unknown"]
"""``match``: this card. ``ambiguous``: one of the first few. ``unknown``: not in the catalog."""


@dataclass(frozen=True, slots=True)
class Match:
    """One catalog card that resembles the card in the frame.

    Attributes:
        card_id: the id under which the card was added.
        score: cosine similarity of the two embeddings, -1..1.
        row: the card's row in the catalog; changes when the catalog is compacted.
        meta: the metadata the card was added with (name, set, number, ...).
        twins: the card_ids of all cards that no photo tells from this row's picture, its own included; empty where
            there are no others.
    """

    card_id: str
    score: float
    row: int
    meta: Mapping[str, object]
    twins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """One card found in the frame.

    Attributes:
        corners_px: (4, 2) float32, x and y in frame pixels: the card's own top left, top right, bottom right, bottom
        left. detection: how sure the outline is, 0..1.
        matches: the best catalog cards, best first, one per card_id. By their scores, unless a second look at the
            catalog's pictures put them in another order.
        status: ``match``, ``ambiguous`` or ``unknown``.
        confidence: calibrated probability that the best match is right, 0..1. Cards whose pictures no photo tells apart
            (`Match.twins`) share theirs equally.
        group: what it may be, best first: of a match that card alone, of an ambiguous one the cards that can't be told
            apart, such as two printings of one picture, with all their twins, also where these are more than the
            matches; of an unknown one nothing.
        embedding: (d,) float32 unit vector of what was read; None where a card was made without one.
    """

    corners_px: NDArray[np.float32]
    detection: float
    matches: tuple[Match, ...]
    status: Status
    confidence: float
    group: tuple[Match, ...] = ()
    embedding: NDArray[np.float32] | None = field(default=None, repr=False)

    @property
    def match(self) -> Match | None:
        """The identity, or None where the status is not ``match``."""
        return self.matches[0] if self.status == "match" else None

    def to_dict(self) -> dict[str, Any]:
        """The card as plain JSON types."""
        return {
            "status": self.status,
            "confidence": round(self.confidence, 4),
            "group": [match.card_id for match in self.group],
            "detection": round(self.detection, 4),
            "corners_px": [[round(float(x), 2), round(float(y), 2)] for x, y in self.corners_px],
            "matches": [
                {"card_id": m.card_id, "score": round(m.score, 6), "row": m.row, "meta": dict(m.meta)}
                for m in self.matches
            ],
        }


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds spent in each stage, by the monotonic clock; ``total_ms`` includes what lies between the stages."""

    detect_ms: float
    rectify_ms: float
    encode_ms: float
    search_ms: float
    total_ms: float

    def to_dict(self) -> dict[str, float]:
        """The timings as plain JSON types, in microsecond resolution."""
        return {name: round(getattr(self, name), 3) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in one frame.

    Attributes:
        index: the frame's place in its batch or stream, from 0.
        size_wh: width and height of the frame in pixels.
        cards: the cards found, best outline first; empty where there is none.
        timings: milliseconds by stage.
    """

    index: int
    size_wh: tuple[int, int]
    cards: tuple[Card, ...]
    timings: Timings

    @property
    def best(self) -> Match | None:
        """The identified card that is most certain, or None."""
        found = [card for card in self.cards if card.status == "match"]
        return max(found, key=lambda card: card.confidence).matches[0] if found else None

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON types."""
        return {
            "index": self.index,
            "size_wh": list(self.size_wh),
            "cards": [card.to_dict() for card in self.cards],
            "timings": self.timings.to_dict(),
        }
