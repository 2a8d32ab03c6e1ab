"""The libraries, each behind one function from the file of rows to a search."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers_data import CHUNK, K, Rows

Search = Callable[[Rows, int], Any]
"""From queries (m, d) float32 and a number of threads to the rows found, (m, K), best first."""

EF = 64
"""How many candidates a graph search keeps."""
EF_BUILD = 200
BUILD_THREADS = os.cpu_count() or 1


class Method(NamedTuple):
    """A way to search.

    Attributes:
        kind: what it scans: `exact` (float32 rows), `scan` (all rows, with fewer bits) or `approximate` (not all rows).
        package: whose version is reported.
        module: what must be importable.
        build: from the file of rows to a search.
        memory: of its index, in sizes of the float32 rows.
        threads: for what it has threads of its own: `queries` (any call), `batches` (several queries) or `none`.
    """

    kind: str
    package: str
    module: str
    build: Callable[[Path], Search]
    memory: float
    threads: str = "queries"


def top(scores: NDArray[Any]) -> NDArray[np.intp]:
    """The K columns of highest score of each row, best first."""
    if len(scores) == 1:
        some = np.argpartition(scores[0], -K)[-K:]
        return some[np.argsort(-scores[0][some])][None]
    some = np.argpartition(scores, -K, axis=1)[:, -K:]
    order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1)
    return np.take_along_axis(some, order, axis=1)


def mapped(path: Path) -> Rows:
    """The rows where the page cache has them, for libraries that make their own copy."""
    rows: Rows = np.load(path, mmap_mode="r")
    return rows.view(np.ndarray)


def to_int8(rows: Rows) -> NDArray[np.int8]:
    """Each row with a scale of its own, which a cosine needs not know."""
    codes: NDArray[np.int8] = np.rint(rows * (127 / np.abs(rows).max(axis=1, keepdims=True))).astype(np.int8)
    return codes


def int8_rows(path: Path, *, one_scale: bool) -> NDArray[np.int8]:
    """The rows as int8; with one scale for all, int8 dot products are in the order of the scores."""
    rows = mapped(path)
    codes = np.empty(rows.shape, np.int8)
    parts = [slice(first, first + CHUNK) for first in range(0, len(rows), CHUNK)]
    scale = 127 / max(float(np.abs(rows[part]).max()) for part in parts) if one_scale else None
    for part in parts:
        codes[part] = to_int8(rows[part]) if scale is None else np.rint(rows[part] * scale)
    return codes


def cardrec_search(path: Path) -> Search:
    from cardrec.search import Matrix

    matrix = Matrix.build(np.load(path))
    return lambda queries, threads: matrix.search(queries, K, threads=threads)[0]


def numpy_search(path: Path) -> Search:
    """One product with all rows; they are kept in Fortran's order, in which OpenBLAS 0.3.31 takes 0.6 of the time."""
    rows = np.asfortranarray(mapped(path))

    def search(queries: Rows, threads: int) -> Any:  # noqa: ARG001 (`limit_threads` has told OpenBLAS)
        return top((rows @ queries[0])[None] if len(queries) == 1 else queries @ rows.T)

    return search


