"""Paints what lies over and around the cards: fingers, pens, beads, coins, binder pages."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.simulate_paint import blend, lay, shade, window
from training.simulate_scene import PAGE_PITCH_MM, PAGE_STRIP_MM, Camera, Page, pixel_homography

__all__ = ["Capsule", "cover_edge", "hand_behind", "paint_capsule", "paint_pages", "paint_pockets"]

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
Field = NDArray[np.float32]
Colour = tuple[float, float, float]

FIXED_BITS = 4
"""cv2 draws soft edges at sixteenths of a pixel."""

LARGEST_COVER = 0.18
"""Share of a card that fingers and objects may cover: just below a fifth."""

SKINS_BGR: tuple[Colour, ...] = (
    (150, 178, 228), (120, 150, 205), (95, 130, 185), (70, 98, 150), (45, 66, 104), (34, 46, 72),
)  # fmt: skip
ITEMS_BGR: tuple[Colour, ...] = (
    (30, 30, 32), (150, 60, 30), (40, 40, 180), (60, 130, 50), (210, 212, 214), (60, 150, 190), (120, 120, 124),
)  # fmt: skip
PAGE_SHEETS: tuple[tuple[Colour, float], ...] = (
    ((26, 26, 28), 1.0), ((225, 228, 230), 0.25), ((70, 66, 62), 0.9), ((235, 236, 238), 0.95),
)  # fmt: skip
"""Colours and opacities of a page's backing: black, clear, grey, white."""


@dataclass(frozen=True, slots=True, eq=False)
class Capsule:
    """A rounded rod seen from above: a finger with its hand, a pen; a bead or coin where both ends are the same.

    Attributes:
        tip_px, end_px: (2,) centres of its two ends.
        radius_px: at the tip.
        bgr: its colour.
        palm_px: radius of the hand that a finger grows into, seven to eleven radii from the tip; 0 where there is none.
        shine: strength of a highlight along it, 0..1.
        nail: whether it has a fingernail.
    """

    tip_px: Points
    end_px: Points
    radius_px: float
    bgr: Colour
    palm_px: float = 0.0
    shine: float = 0.0
    nail: bool = False

    def offsets(self, x_px: Field, y_px: Field) -> tuple[Field, Field, Field]:
        """x and y from the rod's axis to points (they broadcast), and its radius beside each; float32."""
        axis = (self.end_px - self.tip_px).astype(np.float32)
        length = np.float32(max(float(np.hypot(*axis)), 1e-6))
        dx, dy = x_px - np.float32(self.tip_px[0]), y_px - np.float32(self.tip_px[1])
        along = np.clip((dx * axis[0] + dy * axis[1]) / (length * length), 0, 1)
        radius = np.full_like(along, self.radius_px)
        if self.palm_px:
            away = along * (length / np.float32(self.radius_px))
            rise = np.clip((away - 7) / 4, 0, 1)
            radius *= 1 + np.clip(away / 35, 0, np.float32(0.2))
            radius += (np.float32(self.palm_px) - radius) * rise * rise * (3 - 2 * rise)
        return dx - along * axis[0], dy - along * axis[1], radius

    def covers(self, points_px: Points) -> NDArray[np.bool_]:
        """Which of the points (n, 2) lie under it: (n,)."""
        x, y, radius = self.offsets(*points_px.T.astype(np.float32))
        return np.asarray(x * x + y * y < radius * radius)


