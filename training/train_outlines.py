"""Trains the outline network on stored frames. Reads top to bottom.

    python -m training.train_outlines FRAMES --out RUN [--steps 12000] [--start RUN/outlines.pt]

A sample is a part of a stored frame, turned and mirrored, its light and colours changed, at the size at which the
network will see it. RUN receives `outlines.pt` (the running average of the weights) and `outlines.csv`.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from cardrec.outlines import CELL_PX
from cardrec.quads import covered
from training.fitting import arguments, fit
from training.outline_frames import StoredFrames
from training.outline_model import OutlineNet
from training.outline_targets import targets

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIZES_WH = ((256, 144), (144, 256), (256, 192), (192, 256), (224, 224))
"""What a batch's frames are shrunk to: 16:9, 4:3, square."""
SIZE_CHANCES = (0.45, 0.15, 0.15, 0.1, 0.15)
CLOSE_UPS = 0.25
"""Share of samples in which one card fills the picture: such frames are what people crop, and a wide view has none."""
BATCH = 32
OUTLINE_WEIGHTS = (1.0, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1)
"""Of the eleven channels of an outline: each error then counts about as far as it moves the corners."""

NOISE_DEVIATION = 40
NOISE: Picture = np.clip(np.random.default_rng(0).normal(128, NOISE_DEVIATION, (640, 640, 3)), 0, 255).astype(np.uint8)


