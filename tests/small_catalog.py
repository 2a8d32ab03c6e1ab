"""A catalog small enough to make in milliseconds, and an encoder that needs no model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from cardrec.catalog import Catalog
from cardrec.errors import InputError
from cardrec.image import load
from cardrec.types import ImageLike

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DIMENSION = 32
Item = tuple[str, ImageLike, Mapping[str, object]]


class FakeEncoder:
    """A random projection of the picture's 16x16 means: the same picture, the same vector; other pictures, others."""

    def __init__(self, fingerprint: str = "fake-1", dimension: int = DIMENSION) -> None:
        self.fingerprint = fingerprint
        self.preprocessing_hash = "pre-1"
        self.dimension = dimension
        self.calls: list[int] = []
        self._projection = np.random.default_rng(7).normal(size=(16 * 16, dimension))

    def encode(self, images: list[ImageLike], /) -> NDArray[np.float32]:
        self.calls.append(len(images))
        vectors = np.stack([_means(load(image).pixels) for image in images]) @ self._projection
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not norms.all():
            raise InputError("a picture of one colour has no direction")
        unit: NDArray[np.float32] = (vectors / norms).astype(np.float32)
        return unit


def _means(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = pixels.astype(np.float64).reshape(*pixels.shape[:2], -1).mean(axis=2)
    rows, columns = (np.linspace(0, side, 16, endpoint=False).astype(int) for side in grey.shape)
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    counts = np.add.reduceat(np.add.reduceat(np.ones_like(grey), rows, axis=0), columns, axis=1)
    means: NDArray[np.float64] = (sums / counts).ravel()
    means -= means.mean()
    return means


def picture(seed: int) -> NDArray[np.uint8]:
    """A random picture."""
    return np.random.default_rng(seed).integers(0, 256, (32, 24, 3), dtype=np.uint8)


def item(seed: int, card_id: str | None = None, **meta: object) -> Item:
    """A card whose picture, id and metadata follow from a number."""
    given = meta or {
        "name": f"Card {seed}",
        "set": f"S{seed % 3}",
        "language": ("en", "de")[seed % 2],
        "artist": seed % 5,
    }
    return card_id or f"card-{seed}", picture(seed), given


def items(seeds: Iterable[int]) -> list[Item]:
    """One card for each number."""
    return [item(seed) for seed in seeds]


def make(path: Path, count: int = 20) -> Path:
    """A catalog of card-0, card-1, ..."""
    Catalog.build(path, items(range(count)), encoder=FakeEncoder(), near=None, calibration=None)
    return path


def ids_in(catalog: Catalog) -> list[str]:
    """The ids of all live rows, found by searching for everything."""
    rows, _ = catalog.search(np.ones(catalog.dimension), 10_000)
    return sorted(card_id for card_id, _ in catalog.cards(rows[0]))


def files_of(path: Path) -> dict[str, bytes]:
    """Every file below a folder, for 'nothing was changed'; the lock is no content."""
    found = (each for each in path.rglob("*") if each.is_file() and each.name != "catalog.lock")
    return {str(each.relative_to(path)): each.read_bytes() for each in found}
