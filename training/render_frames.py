"""The frames of the fictional cards: their style, the picture's window, the plates and the set's symbol."""

from __future__ import annotations

import cv2
import numpy as np

from training.render_art import paint
from training.render_easel import generator, ngon, ramp
from training.render_layouts import FULL, Layout
from training.render_specs import RARITIES, CardSpec
from training.render_text import Box, Colour, Face, Pixels, Sheet, rounded

__all__ = ["Style", "draw_picture", "draw_plate", "draw_plates", "draw_symbol", "inks"]


class Style:
    """How the frames of one set look, and the colours of one element in it."""

    def __init__(self, frame_seed: int, element: int) -> None:
        rng = generator(frame_seed, 5)
        hues = rng.permutation(6) / 6 + rng.uniform(0, 0.16)
        richness = rng.uniform(0.2, 0.85)
        self.ramp = ramp(hues[element], richness, 8)
        borders = [(0.07, 0.07, 0.08), (0.95, 0.95, 0.93), (0.93, 0.78, 0.24), (0.7, 0.72, 0.75), (0.16, 0.12, 0.2)]
        kind = int(rng.integers(0, 8))
        self.border = np.asarray(borders[kind], np.float32) if kind < 5 else self.ramp[1 + 2 * (kind - 5)]
        self.margin = float(rng.uniform(16, 30))
        self.radius = float(rng.choice([0, 8, 16, 28, -14]))
        self.texture = int(rng.integers(0, 6))
        self.seed = frame_seed
        self.tone = float(rng.choice([0.4, 0.7, 1.0, 1.0, 1.25]))
        self.pale_plates = bool(rng.random() < 0.6)
        self.dark_text = bool(rng.random() < 0.25)
        self.plate = int(rng.integers(0, 4))
        self.metal = np.asarray(
            [(0.85, 0.7, 0.35), (0.75, 0.78, 0.82), (0.3, 0.28, 0.3), (0.9, 0.88, 0.8)][int(rng.integers(4))],
            np.float32,
        )
        typefaces = [-1, -1, -1, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_DUPLEX]
        self.title = Face(
            bold=float(rng.choice([0, 0.025, 0.045, 0.06])),
            width=float(rng.uniform(0.78, 1.15)),
            slant=float(rng.choice([0, 0, 0, 0.22])),
            caps=bool(rng.random() < 0.35),
            opencv=int(rng.choice(typefaces)),
        )
        self.body = float(rng.uniform(25, 31))
        self.centre_title = bool(rng.random() < 0.35)
        self.centre_text = bool(rng.random() < 0.6)

    def ground(self, sheet: Sheet) -> Pixels:
        """The frame's material, as large as the card."""
        rng = generator(self.seed, 6)
        y, x = np.mgrid[0:220, 0:158].astype(np.float32) / 220
        cloud = cv2.resize(rng.random((14, 10), dtype=np.float32), (158, 220), interpolation=cv2.INTER_CUBIC)
        fine = rng.random((220, 158), dtype=np.float32)
        fields = (
            0.6 - 0.3 * y,
            0.35 + 0.35 * cloud + 0.1 * fine,
            0.5 + 0.12 * np.sin((x + y) * 150),
            0.45 + 0.3 * np.sin(y * 4 + cloud * 5),
            0.5 + 0.1 * np.sin(x * 200) * np.sin(y * 200),
            0.3 + 0.5 * np.abs(y - 0.5) + 0.12 * fine,
        )
        table = np.stack(
            [np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, 8), self.ramp[:, c]) for c in range(3)], 1
        )
        image = (table[(np.clip(fields[self.texture] * self.tone, 0, 1) * 255).astype(np.uint8)] * 255).astype(np.uint8)
        return np.asarray(cv2.resize(image, (sheet.width, sheet.height), interpolation=cv2.INTER_LINEAR), np.uint8)


