"""The outline network in integers: 8 bits for what flows between its layers and 7 for the weights.

Seven, because the product of two bytes, twice, has to fit 16 bits on processors without VNNI or dotprod. Input scaling
and last layer stay as they are, in floats. Nothing is trained: the ranges are those seen on stored frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cardrec.network import open_network
from training.integers import to_integers
from training.outline_frames import StoredFrames
from training.train_outlines import Batches

CALIBRATED, COMPARED = 12, 4
"""Batches of frames whose ranges count, and of others on which the networks are compared."""
LARGEST_SHIFT = 0.05
"""Mean difference of an outline's numbers in cells that see a card, in sizes of that card."""


def quantise(path: Path, frames: StoredFrames, *, seed: int = 0) -> float:
    """Replaces the network by the same in integers; returns how far the outlines move, as `LARGEST_SHIFT` says.

    Raises:
        ValueError: they move too far.
    """
    batches = Batches(frames, count=CALIBRATED + COMPARED, seed=seed)
    seen = (picture for index in range(CALIBRATED) for picture in batches[index][0])
    with TemporaryDirectory() as folder:
        quantised = Path(folder) / "quantised.onnx"
        to_integers(path, quantised, seen, in_floats=_ends)
        shift = _shift(path, quantised, batches)
        if shift > LARGEST_SHIFT:
            raise ValueError(f"{path}: in integers outlines move by {shift:.3f}, more than {LARGEST_SHIFT}")
        path.write_bytes(quantised.read_bytes())
    return shift


def _ends(nodes: Sequence[Any]) -> list[Any]:
    """The input's scaling and the last layer."""
    last = [node for node in nodes if node.op_type == "Conv"][-1]
    return [last, *(node for node in nodes if node.op_type in ("Cast", "Mul", "Sub"))]


def _shift(path: Path, other: Path, batches: Batches) -> float:
    """Mean difference of the two networks' outlines, over the cells that the training counts."""
    networks = [open_network(one, threads=0) for one in (path, other)]
    moved, counted = 0.0, 0.0
    for index in range(CALIBRATED, CALIBRATED + COMPARED):
        pictures, *_, weights = batches[index]
        for picture, weight in zip(pictures, weights, strict=True):
            said, also = (network(picture[None])[0, 1:10] for network in networks)
            moved += float((np.abs(said - also).mean(axis=0) * weight).sum())
            counted += float(weight.sum())
    return moved / max(counted, 1e-6)
