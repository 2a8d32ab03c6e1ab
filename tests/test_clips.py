"""Simulated clips, what counts as right in them, and the evaluation's report; on clips of a second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import card_picture
from sightings import RATE, frame, sighting

from cardrec import Card, Catalog, Embedder, Recognizer, Tracker
from training import tracking_cards
from training.clip_scripts import FRAMES_PER_SECOND, SCRIPTS, Hand
from training.clips import make_clip
from training.data import CardImage
from training.evaluate_tracking import Outcome, evaluate, film, film_twins, plot, report, slowed
from training.harder_scripts import HARDER, TWINS
from training.references import Source
from training.tracking_cards import Cards
from training.tracking_scoring import CardScore, Seen, score_clip, tally

SECONDS = 1.4


@pytest.fixture(scope="module")
def faces() -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(card_picture(seed)[..., ::-1]) for seed in range(9)]


@pytest.fixture(scope="module")
def cards(faces: list[NDArray[np.uint8]]) -> Cards:
    images = [CardImage(f"t/c{n}", f"t/c{n}", pixels) for n, pixels in enumerate(faces)]
    return Cards(images[:8], images[:8], images[8:])


@pytest.fixture(scope="module")
def recognizer_of_faces(
    cards: Cards, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recognizer]:
    path = tmp_path_factory.mktemp("faces") / "faces.cardrec"
    vectors = embedder.encode([np.ascontiguousarray(card.pixels[..., ::-1]) for card in cards.catalog])
    with (
        Catalog.from_vectors(
            path,
            [card.face for card in cards.catalog],
            vectors,
            fingerprint=embedder.fingerprint,
            preprocessing_hash=embedder.preprocessing_hash,
        ) as catalog,
        Recognizer(catalog, max_cards=12) as opened,
    ):
        yield opened


@pytest.mark.parametrize("kind", [*SCRIPTS, *HARDER])
def test_scripts(kind: str, faces: list[NDArray[np.uint8]]) -> None:
    for seed in range(20):
        script = (SCRIPTS | HARDER)[kind](np.random.default_rng(seed), 6.0)
        assert 3 <= len(script.actors) <= 8
        assert max(actor.face for actor in script.actors) < len(faces)
        for actor in script.actors:
            times = [time for time, _ in actor.poses]
            assert times == sorted(times)
            assert actor.at(-1.0) == actor.poses[0][1]
            assert actor.at(99.0) == actor.poses[-1][1]


def test_clips_are_the_same_every_time(faces: list[NDArray[np.uint8]]) -> None:
    clip, again = (make_clip("cover", faces, rng=np.random.default_rng(3), seconds=0.2) for _ in range(2))
    for one, other in zip(clip.frames(), again.frames(), strict=True):
        assert (one.pixels == other.pixels).all()
        assert one.pixels.shape == (clip.size_wh[1], clip.size_wh[0], 3)
        assert one.quads_px.shape == (len(clip.faces), 4, 2)
    frames = list(clip.frames())
    assert len(frames) == clip.length == round(0.2 * FRAMES_PER_SECOND)
    assert (frames[0].pixels != frames[1].pixels).any(), "noise differs"


def test_what_is_to_be_seen(faces: list[NDArray[np.uint8]]) -> None:
    """A covered card isn't, a swapped one neither before nor after, and one that comes is once it is in the frame."""
    clip = make_clip("swap", faces, rng=np.random.default_rng(1), seconds=3.0)
    seen = np.stack([each.visible for each in clip.frames()])
    gone = int(np.flatnonzero([actor.ends_s < 3 for actor in clip.script.actors])[0])
    assert seen[0, gone] and not seen[-1, gone]
    assert not seen[0, -1] and seen[-1, -1]
    assert not (seen[:, gone] & seen[:, -1]).any()
    coming = make_clip("put down", faces, rng=np.random.default_rng(1), seconds=1.5)
    arrives = np.stack([each.visible for each in coming.frames()])
    assert not arrives[0].any()
    assert arrives[:, 0].any()


def test_a_hand_comes_and_goes() -> None:
    hand = Hand((10.0, 20.0), 1.0, 2.0, 0.5)
    assert not hand.there(0.2)
    assert hand.there(1.5)
    assert (hand.ends_mm(1.5)[0] == (10, 20)).all()
    assert np.linalg.norm(hand.ends_mm(0.6)[0] - (10, 20)) > 100


def seen(index: int, found: list[Card], truth: list[Card], visible: list[bool] | None = None) -> Seen:
    quads = np.stack([card.corners_px for card in truth])
    return Seen(index / RATE, frame(index, found), quads, np.asarray(visible or [True] * len(truth)))


