"""Where a card might be: quads of closed contours, and quads of straight lines.

Both work on the gradients of a small copy of the frame and give (n, 4, 2) float32 in its pixels, ordered, and only
those that a card could look like. Contours are cheap and find a card whose outline is unbroken; lines find the others.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cardrec.quads import ordered, tilt_and_taper

__all__ = ["Gradients", "from_contours", "from_lines", "gradients"]

Gradients: TypeAlias = tuple[NDArray[np.int16], NDArray[np.int16]]
"""Across and down, (h, w) each: Sobel, so four times the grey levels per pixel on a ramp."""

MIN_SIDE = 8  # pixels; a card of a tenth of a 720p frame is 13 x 18 in the small copy
LINES = 40  # strongest lines that are combined; with them 99 % of one card's outlines are among the candidates
_THREE_BY_THREE = np.ones((3, 3), np.uint8)
_ANGLES = 90  # bins of 2 degrees
_LEAST_VOTES = 8  # of about 3 a pixel
_SPACING = 1.5  # pixels between lines of one angle


def gradients(small: NDArray[Any], *, colour: bool) -> Gradients:
    """Sobel gradients of the grey picture, or of the channel in which they are steepest (five times the time)."""
    import cv2

    if small.ndim == 3 and not colour:
        small = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY if small.shape[2] == 3 else cv2.COLOR_BGRA2GRAY)
    small = cv2.GaussianBlur(small, (3, 3), 0)
    channels = [small] if small.ndim == 2 else [cv2.extractChannel(small, i) for i in range(3)]
    across, down = cv2.spatialGradient(channels[0])
    steepest = np.abs(across) + np.abs(down) if len(channels) > 1 else across
    for channel in channels[1:]:
        x, y = cv2.spatialGradient(channel)
        steep = np.abs(x) + np.abs(y)
        steeper = (steep > steepest).view(np.uint8)
        for source, target in ((x, across), (y, down), (steep, steepest)):
            cv2.copyTo(source, steeper, target)
    return np.asarray(across, np.int16), np.asarray(down, np.int16)


def from_contours(edges: Gradients, *, largest: int, outer: bool) -> NDArray[np.float32]:
    """Quads that closed contours nearly fill, of so many of the largest contours.

    Args:
        edges: the gradients.
        largest: how many contours are looked at.
        outer: only outermost contours, with gaps of a pixel closed: quick, and enough on a quiet ground; else all.
    """
    import cv2

    drawn = cv2.Canny(*edges, 40, 100)
    if outer:
        drawn = cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, _THREE_BY_THREE)
    mode = cv2.RETR_EXTERNAL if outer else cv2.RETR_LIST
    contours, _ = cv2.findContours(drawn, mode, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [(*cv2.boundingRect(contour)[2:], n) for n, contour in enumerate(contours) if len(contour) >= 4]
    by_area = sorted((-width * height, n) for width, height, n in boxes if min(width, height) >= MIN_SIDE)
    found = []
    for _, n in by_area[:largest]:
        hull = cv2.convexHull(contours[n])
        corners = cv2.approxPolyDP(hull, 0.03 * cv2.arcLength(hull, True), True)
        if len(corners) != 4 and len(hull) > 4:
            corners = cv2.approxPolyN(hull, 4, ensure_convex=True).reshape(-1, 1, 2)
        if len(corners) == 4 and cv2.contourArea(hull) > 0.85 * cv2.contourArea(corners):
            found.append(corners[:, 0].astype(np.float32) + np.float32(0.5))
    return _plausible(np.array(found, np.float32).reshape(-1, 4, 2))


def from_lines(edges: Gradients) -> NDArray[np.float32]:
    """Quads of any two pairs of nearly parallel lines that cross inside the picture."""
    angle, distance = _lines(edges)
    height, width = edges[0].shape
    first, second, middle = _parallel_pairs(angle, distance)
    one, other = np.triu_indices(len(first), 1)
    upright = np.abs((middle[one] - middle[other]) % np.pi - np.pi / 2) < np.radians(30)
    one, other = one[upright], other[upright]
    x, y = _crossings(angle, distance)
    a, b, c, d = first[one], first[other], second[one], second[other]
    corners = [np.stack([x[pair], y[pair]], axis=-1) for pair in ((a, b), (a, d), (c, d), (c, b))]
    quads = np.stack(corners, axis=1) + np.array([width / 2, height / 2])
    inside = ((quads > -3) & (quads < [width + 3, height + 3])).all(axis=(1, 2))
    return _plausible(quads[inside].astype(np.float32))


def _lines(edges: Gradients) -> tuple[NDArray[Any], NDArray[Any]]:
    """The strongest lines, by a Hough transform in which a pixel votes for lines across its gradient only.

    Returns:
        The angle of each line's normal in radians, and its distance from the picture's centre in pixels.
    """
    import cv2

    across, down = edges
    height, width = across.shape
    at = np.flatnonzero(cv2.Canny(across, down, 40, 80))
    rows, columns = np.divmod(at, width)
    x, y = columns - np.float32((width - 1) / 2), rows - np.float32((height - 1) / 2)
    normal = np.arctan2(down.ravel()[at].astype(np.float32), across.ravel()[at].astype(np.float32))
    nearest = np.round(normal * (_ANGLES / np.pi)).astype(np.int32)
    reach = int(np.hypot(width, height) / 2 / _SPACING) + 2
    votes = np.zeros(_ANGLES * 2 * reach)
    angles = np.arange(_ANGLES) * (np.pi / _ANGLES)
    cos, sin = np.cos(angles).astype(np.float32) / _SPACING, np.sin(angles).astype(np.float32) / _SPACING
    for turn, weight in ((-2, 0.5), (-1, 0.8), (0, 1.0), (1, 0.8), (2, 0.5)):
        bins = (nearest + turn) % _ANGLES
        slots = (x * cos[bins] + y * sin[bins] + reach).astype(np.int32)
        votes += weight * np.bincount(bins * (2 * reach) + slots, minlength=len(votes))
    table = votes.reshape(_ANGLES, 2 * reach).astype(np.float32)
    best = _peaks(
        cv2.sepFilter2D(table, -1, np.array([0.5, 1, 0.5]), np.ones(1))
    )  # a line may lie between two distances
    bins, slots = np.divmod(best, 2 * reach)
    return angles[bins], (slots - reach + 0.5) * _SPACING


def _peaks(votes: NDArray[Any]) -> NDArray[np.intp]:
    """Flat indices of the highest local maxima; beyond the last angle the first follows, with distances negated."""
    import cv2

    around = np.vstack([votes[-2:, ::-1], votes, votes[:2, ::-1]])
    peak = (around == cv2.dilate(around, np.ones((5, 5), np.uint8)))[2:-2] & (votes > _LEAST_VOTES)
    found = np.flatnonzero(peak)
    return found[np.argsort(-votes.ravel()[found], kind="stable")[:LINES]]


def _parallel_pairs(angle: NDArray[Any], distance: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Pairs of lines less than 22 degrees apart (perspective) and a card's width apart: indices, and the mean angle."""
    first, second = np.triu_indices(len(angle), 1)
    turn = (angle[second] - angle[first] + np.pi / 2) % np.pi - np.pi / 2
    flipped = np.cos(angle[second] - angle[first]) < 0
    apart = np.abs(distance[first] - np.where(flipped, -distance[second], distance[second]))
    pair = (np.abs(turn) < np.radians(22)) & (apart > MIN_SIDE)
    return first[pair], second[pair], (angle[first] + turn / 2)[pair]


def _crossings(angle: NDArray[Any], distance: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where each line crosses each other, from the picture's centre; infinite for parallels."""
    cos, sin = np.cos(angle), np.sin(angle)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = cos[:, None] * sin - sin[:, None] * cos
        x = (distance[:, None] * sin - sin[:, None] * distance) / determinant
        y = (cos[:, None] * distance - distance[:, None] * cos) / determinant
    return np.nan_to_num(x, nan=np.inf), np.nan_to_num(y, nan=np.inf)


def _plausible(quads: NDArray[np.float32]) -> NDArray[np.float32]:
    """Those that a card could look like, ordered: tilted up to 42 degrees, from not too near."""
    quads = ordered(quads).astype(np.float32)
    ratio, taper = tilt_and_taper(quads)
    return quads[(ratio > 0.74) & (taper < 1.45)]
