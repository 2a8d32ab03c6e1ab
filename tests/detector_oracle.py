"""NumPy twins of `cardrec._detect`, from code that does all at once: lines as matrices, quads as complex numbers."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.corners import INNER, MARGIN, projected
from cardrec.outlines import SHAPE, SIZE_PX, cell_centres
from cardrec.quads import CARD_WH_MM, NEXT, UNIT_SQUARE, areas, covered, crossings, side_lengths
from cardrec.sides import ACROSS, ALONG, PLACES, REACH

Array = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]

TURNS = (np.arange(4) + np.arange(4)[:, None]) % 4
"""Row k: the corners from the k-th on."""


# quads


def sound(quads: Array) -> NDArray[np.bool_]:
    step = quads[:, NEXT] - quads
    turns = step[..., 0] * step[:, NEXT, 1] - step[..., 1] * step[:, NEXT, 0]
    lengths = side_lengths(quads)
    even = lengths.max(axis=1) < 6 * lengths.min(axis=1)
    return np.asarray(np.isfinite(quads).all(axis=(1, 2)) & (turns > 0).all(axis=1) & even)


def moved(quads: Array, others: Array) -> Doubles:
    away = np.abs(quads[:, None] - others[:, TURNS]).max(axis=(2, 3)).min(axis=1)
    return np.asarray(away / np.sqrt(np.maximum(areas(quads), 1e-6)), np.float64)


def straightness(quads: Array) -> Doubles:
    """(n,) how straight from above a card would have to be seen to look like this: 1, or the tilt's cosine."""
    across = (quads[:, 1] - quads[:, 0] + quads[:, 2] - quads[:, 3]) / (2 * CARD_WH_MM[0])
    down = (quads[:, 3] - quads[:, 0] + quads[:, 2] - quads[:, 1]) / (2 * CARD_WH_MM[1])
    values = np.linalg.svd(np.stack([across, down], axis=-1), compute_uv=False)
    return np.asarray(values[:, 1] / values[:, 0], np.float64)


def same_card(quad: Array, other: Array) -> bool:
    size, other_size = (float(area) for area in areas(np.stack([quad, other])))
    return covered(quad, other) * size > 0.4 * min(size, other_size)


def distinct(quads: Array, most: int) -> list[int]:
    kept: list[int] = []
    for i in range(len(quads)):
        if len(kept) < most and not any(same_card(quads[i], quads[other]) for other in kept):
            kept.append(i)
    return kept


# the outline network


def outlines(cells: NDArray[np.float32]) -> Doubles:
    """What each cell says, (rows * columns, 4, 2)."""
    numbers = cells.astype(np.float64).reshape(len(cells), -1)
    centre, direction, shape, taper, up = (numbers[i] + 1j * numbers[i + 1] for i in (1, 4, 6, 8, 10))
    size = SIZE_PX * np.exp(np.clip(numbers[3], -4, 4))
    first = np.sqrt(direction / np.maximum(np.abs(direction), 1e-6)) * size
    first = np.where((first * np.exp(0.25j * np.pi) * up.conj()).real < 0, -first, first)
    zeroth = cell_centres(*cells.shape[1:]).ravel() + centre * size
    corners = np.fft.ifft(np.stack([zeroth, first, taper * size, first * (shape + SHAPE)], axis=1), axis=1) * 4
    return np.stack([corners.real, corners.imag], axis=-1)


def propose(cells: NDArray[np.float32], least: float, most: int) -> tuple[Doubles, Doubles]:
    heat = np.ascontiguousarray(cells[0])
    peaks = (heat == cv2.dilate(heat, np.ones((3, 3), np.uint8))).ravel()
    at = np.flatnonzero(heat > np.log(0.5 * least / (1 - 0.5 * least)))
    at = at[np.argsort(-heat.ravel()[at], kind="stable")]
    scores = 1 / (1 + np.exp(-heat.ravel()[at].astype(np.float64)))
    quads, found, best = outlines(cells)[at], [np.zeros((0, 4, 2))], [0.0]
    for peak in np.flatnonzero(peaks[at] & (scores >= least)):
        near = np.abs(quads - quads[peak]).max(axis=(1, 2)) < 0.12 * np.sqrt(areas(quads[peak][None]))
        quad = np.average(quads[near], axis=0, weights=scores[near])
        if len(found) <= most and not any(same_card(quad, other[0]) for other in found[1:]):
            found.append(quad[None])
            best.append(float(scores[peak]))
    return np.concatenate(found), np.array(best[1:])


# the corner network


def surroundings(quads: Array) -> Doubles:
    return projected(quads, np.broadcast_to(UNIT_SQUARE * (1 + 2 * MARGIN) - MARGIN, (len(quads), 4, 2)))


def corrected(around: Array, said: NDArray[np.float32]) -> tuple[Doubles, Doubles]:
    wide = said.astype(np.float64)
    quads = projected(around, INNER + wide[:, :8].reshape(-1, 4, 2) / (1 + 2 * MARGIN))
    straight = np.stack([straightness(quads), straightness(quads[:, NEXT])], axis=1)
    ways = wide[:, 9:] + np.tile(30 * np.log(np.maximum(straight, 1e-6)), 2)
    order = TURNS[ways.argmax(axis=1)]
    return np.take_along_axis(quads, order[:, :, None], axis=1), 1 / (1 + np.exp(-wide[:, 8]))


