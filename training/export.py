"""Writes a checkpoint as a model bundle: `model.onnx` and `model.json`.

    python -m training.export RUN/checkpoint.pt --data DATA --out cardrec/data/model --name NAME

The graph takes (n, 224, 224, 3) uint8 RGB and gives (n, 768) float32 unit vectors; ImageNet normalisation is inside.
With the training's data the embedding is rotated, which changes no score, so that its leading coordinates hold most of
what cards differ in: the search decides by the first few of them.
The bundle is complete but for its calibration, which `python -m training.evaluate` measures and adds.

ONNX Runtime must say what PyTorch does, on smooth random pictures and on cards: those of the training's data, or of
--images. `--form original` writes the first system's graph instead, for what was built around it: `image`, (n, 3, 224,
224) floats that are normalised already, to `embedding`. It is one file, no bundle: this library does not read it.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cardrec.model import FORMAT, PREPROCESSING, fingerprint_of, preprocessing_hash
from cardrec.rectify import INPUT_SIZE
from training.augment import clean
from training.calibration_pictures import draw
from training.data import CardImage, load_folder, split_sources
from training.failure import one_line
from training.model import CardEncoder, embed, pool
from training.settings import Settings, read_settings
from training.staged import staged

Form: TypeAlias = Literal["bundle", "original"]
OPSET, OPSETS = 17, range(11, 18)
"""What is written where nothing is asked for, and what the exporter can write. Integers by channel need 13."""
INPUTS: Mapping[Form, str] = MappingProxyType({"bundle": "pixels", "original": "image"})
ROTATED_BY = 2000
"""Cards that decide the rotation, about."""
TOLERANCE = 2e-4
"""Largest difference in an embedding's coordinate between torch and ONNX Runtime: float32 rounding over 60 layers."""
CHECKED = 40
"""Pictures of cards for that, at most."""


