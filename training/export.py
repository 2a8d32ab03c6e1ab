"""Writes a checkpoint as a model bundle: `model.onnx` and `model.json`.

    python -m training.export RUN/checkpoint.pt --data DATA --out cardrec/data/model --name NAME

The graph takes (n, 224, 224, 3) uint8 RGB and gives (n, 768) float32 unit vectors; ImageNet normalisation is inside.
With the training's data the embedding is rotated, which changes no score, so that its leading coordinates hold most of
what cards differ in: the search decides by the first few of them.
The bundle is complete but for its calibration, which `python -m training.evaluate` measures and adds.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cardrec.model import FORMAT, PREPROCESSING, fingerprint_of, preprocessing_hash
from cardrec.rectify import INPUT_SIZE
from training.augment import clean
from training.data import split_sources
from training.model import CardEncoder, embed, pool
from training.settings import Settings, read_settings

OPSET = 17
ROTATED_BY = 2000
"""Cards that decide the rotation, about."""
TOLERANCE = 2e-4
"""Largest difference in an embedding's coordinate between torch and ONNX Runtime: float32 rounding over 60 layers."""


class Inference(nn.Module):
    """The encoder with constant factors folded: input scale into the stem, batch norm into the last linear layer.

    Args:
        encoder: copied.
        rotation: (d, d), an orthogonal matrix that goes into the last layer, too.
    """

    def __init__(self, encoder: CardEncoder, rotation: Tensor | None = None) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).eval()
        with torch.no_grad():
            stem = self.encoder.backbone.conv_stem
            stem.weight.div_(self.encoder.std)
            self.encoder.std.fill_(1.0)
        linear, norm = self.encoder.linear, self.encoder.centre
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.weight = nn.Parameter(linear.weight * factor[:, None])
        self.bias = nn.Parameter(norm.bias - norm.running_mean * factor)
        if rotation is not None:
            self.weight, self.bias = nn.Parameter(rotation @ self.weight), nn.Parameter(rotation @ self.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        planes = pixels.permute(0, 3, 1, 2).float() - self.encoder.mean
        cells = self.encoder.squeeze(pool(self.encoder.backbone.forward_features(planes), self.encoder.grid))
        return F.normalize(F.linear(cells.flatten(1), self.weight, self.bias), dim=1)


def write_onnx(network: Inference, path: Path) -> None:
    """Traces the network into an ONNX file with a dynamic batch."""
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its own deprecation; see the notes on versions
        torch.onnx.export(
            network,
            (torch.zeros(2, INPUT_SIZE, INPUT_SIZE, 3, dtype=torch.uint8),),
            str(path),
            input_names=["pixels"],
            output_names=["embedding"],
            dynamic_axes={"pixels": {0: "n"}, "embedding": {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(str(path)), full_check=True)


def leading_first(vectors: NDArray[np.float32]) -> Tensor:
    """The rotation (d, d) that sorts directions by the energy that unit vectors (n, d) have in them, most first."""
    moments = vectors.T.astype(np.float64) @ vectors
    basis = np.linalg.eigh(moments)[1].T[::-1]
    largest = basis[np.arange(len(basis)), np.abs(basis).argmax(axis=1)]
    return torch.from_numpy((basis * np.sign(largest)[:, None]).astype(np.float32))  # LAPACK leaves the sign open


def energy(vectors: NDArray[np.float32], coordinates: int) -> float:
    """The share of unit vectors' energy that their first coordinates hold."""
    return float(np.square(vectors[:, :coordinates]).sum(axis=1).mean())


def check_agreement(encoder: CardEncoder, path: Path, rotation: Tensor | None = None, seed: int = 0) -> float:
    """The largest difference between torch and ONNX Runtime over smooth random pictures, batch 1 and 5.

    Raises:
        ValueError: it is over `TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    coarse = torch.rand(5, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    pictures = (
        (F.interpolate(coarse, (INPUT_SIZE, INPUT_SIZE), mode="bicubic").clamp(0, 1) * 255)
        .byte()
        .permute(0, 2, 3, 1)
        .contiguous()
    )
    with torch.no_grad():
        said = encoder.eval()(pictures)
    expected = (said if rotation is None else said @ rotation.T).numpy()
    worst = 0.0
    for count in (1, 5):
        given = session.run(None, {"pixels": pictures[:count].numpy()})[0]
        worst = max(worst, float(np.abs(given - expected[:count]).max()))
    if worst > TOLERANCE:
        raise ValueError(f"ONNX Runtime differs from torch by {worst:.2e}; expected at most {TOLERANCE:.0e}")
    return worst


def describe(network: Path, name: str, dimension: int, training: dict[str, Any]) -> dict[str, Any]:
    """The contents of `model.json`, without figures and calibration."""
    digest = hashlib.sha256(network.read_bytes()).hexdigest()
    return {
        "format": FORMAT,
        "name": name,
        "architecture": "timm efficientnet_lite0, 4x4 cells, linear",
        "dimension": dimension,
        "file": network.name,
        "sha256": digest,
        "input": {"name": "pixels", "shape": ["n", INPUT_SIZE, INPUT_SIZE, 3], "dtype": "uint8"},
        "output": {"name": "embedding", "shape": ["n", dimension], "dtype": "float32", "norm": 1},
        "preprocessing": dict(PREPROCESSING),
        "preprocessing_hash": preprocessing_hash(),
        "fingerprint": fingerprint_of(digest, preprocessing_hash()),
        "training": training,
        "calibration": {},
    }


def rotation_of(encoder: CardEncoder, settings: Settings, data: Path) -> Tensor:
    """`leading_first` of some of the cards that the encoder was trained on; prints what it changes."""
    trained, _ = split_sources(settings.source, data, settings.held_out)
    chosen = trained[:: -(-len(trained) // ROTATED_BY)]
    rng = np.random.default_rng(0)
    vectors = embed(encoder, [clean(card.pixels, INPUT_SIZE, rng) for card in chosen])
    rotation = leading_first(vectors)
    for count in (24, 48, 96):
        before, after = energy(vectors, count), energy(vectors @ rotation.numpy().T, count)
        print(f"energy in the first {count} coordinates: {before:.1%}, rotated {after:.1%}")
    return rotation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--name", required=True)
    parser.add_argument("--config", type=Path, help="the training's config, for model.json; needed with --data")
    parser.add_argument("--data", type=Path, help="folder that the config's paths start from; to rotate")
    options = parser.parse_args()
    if options.data and not options.config:
        parser.error("--data needs --config, which says which cards were trained on")

    state = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
    encoder = CardEncoder(**state["config"]["model"])
    encoder.load_state_dict(state["average"])
    encoder.eval()
    settings = read_settings(options.config) if options.config else None
    rotation = rotation_of(encoder, settings, options.data) if settings and options.data else None
    options.out.mkdir(parents=True, exist_ok=True)
    network = options.out / "model.onnx"
    write_onnx(Inference(encoder, rotation), network)
    difference = check_agreement(encoder, network, rotation)
    print(f"{network}: {network.stat().st_size / 1e6:.1f} MB, differs from torch by {difference:.1e}")
    config = asdict(settings) if settings else state["config"]
    training = {"config": config, "steps": state["total"], "rotated": rotation is not None}
    details = describe(network, options.name, encoder.linear.out_features, training)
    (options.out / "model.json").write_text(json.dumps(details, indent=2) + "\n")


if __name__ == "__main__":
    main()
