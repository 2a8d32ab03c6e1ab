"""What the outline network says, as quads.

For each cell of a grid, 8 pixels apart, it gives a score and the outline of the card around it. A quad is described by
the discrete Fourier transform of its four corners, taken as complex numbers x + iy, in order:

    Z_m = 1/4 * sum_k corner_k * exp(-2 pi i k m / 4)

Z_0 is the centre, |Z_1| the size, Z_2 the taper (perspective), Z_3 / Z_1 the proportions and the shear. Starting at the
opposite corner, which is the same outline, changes the signs of Z_1 and Z_3 and nothing else; so what the network gives
(Z_0, Z_2, Z_1 squared, Z_3 / Z_1, divided by the size where they have one) is unique and continuous for every turn of a
card, and holds the eight numbers of a quad exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec import _detect

__all__ = ["CELL_PX", "CHANNELS", "SIZE_PX", "cell_centres", "encode", "propose"]

CELL_PX = 8
"""Distance of the grid's cells in pixels of the network's picture."""

SIZE_PX = 32.0
"""|Z_1| is given as the logarithm of its share of this."""

SHAPE = 1j * (88 - 63) / (88 + 63)
"""Z_3 / Z_1 of a 63 x 88 card seen from straight above; departures from it are given."""

CHANNELS = 12
"""Score (log odds); centre from the cell, in sizes (2); log size; Z_1^2 / |Z_1|^2 (2); Z_3 / Z_1 - SHAPE (2); Z_2, in
sizes (2); the direction from the card's middle to its own top (2), shorter than 1 where that is not sure."""


def cell_centres(height: int, width: int) -> NDArray[np.complex64]:
    """(height, width) centres of the cells, x + iy in pixels."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return np.asarray((x[None] + 0.5 + 1j * (y[:, None] + 0.5)) * CELL_PX, np.complex64)


def encode(quads: NDArray[Any]) -> NDArray[np.complex128]:
    """The transform (n, 4) of quads (n, 4, 2): corners clockwise from one that begins a short side."""
    corners = quads[..., 0] + 1j * quads[..., 1]
    return np.asarray(np.fft.fft(corners, axis=1) / 4)


def propose(cells: NDArray[np.float32], least: float, most: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Outlines (n, 4, 2) in the network's pixels and their scores, the best first, one for each card.

    Each is clockwise from the corner that begins a short side; of both short sides, the likelier top. It is the mean of
    what the cells around a peak of the score say, weighted by their scores.

    Args:
        cells: (CHANNELS, rows, columns), as the network gives them.
        least: score that an outline must reach.
        most: how many are wanted.
    """
    return _detect.propose(cells, least, most)
