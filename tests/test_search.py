from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from command import python
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from vectors import decaying_rows

from cardrec.errors import InputError
from cardrec.pruning import Basis, choose_basis, orthonormal
from cardrec.search import (
    Arrays,
    FileRows,
    Matrix,
    QuantisedVectors,
    RowFile,
    pack_rows,
    quantise,
    simd_tier,
    simd_tiers,
)

Floats = NDArray[np.float32]

all_tiers = pytest.mark.parametrize("tier", simd_tiers())


def unit_rows(count: int, dimension: int, seed: int = 0) -> Floats:
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def random_basis(dimension: int, length: int = 4) -> Basis | None:
    """A rotation that suits no rows, for tests of exactness: where pruning is useless, it must still be right."""
    if dimension < length:
        return None
    turned = np.linalg.qr(np.random.default_rng(length).standard_normal((dimension, length)))[0]
    return orthonormal(np.ascontiguousarray(turned.T, np.float32))


def matrix_of(*segments: NDArray[Any], basis: Basis | None = None, tier: str = "") -> Matrix:
    return Matrix([quantise(segment, basis) for segment in segments], basis=basis, tier=tier)


def same(found: tuple[NDArray[Any], NDArray[Any]], expected: tuple[NDArray[Any], NDArray[Any]]) -> None:
    """Equal rows, and scores equal bit for bit."""
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def check(
    rows: NDArray[Any],
    query: Floats,
    k: int,
    mask: NDArray[np.bool_] | None = None,
    *,
    tier: str = "",
    basis: Basis | None = None,
) -> None:
    """The search of one segment, with prefixes and without, gives the twin's rows and scores, bit for bit."""
    allowed = None if mask is None else pack_rows(mask)
    expected = oracle.top_k(rows, query, k, mask)
    for each in (None, basis) if basis else (None,):
        found, scores = matrix_of(rows, basis=each, tier=tier).search(query, k, allowed=allowed)
        same((found[0], scores[0]), expected)


# --- exactness

DIMENSIONS = [1, 15, 16, 17, 31, 33, 255, 768, 1280]
COUNTS = [0, 1, 7, 8, 9, 1000]


@all_tiers
@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_finds_the_true_best(dimension: int, count: int, dtype: type, tier: str) -> None:
    rows: NDArray[Any] = unit_rows(count, dimension).astype(dtype)
    for seed in range(2):
        query = unit_rows(1, dimension, seed=100 + seed)[0]
        for k in (1, 5, count + 3):
            check(rows, query, k, tier=tier, basis=random_basis(dimension))


def test_the_order_of_scores_is_that_of_exact_arithmetic() -> None:
    """The twin shares the order of additions; here is one that does not: sums without any rounding."""
    rows, query = unit_rows(300, 97), unit_rows(1, 97, seed=1)[0]
    unit = oracle.unit(query)
    exact = [math.fsum((row.astype(np.float64) * unit.astype(np.float64)).tolist()) for row in rows]
    found, scores = matrix_of(rows).search(query, 300)
    assert found[0].tolist() == sorted(range(300), key=lambda row: (-exact[row], row))
    np.testing.assert_allclose(scores[0], np.sort(exact)[::-1], rtol=2.0**-23, atol=2.0**-50)


@all_tiers
@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6, 1e-7, 0.0])
def test_near_ties_and_duplicates(spread: float, tier: str) -> None:
    rng = np.random.default_rng(3)
    centre = unit_rows(1, 96)
    rows = (centre + spread * rng.standard_normal((1600, 96))).astype(np.float32)
    rows[rng.integers(0, 1600, 500)] = rows[17]
    for query in (centre[0], rows[17], unit_rows(1, 96, seed=9)[0]):
        check(rows, query, 20, tier=tier, basis=random_basis(96, 8))


def test_equal_scores_are_ordered_by_the_lower_row() -> None:
    rows = np.tile(unit_rows(1, 40), (1300, 1))
    for basis in (None, random_basis(40)):
        found, scores = matrix_of(rows[:130], rows[130:], basis=basis).search(rows[:1], 7)
        assert found.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
        assert len(set(scores[0].tolist())) == 1


