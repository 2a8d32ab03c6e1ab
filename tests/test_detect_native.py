"""`cardrec._detect` against its NumPy twins, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import detector_oracle as oracle
import numpy as np
import pytest
from numpy.typing import NDArray

from cardrec import _detect
from cardrec.outlines import CHANNELS
from cardrec.quads import areas, side_lengths

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

SIZE_WH = 320, 200


def quads(count: int, seed: int = 0, bend: float = 0.04) -> Floats:
    """Outlines of cards at any turn, some beyond the frame's border."""
    rng = np.random.default_rng(seed)
    turns, sizes = rng.uniform(0, 2 * np.pi, count), rng.uniform(20, 160, (count, 1, 1))
    card = np.array([(-0.36, -0.5), (0.36, -0.5), (0.36, 0.5), (-0.36, 0.5)])
    corners = (card + rng.normal(0, bend, (count, 4, 2))) * sizes
    rotations = np.array([[np.cos(turns), np.sin(turns)], [-np.sin(turns), np.cos(turns)]]).transpose(2, 0, 1)
    return np.asarray(corners @ rotations + rng.uniform((0, 0), SIZE_WH, (count, 1, 2)), np.float32)


def picture(seed: int = 0) -> Picture:
    noise = np.random.default_rng(seed).integers(0, 256, (*SIZE_WH[::-1], 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray(cv2.normalize(blurred, blurred, 0, 255, cv2.NORM_MINMAX), np.uint8)


def test_soundness() -> None:
    good = quads(200)
    given = np.concatenate([good, good[:, ::-1], quads(200, bend=0.4), good * np.array([6, 1], np.float32)])
    given[3, 1], given[4, 0, 0] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        expected = oracle.sound(given)
        assert 100 < expected.sum() < 500
        assert np.array_equal(_detect.sound(given), expected)
    large = _detect.sound(good, 2000.0)
    assert np.array_equal(large, oracle.sound(good) & (areas(good) > 2000))


def test_how_far_corners_have_moved() -> None:
    before, rng = quads(200), np.random.default_rng(1)
    after = before + rng.normal(0, 3, before.shape).astype(np.float32)
    after = np.take_along_axis(after, oracle.TURNS[rng.integers(0, 4, len(after))][:, :, None], axis=1)
    np.testing.assert_allclose(_detect.moved(before, after), oracle.moved(before, after), rtol=1e-5)


def test_longest_sides() -> None:
    np.testing.assert_allclose(_detect.longest_sides(quads(50)), side_lengths(quads(50)).max(axis=1), rtol=1e-6)


@pytest.mark.parametrize("most", [3, 1000])
def test_which_outlines_are_the_same_card(most: int) -> None:
    crowd = quads(150)
    assert _detect.distinct(crowd, most) == oracle.distinct(crowd, most)
    assert _detect.distinct(crowd[:0], most) == []


def test_a_turned_outline_inside_another_is_the_same_card() -> None:
    (outer,) = quads(1)
    inner = outer.mean(axis=0) + (outer - outer.mean(axis=0)) * np.float32(0.7)
    for start in range(4):
        assert _detect.distinct(np.stack([outer, np.roll(inner, start, axis=0)]), 2) == [0]


@pytest.mark.parametrize("most", [2, 50])
@pytest.mark.parametrize("shape", [(9, 16), (18, 32), (1, 5)])
def test_proposals(shape: tuple[int, int], most: int) -> None:
    cells = np.random.default_rng(0).normal(0, 0.3, (CHANNELS, *shape)).astype(np.float32)
    cells[0] = 6 * cv2.GaussianBlur(cells[0], (0, 0), 1)
    cells[6:10] *= 0.3  # less bent: convex
    found, scores = _detect.propose(cells, 0.3, most)
    expected, expected_scores = oracle.propose(cells, 0.3, most)
    assert 0 < len(found) == len(expected) <= most
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)


def test_surroundings_and_corrections() -> None:
    given = quads(200)
    around = _detect.surroundings(given)
    np.testing.assert_allclose(around, oracle.surroundings(given), atol=1e-3)
    said = np.random.default_rng(0).normal(0, 0.2, (len(given), 13)).astype(np.float32)
    said[:, 9:] *= 50
    found, scores = _detect.corrected(around, said)
    expected, expected_scores = oracle.corrected(around, said)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-12)


