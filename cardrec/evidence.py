"""How much a quad looks like a card's outline: a few measurements, weighed by a logistic regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec.candidates import Gradients
from cardrec.quads import NEXT, side_lengths, tilt_and_taper

__all__ = ["logit", "measurements", "side_support"]

_FULL = 60.0  # gradient across a side that counts fully: 15 grey levels a pixel
_SIDE = ((np.arange(20) + 0.5) / 20 * 0.88 + 0.06).astype(np.float32)  # leaves out the rounded corners
_BEYOND = np.linspace(0.04, 0.2, 6, dtype=np.float32)
_ALONG = np.concatenate([_SIDE, 1 + _BEYOND, -_BEYOND])
_AFTER, _BEFORE = slice(len(_SIDE), len(_SIDE) + len(_BEYOND)), slice(len(_SIDE) + len(_BEYOND), None)
_SIDE_AND_BEYOND = np.concatenate([_SIDE, 1 + _BEYOND, -_BEYOND])
_OFFSET = 2.5  # pixels of the small copy from the side to where its two colours are read


def side_support(quads: NDArray[np.float32], edges: Gradients) -> NDArray[np.floating[Any]]:
    """A quick score of many candidates: how much of the sides, the worst above all, lies on an edge their way."""
    support = _support(_across(quads, edges, _SIDE))
    return np.asarray(0.7 * support.min(axis=1) + 0.3 * support.mean(axis=1))


def _across(quads: NDArray[np.float32], edges: Gradients, at: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    """Gradient across each side at parts of its length (n, 4, parts), -1..1; 0 outside the picture."""
    height, width = edges[0].shape
    step = quads[:, NEXT] - quads
    length = np.sqrt((step * step).sum(axis=2, keepdims=True)) + np.float32(1e-6)
    points = (quads[:, :, None] + step[:, :, None] * at[:, None]).astype(np.int32)
    columns, rows = points[..., 0], points[..., 1]
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    flat = np.where(inside, rows * width + columns, 0)
    unit = step / (length * np.float32(_FULL))
    across = edges[1].ravel()[flat] * unit[..., :1] - edges[0].ravel()[flat] * unit[..., 1:]
    return np.asarray(np.minimum(np.maximum(across, -1), 1) * inside)


def _support(across: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """(n, 4), 0..1. An edge keeps its sign, texture does not; where the ground changes, the unsigned mean counts."""
    signed, unsigned = np.abs(across.sum(axis=2)), np.abs(across).sum(axis=2)
    return np.asarray(np.maximum(signed, 0.7 * unsigned) / across.shape[2])


def _colours(quads: NDArray[np.float32], small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colours beside each side, outside it and inside it: (2, n, 4, 10, channels)."""
    height, width = small.shape[:2]
    step = np.roll(quads, -1, axis=1) - quads
    length = np.sqrt((step * step).sum(axis=2, keepdims=True)) + np.float32(1e-6)
    outward = np.concatenate([step[..., 1:], -step[..., :1]], axis=2) * (np.float32(_OFFSET) / length)
    middle = quads[:, :, None] + step[:, :, None] * _SIDE[::2, None]
    points = np.stack([middle + outward[:, :, None], middle - outward[:, :, None]]).astype(np.int32)
    columns = np.minimum(np.maximum(points[..., 0], 0), width - 1)
    rows = np.minimum(np.maximum(points[..., 1], 0), height - 1)
    return small.reshape(height, width, -1)[rows, columns, :3].astype(np.float32) / np.float32(40)


def _mean(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """`values.mean(axis)` without its bookkeeping, which for a few numbers costs more than the sum."""
    return np.asarray(np.add.reduce(values, axis=axis) / np.float32(values.shape[axis]))


def measurements(quads: NDArray[np.float32], small: NDArray[np.uint8], edges: Gradients) -> NDArray[np.float64]:
    """(n, features): evidence along the sides, edges running on beyond the corners, colours beside the sides, shape."""
    across = _across(quads, edges, _ALONG)
    side, after, before = across[..., : len(_SIDE)], across[..., _AFTER], across[..., _BEFORE]
    filled = np.sort(_mean(np.abs(side) > 0.15, 2), axis=1)
    beyond = np.sort(np.abs(np.concatenate([_mean(after, 2), _mean(before, 2)], axis=1)), axis=1)
    colours = _colours(quads, small)
    mean = _mean(colours, 3)
    varied = np.sqrt(np.maximum(_mean(colours * colours, 3) - mean * mean, 0))
    between = np.abs(mean - _mean(mean, 2)[:, :, None])
    unlike, noise = (_mean(each.reshape(2, len(quads), 4 * mean.shape[3]), 2) for each in (between, varied))
    contrast = np.sort(_mean(np.abs(mean[0] - mean[1]), 2), axis=1)
    ratio, taper = tilt_and_taper(quads)
    extent = side_lengths(quads).max(axis=1) / max(small.shape[:2])
    shape = [ratio, taper, np.maximum(0, taper - 1 - 0.55 * extent), extent, np.log(extent + 0.02)]
    columns = [
        np.sort(_support(side), axis=1),
        filled[:, :2],
        np.stack([_mean(beyond, 1), beyond[:, -2], beyond[:, -1], *unlike, *noise], axis=1),
        contrast[:, :2],
        np.stack([_mean(contrast, 1), *shape], axis=1),
    ]
    return np.concatenate(columns, axis=1).astype(np.float64)


_WEIGHTS = np.array([
    0.601, 0.14, 0.301, 1.252, 2.064, 10.927, -2.461, -2.567, -1.678, -2.963, -1.69,
    -1.675, 1.262, 0.041, 0.111, 0.521, 12.486, -2.918, -3.618, -7.191, 2.722, -13.473,
])  # fmt: skip
"""Of the measurements in their order, and the constant: fitted to 86,976 candidates in 1,042 simulated frames (easy and
hard; one card, six cards and none) by `python -m training.fit_detector`."""


def logit(quads: NDArray[np.float32], small: NDArray[np.uint8], edges: Gradients) -> NDArray[np.float64]:
    """Log odds (n,) that each quad is a card's outline."""
    return np.asarray(measurements(quads, small, edges) @ _WEIGHTS[:-1] + _WEIGHTS[-1])