@all_tiers
@pytest.mark.parametrize("scale", [1e-45, 1e-42, 1e-38, 1e-20, 1e18])
def test_tiny_and_huge_rows(scale: float, tier: str) -> None:
    rows = (unit_rows(400, 33) * np.float32(scale)).astype(np.float32)
    rows[5] = 0.0
    check(rows, unit_rows(1, 33, seed=4)[0], 5, tier=tier, basis=random_basis(33))


@all_tiers
def test_rows_of_very_different_lengths(tier: str) -> None:
    rows = unit_rows(500, 65) * np.logspace(-6, 6, 500, dtype=np.float32)[:, None]
    for seed in range(5):
        check(rows, unit_rows(1, 65, seed=seed)[0], 7, tier=tier, basis=random_basis(65))


@given(
    count=st.integers(1, 200),
    dimension=st.integers(1, 40),
    k=st.integers(1, 70),
    levels=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    tier=st.sampled_from(simd_tiers()),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_any_matrix(count: int, dimension: int, k: int, levels: int, seed: int, tier: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-levels, levels + 1, (count, dimension)).astype(np.float32)  # coarse: many ties
    query = rng.integers(-levels, levels + 1, dimension).astype(np.float32)
    query[rng.integers(dimension)] = 1  # not zero
    mask = rng.random(count) < data.draw(st.sampled_from([0.01, 0.2, 0.5, 0.9]))
    basis = random_basis(dimension)
    check(rows, query, k, tier=tier, basis=basis)
    check(rows, query, k, mask, tier=tier, basis=basis)


@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 900), max_size=5), threads=st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_segments_are_one_matrix(seed: int, cuts: list[int], threads: int) -> None:
    rows, queries = unit_rows(900, 24, seed), unit_rows(3, 24, seed + 1)
    mask = np.random.default_rng(seed).random(900) < 0.4
    whole = matrix_of(rows)
    for basis in (None, random_basis(24, 8)):
        split = matrix_of(*np.split(rows, sorted(cuts)), basis=basis)
        for allowed in (None, pack_rows(mask)):
            same(split.search(queries, 4, allowed=allowed, threads=threads), whole.search(queries, 4, allowed=allowed))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_permuted_rows_give_permuted_results(seed: int) -> None:
    rows, query = unit_rows(600, 19, seed), unit_rows(1, 19, seed + 1)
    order = np.random.default_rng(seed).permutation(600)
    found, scores = matrix_of(rows).search(query, 6)
    shuffled, shuffled_scores = matrix_of(rows[order], basis=random_basis(19)).search(query, 6)
    same((order[shuffled], shuffled_scores), (found, scores))


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 699))
@settings(max_examples=30, deadline=None)
def test_the_best_is_among_the_best_few_and_an_appended_segment_changes_nothing(seed: int, cut: int) -> None:
    rows, query = unit_rows(700, 21, seed), unit_rows(1, 21, seed + 1)
    basis = random_basis(21)
    built, appended = matrix_of(rows, basis=basis), matrix_of(rows[:cut], rows[cut:], basis=basis)
    few = built.search(query, 9)
    same(appended.search(query, 9), few)
    for k in range(1, 9):
        same(built.search(query, k), (few[0][:, :k], few[1][:, :k]))


@all_tiers
@pytest.mark.parametrize("density", [0.0, 0.001, 0.1, 0.5, 0.99, 1.0])
def test_filtered_search_is_the_masked_oracle(density: float, tier: str) -> None:
    rows = unit_rows(1000, 64)
    mask = np.random.default_rng(1).random(1000) < density
    check(rows, unit_rows(1, 64, seed=2)[0], 10, mask, tier=tier, basis=random_basis(64))


