"""Fits the numbers of `cardrec.second_look.LookCalibration` and says how well they do on other cards.

    python -m training.calibrate_look --data DATA

Simulated photos of single cards, 70 to 450 pixels high, two of three hard, outlines off by 1 and 3 %. Each is compared
with its best candidates in the catalog twice: as a card that is in it, and as a stranger, its artwork taken out in all
languages. Fitted on the sets A1 and A1a of Pokemon TCG Pocket and on half of the Redemption faces that no encoder was
trained on; reported on A2, A2a and the other half. Rendered reprints (`training/reprints.py`), of one deck to fit on
and another to report on, are known cards only: they add printings that differ in little.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.calibrate import tail
from cardrec.compare import COARSE_SIDE, Reference, compare, side_for
from cardrec.decide import FALSE_ACCEPTS
from cardrec.embed import Embedder, open_encoder
from cardrec.logistic import fit_logistic
from cardrec.second_look import CANDIDATES, LookCalibration, near
from training.data import CardImage, held_out, load_sources
from training.evaluate_printing import LANGUAGES, MEASURED, SOURCES, artwork
from training.methods import hash_vectors
from training.queries import generator, thinned
from training.reprints import AGAIN, FIRST, printed_twice
from training.retrieval import auroc, twins
from training.simulate import Level, simulate_crop

__all__ = ["Seen", "fit", "main"]

Floats = NDArray[np.float32]

SEED = 90
HELD_OUT = 0.15
"""Of Redemption, by the encoder's config."""
AMBIGUOUS_STRANGERS = 0.1
"""Share of the strangers that may be ambiguous or better, as in `cardrec.calibrate`."""
ASKED = (0.003, 0.01, 0.03)
"""Shares of the strangers for which it is told how many are accepted."""
RIDGE = 1e-3
REPRINT_SEEDS = 92, 93
"""Of the decks; 91 is that of `training.evaluate_printing`."""
LONGEST_LEAD = 0.3
"""Leads beyond it are those over other artworks; they would only flatten the curve."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a second look saw.

    Attributes:
        likeness, score, lead: of the best candidate; see `cardrec.second_look`.
        side: of the squares that were compared, in pixels.
        known: whether the card is in the catalog.
        right: whether the best candidate shows its very printing.
        possible: whether one of the candidates does.
    """

    likeness: float
    score: float
    lead: float
    side: int
    known: bool
    right: bool
    possible: bool


class _Catalog:
    """All pictures, their embeddings, and references as they are needed."""

    def __init__(self, cards: Sequence[CardImage], vectors: Floats) -> None:
        self._cards, self._vectors = cards, vectors
        self._art = np.array([_art(card) for card in cards])
        self._faces = np.array([card.face for card in cards])
        self._references: dict[int, Reference] = {}

    def looks(self, card: CardImage, crop: NDArray[np.uint8], vector: Floats, *, twin: bool) -> Iterator[Seen]:
        """As a known card, and as a stranger, unless the catalog has a twin of it."""
        similarity = self._vectors @ vector
        yield self._look(card, crop, similarity, known=True)
        if not twin:
            yield self._look(card, crop, np.where(self._art == _art(card), -1.0, similarity), known=False)

    def _look(self, card: CardImage, crop: NDArray[np.uint8], similarity: Floats, *, known: bool) -> Seen:
        rows = np.argsort(-similarity, kind="stable")[:CANDIDATES]
        rows = rows[: near(similarity[rows].tolist())]
        found = compare(crop, [self._reference(row) for row in rows.tolist()])
        first = int(found.evidence.argmax())
        others = np.delete(found.evidence, first)
        right = self._faces[rows] == card.face
        lead = float(found.evidence[first] - others.max(initial=-np.inf))
        score = float(similarity[rows[first]])
        likeness, side = float(found.likeness[first]), len(crop)
        return Seen(likeness, score, lead, side, known, bool(right[first]), bool(right.any()))

    def _reference(self, row: int) -> Reference:
        if row not in self._references:
            square = cv2.resize(self._cards[row].pixels, (320, 320), interpolation=cv2.INTER_AREA)
            self._references[row] = Reference(np.asarray(square, np.uint8))
        return self._references[row]


def _art(card: CardImage) -> str:
    """A name for the artwork, the same in all languages."""
    source = card.card_id.split("/", 1)[0]
    return artwork(card) if source in {*LANGUAGES, FIRST, AGAIN} else card.face


def photographed(cards: Sequence[CardImage], catalog: _Catalog, embedder: Embedder, twin: Sequence[bool]) -> list[Seen]:
    """Two looks at one photo of each card."""
    seen: list[Seen] = []
    for number, (card, has_twin) in enumerate(zip(cards, twin, strict=True)):
        height_px = float(np.exp(generator(SEED + 1, card).uniform(np.log(70), np.log(450))))
        level: Level = "easy" if number % 3 == 2 else "hard"
        small, crop = (
            simulate_crop(
                card.pixels,
                rng=generator(SEED, card),
                level=level,
                corner_error=(0.01, 0.03)[number % 2],
                size=size,
                height_px=(height_px, height_px),
            )
            for size in (224, side_for(height_px))
        )
        seen += catalog.looks(card, crop, embedder.encode(small)[0], twin=has_twin)
    return seen


