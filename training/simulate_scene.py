"""Where the cards lie and how a pinhole camera sees them.

Millimetres: x to the right, y down, z away from the camera; the cards' faces are the plane z = 0. Pixels: the
corner of the frame's first pixel is (0, 0), the corner of its last (W, H).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "CARD_HEIGHT_MM",
    "PAGE_PITCH_MM",
    "PAGE_POCKETS",
    "PAGE_STRIP_MM",
    "Camera",
    "Page",
    "Placement",
    "aim",
    "card_size_mm",
    "lay_out",
    "lay_pages",
    "lay_rows",
    "pixel_homography",
    "place",
]

Size = tuple[float, float]

CARD_HEIGHT_MM = 88.0
"""Height of a standard trading card (63 x 88 mm); the width follows from the picture."""

PAGE_PITCH_MM = (70.0, 95.0)
"""Pocket to pocket on a nine-pocket binder page (63 x 88 mm cards, 1.5 mm of play and a 4 mm weld)."""

PAGE_POCKETS = 9
PAGE_STRIP_MM = 18.0
"""From the outer pockets to the page's punched side, the strip with the holes included."""

FOCAL_SHARE = (0.8, 1.9)
"""Focal lengths as a share of the frame's longer side: 64 to 29 degrees across, phone main camera to 2x."""


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A pinhole camera before the table.

    Attributes:
        projection: (3, 4) float64, homogeneous table millimetres to homogeneous pixels.
    """

    projection: NDArray[np.float64]

    @property
    def table(self) -> NDArray[np.float64]:
        """(3, 3) homography from the table plane (x, y in mm) to pixels."""
        return self.projection[:, [0, 1, 3]]

    def project(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (n, 2) of points on the table (n, 2) or above and below it (n, 3)."""
        height = np.zeros((len(points_mm), 3 - points_mm.shape[1]))
        seen = np.hstack([points_mm, height, np.ones((len(points_mm), 1))]) @ self.projection.T
        return np.asarray(seen[:, :2] / seen[:, 2:], dtype=np.float64)

    def sees(self, points_mm: NDArray[np.float64], nearest: float = 0.5) -> bool:
        """Whether all of the points (n, 2) on the table lie before it, none nearer than that share of the middle."""
        depths = points_mm @ self.projection[2, :2] + self.projection[2, 3]
        return bool((depths > nearest * abs(self.projection[2, 3])).all())


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """One card on the table.

    Attributes:
        index: which of the given cards it is.
        size_mm: width and height of the card.
        corners_mm: (4, 2) float64, the card's own top left, top right, bottom right, bottom left on the table.
    """

    index: int
    size_mm: Size
    corners_mm: NDArray[np.float64]


def card_size_mm(card: NDArray[np.uint8]) -> Size:
    """Width and height of a card in millimetres, from the shape of its picture: the longer side is 88 mm."""
    height, width = card.shape[:2]
    scale = CARD_HEIGHT_MM / max(height, width)
    return width * scale, height * scale


