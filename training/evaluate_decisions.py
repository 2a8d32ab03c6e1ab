"""Measures whether a catalog knows what it does not know: is its confidence a probability, does its threshold hold?

    python -m training.evaluate_decisions --data DATA --out REPORT [--count 200] [--sizes 5 100 1000]

REPORT gets decisions.md, decisions.json and, with matplotlib, reliability.png: the diagrams of the hard photos.

For each size a catalog of so many cards is built from their pictures, which calibrates it on them. Cards of it and
cards outside it, all of faces that no training saw, are photographed and go the whole way. A missed outline counts as
a known card that was not accepted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cardrec import Catalog, Embedder, Recognizer, Result
from training.data import CardImage
from training.evaluate import processes
from training.evaluate_frames import without_twins
from training.queries import generator, thinned
from training.references import Mapper, Source, examined
from training.reliability import Bin, calibration_error, draw, reliability
from training.retrieval import auroc, wilson
from training.settings import read_settings
from training.simulate import Level, simulate_frame

CONFIG = Path(__file__).parent / "configs" / "third.toml"
LEVELS: tuple[Level, ...] = ("easy", "hard")
ASKED = 0.01
SEED = 60

Shot = tuple[CardImage, int]
"""A card, and which photo of it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How a catalog judged photos of one level.

    Attributes:
        source, cards, level: what was asked of what.
        known, strangers: photos.
        accepted: share of the known that were named, and rightly.
        wrong: number of the known that were named wrongly.
        false_accepts: share of the strangers that were named, with its 95 % interval.
        auroc: of the confidence, known cards that came first against strangers.
        error: expected calibration error over known cards and strangers, as often the one as the other.
        bins: of the reliability diagram.
    """

    source: str
    cards: int
    level: Level
    known: int
    strangers: int
    accepted: float
    wrong: int
    false_accepts: tuple[float, float, float]
    auroc: float
    error: float
    bins: list[Bin]


def shoot(level: Level, shot: Shot) -> NDArray[np.uint8]:
    """(720, 1280, 3) uint8 BGR: a photo of one card; the same every time."""
    card, number = shot
    return simulate_frame([card.pixels], rng=generator(SEED + number, card), level=level).pixels


def shots(cards: Sequence[CardImage], count: int) -> list[Shot]:
    """So many photos, as evenly as possible of all cards."""
    return [(cards[n % len(cards)], n // len(cards)) for n in range(count)]


def judge(recognizer: Recognizer, known: list[Shot], strangers: list[Shot], level: Level, mapper: Mapper) -> Judged:
    """Photographs and identifies all of them."""
    inside = [
        (result, shot[0].card_id)
        for shot, result in zip(known, _results(recognizer, known, level, mapper), strict=True)
    ]
    outside = list(_results(recognizer, strangers, level, mapper))
    first = np.array([_first(result) == card_id for result, card_id in inside])
    named = np.array([result.best is not None for result, _ in inside])
    confidences = np.array([_confidence(result) for result, _ in inside])
    outer = np.array([_confidence(result) for result in outside])
    accepted = sum(result.best is not None for result in outside)
    bins = reliability(
        np.concatenate([confidences, outer]),
        np.concatenate([first, np.zeros(len(outer), bool)]),
        np.concatenate([np.full(len(first), 1 / len(first)), np.full(len(outer), 1 / len(outer))]) / 2,
    )
    return Judged(
        source=known[0][0].card_id.split("/")[0],
        cards=len(recognizer.catalog),
        level=level,
        known=len(known),
        strangers=len(strangers),
        accepted=float((first & named).mean()),
        wrong=int((~first & named).sum()),
        false_accepts=(accepted / len(outer), *wilson(accepted, len(outer))),
        auroc=auroc(confidences[first], outer),
        error=calibration_error(bins),
        bins=bins,
    )


def _results(recognizer: Recognizer, photos: list[Shot], level: Level, mapper: Mapper) -> Iterator[Result]:
    yield from map(recognizer.identify, mapper(partial(shoot, level), photos))


def _first(result: Result) -> str | None:
    return result.cards[0].matches[0].card_id if result.cards and result.cards[0].matches else None


def _confidence(result: Result) -> float:
    return result.cards[0].confidence if result.cards else 0.0


def divided(source: Source, size: int, count: int) -> tuple[list[CardImage], list[CardImage], list[CardImage]]:
    """A catalog of so many cards, those of them that are photographed, and cards outside it."""
    strangers = thinned(source.queries[1::2], count)
    known = thinned(source.queries[::2], min(count, size))
    outside = {card.face for card in strangers}
    taken = {card.card_id for card in known}
    others = [card for card in source.cards if card.face not in outside and card.card_id not in taken]
    filler = thinned(others, size - len(known)) if size > len(known) else []
    return known + filler, known, strangers


@contextmanager
def opened(cards: Sequence[CardImage], embedder: Embedder, *, pictures: bool) -> Iterator[Recognizer]:
    """A recognizer of a catalog that is built from these pictures, and keeps them or not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cards.cardrec"
        items = [(card.card_id, Image.fromarray(card.pixels), dict[str, object]()) for card in cards]
        Catalog.build(path, items, encoder=embedder, pictures=pictures)
        with Recognizer(path, max_false_accept=ASKED) as recognizer:
            yield recognizer


