"""What opening costs: importing the package, a catalog of 17,592 cards, a first answer; and the memory of it.

make bench
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from benchmarks.measure import python_prints
from benchmarks.stage import Stage
from cardrec import Catalog
from cardrec.samples import read_samples

IMPORT_LIMIT = 1.3
"""Times NumPy's own import, both with Python's start: 1.00 and, beside other work, 0.99 were measured."""
OPEN_LIMIT = 1.0
"""Times reading the catalog's files once, from memory: opening must not read them."""
OPEN_LIMIT_MB = 40
QUERIES = 1000
SEARCHED_LIMIT_MB = 20
"""Resident for the catalog after `QUERIES` searches: its codes are 13.5 MB, its vectors 54 MB more."""

OPEN = """
import json, resource, sys, time
import numpy, sqlite3
from cardrec.catalog import Catalog
from cardrec import search

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6

queries = numpy.random.default_rng(0).standard_normal((int(sys.argv[2]), 768), numpy.float32)
before, begun = resident_mb(), time.perf_counter()
catalog = Catalog.open(sys.argv[1])
spent_ms = (time.perf_counter() - begun) * 1e3
opened = resident_mb() - before
for query in queries:
    catalog.search(query, 5)
print(json.dumps({"ms": spent_ms, "opened_mb": opened, "searched_mb": resident_mb() - before}))
"""

IDENTIFY = """
import sys
import cardrec
with cardrec.Recognizer(threads=1) as recognizer:
    print(recognizer.identify(sys.argv[1]).best.card_id)
"""


def test_import_beyond_numpy(stage: Stage) -> None:
    """In a fresh process, with NumPy, beside one that imports NumPy alone."""
    stage("import cardrec, a process", lambda: python_prints("import numpy, cardrec"), rounds=15, warm_up=2)
    ratio = stage.beside({"import numpy": lambda: python_prints("import numpy")}, rounds=15, warm_up=2)
    assert ratio["import numpy"] < IMPORT_LIMIT


def test_open_17592(stage: Stage, large_catalog: Path) -> None:
    files = [path for path in large_catalog.rglob("*") if path.is_file()]
    stage("open 17,592 cards", lambda: Catalog.open(large_catalog).close(), rounds=100)
    ratio = stage.beside({"reading its files": lambda: [path.read_bytes() for path in files]}, rounds=20, warm_up=2)
    assert ratio["reading its files"] < OPEN_LIMIT


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_of_17592(stage: Stage, large_catalog: Path) -> None:
    """Each round is a process of its own."""
    runs: list[dict[str, float]] = []

    def search() -> None:
        runs.append(json.loads(python_prints(OPEN, str(large_catalog), str(QUERIES))))

    stage(f"open 17,592 cards, search {QUERIES:,} times, a process", search, rounds=5, warm_up=0)
    stage.also("    of it: open, for the first time", [run["ms"] for run in runs])
    opened_mb, searched_mb = (statistics.median(run[name] for run in runs) for name in ("opened_mb", "searched_mb"))
    stage.note("MB when open", opened_mb)
    stage.note("MB after the searches", searched_mb)
    assert opened_mb < OPEN_LIMIT_MB
    assert searched_mb < SEARCHED_LIMIT_MB


def test_first_identify(stage: Stage) -> None:
    """From nothing to the first answer, as `cardrec identify` does it."""
    sample = next(each for each in read_samples() if each.path.stem == "desk")
    answers: list[str] = []

    def run() -> None:
        answers.append(python_prints(IDENTIFY, str(sample.path)).strip())

    stage("import, open, first identify, a process", run, rounds=7, warm_up=1)
    stage.right("right", float(set(answers) == set(sample.card_ids)))
