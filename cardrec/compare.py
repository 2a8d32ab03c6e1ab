"""A second look: is the card in the frame this picture, and which of several that look alike?

An embedding of 224 pixels tells artworks apart, not the small print of two printings. Where a catalog has pictures, a
straightened card is laid over those of its best candidates and compared place by place:

1. Brightness gives way to its deviation from the neighbourhood's mean, in units of the neighbourhood's own deviation:
   that takes away exposure, gradients, soft shadows and haze.
2. The card is registered on each reference by a homography, since outlines are off by a few per cent: Gauss-Newton with
   inverse composition, where all but the error is worked out once for a reference (Baker and Matthews, "Lucas-Kanade 20
   Years On", 2004), from coarse to fine.
3. In each cell of a grid the two are correlated. With gain and offset of the light in a cell unknown, and errors normal
   and of unknown variance, a correlation r of n pixels has the likelihood (1 - r^2)^(-n/2). A cell in which two
   references agree thus says nothing about which of them it is; nor does one under glare, a finger or noise.

Pictures are squares of RGB bytes, as `cardrec.rectify` makes them, the whole card stretched to the square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cardrec.errors import InputError

__all__ = ["COARSE_SIDE", "FINE_SIDES", "Comparison", "Reference", "compare", "side_for"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

REGISTERED_SIDES, STEPS = (40, 80), (5, 4)
"""Sides at which a card is registered, one after the other, and steps at each. Another two steps at 160 pixels changed
nothing: exact printing of 150 hard photos at 300 px, outlines off by 3 %, 99.3 to 100 % either way."""
COARSE_SIDE = REGISTERED_SIDES[-1]
FINE_SIDES = (112, 160, 224, 320)
PIXELS_PER_SIDE = 1.33
"""A card must be so many times as high in the frame as the square that it is compared in: of hard photos at 150 px
the exact printing is right for 99 % in a square of 112 and for 96 % in one of 160, which is mostly blur."""
CELLS = 16
NEIGHBOURHOOD = 6
"""Sides of a picture, in widths of the neighbourhood whose mean and deviation normalise it."""
NOISE = 4.0
"""Deviation in grey levels that is noise: a plain area stays plain."""
MAX_ERROR = 1.0
"""What a pixel's error counts at most in the registration, in deviations: glare and fingers don't drag a card away."""
MAX_SHIFT = 0.3
"""Largest entry of a homography's departure from the identity, in half sides; beyond it the registration has failed."""
MAX_CORRELATION = 0.97
"""Of a cell, as the evidence counts it: no single cell decides."""
SAME_PLACE = 0.006
"""Largest difference of two homographies, in half sides, that may as well be one: a quarter of a coarse pixel.
Scans of two printings often lie differently by more; at 0.03 the right one of such a pair lost."""
SATURATED = 250
"""Grey level from which a pixel of the frame tells nothing."""
SETTLED = 1e-3
"""Change of a homography, in half sides (0.04 pixels at `COARSE_SIDE`), after which further steps are of no use."""
RIVAL = 0.25
"""Candidates whose evidence at the coarse side is so near the best's are compared again at the fine one."""

