"""Measures the whole way on simulated photos: outline, orientation, encoding, search and decision, every miss counted.

    python -m training.evaluate_frames CARD_FOLDER [--count 200] [--model cardrec/data/model]

Builds a catalog of the folder's pictures, leaves every tenth card out of it as a stranger, photographs cards one at a
time, and counts what became of it; of strangers, how many were taken for a card of the catalog.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cardrec import Catalog, Embedder, Recognizer, Result
from cardrec.embed import open_encoder
from training.data import CardImage, load_folder
from training.evaluate import twins, wilson
from training.phash import phash
from training.simulate import Level, simulate_frame

STRANGERS = 10
"""Every so manieth card is left out of the catalog."""

OUTCOMES = ("right", "wrong", "ambiguous, right first", "ambiguous, wrong first", "unknown", "no outline")


def without_twins(strangers: list[CardImage], known: list[CardImage]) -> tuple[list[CardImage], list[CardImage]]:
    """The two lists, without the strangers that look nearly the same as a known card: reprints are no strangers."""
    hashes = phash([card.pixels for card in strangers + known])
    faces = np.arange(len(hashes))
    faces[: len(strangers)] = -1
    twin = twins(hashes, faces, np.arange(len(strangers)))
    return [card for card, same in zip(strangers, twin, strict=True) if not same], known


def outcome(result: Result, card_id: str) -> str:
    """What became of a photo of this card."""
    if not result.cards:
        return "no outline"
    card = result.cards[0]
    if card.status == "unknown":
        return "unknown"
    right = card.matches[0].card_id == card_id
    if card.status == "ambiguous":
        return "ambiguous, right first" if right else "ambiguous, wrong first"
    return "right" if right else "wrong"


def count_outcomes(recognizer: Recognizer, cards: list[CardImage], level: Level, seed: int) -> Counter[str]:
    """The outcomes of one photo of each card, in a 1280x720 frame."""
    counted: Counter[str] = Counter()
    for number, card in enumerate(cards):
        rng = np.random.default_rng([seed, number])
        shot = simulate_frame([card.pixels], rng=rng, level=level)
        counted[outcome(recognizer.identify(shot.pixels), card.card_id)] += 1
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures of whole cards")
    parser.add_argument("--count", type=int, default=200, help="photos of cards in the catalog, for each level")
    parser.add_argument("--model", type=Path, help="folder of the bundle; without it the bundled one")
    options = parser.parse_args()

    cv2.setNumThreads(1)
    cards = load_folder(options.folder)
    strangers, known = without_twins(cards[::STRANGERS], [card for n, card in enumerate(cards) if n % STRANGERS])
    chosen = known[:: max(1, len(known) // options.count)][: options.count]
    levels: list[Level] = ["easy", "hard"]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "cards.cardrec"
        with Embedder(open_encoder(options.model)) as embedder:
            no_meta: dict[str, object] = {}
            items = ((card.card_id, Image.fromarray(card.pixels), no_meta) for card in known)
            Catalog.build(path, items, encoder=embedder, near=None)
        with Recognizer(path, model=options.model) as recognizer:
            for level in levels:
                found = count_outcomes(recognizer, chosen, level, 40)
                low, high = wilson(found["right"], len(chosen))
                counts = ", ".join(f"{name} {found[name]}" for name in OUTCOMES)
                share = f"{found['right'] / len(chosen):.1%} ({low:.1%}-{high:.1%})"
                print(f"{level}: right {share} of {len(chosen)}: {counts}")
                taken = count_outcomes(recognizer, strangers, level, 41)["wrong"]
                print(f"{level}: {taken} of {len(strangers)} strangers taken for a card of the catalog", flush=True)


if __name__ == "__main__":
    main()
