"""Rendered cards that were printed twice: the same picture, words and frame under another set's symbol and number.

A reprint takes its set's symbol, code and size from the next set of the deck, and a number in it. On a card 88 mm high
the symbol is about 3 mm wide and the number 1.5 mm high: 0.2 to 0.3 % of the card's pixels differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from training.data import CardImage
from training.render import CardSpec, deck, render

__all__ = ["AGAIN", "FIRST", "printed_twice", "reprinted"]

FIRST, AGAIN = "first", "again"
"""Before the names of a card's two printings."""
SEED = 91
"""Of the deck that is measured on; of no other use, so that nothing was trained or fitted on its cards."""
HEIGHT_PX = 704


def printed_twice(count: int, seed: int = SEED) -> list[CardImage]:
    """So many cards of a deck, each followed by its reprint: 2 * count pictures."""
    originals = _originals(count, seed)
    cards = []
    for original, reprint in zip(originals, reprinted(originals), strict=True):
        for which, spec in ((FIRST, original), (AGAIN, reprint)):
            name = f"{which}/{seed}-{original.card_id}"
            cards.append(CardImage(name, name, render(spec, height_px=HEIGHT_PX)))
    return cards


def reprinted(originals: Sequence[CardSpec]) -> list[CardSpec]:
    """The reprint of each; they are of three sets at least."""
    sets = {spec.set: spec for spec in originals}
    codes = list(sets)
    following = {code: sets[codes[(place + 1) % len(codes)]] for place, code in enumerate(codes)}
    return [_in_set(spec, following[spec.set]) for spec in originals]


def _in_set(spec: CardSpec, other: CardSpec) -> CardSpec:
    number = 1 + (spec.number * 7 + 40) % other.set_size
    return replace(
        spec, set=other.set, set_name=other.set_name, set_size=other.set_size, set_seed=other.set_seed, number=number
    )


def _originals(count: int, seed: int) -> list[CardSpec]:
    """The deck's first cards in one language, one of each artwork."""
    asked = count
    while True:
        found = {spec.art_seed: spec for spec in reversed(deck(asked, seed=seed)) if spec.language == "en"}
        if len(found) >= count:
            return list(reversed(found.values()))[:count]
        asked *= 2
