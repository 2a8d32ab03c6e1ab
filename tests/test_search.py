from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cardrec import _search
from cardrec.errors import InputError
from cardrec.search import Arrays, Matrix, pack_rows, quantise, simd_tier

Floats = NDArray[np.float32]


def unit_rows(count: int, dimension: int, seed: int = 0) -> Floats:
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def native(*segments: NDArray[Any]) -> _search.Matrix:
    return _search.Matrix([quantise(segment) for segment in segments])


def check(rows: NDArray[Any], query: Floats, k: int, mask: NDArray[np.bool_] | None = None, threads: int = 1) -> None:
    """The native search of one segment gives the twin's rows and scores, bit for bit."""
    allowed = None if mask is None else pack_rows(mask)
    found, scores = native(rows).search(query[None], k, allowed, threads)
    expected, expected_scores = oracle.top_k(rows, query, k, mask)
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(scores[0], expected_scores)


# --- exactness

DIMENSIONS = [1, 15, 16, 17, 31, 33, 255, 768, 1280]
COUNTS = [0, 1, 7, 8, 9, 1000]


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_finds_the_true_best(dimension: int, count: int, dtype: type) -> None:
    rows: NDArray[Any] = unit_rows(count, dimension).astype(dtype)
    for seed in range(3):
        query = unit_rows(1, dimension, seed=100 + seed)[0]
        for k in (1, 5, count + 3):
            check(rows, query, k)


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6, 0.0])
def test_near_ties_and_duplicates(spread: float) -> None:
    rng = np.random.default_rng(3)
    centre = unit_rows(1, 96)
    rows = (centre + spread * rng.standard_normal((600, 96))).astype(np.float32)
    rows[rng.integers(0, 600, 200)] = rows[17]
    for query in (centre[0], rows[17], unit_rows(1, 96, seed=9)[0]):
        check(rows, query, 20)


def test_equal_scores_are_ordered_by_the_lower_row() -> None:
    rows = np.tile(unit_rows(1, 40), (300, 1))
    found, scores = native(rows[:130], rows[130:]).search(rows[:1], 7)
    assert found.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert len(set(scores[0].tolist())) == 1


@pytest.mark.parametrize("scale", [1e-45, 1e-42, 1e-38, 1e-20, 1e18])
def test_tiny_and_huge_rows(scale: float) -> None:
    rows = (unit_rows(200, 33) * np.float32(scale)).astype(np.float32)
    rows[5] = 0.0
    check(rows, unit_rows(1, 33, seed=4)[0], 12)


def test_rows_of_very_different_lengths() -> None:
    rows = unit_rows(500, 65) * np.logspace(-6, 6, 500, dtype=np.float32)[:, None]
    for seed in range(5):
        check(rows, unit_rows(1, 65, seed=seed)[0], 9)


@given(
    count=st.integers(1, 60),
    dimension=st.integers(1, 40),
    k=st.integers(1, 70),
    levels=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_any_matrix(count: int, dimension: int, k: int, levels: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-levels, levels + 1, (count, dimension)).astype(np.float32)  # coarse: many ties
    query = rng.integers(-levels, levels + 1, dimension).astype(np.float32) / np.float32(3)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    check(rows, query, k)
    check(rows, query, k, mask)


@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 300), max_size=5), threads=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_segments_are_one_matrix(seed: int, cuts: list[int], threads: int) -> None:
    rows, queries = unit_rows(300, 24, seed), unit_rows(3, 24, seed + 1)
    mask = np.random.default_rng(seed).random(300) < 0.4
    split, whole = native(*np.split(rows, sorted(cuts))), native(rows)
    for allowed in (None, pack_rows(mask)):
        got, want = split.search(queries, 11, allowed, threads), whole.search(queries, 11, allowed)
        np.testing.assert_array_equal(got[0], want[0])
        np.testing.assert_array_equal(got[1], want[1])


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_permuted_rows_give_permuted_results(seed: int) -> None:
    rows, query = unit_rows(200, 19, seed), unit_rows(1, 19, seed + 1)
    order = np.random.default_rng(seed).permutation(200)
    found, scores = native(rows).search(query, 6)
    shuffled, shuffled_scores = native(rows[order]).search(query, 6)
    np.testing.assert_array_equal(order[shuffled], found)
    np.testing.assert_array_equal(shuffled_scores, scores)


@pytest.mark.parametrize("density", [0.0, 0.001, 0.1, 0.5, 0.99, 1.0])
def test_filtered_search_is_the_masked_oracle(density: float) -> None:
    rows = unit_rows(1000, 64)
    mask = np.random.default_rng(1).random(1000) < density
    check(rows, unit_rows(1, 64, seed=2)[0], 10, mask)


def test_bits_beyond_the_last_row_are_ignored() -> None:
    allowed = np.array([~np.uint64(0)], dtype=np.uint64)
    found, _ = native(unit_rows(3, 8)).search(unit_rows(1, 8), 9, allowed)
    assert sorted(found[0].tolist()) == [0, 1, 2]


