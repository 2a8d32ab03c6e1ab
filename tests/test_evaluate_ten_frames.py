"""The evaluation of ten frames: a camera that is held, what counts, and a small run from end to end."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import card_picture
from sightings import frame, sighting

from cardrec import Embedder, Result, Tracker
from training.data import CardImage
from training.evaluate_decisions import divided, opened
from training.evaluate_ten_frames import FRAMES, Judged, correlation, hold, identities, judge, moments, others, table
from training.references import Source
from training.simulate import Moment, simulate_frame
from training.simulate_levels import LEVELS


def card(number: int) -> CardImage:
    return CardImage(f"cards/{number}", f"cards/{number}", np.ascontiguousarray(card_picture(number)[:, :, ::-1]))


def test_a_hand_wanders_and_does_not_jump() -> None:
    motions = [moment.motion_mm for moment in islice(moments(np.random.default_rng(3)), 200)]
    assert (motions[0] == np.eye(4)).all()
    for before, after in pairwise(motions):
        assert 0 < np.abs(after[:3, 3] - before[:3, 3]).max() < 30
        turned = np.degrees(np.arccos(np.clip((np.trace(after[:3, :3].T @ before[:3, :3]) - 1) / 2, -1, 1)))
        assert 0 < turned < 15
    assert all(motion[:3, :3] @ motion[:3, :3].T == pytest.approx(np.eye(3)) for motion in motions)


def test_a_camera_that_is_held_sees_one_scene() -> None:
    frames, again = hold(5, card(1)), hold(5, card(1))
    assert len(frames) == FRAMES
    assert all((one == other).all() for one, other in zip(frames, again, strict=True))
    means = np.array([each.mean(axis=(0, 1)) for each in frames])
    other = hold(6, card(1))[0].mean(axis=(0, 1))
    assert means.std(axis=0).max() < 0.5 * np.abs(other - means[0]).max(), "the light stays"
    assert all((one != other).any() for one, other in pairwise(frames))


def test_a_moment_moves_what_is_seen_and_nothing_else() -> None:
    still, moved = (
        simulate_frame([card(2).pixels], rng=np.random.default_rng(4), level="hard", moment=moment)
        for moment in islice(moments(np.random.default_rng(9)), 2)
    )
    alone = simulate_frame([card(2).pixels], rng=np.random.default_rng(4), level="hard")
    assert (still.quads_px == alone.quads_px).all(), "the first moment is where the camera was aimed"
    apart = np.abs(moved.quads_px - still.quads_px).max()
    assert 1 < apart < 200


def test_reflections_wander_over_the_card() -> None:
    """To the right by a third of the card: what was bright there is bright to the right of it."""

    def shot(shift_mm: float, glare: float) -> NDArray[np.float64]:
        moment = Moment(np.eye(4), np.array((shift_mm, 0.0)), np.random.default_rng(1))
        look = replace(LEVELS["hard"], glare=glare, tilt_deg=(0.0, 0.0), turn_deg=0.0)
        frame = simulate_frame([card(2).pixels], rng=np.random.default_rng(11), level=look, moment=moment)
        return np.asarray(frame.pixels.sum(axis=2), np.float64)

    assert (shot(0.0, 1.0) == shot(0.0, 1.0)).all()
    middles = []
    for shift_mm in (0.0, 20.0):
        shine = np.maximum(shot(shift_mm, 1.0) - shot(shift_mm, 0.0) - 60, 0).sum(axis=0)
        middles.append(float((shine * np.arange(len(shine))).sum() / shine.sum()))
    assert middles[1] > middles[0] + 5


def test_the_last_word_counts() -> None:
    wrong = [frame(n, [sighting("a", 300, taken_for="b", others=("a", "b"), confidence=0.97)]) for n in range(4)]
    right = [frame(n, [sighting("a", 300, others=("b",))]) for n in range(4, 30)]
    assert identities(wrong, Tracker()) == {"b": 3}
    named = identities(wrong + right, Tracker())
    assert set(named) == {"a"}
    assert named["a"] > 4
    assert (
        identities([frame(n, [sighting("s", 300, confidence=0.02, gap=0.004)]) for n in range(FRAMES)], Tracker()) == {}
    )


def test_the_table() -> None:
    text = table([Judged("cards", 1000, 50, 40, 49, 1, 2, [3] * 49, 0.875)])
    assert "| cards | 1,000 | 98.0 % (89.5-99.6) of 50 | 1 | 3 / 3 | 5.0 % (1.4-16.5) of 40 | 0.88 |" in text


def test_the_correlation_of_frames() -> None:
    def read(confidences: list[float]) -> list[Result]:
        return [frame(n, [sighting("a", 300, confidence=each)]) for n, each in enumerate(confidences)]

    assert correlation([read([0.2] * 5), read([0.9] * 5), [frame(0, [])]]) == pytest.approx(1)
    assert correlation([read([0.2, 0.9] * 5), read([0.9, 0.2] * 5)]) == pytest.approx(0)
    assert 0.1 < correlation([read([0.2, 0.5] * 5), read([0.5, 0.8] * 5)]) < 0.9


def test_constants_are_chosen_with_other_cards() -> None:
    cards = [card(number % 6) for number in range(6)]
    cards = [CardImage(f"cards/{n}", f"cards/{n}", cards[n % 6].pixels) for n in range(40)]
    source = Source("cards", cards, cards[:30], "cards")
    _, known, strangers = divided(source, 20, 5)
    asked = divided(others(source, 20, 5), 20, 5)
    assert len(asked[1]) == len(asked[2]) == 5
    assert {one.card_id for one in known + strangers}.isdisjoint(one.card_id for one in asked[1] + asked[2])


def test_a_small_run() -> None:
    cards = [card(number) for number in range(8)]
    with Embedder() as embedder, opened(cards[:6], embedder, pictures=False) as recognizer:
        judged = judge(recognizer, cards[:2], cards[6:7], 1, map)
    assert (judged.cards, judged.known, judged.strangers, judged.wrong, judged.named) == (6, 2, 1, 0, 0)
    assert judged.right == len(judged.frames) >= 1
    assert all(3 <= number <= FRAMES for number in judged.frames)
