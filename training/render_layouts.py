"""The layouts of the fictional cards: which box holds the picture, the title and the text.

Lengths on a card are in tenths of a millimetre: a card is 630 x 880.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.render_text import Box

__all__ = ["FULL", "LAYOUTS", "STRIKE_KINDS", "Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are on a card: `text` holds rules, or strikes with `rows`; `glass` is the panels' opacity."""

    art: Box
    title: Box
    line: Box
    text: Box
    shape: str = "box"
    stats: str = "corner"
    cost: str = "pips"
    glass: float = 0.0
    rows: bool = False
    second: Box | None = None


FULL: Box = (0, 0, 630, 880)
LAYOUTS = (
    Layout((50, 98, 580, 470), (44, 42, 586, 92), (44, 476, 586, 518), (50, 524, 580, 806)),
    Layout(FULL, (40, 38, 590, 96), (44, 566, 586, 606), (44, 612, 586, 816), glass=0.62),
    Layout((54, 96, 576, 420), (48, 38, 582, 90), (70, 424, 560, 454),
           (48, 462, 582, 806), "box", "hp", "none", rows=True),
    Layout((56, 112, 574, 330), (44, 46, 586, 102), (56, 336, 574, 376), (56, 382, 574, 812), "box", "none", "gem"),
    Layout((26, 150, 604, 452), (50, 46, 580, 140), (60, 462, 570, 500), (60, 510, 570, 806), "box", "pair", "none"),
    Layout((75, 62, 555, 542), (50, 556, 580, 616), (110, 620, 520, 656), (118, 662, 512, 826), "disc", "gems", "gem"),
    Layout(
        (54, 92, 576, 290), (48, 38, 582, 88), (54, 404, 576, 440), (54, 296, 576, 400), stats="none",
        second=(54, 500, 576, 690),
    ),
    Layout((34, 34, 596, 640), (70, 590, 560, 650), (120, 654, 510, 690), (118, 696, 512, 826), "box", "gems", "gem"),
    Layout((60, 104, 570, 560), (44, 40, 586, 94), (90, 540, 540, 584), (60, 590, 570, 806), "arch", "pair", "stack"),
    Layout((44, 44, 586, 600), (44, 774, 586, 836), (44, 606, 586, 642), (56, 648, 574, 768), "box", "corner", "pips"),
    Layout((150, 40, 592, 560), (40, 40, 140, 820), (150, 566, 592, 606), (150, 612, 592, 812), "box", "pair", "none"),
    Layout((60, 110, 570, 560), (50, 40, 580, 100), (130, 562, 500, 602), (64, 608, 566, 806), "hex", "corner", "gem"),
    Layout((316, 104, 586, 812), (44, 40, 586, 96), (44, 104, 308, 140), (44, 148, 308, 812), "box", "none", "pips"),
    Layout(FULL, (70, 690, 560, 760), (140, 764, 490, 800), (70, 44, 560, 160), glass=0.4, stats="hp", cost="gem"),
)  # fmt: skip
STRIKE_KINDS = (0, 1, 2, 2, 7, 9, 13)
"""Layouts for beasts; other kinds take any."""
