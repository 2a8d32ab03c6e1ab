"""Items to rows: pictures are encoded batch by batch and written, unreadable ones are reported, nothing is merged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from cardrec.bulk import Engine, LocalEngine, Pending, unit_rows
from cardrec.cards import check_card
from cardrec.errors import CatalogError, InputError
from cardrec.image import load
from cardrec.picture_paths import place_of
from cardrec.pictures import PictureKind, shrunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cardrec.bulk import Outcome
    from cardrec.duplicates import Duplicate
    from cardrec.importer import Item
    from cardrec.segment_writer import SegmentWriter
    from cardrec.snapshot import Snapshot
    from cardrec.types import Color, ImageLike

__all__ = [
    "BuildReport",
    "CardEncoder",
    "OnDuplicate",
    "OnSkip",
    "Progress",
    "Skipped",
    "write_items",
    "write_vectors",
]

BATCH = 16
_CHUNK_ROWS = 1024
_PATHS = (str, os.PathLike)

OnDuplicate = Literal["error", "keep-all"]
"""A card_id that occurs again: an error, or another view of the same card."""

OnSkip = Callable[[str, str, str], None]
"""Called with (card_id, source, reason) for each picture that could not be used."""

Progress = Callable[[str, int, "int | None"], None]
"""Called with (stage, done, total): stage is ``"encode"`` or ``"duplicates"``, total is None where it is not known."""


class CardEncoder(Protocol):
    """What building a catalog needs of an encoder; an `Embedder` is one, and so is a `Recognizer`."""

    @property
    def fingerprint(self) -> str:
        """Names the model."""

    @property
    def preprocessing_hash(self) -> str:
        """Names the preprocessing."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def encode(self, images: list[ImageLike], /) -> NDArray[np.float32]:
        """The (n, dimension) vectors of some pictures of whole cards."""


