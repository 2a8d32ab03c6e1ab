"""Paints cards with their sleeves, paper edges and contact shadows into a frame, with soft, exact edges.

Each card is drawn flat with about as many pixels as it will have in the frame (area-averaged where that is fewer than
it has), its edge as premultiplied alpha, and warped once. Quads are in edge coordinates: the frame's first pixel spans
(0, 0) to (1, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.simulate_background import fractal
from training.simulate_scene import Camera, Placement, pixel_homography

__all__ = ["Finish", "blend", "lay", "paint_card", "shade", "window"]

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]

CORNER_MM = 3.0
"""Radius of a card's corner; printed cards have 2.5 to 3.2 mm."""

THICKNESS_MM = 0.32
"""Of a card; its paper edge is seen where the camera looks at it aslant."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What a card is covered with.

    Attributes:
        sleeve_mm: how far a sleeve stands out around the card; 0 where there is none.
        sleeve_bgr: colour of that rim.
        sleeve_alpha: its opacity, 0..1: coloured sleeves are opaque, clear ones are not.
        haze: what the sleeve adds over the card, 0..1 of linear light.
        sheen: strength of rainbow bands, 0..1.
        lift_mm: how far the shadow falls beside the card.
        shadow: how dark it is, 0..1.
    """

    sleeve_mm: float = 0.0
    sleeve_bgr: tuple[float, float, float] = (200.0, 200.0, 200.0)
    sleeve_alpha: float = 0.0
    haze: float = 0.0
    sheen: float = 0.0
    lift_mm: float = 0.8
    shadow: float = 0.45


def paint_card(
    canvas: Picture,
    gloss: Picture,
    card_rgb: Picture,
    *,
    placement: Placement,
    camera: Camera,
    finish: Finish,
    rng: np.random.Generator,
    light_mm: Points,
) -> None:
    """Paints one card in place.

    Args:
        canvas: (H, W, 3) uint8 BGR.
        gloss: (H, W) uint8; the card's surface becomes 255.
        card_rgb: (h, w, 3) uint8 RGB.
        placement: where it lies.
        camera: how it is seen.
        finish: what it is covered with.
        rng: where the randomness of the sheen comes from.
        light_mm: (2,) unit vector on the table, away from the light.
    """
    corners_px = camera.project(placement.corners_mm)
    sides = np.linalg.norm(corners_px - np.roll(corners_px, -1, axis=0), axis=1)
    flat_wh = max(int(np.ceil(max(sides[0], sides[2]))), 4), max(int(np.ceil(max(sides[1], sides[3]))), 4)
    flat, rim = _flat_card(card_rgb, flat_wh, placement.size_mm, finish, rng)
    inner = _rectangle(rim, rim, rim + flat_wh[0], rim + flat_wh[1])
    outer = _rectangle(0, 0, flat.shape[1], flat.shape[0])
    warp = pixel_homography(inner, corners_px)
    reach = cv2.perspectiveTransform((outer - 0.5)[None], warp)[0] + 0.5
    scale = float(sides.sum() / (2 * sum(placement.size_mm)))
    centre = placement.corners_mm.mean(axis=0)
    drop = np.append(light_mm * finish.lift_mm, 0.0) + np.append(centre, THICKNESS_MM + finish.lift_mm / 4)
    face, back, floor = camera.project(np.stack([np.append(centre, 0.0), np.append(centre, THICKNESS_MM), drop]))
    margin = int(4 + 4 * finish.lift_mm * scale)
    area, origin = window(reach, margin, canvas.shape)
    if area is None:
        return
    size_wh = canvas[area].shape[1::-1]
    seen = np.asarray(cv2.warpPerspective(flat, _moved(-origin) @ warp, size_wh), dtype=np.uint8)
    alpha = np.ascontiguousarray(seen[..., 3])
    roi = canvas[area]
    shade(roi, alpha, floor - face, sigma_px=0.6 + finish.lift_mm * scale * 0.6, strength=finish.shadow)
    lay(roi, _shifted(alpha, back - face), np.clip(np.full(3, 150.0) + 60 * finish.shadow, 0, 255))
    blend(roi, seen)
    np.maximum(gloss[area], alpha, out=gloss[area])


