"""Cards under different ids whose pictures are the same, or nearly so: found when they are written, never merged.

With unit vectors split into a short part and the rest, ``a . b <= a1 . b1 + |a2| |b2|`` (Cauchy-Schwarz): the product
of two points ``(a1, |a2|)``, which are unit vectors themselves. `cardrec.neighbours` says which of these may
have a product that large; of those it is computed, and of what remains the cosine, in double precision. In the
catalog's basis the short part holds most of a vector.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from cardrec.errors import InputError
from cardrec.neighbours import groups
from cardrec.pruning import Basis, project
from cardrec.twins import MOST_TWINS, TWINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from cardrec.snapshot import Snapshot

__all__ = ["EXACT", "NEAR", "Duplicate", "Resemblances", "check_near", "find_duplicates", "find_resemblances"]

NEAR = 0.98
"""Cosine from which two pictures count as nearly the same, unless the caller says otherwise."""

EXACT = 1 - 1e-6
"""Cosine from which they count as the same: float32 vectors of the same pixels, encoded in batches of different sizes,
differ by a few units in the last place, which moves the cosine by less than 1e-6."""

_PARTNERS = 8  # reported for each row; the others show up as partners of these
_COLUMNS = 8192  # rows that a group is compared with at once: 8 MB of bounds
_SHORT = 64  # coordinates at most
_TINY = 1e-30


class Duplicate(NamedTuple):
    """Two cards whose pictures agree; ``first`` is the one with the lower row."""

    first: str
    second: str
    cosine: float
    kind: Literal["exact", "near"]


class Resemblances(NamedTuple):
    """What of a catalog looks the same.

    Attributes:
        duplicates: pairs of cards to report.
        twins: (m, 2) int64 pairs of rows that no photo tells apart, the higher one first, ascending.
    """

    duplicates: list[Duplicate]
    twins: NDArray[np.int64]


def check_near(near: float) -> None:
    """Refuse a bound that is no cosine above 0."""
    if not 0 < near <= 1:
        raise InputError(f"near is {near!r}; a cosine above 0 and at most 1 was expected")


def find_duplicates(
    snapshot: Snapshot, start: int = 0, *, near: float = NEAR, progress: Callable[[int, int], None] | None = None
) -> list[Duplicate]:
    """Pairs of cards under different ids, one of them in a row from ``start`` on; at most 8 pairs for each such row.

    Args:
        snapshot: the catalog.
        start: the first row that is new.
        near: the least cosine to report, above 0 and at most 1.
        progress: called with (rows done, rows to do).
    """
    return find_resemblances(snapshot, start, near=near, progress=progress).duplicates


def find_resemblances(
    snapshot: Snapshot,
    start: int = 0,
    *,
    near: float | None = NEAR,
    progress: Callable[[int, int], None] | None = None,
) -> Resemblances:
    """The pairs to report, of `find_duplicates` (``near`` None: none), and the twins, in one pass.

    Of a row with more than `MOST_TWINS` twins those with the lowest numbers of the best are kept.
    """
    if near is not None:
        check_near(near)
    comparison = _Comparison(snapshot, start, min(TWINS, TWINS if near is None else near))
    reported: dict[tuple[int, int], float] = {}
    twins = [np.empty((0, 2), np.int64)]
    for done, close in comparison.close(earlier=near is None):
        if near is not None:
            best = close.best(_PARTNERS, near)
            for (high, low), cosine in zip(best.pairs().tolist(), best.cosines.tolist(), strict=True):
                reported[low, high] = cosine
        twins.append(close.best(MOST_TWINS, TWINS).pairs())
        if progress is not None:
            progress(done, snapshot.rows - start)
    return Resemblances(_named(snapshot, reported), np.unique(np.concatenate(twins), axis=0))


class _Close(NamedTuple):
    """Rows and others that are close to them, ordered by row, then by cosine, equal ones by the other's number."""

    rows: NDArray[np.int64]
    others: NDArray[np.int64]
    cosines: NDArray[np.float64]

    def best(self, count: int, least: float) -> _Close:
        """At most so many for each row."""
        place = np.arange(len(self.rows)) - np.searchsorted(self.rows, self.rows)
        kept = (place < count) & (self.cosines >= least)
        return _Close(self.rows[kept], self.others[kept], self.cosines[kept])

    def pairs(self) -> NDArray[np.int64]:
        """(m, 2) of each the higher and the lower number."""
        return np.column_stack([np.maximum(self.rows, self.others), np.minimum(self.rows, self.others)])


