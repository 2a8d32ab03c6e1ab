"""A frame becomes the outlines of the cards in it.

The default detector works on edges. A small copy of the frame gives candidates, quads of contours and, where those do
not suffice, of straight lines; a logistic regression weighs the evidence for each; the few best are fitted to the edges
of the full frame, to a fraction of a pixel; and of quads that lie in one another the outermost credible one is the
card, for a card's printed frame, picture and text box are rectangles too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cardrec import candidates, evidence
from cardrec.errors import InputError
from cardrec.image import Frame
from cardrec.quads import CARD_WH_MM, areas, covered, grown, ordered
from cardrec.refine import refine

__all__ = ["ContourDetector", "Detection", "Detector"]

SMALL_SIDE = 320
"""Longer side, in pixels, of the copy that is searched."""

_SURE = 2.0  # log odds from which a contour's quad is taken without looking for lines
_MARGIN = 2.0  # log odds by which an outer quad may be worse than the best of those inside it,
_REACH = 1.75  # pixels of the small copy by which a side may be off before it is fitted
_RIVALS = 8  # quads for one card that are fitted before the best is chosen
_FITTED_MARGIN = 4.0  # the same once they are fitted, for then the strength of the edges decides
_LEAST_STRENGTH = 0.35  # of the outer quad's weakest edge, as a share of the best one's
_BORDERS = (0.035, 0.06, 0.085)  # of a card's width: how wide the border is between its frame and its edge
_FIT_GAIN = 1.5  # log odds that fitting to the full frame may add
_LEAST_EDGE = 0.05  # strength of the weakest side's edge, as a share of the second strongest's: 99 % of cards have more
_SAME = 0.94  # of an area; a sleeve (66 x 91 mm) is further out than that
_LEAST_SIDE = 24  # pixels of the small copy; a strip narrower than that holds no card
_REPEATS = 4  # searches for lines in one frame, each without the cards found before
_WHOLE_FRAME_SCORE = 0.5
_REMAP_LIMIT = 32_000  # pixels; OpenCV's sampling takes no larger sides


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """The outline of one card.

    Attributes:
        corners_px: (4, 2) float32, x and y; clockwise from the corner that makes the short side the top; of the two,
            the one whose top side is higher in the frame. (0, 0) is the corner of the frame's first pixel.
        score: how sure the outline is, 0..1.
    """

    corners_px: NDArray[np.float32]
    score: float


class Detector(Protocol):
    """Finds cards; one object may be used from several threads at once."""

    def detect(self, frame: Frame, *, max_cards: int) -> list[Detection]:
        """At most ``max_cards`` outlines, best first; an empty list where there is no card."""
        ...


class ContourDetector:
    """Finds cards by their edges; keeps no state, and so is thread-safe.

    A frame that is itself a scan of one card, 63:88 or 88:63 within 4 %, is a card from border to border unless a quad
    covers most of it or more than one card is found in it. That detection's score is 0.5, for its outline was not seen.

    Args:
        min_score: detections below it are left out.

    Example:
        >>> from cardrec.image import load
        >>> ContourDetector().detect(load(np.zeros((720, 1280, 3), np.uint8)), max_cards=1)
        []
    """

    def __init__(self, *, min_score: float = 0.5) -> None:
        self.min_score = min_score

    def detect(self, frame: Frame, *, max_cards: int) -> list[Detection]:
        """At most ``max_cards`` outlines, best first; see ``Detector``.

        Raises:
            InputError: ``max_cards`` is below 1.
        """
        if max_cards < 1:
            raise InputError(f"max_cards={max_cards}: ask for at least 1 card")
        pixels = _regular(frame.pixels)
        if SMALL_SIDE * min(frame.size_wh) < _LEAST_SIDE * max(frame.size_wh) or min(frame.size_wh) < _LEAST_SIDE:
            return []
        small = shrink(pixels, SMALL_SIDE)
        height, width = small.shape[:2]
        least = _log_odds(self.min_score)
        quads, edges = _search(pixels, small, max_cards, least - _FIT_GAIN)
        found: list[Detection] = []
        if len(quads) and max(frame.size_wh) < _REMAP_LIMIT:
            quads, scores, strengths = _fitted(pixels, small, quads, edges)
            scale = np.array([frame.size_wh[0] / width, frame.size_wh[1] / height], np.float32)
            best = _distinct(quads, scores, strengths, max_cards=max_cards, least=least)
            found = [_detection(quads[i] * scale, score) for i, score in best]
        return _with_whole_frame(found, frame.size_wh)[:max_cards]


def _detection(quad: NDArray[np.float32], log_odds: float) -> Detection:
    return Detection(quad, 1 / (1 + float(np.exp(-log_odds))))


def _log_odds(probability: float) -> float:
    return (
        float(np.log(probability / (1 - probability)))
        if 0 < probability < 1
        else float("inf" if probability else "-inf")
    )


def _search(
    pixels: NDArray[np.uint8], small: NDArray[np.uint8], max_cards: int, least: float
) -> tuple[NDArray[np.float32], candidates.Gradients]:
    """Quads in the small copy's pixels, found the cheap way or the thorough one, and the gradients used."""
    edges = candidates.gradients(small, colour=False)
    quads = candidates.from_contours(edges, largest=6, outer=True)
    scores = evidence.logit(quads, small, edges)
    if max_cards == 1 and scores.max(initial=-np.inf) >= _SURE:
        return quads[[best for best, _ in _distinct(quads, scores, None, max_cards=1, least=least)]], edges
    edges = candidates.gradients(small, colour=True)
    return _search_thoroughly(pixels, small, edges, max_cards, least), edges


