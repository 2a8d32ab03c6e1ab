"""Simulated clips, what counts as right in them, and the evaluation's report; on clips of a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import card_picture
from sightings import RATE, frame, sighting

from cardrec import Card, Catalog, Embedder, Recognizer, Tracker
from training.clip_scripts import FRAMES_PER_SECOND, SCRIPTS, Hand
from training.clips import make_clip
from training.data import CardImage
from training.evaluate_tracking import evaluate, plot, report
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


@pytest.mark.parametrize("kind", SCRIPTS)
def test_scripts(kind: str, faces: list[NDArray[np.uint8]]) -> None:
    for seed in range(20):
        script = SCRIPTS[kind](np.random.default_rng(seed), 6.0)
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


def test_cards_that_never_were_to_be_seen_do_not_count() -> None:
    truth = [sighting("a", 300), sighting("b", 500)]
    scores, _ = score_clip("x", ["a", "b"], [seen(n, truth[:1], truth, [True, False]) for n in range(5)], Tracker())
    assert [score.name for score in scores] == ["a"]


def test_the_evaluation_on_two_tiny_clips(cards: Cards, recognizer_of_faces: Recognizer, tmp_path: Path) -> None:
    scores, nobody, frames = evaluate(cards, recognizer_of_faces, 2, seed=4, seconds=SECONDS)
    assert frames == 2 * round(SECONDS * FRAMES_PER_SECOND)
    assert {score.kind for score in scores} == {"put down", "slide"}
    assert sum(score.right for score in scores) >= len(scores) - 1
    text = report(scores, nobody, frames, 2, len(cards.catalog))
    assert "| all | " in text
    assert "2 clips, 42 frames at 15 frames/s" in text
    assert plot(scores, tmp_path / "plot.png") == (tmp_path / "plot.png").exists()


def test_an_empty_report() -> None:
    text = report([CardScore("swap", "a")], 0, 0, 0, 0)
    assert "| swap | 1 | 0.0% | 0 | 1 | 0 | 0.00 | 0 of 0 | 0 / 0 |" in text
