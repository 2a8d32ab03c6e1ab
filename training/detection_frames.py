"""The frames that a detector is measured on: simulated ones, photos with labels, grounds without cards.

A `Part` lists jobs, functions without arguments that give a `Shot` each; they can be run in other processes. Seeds are
fixed, and those of a part are its own: a frame is the same for every detector, however many frames there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cardrec.image import Frame, load
from training.data import read_bgr, read_rgb
from training.detection_data import face_paths, ground_paths
from training.detection_scoring import NO_QUADS
from training.label_photos import Label
from training.render import CardSpec, deck, render
from training.simulate import Level, simulate_frame

Picture = NDArray[np.uint8]
Corners = NDArray[np.float32]
Face: TypeAlias = Path | CardSpec

COUNTED = ("whole", "cut", "covered")
"""Cards that must be found; `whole` ones and the others are reported apart. What else a label says is ignored."""

FOUND_SIMULATED, FOUND_PHOTO = 0.9, 0.85
"""IoU from which a card is found; labels set by eye are off by a few pixels."""

MANY = 50
"""``max_cards`` where a frame may show several; one of the photos shows 40."""

DECK_COUNT, DECK_SEED = 600, 2026
"""Rendered cards; the seed is of no other use, so that no training sees these."""

TABLE_SEED = 79


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A frame and its truth.

    Attributes:
        name: for captions.
        frame: what the detector gets.
        quads_px: (n, 4, 2) float32, each card's corners, clockwise from its own top left.
        visible: what the label says of each; "whole" in simulated frames.
    """

    name: str
    frame: Frame
    quads_px: Corners
    visible: tuple[str, ...]

    def seen(self, *kinds: str) -> NDArray[np.bool_]:
        """(n,) which cards are of one of these kinds."""
        return np.array([kind in kinds for kind in self.visible], bool)


Job: TypeAlias = Callable[[], Shot]


@dataclass(frozen=True, slots=True)
class Part:
    """Frames that are reported together, and how they are measured."""

    name: str
    jobs: Sequence[Job]
    max_cards: int
    threshold: float = FOUND_SIMULATED


@dataclass(frozen=True, slots=True)
class Group:
    """A kind of simulated frame: how many cards it shows, fewest and most, and the seed of its chance."""

    name: str
    level: Level
    cards: tuple[int, int]
    seed: int


GROUPS = (
    Group("easy, one card", "easy", (1, 1), 70),
    Group("easy, several", "easy", (2, 8), 71),
    Group("hard, one card", "hard", (1, 1), 72),
    Group("hard, several", "hard", (2, 8), 73),
    Group("page", "page", (5, 9), 74),
    Group("two pages", "page", (10, 18), 75),
)


def simulated(data: Path, frames: int, groups: Sequence[Group] = GROUPS) -> list[Part]:
    """So many frames of each group, of held-out cards and rendered ones, on held-out and procedural grounds."""
    kinds = [*_by_game(face_paths(data, held=True)), deck(DECK_COUNT, seed=DECK_SEED)]
    grounds = ground_paths(data, held=True)
    return [
        Part(group.name, [_plan(group, n, kinds, grounds) for n in range(frames)], 1 if group.cards[1] == 1 else MANY)
        for group in groups
    ]


def _by_game(paths: Sequence[Path]) -> list[Sequence[Face]]:
    """Paths, sorted by folder, as one list for each game: `pocket-en` and `pocket-de` are one."""
    return [list(of_game) for _, of_game in groupby(paths, key=lambda path: path.parent.name.split("-")[0])]


def _plan(group: Group, number: int, kinds: Sequence[Sequence[Face]], grounds: Sequence[Path]) -> Job:
    """Draws what the frame shows: games evenly, a third at any turn, a third (of both) on procedural grounds."""
    rng = np.random.default_rng([group.seed, number])
    drawn = [kinds[int(rng.integers(len(kinds)))] for _ in range(rng.integers(*group.cards, endpoint=True))]
    faces = [kind[int(rng.integers(len(kind)))] for kind in drawn]
    ground = grounds[int(rng.integers(len(grounds)))] if number // 3 % 3 else None
    return partial(photograph, group, number, faces, ground, 180.0 if number % 3 == 0 else None)


def photograph(
    group: Group, number: int, faces: Sequence[Face], ground: Path | None, max_turn_deg: float | None
) -> Shot:
    """Simulates a frame, 1280x720."""
    cards = [render(face) if isinstance(face, CardSpec) else read_rgb(face) for face in faces]
    background = None if ground is None else read_bgr(ground)
    rng = np.random.default_rng([group.seed, number, 1])
    shot = simulate_frame(cards, rng=rng, level=group.level, background=background, max_turn_deg=max_turn_deg)
    return Shot(f"{group.name} {number}", load(shot.pixels), shot.quads_px, ("whole",) * len(shot.quads_px))


def photos(folder: Path, labels: Mapping[str, Sequence[Label]]) -> list[Part]:
    """The photos that have labels, by what their names start with (`webcam-000.jpg` is of `webcam`)."""
    names = groupby(sorted(labels), key=lambda name: name.split("-")[0])
    return [
        Part(kind, [partial(photo, folder / name, labels[name]) for name in of_kind], MANY, FOUND_PHOTO)
        for kind, of_kind in names
    ]


def photo(path: Path, labels: Sequence[Label]) -> Shot:
    """A photo with its labels."""
    quads = np.stack([label.corners_px for label in labels]) if labels else NO_QUADS
    return Shot(path.stem, load(path), quads, tuple(label.visible for label in labels))


def empty(data: Path) -> list[Part]:
    """Every texture and photograph to lay cards on, as it is and as a table without cards."""
    grounds = sorted(ground_paths(data, held=True) + ground_paths(data, held=False))
    return [
        Part("no card, plain", [partial(plain, path) for path in grounds], MANY),
        Part("no card, table", [partial(table, path, number) for number, path in enumerate(grounds)], MANY),
    ]


def plain(path: Path) -> Shot:
    """The picture itself."""
    return Shot(path.stem, load(path), NO_QUADS, ())


def table(path: Path, number: int) -> Shot:
    """A bad photo of a table of this, 1280x720."""
    rng = np.random.default_rng([TABLE_SEED, number])
    shot = simulate_frame([], rng=rng, level="hard", background=read_bgr(path))
    return Shot(f"table {path.stem}", load(shot.pixels), NO_QUADS, ())
