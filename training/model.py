"""The encoder: EfficientNet-Lite0 with a head that keeps coarse position, 768 numbers, unit length."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

GRID = 4
"""Cells a side that the head sees. Where on a card a feature lies is half of what tells cards apart."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def import_timm() -> object:
    """timm, also where torchvision's compiled library doesn't fit the torch build.

    timm only needs torchvision to be importable; a torchvision linked against CUDA fails on a CPU torch because two
    operators are not registered. Declaring them first is enough, since nothing here calls them.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_timm.library = library  # type: ignore[attr-defined]  # must outlive this call
    import timm

    return timm


def pool(features: Tensor, grid: int) -> Tensor:
    """A last map (n, features, h, h) averaged over windows to (n, features, grid, grid)."""
    window = features.shape[-1] - grid + 1  # a plain average pool, which every compiler has
    return F.avg_pool2d(features, window, stride=1) if window > 1 else features


class CardEncoder(nn.Module):
    """uint8 RGB pictures to unit vectors.

    Args:
        dimension: length of the embedding.
        channels: features kept in each cell before the last linear layer.
        grid: cells a side that the head sees; 1 is the usual global pooling.
        backbone: name of a timm model whose last map has stride 32.
        options: of timm for it, such as `pretrained`.
    """

    def __init__(
        self,
        dimension: int = 768,
        channels: int = 64,
        grid: int = GRID,
        backbone: str = "efficientnet_lite0",
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.grid = grid
        self.backbone = import_timm().create_model(backbone, num_classes=0, **options)  # type: ignore[attr-defined]
        self.squeeze = nn.Conv2d(self.backbone.num_features, channels, 1, bias=False)
        self.linear = nn.Linear(channels * grid * grid, dimension, bias=False)
        self.centre = nn.BatchNorm1d(dimension)
        mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255
        std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def maps(self, pixels: Tensor) -> Tensor:
        """(n, S, S, 3) uint8 RGB to the pooled feature map (n, features, grid, grid)."""
        return pool(self.backbone.forward_features(self.planes(pixels)), self.grid)

    def planes(self, pixels: Tensor) -> Tensor:
        """(n, S, S, 3) uint8 RGB to normalised planes (n, 3, S, S)."""
        planes = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        return planes.contiguous(memory_format=torch.channels_last)

    def embed(self, maps: Tensor) -> Tensor:
        """Pooled maps to (n, dimension) unit vectors."""
        cells = self.squeeze(maps).flatten(1)
        return F.normalize(self.centre(self.linear(cells)).float(), dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.embed(self.maps(pixels))


@torch.no_grad()
def embed(encoder: CardEncoder, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Unit vectors (n, d) of equally sized RGB pictures, in evaluation mode."""
    encoder.eval()
    batches = (torch.from_numpy(np.stack(pictures[i : i + 64])) for i in range(0, len(pictures), 64))
    return torch.cat([encoder(batch.to(encoder.mean.device)).cpu() for batch in batches]).numpy()