class Batches(Dataset[tuple[Picture, Floats, Floats, Floats, Floats]]):
    """A seeded sequence of batches; within one all frames have the same size."""

    def __init__(self, frames: StoredFrames, *, count: int, seed: int) -> None:
        self.frames, self.count, self.seed = frames, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Picture, Floats, Floats, Floats, Floats]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, index])
        size_wh = SIZES_WH[int(rng.choice(len(SIZES_WH), p=SIZE_CHANCES))]
        samples = [self._sample(size_wh, rng) for _ in range(BATCH)]
        pictures, heat, counts, outline, weight = (np.stack(parts) for parts in zip(*samples, strict=True))
        return pictures, heat, counts, outline, weight

    def _sample(
        self, size_wh: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Picture, Floats, Floats, Floats, Floats]:
        frame = self.frames[int(rng.integers(len(self.frames)))]
        picture, quads, visible = part_of(frame.pixels, frame.quads_px, frame.visible, size_wh, rng)
        wanted = targets(quads, visible, (size_wh[1] // CELL_PX, size_wh[0] // CELL_PX))
        return recoloured(picture, rng), wanted.heat, wanted.counts, wanted.outline, wanted.weight


def closer_part(frames: StoredFrames, rng: np.random.Generator) -> tuple[Picture, Floats, Floats]:
    """A part of any frame, twice as large, as the later networks see it; its cards, and what is seen of them."""
    frame = frames[int(rng.integers(len(frames)))]
    wide, high = SIZES_WH[int(rng.choice(len(SIZES_WH), p=SIZE_CHANCES))]
    picture, quads, visible = part_of(frame.pixels, frame.quads_px, frame.visible, (2 * wide, 2 * high), rng)
    return recoloured(picture, rng), quads, visible


def part_of(
    pixels: Picture, quads: Floats, visible: Floats, size_wh: tuple[int, int], rng: np.random.Generator
) -> tuple[Picture, Floats, Floats]:
    """A part of a frame in the given proportions, turned by right angles or mirrored, and shrunk; what remains seen."""
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    wide, high = size_wh if turns % 2 == 0 else size_wh[::-1]
    if rng.random() < CLOSE_UPS and (visible > 0.9).any():
        (left, top), part_wh = _around(quads[int((visible > 0.9).argmax())], wide / high, pixels.shape, rng)
    else:
        (left, top), part_wh = _anywhere((wide, high), pixels.shape, rng)
    part = pixels[top : top + part_wh[1], left : left + part_wh[0]]
    smooth = cv2.INTER_AREA if part_wh[0] > wide else cv2.INTER_LINEAR
    picture: cv2.typing.MatLike = cv2.resize(part, (wide, high), interpolation=smooth)
    moved = (quads - np.array([left, top], np.float32)) * (np.array([wide, high]) / part_wh).astype(np.float32)
    seen = visible * within(moved, (wide, high))
    for _ in range(turns):
        picture = cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE)
        moved = np.stack([picture.shape[1] - moved[..., 1], moved[..., 0]], axis=-1)
    if mirrored:
        picture = cv2.flip(picture, 1)
        moved = np.stack([picture.shape[1] - moved[..., 0], moved[..., 1]], axis=-1)[:, [1, 0, 3, 2]]
    return np.asarray(picture, np.uint8), moved.astype(np.float32), seen


def _anywhere(
    size_wh: tuple[int, int], shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Left top corner and size of a part with nearly these proportions, a third to all of the frame."""
    frame_wh = np.array(shape[1::-1])
    largest = (frame_wh / size_wh).min()
    scale = largest * (1.0 if rng.random() < 0.3 else rng.uniform(0.35, 1.0))
    part_wh = np.round(np.array(size_wh) * scale * rng.uniform(0.93, 1.0, 2)).astype(np.int64)
    return rng.integers(frame_wh - part_wh + 1), part_wh


def _around(
    quad: Floats, aspect: float, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Left top corner and size of a part with nearly these proportions that a card fills, or nearly, or a bit more."""
    frame_wh = np.array(shape[1::-1])
    low, high = quad.min(axis=0), quad.max(axis=0)
    size = (high - low) / rng.uniform(0.72, 1.08)
    wide = max(size[0], size[1] * aspect)
    part_wh = np.array([wide, wide / aspect]) * rng.uniform(0.93, 1.07, 2)
    part_wh = np.clip(np.round(part_wh * min(1.0, (frame_wh / part_wh).min())), 16, frame_wh).astype(np.int64)
    slack = np.abs(part_wh - (high - low)) / 2
    start = np.round((low + high - part_wh) / 2 + rng.uniform(-1, 1, 2) * slack)
    return np.clip(start, 0, frame_wh - part_wh).astype(np.int64), part_wh


def within(quads: Floats, size_wh: tuple[int, int]) -> Floats:
    """(n,) share of each quad that lies in the frame."""
    width, height = size_wh
    border = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return np.array([covered(quad, border) for quad in quads], np.float32)


def recoloured(picture: Picture, rng: np.random.Generator) -> Picture:
    """Other light, contrast, colours, sharpness and noise; one in eight is grey, the order of the channels is open."""
    given = picture[:, :, ::-1] if rng.random() < 0.5 else picture
    changed: cv2.typing.MatLike = np.ascontiguousarray(given)
    if rng.random() < 0.12:
        changed = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    levels = np.arange(256) / 255.0
    gains = rng.uniform(0.55, 1.45) * rng.uniform(0.85, 1.15, 3)
    table = np.clip(levels[:, None] ** rng.uniform(0.7, 1.5) * gains + rng.uniform(-0.08, 0.08), 0, 1) * 255
    changed = cv2.LUT(changed, np.round(table).astype(np.uint8)[None])
    if rng.random() < 0.15:
        changed = cv2.GaussianBlur(changed, (3, 3), rng.uniform(0.3, 0.9))
    if rng.random() < 0.3:
        gain = rng.uniform(1, 8) / NOISE_DEVIATION
        height, width = changed.shape[:2]
        top, left = int(rng.integers(len(NOISE) - height)), int(rng.integers(len(NOISE) - width))
        changed = cv2.addWeighted(changed, 1.0, NOISE[top : top + height, left : left + width], gain, -128 * gain)
    return np.asarray(changed, np.uint8)


def score_loss(logits: Tensor, heat: Tensor, counts: Tensor) -> Tensor:
    """The focal loss of heat maps (Law and Deng, "CornerNet", 2018, equation 1) for each card."""
    seen = torch.sigmoid(logits).clamp(1e-5, 1 - 1e-5)
    peak = heat == 1
    right = (1 - seen).square() * seen.log()
    wrong = (1 - heat).pow(4) * seen.square() * (1 - seen).log()
    return -(torch.where(peak, right, wrong) * counts).sum() / peak.sum().clamp(min=1)


def outline_loss(outline: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error of a card's numbers, each cell's by its weight."""
    each = torch.tensor(OUTLINE_WEIGHTS)[:, None, None]
    return ((outline - wanted).abs() * each * weight[:, None]).sum() / weight.sum().clamp(min=1e-6)


def losses(said: Tensor, *wanted: Tensor) -> dict[str, tuple[float, Tensor]]:
    heat, counts, outline, weight = wanted
    return {
        "score": (1.0, score_loss(said[:, 0], heat, counts)),
        "outline": (2.0, outline_loss(said[:, 1:], outline, weight)),
    }


def main() -> None:
    options = arguments(__doc__, steps=12_000).parse_args()
    torch.manual_seed(options.seed)
    batches = Batches(StoredFrames(options.frames), count=options.steps, seed=options.seed)
    fit(OutlineNet(), batches, losses, options, "outlines")


if __name__ == "__main__":
    main()