def test_bits_beyond_the_last_row_are_ignored() -> None:
    allowed = np.array([~np.uint64(0)], dtype=np.uint64)
    found, _ = matrix_of(unit_rows(3, 8)).search(unit_rows(1, 8), 9, allowed=allowed)
    assert sorted(found[0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("basis", [None, random_basis(16)])
def test_many_rows_on_several_threads(basis: Basis | None) -> None:
    rows = unit_rows(90_000, 16)
    queries = unit_rows(40, 16, seed=5)  # more than one pass takes
    searched = matrix_of(rows[:50_000], rows[50_000:], basis=basis)
    one = searched.search(queries, 50, threads=1)
    for threads in (0, 2, 4):
        same(searched.search(queries, 50, threads=threads), one)
    for query in (0, 39):
        same((one[0][query], one[1][query]), oracle.top_k(rows, queries[query], 50))


@all_tiers
def test_ascending_scores_are_the_worst_case(tier: str) -> None:
    query = unit_rows(1, 12)[0]
    rows = np.outer(np.linspace(-1, 1, 3000), query).astype(np.float32)
    check(rows, query, 5, tier=tier, basis=random_basis(12))


# --- pruning


@all_tiers
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_basis_is_chosen_where_it_pays_and_the_search_stays_exact(dtype: type, tier: str) -> None:
    rows: NDArray[Any] = decaying_rows(5000, 128).astype(dtype)
    basis = choose_basis(rows)
    assert basis is not None and len(basis.vectors) == 16
    mask = np.random.default_rng(0).random(5000) < 0.6
    for query in (*decaying_rows(5, 128, seed=1), unit_rows(1, 128)[0], rows[77].astype(np.float32)):
        check(rows, query, 5, tier=tier, basis=basis)
        check(rows, query, 5, mask, tier=tier, basis=basis)


def test_no_basis_is_chosen_where_rows_point_everywhere_or_are_few() -> None:
    assert choose_basis(unit_rows(5000, 128)) is None
    assert choose_basis(decaying_rows(1000, 128)) is None


@all_tiers
def test_clusters_in_which_pruning_must_fail(tier: str) -> None:
    """All rows have the same prefix and differ in the rest alone: every bound is above every score."""
    basis = orthonormal(np.eye(4, 64, dtype=np.float32))
    rest = np.pad(unit_rows(3000, 60), ((0, 0), (4, 0)))
    rows = (0.6 * np.eye(1, 64, dtype=np.float32) + 0.8 * rest).astype(np.float32)
    check(rows, rows[5], 5, tier=tier, basis=basis)
    check(rows, np.pad(unit_rows(1, 60, seed=3)[0], (4, 0)), 5, tier=tier, basis=basis)


NO_ROTATIONS = [
    np.eye(3, 8, dtype=np.float32),
    np.eye(4, 8),  # of another type
    2 * np.eye(4, 8, dtype=np.float32),
    np.full((4, 8), np.nan, np.float32),
]


@pytest.mark.parametrize("vectors", NO_ROTATIONS)
def test_a_basis_that_is_no_rotation_is_refused(vectors: Any) -> None:
    with pytest.raises(InputError, match="basis"):
        orthonormal(vectors)


def test_how_far_a_basis_is_from_orthonormal() -> None:
    assert orthonormal(np.eye(4, 8, dtype=np.float32)).delta < 1e-9


@all_tiers
def test_rows_that_are_subnormal_throughout(tier: str) -> None:
    """Whole multiples of the least float32: what rounding a coordinate takes away is not small beside it."""
    turned = np.zeros((4, 8), np.float32)
    for row in range(4):
        turned[row, 2 * row : 2 * row + 2] = 0.6, 0.8
    multiples = np.random.default_rng(0).integers(-64, 20, (640, 8))
    multiples[:, 0] = -64
    multiples[0] = [77, 101, -50, -50, -50, -50, -50, -50]
    multiples[100:140] = [61, 80, 61, 80, 63, 78, 60, 80]
    multiples[300] = [62, 79] * 4
    rows = (multiples * 2.0**-149).astype(np.float32)
    check(rows, np.tile(np.array([3, 4], np.float32), 4), 1, tier=tier, basis=orthonormal(turned))


def test_batches_share_a_pass_where_pruning_fails() -> None:
    rows, queries = decaying_rows(5000, 128), unit_rows(20, 128, seed=6)
    searched = matrix_of(rows, basis=choose_basis(rows))
    found, scores = searched.search(np.concatenate([queries, rows[:3]]), 5)
    for place, query in enumerate((*queries, *rows[:3])):
        same((found[place], scores[place]), oracle.top_k(rows, query, 5))


# --- integer queries


@all_tiers
@pytest.mark.parametrize(
    ("dtype", "zero_point"), [(np.uint8, 128), (np.uint8, 0), (np.uint8, 117), (np.int8, 0), (np.int8, -9)]
)
def test_integers_are_searched_as_their_distances_from_the_zero_point(dtype: type, zero_point: int, tier: str) -> None:
    limits = np.iinfo(dtype)
    values: NDArray[Any] = (
        np.random.default_rng(zero_point + 300).integers(limits.min, limits.max + 1, (4, 48)).astype(dtype)
    )
    floats = values.astype(np.float32) - np.float32(zero_point)
    searched = matrix_of(unit_rows(900, 48), basis=random_basis(48), tier=tier)
    same(searched.search(QuantisedVectors(values, 0.02, zero_point), 6), searched.search(floats, 6))
    same(searched.search(QuantisedVectors(values[0], 7.0, zero_point), 6), searched.search(floats[0], 6))


BAD_INTEGERS: dict[str, Any] = {
    "int16": QuantisedVectors(np.ones(8, np.int16), 1.0, 0),  # type: ignore[arg-type]
    "a list": QuantisedVectors([1] * 8, 1.0, 0),  # type: ignore[arg-type]
    "three axes": QuantisedVectors(np.ones((1, 1, 8), np.int8), 1.0, 0),
    "no scale": QuantisedVectors(np.ones(8, np.int8), 0.0, 0),
    "scale in words": QuantisedVectors(np.ones(8, np.int8), "one", 0),  # type: ignore[arg-type]
    "infinite scale": QuantisedVectors(np.ones(8, np.int8), np.inf, 0),
    "zero point out of range": QuantisedVectors(np.ones(8, np.uint8), 1.0, -1),
    "broken zero point": QuantisedVectors(np.ones(8, np.uint8), 1.0, 0.5),  # type: ignore[arg-type]
    "all at the zero point": QuantisedVectors(np.full(8, 7, np.uint8), 1.0, 7),
    "short": QuantisedVectors(np.ones(7, np.uint8), 1.0, 0),
}


@pytest.mark.parametrize("fault", BAD_INTEGERS)
def test_bad_integers_are_refused(fault: str) -> None:
    with pytest.raises(InputError, match="vectors"):
        matrix().search(BAD_INTEGERS[fault], 3)


# --- quantisation


@pytest.mark.parametrize("scale", [1e-45, 1e-40, 1.0, 1e30])
def test_quantise_equals_its_twin_and_bounds_its_error(scale: float) -> None:
    rows = (unit_rows(50, 77) * np.float32(scale)).astype(np.float32)
    rows[3] = 0.0
    _, codes, scales, errors, norm, _ = quantise(rows)
    np.testing.assert_array_equal(codes, oracle.quantise(rows)[0])
    np.testing.assert_array_equal(scales, oracle.quantise(rows)[1])
    rest = rows.astype(np.longdouble) - scales.astype(np.longdouble)[:, None] * codes
    true_errors = np.sqrt((rest**2).sum(axis=1))
    assert (errors >= true_errors).all()
    assert (errors <= true_errors * 1.000001 + 2e-45).all()
    true_norm = np.sqrt((rows.astype(np.longdouble) ** 2).sum(axis=1)).max()
    assert true_norm <= norm <= true_norm * 1.000001 + 2e-45


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_quantise_refuses_what_is_not_finite(value: float) -> None:
    rows = unit_rows(4, 8)
    rows[2, 3] = value
    with pytest.raises(InputError, match="finite"):
        quantise(rows)


@pytest.mark.parametrize("rows", [np.zeros(4, np.float32), np.zeros((2, 0), np.float32), np.zeros((2, 2)), [[1.0]]])
def test_quantise_refuses_other_arrays(rows: Any) -> None:
    with pytest.raises(InputError):
        quantise(rows)


def test_quantise_takes_strided_rows() -> None:
    rows = unit_rows(9, 8)
    np.testing.assert_array_equal(quantise(rows[::-2]).codes, quantise(rows[::-2].copy()).codes)


def test_pack_rows() -> None:
    mask = np.zeros(130, dtype=bool)
    mask[[0, 63, 64, 129]] = True
    assert pack_rows(mask).tolist() == [1 | 1 << 63, 1, 2]
    assert pack_rows(mask[:0]).tolist() == []
    with pytest.raises(InputError, match="bool"):
        pack_rows(np.zeros(3, dtype=np.uint8))


# --- the Python boundary


def matrix(count: int = 20, dimension: int = 8) -> Matrix:
    return Matrix([quantise(unit_rows(count, dimension))])


def test_queries_are_normalised() -> None:
    rows = unit_rows(20, 8)
    for factor in (1.0, 1e-300, 1e300):
        found, scores = matrix().search(rows[4].astype(np.float64) * factor, 3)
        assert found.shape == scores.shape == (1, 3)
        assert found[0, 0] == 4
        assert scores[0, 0] == pytest.approx(1.0, abs=1e-6)
    assert matrix().search(np.ones((5, 8), dtype=np.int32), 2)[0].shape == (5, 2)
    assert matrix().search(np.asfortranarray(rows)[::2], 1)[0][:, 0].tolist() == list(range(0, 20, 2))


BAD_QUERIES: dict[str, Any] = {
    "zero": np.zeros(8),
    "NaN": np.full(8, np.nan),
    "infinite": np.array([np.inf, 0, 0, 0, 0, 0, 0, 0]),
    "one bad row": np.eye(8) * np.array([1, 1, 1, 0, 1, 1, 1, 1]),
    "short": np.ones(7),
    "long": np.ones((2, 9)),
    "empty": np.zeros((3, 0)),
    "scalar": np.float32(1),
    "three axes": np.ones((1, 1, 8)),
    "complex": np.ones(8, dtype=complex),
    "text": "card",
    "objects": np.array([None] * 8),
}


@pytest.mark.parametrize("fault", BAD_QUERIES)
def test_bad_queries_are_refused(fault: str) -> None:
    with pytest.raises(InputError, match="vectors"):
        matrix().search(BAD_QUERIES[fault], 3)


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None, True])
def test_bad_k_is_refused(k: Any) -> None:
    with pytest.raises(InputError, match="k: expected an integer"):
        matrix().search(np.ones(8), k)


