"""The scene of the benchmarks: one card in a 1280x720 frame, one thread, the bundled model and catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cardrec import Catalog, Recognizer
from cardrec.detect import ContourDetector
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
    return ContourDetector().detect(frame, max_cards=1)[0].corners_px[None]


@pytest.fixture(scope="session")
def recognizer() -> Iterator[Recognizer]:
    """The bundled model and catalog, one thread."""
    with Recognizer(threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def large_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of `CARDS` random unit vectors with metadata."""
    vectors = np.random.default_rng(0).standard_normal((CARDS, 768), np.float32)
    ids = [f"card-{row}" for row in range(CARDS)]
    meta = [
        {"name": f"Card {row}", "set": f"S{row % 100}", "number": str(row), "language": "en"} for row in range(CARDS)
    ]
    path = tmp_path_factory.mktemp("large") / "large.cardrec"
    Catalog.from_vectors(path, ids, vectors, meta).close()
    return path
