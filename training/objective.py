"""Encoder, classes and teacher's classifier as one module that gives the parts of a phase's loss.

One module, since gradients of several processes are only averaged for what passes through its forward.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from training.losses import Classes, distance, map_regression, relations, soft_classes
from training.model import CardEncoder
from training.settings import Phase, between

__all__ = ["Batch", "Objective", "weights"]

Batch = dict[str, Tensor]
"""`pixels` (n, S, S, 3) uint8, `label` (n,); with a teacher `maps` (n, features, GRID, GRID) or `embedding` (n, d)."""


class Objective(nn.Module):
    """What is trained.

    Args:
        encoder: pictures to unit vectors.
        classes: of the training set.
        precision: of the encoder's forward pass, `bf16`, `fp16` or `fp32`.
        recompute: activations, instead of keeping them for the backward pass.
        judge: teacher's embeddings (n, d) to logits (n, classes); frozen, for phases with `logits_weight`.
    """

    def __init__(
        self, encoder: CardEncoder, classes: Classes, *, precision: str, recompute: bool, judge: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.classes = encoder, classes
        self.precision, self.recompute = precision, recompute
        self.judge = judge.requires_grad_(False) if judge is not None else None

    def forward(self, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """The parts of the loss by name, unweighted, and `hit`, the share that is nearest to its own class."""
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        with torch.autocast(batch["pixels"].device.type, dtype=kind, enabled=kind is not None):
            if self.recompute:
                maps = checkpoint(self.encoder.maps, batch["pixels"], use_reentrant=False)
            else:
                maps = self.encoder.maps(batch["pixels"])
            embedding = self.encoder.embed(maps)
        cosine = self.classes.cosines(embedding)
        label = batch["label"]
        parts = {
            "class": self.classes(cosine, label, phase.margin, phase.angle),
            "hit": (cosine.detach().argmax(1) == label).float().mean(),
        }
        if max(phase.map_weight) > 0:
            parts["map"] = map_regression(maps, batch["maps"])
        if phase.teaches():
            taught = batch["embedding"]
            parts["embedding"] = distance(embedding, taught)
            parts["relation"] = relations(embedding, taught)
            if self.judge is not None:
                parts["logits"] = soft_classes(self.classes.scale * cosine, self.judge(taught), phase.temperature)
        return parts


def weights(phase: Phase, progress: float) -> dict[str, float]:
    """What each part of the loss counts, 0..1 of the way through the phase."""
    return {
        "class": between(phase.class_weight, progress),
        "map": between(phase.map_weight, progress),
        "embedding": phase.embedding_weight,
        "logits": phase.logits_weight,
        "relation": phase.relation_weight,
    }
