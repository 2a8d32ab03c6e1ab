"""The catalog of an evaluation: the pictures of a config's sources and as many rendered cards as it takes.

Rows are in three blocks: the sources that are measured, rendered cards of a deck of their own, and the sources that
show the same art in another language. What networks made of them is kept in files, so that a second run is quick.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec.encode import chunks
from training.data import CardImage, load_sources, source_name, split
from training.methods import Method
from training.render import CardSpec, deck, render
from training.settings import Settings

__all__ = ["References", "Source", "examined", "make_references"]

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Picture = NDArray[np.uint8]
Mapper = Callable[..., Iterable[Any]]
"""`map`, here or in other processes."""

DECK_SEED = 50
"""A deck of its own: neither trained on nor in the demo."""
HEIGHT_PX = 320
"""Of a rendered card; the published pictures at hand are as large."""
CHUNK = 64
AHEAD = 4
"""Chunks that are drawn, or are about to be, while one is encoded."""


@dataclass(frozen=True, slots=True)
class Source:
    """The cards of one source.

    Attributes:
        name: the source's.
        cards: all of them.
        queries: those that may be photographed: of faces that no training saw.
        art: name of the source that shows the same art under the same file names; its own, if there is none.
        other_language: whether that is another one.
    """

    name: str
    cards: list[CardImage]
    queries: list[CardImage]
    art: str

    @property
    def other_language(self) -> bool:
        return self.art != self.name

    def artwork(self, card: CardImage) -> str:
        """The name of a card's artwork, the same in every language."""
        return f"{self.art}/{card.face.split('/', 1)[1]}"


def examined(settings: Settings, data: Path) -> list[Source]:
    """The sources of a training. ``measured`` narrows a source's queries to file names that start with one of these.

    Sources that are not evaluated, nor tell whose art they show, are left out.
    """
    chosen = [source for source in settings.source if source.get("evaluate", True) or "split_as" in source]
    found = []
    for source, cards in zip(chosen, load_sources(chosen, data), strict=True):
        _, unseen = split(cards, source, settings.held_out)
        name = source_name(source)
        prefixes = tuple(source.get("measured", [""]))
        queries = [card for card in unseen if card.card_id.split("/", 1)[1].startswith(prefixes)]
        found.append(Source(name, cards, queries, source.get("split_as", name)))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """What is searched.

    Attributes:
        card_ids: of all rows.
        faces: (n,) int64; rows that show one printing have one number.
        artworks: (n,) int64; the same, printings in other languages included.
        vectors: (n, d) unit vectors, by the method's name.
        catalog: rows of the catalog proper, without the last block.
        pictures: of the rows that are files, by card_id; rendered cards are drawn when they are asked for.
    """

    card_ids: list[str]
    faces: Integers
    artworks: Integers
    vectors: Mapping[str, Floats]
    catalog: int
    pictures: Mapping[str, Picture]
    specs: Mapping[str, CardSpec]

    def rows(self, cards: Sequence[CardImage]) -> Integers:
        """(m,) the row of each card."""
        place = {card_id: row for row, card_id in enumerate(self.card_ids)}
        return np.array([place[card.card_id] for card in cards], np.int64)

    def picture(self, row: int) -> Picture:
        """The row's picture, RGB."""
        card_id = self.card_ids[row]
        return self.pictures[card_id] if card_id in self.pictures else render_reference(self.specs[card_id])


