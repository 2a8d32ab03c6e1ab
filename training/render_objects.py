"""The subjects of the cards' pictures that are things, in units of their own size; x to the right, y down."""

from __future__ import annotations

import numpy as np

from training.render_easel import Easel, Points, limb, ngon, smooth
from training.render_scenes import globe

__all__ = ["flower", "gems", "machine", "nothing", "orb", "potion", "shield", "ship", "tower", "tree", "weapon"]


def nothing(e: Easel) -> None:
    """The scene alone, with a light in it."""
    e.halo(0, 0, e.pick(0.1, 0.4))


def weapon(e: Easel) -> None:
    """A great sword, an axe or a key before a burst of light; turned as a whole."""
    tilt, long, kind = e.pick(-0.6, 0.6), e.pick(0.34, 0.46), int(e.rng.integers(0, 3))
    c, s = np.cos(tilt), np.sin(tilt)
    turned = np.array([[c, s], [-s, c]])
    wide = e.pick(0.035, 0.08)
    e.part(e.trim[2], limb([(0, 0.12), (0, 0.4)], [0.028, 0.024]) @ turned, ngon(0, 0.43, 0.045) @ turned)
    if kind == 0:
        wave = e.pick(0, 0.03)
        blade = limb([(0, 0.12), (wave, -0.1), (-wave, -long * 0.7), (0, -long)], [wide, wide * 0.8, wide * 0.9, 0.004])
        e.part(e.scene[5], blade @ turned, bulge=0.05)
        e.lay(e.mask(e.place(limb([(0, 0.1), (0, -long * 0.75)], [wide * 0.18, 0.003]) @ turned)), e.trim[1], 0.7)
    else:
        e.part(e.trim[2], limb([(0, 0.2), (0, -long)], [0.025, 0.025]) @ turned)
        for side in (-1.0, 1.0) if kind == 1 else (1.0,):
            edge = [
                (side * 0.02, -long * 0.85),
                (side * 0.3, -long - 0.04),
                (side * 0.34, -long * 0.45),
                (side * 0.26, -0.02),
                (side * 0.02, -long * 0.35),
            ]
            e.part(e.scene[4], smooth(np.array(edge), 2) @ turned, bulge=0.05)
    e.part(
        e.trim[4],
        limb([(-wide - 0.12, 0.09), (0, 0.13), (wide + 0.12, 0.09)], [0.012, 0.035, 0.012]) @ turned,
        ngon(0, 0.12, 0.045, sides=6) @ turned,
    )


def shield(e: Easel) -> None:
    rim = np.array(
        [(-0.36, -0.4), (0, -0.46), (0.36, -0.4), (0.38, 0.0), (0.22, 0.3), (0, 0.47), (-0.22, 0.3), (-0.38, 0.0)]
    )
    if e.rng.random() < 0.35:
        rim = ngon(0, 0, 0.42, sides=int(e.rng.choice([6, 8, 40])))
    e.part(e.trim[4], rim)
    e.part(e.coat[3], rim * 0.85, bulge=0.3)
    bars = [limb([(0, -0.36), (0, 0.34)], [0.06, 0.06]), limb([(-0.28, -0.05), (0.28, -0.05)], [0.06, 0.06])]
    e.part(e.coat[1], *bars[: int(e.rng.integers(0, 3))])
    e.part(e.trim[3], ngon(0, -0.04, e.pick(0.16, 0.26), sides=int(e.rng.integers(3, 10)), inner=e.pick(0.35, 0.8)))
    e.eye(0, -0.04, e.pick(0.05, 0.1))


def potion(e: Easel) -> None:
    belly, neck = e.pick(0.22, 0.34), e.pick(0.05, 0.09)
    sides = int(e.rng.choice([30, 30, 4, 6]))
    e.part(e.scene[5] * 0.8, ngon(0, 0.16, belly, sides=sides), limb([(0, 0.1), (0, -0.3)], [neck, neck]), bulge=0.12)
    e.part(e.trim[3], ngon(0, 0.2, belly * 0.84, belly * 0.76, sides=sides), bulge=0.2, texture=0.7)
    e.part(
        e.coat[2],
        limb([(0, -0.28), (0, -0.42)], [neck * 1.25, neck]),
        limb([(-neck * 1.7, -0.28), (neck * 1.7, -0.28)], [0.022, 0.022]),
    )
    for _ in range(9):
        e.lay(e.mask(e.place(ngon(e.pick(-0.6, 0.6) * belly, e.pick(0.02, 0.36), e.pick(0.008, 0.03)))), e.trim[5], 0.6)
    e.lay(
        e.mask(e.place(limb([(-belly * 0.7, 0.2), (-belly * 0.65, 0.05), (-belly * 0.4, -0.02)], [0.01, 0.03, 0.01]))),
        np.ones(3, np.float32),
        0.7,
    )


