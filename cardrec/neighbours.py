"""Which of many vectors may have a large product with which, without a look at all pairs. None is missed.

Points with a large product are near each other: ``|a - b|^2 = |a|^2 + |b|^2 - 2 a . b``. Each belongs to the nearest of
some centres, and so lies on its centre's side of the plane halfway to any other centre. Of two near points in the cells
of A and B, neither is therefore further from the plane between A and B than they are apart. With the scores
``s_C(x) = x . C - C . C / 2``, of which the largest is that of the nearest centre, the distance of x from that plane is
``|s_A(x) - s_B(x)| / |A - B|``: the scores of all points with A tell which of them A's cell has to be compared with.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Group", "groups"]

Floats: TypeAlias = NDArray[np.float32]
Places: TypeAlias = NDArray[np.int64]

_FEWEST = 1024  # fewer points are compared with all
_CENTRES = 4  # times the square root of the points that are to be compared: 1,264 for 100,000
_MOST_CENTRES = 4096  # whose distances from one another take 64 MB
_SAMPLED = 20  # points for each centre; from four fifths its place is learnt
_ROUNDS = 3
_ESTIMATED = 1024  # points by which it is estimated what division saves
_WORTHWHILE = 0.25  # of all pairs; where more are left, gathering them takes longer than it saves
_MEMBERS = 256
_CELLS = 64  # looked at together
_CHUNK = 2048
_UNIT = 2.0**-24  # of rounding to float32


class Group(NamedTuple):
    """Some points, at most 256, and all that may be near any of them, themselves included; both ascending."""

    members: Places
    others: Places


def groups(points: Floats, first: int, least: float) -> Iterator[Group]:
    """The points from ``first`` on, each in one group, with all whose product with it is ``least`` or more, and others.

    Args:
        points: (n, k), finite, best of equal lengths and with few coordinates.
        first: the first point that is to be in a group; those before it are only others.
        least: the product, as it is without rounding.
    """
    division = _divide(points, len(points) - first, least)
    own, best = _nearest(points, division.centres)
    order = first + np.argsort(own[first:], kind="stable")
    cells, begins = np.unique(own[order], return_index=True)
    members = np.split(order, begins[1:])
    for begin in range(0, len(cells), _CELLS):
        some = slice(begin, begin + _CELLS)
        for inside, near in zip(members[some], division.near(cells[some], points, own, best), strict=True):
            others = np.flatnonzero(near)
            for place in range(0, len(inside), _MEMBERS):
                yield Group(inside[place : place + _MEMBERS], others)


class _Division(NamedTuple):
    """The cells.

    Attributes:
        centres: (c, k).
        limits: (c, c): by how much a point's score with its own centre may exceed that with another one, if a point of
            the other's cell is within reach.
    """

    centres: Floats
    limits: Floats

    def near(self, cells: NDArray[np.intp], points: Floats, own: NDArray[np.intp], best: Floats) -> NDArray[np.bool_]:
        """(cells, n): whether a point may be within reach of one in a cell; of those in the cell itself it is true."""
        centres, limits = self.centres[cells], self.limits[cells]
        halves = _halves(centres)
        found = np.empty((len(cells), len(points)), np.bool_)
        for part in _parts(len(points)):
            scores = points[part] @ centres.T - halves
            found[:, part] = best[part] - scores.T <= limits[:, own[part]]
        return found


def _parts(count: int) -> Iterator[slice]:
    return (slice(begin, begin + _CHUNK) for begin in range(0, count, _CHUNK))


def _squares(vectors: Floats) -> NDArray[np.float64]:
    return np.asarray(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))


def _halves(centres: Floats) -> Floats:
    """What is taken off a point's product with each centre to make its score."""
    return (_squares(centres) / 2).astype(np.float32)


def _nearest(points: Floats, centres: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Of each point the number of its centre, and its score with that."""
    own, best = np.empty(len(points), np.intp), np.empty(len(points), np.float32)
    halves = _halves(centres)
    for part in _parts(len(points)):
        scores = points[part] @ centres.T - halves
        own[part], best[part] = scores.argmax(axis=1), scores.max(axis=1)
    return own, best


def _divide(points: Floats, count: int, least: float) -> _Division:
    """Cells for comparing ``count`` of the points with all: one, if they are few or if division would not help."""
    longest = float(_squares(points).max(initial=0))
    reach = math.sqrt(max(0.0, 2 * (longest - least)))
    if count >= _FEWEST:
        rng = np.random.default_rng(0)
        wanted = min(int(_CENTRES * math.sqrt(count)), _MOST_CENTRES)
        chosen = rng.choice(len(points), min(_SAMPLED * wanted, len(points)), replace=False)
        sample, others = np.split(points[chosen], [len(chosen) * 4 // 5])
        centres = sample[:wanted]
        for _ in range(_ROUNDS):
            centres = _centred(sample, centres)
        division = _Division(centres, _limits(centres, reach, longest))
        if _share(others[:_ESTIMATED], sample, division) < _WORTHWHILE:
            return division
    return _Division(points[:1], _limits(points[:1], reach, longest))


def _limits(centres: Floats, reach: float, longest: float) -> Floats:
    """Limits that outweigh the rounding of scores; ``longest`` is the greatest squared length of a point.

    A score of k coordinates is off by less than (k + 3) 2^-24 L^2, L the greatest length of a point or centre: k + 1 of
    the product, 2 of half a square and its subtraction. Four scores take part: the two of the point, and those two of
    the point beyond that made the other centre its nearest. Where the squared distance of two centres cancels, in
    doubles, 1e-12 L^2 is more than is lost.
    """
    wide, squares = centres.astype(np.float64), _squares(centres)
    longest = max(longest, squares.max(initial=0))
    apart = np.maximum(squares[:, None] + squares - 2 * (wide @ wide.T), 0)
    limits = reach * np.sqrt(apart + 1e-12 * longest) + 4 * (centres.shape[1] + 3) * _UNIT * longest
    return np.asarray(limits * (1 + 4 * _UNIT), np.float32)


def _centred(sample: Floats, centres: Floats) -> Floats:
    """Each centre in the middle of its points; one without stays."""
    own, _ = _nearest(sample, centres)
    order = np.argsort(own, kind="stable")
    cells, begins, sizes = np.unique(own[order], return_index=True, return_counts=True)
    moved = centres.copy()
    moved[cells] = np.add.reduceat(sample[order], begins) / sizes[:, None].astype(np.float32)
    return moved


def _share(points: Floats, sample: Floats, division: _Division) -> float:
    """Estimates how many of all pairs are left, by those of a sample with some other points.

    The centres were learnt from the sample, whose points are nearer to them than others are.
    """
    own, best = _nearest(points, division.centres)
    sizes = np.bincount(_nearest(sample, division.centres)[0], minlength=len(division.centres))
    scores = points @ division.centres.T - _halves(division.centres)
    near = best[:, None] - scores <= division.limits[own]
    return float((near @ sizes).mean() / len(sample))
