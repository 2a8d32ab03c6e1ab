"""The baseline: a 256-bit DCT perceptual hash, as card scanners without a network use it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64
BITS = 16


def phash(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(n, 256) float32 of -1 and 1: the signs of the 16x16 lowest DCT coefficients about their median.

    Args:
        pictures: RGB pictures of whole cards, any size.
    """
    hashes = np.empty((len(pictures), BITS * BITS), np.float32)
    for row, picture in enumerate(pictures):
        grey = cv2.cvtColor(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        low = cv2.dct(grey.astype(np.float32))[:BITS, :BITS].ravel()
        hashes[row] = np.where(low > np.median(low[1:]), 1, -1)
    return hashes


def nearest(queries: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n,) row of the reference with the smallest Hamming distance, the lower row among equals."""
    rows: NDArray[np.int64] = np.argmax(queries @ references.T, axis=1)
    return rows
