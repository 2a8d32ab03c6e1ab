"""What the peers search in: rows in an .npy file, queries, and the true scores in float64.

- `real`: embeddings that `benchmarks.embeddings` made of cards and of simulated photos. Beyond those rows more are
  synthesised: normalise(x_i + t (x_j - x_k)) for random i, j, k and t in 0.3 to 0.6. A difference of two rows has the
  rows' own covariance, so this keeps the spectrum: 64 directions hold 99.6 % of the variance of either. It keeps the
  neighbourhoods too: the nearest real row is at a cosine of 0.86 in the median, and 0.82 from one real row to another.
- `random`: isotropic unit vectors, queries likewise: nothing to prune.
- `clusters`: near-duplicates, eight around each random centre at cosine 0.97, and queries as near to the centres.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]

SCENARIOS = ("real", "random", "clusters")
K = 5
DIMENSION = 768
"""Of the scenarios without real rows; as the bundled encoder's."""
MEMBERS = 8
SPREAD = float(np.sqrt(1 / 0.97**2 - 1))
"""Length of what is added to a centre, at a right angle near enough, for a cosine of 0.97."""
CHUNK = 16_384
TIE = 1e-12
"""Scores as near as this are equal: float64 sums of 768 products differ by about 1e-16 when their order does."""


class Real(NamedTuple):
    """Embeddings of cards (n, d) and of photos (m, d), as unit rows."""

    rows: Rows
    queries: Rows


class Data(NamedTuple):
    """One scenario at one size: the file of (n, d) rows, queries (m, d) and their true scores (m, K), best first."""

    path: Path
    queries: Rows
    best: NDArray[np.float64]


def unit(rows: NDArray[np.floating]) -> Rows:
    """Rows at length 1, as near as float32 gets."""
    exact = rows.astype(np.float64)
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", exact, exact))
    return (exact / lengths[:, None]).astype(np.float32)


def read_real(path: Path) -> Real:
    with np.load(path) as arrays:
        return Real(unit(arrays["rows"]), unit(arrays["queries"]))


def sizes(count: int) -> Iterator[int]:
    """Lengths of the chunks that `count` rows are made in."""
    yield from (min(CHUNK, count - first) for first in range(0, count, CHUNK))


def real_like(real: Rows, count: int, rng: np.random.Generator) -> Iterator[Rows]:
    """The real rows, then rows like them."""
    yield real[:count]
    for size in sizes(max(count - len(real), 0)):
        i, j, k = rng.integers(len(real), size=(3, size))
        step = rng.uniform(0.3, 0.6, (size, 1)).astype(np.float32)
        yield unit(real[i] + step * (real[j] - real[k]))


def isotropic(count: int, rng: np.random.Generator) -> Iterator[Rows]:
    for size in sizes(count):
        yield unit(rng.standard_normal((size, DIMENSION), np.float32))


def near(centres: Rows, chosen: NDArray[np.intp], rng: np.random.Generator) -> Iterator[Rows]:
    """A row at cosine 0.97 to each chosen centre."""
    begun = 0
    for size in sizes(len(chosen)):
        offsets = unit(rng.standard_normal((size, DIMENSION), np.float32))
        yield unit(centres[chosen[begun : begun + size]] + SPREAD * offsets)
        begun += size


def scenario(name: str, count: int, queries: int, real: Real | None) -> tuple[Iterator[Rows], Rows]:
    """The rows of a scenario, in chunks, and its queries; the same for the same arguments."""
    rng = np.random.default_rng([SCENARIOS.index(name), count])
    if name == "real":
        if real is None:
            raise ValueError("real: expected --embeddings FILE, which `python -m benchmarks.embeddings` makes")
        return real_like(real.rows, count, rng), real.queries[:queries]
    if name == "random":
        return isotropic(count, rng), next(isotropic(queries, np.random.default_rng([9, count])))
    centres = np.concatenate(list(isotropic(max(count // MEMBERS, 1), rng)))
    members = rng.permutation(count) % len(centres)
    asked = next(near(centres, rng.integers(len(centres), size=queries), rng))
    return near(centres, members, rng), asked


def true_scores(path: Path, queries: Rows) -> NDArray[np.float64]:
    """The K best scores in float64 of each query, (m, K), best first."""
    rows: Rows = np.load(path, mmap_mode="r")
    exact = queries.astype(np.float64)
    best = np.full((len(queries), K), -np.inf)
    for first in range(0, len(rows), CHUNK):
        scores = exact @ rows[first : first + CHUNK].astype(np.float64).T
        both = np.concatenate([best, np.partition(scores, -K, axis=1)[:, -K:]], axis=1)
        best = -np.sort(-both, axis=1)[:, :K]
    return best


def make(name: str, count: int, queries: int, real: Real | None, folder: Path) -> Data:
    """Writes a scenario's rows and works out what its queries should find."""
    chunks, asked = scenario(name, count, queries, real)
    path = folder / f"{name}-{count}.npy"
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, asked.shape[1]))
    begun = 0
    for chunk in chunks:
        file[begun : begun + len(chunk)] = chunk
        begun += len(chunk)
    file.flush()
    return Data(path, asked, true_scores(path, asked))


def recalls(data: Data, asked: NDArray[np.intp], found: NDArray[np.int64]) -> tuple[float, float]:
    """Recall@1 and recall@K of rows found (m, K) for the queries `asked` (m,).

    By score, not by number: a row counts if its float64 score reaches that of the first, or the K-th, true one, so any
    of several equal rows is right. A row given twice counts once; -1, which some libraries fill up with, never.
    """
    rows: Rows = np.load(data.path, mmap_mode="r")
    at_1, at_k = [], []
    for query, given in zip(asked, found, strict=True):
        wanted = data.best[query]
        scores = rows[given].astype(np.float64) @ data.queries[query].astype(np.float64)
        scores[given < 0] = -np.inf
        distinct = np.unique(given, return_index=True)[1]
        at_1.append(scores[0] >= wanted[0] - TIE)
        at_k.append(np.count_nonzero(scores[distinct] >= wanted[-1] - TIE) / K)
    return float(np.mean(at_1)), float(np.mean(at_k))
