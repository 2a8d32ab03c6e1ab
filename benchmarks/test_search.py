"""Search in 17,592 rows, from the catalog's files, beside exact searches of other libraries on the same rows.

make bench PYTEST_ARGS="-k search"
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import budgets
from benchmarks.conftest import CARDS, decaying_vectors
from benchmarks.peers_data import TIE, Rows, unit
from benchmarks.peers_methods import METHODS, Search, top
from benchmarks.stage import Stage
from cardrec import Catalog

PEERS = {"NumPy": "numpy", "Faiss Flat": "faiss Flat"}
"""Searches that are as exact as float32 is: names here, and in `peers_methods.METHODS`."""
QUERIES = 500
CHECKED = 100
"""Of the queries, for the recall."""
SET = 7


def stored_rows(catalog: Path) -> Path:
    """The file of a new catalog's rows."""
    (path,) = (catalog / "segments").glob("*/vectors.npy")
    return path


def recall(
    catalog: Catalog, rows: Rows, queries: Rows, k: int, first: int = 0, where: Mapping[str, object] | None = None
) -> float:
    """Share of the true k best of ``rows``, by float64, that searches find; rows as good as the k-th count as true.

    The catalog knows the rows by consecutive numbers from ``first`` on.
    """
    shares = []
    exact = rows.astype(np.float64)
    for query in queries:
        found, _ = catalog.search(query, k, where=where)
        scores = exact @ query.astype(np.float64)
        worst = np.partition(scores, -k)[-k]
        distinct = np.unique(found[0]) - first
        shares.append(np.count_nonzero(scores[distinct] >= worst - TIE) / k)
    return float(np.mean(shares))


def isotropic(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((count, 768), np.float32)


def peers(path: Path, queries: itertools.cycle[Rows]) -> dict[str, Callable[[], object]]:
    """Those that are installed, with an index of the same rows."""

    def asked(search: Search) -> Callable[[], object]:
        return lambda: search(next(queries)[None], 1)

    installed = {name: METHODS[method] for name, method in PEERS.items() if find_spec(METHODS[method].module)}
    return {name: asked(method.build(path)) for name, method in installed.items()}


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("kind", ["isotropic", "decaying"])
def test_search_17592(stage: Stage, request: pytest.FixtureRequest, kind: str, k: int) -> None:
    path: Path = request.getfixturevalue("large_catalog" if kind == "isotropic" else "pruned_catalog")
    asked = unit(isotropic(QUERIES) if kind == "isotropic" else decaying_vectors(QUERIES, seed=1))
    queries = itertools.cycle(asked)
    with Catalog.open(path) as catalog:
        stage(
            f"search {CARDS:,}, {kind}, k={k}",
            lambda: catalog.search(next(queries), k),
            rounds=QUERIES,
            budget_ms=budgets.SEARCH,
        )
        stage.beside(peers(stored_rows(path), queries))
        found = recall(catalog, np.load(stored_rows(path)), asked[:CHECKED], k)
    stage.right(f"recall@{k}", found)
    assert found == 1.0


def test_search_17592_one_set_of_a_hundred(stage: Stage, large_catalog: Path) -> None:
    asked = unit(isotropic(QUERIES))
    queries = itertools.cycle(asked)
    where = {"set": f"S{SET}"}
    of_set = np.flatnonzero(np.arange(CARDS) * 100 // CARDS == SET)
    rows: Rows = np.load(stored_rows(large_catalog))[of_set]
    with Catalog.open(large_catalog) as catalog:
        stage(
            f"search {CARDS:,}, where: one set of a hundred, k=5",
            lambda: catalog.search(next(queries), 5, where=where),
            rounds=QUERIES,
            budget_ms=budgets.SEARCH,
        )
        stage.beside({"NumPy on the set": lambda: top((rows @ next(queries))[None])})
        found = recall(catalog, rows, asked[:CHECKED], 5, int(of_set[0]), where)
    stage.right("recall@5", found)
    assert found == 1.0
