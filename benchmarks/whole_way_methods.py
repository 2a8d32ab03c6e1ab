"""The ways from a frame to names, behind one interface: cardrec, scanners, and each with the other's outlines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.whole_way_contours import crop
from benchmarks.whole_way_peers import Compared
from cardrec import Recognizer, Result
from cardrec.detect import Detector
from cardrec.image import load
from cardrec.types import Timings

__all__ = ["Answer", "Method", "Seen", "Way", "by_detector", "cardrec_given", "cardrec_way", "scanner"]

Picture = NDArray[np.uint8]
Quads = Sequence[NDArray[np.float32]]
Outlines: TypeAlias = Callable[[Picture, int], Quads]


class Answer(NamedTuple):
    """What a way says of one outline, (4, 2): the card that comes first, its score, and whether it is named."""

    corners_px: NDArray[np.float32]
    card_id: str | None
    score: float
    named: bool = True


class Seen(NamedTuple):
    """What a method says of a frame, and how long the stages took."""

    answers: list[Answer]
    timings: Timings


Way: TypeAlias = Callable[[Picture, int], Seen]
"""From a frame, (H, W, 3) BGR, and the most cards that may be named."""


class Method(NamedTuple):
    """A way, and how its answers are read, by name: None as they are, or a score from which a card is named."""

    way: Way
    readings: Mapping[str, float | None]

    def read(self, seen: Seen) -> Iterator[tuple[str, list[Answer]]]:
        """The answers to a frame, by the name of the reading."""
        for name, limit in self.readings.items():
            answers = seen.answers
            if limit is not None:
                answers = [answer._replace(named=answer.score >= limit) for answer in answers]
            yield name, answers


def by_detector(detector: Detector) -> Outlines:
    """The outlines of cardrec's detector."""

    def outlines(frame: Picture, most: int) -> Quads:
        return [each.corners_px for each in detector.detect(load(frame), max_cards=most)]

    return outlines


def cardrec_way(recognizer: Recognizer) -> Way:
    """`Recognizer.identify`."""

    def way(frame: Picture, most: int) -> Seen:
        result = recognizer.identify(frame, max_cards=most)
        return Seen(_answers(result), result.timings)

    return way


def cardrec_given(recognizer: Recognizer, outlines: Outlines) -> Way:
    """`Recognizer.identify` with outlines from elsewhere."""

    def way(frame: Picture, most: int) -> Seen:
        begun = time.perf_counter()
        quads = outlines(frame, most)
        found_ms = (time.perf_counter() - begun) * 1e3
        given = np.stack(quads) if quads else np.empty((0, 4, 2), np.float32)
        result = recognizer.identify(frame, quads=given)
        spent = result.timings
        whole_ms = (time.perf_counter() - begun) * 1e3
        return Seen(
            _answers(result),
            Timings(found_ms + spent.detect_ms, spent.rectify_ms, spent.encode_ms, spent.search_ms, whole_ms),
        )

    return way


def _answers(result: Result) -> list[Answer]:
    return [
        Answer(card.corners_px, card.matches[0].card_id, card.matches[0].score, card.status == "match")
        for card in result.cards
    ]


def scanner(outlines: Outlines, compared: Compared, card_ids: Sequence[str]) -> Way:
    """Outlines one by one: cut out and prepared, encoded, searched; all are named, see `Method`."""

    def way(frame: Picture, most: int) -> Seen:
        begun = time.perf_counter()
        quads = outlines(frame, most)
        marks = [time.perf_counter()]
        spent_s, answers = np.zeros(3), []
        for quad in quads:
            prepared = compared.prepare(crop(frame, quad))
            marks.append(time.perf_counter())
            vector = compared.encode(prepared)
            marks.append(time.perf_counter())
            row, score = compared.best(vector)
            answers.append(Answer(quad, card_ids[row], score))
            marks.append(time.perf_counter())
            spent_s += np.diff(marks[-4:])
        rectify_ms, encode_ms, search_ms = (1e3 * spent_s).tolist()
        found_ms, whole_ms = (marks[0] - begun) * 1e3, (time.perf_counter() - begun) * 1e3
        return Seen(answers, Timings(found_ms, rectify_ms, encode_ms, search_ms, whole_ms))

    return way
