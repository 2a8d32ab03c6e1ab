"""The two losses of the first encoder."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class CosFace(nn.Module):
    """Softmax over cosine to one learned proxy a class, with a margin (Wang et al. 2018, CosFace).

    Args:
        proxies: (classes, dimension) to start from.
        scale: inverse temperature of the softmax.
    """

    def __init__(self, proxies: Tensor, scale: float = 32.0) -> None:
        super().__init__()
        self.proxies = nn.Parameter(F.normalize(proxies, dim=1))
        self.scale = scale

    def forward(self, embedding: Tensor, label: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        """The loss, and the share of the batch whose nearest proxy is its own."""
        cosine = embedding @ F.normalize(self.proxies, dim=1).T
        hit = (cosine.argmax(1) == label).float().mean()
        shifted = cosine - margin * F.one_hot(label, cosine.shape[1])
        return F.cross_entropy(self.scale * shifted, label, label_smoothing=0.05), hit


def map_regression(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the cosine of the two feature vectors, averaged over cells; both (n, features, GRID, GRID)."""
    return 1 - F.cosine_similarity(student.float(), teacher.float(), dim=1).mean()
