"""Where the labels of an annotated picture go, and how large they are: readable, inside, off the other cards."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

    from cardrec.types import Status

__all__ = ["Box", "Drawn", "Label", "lay_out", "write"]

FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")
"""Looked for among the system's fonts in this order. Pillow's own font, the last resort, knows only ASCII."""

SMALLEST_FONT_PX = 11
"""Letters under this height can't be read; a picture without room for them gets no text."""

Box: TypeAlias = tuple[int, int, int, int]
"""left, top, right, bottom in pixels"""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What is drawn of a card: its outline (4, 2), some lines of text, and the colour of its status."""

    corners_px: NDArray[np.float32]
    lines: tuple[str, ...]
    status: Status
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """Lines of text in a box of the picture."""

    lines: tuple[str, ...]
    font_px: int
    box: Box
    status: str


def lay_out(cards: Sequence[Drawn], size_wh: tuple[int, int]) -> list[Label]:
    """A label for each card that has room for one, all within the picture; one that says so where there is no card."""
    if not cards:
        label = _label(("no card found",), "unknown", (0, 0, size_wh[0], 0), size_wh, [])
        return [label] if label else []
    outlines = [_bounds(card, size_wh) for card in cards]
    labels: list[Label] = []
    for index, card in enumerate(cards):
        outline = outlines[index]
        avoid = [label.box for label in labels] + outlines[:index] + outlines[index + 1 :]
        label = _label(card.lines, card.status, outline, size_wh, avoid)
        if label is not None:
            labels.append(label)
    return labels


def _label(
    lines: tuple[str, ...], status: str, outline: Box, size_wh: tuple[int, int], avoid: Sequence[Box]
) -> Label | None:
    """The label beside or in an outline; None where the picture is too small for text."""
    room = max(outline[2] - outline[0], 10 * SMALLEST_FONT_PX)
    limits = room // 12, min(size_wh) // 8  # a dozen letters across the card, eight lines on the picture
    font_px = max(SMALLEST_FONT_PX, min(max(min(size_wh) // 30, room // 18), *limits))
    padding = font_px // 2
    height = round(font_px * (1.3 * len(lines) + 0.4))
    widest = min(size_wh[0], max(room, 9 * font_px))
    if height > size_wh[1] or widest < 5 * font_px:
        return None
    shown = tuple(_clipped(line, font_px, widest - 2 * padding) for line in lines)
    width = min(widest, round(max(_width(line, font_px) for line in shown)) + 2 * padding)
    box = _free_place((width, height), outline, avoid, size_wh)
    return Label(shown, font_px, box, status)


def _free_place(size: tuple[int, int], outline: Box, avoid: Sequence[Box], size_wh: tuple[int, int]) -> Box:
    """Above, below, or in the outline: the first of these that hides least of what is to be avoided."""
    left, top, right, bottom = outline
    width, height = size
    xs = (left, right - width)
    ys = (top - height, bottom, top, bottom - height)
    places = []
    for y, x in product(ys, xs):
        inside_x, inside_y = min(max(x, 0), size_wh[0] - width), min(max(y, 0), size_wh[1] - height)
        places.append((inside_x, inside_y, inside_x + width, inside_y + height))
    return min(places, key=lambda box: sum(_overlap(box, other) for other in avoid))


def _overlap(a: Box, b: Box) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _bounds(card: Drawn, size_wh: tuple[int, int]) -> Box:
    """The upright box around the card, as far as it lies in the picture."""
    limit = np.array(size_wh)
    low, high = (np.clip(np.nan_to_num(extreme(card.corners_px, axis=0)), 0, limit) for extreme in (np.min, np.max))
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


@lru_cache(maxsize=64)
def _font(size_px: int) -> tuple[FreeTypeFont | BitmapFont, bool]:
    """A font, and whether it knows more than ASCII."""
    from PIL import ImageFont

    for name in FONTS:
        try:
            return ImageFont.truetype(name, size_px), True
        except OSError:
            continue
    return ImageFont.load_default(size_px), False


def _spelled(text: str, font_px: int) -> str:
    """The text in letters that the font has; without a full font, accents are dropped."""
    if _font(font_px)[1]:
        return text
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return "".join(c for c in plain if not unicodedata.combining(c)).encode("ascii", "replace").decode()


def _width(text: str, font_px: int) -> float:
    return float(_font(font_px)[0].getlength(text))


def _clipped(text: str, font_px: int, room_px: int) -> str:
    """As much of the text as fits, with dots where some is missing."""
    text = _spelled(text, font_px)[:200]
    if _width(text, font_px) <= room_px:
        return text
    shorter = (text[:end].rstrip() + "..." for end in range(len(text) - 1, 0, -1))
    return next((shown for shown in shorter if _width(shown, font_px) <= room_px), "")


def write(
    canvas: NDArray[np.uint8], labels: Sequence[Label], colors_rgb: Mapping[str, tuple[int, int, int]]
) -> NDArray[np.uint8]:
    """The RGB picture with the labels written into it."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    for label in labels:
        left, top, right, bottom = label.box
        pen.rectangle((left, top, right - 1, bottom - 1), fill=colors_rgb[label.status])
        ink = (0, 0, 0) if label.status == "ambiguous" else (255, 255, 255)
        for number, line in enumerate(label.lines):
            y = top + label.font_px * (0.2 + 1.3 * number)
            pen.text((left + label.font_px // 2, y), line, font=_font(label.font_px)[0], fill=ink)
    return np.array(picture)
