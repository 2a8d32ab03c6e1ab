"""What the whole way is compared with, in the manner of the system that cardrec replaces, and of hash scanners.

- `Floats`: a crop is stretched with cv2.resize, normalised to floats in NumPy with ImageNet's mean and deviation, put
  through the network in floats, and looked up by cosine in an HNSW graph (usearch, its own defaults).
- `Hashes`: a 256-bit perceptual hash of the crop (`training/phash.py`), compared with every card's, bit by bit.

Both take the best row, and name it where its score reaches a threshold that is the same for every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.network import open_session
from cardrec.rectify import INPUT_SIZE
from training.hailo_graph import INPUT, cut, unit_rows
from training.phash import phash

__all__ = ["Compared", "FloatNetwork", "Floats", "Hashes", "best_by_cosine", "write_float_network"]

Picture = NDArray[np.uint8]
Vectors = NDArray[np.float32]

MEAN = np.array((0.485, 0.456, 0.406), np.float32)
DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)
"""ImageNet's, of RGB from 0 to 1."""

Best = Callable[[Vectors], tuple[int, float]]
"""From a vector to the best row and its score."""


class Compared(Protocol):
    """How a scanner compares a card with those it knows; each step is timed on its own."""

    def prepare(self, crop_bgr: Picture) -> Any:
        """The crop as `encode` takes it."""

    def encode(self, prepared: Any) -> Vectors:
        """Its vector (d,), of unit length."""

    def best(self, vector: Vectors) -> tuple[int, float]:
        """The best row, and its score."""


def write_float_network(network: Path, path: Path) -> Path:
    """Writes a bundle's network with an input of normalised floats (1, 3, 224, 224), as the earlier system had it.

    The weights are the bundle's: what stands before the first layer is cut off, and what ImageNet's deviation the
    training folded into that layer is taken out of it again, so that normalising is the caller's work.

    Raises:
        ValueError: the network is in integers, or not one that `training.export` wrote.
    """
    import onnx
    from onnx import numpy_helper

    part = cut(network)
    model = onnx.load_from_string(part.onnx)
    (first,) = [node for node in model.graph.node if INPUT in node.input]
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == first.input[1])
    if not np.allclose(part.mean, 255 * MEAN, atol=0.01) or first.op_type != "Conv":
        raise ValueError(f"{network} does not begin with ImageNet's mean and a convolution; expected an exported one")
    scale = (255 * DEVIATION / np.array(part.deviation, np.float32))[None, :, None, None]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * scale, weights.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


class FloatNetwork:
    """A network that `write_float_network` wrote, on one thread unless told otherwise."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self._session = open_session(path, threads)

    def prepare(self, crop_bgr: Picture) -> Vectors:
        """(1, 3, 224, 224) floats: stretched as cv2.resize does unless told otherwise, then normalised."""
        square = cv2.resize(cv2.cvtColor(crop_bgr, cv2.COLOR_BGR2RGB), (INPUT_SIZE, INPUT_SIZE))
        normalised = (square.astype(np.float32) / 255 - MEAN) / DEVIATION
        return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], np.float32)

    def encode(self, prepared: Vectors) -> Vectors:
        """(d,) unit vector."""
        vector: Vectors = unit_rows(self._session.run(None, {INPUT: prepared})[0])[0]
        return vector

    def encode_all(self, pictures_rgb: Sequence[Picture]) -> Vectors:
        """(n, d) unit vectors of pictures of whole cards, for a catalog."""
        return np.stack([self.encode(self.prepare(_upright_bgr(picture))) for picture in pictures_rgb])


class Floats:
    """The earlier system's comparison.

    Args:
        network: its network.
        best: the search.
    """

    def __init__(self, network: FloatNetwork, best: Best) -> None:
        self.prepare, self.encode, self.best = network.prepare, network.encode, best


class Hashes:
    """A hash scanner's comparison: every card's hash, every time.

    Args:
        vectors: (n, 256) hashes as `encode_all` gives them.
    """

    def __init__(self, vectors: Vectors) -> None:
        self._codes = _packed(vectors)

    def prepare(self, crop_bgr: Picture) -> Picture:
        return np.asarray(cv2.cvtColor(crop_bgr, cv2.COLOR_BGR2RGB), np.uint8)

    def encode(self, prepared: Picture) -> Vectors:
        (vector,) = hashes([prepared])
        return np.asarray(vector, np.float32)

    def best(self, vector: Vectors) -> tuple[int, float]:
        """The row of fewest different bits, and the cosine of the hashes: 1 for none, 0 for half of them."""
        different = np.bitwise_count(self._codes ^ _packed(vector[None])).sum(axis=1)
        row = int(different.argmin())
        return row, 1 - 2 * float(different[row]) / len(vector)


def hashes(pictures_rgb: Sequence[Picture]) -> Vectors:
    """(n, 256) unit vectors, so that a cosine is the share of equal bits less that of different ones."""
    return np.asarray(phash(pictures_rgb) / np.float32(16), np.float32)


def hash_all(pictures_rgb: Sequence[Picture]) -> Vectors:
    """The hashes of pictures of whole cards, for a catalog."""
    return hashes([np.ascontiguousarray(_upright_bgr(picture)[:, :, ::-1]) for picture in pictures_rgb])


def _packed(vectors: Vectors) -> NDArray[np.uint64]:
    return np.packbits(vectors > 0, axis=1).view(np.uint64)


def _upright_bgr(picture_rgb: Picture) -> Picture:
    """A catalog's picture as crops are: long sides upright."""
    bgr = np.ascontiguousarray(picture_rgb[:, :, ::-1])
    turned = picture_rgb.shape[1] > picture_rgb.shape[0]
    return np.asarray(cv2.rotate(bgr, cv2.ROTATE_90_CLOCKWISE), np.uint8) if turned else bgr


def best_by_cosine(vectors: Vectors) -> tuple[str, Best]:
    """A search in rows (n, d), and its name: usearch's HNSW graph, or every row in NumPy where it is not installed."""
    try:
        from usearch.index import Index
    except ModuleNotFoundError:
        return "every row in NumPy", lambda vector: _best_of_all(vectors, vector)
    index = Index(ndim=vectors.shape[1], metric="cos", dtype="f32")
    index.add(np.arange(len(vectors)), vectors)

    def best(vector: Vectors) -> tuple[int, float]:
        found = index.search(vector, 1, threads=1)
        return int(found.keys[0]), 1 - float(found.distances[0])

    return "HNSW by usearch", best


def _best_of_all(vectors: Vectors, vector: Vectors) -> tuple[int, float]:
    scores = vectors @ vector
    row = int(scores.argmax())
    return row, float(scores[row])
