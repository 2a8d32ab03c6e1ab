"""Tracks: cards that cross, lie side by side, vanish for a while, are swapped or read wrongly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from sightings import RATE, follow, frame, sighting, told

from cardrec.associate import Place, nearness, pair
from cardrec.decide import Calibration
from cardrec.errors import InputError
from cardrec.evidence import HORIZON, Evidence, declared_from
from cardrec.track import CONFIRMED, PATIENCE_S, Tracker
from cardrec.trail import LEAD
from cardrec.types import Card, Match

LONG = round(PATIENCE_S * RATE) + 2
"""Frames after which a card has left."""


def test_a_card_appears_is_identified_and_leaves() -> None:
    events = follow([[]] * 4 + [[sighting("a", 300)]] * 10 + [[]] * LONG)
    assert told(events) == [("appeared", 1, "a"), ("identified", 1, "a"), ("left", 1, "a")]
    appeared, identified, left = events
    assert appeared.index == identified.index == 4 + CONFIRMED - 1
    assert identified.latency_s == pytest.approx((CONFIRMED - 1) / RATE)
    assert left.latency_s > PATIENCE_S
    assert left.track.frames == 10
    assert left.track.first_s == pytest.approx(4 / RATE)
    assert left.track.last_s == pytest.approx(13 / RATE)
    assert left.track.confidence > 0.98


def test_events_as_json() -> None:
    events = [event.to_dict() for event in follow([[sighting("a", 300)]] * 5)]
    assert json.loads(json.dumps(events, allow_nan=False)) == events
    assert [event["event"] for event in events] == ["appeared", "identified", "left"]
    track = events[-1]["track"]
    assert (track["id"], track["card_id"], track["meta"], track["frames"]) == (1, "a", {"name": "A"}, 5)
    assert track["corners_px"][0] == [250.0, 130.0]


def test_two_copies_side_by_side_stay_two() -> None:
    frames = [[sighting("a", 300), sighting("a", 405)] for _ in range(20)]
    # The detector gives them in any order, and one is missing now and then.
    frames = [cards[:: 1 if n % 2 else -1] if n % 5 else cards[:1] for n, cards in enumerate(frames)]
    events = follow(frames)
    assert sorted(told(events)[-2:]) == [("left", 1, "a"), ("left", 2, "a")]
    assert sum(event.kind == "appeared" for event in events) == 2
    places = {event.track.id: float(event.track.corners_px[:, 0].mean()) for event in events}
    assert sorted(places.values()) == [300, 405]


def test_cards_that_cross_keep_their_identities() -> None:
    frames = []
    for n in range(41):
        a, b = sighting("a", 200 + 15 * n), sighting("b", 800 - 15 * n, 215)
        hidden = abs(a.corners_px[0, 0] - b.corners_px[0, 0]) < 60  # b goes below a
        frames.append([a] if hidden else [a, b])
    events = follow(frames)
    assert sorted(told(events)[-2:], key=str) == [("left", 1, "a"), ("left", 2, "b")]
    assert [event.kind for event in events].count("changed") == 0
    ends = {event.track.id: float(event.track.corners_px[:, 0].mean()) for event in events[-2:]}
    assert ends == {1: 800, 2: 200}


def test_two_copies_that_cross_without_a_look_go_on_as_they_went() -> None:
    """Identical cards without embeddings are told apart by where they were going."""

    def bare(card: Card) -> Card:
        return Card(card.corners_px, card.detection, card.matches, card.status, card.confidence)

    frames = [[bare(sighting("a", 200 + 30 * n, 200)), bare(sighting("a", 800 - 30 * n, 260))] for n in range(21)]
    events = follow(frames)
    ends = {event.track.id: tuple(event.track.corners_px.mean(axis=0)) for event in events[-2:]}
    assert ends == {1: (800, 200), 2: (200, 260)}


def test_missed_frames_do_not_end_a_track() -> None:
    frames = [[sighting("a", 300)] if n % 4 else [] for n in range(40)]
    frames[20:30] = [[]] * 10  # under a hand
    assert told(follow(frames))[1:] == [("identified", 1, "a"), ("left", 1, "a")]


def test_a_card_that_was_covered_for_too_long_is_a_new_one() -> None:
    events = follow([[sighting("a", 300)]] * 5 + [[]] * LONG + [[sighting("a", 300)]] * 5)
    assert [(kind, number) for kind, number, _ in told(events)] == [
        ("appeared", 1), ("identified", 1), ("left", 1), ("appeared", 2), ("identified", 2), ("left", 2),
    ]  # fmt: skip
    patient = follow([[sighting("a", 300)]] * 5 + [[]] * LONG + [[sighting("a", 300)]] * 5, Tracker(patience_s=10))
    assert {event.track.id for event in patient} == {1}


def test_a_card_that_jumped_is_known_by_its_look() -> None:
    events = follow([[sighting("a", 200)]] * 6 + [[]] * 4 + [[sighting("a", 900, 500)]] * 6)
    assert told(events)[1:] == [("identified", 1, "a"), ("left", 1, "a")]
    assert events[-1].track.frames == 12
    assert events[-1].track.corners_px[0, 0] == 850


def test_a_second_copy_is_no_jump_while_the_first_is_there() -> None:
    events = follow([[sighting("a", 200)]] * 6 + [[sighting("a", 200), sighting("a", 900)]] * 6)
    assert {event.track.id for event in events} == {1, 2}


def test_a_card_that_can_not_be_read_for_long_while_it_is_moved_stays_one_card() -> None:
    """It doesn't count as another before the one that it may be has left."""
    cut = [[sighting("a", 800, confidence=0.02, gap=0.01, like=f"cut {n // 9}")] for n in range(20)]
    events = follow([[sighting("a", 300)]] * 6 + [[]] * 3 + cut + [[sighting("a", 820)]] * 9)
    assert told(events) == [("appeared", 1, "a"), ("identified", 1, "a"), ("left", 1, "a")]


