"""Trains the corner network on crops of stored frames, half of them around what the outline network proposes.

    python -m training.train_corners FRAMES --outlines RUN/outlines.onnx --out RUN [--steps 7000]

RUN receives `corners.pt` (the running average of the weights) and `corners.csv`.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from cardrec.network import Network, open_network
from cardrec.outlines import propose
from training.corner_samples import Crop, crops_of, disturbed, from_any_corner
from training.fitting import arguments, fit
from training.outline_frames import StoredFrames
from training.outline_model import CornerNet
from training.outline_targets import LEAST_VISIBLE
from training.train_outlines import closer_part

Arrays = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]

BATCH, PER_FRAME = 64, 8
LEAST_SCORE = 0.1
"""Proposals from here on are looked at again: some of them are no cards, and those are what must be learned."""


class Batches(Dataset[Arrays]):
    """A seeded sequence of batches of crops."""

    def __init__(self, frames: StoredFrames, outlines: Path, *, count: int, seed: int) -> None:
        self.frames, self.outlines, self.count, self.seed = frames, outlines, count, seed
        self._network: Network | None = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Arrays:
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, index])
        crops: list[Crop] = []
        while len(crops) < BATCH:
            crops += self._crops(rng)
        pixels, card, offsets, top_left = zip(*((c.pixels, c.card, c.offsets, c.top_left) for c in crops), strict=True)
        first = slice(BATCH)
        return (
            np.stack(pixels)[first],
            np.array(card, np.float32)[first],
            np.stack(offsets)[first],
            np.array(top_left)[first],
        )

    def _look(self, small: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the outline network says; it is opened in the process that uses it."""
        if self._network is None:
            self._network = open_network(self.outlines, threads=1)
        return self._network(small[None])[0]

    def _crops(self, rng: np.random.Generator) -> list[Crop]:
        """Those of one frame, twice as large as the outline network sees it."""
        picture, quads, visible = closer_part(self.frames, rng)
        size_wh = picture.shape[1] // 2, picture.shape[0] // 2
        small = np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
        proposed, _ = propose(self._look(small), LEAST_SCORE, 30)
        own = [from_any_corner(disturbed(quad, rng), rng) for quad in quads[visible >= LEAST_VISIBLE]]
        outlines = np.concatenate([proposed * 2, np.array(own, np.float32).reshape(-1, 4, 2)])
        return crops_of(picture, outlines, quads, visible, rng, PER_FRAME)


def losses(said: Tensor, card: Tensor, offsets: Tensor, top_left: Tensor) -> dict[str, tuple[float, Tensor]]:
    """Mean absolute error of the corners, and what score and orientation miss; all but the score of cards only."""
    cards = card.sum().clamp(min=1)
    corners = ((said[:, :8] - offsets).abs().mean(dim=1) * card).sum() / cards
    score = F.binary_cross_entropy_with_logits(said[:, 8], card)
    way = (F.cross_entropy(said[:, 9:], top_left, reduction="none") * card).sum() / cards
    return {"corners": (10.0, corners), "score": (1.0, score), "orientation": (0.3, way)}


def main() -> None:
    parser = arguments(__doc__, steps=7000)
    parser.add_argument("--outlines", type=Path, required=True, help="the outline network, as ONNX")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    batches = Batches(StoredFrames(options.frames), options.outlines, count=options.steps, seed=options.seed)
    fit(CornerNet(), batches, losses, options, "corners")


if __name__ == "__main__":
    main()
