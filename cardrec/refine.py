"""Fits quads to the edges of the full frame, to a fraction of a pixel.

Only four thin strips are read, one along each side. In a strip every straight line from one end to the other is tried
at once: the gradients across the side times a fixed matrix give the sum of gradients along each line.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec.quads import NEXT, areas, crossings

__all__ = ["refine"]

ALONG, ACROSS = 16, 17
"""Samples along a side and across it."""

_FIRST, _LAST = 0.08, 0.92  # the part of a side that is sampled: rounded corners (3 of 63 mm) are left out
_AT_ONCE = 256  # quads: OpenCV samples at most 32,767 rows, and a quad takes 64
_REACH = 0.006  # of the square root of a card's area: how far a side may move
_LEAST_REACH_PX = 1.0
_CLIP = 48.0  # grey levels; stronger steps count as this much, so that a few of them do not outweigh a long weak edge


def refine(pixels: NDArray[np.uint8], quads: NDArray[np.float32], reach_px: float | None = None) -> NDArray[np.float32]:
    """Moves each side to the strongest straight edge near it.

    Args:
        pixels: (H, W) or (H, W, C), a layout OpenCV reads in place, less than 32,768 pixels wide and high.
        quads: (n, 4, 2), clockwise; (0, 0) is the corner of the first pixel.
        reach_px: how far a side may move; it is found to about a thirtieth of that. None: a share of each card's size.

    Returns:
        The quads fitted, (n, 4, 2); a quad whose sides would cross or leave its neighbourhood stays as it was.
    """
    done = [quads[:0]]
    for start in range(0, len(quads), _AT_ONCE):
        given = quads[start : start + _AT_ONCE]
        reach = np.maximum(_REACH * np.sqrt(areas(given)), _LEAST_REACH_PX).astype(np.float32)
        if reach_px is not None:
            reach[:] = reach_px
        near = _fit(pixels, given, reach)
        fitted = _fit(pixels, near, reach * np.float32(0.25))
        moved = np.abs(fitted - given).max(axis=(1, 2))
        done.append(np.where((moved < 3 * reach)[:, None, None], fitted, given))
    return np.concatenate(done)


def _fit(pixels: NDArray[np.uint8], quads: NDArray[np.float32], reach: NDArray[np.float32]) -> NDArray[np.float32]:
    """One pass."""
    starts = quads
    steps = quads[:, NEXT] - quads
    lengths = np.sqrt((steps * steps).sum(axis=2, keepdims=True)) + np.float32(1e-6)
    normals = np.concatenate([steps[..., 1:], -steps[..., :1]], axis=2) / lengths
    gradients = _strips(pixels, starts, steps, normals, reach)
    lines, offsets = _all_lines()
    either = 0.5 * np.abs(gradients).sum(axis=1, keepdims=True)  # counts too, for the ground may change along a side
    # One small product a side: BLAS would start threads for a single large one, which costs more than it saves.
    sums = np.matmul(np.concatenate([gradients, either], axis=1), lines)
    chosen = np.abs(sums).sum(axis=1).argmax(axis=1)
    best = offsets[:, chosen].reshape(2, len(quads), 4, 1).astype(np.float32) * reach[:, None, None]
    ends = starts + steps * np.float32(_LAST) + normals * best[1]
    starts = starts + steps * np.float32(_FIRST) + normals * best[0]
    return crossings(starts, ends - starts)


def _strips(pixels: NDArray[np.uint8], starts: Any, steps: Any, normals: Any, reach: Any) -> NDArray[np.float32]:
    """Gradients across every side: (sides, channels, ALONG * (ACROSS - 2))."""
    import cv2

    along = np.linspace(_FIRST, _LAST, ALONG, dtype=np.float32)[:, None, None]
    across = np.linspace(-1, 1, ACROSS, dtype=np.float32)[:, None] * reach[:, None, None, None, None]
    points = (starts[:, :, None] + steps[:, :, None] * along[:, 0])[:, :, :, None] + normals[:, :, None, None] * across
    points = points.reshape(-1, ACROSS, 2) - np.float32(0.5)  # OpenCV counts from the first pixel's centre
    nothing: Any = None
    strip = cv2.remap(pixels, points, nothing, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    strip = strip.reshape(len(points), ACROSS, -1).astype(np.float32)
    gradients = np.clip(strip[:, 2:] - strip[:, :-2], -_CLIP, _CLIP)
    sides, channels = len(points) // ALONG, gradients.shape[2]
    return np.ascontiguousarray(gradients.reshape(sides, -1, channels).transpose(0, 2, 1))


@cache
def _all_lines() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each column sums the gradients along one line; and the lines' offsets at both ends, (2, lines), in reaches."""
    middle = (ACROSS - 2) // 2
    ends = [(a, b) for a in range(-middle, middle + 1) for b in range(-middle, middle + 1) if abs(a - b) <= middle]
    along = np.linspace(0, 1, ALONG)[:, None]
    at = middle + (1 - along) * [a for a, _ in ends] + along * [b for _, b in ends]
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(ACROSS - 2)[:, None]))
    return (
        (weights.reshape(-1, len(ends)) / ALONG).astype(np.float32),
        (np.array(ends, np.float32).T / ((ACROSS - 1) / 2)).astype(np.float32),
    )
