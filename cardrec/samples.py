"""The photos that come with the library: simulated captures of demo cards, and of cards that are in no catalog."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "Sample", "known_sample", "read_samples", "sample_photos"]

FOLDER = Path(__file__).parent / "data" / "samples"


@dataclass(frozen=True, slots=True)
class Sample:
    """One bundled photo.

    Attributes:
        path: of the picture.
        card_ids: of the cards in it; None for a card that is not in the demo catalog.
        corners_px: of each of these cards the four true corners, x and y in pixels, from its own top left clockwise.
    """

    path: Path
    card_ids: tuple[str | None, ...]
    corners_px: tuple[tuple[tuple[float, float], ...], ...] = ()


def sample_photos() -> list[Path]:
    """The bundled photos, in the order of their names.

    Example:
        >>> with Recognizer() as recognizer:
        ...     result = recognizer.identify(sample_photos()[0])
    """
    return sorted(FOLDER.glob("*.jpg"))


def read_samples() -> list[Sample]:
    """The bundled photos with what they show, as `samples.json` lists them.

    Raises:
        OSError, ValueError: the list can't be read; the library is not installed completely.
    """
    path = FOLDER / "samples.json"
    try:
        return [_sample(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no list of samples ({error!r})") from None


def known_sample() -> Sample | None:
    """The first bundled photo that shows one card of the demo catalog and no other; None if there is none.

    Raises:
        OSError, ValueError: as `read_samples`.
    """
    return next((each for each in read_samples() if len(each.card_ids) == 1 and each.card_ids[0]), None)


def _sample(entry: dict[str, Any]) -> Sample:
    cards = entry["cards"]
    corners_px = tuple(tuple((x, y) for x, y in card.get("corners_px", ())) for card in cards)
    return Sample(FOLDER / entry["file"], tuple(card.get("card_id") for card in cards), corners_px)
