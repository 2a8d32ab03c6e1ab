"""Measures whether a card is known after ten frames, and whether a card that the catalog lacks is taken for one.

    python -m training.evaluate_ten_frames --data DATA --out REPORT [--count 100] [--sizes 1000]

A camera is held for a second before one card after the other, at level `hard`: table, light and sleeve stay, the hand
wanders, reflections wander with it, and every frame has its own blur and noise. Catalogs and cards are those of
`evaluate_decisions`, built from pictures; a track's identity counts as it stands after the tenth frame.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cardrec import Recognizer, Result, Tracker
from cardrec.cli_options import TABLE
from training.data import CardImage
from training.evaluate import processes
from training.evaluate_decisions import add_arguments, catalogs, divided
from training.queries import generator
from training.references import Mapper, Source
from training.retrieval import wilson
from training.simulate import Level, Moment, simulate_frame

__all__ = ["FRAMES", "Judged", "correlation", "hold", "identities", "judge", "moments", "others", "read", "table"]

FRAMES = 10
SECONDS = 1.0
LEVEL: Level = "hard"
SEED = 70
COUNT = 100
LEAST = 1e-6  # of a confidence, and how far it stays from 1: the last digits tell nothing of a card

STEP_MM = (4.0, 4.0, 6.0)
"""What a hand wanders from frame to frame, standard deviations across and along the line of sight: in a second about a
fifth of a card's width."""
STEP_DEG = 2.5
"""And what it turns."""
LAMP_MM = 230.0
"""A reflection is moved by this much for each radian by which its ray is turned, which is twice what the card is: the
camera is 30 cm from the card, the lamp 1 m."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What tracks became of the cards of one source.

    Attributes:
        source, cards: what was asked of what.
        known, strangers: cards that a camera was held before.
        right: of the known, those that were identified as what they are.
        wrong: of the known, those that were identified as something else.
        named: of the strangers, those that were identified as something.
        frames: to the decision, of those that are right; counted from 1.
        correlation: of the frames of one known card, see `correlation`.
    """

    source: str
    cards: int
    known: int
    strangers: int
    right: int
    wrong: int
    named: int
    frames: list[int]
    correlation: float


def moments(rng: np.random.Generator) -> Iterator[Moment]:
    """A hand's way, frame by frame, without end: each step goes on from the last."""
    place, turn = np.zeros(3), np.zeros(3)
    while True:
        shift = 2 * LAMP_MM * np.array((turn[1], -turn[0]))
        yield Moment(_motion(place, turn), shift, np.random.default_rng(rng.integers(2**63)))
        place, turn = place + rng.normal(0.0, STEP_MM), turn + rng.normal(0.0, np.deg2rad(STEP_DEG), 3)


def _motion(place: NDArray[np.float64], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4): turned about the table's origin, where the card lies, then moved."""
    import cv2

    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(turn)[0]
    motion[:3, 3] = place
    return motion


def hold(seed: int, card: CardImage) -> list[NDArray[np.uint8]]:
    """`FRAMES` photos (720, 1280, 3) uint8 BGR of a card in one place and light. The same every time."""
    hand = moments(generator(seed + 1, card))
    return [
        simulate_frame([card.pixels], rng=generator(seed, card), level=LEVEL, moment=next(hand)).pixels
        for _ in range(FRAMES)
    ]


def read(recognizer: Recognizer, cards: Sequence[CardImage], seed: int, mapper: Mapper) -> Iterator[list[Result]]:
    """Of each card, its frames as they are read one by one."""
    for frames in mapper(partial(hold, seed), cards):
        with recognizer.stream(frames, max_cards=TABLE) as results:
            yield list(results)


def identities(results: Sequence[Result], tracker: Tracker) -> dict[str, int]:
    """The card_ids of the tracks after the last frame, and in which frame, counted from 1, each was declared."""
    declared: dict[int, int] = {}
    for result in results:
        for event in tracker.update(result, result.index * SECONDS / FRAMES):
            if event.kind in {"identified", "changed"}:
                declared[event.track.id] = result.index + 1
    return {track.match.card_id: declared[track.id] for track in tracker.tracks if track.match}


def judge(
    recognizer: Recognizer, known: Sequence[CardImage], strangers: Sequence[CardImage], seed: int, mapper: Mapper
) -> Judged:
    """Holds a camera before all of them."""
    seen = list(read(recognizer, known, seed, mapper))
    inside = [identities(results, recognizer.tracker()) for results in seen]
    outside = [identities(results, recognizer.tracker()) for results in read(recognizer, strangers, seed, mapper)]
    right = [set(names) == {card.card_id} for card, names in zip(known, inside, strict=True)]
    return Judged(
        source=known[0].card_id.split("/")[0],
        cards=len(recognizer.catalog),
        known=len(known),
        strangers=len(strangers),
        right=sum(right),
        wrong=sum(bool(set(names) - {card.card_id}) for card, names in zip(known, inside, strict=True)),
        named=sum(bool(names) for names in outside),
        frames=[max(names.values()) for names, good in zip(inside, right, strict=True) if good],
        correlation=correlation(seen),
    )


def correlation(results: Sequence[Sequence[Result]]) -> float:
    """Of two frames of one card, in the log-odds of their confidence: the variance of the cards' means in the whole."""
    odds = [[_log_odds(one.cards[0].confidence) for one in frames if one.cards] for frames in results]
    odds = [each for each in odds if each]
    between, within = np.var([np.mean(each) for each in odds]), np.mean([np.var(each) for each in odds])
    return float(between / max(between + within, 1e-9))


def _log_odds(confidence: float) -> float:
    kept = min(max(confidence, LEAST), 1 - LEAST)
    return math.log(kept / (1 - kept))


def others(source: Source, size: int, count: int = COUNT) -> Source:
    """The source without the cards that are reported on: to choose constants with."""
    _, known, strangers = divided(source, size, count)
    reported = {card.card_id for card in known + strangers}
    return replace(source, queries=[card for card in source.queries if card.card_id not in reported])


def table(judged: Sequence[Judged]) -> str:
    """All of it as Markdown."""
    lines = [
        (
            "| cards | catalog | known, identified | wrong | frames to decision, median / 95 % | strangers named "
            "| correlation of frames |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for one in judged:
        median, late = np.percentile(one.frames or [0], [50, 95])
        right, named = _share(one.right, one.known), _share(one.named, one.strangers)
        cells = one.source, f"{one.cards:,}", right, one.wrong, f"{median:.0f} / {late:.0f}", named
        lines.append(f"| {' | '.join(map(str, cells))} | {one.correlation:.2f} |")
    return "\n".join(lines)


def _share(count: int, of: int) -> str:
    low, high = (100 * each for each in wilson(count, of))
    return f"{100 * count / of:.1f} % ({low:.1f}-{high:.1f}) of {of}"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, count=COUNT, sizes=(1000,))
    parser.add_argument("--tuning", action="store_true", help="other cards, which the constants were chosen with")
    options = parser.parse_args(given)
    options.out.mkdir(parents=True, exist_ok=True)
    judged: list[Judged] = []
    with processes(options.processes) as mapper:
        for recognizer, known, strangers in catalogs(options, others if options.tuning else None):
            judged.append(judge(recognizer, known, strangers, SEED + options.tuning, mapper))
            print(table(judged[-1:]).splitlines()[-1], flush=True)
    (options.out / "ten-frames.json").write_text(json.dumps([asdict(one) for one in judged], indent=1) + "\n")
    (options.out / "ten-frames.md").write_text(table(judged) + "\n")


if __name__ == "__main__":
    main()
