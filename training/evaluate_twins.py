"""Measures from which cosine two catalog pictures are twins: cards that no photo tells apart.

    python -m training.evaluate_twins --data DATA

Each card that another one is close to is photographed (`cardrec.captures`), and the photo's cosine to its own picture
is compared with that to the other's. Printed is how often its own leads, by the cosine of the two pictures, and what a
model says: with c = cos(A, B) the lead of A has the mean slope * (1 - c) and the deviation noise * |A - B|, so that it
is above 0 with the probability Phi(slope / noise * sqrt((1 - c) / 2)). `cardrec.twins.TWINS` is where this falls below
`cardrec.decide.LEAST_CONFIDENCE` at `STRENGTH`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cardrec import Embedder
from cardrec.captures import capture, drawn_error
from cardrec.decide import LEAST_CONFIDENCE
from cardrec.embed import open_encoder
from cardrec.rectify import INPUT_SIZE
from training.data import CardImage, load_sources
from training.evaluate_printing import SOURCES

__all__ = ["bound", "main", "photographed", "table"]

Floats = NDArray[np.float64]

STRENGTH = 0.3
"""Of the captures: good light, a careful outline."""
CLOSE = 0.97
SEED = 95
EDGES = (CLOSE, 0.98, 0.99, 0.995, 0.997, 0.998, 0.999, 0.9995, 1 - 1e-6, 1.1)


def photographed(
    cards: Sequence[CardImage], vectors: NDArray[np.float32], embedder: Embedder, count: int, strength: float
) -> tuple[Floats, Floats]:
    """Of each photo of a card that another is close to: the cosine of the two pictures, and its own one's lead."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1.0)
    rng = np.random.default_rng(SEED)
    between, leads = [], []
    for index, other in enumerate(cosines.argmax(axis=1).tolist()):
        if cosines[index, other] >= CLOSE:
            errors = [drawn_error(rng, strength) for _ in range(count)]
            photos = [capture(cards[index].pixels, INPUT_SIZE, rng, error, strength) for error in errors]
            seen = embedder.encode([*photos])
            leads += (seen @ vectors[index] - seen @ vectors[other]).tolist()
            between += [float(cosines[index, other])] * count
    return np.array(between), np.array(leads)


def bound(cosines: Floats, leads: Floats) -> tuple[float, float, float]:
    """The cosine below which the right one leads often enough, and the model's slope and noise; twins are left out."""
    known = (cosines > EDGES[3]) & (cosines < EDGES[6])
    gaps, leads = 1 - cosines[known], leads[known]
    slope = float(np.mean(leads / gaps))
    noise = float(np.std((leads - slope * gaps) / np.sqrt(2 * gaps)))
    return 1 - 2 * (NormalDist().inv_cdf(LEAST_CONFIDENCE) * noise / slope) ** 2, slope, noise


def table(cosines: Floats, leads: Floats) -> str:
    """The share of photos whose own picture leads, as Markdown."""
    lines = ["| cosine from | photos | its own leads |", "|--:|--:|--:|"]
    for low, high in pairwise(EDGES):
        of = (cosines >= low) & (cosines < high)
        if of.any():
            lines.append(f"| {low:.6g} | {of.sum():,} | {100 * (leads[of] > 1e-6).mean():.1f} % |")
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=3, help="photos of each card")
    parser.add_argument("--strength", type=float, default=STRENGTH, help="of the captures, 0 to 1")
    options = parser.parse_args(given)
    cards = [card for source in load_sources(SOURCES, options.data) for card in source]
    with Embedder(open_encoder(threads=1), color="rgb") as embedder:
        vectors = np.concatenate([embedder.encode([card.pixels]) for card in cards])
        cosines, leads = photographed(cards, vectors, embedder, options.count, options.strength)
    least, slope, noise = bound(cosines, leads)
    print(table(cosines, leads))
    print(f"slope {slope:.3f}, noise {noise:.4f}: {100 * LEAST_CONFIDENCE:.0f} % lead at a cosine of {least:.5f}")
    languages: dict[str, list[NDArray[np.float32]]] = {}
    for card, vector in zip(cards, vectors, strict=True):
        languages.setdefault(card.card_id.split("/", 1)[1], []).append(vector)
    pairs = np.array([a @ b for a, b in (each for each in languages.values() if len(each) == 2)])
    if len(pairs):
        print(f"two languages: {len(pairs)} pairs, median {np.median(pairs):.4f}, {(pairs >= least).sum()} above")


if __name__ == "__main__":
    main()