def _flat_card(
    card_rgb: Picture, flat_wh: tuple[int, int], size_mm: tuple[float, float], finish: Finish, rng: np.random.Generator
) -> tuple[Picture, int]:
    """The card with its sleeve as premultiplied BGRA, and the width of the rim around the card in pixels."""
    shrinks = flat_wh[0] * flat_wh[1] < card_rgb.shape[0] * card_rgb.shape[1]
    face = cv2.resize(card_rgb, flat_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    face = cv2.cvtColor(face, cv2.COLOR_RGB2BGR)
    if finish.sheen > 0:
        face = _with_sheen(np.asarray(face, dtype=np.uint8), finish.sheen, rng)
    if finish.haze > 0:
        table = 255 * np.sqrt(np.clip(np.square(np.arange(256) / 255.0) * (1 - finish.haze) + finish.haze, 0, 1))
        face = cv2.LUT(face, table.astype(np.uint8))
    scale = flat_wh[0] / size_mm[0], flat_wh[1] / size_mm[1]
    rim = int(np.ceil(finish.sleeve_mm * max(scale))) + 2
    alpha = _rounded(flat_wh, CORNER_MM * scale[0], CORNER_MM * scale[1])
    bgra = cv2.merge([*cv2.split(cv2.multiply(face, cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR), scale=1 / 255)), alpha])
    flat = cv2.copyMakeBorder(bgra, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    if finish.sleeve_mm > 0:
        plate_wh = flat_wh[0] + 2 * rim - 4, flat_wh[1] + 2 * rim - 4
        plate = cv2.copyMakeBorder(_rounded(plate_wh, scale[0], scale[1]), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=0)
        flat = _over(flat, plate, finish)
    return np.asarray(flat, dtype=np.uint8), rim


def _over(flat: cv2.typing.MatLike, plate: cv2.typing.MatLike, finish: Finish) -> Picture:
    """A premultiplied card over the plate of its sleeve."""
    opacity = plate.astype(np.float32) * np.float32(finish.sleeve_alpha / 255)
    rest = opacity * (1 - flat[..., 3].astype(np.float32) / 255)
    colour = (*finish.sleeve_bgr, 255.0)
    both = [flat[..., n].astype(np.float32) + rest * np.float32(colour[n]) for n in range(4)]
    return np.asarray(cv2.convertScaleAbs(cv2.merge(both)), dtype=np.uint8)


def _with_sheen(face: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Rainbow bands across the card, brightest where foil catches the light."""
    height, width = face.shape[:2]
    angle, bands = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 3.0)
    x = np.linspace(0, bands * np.cos(angle), width, dtype=np.float32)[None, :]
    y = np.linspace(0, bands * np.sin(angle), height, dtype=np.float32)[:, None]
    foil = fractal((width, height), rng, cell_px=height / 3, octaves=4)
    hue = ((x + y + foil * 0.5) * 180 % 180).astype(np.uint8)
    glow = cv2.convertScaleAbs(np.clip(foil * 1.6 - 0.4, 0, 1), alpha=255 * strength)
    rainbow = cv2.cvtColor(cv2.merge([hue, np.full_like(hue, 130), glow]), cv2.COLOR_HSV2BGR)
    return np.asarray(cv2.add(face, rainbow), dtype=np.uint8)


def _rounded(size_wh: tuple[int, int], radius_x: float, radius_y: float) -> Picture:
    """(H, W) uint8: 255 inside a rectangle with rounded corners that fills it, soft by a pixel."""
    width, height = size_wh
    alpha = np.full((height, width), 255, np.uint8)
    columns, rows = (min(int(np.ceil(r)), n // 2) for r, n in ((radius_x, width), (radius_y, height)))
    x = (radius_x - np.arange(columns) - 0.5) / radius_x
    y = (radius_y - np.arange(rows) - 0.5) / radius_y
    inside = (1 - np.hypot(x[None, :], y[:, None])) * (radius_x + radius_y) / 2 + 0.5
    corner = (np.clip(inside, 0, 1) * 255).astype(np.uint8)
    alpha[:rows, :columns], alpha[:rows, width - columns :] = corner, corner[:, ::-1]
    alpha[height - rows :, :columns], alpha[height - rows :, width - columns :] = corner[::-1], corner[::-1, ::-1]
    return alpha


def _rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    return np.asarray([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)


def _moved(by: Points) -> NDArray[np.float64]:
    return np.asarray([(1, 0, by[0]), (0, 1, by[1]), (0, 0, 1)], dtype=np.float64)


def window(points_px: Points, margin: int, shape: tuple[int, ...]) -> tuple[tuple[slice, slice] | None, Points]:
    """The part of a frame around points, and its origin in pixels; None where it is empty."""
    low = np.clip(np.floor(points_px.min(axis=0)) - margin, 0, shape[1::-1]).astype(int)
    high = np.clip(np.ceil(points_px.max(axis=0)) + margin, 0, shape[1::-1]).astype(int)
    area = np.s_[low[1] : high[1], low[0] : high[0]]
    return (area if (high > low).all() else None), low.astype(np.float64)


def _shifted(alpha: Picture, by_px: Points) -> Picture:
    matrix = np.asarray([(1, 0, by_px[0]), (0, 1, by_px[1])])
    return np.asarray(cv2.warpAffine(alpha, matrix, alpha.shape[::-1]), dtype=np.uint8)


def shade(roi: Picture, alpha: Picture, by_px: Points, *, sigma_px: float, strength: float) -> None:
    """Darkens the roi under a blurred, shifted silhouette, in place."""
    size_wh = alpha.shape[::-1]
    step = 4 if sigma_px > 2.5 else 1
    small = cv2.resize(alpha, (size_wh[0] // step or 1, size_wh[1] // step or 1), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma_px / step)
    shadow = _shifted(np.asarray(cv2.resize(small, size_wh), dtype=np.uint8), by_px)
    kept = cv2.convertScaleAbs(shadow, alpha=-strength, beta=255)
    cv2.multiply(roi, cv2.cvtColor(kept, cv2.COLOR_GRAY2BGR), dst=roi, scale=1 / 255)


def lay(roi: Picture, alpha: Picture, bgr: NDArray[np.float64]) -> None:
    """Covers the roi with a colour, in place."""
    seen = cv2.merge([*(cv2.convertScaleAbs(alpha, alpha=float(c) / 255) for c in bgr), alpha])
    blend(roi, np.asarray(seen, dtype=np.uint8))


def blend(roi: Picture, seen: Picture) -> None:
    """Premultiplied BGRA over the roi, in place."""
    rest = cv2.cvtColor(cv2.bitwise_not(np.ascontiguousarray(seen[..., 3])), cv2.COLOR_GRAY2BGR)
    below = cv2.multiply(roi, rest, scale=1 / 255)
    cv2.add(below, cv2.cvtColor(seen, cv2.COLOR_BGRA2BGR), dst=roi)
