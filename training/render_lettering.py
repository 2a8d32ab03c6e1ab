"""What is written on the fictional cards: title and cost, rules or strikes, might and guard, the line at the foot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.render_easel import generator, hsv, ngon
from training.render_frames import Style, draw_plate, draw_symbol, inks
from training.render_layouts import FULL, Layout
from training.render_specs import CardSpec
from training.render_text import Box, Colour, Face, Sheet, rgb, set_paragraph
from training.render_words import Words, artist

__all__ = ["draw_body", "draw_footer", "draw_stats", "draw_title"]


def draw_title(sheet: Sheet, style: Style, layout: Layout, words: Words, spec: CardSpec) -> None:
    """The name, the cost beside it and the type line with the set's symbol."""
    ink, _ = inks(style)
    halo = (style.ramp[7] if style.pale_plates else style.ramp[0]) if layout.glass else None
    left, top, right, bottom = layout.title
    if bottom - top > right - left:
        side = Sheet(round((right - left) * sheet.scale / 630 * 880) + 1)
        side.scale, side.pixels = sheet.scale, np.ascontiguousarray(np.rot90(sheet.pixels, -1))
        side.write(
            (880 - bottom + 14, left + 10, 880 - top - 14, right - 10), spec.name, style.title, ink, size=50, align=0.1
        )
        sheet.pixels = np.ascontiguousarray(np.rot90(side.pixels))
    else:
        pips = _cost(sheet, style, layout, spec)
        hp = 130 if layout.stats == "hp" else 0
        inner = (left + 16 + (62 if layout.cost == "gem" else 0), top, right - 16 - pips - hp, bottom)
        sheet.write(
            inner,
            spec.name,
            style.title,
            ink,
            size=min((bottom - top) * 0.7, 46),
            align=0.5 if style.centre_title else 0,
            halo=halo,
        )
        if hp:
            value = f"{3 + spec.art_seed % 21}0"
            sheet.write(
                (right - hp, top, right - 14, bottom),
                f"HP {value}",
                Face(0.05, 0.9),
                hsv(0.0, 0.8, 0.75) if style.pale_plates else ink,
                align=1,
            )
    x0, y0, x1, y1 = layout.line
    sheet.write(
        (x0 + 14, y0, x1 - 56, y1),
        words.line,
        replace(style.title, slant=0.0, caps=False),
        ink,
        size=(y1 - y0) * 0.66,
        halo=halo,
    )
    draw_symbol(sheet, spec, x1 - 30, (y0 + y1) / 2, (y1 - y0) * 0.42)


def _cost(sheet: Sheet, style: Style, layout: Layout, spec: CardSpec) -> float:
    """Pips, a gem or a column of gems; how much of the title's width they take."""
    rng, (left, top, right, bottom) = generator(spec.art_seed, 9), layout.title
    count, middle = int(rng.integers(1, 5)), (top + bottom) / 2
    sides = int(generator(spec.frame_seed, 7).choice([3, 4, 5, 6, 8, 30]))
    if layout.cost == "gem":
        for scale, colour in ((1.0, style.ramp[0]), (0.86, style.metal), (0.7, style.ramp[3])):
            sheet.fill(ngon(left + 22, middle, 42 * scale, sides=sides), colour)
        sheet.write(
            (left - 10, middle - 30, left + 54, middle + 30),
            str(count + int(rng.integers(0, 6))),
            Face(0.06),
            np.ones(3, np.float32),
            size=44,
            align=0.5,
            halo=style.ramp[0],
        )
        return 0
    if layout.cost == "none":
        return 0
    for k in range(count):
        x, y = (right - 30 - 40 * k, middle) if layout.cost == "pips" else (left + 42, bottom + 60 + 52 * k)
        hue = (spec.element if k else int(rng.integers(6))) / 6
        sheet.fill(ngon(x, y, 19), style.ramp[0])
        sheet.fill(ngon(x, y, 16.5), hsv(hue, 0.65, 0.9))
        sheet.fill(ngon(x, y, 10, sides=3 + (k + spec.element) % 4, inner=0.5), hsv(hue, 0.9, 0.3))
    return 40.0 * count if layout.cost == "pips" else 0


def _set_text(
    sheet: Sheet, box: Box, text: list[str], size: float, colour: Colour, *, bold: float = 0.0, centred: bool = False
) -> None:
    left, top, right, bottom = (v * sheet.scale for v in box)
    mask = set_paragraph(text, size * sheet.scale, right - left, bottom - top, bold=bold, centred=centred)
    sheet.blend(int(left), int(top), mask, np.asarray(rgb(colour)))


