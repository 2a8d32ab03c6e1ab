"""How fast a catalog is built, against what its encoder does alone: pictures that lie ready, batch after batch.

    python -m benchmarks.bulk card-images/ [--rounds 5] [--limit 200]

Both take turns, so that a machine that is busy with other things is so for both. The processor's time for a picture
hardly depends on that: where the encoder itself fills all cores, its share of it is what the rate comes to.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cardrec import Catalog
from cardrec.embed import Embedder, Prepared
from cardrec.importer import Item, open_items
from cardrec.ingest import BATCH


def alone(embedder: Embedder, count: int) -> None:
    """Encodes so many pictures that need no decoding and no scaling."""
    noise = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3), np.uint8)
    ready = [Prepared(pixels) for pixels in noise]
    for start in range(0, count, BATCH):
        embedder.encode(ready[: min(BATCH, count - start)])


def built(embedder: Embedder, items: list[Item]) -> None:
    """Writes a catalog of them, without calibration and duplicates, which encode nothing of the catalog."""
    with tempfile.TemporaryDirectory() as folder:
        Catalog.build(
            Path(folder) / "catalog",
            items,
            encoder=embedder,
            on_duplicate="keep-all",
            calibration=None,
            near=None,
        )


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """By the clock, and of the processor."""
    began = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="as for `cardrec index build`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=200, help="pictures; 0: all")
    options = parser.parse_args()
    items = list(open_items(options.source))[: options.limit or None]
    count = len(items)
    with Embedder() as embedder:
        alone(embedder, count)
        built(embedder, items)
        rounds = [
            (*seconds(lambda: alone(embedder, count)), *seconds(lambda: built(embedder, items)))
            for _ in range(options.rounds)
        ]
    encoding, of_encoding, building, of_building = np.array(rounds).T
    print(f"{count} pictures, {options.rounds} rounds")
    print(
        f"encoder alone: {count / encoding.min():.0f} pictures/s, {1e3 * of_encoding.min() / count:.2f} ms of CPU each"
    )
    print(f"building: {count / building.min():.0f} pictures/s, {1e3 * of_building.min() / count:.2f} ms of CPU each")
    print(
        f"ratio: {encoding.min() / building.min():.3f} of the best rounds, {np.median(encoding / building):.3f} in the "
        f"median, {of_encoding.min() / of_building.min():.3f} by CPU time"
    )


if __name__ == "__main__":
    main()
