"""Augmentation of single crops for training: simulated captures of a card, beside the first system's recipe.

Two presets, named in a config: `photo`, a capture as `cardrec.captures` simulates it, with outlines that are off as the
detector's are, and `original`, the recipe of the first system, to compare with. `clean` is a catalog picture, up to
scaling and a trace of colour.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.captures import Picture, capture, drawn_error, tone

MEASURED = Path(__file__).with_name("labels") / "outline_errors.csv"
"""What `training/outline_errors.py` wrote."""
MEASURED_SHARE = 0.5
"""Of the outlines that are off as the detector's are."""


@lru_cache(maxsize=1)
def measured() -> NDArray[np.float32]:
    """(n, 4, 2) displacements of the corners of as many outlines."""
    with MEASURED.open(newline="", encoding="utf-8") as file:
        return np.asarray(list(csv.reader(file)), np.float32).reshape(-1, 4, 2)


def outline_error(rng: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """Where the corners of a card lie in its crop, less where they should lie: (4, 2), in sides of the crop.

    Half of the time what the detector did to some card, as `training/outline_errors.py` measured it, mirrored one way
    or another; else drawn. The measured ones are mostly
    small, and the encoder has to bear an outline that another detector or a finger on a screen drew.
    """
    if rng.random() < MEASURED_SHARE:
        errors = measured()
        off = errors[rng.integers(len(errors))] * np.float32(rng.uniform(0.6, 1.4) * strength)
        for axis, mirrored in ((0, [1, 0, 3, 2]), (1, [3, 2, 1, 0])):
            if rng.random() < 0.5:
                off = off[mirrored] * np.where(np.arange(2) == axis, np.float32(-1), np.float32(1))
        return np.asarray(off, np.float32)
    return drawn_error(rng, strength)


def photo(card: Picture, size: int, rng: np.random.Generator, strength: float = 1.0) -> Picture:
    """The card as cut out of a photograph, (size, size, 3) uint8 RGB; arguments as of `cardrec.captures.capture`."""
    return capture(card, size, rng, outline_error(rng, strength), strength)


def clean(card: Picture, size: int, rng: np.random.Generator) -> Picture:
    """The card as it stands in a catalog, with a trace of colour variation; (size, size, 3) uint8 RGB."""
    return tone(cv2.resize(card, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8), rng, 0.15)


def original(card: Picture, size: int, rng: np.random.Generator) -> Picture:
    """The first system's augmentation, (size, size, 3) uint8 RGB: a random part of the card, as torchvision draws it.

    A part of 8 to 100 % of the area with sides of 3:4 to 4:3, mirrored half of the time, brightness and contrast off by
    up to 20 %, turned by up to 15 degrees. It mirrors text and may cut most of the card away.
    """
    part = _random_part(card, rng)
    crop = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if part.shape[0] > size else cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    brightness, contrast = rng.uniform(0.8, 1.2, 2)
    lit = np.clip(crop * np.float32(brightness), 0, 255)
    lit = np.clip((lit - lit.mean()) * np.float32(contrast) + lit.mean(), 0, 255)
    turn = cv2.getRotationMatrix2D((size / 2 - 0.5, size / 2 - 0.5), float(rng.uniform(-15, 15)), 1.0)
    return np.asarray(cv2.warpAffine(lit.astype(np.uint8), turn, (size, size)), np.uint8)


def _random_part(card: Picture, rng: np.random.Generator) -> Picture:
    """A part of 8 to 100 % of the area and of 3:4 to 4:3; the whole card where ten draws do not fit into it."""
    height, width = card.shape[:2]
    for _ in range(10):
        area = height * width * rng.uniform(0.08, 1.0)
        shape = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round(np.sqrt(area * shape)), round(np.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            x, y = rng.integers(width - w + 1), rng.integers(height - h + 1)
            return card[y : y + h, x : x + w]
    return card
