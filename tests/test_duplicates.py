"""Duplicates and twins: against all cosines, whatever rows a catalog has."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_neighbours import clustered

from cardrec import duplicates, neighbours
from cardrec.duplicates import NEAR, find_resemblances
from cardrec.pruning import Basis, orthonormal
from cardrec.snapshot import Snapshot
from cardrec.twins import MOST_TWINS, TWINS


@dataclass
class Rows:
    """What of a snapshot is asked for, with rows that no writer would let through."""

    stored: NDArray[np.float32]
    ids: list[str]
    removed: frozenset[int] = frozenset()
    basis: Basis | None = None

    @property
    def rows(self) -> int:
        return len(self.stored)

    @property
    def manifest(self) -> Any:
        return SimpleNamespace(dimension=self.stored.shape[1])

    def live_rows(self) -> NDArray[np.int64]:
        return np.array([row for row in range(self.rows) if row not in self.removed], np.int64)

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        assert (np.diff(rows) > 0).all()
        return self.stored[rows]

    def card(self, row: int) -> tuple[str, dict[str, Any]]:
        return self.ids[row], {}

    def cards(self, rows: NDArray[np.int64]) -> list[tuple[str, dict[str, Any]]]:
        return [self.card(row) for row in rows]


def found(rows: Rows, start: int, near: float | None) -> tuple[dict[tuple[str, str], float], list[list[int]]]:
    told: list[tuple[int, int]] = []
    result = find_resemblances(cast("Snapshot", rows), start, near=near, progress=lambda *each: told.append(each))
    total = rows.rows - start
    assert [of for _, of in told] == [total] * len(told)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert (told[-1][0] if told else 0) == total
    return {(first, second): cosine for first, second, cosine, _ in result.duplicates}, result.twins.tolist()


def expected(
    rows: Rows, start: int, near: float | None, block: int = 8192
) -> tuple[dict[tuple[str, str], float], list[list[int]]]:
    """The best few of each row, by all cosines; without ``near`` of those in its block and before."""
    with np.errstate(invalid="ignore", divide="ignore"):
        wide = rows.stored.astype(np.float64)
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
        cosines = np.minimum(1.0, np.round(wide @ wide.T, 12))
    cosines[np.isnan(cosines) | (np.array(rows.ids)[:, None] == np.array(rows.ids))] = -1
    cosines[list(rows.removed)] = -1
    cosines[:, list(rows.removed)] = -1
    pairs: dict[tuple[int, int], float] = {}
    twins = set()
    for row in range(start, rows.rows):
        if near is None:
            cosines[row, (row // block + 1) * block :] = -1
        order = np.lexsort((np.arange(rows.rows), -cosines[row])).tolist()
        for other in order[:8]:
            if near is not None and cosines[row, other] >= near:
                pairs[min(row, other), max(row, other)] = float(cosines[row, other])
        twins |= {(max(row, other), min(row, other)) for other in order[:MOST_TWINS] if cosines[row, other] >= TWINS}
    named: dict[tuple[str, str], float] = {}
    for (low, high), cosine in sorted(pairs.items()):
        ids = rows.ids[low], rows.ids[high]
        ids = ids[::-1] if ids[::-1] in named else ids
        named[ids] = max(cosine, named.get(ids, -1.0))
    return named, [list(pair) for pair in sorted(twins)]


def agree(rows: Rows, start: int, near: float | None, block: int = 8192) -> None:
    (pairs, twins), (true_pairs, true_twins) = found(rows, start, near), expected(rows, start, near, block)
    assert list(pairs) == list(true_pairs)
    assert list(pairs.values()) == pytest.approx(list(true_pairs.values()), abs=2e-12)
    assert twins == true_twins


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 250),
    st.sampled_from([2, 40, 100]),
    st.sampled_from([None, NEAR, 0.7, TWINS, 1.0]),
    st.sampled_from(["one", "views", "removed", "damaged"]),
)
def test_all_cosines_say_the_same(seed: int, count: int, dimension: int, near: float | None, what: str) -> None:
    rng = np.random.default_rng(seed)
    vectors = clustered(count, dimension, rng.choice([0, 0.02, 0.1, 10]), rng)
    some = rng.permutation(count)[: count // 5]
    if what == "damaged":
        kinds = np.array([np.nan, np.inf, -np.inf, 0], np.float32)
        vectors[some, rng.integers(0, dimension, len(some))] = rng.choice(kinds, len(some))
        vectors[some[::3]] = 0
    ids = [f"{row // 3 if what == 'views' else row}" for row in range(count)]
    basis = None
    if dimension == 100 and rng.random() < 0.5:
        basis = orthonormal(np.linalg.qr(rng.normal(size=(100, 80)))[0].T.astype(np.float32))
    rows = Rows(vectors, ids, frozenset(some.tolist()) if what == "removed" else frozenset(), basis)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_FEWEST", 5)
        patch.setattr(neighbours, "_MEMBERS", 20)
        if rng.random() < 0.5:
            patch.setattr(neighbours, "_WORTHWHILE", 2.0)
        if near is not None:
            patch.setattr(duplicates, "_COLUMNS", 33)
        for start in {0, count // 2, max(count - 3, 0), count}:
            agree(rows, start, near)


def test_rows_that_are_all_removed_or_damaged() -> None:
    vectors = np.ones((6, 4), np.float32)
    vectors[5] = np.nan
    rows = Rows(vectors, list("abcdef"), frozenset([3, 4]))
    for start in (3, 5, 6):
        assert found(rows, start, NEAR) == ({}, [])
    assert found(rows, 1, NEAR)[1] == [[1, 0], [2, 0], [2, 1]]


@pytest.mark.parametrize("near", [None, NEAR])
def test_thousands_of_rows_that_are_the_same(near: float | None) -> None:
    """A placeholder among others: pairs with the lowest rows, no more than are kept for each."""
    rng = np.random.default_rng(1)
    vectors = clustered(3000, 48, 0.1, rng)
    same = np.sort(rng.permutation(3000)[:2000])
    vectors[same] = vectors[same[0]]
    rows = Rows(vectors, [str(row) for row in range(3000)])
    agree(rows, 0, near)
    agree(rows, 2900, near)
    assert len(found(rows, 0, near)[1]) < 2000 * (MOST_TWINS + 1)


def test_a_later_twin_may_be_left_to_its_own_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without duplicates to report each row is compared with its block and the rows before; here it has many twins."""
    monkeypatch.setattr(duplicates, "_COLUMNS", 50)
    vectors = clustered(500, 48, 0.01, np.random.default_rng(8))
    vectors[:300] = vectors[0] + 0.005 * vectors[:300]
    rows = Rows(vectors, [str(row) for row in range(500)])
    agree(rows, 0, None, 50)
    agree(rows, 170, None, 50)


