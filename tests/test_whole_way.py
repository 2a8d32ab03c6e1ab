"""The comparison of whole ways: each method's pieces on drawn frames, what is counted, and a small run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import CARD_WH, card_picture, photo
from small_encoder import small_encoder

from benchmarks import whole_way, whole_way_report
from benchmarks.whole_way_contours import crop, find_quads, upright
from benchmarks.whole_way_frames import Job, Shot, bundled, shoot
from benchmarks.whole_way_methods import Answer, Method, Seen, cardrec_given, scanner
from benchmarks.whole_way_peers import (
    FloatNetwork,
    Floats,
    Hashes,
    best_by_cosine,
    hash_all,
    hashes,
    write_float_network,
)
from benchmarks.whole_way_scores import Tally, judge
from cardrec import Recognizer
from cardrec.backends.onnx import OnnxEncoder
from cardrec.encode import unit
from cardrec.model import Model
from cardrec.quads import iou
from cardrec.types import Timings
from training.data import CardImage
from training.methods import HASH
from training.phash import nearest, phash
from training.references import Source

SQUARE = np.array([(0, 0), (100, 0), (100, 140), (0, 140)], np.float32)


def rgb(seed: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(card_picture(seed)[:, :, ::-1])


def at(left: float, top: float = 0.0) -> NDArray[np.float32]:
    return SQUARE + np.array((left, top), np.float32)


def drawn_outline(turn_deg: float = 6.0) -> NDArray[np.float32]:
    """Where `pictures.photo` lays a single card."""
    height = 0.72 * 720
    half = np.array([height * CARD_WH[0] / CARD_WH[1], height]) / 2
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half) @ turn.T + (640, 360)
    return np.asarray(corners, np.float32)


def test_contours_find_a_card() -> None:
    (quad,) = find_quads(photo([card_picture(3)]), 1)
    assert iou(quad, drawn_outline()) > 0.95
    assert np.abs(quad - drawn_outline()).max() < 12, "from the card's own top left on"


def test_contours_find_several_cards_and_none_twice() -> None:
    quads = find_quads(photo([card_picture(seed) for seed in range(3)]), 18)
    middles = sorted(float(quad[:, 0].mean()) for quad in quads)
    assert middles == pytest.approx([1280 / 6, 640, 1280 * 5 / 6], abs=10)
    assert len(find_quads(photo([card_picture(seed) for seed in range(3)]), 2)) == 2


def test_contours_find_nothing_on_an_empty_table() -> None:
    assert find_quads(np.full((720, 1280, 3), 96, np.uint8), 1) == []


def test_corners_are_ordered_whatever_they_were() -> None:
    for start in range(4):
        for step in (1, -1):
            given = np.roll(SQUARE, start, axis=0)[::step]
            assert (upright(given) == SQUARE).all()
    landscape = upright(SQUARE[:, ::-1])
    assert np.linalg.norm(landscape[1] - landscape[0]) == 100, "a short side comes first"


def test_a_crop_shows_the_card() -> None:
    frame = photo([card_picture(3)])
    cut = crop(frame, drawn_outline())
    assert cut.shape[:2] == (518, 370)
    assert float((hashes([cut[:, :, ::-1]]) @ hashes([rgb(3)]).T)[0, 0]) > 0.8


@pytest.mark.parametrize("folded", [False, True])
def test_the_float_network_says_what_the_bundle_says(tmp_path: Path, *, folded: bool) -> None:
    model = small_encoder(tmp_path / "bundle", folded=folded)
    network = FloatNetwork(write_float_network(model.network, tmp_path / "floats.onnx"))
    square = np.random.default_rng(1).integers(0, 256, (224, 224, 3), np.uint8)
    encoder = OnnxEncoder(model, threads=1)
    with encoder.slot() as slot:
        slot.pixels[0] = square
        slot.submit(1)
        (wanted,) = unit(slot.wait())
    prepared = network.prepare(np.ascontiguousarray(square[:, :, ::-1]))
    assert prepared.shape == (1, 3, 224, 224) and prepared.dtype == np.float32
    assert -2.2 < prepared.min() < -1.7 < 2.0 < prepared.max() < 2.7, "ImageNet's normalisation"
    assert network.encode(prepared) == pytest.approx(wanted, abs=2e-6)


def test_a_catalogs_picture_in_landscape_is_turned(tmp_path: Path) -> None:
    model = small_encoder(tmp_path / "bundle")
    network = FloatNetwork(write_float_network(model.network, tmp_path / "floats.onnx"))
    lying = np.ascontiguousarray(np.rot90(rgb(2)))
    assert network.encode_all([lying, rgb(2)])[0] == pytest.approx(network.encode_all([rgb(2)])[0], abs=1e-6)
    assert (hash_all([lying]) == hash_all([rgb(2)])).all()


def test_hashes_are_searched_bit_by_bit() -> None:
    pictures = [rgb(seed) for seed in range(40)]
    known = hash_all(pictures)
    compared = Hashes(known)
    for seed in (0, 7, 39):
        vector = compared.encode(compared.prepare(crop(photo([card_picture(seed)]), drawn_outline())))
        row, score = compared.best(vector)
        assert row == nearest(vector[None] * 16, phash(pictures))[0] == seed
        assert score == pytest.approx(float(vector @ known[row]), abs=1e-6)
    row, score = compared.best(known[5])
    assert row == 5 and score == pytest.approx(1.0)


def test_without_usearch_the_search_says_that_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    rows = np.eye(6, 8, dtype=np.float32)
    name, best = best_by_cosine(rows)
    assert "NumPy" in name and best(rows[4]) == (4, 1.0)


def test_usearch_finds_the_row() -> None:
    pytest.importorskip("usearch", reason="of the extra `bench`")
    rows = np.random.default_rng(2).standard_normal((300, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    name, best = best_by_cosine(rows)
    assert name == "HNSW by usearch"
    row, score = best(rows[123])
    assert row == 123 and score == pytest.approx(1, abs=1e-5)


def test_what_becomes_of_a_frames_cards() -> None:
    right = (frozenset({"a", "a-again"}), frozenset({"b"}), frozenset({"c"}), frozenset({"d"}), frozenset[str]())
    shot = Shot(np.zeros((9, 9, 3), np.uint8), np.stack([at(200 * n) for n in range(5)]), right)
    inner = (at(200) - at(200).mean(axis=0)) * 0.6 + at(200).mean(axis=0)
    answers = [
        Answer(at(3), "a-again", 1.0),  # rightly named
        Answer(inner, "b", 0.5, named=False),  # comes first, by its picture alone
        Answer(at(401), "x", 1.0),  # wrongly named
        Answer(at(800), "a", 1.0),  # a stranger, named
        Answer(at(5), "a", 1.0),  # the first card once more
        Answer(at(0, 500), "z", 0.1, named=False),  # nowhere, and not named
    ]
    found = judge(shot, answers)
    assert (found.known, found.first, found.named, found.wrong, found.lost) == (4, 2, 1, 1, 1)
    assert (found.strangers, found.taken, found.elsewhere) == (1, 1, 1)
    nothing = judge(shot, [])
    assert (nothing.lost, nothing.taken, nothing.strangers) == (4, 0, 1)


def test_times_are_compared_frame_by_frame() -> None:
    shot = Shot(np.zeros((9, 9, 3), np.uint8), SQUARE[None], (frozenset({"a"}),))
    ours, theirs = Tally(), Tally()
    for number in range(11):
        slow = 10.0 if number % 2 else 1.0
        ours.add(judge(shot, [Answer(SQUARE, "a", 1.0)]), Timings(0, 0, 0, 0, slow))
        theirs.add(judge(shot, []), Timings(1, 2, 3, 4, 3 * slow))
    found = theirs.figures(ours)
    assert found["ratio"] == 3.0 and found["p50_ms"]["ms"] == 3.0 and found["stages_ms"]["encode_ms"] == 3.0
    assert found["p50_ms"]["low"] <= 3.0 <= found["p50_ms"]["high"] <= found["p95_ms"]["ms"] == 30.0
    assert found["first_share"]["share"] == 0 and found["taken_share"] is None
    assert ours.figures(ours)["first_share"]["share"] == 1 and 0.7 < ours.figures(ours)["first_share"]["low"] < 0.8


def test_every_method_is_asked_for_every_frame_and_none_is_always_first() -> None:
    asked: list[str] = []

    def method(name: str) -> Method:
        def way(frame: NDArray[np.uint8], most: int) -> Seen:
            asked.append(name)
            return Seen([], Timings(0, 0, 0, 0, 1))

        return Method(way, {name: None})

    shot = Shot(np.zeros((9, 9, 3), np.uint8), SQUARE[None], (frozenset({"a"}),))
    tallies = whole_way.measure([method(name) for name in "pqr"], (("group", 1, shot) for _ in range(3)))
    assert asked[:3] == ["p", "q", "r"], "not counted"
    assert asked[3:] == list("pqrqrprpq")
    assert {len(tally.total_ms) for tally in tallies["group"].values()} == {3}


def test_a_frame_is_the_same_from_its_file(tmp_path: Path) -> None:
    cards = tuple(CardImage(f"cards/{n}", f"cards/{n}", rgb(n)) for n in range(2))
    job = Job("easy, several cards", 4, "easy", cards, (frozenset({"x"}), frozenset({"y"})), 18)
    first, again = shoot(tmp_path, job), shoot(tmp_path, job)
    assert first.pixels.shape == (720, 1280, 3) and (first.pixels == again.pixels).all()
    assert first.right == again.right and set(first.right) == {frozenset({"x"}), frozenset({"y"})}
    assert len(list(tmp_path.iterdir())) == 1 and (first.quads_px == again.quads_px).all()


def test_the_bundled_photos() -> None:
    shots = bundled(["qua-021"])
    assert sum(len(shot.right) for shot in shots) == sum(len(shot.quads_px) for shot in shots) == 13
    assert [right for shot in shots for right in shot.right if right] == [frozenset({"qua-021"})]


def small_ground(tmp_path: Path) -> tuple[whole_way.Ground, FloatNetwork]:
    cards = [CardImage(f"cards/{n}", f"cards/{n}", rgb(n)) for n in range(18)]
    network = write_float_network(Model.load(floats_bundle()).network, tmp_path / "floats.onnx")
    options = argparse.Namespace(out=tmp_path, references=0, count=4)
    made = whole_way.vectorisers(network)
    return whole_way.ground([Source("cards", cards, cards[:9], "cards")], made, options, map), FloatNetwork(network)


def floats_bundle() -> Path:
    return next(folder for folder in reversed(whole_way.BUNDLES) if folder.exists())


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[whole_way.Ground, dict[str, dict[str, Tally]]]:
    """All methods on a few frames of drawn cards."""
    on, network = small_ground(tmp_path_factory.mktemp("whole-way"))
    vectors = {name: on.references.vectors[name][on.kept] for name in (whole_way.FLOATS, HASH)}
    ids = [on.references.card_ids[row] for row in on.kept]
    with whole_way.open_catalog(Model.load(), on) as catalog, Recognizer(catalog, threads=1) as recognizer:
        ways, _ = whole_way.ways_of(recognizer, network, vectors, ids)
        limits = whole_way.limits_of(ways, on)
        assert set(limits) == {whole_way.FIXED, *ways} - {whole_way.OURS, *whole_way.OWN_DECISION}
        return on, whole_way.measure(whole_way.methods_of(ways, limits), whole_way.simulated(on))


def test_strangers_are_in_no_catalog(small_run: tuple[whole_way.Ground, dict[str, dict[str, Tally]]]) -> None:
    on, _ = small_run
    ids = {on.references.card_ids[row] for row in on.kept}
    strangers = [job for job in on.jobs if "stranger" in job.group]
    assert strangers and ids.isdisjoint(job.cards[0].card_id for job in strangers)
    assert all(job.right == (frozenset(),) for job in strangers)
    known = [job for job in on.jobs if "stranger" not in job.group]
    assert all(right and right <= ids for job in known for right in job.right)
    photographed = {card.card_id for job in on.jobs for card in job.cards}
    tuning = {card.card_id for job in on.tuning for card in job.cards}
    assert tuning and photographed.isdisjoint(tuning) and ids.isdisjoint(tuning)


def test_a_small_run(tmp_path: Path, small_run: tuple[whole_way.Ground, dict[str, dict[str, Tally]]]) -> None:
    on, tallies = small_run
    found = whole_way.figures(tallies)
    easy = found["easy, one card"]
    assert easy[whole_way.OURS]["known"] == 4 and easy[whole_way.OURS]["first"] >= 3
    assert easy[f"{whole_way.EARLIER}, cardrec's outlines"]["first"] >= 3
    assert easy[f"{whole_way.SCANNER}, cardrec's outlines"]["first"] >= 3
    assert all(len(methods) == 7 for methods in found.values())
    about = {"machine": {"cores": "2"}, "date": "today", "command": "command", "cards": len(on.kept), "model": "third"}
    about |= {"search": "a search", "thresholds": {"floats": 0.9}, "tuning": len(on.tuning)}
    whole_way_report.write(json.loads(json.dumps({"about": about, "groups": found})), tmp_path)
    text = (tmp_path / "whole_way.md").read_text()
    assert text.count("| hard, one card (4) | cardrec |") == 2 and "stranger" in text


def test_outlines_of_one_and_names_of_the_other(recognizer: Recognizer, sample_photo: Path) -> None:
    import cv2

    frame = np.asarray(cv2.imread(str(sample_photo)), np.uint8)
    nothing = cardrec_given(recognizer, lambda *_: [])(frame, 1)
    assert nothing.answers == []
    (answer,) = cardrec_given(recognizer, find_quads)(frame, 1).answers
    assert answer.card_id == "qua-021" and answer.named
    known = hash_all([rgb(1)])
    seen = scanner(find_quads, Hashes(known), ["c1"])(frame, 1)
    assert seen.answers[0].card_id == "c1" and seen.answers[0].score < 0.9
    readings = dict(Method(lambda *_: seen, {"as it is": None, "strict": 0.9, "lax": -1.0}).read(seen))
    assert [readings[name][0].named for name in ("as it is", "strict", "lax")] == [True, False, True]


def test_a_scanners_stages_add_up(tmp_path: Path) -> None:
    model = small_encoder(tmp_path / "bundle")
    network = FloatNetwork(write_float_network(model.network, tmp_path / "floats.onnx"))
    rows = network.encode_all([rgb(seed) for seed in range(4)])
    way = scanner(find_quads, Floats(network, best_by_cosine(rows)[1]), list("abcd"))
    seen = way(photo([card_picture(2)]), 1)
    assert [answer.named for answer in seen.answers] == [True]
    spent = seen.timings
    parts = spent.detect_ms + spent.rectify_ms + spent.encode_ms + spent.search_ms
    assert 0.8 * spent.total_ms < parts <= spent.total_ms
    assert min(spent.detect_ms, spent.rectify_ms, spent.encode_ms, spent.search_ms) > 0