def table(judged: Sequence[Judged]) -> str:
    """All of it as Markdown."""
    lines = [
        "| cards | catalog | photos | accepted, right | wrong | strangers accepted | AUROC | calibration error |",
        "|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for one in judged:
        share, low, high = (100 * value for value in one.false_accepts)
        lines.append(
            f"| {one.source} | {one.cards:,} | {one.level}, {one.known} + {one.strangers} | {100 * one.accepted:.1f} | "
            f"{one.wrong} | {share:.1f} ({low:.1f}-{high:.1f}) | {one.auroc:.3f} | {one.error:.3f} |"
        )
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser, *, count: int, sizes: Sequence[int]) -> None:
    """What `catalogs` needs, with these defaults, and what else such evaluations share."""
    parser.add_argument("--data", type=Path, required=True, help="folder that the config's paths start from")
    parser.add_argument("--config", type=Path, default=CONFIG, help="the training's config, for what it held out")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--count", type=int, default=count, help="known cards, and strangers, each")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(sizes), help="cards in the catalogs, at most")
    parser.add_argument("--pictures", action="store_true", help="keep the cards' pictures, for the second look")
    parser.add_argument("--processes", type=int, default=0, help="that take photos; 0: this one")


def catalogs(
    options: argparse.Namespace, choose: Callable[[Source, int], Source] | None = None
) -> Iterator[tuple[Recognizer, list[CardImage], list[CardImage]]]:
    """For each source and size a recognizer of its catalog, cards of it to photograph, and strangers.

    Args:
        options: of a command, by `add_arguments`.
        choose: from a source and a size, the source with the cards that count; None: all do.
    """
    with Embedder() as embedder:
        for source in examined(read_settings(options.config), options.data):
            for size in options.sizes if not source.other_language else []:
                chosen = choose(source, size) if choose else source
                catalog, known, strangers = divided(chosen, size, options.count)
                with opened(catalog, embedder, pictures=options.pictures) as recognizer:
                    yield recognizer, known, without_twins(strangers, catalog)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, count=200, sizes=(5, 100, 1000))
    options = parser.parse_args(given)
    options.out.mkdir(parents=True, exist_ok=True)
    judged: list[Judged] = []
    with processes(options.processes) as mapper:
        for recognizer, known, strangers in catalogs(options):
            for level in LEVELS:
                photos = shots(known, options.count), shots(strangers, options.count)
                judged.append(judge(recognizer, *photos, level, mapper))
                print(table(judged[-1:]).splitlines()[-1], flush=True)
    (options.out / "decisions.json").write_text(json.dumps([asdict(one) for one in judged], indent=1) + "\n")
    (options.out / "decisions.md").write_text(table(judged) + "\n")
    hard = {f"{one.source}, {one.cards:,} cards": one.bins for one in judged if one.level == "hard"}
    if not draw(hard, options.out / "reliability.png"):
        print("no diagrams: matplotlib is not installed")


if __name__ == "__main__":
    main()