def test_k_beyond_the_rows_returns_them_all() -> None:
    found, _ = matrix(5).search(np.ones(8), 2**70)
    assert sorted(found[0].tolist()) == [0, 1, 2, 3, 4]
    mask = np.array([True, False, False, True, False])
    assert sorted(matrix(5).search(np.ones(8), 4, allowed=pack_rows(mask))[0][0].tolist()) == [0, 3]


def test_empty_matrices() -> None:
    for empty in (Matrix([]), matrix(0), Matrix([quantise(unit_rows(0, 8))] * 3)):
        rows, scores = empty.search(np.ones((2, 8)), 5)
        assert len(empty) == 0
        assert rows.shape == scores.shape == (2, 0)
    assert matrix().search(np.zeros((0, 8)), 5)[0].shape == (0, 5)


@pytest.mark.parametrize("allowed", [np.zeros(2, np.uint64), np.zeros(1, np.int64), np.zeros((1, 1), np.uint64), [1]])
def test_bad_bitmaps_are_refused(allowed: Any) -> None:
    with pytest.raises(InputError, match="allowed"):
        matrix().search(np.ones(8), 3, allowed=allowed)


def bad_segments() -> dict[str, Any]:
    good = quantise(unit_rows(6, 8))
    wide = np.zeros((0, 65537), np.float32)
    unaligned = np.frombuffer(b"x" + bytes(6 * 32), dtype=np.uint8)[1:].view(np.float32).reshape(6, 8)
    return {
        "big-endian": good._replace(vectors=good.vectors.astype(">f4")),  # type: ignore[union-attr]
        "strided": good._replace(vectors=np.repeat(good.vectors, 2, axis=1)[:, ::2]),  # type: ignore[arg-type]
        "unaligned": good._replace(vectors=unaligned),
        "fewer codes": good._replace(codes=good.codes[:5]),
        "narrow codes": good._replace(codes=np.ascontiguousarray(good.codes[:, :7])),
        "unsigned codes": good._replace(codes=good.codes.view(np.uint8)),
        "more scales": good._replace(scales=np.ones(7, np.float32)),
        "2-d errors": good._replace(errors=good.errors[:, None]),
        "no columns": good._replace(vectors=np.zeros((6, 0), np.float32), codes=np.zeros((6, 0), np.int8)),
        "too wide": Arrays(wide, wide.astype(np.int8), np.zeros(0, np.float32), np.zeros(0, np.float32), 1.0),
        "vectors as a list": good._replace(vectors=[[1.0]]),  # type: ignore[arg-type]
        "a file of doubles": good._replace(vectors=FileRows(RowFile(0), 0, np.dtype(np.float64))),
    }


