"""Fits quads to the edges of the full frame, to a fraction of a pixel.

Only four thin strips are read, one along each side. In a strip every straight line from one end to the other is tried;
the one across which the gradients sum up to most, in one colour or another, is the side. Then once more, closer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cardrec import _detect

__all__ = ["refine"]


def refine(pixels: NDArray[np.uint8], quads: NDArray[np.float32], reach_px: float | None = None) -> NDArray[np.float32]:
    """Moves each side to the strongest straight edge near it.

    Args:
        pixels: (H, W) or (H, W, 1 | 3 | 4), any strides; a fourth channel is ignored.
        quads: (n, 4, 2), clockwise; (0, 0) is the corner of the first pixel.
        reach_px: how far a side may move; it is found to about a thirtieth of that. None: a share of each card's size.

    Returns:
        The quads fitted, (n, 4, 2); a quad whose sides would cross or leave its neighbourhood stays as it was.
    """
    return _detect.refined(pixels, quads, reach_px)
