"""Twins: cards under different ids whose pictures no photo tells apart, found when their rows are written.

Each segment keeps pairs of rows, a row of its own and an earlier one. Groups are what hangs together by the pairs of
rows that are not removed: without the card that links two others, those are no twins any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MOST_TWINS", "TWINS", "Twins"]

TWINS = 0.999
"""Cosine from which two catalog pictures are twins: even in good light fewer than `cardrec.decide.LEAST_CONFIDENCE` of
the photos of one resemble it more than the other. By `python -m training.evaluate_twins --data DATA` 95 % do with a
cosine from 0.997 to 0.998, 91 % to 0.999, 67 % to 0.9995; a model of their lead puts 80 % at 0.99907. English and
German printings of one picture have a median of 0.9957, and one pair of 675 is above."""

MOST_TWINS = 64
"""Pairs that are kept for each row, those of the lowest rows first: a group whose rows all look the same hangs together
until so many of its cards are removed, and a placeholder that stands for 10,000 cards takes 10 MB, not 800."""


class Twins:
    """The groups of some rows. Immutable and thread-safe; they are made when they are first asked for.

    Args:
        pairs: of each segment its (m, 2) pairs of rows, if it has some.
        live: for each row whether it counts; None: all do.
    """

    def __init__(self, pairs: Sequence[NDArray[np.int64] | None], live: NDArray[np.bool_] | None) -> None:
        self._pairs = pairs
        self._live = live
        self._groups: dict[int, tuple[int, ...]] | None = None

    def of(self, row: int) -> tuple[int, ...]:
        """The rows of a row's group, itself included, ascending; empty where it has no twins."""
        return self._by_row().get(row, ())

    def groups(self) -> list[tuple[int, ...]]:
        """All groups, in the order of their first rows."""
        return sorted(set(self._by_row().values()))

    def _by_row(self) -> dict[int, tuple[int, ...]]:
        if self._groups is None:  # two threads may both make them, and the same
            pairs = np.concatenate([np.empty((0, 2), np.int64), *(each for each in self._pairs if each is not None)])
            if self._live is not None:
                pairs = pairs[self._live[pairs].all(axis=1)]
            self._groups = {row: group for group in _connected(pairs.tolist()) for row in group}
        return self._groups


def _connected(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """The connected components of a graph."""
    parents: dict[int, int] = {}

    def root(row: int) -> int:
        while (parent := parents.setdefault(row, row)) != row:
            parents[row] = row = parents[parent]
        return row

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parents[high] = low
    members: dict[int, list[int]] = {}
    for row in sorted(parents):
        members.setdefault(root(row), []).append(row)
    return [tuple(rows) for rows in members.values()]
