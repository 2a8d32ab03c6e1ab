"""How the time of `identify` grows: with the catalog, the cards in the frame, threads, and what is done at once.

    python -m benchmarks.scaling OUT [--quick] [--prepare] [--only PART ...] [--sizes N ...]

Everything is made from what comes with the library: frames show cards of the demo deck, and the larger catalogs have
the demo's 1,000 cards and rows of chance beside them, either like embeddings (`benchmarks/peers_data.py`: the spectrum
and the neighbourhoods of the demo's own vectors) or isotropic, where the search can prune nothing. Settings take turns,
so that a slow second of the machine hits all. Writes OUT/scaling.json, scaling.md and, with matplotlib, pictures; a
later run with --only replaces what it measures. Catalogs are kept in OUT/catalogs, of a million rows 4 GB each;
--prepare writes them and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import cv2

from benchmarks import scaling_report
from benchmarks.peers import machine
from benchmarks.scaling_parts import FULL, KINDS, PARTS, QUICK, Plan, catalog_of
from cardrec.model import Model
from training.failure import one_line


def measure(plan: Plan, only: Sequence[str], out: Path) -> dict[str, Any]:
    """Runs the parts, writing what there is after each; earlier ones of ``out`` stay if they are of the same model."""
    model = Model.load()
    path = out / "scaling.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    found: dict[str, Any] = before if before.get("model") == model.name else {"model": model.name}
    found["machine"] = machine()
    for name in only:
        begun = time.perf_counter()
        rows = PARTS[name](plan, model, out / "catalogs")
        found[name] = {"date": date.today().isoformat(), "seconds": round(time.perf_counter() - begun), "rows": rows}
        print(f"{name}: {found[name]['seconds']} s", flush=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        scaling_report.write(found, out)
    return found


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="what to measure")
    parser.add_argument("--sizes", type=int, nargs="+", help="cards of the catalogs; a thousand is the least")
    parser.add_argument("--prepare", action="store_true", help="only write the catalogs")
    parser.add_argument("--quick", action="store_true", help="few turns and small catalogs, to see whether it runs")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    cv2.setNumThreads(1)
    with one_line("python -m benchmarks.scaling"):
        plan = QUICK if options.quick else FULL
        if options.sizes:
            if min(options.sizes) < min(FULL.sizes):
                raise ValueError(
                    f"--sizes {min(options.sizes)}: the demo catalog has {min(FULL.sizes):,}; ask for more"
                )
            plan = plan._replace(sizes=sorted(set(options.sizes)))
        options.out.mkdir(parents=True, exist_ok=True)
        if options.prepare:
            for kind, size in product(KINDS, {*plan.sizes, plan.searched}):
                print(catalog_of(kind, size, Model.load(), options.out / "catalogs"), flush=True)
            return
        measure(plan, options.only, options.out)
        print((options.out / "scaling.md").read_text())


if __name__ == "__main__":
    main()
