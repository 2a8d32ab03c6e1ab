"""Simulated photos of cards under stated conditions, and what each method answers to them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from training.data import CardImage
from training.methods import HASH, Method
from training.references import Mapper, References
from training.retrieval import Answers, answer, twins
from training.simulate import Level, Look, simulate_crop

__all__ = ["Asked", "Condition", "Examiner", "generator", "photograph", "thinned"]

Picture = NDArray[np.uint8]
PHOTO_SEED = 20


@dataclass(frozen=True, slots=True)
class Condition:
    """How a photo is taken and cut out.

    Attributes:
        level: how hard the photo is.
        corner_error: standard deviation of the outline's corners, as a share of the card's width; 0 is the true one.
        height_px: about the card's height in the frame, drawn from this range; None: the level's own.
    """

    level: Level | Look
    corner_error: float = 0.0
    height_px: tuple[float, float] | None = None


def generator(seed: int, card: CardImage) -> np.random.Generator:
    """Randomness that a card has to itself, so that one more card or table changes no other photo."""
    digest = hashlib.sha256(card.card_id.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def photograph(condition: Condition, card: CardImage) -> Picture:
    """(224, 224, 3) uint8 RGB: the card as it is cut out of its photo. The same every time."""
    return simulate_crop(
        card.pixels,
        rng=generator(PHOTO_SEED, card),
        level=condition.level,
        corner_error=condition.corner_error,
        height_px=condition.height_px,
    )


def thinned(cards: Sequence[CardImage], count: int) -> list[CardImage]:
    """At most ``count`` of the cards, evenly over their order."""
    return list(cards[:: max(1, len(cards) // count)][:count])


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Photos of some cards and, by the method's name, the answers."""

    cards: Sequence[CardImage]
    condition: Condition
    answers: dict[str, Answers]


class Examiner:
    """Asks every method the same.

    Args:
        methods: what encodes.
        references: what is searched.
        mapper: takes photos, in other processes if it likes.
    """

    def __init__(self, methods: Sequence[Method], references: References, mapper: Mapper = map) -> None:
        self.methods = methods
        self.references = references
        self.mapper = mapper

    def ask(self, cards: Sequence[CardImage], condition: Condition, *, printings: bool = False) -> Asked:
        """Photographs each card once and searches the photos.

        Args:
            cards: of the references.
            condition: of all photos.
            printings: search also in the printings of other languages.
        """
        photos: list[Picture] = list(self.mapper(partial(photograph, condition), cards))
        count = None if printings else self.references.catalog
        faces = self.references.faces[:count]
        rows = self.references.rows(cards)
        truth = self.references.faces[rows]
        twin = twins(self.references.vectors[HASH][:count], faces, rows)
        answers = {
            method.name: answer(method.encode(photos), truth, self.references.vectors[method.name][:count], faces, twin)
            for method in self.methods
        }
        return Asked(cards, condition, answers)
