"""Prefixes: the first coordinates of each row in a rotated space, from which most rows can be excluded unread.

Where the rows' energy lies in few directions, as embeddings' does, a row's score is nearly decided by its coordinates
in those. `csrc/search/prefix.hpp` has the bound and its proof; here is what is made once, when a catalog is written:
the rotation, chosen by measuring how well it prunes, and the codes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cardrec.errors import InputError

__all__ = ["Basis", "Prefix", "choose_basis", "encode_prefix", "project"]

Floats: TypeAlias = NDArray[np.float32]
Vectors: TypeAlias = NDArray[np.float32] | NDArray[np.float16]

MIN_ROWS = 64
"""A smaller segment needs no prefixes: the search has no use for them where k is more than one row in 64."""

LANES = 16
_LINE_BYTES = 64
REST_CODES = 4
_SAFE = 1 + 1e-9  # outweighs the roundings of the doubles below: sums of at most 2^16 terms, each by 2^-53
_TINIEST = 2.0**-149  # of float32: what rounding to it may add or take away however small the number is

_LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256)
_MIN_ROWS = 4096  # fewer are scanned in some 30 us
_MAX_DIMENSION = 2048  # the matrix of second moments is d x d, and its eigenvectors take d^3
_SAMPLE_ROWS = 32_768
_MEASURED_ROWS = 16_384
_QUERIES = 64
_K = 5
_CODES_SLACK = 0.02
"""Width of the interval that int8 codes leave about a score, 0.007 to 0.015 each way at 768 dimensions."""
_SCATTERED = 1.5
"""Cost of a byte of a row that is read alone, against one of a row that is read in turn."""
_WORTHWHILE = 0.8


class Basis(NamedTuple):
    """A nearly orthonormal rotation into the space of the prefixes.

    Attributes:
        vectors: (p, d) float32, p a multiple of 4.
        delta: at least the spectral norm of ``vectors @ vectors.T - identity``.
    """

    vectors: Floats
    delta: float


class Prefix(NamedTuple):
    """The prefix codes of a segment of n rows.

    Attributes:
        groups: (ceil(n / 16), (p + 4) / 4, 16, 4) int8: of 16 rows the codes 4j to 4j + 3, for each j.
        scale: a coordinate is about ``scale`` times its code.
        error: at least the norm of what any row's codes miss of its coordinates.
        norm: at least the norm of any row's coordinates.
    """

    groups: NDArray[np.int8]
    scale: float
    error: float
    norm: float


def aligned(shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Zeroed int8 memory that starts on a cache line: a load that straddles two costs two."""
    size = int(np.prod(shape))
    memory = np.zeros(size + _LINE_BYTES, np.int8)
    start = -memory.ctypes.data % _LINE_BYTES
    return memory[start : start + size].reshape(shape)


def orthonormal(vectors: Floats) -> Basis:
    """The basis of given rows, with the measure of how far they are from orthonormal."""
    if vectors.ndim != 2 or vectors.dtype != np.float32 or vectors.shape[0] % 4 or not np.isfinite(vectors).all():
        raise InputError(f"basis: expected (p, d) finite float32, p a multiple of 4, got {vectors.shape}")
    wide = vectors.astype(np.float64)
    rounding = len(wide) * wide.shape[1] * 2.0**-52  # of the products, whose sums cancel
    delta = float(np.linalg.norm(wide @ wide.T - np.eye(len(wide)), 2)) * _SAFE + rounding
    if delta > 1e-3:
        raise InputError(f"basis: expected orthonormal rows, these are off by {delta:.1e}")
    return Basis(np.ascontiguousarray(vectors), delta)