_IDENTITY = np.eye(3)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What a second look says of each candidate.

    Attributes:
        likeness: (n,) float32, -1..1: lower quartile of the correlations of the cells. Says whether it is this picture
            at all: three quarters of the card must agree, which a common frame around other art does not.
        evidence: (n,) float32: log-likelihood per pixel, in the mean over the cells. Differences say which of the
            candidates it is; where two references are equal they have equal evidence.
    """

    likeness: Floats
    evidence: Floats


class Reference:
    """A catalog picture, made ready to be compared; keep it for as long as its card may be seen again. Thread-safe."""

    def __init__(self, picture: Bytes) -> None:
        """Takes a (side, side, 3) uint8 RGB square of any side, or a grey one; `FINE_SIDES` end at 320.

        Raises:
            InputError: it is no such picture.
        """
        self._grey = _grey(picture)
        self._templates = [_Template(_normalised(_scaled(self._grey, side))) for side in REGISTERED_SIDES]
        self._fine: dict[int, Floats] = {}

    def coarse(self) -> Floats:
        """(COARSE_SIDE, COARSE_SIDE), normalised."""
        return self._templates[-1].target

    def fine(self, side: int) -> Floats:
        """(side, side), normalised; worked out once for a side."""
        found = self._fine.get(side)
        if found is None:
            found = self._fine[side] = _normalised(_scaled(self._grey, side))
        return found

    def register(self, pyramid: Sequence[Floats]) -> Matrix:
        """(3, 3) homography from places of the reference to places of the card, -1..1 over each square.

        The identity where the two can't be brought together.
        """
        warp = _IDENTITY
        for template, card, steps in zip(self._templates, pyramid, STEPS, strict=True):
            for _ in range(steps):
                warp, change = template.step(card, warp)
                if not np.abs(warp - _IDENTITY).max() <= MAX_SHIFT:  # NaN as well
                    return _IDENTITY
                if change < SETTLED:
                    break
        return warp


class _Template:
    """One level of a reference: what each step of the registration takes from it."""

    __slots__ = ("_solve", "target")

    def __init__(self, target: Floats) -> None:
        self.target = target
        descent = _steepest_descent(target)
        hessian = descent @ descent.T
        # Plain or repetitive pictures leave directions undetermined: they stay where they are.
        damped = hessian + (1e-4 * np.trace(hessian) + 1e-6) * np.eye(8, dtype=np.float32)
        self._solve = np.asarray(np.linalg.inv(damped) @ descent, np.float32)  # `solve` takes eight times as long

    def step(self, card: Floats, warp: Matrix) -> tuple[Matrix, float]:
        """A better homography than ``warp``, by the errors under it, and how much it differs."""
        error = _sampled(card, warp)
        np.subtract(error, self.target, out=error)
        np.clip(error, -MAX_ERROR, MAX_ERROR, out=error)
        change = _IDENTITY.copy()
        entries = self._solve @ error.ravel()
        change.ravel()[:8] += entries
        better: Matrix = warp @ np.linalg.inv(change)
        return better / better[2, 2], float(np.abs(entries).max())


def side_for(height_px: float) -> int:
    """Side of the square to compare a card in that is so high in the frame: never more than the frame's own pixels."""
    return max((side for side in FINE_SIDES if side * PIXELS_PER_SIDE <= height_px), default=COARSE_SIDE)


def compare(crop: Bytes, references: Sequence[Reference]) -> Comparison:
    """Lays a card over its candidates.

    Args:
        crop: (side, side, 3) uint8 RGB, the rectified card; `side_for` says which side. Or grey, (side, side).
        references: the candidates.

    Returns:
        Likeness and evidence of each. Those that are far behind the best are judged at `COARSE_SIDE`, the others at
        the crop's.

    Raises:
        InputError: the crop is no square picture.

    Example:
        >>> square = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
        >>> compare(square, [Reference(square), Reference(square[::-1])]).likeness.round(1)
        array([ 1. , -0.1], dtype=float32)
    """
    grey = _grey(crop)
    pyramid = [_normalised(_scaled(grey, side)) for side in REGISTERED_SIDES]
    warps = [reference.register(pyramid) for reference in references]
    cells = [_correlations(pyramid[-1], ref.coarse(), warp) for ref, warp in zip(references, warps, strict=True)]
    usable = _cell_means((_scaled(grey, COARSE_SIDE) < SATURATED).astype(np.float32)) > 0.5
    likeness = [_lower_quartile(each[usable]) for each in cells]
    evidence = np.array([_evidence(each) for each in cells], np.float32)
    rivals = np.flatnonzero(evidence >= evidence.max(initial=0.0) - RIVAL).tolist()
    side = grey.shape[0]
    if side >= COARSE_SIDE and len(rivals) > 1:
        fine, best = _normalised(grey), warps[int(evidence.argmax())]
        finer = [_evidence(_correlations(fine, references[n].fine(side), _shared(warps[n], best))) for n in rivals]
        evidence += np.float32(max(finer) - evidence.max())  # the others stay as far behind the best as they were
        evidence[rivals] = finer
    return Comparison(np.array(likeness, np.float32), evidence)


def _shared(warp: Matrix, best: Matrix) -> Matrix:
    """The best candidate's registration for those that lie alike: cells in which they agree then cancel exactly."""
    return best if np.abs(warp - best).max() <= SAME_PLACE else warp


