"""The sequence of pictures that a training sees: endless, seeded, the same from any point on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from training.augment import clean, original, photo
from training.data import CardImage
from training.phash import phash
from training.settings import Phase, between

BLOCK = 1024
"""Rows compared at a time."""


class Samples(Dataset[tuple[NDArray[np.uint8], int, int]]):
    """Augmented cards (pixels, class, image) by their number in the sequence.

    Each pass over the cards has an order of its own. With `look_alikes` every second sample may instead show the card
    that looks most like the one before it, so that batches hold what is hard to tell apart.

    Args:
        cards: that are shown.
        labels: their classes.
        phase: decides size and augmentation.
        count: samples of the whole phase, along which the strength changes.
        seed: of order and augmentation.
        side: where cards are only scaled to squares of this side, to be augmented elsewhere; 0: they are augmented.
    """

    def __init__(
        self, cards: list[CardImage], labels: list[int], phase: Phase, *, count: int, seed: int, side: int = 0
    ) -> None:
        self.cards, self.labels, self.phase = cards, labels, phase
        self.count, self.seed, self.side = count, seed, side
        self.alike = look_alikes(cards, labels) if phase.look_alikes else None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], int, int]:
        rng = np.random.default_rng([self.seed, number])
        image = self._place(number)
        if self.alike is not None and number % 2 and rng.random() < 2 * self.phase.look_alikes:
            image = int(self.alike[self._place(number - 1)])
        return self._picture(self.cards[image].pixels, number, rng), self.labels[image], image

    def _place(self, number: int) -> int:
        epoch, place = divmod(number, len(self.cards))
        return int(_order(self.seed, epoch, len(self.cards))[place])

    def _picture(self, card: NDArray[np.uint8], number: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        phase = self.phase
        if self.side:
            return np.asarray(cv2.resize(card, (self.side, self.side), interpolation=cv2.INTER_AREA), np.uint8)
        if phase.augmentation == "original":
            return original(card, phase.size, rng)
        if rng.random() < phase.clean_share:
            return clean(card, phase.size, rng)
        return photo(card, phase.size, rng, between(phase.strength, number / self.count))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)


def look_alikes(cards: Sequence[CardImage], labels: Sequence[int]) -> NDArray[np.int64]:
    """For each card the one of another class whose perceptual hash is nearest: a reprint, a translation, a style."""
    hashes, classes = phash([card.pixels for card in cards]), np.asarray(labels)
    nearest = np.empty(len(cards), np.int64)
    for start in range(0, len(cards), BLOCK):
        agreement = hashes[start : start + BLOCK] @ hashes.T
        agreement[classes[start : start + BLOCK, None] == classes[None, :]] = -np.inf
        nearest[start : start + BLOCK] = agreement.argmax(axis=1)
    return nearest


def numbers(steps: range, batch: int, rank: int = 0, world: int = 1) -> list[int]:
    """What one of several processes takes of the sequence: its part of every batch.

    Raises:
        ValueError: the batch can't be shared evenly.
    """
    if batch % world:
        raise ValueError(f"batches of {batch} can't be shared by {world} processes; expected a multiple of {world}")
    share = batch // world
    return [step * batch + rank * share + place for step in steps for place in range(share)]
