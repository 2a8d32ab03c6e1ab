"""The evaluation of decisions: its reliability bins, how cards are divided, and a small run from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import card_picture

from cardrec import Embedder
from cardrec.image import load
from training.data import CardImage
from training.evaluate_decisions import divided, judge, opened, shots, table
from training.references import Source
from training.reliability import Bin, calibration_error, draw, reliability


def card(number: int) -> CardImage:
    return CardImage(f"cards/{number}", f"cards/{number}", np.ascontiguousarray(card_picture(number)[:, :, ::-1]))


@pytest.fixture(scope="module")
def source() -> Source:
    cards = [card(number) for number in range(24)]
    return Source("cards", cards, cards[:16], "cards")


def test_bins_of_a_perfect_and_of_a_wrong_confidence() -> None:
    said, right = np.array([0.05] * 20 + [0.95] * 20), np.array([False] * 19 + [True] + [True] * 19 + [False])
    bins = reliability(said, right, np.full(40, 1 / 40))
    assert [(round(confidence, 2), round(share, 2), count) for confidence, share, _, count in bins] == [
        (0.05, 0.05, 20),
        (0.95, 0.95, 20),
    ]
    assert calibration_error(bins) == pytest.approx(0, abs=1e-9)
    (only,) = reliability(np.full(10, 1.0), np.zeros(10, bool), np.full(10, 0.1))
    assert only == pytest.approx((1.0, 0.0, 1.0, 10))
    assert calibration_error([only]) == pytest.approx(1)


def test_the_error_weighs_photos() -> None:
    assert calibration_error([Bin(0.1, 0.0, 0.75, 3), Bin(0.9, 0.5, 0.25, 1)]) == pytest.approx(0.175)


def test_diagrams_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    diagrams = {f"{count} cards": [Bin(0.05, 0.02, 0.5, 40), Bin(0.95, 0.9, 0.5, 4)] for count in range(5)}
    assert draw(diagrams, tmp_path / "reliability.png")
    assert load(tmp_path / "reliability.png").size_wh[0] > 600


def test_strangers_are_in_no_catalog(source: Source) -> None:
    for size in (3, 8, 100):
        catalog, known, strangers = divided(source, size, 6)
        assert {one.face for one in strangers}.isdisjoint(one.face for one in catalog)
        assert {one.card_id for one in known} <= {one.card_id for one in catalog}
        assert len({one.card_id for one in catalog}) == len(catalog) <= size


def test_photos_are_shared_evenly(source: Source) -> None:
    taken = shots(source.cards[:3], 7)
    assert [(one.card_id, number) for one, number in taken][2:5] == [("cards/2", 0), ("cards/0", 1), ("cards/1", 1)]


@pytest.mark.parametrize("pictures", [False, True])
def test_a_small_run(source: Source, pictures: bool) -> None:
    catalog, known, strangers = divided(source, 6, 4)
    with Embedder() as embedder, opened(catalog, embedder, pictures=pictures) as recognizer:
        judged = judge(recognizer, shots(known, 4), shots(strangers, 4), "easy", map)
    assert (judged.cards, judged.known, judged.strangers, judged.wrong) == (6, 4, 4, 0)
    assert judged.accepted >= 0.5 and judged.auroc > 0.9 and 0 <= judged.error <= 0.5
    assert "| cards | 6 | easy, 4 + 4 |" in table([judged])