def paint_capsule(canvas: Picture, capsule: Capsule, *, shadow: float, gloss: Picture | None = None) -> None:
    """Paints a finger, pen, bead or coin in place, with its shadow; it hides what is glossy below it."""
    ends = np.stack([capsule.tip_px, capsule.end_px])
    reach = max(capsule.radius_px, capsule.palm_px)
    area, origin = window(np.concatenate([ends - reach, ends + reach]), int(4 + reach), canvas.shape)
    if area is None:
        return
    roi = canvas[area]
    height, width = roi.shape[:2]
    step = 2 if width * height > 40_000 else 1
    rows, columns = -(-height // step), -(-width // step)
    x, y = ((np.arange(n, dtype=np.float32) + 0.5) * step for n in (columns, rows))
    corner = origin.astype(np.float32)
    seen = _capsule_pixels(capsule, (x + corner[0])[None, :], (y + corner[1])[:, None], soft_px=float(step))
    if step > 1:
        seen = np.asarray(cv2.resize(seen, (columns * step, rows * step))[:height, :width], dtype=np.uint8)
    mask = np.ascontiguousarray(seen[..., 3])
    if gloss is not None:
        gloss[area] = cv2.multiply(gloss[area], cv2.bitwise_not(mask), scale=1 / 255)
    shade(roi, mask, np.full(2, capsule.radius_px * 0.35), sigma_px=capsule.radius_px * 0.35, strength=shadow)
    blend(roi, seen)


def _capsule_pixels(capsule: Capsule, x_px: Field, y_px: Field, *, soft_px: float) -> Picture:
    """(H, W, 4) premultiplied BGRA of a rod at points x (1, W) and y (H, 1), lit from the top left."""
    x, y, radius = capsule.offsets(x_px, y_px)
    x /= radius
    y /= radius
    share = cv2.magnitude(x, y)
    down = np.float32(0.6) * x + np.float32(0.8) * y
    upright = np.sqrt(np.clip(1 - share * share, 0, 1))
    lit = (np.float32(0.45) + np.float32(0.55) * upright) * (1 - np.float32(0.18) * down)
    alpha = np.clip((1 - share) * radius * np.float32(1 / soft_px) + np.float32(0.5), 0, 1)
    gleam = np.float32(220 * capsule.shine) * np.exp(-50 * (down + np.float32(0.45)) ** 2) if capsule.shine else 0
    nail = _nail(capsule, x_px, y_px) if capsule.nail else 0
    bgr = [(c * lit * (1 - nail) + nail * (0.6 * c + 75) + gleam) * alpha for c in capsule.bgr]
    return np.asarray(cv2.merge([np.clip(c, 0, 255) for c in (*bgr, alpha * 255)])).astype(np.uint8)


def _nail(capsule: Capsule, x_px: Field, y_px: Field) -> Field:
    """(H, W) opacity, up to a half, of the ellipse of a fingernail near the tip."""
    axis = (capsule.end_px - capsule.tip_px).astype(np.float32)
    axis /= max(float(np.hypot(*axis)), 1e-6) * capsule.radius_px
    x, y = x_px - np.float32(capsule.tip_px[0]), y_px - np.float32(capsule.tip_px[1])
    u, v = x * axis[0] + y * axis[1] + np.float32(0.15), y * axis[0] - x * axis[1]
    inside = np.clip((1 - cv2.magnitude(u / np.float32(0.72), v / np.float32(0.55))) * 6, 0, 1)
    return np.asarray(inside, dtype=np.float32) * np.float32(0.5)


def paint_pages(canvas: Picture, gloss: Picture, pages: list[Page], camera: Camera, rng: np.random.Generator) -> None:
    """Paints the sheets of binder pages with their punched strips, in place; they reflect as a whole."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    for page in pages:
        _mask_page(mask, page, camera)
    colour, opacity = PAGE_SHEETS[int(rng.integers(len(PAGE_SHEETS)))]
    shade(canvas, mask, np.full(2, 3.0), sigma_px=5.0, strength=0.5)
    sheet = np.asarray(cv2.convertScaleAbs(mask, alpha=opacity), dtype=np.uint8)
    lay(canvas, sheet, np.asarray(colour) * rng.uniform(0.85, 1.1))
    np.maximum(gloss, mask, out=gloss)


def _mask_page(mask: Picture, page: Page, camera: Camera) -> None:
    """Fills one sheet, but for its three holes, in place."""
    half = np.asarray(PAGE_PITCH_MM) * 1.5 + 2.0
    wide = half[0] + PAGE_STRIP_MM - 2.0
    outline = np.asarray([(-wide, -half[1]), (half[0], -half[1]), half, (-wide, half[1])])
    mirror = np.asarray((-page.strip, 1.0))
    cv2.fillConvexPoly(mask, _fixed(camera.project(outline * mirror + page.centre_mm)), 255, cv2.LINE_AA, FIXED_BITS)
    for share in (-0.7, 0.0, 0.7):
        ring = np.linspace(0, 2 * np.pi, 24)
        hole = np.column_stack([np.cos(ring), np.sin(ring)]) * 3.5 + (-half[0] - 9, share * half[1])
        cv2.fillConvexPoly(mask, _fixed(camera.project(hole * mirror + page.centre_mm)), 0, cv2.LINE_AA, FIXED_BITS)


def paint_pockets(canvas: Picture, pockets_px: list[Points], haze: float, scale: float) -> None:
    """Paints the film of the pockets over the cards, in place: haze, welded seams, the opening at the top of each."""
    area, origin = window(np.concatenate(pockets_px), 4, canvas.shape)
    if area is None:
        return
    film = np.zeros(canvas[area].shape[:2], np.uint8)
    seam = int(70 + 90 * np.sqrt(haze))
    for pocket in pockets_px:
        outline = _fixed(pocket - origin)
        cv2.fillConvexPoly(film, outline, int(255 * np.sqrt(haze)), cv2.LINE_AA, FIXED_BITS)
        cv2.polylines(film, [outline], True, seam, max(1, round(scale * 0.7)), cv2.LINE_AA, FIXED_BITS)
        cv2.polylines(film, [outline[:2]], False, 140, max(1, round(scale * 0.9)), cv2.LINE_AA, FIXED_BITS)
    light = cv2.cvtColor(film, cv2.COLOR_GRAY2BGR).astype(np.float32) ** 2
    canvas[area] = cv2.convertScaleAbs(cv2.sqrt(canvas[area].astype(np.float32) ** 2 + light))


def cover_edge(quads_px: Points, rng: np.random.Generator, scale: float) -> Capsule | None:
    """A finger, pen, bead or coin over an edge or corner of one of the cards (n, 4, 2); None where none fits.

    No card loses more than LARGEST_COVER. `scale` is in pixels per millimetre.
    """
    quad = quads_px[int(rng.integers(len(quads_px)))]
    kind = rng.random()
    for _ in range(8):
        if kind < 0.55:
            item = _finger(quad, rng, scale)
        elif kind < 0.75:
            item = _reaching(quad, rng, _item(rng), radius_mm=rng.uniform(3.5, 6), scale=scale, shine=0.3)
        else:
            item = _reaching(quad, rng, _item(rng), radius_mm=rng.uniform(6, 13), scale=scale, shine=0.4, long_mm=0.0)
        fitting = _withdrawn(item, quads_px)
        if fitting is not None:
            return fitting
    return None


def hand_behind(quad_px: Points, rng: np.random.Generator, scale: float) -> tuple[Capsule | None, list[Capsule]]:
    """The thumb over a card (4, 2) and the fingers and arm behind it, of a hand that holds it by one side."""
    skin, side, share = _skin(rng), int(rng.integers(4)), rng.uniform(0.3, 0.7)
    ends = quad_px[side], quad_px[(side + 1) % 4]
    edge = ends[0] * (1 - share) + ends[1] * share
    across = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0]) * scale
    outward = np.asarray([across[1], -across[0]])
    root = edge + outward * rng.uniform(55, 75)
    fingers = []
    for n in range(int(rng.integers(3, 5))):
        tip = edge + across * (17 * n - 22) - outward * rng.uniform(4, 30)
        fingers.append(Capsule(tip, root + across * (11 * n - 16), 8.5 * scale, skin))
    arm = Capsule(root, root + outward * 600 + across * rng.uniform(-200, 200), 31 * scale, skin)
    tip = edge - outward * rng.uniform(2, 12) + across * rng.uniform(-8, 8)
    thumb = Capsule(tip, root + outward * 30 + across * 8, rng.uniform(9, 11) * scale, skin, nail=True)
    return _withdrawn(thumb, quad_px[None]), [*fingers, arm]


def _finger(quad_px: Points, rng: np.random.Generator, scale: float) -> Capsule:
    """A pointing finger with its hand and arm, which leaves the frame."""
    radius_mm, nail = rng.uniform(7, 10), rng.random() < 0.7
    return _reaching(quad_px, rng, _skin(rng), radius_mm=radius_mm, scale=scale, nail=nail, palm_mm=36.0, long_mm=900.0)


def _reaching(
    quad_px: Points,
    rng: np.random.Generator,
    bgr: Colour,
    *,
    radius_mm: float,
    scale: float,
    nail: bool = False,
    shine: float = 0.0,
    palm_mm: float = 0.0,
    long_mm: float = 130.0,
) -> Capsule:
    """A rod that reaches from outside over a random point of the card's outline."""
    side = int(rng.integers(4))
    share = rng.uniform(0.0, 1.0)
    edge = quad_px[side] * (1 - share) + quad_px[(side + 1) % 4] * share
    inward = quad_px.mean(axis=0) - edge
    turn = rng.uniform(-0.6, 0.6)
    inward = inward @ np.asarray([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))]) / np.linalg.norm(inward)
    tip = edge + inward * scale * (rng.uniform(2, 20) - radius_mm)
    return Capsule(tip, tip - inward * scale * long_mm, radius_mm * scale, bgr, palm_mm * scale, shine, nail)