def test_a_look_that_changes_after_a_moment_out_of_sight_is_the_same_card() -> None:
    covered = sighting("s", 300, confidence=0.02, gap=0.004, like="hand")
    bare = sighting("s", 300, confidence=0.02, gap=0.004)
    assert told(follow([[bare]] * 8 + [[]] * 3 + [[covered]] * 60)) == [("appeared", 1, None), ("left", 1, None)]
    swapped = follow([[bare]] * 8 + [[]] * 8 + [[covered]] * 60)
    assert told(swapped)[-1] == ("left", 2, None), "but not after half a second"


def test_a_stranger_that_is_moved_fast_stays_one_card() -> None:
    def stranger(x: float, like: str = "s") -> Card:
        return sighting("s", x, confidence=0.02, gap=0.01, like=like)

    blurred = [[stranger(300 + 120 * n, like=f"blur {n}")] for n in range(1, 4)]
    events = follow([[stranger(300)]] * 6 + blurred + [[stranger(780)]] * 8)
    assert told(events) == [("appeared", 1, None), ("left", 1, None)]


def test_a_card_swapped_under_a_hand_is_another_card() -> None:
    events = follow([[sighting("a", 300)]] * 20 + [[]] * 8 + [[sighting("b", 303)]] * (LONG + 10))
    assert told(events)[1] == ("identified", 1, "a")
    assert [each for each in told(events) if each[0] == "identified"] == [
        ("identified", 1, "a"),
        ("identified", 2, "b"),
    ]
    assert told(events)[-2:] == [("left", 1, "a"), ("left", 2, "b")]
    identified = next(event for event in events if event.track.id == 2 and event.kind == "identified")
    assert identified.index == 28 + CONFIRMED - 1


def test_a_card_swapped_for_a_stranger_is_another_card() -> None:
    stranger = sighting("s", 302, confidence=0.02, gap=0.004)
    events = follow([[sighting("a", 300)]] * 20 + [[]] * 8 + [[stranger]] * (2 * LONG + 10))
    assert told(events)[-3:] == [("left", 1, "a"), ("appeared", 2, None), ("left", 2, None)]


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_a_card_that_is_turned_over_and_back_stays_one_card(seconds: float) -> None:
    """Its back, which reads as no card, flickers; it lies there for longer than a card may be unseen."""
    back = sighting("a", 302, confidence=0.02, gap=0.004, like="back")
    shown = [[back] if n % 5 else [] for n in range(round(seconds * RATE))]
    events = follow([[sighting("a", 300)]] * 10 + [[]] * 5 + shown + [[]] * 5 + [[sighting("a", 300)]] * 10)
    assert told(events) == [("appeared", 1, "a"), ("identified", 1, "a"), ("left", 1, "a")]


def test_a_card_that_is_not_turned_back_leaves_in_the_end() -> None:
    back = sighting("a", 302, confidence=0.02, gap=0.004, like="back")
    events = follow([[sighting("a", 300)]] * 10 + [[]] * 5 + [[back]] * 10 * LONG)
    left = next(event for event in events if event.kind == "left")
    assert left.track.id == 1
    assert left.latency_s == pytest.approx(2 * PATIENCE_S, abs=0.3)


