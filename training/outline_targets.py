"""What the outline network should say of a frame whose outlines are known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.outlines import CHANNELS, SHAPE, SIZE_PX, cell_centres, encode
from cardrec.quads import UNIT_SQUARE, side_lengths

Floats = NDArray[np.float32]

SPREAD = 0.2
"""Standard deviation, in card widths and heights, of the bell around a card's centre that the score should show."""
LEAST_HEAT = 0.3
"""Cells from this height of the bell on also learn the outline."""
LEAST_VISIBLE = 0.7
"""Share of a card that must be seen; of cards that show less nothing is learned, neither that they are cards nor that
they are not."""
LEAST_SIDE_PX = 8.0
"""Nor of smaller ones."""


@dataclass(frozen=True, slots=True)
class Targets:
    """For each cell of the grid (h, w).

    Attributes:
        heat: 1 at the cell nearest to a card's centre, falling with the distance, 0 outside.
        counts: 0 where the score is not judged.
        outline: (CHANNELS - 1, h, w) the other channels.
        weight: what a cell's outline counts; of each card the weights sum to 1.
    """

    heat: Floats
    counts: Floats
    outline: Floats
    weight: Floats


def targets(quads: Floats, visible: Floats, grid_hw: tuple[int, int]) -> Targets:
    """What to say of cards (n, 4, 2), upright ones, from their own top left on, of which such shares are seen."""
    centres = cell_centres(*grid_hw)
    made = Targets(*(np.zeros(shape, np.float32) for shape in (grid_hw, grid_hw, (CHANNELS - 1, *grid_hw), grid_hw)))
    made.counts[:] = 1
    for quad, seen in zip(quads, visible, strict=True):
        heat = _bell(quad, centres)
        if seen < LEAST_VISIBLE or side_lengths(quad[None]).min() < LEAST_SIDE_PX or heat.max() <= 0:
            made.counts[heat > 0] = 0
            continue
        heat /= heat.max()
        mine = heat > made.heat
        made.heat[mine] = heat[mine]
        cells = mine & (heat >= LEAST_HEAT)
        made.weight[cells] = heat[cells] / heat[cells].sum()
        made.outline[:, cells] = _outline(quad, centres[cells])
    return made


def _bell(quad: Floats, centres: NDArray[np.complex64]) -> Floats:
    """Height of a bell around the card's centre, seen in perspective, at each cell; 0 outside the card."""
    to_square = cv2.getPerspectiveTransform(quad.astype(np.float32), UNIT_SQUARE.astype(np.float32)).astype(np.float32)
    x, y = centres.real, centres.imag
    u, v, w = (row[0] * x + row[1] * y + row[2] for row in to_square)
    u, v = u / w - np.float32(0.5), v / w - np.float32(0.5)
    heat = np.exp((u * u + v * v) * np.float32(-0.5 / SPREAD**2))
    return np.asarray(heat * ((np.maximum(np.abs(u), np.abs(v)) < 0.5) & (w > 0)), np.float32)


def _outline(quad: Floats, centres: NDArray[np.complex64]) -> Floats:
    """(CHANNELS - 1, cells) numbers that describe the quad from each cell."""
    top = quad[:2].mean(axis=0) - quad.mean(axis=0)
    up = complex(*(top / np.linalg.norm(top)))
    zeroth, first, second, third = encode(quad[None].astype(np.float64))[0]
    size = abs(first)
    same = np.ones(len(centres))
    numbers = [(zeroth - centres) / size, first**2 / size**2 * same, (third / first - SHAPE) * same]
    numbers += [second / size * same, up * same]
    pairs = [part for number in numbers for part in (number.real, number.imag)]
    return np.stack([*pairs[:2], np.log(size / SIZE_PX) * same, *pairs[2:]]).astype(np.float32)