def draw_body(sheet: Sheet, style: Style, layout: Layout, words: Words, spec: CardSpec) -> None:
    """Rules and a saying, or rows of strikes with their costs and damage."""
    _, ink = inks(style)
    left, top, right, bottom = layout.text
    if layout.second:
        x0, _, x1, y1 = layout.second
        sheet.write((x0 + 12, 446, x1 - 12, 494), words.strikes[0][0], style.title, inks(style)[0], size=34)
        _set_text(sheet, (x0 + 14, y1 + 16, x1 - 14, 806), [words.strikes[0][1]], style.body, ink, centred=True)
    if layout.rows:
        rng = generator(spec.art_seed, 10)
        for k, (name, text) in enumerate(words.strikes):
            y = top + 12 + k * 142
            for pip in range(cost := int(rng.integers(1, 4))):
                sheet.fill(ngon(left + 32 + 40 * pip, y + 26, 18), style.ramp[0])
                sheet.fill(ngon(left + 32 + 40 * pip, y + 26, 15), hsv((spec.element if pip else 2) / 6, 0.6, 0.95))
            sheet.write(
                (left + 24 + 40 * cost, y, right - 90, y + 52), name, replace(style.title, slant=0.0), ink, size=34
            )
            sheet.write(
                (right - 88, y, right - 14, y + 52), f"{int(rng.integers(1, 20))}0", Face(0.05), ink, size=42, align=1
            )
            _set_text(sheet, (left + 20, y + 54, right - 20, y + 136), [text], style.body, ink)
        sheet.write(
            (left + 14, bottom - 44, right - 14, bottom - 6),
            words.line + "   x2      +1   " + words.rules[0][:16],
            Face(),
            ink,
            size=22,
        )
        return
    said = 60 if words.flavour and bottom - top > 190 and right - left > 300 else 0
    count = 1 + min(int((bottom - top - 1.6 * said) / 140), spec.art_seed % 3 + (bottom - top > 300), 2)
    end = bottom - 12 - said - (26 if layout.stats == "corner" and bottom > 790 else 0)
    size = style.body + (7 if bottom - top > 350 or count == 1 else 0)
    _set_text(
        sheet, (left + 18, top + 12, right - 18, end), list(words.rules[:count]), size, ink, centred=style.centre_text
    )
    if said:
        sheet.fill(
            np.array(
                [
                    (left + 40, bottom - 60),
                    (right - 40, bottom - 60),
                    (right - 40, bottom - 58),
                    (left + 40, bottom - 58),
                ],
                np.float64,
            ),
            ink,
            0.5,
        )
        sheet.write(
            (left + 18, bottom - 56, right - (120 if layout.stats == "corner" else 18), bottom - 8),
            words.flavour,
            Face(slant=0.22),
            ink,
            size=24,
        )


def draw_stats(sheet: Sheet, style: Style, layout: Layout, spec: CardSpec) -> None:
    """Might and guard: a plate in the corner, gems in the corners, or badges at the art's edge."""
    rng = generator(spec.art_seed, 11)
    might, guard = int(rng.integers(0, 10)), int(rng.integers(1, 13))
    white, sides = np.ones(3, np.float32), int(generator(spec.frame_seed, 12).choice([4, 5, 6, 8, 30]))
    if layout.stats == "corner" and spec.kind in ("Beast", "Hero", "Spirit"):
        box = (478.0, 788.0, 596.0, 842.0)
        draw_plate(sheet, style, box, style.ramp[6], 1.0)
        sheet.write(box, f"{might}/{guard}", Face(0.05), style.ramp[0] * 0.5, size=42, align=0.5)
    spots = {"gems": ((74, 806), (556, 806)), "pair": ((560, layout.art[1] + 56), (560, layout.art[1] + 140))}
    for (x, y), value, hue in zip(spots.get(layout.stats, ()), (might, guard), (0.05, 0.58), strict=False):
        for scale, colour in ((1.0, style.ramp[0]), (0.9, style.metal), (0.76, hsv(hue, 0.75, 0.7))):
            sheet.fill(ngon(x, y, 46 * scale, sides=sides), colour)
        sheet.write(
            (x - 40, y - 34, x + 40, y + 34), str(value), Face(0.06), white, size=48, align=0.5, halo=style.ramp[0]
        )


def draw_footer(sheet: Sheet, layout: Layout, spec: CardSpec) -> None:
    """The collector's number, the set's code, the artist."""
    ground = sheet.pixels[round(848 * sheet.scale), sheet.width // 3].astype(np.float32) / 255
    ink = np.full(3, 0.05 if ground.mean() > 0.5 else 0.95, np.float32)
    halo = np.full(3, 0.05, np.float32) if layout.art == FULL else None
    ink = np.full(3, 0.95, np.float32) if halo is not None else ink
    left = 46.0 if layout.stats != "gems" else 140.0
    number = f"{spec.number:03d}/{spec.set_size:03d}  {spec.set.upper()}  {spec.language.upper()}"
    sheet.write((left, 836, 300, 862), number, Face(0.03), ink, size=19, halo=halo)
    sheet.write(
        (300, 836, 474, 862), f"art {artist(generator(spec.art_seed, 13))}", Face(slant=0.2), ink, size=19, halo=halo
    )