def _withdrawn(capsule: Capsule, quads_px: Points) -> Capsule | None:
    """The rod, drawn back until each card shows enough; None where it has left the first it covered or never will."""
    grids = [_grid(quad) for quad in quads_px]
    back = capsule.end_px - capsule.tip_px
    length = float(np.linalg.norm(back))
    step = (back / length if length > 0 else np.zeros(2)) * capsule.radius_px * 0.25
    for count in range(12):
        moved = replace(capsule, tip_px=capsule.tip_px + step * count, end_px=capsule.end_px + step * count)
        shares = [float(moved.covers(grid).mean()) for grid in grids]
        if max(shares) <= LARGEST_COVER:
            return moved if max(shares) > 0.002 else None
    return None


def _grid(quad_px: Points) -> Points:
    """(576, 2) points evenly over a card, in pixels."""
    unit = np.asarray([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]) + 0.5
    x, y = np.meshgrid((np.arange(24) + 0.5) / 24, (np.arange(24) + 0.5) / 24)
    points = np.column_stack([x.ravel(), y.ravel()])[None]
    return np.asarray(cv2.perspectiveTransform(points, pixel_homography(unit, quad_px + 0.5))[0], dtype=np.float64)


def _skin(rng: np.random.Generator) -> Colour:
    b, g, r = np.clip(np.asarray(SKINS_BGR[int(rng.integers(len(SKINS_BGR)))]) * rng.uniform(0.85, 1.1), 0, 255)
    return float(b), float(g), float(r)


def _item(rng: np.random.Generator) -> Colour:
    b, g, r = np.clip(np.asarray(ITEMS_BGR[int(rng.integers(len(ITEMS_BGR)))]) + rng.uniform(-20, 20, 3), 0, 255)
    return float(b), float(g), float(r)


def _fixed(points_px: Points) -> NDArray[np.int32]:
    """Points for cv2's drawing, which counts from pixel centres."""
    return np.asarray(np.round((points_px - 0.5) * 2**FIXED_BITS), dtype=np.int32)
