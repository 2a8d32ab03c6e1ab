"""What a frozen teacher would say each picture is: a linear classifier on its features, for soft targets."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Classifier(nn.Module):
    """Scaled cosines of centred features to one vector a class.

    Args:
        mean: (features,) of the unit features, taken off: what all cards share tells none from another.
        vectors: (classes, features) to start from.
        scale: to start from.
    """

    def __init__(self, mean: Tensor, vectors: Tensor, scale: float = 16.0) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.vectors = nn.Parameter(vectors)
        self.log_scale = nn.Parameter(torch.tensor(scale).log())

    def centred(self, features: Tensor) -> Tensor:
        """Features of unit length about the mean of the cards."""
        return F.normalize(F.normalize(features.float(), dim=1) - self.mean, dim=1)

    def scores(self, centred: Tensor) -> Tensor:
        """Logits of features that `centred` made."""
        return self.log_scale.exp() * centred @ F.normalize(self.vectors, dim=1).T

    def forward(self, features: Tensor) -> Tensor:
        return self.scores(self.centred(features))

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """(n, features) to (n, classes)."""
        return self(features)  # type: ignore[no-any-return]


def fit_classifier(
    features: Tensor,
    labels: Tensor,
    classes: int,
    *,
    noise: float = 1.0,
    steps: int = 300,
    batch: int = 256,
    lr: float = 1e-3,
    seed: int = 0,
) -> Classifier:
    """Trains the classifier from the mean of each class.

    One clean picture a class is told from all others with any scale, and the logits would say nothing but which it is.
    So each sample is shifted by the difference of two others: classes are confused along the directions in which cards
    differ, the more the nearer they are, and the scale settles where the confusion is told rightly.

    Args:
        features: (n, d) of the pictures; several views of a class help.
        labels: (n,) int64.
        classes: how many.
        noise: length of the shift, 1 being the length of the features about their mean. Over MobileNet's features of
            675 clean Pokemon cards the softmax at temperature 4 has, of at most 6.5 nats, 5.6 without noise, 4.0 with
            1 (0.45 for the card itself), and 6.4 with 2, which says too little.
        steps, batch: of the optimiser.
        lr: of the vectors; a tenth of that of the scale's logarithm; half a cosine down to zero.
        seed: of the batches and the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    plain = F.normalize(features.float(), dim=1)
    model = Classifier(plain.mean(dim=0), torch.zeros(classes, features.shape[1])).to(features.device)
    centred = model.centred(features)
    model.vectors.data.index_add_(0, labels, centred)
    groups = [{"params": [model.vectors]}, {"params": [model.log_scale], "lr": 10 * lr}]
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        drawn = torch.randint(len(centred), (3, min(batch, len(centred))), generator=generator)
        chosen, plus, minus = drawn.to(features.device)
        shift = (centred[plus] - centred[minus]) * (noise / 2**0.5)
        loss = F.cross_entropy(model.scores(F.normalize(centred[chosen] + shift, dim=1)), labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def entropy(logits: Tensor, temperature: float) -> Tensor:
    """(n,) nats of the softmax at a temperature."""
    log_share = F.log_softmax(logits / temperature, dim=1)
    return -(log_share.exp() * log_share).sum(dim=1)
