"""Cards under different ids whose pictures are the same, or nearly so: reported after a build, never merged.

Each new row is searched for in the whole catalog with the catalog's own exact search, in batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from cardrec.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cardrec.snapshot import Snapshot

__all__ = ["EXACT", "NEAR", "Duplicate", "find_duplicates"]

NEAR = 0.98
"""Cosine from which two pictures count as nearly the same, unless the caller says otherwise."""

EXACT = 1 - 1e-6
"""Cosine from which they count as the same: float32 vectors of the same pixels, encoded in batches of different sizes,
differ by a few units in the last place, which moves the cosine by less than 1e-6."""

_BATCH = 64
_PARTNERS = 8  # reported for each row; the others show up as partners of these
_WIDEST = 512


class Duplicate(NamedTuple):
    """Two cards whose pictures agree; ``first`` is the one with the lower row."""

    first: str
    second: str
    cosine: float
    kind: Literal["exact", "near"]


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
    check_near(near)
    pairs: dict[tuple[int, int], float] = {}
    for first in range(start, snapshot.rows, _BATCH):
        last = min(first + _BATCH, snapshot.rows)
        _search_batch(snapshot, first, last, near, pairs)
        if progress is not None:
            progress(last - start, snapshot.rows - start)
    return _named(snapshot, pairs)


def _search_batch(snapshot: Snapshot, first: int, last: int, near: float, pairs: dict[tuple[int, int], float]) -> None:
    """Add the pairs of some rows. Several views of one card may fill the first places: then look further down."""
    rows = np.array([row for row in range(first, last) if snapshot.is_live(row)], np.int64)
    vectors = snapshot.stored(first, last)[rows - first]
    width = _PARTNERS + 1
    while len(rows):
        found, scores = snapshot.search(vectors, width)
        unfinished = []
        for index, row in enumerate(rows.tolist()):
            partners = _partners(snapshot, row, found[index], scores[index], near)
            pairs.update(partners[:_PARTNERS])
            full = found.shape[1] == width and scores[index, -1] >= near
            if full and not partners and width < _WIDEST:
                unfinished.append(index)
        rows, vectors, width = rows[unfinished], vectors[unfinished], width * 4


def _partners(
    snapshot: Snapshot, row: int, found: NDArray[np.int64], scores: NDArray[np.float32], near: float
) -> list[tuple[tuple[int, int], float]]:
    """The pairs of one row with rows of other cards."""
    # A hair below the bound: half-precision rows have a norm a little off 1; `_named` decides by the cosine itself.
    others = [int(other) for other, score in zip(found, scores, strict=True) if score >= near - 1e-3 and other != row]
    if not others:
        return []
    card_id = snapshot.card(row)[0]
    vector = snapshot.stored(row, row + 1)[0].astype(np.float64)
    partners = []
    for other in others:
        if snapshot.card(other)[0] != card_id:
            cosine = _cosine(vector, snapshot.stored(other, other + 1)[0].astype(np.float64))
            if cosine >= near:
                partners.append(((min(row, other), max(row, other)), cosine))
    return partners


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return min(1.0, float(a @ b / np.sqrt((a @ a) * (b @ b))))


def _named(snapshot: Snapshot, pairs: dict[tuple[int, int], float]) -> list[Duplicate]:
    """Each pair of ids once, with its best cosine; in the order of the rows."""
    best: dict[tuple[str, str], float] = {}
    for (low, high), cosine in sorted(pairs.items()):
        ids = snapshot.card(low)[0], snapshot.card(high)[0]
        ids = ids if ids[::-1] not in best else ids[::-1]
        best[ids] = max(best.get(ids, -1.0), cosine)
    return [Duplicate(*ids, cosine, "exact" if cosine >= EXACT else "near") for ids, cosine in best.items()]
