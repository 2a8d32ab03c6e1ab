"""Features of many pictures as arrays: computed once and kept on disk, brought to another dimension. NumPy alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

BATCH = 32


def key_of(identity: str, pictures: Sequence[Picture]) -> str:
    """Names what a teacher says about pictures: 16 hex digits of its identity, and the pictures' sizes and contents."""
    total = hashlib.sha256(identity.encode())
    for picture in pictures:
        total.update(repr(picture.shape).encode())
        total.update(hashlib.sha256(np.ascontiguousarray(picture).data).digest())
    return total.hexdigest()[:16]


def kept(
    cache: Path,
    identity: str,
    pictures: Sequence[Picture],
    shape: tuple[int, ...],
    compute: Callable[[list[Picture]], NDArray[Any]],
) -> NDArray[np.float16]:
    """An array with one row a picture, computed once for the same pictures and identity.

    Args:
        cache: where it is kept; the key goes into the name, so that `x.npy` is kept as `x-0123456789abcdef.npy`.
        identity: names what computes the rows; another one means other rows.
        pictures: (H, W, 3) uint8 RGB, of any sizes.
        shape: of one row.
        compute: rows of up to `BATCH` pictures.

    Returns:
        (n, *shape) float16, mapped from the file.
    """
    path = cache.with_name(f"{cache.stem}-{key_of(identity, pictures)}.npy")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")  # processes of one training may all get here
        rows = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float16, shape=(len(pictures), *shape))
        for first, batch in _batches(pictures):
            rows[first : first + len(batch)] = compute(batch)
        rows.flush()
        unfinished.rename(path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _batches(pictures: Sequence[Picture]) -> Iterator[tuple[int, list[Picture]]]:
    for first in range(0, len(pictures), BATCH):
        yield first, list(pictures[first : first + BATCH])


def unit(features: NDArray[Any]) -> Floats:
    """Rows of unit length; rows of zeros stay."""
    wide = features.astype(np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12), np.float32)


def projection(features: NDArray[Any], dimension: int) -> Floats:
    """The matrix (features, dimension) that `project` multiplies with; for other pictures of the same teacher.

    With as many dimensions as features it is the identity, with more it appends zeros: cosines stay as they are. With
    fewer it is the rotation onto the directions that hold most of the unit vectors, not centred, since centring would
    change every cosine: of all projections the one with the least squared error of the cosines (Eckart and Young 1936).
    """
    width = features.shape[1]
    if dimension >= width:
        return np.eye(width, dimension, dtype=np.float32)
    vectors = unit(features).astype(np.float64)
    _, basis = np.linalg.eigh(vectors.T @ vectors)  # ascending
    chosen = basis[:, ::-1][:, :dimension]
    largest = chosen[np.abs(chosen).argmax(axis=0), np.arange(dimension)]
    return np.asarray(chosen * np.sign(largest), np.float32)  # LAPACK leaves the sign open


def project(features: NDArray[Any], dimension: int) -> Floats:
    """(n, features) to (n, dimension) unit vectors whose cosines are those of the features; see `projection`."""
    return unit(unit(features) @ projection(features, dimension))
