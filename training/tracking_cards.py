"""Which cards a tracking evaluation films, and the catalog that they are looked up in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cardrec import Catalog, Embedder, Recognizer
from cardrec.cli_options import TABLE
from cardrec.embed import open_encoder
from cardrec.encode import chunks
from training.data import CardImage
from training.evaluate_frames import without_twins
from training.references import Source, examined
from training.settings import read_settings

__all__ = ["Cards", "choose_cards", "open_recognizer"]

STRANGERS = 10
"""Every so manieth face that may be filmed is left out of the catalog."""


@dataclass(frozen=True, slots=True, eq=False)
class Cards:
    """Faces to film and to look up.

    Attributes:
        catalog: one card of each face.
        known: cards of faces that no training saw, in the catalog.
        strangers: such cards of faces that the catalog lacks.
        printings: all cards that show an artwork of the catalog in another language.
        twins: known cards, each with its printing in another language, which no training saw either.
    """

    catalog: list[CardImage]
    known: list[CardImage]
    strangers: list[CardImage]
    printings: list[CardImage] = field(default_factory=list)
    twins: list[tuple[CardImage, CardImage]] = field(default_factory=list)


def choose_cards(config: Path, data: Path, *, tuning: bool) -> Cards:
    """One card of each face of a training's sources, and of those that no training saw, every second.

    Args:
        config: the training's, for what it held out.
        data: folder that its paths start from.
        tuning: the other half, which the tracker's constants were chosen with.
    """
    every = examined(read_settings(config), data)
    sources = [source for source in every if not source.other_language]
    faces = {card.face: card for source in sources for card in reversed(source.cards)}
    unseen = sorted({card.face for source in sources for card in source.queries})
    left_out = set(unseen[::STRANGERS])
    catalog = [card for face, card in faces.items() if face not in left_out]
    half = [face for face in unseen if face not in left_out][tuning::2]
    strangers = without_twins([faces[face] for face in sorted(left_out)[tuning::2]], catalog)
    printings = [card for source in every if source.other_language for card in source.cards]
    twins = [each for each in _twins(every) if each[0].face not in left_out]
    return Cards(catalog, [faces[face] for face in half], strangers, printings, twins[tuning::2])


def _twins(sources: Sequence[Source]) -> list[tuple[CardImage, CardImage]]:
    """Cards that may be filmed, by artwork: one in the one language and one in the other."""
    ours, others = (
        {source.artwork(card): card for source in sources if source.other_language == other for card in source.queries}
        for other in (False, True)
    )
    return [(ours[artwork], others[artwork]) for artwork in sorted(ours.keys() & others.keys())]


@contextmanager
def open_recognizer(
    cards: Sequence[CardImage], folder: Path, *, model: Path | None, threads: int, max_cards: int = TABLE
) -> Iterator[Recognizer]:
    """A recognizer over a catalog of these; what the encoder made of them is kept in the folder."""
    encoder = open_encoder(model, threads=threads)
    vectors = np.stack(_encoded(cards, Embedder(encoder, color="rgb"), folder))
    catalog = Catalog.from_vectors(
        folder / "references.cardrec",
        [card.face for card in cards],
        vectors,
        fingerprint=encoder.model.fingerprint,
        preprocessing_hash=encoder.model.preprocessing_hash,
        overwrite=True,
    )
    with closing(encoder), catalog, Recognizer(catalog, encoder=encoder, max_cards=max_cards) as recognizer:
        yield recognizer


def _encoded(cards: Sequence[CardImage], embedder: Embedder, folder: Path) -> list[NDArray[np.float32]]:
    """Unit vectors, from a file where a card was encoded before."""
    path = folder / f"references-{embedder.fingerprint[:12]}.npz"
    known = dict(np.load(path)) if path.exists() else {}
    lacking = [card for card in cards if card.card_id not in known]
    for some in chunks(lacking, 64):
        vectors = embedder.encode([card.pixels for card in some])
        known |= {card.card_id: vector for card, vector in zip(some, vectors, strict=True)}
    if lacking:
        np.savez(path, **known)
    return [known[card.card_id] for card in cards]
