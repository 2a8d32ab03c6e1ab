"""The whole way among all references of an evaluation: the detector's outline, an unknown end up, and the decision.

Other methods are given the outlines that the detector found, both ways up, and keep the better reading.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cardrec import Catalog, Recognizer, Result
from cardrec.image import load
from cardrec.model import Model
from cardrec.rectify import INPUT_SIZE, rectify
from training.data import CardImage
from training.evaluate_frames import named_first, outcome, take_frame
from training.methods import HASH, MODEL, Method
from training.queries import thinned
from training.references import Mapper, References, Source
from training.retrieval import twins
from training.simulate import Level

__all__ = ["Plan", "Seen", "measure", "plan"]

LEVELS: tuple[Level, ...] = ("easy", "hard")
BATCH = 32
"""Frames in memory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Cards of one source: those in the catalog, and those that are left out of it."""

    source: str
    known: list[CardImage]
    strangers: list[CardImage]


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one photo of each card of a plan.

    Attributes:
        source, level: which cards, and how hard the photos were.
        references: rows of the catalog.
        photos: of cards in the catalog.
        outcomes: how many of them ended how, by the names of `OUTCOMES`.
        first: photos whose right card came first, whatever the status, by method.
        strangers, accepted: photos of cards outside the catalog, and those that were taken for a card of it.
    """

    source: str
    level: Level
    references: int
    photos: int
    outcomes: Mapping[str, int]
    first: Mapping[str, int]
    strangers: int
    accepted: int


def plan(sources: Sequence[Source], references: References, count: int) -> list[Plan]:
    """Of each source's queries one in three, up to half of ``count``, is a stranger; reprints are none."""
    vectors = references.vectors[HASH][: references.catalog]
    faces = references.faces[: references.catalog]
    plans = []
    for source in sources:
        if source.other_language:
            continue
        twin = twins(vectors, faces, references.rows(source.queries))
        single = [card for card, same in zip(source.queries, twin, strict=True) if not same]
        strangers = thinned(single[::3], count // 2)
        left_out = {card.face for card in strangers}
        known = [card for card in source.queries if card.face not in left_out]
        plans.append(Plan(source.name, thinned(known, count), strangers))
    return plans


def measure(
    model: Model,
    methods: Sequence[Method],
    references: References,
    plans: Sequence[Plan],
    calibration: Mapping[str, float],
    mapper: Mapper = map,
) -> list[Seen]:
    """Photographs every card once at each level and names it by `Recognizer` with this calibration."""
    number = dict(zip(references.card_ids, references.faces.tolist(), strict=True))
    gone = [number[card.card_id] for one in plans for card in one.strangers]
    kept = np.flatnonzero(~np.isin(references.faces[: references.catalog], gone))
    others = [method for method in methods if method.name != MODEL]
    with _recognizer(model, references, kept, calibration) as recognizer:
        session = _Session(recognizer, others, references, kept, mapper)
        return [session.see(one, level) for one in plans for level in LEVELS]


@contextmanager
def _recognizer(
    model: Model, references: References, kept: NDArray[np.int64], calibration: Mapping[str, float]
) -> Iterator[Recognizer]:
    """A recognizer over some of the references."""
    with tempfile.TemporaryDirectory() as temporary:
        catalog = Catalog.from_vectors(
            Path(temporary) / "references.cardrec",
            [references.card_ids[row] for row in kept],
            references.vectors[MODEL][kept],
            fingerprint=model.fingerprint,
            preprocessing_hash=model.preprocessing_hash,
            calibration=calibration,
        )
        with catalog, Recognizer(catalog, model=model) as recognizer:
            yield recognizer


@dataclass(frozen=True, slots=True)
class _Session:
    """A recognizer, the methods beside it, and the rows that all of them search."""

    recognizer: Recognizer
    others: Sequence[Method]
    references: References
    kept: NDArray[np.int64]
    mapper: Mapper

    def see(self, one: Plan, level: Level) -> Seen:
        outcomes: Counter[str] = Counter()
        first: Counter[str] = Counter({method.name: 0 for method in self.others})
        for face, frame, result in self._named(one.known, level):
            right = self._card_ids(face)
            outcomes[outcome(result, right)] += 1
            first[MODEL] += named_first(result, right)
            first.update(self._others_right(frame, result, face) if result.cards else [])
        accepted = sum(outcome(result, ()) == "wrong" for *_, result in self._named(one.strangers, level))
        rows = len(self.kept)
        return Seen(one.source, level, rows, len(one.known), outcomes, first, len(one.strangers), accepted)

    def _named(self, cards: Sequence[CardImage], level: Level) -> Iterator[tuple[int, NDArray[np.uint8], Result]]:
        """The number of each card's face, its photo, and the answer."""
        faces = self.references.faces[self.references.rows(cards)].tolist() if cards else []
        for start in range(0, len(cards), BATCH):
            batch = cards[start : start + BATCH]
            frames = self.mapper(partial(take_frame, level), batch)
            for face, frame in zip(faces[start : start + BATCH], frames, strict=True):
                yield face, frame, self.recognizer.identify(frame)

    def _card_ids(self, face: int) -> set[str]:
        return {self.references.card_ids[row] for row in np.flatnonzero(self.references.faces == face)}

    def _others_right(self, frame: NDArray[np.uint8], result: Result, face: int) -> list[str]:
        """The names of the other methods that find the face, given the outline."""
        corners = result.cards[0].corners_px
        crops = np.empty((2, INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
        rectify(load(frame), np.stack([corners, np.roll(corners, 2, axis=0)]), crops)
        found = []
        for method in self.others:
            similarity = method.encode(list(crops)) @ self.references.vectors[method.name][self.kept].T
            best = self.kept[np.unravel_index(similarity.argmax(), similarity.shape)[1]]
            if self.references.faces[best] == face:
                found.append(method.name)
        return found
