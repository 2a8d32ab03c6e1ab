"""Each stage of `identify` on a 1280x720 frame with one card, one thread; and what all but the encoder costs.

make bench
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import decaying_vectors
from benchmarks.measure import alternate_ms
from cardrec import Catalog, Recognizer
from cardrec.decide import Calibration, decide
from cardrec.detect import ContourDetector
from cardrec.embed import open_encoder
from cardrec.image import Frame
from cardrec.model import Model
from cardrec.rectify import rectify, whole

OVERHEAD_GOAL = 0.25
"""Share of the encoder's own time that detection, rectification, search and decision should take together."""
OVERHEAD_LIMIT = 0.6
"""What this version must keep: it takes 0.4, mostly detection and rectification, whose kernels are portable C++."""


@pytest.fixture
def crop() -> NDArray[np.uint8]:
    return np.zeros((1, 224, 224, 3), np.uint8)


def test_detect(benchmark: BenchmarkFixture, frame: Frame) -> None:
    assert len(benchmark(ContourDetector().detect, frame, max_cards=1)) == 1


def test_rectify(
    benchmark: BenchmarkFixture, frame: Frame, quads_px: NDArray[np.float32], crop: NDArray[np.uint8]
) -> None:
    benchmark(rectify, frame, quads_px, crop)
    assert crop.any()


def test_resize_whole_picture(benchmark: BenchmarkFixture, frame: Frame, crop: NDArray[np.uint8]) -> None:
    benchmark(whole, frame, crop[0])
    assert crop.any()


def test_encode(benchmark: BenchmarkFixture) -> None:
    encoder = open_encoder(threads=1)

    def run() -> NDArray[np.float32]:
        with encoder.slot() as slot:
            slot.submit(1)
            return slot.wait()

    assert benchmark(run).shape == (1, 768)


@pytest.mark.parametrize("k", [1, 5])
def test_search_17592_isotropic(benchmark: BenchmarkFixture, large_catalog: Path, k: int) -> None:
    queries = itertools.cycle(np.random.default_rng(1).standard_normal((500, 768), np.float32))
    with Catalog.open(large_catalog) as catalog:
        rows, _ = benchmark(lambda: catalog.search(next(queries), k))
    assert rows.shape == (1, k)


@pytest.mark.parametrize("k", [1, 5])
def test_search_17592_decaying(benchmark: BenchmarkFixture, pruned_catalog: Path, k: int) -> None:
    queries = itertools.cycle(decaying_vectors(500, seed=1))
    with Catalog.open(pruned_catalog) as catalog:
        rows, _ = benchmark(lambda: catalog.search(next(queries), k))
    assert rows.shape == (1, k)


def test_search_17592_one_set_of_a_hundred(benchmark: BenchmarkFixture, large_catalog: Path) -> None:
    queries = itertools.cycle(np.random.default_rng(1).standard_normal((500, 768), np.float32))
    with Catalog.open(large_catalog) as catalog:
        rows, _ = benchmark(lambda: catalog.search(next(queries), 5, where={"set": "S7"}))
    assert rows.shape == (1, 5)


def test_decide(benchmark: BenchmarkFixture) -> None:
    calibration = Calibration.from_numbers(Model.load().calibration)
    assert benchmark(decide, [0.9, 0.5, 0.4, 0.3, 0.2], calibration)[0] == "match"


def test_identify(benchmark: BenchmarkFixture, frame: Frame, recognizer: Recognizer) -> None:
    assert benchmark(recognizer.identify, frame.pixels).best is not None


def test_identify_overhead(frame: Frame, recognizer: Recognizer, capsys: pytest.CaptureFixture[str]) -> None:
    """Identify and the bare encoder in turn, as whole calls."""
    encoder = open_encoder(threads=1)

    def encode() -> None:
        with encoder.slot() as slot:
            slot.submit(1)
            slot.wait()

    identify_ms, encode_ms = alternate_ms(lambda: recognizer.identify(frame.pixels), encode, rounds=300)
    overhead = identify_ms / encode_ms - 1
    with capsys.disabled():
        print(f"\nidentify {identify_ms:.2f} ms, encoder alone {encode_ms:.2f} ms:", end=" ")
        print(f"overhead {overhead:.0%} (goal {OVERHEAD_GOAL:.0%})")
    assert overhead <= OVERHEAD_LIMIT
