"""What opening costs: importing the package, opening a catalog of 17,592 cards in a fresh process, and keeping it.

make bench
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from benchmarks.measure import alternate_ms, python_prints

IMPORT_LIMIT_MS = 100
OPEN_LIMIT_MS = 20
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


def test_import_beyond_numpy(capsys: pytest.CaptureFixture[str]) -> None:
    with_us, without_ms = alternate_ms(
        lambda: python_prints("import numpy, cardrec"), lambda: python_prints("import numpy"), rounds=15, warm_up=2
    )
    with capsys.disabled():
        print(f"\nimport cardrec: {with_us - without_ms:.0f} ms beyond numpy ({without_ms:.0f} ms)")
    assert with_us - without_ms < IMPORT_LIMIT_MS


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_open_17592(large_catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [json.loads(python_prints(OPEN, str(large_catalog), str(QUERIES))) for _ in range(7)]
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    with capsys.disabled():
        print(
            f"\nopen 17,592 cards: {middle['ms']:.1f} ms, {middle['opened_mb']:.1f} MB resident; "
            f"{middle['searched_mb']:.1f} MB after {QUERIES:,} searches"
        )
    assert middle["ms"] < OPEN_LIMIT_MS and middle["opened_mb"] < OPEN_LIMIT_MB
    assert middle["searched_mb"] < SEARCHED_LIMIT_MB