@pytest.mark.parametrize("fault", bad_segments())
def test_bad_segments_are_refused(fault: str) -> None:
    with pytest.raises(InputError):
        Matrix([bad_segments()[fault]])


PREFIX_BASIS = random_basis(8)


def bad_prefixes() -> dict[str, Any]:
    prefix = quantise(unit_rows(6, 8), PREFIX_BASIS).prefix
    assert prefix is not None
    return {
        "fewer groups": prefix._replace(groups=prefix.groups[:0]),
        "another width": prefix._replace(groups=np.concatenate([prefix.groups] * 2, axis=1)),
        "flat": prefix._replace(groups=prefix.groups.reshape(1, -1)),
        "no scale": prefix._replace(scale=0.0),
        "NaN error": prefix._replace(error=np.nan),
    }


@pytest.mark.parametrize("fault", bad_prefixes())
def test_bad_prefixes_are_refused(fault: str) -> None:
    segment = quantise(unit_rows(6, 8))._replace(prefix=bad_prefixes()[fault])
    with pytest.raises(InputError, match="prefix"):
        Matrix([segment], basis=PREFIX_BASIS)
    assert len(Matrix([segment])) == 6  # without a basis they are not looked at


def test_segments_of_two_dimensions_are_refused() -> None:
    with pytest.raises(InputError, match="8 columns"):
        Matrix([quantise(unit_rows(2, 8)), quantise(unit_rows(2, 9))])


