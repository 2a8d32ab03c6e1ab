"""The scenes of the cards' pictures, each of which fills a whole easel: land, sea, sky and patterns."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from training.render_easel import Easel, Field, limb, ngon

__all__ = ["SCENES", "globe"]


def sky(e: Easel) -> None:
    """A gradient, clouds, and a sun, a moon or stars."""
    flip = e.rng.random() < 0.35
    fall = 1 - e.y if flip else e.y
    e.pixels[:] = e.tint(
        np.broadcast_to(fall * e.pick(0.8, 1.2), (e.h, e.w)) + 0.12 * (e.noise(3, 3) - 0.5), e.scene[1:]
    )
    if flip or e.rng.random() < 0.3:
        stars = cv2.resize(
            (e.rng.random((70, 90)) > 0.985).astype(np.float32), (e.w, e.h), interpolation=cv2.INTER_CUBIC
        )
        e.add(stars * (1 - e.y), e.shine)
    x, y, radius = e.pick(0.1, 0.9) * e.aspect, e.pick(0.12, 0.45), e.pick(0.04, 0.16)
    e.add(e.glow(x, y, radius * 1.6, 1.3) * 0.8, e.shine)
    e.lay(e.mask(ngon(x, y, radius, sides=48)), np.clip(e.shine * 1.05, 0, 1), 0.9)
    clouds = e.noise(e.pick(2, 4), 4)
    e.lay(np.clip((clouds - e.pick(0.5, 0.62)) * 4, 0, 1) * np.clip(1.3 - e.y * 1.6, 0, 1), e.scene[5], 0.75)


def ridges(e: Easel, waves: float, tall: float, layers: int, *, soft: int = 5) -> None:
    """Ranges of hills from the haze to the foreground."""
    for depth in np.linspace(0, 1, layers):
        ridge = 0.45 + 0.42 * depth + e.curve(waves * (1.6 - depth), soft) * tall * (1.1 - 0.6 * depth)
        rough = (e.noise(10, 2) - 0.5) * 0.5 + (e.y - ridge) * 0.7
        shade = e.tint(0.62 - 0.5 * depth + rough * 0.4, e.scene)
        e.lay(np.asarray(np.clip((e.y - ridge) * e.h, 0, 1), np.float32), shade)


def mountains(e: Easel) -> None:
    sky(e)
    ridges(e, e.pick(0.6, 4), e.pick(0.06, 0.28), int(e.rng.integers(3, 7)), soft=int(e.rng.choice([1, 5, 5])))


def ocean(e: Easel) -> None:
    sky(e)
    sharp = e.pick(0.7, 3)
    for depth in np.linspace(0, 1, int(e.rng.integers(4, 8))):
        length = 0.04 + 0.2 * depth
        phase = e.x / length * 2 * np.pi + e.pick(0, 6) + e.curve(2, 2) * 3
        crest = 0.5 + 0.48 * depth - (np.abs(np.sin(phase / 2)) ** sharp + 0.4 * e.curve(3, 3)) * (0.015 + 0.06 * depth)
        below = np.asarray(e.y - crest, np.float32)
        e.lay(np.clip(below * e.h, 0, 1), e.tint(0.55 - 0.4 * depth + below * 0.9, e.scene))
        e.lay(np.clip(1 - np.abs(below) * (90 - 60 * depth), 0, 1) * np.clip(below * e.h, 0, 1), e.scene[5], 0.7)


def forest(e: Easel) -> None:
    sky(e)
    for depth in np.linspace(0.15, 1, 4):
        trunks = []
        for _ in range(int(14 - 9 * depth)):
            x, wide, sway = (
                e.pick(-0.05, 1.05) * e.aspect,
                (0.006 + 0.04 * depth) * e.pick(0.6, 1.5),
                e.pick(-0.05, 0.05),
            )
            trunks.append(limb([(x, 1.1), (x + sway, 0.6), (x - sway, 0.3), (x, -0.1)], [wide * 1.8, wide, wide * 0.8]))
        e.lay(e.mask(*trunks), e.tint(0.6 - 0.55 * depth + 0.25 * (e.grain - 0.5), e.scene))
        leaves = e.noise(6 + 4 * depth, 3) - np.abs(e.y - 0.48) * 1.5 * (1.25 - 0.4 * depth) * -1
        e.lay(
            np.clip((leaves - 0.98) * 9, 0, 1),
            e.tint(0.75 - 0.6 * depth + 0.4 * (e.grain - 0.5), e.trim if depth > 0.7 else e.scene),
        )


def space(e: Easel) -> None:
    cloud = e.noise(e.pick(1.5, 3), 5)
    e.pixels[:] = e.tint(np.clip(cloud * 1.5 - 0.5, 0, 1) ** 1.6, np.vstack([e.scene[:1] * 0.2, e.scene[1:5]]))
    e.add(np.clip(e.noise(2.5, 5) * 1.8 - 1, 0, 1), e.trim[3])
    points = (e.rng.random((110, 140)) ** 90).astype(np.float32)
    e.add(cv2.resize(points, (e.w, e.h), interpolation=cv2.INTER_CUBIC).astype(np.float32), e.shine)
    for _ in range(int(e.rng.integers(0, 3))):
        globe(
            e,
            e.pick(0, 1) * e.aspect,
            e.pick(0.05, 0.9),
            e.pick(0.05, 0.3),
            e.scene if e.rng.random() < 0.5 else e.trim,
        )


def globe(e: Easel, x: float, y: float, radius: float, colours: Field) -> None:
    """A lit planet with bands of weather."""
    u, v = (e.x - x) / radius, (e.y - y) / radius
    high = np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
    lit = np.clip(u * e.light[0] + v * e.light[1] + high * e.light[2], 0, 1)
    bands = 0.5 + 0.35 * np.sin(v * e.pick(3, 14) + e.grain * 4) + 0.5 * (e.grain - 0.5)
    disc = np.asarray(np.clip((1 - np.sqrt(u * u + v * v)) * radius * e.h, 0, 1), np.float32)
    e.lay(disc, e.tint(np.asarray(bands * 0.5 + 0.35, np.float32), colours) * (0.06 + 1.1 * lit))
    e.add(np.asarray(np.exp(-np.abs(np.sqrt(u * u + v * v) - 1) * 14) * 0.35, np.float32), colours[4])


def crystals(e: Easel) -> None:
    seeds = np.full((e.h, e.w), 255, np.uint8)
    count = int(e.rng.integers(25, 110))
    spots = (e.rng.random((count, 2)) * (e.h - 1, e.w - 1)).astype(int)
    seeds[spots[:, 0], spots[:, 1]] = 0
    far, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    order = np.zeros(labels.max() + 1, int)
    order[labels[spots[:, 0], spots[:, 1]]] = np.arange(count)
    cell = order[labels]
    tilt, shade = e.rng.normal(0, 0.25, (2, count)).astype(np.float32), e.rng.random(count).astype(np.float32)
    centre = spots[cell].astype(np.float32) / e.h
    slope = (e.y - centre[..., 0]) * tilt[0][cell] * 8 + (e.x - centre[..., 1]) * tilt[1][cell] * 8
    e.pixels[:] = e.tint(0.1 + 0.6 * shade[cell] * (1.1 - 0.5 * e.y) + slope * 0.35 - far / e.h * 0.5, e.scene)
    edges = cv2.morphologyEx(cell.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    e.lay(edges.astype(np.float32), e.scene[5], e.pick(0.1, 0.6))


def city(e: Easel) -> None:
    sky(e)
    for depth in np.linspace(0.1, 1, 4):
        colour, x = e.scene[4] * (1 - depth) + e.scene[0] * 0.7 * depth, -0.05
        towers, windows = [], []
        while x < e.aspect:
            wide, top = e.pick(0.04, 0.1) * (0.5 + depth), e.pick(0.2, 0.62) + 0.22 * depth
            roof = [(x + wide / 2, top - e.pick(0, 0.2))] if e.rng.random() < 0.6 else []
            towers.append(np.array([(x, 1.1), (x, top), *roof, (x + wide, top), (x + wide, 1.1)]))
            windows += [
                ngon(x + wide * e.pick(0.25, 0.75), top + 0.03 + 0.05 * row, 0.006 + 0.004 * depth, 0.011)
                for row in range(6)
            ]
            x += wide * e.pick(0.8, 1.3)
        e.lay(e.mask(*towers), colour)
        e.lay(e.mask(*[w for w in windows if e.rng.random() < 0.6]), e.shine, 0.35 + 0.5 * depth)


def marble(e: Easel) -> None:
    warp, waves = e.noise(e.pick(1.5, 3), 3), e.pick(2, 9)
    slant = e.x * e.pick(-1, 1) + e.y * e.pick(-1, 1)
    field = 0.5 + 0.5 * np.sin(slant * waves * 2 + warp * e.pick(4, 14) + e.noise(5, 3) * 2)
    colours = np.vstack([e.scene[0:4:2], e.trim[2:3], e.scene[3:5]])
    e.pixels[:] = e.tint(np.asarray(field, np.float32), colours) * (0.7 + 0.5 * warp)


def vortex(e: Easel) -> None:
    dx, dy = e.x - e.at[0], (e.y - e.at[1]) * e.pick(1, 1.7)
    far, angle = np.sqrt(dx * dx + dy * dy) + 0.02, np.arctan2(dy, dx)
    arms, twist = int(e.rng.integers(2, 8)), e.pick(2, 7)
    field = 0.5 + 0.5 * np.sin(arms * angle + twist * np.log(far) * 2 + e.noise(4, 4) * 5)
    e.pixels[:] = e.tint(np.asarray(field * (1.15 - far) + 0.05, np.float32), e.scene)
    e.add(np.asarray(0.12 / far - 0.15, np.float32), e.shine)


def mandala(e: Easel) -> None:
    dx, dy = e.x - e.aspect / 2, e.y - e.at[1]
    far, angle = np.sqrt(dx * dx + dy * dy), np.arctan2(dy, dx)
    petals, rings = int(e.rng.integers(4, 15)), e.pick(8, 28)
    flower = far + e.pick(0.01, 0.09) * np.cos(petals * angle)
    field = (
        0.5
        + 0.3 * np.sin(flower * rings)
        + 0.25 * np.cos(petals * angle * int(e.rng.integers(1, 3)) + far * e.pick(0, 20))
    )
    e.pixels[:] = e.tint(np.asarray(field * (1.1 - 0.7 * far) + 0.15 * (e.grain - 0.5), np.float32), e.scene)


def fractal(e: Easel) -> None:
    """A Julia set, at half size: its iteration is the dearest thing here."""
    angle = e.pick(0, 2 * np.pi)
    c = np.complex64(
        0.7885 * np.exp(1j * angle)
        if e.rng.random() < 0.6
        else complex(-0.8 + e.pick(-0.05, 0.05), 0.156 + e.pick(-0.03, 0.08))
    )
    wide, high = max(e.w // 2, 2), max(e.h // 2, 2)
    zoom = e.pick(1.6, 2.6)
    z = ((np.arange(wide) / wide - 0.5) * e.aspect + 1j * (np.arange(high)[:, None] / high - 0.5)).astype(
        np.complex64
    ) * np.complex64(zoom * np.exp(1j * e.pick(0, 6)))
    steps = np.zeros((high, wide), np.float32)
    for _ in range(22):
        z = z * z + c
        size = z.real**2 + z.imag**2
        steps += np.exp(-size * 0.5)
        z = np.where(size > 64, np.complex64(8), z)
    field = cv2.resize(steps / 14, (e.w, e.h), interpolation=cv2.INTER_CUBIC)
    e.pixels[:] = e.tint(np.clip(field, 0, 1) ** 0.7, np.vstack([e.scene[:4], e.trim[3:]]))


def facets(e: Easel) -> None:
    rows, columns = int(e.rng.integers(5, 10)), int(e.rng.integers(6, 11))
    grid = np.stack(np.meshgrid(np.linspace(-0.1, 1.1, columns) * e.aspect, np.linspace(-0.1, 1.1, rows)), -1)
    grid += e.rng.uniform(-0.05, 0.05, grid.shape)
    flat, slant = np.zeros((e.h, e.w), np.uint8), e.pick(-0.6, 0.6)
    for r in range(rows - 1):
        for k in range(columns - 1):
            a, b, c, d = grid[r, k], grid[r, k + 1], grid[r + 1, k + 1], grid[r + 1, k]
            for triangle in ((a, b, c), (a, c, d)) if (r + k) % 2 else ((a, b, d), (b, c, d)):
                middle = np.mean(triangle, axis=0)
                shade = 60 + 110 * (middle[1] + slant * middle[0]) + e.rng.normal(0, 22)
                cv2.fillPoly(
                    flat,
                    [np.round(np.array(triangle) * e.h * 16).astype(np.int32)],
                    float(np.clip(shade, 5, 250)),
                    cv2.LINE_AA,
                    4,
                )
    e.pixels[:] = e.tint(flat.astype(np.float32) / 255, e.scene)


SCENES: tuple[Callable[[Easel], None], ...] = (
    mountains, ocean, forest, space, crystals, city, marble, vortex, mandala, fractal, facets,
)  # fmt: skip