def test_scoring_of_what_is_right() -> None:
    truth = [sighting("a", 300), sighting("a", 420), sighting("s", 700)]
    found = [*truth[:2], sighting("s", 700, confidence=0.01, gap=0.002)]
    scores, nobody = score_clip("x", ["a", "a", None], [seen(n, found, truth) for n in range(10)], Tracker())
    assert nobody == 0
    assert [(score.right, score.wrong, score.missed, score.twice, score.switches) for score in scores] == [
        (True, False, False, 0, 0)
    ] * 3
    assert scores[0].frames_to_decision == 2
    assert scores[2].frames_to_decision is None
    sums = tally(scores)
    assert (sums.cards, sums.strangers, sums.accuracy, sums.decisions) == (2, 1, 1.0, (2, 2))


def test_scoring_of_what_is_wrong() -> None:
    truth = [sighting("a", 300), sighting("b", 500), sighting("c", 700)]
    wrong = sighting("b", 500, taken_for="z")
    frames = [seen(n, [truth[0], wrong], truth) for n in range(8)]
    frames += [seen(n, [sighting("q", 900, 600), wrong], truth) for n in range(8, 60)]
    frames += [seen(n, [truth[0], wrong], truth) for n in range(60, 70)]
    scores, nobody = score_clip("x", ["a", "b", "c"], frames, Tracker())
    assert nobody == 1, "q is on no card"
    a, b, c = scores
    assert (a.named, a.twice, a.switches) == (["a", "a"], 1, 1), "it was unseen for too long"
    assert (b.wrong, b.missed, b.right) == (True, True, False)
    assert (c.wrong, c.missed, c.right) == (False, True, False)
    found = tally(scores)
    assert (found.right, found.wrong, found.missed, found.twice, found.switches) == (1, 1, 2, 1, 1)
    assert found.switches_of_fifty == pytest.approx(50 / 3)


def test_copies_that_changed_places_unseen_are_two_cards() -> None:
    """Nobody can tell which is which: their tracks are switched, but neither copy is counted twice, nor missed."""
    left, right = sighting("a", 300), sighting("a", 420)
    frames = [seen(n, [left, right], [left, right]) for n in range(10)]
    frames += [seen(n, [left, right], [right, left]) for n in range(10, 15)]
    frames += [seen(n, [left], [right, left], [False, True]) for n in range(15, 30)]
    scores, _ = score_clip("x", ["a", "a"], frames, Tracker())
    assert [(score.right, score.twice, score.missed, score.switches) for score in scores] == [(True, 0, False, 1)] * 2


def test_cards_that_never_were_to_be_seen_do_not_count() -> None:
    truth = [sighting("a", 300), sighting("b", 500)]
    scores, _ = score_clip("x", ["a", "b"], [seen(n, truth[:1], truth, [True, False]) for n in range(5)], Tracker())
    assert [score.name for score in scores] == ["a"]


def test_the_evaluation_on_two_tiny_clips(cards: Cards, recognizer_of_faces: Recognizer, tmp_path: Path) -> None:
    outcome, slow = evaluate(film(cards, list(SCRIPTS), 2, seed=4, seconds=SECONDS), recognizer_of_faces, [5.0])
    assert outcome.clips == 2
    assert outcome.frames == slow.frames == 2 * round(SECONDS * FRAMES_PER_SECOND)
    assert outcome.dropped == 0 < slow.dropped < slow.frames
    assert {score.kind for score in outcome.scores} == {"put down", "slide"}
    assert sum(score.right for score in outcome.scores) >= len(outcome.scores) - 1
    assert "42 of them dropped" not in report(outcome, len(cards.catalog))
    text = report(slow, len(cards.catalog))
    assert "| all | " in text
    assert f"2 clips, 42 frames at 15 frames/s, {slow.dropped} of them dropped" in text
    assert plot(outcome.scores, tmp_path / "plot.png") == (tmp_path / "plot.png").exists()


def test_an_empty_report() -> None:
    text = report(Outcome([CardScore("swap", "a")]), 0)
    assert "| swap | 1 | 0.0% (0.0-79.3) | 0 | 1 | 0 | 0.00 | 0 of 0 | 0 / 0 |" in text


def test_a_slow_device_drops_frames_in_bursts() -> None:
    truth = [sighting("a", 300)]
    frames = [seen(n, truth, truth) for n in range(3000)]
    slow = slowed(frames, 5.0, np.random.default_rng(1))
    read = np.array([each.time_s for each in slow if not each.dropped])
    assert [each.time_s for each in slow] == [each.time_s for each in frames]
    assert not slow[0].dropped
    assert 3.8 < len(read) / 200 < 5, "each takes 0.2 s in the mean, and until the next frame"
    assert np.diff(read).max() > 0.8
    assert np.diff(read).min() == pytest.approx(1 / RATE)
    again = slowed(frames, 5.0, np.random.default_rng(1))
    assert [each.dropped for each in again] == [each.dropped for each in slow]


