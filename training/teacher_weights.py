"""Networks of other people as teachers: their weights from a folder, a file, or where their libraries fetch them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.mobilenet import normalised
from training.model import import_timm


class Dinov2(nn.Module):
    """A vision transformer of transformers behind ImageNet's normalisation; gives its pooled CLS token."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.inner = network
        self.features = int(network.config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.inner(pixel_values=normalised(pixels)).pooler_output  # type: ignore[no-any-return]


class Timm(nn.Module):
    """A network of timm behind the normalisation that it was trained with; gives its pooled features."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.inner = network
        # Some networks widen their features once more after pooling them.
        self.features = int(getattr(network, "head_hidden_size", network.num_features))
        self.size = int(network.pretrained_cfg["input_size"][-1])
        self.register_buffer("mean", torch.tensor(network.pretrained_cfg["mean"]).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(network.pretrained_cfg["std"]).view(1, 3, 1, 1) * 255)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.inner((pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std)  # type: ignore[no-any-return]


def load_dinov2(name: str, data: Path) -> Dinov2:
    """The network in a folder (as transformers saves it; the path starts at ``data``), or of the given public name.

    Raises:
        OSError: neither is to be had.
    """
    from transformers import AutoModel

    folder = data / name
    try:
        network = AutoModel.from_pretrained(folder if folder.is_dir() else name)
    except (OSError, ValueError) as error:
        raise _unavailable(name, f"{folder} is no folder with config.json and model.safetensors", error) from error
    return Dinov2(network)


def load_timm(name: str, weights: Path | None) -> Timm:
    """timm's network of that name, with the weights in a file or, without one, those that timm fetches.

    Raises:
        OSError: the weights are not to be had.
        ValueError: the file's weights are for another network.
    """
    timm: Any = import_timm()
    if weights is None:
        try:
            return Timm(timm.create_model(name, pretrained=True, num_classes=0))
        except (OSError, RuntimeError) as error:
            raise _unavailable(name, "no file is named as weights", error) from error
    network = timm.create_model(name, pretrained=False, num_classes=0)
    classifier = network.pretrained_cfg["classifier"]
    state = timm.models.load_state_dict(str(weights))
    state = {key: value for key, value in state.items() if not key.startswith(f"{classifier}.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{weights} holds no weights of timm's {name}: {error}") from error
    return Timm(network)


def hash_of(network: nn.Module) -> str:
    """Names a network's weights: 16 hex digits of their names and values."""
    total = hashlib.sha256()
    for name, value in network.state_dict().items():
        total.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()[:16]


def _unavailable(name: str, looked: str, error: Exception) -> OSError:
    return OSError(
        f"[teacher] name = {name!r}: its weights are not here ({looked}) and can't be fetched ({_first_line(error)}). "
        "Fetch them where there is a network and name the folder (dinov2: name) or the file (timm: weights), or choose "
        "another teacher: kind 'encoder' or 'mobilenet' needs nothing from outside"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
