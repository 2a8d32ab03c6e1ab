"""The deck: what decides how each card looks, its sets, reprints and twins in a second language."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.render_easel import generator
from training.render_layouts import LAYOUTS, STRIKE_KINDS
from training.render_words import KINDS, name_card, name_set, to_vx

__all__ = ["RARITIES", "CardSpec", "deck"]

GAME = "Aetherfall"
RARITIES = ("common", "uncommon", "rare", "radiant")
REPRINTS, TWINS = 0.09, 0.085
"""Chances of each card; about 8 % of the deck after the ones that cannot be."""


@dataclass(frozen=True, slots=True)
class CardSpec:
    """Everything that decides how a card looks.

    Attributes:
        card_id: Unique, and a valid file name: `emb-017`, and `emb-017-vx` for its twin.
        number: The collector's number within the set, from 1.
        language: `en`, or the made-up `vx`.
        art_seed: Of the picture, the layout and the words; a reprint shares it with its original.
        set_seed: Of the set's symbol.
        frame_seed: Of the frame's style, which a set's own cards share; some reprints keep their original's.
        element: 0 to 5, which of the frame's colours.
    """

    card_id: str
    name: str
    set: str
    set_name: str
    number: int
    set_size: int
    language: str
    game: str
    rarity: str
    kind: str
    layout: int
    element: int
    art_seed: int
    set_seed: int
    frame_seed: int

    def meta(self) -> dict[str, str | int]:
        """What a catalog stores beside the card."""
        return {
            "name": self.name, "set": self.set, "number": self.number, "language": self.language, "game": self.game,
            "rarity": self.rarity,
        }  # fmt: skip


def _code(name: str, taken: set[str]) -> str:
    """Three letters for a set, the first of its name where they are free."""
    letters = [c for c in name.lower().replace(" of ", "").replace(" ", "") if c.isalpha()]
    for a in range(1, len(letters)):
        for b in range(a + 1, len(letters)):
            code = letters[0] + letters[a] + letters[b]
            if code not in taken:
                return code
    return f"{letters[0]}{len(taken)}"


def _open_sets(seed: int, block: int, taken: set[str]) -> tuple[list[CardSpec], list[int]]:
    """Three sets that come out together: a blank card of each, and the order in which their cards appear."""
    rng, blanks = generator(seed, 1, block), []
    for _ in range(3):
        name, size = name_set(rng), int(rng.integers(100, 201))
        code = _code(name, taken)
        taken.add(code)
        style = int(rng.integers(2**31))
        blanks.append(CardSpec("", "", code, name, 0, size, "en", GAME, "", "", 0, 0, 0, style, style))
    order = np.repeat(np.arange(3), [blank.set_size for blank in blanks])
    return blanks, list(map(int, rng.permutation(order)))


def _fresh(blank: CardSpec, rng: np.random.Generator, names: set[str]) -> CardSpec:
    """A new card of the set."""
    kind = str(rng.choice(KINDS, p=[0.34, 0.2, 0.16, 0.1, 0.1, 0.1]))
    name = name_card(rng, kind)
    while name in names:
        name = name_card(rng, kind)
    names.add(name)
    layout = (
        int(rng.choice(STRIKE_KINDS)) if kind == "Beast" and rng.random() < 0.6 else int(rng.integers(len(LAYOUTS)))
    )
    return replace(
        blank, name=name, kind=kind, layout=layout, element=int(rng.integers(6)), art_seed=int(rng.integers(2**31))
    )


def _again(blank: CardSpec, original: CardSpec, rng: np.random.Generator) -> CardSpec:
    """A reprint: the original's picture and words under this set's symbol, in its old frame or in this set's."""
    kept = rng.random() < 0.5
    return replace(
        original, set=blank.set, set_name=blank.set_name, set_size=blank.set_size, set_seed=blank.set_seed,
        frame_seed=original.frame_seed if kept else blank.frame_seed,
    )  # fmt: skip


def deck(count: int, *, seed: int) -> list[CardSpec]:
    """The first `count` cards of the endless deck of this seed; a shorter deck is the beginning of a longer one.

    Sets of 100 to 200 cards come out three at a time. About 8 % of the cards are reprints and 8 % twins in `vx`.
    """
    cards: list[CardSpec] = []
    originals: list[CardSpec] = []
    taken: set[str] = set()
    names: set[str] = set()
    block = 0
    printed: set[tuple[int, str]] = set()
    while len(cards) < count:
        blanks, order = _open_sets(seed, block, taken)
        numbers = [0, 0, 0]
        for place, which in enumerate(order):
            rng, blank = generator(seed, 2, block, place), blanks[which]
            numbers[which] += 1
            older = [card for card in originals[-400:] if (card.art_seed, blank.set) not in printed]
            fresh = len(older) < 10 or rng.random() >= REPRINTS
            card = _fresh(blank, rng, names) if fresh else _again(blank, older[int(rng.integers(len(older)))], rng)
            rarity = str(rng.choice(RARITIES, p=[0.5, 0.3, 0.15, 0.05]))
            card = replace(card, card_id=f"{card.set}-{numbers[which]:03d}", number=numbers[which], rarity=rarity)
            cards.append(card)
            printed.add((card.art_seed, card.set))
            originals += [card] if fresh else []
            if rng.random() < TWINS:
                cards.append(replace(card, card_id=f"{card.card_id}-vx", language="vx", name=to_vx(card.name)))
        block += 1
    return cards[:count]
