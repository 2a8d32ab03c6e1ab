"""Pictures that stand for what an encoder will see: cards drawn evenly over sources and sets, in every light.

The ranges of a network in integers are those that such pictures cause. A fifth of them are cards as they stand in a
catalog, brought to size by the library's own preprocessing; the others are captures (`cardrec/captures.py`), from the
most careful to the worst. The evaluation's photos come from another model of a camera.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from cardrec.calibrate import PICTURE_HEIGHT, STRENGTHS
from cardrec.captures import capture, drawn_error
from cardrec.image import load
from cardrec.rectify import INPUT_SIZE, upright_copy, whole
from training.data import CardImage

__all__ = ["Drawn", "chosen_evenly", "draw", "sets_of"]

CLEAN_EVERY = 5
"""One in so many pictures is as in a catalog."""
STRONGEST = STRENGTHS[1]
"""Strength of the worst capture: as in a catalog's own calibration."""
LEAST_SET = 8
"""Cards of a set, on average; where what stands before the last hyphen gives fewer, it is no set's name."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One picture.

    Attributes:
        card_id: of which card.
        group: its source and set, as ``pocket-en/A1``.
        strength: of the capture; 0 is the card as in a catalog.
        pixels: (224, 224, 3) uint8 RGB.
    """

    card_id: str
    group: str
    strength: float
    pixels: NDArray[np.uint8]


def chosen_evenly(cards: Sequence[CardImage], count: int, rng: np.random.Generator) -> list[CardImage]:
    """``count`` cards: each source in turn, each of its sets in turn; all of a set before one of them comes again."""
    sets: dict[str, dict[str, list[CardImage]]] = {}
    for card, (source, name) in zip(cards, sets_of([card.card_id for card in cards]), strict=True):
        sets.setdefault(source, {}).setdefault(name, []).append(card)
    return list(
        islice(_in_turn([_in_turn([_endless(own, rng) for own in each.values()]) for each in sets.values()]), count)
    )


def _endless(cards: Sequence[CardImage], rng: np.random.Generator) -> Iterator[CardImage]:
    while True:
        for index in rng.permutation(len(cards)):
            yield cards[index]


def _in_turn(each: Sequence[Iterator[CardImage]]) -> Iterator[CardImage]:
    while True:
        for one in each:
            yield next(one)


def sets_of(card_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Source and set of each card: ``pocket-en``, ``A1`` of ``pocket-en/A1-12``; no set where names say none."""
    named = [(parts[0], parts[1].rpartition("-")[0]) for parts in (card_id.split("/") for card_id in card_ids)]
    cards = Counter(source for source, _ in named)
    sets = Counter(source for source, _ in set(named))
    return [(source, name if cards[source] >= LEAST_SET * sets[source] else "") for source, name in named]


def draw(cards: Sequence[CardImage], count: int, *, seed: int = 0) -> Iterator[Drawn]:
    """So many pictures; the same for the same seed and cards.

    Args:
        cards: at least one.
        count: of the pictures.
        seed: of everything random.
    """
    rng = np.random.default_rng(seed)
    card_ids = [card.card_id for card in cards]
    groups = {card_id: "/".join(filter(None, name)) for card_id, name in zip(card_ids, sets_of(card_ids), strict=True)}
    clean = -(-count // CLEAN_EVERY)
    strengths = rng.permutation([0.0] * clean + np.linspace(0, STRONGEST, count - clean + 1)[1:].tolist())
    for card, strength in zip(chosen_evenly(cards, count, rng), strengths.tolist(), strict=True):
        frame = load(card.pixels, color="rgb")
        if strength == 0:
            pixels = np.empty((INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
            whole(frame, pixels)
            yield Drawn(card.card_id, groups[card.card_id], 0.0, pixels)
        else:
            picture = upright_copy(frame, PICTURE_HEIGHT)
            pixels = capture(picture, INPUT_SIZE, rng, drawn_error(rng, strength), strength)
            yield Drawn(card.card_id, groups[card.card_id], strength, pixels)
