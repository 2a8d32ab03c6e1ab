"""Crops to train the corner network on: outlines that are nearly right, and what is taken for a card but is none."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.corners import CROP_SIDE, INNER, projected, surroundings
from cardrec.image import Frame
from cardrec.quads import UNIT_SQUARE, iou, side_lengths
from cardrec.rectify import check_quads, rectify
from training.outline_targets import LEAST_SIDE_PX, LEAST_VISIBLE

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

CARD_IOU = 0.4
"""From this overlap on, an outline means that card, and the crop shows how to correct it."""
NO_CARD_IOU = 0.25
"""Below this overlap with every card there is none; between the two the crop is left out."""
SPREADS = 0.005, 0.07
"""Least and largest standard deviation of the corners' errors, in shares of a card's sides."""
START_CHANCES = 0.5, 0.05, 0.4, 0.05
"""Which of the card's own corners comes first."""


@dataclass(frozen=True, slots=True)
class Crop:
    """One sample.

    Attributes:
        pixels: (CROP_SIDE, CROP_SIDE, 3) uint8.
        card: 1 where the crop shows a card, else 0.
        offsets: (8,) where its corners lie, as `cardrec.corners.CHANNELS` says.
        top_left: which corner is the card's own top left.
    """

    pixels: Picture
    card: int
    offsets: Floats
    top_left: int


def disturbed(quad: Floats, rng: np.random.Generator, spreads: tuple[float, float] = SPREADS) -> Floats:
    """An outline as a network might give it: moved, turned, scaled and bent."""
    spread = np.exp(rng.uniform(*np.log(spreads)))
    corners = UNIT_SQUARE + rng.normal(0, spread, 2) + rng.normal(0, spread, (4, 2)) * 0.7
    corners = 0.5 + (corners - 0.5) * (1 + rng.normal(0, spread, 2))
    return np.asarray(projected(quad[None], corners[None])[0], np.float32)


def from_any_corner(quad: Floats, rng: np.random.Generator) -> Floats:
    """The outline, beginning where a network may take its top left to be."""
    return np.asarray(np.roll(quad, int(rng.choice(4, p=START_CHANCES)), axis=0), np.float32)


def crops_of(
    pixels: Picture, proposals: Floats, quads: Floats, visible: Floats, rng: np.random.Generator, most: int
) -> list[Crop]:
    """At most so many crops of a frame (H, W, 3) with such cards, around outlines (n, 4, 2)."""
    crops: list[Crop] = []
    for index in rng.permutation(len(proposals)):
        if len(crops) == most:
            break
        crop = _crop(pixels, proposals[index], quads, visible)
        if crop is not None:
            crops.append(crop)
    return crops


def _crop(pixels: Picture, proposal: Floats, quads: Floats, visible: Floats) -> Crop | None:
    """The crop around one outline; None where it should teach nothing, or can't be cut out."""
    overlaps = np.array([iou(proposal, quad) for quad in quads])
    best = int(overlaps.argmax()) if len(quads) else -1
    overlap = float(overlaps.max(initial=0.0))
    if NO_CARD_IOU <= overlap < CARD_IOU:
        return None
    if overlap >= CARD_IOU and (visible[best] < LEAST_VISIBLE or side_lengths(quads[best][None]).min() < LEAST_SIDE_PX):
        return None
    around = surroundings(proposal[None])
    square = np.empty((1, CROP_SIDE, CROP_SIDE, 3), np.uint8)
    try:
        rectify(Frame(pixels, "rgb", ""), check_quads(around), square)
    except ValueError:
        return None
    if overlap < NO_CARD_IOU:
        return Crop(square[0], 0, np.zeros(8, np.float32), 0)
    offsets, top_left = _corrections(around[0], quads[best])
    return Crop(square[0], 1, offsets, top_left)


def _corrections(around: Floats, quad: Floats) -> tuple[Floats, int]:
    """The card's corners in the crop, from the one nearest to the outline's first, and which of them is its own."""
    to_unit = cv2.getPerspectiveTransform(around, UNIT_SQUARE.astype(np.float32))
    corners = cv2.perspectiveTransform(quad[None].astype(np.float32), to_unit)[0]
    ways = [np.roll(corners, -start, axis=0) for start in range(4)]
    start = int(np.argmin([np.abs(way - INNER).sum() for way in ways]))
    side = INNER[1, 0] - INNER[0, 0]
    return ((ways[start] - INNER) / side).astype(np.float32).ravel(), (4 - start) % 4
