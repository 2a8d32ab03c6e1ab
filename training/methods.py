"""What an evaluation compares: the encoder, a perceptual hash, and the same network before it learnt anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec.embed import Embedder, open_encoder
from cardrec.model import Model, fingerprint_of
from training.integers import in_integers
from training.phash import BITS, phash

__all__ = ["HASH", "MODEL", "UNTRAINED", "Method", "open_methods"]

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

MODEL, HASH, UNTRAINED = "model", "phash", "untrained"
SEED = 60
"""Of the weights that were never trained."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way to compare pictures of whole cards.

    Attributes:
        name: `MODEL`, `HASH` or `UNTRAINED`.
        key: names the space of its vectors; those of equal keys can be compared.
        encode: RGB pictures to (n, d) unit vectors, whose cosine says how alike two pictures are.
    """

    name: str
    key: str
    encode: Callable[[Sequence[Picture]], Floats]


def hash_vectors(pictures: Sequence[Picture]) -> Floats:
    """The hashes as unit vectors: the cosine is the share of equal bits, less that of different ones."""
    return phash(pictures) / np.float32(BITS)


@contextmanager
def open_methods(bundle: Path, work: Path, *, floats: Path | None = None, threads: int = 0) -> Iterator[list[Method]]:
    """The methods that can be measured here: the untrained network only of floats, and where `onnx` is installed.

    Args:
        bundle: the model.
        work: folder to keep the untrained network in.
        floats: the bundle whose graph the untrained network has; None: the model's own.
        threads: of each network; 0: all cores.
    """
    with ExitStack() as stack:

        def network(name: str, folder: Path) -> Method:
            embedder = stack.enter_context(Embedder(open_encoder(folder, threads=threads), color="rgb"))
            return Method(name, embedder.fingerprint, lambda pictures: embedder.encode(list(pictures)))

        found = [network(MODEL, bundle), Method(HASH, f"dct-{BITS * BITS}", hash_vectors)]
        try:
            untrained = write_untrained(Model.load(floats or bundle), work / UNTRAINED)
        except ModuleNotFoundError as error:
            print(f"the untrained network is not measured: {error}; pip install 'cardrec[training]'")
        except ValueError as error:
            print(f"the untrained network is not measured: {error}")
        else:
            found.append(network(UNTRAINED, untrained))
        yield found


def write_untrained(model: Model, folder: Path) -> Path:
    """Writes a bundle with the model's graph and weights drawn anew; returns its folder.

    Weights are drawn as timm draws those of an EfficientNet, from a normal distribution of variance 2 / fan-out (He et
    al. 2015); biases are zero, to which batch norm without statistics folds.

    Raises:
        ValueError: the network is in integers, whose ranges are those of the weights that it has.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(model.network))
    if in_integers(graph.graph):
        raise ValueError(f"{model.network} is in integers; name the bundle in floats with --floats")
    rng = np.random.default_rng(SEED)
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    first = True
    for node in graph.graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        old = numpy_helper.to_array(tensors[node.input[1]])
        scale = _stem_scale() if first else np.float32(1)
        first = False
        weights = scale * rng.normal(0, np.sqrt(2 / _fan_out(node, old.shape)), old.shape).astype(np.float32)
        tensors[node.input[1]].CopyFrom(numpy_helper.from_array(weights, node.input[1]))
        if len(node.input) > 2:
            bias = numpy_helper.to_array(tensors[node.input[2]])
            tensors[node.input[2]].CopyFrom(numpy_helper.from_array(np.zeros_like(bias), node.input[2]))
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, str(folder / "model.onnx"))
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    own = {
        "name": f"{model.name}, untrained",
        "file": "model.onnx",
        "sha256": digest,
        "fingerprint": fingerprint_of(digest, model.preprocessing_hash),
        "calibration": {},
    }
    (folder / "model.json").write_text(json.dumps(dict(model.details) | own, indent=2) + "\n")
    return folder


def _stem_scale() -> Floats:
    """(1, 3, 1, 1): the first layer takes pixels of 0 to 255; its weights hold ImageNet's standard deviation."""
    deviations = np.asarray((0.229, 0.224, 0.225), np.float32)
    return np.asarray(1 / (255 * deviations), np.float32)[None, :, None, None]


def _fan_out(node: Any, shape: Sequence[int]) -> int:
    """Outputs that each input reaches, in a convolution or a linear layer."""
    if node.op_type == "Gemm":
        return int(shape[0])
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return int(shape[0] * np.prod(shape[2:]) / groups)
