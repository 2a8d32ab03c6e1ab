"""A frame becomes the outlines of the cards in it.

The default detector has three small networks. The first finds outlines in a small copy of the frame
(`cardrec/outlines.py`); the second looks at each of them again, closer, and says whether it is a card
(`cardrec/corners.py`); the third places its four sides (`cardrec/sides.py`). They are then fitted to the edges of the
full frame, to a fraction of a pixel (`cardrec/refine.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cardrec import corners, outlines, sides
from cardrec.errors import InputError
from cardrec.image import Frame
from cardrec.network import open_network
from cardrec.quads import CARD_WH_MM, areas, distinct, longest_sides, moved, ordered, sound
from cardrec.rectify import rectify, resize
from cardrec.refine import refine

__all__ = ["NETWORKS", "Detection", "Detector", "OutlineDetector", "copy_size_wh"]

NETWORKS = Path(__file__).parent / "data" / "detector"
"""The bundled networks: `outlines.onnx`, `corners.onnx`, `sides.onnx`; `detector.json` says how they were made."""

LONGER_SIDE = 256
"""Of the copy in which outlines are looked for, in pixels."""

_STEP = 16  # the network halves both sides four times
_LEAST_SIDE = 24  # pixels of a frame; there is no card to be read in less
_NARROWEST = 8  # how many times longer than wide a frame may be
_LEAST_PROPOSAL = 0.15  # score of the first look from which there is a second one
_SPARE = 4  # outlines beyond those asked for that are looked at again
_LOOKS = 3  # of the second network, at most: a later one starts nearer, and so sees the card better
_SETTLED = 0.05  # of a card's size: an outline that has moved less is not looked at once more
_LEAST_AREA_PX = 100.0  # of an outline with its margin
_COARSE = 2.5  # pixels of the frame for one of the crop, from which the crop is cut from a copy
_COARSE_SIZE = 300  # pixels, the square root of a card's area, from which the sides are looked at in the copy
_WHOLE_FRAME_SCORE = 0.5
_DOUBTFUL = 0.004  # that the score lacks of 1 where an outline counts as poor; one in thirty hard photos has half of it


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """The outline of one card.

    Attributes:
        corners_px: (4, 2) float32, x and y; clockwise from the corner that begins a short side: of the two, the one
            that is likelier to be the card's top. (0, 0) is the corner of the frame's first pixel.
        score: how sure it is that there is a card, 0..1; most cards get more than 0.99.
        doubt: how far the outline may be off, 0..1: 0 is as good as any, and what a caller or another detector gives.
    """

    corners_px: NDArray[np.float32]
    score: float
    doubt: float = 0.0


class Detector(Protocol):
    """Finds cards; one object may be used from several threads at once."""

    def detect(self, frame: Frame, *, max_cards: int) -> list[Detection]:
        """At most ``max_cards`` outlines, best first; an empty list where there is no card."""
        ...


class OutlineDetector:
    """Finds cards with the bundled networks; thread-safe.

    A frame that is itself a scan of one card, 63:88 or 88:63 within 4 %, is a card from border to border unless an
    outline covers most of it or more than one card is found in it. That detection's score is 0.5, for its outline was
    not seen.

    Args:
        min_score: detections below it are left out.
        networks: folder of networks as `training/export_outlines.py` writes them; None is the bundled one.
        threads: threads of each network; 0: all cores, which pays for none of them on their own.

    Raises:
        ModelError: the folder does not hold such networks.

    Example:
        >>> from cardrec.image import load
        >>> OutlineDetector().detect(load(np.zeros((720, 1280, 3), np.uint8)), max_cards=1)
        []
    """

    def __init__(self, *, min_score: float = 0.9, networks: Path | None = None, threads: int = 1) -> None:
        self.min_score = min_score
        folder = networks or NETWORKS
        self._find = open_network(folder / "outlines.onnx", threads=threads)
        self._look_again = open_network(folder / "corners.onnx", threads=threads)
        self._place_sides = open_network(folder / "sides.onnx", threads=threads)

    def detect(self, frame: Frame, *, max_cards: int) -> list[Detection]:
        """At most ``max_cards`` outlines, best first; see ``Detector``.

        Raises:
            InputError: ``max_cards`` is below 1.
        """
        if max_cards < 1:
            raise InputError(f"max_cards={max_cards}: ask for at least 1 card")
        if min(frame.size_wh) < _LEAST_SIDE or _NARROWEST * min(frame.size_wh) < max(frame.size_wh):
            return []
        copy = _copy(frame)
        quads = self._proposals(copy, most=max_cards + _SPARE) * _scale(copy, frame)
        quads, scores = self._second_look(frame, copy, quads)
        chosen = distinct(quads[scores >= self.min_score], max_cards)  # the best come first
        quads, scores = quads[chosen], scores[chosen]
        if len(quads):
            quads = refine(frame.pixels, self._sides(frame, copy, quads))
        found = [Detection(quad, score, _doubt(score)) for quad, score in zip(quads, scores.tolist(), strict=True)]
        return _with_whole_frame(found, frame.size_wh)[:max_cards]

    def _proposals(self, copy: Frame, *, most: int) -> NDArray[np.float32]:
        """Outlines (n, 4, 2) in the copy's pixels."""
        import cv2

        half = cv2.resize(copy.pixels, (copy.size_wh[0] // 2, copy.size_wh[1] // 2), interpolation=cv2.INTER_AREA)
        cells = self._find(np.asarray(half, np.uint8)[None])[0]
        quads, _ = outlines.propose(cells, _LEAST_PROPOSAL, most)
        return 2 * quads

    def _second_look(
        self, frame: Frame, copy: Frame, quads: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Better outlines of those that can be looked at, and their scores, the best first."""
        scores = np.zeros(len(quads))
        left = np.arange(len(quads))
        for _ in range(_LOOKS):
            around = corners.surroundings(quads[left])
            seen = sound(around, _LEAST_AREA_PX)
            scores[left[~seen]] = 0
            left, around = left[seen], around[seen]
            if not len(left):
                break
            before = quads[left]
            quads[left], scores[left] = corners.decode(around, self._look_again(_crops(frame, copy, around)))
            left = left[moved(before, quads[left]) > _SETTLED]
        order = np.argsort(-scores, kind="stable")
        order = order[sound(quads[order]) & (scores[order] > 0)]
        return quads[order], scores[order]

    def _sides(self, frame: Frame, copy: Frame, quads: NDArray[np.float32]) -> NDArray[np.float32]:
        """The outlines with each side where the third network sees it; of large ones in the copy, as with the crops."""
        placed = quads.copy()
        for source, scale, of in _sources(frame, copy, coarse=areas(quads) > _COARSE_SIZE**2):
            near = quads[of] / scale
            placed[of] = sides.decode(near, self._place_sides(sides.strips(source, near))) * scale
        return np.where(sound(placed)[:, None, None], placed, quads)


def _doubt(score: float) -> float:
    return min(1.0, (1.0 - score) / _DOUBTFUL)


def copy_size_wh(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Size of the copy of a frame: twice what the first network sees, its proportions nearly kept."""
    longer = max(size_wh)
    width, height = (max(2, round(side * LONGER_SIDE / longer / _STEP)) * 2 * _STEP for side in size_wh)
    return width, height


def _copy(frame: Frame) -> Frame:
    """The frame, area-averaged, as RGB."""
    width, height = copy_size_wh(frame.size_wh)
    pixels = np.empty((height, width, 3), np.uint8)
    resize(frame, pixels)
    return Frame(pixels, "rgb", frame.name)


def _scale(copy: Frame, frame: Frame) -> NDArray[np.float32]:
    """From the copy's pixels to the frame's, x and y."""
    (width, height), (copy_width, copy_height) = frame.size_wh, copy.size_wh
    return np.array((width / copy_width, height / copy_height), np.float32)


def _crops(frame: Frame, copy: Frame, around: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What lies in the quads (n, 4, 2): large ones from the copy, which costs less, small ones from the frame."""
    crops = np.empty((len(around), corners.CROP_SIDE, corners.CROP_SIDE, 3), np.uint8)
    coarse = longest_sides(around) > _COARSE * corners.CROP_SIDE
    for source, scale, of in _sources(frame, copy, coarse=coarse):
        cut = np.empty((int(of.sum()), *crops.shape[1:]), np.uint8)
        rectify(source, around[of] / scale, cut)
        crops[of] = cut
    return crops


def _sources(frame: Frame, copy: Frame, *, coarse: NDArray[np.bool_]) -> Iterator[tuple[Frame, Any, NDArray[np.bool_]]]:
    """Where to read outlines, the scale from there to the frame, and which ones (n,): coarse ones in the copy."""
    if coarse.any():
        yield copy, _scale(copy, frame), coarse
    if not coarse.all():
        yield frame, np.float32(1), ~coarse


def _with_whole_frame(found: list[Detection], size_wh: tuple[int, int]) -> list[Detection]:
    """Adds the frame's border where the frame has a card's shape and nothing in it speaks against one card."""
    width, height = size_wh
    aspect = min(width, height) / max(width, height) * CARD_WH_MM[1] / CARD_WH_MM[0]
    if not 0.96 <= aspect <= 1.04 or len(found) > 1:
        return found
    if found and areas(found[0].corners_px[None])[0] > 0.5 * width * height:
        return found
    border = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float32)
    return [Detection(ordered(border)[0].astype(np.float32), _WHOLE_FRAME_SCORE)]