def test_half_under_a_hand_a_card_stays_what_it_is() -> None:
    covered = sighting("a", 304, confidence=0.02, gap=0.004, like="hand")
    events = follow(
        [[sighting("a", 300)]] * 20 + [[covered]] * 12 + [[]] * 4 + [[covered]] * 4 + [[sighting("a", 300)]] * 9
    )
    assert told(events)[1:] == [("identified", 1, "a"), ("left", 1, "a")]


def test_a_wrong_first_answer_changes_when_the_evidence_does() -> None:
    wrong = [[sighting("a", 300, taken_for="b", others=("a", "b"), confidence=0.97)]] * 4
    right = [[sighting("a", 300, others=("b",))]] * 30
    events = follow(wrong + right)
    assert [(kind, card_id) for kind, _, card_id in told(events)][1:] == [
        ("identified", "b"), ("changed", "a"), ("left", "a"),
    ]  # fmt: skip
    assert events[2].index - 4 < RATE, "within a second"


def test_single_misreadings_change_nothing() -> None:
    frames = [[sighting("a", 300, taken_for="b" if n % 6 == 5 else "a", others=("a", "b"))] for n in range(60)]
    assert [(kind, card_id) for kind, _, card_id in told(follow(frames))][1:] == [("identified", "a"), ("left", "a")]


def test_a_long_stay_does_not_make_evidence_boundless() -> None:
    wrong = [[sighting("a", 300, taken_for="b", others=("a", "b"))]] * 3000
    right = [[sighting("a", 300, others=("b",))]] * 30
    changed = [event for event in follow(wrong + right) if event.kind == "changed"]
    assert [event.track.match and event.track.match.card_id for event in changed] == ["a"]
    assert changed[0].index - 3000 < 2 * RATE


def test_unknown_cards_are_tracks_without_identity() -> None:
    events = follow([[sighting("s", 300, confidence=0.02, gap=0.004)]] * 60)
    assert told(events) == [("appeared", 1, None), ("left", 1, None)]
    assert events[-1].track.match is None
    assert events[-1].track.to_dict()["card_id"] is None


def test_printings_that_look_alike_are_not_decided() -> None:
    pair_of = [
        [sighting("a", 300, taken_for="ab"[n % 2], others=("a", "b"), gap=0.002, confidence=0.47)] for n in range(60)
    ]
    assert [kind for kind, *_ in told(follow(pair_of))] == ["appeared", "left"]


def test_a_reading_without_matches_or_look() -> None:
    bare = Card(sighting("a", 300).corners_px, 0.9, (), "unknown", 0.0)
    assert [kind for kind, *_ in told(follow([[bare]] * 5))] == ["appeared", "left"]


def test_outlines_that_flash_up_are_no_cards() -> None:
    assert follow([[sighting("a", 300)] if n % 9 < 2 else [] for n in range(60)]) == []


def test_nothing_at_all() -> None:
    assert follow([[]] * 30) == []
    assert Tracker().finish() == []
    assert Tracker().tracks == []


def test_the_best_frame_is_kept() -> None:
    confidences = [0.9, 0.95, 0.999, 0.96, 0.9]
    events = follow([[sighting("a", 300 + n, confidence=each)] for n, each in enumerate(confidences)])
    assert events[-1].track.card.confidence == 0.999
    assert events[-1].track.corners_px[0, 0] == 254, "but the place is the last one"


def test_tracks_are_what_is_there() -> None:
    tracker = Tracker()
    follow([[sighting("a", 300), sighting("b", 600)]] * 4 + [[sighting("b", 600)]], tracker, finish=False)
    assert [(track.id, track.match and track.match.card_id) for track in tracker.tracks] == [(1, "a"), (2, "b")]
    assert told(tracker.update(frame(50, [sighting("b", 600)]), 50 / RATE)) == [("left", 1, "a")]
    assert [track.id for track in tracker.tracks] == [2]
    assert told(tracker.finish()) == [("left", 2, "b")]
    assert tracker.tracks == []


def test_no_card_leaves_while_there_are_no_frames() -> None:
    """A device that is busy for three seconds has not seen that a card was gone."""
    tracker = Tracker()
    follow([[sighting("a", 300), sighting("a", 500)]] * 5, tracker, finish=False)
    assert tracker.update(frame(50, [sighting("a", 304)]), 4 + 3.0) == [], "the other is under a hand"
    assert tracker.update(frame(51, [sighting("a", 304)]), 4 + 4.9) == []
    both = [sighting("a", 300), sighting("a", 500)]
    assert tracker.update(frame(52, both), 4 + 4.95) == []
    assert [track.id for track in tracker.tracks] == [1, 2]


