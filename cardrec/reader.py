"""From outlines to cards: rectify, encode, search, decide, perhaps look again; and which way up a card lies."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardrec.answer import Answer, by_scores, distinct, first_apart, told_apart, with_twins
from cardrec.catalog import Catalog
from cardrec.decide import Calibration
from cardrec.detect import Detection
from cardrec.encode import Embeddings, Encoder, encode_in_order, unit
from cardrec.errors import InputError
from cardrec.image import Frame
from cardrec.quads import side_lengths
from cardrec.rectify import rectify
from cardrec.second_look import CANDIDATES, SecondLook
from cardrec.snapshot import Snapshot
from cardrec.types import Card, Match, Timings

__all__ = ["Clock", "Reader", "Request", "Sighting", "given_sightings"]

SURE = 0.98
"""Confidence of a match from which no second look is taken, and the card is not read the other way up as well, which
doubles the encoder's work."""


@dataclass(slots=True)
class Clock:
    """Milliseconds by stage of one frame or batch; of stages within stages, each has what is its own."""

    started: float = field(default_factory=time.perf_counter)
    spent_ms: dict[str, float] = field(default_factory=dict)
    _within_ms: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts what a ``with`` block takes for a stage."""
        around_ms, self._within_ms = self._within_ms, 0.0
        begun = time.perf_counter()
        try:
            yield
        finally:
            elapsed_ms = (time.perf_counter() - begun) * 1e3
            self.spent_ms[name] = self.spent_ms.get(name, 0.0) + elapsed_ms - self._within_ms
            self._within_ms = around_ms + elapsed_ms

    def timings(self, frames: int) -> Timings:
        """The mean of each stage over the frames that were processed together."""
        total_ms = (time.perf_counter() - self.started) * 1e3
        detect, rectify_, encode, search = (
            self.spent_ms.get(name, 0.0) / frames for name in ("detect", "rectify", "encode", "search")
        )
        return Timings(detect, rectify_, encode, search, total_ms / frames)


@dataclass(frozen=True, slots=True)
class Request:
    """What one call asks for."""

    top_k: int
    max_cards: int
    where: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """An outline in one of the frames, and the corner that is read as the card's top left."""

    frame: Frame
    index: int
    outline: Detection
    given: bool
    start: int = 0

    @property
    def corners_px(self) -> NDArray[np.float32]:
        """(4, 2) corners as they are read."""
        corners = self.outline.corners_px
        return np.roll(corners, -self.start, axis=0) if self.start else corners

    def other_ways(self) -> list[Sighting]:
        """How else the outline may have to be read.

        A detector can't be sure which end is up; a caller's corners are the card's own, but a card in landscape is
        turned in the catalog (`cardrec.rectify.whole`), and seen aslant a card may look as if it were one.
        """
        if not self.given:
            return [replace(self, start=2)]
        top, right, bottom, left = side_lengths(self.outline.corners_px[None])[0]
        return [replace(self, start=3)] if top + bottom > left + right else []

    def seen(self) -> NDArray[np.float32]:
        """(4, 2) corners to report: a caller's stay as they are."""
        return self.outline.corners_px if self.given else self.corners_px


def given_sightings(frame: Frame, quads: ArrayLike) -> list[Sighting]:
    """A caller's outlines of one frame, (n, 4, 2).

    Raises:
        InputError: they are no numbers of that shape.
    """
    try:
        corners = np.asarray(quads, np.float32)
    except (TypeError, ValueError):
        raise InputError(f"quads is {type(quads).__name__}; expected numbers of shape (n, 4, 2)") from None
    if corners.ndim != 3 or corners.shape[1:] != (4, 2):
        raise InputError(f"quads has shape {corners.shape}; expected (n, 4, 2)")
    return [Sighting(frame, 0, Detection(quad, 1.0), given=True) for quad in corners]