LAYOUTS: dict[str, Callable[[Picture], Picture]] = {
    "packed": lambda pixels: pixels,
    "BGRA": lambda pixels: np.dstack([pixels, pixels[:, :, :1]]),
    "flipped colours": lambda pixels: np.ascontiguousarray(pixels[:, :, ::-1])[:, :, ::-1],
    "column-major": np.asfortranarray,
    "stepped": lambda pixels: np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)[::2, ::2],
    "flipped twice": lambda pixels: np.ascontiguousarray(pixels[::-1, ::-1])[::-1, ::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strips_of_any_layout(layout: str) -> None:
    pixels = picture()
    array, given = LAYOUTS[layout](pixels), quads(60)
    for swap_rb, rgb in ((True, pixels[:, :, ::-1]), (False, pixels)):
        found = _detect.strips(array, swap_rb, given)
        difference = np.abs(found.astype(int) - oracle.strips(rgb, given))
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3  # a half rounded the other way
    assert np.array_equal(found, _detect.strips(pixels, False, given))


def test_strips_of_grey() -> None:
    grey, given = picture()[:, :, 0], quads(60)
    three = _detect.strips(np.dstack([grey] * 3), False, given)
    for array in (grey, grey[:, :, None], np.ascontiguousarray(grey), np.ascontiguousarray(grey)[:, :, None]):
        assert np.array_equal(_detect.strips(array, False, given), three)


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 3), (5, 4), (7, 1)])
def test_strips_of_tiny_frames_stay_inside(size_wh: tuple[int, int]) -> None:
    """Every byte around the frame is 255, which must not be seen."""
    width, height = size_wh
    around = np.full((height + 8, width + 8, 3), 255, np.uint8)
    around[4:-4, 4:-4] = 7
    given = quads(40) * np.float32(0.05)
    assert (_detect.strips(around[4:-4, 4:-4], False, given) == 7).all()


def test_outlines_that_are_nowhere() -> None:
    """They are never asked for; but what is read lies in the frame."""
    for value in (np.nan, np.inf, 1e30, -1e30):
        given = np.full((1, 4, 2), value, np.float32)
        assert _detect.strips(picture(), False, given).shape == (4, 16, 32, 3)
        _detect.refined(picture(), given)


def test_sides() -> None:
    given = quads(100)
    said = np.random.default_rng(0).normal(0, 2, (4 * len(given), 8, 32)).astype(np.float32)
    np.testing.assert_allclose(_detect.with_sides(given, said), oracle.with_sides(given, said), atol=2e-3)


def test_refinement() -> None:
    """Nearly every outline is moved to the same place: of noise, some lines are equally strong but for rounding."""
    pixels, given = picture(), quads(200)
    away = np.abs(_detect.refined(pixels, given) - oracle.refined(pixels, given)).max(axis=(1, 2))
    assert np.mean(away < 2e-3) > 0.8
    assert not np.array_equal(_detect.refined(pixels, given), given)


def test_refinement_of_any_layout() -> None:
    pixels, given = picture(), quads(40)
    expected = _detect.refined(pixels, given)
    for make in LAYOUTS.values():
        away = np.abs(_detect.refined(make(pixels), given) - expected).max(axis=(1, 2))
        assert np.mean(away < 2e-3) > 0.9
    grey = np.ascontiguousarray(pixels[:, :, 0])
    assert np.array_equal(_detect.refined(grey, given), _detect.refined(np.dstack([grey] * 3), given))


def test_nothing_gives_nothing() -> None:
    none = np.zeros((0, 4, 2), np.float32)
    assert _detect.surroundings(none).shape == _detect.refined(picture(), none).shape == (0, 4, 2)
    assert _detect.corrected(none, np.zeros((0, 13), np.float32))[0].shape == (0, 4, 2)
    assert _detect.strips(picture(), True, none).shape == (0, 16, 32, 3)
    assert _detect.sound(none).shape == _detect.moved(none, none).shape == (0,)


REFUSED: dict[str, Callable[[], Any]] = {
    "quads": lambda: _detect.sound(np.zeros((4, 2), np.float32)),
    "others": lambda: _detect.moved(quads(2), quads(3)),
    "around": lambda: _detect.corrected(np.zeros((1, 4, 3), np.float32), np.zeros((1, 13), np.float32)),
    "said": lambda: _detect.corrected(quads(2), np.zeros((1, 13), np.float32)),
    "said: expected 1024": lambda: _detect.with_sides(quads(1), np.zeros((4, 8, 31), np.float32)),
    "cells": lambda: _detect.propose(np.zeros((11, 4, 4), np.float32), 0.5, 3),
    "least": lambda: _detect.propose(np.zeros((12, 4, 4), np.float32), 0.0, 3),
    "pixels": lambda: _detect.refined(np.zeros((4, 4, 2), np.uint8), quads(1)),
    "pixels: expected": lambda: _detect.strips(np.zeros((0, 4, 3), np.uint8), False, quads(1)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match=what):
        REFUSED[what]()
