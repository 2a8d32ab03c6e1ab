"""Makes what the wheel carries for the demo: a catalog of 1,000 fictional cards and sample photos of some of them.

    python -m training.demo [--out cardrec/data]

The photos are simulated (`simulate.py`); some show cards that are in no catalog. `samples.json` holds what each one
shows. No card of the demo deck was trained on: the deck has a seed of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from cardrec.catalog import Catalog
from cardrec.embed import Embedder
from cardrec.store import LOCK
from training.render import CardSpec, deck, render
from training.simulate import Level, simulate_frame

CATALOG_SEED = 20
CATALOG_CARDS = 1000
STRANGER_SEED = 21
"""Seed of the deck whose cards are in no catalog."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One photo to make: places in the demo deck (negative: in the strangers' deck), how hard, and a seed."""

    name: str
    cards: tuple[int, ...]
    level: Level
    seed: int


SHOTS = (
    Shot("desk", (57,), "easy", 1),
    Shot("tilted", (321,), "easy", 2),
    Shot("dim", (507,), "hard", 39),
    Shot("glare", (337,), "hard", 12),
    Shot("reprint", (18,), "easy", 1),
    Shot("stranger", (-3,), "easy", 5),
    Shot("empty", (), "easy", 6),
    Shot("table", (45, 130, 288, 402, 666, 871, -4), "easy", 11),
)


def catalog_items(specs: list[CardSpec]) -> Iterator[tuple[str, Image.Image, dict[str, object]]]:
    """The deck as items for `Catalog.build`, rendered one at a time."""
    for spec in track(specs, "drawing the demo deck"):
        yield spec.card_id, Image.fromarray(render(spec)), dict(spec.meta())


def take(shot: Shot, ours: list[CardSpec], strangers: list[CardSpec]) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The photo, and what it shows."""
    specs = [ours[place] if place >= 0 else strangers[-place] for place in shot.cards]
    frame = simulate_frame(
        [render(spec) for spec in specs], rng=np.random.default_rng([30, shot.seed]), level=shot.level
    )
    cards = [
        {
            "card_id": specs[index].card_id if shot.cards[index] >= 0 else None,
            "name": specs[index].name,
            "corners_px": np.round(quad, 2).tolist(),
        }
        for index, quad in zip(frame.indices.tolist(), frame.quads_px, strict=True)
    ]
    return frame.pixels, {"file": f"{shot.name}.jpg", "cards": cards}


def write_photos(folder: Path, ours: list[CardSpec]) -> None:
    """The photos of `SHOTS` and `samples.json`."""
    strangers = deck(max(-place for shot in SHOTS for place in shot.cards) + 1, seed=STRANGER_SEED)
    folder.mkdir(parents=True, exist_ok=True)
    truth = []
    for shot in SHOTS:
        pixels, shown = take(shot, ours, strangers)
        cv2.imwrite(str(folder / shown["file"]), pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
        truth.append(shown)
    (folder / "samples.json").write_text(json.dumps(truth, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("cardrec/data"))
    parser.add_argument("--photos-only", action="store_true", help="leave the catalog as it is")
    options = parser.parse_args()

    cv2.setNumThreads(1)
    ours = deck(CATALOG_CARDS, seed=CATALOG_SEED)
    write_photos(options.out / "samples", ours)
    print(f"{len(SHOTS)} photos in {options.out / 'samples'}")
    if options.photos_only:
        return
    path = options.out / "demo.cardrec"
    with Embedder() as embedder:
        report = Catalog.build(path, catalog_items(ours), encoder=embedder, overwrite=True, dtype="float16")
    (path / LOCK).unlink(missing_ok=True)  # nobody writes to the bundled catalog
    print(f"{report.added} cards in {path}, {len(report.duplicates)} pairs that look alike")


if __name__ == "__main__":
    main()
