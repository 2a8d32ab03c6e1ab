"""Neighbours: against all products, that none is missed and that few others are looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cardrec import neighbours
from cardrec.neighbours import groups

Floats = NDArray[np.float32]


def unit(vectors: NDArray[np.float64]) -> Floats:
    scaled: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def clustered(count: int, dimension: int, spread: float, rng: np.random.Generator) -> Floats:
    """Unit vectors about six to a centre, coordinate after coordinate a tenth smaller."""
    centres = rng.normal(size=(1 + count // 6, dimension)) * 0.9 ** np.arange(dimension)
    chosen = unit(centres)[rng.integers(0, len(centres), count)]
    return unit(chosen + spread * rng.normal(size=chosen.shape) / dimension**0.5)


def missed(points: Floats, first: int, least: float) -> int:
    """How many pairs with so large a product are in no group; that all points are in one is asserted."""
    wide = points.astype(np.float64)
    left = wide @ wide.T >= least
    left[:first] = False
    seen = []
    for members, others in groups(points, first, least):
        assert 0 < len(members) <= 256 and (np.diff(members) > 0).all() and (np.diff(others) > 0).all()
        seen += members.tolist()
        left[np.ix_(members, others)] = False
    assert sorted(seen) == list(range(first, len(points)))
    return int(left.sum())


def compared(points: Floats, least: float) -> int:
    return sum(len(members) * len(others) for members, others in groups(points, 0, least))


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 300),
    st.sampled_from([1, 2, 5, 65]),
    st.sampled_from([0.5, 0.9, 0.98, 0.999, 1 - 1e-6]),
    st.booleans(),
)
def test_none_is_missed(seed: int, count: int, dimension: int, least: float, late: bool) -> None:
    rng = np.random.default_rng(seed)
    points = clustered(count, dimension, rng.choice([0, 0.01, 0.1, 10]), rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_FEWEST", 5)
        patch.setattr(neighbours, "_WORTHWHILE", 2.0)  # however little it saves
        patch.setattr(neighbours, "_CELLS", 3)
        patch.setattr(neighbours, "_CHUNK", 50)
        assert missed(points, count // 2 if late else 0, least) == 0


def across(seed: int, angle: float) -> tuple[Floats, float]:
    """Pairs of points on a circle, each exactly at its bound, and the greatest product that all of them reach."""
    begins = np.random.default_rng(seed).uniform(0, 2 * np.pi, 2000)
    both = np.concatenate([begins, begins + angle])
    points = np.column_stack([np.cos(both), np.sin(both)]).astype(np.float32)
    wide = points.astype(np.float64)
    return points, float(np.einsum("ij,ij->i", wide[:2000], wide[2000:]).min())


@pytest.mark.parametrize("angle", [0.0, 1e-5, 1e-3, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_pairs_at_the_bound(seed: int, angle: float) -> None:
    """Many lie across from one another at the planes between cells: what is off by a rounding shows."""
    points, least = across(seed, angle)
    assert missed(points, 0, least) == 0


def test_lengths_may_differ() -> None:
    rng = np.random.default_rng(4)
    points = (clustered(2000, 8, 0.1, rng) * rng.uniform(0, 1.1, (2000, 1))).astype(np.float32)
    assert missed(points, 0, 0.99) == 0


def test_few_pairs_of_clusters_are_compared() -> None:
    """A fiftieth of all, and fewer of more: with twice the points not four times as many."""
    rng = np.random.default_rng(2)
    points = clustered(8000, 65, 0.02, rng)
    few, many = compared(points[:4000], 0.999), compared(points, 0.999)
    assert many < 0.02 * 8000**2
    assert many < 3.2 * few


def test_where_nothing_is_saved_all_are_compared_at_once() -> None:
    rng = np.random.default_rng(3)
    points = unit(rng.normal(size=(1500, 65)))
    found = list(groups(points, 0, 0.7))
    assert len(found) == -(-1500 // 256)
    assert all(len(others) == 1500 for _, others in found)
    same = np.broadcast_to(points[:1], (1500, 65))
    assert [len(members) for members, _ in groups(same, 0, 0.999)] == [256] * 5 + [220]


@pytest.mark.parametrize("dimension", [5, 65, 200])
@pytest.mark.parametrize("least", [0.7, 0.98, 0.999])
def test_division_is_given_up_where_more_than_a_quarter_is_left(dimension: int, least: float) -> None:
    """By an estimate, so that it may be a little more; half is left of 200 dimensions at 0.98."""
    points = unit(np.random.default_rng(5).normal(size=(12_000, dimension)))
    share = compared(points, least) / 12_000**2
    assert share < 0.3 or share == 1


def test_some_points_that_are_all_the_same() -> None:
    """A placeholder that stands for a third of the cards is one cell, and spoils no others."""
    rng = np.random.default_rng(6)
    points = clustered(3000, 65, 0.02, rng)
    points[rng.permutation(3000)[:1000]] = points[0]
    assert missed(points, 0, 0.999) == 0
    assert compared(points, 0.999) < 1.3 * 1000**2


def test_the_same_each_time() -> None:
    points = clustered(2000, 20, 0.1, np.random.default_rng(7))
    first, second = (list(groups(points, 100, 0.98)) for _ in range(2))
    for (members, others), (again, others_again) in zip(first, second, strict=True):
        assert np.array_equal(members, again) and np.array_equal(others, others_again)
