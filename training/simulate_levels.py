"""How hard a simulated photo is: the range of each effect, by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["LEVELS", "Level", "Look"]

Level = Literal["easy", "hard", "page"]
"""``easy``: a careful photo. ``hard``: a bad one. ``page``: a nine-pocket binder page."""

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """Ranges (low, high) drawn from evenly, and chances 0..1, of everything that is simulated.

    Attributes:
        tilt_deg: angle between the camera's axis and the table's normal.
        turn_deg: largest in-plane turn to either side.
        fill: size of the cards' bounding box, as a share of the largest that fits the frame; of several cards at least
            the root of their number larger, up to 0.8 of the upper end.
        overlap: largest share of a card under other cards.
        exposure: gain of the linear light; 1 keeps the card's own brightness.
        tint: largest departure of the red and blue gains from 1 (white balance).
        gradient: largest change of the light across the frame, as a share.
        vignette: largest loss of light in the frame's corners, as a share.
        lamp: chance of a near lamp, a pool of light that falls off.
        shadow: chance that something out of the frame throws a shadow across it.
        glare: chance of reflections on the glossy surfaces.
        glare_gain: linear light that a reflection adds at its brightest.
        sheen: chance that a card is a holo, with rainbow bands.
        sleeve: chance that the cards are sleeved.
        haze: linear light that a sleeve adds over the card.
        cover: chance that a finger, pen, bead or coin lies over a card's edge.
        hold: chance that a single card is held by a hand.
        defocus: radius of the blur disc, as a share of the card's height in the frame.
        motion: chance of motion blur.
        motion_length: its length, as a share of the card's height in the frame.
        noise: standard deviation of the sensor's noise, in grey levels.
        blotch: chance that the noise has coarse colour, as in low light.
        sharpen: chance that the camera sharpens.
        jpeg: quality.
        page: whether the cards are in binder pages: nine pockets, or two pages of nine for more than nine cards.
        rows: chance that several cards lie in rows, edge beside edge.
        clutter: chance that other things lie about: phones, books, paper, boxes, backs of cards.
    """

    tilt_deg: Range
    turn_deg: float
    fill: Range
    overlap: float
    exposure: Range
    tint: float
    gradient: float
    vignette: float
    lamp: float
    shadow: float
    glare: float
    glare_gain: Range
    sheen: float
    sleeve: float
    haze: Range
    cover: float
    hold: float
    defocus: Range
    motion: float
    motion_length: Range
    noise: Range
    blotch: float
    sharpen: float
    jpeg: Range
    page: bool = False
    rows: float = 0.0
    clutter: float = 0.0


LEVELS: dict[Level, Look] = {
    "easy": Look(
        tilt_deg=(0.0, 20.0),
        turn_deg=15.0,
        fill=(0.5, 0.92),
        overlap=0.0,
        exposure=(0.8, 1.1),
        tint=0.06,
        gradient=0.2,
        vignette=0.15,
        lamp=0.0,
        shadow=0.0,
        glare=0.0,
        glare_gain=(0.0, 0.0),
        sheen=0.0,
        sleeve=0.1,
        haze=(0.0, 0.02),
        cover=0.0,
        hold=0.0,
        defocus=(0.0, 0.002),
        motion=0.0,
        motion_length=(0.0, 0.0),
        noise=(0.5, 3.0),
        blotch=0.0,
        sharpen=0.3,
        jpeg=(85, 95),
    ),
    "hard": Look(
        tilt_deg=(0.0, 40.0),
        turn_deg=30.0,
        fill=(0.25, 0.95),
        overlap=0.2,
        exposure=(0.3, 1.5),
        tint=0.3,
        gradient=0.7,
        vignette=0.4,
        lamp=0.35,
        shadow=0.45,
        glare=0.55,
        glare_gain=(0.1, 0.9),
        sheen=0.25,
        sleeve=0.4,
        haze=(0.005, 0.08),
        cover=0.3,
        hold=0.2,
        defocus=(0.0, 0.006),
        motion=0.35,
        motion_length=(0.004, 0.02),
        noise=(2.0, 12.0),
        blotch=0.5,
        sharpen=0.3,
        jpeg=(40, 80),
        rows=0.2,
        clutter=0.4,
    ),
    "page": Look(
        tilt_deg=(0.0, 25.0),
        turn_deg=8.0,
        fill=(0.8, 0.98),
        overlap=0.0,
        exposure=(0.6, 1.25),
        tint=0.15,
        gradient=0.4,
        vignette=0.25,
        lamp=0.3,
        shadow=0.15,
        glare=0.85,
        glare_gain=(0.1, 0.8),
        sheen=0.1,
        sleeve=0.0,
        haze=(0.003, 0.04),
        cover=0.0,
        hold=0.0,
        defocus=(0.0, 0.003),
        motion=0.1,
        motion_length=(0.002, 0.008),
        noise=(1.0, 6.0),
        blotch=0.3,
        sharpen=0.3,
        jpeg=(60, 92),
        page=True,
    ),
}
