"""Pictures to check outlines by: a photo with a ruler, and close-ups of a card's corners and sides."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.quads import side_lengths

__all__ = ["SHEET_COLUMNS", "Corners", "Pixels", "close_ups", "in_photo", "on_card", "save", "tiled", "with_ruler"]

Pixels = NDArray[np.uint8]
Corners = NDArray[np.float32]

LINE_RGB = (255, 0, 255)  # no card has such a border
SHOWN_SIDE = 1400  # pixels; the longest side of a photo with ruler
PART_SIDE, PART_REACH = 98, 0.08  # pixels of a part of a close-up; how far it reaches from its middle, in card widths
SHEET_COLUMNS = 4


def brighter(pixels: Pixels) -> Pixels:
    """With lighter shadows: the border of a dark card on a dark ground is hard to see otherwise."""
    return np.asarray(255 * (np.arange(256) / 255) ** 0.6, np.uint8)[pixels]


def in_photo(corners: Corners, points: Corners) -> Corners:
    """Points given on the card, in widths of it from its top left, (n, 2), as seen in the photo."""
    there = cv2.perspectiveTransform(points[None].astype(np.float32), _from_card(corners).astype(np.float32))
    return np.asarray(there[0], np.float32)


def _from_card(corners: Corners) -> NDArray[np.float64]:
    return np.asarray(cv2.getPerspectiveTransform(on_card(corners), corners.astype(np.float32)), np.float64)


def on_card(corners: Corners) -> Corners:
    """The card's corners in widths of it: its height follows from its outline, whatever game it is from."""
    top, right, bottom, left = side_lengths(corners[None])[0]
    height = float((left + right) / (top + bottom))
    return np.array([[0, 0], [1, 0], [1, height], [0, height]], np.float32)


def cut_out(pixels: Pixels, corners: Corners, middle: Corners, reach: float, side: int) -> Pixels:
    """A square part of the card seen from above, ``reach`` widths to either side of ``middle``, with the outline."""
    scale = side / (2 * reach)
    to_part = np.array([[scale, 0, side / 2 - middle[0] * scale], [0, scale, side / 2 - middle[1] * scale], [0, 0, 1]])
    half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])  # OpenCV counts from the first pixel's centre
    matrix = half @ to_part @ np.linalg.inv(_from_card(corners)) @ np.linalg.inv(half)
    part = np.asarray(
        cv2.warpPerspective(pixels, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=(0, 90, 0)), np.uint8
    )
    _draw(part, (on_card(corners) * scale + to_part[:2, 2]).astype(np.float32))
    return part


def _draw(canvas: Pixels, corners: Corners) -> None:
    points = np.round((corners - 0.5) * 16).astype(np.int32)
    cv2.polylines(canvas, [points], True, LINE_RGB, 1, cv2.LINE_AA, 4)


def close_ups(pixels: Pixels, corners: Corners, title: str) -> Pixels:
    """Corners and middles of the sides around the whole card, all as if seen from above: (300, 300, 3)."""
    pixels, card = brighter(pixels), on_card(corners)
    rows = []
    for y in (0.0, 0.5, 1.0):
        middles = [np.array([x, y * card[2, 1]], np.float32) for x in (0.0, 0.5, 1.0)]
        reaches = [PART_REACH if x != 1 or y != 0.5 else 0.6 * float(card[2, 1]) for x in range(3)]
        parts = zip(middles, reaches, strict=True)
        rows.append(np.hstack([cut_out(pixels, corners, middle, reach, PART_SIDE) for middle, reach in parts]))
    picture = np.asarray(np.vstack(rows), np.uint8)
    for line in range(PART_SIDE, 3 * PART_SIDE, PART_SIDE):
        picture[line], picture[:, line] = 0, 0
    _write(picture, title, (4, 3 * PART_SIDE - 6))
    return np.pad(picture, ((0, 6), (0, 6), (0, 0)))


def _write(canvas: Pixels, text: str, at_xy: tuple[int, int]) -> None:
    for ink, thickness in (((0, 0, 0), 3), ((255, 255, 0), 1)):
        cv2.putText(canvas, text, at_xy, cv2.FONT_HERSHEY_SIMPLEX, 0.4, ink, thickness, cv2.LINE_AA)


def with_ruler(pixels: Pixels, outlines: list[tuple[Corners, str]]) -> Pixels:
    """The photo enlarged or reduced, with outlines and their titles, and a grid with coordinates at the border."""
    height, width = pixels.shape[:2]
    scale = SHOWN_SIDE / max(height, width)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.asarray(cv2.resize(brighter(pixels), None, fx=scale, fy=scale, interpolation=method), np.uint8)
    step = next(step for step in (10, 20, 50, 100, 200) if step * scale >= 45 or step == 200)
    for at in range(0, max(height, width), step):
        line = round(at * scale)
        canvas[line : line + 1, ::3] = canvas[:, line : line + 1][::3] = 255
        _write(canvas, str(at), (line + 2, 12))
        _write(canvas, str(at), (2, line + 12))
    for corners, title in outlines:
        _draw(canvas, corners * scale)
        x, y = (corners[0] * 0.9 + corners[2] * 0.1) * scale
        _write(canvas, title, (int(x), int(y)))
    return canvas


def save(path: Path, rgb: Pixels) -> None:
    if not cv2.imwrite(str(path), rgb[:, :, ::-1]):
        raise OSError(f"{path} can't be written: does its folder exist?")


def tiled(parts: list[Pixels]) -> Pixels:
    """Close-ups side by side, ``SHEET_COLUMNS`` in a row."""
    columns = min(len(parts), SHEET_COLUMNS)
    padded = parts + [np.zeros_like(parts[0])] * (-len(parts) % columns)
    return np.vstack([np.hstack(padded[start : start + columns]) for start in range(0, len(parts), columns)])
