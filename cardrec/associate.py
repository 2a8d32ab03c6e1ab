"""Which card of a frame is which card of the frames before: by place, and by look for cards that jumped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cardrec.quads import areas, iou

__all__ = ["Place", "likeness", "nearness", "pair"]

Quad = NDArray[np.float32]
Vector = NDArray[np.float32]

REACH = 0.6
"""Of a card's size (the root of its area): how far its centre may lie from where it was expected."""

SIZES = 2.0
"""Ratio of areas up to which two outlines may be of one card."""


def pair(rows: int, columns: int, score: Callable[[int, int], float | None]) -> list[tuple[int, int]]:
    """Pairs rows with columns, each at most once, the best score first; None is no pair.

    Greedy, not optimal: cards are solid, and outlines of one frame overlap little (`cardrec.quads.distinct`), so a
    card that fits two tracks well is rare, and where it does, the pair that fits best is right and the sum of all
    scores is no better judge. 18 cards against 18 tracks are 324 scores.
    """
    scores = [(score(row, column), row, column) for row in range(rows) for column in range(columns)]
    ranked = sorted(((-value, row, column) for value, row, column in scores if value is not None))
    pairs: list[tuple[int, int]] = []
    taken_rows: set[int] = set()
    taken_columns: set[int] = set()
    for _, row, column in ranked:
        if row not in taken_rows and column not in taken_columns:
            pairs.append((row, column))
            taken_rows.add(row)
            taken_columns.add(column)
    return pairs


class Place(NamedTuple):
    """Where an outline is: its corners (4, 2), their mean, and the root of its area, in pixels."""

    quad: Quad
    x: float
    y: float
    size: float

    @classmethod
    def of(cls, quad: Quad) -> Place:
        """Of an outline."""
        x, y = quad.mean(axis=0).tolist()
        return cls(quad, x, y, math.sqrt(max(float(areas(quad[None])[0]), 1.0)))

    def after(self, dx: float, dy: float) -> Place:
        """The place moved on."""
        return Place((self.quad + np.array((dx, dy))).astype(np.float32), self.x + dx, self.y + dy, self.size)


def nearness(expected: Sequence[Place], place: Place) -> float | None:
    """How well an outline fits one of those expected: overlap plus closeness of centres, 0..2; None: not at all."""
    best: float | None = None
    for each in expected:
        apart = math.hypot(each.x - place.x, each.y - place.y) / place.size
        if apart > REACH or not 1 / SIZES <= (each.size / place.size) ** 2 <= SIZES:
            continue
        fit = iou(each.quad, place.quad) + 1 - apart / REACH
        best = fit if best is None else max(best, fit)
    return best


def likeness(a: Vector | None, b: Vector | None) -> float | None:
    """Cosine of two unit vectors; None where one is not known."""
    return None if a is None or b is None or a.shape != b.shape else float(a @ b)
