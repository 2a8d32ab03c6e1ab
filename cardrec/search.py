"""Exact top-k over unit vectors: an int8 scan with a proved bound, then scores in double from the stored rows."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardrec import _search
from cardrec.errors import InputError

__all__ = ["Arrays", "Matrix", "pack_rows", "quantise", "simd_tier"]

Vectors: TypeAlias = NDArray[np.float32] | NDArray[np.float16]


class Arrays(NamedTuple):
    """The four arrays of one segment of n rows; all C-contiguous, memory-mapped or not.

    Attributes:
        vectors: (n, d) float32 or float16 rows; scores come from these.
        codes: (n, d) int8, ``vectors ~ scales[:, None] * codes``.
        scales: (n,) float32.
        errors: (n,) float32, at least the Euclidean norm of what each row of ``codes`` misses.
    """

    vectors: Vectors
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    errors: NDArray[np.float32]


def quantise(vectors: Vectors) -> Arrays:
    """Makes a segment of rows: the int8 codes that the search scans, beside the rows themselves.

    Args:
        vectors: (n, d) float32 or float16, finite. Quantise what will be stored: float16 rows after rounding.

    Raises:
        InputError: a row holds NaN or infinity, or the shape or type is another.

    Example:
        >>> import numpy as np
        >>> quantise(np.eye(2, dtype=np.float32)).codes.tolist()
        [[127, 0], [0, 127]]
    """
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype not in (np.float32, np.float16):
        raise InputError(f"vectors: expected an (n, d) float32 or float16 array, got {_describe(vectors)}")
    rows: Any = np.ascontiguousarray(vectors)
    try:
        codes, scales, errors = _search.quantise(rows.astype(np.float32, copy=False))
    except ValueError as error:
        raise InputError(str(error)) from error
    return Arrays(rows, codes, scales, errors)


def pack_rows(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Packs a mask of rows for ``allowed``: bit ``i % 64`` of word ``i // 64`` is row i.

    Example:
        >>> import numpy as np
        >>> pack_rows(np.array([True, False, True])).tolist()
        [5]
    """
    if not isinstance(mask, np.ndarray) or mask.ndim != 1 or mask.dtype != np.bool_:
        raise InputError(f"mask: expected an (n,) bool array, got {_describe(mask)}")
    packed = np.zeros((len(mask) + 63) // 64, dtype="<u8")
    packed.view(np.uint8)[: (len(mask) + 7) // 8] = np.packbits(mask, bitorder="little")
    return packed.astype(np.uint64, copy=False)


def simd_tier() -> str:
    """The instruction set that the search uses on this processor."""
    return _search.simd_tier()


class Matrix:
    """Segments of unit vectors, searched as one matrix; rows are numbered through, in the order of the segments.

    Immutable and thread-safe; the arrays are kept alive, not copied, and no vector is read before a search needs it.

    Args:
        segments: ``Arrays``, or tuples of the same four arrays.

    Raises:
        InputError: shapes or types that don't fit together.

    Example:
        >>> import numpy as np
        >>> matrix = Matrix([quantise(np.eye(3, dtype=np.float32))])
        >>> rows, scores = matrix.search(np.array([0.0, 2.0, 0.0]), k=1)
        >>> rows.tolist(), scores.tolist()
        ([[1]], [[1.0]])
    """

    def __init__(self, segments: Sequence[Arrays | tuple[Vectors, Any, Any, Any]]) -> None:
        try:
            self._native = _search.Matrix([tuple(segment) for segment in segments])
        except (TypeError, ValueError) as error:
            raise InputError(str(error)) from error

    def __len__(self) -> int:
        return self._native.rows

    @property
    def dimension(self) -> int:
        """Length of each row; 0 for a matrix of no segments, which any query fits."""
        return self._native.dimension

    def search(
        self, vectors: ArrayLike, k: int, *, allowed: NDArray[np.uint64] | None = None, threads: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Finds the k rows of highest cosine similarity to each query: the true ones, never an approximation.

        Args:
            vectors: (d,) or (n, d) real numbers; any length but 0, they are normalised here.
            k: rows per query.
            allowed: a bitmap of the rows that may be returned (see ``pack_rows``); None allows all.
            threads: how many threads may share the scan.

        Returns:
            rows (n, k') int64 and scores (n, k') float32, best first, equal scores by the lower row. k' is k, or the
            number of allowed rows where that is less.

        Raises:
            InputError: a query of the wrong dimension, or that is zero or not finite; k or threads below 1; a bitmap of
                another size.
        """
        queries = unit_vectors(vectors)
        if self.dimension and queries.shape[1] != self.dimension:
            raise InputError(f"vectors: expected {self.dimension} dimensions, as the rows have, got {queries.shape[1]}")
        if allowed is not None:
            allowed = self._bitmap(allowed)
        wanted = min(_positive("k", k), max(len(self), 1))
        return self._native.search(queries, wanted, allowed, min(_positive("threads", threads), 256))

    def _bitmap(self, allowed: NDArray[np.uint64]) -> NDArray[np.uint64]:
        words = (len(self) + 63) // 64
        if not isinstance(allowed, np.ndarray) or allowed.dtype != np.uint64 or allowed.shape != (words,):
            raise InputError(f"allowed: expected ({words},) uint64, as pack_rows makes it, got {_describe(allowed)}")
        return np.ascontiguousarray(allowed, dtype=np.uint64)


def unit_vectors(vectors: ArrayLike) -> NDArray[np.float32]:
    """Queries as (n, d) float32 rows of length 1, normalised in float64.

    Raises:
        InputError: not one or two axes of real numbers, or a row that is zero or not finite.
    """
    given = np.asarray(vectors)
    if given.ndim not in (1, 2) or given.dtype.kind not in "fiu" or given.shape[-1] == 0:
        raise InputError(f"vectors: expected (d,) or (n, d) real numbers, got {_describe(given)}")
    rows = np.atleast_2d(given).astype(np.float64)
    largest = np.max(np.abs(rows), axis=1, keepdims=True)  # first to 1, so that no square over- or underflows
    bad = ~(np.isfinite(largest) & (largest > 0.0))
    if bad.any():
        raise InputError(f"vectors: row {int(np.argmax(bad))} is zero or not finite; it has no direction to compare")
    rows /= largest
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return np.ascontiguousarray(rows, dtype=np.float32)


def _positive(name: str, value: int) -> int:
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise InputError(f"{name}: expected an integer of at least 1, got {value!r}")
    return number


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype}"
    return type(value).__name__
