"""Draws a deck of fictional trading cards, the game of Aetherfall: fully procedural, the same from the same seed.

    python -m training.render OUT_DIR --count 1000 --seed 20 --height 704

    specs = deck(1000, seed=20)
    pixels = render(specs[0])           # (704, 504, 3) uint8 RGB

The deck has what makes real catalogs hard: reprints of one picture in several sets, and twins in a second language.
Lengths on a card are in tenths of a millimetre: a card is 630 x 880.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from training.render_easel import generator, ngon, ramp
from training.render_frames import Style, draw_picture, draw_plates
from training.render_layouts import FULL, LAYOUTS
from training.render_lettering import draw_body, draw_footer, draw_stats, draw_title
from training.render_specs import CardSpec, deck
from training.render_text import Pixels, Sheet, rgb, rounded
from training.render_words import rules

__all__ = ["CardSpec", "deck", "render", "render_back"]


def render(spec: CardSpec, *, height_px: int = 704) -> Pixels:
    """The card: (height_px, round(height_px * 63 / 88), 3) uint8 RGB, with square corners in the border's colour."""
    sheet, style, layout = Sheet(height_px), Style(spec.frame_seed, spec.element), LAYOUTS[spec.layout]
    words = rules(generator(spec.art_seed, 8), spec.kind, spec.name, spec.language)
    sheet.pixels[:] = rgb(style.border)
    inner = (style.margin, style.margin, 630 - style.margin, 880 - style.margin)
    if layout.art != FULL:
        sheet.fill(rounded(inner, abs(style.radius) * 1.2), style.ground(sheet))
    draw_picture(sheet, style, layout, layout.art, spec.art_seed, spec.kind)
    if layout.second:
        draw_picture(sheet, style, layout, layout.second, spec.art_seed + 1, "Spell")
    draw_plates(sheet, style, layout)
    draw_title(sheet, style, layout, words, spec)
    draw_body(sheet, style, layout, words, spec)
    draw_stats(sheet, style, layout, spec)
    draw_footer(sheet, layout, spec)
    return sheet.pixels


def render_back(*, height_px: int = 704) -> Pixels:
    """The back that all cards of the game share; it looks the same upside down."""
    sheet, colours = Sheet(height_px), ramp(0.61, 0.75, 8)
    sheet.pixels[:] = rgb(colours[1])
    sheet.fill(rounded((26, 26, 604, 854), 30), colours[3])
    sheet.outline(rounded((34, 34, 596, 846), 26), np.asarray((0.85, 0.7, 0.35), np.float32), 4)
    for k, radius in enumerate(np.linspace(400, 30, 16)):
        star = ngon(315, 440, radius * 0.68, radius, sides=8 if k % 2 else 16, inner=0.72, turn=0)
        sheet.fill(star, colours[2 + k % 4] if k % 4 else ramp(0.12, 0.6, 8)[5])
    pixels = sheet.pixels
    half = pixels.shape[0] // 2
    pixels[-half:] = pixels[:half][::-1, ::-1]
    return pixels


def _manifest(folder: Path, specs: list[CardSpec]) -> None:
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["card_id", "image", "name", "set", "number", "language", "game", "rarity"])
        writer.writerows([spec.card_id, f"{spec.card_id}.jpg", *spec.meta().values()] for spec in specs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a deck as JPEG images and a manifest."""
    from rich.console import Console
    from rich.progress import track

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--height", type=int, default=704)
    parser.add_argument("--quality", type=int, default=92)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    specs = deck(options.count, seed=options.seed)
    for spec in track(specs, "drawing cards", console=Console(stderr=True)):
        bgr = cv2.cvtColor(render(spec, height_px=options.height), cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(options.out / f"{spec.card_id}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, options.quality]):
            raise OSError(f"could not write {options.out / spec.card_id}.jpg; is the folder writable?")
    _manifest(options.out, specs)


if __name__ == "__main__":
    main()