def _grey(picture: Bytes) -> Bytes:
    import cv2

    shape = picture.shape if isinstance(picture, np.ndarray) else ()
    square = len(shape) in (2, 3) and shape[0] == shape[1] > 0 and shape[2:] in ((), (3,))
    if not square or picture.dtype != np.uint8:
        got = f"{picture.dtype} of shape {shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise InputError(f"a picture to compare is {got}; expected uint8 of shape (side, side, 3) or (side, side)")
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _scaled(grey: Bytes, side: int) -> Bytes:
    import cv2

    if grey.shape[0] == side:
        return grey
    how = cv2.INTER_AREA if grey.shape[0] > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (side, side), interpolation=how), np.uint8)


def _normalised(grey: Bytes) -> Floats:
    """Deviations from the neighbourhood's mean, in the neighbourhood's deviations."""
    import cv2

    values = grey.astype(np.float32)
    width = (grey.shape[0] // NEIGHBOURHOOD) | 1
    mean = np.asarray(cv2.blur(values, (width, width)), np.float32)
    variance = cv2.blur(values * values, (width, width)) - mean * mean
    deviation = np.sqrt(np.maximum(variance, np.float32(0)) + np.float32(NOISE * NOISE))
    return np.asarray((values - mean) / deviation, np.float32)


def _steepest_descent(target: Floats) -> Floats:
    """(8, pixels): how each pixel changes with the first eight entries of a homography about the identity."""
    import cv2

    side = target.shape[0]
    smooth = cv2.GaussianBlur(target, (3, 3), 0)
    # Sobel's plain difference spans two pixels; places are in half sides.
    by_x, by_y = (cv2.Sobel(smooth, cv2.CV_32F, *which, ksize=1) * (side / 4) for which in ((1, 0), (0, 1)))
    place = (np.arange(side, dtype=np.float32) + 0.5) * np.float32(2 / side) - 1
    x, y = place[None, :], place[:, None]
    inward = -(x * by_x + y * by_y)
    rows = [by_x * x, by_x * y, by_x, by_y * x, by_y * y, by_y, inward * x, inward * y]
    return np.asarray(np.stack(rows), np.float32).reshape(8, -1)


def _sampled(card: Floats, warp: Matrix) -> Floats:
    """The card as it lies over the reference."""
    import cv2

    side = card.shape[0]
    to_pixels, from_pixels = _pixel_frames(side)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = to_pixels @ warp @ from_pixels
    found = cv2.warpPerspective(card, matrix, (side, side), flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


@lru_cache
def _pixel_frames(side: int) -> tuple[Matrix, Matrix]:
    """From places of a square, -1..1, to its pixels' indices, and back."""
    to_pixels = np.array([[side / 2, 0, side / 2 - 0.5], [0, side / 2, side / 2 - 0.5], [0, 0, 1]])
    return to_pixels, np.linalg.inv(to_pixels)


def _cell_means(values: Floats) -> Floats:
    import cv2

    return np.asarray(cv2.resize(values, (CELLS, CELLS), interpolation=cv2.INTER_AREA), np.float32)


def _correlations(card: Floats, reference: Floats, warp: Matrix) -> Floats:
    """(CELLS, CELLS) correlation of card and reference in each cell, -1..1; 0 where one of them is plain."""
    seen = _sampled(card, warp)
    seen_mean, mean = _cell_means(seen), _cell_means(reference)
    variance = _cell_means(reference * reference) - mean * mean
    seen_variance = _cell_means(seen * seen) - seen_mean * seen_mean
    covariance = _cell_means(seen * reference) - seen_mean * mean
    spread = np.sqrt(np.maximum(variance, 0) * np.maximum(seen_variance, 0) + np.float32(1e-3))
    return np.asarray(covariance / spread, np.float32)


def _evidence(correlations: Floats) -> float:
    """Mean log-likelihood per pixel; light has no negative gain, so a negative correlation is none."""
    squares = np.square(np.clip(correlations, 0.0, MAX_CORRELATION))
    return float(-0.5 * np.log1p(-squares).mean())


def _lower_quartile(correlations: Floats) -> float:
    """-1 where no cell can be used: a card that is all glare is no picture."""
    place = len(correlations) // 4
    return float(np.partition(correlations, place)[place]) if len(correlations) else -1.0
