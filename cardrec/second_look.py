"""The second look in a frame: fetches the candidates' pictures, compares, and says which it is and how surely.

Two questions, two curves. Is the card one of the catalog's pictures? A logistic curve over the best candidate's
likeness and its cosine says so. Is it this one of the candidates? Evidence is a log-likelihood per pixel, so the lead
counts as often as the card has pixels; these are not independent, so that is scaled by a factor that was fitted to how
often the leader is right. Confidence is the product of the two.

What no look can tell: a printing that the catalog lacks resembles the one that it has.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cardrec.answer import Answer, among_twins, told_apart
from cardrec.compare import COARSE_SIDE, Reference, compare, side_for
from cardrec.decide import logistic, threshold
from cardrec.quads import side_lengths
from cardrec.rectify import MAX_SIDE, rectify

if TYPE_CHECKING:
    from cardrec.image import Frame
    from cardrec.snapshot import Snapshot
    from cardrec.types import Match, Status

__all__ = ["CANDIDATES", "LookCalibration", "SecondLook", "near"]

CANDIDATES = 4
"""Cards that are compared: two artworks in two languages."""
NEAR = 0.05
"""Cards whose cosine is further behind the best one's are not compared. The right one was at most 0.038 behind in 1,189
simulated photos, two of three hard, 70 to 450 pixels high (those of `python -m training.calibrate_look`); this leaves
1.8 candidates of a known card and 3.6 of a stranger."""
KEPT = 96
"""References that are kept ready, about 0.4 MB each: a video shows the same cards again and again."""


@dataclass(frozen=True, slots=True)
class LookCalibration:
    """How a comparison becomes an answer; fitted by `python -m training.calibrate_look --data DATA`.

    On cards that it was not fitted on, 600 photos of known ones and 552 of strangers: AUROC 0.987 (by the cosine alone
    0.942), 88.5 % accepted and right, 0.5 % accepted and wrong, 0.9 % of the strangers accepted. Asked for 0.3 % of the
    strangers it accepts 0.4 %, and 79.3 % of the known cards, rightly; for 3 % it accepts 1.1 % and 89.8 %, since a
    match has at least `cardrec.decide.LEAST_CONFIDENCE`. Of 300 photos of reprints none was accepted and wrong; 90 %
    were accepted and right where 224 pixels were compared, 51 % at 160, 22 % at 112, 3 % at 80. Without the pixels as a
    factor, reprints were ambiguous: 19 of 100 in frames at 400 px were named, with it 89 of another 100.

    Attributes:
        bias, likeness_weight, score_weight: logistic regression of 'it is one of these pictures' on the best
            candidate's likeness and cosine.
        lead_weight: logistic regression, without a bias, of 'it is the first of them' on the lead in evidence, times
            the pixels that were compared, in units of `COARSE_SIDE` squared.
        min_confidence: from which the best candidate is a match.
        min_picture: chance that it is one of these pictures from which a card that is no match is ambiguous.
        tail_from, tail_scale: the log-odds of the confidence that a tenth of the strangers exceeds, and how fast they
            get rarer from there, as in `cardrec.decide.Calibration`.
    """

    bias: float = -8.706
    likeness_weight: float = 12.233
    score_weight: float = 4.446
    lead_weight: float = 223.9
    min_confidence: float = 0.861
    min_picture: float = 0.356
    tail_from: float = -0.741
    tail_scale: float = 1.113

    def chances(self, likeness: float, score: float, lead: float, side: int) -> tuple[float, float]:
        """That the card is one of these pictures, and that it is the first of them; ``side`` is the crop's."""
        picture = logistic(self.bias + self.likeness_weight * likeness + self.score_weight * score)
        return picture, picture * logistic(self.lead_weight * lead * (side / COARSE_SIDE) ** 2)

    def for_false_accepts(self, share: float) -> LookCalibration:
        """These numbers with the threshold that so many of the strangers pass, as `Calibration.for_false_accepts`.

        Raises:
            InputError: the share is not above 0 and at most `cardrec.decide.TAIL`.
        """
        return replace(self, min_confidence=threshold(share, self.tail_from, self.tail_scale))


