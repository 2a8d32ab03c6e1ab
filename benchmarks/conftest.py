"""The scene of the benchmarks: one card in a 1280x720 frame, one thread, the bundled model and catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cardrec import Catalog, Recognizer
from cardrec.detect import OutlineDetector
from cardrec.image import Frame, load
from cardrec.samples import sample_photos

CARDS = 17_592
"""Cards of the system that this one replaces; the size that the project's figures are given for."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """OpenCV on one thread, as everything else here."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="session")
def frame() -> Frame:
    """The first sample photo, as a camera would give it: a 1280x720 BGR array."""
    first = next(path for path in sample_photos() if path.stem == "desk")
    pixels = np.ascontiguousarray(load(first).pixels[:, :, ::-1])
    assert pixels.shape == (720, 1280, 3)
    return load(pixels)


@pytest.fixture(scope="session")
def quads_px(frame: Frame) -> NDArray[np.float32]:
    """The outline in that frame, (1, 4, 2)."""
    return OutlineDetector().detect(frame, max_cards=1)[0].corners_px[None]


@pytest.fixture(scope="session")
def recognizer() -> Iterator[Recognizer]:
    """The bundled model and catalog, one thread."""
    with Recognizer(threads=1) as opened:
        yield opened


def make_catalog(path: Path, vectors: NDArray[np.float32]) -> Path:
    """A catalog of some vectors, with metadata; a hundred sets, cards of a set in a row."""
    ids = [f"card-{row}" for row in range(len(vectors))]
    meta = [
        {"name": f"Card {row}", "set": f"S{row * 100 // len(ids)}", "number": str(row), "language": "en"}
        for row in range(len(ids))
    ]
    Catalog.from_vectors(path, ids, vectors, meta).close()
    return path


@pytest.fixture(scope="session")
def large_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of `CARDS` random unit vectors: the hardest case, in which nothing can be pruned."""
    vectors = np.random.default_rng(0).standard_normal((CARDS, 768), np.float32)
    return make_catalog(tmp_path_factory.mktemp("large") / "isotropic.cardrec", vectors)


@pytest.fixture(scope="session")
def pruned_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of `CARDS` vectors whose energy lies in few directions, as that of embeddings does."""
    return make_catalog(tmp_path_factory.mktemp("large") / "decaying.cardrec", decaying_vectors(CARDS, seed=0))


def decaying_vectors(count: int, *, seed: int) -> NDArray[np.float32]:
    """Random vectors, each coordinate a twentieth smaller than the one before: 99 % of the energy in 45 of them."""
    vectors = np.random.default_rng(seed).standard_normal((count, 768), np.float32)
    vectors *= np.float32(0.95) ** np.arange(768, dtype=np.float32)
    return vectors
