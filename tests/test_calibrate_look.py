"""How the second look's numbers are fitted: what is asked of each photo, the curves, and a small run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from printings import ARTWORKS, make_data, printing

from cardrec import Embedder
from cardrec.decide import LEAST_CONFIDENCE
from cardrec.second_look import LookCalibration
from training.calibrate_look import (
    Seen,
    _art,
    _Catalog,
    chances_of,
    fit,
    main,
    photographed,
    told,
    told_of_printings,
)
from training.data import CardImage


def card(name: str, language: str) -> CardImage:
    pixels = np.ascontiguousarray(printing(ARTWORKS[name], language)[:, :, ::-1])
    return CardImage(f"pocket-{language}/{name}", f"pocket-{language}/{name}", pixels)


def looks(count: int, seed: int = 1) -> list[Seen]:
    """Known cards look like their pictures and lead, strangers do neither; with some overlap.

    Compared at twice the side, a quarter of the lead means the same.
    """
    rng = np.random.default_rng(seed)
    seen = []
    for number in range(count):
        known = number % 2 == 0
        likeness, score = rng.normal((0.75, 0.93) if known else (0.25, 0.8), (0.12, 0.04))
        side = (80, 160)[number // 2 % 2]
        lead = abs(rng.normal(0, 0.03)) * (80 / side) ** 2
        right = known and bool(rng.random() < 1 / (1 + np.exp(-120 * lead * (side / 80) ** 2)))
        seen.append(Seen(float(likeness), float(score), lead, side, known, right, known))
    return seen


def test_a_stranger_is_looked_at_without_its_artwork_in_any_language() -> None:
    cards = [card(name, language) for name in ("A2-1", "A2-2", "A2-3") for language in ("en", "de")]
    with Embedder(color="rgb") as embedder:
        catalog = _Catalog(cards, embedder.encode([each.pixels for each in cards]))
        seen = photographed([cards[2], cards[4]], catalog, embedder, [False, True])
    assert [each.known for each in seen] == [True, False, True]
    for each in seen:
        assert each.right == each.possible == each.known
    assert min(seen[0].likeness, seen[2].likeness) > seen[1].likeness + 0.2
    assert min(seen[0].score, seen[2].score) > seen[1].score
    assert all(each.lead >= 0 for each in seen)


def test_artworks_are_named_without_the_language() -> None:
    assert _art(card("A2-1", "en")) == _art(card("A2-1", "de")) == "A2-1"
    other = CardImage("redemption/b", "redemption/a", np.zeros((1, 1, 3), np.uint8))
    assert _art(other) == "redemption/a"


def test_the_curves_and_thresholds_of_a_fit() -> None:
    seen, others = looks(3000), looks(3000, seed=2)
    numbers = fit(seen)
    assert numbers.likeness_weight > 0 and numbers.score_weight > 0
    assert numbers.lead_weight == pytest.approx(120, rel=0.25)  # what the leads were drawn by
    assert numbers.min_confidence == numbers.for_false_accepts(0.01).min_confidence >= LEAST_CONFIDENCE
    assert numbers.tail_scale > 0
    strangers = [chances_of(each, numbers) for each in others if not each.known]
    assert np.mean([picture >= numbers.min_picture for picture, _ in strangers]) == pytest.approx(0.1, abs=0.03)
    # The threshold without the floor, of which the shares are promised.
    for share in (0.1, 0.01):
        log_odds = numbers.tail_from + numbers.tail_scale * np.log(0.1 / share)
        accepted = np.mean([chance >= 1 / (1 + np.exp(-log_odds)) for _, chance in strangers])
        assert accepted == pytest.approx(share, rel=0.5)


def test_impossible_photos_are_not_fitted_on() -> None:
    """A known card that is not among the candidates says nothing about the curves."""
    seen = looks(600)
    lost = [Seen(0.1, 0.99, 0.2, 80, known=True, right=False, possible=False)] * 200
    assert fit(seen + lost) == fit(seen)


def test_what_is_told() -> None:
    seen = [
        *[Seen(0.9, 0.95, 0.2, 80, known=True, right=True, possible=True)] * 3,
        Seen(0.9, 0.95, 0.2, 80, known=True, right=False, possible=True),
        Seen(0.9, 0.95, 0.2, 80, known=False, right=False, possible=False),
        Seen(0.0, 0.60, 0.2, 80, known=False, right=False, possible=False),
    ]
    text = told(seen, LookCalibration())
    for part in ("4 known cards, 2 strangers", "printing first 75.0%", "accepted and right 75.0%", "and wrong 25.0%"):
        assert part in text
    assert "AUROC 0.7500" in text
    assert [line.split(":")[1] for line in text.splitlines()[1:]] == [
        " strangers accepted 50.0%, known and right 75.0%, known and wrong 25.0%"
    ] * 3
    assert [line.split(":")[0].strip() for line in text.splitlines()[1:]] == [
        f"asked for {share}%" for share in ("0.3", "1.0", "3.0")
    ]


def test_what_is_told_of_printings() -> None:
    sure, doubtful = (
        Seen(0.9, 0.95, 0.01, side, known=True, right=True, possible=True) for side in (320, 80)
    )  # the same lead over more pixels says more
    wrong = replace(sure, right=False)
    lines = told_of_printings(
        [sure, sure, wrong, sure, doubtful], replace(LookCalibration(), lead_weight=30.0)
    ).splitlines()
    assert lines == [
        "  80 pixels: 1 photos, printing first 100.0%, accepted and right 0.0%, accepted and wrong 0.0%",
        "  320 pixels: 4 photos, printing first 75.0%, accepted and right 75.0%, accepted and wrong 25.0%",
    ]


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--data", str(make_data(tmp_path)), "--count", "4"])
    printed = capsys.readouterr().out
    assert printed.startswith("LookCalibration(")
    assert printed.count("  reprints") == 2
    fitted, others = (line for line in printed.splitlines() if "known cards" in line)
    assert fitted.startswith("fitted on: ") and others.startswith("others: ")
    for line in (fitted, others):
        known, strangers = (int(word) for word in line.replace(",", "").split() if word.isdigit())
        assert known > 4 and 0 < strangers <= known  # four of Pocket, and some of the other game's 30 that are held out
