"""Measures how often the exact printing is named, with and without the second look, and prints a table.

    python -m training.evaluate_printing --data DATA --out REPORT [--reprints 100]

The catalog has Pokemon TCG Pocket in English and German, and Redemption. Photographed are cards of the sets A2 and A2a,
on which neither the encoder was trained nor the second look calibrated, in frames of 1280x720 (1920x1080 for cards over
500 pixels), the whole way from the detector on. Every sixth artwork is left out of the catalog, in both languages: its
photos are the strangers. With ``--reprints`` the same is asked of rendered cards, each in two printings that differ in
set symbol and number only (`training/reprints.py`), in a catalog of their own. Photos are drawn from the very pictures
that the catalog has; real cards differ more from theirs. The catalogs are kept in REPORT and used again.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec import Catalog, Recognizer, Result
from cardrec.embed import Embedder, open_encoder
from training.data import CardImage, load_sources
from training.evaluate_frames import named_first, outcome
from training.queries import generator, thinned
from training.reprints import printed_twice
from training.retrieval import wilson
from training.simulate import simulate_frame
from training.simulate_levels import LEVELS, Level

__all__ = ["Row", "main"]

SOURCES = (
    {"folder": "cards/pocket-en"},
    {"folder": "cards/pocket-de"},
    {"folder": "cards/redemption", "duplicates": "cards/redemption-same.csv"},
)
LANGUAGES = {"pocket-en": "English", "pocket-de": "German"}
REPRINTS = "reprints"
MEASURED = ("A2-", "A2a-")
STRANGERS = 6
"""Every so manieth artwork is one."""
SEED = 70
HEIGHTS_PX = (200, 300, 400, 600)
LARGE_PX = 500
"""Cards that are higher don't fit a frame of 720 rows at any turn."""
HEADER = (
    "| card | photos | height | first, without | first, with | named right, without | with | named wrong | with "
    "| strangers named | with | ms | with |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


@dataclass(frozen=True, slots=True)
class Tally:
    """What one recognizer made of the photos of a row.

    Attributes:
        first: photos whose exact printing came first, whatever the status.
        outcomes: how many ended how, by the names of `training.evaluate_frames.OUTCOMES`.
        accepted: photos of strangers that were taken for a card of the catalog.
        milliseconds: median of a frame, from call to result.
    """

    first: int
    outcomes: dict[str, int]
    accepted: int
    milliseconds: float


Group = tuple[Sequence[CardImage], Sequence[CardImage]]
"""Cards of the catalog, and strangers, to be photographed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One group (a language, or the reprints), level and height; ``without`` and ``looking`` had the same photos."""

    group: str
    level: Level
    height_px: int
    photos: int
    strangers: int
    without: Tally
    looking: Tally


def photograph(card: CardImage, level: Level, height_px: int) -> NDArray[np.uint8]:
    """A frame in which the card is about so high (a turned or tilted one less). The same every time."""
    size_wh = (1920, 1080) if height_px > LARGE_PX else (1280, 720)
    share = min(0.98, height_px / size_wh[1])
    look = replace(LEVELS[level], fill=(share, share), turn_deg=5.0)
    return simulate_frame([card.pixels], rng=generator(SEED, card), level=look, size_wh=size_wh).pixels


def artwork(card: CardImage) -> str:
    """The same in both languages, and of both printings."""
    return card.face.split("/", 1)[1]


def open_catalog(path: Path, cards: Sequence[CardImage]) -> Catalog:
    """The catalog in the folder; built with pictures where there is none."""
    if not path.exists():
        no_meta: dict[str, object] = {}
        with Embedder(open_encoder(threads=1), color="rgb") as embedder:
            items = ((card.card_id, card.pixels, no_meta) for card in cards)
            Catalog.build(path, items, encoder=embedder, near=None, pictures=True)
    return Catalog.open(path)


def tally(known: Sequence[tuple[CardImage, Result]], strangers: Sequence[Result]) -> Tally:
    """Counts answers."""
    outcomes = Counter(outcome(result, {card.card_id}) for card, result in known)
    first = sum(named_first(result, {card.card_id}) for card, result in known)
    accepted = sum(result.best is not None for result in strangers)
    times_ms = [result.timings.total_ms for _, result in known]
    return Tally(first, dict(outcomes), accepted, float(np.median(times_ms)))


def measured(
    groups: Mapping[str, Group],
    recognizers: Sequence[Recognizer],
    levels: Sequence[Level],
    heights_px: Sequence[int],
) -> Iterator[Row]:
    """A row for each group, level and height."""
    for name, (cards, others) in groups.items():
        for level in levels:
            for height_px in heights_px:
                answers = [_answers(some, recognizers, level, height_px) for some in (cards, others)]
                without, looking = (
                    tally(list(zip(cards, seen, strict=True)), unseen) for seen, unseen in zip(*answers, strict=True)
                )
                yield Row(name, level, height_px, len(cards), len(others), without, looking)


def _answers(
    cards: Sequence[CardImage], recognizers: Sequence[Recognizer], level: Level, height_px: int
) -> list[list[Result]]:
    """For each recognizer, its answers to one photo of each card; they take turns, so that both meet the same load."""
    answers: list[list[Result]] = [[] for _ in recognizers]
    for card in cards:
        frame = photograph(card, level, height_px)
        for recognizer, own in zip(recognizers, answers, strict=True):
            own.append(recognizer.identify(frame))
    return answers


def line(row: Row) -> str:
    """The row of the table; shares in per cent, with 95 % intervals."""

    def share(count: int, of: int) -> str:
        low, high = wilson(count, max(1, of))
        return f"{100 * count / max(1, of):.1f} ({100 * low:.1f}-{100 * high:.1f})"

    pair = (row.without, row.looking)
    cells = [row.group, row.level, str(row.height_px)]
    cells += [share(each.first, row.photos) for each in pair]
    cells += [share(each.outcomes.get("right", 0), row.photos) for each in pair]
    cells += [str(each.outcomes.get("wrong", 0)) for each in pair]
    cells += [f"{each.accepted} of {row.strangers}" for each in pair]
    cells += [f"{each.milliseconds:.1f}" for each in pair]
    return f"| {' | '.join(cells)} |"


def languages(data: Path, count: int) -> tuple[list[CardImage], dict[str, Group]]:
    """What the catalog of languages has, and what is photographed: so many known cards of each."""
    cards = [card for source in load_sources(SOURCES, data) for card in source]
    asked = [card for card in cards if card.card_id.split("/", 1)[1].startswith(MEASURED)]
    gone = set(sorted({artwork(card) for card in asked})[::STRANGERS])
    groups: dict[str, Group] = {}
    for source, language in LANGUAGES.items():
        own = [card for card in asked if card.card_id.startswith(source)]
        known, strangers = ([card for card in own if (artwork(card) in gone) == out] for out in (False, True))
        groups[language] = thinned(known, count), thinned(strangers, count)
    return [card for card in cards if artwork(card) not in gone], groups


def reprints(count: int) -> tuple[list[CardImage], dict[str, Group]]:
    """The same of reprints: so many known artworks, each photographed in one of its printings, in turn."""
    cards = printed_twice(count + -(-count // (STRANGERS - 1)))
    pairs = list(zip(cards[::2], cards[1::2], strict=True))
    seen = [pair[number % 2] for number, pair in enumerate(pairs)]
    gone = {artwork(card) for card in seen[::STRANGERS]}
    known, strangers = ([card for card in seen if (artwork(card) in gone) == out] for out in (False, True))
    return [card for card in cards if artwork(card) not in gone], {REPRINTS: (known[:count], strangers)}


def reported(
    path: Path,
    kept: Sequence[CardImage],
    groups: Mapping[str, Group],
    levels: Sequence[Level],
    heights_px: Sequence[int],
) -> list[Row]:
    """The rows of the groups in the catalog in the folder; printed as they come."""
    rows = []
    with open_catalog(path, kept) as catalog:
        plain = Recognizer(catalog, threads=1, second_look=False)
        with plain, Recognizer(catalog, threads=1) as looking:
            print(f"{len(catalog):,} references\n\n{HEADER}", flush=True)
            for row in measured(groups, (plain, looking), levels, heights_px):
                print(line(row), flush=True)
                rows.append(row)
    return rows


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cards/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report and the catalog")
    parser.add_argument("--count", type=int, default=100, help="photos of each language, level and height")
    parser.add_argument("--reprints", type=int, default=0, metavar="COUNT", help="photos of reprints at each")
    parser.add_argument(
        "--heights", type=int, nargs="+", default=HEIGHTS_PX, help="of the card in the frame, in pixels"
    )
    parser.add_argument("--levels", nargs="+", choices=list(LEVELS), default=["easy", "hard"])
    options = parser.parse_args(given)
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    asked = options.levels, options.heights
    rows = []
    if options.count:
        rows += reported(options.out / "printings.cardrec", *languages(options.data, options.count), *asked)
    if options.reprints:
        rows += reported(options.out / "reprints.cardrec", *reprints(options.reprints), *asked)
    (options.out / "printing.md").write_text("\n".join([HEADER, *map(line, rows)]) + "\n")
    (options.out / "printing.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
