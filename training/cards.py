"""The cards of a training: real ones to train on and held out, and fictional ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.data import CardImage, split_sources
from training.render import deck, render
from training.settings import Phase, Settings

__all__ = ["Cards", "load_cards"]


@dataclass(frozen=True, slots=True)
class Cards:
    """What is trained on: real cards first, then rendered ones; and the real ones held out.

    Attributes:
        shown: pictures to train on.
        real: how many of them are real.
        labels: class of each.
        unseen: held out.
    """

    shown: list[CardImage]
    real: int
    labels: list[int]
    unseen: list[CardImage]

    @property
    def classes(self) -> int:
        """How many faces are trained on."""
        return max(self.labels) + 1

    def of(self, phase: Phase) -> list[CardImage]:
        """The pictures that a phase shows."""
        return self.shown if phase.rendered else self.shown[: self.real]

    def digest(self) -> str:
        """Of what is trained on, so that a checkpoint of other cards is noticed."""
        names = "\n".join(f"{card.card_id}\t{card.face}" for card in self.shown)
        return hashlib.sha256(names.encode()).hexdigest()


def load_cards(settings: Settings, data: Path) -> Cards:
    """Loads the sources, splits them by face, and renders the fictional cards."""
    train, unseen = split_sources(settings.source, data, settings.held_out)
    rendered = list(draw(**settings.rendered)) if settings.rendered else []
    shown = train + rendered
    number = {face: n for n, face in enumerate(sorted({card.face for card in shown}))}
    return Cards(shown, len(train), [number[card.face] for card in shown], unseen)


def draw(count: int, seed: int, height: int) -> Iterator[CardImage]:
    """The first cards of a fictional deck."""
    specs = deck(count, seed=seed)
    with ProcessPoolExecutor() as pool:
        pictures = pool.map(partial(render, height_px=height), specs, chunksize=32)
        for spec, pixels in zip(specs, pictures, strict=True):
            yield CardImage(f"rendered/{spec.card_id}", f"rendered/{spec.card_id}", pixels)