@pytest.mark.parametrize("part", ["scales", "errors", "norm"])
@pytest.mark.parametrize("value", [np.nan, -1.0, -np.inf])
def test_bounds_that_would_exclude_the_best_are_refused(part: str, value: float) -> None:
    good = quantise(unit_rows(6, 8))
    damaged: Any = {part: value if part == "norm" else np.full_like(good.scales, value)}
    with pytest.raises(InputError, match=part):
        Matrix([good._replace(**damaged)])


def test_damaged_codes_never_crash() -> None:
    good = quantise(unit_rows(50, 16))
    for scale, error in ((np.inf, np.inf), (0.0, 0.0), (1e30, 0.0), (0.0, np.inf)):
        damaged = good._replace(
            codes=np.full_like(good.codes, -128),
            scales=np.full_like(good.scales, scale),
            errors=np.full_like(good.errors, error),
        )
        found, _ = Matrix([damaged]).search(unit_rows(2, 16, seed=1), 5)
        assert all(len(set(rows)) == 5 and set(rows) <= set(range(50)) for rows in found.tolist())
    holes = good._replace(vectors=np.full((50, 16), np.nan, np.float32))
    assert sorted(Matrix([holes]).search(np.ones(16), 50)[0][0].tolist()) == list(range(50))


# --- memory and threads