@dataclass(frozen=True, slots=True)
class Reader:
    """Names outlines. Thread-safe, as its parts are."""

    encoder: Encoder
    catalog: Catalog
    calibration: Calibration
    second_look: SecondLook | None = None

    def read(self, sightings: list[Sighting], request: Request, clock: Clock) -> list[tuple[int, Card]]:
        """Names each outline, in order, with the index of its frame.

        What is not surely recognised as it stands is read in its other ways as well, together; the reading that
        resembles a catalog card most is kept; where a second look was taken, the one that it is surer of.
        """
        readings = self._read_as_they_are(sightings, request, clock)
        doubtful = [n for n, reading in enumerate(readings) if not reading.is_sure]
        ways = [(n, way) for n in doubtful for way in sightings[n].other_ways()]
        read = self._read_as_they_are([way for _, way in ways], request, clock)
        for (n, _), reading in zip(ways, read, strict=True):
            if reading.worth > readings[n].worth:
                readings[n] = reading
        return [(sighting.index, reading.card) for sighting, reading in zip(sightings, readings, strict=True)]

    def _read_as_they_are(self, sightings: list[Sighting], request: Request, clock: Clock) -> list[_Reading]:
        readings: list[_Reading] = []

        def write(pixels: NDArray[np.uint8], group: list[Sighting]) -> None:
            with clock.stage("rectify"):
                for place, sighting in enumerate(group):
                    rectify(sighting.frame, sighting.corners_px[None], pixels[place : place + 1])

        def take(group: list[Sighting], vectors: Embeddings) -> None:
            with clock.stage("search"):
                state = self.catalog.snapshot()  # rows keep their cards while another thread compacts
                found = self._matches(state, vectors, request)
                seen = zip(group, found, unit(vectors), strict=True)
                readings.extend(self._reading(state, *each, request) for each in seen)

        with clock.stage("encode"):
            encode_in_order(self.encoder, sightings, write, take)
        return readings

    def _matches(self, state: Snapshot, vectors: Embeddings, request: Request) -> list[tuple[Match, ...]]:
        """For each vector the best cards, one match per card_id, at least two where the catalog has them.

        Several views of one card take several rows, and so do twins, which count as one: more rows are asked for until
        the cards suffice.
        """
        wanted = max(request.top_k, CANDIDATES if self._looks(state) else 2)
        rows_asked = wanted
        while True:
            rows, scores = state.search(vectors, rows_asked, where=request.where)
            found = [distinct(state, *ranked, request.where) for ranked in zip(rows, scores, strict=True)]
            if rows.shape[1] < rows_asked or all(len(told_apart(matches)) >= wanted for matches in found):
                return [first_apart(matches, wanted) for matches in found]
            rows_asked *= 4

    def _reading(
        self,
        state: Snapshot,
        sighting: Sighting,
        matches: tuple[Match, ...],
        embedding: NDArray[np.float32],
        request: Request,
    ) -> _Reading:
        doubt = sighting.outline.doubt
        answer = by_scores(matches, self.calibration, doubt)
        looks = self._looks(state)
        if self.second_look is not None and looks and not (answer.status == "match" and answer.chance >= SURE):
            answer = self.second_look.decide(state, sighting.frame, sighting.corners_px, matches) or answer
        matches, status = answer.matches, answer.status
        group = matches[: int(status == "match")]
        if status == "ambiguous":
            rivals = self.calibration.rivals([match.score for match in matches], doubt)
            group = with_twins(state, matches, rivals, embedding, request.where)
        shown, outline = matches[: request.top_k], sighting.outline.score
        card = Card(sighting.seen(), outline, shown, status, answer.confidence, group, embedding)
        return _Reading(card, answer.chance if looks else _best_score(card), self._is_sure(answer))

    def _is_sure(self, answer: Answer) -> bool:
        """Whether it is surely the first match, or one of its twins."""
        if answer.status == "match":
            return answer.chance >= SURE
        is_group = answer.status == "ambiguous" and bool(answer.matches[0].twins)
        return is_group and answer.chance >= max(SURE, self.calibration.min_confidence)

    def _looks(self, state: Snapshot) -> bool:
        """Whether a second look can be taken."""
        return self.second_look is not None and state.has_pictures


class _Reading(NamedTuple):
    """A card as one of its ways up gives it; ``worth`` is what is compared between them."""

    card: Card
    worth: float
    is_sure: bool


def _best_score(card: Card) -> float:
    return card.matches[0].score if card.matches else -1.0