def test_a_basis_that_is_off_costs_no_pair() -> None:
    """As long as a catalog may say, where rows differ in what it holds and agree in the rest."""
    basis = Basis(np.sqrt(1 + 1e-3) * np.eye(4, 8, dtype=np.float32), 1e-3)
    vectors = np.zeros((2, 8), np.float32)
    vectors[:, 0] = -np.sqrt(0.2), np.sqrt(0.2)
    vectors[:, 5] = np.sqrt(0.8)
    rows = Rows(vectors, ["a", "b"], basis=basis)
    assert found(rows, 0, 0.6 - 1e-6)[0] == {("a", "b"): pytest.approx(0.6)}


@pytest.mark.parametrize("dimension", [3, 64, 768])
def test_rounding_costs_no_pair(dimension: int) -> None:
    """Pairs exactly at the bound, of which products in float32 say more or less."""
    rng = np.random.default_rng(10)
    for _ in range(50):
        vectors = np.zeros((2, dimension), np.float32)
        vectors[:, :64] = rng.uniform(0.1, 1, (2, min(dimension, 64)))
        rows = Rows(vectors, ["a", "b"])
        (cosine,) = found(rows, 0, 0.1)[0].values()
        assert found(rows, 0, cosine)[0] == {("a", "b"): cosine}
