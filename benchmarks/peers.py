"""Exact and approximate vector search libraries beside cardrec, on the same rows, in turn.

    python -m benchmarks.peers OUT_DIR --embeddings real.npz [--rows 17592 110000] [--only real random] [--quick]

Scenarios are in `benchmarks.peers_data`, libraries in `benchmarks.peers_methods`. Each library has a process of its
own, which builds its index and then waits; one at a time they time a block of the same queries, round after round, so
that a slow second hits all. Libraries that do not fit into --memory together are run in groups, cardrec and Faiss' flat
index in each. An index that takes longer than --build-limit is left out; a graph without a try, where a smaller size
has told. Writes OUT_DIR/peers.json, peers.md and peers.png after each size; a later run replaces what it
measures again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import peers_report
from benchmarks.peers_data import SCENARIOS, Data, Real, make, read_real, recalls
from benchmarks.peers_methods import METHODS, can
from benchmarks.peers_report import Entry, Run, Timing
from benchmarks.peers_worker import Block, LeftOutError, Worker

OURS = "cardrec"
REFERENCES = (OURS, "faiss Flat")
"""In every group."""
MODES = ((1, 1), (1, 16), (2, 1), (2, 16))
"""Threads and queries per call."""
BUILDING = 2.2
"""What ScaNN, the greediest, takes while it builds beyond what it keeps, in sizes of the float32 rows."""
TRIES = 4
"""Of a block, as long as other processes get in its way."""
SETTLE_S = 0.05
"""Before each block of several threads: OpenMP and OpenBLAS spin for some milliseconds after their work."""


class Plan(NamedTuple):
    """Rounds, calls of one query in each, all with different queries, and milliseconds of other calls before them."""

    rounds: int
    calls: int
    warm_up_ms: float


def plan(rows: int, options: argparse.Namespace) -> Plan:
    """Less at sizes where each call takes long."""
    rounds, calls = (25, 20) if rows <= 50_000 else (16, 10) if rows <= 500_000 else (10, 8)
    return Plan(5 if options.quick else rounds, calls, options.warm_up_ms)


def machine() -> dict[str, str]:
    """Processor, systems and versions."""
    packages = {method.package for name, method in METHODS.items() if installed(name)}
    versions = {package: importlib.metadata.version(package) for package in sorted(packages - {"cardrec"})}
    from cardrec import __version__
    from cardrec.machine import cpu_name
    from cardrec.search import simd_tier

    return {
        "processor": cpu_name(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "cardrec": __version__,
        "cardrec tier": simd_tier(),
    } | versions


def installed(method: str) -> bool:
    return importlib.util.find_spec(METHODS[method].module) is not None


def groups(methods: Sequence[str], row_bytes: float, memory_bytes: float) -> Iterator[list[str]]:
    """Methods whose indexes fit into memory together, the references in each group."""
    shared = [name for name in REFERENCES if name in methods]
    base = (1 + BUILDING + sum(METHODS[name].memory for name in shared)) * row_bytes  # 1: the file, in the page cache
    group, used = list(shared), base
    for name in methods:
        need = METHODS[name].memory * row_bytes
        if name in shared:
            continue
        if len(group) > len(shared) and used + need > memory_bytes:
            yield group
            group, used = list(shared), base
        group.append(name)
        used += need
    if group:
        yield group


def undisturbed(worker: Worker, block: Block) -> dict[str, Any]:
    """A block that had a core to itself, if one of a few tries has.

    Without this, other work on the machine would be held against slow methods only: a quick call ends before the
    scheduler interrupts it.
    """
    answers = []
    for _ in range(TRIES):
        answers.append(worker.ask(block))
        if answers[-1]["cpus"] >= peers_report.UNDISTURBED:
            break
    return max(answers, key=lambda answer: float(answer["cpus"]))


def measure(workers: Sequence[Worker], data: Data, planned: Plan, mode: tuple[int, int]) -> dict[str, Timing]:
    """Rounds of one mode: each worker in turn, beginning with another one each time."""
    threads, batch = mode
    able = [worker for worker in workers if can(worker.method, threads, batch)]
    calls = planned.calls if batch == 1 else max(planned.calls // 5, 1)
    answers: dict[str, list[dict[str, Any]]] = {worker.method: [] for worker in able}
    for turn in range(planned.rounds if mode == (1, 1) else max(planned.rounds // 2, 3)):
        able = [*able[1:], *able[:1]]
        for worker in list(able):
            time.sleep(SETTLE_S if threads > 1 else 0)
            block = Block(threads, batch, turn * calls, calls, planned.warm_up_ms)
            try:
                answers[worker.method].append(undisturbed(worker, block))
            except LeftOutError as reason:
                print(f"  {worker.method}: {reason}", flush=True)
                able.remove(worker)
                del answers[worker.method]
    round_us = {name: [statistics.median(one["us"]) for one in given] for name, given in answers.items()}
    return {name: summary(given, round_us[name], round_us.get(OURS), data, mode) for name, given in answers.items()}


def summary(
    answers: Sequence[dict[str, Any]],
    round_us: list[float],
    our_us: list[float] | None,
    data: Data,
    mode: tuple[int, int],
) -> Timing:
    """The figures of one method in one mode."""
    us = np.concatenate([one["us"] for one in answers])
    asked = np.concatenate([np.asarray(one["asked"], np.intp) for one in answers])
    recall_at_1, recall_at_5 = recalls(data, asked, np.concatenate([np.asarray(one["rows"]) for one in answers]))
    ratio = statistics.median(np.divide(round_us, our_us)) if our_us else None
    return {
        "threads": mode[0],
        "batch": mode[1],
        "us": float(np.median(us)),
        "p95_us": float(np.percentile(us, 95)),
        "ratio": None if ratio is None else float(ratio),
        "recall_at_1": recall_at_1,
        "recall_at_5": recall_at_5,
        "cpus": statistics.median(one["cpus"] for one in answers),
        "round_us": round_us,
    }


class Bench:
    """What stays the same over the scenarios: the options, the scratch folder, and how long builds took so far."""

    def __init__(self, options: argparse.Namespace, methods: Sequence[str], scratch: Path) -> None:
        self._options = options
        self._methods = methods
        self._scratch = scratch
        self._built: dict[tuple[str, str], float] = {}

    def run(self, scenario: str, rows: int, real: Real | None) -> Run:
        """One scenario at one size."""
        planned = plan(rows, self._options)
        print(f"{scenario}, {rows:,} rows", flush=True)
        data = make(scenario, rows, planned.rounds * planned.calls, real, self._scratch)
        dimension = data.queries.shape[1]
        run: Run = {
            "scenario": scenario,
            "rows": rows,
            "dimension": dimension,
            "queries": len(data.queries),
            "machine": machine(),
            "entries": [],
            "left_out": {},
        }
        quick_to_build = [name for name in self._methods if not self._takes_too_long(run, name)]
        for turn, group in enumerate(groups(quick_to_build, 4.0 * rows * dimension, self._options.memory * 1e9)):
            self._group(run, data, planned, group, turn)
        data.path.unlink()
        return run

    def _group(self, run: Run, data: Data, planned: Plan, group: Sequence[str], turn: int) -> None:
        queries = self._scratch / "queries.npy"
        np.save(queries, data.queries)
        with ExitStack() as stack:
            workers = []
            for method in group:
                try:
                    workers.append(stack.enter_context(self._open(run, data, queries, method)))
                except LeftOutError as reason:
                    self._leave_out(run, method, str(reason))
            modes = MODES[:1] if self._options.quick else MODES
            timings = [measure(workers, data, planned, mode) for mode in modes if workers]
            for worker in workers:
                found = [timing[worker.method] for timing in timings if worker.method in timing]
                if found:
                    run["entries"].append(entry(worker, found, turn))
                else:
                    self._leave_out(run, worker.method, "failed while it was timed")

    def _takes_too_long(self, run: Run, method: str) -> bool:
        """Whether a graph's or tree's build at a smaller size, longer in proportion, says so."""
        limit_s: float = self._options.build_limit
        known_s = self._built.get((run["scenario"], method), 0.0) * run["rows"]
        if METHODS[method].kind != "approximate" or known_s <= limit_s:
            return False
        self._leave_out(run, method, f"not built: over the time limit of {limit_s:.0f} s (about {known_s:.0f} s)")
        return True

    def _leave_out(self, run: Run, method: str, reason: str) -> None:
        print(f"  {method}: {reason}", flush=True)
        run["left_out"][method] = reason

    def _open(self, run: Run, data: Data, queries: Path, method: str) -> Worker:
        log = self._scratch / f"{method}.log"
        worker = Worker(method, data, queries, limit_s=self._options.build_limit, log=log)
        self._built[run["scenario"], method] = worker.ready["build_s"] / run["rows"]
        print(f"  {method}: built in {worker.ready['build_s']:.1f} s", flush=True)
        return worker


def entry(worker: Worker, timings: list[Timing], group: int) -> Entry:
    first = timings[0]
    print(
        f"  {worker.method}: {first['us']:.0f} us, recall@5 {first['recall_at_5']:.3f}, {first['cpus']:.2f} cores",
        flush=True,
    )
    return {
        "method": worker.method,
        "kind": METHODS[worker.method].kind,
        "group": group,
        "build_s": worker.ready["build_s"],
        "bytes": worker.ready["bytes"],
        "detail": worker.ready["detail"],
        "timings": timings,
    }


def available(wanted: Sequence[str]) -> list[str]:
    """The methods whose libraries are installed; says which are not."""
    for method in wanted:
        if not installed(method):
            print(f"skipped: {method}: {METHODS[method].module} is not installed (pip install 'cardrec[bench]')")
    return [method for method in wanted if installed(method)]


def free_gb() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--embeddings", type=Path, help="what `python -m benchmarks.embeddings` made, for `real`")
    parser.add_argument("--rows", type=int, nargs="+", default=[17_592, 110_000, 1_000_000])
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=SCENARIOS, help="scenarios")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--build-limit", type=float, default=300, help="seconds that an index may take")
    parser.add_argument(
        "--memory", type=float, default=0.9 * free_gb(), help="GB for a group (default: 0.9 of what is free)"
    )
    parser.add_argument("--scratch", type=Path, help="folder for the rows, 3 GB for a million (default: the system's)")
    parser.add_argument("--warm-up-ms", type=float, default=20, help="of other queries before each block")
    parser.add_argument("--quick", action="store_true", help="few rounds, one thread, one query at a time")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    real = read_real(options.embeddings) if options.embeddings else None
    scenarios = [name for name in options.only if name != "real" or real is not None]
    if len(scenarios) < len(options.only):
        print("skipped: real: it takes --embeddings, which `python -m benchmarks.embeddings` makes")
    methods = available(options.methods)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        bench = Bench(options, methods, Path(scratch))
        for rows in sorted(options.rows):
            for scenario in scenarios:
                run = bench.run(scenario, rows, real)
                before = peers_report.read(options.out / "peers.json")
                others = [one for one in before if (one["scenario"], one["rows"]) != (scenario, rows)]
                order = [*others, run]
                order.sort(key=lambda one: (one["rows"], SCENARIOS.index(one["scenario"])))
                peers_report.write(order, options.out)


if __name__ == "__main__":
    main()
