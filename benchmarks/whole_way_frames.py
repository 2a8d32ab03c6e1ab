"""The frames of the whole way: simulated photos of cards that no training saw, kept in files, and the bundled ones."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.samples import read_samples
from training.data import CardImage
from training.end_to_end import Plan
from training.references import References
from training.simulate import Level, simulate_frame

__all__ = ["GROUPS", "STRANGERS", "Job", "Shot", "bundled", "jobs_of", "shoot", "tuning_jobs"]

Picture = NDArray[np.uint8]

LEVELS: tuple[Level, ...] = ("easy", "hard")
ONE, SEVERAL, STRANGERS = "one card", "several cards", "stranger"
GROUPS = tuple(f"{level}, {what}" for what in (ONE, SEVERAL, STRANGERS) for level in LEVELS)
TUNING = "tuning"
FEWEST, MOST = 2, 8
"""Cards in a frame that shows several; as many as in the detector's own evaluation."""
MANY = 18
"""``max_cards`` there."""
SEED = 90
"""Of no other frames."""
FRAMES_OF_SEVERAL = 4
"""So manieth of the frames with one card are there with several: about as many cards."""


@dataclass(frozen=True, slots=True)
class Job:
    """A frame to simulate.

    Attributes:
        group: one of `GROUPS`, or `TUNING`.
        number: within the group.
        level: how hard it is.
        cards: that it shows.
        right: of each, the card_ids that are right; none for one that is in no catalog.
        most: how many cards may be named in it.
    """

    group: str
    number: int
    level: Level
    cards: tuple[CardImage, ...] = field(repr=False)
    right: tuple[frozenset[str], ...]
    most: int

    def path(self, cache: Path) -> Path:
        """Where the frame is kept; named after all that decides how it looks, but for the simulator."""
        digest = hashlib.sha256()
        for card in self.cards:
            digest.update(f"{card.card_id} {card.pixels.shape}".encode())
            digest.update(card.pixels.tobytes())
        return cache / f"{self.group.replace(', ', '-').replace(' ', '-')}-{self.number}-{digest.hexdigest()[:12]}.npz"


class Shot(NamedTuple):
    """A frame (H, W, 3) BGR; the outlines (n, 4, 2) of its cards, and the card_ids that are right for each."""

    pixels: Picture
    quads_px: NDArray[np.float32]
    right: tuple[frozenset[str], ...]


def shoot(cache: Path, job: Job) -> Shot:
    """The frame of a job, from its file or simulated and kept there."""
    path = job.path(cache)
    if not path.exists():
        _write(path, job)
    with np.load(path) as kept:
        pixels = np.asarray(cv2.imdecode(kept["png"], cv2.IMREAD_COLOR), np.uint8)
        return Shot(pixels, kept["quads_px"], tuple(job.right[index] for index in kept["indices"].tolist()))


def _write(path: Path, job: Job) -> None:
    cards = [card.pixels for card in job.cards]
    place = GROUPS.index(job.group) if job.group in GROUPS else len(GROUPS)
    rng = np.random.default_rng([SEED, place, job.number])
    frame = simulate_frame(cards, rng=rng, level=job.level)
    _, png = cv2.imencode(".png", frame.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part.npz")
    np.savez(beside, png=png, quads_px=frame.quads_px, indices=frame.indices)
    beside.rename(path)


def jobs_of(plans: Sequence[Plan], references: References) -> list[Job]:
    """One photo of each card of the plans at each level, and of several known ones together."""
    found = []
    for level in LEVELS:
        number = 0
        for plan in plans:
            rights = [references_of(references, card) for card in plan.known]
            for card, right in zip(plan.known, rights, strict=True):
                found.append(Job(f"{level}, {ONE}", number, level, (card,), (right,), 1))
                number += 1
            for which, card in enumerate(plan.strangers):
                group = f"{level}, {STRANGERS}"
                found.append(Job(group, number + which, level, (card,), (frozenset(),), 1))
            found += _several(plan, rights, level, number)
    return found


def _several(plan: Plan, rights: Sequence[frozenset[str]], level: Level, first: int) -> list[Job]:
    """Frames with two to eight of a plan's known cards, of which none is there twice."""
    rng = np.random.default_rng([SEED, first])
    found = []
    for number in range(len(plan.known) // FRAMES_OF_SEVERAL):
        count = min(int(rng.integers(FEWEST, MOST, endpoint=True)), len(plan.known))
        chosen = rng.choice(len(plan.known), count, replace=False).tolist()
        cards, right = tuple(plan.known[n] for n in chosen), tuple(rights[n] for n in chosen)
        found.append(Job(f"{level}, {SEVERAL}", first + number, level, cards, right, MANY))
    return found


def references_of(references: References, card: CardImage) -> frozenset[str]:
    """The card_ids of all rows that show a card's face."""
    (row,) = references.rows([card])
    return frozenset(references.card_ids[n] for n in np.flatnonzero(references.faces == references.faces[row]))


def tuning_jobs(cards: Sequence[CardImage]) -> list[Job]:
    """Photos of strangers to set thresholds with, half easy, half hard."""
    return [Job(TUNING, n, LEVELS[n % len(LEVELS)], (card,), (frozenset(),), 1) for n, card in enumerate(cards)]


def bundled(card_ids: Collection[str]) -> list[Shot]:
    """The photos that come with the library, of cards of the demo catalog, which has these card_ids."""
    found, known = [], set(card_ids)
    for sample in read_samples():
        pixels = np.asarray(cv2.imread(str(sample.path)), np.uint8)
        right = tuple(frozenset(known & {card_id}) for card_id in sample.card_ids)
        found.append(Shot(pixels, np.asarray(sample.corners_px, np.float32).reshape(-1, 4, 2), right))
    return found
