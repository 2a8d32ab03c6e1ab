"""The second look in the recognizer: printings, strangers, both ways up; and nothing changes where it is not taken."""

from __future__ import annotations

import math
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import Run
from damaged_catalog import SEGMENT, reseal_file
from numpy.typing import NDArray

from cardrec import Card, Catalog, Recognizer
from cardrec.compare import side_for
from cardrec.decide import LEAST_CONFIDENCE, TAIL
from cardrec.embed import Embedder
from cardrec.errors import InputError
from cardrec.image import load
from cardrec.second_look import KEPT, LookCalibration, SecondLook
from training.render import CardSpec, deck, render
from training.render_words import to_vx
from training.simulate import simulate_frame

Picture = NDArray[np.uint8]

SPECS = [spec for spec in deck(30, seed=3) if spec.language == "en"][:8]
KNOWN, STRANGERS = SPECS[:5], SPECS[5:]
NO_META: dict[str, object] = {}


def twin(spec: CardSpec) -> CardSpec:
    """The same card in the other language."""
    return replace(spec, card_id=f"{spec.card_id}-vx", language="vx", name=to_vx(spec.name))


def drawn(spec: CardSpec) -> Picture:
    """BGR, 320 high."""
    return np.asarray(cv2.cvtColor(render(spec, height_px=320), cv2.COLOR_RGB2BGR), np.uint8)


def photo(spec: CardSpec, seed: int = 0) -> Picture:
    rgb = render(spec, height_px=320)
    return simulate_frame([rgb], rng=np.random.default_rng(seed), level="easy", max_turn_deg=5.0).pixels


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> dict[str, Path]:
    """Five cards, each in two languages: a catalog with pictures, and one without."""
    folder = tmp_path_factory.mktemp("looks")
    items = [(spec.card_id, drawn(spec), NO_META) for card in KNOWN for spec in (card, twin(card))]
    for name, pictures in (("looking", True), ("plain", False)):
        Catalog.build(folder / name, items, encoder=embedder, near=None, pictures=pictures)
    return {name: folder / name for name in ("looking", "plain")}


@pytest.fixture(scope="module")
def looking(paths: dict[str, Path]) -> Recognizer:
    return Recognizer(Catalog.open(paths["looking"]))


def only(recognizer: Recognizer, frame: Picture, **options: int) -> Card:
    cards = recognizer.identify(frame, **options).cards  # type: ignore[arg-type]
    assert len(cards) == 1
    return cards[0]


def same(one: Card, other: Card) -> bool:
    return one.to_dict() == other.to_dict()


def test_the_exact_printing_comes_first(looking: Recognizer) -> None:
    for card in KNOWN:
        for spec in (card, twin(card)):
            found = only(looking, photo(spec))
            assert found.match is not None
            assert found.match.card_id == spec.card_id


@pytest.mark.parametrize("spec", STRANGERS, ids=lambda spec: spec.card_id)
def test_strangers_are_no_match(looking: Recognizer, spec: CardSpec) -> None:
    assert only(looking, photo(spec)).status != "match"


def test_upside_down(looking: Recognizer) -> None:
    frame = np.ascontiguousarray(photo(twin(KNOWN[0]))[::-1, ::-1])
    found = only(looking, frame)
    assert found.match is not None
    assert found.match.card_id == twin(KNOWN[0]).card_id
    top_left, _, bottom_right, _ = found.corners_px
    assert top_left[1] > bottom_right[1]


def test_without_pictures_nothing_changes(paths: dict[str, Path]) -> None:
    with Recognizer(paths["plain"]) as one, Recognizer(paths["plain"], second_look=False) as other:
        for seed, spec in enumerate((KNOWN[0], twin(KNOWN[1]), STRANGERS[0])):
            assert same(only(one, photo(spec, seed)), only(other, photo(spec, seed)))


def test_it_can_be_switched_off(paths: dict[str, Path]) -> None:
    with Recognizer(paths["plain"]) as plain, Recognizer(paths["looking"], second_look=False) as off:
        for seed, spec in enumerate((KNOWN[0], twin(KNOWN[1]), STRANGERS[0])):
            assert same(only(plain, photo(spec, seed)), only(off, photo(spec, seed)))


@pytest.mark.parametrize("top_k", [1, 2, 10])
def test_as_many_matches_as_asked_for(looking: Recognizer, top_k: int) -> None:
    found = only(looking, photo(twin(KNOWN[2])), top_k=top_k)
    assert len(found.matches) == top_k
    assert found.matches[0].card_id == twin(KNOWN[2]).card_id
    assert len({match.card_id for match in found.matches}) == top_k


