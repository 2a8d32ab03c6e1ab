"""How far networks that should say the same differ: their vectors, what these name, and the whole way.

Every network is asked the same: simulated photos (`simulate.py`, another model of a camera than the calibration's) of
some of the cards, all of which are in a catalog of the network's own, as users build it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cardrec import Catalog, Recognizer
from cardrec.embed import Embedder
from cardrec.encode import Encoder, chunks
from cardrec.types import ImageLike
from training.data import CardImage
from training.evaluate_frames import named_first, outcome, take_frame
from training.material import Material
from training.queries import Condition, photograph
from training.references import Mapper
from training.simulate import Level

__all__ = ["COSINES", "Compared", "compare", "lines"]

LEVELS: tuple[Level, ...] = ("easy", "hard")
CORNER_ERROR = 0.01
"""Of the crops' outlines, as a share of the card's width: about what the detector leaves."""
COSINES = (0.0, 0.01, 0.05, 0.5)
"""Quantiles of the cosines between a network's vectors and the first network's."""
BATCH = 32
"""Frames in memory."""

Floats = NDArray[np.float32]


@dataclass(slots=True)
class Compared:
    """What was measured of one network; lists have one entry for a photo, the same photos for every network.

    Attributes:
        name: of the network, or of what runs it.
        calibration: what its catalog was calibrated to.
        cosines: of its vectors with the first network's, catalog pictures and crops.
        crops: whether the right card comes first for a crop with a nearly right outline.
        first: whether it comes first on the whole way, misses counted.
        right: whether it is named besides.
    """

    name: str
    calibration: Mapping[str, float]
    cosines: list[float] = field(default_factory=list)
    crops: list[bool] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def figures(self, reference: Compared) -> dict[str, Any]:
        """Plain numbers, losses in points against another network on the same photos."""
        lost, gained = _changed(reference.first, self.first)
        return {
            "name": self.name,
            "cosine": [round(float(np.quantile(self.cosines, share)), 4) for share in COSINES],
            "crops": len(self.crops),
            "crops_right": sum(self.crops),
            "photos": len(self.first),
            "first": sum(self.first),
            "named": sum(self.right),
            "loss_points": round(100 * (lost - gained) / len(self.first), 2),
            "loss_error_points": round(100 * float(np.sqrt(lost + gained)) / len(self.first), 2),
            "lost": lost,
            "gained": gained,
        }


def _changed(before: Sequence[bool], after: Sequence[bool]) -> tuple[int, int]:
    """Photos that were right and are no more, and the other way round."""
    pairs = list(zip(before, after, strict=True))
    return sum(old and not new for old, new in pairs), sum(new and not old for old, new in pairs)


def compare(encoders: Mapping[str, Encoder], material: Material, mapper: Mapper = map) -> list[Compared]:
    """Asks every network the same; the first is what the others are compared with.

    Args:
        encoders: by name. Those of one bundle search one catalog, which the first of them builds.
        material: what is searched and asked for; one photo of each at each level.
        mapper: takes photos, in other processes if it likes.
    """
    with _catalogs(encoders, material.catalog) as catalogs:
        entrants = [
            Entrant(
                Compared(name, _numbers(catalogs[encoder.model.fingerprint])),
                encoder,
                catalogs[encoder.model.fingerprint],
            )
            for name, encoder in encoders.items()
        ]
        _ask_crops(entrants, material, mapper)
        _ask_frames(entrants, material, mapper)
    return [one.found for one in entrants]


@dataclass(frozen=True, slots=True)
class Entrant:
    """A network with its catalog, and what is found of it."""

    found: Compared
    encoder: Encoder
    catalog: Catalog


def _numbers(catalog: Catalog) -> dict[str, float]:
    return {name: float(value) for name, value in (catalog.calibration or {}).items()}


@contextmanager
def _catalogs(encoders: Mapping[str, Encoder], cards: Sequence[CardImage]) -> Iterator[dict[str, Catalog]]:
    """A catalog of all cards for each fingerprint."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found: dict[str, Catalog] = {}
        for encoder in encoders.values():
            name = encoder.model.fingerprint
            if name in found:
                continue
            items: Iterator[tuple[str, ImageLike, dict[str, object]]] = (
                (card.card_id, Image.fromarray(card.pixels), {}) for card in cards
            )
            Catalog.build(Path(folder) / name, items, encoder=Embedder(encoder), near=None)
            found[name] = stack.enter_context(Catalog.open(Path(folder) / name))
        yield found


def _ask_crops(entrants: Sequence[Entrant], material: Material, mapper: Mapper) -> None:
    faces = {card.card_id: card.face for card in material.catalog}
    groups = [[card.pixels for card in material.asked]]
    groups += [list(mapper(partial(photograph, Condition(level, CORNER_ERROR)), material.asked)) for level in LEVELS]
    for number, pictures in enumerate(groups):
        first: Floats | None = None
        for one in entrants:
            vectors = Embedder(one.encoder, color="rgb").encode(pictures)
            first = vectors if first is None else first
            one.found.cosines += (vectors * first).sum(axis=1).tolist()
            if number:
                best = one.catalog.search(vectors, 1)[0][:, 0].tolist()
                named = [faces[one.catalog.card(row)[0]] for row in best]
                one.found.crops += [face == card.face for face, card in zip(named, material.asked, strict=True)]


def _ask_frames(entrants: Sequence[Entrant], material: Material, mapper: Mapper) -> None:
    same: dict[str, set[str]] = {}
    for card in material.catalog:
        same.setdefault(card.face, set()).add(card.card_id)
    with ExitStack() as stack:
        recognizers = [stack.enter_context(Recognizer(one.catalog, encoder=one.encoder)) for one in entrants]
        for level in LEVELS:
            for batch in chunks(material.asked, BATCH):
                for card, frame in zip(batch, mapper(partial(take_frame, level), batch), strict=True):
                    for one, recognizer in zip(entrants, recognizers, strict=True):
                        result = recognizer.identify(frame)
                        one.found.first.append(named_first(result, same[card.face]))
                        one.found.right.append(outcome(result, same[card.face]) == "right")


def lines(found: Sequence[dict[str, Any]]) -> list[str]:
    """The figures as a Markdown table."""
    head = [
        "| network | cosine: least, 1 %, 5 %, median | crops, right first | whole way, right first | named | loss |"
    ]
    rule = ["|---|---|---|---|---|---|"]
    rows = [
        f"| {one['name']} | {', '.join(f'{cosine:.4f}' for cosine in one['cosine'])} "
        f"| {one['crops_right'] / one['crops']:.2%} of {one['crops']} "
        f"| {one['first'] / one['photos']:.2%} of {one['photos']} | {one['named'] / one['photos']:.2%} "
        f"| {one['loss_points']:+.2f} +- {one['loss_error_points']:.2f} points "
        f"({one['lost']} lost, {one['gained']} gained) |"
        for one in found
    ]
    return head + rule + rows
