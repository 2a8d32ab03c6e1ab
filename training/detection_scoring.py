"""What a detector's outlines are worth, as pure functions of arrays: which is which card, and figures over many frames.

Detections are assigned to cards greedily, the largest IoU first. A card is *found* where its detection's IoU reaches
the threshold, *poor* where it reaches `SAME` only, *missed* otherwise. A detection without a card is *false*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.quads import BEYOND, iou, side_lengths
from training.retrieval import wilson

Quads: TypeAlias = NDArray[np.floating[Any]]
Floats: TypeAlias = NDArray[np.float64]

SAME = 0.5
"""IoU from which a detection means that card, well or badly."""

NO_QUADS = np.empty((0, 4, 2), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """What became of a frame's cards.

    Attributes:
        iou: (cards,) of the detection assigned to each; 0 where there is none.
        corner_error: (cards,) mean distance of its corners, in widths of the card; nan where there is none.
        false: detections that are none of the cards, or a card that another detection is.
    """

    iou: Floats
    corner_error: Floats
    false: int

    def of(self, cards: NDArray[np.bool_]) -> Assignment:
        """The same, of some of the cards."""
        return Assignment(self.iou[cards], self.corner_error[cards], self.false)


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of a group of frames; None where there is nothing to take them of.

    Attributes:
        frames, cards: how many there are.
        found, poor, missed: how many of the cards.
        found_interval: 95 %, of the share found; `effective_count` says how frames count.
        false: detections that are no card; None where frames are not judged by them.
        frames_with_false: how many frames have one.
        with_false_interval: 95 %, of their share.
        median_iou: of the detections assigned to a card.
        median_corner_error, p95_corner_error: the same detections', in widths of the card.
        median_ms: time per frame.
    """

    frames: int
    cards: int
    found: int
    poor: int
    missed: int
    found_interval: tuple[float, float] | None
    false: int | None
    frames_with_false: int | None
    with_false_interval: tuple[float, float] | None
    median_iou: float | None
    median_corner_error: float | None
    p95_corner_error: float | None
    median_ms: float | None


def assign(found: Quads, truth: Quads, ignored: Quads = NO_QUADS) -> Assignment:
    """Detections (n, 4, 2) to cards (m, 4, 2); ``ignored`` cards are neither missed nor, where found, false."""
    cards = np.concatenate([truth, ignored])
    overlaps = iou_table(found, cards)
    taken = _greedy(overlaps)
    best, error = np.zeros(len(truth)), np.full(len(truth), np.nan)
    for card in np.flatnonzero(taken[: len(truth)] >= 0):
        best[card] = overlaps[taken[card], card]
        error[card] = corner_error(found[taken[card]], truth[card])
    meant = np.isin(np.arange(len(found)), taken) | (overlaps[:, len(truth) :].max(axis=1, initial=0.0) >= SAME)
    return Assignment(best, error, int((~meant).sum()))


def iou_table(found: Quads, cards: Quads) -> Floats:
    """(detections, cards) IoU; 0 for a detection that is no convex quad, of which `iou` may make anything."""
    table = np.zeros((len(found), len(cards)))
    for row, quad in enumerate(found):
        if np.isfinite(quad).all() and cv2.isContourConvex(quad.astype(np.float32)):
            table[row] = [iou(quad, card) for card in cards]
    return table


def _greedy(overlaps: Floats) -> NDArray[np.int64]:
    """(cards,) the detection of each, -1 for none: pairs of at least `SAME`, the best first."""
    left = np.where(overlaps >= SAME, overlaps, 0.0)
    taken = np.full(overlaps.shape[1], -1)
    while left.any():
        detection, card = np.unravel_index(left.argmax(), left.shape)
        taken[card] = detection
        left[detection], left[:, card] = 0.0, 0.0
    return taken


def corner_error(found: Quads, truth: Quads) -> float:
    """Mean distance of the corners (4, 2) in widths of the card, either way up: the encoder finds out which it is."""
    width = side_lengths(truth[None])[0, ::2].mean()
    ways = [np.linalg.norm(turned - truth, axis=1).mean() for turned in (found, found[BEYOND])]
    return float(min(ways) / width)


def effective_count(hits: Sequence[int], cards: Sequence[int]) -> float:
    """How many independent cards say as much as these, since those of one frame are found or missed together.

    With the frames as clusters of m cards, h of them hits, and the share p = sum h / sum m, the share's variance is

        v = F / (F - 1) * sum (h - p m)^2 / (sum m)^2    over F frames

    (Cochran 1977, Sampling Techniques, chapter 3: proportions in cluster sampling). The count is p (1 - p) / v, that is
    the number of cards over the design effect (Kish 1965, Survey Sampling); Wilson's interval of it is among those that
    Franco, Little, Louis and Slud (2019, J. Survey Statistics and Methodology 7) recommend. It lies between the number
    of cards and what is left where a frame's cards all fare alike, (sum m)^2 / sum m^2. The latter it is, too, where v
    can't be estimated: one frame, all hits, or none.
    """
    h, m = np.asarray(hits, np.float64), np.asarray(cards, np.float64)
    share, least = h.sum() / m.sum(), m.sum() ** 2 / (m**2).sum()
    frames = int((m > 0).sum())
    if frames < 2:
        return float(least)
    variance = frames / (frames - 1) * ((h - share * m) ** 2).sum() / m.sum() ** 2
    return float(np.clip(share * (1 - share) / max(variance, 1e-12), least, m.sum()))


def summarise(
    frames: Sequence[Assignment], times_ms: Sequence[float], *, threshold: float, judge_false: bool = True
) -> Summary:
    """Figures of a group of frames.

    Args:
        frames: what became of their cards.
        times_ms: how long each took.
        threshold: IoU from which a card is found.
        judge_false: whether false detections are counted; not where other cards of the frames are left out.
    """
    ious, errors = (np.concatenate([np.empty(0), *(getattr(f, name) for f in frames)]) for name in _PER_CARD)
    hits = [int((f.iou >= threshold).sum()) for f in frames]
    with_false = sum(f.false > 0 for f in frames)
    judged = judge_false and len(frames) > 0
    return Summary(
        frames=len(frames),
        cards=len(ious),
        found=sum(hits),
        poor=int(((ious >= SAME) & (ious < threshold)).sum()),
        missed=int((ious < SAME).sum()),
        found_interval=_interval(hits, [len(f.iou) for f in frames]) if len(ious) else None,
        false=sum(f.false for f in frames) if judged else None,
        frames_with_false=with_false if judged else None,
        with_false_interval=wilson(with_false, len(frames)) if judged else None,
        median_iou=_quantile(ious[ious >= SAME], 0.5),
        median_corner_error=_quantile(errors[ious >= SAME], 0.5),
        p95_corner_error=_quantile(errors[ious >= SAME], 0.95),
        median_ms=_quantile(times_ms, 0.5),
    )


_PER_CARD = ("iou", "corner_error")


def _interval(hits: Sequence[int], cards: Sequence[int]) -> tuple[float, float]:
    count = effective_count(hits, cards)
    return wilson(sum(hits) / sum(cards) * count, count)


def _quantile(values: Sequence[float] | Floats, share: float) -> float | None:
    return float(np.quantile(values, share)) if len(values) else None
