"""Quads as arrays: order of corners, plausibility as a card's outline, overlap.

A quad is four corners (x, y) in clockwise order as seen; arrays of them are (n, 4, 2). Coordinates are those of pixel
edges: (0, 0) is the corner of the first pixel, (width, height) that of the last.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cardrec import _detect

__all__ = [
    "BEFORE",
    "BEYOND",
    "CARD_WH_MM",
    "NEXT",
    "UNIT_SQUARE",
    "areas",
    "covered",
    "crossings",
    "distinct",
    "iou",
    "longest_sides",
    "moved",
    "ordered",
    "side_lengths",
    "sound",
]

Array: TypeAlias = NDArray[np.floating[Any]]

CARD_WH_MM = (63.0, 88.0)
"""Width and height of a standard trading card in millimetres (2.5 x 3.5 inches)."""

UNIT_SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
"""Corners as every quad has them: clockwise from the top left."""

NEXT, BEYOND, BEFORE = np.array([1, 2, 3, 0]), np.array([2, 3, 0, 1]), np.array([3, 0, 1, 2])
"""Corners one, two and three further round: np.roll takes five times as long on so little."""


def ordered(quads: Array) -> Array:
    """Corners clockwise from the one that makes the short side the top; of the two, the side that is higher.

    Args:
        quads: (n, 4, 2), each convex and going round, either way.
    """
    first, third = quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]
    clockwise = first[:, 0] * third[:, 1] - first[:, 1] * third[:, 0] > 0
    quads = np.where(clockwise[:, None, None], quads, quads[:, ::-1])
    sides = side_lengths(quads)
    wide = sides[:, 0] + sides[:, 2] > sides[:, 1] + sides[:, 3]
    quads = np.where(wide[:, None, None], quads[:, NEXT], quads)
    low = quads[:, :2, 1].sum(axis=1) > quads[:, 2:, 1].sum(axis=1)
    return np.where(low[:, None, None], quads[:, BEYOND], quads)


def side_lengths(quads: Array) -> Array:
    """(n, 4) lengths: top, right, bottom, left."""
    step = quads[:, NEXT] - quads
    return np.asarray(np.hypot(step[..., 0], step[..., 1]))


def longest_sides(quads: Array) -> NDArray[np.float64]:
    """(n,) length of each quad's longest side."""
    return _detect.longest_sides(quads)


def areas(quads: Array) -> NDArray[np.float64]:
    """(n,) areas of convex quads."""
    return _detect.areas(quads)


def crossings(starts: Array, steps: Array) -> NDArray[np.float32]:
    """Where the line of each side, through a point (n, 4, 2) along a step, meets that of the side before: (n, 4, 2)."""
    before, before_steps = starts[:, BEFORE], steps[:, BEFORE]
    gap = starts - before
    determinant = before_steps[..., 0] * steps[..., 1] - before_steps[..., 1] * steps[..., 0]
    part = (gap[..., 0] * steps[..., 1] - gap[..., 1] * steps[..., 0]) / np.where(determinant == 0, 1e-6, determinant)
    return np.asarray(before + before_steps * part[..., None], np.float32)


def covered(quad: Array, other: Array) -> float:
    """How much of a convex quad (4, 2) lies in another, 0..1."""
    import cv2

    if (quad.max(axis=0) <= other.min(axis=0)).any() or (other.max(axis=0) <= quad.min(axis=0)).any():
        return 0.0
    shared, _ = cv2.intersectConvexConvex(quad.astype(np.float32), other.astype(np.float32))
    return float(shared) / max(float(areas(quad[None])[0]), 1e-6)


def iou(quad: Array, other: Array) -> float:
    """Intersection over union of two convex quads (4, 2)."""
    size, other_size = areas(np.stack([quad, other]))
    shared = covered(quad, other) * float(size)
    return shared / max(float(size) + float(other_size) - shared, 1e-9)


def moved(quads: Array, others: Array) -> NDArray[np.float64]:
    """(n,) how far corners have moved, at most, as a share of the square root of the area; whichever comes first."""
    return _detect.moved(quads, others)


def distinct(quads: Array, most: int) -> list[int]:
    """Indices of outlines of which no two overlap more than two cards can of which both are to be seen.

    Of those that do the first is kept, and ``most`` in all.
    """
    return _detect.distinct(quads, most)


def sound(quads: Array, least_area_px: float = 0.0) -> NDArray[np.bool_]:
    """(n,) which quads are finite, convex, clockwise, large enough and no more slanted than a card that can be read."""
    return _detect.sound(quads, least_area_px)