def gems(e: Easel) -> None:
    for _ in range(int(e.rng.integers(4, 9))):
        lean, long, wide = e.pick(-0.32, 0.32), e.pick(0.3, 0.85), e.pick(0.05, 0.12)
        base, tip = np.array((lean * 0.3, 0.42)), np.array((lean * 1.2, 0.42 - long))
        side, neck = np.array((wide, 0)), tip * 0.75 + base * 0.25
        middle = neck + side * e.pick(-0.5, 0.5)
        colours = e.coat if e.rng.random() < 0.7 else e.trim
        foot = base + (middle - neck)
        for shade, shape in (
            (2, (base - side, neck - side, middle, foot)),
            (4, (foot, middle, neck + side, base + side)),
            (5, (neck - side, tip, middle)),
            (3, (middle, tip, neck + side)),
        ):
            e.part(colours[shade], np.array(shape), bulge=0.02, texture=0.1)
    e.part(
        e.scene[1],
        *[ngon(e.pick(-0.35, 0.35), 0.45, e.pick(0.08, 0.2), e.pick(0.04, 0.09), sides=7) for _ in range(5)],
        texture=0.8,
    )


def tower(e: Easel) -> None:
    count = int(e.rng.integers(1, 6))
    for place in np.sort(e.rng.uniform(0, 1, count))[::-1]:
        x, wide, top = e.pick(-0.32, 0.32), e.pick(0.06, 0.13), -0.35 + 0.5 * place * e.pick(0.5, 1)
        e.part(
            e.coat[3],
            np.array([(x - wide, top), (x + wide, top), (x + wide * 1.15, 0.5), (x - wide * 1.15, 0.5)]),
            bulge=wide,
            texture=0.7,
        )
        if e.rng.random() < 0.6:
            e.part(
                e.trim[3],
                np.array([(x - wide * 1.35, top + 0.02), (x, top - e.pick(0.14, 0.3)), (x + wide * 1.35, top + 0.02)]),
                bulge=wide,
            )
        else:
            e.part(
                e.coat[4],
                *[
                    np.array(
                        [
                            (x + d, top + 0.03),
                            (x + d, top - 0.05),
                            (x + d + wide * 0.4, top - 0.05),
                            (x + d + wide * 0.4, top + 0.03),
                        ]
                    )
                    for d in (-wide * 1.1, -wide * 0.2, wide * 0.7)
                ],
            )
        e.lay(
            e.mask(
                *[
                    e.place(ngon(x + e.pick(-0.4, 0.4) * wide, y, 0.012, 0.026))
                    for y in np.arange(top + 0.1, 0.45, 0.11)
                ]
            ),
            e.shine,
        )
    e.part(e.scene[1], limb([(-0.5, 0.52), (0, 0.46), (0.5, 0.52)], [0.03, 0.09, 0.03]), texture=0.9)


def ship(e: Easel) -> None:
    for x in (-0.2, 0.02, 0.22)[: int(e.rng.integers(1, 4))]:
        high, wide = e.pick(-0.46, -0.3), e.pick(0.1, 0.2)
        e.part(e.trim[1], limb([(x, 0.25), (x, high)], [0.014, 0.01]))
        e.part(
            e.trim[4],
            smooth(
                np.array(
                    [
                        (x + 0.01, high + 0.03),
                        (x + wide * 1.4, (high + 0.1) / 2 + 0.05),
                        (x + wide, 0.12),
                        (x - wide * 0.6, 0.1),
                        (x + 0.01, high + 0.03),
                    ]
                ),
                2,
            ),
            bulge=0.12,
        )
        e.part(e.coat[4], np.array([(x, high), (x + 0.14, high + 0.02), (x, high + 0.05)]))
    e.part(
        e.coat[2],
        smooth(
            np.array([(-0.46, 0.1), (-0.3, 0.2), (0.3, 0.2), (0.5, 0.06), (0.34, 0.4), (-0.3, 0.42), (-0.46, 0.1)]), 2
        ),
        texture=0.8,
    )
    e.lay(e.mask(*[e.place(ngon(x, 0.28, 0.022)) for x in np.linspace(-0.28, 0.28, 6)]), e.shine)