class SecondLook:
    """Compares cards with catalog pictures. Thread-safe."""

    def __init__(self, calibration: LookCalibration | None = None) -> None:
        self._calibration = calibration or LookCalibration()
        self._references: OrderedDict[tuple[int, int], Reference | None] = OrderedDict()
        self._lock = threading.Lock()

    def decide(
        self, state: Snapshot, frame: Frame, corners_px: NDArray[np.float32], matches: Sequence[Match]
    ) -> Answer | None:
        """The matches in their new order, with a status and probabilities.

        None where nothing can be compared: one of the candidates has no picture, or there is none.
        """
        candidates = _candidates(matches)
        references = [self._reference(state, match.row) for match in candidates]
        ready = [reference for reference in references if reference is not None]
        if not candidates or len(ready) < len(candidates):
            return None
        crop = _crop(frame, corners_px)
        found = compare(crop, ready)
        order = np.argsort(-found.evidence, kind="stable").tolist()
        first, lead = order[0], _lead(found.evidence, order)
        likeness, score = float(found.likeness[first]), candidates[first].score
        picture, confidence = self._calibration.chances(likeness, score, lead, len(crop))
        rest = (match for match in matches if match not in candidates)
        ordered, status = (*(candidates[place] for place in order), *rest), self._status(picture, confidence)
        twins = ordered[0].twins
        if not {*twins} <= {match.card_id for match in candidates}:  # the lead is over others than those
            return among_twins(ordered, status, confidence)
        if twins and status != "match":
            return among_twins(ordered, status, picture)
        return Answer(ordered, status, confidence, confidence)

    def _status(self, picture: float, confidence: float) -> Status:
        if confidence >= self._calibration.min_confidence:
            return "match"
        return "ambiguous" if picture >= self._calibration.min_picture else "unknown"

    def _reference(self, state: Snapshot, row: int) -> Reference | None:
        """The row's picture, made ready; None where it has none."""
        key = (state.manifest.generation, row)  # a compaction gives rows other numbers
        with self._lock:
            if key in self._references:
                self._references.move_to_end(key)
                return self._references[key]
        picture = state.picture(row)
        made = None if picture is None else Reference(_square(picture))
        with self._lock:
            self._references[key] = made
            while len(self._references) > KEPT:
                self._references.popitem(last=False)
        return made


def _candidates(matches: Sequence[Match]) -> list[Match]:
    """The cards to compare; of many twins only the first, so that there is place for others."""
    pool = told_apart(matches) if matches and len(matches[0].twins) >= CANDIDATES else [*matches]
    return pool[: near([match.score for match in pool])]


def near(scores: Sequence[float]) -> int:
    """How many of the best cards are compared; their cosines are in descending order."""
    return sum(score >= scores[0] - NEAR for score in scores[:CANDIDATES])


def _square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey, stretched to a square as high as the picture."""
    import cv2

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (len(grey), len(grey)), interpolation=cv2.INTER_LINEAR), np.uint8)


def _crop(frame: Frame, corners_px: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The card, straightened, of the size that its pixels allow."""
    _, right, _, left = side_lengths(corners_px[None])[0]
    side = min(side_for((right + left) / 2), MAX_SIDE)
    crop = np.empty((1, side, side, 3), np.uint8)
    rectify(frame, corners_px[None], crop)
    found: NDArray[np.uint8] = crop[0]
    return found


def _lead(evidence: NDArray[np.float32], order: Sequence[int]) -> float:
    """How far the first is ahead of the second; infinitely, where it is the only one."""
    return float(evidence[order[0]] - evidence[order[1]]) if len(order) > 1 else math.inf