def faiss_search(path: Path, kind: str) -> Search:
    """Faiss' index of that kind by its factory; inner product."""
    import faiss

    rows = mapped(path)
    index = faiss.index_factory(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    if kind.startswith("HNSW"):
        index.hnsw.efConstruction, index.hnsw.efSearch = EF_BUILD, EF
    index.train(rows)
    index.add(rows)
    return lambda queries, threads: index.search(queries, K)[1]  # noqa: ARG005 (`limit_threads` has told OpenMP)


def usearch_exact(path: Path) -> Search:
    from usearch.index import search

    rows: Rows = np.load(path)
    return lambda queries, threads: search(rows, queries, K, "ip", exact=True, threads=threads).keys


def usearch_exact_i8(path: Path) -> Search:
    from usearch.index import search

    rows = int8_rows(path, one_scale=False)
    return lambda queries, threads: search(rows, to_int8(queries), K, "cos", exact=True, threads=threads).keys


def usearch_graph(path: Path, dtype: str) -> Search:
    """Usearch's HNSW with its usual 16 links.

    The i8 index gets rows and queries that are int8 already: its own conversion, by 127, leaves a coordinate of a unit
    vector of 768 about three bits and finds fewer of the true rows (0.94 instead of 0.99 of five) no faster.
    """
    from usearch.index import Index

    rows = mapped(path) if dtype == "f32" else int8_rows(path, one_scale=False)
    index = Index(ndim=rows.shape[1], metric="ip" if dtype == "f32" else "cos", dtype=dtype, expansion_search=EF)
    index.add(np.arange(len(rows)), rows, threads=BUILD_THREADS)
    if dtype == "f32":
        return lambda queries, threads: index.search(queries, K, threads=threads).keys
    return lambda queries, threads: index.search(to_int8(queries), K, threads=threads).keys


def hnswlib_graph(path: Path) -> Search:
    import hnswlib

    rows = mapped(path)
    index = hnswlib.Index(space="ip", dim=rows.shape[1])
    index.init_index(max_elements=len(rows), ef_construction=EF_BUILD, M=16)
    index.set_ef(EF)
    index.add_items(rows, num_threads=BUILD_THREADS)
    return lambda queries, threads: index.knn_query(queries, k=K, num_threads=threads)[0]


def simsimd_scan(path: Path) -> Search:
    import simsimd

    rows = int8_rows(path, one_scale=True)

    def search(queries: Rows, threads: int) -> Any:  # noqa: ARG001 (it has none)
        codes = to_int8(queries)
        if len(codes) == 1:
            return top(np.asarray(simsimd.dot(rows, codes[0]))[None])
        return top(np.asarray(simsimd.cdist(codes, rows, "dot")))

    return search


def numkong_scan(path: Path) -> Search:
    import numkong

    packed = numkong.dots_pack(int8_rows(path, one_scale=True))
    return lambda queries, threads: top(np.asarray(numkong.dots_packed(to_int8(queries), packed)))  # noqa: ARG005


def scann_search(path: Path, *, tree: bool) -> Search:
    """As ScaNN's guide advises: AH by 2 dimensions, 100 rescored; of a tree's sqrt(n) leaves a tenth is searched."""
    import scann

    rows = mapped(path)
    builder = scann.scann_ops_pybind.builder(rows, K, "dot_product").set_n_training_threads(BUILD_THREADS)
    if tree:
        leaves = round(len(rows) ** 0.5)
        builder = builder.tree(leaves, max(leaves // 10, 1), training_sample_size=min(len(rows), 250_000))
    index = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build()

    def search(queries: Rows, threads: int) -> Any:
        if len(queries) == 1:
            return index.search(queries[0])[0][None]
        if threads == 1:
            return index.search_batched(queries)[0]
        return index.search_batched_parallel(queries, batch_size=-(-len(queries) // threads))[0]

    return search


METHODS = {
    "cardrec": Method("exact", "cardrec", "cardrec", cardrec_search, 1.4),
    "numpy": Method("exact", "numpy", "numpy", numpy_search, 1),
    "faiss Flat": Method("exact", "faiss-cpu", "faiss", lambda path: faiss_search(path, "Flat"), 1),
    "faiss SQfp16": Method("scan", "faiss-cpu", "faiss", lambda path: faiss_search(path, "SQfp16"), 0.5),
    "faiss SQ8": Method("scan", "faiss-cpu", "faiss", lambda path: faiss_search(path, "SQ8"), 0.3),
    "usearch exact f32": Method("exact", "usearch", "usearch", usearch_exact, 1),
    "usearch exact i8": Method("scan", "usearch", "usearch", usearch_exact_i8, 0.3),
    "simsimd i8": Method("scan", "simsimd", "simsimd", simsimd_scan, 0.3, "none"),
    "numkong i8": Method("scan", "numkong", "numkong", numkong_scan, 0.3, "none"),
    "scann AH": Method("scan", "scann", "scann", lambda path: scann_search(path, tree=False), 1.2, "batches"),
    "scann tree": Method("approximate", "scann", "scann", lambda path: scann_search(path, tree=True), 1.2, "batches"),
    "faiss HNSW": Method("approximate", "faiss-cpu", "faiss", lambda path: faiss_search(path, "HNSW32"), 1.2),
    "usearch HNSW f32": Method("approximate", "usearch", "usearch", lambda path: usearch_graph(path, "f32"), 1.3),
    "usearch HNSW i8": Method("approximate", "usearch", "usearch", lambda path: usearch_graph(path, "i8"), 0.6),
    "hnswlib": Method("approximate", "hnswlib", "hnswlib", hnswlib_graph, 1.2),
}


def can(method: str, threads: int, batch: int) -> bool:
    """Whether a method has that many threads of its own for a call of `batch` queries."""
    owned = METHODS[method].threads
    return threads == 1 or owned == "queries" or (owned == "batches" and batch > 1)
