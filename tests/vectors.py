"""Vectors that several tests search in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def decaying_rows(count: int, dimension: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit rows whose energy lies in few directions, as that of embeddings does."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).standard_normal((dimension, dimension)))[0]
    rows = (rng.standard_normal((count, dimension)) * 0.7 ** np.arange(dimension)) @ turn
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