def test_a_candidate_without_its_picture_ends_the_look(paths: dict[str, Path], tmp_path: Path) -> None:
    """What can't be seen can't be ruled out."""
    path = Path(shutil.copytree(paths["looking"], tmp_path / "some"))
    connection = sqlite3.connect(path / SEGMENT / "pictures.sqlite")
    connection.execute("DELETE FROM pictures WHERE row > 0")
    connection.commit()
    connection.close()
    reseal_file(path, "pictures.sqlite")
    with Recognizer(path) as some, Recognizer(paths["plain"]) as plain:
        frame = photo(KNOWN[0])
        assert same(only(some, frame), only(plain, frame))


def test_rows_that_change_their_number(paths: dict[str, Path], tmp_path: Path) -> None:
    path = Path(shutil.copytree(paths["looking"], tmp_path / "changing"))
    with Catalog.open(path) as catalog, Recognizer(catalog) as recognizer:
        for _ in range(2):
            found = only(recognizer, photo(twin(KNOWN[3])))
            assert found.match is not None
            assert found.match.card_id == twin(KNOWN[3]).card_id
            if KNOWN[0].card_id in catalog:
                catalog.remove([KNOWN[0].card_id])
                catalog.compact()


def test_a_catalog_of_one_card(tmp_path: Path, embedder: Embedder) -> None:
    Catalog.build(tmp_path / "one", [("a", drawn(KNOWN[0]), NO_META)], encoder=embedder, pictures=True)
    with Recognizer(tmp_path / "one") as recognizer:
        assert only(recognizer, photo(KNOWN[0])).status == "match"
        assert only(recognizer, photo(STRANGERS[0])).status != "match"


def test_tiny_and_given_outlines(looking: Recognizer) -> None:
    frame = photo(KNOWN[0])
    tiny = [[[100, 100], [108, 100], [108, 111], [100, 111]]]
    found = looking.identify(frame, quads=tiny).cards[0]
    assert found.status != "match"
    assert math.isfinite(found.confidence)


@pytest.mark.parametrize("color", ["nv12", "i420"])
def test_video_frames(paths: dict[str, Path], color: str) -> None:
    i420 = cv2.cvtColor(photo(twin(KNOWN[4])), cv2.COLOR_BGR2YUV_I420)
    frame = i420
    if color == "nv12":
        chroma = i420[720:].reshape(2, -1)
        frame = np.vstack([i420[:720], np.stack([chroma[0], chroma[1]], axis=1).reshape(360, 1280)])
    with Recognizer(paths["looking"], color=color) as recognizer:  # type: ignore[arg-type]
        found = only(recognizer, np.asarray(frame, np.uint8))
    assert found.match is not None
    assert found.match.card_id == twin(KNOWN[4]).card_id


def test_confidence_grows_with_likeness_score_lead_and_pixels() -> None:
    chances = LookCalibration().chances
    base = chances(0.5, 0.9, 0.001, 112)[1]
    assert chances(0.6, 0.9, 0.001, 112)[1] > base
    assert chances(0.5, 0.95, 0.001, 112)[1] > base
    assert chances(0.5, 0.9, 0.002, 112)[1] > base
    assert chances(0.5, 0.9, 0.001, 160)[1] > base
    assert chances(0.5, 0.9, 0.004, 112) == pytest.approx(chances(0.5, 0.9, 0.001, 224))  # four times the pixels
    assert chances(0.9, 0.99, 0.0, 320)[1] <= 0.5  # two equal printings
    assert chances(0.9, 0.99, math.inf, 80)[1] > 0.9


def test_fewer_false_accepts_are_asked_of_both_looks(paths: dict[str, Path]) -> None:
    numbers = LookCalibration()
    thresholds = [numbers.for_false_accepts(share).min_confidence for share in (TAIL, 0.03, 0.003, 0.0003)]
    assert thresholds == sorted(thresholds) and thresholds[0] == LEAST_CONFIDENCE
    assert numbers.for_false_accepts(0.01).min_confidence == pytest.approx(numbers.min_confidence, abs=5e-4)
    log_odds = numbers.tail_from + numbers.tail_scale * math.log(TAIL / 0.003)
    assert thresholds[2] == pytest.approx(1 / (1 + math.exp(-log_odds)))
    for wrong in (0.0, 0.2, math.nan):
        with pytest.raises(InputError, match="max_false_accept"):
            numbers.for_false_accepts(wrong)
    with Recognizer(paths["looking"], max_false_accept=0.003) as strict, Recognizer(paths["looking"]) as usual:
        decisions = [each._reader.second_look for each in (strict, usual)]
        assert [each is not None and each._calibration.min_confidence for each in decisions] == [
            thresholds[2],
            numbers.min_confidence,
        ]