def test_many_rows_on_several_threads() -> None:
    rows = unit_rows(40_000, 16)
    queries = unit_rows(4, 16, seed=5)
    one, many = native(rows).search(queries, 50), native(rows).search(queries, 50, None, 4)
    np.testing.assert_array_equal(one[0], many[0])
    np.testing.assert_array_equal(one[1], many[1])


def test_ascending_scores_are_the_worst_case() -> None:
    query = unit_rows(1, 12)[0]
    rows = np.outer(np.linspace(-1, 1, 3000), query).astype(np.float32)
    check(rows, query, 5)


# --- quantisation


@pytest.mark.parametrize("scale", [1e-45, 1e-40, 1.0, 1e30])
def test_quantise_equals_its_twin_and_bounds_its_error(scale: float) -> None:
    rows = (unit_rows(50, 77) * np.float32(scale)).astype(np.float32)
    rows[3] = 0.0
    codes, scales, errors = _search.quantise(rows)
    np.testing.assert_array_equal(codes, oracle.quantise(rows)[0])
    np.testing.assert_array_equal(scales, oracle.quantise(rows)[1])
    rest = rows.astype(np.longdouble) - scales.astype(np.longdouble)[:, None] * codes
    true_errors = np.sqrt((rest**2).sum(axis=1))
    assert (errors >= true_errors).all()
    assert (errors <= true_errors * 1.000001 + 2e-45).all()


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
    unaligned = np.frombuffer(b"x" + good.vectors.tobytes(), dtype=np.uint8)[1:].view(np.float32).reshape(6, 8)
    return {
        "three arrays": good[:3],
        "double vectors": good._replace(vectors=good.vectors.astype(np.float64)),  # type: ignore[arg-type]
        "big-endian": good._replace(vectors=good.vectors.astype(">f4")),
        "strided": (np.repeat(good.vectors, 2, axis=1)[:, ::2], *good[1:]),
        "unaligned": good._replace(vectors=unaligned),
        "fewer codes": good._replace(codes=good.codes[:5]),
        "narrow codes": good._replace(codes=np.ascontiguousarray(good.codes[:, :7])),
        "unsigned codes": good._replace(codes=good.codes.view(np.uint8)),
        "more scales": good._replace(scales=np.ones(7, np.float32)),
        "2-d errors": good._replace(errors=good.errors[:, None]),
        "no columns": Arrays(np.zeros((2, 0), np.float32), np.zeros((2, 0), np.int8), *np.zeros((2, 2), np.float32)),
        "too wide": Arrays(wide, wide.astype(np.int8), *np.zeros((2, 0), np.float32)),
        "a list": ([[1.0]], [[1]], [1.0], [0.0]),
        "a number": 5,
    }


@pytest.mark.parametrize("fault", bad_segments())
def test_bad_segments_are_refused(fault: str) -> None:
    with pytest.raises(InputError):
        Matrix([bad_segments()[fault]])


def test_segments_of_two_dimensions_are_refused() -> None:
    with pytest.raises(InputError, match="8 columns"):
        Matrix([quantise(unit_rows(2, 8)), quantise(unit_rows(2, 9))])


def test_damaged_codes_never_crash() -> None:
    good = quantise(unit_rows(50, 16))
    for value in (np.nan, np.inf, -np.inf, 0.0, -1.0):
        damaged = good._replace(
            codes=np.full_like(good.codes, -128),
            scales=np.full_like(good.scales, value),
            errors=np.full_like(good.errors, value),
        )
        found, _ = Matrix([damaged]).search(np.ones(16), 5)
        assert len(set(found[0].tolist())) == 5
    holes = good._replace(vectors=np.full_like(good.vectors, np.nan))
    assert len(set(Matrix([holes]).search(np.ones(16), 50)[0][0].tolist())) == 50


# --- memory and threads


def test_arrays_are_kept_alive_and_mapped_files_stay_readable(tmp_path: Path) -> None:
    rows = unit_rows(300, 32)
    np.save(tmp_path / "vectors.npy", rows)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    searched = Matrix([(mapped, *quantise(rows)[1:])])
    del mapped
    gc.collect()
    (tmp_path / "vectors.npy").unlink()
    assert searched.search(rows[7], 1)[0].tolist() == [[7]]


def test_concurrent_callers_get_their_own_results() -> None:
    rows, queries = unit_rows(4000, 64), unit_rows(64, 64, seed=8)
    shared = native(rows)
    expected = [oracle.top_k(rows, query, 5)[0].tolist() for query in queries]
    start = threading.Barrier(8)

    def search(part: int) -> None:
        start.wait(timeout=60)  # all first callers at once: the norms are computed by one of them
        for i in range(part, 64, 8):
            assert shared.search(queries[i : i + 1], 5)[0][0].tolist() == expected[i]

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(search, part) for part in range(8)]:
            future.result(timeout=60)


def test_the_tier_is_named() -> None:
    assert simd_tier() == "portable"
