"""Networks that an encoder learns from: frozen, pictures in, features out. Which one, a config's ``[teacher]`` says.

| kind | keys | features |
|---|---|---|
| ``dinov2`` | ``name``: a local folder, or such as ``facebook/dinov2-base`` | the CLS token after the last norm |
| ``timm`` | ``name``; ``weights``: a file, else timm's own | pooled |
| ``encoder`` | ``bundle``: a folder with model.onnx; or ``checkpoint``: a training's checkpoint.pt | the embedding |
| ``mobilenet`` | ``network``: a TFLite file (see the model card for origin and licence) | the last map, pooled |

All but a bundle take ``size``, the side of the squares that the network sees. Paths start at the data folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from training.features import kept
from training.mobilenet import load_mobilenet, normalised
from training.model import GRID, CardEncoder, pool
from training.teacher_weights import hash_of, load_dinov2, load_timm

SIZE = 224
FEATURES = 1280


class Teacher:
    """A frozen network.

    Args:
        identity: names the features: kind, weights and size.
        features: how many.
        network: (n, size, size, 3) uint8 RGB to (n, features); a module is put into evaluation mode.
        size: side of the squares that it sees; other pictures are scaled.
        device: where a module runs.

    Example:
        >>> teacher = open_teacher({"kind": "timm", "name": "resnet50"}, Path("data"))
        >>> teacher(torch.zeros(2, 128, 128, 3, dtype=torch.uint8)).shape
        torch.Size([2, 2048])
    """

    def __init__(
        self,
        identity: str,
        features: int,
        network: Callable[[Tensor], Tensor],
        *,
        size: int = SIZE,
        device: str = "cpu",
    ) -> None:
        self.identity, self.features, self.size, self.device = f"{identity} at {size}", features, size, device
        self.network = network
        if isinstance(network, nn.Module):
            network.eval().requires_grad_(requires_grad=False).to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """(n, H, W, 3) uint8 RGB to (n, features) float32, on the teacher's device."""
        return self._run(self.network, pixels)

    def _run(self, network: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            result = network(squares(pixels.to(self.device), self.size)).float()
        return result.clone()  # outside of inference mode: a loss may keep it for its backward pass


class MapTeacher(Teacher):
    """A network that also gives its last map, as a target for the student's own."""

    network: _Pooled

    def maps(self, pixels: Tensor) -> Tensor:
        """(n, H, W, 3) uint8 RGB to (n, features, GRID, GRID) float32, pooled as the student's map."""
        return self._run(lambda square: pool(self.network.maps(square), GRID), pixels)


class _Pooled(nn.Module):
    """A timm network behind ImageNet's normalisation; its last map averaged."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.inner = network

    def maps(self, pixels: Tensor) -> Tensor:
        return self.inner.forward_features(normalised(pixels))  # type: ignore[no-any-return]

    def forward(self, pixels: Tensor) -> Tensor:
        return self.maps(pixels).mean(dim=(2, 3))


def squares(pixels: Tensor, size: int) -> Tensor:
    """(n, H, W, 3) uint8 scaled to (n, size, size, 3) uint8."""
    if pixels.shape[1:3] == (size, size):
        return pixels
    planes = pixels.permute(0, 3, 1, 2).float()
    scaled = F.interpolate(planes, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return scaled.round().clamp(0, 255).byte().permute(0, 2, 3, 1)


def open_teacher(config: Mapping[str, Any], data: Path, device: str = "cpu") -> Teacher:
    """The teacher of a config's ``[teacher]`` table; see the top of this module.

    Raises:
        OSError: its weights are not to be had; names the remedies.
        ValueError: no such kind, a key is missing, or the weights are for another network.
    """
    kind = config.get("kind", "mobilenet")
    if kind not in _KINDS:
        raise ValueError(f"[teacher] kind = {kind!r}; expected one of {', '.join(_KINDS)}")
    opener, keys = _KINDS[kind]
    if not any(key in config for key in keys):
        raise ValueError(f"[teacher] of kind {kind!r} has {sorted(config)}; expected {' or '.join(keys)}")
    return opener(config, data, device)


def _open_dinov2(config: Mapping[str, Any], data: Path, device: str) -> Teacher:
    network = load_dinov2(config["name"], data)
    size = config.get("size", SIZE)
    return Teacher(f"dinov2 {hash_of(network)}", network.features, network, size=size, device=device)


def _open_timm(config: Mapping[str, Any], data: Path, device: str) -> Teacher:
    weights = data / config["weights"] if "weights" in config else None
    network = load_timm(config["name"], weights)
    size = config.get("size", network.size)
    return Teacher(f"timm {config['name']} {hash_of(network)}", network.features, network, size=size, device=device)


def _open_encoder(config: Mapping[str, Any], data: Path, device: str) -> Teacher:
    size = config.get("size", SIZE)
    if "bundle" in config:
        from cardrec.embed import Embedder, open_encoder

        embedder = Embedder(open_encoder(data / config["bundle"], backend="onnx"), color="rgb")

        def embed(pixels: Tensor) -> Tensor:
            return torch.from_numpy(embedder.encode(pixels.cpu().numpy())).to(pixels.device)

        return Teacher(f"bundle {embedder.fingerprint}", embedder.dimension, embed, size=SIZE, device=device)
    state = torch.load(data / config["checkpoint"], map_location="cpu", weights_only=True)
    network = CardEncoder(**state["config"]["model"])
    network.load_state_dict(state["average"])
    return Teacher(f"encoder {hash_of(network)}", network.linear.out_features, network, size=size, device=device)


def _open_mobilenet(config: Mapping[str, Any], data: Path, device: str) -> MapTeacher:
    network = _Pooled(load_mobilenet(data / config["network"]))
    size = config.get("size", SIZE)
    return MapTeacher(f"mobilenet {hash_of(network)}", FEATURES, network, size=size, device=device)


_Opener = Callable[[Mapping[str, Any], Path, str], Teacher]
_KINDS: Mapping[str, tuple[_Opener, tuple[str, ...]]] = {
    "dinov2": (_open_dinov2, ("name",)),
    "timm": (_open_timm, ("name",)),
    "encoder": (_open_encoder, ("bundle", "checkpoint")),
    "mobilenet": (_open_mobilenet, ("network",)),
}


def stacked(pictures: Sequence[NDArray[np.uint8]], size: int) -> Tensor:
    """Pictures of any sizes stretched to (n, size, size, 3) uint8, as catalogs have them."""
    return torch.from_numpy(np.stack([cv2.resize(p, (size, size), interpolation=cv2.INTER_AREA) for p in pictures]))


def cached(
    teacher: Teacher, pictures: Sequence[NDArray[np.uint8]], cache: Path, size: int = SIZE
) -> NDArray[np.float16]:
    """The features of all pictures, (n, features) float16, computed once and kept beside ``cache``.

    Args:
        teacher: its identity is part of the name of the file that is kept.
        pictures: (H, W, 3) uint8 RGB, each stretched to a square; their contents are part of the name, too.
        cache: a file name; see `training.features.kept`.
        size: side of the squares.
    """
    identity = f"{teacher.identity}, features of {size}"
    return kept(
        cache, identity, pictures, (teacher.features,), lambda batch: teacher(stacked(batch, size)).cpu().numpy()
    )


def cached_maps(
    teacher: MapTeacher, pictures: Sequence[NDArray[np.uint8]], cache: Path, size: int = SIZE
) -> NDArray[np.float16]:
    """The maps of all pictures, (n, features, GRID, GRID) float16; otherwise as `cached`."""
    shape = teacher.features, GRID, GRID
    identity = f"{teacher.identity}, maps of {size}"
    return kept(cache, identity, pictures, shape, lambda batch: teacher.maps(stacked(batch, size)).cpu().numpy())


def targets(pictures: Sequence[NDArray[np.uint8]], network: Path, cache: Path) -> NDArray[np.float16]:
    """`cached_maps` of the MobileNet in a TFLite file.

    The maps of clean cards are targets whatever the student sees: to learn features and to ignore the light. They have
    the shape of EfficientNet-Lite0's own last map.
    """
    teacher = _open_mobilenet({"network": network.resolve()}, Path(), "cpu")
    return cached_maps(teacher, pictures, cache)


def map_vectors(maps: NDArray[np.float16], fitted: int, dimension: int) -> Tensor:
    """Unit vectors (n, dimension) to start classes with, from a teacher's maps of their clean pictures.

    Principal components of the first ``fitted`` maps, half whitened: cards that look alike start near each other, and
    no few components dominate. Starting so, the classifier teaches from the first step; random vectors take hours to
    order.
    """
    flat = torch.tensor(np.asarray(maps)).reshape(len(maps), -1).float()
    flat = F.normalize(flat, dim=1)
    flat -= flat[:fitted].mean(dim=0)
    _, spread, basis = torch.svd_lowrank(flat[:fitted], q=dimension + 32, niter=2)
    return F.normalize(flat @ (basis[:, :dimension] / spread[:dimension].sqrt()), dim=1)