@pytest.mark.parametrize("every", [3, 6, 10])
def test_few_frames_in_a_second_suffice(every: int) -> None:
    """Five, two and a half, one and a half: cards that lie there keep their tracks, and are named."""
    cards = [sighting("a", 300), sighting("a", 420), sighting("b", 600)]
    tracker = Tracker()
    events = [
        event for index in range(0, 120, every) for event in tracker.update(frame(index, cards), index / RATE)
    ] + tracker.finish()
    assert [(kind, card_id) for kind, _, card_id in told(events) if kind != "appeared"] == [
        ("identified", "a"), ("identified", "a"), ("identified", "b"), ("left", "a"), ("left", "a"), ("left", "b"),
    ]  # fmt: skip


def test_what_is_known_of_a_track() -> None:
    stranger = sighting("s", 600, confidence=0.02, gap=0.004)
    twin = [sighting("c", 900, taken_for="cd"[n % 2], others=("c", "d"), gap=0.002, confidence=0.47) for n in range(40)]
    tracker = Tracker()
    follow([[sighting("a", 300), stranger, each] for each in twin], tracker, finish=False)
    assert [(track.status, track.match is None) for track in tracker.tracks] == [
        ("match", False),
        ("unknown", True),
        ("ambiguous", True),
    ]
    assert [track.to_dict()["status"] for track in tracker.tracks] == ["match", "unknown", "ambiguous"]


@pytest.mark.parametrize(("index", "time_s"), [(5, 0.5), (4, 2.0), (6, 0.4), (6, math.nan), (6, math.inf)], ids=str)
def test_frames_out_of_order_are_refused(index: int, time_s: float) -> None:
    tracker = Tracker()
    tracker.update(frame(5, []), 0.5)
    with pytest.raises(InputError, match="in their order"):
        tracker.update(frame(index, []), time_s)
    assert tracker.update(frame(6, []), 0.5) == [], "and it goes on"


@pytest.mark.parametrize("patience_s", [0, -1, math.nan, math.inf, "2"])
def test_patience_must_be_a_time(patience_s: float) -> None:
    with pytest.raises(InputError, match="patience_s"):
        Tracker(patience_s=patience_s)


