"""Draws what lies about on a table and is no card: phones, books, paper, boxes, keyboards, backs of cards.

Each is a flat picture with a size in millimetres; `training/simulate.py` lays them under and around the cards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from training.render import render_back
from training.simulate_background import cropped, procedural_background
from training.simulate_scene import Placement, place

__all__ = ["lay_clutter"]

Picture: TypeAlias = NDArray[np.uint8]
Thing: TypeAlias = tuple[Picture, tuple[float, float]]
"""(h, w, 3) uint8 RGB, and width and height in millimetres."""

PX_PER_MM = 2.0
MOST_THINGS = 4
PICTURED = 0.4
"""Share of the things that show a picture, where there are any."""


def lay_clutter(
    points_mm: NDArray[np.float64], rng: np.random.Generator, pictures: Sequence[Picture] = ()
) -> list[tuple[Picture, Placement]]:
    """Up to four things around and under the points (n, 2) of what the photo is of, the lowest first.

    Some of them show one of the ``pictures`` (h, w, 3) RGB, in proportions that no card has.
    """
    low, high = points_mm.min(axis=0), points_mm.max(axis=0)
    middle, reach = (low + high) / 2, (high - low) * 0.7 + 60.0
    things: list[tuple[Picture, Placement]] = []
    for _ in range(int(rng.integers(1, MOST_THINGS + 1))):
        if pictures and rng.random() < PICTURED:
            picture, size_mm = _print(pictures[int(rng.integers(len(pictures)))], rng)
        else:
            picture, size_mm = _THINGS[int(rng.integers(len(_THINGS)))](rng)
        centre = middle + rng.uniform(-1.0, 1.0, 2) * reach
        things.append((picture, place(0, size_mm, centre, rng.uniform(-180.0, 180.0))))
    return things


def _blank(size_mm: tuple[float, float], colour: NDArray[np.float64]) -> Picture:
    shape = round(size_mm[1] * PX_PER_MM), round(size_mm[0] * PX_PER_MM), 3
    return np.broadcast_to(np.clip(colour, 0, 255).astype(np.uint8), shape).copy()


def _colour(rng: np.random.Generator, low: float = 0.0, high: float = 255.0) -> NDArray[np.float64]:
    grey, tint = rng.uniform(low, high), rng.uniform(0.0, 90.0)
    return np.asarray(grey + rng.uniform(-tint, tint, 3))


def _box(picture: Picture, share: tuple[float, float, float, float], colour: NDArray[np.float64]) -> None:
    """Fills left, top, right, bottom, in shares of the picture, in place."""
    size = np.asarray(picture.shape[1::-1] * 2)
    left, top, right, bottom = np.round(np.asarray(share) * size).astype(int)
    picture[top:bottom, left:right] = np.clip(colour, 0, 255).astype(np.uint8)


def _write(picture: Picture, rng: np.random.Generator, colour: NDArray[np.float64], *, line_mm: float) -> None:
    """Lines of words, as strokes, in place."""
    height, width = picture.shape[:2]
    ink = [float(c) for c in np.clip(colour, 0, 255)]
    y, margin = rng.uniform(0.05, 0.3) * height, int(rng.uniform(0.05, 0.15) * width)
    while y < height * rng.uniform(0.7, 1.0):
        x = margin
        while x < width - 2 * margin:
            word = int(rng.uniform(4, 24) * PX_PER_MM)
            cv2.line(picture, (x, int(y)), (min(x + word, width - margin), int(y)), ink, max(1, int(line_mm * 0.5)))
            x += word + int(3 * PX_PER_MM)
        y += line_mm * PX_PER_MM * rng.uniform(0.9, 1.6)


def _phone(rng: np.random.Generator) -> Thing:
    size_mm = rng.uniform(65, 80), rng.uniform(130, 170)
    picture = _blank(size_mm, _colour(rng, 5, 60))
    if rng.random() < 0.7:
        screen = procedural_background((picture.shape[1], picture.shape[0]), rng)
        rim = max(1, int(rng.uniform(1.5, 5.0) * PX_PER_MM))
        picture[rim:-rim, rim:-rim] = screen[rim:-rim, rim:-rim]
        for _ in range(int(rng.integers(0, 12))):
            x, y = rng.uniform(0.08, 0.8), rng.uniform(0.08, 0.85)
            _box(picture, (x, y, x + 0.13, y + 0.065), _colour(rng))
    else:
        _box(picture, (0.08, 0.04, 0.45, 0.2), _colour(rng, 5, 90))
    return picture, size_mm


def _print(picture: Picture, rng: np.random.Generator) -> Thing:
    """A phone, box, album or booster with a part of a picture on it: longer than a card, or squarer."""
    width = rng.uniform(50, 90) if rng.random() < 0.7 else rng.uniform(90, 200)
    aspect = rng.uniform(0.4, 0.58) if rng.random() < 0.65 else rng.uniform(0.88, 1.0)
    size_mm = width, width / aspect
    thing = _blank(size_mm, _colour(rng))
    height, across = thing.shape[:2]
    rim = int(rng.uniform(0.0, 5.0) * PX_PER_MM) if rng.random() < 0.7 else 0
    inner_wh = across - 2 * rim, height - 2 * rim
    thing[rim : height - rim, rim : across - rim] = cropped(picture, inner_wh, rng, smallest=0.6)
    return thing, size_mm


def _book(rng: np.random.Generator) -> Thing:
    width = rng.uniform(100, 220)
    size_mm = width, width * rng.uniform(1.15, 1.6)
    picture = _blank(size_mm, _colour(rng))
    if rng.random() < 0.5:
        cover = procedural_background((picture.shape[1], picture.shape[0]), rng)
        np.copyto(picture, cover)
    _box(picture, (0.0, 0.0, rng.uniform(0.02, 0.08), 1.0), _colour(rng))
    _box(picture, (0.15, 0.12, 0.88, rng.uniform(0.2, 0.35)), _colour(rng))
    if rng.random() < 0.5:
        _write(picture, rng, _colour(rng), line_mm=rng.uniform(6, 14))
    return picture, size_mm


def _paper(rng: np.random.Generator) -> Thing:
    size_mm = (210.0, 297.0) if rng.random() < 0.5 else (rng.uniform(70, 160), rng.uniform(60, 230))
    picture = _blank(size_mm, _colour(rng, 190, 250))
    if rng.random() < 0.4:
        for y in np.arange(20, size_mm[1], rng.uniform(6, 9)):
            cv2.line(picture, (0, int(y * PX_PER_MM)), (picture.shape[1], int(y * PX_PER_MM)), (170, 190, 210), 1)
    if rng.random() < 0.7:
        _write(picture, rng, _colour(rng, 10, 120), line_mm=rng.uniform(4, 9))
    return picture, size_mm


def _packet(rng: np.random.Generator) -> Thing:
    size_mm = rng.uniform(40, 150), rng.uniform(25, 120)
    picture = _blank(size_mm, _colour(rng))
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(0.0, 0.8, 2)
        _box(picture, (x, y, x + rng.uniform(0.1, 0.9), y + rng.uniform(0.05, 0.5)), _colour(rng))
    return picture, size_mm


def _keyboard(rng: np.random.Generator) -> Thing:
    columns, rows = int(rng.integers(3, 14)), int(rng.integers(3, 7))
    pitch = rng.uniform(9, 19)
    size_mm = columns * pitch + 8, rows * pitch + 8
    picture = _blank(size_mm, _colour(rng, 10, 230))
    key = _colour(rng, 10, 240)
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.1) / columns, (row + 0.1) / rows
            _box(picture, (x, y, x + 0.8 / columns, y + 0.8 / rows), key + rng.uniform(-12, 12, 3))
    return picture, size_mm


@cache
def _back() -> Picture:
    return render_back(height_px=176)


def _card_back(rng: np.random.Generator) -> Thing:
    """The game's own back in other colours; it fills the card but for a border, as most backs do."""
    picture = np.ascontiguousarray(_back()[:, :, rng.permutation(3)])
    return np.asarray(cv2.convertScaleAbs(picture, alpha=rng.uniform(0.5, 1.3)), dtype=np.uint8), (63.0, 88.0)


_THINGS: tuple[Callable[[np.random.Generator], Thing], ...] = (_phone, _book, _paper, _packet, _keyboard, _card_back)