class Skipped(NamedTuple):
    """A picture that could not be used, and why."""

    card_id: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What came of a build or append.

    Attributes:
        added: rows written.
        skipped: the pictures that could not be used.
        duplicates: pairs of cards under different ids whose pictures are the same, or nearly so.
        twins: groups of cards that no photo tells apart, some of them new; see `Catalog.twins`.
    """

    added: int
    skipped: list[Skipped] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    twins: list[tuple[str, ...]] = field(default_factory=list)


def write_vectors(
    writer: SegmentWriter,
    card_ids: Sequence[str],
    vectors: NDArray[Any],
    meta: Sequence[Mapping[str, object]] | None,
    on_duplicate: OnDuplicate,
) -> None:
    """Write rows whose vectors are known already, scaled to length 1.

    Raises:
        InputError: an id, a metadata mapping or a vector can't be used.
        CatalogError: a card_id occurs again.
    """
    ids = _Ids(writer, None, on_duplicate)
    for start in range(0, len(card_ids), _CHUNK_ROWS):
        part = slice(start, min(start + _CHUNK_ROWS, len(card_ids)))
        metas = [{}] * (part.stop - start) if meta is None else meta[part]
        cards = [check_card(card_id, each) for card_id, each in zip(card_ids[part], metas, strict=True)]
        for card_id, _ in cards:
            ids.add(card_id)
        writer.add(cards, unit_rows(vectors[part], card_ids[part]))
        ids.written(card_ids[part])


def write_items(
    writer: SegmentWriter,
    existing: Snapshot | None,
    items: Iterable[Item],
    encoder: CardEncoder,
    *,
    on_duplicate: OnDuplicate,
    on_skip: OnSkip | None,
    progress: Progress | None,
    pictures: PictureKind | None = None,
    seen: Callable[[str, ImageLike], None] | None = None,
    engine: Engine | None = None,
) -> list[Skipped]:
    """Encode and write items, few batches in memory at a time; returns the pictures that could not be used.

    The ids of ``existing``, the catalog that the segment will join, count as taken; ``seen`` is called with each
    picture that was written; the rest is as in `Catalog.build`.

    Raises:
        InputError: an item is no (card_id, image, metadata), or its image no path where those are to be kept.
        CatalogError: a card_id occurs again, or no picture at all could be used.
    """
    ids = _Ids(writer, existing, on_duplicate)
    total = len(items) if isinstance(items, Sized) else None
    color: Color = getattr(encoder, "color", "bgr")
    skipped: list[Skipped] = []
    done = 0
    source = _batches(items, ids, by_path=pictures == "paths")
    for batch, outcomes in (engine or LocalEngine(encoder)).run(source):
        done += len(batch)
        kept, vectors = _readable(batch, outcomes, skipped, on_skip)
        if kept:
            _keep_pictures(writer, [each.image for each in kept], pictures, color)
            writer.add([(each.card_id, each.text) for each in kept], np.stack(vectors))
        if seen is not None:
            for each in kept:
                seen(each.card_id, each.image)
        ids.written(each.card_id for each in kept)
        if progress is not None:
            progress("encode", done, total)
    if done and not writer.rows:
        raise CatalogError(
            f"none of {done} pictures could be used; the first was {skipped[0].source}: {skipped[0].reason}"
        )
    return skipped


def _keep_pictures(writer: SegmentWriter, images: list[ImageLike], kind: PictureKind | None, color: Color) -> None:
    if kind == "webp":
        writer.add_pictures([shrunk(load(image, color=color)) for image in images])
    elif kind == "paths":
        writer.add_paths([place_of(image, writer.catalog) for image in images if isinstance(image, _PATHS)])


def _batches(items: Iterable[Item], ids: _Ids, *, by_path: bool) -> Iterator[list[Pending]]:
    batch: list[Pending] = []
    for number, item in enumerate(items, start=1):
        batch.append(_checked(item, number))
        if by_path and not isinstance(batch[-1].image, _PATHS):
            raise InputError(
                f"the image of card {batch[-1].card_id!r} is {_source(batch[-1].image)}, which lies in no file; "
                "pictures='paths' takes paths, 'webp' keeps a copy of any picture"
            )
        ids.add(batch[-1].card_id)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Ids:
    """The ids that are taken: in the catalog, in the segment being written, or not written, or not yet."""

    def __init__(self, writer: SegmentWriter, existing: Snapshot | None, on_duplicate: OnDuplicate) -> None:
        if on_duplicate not in ("error", "keep-all"):
            raise InputError(f"on_duplicate is {on_duplicate!r}; 'error' or 'keep-all' was expected")
        self._writer = writer
        self._existing = existing
        self._keep_all = on_duplicate == "keep-all"
        self._unwritten: set[str] = set()

    def add(self, card_id: str) -> None:
        """Take an id, or refuse it."""
        if self._keep_all:
            return
        taken = self._existing is not None and card_id in self._existing
        if taken or card_id in self._unwritten or card_id in self._writer:
            what = "is in the catalog already" if taken else "occurs twice"
            raise CatalogError(
                f"card_id {card_id!r} {what}; give each card its own id, or say on_duplicate='keep-all' to keep "
                f"several views of one card"
            )
        self._unwritten.add(card_id)

    def written(self, card_ids: Iterable[str]) -> None:
        """These are in the segment now."""
        self._unwritten.difference_update(card_ids)


def _checked(item: Item, number: int) -> Pending:
    if not isinstance(item, tuple) or len(item) != 3:
        raise InputError(f"item {number} is {item!r:.80}; a tuple (card_id, image, metadata) was expected")
    card_id, image, meta = item
    card_id, text = check_card(card_id, meta)
    return Pending(card_id, text, image)


def _readable(
    batch: list[Pending], outcomes: list[Outcome], skipped: list[Skipped], on_skip: OnSkip | None
) -> tuple[list[Pending], list[NDArray[np.float32]]]:
    """The cards of a batch that have a vector, and the vectors; the others are reported."""
    kept: list[Pending] = []
    vectors: list[NDArray[np.float32]] = []
    for each, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, Exception):
            skipped.append(Skipped(each.card_id, _source(each.image), str(outcome)))
            if on_skip is not None:
                on_skip(*skipped[-1])
        else:
            kept.append(each)
            vectors.append(outcome)
    return kept, vectors


def _source(image: object) -> str:
    return os.fspath(image) if isinstance(image, _PATHS) else f"<{type(image).__name__}>"