def test_eighteen_cards_in_any_order() -> None:
    rng = np.random.default_rng(5)
    places = [(120 + 115 * (n % 9), 150 + 160 * (n // 9)) for n in range(18)]
    frames = []
    for _ in range(12):
        cards = [sighting(f"c{n}", *(place + rng.normal(0, 3, 2))) for n, place in enumerate(places)]
        frames.append([cards[n] for n in rng.permutation(18)])
    events = follow(frames)
    left = [event for event in events if event.kind == "left"]
    assert {event.track.match and event.track.match.card_id for event in left} == {f"c{n}" for n in range(18)}
    assert len(left) == 18


def gathered(cards: Iterable[Card]) -> Evidence:
    evidence = Evidence()
    for each in cards:
        evidence.add(each)
    return evidence


@pytest.mark.parametrize("confidence", [0.05, 0.3, 0.7, 0.9])
def test_evidence_does_not_grow_where_nothing_is_new(confidence: float) -> None:
    """What one frame says a hundred say: a threshold of one frame is one of a card."""
    cards = [sighting("a", 300, confidence=confidence)] * 100
    once, often = gathered(cards[:1]), gathered(cards)
    assert often.odds("a") == pytest.approx(once.odds("a")) == pytest.approx(confidence / (1 - confidence))
    assert once.probability("a") + once.probability(None) == pytest.approx(1, abs=0.01)
    assert (often.best()[0] is None) == (confidence < 0.5)


def test_some_good_frames_suffice_and_one_does_not() -> None:
    good, bad = sighting("a", 300), sighting("a", 300, confidence=0.02)
    assert gathered([good, *[bad] * 14]).probability("a") < 0.5
    assert gathered([*[good] * 5, *[bad] * 10]).probability("a") > 0.9


def test_evidence_of_parts_is_that_of_the_whole() -> None:
    cards = [sighting("a", 300, confidence=0.6), sighting("a", 300, taken_for="b", others=("a",), confidence=0.5)]
    whole, first, second = gathered(cards), gathered(cards[:1]), gathered(cards[1:])
    first.merge(second)
    for name in ("a", "b", "o1", None):
        assert first.probability(name) == pytest.approx(whole.probability(name))
    assert first.lead() == pytest.approx(whole.lead())


def test_evidence_forgets() -> None:
    many = gathered([sighting("a", 300)] * 1000)
    for _ in range(3 * HORIZON):
        many.add(sighting("b", 300))
    assert many.odds("b") > 100 * many.odds("a")
    fresh = gathered([sighting("b", 300)] * 1000)
    fresh.merge(many)
    assert fresh.probability("b") > 0.98
    for _ in range(20 * HORIZON):
        fresh.add(sighting("c", 300))
    assert fresh.odds("b") == 0, "and what it was is no candidate any more"


def test_printings_that_differ_little_lead_little() -> None:
    """However sure a frame is that it is one of two, and however often it says so."""
    alike = gathered([sighting("a", 300, others=("b",), gap=0.0015)] * 30)
    assert 1 < alike.lead() < LEAD
    assert gathered([sighting("a", 300, others=("b",), gap=0.05)] * 3).lead() > LEAD
    frames = [[sighting("a", 300, others=("b",), gap=0.0015)]] * 30
    assert [kind for kind, *_ in told(follow(frames))] == ["appeared", "left"], "neither is declared"
    assert Evidence().lead() == gathered([sighting("a", 300, others=())]).lead() == math.inf


def test_an_identity_is_declared_from_the_confidence_that_was_asked_for() -> None:
    frames = [[sighting("a", 300, confidence=0.7)]] * 30
    assert [kind for kind, *_ in told(follow(frames, Tracker(min_confidence=0.72)))] == ["appeared", "left"]
    assert [kind for kind, *_ in told(follow(frames, Tracker(min_confidence=0.68)))][1] == "identified"


def test_a_card_with_another_printing_is_in_the_catalog_and_one_that_resembles_many_is_not() -> None:
    """Both are read with 0.8 and lead clearly."""
    printing = [[sighting("a", 300, others=("b",), gap=0.032, confidence=0.8)]] * 20
    many = sighting("a", 300, others=(), gap=0.0, confidence=0.8)
    others = tuple(Match(f"o{n}", many.matches[0].score - 0.052, n, {}) for n in range(5))
    stranger = [[replace(many, matches=(*many.matches, *others))]] * 20
    assert gathered(stranger[0]).lead() > LEAD and gathered(printing[0]).lead() > LEAD
    assert [kind for kind, *_ in told(follow(printing))] == ["appeared", "identified", "left"]
    assert [kind for kind, *_ in told(follow(stranger))] == ["appeared", "left"]


@pytest.mark.parametrize("min_confidence", [-0.1, 1.1, math.nan, "1"])
def test_min_confidence_must_be_a_probability(min_confidence: float) -> None:
    with pytest.raises(InputError, match="min_confidence"):
        Tracker(min_confidence=min_confidence)


def test_how_few_strangers_are_named_is_asked_of_the_catalog() -> None:
    measured = Calibration(0.8, 0.5, 0.1, -10.0, 10.0, 20.0, tail_from=-2.0, tail_scale=1.0)
    asked = {share: declared_from(measured, share) for share in (0.001, 0.01, 0.02, None)}
    assert asked[0.001] == pytest.approx(1 / (1 + math.exp(2 - math.log(100))))
    assert asked[None] == asked[0.01] == pytest.approx(1 / (1 + math.exp(2 - math.log(10))))
    assert asked[0.02] == 0.5, "an identity is likelier than not"
    assert declared_from(replace(measured, tail_scale=0.0), 0.01) == 0.8, "nothing is known of its strangers"


def test_nearness_knows_place_and_size() -> None:
    here, there = (Place.of(sighting("a", x).corners_px) for x in (300, 500))
    large = Place.of(sighting("a", 300, size=2.0).corners_px)
    assert here[1:] == pytest.approx((300, 200, np.sqrt(14_000)))
    assert nearness([here], here) == pytest.approx(2)
    assert nearness([here], there) is None
    assert nearness([here], large) is None
    assert nearness([there, here], here) == pytest.approx(2)
    assert nearness([here.after(200, 0)], there) == pytest.approx(2)


def test_pairs_take_the_best_first() -> None:
    scores = {(0, 0): 0.8, (0, 1): 0.9, (1, 1): 0.7, (1, 2): 0.1}
    assert pair(2, 3, lambda row, column: scores.get((row, column))) == [(0, 1), (1, 2)]
    assert pair(0, 3, lambda *_: 1.0) == pair(3, 0, lambda *_: 1.0) == []