# strips and lines


def sampled(pixels: NDArray[np.uint8], points: Doubles) -> Doubles:
    """Whole levels of (H, W, 3) at points, bilinear between the pixels' centres; beyond the frame its nearest pixel."""
    limit = np.array(pixels.shape[1::-1]) - 1
    at = np.clip(points - 0.5, 0, limit)
    whole = np.floor(at).astype(int)
    beyond, part = np.minimum(whole + 1, limit), at - whole
    rows = [
        pixels[y, whole[..., 0]] * (1 - part[..., :1]) + pixels[y, beyond[..., 0]] * part[..., :1]
        for y in (whole[..., 1], beyond[..., 1])
    ]
    return np.asarray(np.round(rows[0] * (1 - part[..., 1:]) + rows[1] * part[..., 1:]))


def across_sides(quads: Array, along: Array, across: Array, reach: Array) -> Doubles:
    """Points (n, 4, along, across, 2): parts of each side's length, and reaches inward."""
    steps, inward = _sides(quads)
    on_side = quads[:, :, None] + steps[:, :, None] * along[:, None]
    return np.asarray(on_side[:, :, :, None] + (inward * reach[:, None, None])[:, :, None, None] * across[:, None])


def strips(pixels: NDArray[np.uint8], quads: Array) -> NDArray[np.uint8]:
    along = 0.05 + (np.arange(ALONG) + 0.5) * (0.9 / ALONG)
    across = (np.arange(ACROSS) + 0.5) * (2 / ACROSS) - 1
    points = across_sides(quads.astype(np.float64), along, across, REACH * np.sqrt(areas(quads)))
    return sampled(pixels, points).astype(np.uint8).reshape(-1, ALONG, ACROSS, 3)


def with_sides(quads: Array, said: NDArray[np.float32]) -> Doubles:
    chances = np.exp(said.astype(np.float64))
    chances = np.log(chances / chances.sum(axis=2, keepdims=True) + 0.03).reshape(len(said), -1)
    ends = [(a, b) for a in range(ACROSS) for b in range(ACROSS) if abs(a - b) <= 10]
    inside = (np.array(ends) + 0.5) * (2 / ACROSS) - 1
    likely = chances @ _lines(ends, (np.arange(PLACES) + 0.5) / PLACES, ACROSS)
    best = inside[(likely - 0.5 * np.square(inside / 0.3).sum(axis=1)).argmax(axis=1)].reshape(-1, 4, 2)
    return _shifted(quads, (0.05, 0.95), best * REACH * np.sqrt(areas(quads))[:, None, None])


def refined(pixels: NDArray[np.uint8], quads: Array) -> Doubles:
    """Of (H, W, 3) pixels."""
    reach = np.maximum(0.006 * np.sqrt(areas(quads)), 1)
    fitted = _fit(pixels, _fit(pixels, quads.astype(np.float64), reach), reach / 4)
    return np.where((np.abs(fitted - quads).max(axis=(1, 2)) < 3 * reach)[:, None, None], fitted, quads)


def _fit(pixels: NDArray[np.uint8], quads: Doubles, reach: Doubles) -> Doubles:
    points = across_sides(quads, np.linspace(0.08, 0.92, 16), np.linspace(1, -1, 17), reach)
    levels = sampled(pixels, points)
    gradients = np.clip(levels[:, :, :, 2:] - levels[:, :, :, :-2], -48, 48)
    gradients = np.concatenate([gradients, 0.5 * np.abs(gradients).sum(axis=-1, keepdims=True)], axis=-1)
    ends = [(a, b) for a in range(15) for b in range(15) if abs(a - b) <= 7]
    sums = np.einsum("nsijc,ijl->nscl", gradients, _lines(ends, np.linspace(0, 1, 16), 15).reshape(16, 15, -1))
    best = np.array(ends)[np.abs(sums).sum(axis=2).argmax(axis=2)] - 7
    return _shifted(quads, (0.08, 0.92), -best / 8 * reach[:, None, None])


def _lines(ends: list[tuple[int, int]], along: Doubles, across: int) -> Doubles:
    """(places * across, lines): each column sums the values along one line, interpolated."""
    first, last = np.array(ends).T
    at = first * (1 - along[:, None]) + last * along[:, None]
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(across)[:, None]))
    return np.asarray(weights, np.float64).reshape(-1, len(ends))


def _sides(quads: Array) -> tuple[Doubles, Doubles]:
    """The way along each side, and its unit normal inward."""
    steps = np.asarray(quads[:, NEXT] - quads, np.float64)
    inward = np.stack([-steps[..., 1], steps[..., 0]], axis=-1)
    return steps, inward / np.linalg.norm(steps, axis=-1, keepdims=True)


def _shifted(quads: Array, parts: tuple[float, float], inside_px: Doubles) -> Doubles:
    """The outlines whose sides lie so far inside (n, 4, 2), at two parts of their lengths."""
    steps, inward = _sides(quads)
    first, last = (quads + steps * part + inward * inside_px[..., i : i + 1] for i, part in enumerate(parts))
    return np.asarray(crossings(first, last - first), np.float64)
