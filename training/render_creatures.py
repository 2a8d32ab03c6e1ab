"""The living subjects of the cards' pictures, in units of their own size; x to the right, y down."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from training.render_easel import Easel, hsv, limb, ngon, smooth

__all__ = ["beast", "face", "figure", "serpent"]


def beast(e: Easel) -> None:
    """A creature: a body, as many legs as it likes, a neck, a head, and what evolution left over."""
    coat, dark, trim = e.coat[3], e.coat[2], e.trim[3]
    long, plump, lift = e.pick(0.16, 0.3), e.pick(0.1, 0.22), e.pick(-0.1, 0.08)
    pairs, foot, thick = int(e.rng.choice([1, 2, 2, 2, 3])), e.pick(0.36, 0.47), e.pick(0.022, 0.042)
    head, skull = (long + e.pick(0.0, 0.14), lift - e.pick(0.12, 0.34)), e.pick(0.09, 0.16)
    tail = [(-long, lift), (-long - 0.15, lift + e.pick(-0.2, 0.15)), (-0.5, lift + e.pick(-0.35, 0.2))]
    e.part(dark, limb(tail, [plump * 0.5, thick, 0.012]))
    if e.rng.random() < 0.4:
        wing(e, (-0.02, lift - plump * 0.6), -0.25, -0.36)
    hips = list(np.linspace(-long * 0.75, long * 0.8, pairs)) if pairs > 1 else [0.0]
    legs = [
        limb([(x, lift), (x + e.pick(-0.08, 0.02), foot * 0.5), (x + s, foot)], [thick * 1.5, thick, thick * 0.9])
        for s in (0.09, -0.04)
        for x in hips
    ]
    e.part(dark, *legs[:pairs])
    if e.rng.random() < 0.6:
        spikes = np.linspace(-0.9, 0.8, int(e.rng.integers(4, 9))) * long
        e.part(
            trim,
            *[
                np.array(
                    [
                        (x - 0.04, lift - plump * 0.6),
                        (x - 0.03, lift - plump * e.pick(1.3, 1.9)),
                        (x + 0.04, lift - plump * 0.6),
                    ]
                )
                for x in spikes
            ],
        )
    e.part(coat, ngon(0, lift, long * 1.25, plump, turn=e.pick(-0.05, 0.02)), bulge=0.16)
    e.part(e.coat[4], ngon(0.01, lift + plump * 0.5, long * 0.8, plump * 0.42))
    e.part(coat, *legs[pairs:])
    e.part(
        coat,
        limb(
            [(long * 0.6, lift - 0.02), ((long + head[0]) / 2 + 0.04, (lift + head[1]) / 2), head],
            [plump * 0.75, skull * 0.6, skull * 0.6],
        ),
    )
    horns(e, head, skull)
    muzzle = e.pick(0.4, 1.5) * skull
    e.part(
        coat,
        ngon(*head, skull * 1.15, skull),
        limb(
            [head, (head[0] + muzzle, head[1] + 0.03), (head[0] + muzzle * 1.4, head[1] + 0.05)],
            [skull * 0.8, skull * 0.5, 0.02],
        ),
        bulge=0.1,
    )
    for k in range(int(e.rng.choice([1, 1, 2, 3]))):
        e.eye(head[0] + skull * (0.3 - 0.45 * k), head[1] - skull * 0.25, skull * e.pick(0.2, 0.36))


def horns(e: Easel, head: tuple[float, float], skull: float) -> None:
    x, y = head
    kind, long = int(e.rng.integers(0, 4)), e.pick(0.1, 0.24)
    if kind == 0:
        e.part(
            e.trim[4],
            *[
                limb(
                    [(x + d, y - skull * 0.5), (x + d - 0.06, y - long), (x + d + 0.05, y - long * 1.5)],
                    [0.03, 0.02, 0.003],
                )
                for d in (-0.05, 0.04)
            ],
        )
    elif kind == 1:
        e.part(e.coat[2], *[ngon(x + d, y - skull, 0.045, long * 0.9, turn=d) for d in (-0.09, 0.05)])
    elif kind == 2:
        e.part(
            e.trim[3],
            *[
                limb(
                    [(x - skull * 0.6, y + k), (x - skull - 0.1, y + k - 0.05), (x - skull - long, y + k * 2)],
                    [0.035, 0.03, 0.005],
                )
                for k in (-0.1, -0.04, 0.03, 0.09)
            ],
        )


def wing(e: Easel, root: tuple[float, float], dx: float, dy: float) -> None:
    """A wing of feathers or of skin between fingers, from its shoulder towards its tip."""
    x, y = root
    count = int(e.rng.integers(4, 8))
    tips = [(x + dx * (1.25 - 0.18 * k), y + dy * (1 - 1.25 * k / count)) for k in range(count)]
    if e.rng.random() < 0.5:
        for tip in tips[::-1]:
            e.part(
                e.trim[2 + int(e.rng.integers(0, 3))],
                limb([root, ((x + tip[0]) / 2, (y + tip[1]) / 2 - 0.05), tip], [0.02, 0.05, 0.012]),
                bulge=0.04,
            )
        return
    edge = [point for a, b in pairwise(tips) for point in (a, ((a[0] + b[0] + x) / 3, (a[1] + b[1] + y) / 3))]
    e.part(e.trim[2], np.array([root, (x + dx * 0.5, y + dy * 1.05), *edge, tips[-1]]), bulge=0.03)
    e.part(e.coat[2], *[limb([root, (x + dx * 0.45, y + dy * 0.95), tip], [0.022, 0.018, 0.004]) for tip in tips])


def serpent(e: Easel) -> None:
    turns, reach = e.pick(1.2, 2.6), e.pick(0.14, 0.3)
    t = np.linspace(0, 1, 22)
    path = np.column_stack([reach * np.sin(t * turns * 2 * np.pi + e.pick(0, 6)) * (1.15 - t * 0.5), 0.46 - t * 0.8])
    fat = e.pick(0.05, 0.09)
    if e.rng.random() < 0.5:
        for side in (-1.0, 1.0):
            wing(e, (float(path[12, 0]), float(path[12, 1])), side * 0.42, -0.26)
    fins = [(float(path[k, 0]), float(path[k, 1]), k / 9) for k in range(1, 21, 2)]
    e.part(e.trim[2], *[ngon(x, y, fat * 1.5, 0.012 + fat * 0.7, sides=3, turn=turn) for x, y, turn in fins])
    for k in range(0, 20, 4):
        e.part(
            e.coat[3],
            limb(path[k : k + 6], np.interp(np.linspace(k, k + 5, 6) / 21, [0, 0.3, 1], [0.01, fat, fat * 0.8])),
            texture=0.5,
        )
    head = (float(path[-1, 0]), float(path[-1, 1]))
    horns(e, head, fat * 1.5)
    e.part(
        e.coat[3],
        ngon(*head, fat * 1.6, fat * 1.3),
        limb([head, (head[0] + 0.1, head[1] + 0.03), (head[0] + 0.19, head[1] + 0.05)], [fat, fat * 0.8, 0.015]),
    )
    e.eye(head[0] + 0.03, head[1] - 0.025, 0.028)


def figure(e: Easel) -> None:
    """Somebody in a cloak or in armour, with something in the hand."""
    lean, wide, tall = e.pick(-0.05, 0.05), e.pick(0.15, 0.3), e.pick(-0.32, -0.24)
    e.part(
        e.trim[2],
        limb([(-0.02, -0.2), (-0.1 - lean, 0.1), (e.pick(-0.35, -0.05), 0.5)], [0.1, wide, wide * 1.2]),
        bulge=0.1,
    )
    if e.rng.random() < 0.3:
        for side in (-1.0, 1.0):
            wing(e, (0.0, -0.15), side * 0.4, -0.28)
    e.part(
        e.coat[2],
        limb([(-0.06, 0.08), (-0.1, 0.3), (-0.11, 0.5)], [0.07, 0.06, 0.05]),
        limb([(0.06, 0.08), (0.09, 0.3), (0.1, 0.5)], [0.07, 0.06, 0.05]),
    )
    if e.rng.random() < 0.5:
        e.part(
            e.coat[3],
            np.array([(-0.1, -0.05), (0.1, -0.05), (wide, 0.46), (0.02, 0.42), (-wide, 0.48)]),
            bulge=0.1,
            texture=0.6,
        )
    e.part(e.coat[3], limb([(lean, -0.2), (0, 0), (0, 0.12)], [0.13, 0.1, 0.09]), bulge=0.12)
    e.part(e.trim[4], limb([(-0.1, 0.07), (0, 0.09), (0.1, 0.07)], [0.018, 0.018]), ngon(0, 0.08, 0.03))
    hand = (0.24 + e.pick(-0.03, 0.05), e.pick(-0.2, 0.05))
    tool(e, hand)
    e.part(
        e.coat[3],
        limb([(0.1 + lean, -0.18), (0.2, -0.02), hand], [0.055, 0.045, 0.04]),
        limb([(-0.1 + lean, -0.18), (-0.2, -0.02), (-0.14, e.pick(-0.05, 0.15))], [0.055, 0.045, 0.035]),
    )
    e.part(e.trim[3], ngon(-0.12 + lean, -0.2, 0.085, 0.06), ngon(0.12 + lean, -0.2, 0.085, 0.06))
    head, skin = (lean, tall - 0.02), hsv(0.07, e.pick(0.2, 0.6), e.pick(0.35, 0.95))
    e.part(e.trim[1], ngon(head[0], head[1] - 0.015, 0.105, 0.12))
    e.part(skin if e.rng.random() < 0.7 else e.coat[0], ngon(head[0] + 0.01, head[1] + 0.02, 0.07, 0.085))
    for side in (-0.015, 0.045):
        e.eye(head[0] + side, head[1] + 0.015, 0.016)
    if e.rng.random() < 0.6:
        hat = e.rng.choice([0.02, 0.1, 0.25])
        e.part(
            e.trim[3],
            np.array(
                [
                    (head[0] - 0.13, head[1] - 0.02),
                    (head[0] - 0.03 - hat * 0.3, head[1] - 0.12 - hat),
                    (head[0] + 0.13, head[1] - 0.02),
                    (head[0], head[1] - 0.06),
                ]
            ),
        )


def tool(e: Easel, hand: tuple[float, float]) -> None:
    x, y = hand
    kind, lean = int(e.rng.integers(0, 4)), e.pick(-0.08, 0.1)
    e.part(
        e.trim[1],
        limb([(x - lean, y + (0.45 if kind else 0.1)), (x, y), (x + lean, y - 0.3)], [0.014, 0.014]),
        bulge=0.02,
    )
    if kind == 0:
        e.part(e.scene[5], np.array([(x - 0.03, y - 0.06), (x + lean, y - 0.44), (x + 0.03, y - 0.06)]), bulge=0.03)
    elif kind == 1:
        e.part(e.trim[4], ngon(x + lean, y - 0.32, 0.06, sides=6))
        e.halo(x + lean, y - 0.32, 0.1)
    elif kind == 2:
        e.part(
            e.scene[4],
            limb([(x + lean - 0.12, y - 0.36), (x + lean, y - 0.26), (x + lean + 0.13, y - 0.34)], [0.02, 0.06, 0.02]),
            bulge=0.03,
        )
    else:
        e.part(e.scene[5], ngon(x + lean, y - 0.32, 0.04, 0.12, sides=4))


def face(e: Easel) -> None:
    """A mask: two eyes, a brow, and a mouth full of teeth."""
    wide, chin = e.pick(0.24, 0.38), e.pick(0.34, 0.48)
    for side in (-1.0, 1.0):
        e.part(
            e.trim[3],
            limb(
                [(side * wide * 0.6, -0.2), (side * (wide + 0.12), -0.34), (side * (wide + e.pick(-0.1, 0.12)), -0.5)],
                [0.07, 0.05, 0.006],
            ),
        )
    shell = [
        (-wide, -0.25),
        (0, -0.42),
        (wide, -0.25),
        (wide * e.pick(0.8, 1.1), 0.1),
        (0, chin),
        (-wide * e.pick(0.8, 1.1), 0.1),
        (-wide, -0.25),
    ]
    e.part(e.coat[3], smooth(np.array(shell), int(e.rng.integers(0, 3))), bulge=0.2)
    e.part(
        e.trim[4],
        limb([(0, -0.3), (0.0, -0.05), (0, 0.1)], [0.015, 0.03, 0.06]),
        *[
            limb([(s * 0.05, -0.1), (s * 0.16, -0.2), (s * wide * 0.9, e.pick(-0.26, -0.12))], [0.012, 0.04, 0.01])
            for s in (-1, 1)
        ],
    )
    e.lay(e.mask(e.place(ngon(0, 0.21, wide * 0.5, e.pick(0.03, 0.09)))), e.coat[0] * 0.4)
    e.part(
        e.scene[5],
        *[np.array([(x - 0.025, 0.16), (x, 0.24), (x + 0.025, 0.16)]) for x in np.linspace(-0.4, 0.4, 5) * wide],
        bulge=0.03,
    )
    gaze = e.pick(0.04, 0.08)
    for x in (-0.14, 0.14):
        e.eye(x, -0.06, gaze)
