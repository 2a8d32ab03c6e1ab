"""What the encoder is trained to minimise."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Classes(nn.Module):
    """Softmax over the cosines to learned vectors of each class, with a margin.

    CosFace (Wang et al. 2018), ArcFace (Deng et al. 2019) and its sub-centres (Deng et al. 2020); with margin 0 it is
    cross-entropy over scaled cosines.

    Args:
        proxies: (classes, dimension) to start from.
        scale: inverse temperature of the softmax.
        centres: vectors for each class, of which the nearest counts; all but the first start a little off it.
    """

    def __init__(self, proxies: Tensor, scale: float = 32.0, centres: int = 1) -> None:
        super().__init__()
        first = F.normalize(proxies, dim=1)
        away = torch.randn(centres - 1, *first.shape) * (0.3 / math.sqrt(first.shape[1]))
        self.proxies = nn.Parameter(F.normalize(torch.cat([first[None], first + away]), dim=2).squeeze(0))
        self.scale = scale

    def cosines(self, embedding: Tensor) -> Tensor:
        """(n, dimension) unit vectors to (n, classes)."""
        every = embedding @ F.normalize(self.proxies, dim=-1).mT
        return every if every.dim() == 2 else every.amax(dim=0)

    def forward(self, cosine: Tensor, label: Tensor, margin: float, angle: Literal["cosine", "arc"]) -> Tensor:
        """The loss of a batch's `cosines` under its (n,) labels."""
        own = F.one_hot(label, cosine.shape[1]).bool()
        if angle == "arc":
            # acos has no gradient at 1, and beyond pi - margin the cosine would rise again: go on along a line there
            turned = torch.cos(torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6)) + margin)
            harder = torch.where(cosine > -math.cos(margin), turned, cosine - math.sin(margin) * margin)
        else:
            harder = cosine - margin
        return F.cross_entropy(self.scale * torch.where(own, harder, cosine), label, label_smoothing=0.05)


def map_regression(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the cosine of the two feature vectors, averaged over cells; both (n, features, GRID, GRID)."""
    return 1 - F.cosine_similarity(student.float(), teacher.float(), dim=1).mean()


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared distance of unit vectors (n, d), 0..4.

    Summed over coordinates: their mean, as `MSELoss` has it, is the d-th part, and vanishes beside other losses.
    """
    return (student - teacher).square().sum(dim=1).mean()


def soft_classes(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 times the divergence of softened classes (Hinton et al. 2015); both (n, classes) logits."""
    wanted = F.log_softmax(teacher / temperature, dim=1)
    given = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(given, wanted, reduction="batchmean", log_target=True)


def relations(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference between the cosines within two batches of unit vectors (Park et al. 2019, by cosine)."""
    return F.mse_loss(student @ student.T, teacher @ teacher.T)