def fit(seen: Sequence[Seen]) -> LookCalibration:
    """The two curves, how rare strangers get, and the thresholds that they rarely reach."""
    usable = [each for each in seen if not each.known or each.possible]
    design = np.array([(1.0, each.likeness, each.score) for each in usable])
    picture = fit_logistic(design, np.array([each.known for each in usable]), ridge=RIDGE)
    told = [each for each in usable if each.known]
    leads = np.array([[min(each.lead, LONGEST_LEAD) * (each.side / COARSE_SIDE) ** 2] for each in told])
    right = np.array([each.right for each in told])
    # Neither candidate is favoured, so each pair is taken from both sides, without a bias.
    lead = fit_logistic(np.concatenate([leads, -leads]), np.concatenate([right, ~right]), ridge=RIDGE)
    curves = LookCalibration(*map(float, (*picture, *lead)))
    chances = np.array([chances_of(each, curves) for each in seen if not each.known])
    min_picture = float(np.quantile(chances[:, 0], 1 - AMBIGUOUS_STRANGERS))
    tail_from, tail_scale = tail(np.log(chances[:, 1] / (1 - chances[:, 1])))
    fitted = replace(curves, min_picture=min_picture, tail_from=tail_from, tail_scale=tail_scale)
    return fitted.for_false_accepts(FALSE_ACCEPTS)


def chances_of(each: Seen, numbers: LookCalibration) -> tuple[float, float]:
    """See `LookCalibration.chances`."""
    return numbers.chances(each.likeness, each.score, each.lead, each.side)


def told(seen: Sequence[Seen], numbers: LookCalibration) -> str:
    """How the numbers do, in a few lines."""
    known = np.array([each.known for each in seen])
    right = np.array([each.right for each in seen])
    confidence = np.array([chances_of(each, numbers)[1] for each in seen], np.float32)
    score = np.array([each.score for each in seen], np.float32)
    accepted = confidence >= numbers.min_confidence
    asked = [(share, confidence >= numbers.for_false_accepts(share).min_confidence) for share in ASKED]
    areas = [auroc(each[known], each[~known]) for each in (confidence, score)]
    return (
        f"{known.sum()} known cards, {(~known).sum()} strangers: AUROC {areas[0]:.4f} (cosine alone {areas[1]:.4f}), "
        f"printing first {right[known].mean():.1%}, accepted and right {(accepted & right)[known].mean():.1%}, "
        f"accepted and wrong {(accepted & ~right)[known].mean():.1%}, "
        f"strangers accepted {accepted[~known].mean():.1%}"
    ) + "".join(
        f"\n  asked for {share:.1%}: strangers accepted {named[~known].mean():.1%}, "
        f"known and right {(named & right)[known].mean():.1%}, known and wrong {(named & ~right)[known].mean():.1%}"
        for share, named in asked
    )


def told_of_printings(seen: Sequence[Seen], numbers: LookCalibration) -> str:
    """How the numbers do on known cards, by the side that they were compared at; a line each."""
    lines = []
    for side in sorted({each.side for each in seen}):
        right = np.array([each.right for each in seen if each.side == side])
        named = np.array([chances_of(each, numbers)[1] >= numbers.min_confidence for each in seen if each.side == side])
        lines.append(
            f"  {side} pixels: {len(right)} photos, printing first {right.mean():.1%}, "
            f"accepted and right {(named & right).mean():.1%}, accepted and wrong {(named & ~right).mean():.1%}"
        )
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cards/")
    parser.add_argument("--count", type=int, default=300, help="photos of each game, and of reprints, in each half")
    options = parser.parse_args(given)
    cv2.setNumThreads(1)
    cards = [card for source in load_sources(SOURCES, options.data) for card in source]
    pocket = [card for card in cards if card.card_id.split("/", 1)[0] in LANGUAGES]
    other = [card for card in cards if card.card_id.split("/", 1)[0] not in LANGUAGES and held_out(card.face, HELD_OUT)]
    late = [card for card in pocket if card.card_id.split("/", 1)[1].startswith(MEASURED)]
    early = [card for card in pocket if not card.card_id.split("/", 1)[1].startswith(MEASURED)]
    halves = [
        [*thinned(ours, options.count), *thinned(theirs, options.count)]
        for ours, theirs in ((early, other[::2]), (late, other[1::2]))
    ]
    reprints = [printed_twice(options.count // 2, seed) for seed in REPRINT_SEEDS]
    cards += [card for half in reprints for card in half]
    with Embedder(open_encoder(threads=1), color="rgb") as embedder:
        pictures = [card.pixels for card in cards]
        catalog = _Catalog(cards, embedder.encode(pictures))
        place = {card.card_id: row for row, card in enumerate(cards)}
        art = np.unique([_art(card) for card in cards], return_inverse=True)[1]
        hashes = hash_vectors(pictures)
        seen, again = [], []
        for half, printings in zip(halves, reprints, strict=True):
            rows = np.array([place[card.card_id] for card in half])
            seen.append(photographed(half, catalog, embedder, twins(hashes, art, rows).tolist()))
            again.append(photographed(printings, catalog, embedder, [True] * len(printings)))
    numbers = fit(seen[0] + again[0])
    print(numbers)
    for name, of_games, of_reprints in zip(("fitted on", "others"), seen, again, strict=True):
        print(f"{name}: {told(of_games, numbers)}\n  reprints\n{told_of_printings(of_reprints, numbers)}", flush=True)


if __name__ == "__main__":
    main()