def test_dropped_frames_are_not_followed_but_count_as_time() -> None:
    truth = [sighting("a", 300)]
    wrong = [sighting("b", 300)]
    frames = [seen(n, truth if n % 3 == 2 else wrong, truth) for n in range(30)]
    frames = [replace(each, dropped=n % 3 != 2) for n, each in enumerate(frames)]
    (score,), _ = score_clip("x", ["a"], frames, Tracker())
    assert (score.right, score.frames_to_decision) == (True, 8), "the third frame that is read is the ninth"


def test_the_kinds_of_trouble(faces: list[NDArray[np.uint8]]) -> None:
    """What each harder script is for is really there."""
    rng = np.random.default_rng(2)
    exchange, flip, covered, pan, twins = (HARDER[kind](rng, 6.0) for kind in HARDER)
    first, second = exchange.actors[1:3]
    assert first.face == second.face
    assert first.at(99.0)[:2] == second.at(0.0)[:2] and second.at(99.0)[:2] == first.at(0.0)[:2]
    assert exchange.actors[3].face != first.face and exchange.actors[3].begins_s == second.ends_s
    turned = [flip.actors[0].face_up(time_s) for time_s in np.linspace(0, 6, 61)]
    assert turned[0] == turned[-1] == 1 and min(turned) == -1
    assert all(hand.leaves_s - hand.arrives_s > 1.9 for hand in covered.hands)
    ways = np.array([pan.panned(time_s) for time_s in np.arange(0, 6, 1 / FRAMES_PER_SECOND)])
    assert (ways[0] == 0).all() and (ways[-1] == 0).all()
    assert np.abs(np.diff(ways, axis=0)).max() > 0.03
    assert sorted(actor.face for actor in twins.actors) == [0, 1, 2]


def test_a_card_whose_back_is_up_is_not_to_be_seen(faces: list[NDArray[np.uint8]]) -> None:
    clip = make_clip("flip", faces, rng=np.random.default_rng(5), seconds=3.0)
    frames = list(clip.frames())
    down, up = clip.script.actors[0].face_down[0]
    flat = [clip.script.actors[0].face_up(each.time_s) > 0.95 for each in frames]
    assert [bool(each.visible[0]) for each in frames] == flat, "no hand is there"
    assert flat[0] and not all(flat)
    widths = np.array([np.linalg.norm(each.quads_px[0, 1] - each.quads_px[0, 0]) for each in frames])
    assert widths.min() < 0.5 * widths.max(), "it stands on edge meanwhile"
    back = min(frames, key=lambda each: abs(each.time_s - (down + min(up, 3.0)) / 2))
    x, y = back.quads_px[0].mean(axis=0).astype(int)
    here = np.s_[y - 8 : y + 8, x - 8 : x + 8]
    assert np.abs(back.pixels[here].astype(float) - frames[0].pixels[here]).mean() > 10, "and shows another picture"


def test_the_camera_of_a_clip_is_moved(faces: list[NDArray[np.uint8]]) -> None:
    clip = make_clip("pan", faces, rng=np.random.default_rng(5), seconds=2.0)
    quads = np.stack([each.quads_px for each in clip.frames()])
    assert np.abs(quads - quads[0]).max() > 0.04 * clip.size_wh[0], "the least that the script draws is 0.05, in x"
    moved = (quads - quads[0]).reshape(len(quads), -1, 2)
    assert moved.std(axis=1).max() < 0.5, "all cards alike"


def test_twins_are_filmed_as_two_printings_and_another(faces: list[NDArray[np.uint8]]) -> None:
    images = [CardImage(f"t/c{n}", f"t/c{n}", pixels) for n, pixels in enumerate(faces)]
    cards = Cards(images, images, [], twins=[(images[0], images[1]), (images[2], images[3])])
    for clip, names in film_twins(cards, 3, seed=2, seconds=0.5):
        assert clip.kind == TWINS
        by_face = dict(zip(clip.faces, names, strict=True))
        assert (by_face[0], by_face[1]) in {("t/c0", "t/c1"), ("t/c2", "t/c3")}
        assert by_face[2] not in (by_face[0], by_face[1])


def test_twins_are_of_faces_that_no_training_saw() -> None:
    images = {name: CardImage(f"{name}", f"{name}", np.zeros((8, 6, 3), np.uint8)) for name in ("en/1", "en/2", "de/1")}
    english = Source("en", [images["en/1"], images["en/2"]], [images["en/1"], images["en/2"]], "en")
    german = Source("de", [images["de/1"]], [images["de/1"]], "en")
    assert tracking_cards._twins([english, german]) == [(images["en/1"], images["de/1"])]
    assert tracking_cards._twins([english, Source("de", [images["de/1"]], [], "en")]) == []
