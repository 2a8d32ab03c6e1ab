"""Cards that look the same, the whole way: the group is the answer, never one of them, however often it is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import card_picture, photo
from sightings import follow, sighting, told

from cardrec import Card, Catalog, Recognizer, reader
from cardrec.answer import by_scores, distinct, first_apart, told_apart, with_twins
from cardrec.decide import Calibration
from cardrec.embed import Embedder
from cardrec.encode import Encoder, encode_in_order
from cardrec.evidence import Evidence
from cardrec.reader import SURE, Sighting
from cardrec.types import ImageLike, Match

Item = tuple[str, ImageLike, dict[str, object]]
COPIES = tuple(f"copy-{n:02d}" for n in range(12))
CALIBRATION = Calibration(
    min_confidence=0.8, min_score=0.6, max_margin=0.2, bias=-8.0, score_weight=10.0, margin_weight=20.0
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> dict[str, Path]:
    """Eight cards, one of which is there under twelve ids, in twelve sets: with pictures and without."""
    folder = tmp_path_factory.mktemp("answers")
    items: list[Item] = [(f"c{seed}", card_picture(seed), {"set": "S"}) for seed in range(8) if seed != 3]
    items += [(card_id, card_picture(3), {"set": card_id[-2:]}) for card_id in COPIES]
    for name, pictures in (("plain", False), ("looking", True)):
        Catalog.build(folder / name, items, encoder=embedder, near=None, pictures=pictures)
    return {name: folder / name for name in ("plain", "looking")}


@pytest.fixture(scope="module", params=["plain", "looking"])
def recognizer(request: pytest.FixtureRequest, paths: dict[str, Path]) -> Recognizer:
    return Recognizer(paths[request.param])


def only(recognizer: Recognizer, picture: NDArray[np.uint8], **options: object) -> Card:
    (card,) = recognizer.identify(picture, **options).cards  # type: ignore[arg-type]
    return card


def ids(matches: tuple[Match, ...]) -> list[str]:
    return [match.card_id for match in matches]


@pytest.mark.parametrize("top_k", [1, 5, 40])
def test_a_group_is_named_whole(recognizer: Recognizer, top_k: int) -> None:
    card = only(recognizer, photo([card_picture(3)]), top_k=top_k)
    assert card.status == "ambiguous"
    assert sorted(ids(card.group)) == list(COPIES)
    assert card.group[0] == card.matches[0]
    assert len(card.matches) == min(top_k, 19)
    assert 1 / 13 < card.confidence <= 1 / 12
    assert sorted(card.matches[0].twins) == list(COPIES)
    assert [match.score for match in card.group] == pytest.approx([card.matches[0].score] * 12, abs=1e-6)
    assert sorted(str(match.meta["set"]) for match in card.group) == [card_id[-2:] for card_id in COPIES]


def test_a_filter_makes_groups_smaller(recognizer: Recognizer) -> None:
    picture = photo([card_picture(3)])
    card = only(recognizer, picture, where={"set": ["02", "07", "S"]}, top_k=2)
    assert card.status == "ambiguous"
    assert sorted(ids(card.group)) == ["copy-02", "copy-07"]
    alone = only(recognizer, picture, where={"set": ["07", "S"]})
    assert alone.match is not None
    assert (alone.match.card_id, alone.match.twins, ids(alone.group)) == ("copy-07", (), ["copy-07"])


def test_other_cards_are_named_as_before(recognizer: Recognizer) -> None:
    card = only(recognizer, photo([card_picture(1)]))
    assert card.match is not None
    assert (card.match.card_id, card.match.twins) == ("c1", ())


def test_upside_down_it_is_the_same_group(recognizer: Recognizer) -> None:
    turned = np.ascontiguousarray(photo([card_picture(3)])[::-1, ::-1])
    card = only(recognizer, turned)
    assert (card.status, sorted(ids(card.group))) == ("ambiguous", list(COPIES))


def test_what_is_surely_one_of_a_group_is_read_once(paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = encode_in_order

    def counted(encoder: Encoder, sightings: Sequence[Sighting], *rest: Any) -> None:
        read.append(len(sightings))
        original(encoder, sightings, *rest)

    monkeypatch.setattr(reader, "encode_in_order", counted)
    with Recognizer(paths["plain"]) as recognizer:
        assert only(recognizer, photo([card_picture(3)])).confidence * 12 >= SURE
    assert sum(read) == 1


def test_no_weight_of_the_lead_names_one_of_two(tmp_path: Path, embedder: Embedder) -> None:
    """What a calibration without close pairs learns: the score alone decides."""
    numbers = {"min_confidence": 0.8, "min_score": 0.5, "max_margin": 0.1}
    numbers |= {"bias": -20.0, "score_weight": 40.0, "margin_weight": 0.0}
    items: list[Item] = [(f"c{seed}", card_picture(seed % 3), {}) for seed in range(5)]
    Catalog.build(tmp_path / "c", items, encoder=embedder, near=None, calibration=numbers)
    with Recognizer(tmp_path / "c") as recognizer:
        card = only(recognizer, photo([card_picture(0)]))
        assert (card.status, ids(card.group)) == ("ambiguous", ["c0", "c3"])
        assert card.confidence == pytest.approx(0.5, abs=0.01)
        recognizer.catalog.remove(["c0"])
        assert only(recognizer, photo([card_picture(0)])).match is not None


def test_a_second_look_at_all_of_a_group_shares_equally(tmp_path: Path, embedder: Embedder) -> None:
    items: list[Item] = [(f"c{n}", card_picture(3 if n < 3 else n + 1), {}) for n in range(6)]
    Catalog.build(tmp_path / "c", items, encoder=embedder, near=None, pictures=True, calibration=None)
    with Recognizer(tmp_path / "c") as recognizer:
        card = only(recognizer, photo([card_picture(3)]))
    assert (card.status, ids(card.group)) == ("ambiguous", ["c0", "c1", "c2"])
    assert card.confidence == pytest.approx(1 / 3, abs=0.02)


def test_a_second_look_may_tell_twins_apart(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound so low that pictures with a difference count as twins: pixels show which it is."""
    monkeypatch.setattr("cardrec.duplicates.TWINS", 0.97)
    faces = [card_picture(3), card_picture(3)]
    cv2.circle(faces[1], (126, 100), 20, (255, 255, 255), -1)
    items: list[Item] = [(f"c{n}", face, {}) for n, face in enumerate([*faces, card_picture(1)])]
    Catalog.build(tmp_path / "c", items, encoder=embedder, near=None, pictures=True, calibration=None)
    with Recognizer(tmp_path / "c") as recognizer:
        assert recognizer.catalog.twins("c0") == ["c1"]
        card = only(recognizer, photo([faces[1]]))
        assert card.match is not None
        assert ids(card.group) == ["c1"]
        assert card.match.twins == ("c0", "c1")
    with Recognizer(tmp_path / "c", second_look=False) as recognizer:
        assert only(recognizer, photo([faces[1]])).status == "ambiguous"


