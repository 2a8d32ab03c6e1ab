"""Where exactly the four sides of an outline lie: strips of the frame along them, and what the side network says.

A strip shows one side lengthwise, with as much of the outside as of the inside. For each of a few places along it the
network gives the chance that the side crosses there, for each place across; of all straight lines from one end of the
strip to the other, the likeliest is taken, a line near the middle being likelier than one that only just is in the
strip: a sleeve's rim and a pocket's seam are sides, too. Four lines meet in four corners.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec.quads import NEXT, areas, crossings

__all__ = ["ACROSS", "ALONG", "PLACES", "REACH", "corners_of", "decode", "points", "side_positions"]

ALONG, ACROSS = 16, 32
"""Pixels of a strip: along the side, and across it from the outside to the inside."""

PLACES = 8
"""Along the side, for which the network answers."""

REACH = 0.08
"""Half of a strip's width, as a share of the square root of the card's area."""

_FIRST, _LAST = 0.05, 0.95  # the part of a side that a strip shows: rounded corners (3 of 63 mm) are left out
_STEEPEST = 10  # places across by which a side may be further in at one end than at the other
_SPREAD = 0.3  # standard deviation, in reaches, of where sides are expected: around the outline that was given
_FLOOR = 0.03  # chance that a place's answer is worth nothing, for a finger may cover it


def points(quads: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the strips' pixels lie, x and y: (n * 4 * ALONG, ACROSS, 2), in the quads' pixels."""
    starts, steps, normals, reach = _frame(quads)
    along = _FIRST + (np.arange(ALONG, dtype=np.float32) + np.float32(0.5)) * np.float32((_LAST - _FIRST) / ALONG)
    across = (np.arange(ACROSS, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / ACROSS) - 1
    on_side = starts[:, :, None] + steps[:, :, None] * along[:, None]
    offsets = (normals * reach)[:, :, None, None] * across[:, None]
    return np.asarray(on_side[:, :, :, None] + offsets, np.float32).reshape(-1, ACROSS, 2)


def decode(quads: NDArray[np.float32], said: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outlines (n, 4, 2), of what the network says (n * 4, PLACES, ACROSS) of the strips of these."""
    chances = np.exp(said - said.max(axis=2, keepdims=True))
    chances /= chances.sum(axis=2, keepdims=True)
    lines, ends, expected = _all_lines()
    best = (np.log(chances + np.float32(_FLOOR)).reshape(len(said), -1) @ lines + expected).argmax(axis=1)
    return corners_of(quads, ends[best].reshape(-1, 4, 2))


def side_positions(quads: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the true sides cross the strips of these quads: (n * 4, PLACES), 0..ACROSS from the outside in.

    The sides of ``truth`` (n, 4, 2) come in the order of the quads'; values beyond the range miss the strip.
    """
    starts, steps, normals, reach = _frame(quads)
    along = (_FIRST + (np.arange(PLACES, dtype=np.float32) + 0.5) * ((_LAST - _FIRST) / PLACES))[:, None]
    at = starts[:, :, None] + steps[:, :, None] * along - truth[:, :, None]
    side = (truth[:, NEXT] - truth)[:, :, None]
    normals = normals[:, :, None]
    away = at[..., 0] * side[..., 1] - at[..., 1] * side[..., 0]
    slope = normals[..., 0] * side[..., 1] - normals[..., 1] * side[..., 0]
    offset = -away / np.where(np.abs(slope) < 1e-6, 1e-6, slope) / reach
    return np.asarray((offset + 1) * (ACROSS / 2), np.float32).reshape(-1, PLACES)


def corners_of(quads: NDArray[np.float32], ends: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outlines whose sides lie so far inside those of the quads, at the strip's first and last place, in reaches."""
    starts, steps, normals, reach = _frame(quads)
    moved = starts + steps * _FIRST + normals * reach * ends[..., :1]
    along = starts + steps * _LAST + normals * reach * ends[..., 1:] - moved
    return crossings(moved, along)


def _frame(quads: NDArray[np.float32]) -> tuple[Any, Any, Any, Any]:
    """Of each side its start, the way along it, its unit normal inward, each (n, 4, 2); and the reach, (n, 1, 1)."""
    steps = quads[:, NEXT] - quads
    lengths = np.sqrt((steps * steps).sum(axis=2, keepdims=True)) + np.float32(1e-6)
    normals = np.concatenate([-steps[..., 1:], steps[..., :1]], axis=2) / lengths
    return quads, steps, normals, np.float32(REACH) * np.sqrt(areas(quads)).astype(np.float32)[:, None, None]


@cache
def _all_lines() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Each column sums a strip's answers along one line; how far in the ends are, in reaches; what the place counts."""
    first, last = (each.ravel() for each in np.meshgrid(np.arange(ACROSS), np.arange(ACROSS), indexing="ij"))
    kept = np.abs(first - last) <= _STEEPEST
    first, last = first[kept], last[kept]
    along = ((np.arange(PLACES) + 0.5) / PLACES)[:, None]
    crossing = first * (1 - along) + last * along
    weights = np.maximum(0, 1 - np.abs(crossing[:, None] - np.arange(ACROSS)[:, None]))
    ends = (np.stack([first, last], axis=1) + 0.5) * (2 / ACROSS) - 1
    expected = -0.5 * np.square(ends / _SPREAD).sum(axis=1)
    return weights.reshape(PLACES * ACROSS, -1).astype(np.float32), ends.astype(np.float32), expected.astype(np.float32)
