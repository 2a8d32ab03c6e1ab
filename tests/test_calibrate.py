"""A catalog's calibration from its own cards: the sample, the curve, the threshold that strangers rarely pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import card_picture, photo
from PIL import Image

from cardrec import Catalog, Embedder, InputError, Recognizer, calibrate
from cardrec.calibrate import CARDS, Sample, fit
from cardrec.captures import capture, drawn_error
from cardrec.decide import FALSE_ACCEPTS, LEAST_CONFIDENCE, TAIL, Calibration, decide
from cardrec.importer import Item

CAPTURES = calibrate.CAPTURES


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of eight cards, calibrated as users' are."""
    path = tmp_path_factory.mktemp("measured") / "cards.cardrec"
    with pytest.MonkeyPatch.context() as patch, Embedder() as embedder:
        patch.setattr(calibrate, "CAPTURES", CAPTURES)
        Catalog.build(path, [(f"c{seed}", as_rgb(card_picture(seed)), {}) for seed in range(8)], encoder=embedder)
    return path


def as_rgb(bgr: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(bgr[:, :, ::-1])


def pictures(count: int) -> list[tuple[str, Image.Image]]:
    coarse = np.random.default_rng(1).integers(0, 256, (count, 5, 4, 3), np.uint8)
    return [(f"card-{n}", Image.fromarray(each.repeat(8, axis=0).repeat(7, axis=1))) for n, each in enumerate(coarse)]


def test_the_sample_does_not_depend_on_the_order() -> None:
    cards = pictures(40)
    samples = []
    for order in (cards, cards[::-1]):
        sample = Sample(most=10)
        for card_id, image in order:
            sample.see(card_id, image)
        samples.append(sample)
    assert [kept.card_id for kept in samples[0].cards()] == [kept.card_id for kept in samples[1].cards()]
    assert len(samples[0]) == 10


def test_a_card_of_several_views_is_taken_once() -> None:
    sample = Sample()
    for card_id, image in pictures(3) * 3:
        sample.see(card_id, image)
    assert [kept.card_id for kept in sample.cards()] == ["card-0", "card-1", "card-2"]


def test_small_copies_stand_upright() -> None:
    sample = Sample()
    sample.see("wide", Image.new("RGB", (1000, 700), (10, 20, 30)))
    sample.see("array", np.full((2000, 1000, 3), (10, 20, 30), np.uint8))
    array, wide = sample.cards()
    assert (array.pixels.shape, array.is_array) == ((360, 180, 3), True)
    assert (wide.pixels.shape, wide.is_array) == ((360, 252, 3), False)
    assert wide.pixels[0, 0].tolist() == array.pixels[0, 0].tolist() == [10, 20, 30]


def test_a_sample_is_no_larger_than_it_should() -> None:
    sample = Sample()
    for card_id, image in pictures(CARDS + 20):
        sample.see(card_id, image)
    assert len(sample) == len(sample.cards()) == CARDS


def test_captures_are_seeded_and_differ() -> None:
    card = card_picture(1)
    shots = []
    for seed in (3, 3, 4):
        rng = np.random.default_rng(seed)
        shots.append(capture(card, 224, rng, drawn_error(rng, 1.0)))
    assert np.array_equal(shots[0], shots[1]) and not np.array_equal(shots[0], shots[2])
    assert shots[0].shape == (224, 224, 3) and shots[0].dtype == np.uint8


def drawn(
    known: float, outside: float, count: int = 4000
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Scores and leads of known cards and of strangers, about these means."""
    rng = np.random.default_rng(5)
    inside, stranger = rng.normal(known, 0.05, count), rng.normal(outside, 0.05, count)
    return inside, np.abs(rng.normal(0.2, 0.05, count)), stranger, np.abs(rng.normal(0.03, 0.02, count))


@pytest.mark.parametrize("asked", [0.1, 0.03, FALSE_ACCEPTS, 0.003])
def test_strangers_pass_as_often_as_asked_for(asked: float) -> None:
    score, margin, outside_score, outside_margin = drawn(0.85, 0.7)
    numbers = fit(score, margin, np.ones(len(score), bool), outside_score, outside_margin)
    calibration = Calibration.from_numbers(numbers).for_false_accepts(asked)
    accepted = [
        decide([best, best - lead], calibration)[0] == "match"
        for best, lead in zip(outside_score, outside_margin, strict=True)
    ]
    assert np.mean(accepted) <= 2.0 * asked
    safer = asked < FALSE_ACCEPTS or calibration.min_confidence == LEAST_CONFIDENCE
    assert safer or np.mean(accepted) >= 0.4 * asked


def test_confidence_is_a_probability() -> None:
    score, margin, outside_score, outside_margin = drawn(0.8, 0.72)
    numbers = fit(score, margin, np.ones(len(score), bool), outside_score, outside_margin)
    calibration = Calibration.from_numbers(numbers)
    said = [
        decide([best, best - lead], calibration)[1]
        for best, lead in zip(np.append(score, outside_score), np.append(margin, outside_margin), strict=True)
    ]
    right = np.arange(len(said)) < len(score)
    place = np.minimum((np.array(said) * 10).astype(int), 9)
    for tenth in np.unique(place):
        of = place == tenth
        if of.sum() > 200:
            assert np.mean(np.array(said)[of]) == pytest.approx(right[of].mean(), abs=0.08)


def test_few_cards_make_the_threshold_cautious() -> None:
    score, margin, outside_score, outside_margin = drawn(0.85, 0.6, count=100)
    arguments = score, margin, np.ones(100, bool), outside_score + 0.05 * np.repeat(np.arange(5), 20), outside_margin
    plain = fit(*arguments)
    few = fit(*arguments, np.repeat(np.arange(5), 20))
    assert few["min_confidence"] > plain["min_confidence"]
    assert few["bias"] == plain["bias"]


def test_a_hundred_cards_are_taken_at_their_word() -> None:
    score, margin, outside_score, outside_margin = drawn(0.85, 0.7, count=800)
    arguments = score, margin, np.ones(800, bool), outside_score, outside_margin
    plain = fit(*arguments)
    by_cards = [fit(*arguments, np.arange(800) % cards)["tail_from"] for cards in (8, 40, 100, 200)]
    assert by_cards[0] > by_cards[1] > by_cards[2] == by_cards[3] == plain["tail_from"]


def test_the_operating_point_is_chosen_by_its_meaning() -> None:
    numbers = {"min_confidence": 0.9, "min_score": 0.5, "max_margin": 0.1, "bias": -8, "score_weight": 10}
    numbers |= {"margin_weight": 5, "tail_from": 0.5, "tail_scale": 1.0}
    calibration = Calibration.from_numbers(numbers)
    thresholds = [calibration.for_false_accepts(share).min_confidence for share in (TAIL, 0.01, 0.001)]
    assert thresholds == sorted(thresholds) and thresholds[0] == LEAST_CONFIDENCE
    assert thresholds[1] == pytest.approx(1 / (1 + np.exp(-0.5 - np.log(10))))
    for wrong in (0.0, -0.1, 0.2, float("nan")):
        with pytest.raises(InputError, match="max_false_accept"):
            calibration.for_false_accepts(wrong)


def test_one_threshold_only_is_said(tmp_path: Path) -> None:
    with Embedder() as embedder:
        Catalog.build(tmp_path / "plain.cardrec", [("a", card_picture(1), {})], encoder=embedder, calibration=None)
    with pytest.raises(InputError, match="not calibrated on its own cards"):
        Recognizer(tmp_path / "plain.cardrec", max_false_accept=0.02)


def test_a_built_catalog_knows_its_cards_and_few_others(measured: Path) -> None:
    with Catalog.open(measured) as catalog, Recognizer(catalog, max_false_accept=0.01) as recognizer:
        assert catalog.calibration is not None and catalog.calibration["tail_scale"] > 0
        own = [recognizer.identify(photo([card_picture(seed)])).best for seed in range(8)]
        strangers = [recognizer.identify(photo([card_picture(seed)])).best for seed in range(20, 60)]
    assert [match.card_id if match else None for match in own] == [f"c{seed}" for seed in range(8)]
    # Eight drawings tell little of how much drawings differ: one in a hundred was asked for, one in twenty came.
    assert sum(match is not None for match in strangers) <= 4


def test_paper_and_patterns_are_unknown(measured: Path) -> None:
    paper = np.full((352, 252, 3), 245, np.uint8)
    back = np.tile(np.eye(22, dtype=np.uint8) * 200, (16, 12))[:352, :252]
    soft = np.dstack([np.asarray(cv2.GaussianBlur(back, (5, 5), 0), np.uint8)] * 3)
    with Recognizer(measured) as recognizer:
        for face in (paper, soft):
            quad = np.array([[[0, 0], [252, 0], [252, 352], [0, 352]]], np.float32)
            (card,) = recognizer.identify(face, quads=quad).cards
            assert (card.status, card.group) == ("unknown", ())


def test_twins_are_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "CAPTURES", CAPTURES)
    faces = {f"c{seed}": seed for seed in range(6)} | {"c3-again": 3}
    cards: list[Item] = [(name, card_picture(seed), {}) for name, seed in faces.items()]
    with Embedder() as embedder:
        Catalog.build(tmp_path / "twins.cardrec", cards, encoder=embedder)
    with Recognizer(tmp_path / "twins.cardrec") as recognizer:
        (card,) = recognizer.identify(photo([card_picture(3)])).cards
        assert card.status == "ambiguous" and {match.card_id for match in card.group} == {"c3", "c3-again"}
        assert sorted(card.to_dict()["group"]) == ["c3", "c3-again"]
        (alone,) = recognizer.identify(photo([card_picture(1)])).cards
    assert alone.status == "match" and [match.card_id for match in alone.group] == ["c1"]


def test_copies_do_not_spoil_the_calibration(tmp_path: Path, embedder: Embedder) -> None:
    """With every card there twice no photo has a lead over its copy, but its picture has one over the others."""
    cards: list[Item] = [(f"{name}{seed}", as_rgb(card_picture(seed)), {}) for seed in range(6) for name in "ab"]
    Catalog.build(tmp_path / "copies", cards, encoder=embedder, near=None)
    with Catalog.open(tmp_path / "copies") as catalog:
        assert catalog.calibration is not None
        calibration = Calibration.from_numbers(catalog.calibration)
    assert calibration.max_margin > 0.01 and calibration.margin_weight > 0
    assert decide([0.97, 0.6], calibration)[1] > 0.95


@pytest.mark.parametrize(
    ("scores", "cards", "alike"),
    [
        ([1.0, 0.95, 0.93, 0.7, 0.69], 100, 3),  # two other printings of its art
        ([1.0, 0.7, 0.69], 100, 1),
        ([1.0, 0.99, 0.7], 100, 2),  # nearly the same picture
        ([1.0, 0.985, 0.98, 0.97, 0.96], 100, 3),
        ([1.0, 0.95, 0.93, 0.91, 0.9], 100, 1),  # cards that share a frame
        ([1.0, 0.82, 0.5], 100, 1),  # stands out, and is another card
        ([1.0, 0.95, 0.93, 0.7], 8, 1),  # of eight cards three would be
        ([1.0, *[0.95] * 9, 0.7], 100, 1),
        ([1.0], 1, 1),
    ],
)
def test_other_printings_of_its_art_are_no_strangers(scores: list[float], cards: int, alike: int) -> None:
    assert calibrate._alike(np.array(scores, np.float32), cards) == alike


def test_a_card_is_left_out_with_its_reprints(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(64, 64)))[0].astype(np.float32)[:40]
    vectors = axes.copy()
    for row, (of, cosine) in {1: (0, 0.93), 2: (0, 0.9), 4: (3, 0.8)}.items():
        vectors[row] = cosine * axes[of] + np.sqrt(1 - cosine**2) * axes[row]
    Catalog.from_vectors(tmp_path / "c", [f"c{row}" for row in range(40)], vectors).close()
    with Catalog.open(tmp_path / "c") as catalog:
        assert calibrate._look_alikes(catalog.snapshot(), "c0") == {"c0", "c1", "c2"}
        assert calibrate._look_alikes(catalog.snapshot(), "c3") == {"c3"}