def _search_thoroughly(
    pixels: NDArray[np.uint8], small: NDArray[np.uint8], edges: candidates.Gradients, max_cards: int, least: float
) -> NDArray[np.float32]:
    """Contours at two sizes and lines; lines again without the edges of what was found, while that finds more cards."""
    double = shrink(pixels, 2 * SMALL_SIDE)
    ratio = np.array([small.shape[1] / double.shape[1], small.shape[0] / double.shape[0]], np.float32)
    finer, largest = candidates.gradients(double, colour=False), 20 + 4 * max_cards
    pool = [candidates.from_contours(edges, largest=largest, outer=outer) for outer in (True, False)]
    pool += [candidates.from_contours(finer, largest=largest, outer=outer) * ratio for outer in (True, False)]
    quads, scores = _scored(np.concatenate([*pool, candidates.from_lines(edges)]), small, edges)
    kept = [i for i, _ in _distinct(quads, scores, None, max_cards=max_cards, least=least)]
    rest = edges
    for _ in range(_REPEATS):
        if not kept or len(kept) >= max_cards:
            break
        before = len(kept)
        rest = _without(rest, quads[kept])
        more, more_scores = _scored(candidates.from_lines(rest), small, edges)
        quads, scores = np.concatenate([quads, more]), np.concatenate([scores, more_scores])
        kept = [i for i, _ in _distinct(quads, scores, None, max_cards=max_cards, least=least)]
        if len(kept) <= before:
            break
    return _shortlist(quads, scores, kept)