def test_a_match_of_the_second_look_passes_its_threshold(looking: Recognizer) -> None:
    """The same comparison, with thresholds just below and just above what it gives."""
    frame, state = load(photo(twin(KNOWN[0]))), looking.catalog.snapshot()
    found = looking.identify(photo(twin(KNOWN[0]))).cards[0]
    answers = {}
    for least in (0.0, 1.0):
        look = SecondLook(replace(LookCalibration(), min_confidence=least))
        decided = look.decide(state, frame, found.corners_px, found.matches)
        assert decided is not None
        answers[least] = decided[1]
    assert answers == {0.0: "match", 1.0: "ambiguous"}


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0])
def test_the_side_that_was_compared_counts(looking: Recognizer, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = np.asarray(cv2.resize(photo(KNOWN[1]), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    found = looking.identify(frame).cards[0]
    sides: list[int] = []

    def chances(_: LookCalibration, *given: float) -> tuple[float, float]:
        sides.append(int(given[-1]))
        return 1.0, 1.0

    monkeypatch.setattr(LookCalibration, "chances", chances)
    SecondLook().decide(looking.catalog.snapshot(), load(frame), found.corners_px, found.matches)
    _, right, _, left = np.linalg.norm(found.corners_px - np.roll(found.corners_px, -1, axis=0), axis=1)
    assert sides == [side_for((right + left) / 2)]


def test_references_are_kept_within_bounds(looking: Recognizer) -> None:
    look = SecondLook()
    state = looking.catalog.snapshot()
    first = look._reference(state, 0)
    assert first is not None
    assert look._reference(state, 0) is first
    for number in range(KEPT + 1):
        look._references[(-1, number)] = None
    look._reference(state, 1)
    assert len(look._references) == KEPT


def test_pictures_kept_by_path(tmp_path: Path, embedder: Embedder, caplog: pytest.LogCaptureFixture) -> None:
    """They tell printings apart like copies; once a candidate's is gone, cards are decided as without pictures."""
    items = []
    for spec in (each for card in KNOWN for each in (card, twin(card))):
        items.append((spec.card_id, tmp_path / f"{spec.card_id}.png", NO_META))
        cv2.imwrite(str(items[-1][1]), drawn(spec))
    Catalog.build(tmp_path / "c", items, encoder=embedder, near=None, pictures="paths")
    frame = photo(twin(KNOWN[0]))
    with Recognizer(tmp_path / "c") as recognizer:
        found = only(recognizer, frame)
        assert found.match is not None
        assert found.match.card_id == twin(KNOWN[0]).card_id
    (tmp_path / f"{KNOWN[0].card_id}.png").unlink()
    with Recognizer(tmp_path / "c") as bereft, Recognizer(tmp_path / "c", second_look=False) as plain:
        for seed in range(3):
            frame = photo(twin(KNOWN[0]), seed)
            assert same(only(bereft, frame), only(plain, frame))
    assert len([record for record in caplog.records if "no second look" in record.getMessage()]) == 1


@pytest.mark.parametrize(("option", "kind"), [("--pictures", "webp"), ("--picture-paths", "paths")])
def test_the_command_line_keeps_pictures(run: Run, card_folder: Path, tmp_path: Path, option: str, kind: str) -> None:
    cards = Path(shutil.copytree(card_folder, tmp_path / "cards"))
    done = run("index", "build", option, cards, tmp_path / "c")
    assert done.exit_code == 0
    done = run("index", "append", cards, tmp_path / "c", "--on-duplicate", "keep-all", "--near", 0)
    assert done.exit_code == 0
    with Catalog.open(tmp_path / "c") as catalog:
        assert catalog.info()["pictures"] == [kind]
        assert catalog.picture(0) is not None and catalog.picture(len(catalog) - 1) is not None
    other = ("--pictures", "--picture-paths")[kind == "webp"]
    done = run("index", "append", cards, tmp_path / "c", "--on-duplicate", "keep-all", "--near", 0, other)
    assert done.exit_code == 0
    with Catalog.open(tmp_path / "c") as catalog:
        assert sorted(catalog.info()["pictures"]) == ["paths", "webp"]
    assert "warning" not in run("index", "verify", tmp_path / "c").stderr
    shutil.rmtree(cards)
    verified = run("index", "verify", tmp_path / "c")
    assert verified.exit_code == 0
    assert f"{8 if kind == 'webp' else 16} pictures are gone" in verified.stderr
