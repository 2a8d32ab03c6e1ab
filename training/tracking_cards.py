"""Which cards a tracking evaluation films, and the catalog that they are looked up in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cardrec import Catalog, Embedder, Recognizer
from cardrec.embed import open_encoder
from cardrec.encode import chunks
from training.data import CardImage
from training.evaluate_frames import without_twins
from training.references import examined
from training.settings import read_settings

__all__ = ["Cards", "choose_cards", "open_recognizer"]

STRANGERS = 10
"""Every so manieth face that may be filmed is left out of the catalog."""

MAX_CARDS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Cards:
    """Faces to film and to look up.

    Attributes:
        catalog: one card of each face.
        known: cards of faces that no training saw, in the catalog.
        strangers: such cards of faces that the catalog lacks.
    """

    catalog: list[CardImage]
    known: list[CardImage]
    strangers: list[CardImage]


def choose_cards(config: Path, data: Path, *, tuning: bool) -> Cards:
    """One card of each face of a training's sources, and of those that no training saw, every second.

    Args:
        config: the training's, for what it held out.
        data: folder that its paths start from.
        tuning: the other half, which the tracker's constants were chosen with.
    """
    sources = [source for source in examined(read_settings(config), data) if not source.other_language]
    faces = {card.face: card for source in sources for card in reversed(source.cards)}
    unseen = sorted({card.face for source in sources for card in source.queries})
    left_out = set(unseen[::STRANGERS])
    catalog = [card for face, card in faces.items() if face not in left_out]
    half = [face for face in unseen if face not in left_out][tuning::2]
    strangers = without_twins([faces[face] for face in sorted(left_out)[tuning::2]], catalog)
    return Cards(catalog, [faces[face] for face in half], strangers)


@contextmanager
def open_recognizer(cards: Cards, folder: Path, *, model: Path | None, threads: int) -> Iterator[Recognizer]:
    """A recognizer over the catalog; what the encoder made of the references is kept in the folder."""
    encoder = open_encoder(model, threads=threads)
    path = folder / f"references-{encoder.model.fingerprint[:12]}-{len(cards.catalog)}.npy"
    if path.exists():
        vectors = np.load(path)
    else:
        embedder = Embedder(encoder, color="rgb")
        vectors = np.concatenate(
            [embedder.encode([card.pixels for card in some]) for some in chunks(cards.catalog, 64)]
        )
        np.save(path, vectors)
    catalog = Catalog.from_vectors(
        folder / "references.cardrec",
        [card.face for card in cards.catalog],
        vectors,
        fingerprint=encoder.model.fingerprint,
        preprocessing_hash=encoder.model.preprocessing_hash,
        overwrite=True,
    )
    with closing(encoder), catalog, Recognizer(catalog, encoder=encoder, max_cards=MAX_CARDS) as recognizer:
        yield recognizer
