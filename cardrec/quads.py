"""Quads as arrays: order of corners, plausibility as a card's outline, overlap.

A quad is four corners (x, y) in clockwise order as seen; arrays of them are (n, 4, 2). Coordinates are those of pixel
edges: (0, 0) is the corner of the first pixel, (width, height) that of the last.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BEFORE",
    "BEYOND",
    "CARD_WH_MM",
    "NEXT",
    "TURNS",
    "UNIT_SQUARE",
    "areas",
    "covered",
    "crossings",
    "iou",
    "moved",
    "ordered",
    "same_card",
    "side_lengths",
    "sound",
    "straightness",
]

Array: TypeAlias = NDArray[np.floating[Any]]

CARD_WH_MM = (63.0, 88.0)
"""Width and height of a standard trading card in millimetres (2.5 x 3.5 inches)."""

_SAME_CARD = 0.4
"""Share of the smaller of two outlines that the other covers. Cards to be found are covered by a fifth at most."""

_FAR = 0.8
"""Distance of centres, in square roots of the larger area, from which outlines of cards can't cover that much: moved
along its longer side, 1.18 of them, a card still covers 0.4 of another at 0.6 * 1.18."""

_MOST_SLANTED = 6.0
"""Longest side by shortest: 2 for a card tilted by 45 degrees and near."""

UNIT_SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
"""Corners as every quad has them: clockwise from the top left."""

NEXT, BEYOND, BEFORE = np.array([1, 2, 3, 0]), np.array([2, 3, 0, 1]), np.array([3, 0, 1, 2])
"""Corners one, two and three further round: np.roll takes five times as long on so little."""

TURNS = (np.arange(4) + np.arange(4)[:, None]) % 4
"""Row k: the corners from the k-th on."""


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


def straightness(quads: Array) -> Array:
    """(n,) how straight from above a card would have to be seen to look like this: 1, or the tilt's cosine.

    The ratio of the singular values of the affine map from a 63 x 88 card to the quad, whose first side is a short one;
    the axis of the tilt does not matter.
    """
    top, right = quads[:, 1] - quads[:, 0], quads[:, 2] - quads[:, 1]
    bottom, left = quads[:, 2] - quads[:, 3], quads[:, 3] - quads[:, 0]
    across, down = (top + bottom) / (2 * CARD_WH_MM[0]), (left + right) / (2 * CARD_WH_MM[1])
    squares, product = (across * across).sum(axis=1), (across * down).sum(axis=1)
    other = (down * down).sum(axis=1)
    mean, spread = (squares + other) / 2, np.hypot((squares - other) / 2, product)
    return np.asarray(np.sqrt(np.maximum(mean - spread, 0) / (mean + spread + 1e-9)))


def areas(quads: Array) -> Array:
    """(n,) areas of convex quads."""
    first, second = quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]
    return np.asarray(np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2)


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


def moved(quads: Array, others: Array) -> NDArray[np.floating[Any]]:
    """(n,) how far corners have moved, at most, as a share of the square root of the area; whichever comes first."""
    away = np.abs(quads[:, None] - others[:, TURNS]).max(axis=(2, 3)).min(axis=1)
    return np.asarray(away / np.sqrt(np.maximum(areas(quads), 1e-6)))


def same_card(quad: Array, other: Array) -> bool:
    """Whether two outlines overlap more than two cards can of which both are to be seen."""
    size, other_size = (float(area) for area in areas(np.stack([quad, other])))
    apart = quad.mean(axis=0) - other.mean(axis=0)
    if apart @ apart > _FAR**2 * max(size, other_size):
        return False
    return covered(quad, other) * size > _SAME_CARD * min(size, other_size)


def sound(quads: Array) -> NDArray[np.bool_]:
    """(n,) which quads are finite, convex, clockwise and no more slanted than a card that can be read."""
    step = quads[:, NEXT] - quads
    turns = step[..., 0] * step[:, NEXT, 1] - step[..., 1] * step[:, NEXT, 0]
    lengths = np.hypot(step[..., 0], step[..., 1])
    even = lengths.max(axis=1) < _MOST_SLANTED * lengths.min(axis=1)
    return np.asarray(np.isfinite(quads).all(axis=(1, 2)) & (turns > 0).all(axis=1) & even)
