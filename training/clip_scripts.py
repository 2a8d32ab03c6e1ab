"""What happens in a simulated clip: which cards lie where and when, and where a hand reaches.

Millimetres on the table, x to the right and y down; a *slot* is a place of its own for a card, so that cards that rest
never overlap. Later actors lie on top.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["AWAY_MM", "FRAMES_PER_SECOND", "SCRIPTS", "Actor", "Hand", "Pose", "Script", "lying", "slots"]

FRAMES_PER_SECOND = 15
PITCH_MM = (84.0, 108.0)
"""Slot to slot: a card turned by 15 degrees leaves room to the next."""

AWAY_MM = 420.0
"""How far outside a card or hand waits: beyond every frame."""

TURN_S = 0.4
"""How long it takes to turn a card over."""

Pose = tuple[float, float, float]  # x, y in mm; clockwise turn in degrees


@dataclass(slots=True)
class Actor:
    """One physical card.

    Attributes:
        face: which picture it shows.
        poses: (time, pose) in order; between two the card moves smoothly, before and after it lies still.
        begins_s, ends_s: when it is on the table.
        resting: the poses that the camera is aimed at.
        face_down: (from, to) when its back is up; turning it over takes `TURN_S`.
    """

    face: int
    poses: list[tuple[float, Pose]]
    begins_s: float = 0.0
    ends_s: float = math.inf
    resting: list[Pose] = field(default_factory=list)
    face_down: list[tuple[float, float]] = field(default_factory=list)

    def face_up(self, time_s: float) -> float:
        """1 where its face is up, -1 where its back is; between them it stands on edge at 0."""
        turned = sum(_share(time_s - down) - _share(time_s - up) for down, up in self.face_down)
        return math.cos(math.pi * turned)

    def there(self, time_s: float) -> bool:
        """Whether it is on the table."""
        return self.begins_s <= time_s < self.ends_s

    def at(self, time_s: float) -> Pose:
        """Where it lies."""
        times = [time for time, _ in self.poses]
        after = int(np.searchsorted(times, time_s, side="right"))
        if after == 0 or after == len(times):
            return self.poses[min(after, len(times) - 1)][1] if after == 0 else self.poses[-1][1]
        (start, a), (end, b) = self.poses[after - 1], self.poses[after]
        share = (time_s - start) / (end - start)
        share = share * share * (3 - 2 * share)
        return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)

    def reach_mm(self) -> NDArray[np.float64]:
        """(n, 2) points that the camera must see."""
        spread = np.asarray([(-48.0, -50.0), (48, -50), (48, 50), (-48, 50)])
        return np.concatenate([spread + pose[:2] for pose in self.resting])


def _share(since_s: float) -> float:
    """How far a card has been turned over."""
    return min(1.0, max(0.0, since_s / TURN_S + 0.5))


@dataclass(slots=True)
class Hand:
    """An arm that reaches in, rests over a place, and goes.

    Attributes:
        over_mm: the place.
        arrives_s, leaves_s: when it is there; it takes `REACH_S` each way.
        size: radius of the hand, as a share of half a card's height.
    """

    over_mm: tuple[float, float]
    arrives_s: float
    leaves_s: float
    direction: float
    size: float = 1.0

    def there(self, time_s: float) -> bool:
        """Whether it is near the table."""
        return self.arrives_s - REACH_S < time_s < self.leaves_s + REACH_S

    def ends_mm(self, time_s: float) -> NDArray[np.float64]:
        """(2, 2): its tip and its far end."""
        out = max(0.0, (self.arrives_s - time_s) / REACH_S, (time_s - self.leaves_s) / REACH_S)
        way = np.asarray([math.cos(self.direction), math.sin(self.direction)])
        tip = np.asarray(self.over_mm) + way * AWAY_MM * min(1.0, out)
        return np.stack([tip, tip + way * 2 * AWAY_MM])


REACH_S = 0.5


@dataclass(slots=True)
class Script:
    """A clip's course.

    Attributes:
        seconds: its length.
        shaken: chance that the camera shakes.
        pan: (time, where) in order: the camera's picture is moved by that share of its width in x and in y; between two
            it moves smoothly.
    """

    seconds: float
    actors: list[Actor]
    hands: list[Hand] = field(default_factory=list)
    shaken: float = 0.3
    pan: list[tuple[float, tuple[float, float]]] = field(default_factory=list)

    def panned(self, time_s: float) -> NDArray[np.float64]:
        """(2,) by which share of its width the picture is moved."""
        times, places = [time for time, _ in self.pan], np.asarray([place for _, place in self.pan])
        return np.asarray([np.interp(time_s, times, axis) for axis in places.T]) if self.pan else np.zeros(2)


def slots(count: int, rng: np.random.Generator) -> list[Pose]:
    """Places of their own, in rows, each card turned a little."""
    columns = math.ceil(math.sqrt(count * 1.6))
    return [
        (column * PITCH_MM[0] + rng.uniform(-4, 4), row * PITCH_MM[1] + rng.uniform(-3, 3), rng.uniform(-12, 12))
        for row, column in (divmod(number, columns) for number in range(count))
    ]


def lying(face: int, pose: Pose) -> Actor:
    """A card that lies there from the first frame to the last."""
    return Actor(face, [(0.0, pose)], resting=[pose])


def _outside(pose: Pose, rng: np.random.Generator) -> Pose:
    """Where a card comes from or goes: below the frame, where the person sits."""
    return (pose[0] + rng.uniform(-120, 120), pose[1] + AWAY_MM, pose[2] + rng.uniform(-25, 25))


def put_down(rng: np.random.Generator, seconds: float) -> Script:
    """Cards are put down one after the other; the first is taken away at the end."""
    places = slots(int(rng.integers(3, 5)), rng)
    actors = []
    for number, pose in enumerate(places):
        at = 0.2 + number * (0.55 * seconds) / len(places)
        took = rng.uniform(0.5, 0.9)
        actors.append(Actor(number, [(at, _outside(pose, rng)), (at + took, pose)], resting=[pose]))
    actors[0].poses += [(0.75 * seconds, places[0]), (0.75 * seconds + 0.6, _outside(places[0], rng))]
    return Script(seconds, actors)


def slide(rng: np.random.Generator, seconds: float) -> Script:
    """Cards lie there and are slid to other places, one after the other."""
    places = slots(6, rng)
    order = rng.permutation(6)
    resting = [places[n] for n in order[:4]]
    free = [places[n] for n in order[4:]]
    actors = [lying(number, pose) for number, pose in enumerate(resting[: int(rng.integers(3, 5))])]
    for actor in actors[:2]:
        start = actor.poses[-1][1]
        goal = free.pop()
        begin = 0.15 * seconds if actor is actors[0] else 0.55 * seconds
        # In an arc around the others would be polite; straight over them is what people do, on top.
        actor.poses = [(begin, start), (begin + rng.uniform(0.5, 1.2), goal)]
        actor.resting.append(goal)
    return Script(seconds, actors[2:] + actors[:2])


def rotate(rng: np.random.Generator, seconds: float) -> Script:
    """Cards are turned where they lie, by up to half a turn."""
    places = [(x * 1.35, y * 1.1, turn) for x, y, turn in slots(int(rng.integers(3, 5)), rng)]
    actors = [lying(number, pose) for number, pose in enumerate(places)]
    for actor in actors[:2]:
        x, y, turn = actor.poses[-1][1]
        begin = rng.uniform(0.2, 0.5) * seconds
        actor.poses = [
            (begin, (x, y, turn)),
            (begin + rng.uniform(0.8, 1.5), (x, y, turn + rng.choice([-180, -90, 90, 180]))),
        ]
    return Script(seconds, actors)


def swap(rng: np.random.Generator, seconds: float) -> Script:
    """Under a hand, a card is swapped for another; the others stay."""
    places = slots(3, rng)
    actors = [lying(number, pose) for number, pose in enumerate(places)]
    chosen = int(rng.integers(3))
    x, y, turn = places[chosen]
    begin = rng.uniform(0.35, 0.45) * seconds
    hand = Hand((x, y), begin, begin + rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.8) * math.pi, size=1.25)
    when = (hand.arrives_s + hand.leaves_s) / 2
    actors[chosen].ends_s = when
    pose = (x + rng.uniform(-5, 5), y + rng.uniform(-5, 5), turn + rng.uniform(-8, 8))
    new = lying(3, pose)
    new.begins_s = when
    return Script(seconds, [*actors, new], [hand])


def copies(rng: np.random.Generator, seconds: float) -> Script:
    """Two copies of a card side by side, and one or two others; a copy is put down while the first lies there."""
    places = slots(int(rng.integers(3, 5)), rng)
    faces = [0, 0, 1, 2]
    actors = [lying(faces[number], pose) for number, pose in enumerate(places)]
    if rng.random() < 0.5:
        at = 0.2 * seconds
        actors[1].poses = [(at, _outside(places[1], rng)), (at + 0.7, places[1])]
    return Script(seconds, actors)


def cover(rng: np.random.Generator, seconds: float) -> Script:
    """A hand covers a card for a while, and another one later."""
    places = slots(int(rng.integers(3, 5)), rng)
    actors = [lying(number, pose) for number, pose in enumerate(places)]
    hands = []
    for number, begin in zip(rng.permutation(len(places))[:2].tolist(), (0.25, 0.6), strict=True):
        x, y, _ = places[number]
        at = begin * seconds
        hands.append(
            Hand((x, y), at, at + rng.uniform(0.4, 1.2), rng.uniform(0.2, 0.8) * math.pi, rng.uniform(0.8, 1.3))
        )
    return Script(seconds, actors, hands)


def several(rng: np.random.Generator, seconds: float) -> Script:
    """Five to eight cards; some come, one goes, one is covered, and the camera shakes."""
    places = slots(int(rng.integers(5, 9)), rng)
    actors = [lying(number, pose) for number, pose in enumerate(places)]
    for number, actor in enumerate(actors[:2]):
        at = (0.1 + 0.2 * number) * seconds
        actor.poses = [(at, _outside(places[number], rng)), (at + rng.uniform(0.5, 0.9), places[number])]
    x, y, _ = places[-1]
    at = 0.6 * seconds
    hand = Hand((x, y), at, at + rng.uniform(0.4, 1.0), rng.uniform(0.2, 0.8) * math.pi)
    return Script(seconds, [*actors[2:], *actors[:2]], [hand], shaken=0.8)


SCRIPTS: dict[str, Callable[[np.random.Generator, float], Script]] = {
    "put down": put_down,
    "slide": slide,
    "rotate": rotate,
    "swap": swap,
    "copies": copies,
    "cover": cover,
    "several": several,
}
