"""Trains the side network on strips along the sides of outlines that are nearly right.

    python -m training.train_sides FRAMES --out RUN [--steps 6000]

RUN receives `sides.pt` (the running average of the weights) and `sides.csv`.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from cardrec import sides
from cardrec.image import Frame
from cardrec.quads import side_lengths
from cardrec.sides import ACROSS, side_positions
from training.corner_samples import disturbed
from training.fitting import arguments, fit
from training.outline_frames import StoredFrames
from training.outline_model import SideNet
from training.outline_targets import LEAST_SIDE_PX, LEAST_VISIBLE
from training.train_outlines import closer_part

Floats = NDArray[np.float32]

CARDS = 32
"""In a batch: four strips each."""
PER_FRAME = 4
SPREADS = 0.004, 0.045
"""Of the corners' errors: what the corner network leaves."""
BELL = 0.7
"""Standard deviation, in places across, of the bell around the truth that the answer should show."""


class Batches(Dataset[tuple[NDArray[np.uint8], Floats]]):
    """A seeded sequence of batches: strips, and the place across (from 0 to ACROSS) where the side crosses each row."""

    def __init__(self, frames: StoredFrames, *, count: int, seed: int) -> None:
        self.frames, self.count, self.seed = frames, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], Floats]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, index])
        strips: list[NDArray[np.uint8]] = []
        positions: list[Floats] = []
        while len(positions) < CARDS:
            self._add(strips, positions, rng)
        return np.concatenate(strips[:CARDS]), np.concatenate(positions[:CARDS])

    def _add(self, strips: list[NDArray[np.uint8]], positions: list[Floats], rng: np.random.Generator) -> None:
        """Those of a few cards of one frame."""
        picture, quads, visible = closer_part(self.frames, rng)
        large = side_lengths(quads).min(axis=1) >= 2 * LEAST_SIDE_PX
        for card in rng.permutation(np.flatnonzero((visible >= LEAST_VISIBLE) & large))[:PER_FRAME]:
            near = disturbed(quads[card], rng, SPREADS)[None]
            strips.append(sides.strips(Frame(picture, "rgb", ""), near))
            positions.append(side_positions(near, quads[card][None]))


def losses(said: Tensor, positions: Tensor) -> dict[str, tuple[float, Tensor]]:
    """Cross-entropy with a bell around the truth; rows that the side does not cross teach nothing."""
    away = torch.arange(ACROSS) + 0.5 - positions[..., None]
    bell = torch.exp(-0.5 * (away / BELL).square())
    inside = (positions > 0) & (positions < ACROSS)
    wanted = bell / bell.sum(dim=2, keepdim=True).clamp(min=1e-9)
    missed = -(wanted * torch.log_softmax(said, dim=2)).sum(dim=2)
    right = ((said.argmax(dim=2) + 0.5 - positions).abs() < 1.5).float()
    count = inside.sum().clamp(min=1)
    return {"sides": (1.0, (missed * inside).sum() / count), "right": (0.0, (right * inside).sum() / count)}


def main() -> None:
    options = arguments(__doc__, steps=6000).parse_args()
    torch.manual_seed(options.seed)
    fit(
        SideNet(),
        Batches(StoredFrames(options.frames), count=options.steps, seed=options.seed),
        losses,
        options,
        "sides",
    )


if __name__ == "__main__":
    main()