class Inference(nn.Module):
    """The encoder with constant factors folded: input scale into the stem, batch norm into the last linear layer.

    Args:
        encoder: copied.
        rotation: (d, d), an orthogonal matrix that goes into the last layer, too.
        form: of the input: bytes (`bundle`), or planes that are normalised already (`original`).
    """

    def __init__(self, encoder: CardEncoder, rotation: Tensor | None = None, form: Form = "bundle") -> None:
        super().__init__()
        self.form = form
        self.encoder = copy.deepcopy(encoder).eval()
        if form == "bundle":
            with torch.no_grad():
                self.encoder.backbone.conv_stem.weight.div_(self.encoder.std)
                self.encoder.std.fill_(1.0)
        linear, norm = self.encoder.linear, self.encoder.centre
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.weight = nn.Parameter(linear.weight * factor[:, None])
        self.bias = nn.Parameter(norm.bias - norm.running_mean * factor)
        self.rotation = rotation
        if rotation is not None:
            self.weight, self.bias = nn.Parameter(rotation @ self.weight), nn.Parameter(rotation @ self.bias)

    def example(self) -> Tensor:
        """Two pictures, as the graph takes them."""
        pixels = torch.zeros(2, INPUT_SIZE, INPUT_SIZE, 3, dtype=torch.uint8)
        return pixels if self.form == "bundle" else self.encoder.planes(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        planes = pixels.permute(0, 3, 1, 2).float() - self.encoder.mean if self.form == "bundle" else pixels
        cells = self.encoder.squeeze(pool(self.encoder.backbone.forward_features(planes), self.encoder.grid))
        return F.normalize(F.linear(cells.flatten(1), self.weight, self.bias), dim=1)


def write_onnx(network: Inference, path: Path, opset: int = OPSET) -> None:
    """Traces the network into an ONNX file with a dynamic batch.

    Raises:
        ValueError: the exporter does not write this opset.
    """
    import onnx

    if opset not in OPSETS:
        raise ValueError(f"--opset {opset}; expected {OPSETS[0]} to {OPSETS[-1]}")
    name = INPUTS[network.form]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its own deprecation; see the notes on versions
        torch.onnx.export(
            network,
            (network.example(),),
            str(path),
            input_names=[name],
            output_names=["embedding"],
            dynamic_axes={name: {0: "n"}, "embedding": {0: "n"}},
            opset_version=opset,
            dynamo=False,
        )
    model = onnx.load(str(path))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(network.bias)  # the exporter loses track of it
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def leading_first(vectors: NDArray[np.float32]) -> Tensor:
    """The rotation (d, d) that sorts directions by the energy that unit vectors (n, d) have in them, most first."""
    moments = vectors.T.astype(np.float64) @ vectors
    basis = np.linalg.eigh(moments)[1].T[::-1]
    largest = basis[np.arange(len(basis)), np.abs(basis).argmax(axis=1)]
    return torch.from_numpy((basis * np.sign(largest)[:, None]).astype(np.float32))  # LAPACK leaves the sign open


def energy(vectors: NDArray[np.float32], coordinates: int) -> float:
    """The share of unit vectors' energy that their first coordinates hold."""
    return float(np.square(vectors[:, :coordinates]).sum(axis=1).mean())


def smooth_pictures(seed: int = 0) -> Tensor:
    """(5, 224, 224, 3) random colours that run into one another."""
    coarse = torch.rand(5, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    planes = F.interpolate(coarse, (INPUT_SIZE, INPUT_SIZE), mode="bicubic").clamp(0, 1) * 255
    return planes.byte().permute(0, 2, 3, 1).contiguous()


@torch.no_grad()
def check_agreement(
    encoder: CardEncoder,
    path: Path,
    rotation: Tensor | None = None,
    *,
    pictures: Tensor | None = None,
    form: Form = "bundle",
) -> float:
    """The largest difference of a coordinate between torch and ONNX Runtime, one picture at a time and five.

    Args:
        encoder: what the file was made of.
        path: the file.
        rotation: of the embedding, that went into the file.
        pictures: (n, 224, 224, 3) uint8 RGB; None: smooth random ones.
        form: of the file.

    Raises:
        ValueError: it is over `TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = smooth_pictures() if pictures is None else pictures
    worst = 0.0
    for batch in (given[:1], *given.split(5)):
        said = encoder.eval()(batch)
        expected = (said if rotation is None else said @ rotation.T).numpy()
        fed = batch if form == "bundle" else encoder.planes(batch).contiguous()
        found = session.run(None, {INPUTS[form]: fed.numpy()})[0]
        worst = max(worst, float(np.abs(found - expected).max()))
    if not worst <= TOLERANCE:  # so that NaN fails
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


def rotation_of(encoder: CardEncoder, trained: Sequence[CardImage]) -> Tensor:
    """`leading_first` of some of the cards that the encoder was trained on; prints what it changes."""
    chosen = trained[:: -(-len(trained) // ROTATED_BY)]
    rng = np.random.default_rng(0)
    vectors = embed(encoder, [clean(card.pixels, INPUT_SIZE, rng) for card in chosen])
    rotation = leading_first(vectors)
    for count in (24, 48, 96):
        before, after = energy(vectors, count), energy(vectors @ rotation.numpy().T, count)
        print(f"energy in the first {count} coordinates: {before:.1%}, rotated {after:.1%}")
    return rotation


def read_checkpoint(path: Path) -> tuple[CardEncoder, dict[str, Any]]:
    """The averaged encoder of a checkpoint, and all of the checkpoint.

    Raises:
        ValueError: it is damaged, or of something else.
        OSError: it can't be read.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        encoder = CardEncoder(**state["config"]["model"])
        encoder.load_state_dict(state["average"])
    except OSError:
        raise
    except Exception as error:  # pickle's, zipfile's, torch's own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} is no sound checkpoint of training.train ({type(error).__name__}: {reason}); take an earlier one "
            "of that run, such as checkpoint-1.pt, or train on with --resume"
        ) from error
    return encoder.eval(), state


def agreement(encoder: CardEncoder, network: Inference, path: Path, cards: Sequence[CardImage]) -> dict[str, Any]:
    """How far the file is from torch, on random pictures and on cards, clean and captured."""
    rotation = network.rotation
    found = {"tolerance": TOLERANCE, "random": check_agreement(encoder, path, rotation, form=network.form)}
    if cards:
        pictures = torch.from_numpy(np.stack([one.pixels for one in draw(cards, min(CHECKED, 5 * len(cards)))]))
        found["pictures_of_cards"] = len(pictures)
        found["cards"] = check_agreement(encoder, path, rotation, pictures=pictures, form=network.form)
    return found


def cards_of(options: argparse.Namespace, settings: Settings | None) -> tuple[list[CardImage], list[CardImage]]:
    """The cards that the encoder was trained on, where the data are there, and those to check it on."""
    trained = split_sources(settings.source, options.data, settings.held_out)[0] if settings and options.data else []
    return trained, load_folder(options.images) if options.images else trained


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle, or of the one file")
    parser.add_argument("--name", required=True)
    parser.add_argument("--config", type=Path, help="the training's config, for model.json; needed with --data")
    parser.add_argument("--data", type=Path, help="folder that the config's paths start from; to rotate")
    parser.add_argument("--images", type=Path, help="folder of cards to check the agreement on; else those of --data")
    parser.add_argument("--opset", type=int, default=OPSET, help=f"{OPSETS[0]} to {OPSETS[-1]}")
    parser.add_argument("--form", choices=("bundle", "original"), default="bundle")
    options = parser.parse_args(given)
    if options.data and not options.config:
        parser.error("--data needs --config, which says which cards were trained on")
    return options


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    with one_line("python -m training.export"):
        encoder, state = read_checkpoint(options.checkpoint)
        settings = read_settings(options.config) if options.config else None
        trained, checked = cards_of(options, settings)
        network = Inference(encoder, rotation_of(encoder, trained) if trained else None, options.form)
        with staged(options.out) as folder:
            path = folder / ("model.onnx" if options.form == "bundle" else "original.onnx")
            write_onnx(network, path, options.opset)
            found = agreement(encoder, network, path, checked)
            if options.form == "bundle":
                about = {"config": asdict(settings) if settings else state["config"], "steps": state["total"]}
                training = about | {"rotated": network.rotation is not None, "opset": options.opset, "agreement": found}
                details = describe(path, options.name, encoder.linear.out_features, training)
                (folder / "model.json").write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
        size, worst = (options.out / path.name).stat().st_size / 1e6, max(found["random"], found.get("cards", 0.0))
        on = f"{found['pictures_of_cards']} pictures of cards" if checked else "random pictures alone: name some cards"
        print(f"{options.out / path.name}: {size:.1f} MB, differs from torch by {worst:.1e}, on {on}")


if __name__ == "__main__":
    main()
