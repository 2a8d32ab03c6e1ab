"""Cards under different ids whose pictures are the same, or nearly so: found when they are written, never merged.

Each new row is compared with the whole catalog. With unit vectors split into a short part and the rest,
``a . b <= a1 . b1 + |a2| |b2|`` (Cauchy-Schwarz), so that the short parts tell which pairs can't be close; the cosine
of what remains is computed in double precision. In the catalog's basis the short part holds most of a vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from cardrec.errors import InputError
from cardrec.pruning import Basis, project
from cardrec.twins import MOST_TWINS, TWINS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cardrec.snapshot import Snapshot

__all__ = ["EXACT", "NEAR", "Duplicate", "Resemblances", "check_near", "find_duplicates", "find_resemblances"]

NEAR = 0.98
"""Cosine from which two pictures count as nearly the same, unless the caller says otherwise."""

EXACT = 1 - 1e-6
"""Cosine from which they count as the same: float32 vectors of the same pixels, encoded in batches of different sizes,
differ by a few units in the last place, which moves the cosine by less than 1e-6."""

_PARTNERS = 8  # reported for each row; the others show up as partners of these
_ROWS = 256
_COLUMNS = 8192  # rows that those are compared with at once: 8 MB of bounds
_SHORT = 64  # coordinates, where the catalog has no basis
_TINY = 1e-30
_SLACK = 1e-4  # of a bound in single precision, beside what the basis lacks of orthonormal


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
    comparison = _Comparison(snapshot, min(TWINS, TWINS if near is None else near))
    reported: dict[tuple[int, int], float] = {}
    twins: set[tuple[int, int]] = set()
    for first in range(start, snapshot.rows, _ROWS):
        last = min(first + _ROWS, snapshot.rows)
        close = comparison.close_to(first, last, last if near is None else snapshot.rows)
        if near is not None:
            best = close.best(_PARTNERS, near)
            for (high, low), cosine in zip(best.pairs().tolist(), best.cosines.tolist(), strict=True):
                reported[low, high] = cosine
        twins.update(map(tuple, close.best(MOST_TWINS, TWINS).pairs().tolist()))
        if progress is not None:
            progress(last - start, snapshot.rows - start)
    return Resemblances(_named(snapshot, reported), np.array(sorted(twins), np.int64).reshape(-1, 2))


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
    """Finds the live rows of other cards whose cosine to some rows is at least ``least``."""

    def __init__(self, snapshot: Snapshot, least: float) -> None:
        self._snapshot = snapshot
        self._least = least
        self._live = snapshot.live_rows()
        self._short = _short_parts(snapshot, self._live)
        self._cards = np.full(snapshot.rows, -1, np.int64)
        self._numbers: dict[str, int] = {}

    def close_to(self, first: int, last: int, end: int) -> _Close:
        """To the rows from ``first`` to ``last``, of each the best few, and none that is missing before ``end``."""
        *mine, count = np.searchsorted(self._live, (first, last, end))
        parts = [self._close_in(slice(*mine), low) for low in range(0, count, _COLUMNS)]
        return _ordered([_NOTHING, *parts])

    def _close_in(self, mine: slice, low: int) -> _Close:
        """Those among `_COLUMNS` live rows."""
        bounds = self._short[mine] @ self._short[low : low + _COLUMNS].T
        itself = np.arange(mine.start, mine.stop) - low
        there = (itself >= 0) & (itself < bounds.shape[1])
        bounds[np.flatnonzero(there), itself[there]] = -1.0
        possible = bounds >= self._least - _SLACK
        rows, others = self._live[mine][possible.any(axis=1)], self._live[low : low + _COLUMNS][possible.any(axis=0)]
        if not len(rows):
            return _NOTHING
        cosines = _cosines(self._snapshot.vectors(rows), self._snapshot.vectors(others))
        apart = self._cards_of(rows)[:, None] != self._cards_of(others)
        row, other = np.nonzero((cosines >= self._least) & apart)
        found = _ordered([_Close(rows[row], others[other], cosines[row, other])])
        return found.best(max(_PARTNERS, MOST_TWINS), self._least)

    def _cards_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """A number for the card of each row."""
        new = rows[self._cards[rows] < 0]
        for row, (card_id, _) in zip(new.tolist(), self._snapshot.cards(new), strict=True):
            self._cards[row] = self._numbers.setdefault(card_id, len(self._numbers))
        return self._cards[rows]


def _short_parts(snapshot: Snapshot, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """For each row its first coordinates in the catalog's basis, and the length of the rest: a product is a bound."""
    basis = snapshot.basis or Basis(np.eye(_SHORT, snapshot.manifest.dimension, dtype=np.float32), 0.0)
    shortened = basis._replace(vectors=basis.vectors[: min(_SHORT, snapshot.manifest.dimension)])
    parts = np.empty((len(rows), len(shortened.vectors) + 1), np.float32)
    for first in range(0, len(rows), _COLUMNS):
        part = slice(first, first + _COLUMNS)
        vectors = snapshot.vectors(rows[part])
        with np.errstate(invalid="ignore", over="ignore"):  # of damaged rows, which resemble nothing
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
            parts[part, :-1], parts[part, -1] = project(vectors, shortened)
    return parts


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rounded, so that equal rows have equal cosines, in whatever order a product was summed."""
    left, right = (each.astype(np.float64) for each in (a, b))
    lengths = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    return np.minimum(1.0, np.round(left @ right.T / lengths, 12))


def _named(snapshot: Snapshot, pairs: dict[tuple[int, int], float]) -> list[Duplicate]:
    """Each pair of ids once, with its best cosine; in the order of the rows."""
    best: dict[tuple[str, str], float] = {}
    for (low, high), cosine in sorted(pairs.items()):
        ids = snapshot.card(low)[0], snapshot.card(high)[0]
        ids = ids if ids[::-1] not in best else ids[::-1]
        best[ids] = max(best.get(ids, -1.0), cosine)
    return [Duplicate(*ids, cosine, "exact" if cosine >= EXACT else "near") for ids, cosine in best.items()]
