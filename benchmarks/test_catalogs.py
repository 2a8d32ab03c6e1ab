"""Making catalogs: from pictures, by appending, and from vectors that are there.

make bench PYTEST_ARGS="-k catalogs"
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.conftest import make_catalog
from benchmarks.stage import Stage
from cardrec import Catalog
from cardrec.embed import Embedder, Prepared, open_encoder

PICTURES = 32
VECTORS = 1000

Item = tuple[str, NDArray[np.uint8], dict[str, object]]


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    with Embedder(open_encoder(threads=1, backend="onnx")) as opened:
        yield opened


def patterns(count: int) -> NDArray[np.uint8]:
    """(count, 320, 224, 3) pictures that the encoder tells apart."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 10, 7, 3), np.uint8)
    return coarse.repeat(32, axis=1).repeat(32, axis=2)


def items(pictures: NDArray[np.uint8], prefix: str = "card") -> list[Item]:
    return [(f"{prefix}-{n}", picture, {"name": f"Card {n}", "set": "A1"}) for n, picture in enumerate(pictures)]


def encoder_alone(embedder: Embedder, count: int) -> Callable[[], object]:
    ready = [Prepared(picture) for picture in np.zeros((count, 224, 224, 3), np.uint8)]
    return lambda: embedder.encode(ready)


def found_again(path: Path, pictures: NDArray[np.uint8], first: int, embedder: Embedder) -> float:
    """Share of the pictures that their own vectors find, in rows that count up from ``first``."""
    with Catalog.open(path) as catalog:
        rows, _ = catalog.search(embedder.encode(list(pictures)), 1)
    return float(np.mean(rows[:, 0] == first + np.arange(len(pictures))))


def test_catalogs_build(stage: Stage, embedder: Embedder, tmp_path: Path) -> None:
    """Without calibration, which encodes simulated photos: beside the encoder alone on as many cards."""
    pictures, path = patterns(PICTURES), tmp_path / "built.cardrec"
    entries = items(pictures)
    stage(
        f"build a catalog of {PICTURES} pictures",
        lambda: Catalog.build(path, entries, encoder=embedder, overwrite=True, calibration=None),
        rounds=6,
        warm_up=1,
    )
    stage.beside({"encoder alone": encoder_alone(embedder, PICTURES)}, rounds=5, warm_up=1)
    stage.right("found again", found_again(path, pictures, 0, embedder))


def test_catalogs_append(stage: Stage, embedder: Embedder, tmp_path: Path) -> None:
    """To a catalog that has some segments already; each round adds another."""
    pictures, path, rounds = patterns(2 * PICTURES), tmp_path / "grown.cardrec", itertools.count()
    first, more = pictures[:PICTURES], pictures[PICTURES:]
    Catalog.build(path, items(first, "first"), encoder=embedder, calibration=None)
    with Catalog.open(path) as catalog:
        stage(
            f"append {PICTURES} pictures",
            lambda: catalog.append(items(more, f"round-{next(rounds)}"), encoder=embedder),
            rounds=6,
            warm_up=1,
        )
        stage.beside({"encoder alone": encoder_alone(embedder, PICTURES)}, rounds=5, warm_up=1)
        assert len(catalog) == PICTURES * (1 + next(rounds))
    # Equal vectors of later rounds come after those of the first.
    stage.right("found again", found_again(path, pictures, 0, embedder))


def test_catalogs_from_vectors(stage: Stage, tmp_path: Path) -> None:
    """Beside NumPy's own file of the same rows."""
    vectors = np.random.default_rng(0).standard_normal((VECTORS, 768), np.float32)
    paths = (tmp_path / f"{n}.cardrec" for n in itertools.count())
    path = stage(f"catalog of {VECTORS:,} vectors", lambda: make_catalog(next(paths), vectors), rounds=8, warm_up=1)
    stage.beside({"np.save": lambda: np.save(tmp_path / "rows.npy", vectors)}, rounds=5, warm_up=1)
    with Catalog.open(path) as catalog:
        rows, _ = catalog.search(vectors, 1)
    stage.right("found again", float(np.mean(rows[:, 0] == np.arange(VECTORS))))