def flower(e: Easel) -> None:
    petals, rings, slim = int(e.rng.integers(5, 12)), int(e.rng.integers(1, 4)), e.pick(0.06, 0.13)
    e.part(
        e.trim[2],
        limb([(0, 0), (e.pick(-0.1, 0.1), 0.25), (0, 0.55)], [0.02, 0.025]),
        *[limb([(0, 0.4), (s * 0.15, 0.28), (s * 0.34, 0.33)], [0.02, 0.07, 0.005]) for s in (-1, 1)],
    )
    for ring in range(rings):
        reach = 0.36 * (1 - ring * 0.28)
        for k in range(petals):
            angle = 2 * np.pi * (k + ring / 2) / petals
            tip = np.array((np.cos(angle), np.sin(angle) * 0.85)) * reach
            e.part(
                e.coat[2 + (ring + k % 2) % 4],
                limb(np.outer((0, 0.6, 1), tip) - (0, 0.1), [0.02, slim, 0.015]),
                bulge=0.05,
            )
    e.part(e.trim[4], ngon(0, -0.1, e.pick(0.05, 0.1)), texture=0.9)


def machine(e: Easel) -> None:
    for _ in range(int(e.rng.integers(3, 7))):
        x, y, radius = e.pick(-0.3, 0.3), e.pick(-0.3, 0.3), e.pick(0.1, 0.24)
        colours = e.coat if e.rng.random() < 0.6 else e.trim
        e.part(
            colours[3], ngon(x, y, radius, sides=int(e.rng.integers(8, 16)), inner=0.84, turn=e.pick(0, 1)), bulge=0.04
        )
        e.part(colours[1], ngon(x, y, radius * 0.6), bulge=0.03)
        e.part(
            colours[4],
            *[
                limb(
                    [
                        (x - radius * 0.6 * np.cos(a), y - radius * 0.6 * np.sin(a)),
                        (x + radius * 0.6 * np.cos(a), y + radius * 0.6 * np.sin(a)),
                    ],
                    [0.018, 0.018],
                )
                for a in (0.3, 1.35, 2.4)
            ],
        )
        e.part(e.trim[4], ngon(x, y, radius * 0.2))
    e.part(
        e.coat[4],
        limb(
            [
                (-0.45, e.pick(-0.3, 0.3)),
                (-0.2, e.pick(-0.4, 0.4)),
                (0.2, e.pick(-0.4, 0.4)),
                (0.48, e.pick(-0.3, 0.3)),
            ],
            [0.03, 0.03],
        ),
    )


def tree(e: Easel) -> None:
    tips: list[Points] = []

    def grow(x: float, y: float, angle: float, long: float, wide: float, left: int) -> None:
        ex, ey = x + np.cos(angle) * long, y + np.sin(angle) * long
        e.part(
            e.trim[1], limb([(x, y), ((x + ex) / 2 + e.pick(-0.02, 0.02), (y + ey) / 2), (ex, ey)], [wide, wide * 0.6])
        )
        if not left:
            tips.append(ngon(ex, ey, e.pick(0.06, 0.12), e.pick(0.05, 0.1), sides=9))
            return
        for turn in (-e.pick(0.3, 0.7), e.pick(0.3, 0.7)):
            grow(ex, ey, angle + turn, long * 0.72, wide * 0.6, left - 1)

    grow(0, 0.5, -np.pi / 2, e.pick(0.26, 0.34), e.pick(0.04, 0.07), 3)
    if e.rng.random() < 0.8:
        for k, tip in enumerate(tips):
            e.part(e.coat[2 + k % 3], tip, texture=1.0)


def orb(e: Easel) -> None:
    """A spell: a globe in a ring of runes, with arcs about it."""
    radius = e.pick(0.14, 0.27)
    e.halo(0, 0, radius * 1.6)
    spin = e.pick(0, 1)
    for k in range(count := int(e.rng.integers(5, 13))):
        angle = 2 * np.pi * (k / count + spin)
        e.part(
            e.trim[4],
            ngon(np.cos(angle) * 0.42, np.sin(angle) * 0.42, 0.045, 0.06, sides=3 + k % 3, inner=e.pick(0.4, 1)),
        )
    globe(e, *e.at, radius * e.size, e.coat)
    for _ in range(int(e.rng.integers(2, 7))):
        angle, reach = e.pick(0, 6.3), np.linspace(radius * 0.3, 0.5, 6)
        bolt = np.column_stack(
            [reach * np.cos(angle + e.rng.normal(0, 0.25, 6)), reach * np.sin(angle + e.rng.normal(0, 0.25, 6))]
        )
        e.lay(e.mask(e.place(bolt), stroke=0.03), e.trim[3], 0.35)
        e.lay(e.mask(e.place(bolt), stroke=0.008), e.shine)
