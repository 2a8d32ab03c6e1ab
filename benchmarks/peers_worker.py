"""A process for one library, from both ends.

    python -m benchmarks.peers_worker METHOD ROWS.npy QUERIES.npy

builds its index, answers a line of JSON, then one for each line on stdin: `{"threads": 1, "batch": 1, "first": 0,
"calls": 20, "warm_up_ms": 20}` times 20 calls of one query each, beginning with query 0, after 20 ms of other queries.
`Worker` starts such a process and speaks to it.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import itertools
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers_data import Data, Rows
from benchmarks.peers_methods import METHODS, Search

ANSWER_S = 600.0
"""For a block; the slowest takes about ten."""
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NVPL_BLAS_DEBUG_CPU_TYPE")
"""Settings that would have numpy's BLAS use kernels for another processor."""
MOST_THREADS = 2
"""What a worker's thread pools start with; each block says how many of them it may use."""


class LeftOutError(Exception):
    """A method that cannot be measured, and why."""


class Block(NamedTuple):
    """What to time: `calls` of `batch` queries each, from query `first * batch` on, after others for `warm_up_ms`."""

    threads: int
    batch: int
    first: int
    calls: int
    warm_up_ms: float


class Worker:
    """The process of one method.

    Raises:
        LeftOutError: it did not build its index in `limit_s`, or failed.
    """

    def __init__(self, method: str, data: Data, queries: Path, *, limit_s: float, log: Path) -> None:
        self.method = method
        self._log = log
        command = [sys.executable, "-m", "benchmarks.peers_worker", method, str(data.path), str(queries)]
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment(), bufsize=0
            )
        try:
            self.ready = self._answer(limit_s)
        except TimeoutError:
            self.close()
            raise LeftOutError(f"not built: over the time limit of {limit_s:.0f} s") from None
        except LeftOutError:
            self.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def ask(self, block: Block) -> dict[str, Any]:
        """Has it time a block; for what comes back see `answer`.

        Raises:
            LeftOutError: it failed, or is not done after `ANSWER_S`.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(block._asdict()).encode() + b"\n")
            return self._answer(ANSWER_S)
        except (BrokenPipeError, TimeoutError) as error:
            raise LeftOutError(f"failed: {error}") from error

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self, limit_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        line, end = b"", time.monotonic() + limit_s
        while not line.endswith(b"\n"):
            if not select.select([self._process.stdout], [], [], max(end - time.monotonic(), 0))[0]:
                raise TimeoutError(f"{self.method}: no answer in {limit_s:.0f} s")
            part = self._process.stdout.read(1 << 20)
            if not part:
                raise LeftOutError(f"failed: {self._last_words()}")
            line += part
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        status = self._process.wait(timeout=60)  # it closes its answers before it says why
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {status}"


def environment() -> dict[str, str]:
    """A worker's: the BLAS chooses its own kernels; the threads of each block are set when it is timed."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    most = str(MOST_THREADS)
    return kept | {"OMP_NUM_THREADS": most, "OPENBLAS_NUM_THREADS": most}


def limit_threads(threads: int) -> None:
    """Sets the threads of OpenBLAS and of every OpenMP that is loaded, Faiss's among them."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=threads)


def private_bytes() -> int:
    """Memory of this process alone, without files it maps and what it has freed."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def detail(method: str) -> str:
    """Which of its kernels a method uses here, where that can be asked."""
    if method == "cardrec":
        from cardrec.search import simd_tier

        return simd_tier()
    if method == "numpy":
        from threadpoolctl import threadpool_info

        return ", ".join(f"{pool['internal_api']} {pool.get('architecture')}" for pool in threadpool_info())
    return ""


def warm_up(search: Search, queries: Rows, block: Block, timed: NDArray[np.intp]) -> None:
    """Searches for queries that will not be timed, at least twice: the process before has filled the caches."""
    others = np.delete(np.arange(len(queries)), timed.ravel())
    end = time.perf_counter() + block.warm_up_ms / 1e3
    for turn in itertools.count():
        chosen = others[np.arange(turn * block.batch, (turn + 1) * block.batch) % len(others)]
        search(np.ascontiguousarray(queries[chosen]), block.threads)
        if turn >= 1 and time.perf_counter() > end:
            break


def answer(search: Search, queries: Rows, block: Block) -> dict[str, Any]:
    """Times a block: microseconds per query of each call, which queries, the rows found, and cores used."""
    limit_threads(block.threads)
    first, last = block.first * block.batch, (block.first + block.calls) * block.batch
    numbers = np.arange(first, last).reshape(-1, block.batch) % len(queries)
    warm_up(search, queries, block, numbers)
    blocks = [np.ascontiguousarray(queries[chosen]) for chosen in numbers]
    spent, found = [], []
    gc.disable()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    for chosen in blocks:
        start = time.perf_counter()
        rows = search(chosen, block.threads)
        spent.append((time.perf_counter() - start) * 1e6 / block.batch)
        found.append(rows)
    share = (time.process_time() - begun_cpu) / (time.perf_counter() - begun)
    gc.enable()
    rows_found = np.concatenate([np.asarray(rows).astype(np.int64).reshape(block.batch, -1) for rows in found])
    return {"us": spent, "asked": numbers.ravel().tolist(), "rows": rows_found.tolist(), "cpus": share}


def build(method: str, path: Path, queries: Rows) -> tuple[Search, dict[str, Any]]:
    """Builds a method's index and describes it.

    The BLAS has one thread meanwhile: OpenBLAS keeps buffers of some 25 MB for each, which are no part of an index.
    """
    from threadpoolctl import threadpool_limits

    importlib.import_module(METHODS[method].module)
    threadpool_limits(limits=1, user_api="blas")
    np.linalg.eigh(np.ones((1024, 1024)) @ np.ones((1024, 1024)))  # allots the one buffer
    before, begun = private_bytes(), time.perf_counter()
    search = METHODS[method].build(path)
    build_s = time.perf_counter() - begun
    search(queries[:1], 1)
    return search, {"build_s": build_s, "bytes": private_bytes() - before, "detail": detail(method)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("rows", type=Path)
    parser.add_argument("queries", type=Path)
    options = parser.parse_args()

    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what libraries print is no answer

        def say(message: dict[str, Any]) -> None:
            print(json.dumps(message), file=answers, flush=True)

        queries: Rows = np.load(options.queries)
        search, ready = build(options.method, options.rows, queries)
        say(ready)
        for line in sys.stdin:
            say(answer(search, queries, Block(**json.loads(line))))


if __name__ == "__main__":
    main()
