"""Measures the whole way on simulated photos: outline, orientation, encoding, search and decision, every miss counted.

    python -m training.evaluate_frames CARD_FOLDER [--count 200] [--model cardrec/data/model]

Builds a catalog of the folder's pictures, leaves every tenth card out of it as a stranger, photographs cards one at a
time, and counts what became of it; of strangers, how many were taken for a card of the catalog.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cardrec import Catalog, Embedder, Recognizer, Result
from cardrec.embed import open_encoder
from training.data import CardImage, load_folder
from training.methods import hash_vectors
from training.queries import generator, thinned
from training.retrieval import twins, wilson
from training.simulate import Level, simulate_frame

__all__ = ["OUTCOMES", "named_first", "outcome", "take_frame", "without_twins"]

FRAME_SEED = 40
STRANGERS = 10
"""Every so manieth card is left out of the catalog."""

OUTCOMES = ("right", "wrong", "ambiguous, right first", "ambiguous, wrong first", "unknown", "no outline")


def without_twins(strangers: list[CardImage], known: list[CardImage]) -> list[CardImage]:
    """The strangers that look like no known card: reprints are no strangers."""
    vectors = hash_vectors([card.pixels for card in strangers + known])
    faces = np.arange(len(vectors))
    faces[: len(strangers)] = -1
    twin = twins(vectors, faces, np.arange(len(strangers)))
    return [card for card, same in zip(strangers, twin, strict=True) if not same]


def take_frame(level: Level, card: CardImage) -> NDArray[np.uint8]:
    """(720, 1280, 3) uint8 BGR: a photo of one card. The same every time."""
    return simulate_frame([card.pixels], rng=generator(FRAME_SEED, card), level=level).pixels


def named_first(result: Result, right: Collection[str]) -> bool:
    """Whether one of these card_ids comes first, whatever the status."""
    return bool(result.cards) and result.cards[0].matches[0].card_id in right


def outcome(result: Result, right: Collection[str]) -> str:
    """What became of a photo of a card that has these card_ids."""
    if not result.cards:
        return "no outline"
    status, first = result.cards[0].status, named_first(result, right)
    if status == "unknown":
        return "unknown"
    if status == "ambiguous":
        return "ambiguous, right first" if first else "ambiguous, wrong first"
    return "right" if first else "wrong"


def count_outcomes(recognizer: Recognizer, cards: Sequence[CardImage], level: Level) -> Counter[str]:
    """The outcomes of one photo of each card."""
    frames = map(partial(take_frame, level), cards)
    results = map(recognizer.identify, frames)
    return Counter(outcome(result, {card.card_id}) for result, card in zip(results, cards, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures of whole cards")
    parser.add_argument("--count", type=int, default=200, help="photos of cards in the catalog, for each level")
    parser.add_argument("--model", type=Path, help="folder of the bundle; without it the bundled one")
    options = parser.parse_args()

    cv2.setNumThreads(1)
    cards = load_folder(options.folder)
    known = [card for n, card in enumerate(cards) if n % STRANGERS]
    strangers = without_twins(cards[::STRANGERS], known)
    chosen = thinned(known, options.count)
    levels: list[Level] = ["easy", "hard"]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "cards.cardrec"
        with Embedder(open_encoder(options.model)) as embedder:
            no_meta: dict[str, object] = {}
            items = ((card.card_id, Image.fromarray(card.pixels), no_meta) for card in known)
            Catalog.build(path, items, encoder=embedder, near=None)
        with Recognizer(path, model=options.model) as recognizer:
            for level in levels:
                found = count_outcomes(recognizer, chosen, level)
                low, high = wilson(found["right"], len(chosen))
                counts = ", ".join(f"{name} {found[name]}" for name in OUTCOMES)
                share = f"{found['right'] / len(chosen):.1%} ({low:.1%}-{high:.1%})"
                print(f"{level}: right {share} of {len(chosen)}: {counts}")
                taken = count_outcomes(recognizer, strangers, level)["wrong"]
                print(f"{level}: {taken} of {len(strangers)} strangers taken for a card of the catalog", flush=True)


if __name__ == "__main__":
    main()
