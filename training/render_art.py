"""The pictures on the fictional cards: a scene, a subject on it and effects over it, all procedural.

    picture = paint(17, aspect=1.3, height_px=300)        # (300, 390, 3) uint8 RGB, the same in every process

A seed gives the same picture, whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.render_creatures import beast, face, figure, serpent
from training.render_easel import Easel, generator, ngon
from training.render_objects import (
    flower,
    gems,
    machine,
    nothing,
    orb,
    potion,
    shield,
    ship,
    tower,
    tree,
    weapon,
)
from training.render_scenes import SCENES

__all__ = ["SUBJECTS", "paint"]

SUBJECTS: dict[str, tuple[Callable[[Easel], None], ...]] = {
    "Beast": (beast, beast, beast, serpent),
    "Hero": (figure, figure, figure, face),
    "Spell": (orb, orb, gems, weapon, flower, potion, nothing),
    "Relic": (weapon, weapon, shield, potion, machine, face, gems),
    "Place": (tower, tower, ship, tree, gems, nothing),
    "Spirit": (figure, serpent, orb, face, flower, tree),
}


def effects(e: Easel) -> None:
    """Nothing to three of: rays, mist, sparks, rain."""
    dx, dy = e.x - e.at[0], e.y - e.at[1]
    if e.rng.random() < 0.2:
        beams = 0.5 + 0.5 * np.sin(np.arctan2(dy, dx) * int(e.rng.integers(5, 16)) + e.pick(0, 6))
        e.add(np.asarray(beams**3 * np.clip(np.hypot(dx, dy) - 0.15, 0, 0.6) * 0.9, np.float32), e.shine)
    if e.rng.random() < 0.3:
        e.lay(np.clip((e.noise(2.5, 4) - 0.35) * 1.6, 0, 1) * np.clip(e.y * 2.2 - 1.2, 0, 1) ** 1.2, e.scene[4], 0.85)
    if e.rng.random() < 0.3:
        spots = [
            ngon(e.pick(0, 1) * e.aspect, e.pick(0, 1), e.pick(0.003, 0.011))
            for _ in range(int(e.rng.integers(15, 60)))
        ]
        sparks = cv2.GaussianBlur(e.mask(*spots), (0, 0), 0.003 * e.h + 0.4).astype(np.float32) / 255
        e.add(sparks * 1.2 + cv2.GaussianBlur(sparks, (0, 0), 0.018 * e.h) * 2, e.trim[4])
    if e.rng.random() < 0.12:
        lines = e.rng.random((90, 2)) * (e.aspect, 1)
        e.lay(e.mask(*[np.array([(x, y), (x - 0.02, y + 0.08)]) for x, y in lines], stroke=0.003), e.scene[5], 0.5)


def finish(e: Easel) -> NDArray[np.uint8]:
    """The grading, the surface it is painted on; and mirrored or not."""
    grade = int(e.rng.integers(0, 14))
    if grade == 0:
        e.pixels[:] = e.tint(np.asarray(e.pixels.mean(0) * 1.15, np.float32), e.scene)
    elif grade == 1:
        e.pixels[:] = np.round(e.pixels * 5) / 5
    elif grade in (2, 3):
        e.pixels[:] = 0.3 + 0.72 * e.pixels
    e.pixels *= (1 - e.pick(0, 0.8) * ((e.x / e.aspect - 0.5) ** 2 + (e.y - 0.5) ** 2))[None]
    e.pixels += (e.rng.random((3, 1, 1), dtype=np.float32) - 0.5) * 0.08
    surface, strength = int(e.rng.integers(0, 6)), e.pick(0.03, 0.1)
    if surface < 3:
        rough = e.noise(90, 1) if surface < 2 else 0.5 + 0.5 * np.sin((e.x * e.pick(-1, 1) + e.y) * 260) * e.grain
        e.pixels += (np.asarray(rough, np.float32) - 0.5) * strength
    planes = cv2.convertScaleAbs(np.maximum(e.pixels.reshape(-1), 0), alpha=e.pick(245, 300)).reshape(e.pixels.shape)
    picture = cv2.merge(list(planes))
    if surface == 4:
        picture = cv2.medianBlur(picture, 2 * round(e.h * 0.006) + 1)
    return np.asarray(picture[:, ::-1] if e.rng.random() < 0.5 else picture, np.uint8)


def compose(e: Easel, subject: Callable[[Easel], None]) -> None:
    """One subject, one close up, or a few of them from far to near."""
    form = e.rng.random()
    if form < 0.68:
        e.halo(0, 0, e.pick(0.3, 0.6))
        subject(e)
    elif form < 0.84:
        e.size *= e.pick(1.3, 1.7)
        e.at = (e.at[0], e.at[1] + e.pick(0.0, 0.2) * e.size)
        subject(e)
    else:
        x, size = e.at[0], e.size
        for depth, side in zip((0.5, 0.62, 0.8), e.rng.permutation([-0.42, 0.36, -0.05]), strict=True):
            e.at, e.size = (x + side * e.aspect * 0.8, 0.36 + 0.3 * depth), size * depth
            subject(e)


def paint(seed: int, *, aspect: float, height_px: int, kind: str = "Beast") -> NDArray[np.uint8]:
    """The picture of this seed for a kind of card: (height_px, round(aspect * height_px), 3) uint8 RGB."""
    e = Easel(generator(seed, 77), aspect, height_px)
    SCENES[int(e.rng.integers(len(SCENES)))](e)
    e.pixels *= e.pick(0.65, 1.0)
    choices = SUBJECTS[kind]
    compose(e, choices[int(e.rng.integers(len(choices)))])
    effects(e)
    return np.ascontiguousarray(finish(e))
