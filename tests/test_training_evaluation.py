"""The evaluation of an encoder: measures against counting by hand, what is searched, and the report from end to end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
from bundles import FLOATS
from numpy.typing import NDArray
from test_training_data import picture

from cardrec import Result
from cardrec.calibrate import RIDGE
from cardrec.decide import Calibration, decide
from cardrec.logistic import fit_logistic
from cardrec.model import BUNDLED, Model
from training import end_to_end, evaluate, evaluation_sheets, evaluation_tables, references, retrieval, robustness
from training.calibration import calibrate, confidence
from training.data import CardImage
from training.evaluate_frames import outcome
from training.evaluation_figures import rate
from training.methods import HASH, MODEL, Method, hash_vectors, open_methods, write_untrained
from training.queries import Asked, Condition, Examiner, photograph, thinned
from training.render import deck, render
from training.retrieval import Answers
from training.settings import read_settings

Floats = NDArray[np.float32]


def unit(rng: np.random.Generator, count: int, dimension: int = 6) -> Floats:
    vectors = rng.normal(0, 1, (count, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def test_wilson_interval_matches_published_values() -> None:
    # Newcombe 1998, table I, method 3: 81/263 -> 0.2553-0.3662; 0/20 -> 0-0.1611
    assert retrieval.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert retrieval.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_auroc_is_the_share_of_ordered_pairs_ties_being_half() -> None:
    rng = np.random.default_rng(0)
    inside, outside = (rng.integers(0, high, 60).astype(np.float32) for high in (9, 7))
    pairs = np.sign(inside[:, None] - outside[None, :]) / 2 + 0.5
    assert retrieval.auroc(inside, outside) == pytest.approx(pairs.mean())
    assert retrieval.auroc(inside[:1] * 0, outside[:1] * 0) == 0.5


def test_false_accepts_are_those_over_the_threshold_that_keeps_the_recall() -> None:
    inside = np.arange(1, 21, dtype=np.float32)
    assert retrieval.false_accepts_at(inside, np.array([0, 1, 2, 3], np.float32), 0.95) == 0.5  # from 2 up
    assert retrieval.false_accepts_at(inside, np.array([0, 1, 2, 3], np.float32), 1.0) == 0.75
    equal = np.full(10, 5, np.float32)
    assert retrieval.false_accepts_at(equal, equal, 0.95) == 1.0


def test_margin_is_over_another_face() -> None:
    similarity = np.array([[0.9, 0.85, 0.3]], np.float32)
    best, score, margin = retrieval.best_of_faces(similarity, np.array([7, 7, 8]))
    assert (best[0], score[0]) == (0, np.float32(0.9)) and margin[0] == pytest.approx(0.6)


def test_answers_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(1)
    rows, faces = unit(rng, 40), rng.integers(0, 12, 40)
    queries, truth = unit(rng, 25), rng.choice(faces, 25)
    given = retrieval.answer(queries, truth, rows, faces, np.zeros(25, bool))
    for place, (query, face) in enumerate(zip(queries, truth, strict=True)):
        scores = rows @ query
        order = np.argsort(-scores, kind="stable")
        wrong = [row for row in order if faces[row] != face]
        right = next(row for row in order if faces[row] == face)
        best = order[0]
        assert given.best[place] == best and given.right[place] == (faces[best] == face)
        assert given.rank[place] == 1 + sum(scores[row] > scores[right] for row in wrong)
        assert given.lead[place] == pytest.approx(scores[right] - scores[wrong[0]], abs=1e-6)
        assert given.outside_score[place] == pytest.approx(scores[wrong[0]], abs=1e-6)
        other = next(row for row in order if faces[row] != faces[best])
        assert given.margin[place] == pytest.approx(scores[best] - scores[other], abs=1e-6)


def test_equal_scores_are_ordered_by_the_lower_row() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    query, none = np.array([[1, 0]], np.float32), np.zeros(1, bool)
    ranks = [retrieval.answer(query, np.array([face]), rows, np.arange(3), none).rank[0] for face in range(3)]
    assert ranks == [1, 2, 3]


def test_cards_whose_twin_is_in_the_catalog_are_no_strangers() -> None:
    vectors = hash_vectors([picture(1), picture(2), picture(1), picture(3)])
    faces = np.array([0, 1, 2, 3])
    assert retrieval.twins(vectors, faces, np.arange(4)).tolist() == [True, False, True, False]
    assert retrieval.twins(vectors, np.array([0, 1, 0, 3]), np.arange(4)).tolist() == [False] * 4


def answers(inside: Floats, outside: Floats, *, margins: tuple[float, float] = (0.3, 0.05)) -> Answers:
    count = len(inside)
    return Answers(
        best=np.arange(count),
        rank=np.ones(count, np.int64),
        score=inside,
        margin=np.full(count, margins[0], np.float32),
        lead=np.full(count, margins[0], np.float32),
        outside_score=outside,
        outside_margin=np.full(count, margins[1], np.float32),
        twin=np.zeros(count, bool),
    )


def test_calibration_separates_what_can_be_separated() -> None:
    rng = np.random.default_rng(0)
    inside, outside = (rng.normal(mean, 0.05, 500).astype(np.float32) for mean in (0.85, 0.45))
    numbers = calibrate(answers(inside, outside))
    calibration = Calibration.from_numbers(numbers)
    known = [decide([score, score - 0.3], calibration)[0] for score in inside.tolist()]
    strangers = [decide([score, score - 0.05], calibration)[0] for score in outside.tolist()]
    assert known.count("match") > 480
    assert strangers.count("match") <= 6 and strangers.count("unknown") >= 440
    assert numbers["score_weight"] > 0 and 0.45 < numbers["min_score"] < 0.6


def test_confidence_is_that_of_decide() -> None:
    numbers = {"bias": -9.0, "score_weight": 8.0, "margin_weight": 20.0, "max_margin": 0.1}
    calibration = Calibration(min_confidence=0.5, min_score=0.5, **numbers)
    score, margin = np.array([0.9, 0.6, 0.8], np.float32), np.array([0.05, 0.02, 0.4], np.float32)
    told = [decide([s, s - m], calibration)[1] for s, m in zip(score.tolist(), margin.tolist(), strict=True)]
    assert confidence(score, margin, numbers) == pytest.approx(told, abs=1e-5)


def test_logistic_fit_recovers_the_curve() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (20000, 1))
    right = rng.random(20000) < 1 / (1 + np.exp(-(0.5 + 2 * x[:, 0])))
    design = np.column_stack([np.ones(len(x)), x])
    assert fit_logistic(design, right, ridge=RIDGE) == pytest.approx([0.5, 2.0], abs=0.1)


def test_pooled_halves_share_no_card() -> None:
    parts = [answers(np.arange(7, dtype=np.float32), np.zeros(7, np.float32)) for _ in range(2)]
    fit, report = (retrieval.pooled(parts, start, 2).best for start in (0, 1))
    assert fit.tolist() == [0, 2, 4, 6] * 2 and report.tolist() == [1, 3, 5] * 2


def test_a_share_comes_with_its_count_and_interval() -> None:
    share = rate(81, 263)
    assert (share["hits"], share["count"]) == (81, 263) and share["low"] < share["share"] < share["high"]


def test_a_cards_photo_depends_on_nothing_but_card_and_condition() -> None:
    card, other = CardImage("a/1", "a/1", picture(1)), CardImage("a/2", "a/2", picture(1))
    first = photograph(Condition("hard"), card)
    assert np.array_equal(first, photograph(Condition("hard"), card))
    assert not np.array_equal(first, photograph(Condition("hard"), other))
    assert not np.array_equal(first, photograph(Condition("hard", 0.03), card))


def test_a_smaller_card_keeps_less_detail() -> None:
    card = CardImage("a/1", "a/1", render(deck(1, seed=3)[0], height_px=320))
    large, small = (photograph(Condition("easy", 0.0, (height, height)), card) for height in (240.0, 60.0))
    detail = [cv2.Laplacian(crop, cv2.CV_32F).var() for crop in (large, small)]
    assert detail[1] < detail[0] / 4


@pytest.mark.parametrize("factor", robustness.FACTORS, ids=lambda factor: factor.name)
def test_every_factor_can_be_photographed_at_every_value_and_does_harm(factor: robustness.Factor) -> None:
    card = CardImage("a/1", "a/1", render(deck(1, seed=3)[0], height_px=320))
    crops = [photograph(factor.at(value), card) for value in factor.values]
    change = [float(np.abs(crop.astype(int) - crops[0]).mean()) for crop in crops]
    assert change[0] == 0 and min(change[1:]) > 0.5 and change[-1] > change[1]


def test_thinned_is_even_and_bounded() -> None:
    cards = [CardImage(f"a/{n}", f"a/{n}", picture(0)) for n in range(10)]
    assert [card.card_id for card in thinned(cards, 3)] == ["a/0", "a/3", "a/6"]
    assert len(thinned(cards, 20)) == 10


def result(status: str, *card_ids: str) -> Result:
    card = SimpleNamespace(status=status, matches=[SimpleNamespace(card_id=card_id) for card_id in card_ids])
    return cast("Result", SimpleNamespace(cards=[card]))


def test_outcomes_go_by_status_and_any_of_the_faces_ids() -> None:
    assert outcome(result("match", "a", "b"), {"a", "c"}) == "right"
    assert outcome(result("match", "b", "a"), {"a"}) == "wrong"
    assert outcome(result("ambiguous", "a", "b"), {"a"}) == "ambiguous, right first"
    assert outcome(result("ambiguous", "b", "a"), {"a"}) == "ambiguous, wrong first"
    assert outcome(result("unknown", "a", "b"), {"a"}) == "unknown"
    assert outcome(cast("Result", SimpleNamespace(cards=[])), {"a"}) == "no outline"


CARDS = 10
CONFIG_TEXT = """
held_out = 0.0
[[source]]
folder = "cards-en"
prefixes = ["S0", "S1"]
[[source]]
folder = "cards-vx"
prefixes = ["S0", "S1"]
measured = ["S5", "S6", "S7"]
split_as = "cards-en"
evaluate = false
[[source]]
folder = "nowhere"
evaluate = false
[[phase]]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten cards in two languages, and a config; the first two are trained on."""
    folder = tmp_path_factory.mktemp("data")
    for name, language in (("cards-en", "en"), ("cards-vx", "vx")):
        (folder / name).mkdir()
        for number, spec in enumerate(deck(CARDS, seed=77)):
            own = render(replace(spec, language=language), height_px=240)
            cv2.imwrite(str(folder / name / f"S{number}.png"), own[:, :, ::-1])
    (folder / "config.toml").write_text(CONFIG_TEXT)
    return folder


def examined(data: Path) -> list[references.Source]:
    return references.examined(read_settings(data / "config.toml"), data)


def hashing(asked: list[int]) -> Method:
    """The hash, which notes how many pictures it was asked for."""

    def encode(pictures: Sequence[NDArray[np.uint8]]) -> Floats:
        asked.append(len(pictures))
        return hash_vectors(pictures)

    return Method(HASH, "noted", encode)


def test_sources_tell_what_is_measured_and_whose_art_it_is(data: Path) -> None:
    english, other = examined(data)
    assert [card.card_id for card in english.queries] == [f"cards-en/S{n}" for n in range(2, CARDS)]
    assert [card.card_id for card in other.queries] == ["cards-vx/S5", "cards-vx/S6", "cards-vx/S7"]
    assert other.other_language and not english.other_language
    assert other.artwork(other.queries[0]) == english.artwork(english.cards[5])


def test_references_are_filled_up_and_encoded_once(data: Path, tmp_path: Path) -> None:
    sources = examined(data)
    asked: list[int] = []
    make = partial(references.make_references, sources, 14, [hashing(asked)], tmp_path)
    found = make()
    assert sum(asked) == 24 + 1 and len(found.card_ids) == 24 and found.catalog == 14  # and a blank for the dimension
    blocks = ["cards-en"] * 10 + ["rendered"] * 4 + ["cards-vx"] * 10
    assert [card_id.split("/")[0] for card_id in found.card_ids] == blocks
    asked.clear()
    again = make()
    assert asked == [1] and np.array_equal(again.vectors[HASH], found.vectors[HASH])
    assert np.array_equal(hash_vectors([found.picture(11)])[0], found.vectors[HASH][11])
    assert len(set(found.faces.tolist())) == 24 and np.array_equal(found.artworks[14:], found.artworks[:10])


def test_exact_printing_asks_for_the_language_and_art_for_either(data: Path, tmp_path: Path) -> None:
    sources = examined(data)
    found = references.make_references(sources, 0, [hashing([])], tmp_path)
    twisted = np.roll(found.vectors[HASH], CARDS, axis=0)  # each printing has its twin's vector
    swapped = replace(found, vectors={HASH: twisted})
    asked = Examiner([hashing([])], swapped).ask(sources[0].queries, Condition("easy"), printings=True)
    given = asked.answers[HASH]
    artwork = swapped.artworks[swapped.rows(asked.cards)]
    assert (swapped.artworks[given.best] == artwork).mean() > 0.8 and given.right.mean() < 0.3
    assert (given.lead < 0).mean() > 0.7


def test_strangers_are_not_known_and_no_reprints(data: Path, tmp_path: Path) -> None:
    sources = examined(data)
    found = references.make_references(sources, 0, [hashing([])], tmp_path)
    (one,) = end_to_end.plan(sources, found, 4)
    assert one.source == "cards-en" and 1 <= len(one.strangers) <= 2 and len(one.known) == 4
    assert not {card.face for card in one.strangers} & {card.face for card in one.known}


def test_untrained_network_is_seeded_and_gives_unit_vectors(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    floats = Model.load(FLOATS)
    first, again = (Model.load(write_untrained(floats, tmp_path / name)) for name in ("a", "b"))
    assert first.fingerprint == again.fingerprint != floats.fingerprint
    with pytest.raises(ValueError, match="is in integers; name the bundle in floats with --floats"):
        write_untrained(Model.load(), tmp_path / "c")
    with open_methods(BUNDLED, tmp_path, threads=1) as methods:
        assert [method.name for method in methods] == [MODEL, HASH]
    with open_methods(BUNDLED, tmp_path, floats=FLOATS, threads=1) as methods:
        cards = [picture(seed) for seed in range(6)]
        vectors = methods[2].encode(cards)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
        darker = methods[2].encode([(card * 0.95).astype(np.uint8) for card in cards])
        assert np.argmax(darker @ vectors.T, axis=1).tolist() == list(range(6))


def test_failures_show_each_card_once_the_worst_first(data: Path, tmp_path: Path) -> None:
    sources = examined(data)
    found = references.make_references(sources, 0, [hashing([])], tmp_path)
    cards = sources[0].queries[:4]
    right = answers(np.full(4, 0.8, np.float32), np.full(4, 0.9, np.float32))
    rank, leads = np.array([1, 2, 3, 2]), ((0.1, -0.4, -0.1, -0.2), (0.1, -0.1, -0.3, -0.2))
    wrong = [replace(right, rank=rank, lead=np.array(lead, np.float32)) for lead in leads]
    asked = [("cards-en", Asked(cards, Condition("easy"), {MODEL: each})) for each in wrong]
    drawn: list[int] = []
    tile = evaluation_sheets.tile

    def noted(asked: Asked, place: int, references: references.References) -> NDArray[np.uint8]:
        drawn.append(place)
        return tile(asked, place, references)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_sheets, "tile", noted)
        assert evaluation_sheets.failures(asked, found, tmp_path / "failures.jpg") == 3
    assert drawn == [1, 2, 3] and cv2.imread(str(tmp_path / "failures.jpg")) is not None
    none = [("cards-en", Asked(cards, Condition("easy"), {MODEL: right}))]
    assert evaluation_sheets.failures(none, found, tmp_path / "none.jpg") == 0
    assert not (tmp_path / "none.jpg").exists()


def test_report_from_end_to_end(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(BUNDLED, bundle)
    details = json.loads((bundle / "model.json").read_text()) | {"calibration": {}, "figures": {}}
    (bundle / "model.json").write_text(json.dumps(details))
    monkeypatch.setattr(robustness, "FACTORS", robustness.FACTORS[-1:])
    monkeypatch.setattr(evaluate, "PRINTING_HEIGHTS_PX", (120.0,))
    monkeypatch.setattr(evaluation_sheets, "draw", lambda *_: [])
    given = (
        f"{bundle} --floats {FLOATS} --data {data} --config {data}/config.toml --out {tmp_path} --count 8 "
        "--references 0 --processes 0"
    )
    evaluate.main([*given.split(), "--write"])

    found = json.loads((tmp_path / "report.json").read_text())
    assert (found["references"], found["references_with_printings"]) == (CARDS, 2 * CARDS)
    assert [(row["level"], row["corner_error"]) for row in found["retrieval"]][:3] == [
        ("easy", 0),
        ("easy", 0.01),
        ("easy", 0.03),
    ]
    assert all(row["queries"] == 8 and row["methods"]["model"]["top5"]["hits"] >= 7 for row in found["retrieval"])
    assert [row["value"] for row in found["robustness"]] == list(robustness.FACTORS[0].values)
    assert {row["cards"] for row in found["printings"]} == {"cards-en", "cards-vx"}
    for row in found["printings"]:
        assert row["methods"]["model"]["artwork"]["hits"] >= row["methods"]["model"]["exact"]["hits"]
    for row in found["end_to_end"]:
        assert sum(row["outcomes"].values()) == row["photos"] and row["references"] == CARDS - row["strangers"]
        assert row["methods"]["model"]["top1"]["hits"] <= row["photos"] - row["outcomes"].get("no outline", 0)
    text = (tmp_path / "report.md").read_text()
    assert all(f"## {title}" in text for title, _ in evaluation_tables.SECTIONS) and str(tmp_path) not in text
    model = Model.load(bundle)
    assert Calibration.from_numbers(model.calibration).min_confidence == found["calibration"]["min_confidence"]
    assert model.details["figures"]["top1"][0]["queries"] == 8
