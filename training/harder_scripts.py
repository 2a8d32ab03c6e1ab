"""More clips: what is rarer on a table than in `clip_scripts`, and harder to follow.

Copies change places, a card is turned over, one is half covered for long, the camera is moved, and printings of one
artwork lie side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from training.clip_scripts import Actor, Hand, Pose, Script, lying, slots

__all__ = ["HARDER", "TWINS"]


def exchange(rng: np.random.Generator, seconds: float) -> Script:
    """Two copies change places, around each other; then one of them is swapped for another card under a hand."""
    places = slots(3, rng)
    first, second, other = (lying(face, pose) for face, pose in zip((0, 0, 1), places, strict=True))
    begin, took = rng.uniform(0.15, 0.25) * seconds, rng.uniform(0.8, 1.4)
    ways = ((first, places[0], places[1], -70.0), (second, places[1], places[0], 70.0))
    for actor, start, goal, aside in ways:
        middle = (start[0] + goal[0]) / 2, (start[1] + goal[1]) / 2 + aside, (start[2] + goal[2]) / 2
        actor.poses = [(begin, start), (begin + took / 2, middle), (begin + took, goal)]
        actor.resting = [*places[:2], middle]
    new, hand = _swapped(second, places[0], 2, rng.uniform(0.55, 0.65) * seconds, rng)
    return Script(seconds, [other, first, second, new], [hand])


def _swapped(actor: Actor, pose: Pose, face: int, begin: float, rng: np.random.Generator) -> tuple[Actor, Hand]:
    """Another card in a card's place, and the hand under which it got there."""
    x, y, turn = pose
    hand = Hand((x, y), begin, begin + rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.8) * math.pi, size=1.25)
    actor.ends_s = (hand.arrives_s + hand.leaves_s) / 2
    new = lying(face, (x + rng.uniform(-5, 5), y + rng.uniform(-5, 5), turn + rng.uniform(-8, 8)))
    new.begins_s = actor.ends_s
    return new, hand


def flip(rng: np.random.Generator, seconds: float) -> Script:
    """A card is turned over and back again, after half a second to three; another one later, for a moment."""
    places = slots(int(rng.integers(3, 5)), rng)
    actors = [lying(number, pose) for number, pose in enumerate(places)]
    begin = 0.25 * seconds
    actors[0].face_down = [(begin, begin + rng.uniform(0.5, 3.0))]
    begin = 0.75 * seconds
    actors[1].face_down = [(begin, begin + rng.uniform(0.5, 0.8))]
    return Script(seconds, actors)


def half_covered(rng: np.random.Generator, seconds: float) -> Script:
    """A finger or a whole hand rests on the edge of a card, and later on that of another, for a third of the clip each.

    They hide up to a third of the card.
    """
    places = slots(int(rng.integers(3, 5)), rng)
    hands = []
    for number, begin in zip(rng.permutation(len(places))[:2].tolist(), (0.15, 0.6), strict=True):
        x, y, _ = places[number]
        size, direction = rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.8) * math.pi
        away = 44.0 * size + rng.uniform(8.0, 30.0)  # from the card's middle to the hand's; its tip is that much nearer
        over = x + away * math.cos(direction), y + away * math.sin(direction)
        hands.append(Hand(over, begin * seconds, (begin + 0.33) * seconds, direction, size))
    return Script(seconds, [lying(number, pose) for number, pose in enumerate(places)], hands)


def pan(rng: np.random.Generator, seconds: float) -> Script:
    """The camera is moved while cards lie there: once within half a second, once with a jerk, and back."""
    places = slots(int(rng.integers(4, 7)), rng)
    aside = rng.uniform(0.05, 0.15, 2) * rng.choice([-1, 1], 2) * (1.0, 0.5)
    jerk = aside + rng.uniform(0.03, 0.08, 2) * rng.choice([-1, 1], 2) * (1.0, 0.5)
    moved, pushed, back = (share * seconds for share in (0.25, 0.5, 0.75))
    way = [
        (moved, np.zeros(2)),
        (moved + rng.uniform(0.3, 0.6), aside),
        (pushed, aside),
        (pushed + 0.05, jerk),
        (back, jerk),
        (back + rng.uniform(0.3, 0.6), np.zeros(2)),
    ]
    steps = [(time_s, (float(x), float(y))) for time_s, (x, y) in way]
    actors = [lying(number, pose) for number, pose in enumerate(places)]
    low, high = np.min(places, axis=0), np.max(places, axis=0)
    room = 0.25 * (high - low + 90.0)  # or cards would leave the frame, and be others when they come back
    actors[0].resting += [(float(x), float(y), 0.0) for x, y, _ in (low - room, high + room)]
    return Script(seconds, actors, pan=steps)


def twins(rng: np.random.Generator, seconds: float) -> Script:
    """Two printings of one artwork and one of another lie there, one of them is slid aside and back."""
    places = slots(4, rng)
    actors = [lying(number, pose) for number, pose in enumerate(places[:3])]
    begin = 0.3 * seconds
    there, free = places[1], places[3]
    actors[1].poses = [(begin, there), (begin + 0.8, free), (begin + 2.0, free), (begin + 2.8, there)]
    actors[1].resting.append(free)
    return Script(seconds, actors)


TWINS = "twins"
"""The script whose faces are printings of one artwork, in turn: two of a first, one of a second."""

HARDER: dict[str, Callable[[np.random.Generator, float], Script]] = {
    "exchange": exchange,
    "flip": flip,
    "half covered": half_covered,
    "pan": pan,
    TWINS: twins,
}
