"""A second look at each outline: a crop of the frame around it, and what the corner network says of that crop.

The crop shows the outline stretched to a square, with a margin on all sides. The network moves the four corners, says
how likely a card it is, and which of the four sides is the card's top.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec import _detect
from cardrec.quads import UNIT_SQUARE

__all__ = ["CHANNELS", "CROP_SIDE", "INNER", "decode", "projected", "surroundings"]

CROP_SIDE = 80
"""Of the crop, in pixels."""

MARGIN = 0.25
"""On each side of the outline, as a share of its width and height."""

CHANNELS = 13
"""Corners, x and y each, as departures from INNER in shares of the outline's side (8); score (log odds); which corner
is the card's own top left (4 logits)."""

INNER = (UNIT_SQUARE + MARGIN) / (1 + 2 * MARGIN)
"""Where the outline's corners lie in the crop, the crop being the unit square."""


def projected(quads: NDArray[Any], points: NDArray[Any]) -> NDArray[np.float64]:
    """Points (n, k, 2) of the unit square, or beyond it, as each quad (n, 4, 2) shows the square: (n, k, 2).

    The projective map is P. Heckbert's, "Fundamentals of Texture Mapping and Image Warping" (1989), 2.2.3.
    """
    first, second, third, fourth = (quads[:, corner].astype(np.float64) for corner in range(4))
    one, other, rest = second - third, fourth - third, first - second + third - fourth
    determinant = one[:, 0] * other[:, 1] - other[:, 0] * one[:, 1]
    g = ((rest[:, 0] * other[:, 1] - other[:, 0] * rest[:, 1]) / determinant)[:, None, None]
    h = ((one[:, 0] * rest[:, 1] - rest[:, 0] * one[:, 1]) / determinant)[:, None, None]
    u, v = points[..., :1], points[..., 1:]
    across, down = (second - first)[:, None] + g * second[:, None], (fourth - first)[:, None] + h * fourth[:, None]
    return np.asarray((across * u + down * v + first[:, None]) / (g * u + h * v + 1))


def surroundings(quads: NDArray[np.float32]) -> NDArray[np.float32]:
    """The quads with their margins: what the crops show, (n, 4, 2)."""
    return _detect.surroundings(quads)


def decode(around: NDArray[np.float32], said: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Outlines (n, 4, 2) and scores 0..1 of crops with these corners.

    An outline begins with the corner that is likeliest to be the card's own top left, of those that begin a short side:
    which sides are the short ones is seen in its shape, unless the card lies very aslant.
    """
    return _detect.corrected(around, said)
