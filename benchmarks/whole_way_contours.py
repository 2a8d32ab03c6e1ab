"""Cards by their contours, as scanners without a network find them: edges, contours, quadrilaterals; OpenCV only."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.quads import iou, side_lengths

__all__ = ["crop", "find_quads", "upright"]

Picture = NDArray[np.uint8]
Quad = NDArray[np.float32]

LEAST_AREA = 0.01
"""Of a card, as a share of the frame: two binder pages in a frame show cards of 2 to 3 %."""
MOST_AREA = 0.6
"""Of a card; one as high as a frame of 16:9 covers 0.4 of it."""
BEND = 0.02
"""How far a contour may be from its polygon, as a share of its length: the usual value of OpenCV's own examples."""
NARROWEST, WIDEST = 0.45, 0.95
"""Short side by long side; 63:88 is 0.72, and a tilt of 45 degrees leaves between 0.5 and 1."""
SAME = 0.3
"""IoU from which two quadrilaterals are one card, or a card and the picture in its frame."""


def find_quads(frame_bgr: Picture, most: int) -> list[Quad]:
    """At most so many outlines, the largest first: (4, 2) corners, clockwise from the top left of a card upright.

    The largest quadrilaterals among the contours of edges (Canny) and of what is brighter or darker than the rest
    (Otsu). Where there is none and one card is wanted, the box around the largest contour, if it has a card's shape.
    Convex hulls, another Canny, coarser polygons and adaptive thresholds found no more cards in 64 frames.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    contours = [contour for mask in _masks(np.asarray(grey, np.uint8)) for contour in _large(mask)]
    contours.sort(key=cv2.contourArea, reverse=True)
    quads = [quad for contour in contours if (quad := _quadrilateral(contour)) is not None]
    if not quads and most == 1:
        quads = [box for contour in contours if (box := _box(contour)) is not None]
    chosen: list[Quad] = []
    for quad in quads:
        if len(chosen) < most and all(_apart(quad, other) for other in chosen):
            chosen.append(quad)
    return chosen


def _masks(grey: Picture) -> Iterator[Picture]:
    """Edges with their gaps closed, and both sides of a threshold."""
    edges = cv2.dilate(cv2.Canny(grey, 50, 150), np.ones((3, 3), np.uint8))
    yield np.asarray(edges, np.uint8)
    _, bright = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    yield np.asarray(bright, np.uint8)
    yield np.asarray(cv2.bitwise_not(bright), np.uint8)


def _large(mask: Picture) -> list[NDArray[np.int32]]:
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    least, most = LEAST_AREA * mask.size, MOST_AREA * mask.size
    return [np.asarray(each, np.int32) for each in contours if least <= cv2.contourArea(each) <= most]


def _quadrilateral(contour: NDArray[np.int32]) -> Quad | None:
    """The contour as four corners, if it has four and a card's shape."""
    polygon = cv2.approxPolyDP(contour, BEND * cv2.arcLength(contour, True), True)
    if len(polygon) != 4 or not cv2.isContourConvex(polygon):
        return None
    quad = upright(polygon.reshape(4, 2).astype(np.float32))
    return quad if _like_a_card(quad) else None


def _box(contour: NDArray[np.int32]) -> Quad | None:
    left, top, width, height = cv2.boundingRect(contour)
    right, bottom = left + width, top + height
    quad = upright(np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32))
    return quad if _like_a_card(quad) else None


def upright(corners: Quad) -> Quad:
    """Four corners in any order, clockwise from the one that is the top left once the long sides stand."""
    middle = corners.mean(axis=0)
    around = np.argsort(np.arctan2(*(corners - middle).T[::-1]))  # clockwise as seen, for y points down
    quad = np.roll(corners[around], -int(corners[around].sum(axis=1).argmin()), axis=0)
    top, right, bottom, left = side_lengths(quad[None])[0]
    return np.roll(quad, -1, axis=0) if top + bottom > right + left else quad


def _like_a_card(quad: Quad) -> bool:
    top, right, bottom, left = side_lengths(quad[None])[0]
    return bool(NARROWEST <= (top + bottom) / max(right + left, 1e-6) <= WIDEST)


def _apart(quad: Quad, other: Quad) -> bool:
    """Whether these are two cards: neither the same nor one in the other."""
    inside = cv2.pointPolygonTest(other, tuple(map(float, quad.mean(axis=0))), False) >= 0
    return not inside and iou(quad, other) < SAME


def crop(frame_bgr: Picture, quad: Quad) -> Picture:
    """The card, straightened, in about the size that it has in the frame: (h, w, 3) BGR."""
    top, right, bottom, left = side_lengths(quad[None])[0]
    width, height = max(8, round(float(max(top, bottom)))), max(8, round(float(max(left, right))))
    square = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(np.asarray(quad, np.float32), square)
    return np.asarray(cv2.warpPerspective(frame_bgr, matrix, (width, height)), np.uint8)