# scores


def match(card_id: str, score: float, twins: tuple[str, ...] = ()) -> Match:
    return Match(card_id, score, 0, {}, twins)


PAIR = (match("a", 0.9, ("a", "b")), match("b", 0.9, ("a", "b")), match("c", 0.7), match("d", 0.6))


def test_the_lead_is_that_over_the_rest() -> None:
    plain = by_scores((match("a", 0.9), match("c", 0.7), match("d", 0.6)), CALIBRATION)
    answer = by_scores(PAIR, CALIBRATION)
    assert (plain.status, plain.confidence) == ("match", plain.chance)
    assert (answer.status, answer.chance) == ("ambiguous", plain.chance)
    assert answer.confidence == pytest.approx(plain.chance / 2)
    faint = by_scores((match("a", 0.3, ("a", "b")), match("b", 0.3, ("a", "b"))), CALIBRATION)
    assert faint.status == "unknown"
    assert by_scores((), CALIBRATION) == ((), "unknown", 0.0, 0.0)


def test_twins_count_as_one() -> None:
    assert told_apart(PAIR) == [PAIR[0], *PAIR[2:]]
    assert [len(first_apart(PAIR, count)) for count in (1, 2, 3, 9)] == [2, 3, 4, 4]
    assert told_apart(PAIR[2:]) == [*PAIR[2:]]


def test_a_group_has_those_that_no_search_fetched(tmp_path: Path) -> None:
    """A chain of twins, the ends of which are far from each other, and cards that are nearer than the far end."""
    degrees = np.radians([0, 2, 4, 6, 8, 10])
    chain = np.column_stack([np.cos(degrees), np.sin(degrees), 0 * degrees])
    others = [[np.cos(each), 0, np.sin(each)] for each in np.radians([5, 9])]
    names = [*"abcdef", "x", "y"]
    with Catalog.from_vectors(tmp_path / "c", names, [*chain, *others]) as catalog:
        state = catalog.snapshot()
        rows, scores = state.search(chain[0], 4)
        found = distinct(state, rows[0], scores[0], None)
        assert ids(found) == ["a", "b", "c", "x"]
        group = with_twins(state, found, 1, np.asarray(chain[0], np.float32), None)
        assert ids(group) == [*"abcdef"]
        assert [match.score for match in group] == pytest.approx(np.cos(degrees).tolist(), abs=1e-6)
        assert {match.twins for match in group} == {(*"abcdef",)}
        assert ids(with_twins(state, found, 4, np.asarray(chain[0], np.float32), None)) == ["a", "b", "c", "x", *"def"]


# evidence


def twins(*scores: float, group: int = 2, status: str = "ambiguous", confidence: float | None = None) -> Card:
    """A sighting of a group; the first few cards of it are among the matches."""
    names = tuple(f"t{n}" for n in range(group))
    matches = tuple(match(f"t{n}", score, names) for n, score in enumerate(scores))
    known = confidence if confidence is not None else 0.96 / group
    return replace(sighting("x", 300), matches=matches, status=status, confidence=known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "card",
    [
        twins(0.95, 0.949),
        twins(0.95, 0.90),
        twins(0.95),
        twins(0.95, group=12),
        twins(0.95, 0.94, 0.93, group=12),
        twins(0.95, status="unknown", confidence=0.3),
    ],
)
def test_a_hair_between_twins_never_adds_up(card: Card) -> None:
    evidence = Evidence()
    for _ in range(2000):
        evidence.add(card)
    names = card.matches[0].twins
    assert all(evidence.probability(name) <= 1 / len(names) + 1e-9 for name in names)
    assert len({evidence.probability(name) for name in names}) == 1
    assert sum(map(evidence.probability, names)) == pytest.approx(card.confidence * len(names), abs=1e-9)
    events = follow([[card]] * 300)
    assert told(events) == [("appeared", 1, None), ("left", 1, None)]


def test_a_second_look_at_twins_counts() -> None:
    doubtful, told_from = twins(0.95, 0.9501), twins(0.95, 0.9501, status="match", confidence=0.95)
    assert told(follow([[doubtful]] * 5 + [[told_from]] * 30))[1] == ("identified", 1, "t0")


def test_other_cards_still_lose_to_a_group() -> None:
    evidence = Evidence()
    for _ in range(10):
        evidence.add(replace(twins(0.95, 0.95), matches=(*twins(0.95, 0.95).matches, match("o", 0.9))))
    assert evidence.probability("o") < 0.02
