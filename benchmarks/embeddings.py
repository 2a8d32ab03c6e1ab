"""Embeddings to search in: of the bundled encoder, of cards in a folder and of as many rendered ones as it takes.

    python -m benchmarks.embeddings OUT.npz --data DATA [--rows 17592] [--queries 1000]

Writes `rows` (n, d) float32, the references as a catalog has them, `queries` (m, d) float32 from simulated photos of
some of them, and `truth` (m,) int64, the row that each photo shows. Every fourth query is of a card that is in no row
(`truth` is -1). DATA has the folders cards/redemption, cards/pocket-en, cards/pocket-de; without it all are rendered.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from cardrec.embed import Embedder
from cardrec.encode import chunks
from training.data import read_rgb
from training.references import DECK_SEED, HEIGHT_PX
from training.render import deck, render
from training.simulate import Level, simulate_crop

FOLDERS = ("redemption", "pocket-en", "pocket-de")
CORNER_ERROR = 0.015
"""Standard deviation of a corner, as a share of the card's width: about what the detector leaves."""

Picture = NDArray[np.uint8]


def pictures(data: Path | None, rows: int) -> Iterator[Picture]:
    """RGB pictures of different cards: published ones first, then rendered ones, `rows` and a third more in all."""
    paths = [path for name in FOLDERS for path in sorted((data / "cards" / name).glob("*.jpg"))] if data else []
    paths = paths[:rows]
    yield from map(read_rgb, paths)
    for spec in deck(rows + rows // 3 - len(paths), seed=DECK_SEED):
        yield render(spec, height_px=HEIGHT_PX)


def photographed(cards: list[Picture], seed: int) -> Iterator[Picture]:
    """A simulated photo of each card, alternately in easy and in hard light, straightened as the detector leaves it."""
    levels: tuple[Level, Level] = ("easy", "hard")
    for number, card in enumerate(cards):
        rng = np.random.default_rng([seed, number])
        yield simulate_crop(card, rng=rng, level=levels[number % 2], corner_error=CORNER_ERROR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, help="folder with cards/redemption and so on")
    parser.add_argument("--rows", type=int, default=17_592)
    parser.add_argument("--queries", type=int, default=1000)
    options = parser.parse_args()

    cv2.setNumThreads(1)
    strangers = options.queries // 4
    rng = np.random.default_rng(51)
    chosen = np.sort(rng.choice(options.rows, options.queries - strangers, replace=False))
    wanted = set(chosen.tolist()) | set(range(options.rows, options.rows + strangers))
    kept: list[Picture] = []
    vectors = []
    with Embedder(color="rgb") as embedder:
        last = options.rows + strangers
        numbered = zip(range(last), pictures(options.data, options.rows), strict=False)
        for chunk in chunks(track(numbered, "cards", total=last), 16):
            kept += [card for number, card in chunk if number in wanted]
            vectors.append(embedder.encode([card for _, card in chunk]))
        queries = np.concatenate([embedder.encode(chunk) for chunk in chunks(photographed(kept, 52), 16)])
    truth = np.concatenate([chosen, np.full(strangers, -1)])
    order = rng.permutation(options.queries)
    rows = np.concatenate(vectors)[: options.rows]
    np.savez(options.out, rows=rows, queries=queries[order], truth=truth[order])
    print(f"{rows.shape} rows and {queries.shape} queries in {options.out}")


if __name__ == "__main__":
    main()