def test_arrays_are_kept_alive_and_mapped_files_stay_readable(tmp_path: Path) -> None:
    rows = unit_rows(300, 32)
    np.save(tmp_path / "vectors.npy", rows)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    searched = Matrix([quantise(rows)._replace(vectors=mapped)])
    del mapped
    gc.collect()
    (tmp_path / "vectors.npy").unlink()
    assert searched.search(rows[7], 1)[0].tolist() == [[7]]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_in_a_file_are_read_as_needed(tmp_path: Path, dtype: type) -> None:
    rows: NDArray[Any] = unit_rows(300, 33).astype(dtype)
    path = tmp_path / "rows.bin"
    path.write_bytes(b"header!" + rows.tobytes())
    with path.open("rb") as stream:
        in_file = Matrix([quantise(rows)._replace(vectors=FileRows(RowFile(stream.fileno()), 7, rows.dtype))])
    queries = unit_rows(9, 33, seed=2)
    same(in_file.search(queries, 7), matrix_of(rows).search(queries, 7))
    os.truncate(path, 7 + 40 * rows[0].nbytes)
    with pytest.raises(OSError, match="cut short"):
        in_file.search(rows[200], 1)
    assert in_file.search(rows[20], 1)[0].tolist() == [[20]]  # what is still there can be read


def test_a_closed_file_is_refused() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        RowFile(10**6)


@pytest.mark.parametrize("threads", [1, 3])
def test_concurrent_callers_get_their_own_results(threads: int) -> None:
    rows, queries = unit_rows(9000, 64), unit_rows(64, 64, seed=8)
    shared = matrix_of(rows, basis=random_basis(64))
    expected = [oracle.top_k(rows, query, 5)[0].tolist() for query in queries]
    start = threading.Barrier(8)

    def search(part: int) -> None:
        start.wait(timeout=60)  # all first callers at once: what is computed once is computed by one of them
        for i in range(part, 64, 8):
            assert shared.search(queries[i : i + 1], 5, threads=threads)[0][0].tolist() == expected[i]

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(search, part) for part in range(8)]:
            future.result(timeout=60)


FORKS = """
import os, threading, time
import numpy as np
from cardrec.search import Matrix, quantise

rows = np.random.default_rng(0).standard_normal((9000, 16)).astype(np.float32)
searched = Matrix([quantise(rows)])

def busy():
    while True:
        searched.search(rows[:1], 1, threads=2)

for _ in range(4):
    threading.Thread(target=busy, daemon=True).start()
for _ in range(40):
    child = os.fork()
    if child == 0:
        os._exit(0 if searched.search(rows[4], 1, threads=3)[0].shape == (1, 1) else 1)
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""
"""Forks while other threads search, and ends while they do."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_children_search_and_the_process_ends_while_threads_do() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


# --- tiers

TIER = "from cardrec.search import simd_tier; print(simd_tier())"


def test_the_fastest_tier_is_used() -> None:
    assert simd_tiers()[0] == "scalar"
    assert matrix().tier == os.environ.get("CARDREC_SIMD", simd_tiers()[-1]) == simd_tier()


@all_tiers
def test_the_environment_forces_a_tier(tier: str) -> None:
    done = python("-c", TIER, simd=tier)
    assert (done.returncode, done.stdout.strip()) == (0, tier)


def test_a_tier_that_is_not_there_is_an_error() -> None:
    with pytest.raises(InputError, match=r"'mmx' .* this processor has: scalar"):
        Matrix([quantise(unit_rows(2, 8))], tier="mmx")
    done = python("-c", TIER, simd="mmx")
    assert done.returncode == 1
    assert "InputError: CARDREC_SIMD: SIMD tier 'mmx'" in done.stderr
