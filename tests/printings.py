"""A folder of data as the evaluations of printings expect it, of cards that are drawn in milliseconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pictures import card_picture

ARTWORKS = {**{f"A1-{number}": number for number in range(4)}, **{f"A2-{number}": 10 + number for number in range(7)}}
"""File name of a card of Pocket, and what its artwork is drawn from."""
OTHERS = [f"other{number}" for number in range(30)]


def printing(seed: int, language: str) -> NDArray[np.uint8]:
    """BGR: the same artwork in both languages over different lines of text."""
    card = card_picture(seed)
    if language == "de":
        card[255:340, 14:-14] = card[255:340, 14:-14][::-1, ::-1].copy()
    return card


def make_data(folder: Path) -> Path:
    """Pocket in two languages, and another game, two of whose cards are declared to be one."""
    for language in ("en", "de"):
        for name, seed in ARTWORKS.items():
            _write(folder / f"cards/pocket-{language}/{name}.png", printing(seed, language))
    for number, name in enumerate(OTHERS):
        _write(folder / f"cards/redemption/{name}.png", card_picture(50 + max(1, number)))
    (folder / "cards/redemption-same.csv").write_text(f"a,b\n{OTHERS[0]},{OTHERS[1]}\n")
    return folder


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)