def encode_prefix(vectors: Vectors, basis: Basis) -> Prefix:
    """The prefix codes of (n, d) rows, n at least 1; beside them takes 6 (p + 4) n bytes for a while."""
    projected, rests = project(vectors, basis)
    rows, length = projected.shape
    scale = max(float(np.abs(projected).max()) / 127, float(rests.max()) / (127 * REST_CODES)) * _SAFE or 1.0
    codes = np.zeros((-(-rows // LANES) * LANES, length + REST_CODES), np.int8)
    missed = norm = 0.0
    for start in range(0, rows, _SAMPLE_ROWS):
        part = slice(start, min(start + _SAMPLE_ROWS, rows))
        coordinates = projected[part].astype(np.float64)
        codes[part, :length] = np.rint(coordinates / scale)
        missed = max(missed, float(np.linalg.norm(coordinates - scale * codes[part, :length], axis=1).max()))
        norm = max(norm, float(np.linalg.norm(coordinates, axis=1).max()))
        rest = np.ceil(rests[part].astype(np.float64) / scale).astype(np.int64)
        codes[part, length:] = (rest[:, None] + np.arange(REST_CODES)) // REST_CODES  # adds up to the rest
    rowwise = codes.reshape(-1, LANES, (length + REST_CODES) // 4, 4)
    groups = aligned((len(rowwise), rowwise.shape[2], LANES, 4))
    groups[:] = rowwise.transpose(0, 2, 1, 3)
    # Of the coordinates, to float32 and, measured by the whole row, in the doubles before.
    rounding = math.hypot(norm, float(rests.max())) * 2.0**-22 + math.sqrt(length) * _TINIEST
    return Prefix(groups, scale, (missed + rounding) * _SAFE, (norm + rounding) * _SAFE)


def covers(prefix: Prefix, rows: slice, vectors: Vectors, basis: Basis) -> bool:
    """Whether the codes of some rows, ``rows`` of the segment, bound what they must for these (n, d) vectors."""
    projected, rests = project(vectors, basis)
    length = projected.shape[1]
    places = np.arange(rows.start, rows.stop)
    codes = prefix.groups[places // LANES, :, places % LANES].reshape(len(places), -1)
    missed = np.linalg.norm(projected - prefix.scale * codes[:, :length].astype(np.float64), axis=1)
    rest = prefix.scale * codes[:, length:].sum(axis=1, dtype=np.float64)
    norms = np.linalg.norm(projected, axis=1)
    loose = 1 + 1e-5
    return bool(
        (missed <= prefix.error * loose).all()
        and (rests <= rest * loose).all()
        and (norms <= prefix.norm * loose).all()
    )


def project(vectors: Vectors, basis: Basis) -> tuple[Floats, Floats]:
    """The rows' coordinates, and an upper bound of the length of what is left of each."""
    rotation = basis.vectors.T.astype(np.float64)
    projected = np.empty((len(vectors), len(basis.vectors)), np.float32)
    rests = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _SAMPLE_ROWS):
        part = slice(start, start + _SAMPLE_ROWS)
        rows = vectors[part].astype(np.float64)
        coordinates = rows @ rotation
        squared = np.einsum("ij,ij->i", rows, rows)
        left = squared - (1 - basis.delta) * np.einsum("ij,ij->i", coordinates, coordinates)
        projected[part] = coordinates
        rests[part] = np.sqrt(np.maximum(left, 0) + 1e-9 * squared) * (1 + 2.0**-22) + _TINIEST  # float32 rounds
    return projected, rests


def choose_basis(vectors: Vectors) -> Basis | None:
    """The rotation and the length of prefix that save most reading on these rows, or None where none saves enough.

    Candidates are the leading eigenvectors of the rows' second moments. Each is measured on the rows themselves, with
    queries made by disturbing some of them as photos disturb embeddings: mostly towards other rows.

    Args:
        vectors: (n, d) float32 or float16 rows; up to 32,768 from all over are looked at.
    """
    count, dimension = vectors.shape
    if count < _MIN_ROWS or dimension > _MAX_DIMENSION:
        return None
    sample = _evenly(vectors, _SAMPLE_ROWS).astype(np.float32)
    moments = (sample.T @ sample).astype(np.float64)
    directions = np.linalg.eigh(moments)[1][:, ::-1].T
    directions *= np.where(directions.sum(axis=1) < 0, -1.0, 1.0)[:, None]  # either sign is right; always take the same
    rows = _evenly(sample, _MEASURED_ROWS)
    queries = _disturbed(rows)
    scores = queries @ rows.T
    reached = np.partition(scores, -_K, axis=1)[:, -_K] - _CODES_SLACK
    best, least = None, _WORTHWHILE * dimension
    for length in (each for each in _LENGTHS if each < dimension / 2):
        basis = np.ascontiguousarray(directions[:length], np.float32)
        cost = _bytes_per_row(rows, queries, basis, reached)
        if cost < least:
            best, least = basis, cost
    return None if best is None else orthonormal(best)


def _evenly(vectors: Any, count: int) -> Any:
    """At most ``count`` rows from all over the matrix, which may be in the order of sets."""
    return vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), count)).astype(np.int64)]


def _disturbed(rows: Floats) -> Floats:
    """Queries at a cosine of 0.6 to 0.95 from a row, nine tenths of the way towards other rows, one tenth anywhere."""
    rng = np.random.default_rng(0)
    near, to, away = rng.integers(0, len(rows), (3, _QUERIES))
    direction = 0.9 * _unit(rows[to] - rows[away]) + 0.1 * _unit(rng.standard_normal((_QUERIES, rows.shape[1])))
    cosine = rng.uniform(0.6, 0.95, (_QUERIES, 1))
    return np.asarray(_unit(cosine * rows[near] + np.sqrt(1 - cosine**2) * _unit(direction)), np.float32)


def _unit(vectors: Any) -> Any:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)


def _bytes_per_row(rows: Floats, queries: Floats, basis: Floats, reached: NDArray[Any]) -> float:
    """Mean bytes that a search reads for each row: its prefix, and the codes of the share that the bound leaves."""
    row_coordinates, query_coordinates = rows @ basis.T, queries @ basis.T
    row_rests, query_rests = (
        np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", each, each))) for each in (row_coordinates, query_coordinates)
    )
    rounding = 2 * np.abs(row_coordinates).max() / 127 * np.sqrt(len(basis) / 12)
    bounds = query_coordinates @ row_coordinates.T + np.outer(query_rests, row_rests) + rounding
    left = (bounds >= reached[:, None]).mean(axis=1)
    return float(len(basis) + REST_CODES + np.minimum(1.0, _SCATTERED * left).mean() * rows.shape[1])
