"""Simulated photos of cards with known outlines: a pinhole camera, light, lens, sensor and JPEG.

    rng = np.random.default_rng(7)
    frame = simulate_frame([card_rgb, other_rgb], rng=rng, level="hard")
    frame.pixels, frame.quads_px, frame.indices

Cards are never mirrored. Equal generators and arguments give equal frames. Quads are in edge coordinates: the corner of
the frame's first pixel is (0, 0) and the corner of its last is (W, H). They are exact for the pinhole geometry; lens
distortion, rolling shutter and bent cards are not simulated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from training.simulate_background import cropped, procedural_background
from training.simulate_camera import Moment, expose
from training.simulate_clutter import lay_clutter
from training.simulate_levels import LEVELS, Level, Look
from training.simulate_objects import cover_edge, hand_behind, paint_capsule, paint_pages, paint_pockets
from training.simulate_paint import Finish, paint_card
from training.simulate_scene import (
    CARD_HEIGHT_MM,
    PAGE_POCKETS,
    Camera,
    Page,
    Placement,
    aim,
    card_size_mm,
    lay_out,
    lay_pages,
    lay_rows,
    pixel_homography,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Level", "Look", "Moment", "SimulatedFrame", "procedural_background", "simulate_crop", "simulate_frame"]

Picture = NDArray[np.uint8]

SLEEVE_COLOURS_BGR = (
    (20, 20, 22), (40, 36, 160), (150, 80, 30), (60, 110, 40), (225, 228, 230), (120, 40, 110), (30, 150, 200),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedFrame:
    """A photo and its truth.

    Attributes:
        pixels: (H, W, 3) uint8 BGR.
        quads_px: (n, 4, 2) float32, each card's own top left, top right, bottom right, bottom left.
        indices: (n,) int64, which of the given cards each quad is; in the order they were laid, later ones on top.
    """

    pixels: Picture
    quads_px: NDArray[np.float32]
    indices: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """Where everything lies: the cards and what covers each, binder pages (or none), other things, and the camera."""

    placements: list[Placement]
    finishes: list[Finish]
    pages: list[Page]
    clutter: list[tuple[Picture, Placement]]
    camera: Camera
    overlaps: bool
    held: bool

    def quads_px(self) -> NDArray[np.float64]:
        return np.asarray([self.camera.project(p.corners_mm) for p in self.placements]).reshape(-1, 4, 2)

    def scale(self) -> float:
        """Pixels per millimetre, in the mean over the cards (over the table where there is none)."""
        outlines = [p.corners_mm for p in self.placements] or [np.asarray([(-9.0, -9), (9, -9), (9, 9), (-9, 9)])]
        seen, real = (
            [cv2.contourArea(o.astype(np.float32)) for o in os] for os in (map(self.camera.project, outlines), outlines)
        )
        return float(np.sqrt(np.mean(np.divide(seen, real))))


def simulate_frame(
    cards: Sequence[Picture],
    *,
    rng: np.random.Generator,
    level: Level | Look = "easy",
    size_wh: tuple[int, int] = (1280, 720),
    background: Picture | None = None,
    max_turn_deg: float | None = None,
    pictures: Sequence[Picture] = (),
    moment: Moment | None = None,
) -> SimulatedFrame:
    """Photographs cards on a table or in a binder page.

    Args:
        cards: (h, w, 3) uint8 RGB faces; none gives a table without cards. At most 18 at level ``page``.
        rng: where all randomness comes from.
        level: ``easy``, ``hard`` or ``page``, whose ranges are in LEVELS; or ranges of your own.
        size_wh: width and height of the frame in pixels.
        background: (h, w, 3) uint8 BGR. A picture is cropped to the frame; one below a third of the frame's size is
            tiled over the table as a texture. Drawn at random where None.
        max_turn_deg: largest in-plane turn to either side; the level's own (15, 30, 8) where None.
        pictures: (h, w, 3) uint8 RGB, which some of the other things on the table show.
        moment: what is this frame's own; frames of equal ``rng`` then show one scene in one light.

    Raises:
        ValueError: an unknown level, a card or background that is not (h, w, 3) uint8, a frame below 32 pixels, more
            than 18 cards on two pages.
    """
    look = _look(level)
    if max_turn_deg is not None:
        look = replace(look, turn_deg=max_turn_deg)
    _check(cards, look, size_wh, background)
    scene = _arrange(cards, rng, look=look, size_wh=size_wh, pictures=pictures)
    if moment is not None:
        scene = replace(scene, camera=Camera(scene.camera.projection @ moment.motion_mm))
    canvas = _table_top(background, scene.camera, size_wh, rng)
    gloss = _paint(canvas, cards, scene, look, rng)
    pixels = expose(canvas, gloss, look, rng, card_px=CARD_HEIGHT_MM * scene.scale(), moment=moment)
    indices = np.asarray([p.index for p in scene.placements], dtype=np.int64)
    return SimulatedFrame(pixels, scene.quads_px().astype(np.float32), indices)


def simulate_crop(
    card_rgb: Picture,
    *,
    rng: np.random.Generator,
    level: Level | Look,
    corner_error: float,
    size: int = 224,
    height_px: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """What a rectifier cuts out of a photo of one card when its corners are a little off.

    Args:
        card_rgb: (h, w, 3) uint8 RGB face.
        rng: where all randomness comes from.
        level: as for simulate_frame; ``page`` gives a sleeved card in a page's light.
        corner_error: standard deviation of each corner's coordinates, as a share of the card's width in the frame.
        size: width and height of the crop in pixels.
        height_px: range of the card's height in the frame, within a tenth; 230 to 400 at level ``easy``, 150 to 380
            at others where None.

    Returns:
        (size, size, 3) uint8 RGB, the whole card stretched to the square.
    """
    look = _look(level)
    if height_px is None:
        height_px = (230, 400) if level == "easy" else (150, 380)
    drawn_px = rng.uniform(*height_px)
    sleeve = 1.0 if look.page else look.sleeve
    look = replace(look, fill=(0.8, 0.94), turn_deg=min(look.turn_deg, 10.0), sleeve=sleeve, hold=0.0, page=False)
    size_wh = (int(drawn_px * 1.05), int(drawn_px * 1.12))
    table = procedural_background((size_wh[0] // 2, size_wh[1] // 2), rng)
    frame = simulate_frame([card_rgb], rng=rng, level=look, size_wh=size_wh, background=table)
    quad = frame.quads_px[0].astype(np.float64)
    width_px = (np.linalg.norm(quad[1] - quad[0]) + np.linalg.norm(quad[2] - quad[3])) / 2
    quad += np.clip(rng.normal(0.0, 1.0, (4, 2)), -2.5, 2.5) * corner_error * width_px
    twice = 2.0 * size
    square = np.asarray([(0, 0), (twice, 0), (twice, twice), (0, twice)])
    warp = pixel_homography(quad, square)
    crop = cv2.warpPerspective(frame.pixels, warp, (2 * size, 2 * size), borderMode=cv2.BORDER_REPLICATE)
    crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _look(level: Level | Look) -> Look:
    """The ranges of a level.

    Raises:
        ValueError: there is no such level.
    """
    if isinstance(level, Look):
        return level
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}, expected one of {', '.join(LEVELS)}")
    return LEVELS[level]


def _check(cards: Sequence[Picture], look: Look, size_wh: tuple[int, int], background: Picture | None) -> None:
    for name, picture in [*((f"cards[{n}]", card) for n, card in enumerate(cards)), ("background", background)]:
        if picture is None:
            continue
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ValueError(f"{name} is {picture.dtype} of shape {picture.shape}, expected uint8 of shape (h, w, 3)")
    if min(size_wh) < 32:
        raise ValueError(f"size_wh is {size_wh}, expected at least 32 pixels each way")
    if look.page and len(cards) > 2 * PAGE_POCKETS:
        raise ValueError(f"{len(cards)} cards are given, expected at most {2 * PAGE_POCKETS} for two pages")


def _finishes(count: int, look: Look, rng: np.random.Generator, *, lift_mm: float) -> list[Finish]:
    """A finish for each card: sleeved alike, but each with its own sheen."""
    base = Finish(lift_mm=lift_mm, shadow=rng.uniform(0.2, 0.65))
    if rng.random() < look.sleeve:
        haze = rng.uniform(*look.haze)
        if rng.random() < 0.5:
            colour = SLEEVE_COLOURS_BGR[int(rng.integers(len(SLEEVE_COLOURS_BGR)))]
            base = replace(base, sleeve_mm=rng.uniform(0.8, 1.8), sleeve_bgr=colour, sleeve_alpha=1.0, haze=haze)
        else:
            rim_mm = rng.uniform(1.0, 2.2) if rng.random() < 0.8 else rng.uniform(4.0, 7.0)
            base = replace(base, sleeve_mm=rim_mm, sleeve_alpha=rng.uniform(0.08, 0.35), haze=haze)
    return [replace(base, sheen=rng.uniform(0.15, 0.7) if rng.random() < look.sheen else 0.0) for _ in range(count)]


def _arrange(
    cards: Sequence[Picture],
    rng: np.random.Generator,
    *,
    look: Look,
    size_wh: tuple[int, int],
    pictures: Sequence[Picture],
) -> _Scene:
    """Lays the cards out and aims the camera at them."""
    held = len(cards) == 1 and rng.random() < look.hold
    finishes = _finishes(len(cards), look, rng, lift_mm=rng.uniform(4, 14) if held else rng.uniform(0.2, 1.2))
    sizes_mm = [card_size_mm(card) for card in cards]
    overlap = look.overlap if len(cards) > 1 and rng.random() < 0.5 else 0.0
    pages: list[Page] = []
    aspect = size_wh[0] / size_wh[1]
    gap_mm = 1.0 + finishes[0].sleeve_mm if cards and overlap == 0 else 1.0
    if look.page:
        placements, pages = lay_pages(sizes_mm, rng)
        points = np.concatenate([pocket for page in pages for pocket in page.pockets_mm])
    elif len(cards) > 1 and rng.random() < look.rows:
        overlap = 0.0
        placements = lay_rows(sizes_mm, rng, aspect=aspect, turn_deg=look.turn_deg, gap_mm=gap_mm)
        points = np.concatenate([p.corners_mm for p in placements])
    else:
        placements = lay_out(sizes_mm, rng, aspect=aspect, turn_deg=look.turn_deg, overlap=overlap, gap_mm=gap_mm)
        points = np.concatenate([p.corners_mm for p in placements] or [np.asarray([(-90.0, -60.0), (90.0, 60.0)])])
    things = lay_clutter(points, rng, pictures) if rng.random() < look.clutter else []
    smallest, largest = look.fill
    smallest = max(smallest, min(smallest * np.sqrt(len(cards)), 0.8 * largest))  # several cards would become tiny
    camera = aim(
        points,
        rng,
        size_wh=size_wh,
        tilt_deg=rng.uniform(*look.tilt_deg),
        roll_deg=rng.uniform(-look.turn_deg, look.turn_deg) if look.page else 0.0,
        fill=rng.uniform(smallest, largest),
    )
    clutter = [(thing, at) for thing, at in things if camera.sees(at.corners_mm)]
    return _Scene(placements, finishes, pages, clutter, camera, overlap > 0, held)


def _table_top(
    background: Picture | None, camera: Camera, size_wh: tuple[int, int], rng: np.random.Generator
) -> Picture:
    """(H, W, 3) BGR: a picture cropped to the frame, or a texture lying on the table as the camera sees it."""
    if background is not None and 3 * background.shape[1] >= size_wh[0] and 3 * background.shape[0] >= size_wh[1]:
        return cropped(background, size_wh, rng)
    zoom = 1.0 if background is None else rng.uniform(1.0, 2.5)
    texture = procedural_background(size_wh, rng) if background is None else background
    middle = np.asarray(size_wh) / 2
    away = np.linalg.inv(camera.table) @ np.column_stack([[*middle, 1.0], [middle[0] + 1, middle[1], 1.0]])
    points_mm = (away[:2] / away[2:]).T
    step = float(np.linalg.norm(points_mm[1] - points_mm[0])) * zoom
    turn = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else 0.0
    linear = step * np.asarray([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    offset = points_mm[0] - linear @ (np.asarray(texture.shape[1::-1]) / 2)
    warp = camera.table @ np.vstack([np.column_stack([linear, offset]), (0.0, 0.0, 1.0)])
    return np.asarray(cv2.warpPerspective(texture, warp, size_wh, borderMode=cv2.BORDER_REFLECT_101), dtype=np.uint8)


def _paint(
    canvas: Picture,
    cards: Sequence[Picture],
    scene: _Scene,
    look: Look,
    rng: np.random.Generator,
) -> Picture:
    """Paints everything in place; returns the (H, W) mask of what is glossy."""
    gloss = np.zeros(canvas.shape[:2], np.uint8)
    scale, quads_px = scene.scale(), scene.quads_px()
    angle = rng.uniform(0, 2 * np.pi)
    light_mm = np.asarray([np.cos(angle), np.sin(angle)])
    if scene.held:
        thumb, fingers = hand_behind(quads_px[0], rng, scale)
        for finger in fingers:
            paint_capsule(canvas, finger, shadow=0.3)
    for thing, place in scene.clutter:
        lying = Finish(lift_mm=rng.uniform(0.3, 6.0), shadow=rng.uniform(0.2, 0.6))
        at = scene.camera
        paint_card(canvas, gloss, thing, placement=place, camera=at, finish=lying, rng=rng, light_mm=light_mm)
    if scene.pages:
        paint_pages(canvas, gloss, scene.pages, scene.camera, rng)
    for placement, finish in zip(scene.placements, scene.finishes, strict=True):
        card, at = cards[placement.index], scene.camera
        paint_card(canvas, gloss, card, placement=placement, camera=at, finish=finish, rng=rng, light_mm=light_mm)
    gloss = np.asarray(cv2.convertScaleAbs(gloss, alpha=rng.uniform(0.4, 1.0)), dtype=np.uint8)
    if scene.pages:
        pockets = [scene.camera.project(pocket) for page in scene.pages for pocket in page.pockets_mm]
        paint_pockets(canvas, pockets, rng.uniform(*look.haze), scale)
    if scene.held and thumb is not None:
        paint_capsule(canvas, thumb, gloss=gloss, shadow=0.5)
    elif len(quads_px) and not scene.overlaps and rng.random() < look.cover:
        item = cover_edge(quads_px, rng, scale)
        if item is not None:
            paint_capsule(canvas, item, gloss=gloss, shadow=rng.uniform(0.3, 0.6))
    return gloss