def _scored(
    quads: NDArray[np.float32], small: NDArray[np.uint8], edges: candidates.Gradients
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The 200 with the best sides, and their log odds."""
    best = np.argsort(-evidence.side_support(quads, edges), kind="stable")[:200]
    return quads[best], evidence.logit(quads[best], small, edges)


def _without(edges: candidates.Gradients, quads: NDArray[np.float32]) -> candidates.Gradients:
    """The gradients, with none in the quads nor on their sides."""
    import cv2

    clear = np.ones(edges[0].shape, np.int16)
    for quad in quads:
        outline = np.round(quad).astype(np.int32)
        cv2.fillConvexPoly(clear, outline, 0)
        cv2.polylines(clear, [outline], True, 0, 5)
    return edges[0] * clear, edges[1] * clear


def _distinct(
    quads: NDArray[np.float32],
    scores: NDArray[np.float64],
    strengths: NDArray[np.float32] | None,
    *,
    max_cards: int,
    least: float,
) -> list[tuple[int, float]]:
    """At most so many quads that hardly overlap: index and log odds, the best first.

    Of the quads around the best of those left, the outermost that is nearly as credible and, where the strengths of the
    edges are known, whose weakest side has about as strong an edge.
    """
    kept: list[tuple[int, float]] = []
    left = scores >= least
    size = areas(quads)
    margin = _MARGIN if strengths is None else _FITTED_MARGIN
    while left.any() and len(kept) < max_cards:
        best = int(np.where(left, scores, -np.inf).argmax())
        rivals = left & (scores >= scores[best] - margin) & (size >= size[best]) & (size < 3.5 * size[best])
        if strengths is not None:
            rivals &= strengths >= _LEAST_STRENGTH * strengths[best]
        around = [i for i in np.flatnonzero(rivals) if i == best or covered(quads[best], quads[i]) > 0.9]
        outer = int(max(around, key=lambda i: size[i]))
        if strengths is not None:  # of those that mean the same outline, the one that lies best on its edges
            outer = int(max((i for i in around if size[i] > _SAME * size[outer]), key=lambda i: strengths[i]))
        kept.append((outer, float(scores[best])))
        left[[best, outer]] = False
        for i in np.flatnonzero(left):
            left[i] = covered(quads[i], quads[outer]) * size[i] < 0.15 * min(size[i], size[outer])
    return kept


def _fitted(
    pixels: NDArray[np.uint8], small: NDArray[np.uint8], quads: NDArray[np.float32], edges: candidates.Gradients
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32]]:
    """Quads on the full frame's edges, in the small copy's pixels; their log odds; their weakest edge's strength."""
    scale = np.array([pixels.shape[1] / small.shape[1], pixels.shape[0] / small.shape[0]], np.float32)
    fitted, strength = refine(pixels, quads * scale, float(scale.max()) * _REACH)
    fitted = fitted / scale
    moved = np.abs(fitted - quads).max(axis=(1, 2))
    sound = np.isfinite(moved) & (moved < 4 * _REACH)  # else a side was lost in texture
    fitted = ordered(np.where(sound[:, None, None], fitted, quads)).astype(np.float32)
    weakest, _, third, _ = np.sort(strength, axis=1).T
    scores = np.where(weakest > _LEAST_EDGE * third, evidence.logit(fitted, small, edges), -np.inf)
    return fitted, scores, weakest


def _shortlist(quads: NDArray[np.float32], scores: NDArray[np.float64], kept: list[int]) -> NDArray[np.float32]:
    """The quads found, and those that may prove better once they are fitted.

    These are other candidates for the same cards, and the quads found, grown by what may be a card's border: what was
    found may be the frame within it.
    """
    chosen = set(kept)
    for best in kept:
        near = np.flatnonzero(scores >= scores[best] - _MARGIN)
        near = near[np.argsort(-scores[near], kind="stable")[:40]]
        rivals = [int(i) for i in near if covered(quads[best], quads[i]) > 0.6]
        chosen.update(rivals[:_RIVALS])
    return np.concatenate([quads[sorted(chosen)], *(grown(quads[kept], share) for share in _BORDERS)])


def _with_whole_frame(found: list[Detection], size_wh: tuple[int, int]) -> list[Detection]:
    """Adds the frame's border where the frame has a card's shape and nothing in it speaks against one card."""
    width, height = size_wh
    aspect = min(width, height) / max(width, height) * CARD_WH_MM[1] / CARD_WH_MM[0]
    most = max((areas(one.corners_px[None])[0] for one in found), default=0.0) > 0.5 * width * height
    if not 0.96 <= aspect <= 1.04 or most or len(found) > 1:
        return found
    border = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float32)
    return [Detection(ordered(border)[0].astype(np.float32), _WHOLE_FRAME_SCORE)]


def _regular(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The array in a layout that OpenCV reads in place: itself nearly always, a copy for steps and flips."""
    if pixels.ndim == 3 and pixels.strides[2] == -1:
        pixels = pixels[:, :, ::-1]  # a flipped colour order; which colour is which does not matter here
    inner = pixels.strides[1:] == ((1,) if pixels.ndim == 2 else (pixels.shape[2], 1))
    return (
        pixels if inner and pixels.strides[0] >= pixels.strides[1] * pixels.shape[1] else np.ascontiguousarray(pixels)
    )


def shrink(pixels: NDArray[Any], side: int) -> NDArray[Any]:
    """A copy of at most ``side`` pixels, averaged enough not to alias.

    Rows are left out (every second one, at four times), then pixels are averaged in twos: a third of INTER_AREA's time.
    """
    import cv2

    height, width = pixels.shape[:2]
    factor = max(height, width) / side
    if factor <= 1:
        return pixels
    wanted_wh = max(1, round(width / factor)), max(1, round(height / factor))
    step = max(1, int(factor) // 2)
    pixels = pixels[(step - 1) // 2 :: step]
    while pixels.shape[1] >= 2 * wanted_wh[0] or pixels.shape[0] >= 2 * wanted_wh[1]:
        sizes = zip(pixels.shape[1::-1], wanted_wh, strict=True)
        pixels = cv2.resize(pixels, [n // 2 if n >= 2 * wanted else n for n, wanted in sizes])
    return pixels if pixels.shape[1::-1] == wanted_wh else cv2.resize(pixels, wanted_wh, interpolation=cv2.INTER_AREA)
