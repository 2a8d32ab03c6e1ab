"""Exact top-k over unit vectors: prefixes and int8 codes with proved bounds, then scores from the stored rows."""

from __future__ import annotations

import contextlib
import operator
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardrec import _search
from cardrec.errors import InputError
from cardrec.pruning import Basis, Prefix, aligned, choose_basis, encode_prefix

__all__ = [
    "Arrays",
    "FileRows",
    "Matrix",
    "QuantisedVectors",
    "RowFile",
    "pack_rows",
    "quantise",
    "simd_tier",
    "simd_tiers",
]

Vectors: TypeAlias = NDArray[np.float32] | NDArray[np.float16]
MOST_THREADS = 256


class RowFile:
    """An open file of rows, closed when nobody holds it any more.

    Args:
        descriptor: of an open file; it is duplicated, so the caller may close its own.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)

    def fileno(self) -> int:
        """The descriptor, open as long as this object lives."""
        return self._descriptor

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # one that could not be duplicated
            os.close(self._descriptor)


class FileRows(NamedTuple):
    """Rows that stay in a file until one is scored: the file, where in it they start, in bytes, and their type.

    They are read with pread, not mapped: rows that were looked at once do not pile up in the process's memory.
    """

    file: RowFile
    offset: int
    dtype: np.dtype[Any]


class Arrays(NamedTuple):
    """The arrays of one segment of n rows; all C-contiguous, memory-mapped or not.

    Attributes:
        vectors: (n, d) float32 or float16 rows, or where they lie in a file; scores come from these.
        codes: (n, d) int8, ``vectors ~ scales[:, None] * codes``.
        scales: (n,) float32.
        errors: (n,) float32, at least the Euclidean norm of what each row of ``codes`` misses.
        norm: at least the Euclidean norm of any row.
        prefix: codes to prune by, in the basis of the matrix; or None.
    """

    vectors: Vectors | FileRows
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    errors: NDArray[np.float32]
    norm: float
    prefix: Prefix | None = None


class QuantisedVectors(NamedTuple):
    """Queries as an accelerator gives them: ``(values - zero_point) * scale``.

    The search takes the integers as they are. The scale cancels, since queries are scaled to length 1.

    Attributes:
        values: (d,) or (n, d) int8 or uint8.
        scale: positive.
        zero_point: a whole number in the range of ``values``.
    """

    values: NDArray[np.int8] | NDArray[np.uint8]
    scale: float
    zero_point: int


def quantise(vectors: Vectors, basis: Basis | None = None) -> Arrays:
    """Makes a segment of rows: the codes that the search scans, beside the rows themselves.

    Args:
        vectors: (n, d) float32 or float16, finite. Quantise what will be stored: float16 rows after rounding.
        basis: adds the prefixes in this basis.

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
    codes = aligned(rows.shape)
    try:
        scales, errors, norm = _search.quantise(rows.astype(np.float32, copy=False), codes)
    except ValueError as error:
        raise InputError(str(error)) from error
    prefix = encode_prefix(rows, basis) if basis is not None and len(rows) else None
    return Arrays(rows, codes, scales, errors, norm, prefix)


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
    """The instruction set that the search uses here: the fastest there is, or what CARDREC_SIMD names.

    Raises:
        InputError: CARDREC_SIMD names one that this processor does not have.
    """
    try:
        return _search.simd_tier()
    except ValueError as error:
        raise InputError(str(error)) from error


def simd_tiers() -> list[str]:
    """The instruction sets that this processor can use, the slowest first."""
    return _search.simd_tiers()


