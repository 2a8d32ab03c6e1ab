"""What a teacher says of the clean cards, computed before the first step; photos of a card are taught the same.

So the student learns to see a card through bad light, and a teacher of any size costs one pass over the cards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.cards import Cards
from training.features import project
from training.objective import Batch
from training.settings import Phase, Settings
from training.teacher import cached, map_vectors, open_teacher, targets
from training.teacher_classifier import fit_classifier

__all__ = ["Lessons", "prepare_lessons"]


@dataclass(frozen=True, slots=True)
class Lessons:
    """Targets by picture; None where no phase asks for them.

    Attributes:
        maps: (n, features, GRID, GRID) float16.
        embedding: (n, d) float32 unit vectors of the student's length.
        judge: embeddings (n, d) to logits (n, classes).
    """

    maps: NDArray[np.float16] | None = None
    embedding: Tensor | None = None
    judge: nn.Module | None = None

    def of(self, image: Tensor, phase: Phase) -> Batch:
        """What a phase teaches of these pictures (k,)."""
        batch: Batch = {}
        if max(phase.map_weight) > 0 and self.maps is not None:
            batch["maps"] = torch.from_numpy(self.maps[image.numpy()])
        if phase.teaches() and self.embedding is not None:
            batch["embedding"] = self.embedding[image]
        return batch

    def first_vectors(self, fitted: int, dimension: int) -> Tensor | None:
        """Vectors (n, dimension) for a student that knows nothing, None without a teacher.

        Args:
            fitted: pictures from the first that principal components are fitted to.
            dimension: of the student's embedding.
        """
        if self.embedding is not None:
            return self.embedding
        return None if self.maps is None else map_vectors(self.maps, fitted, dimension)


def prepare_lessons(settings: Settings, cards: Cards, dimension: int, data: Path, out: Path) -> Lessons:
    """Asks the config's teacher about all cards; its answers are kept in ``out``, embeddings have ``dimension``."""
    pictures = [card.pixels for card in cards.shown]
    phases = settings.phase
    maps = embedding = judge = None
    if any(max(phase.map_weight) > 0 for phase in phases):
        maps = targets(pictures, data / settings.teacher["network"], out / "teacher_maps.npy")
    if any(phase.teaches() for phase in phases):
        size = int(settings.teacher.get("size", 224))
        features = cached(open_teacher(settings.teacher, data), pictures, out / "teacher_features.npy", size)
        embedding = torch.from_numpy(project(features, dimension))
    if embedding is not None and any(phase.logits_weight > 0 for phase in phases):
        judge = fit_classifier(embedding, torch.tensor(cards.labels), cards.classes, seed=settings.seed)
    return Lessons(maps, embedding, judge)