def make_references(
    sources: Sequence[Source], count: int, methods: Sequence[Method], cache: Path, mapper: Mapper = map
) -> References:
    """Draws what is lacking to ``count`` rows and encodes all.

    Args:
        sources: as `load_sources` gives them.
        count: rows of the catalog, at least; printings in another language come on top.
        methods: what encodes.
        cache: folder of encoded rows; made if it is not there.
        mapper: draws cards, in other processes if it likes.
    """
    cache.mkdir(parents=True, exist_ok=True)
    ours = [(source, card) for source in sources if not source.other_language for card in source.cards]
    others = [(source, card) for source in sources if source.other_language for card in source.cards]
    specs = deck(count - len(ours), seed=DECK_SEED) if count > len(ours) else []
    drawn = [f"rendered/{spec.card_id}" for spec in specs]
    card_ids = [card.card_id for _, card in ours] + drawn + [card.card_id for _, card in others]
    faces = [card.face for _, card in ours] + drawn + [card.face for _, card in others]
    artworks = [s.artwork(card) for s, card in ours] + drawn + [s.artwork(card) for s, card in others]
    blocks = [
        encoded(methods, cache, [card.pixels for _, card in ours]),
        encoded_deck(methods, cache, specs, mapper),
        encoded(methods, cache, [card.pixels for _, card in others]),
    ]
    return References(
        card_ids,
        numbered(faces),
        numbered(artworks),
        {method.name: np.concatenate([block[method.name] for block in blocks]) for method in methods},
        len(ours) + len(drawn),
        {card.card_id: card.pixels for _, card in ours + others},
        dict(zip(drawn, specs, strict=True)),
    )


def numbered(names: Sequence[str]) -> Integers:
    """(n,) a number for each name, the same for equal names."""
    number = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], np.int64)


def encoded(methods: Sequence[Method], cache: Path, pictures: Sequence[Picture]) -> dict[str, Floats]:
    """(n, d) vectors of each method, from files where these pictures were encoded before."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(picture.tobytes())
    name = digest.hexdigest()[:16]
    return {m.name: cached(cache / f"{m.key}-{name}.npy", partial(encode, m, pictures)) for m in methods}


def encode(method: Method, pictures: Sequence[Picture]) -> Floats:
    return method.encode(pictures) if pictures else np.empty((0, method.encode([_BLANK]).shape[1]), np.float32)


_BLANK = np.zeros((320, 229, 3), np.uint8)


def cached(path: Path, make: Callable[[], Floats]) -> Floats:
    """The array in the file; where there is none, it is made and written."""
    if path.exists():
        return np.asarray(np.load(path), np.float32)
    array = make()
    save(path, array)
    return array


def save(path: Path, array: Floats) -> None:
    """Writes beside the file's place, then renames: a killed run leaves no half of it."""
    beside = path.with_suffix(".part.npy")
    np.save(beside, array)
    beside.rename(path)


def render_reference(spec: CardSpec) -> Picture:
    return render(spec, height_px=HEIGHT_PX)


def encoded_deck(
    methods: Sequence[Method], cache: Path, specs: Sequence[CardSpec], mapper: Mapper
) -> dict[str, Floats]:
    """The same for rendered cards, which are drawn only where a method has not encoded them before.

    Files are named after what decides how the cards look; after a change of the renderer, empty the cache.
    """
    blocks: dict[str, list[Floats]] = {method.name: [encode(method, [])] for method in methods}
    for chunk, pictures in drawn_chunks(methods, cache, specs, mapper):
        for method in methods:
            blocks[method.name].append(cached(chunk_path(cache, method, chunk), partial(encode, method, pictures)))
    return {name: np.concatenate(block) for name, block in blocks.items()}


def chunk_path(cache: Path, method: Method, chunk: Sequence[CardSpec]) -> Path:
    digest = hashlib.sha256(repr((HEIGHT_PX, chunk)).encode()).hexdigest()[:16]
    return cache / f"{method.key}-deck-{digest}.npy"


def drawn_chunks(
    methods: Sequence[Method], cache: Path, specs: Sequence[CardSpec], mapper: Mapper
) -> Iterator[tuple[list[CardSpec], list[Picture]]]:
    """Chunks of the deck with their pictures, or without where every method has encoded them before."""
    parts = list(chunks(specs, CHUNK))
    lacking = [not all(chunk_path(cache, method, part).exists() for method in methods) for part in parts]
    queue: deque[Iterable[Picture]] = deque()
    begun = 0
    for number, part in enumerate(parts):
        while begun < min(number + AHEAD, len(parts)):  # processes draw on meanwhile, but not the whole deck
            queue.append(mapper(render_reference, parts[begun] if lacking[begun] else []))
            begun += 1
        yield part, list(queue.popleft())
