"""The two networks' numbers and the quads they mean: exact both ways; one outline for each card."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cardrec import corners, outlines
from cardrec.quads import distinct, iou, sound
from training.corner_samples import crops_of, disturbed
from training.outline_targets import targets

Floats = NDArray[np.float32]

GRID_HW = (18, 32)


def card(centre: tuple[float, float], height: float, turn_deg: float, taper: float = 0.0) -> Floats:
    """A card's own corners, turned clockwise, its top side shortened and its bottom side lengthened by the taper."""
    x = np.array([-31.5 + taper, 31.5 - taper, 31.5 + taper, -31.5 - taper])
    y = np.array([-44.0, -44.0, 44.0, 44.0])
    cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
    return np.asarray(turned * height / 88 + centre, np.float32)


def cells_of(quads: list[Floats]) -> Floats:
    """What a perfect network would say."""
    wanted = targets(np.stack(quads), np.ones(len(quads), np.float32), GRID_HW)
    score = np.where(wanted.heat > 0, 8 * wanted.heat - 4, -8)
    return np.concatenate([score[None], wanted.outline]).astype(np.float32)


@pytest.mark.parametrize("turn_deg", [0, 1, 45, 89, 90, 91, 179, 180, 181, 270, 359])
@pytest.mark.parametrize("taper", [0.0, 4.0])
def test_an_outline_comes_back_from_its_cells(turn_deg: float, taper: float) -> None:
    quad = card((121, 70), 90, turn_deg, taper)
    found, scores = outlines.propose(cells_of([quad]), 0.5, 5)
    assert len(found) == 1
    assert np.abs(found[0] - quad).max() < 1e-3, "the card's own top comes first"
    assert scores[0] > 0.9


def test_the_numbers_do_not_depend_on_which_end_comes_first() -> None:
    quad = card((100, 60), 70, 33, 3.0)
    first, turned = (
        targets(each[None], np.ones(1, np.float32), GRID_HW).outline for each in (quad, quad[[2, 3, 0, 1]])
    )
    assert np.abs(first[:9] - turned[:9]).max() < 1e-5
    assert np.abs(first[9:] + turned[9:]).max() < 1e-5, "only the direction of the top differs"


def test_neighbours_stay_apart_and_doubles_are_one() -> None:
    row = [card((30 + 40 * n, 60), 54, 3 * n) for n in range(5)]
    found, _ = outlines.propose(cells_of(row), 0.5, 20)
    assert len(found) == 5
    assert all(max(iou(quad, each) for each in found) > 0.99 for quad in row)
    assert len(outlines.propose(cells_of(row), 0.5, 3)[0]) == 3
    assert distinct(np.stack([row[0], row[1], row[0] + np.float32(5)]), 5) == [0, 1]


def test_nothing_is_proposed_where_nothing_is_seen() -> None:
    found, scores = outlines.propose(np.full((outlines.CHANNELS, *GRID_HW), -9, np.float32), 0.1, 5)
    assert found.shape == (0, 4, 2) and scores.shape == (0,)


def test_hidden_and_tiny_cards_teach_nothing() -> None:
    quads = np.stack([card((60, 60), 80, 0), card((180, 60), 9, 0), card((180, 110), 60, 20)])
    wanted = targets(quads, np.array([0.4, 1.0, 1.0], np.float32), GRID_HW)
    assert wanted.weight.sum() == pytest.approx(1.0)
    assert wanted.counts[7, 7] == 0 and wanted.counts[13, 22] == 1
    assert wanted.heat[7, 7] == 0 and wanted.heat.max() == 1


def test_surroundings_hold_the_outline_inside() -> None:
    quads = np.stack([card((300, 200), 180, 20, 6.0), card((90, 80), 60, 200)])
    around = corners.surroundings(quads)
    assert sound(around).all()
    inner = np.broadcast_to(corners.INNER, quads.shape)
    assert np.abs(corners.projected(around, inner) - quads).max() < 1e-3


@pytest.mark.parametrize("start", range(4))
def test_corrections_lead_back_to_the_card(start: int) -> None:
    """What a perfect corner network would say of a disturbed outline, decoded, is the card from its own top left."""
    rng = np.random.default_rng(start)
    frame = rng.integers(0, 256, (288, 512, 3), dtype=np.uint8)
    quad = card((250, 140), 150, 17, 4.0)
    proposal = np.roll(disturbed(quad, rng), start, axis=0)
    (crop,) = crops_of(frame, proposal[None], quad[None], np.ones(1, np.float32), rng, 5)
    said = np.zeros((1, corners.CHANNELS), np.float32)
    said[0, :8], said[0, 8] = crop.offsets, 3.0
    said[0, 9 + crop.top_left] = 9.0
    found, scores = corners.decode(corners.surroundings(proposal[None]), said)
    assert crop.card == 1
    assert np.abs(found[0] - quad).max() < 0.02
    assert scores[0] == pytest.approx(0.953, abs=0.001)


def test_what_is_no_card_and_what_is_nearly_one() -> None:
    rng = np.random.default_rng(0)
    frame = np.zeros((288, 512, 3), np.uint8)
    quad = card((120, 140), 150, 0)
    elsewhere, near = card((380, 140), 150, 0), quad + np.float32(35)
    crops = crops_of(frame, np.stack([elsewhere, near]), quad[None], np.ones(1, np.float32), rng, 5)
    assert [crop.card for crop in crops] == [0], "between card and no card nothing is learned"
    assert crops_of(frame, quad[None], quad[None], np.full(1, 0.5, np.float32), rng, 5) == []


def test_soundness() -> None:
    good = card((100, 100), 80, 30)
    flat = np.array([[0, 0], [90, 0], [90, 2], [0, 2]], np.float32)
    bad = [good[::-1], good[[0, 2, 1, 3]], good * np.nan, good * 0, flat, np.where(good > 100, np.inf, good)]
    with np.errstate(invalid="ignore"):
        assert sound(np.stack([good, *bad]).astype(np.float32)).tolist() == [True] + [False] * len(bad)