_NOTHING = _Close(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def _ordered(parts: list[_Close]) -> _Close:
    rows, others, cosines = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((others, -cosines, rows))
    return _Close(rows[order], others[order], cosines[order])


class _Comparison:
    """Finds the live rows of other cards whose cosine to the rows from ``start`` on is at least ``least``."""

    def __init__(self, snapshot: Snapshot, start: int, least: float) -> None:
        self._snapshot = snapshot
        self._start = start
        self._least = least
        self._live, self._points, slack = _points(snapshot)
        self._bound = least - slack
        self._cards = np.full(snapshot.rows, -1, np.int64)
        self._numbers: dict[str, int] = {}

    def close(self, *, earlier: bool) -> Iterator[tuple[int, _Close]]:
        """Of group after group the best few close rows of each; and how many rows are done with.

        With ``earlier`` a pair may be missed at its earlier row, where the later one is no longer in its block of
        `_COLUMNS` rows: who wants to know it at one of the two is spared half of the work where little is pruned.
        """
        first = int(np.searchsorted(self._live, self._start))
        done = self._snapshot.rows - self._start - (len(self._live) - first)
        if done:  # removed, or damaged
            yield done, _NOTHING
        for members, others in groups(self._points, first, self._bound):
            ends = (members // _COLUMNS + 1) * _COLUMNS if earlier else np.full(len(members), len(self._live))
            count = int(np.searchsorted(others, ends[-1]))
            parts = np.split(others[:count], range(_COLUMNS, count, _COLUMNS))
            done += len(members)
            yield done, _ordered([_NOTHING, *(self._close_among(members, part, ends) for part in parts)])

    def _close_among(self, members: NDArray[np.int64], others: NDArray[np.int64], ends: NDArray[np.int64]) -> _Close:
        """To the live rows with these numbers, among others before their ends."""
        bounds = self._points[members] @ self._points[others].T
        itself = np.minimum(np.searchsorted(others, members), len(others) - 1)
        there = others[itself] == members
        bounds[there, itself[there]] = -1.0
        possible = bounds >= self._bound
        if not possible.any():
            return _NOTHING
        mine, theirs = possible.any(axis=1), possible.any(axis=0)
        rows, partners = self._live[members[mine]], self._live[others[theirs]]
        cosines = _cosines(self._snapshot.vectors(rows), self._snapshot.vectors(partners))
        wanted = (self._cards_of(rows)[:, None] != self._cards_of(partners)) & (others[theirs] < ends[mine, None])
        row, partner = np.nonzero((cosines >= self._least) & wanted)
        found = _ordered([_Close(rows[row], partners[partner], cosines[row, partner])])
        return found.best(max(_PARTNERS, MOST_TWINS), self._least)

    def _cards_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """A number for the card of each row."""
        new = rows[self._cards[rows] < 0]
        for row, (card_id, _) in zip(new.tolist(), self._snapshot.cards(new), strict=True):
            self._cards[row] = self._numbers.setdefault(card_id, len(self._numbers))
        return self._cards[rows]


def _points(snapshot: Snapshot) -> tuple[NDArray[np.int64], NDArray[np.float32], float]:
    """The live rows that are not damaged, the point of each, and by how much products may fall short of the cosines.

    A point has the row's first coordinates in the catalog's basis, and the length of the rest.
    """
    rows = snapshot.live_rows()
    basis = snapshot.basis or Basis(np.eye(_SHORT, snapshot.manifest.dimension, dtype=np.float32), 0.0)
    shortened = basis._replace(vectors=basis.vectors[: min(_SHORT, snapshot.manifest.dimension)])
    points = np.empty((len(rows), len(shortened.vectors) + 1), np.float32)
    for first in range(0, len(rows), _COLUMNS):
        part = slice(first, first + _COLUMNS)
        vectors = snapshot.vectors(rows[part])
        with np.errstate(invalid="ignore", over="ignore"):  # of damaged rows, which resemble nothing
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
            coordinates, points[part, -1] = project(vectors, shortened)
            points[part, :-1] = coordinates * math.sqrt(1 - basis.delta)
    sound = np.isfinite(points).all(axis=1)
    if not sound.all():
        rows, points = rows[sound], points[sound]
    # With Q the basis, M = 1 - (1 - delta) Q^T Q has no negative eigenvalue and a rest is at least sqrt(a . M a), so
    # Cauchy-Schwarz for M holds however far Q is from orthonormal. Each rounding to float32 is by 2^-24: a length of d
    # coordinates takes (d + 2) / 2, the division by it 1, a point 2, all twice; a product of k takes k; 4 are to spare.
    slack = (snapshot.manifest.dimension + points.shape[1] + 12) * 2.0**-24
    return rows, points, slack


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rounded, so that equal rows have equal cosines, in whatever order a product was summed."""
    left, right = (each.astype(np.float64) for each in (a, b))
    lengths = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    with np.errstate(invalid="ignore"):  # of a damaged row of zeros
        return np.minimum(1.0, np.round(left @ right.T / lengths, 12))


def _named(snapshot: Snapshot, pairs: dict[tuple[int, int], float]) -> list[Duplicate]:
    """Each pair of ids once, with its best cosine; in the order of the rows."""
    best: dict[tuple[str, str], float] = {}
    for (low, high), cosine in sorted(pairs.items()):
        ids = snapshot.card(low)[0], snapshot.card(high)[0]
        ids = ids if ids[::-1] not in best else ids[::-1]
        best[ids] = max(best.get(ids, -1.0), cosine)
    return [Duplicate(*ids, cosine, "exact" if cosine >= EXACT else "near") for ids, cosine in best.items()]