def place(index: int, size_mm: Size, centre_mm: NDArray[np.float64], turn_deg: float) -> Placement:
    """A card about a point, turned clockwise."""
    half = np.asarray(size_mm) / 2
    outline = np.asarray([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    cos, sin = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    return Placement(index, size_mm, outline @ np.asarray([(cos, sin), (-sin, cos)]) + centre_mm)


def lay_out(
    sizes_mm: Sequence[Size],
    rng: np.random.Generator,
    *,
    aspect: float,
    turn_deg: float,
    overlap: float,
    gap_mm: float = 1.0,
) -> list[Placement]:
    """Lays cards at random places and turns, later ones on top.

    Args:
        sizes_mm: width and height of each card.
        rng: where the randomness comes from.
        aspect: width by height of the region to fill.
        turn_deg: largest turn to either side.
        overlap: largest share of a card that the cards above it may cover in all; 0 keeps them apart.
        gap_mm: by how much a card is taken to be larger on each side when it is laid over another.
    """
    area = sum(width * height for width, height in sizes_mm) * rng.uniform(1.5, 3.0)
    while True:
        region = np.sqrt([area * aspect, area / aspect])
        placements: list[Placement] = []
        for index, size_mm in enumerate(sizes_mm):
            found = _free_place(
                placements, index, size_mm, rng, region=region, turn_deg=turn_deg, overlap=overlap, gap_mm=gap_mm
            )
            if found is None:
                break
            placements.append(found)
        if len(placements) == len(sizes_mm):
            return placements
        area *= 1.2


def _free_place(
    placed: list[Placement],
    index: int,
    size_mm: Size,
    rng: np.random.Generator,
    *,
    region: NDArray[np.float64],
    turn_deg: float,
    overlap: float,
    gap_mm: float,
) -> Placement | None:
    """A place that leaves the cards below visible enough, or None after 40 tries."""
    room = np.maximum(region - np.asarray(size_mm), 0.0) / 2
    for _ in range(40):
        candidate = place(index, size_mm, rng.uniform(-room, room), rng.uniform(-turn_deg, turn_deg))
        if all(_covered(below, [*placed[n + 1 :], candidate], gap_mm) <= overlap for n, below in enumerate(placed)):
            return candidate
    return None


def _covered(card: Placement, above: Sequence[Placement], gap_mm: float) -> float:
    """Share of a card under those above it, each grown by the gap; cards that overlap there count twice."""
    covered = 0.0
    for other in above:
        centre = other.corners_mm.mean(axis=0)
        grown = centre + (other.corners_mm - centre) * (1 + 2 * gap_mm / min(other.size_mm))
        covered += cv2.intersectConvexConvex(card.corners_mm.astype(np.float32), grown.astype(np.float32))[0]
    return covered / (card.size_mm[0] * card.size_mm[1])


def lay_rows(
    sizes_mm: Sequence[Size], rng: np.random.Generator, *, aspect: float, turn_deg: float, gap_mm: float
) -> list[Placement]:
    """Lays cards in rows, nearly straight and at most a centimetre apart; the rows as a whole are turned."""
    pitch = np.max(sizes_mm, axis=0) + gap_mm + rng.uniform(1.0, 10.0)
    columns = max(1, round(float(np.sqrt(len(sizes_mm) * aspect * pitch[1] / pitch[0]) * rng.uniform(0.6, 1.4))))
    angle = rng.uniform(-turn_deg, turn_deg)
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    placements = []
    for index, size_mm in enumerate(sizes_mm):
        row, column = divmod(index, columns)
        centre = np.asarray((column, row)) * pitch + rng.uniform(-0.4, 0.4, 2)
        turned = centre @ np.asarray([(cos, sin), (-sin, cos)])
        placements.append(place(index, size_mm, turned, angle + rng.normal(0.0, 0.3)))
    return placements


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One side of a binder page.

    Attributes:
        centre_mm: (2,) middle of its nine pockets on the table.
        strip: -1 where its punched strip is on the left, 1 on the right.
        pockets_mm: nine outlines (4, 2), row by row.
    """

    centre_mm: NDArray[np.float64]
    strip: int
    pockets_mm: list[NDArray[np.float64]]


def lay_pages(sizes_mm: Sequence[Size], rng: np.random.Generator) -> tuple[list[Placement], list[Page]]:
    """Puts cards into the pockets of a binder page, or of two that lie open beside each other for more than nine."""
    pitch = np.asarray(PAGE_PITCH_MM)
    apart = 1.5 * pitch[0] + PAGE_STRIP_MM + rng.uniform(6.0, 30.0)
    sides = [(0.0, -1)] if len(sizes_mm) <= PAGE_POCKETS else [(-apart, 1), (apart, -1)]
    pages = [_page(np.asarray((x, rng.normal(0.0, 1.0))), strip) for x, strip in sides]
    centres = [pocket.mean(axis=0) for page in pages for pocket in page.pockets_mm]
    slots = np.sort(rng.permutation(len(centres))[: len(sizes_mm)])
    placements = []
    for index, slot in enumerate(slots):
        play = np.maximum((pitch - 4.0 - np.asarray(sizes_mm[index])) / 2, 0.0)
        placements.append(place(index, sizes_mm[index], centres[slot] + rng.uniform(-play, play), rng.normal(0.0, 0.6)))
    return placements, pages


def _page(centre_mm: NDArray[np.float64], strip: int) -> Page:
    pitch = np.asarray(PAGE_PITCH_MM)
    centres = [centre_mm + np.asarray((column - 1, row - 1)) * pitch for row in range(3) for column in range(3)]
    return Page(centre_mm, strip, [place(0, (pitch[0] - 3.0, pitch[1] - 3.0), at, 0.0).corners_mm for at in centres])


def aim(
    points_mm: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    size_wh: tuple[int, int],
    tilt_deg: float,
    roll_deg: float,
    fill: float,
) -> Camera:
    """A camera that sees the points at a given size, somewhere in the frame.

    Args:
        points_mm: (n, 2) points on the table that must lie in the frame.
        rng: where the randomness comes from.
        size_wh: width and height of the frame in pixels.
        tilt_deg: angle between the camera's axis and the table's normal; the direction is drawn at random.
        roll_deg: turn of the camera about its axis.
        fill: size of the points' bounding box, as a share of the largest that fits the frame.
    """
    frame = np.asarray(size_wh, dtype=np.float64)
    focal_px = float(rng.uniform(*FOCAL_SHARE) * frame.max())
    intrinsic = np.asarray([(focal_px, 0, frame[0] / 2), (0, focal_px, frame[1] / 2), (0, 0, 1)])
    direction, anchor = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.92, 2)
    while True:
        rotation = _rotation(np.deg2rad(tilt_deg), direction, np.deg2rad(roll_deg))
        camera = _framed(points_mm, intrinsic, rotation, frame=frame, anchor=anchor, fill=fill)
        if camera.sees(points_mm, nearest=0.1):
            return camera
        tilt_deg /= 2  # no camera that near can be tilted so far and see all of it


def _framed(
    points_mm: NDArray[np.float64],
    intrinsic: NDArray[np.float64],
    rotation: NDArray[np.float64],
    *,
    frame: NDArray[np.float64],
    anchor: NDArray[np.float64],
    fill: float,
) -> Camera:
    """The camera of that make and turn that sees the points at that size, at that share of the space around them."""
    focal_px = float(intrinsic[0, 0])
    depth = focal_px * float(np.ptp(points_mm, axis=0).max()) / (fill * frame.min()) * 1.5
    shift = np.zeros(2)
    for _ in range(60):
        camera = Camera(intrinsic @ np.column_stack([rotation, (*shift, depth)]))
        seen = camera.project(points_mm)
        low, high = seen.min(axis=0), seen.max(axis=0)
        ratio = float(((high - low) / frame).max()) / fill
        move = anchor * (frame - (high - low)) - low
        if abs(ratio - 1) < 1e-3 and np.abs(move).max() < 0.25:
            break
        shift, depth = (shift + move * depth / focal_px) * ratio, depth * ratio
    return camera


def _rotation(tilt: float, direction: float, roll: float) -> NDArray[np.float64]:
    """Roll about the camera's axis after a tilt about the axis in the table at `direction`; angles in radians."""
    tilted = cv2.Rodrigues(tilt * np.asarray([np.cos(direction), np.sin(direction), 0.0]))[0]
    rolled = cv2.Rodrigues(np.asarray([0.0, 0.0, roll]))[0]
    return np.asarray(rolled @ tilted, dtype=np.float64)


def pixel_homography(source: NDArray[np.float64], target_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (3, 3) map between two quads (4, 2) in edge coordinates, for cv2, which counts from pixel centres."""
    half = np.float32(0.5)
    points = source.astype(np.float32) - half, target_px.astype(np.float32) - half
    return np.asarray(cv2.getPerspectiveTransform(*points), dtype=np.float64)