class Matrix:
    """Segments of unit vectors, searched as one matrix; rows are numbered through, in the order of the segments.

    Immutable and thread-safe; the arrays are kept alive, not copied, and no vector is read before a search needs it.

    Args:
        segments: what `quantise` makes.
        basis: of the segments' prefixes; without it they are not used.
        tier: the instruction set; "" is what `simd_tier` says.

    Raises:
        InputError: shapes or types that don't fit together; an instruction set that is not there.

    Example:
        >>> import numpy as np
        >>> matrix = Matrix.build(np.eye(3, dtype=np.float32))
        >>> rows, scores = matrix.search(np.array([0.0, 2.0, 0.0]), k=1)
        >>> rows.tolist(), scores.tolist()
        ([[1]], [[1.0]])
    """

    def __init__(self, segments: Sequence[Arrays], *, basis: Basis | None = None, tier: str = "") -> None:
        vectors, delta = (None, 0.0) if basis is None else basis
        kept = [segment if basis is not None else segment._replace(prefix=None) for segment in segments]
        try:
            self._native = _search.Matrix(kept, vectors, delta, tier)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(str(error)) from error

    @classmethod
    def build(cls, vectors: Vectors, *, tier: str = "") -> Matrix:
        """A matrix of (n, d) float32 or float16 rows, with prefixes where they are worth it; see `choose_basis`."""
        arrays = quantise(vectors)
        basis = choose_basis(vectors)
        if basis is not None:
            arrays = arrays._replace(prefix=encode_prefix(vectors, basis))
        return cls([arrays], basis=basis, tier=tier)

    def __len__(self) -> int:
        return self._native.rows

    @property
    def dimension(self) -> int:
        """Length of each row; 0 for a matrix of no segments, which any query fits."""
        return self._native.dimension

    @property
    def tier(self) -> str:
        """The instruction set that it uses."""
        return self._native.tier

    def search(
        self,
        vectors: ArrayLike | QuantisedVectors,
        k: int,
        *,
        allowed: NDArray[np.uint64] | None = None,
        threads: int = 0,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Finds the k rows of highest cosine similarity to each query: the true ones, never an approximation.

        Args:
            vectors: (d,) or (n, d) real numbers; any length but 0, they are normalised here. Or integers with scale and
                zero point, which give the same result as their differences from the zero point as float32.
            k: rows per query.
            allowed: a bitmap of the rows that may be returned (see ``pack_rows``); None allows all.
            threads: how many threads may share the scan; 0 takes one unless there is enough to do for more.

        Returns:
            rows (n, k') int64 and scores (n, k') float32, best first; scores that are equal before they are rounded to
            float32 by the lower row. k' is k, or the number of allowed rows where that is less.

        Raises:
            InputError: a query of the wrong dimension, or that is zero or not finite; k below 1, threads below 0; a
                bitmap of another size.
            OSError: the rows lie in a file that can't be read.
        """
        queries, zero_point = _queries(vectors)
        native = self._native
        if native.dimension and queries.shape[1] != native.dimension:
            raise InputError(
                f"vectors: expected {native.dimension} dimensions, as the rows have, got {queries.shape[1]}"
            )
        if allowed is not None:
            allowed = self._bitmap(allowed)
        wanted = min(_whole("k", k, 1), max(native.rows, 1))
        try:
            return native.search(queries, wanted, allowed, min(_whole("threads", threads, 0), MOST_THREADS), zero_point)
        except ValueError as error:
            raise InputError(str(error)) from error

    def _bitmap(self, allowed: NDArray[np.uint64]) -> NDArray[np.uint64]:
        words = (len(self) + 63) // 64
        if not isinstance(allowed, np.ndarray) or allowed.dtype != np.uint64 or allowed.shape != (words,):
            raise InputError(f"allowed: expected ({words},) uint64, as pack_rows makes it, got {_describe(allowed)}")
        return np.ascontiguousarray(allowed, dtype=np.uint64)


def _queries(vectors: ArrayLike | QuantisedVectors) -> tuple[NDArray[Any], int]:
    """Queries as (n, d) rows that the native module takes, and the zero point of integers."""
    if isinstance(vectors, QuantisedVectors):
        return _integers(vectors)
    if isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 and vectors.ndim in (1, 2) and vectors.shape[-1]:
        return np.ascontiguousarray(vectors if vectors.ndim == 2 else vectors[None]), 0
    return unit_vectors(vectors), 0


def _integers(vectors: QuantisedVectors) -> tuple[NDArray[Any], int]:
    values, scale, zero_point = vectors
    if not isinstance(values, np.ndarray) or values.dtype not in (np.int8, np.uint8) or values.ndim not in (1, 2):
        raise InputError(f"vectors: expected (d,) or (n, d) int8 or uint8 values, got {_describe(values)}")
    limits = range(256) if values.dtype == np.uint8 else range(-128, 128)
    if not (isinstance(scale, (int, float, np.number)) and 0 < scale < np.inf) or zero_point not in limits:
        raise InputError(
            f"vectors: expected a positive scale and a zero point in {limits[0]}..{limits[-1]}, "
            f"got {scale!r} and {zero_point!r}"
        )
    return np.ascontiguousarray(np.atleast_2d(values)), int(zero_point)


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


def _whole(name: str, value: int, least: int) -> int:
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise InputError(f"{name}: expected an integer of at least {least}, got {value!r}")
    return number


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype}"
    return type(value).__name__
