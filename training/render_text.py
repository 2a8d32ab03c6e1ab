"""Typefaces, and the sheet that a card's text and frame are set on.

Typefaces are Pillow's embedded one, made bold, wide, narrow, slanted or small-capped here, and OpenCV's own; no font of
the system is used, so that any machine can draw the deck.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Box", "Colour", "Face", "Pixels", "Sheet", "rgb", "rounded", "set_line", "set_paragraph"]

Mask = NDArray[np.uint8]
Pixels = NDArray[np.uint8]
Colour = NDArray[np.float32]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Face:
    """A typeface: `bold` is a share of the size, `slant` a shear, `opencv` one of its `FONT_HERSHEY_*` or -1."""

    bold: float = 0.0
    width: float = 1.0
    slant: float = 0.0
    caps: bool = False
    opencv: int = -1


@lru_cache(maxsize=128)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size_px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, which the cards' text needs; install Pillow's own wheel")
    return font


def _draw_pillow(text: str, size_px: int, face: Face) -> Mask:
    """Ink on a strip of 1.3 sizes; with `caps`, lower-case letters become capitals of four fifths."""
    stroke = round(size_px * face.bold)
    # Bold letters are set one by one, or their thickened edges would touch.
    runs = [(c, size_px) for c in text] if stroke else [(text, size_px)]
    if face.caps:
        small = max(round(size_px * 0.8), 5)
        runs = [(c.upper(), small if c.islower() else size_px) for c in text]
    space = 1.2 * stroke if len(runs) > 1 else 0.0
    strip = Image.new(
        "L", (int(sum(_font(s).getlength(t) + space for t, s in runs)) + 2 * stroke + 4, round(size_px * 1.3))
    )
    pen, x = ImageDraw.Draw(strip), float(stroke + 1)
    for piece, size in runs:
        pen.text((x, size_px * 1.0), piece, fill=255, font=_font(size), anchor="ls", stroke_width=stroke)
        x += _font(size).getlength(piece) + space
    return np.asarray(strip)


def _draw_opencv(text: str, size_px: int, face: Face) -> Mask:
    """The same strip in one of OpenCV's typefaces; 22 px is the capitals' height at scale 1."""
    scale, thick = size_px * 0.72 / 22, max(1, round(size_px * 0.06))
    (width, _), _ = cv2.getTextSize(text, face.opencv, scale, thick)
    strip = np.zeros((round(size_px * 1.3), width + 2 * thick + 4), np.uint8)
    cv2.putText(strip, text, (thick + 1, size_px), face.opencv, scale, 255, thick, cv2.LINE_AA)
    return strip


def set_line(text: str, size_px: float, face: Face, *, most_px: float = 1e9) -> Mask:
    """One line as ink coverage, 1.3 sizes high with its baseline at 1.0, squeezed to at most `most_px` wide."""
    size = max(round(size_px), 5)
    strip = _draw_opencv(text, size, face) if face.opencv >= 0 else _draw_pillow(text, size, face)
    height, width = strip.shape
    lean = abs(face.slant) * height
    wide = min((width + lean) * face.width, max(most_px, 8.0))
    squeeze = wide / (width + lean)
    if abs(wide - width) < 1 and not face.slant:
        return strip
    move = np.array([[squeeze, -face.slant * squeeze, max(face.slant, 0) * height * squeeze], [0, 1, 0]])
    return np.asarray(cv2.warpAffine(strip, move, (max(int(wide), 1), height), flags=cv2.INTER_AREA), np.uint8)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width_px: float) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width_px:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]


def set_paragraph(
    paragraphs: list[str],
    size_px: float,
    width_px: float,
    height_px: float,
    *,
    bold: float = 0.0,
    centred: bool = False,
) -> Mask:
    """Wrapped text as ink coverage, (height, width), at the largest size up to `size_px` at which it fits."""
    size = size_px
    while True:
        font = _font(max(round(size), 5))
        lines = [
            (line, not k and bool(p))
            for p, text in enumerate(paragraphs)
            for k, line in enumerate(_wrap(text, font, width_px))
        ]
        leading = size * 1.22
        needed = leading * (len(lines) + 0.45 * sum(first for _, first in lines))
        if needed <= height_px or size <= 6:
            break
        size *= 0.9
    sheet = Image.new("L", (max(int(width_px), 1), max(int(height_px), 1)))
    pen, y = ImageDraw.Draw(sheet), (height_px - needed) / 2 if centred else 0.0
    for line, first in lines:
        y += leading * 0.45 if first else 0
        x = (width_px - font.getlength(line)) / 2 if centred else 0.0
        pen.text((x, y + size), line, fill=255, font=font, anchor="ls", stroke_width=round(size * bold))
        y += leading
    return np.asarray(sheet)


class Sheet:
    """A card being drawn: RGB bytes, in lengths of the card."""

    def __init__(self, height_px: int) -> None:
        self.height, self.width = height_px, round(height_px * 63 / 88)
        self.scale = height_px / 880
        self.pixels = np.zeros((self.height, self.width, 3), np.uint8)

    def points(self, shape: NDArray[np.float64]) -> NDArray[np.int32]:
        return np.round((shape * self.scale - 0.5) * 16).astype(np.int32)

    def fill(self, shape: NDArray[np.float64], colour: Colour | Pixels, opacity: float = 1.0) -> None:
        """A polygon in one colour, or cut from a picture as large as the card."""
        if colour.ndim == 1 and opacity >= 1:
            cv2.fillPoly(self.pixels, [self.points(shape)], rgb(colour), cv2.LINE_AA, 4)
            return
        low, high = shape.min(0) * self.scale - 1, shape.max(0) * self.scale + 2
        left, top, right, bottom = (max(int(v), 0) for v in (*low, *high))
        area = self.pixels[top:bottom, left:right]
        mask = np.zeros(area.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self.points(shape) - np.array((left, top), np.int32) * 16], 255, cv2.LINE_AA, 4)
        source = np.asarray(rgb(colour)) if colour.ndim == 1 else colour[top:bottom, left:right]
        self.blend(left, top, mask, source, opacity)

    def blend(self, left: int, top: int, mask: Pixels, source: NDArray[np.generic], opacity: float = 1.0) -> None:
        """Lay a colour or a picture where the mask is, cut off at the card's edge."""
        if left < 0 or top < 0:
            mask, left, top = mask[max(-top, 0) :, max(-left, 0) :], max(left, 0), max(top, 0)
        area = self.pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
        if not area.size:
            return
        weight = (mask[: area.shape[0], : area.shape[1]].astype(np.float32) * np.float32(opacity / 255))[..., None]
        area[:] = (area + weight * (source.astype(np.float32) - area) + 0.5).astype(np.uint8)

    def outline(self, shape: NDArray[np.float64], colour: Colour, thick: float) -> None:
        width = max(1, round(thick * self.scale))
        cv2.polylines(self.pixels, [self.points(shape)], True, rgb(colour), width, cv2.LINE_AA, 4)

    def write(
        self, box: Box, text: str, face: Face, colour: Colour, *, size: float = 0.0, align: float = 0.0,
        halo: Colour | None = None,
    ) -> None:  # fmt: skip
        """One line in the box, centred vertically; `align` is 0 at its left to 1 at its right."""
        left, top, right, bottom = (v * self.scale for v in box)
        mask = set_line(text, size * self.scale or (bottom - top) * 0.72, face, most_px=right - left)
        y = int((top + bottom) / 2 - mask.shape[0] * 0.57)
        x = int(left + align * (right - left - mask.shape[1]))
        if halo is not None:
            pad = max(1, round(2.5 * self.scale))
            edge = cv2.dilate(
                cv2.copyMakeBorder(mask, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0),
                np.ones((2 * pad + 1,) * 2, np.uint8),
            )
            self.blend(x - pad, y - pad, np.asarray(edge, np.uint8), np.asarray(rgb(halo)))
        self.blend(x, y, mask, np.asarray(rgb(colour)))


def rgb(colour: Colour | Pixels) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in np.clip(colour * 255, 0, 255))
    return red, green, blue


def rounded(box: Box, radius: float) -> NDArray[np.float64]:
    """A box with round corners; radius 0 is square, a negative one cuts them off."""
    left, top, right, bottom = box
    reach = min(abs(radius), (right - left) / 2, (bottom - top) / 2)
    turns = np.linspace(0, np.pi / 2, 2 if radius < 0 else 7)
    corners = ((right, top, -1, 1, 0), (right, bottom, -1, -1, 1), (left, bottom, 1, -1, 2), (left, top, 1, 1, 3))
    arcs = []
    for x, y, sx, sy, k in corners:
        angle = turns + k * np.pi / 2
        arcs.append(np.column_stack([x + (sx + np.sin(angle)) * reach, y + (sy - np.cos(angle)) * reach]))
    return np.vstack(arcs)