def draw_picture(sheet: Sheet, style: Style, layout: Layout, box: Box, seed: int, kind: str) -> None:
    """The art in its window; it is painted at most 420 rows high, which is where more stops showing."""
    box = (style.margin, style.margin, 630 - style.margin, 880 - style.margin) if box == FULL else box
    nominal = (22, 22, 608, 858) if layout.art == FULL else box
    left, top, right, bottom = (round(v * sheet.scale) for v in box)
    rows = min(bottom - top, 420)
    art = paint(seed, aspect=(nominal[2] - nominal[0]) / (nominal[3] - nominal[1]), height_px=rows, kind=kind)
    canvas = np.zeros_like(sheet.pixels)
    canvas[top:bottom, left:right] = cv2.resize(art, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
    x, y, rx, ry = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    arch = np.vstack(
        [
            ngon(x, box[1] + rx, rx, sides=60)[45:],
            ngon(x, box[1] + rx, rx, sides=60)[:16],
            [(box[2], box[3]), (box[0], box[3])],
        ]
    )
    shapes = {"box": rounded(box, style.radius), "disc": ngon(x, y, rx, ry, sides=64), "arch": arch}
    shapes["hex"] = np.array(
        [
            (box[0], y),
            (x - rx * 0.6, box[1]),
            (x + rx * 0.6, box[1]),
            (box[2], y),
            (x + rx * 0.6, box[3]),
            (x - rx * 0.6, box[3]),
        ]
    )
    shape = shapes[layout.shape]
    sheet.fill(shape, canvas)
    sheet.outline(shape, style.ramp[0], 7)
    sheet.outline(shape, style.metal, 3)


def draw_plate(sheet: Sheet, style: Style, box: Box, colour: Colour, opacity: float) -> None:
    """A panel with its shadow and its rim."""
    shape = rounded(box, [0.0, 10.0, 99.0, -12.0][style.plate] if box[3] - box[1] < 120 else style.radius * 0.6)
    sheet.fill(np.add(shape, (3, 4)), style.ramp[0] * 0.5, 0.35 * opacity)
    sheet.fill(shape, colour, opacity)
    sheet.outline(shape, style.metal if style.plate % 2 else style.ramp[1], 2.5)


def draw_plates(sheet: Sheet, style: Style, layout: Layout) -> None:
    seen = layout.glass or 1.0
    for box in (layout.line, layout.title):
        draw_plate(
            sheet, style, box, style.ramp[6] if style.pale_plates else style.ramp[1], seen if layout.glass else 0.92
        )
    paper = style.ramp[1] * 0.7 if style.dark_text else style.ramp[7] * 0.6 + np.float32(0.38)
    draw_plate(sheet, style, layout.text, paper, seen if layout.glass else 0.93)
    if layout.second:
        x0, _, x1, y1 = layout.second
        draw_plate(
            sheet, style, (x0 - 6, 446, x1 + 6, 494), style.ramp[6] if style.pale_plates else style.ramp[1], 0.92
        )
        draw_plate(sheet, style, (x0, y1 + 8, x1, 812), paper, 0.93)


def inks(style: Style) -> tuple[Colour, Colour]:
    """Of titles and of text."""
    dark, pale = style.ramp[0] * 0.5, np.full(3, 0.97, np.float32)
    return dark if style.pale_plates else pale, pale if style.dark_text else dark


def draw_symbol(sheet: Sheet, spec: CardSpec, x: float, y: float, radius: float) -> None:
    """The set's: a star, polygon or ring of two parts, in the colour of the rarity."""
    rng = generator(spec.set_seed, 4)
    metal = ((0.1, 0.1, 0.1), (0.72, 0.76, 0.8), (0.85, 0.68, 0.2), (0.9, 0.35, 0.1))[RARITIES.index(spec.rarity)]
    outer = ngon(
        0,
        0,
        1,
        rng.uniform(0.7, 1.2),
        sides=int(rng.integers(3, 9)),
        inner=float(rng.choice([1.0, 0.35, 0.55, 0.75])),
        turn=rng.uniform(0, 1),
    )
    inner = ngon(
        0,
        0,
        rng.uniform(0.3, 0.55),
        sides=int(rng.integers(3, 9)),
        inner=float(rng.choice([1.0, 0.5])),
        turn=rng.uniform(0, 1),
    )
    for shape, colour in (
        (outer * 1.22, (0.98, 0.98, 0.96)),
        (outer, metal),
        (inner, (0.98, 0.98, 0.96) if metal[0] < 0.5 else (0.1, 0.08, 0.08)),
    ):
        sheet.fill(shape * radius + (x, y), np.asarray(colour, np.float32))
