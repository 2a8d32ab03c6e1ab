"""The scene of the benchmarks, one card in a 1280x720 frame, one thread, the bundled model and catalog; their table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import table
from benchmarks.measure import commit
from benchmarks.stage import Row, Stage
from cardrec import Catalog, Recognizer, machine, rectify, search
from cardrec.bench import accuracy
from cardrec.detect import OutlineDetector
from cardrec.image import Frame, load
from cardrec.samples import read_samples, sample_photos

CARDS = 17_592
"""Cards of the system that this one replaces; the size that the project's figures are given for."""

FACTS = {
    "machine": machine.describe(),
    "versions": machine.versions(),
    "kernels": {"search": search.simd_tier(), "image": rectify.simd_tier()},
    "commit": commit(),
}
"""What the times depend on; nothing that names the machine or its owner."""

ROWS = pytest.StashKey[list[Row]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    config.option.benchmark_quiet = True  # its table, as wide as two terminals, knows no budgets


def pytest_benchmark_generate_machine_info() -> dict[str, Any]:
    """For the JSON; pytest-benchmark's own has the host's name in it."""
    return FACTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if rows := config.stash[ROWS]:
        terminalreporter.section("stages")
        terminalreporter.write_line(table.render(rows, FACTS))


@pytest.fixture
def stage(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The test's stage, in the table once the test has passed its way through it."""
    made = Stage(benchmark, FACTS)
    yield made
    request.config.stash[ROWS].extend(made.finish())


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """OpenCV on one thread, as everything else here."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


def camera_frame(name: str) -> Frame:
    """A sample photo, as a camera would give it: a 1280x720 BGR array."""
    first = next(path for path in sample_photos() if path.stem == name)
    pixels = np.ascontiguousarray(load(first).pixels[:, :, ::-1])
    assert pixels.shape == (720, 1280, 3)
    return load(pixels)


@pytest.fixture(scope="session")
def frame() -> Frame:
    """The first sample photo: one card."""
    return camera_frame("desk")


def true_cards(name: str) -> list[tuple[str, NDArray[np.float32]]]:
    """The cards of the demo catalog that a sample photo shows, with their true corners, (4, 2)."""
    (photo,) = (sample for sample in read_samples() if sample.path.stem == name)
    shown = zip(photo.card_ids, photo.corners_px, strict=True)
    return [(card_id, np.array(corners_px, np.float32)) for card_id, corners_px in shown if card_id]


NINE = ("desk", "tilted", "dim", "table")
CELL_WH = (158, 220)
"""Of a card in a frame of nine: as large as three rows leave it, in the shape of a card."""


@pytest.fixture(scope="session")
def nine() -> tuple[Frame, set[str]]:
    """A frame with nine cards of the demo catalog in three rows, cut out of the sample photos; and their ids."""
    pixels = np.full((720, 1280, 3), (86, 102, 110), np.uint8)
    shown = [(camera_frame(name), *card) for name in NINE for card in true_cards(name)]
    assert len(shown) == 9
    for place, (photo, _, corners_px) in enumerate(shown):
        left, top = 220 + 340 * (place % 3), 15 + 237 * (place // 3)
        width, height = CELL_WH
        square = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        cut = cv2.getPerspectiveTransform(corners_px - np.float32(0.5), square - np.float32(0.5))
        pixels[top : top + height, left : left + width] = cv2.warpPerspective(
            photo.pixels, cut, CELL_WH, flags=cv2.INTER_AREA
        )
    return load(pixels), {card_id for _, card_id, _ in shown}


@pytest.fixture(scope="session")
def quads_px(frame: Frame) -> NDArray[np.float32]:
    """The outline in that frame, (1, 4, 2)."""
    return OutlineDetector().detect(frame, max_cards=1)[0].corners_px[None]


@pytest.fixture(scope="session")
def recognizer() -> Iterator[Recognizer]:
    """The bundled model and catalog, one thread."""
    with Recognizer(threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def photos_right(recognizer: Recognizer) -> float:
    """Share of the bundled photos that this run's recognizer answers as their truth says."""
    seen = accuracy(recognizer)
    return float(seen["right"] / seen["photos"])


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
