"""One state of a catalog, as read: what a search and a lookup see, whatever writers do meanwhile."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cardrec import manifest as manifests
from cardrec.cards import Filter, parse_filter
from cardrec.errors import InputError
from cardrec.files import unsound
from cardrec.layout import segments_folder
from cardrec.search import Matrix, QuantisedVectors, pack_rows
from cardrec.segment import Segment
from cardrec.twins import Twins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from cardrec.manifest import Manifest
    from cardrec.pictures import PictureKind

__all__ = ["Snapshot", "VerifyReport", "read_stable"]

_CACHED_FILTERS = 32
_ATTEMPTS = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was read and found sound: files, their bytes, rows, and how many of the rows are removed.

    ``lost_pictures`` are those kept by path whose file is gone or is not what was embedded: these cards get no second
    look, the catalog is sound without them.
    """

    files: int
    bytes: int
    rows: int
    removed: int
    lost_pictures: int = 0


def read_stable(folder: Path, action: Callable[[Manifest], T]) -> T:
    """Read the manifest and act on it; again, if another process swapped the files away in between.

    Raises:
        CatalogFormatError: the catalog is not sound, or a file is missing that its manifest names.
    """
    state = manifests.read(folder)
    for _ in range(_ATTEMPTS):
        try:
            return action(state)
        except FileNotFoundError as error:
            previous, state = state, manifests.read(folder)
            if state.generation == previous.generation:
                raise unsound(Path(error.filename or segments_folder(folder)), "is missing") from error
    raise unsound(folder / manifests.MANIFEST, f"changed {_ATTEMPTS} times while it was opened", "try again")


class Snapshot:
    """An immutable view of a catalog: rows keep their numbers and their cards for as long as it is held. Thread-safe.

    Rows are numbered over all segments in their order; removed rows keep their number until the catalog is compacted.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Open all segments of a manifest; see `Segment` for the errors."""
        self.manifest = manifest
        self.segments = [Segment(folder, entry, manifest) for entry in manifest.segments]
        self._starts = [0]
        for segment in self.segments:
            self._starts.append(self._starts[-1] + segment.entry.rows)
        self.basis = self.segments[0].basis if self.segments else None
        self._matrix = Matrix([segment.arrays() for segment in self.segments], basis=self.basis)
        self._live = self._live_mask()
        self._live_words = None if self._live is None else pack_rows(self._live)
        self._live_rows = self._starts[-1] if self._live is None else int(self._live.sum())
        self._twins = Twins([segment.twins for segment in self.segments], self._live)
        self._filters: OrderedDict[Filter, NDArray[np.uint64]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path) -> Snapshot:
        """The present state of the catalog in a folder."""
        return read_stable(folder, lambda manifest: cls(folder, manifest))

    def _live_mask(self) -> NDArray[np.bool_] | None:
        if all(segment.removed is None for segment in self.segments):
            return None
        live = np.ones(self._starts[-1], np.bool_)
        for start, segment in zip(self._starts, self.segments, strict=False):
            if segment.removed is not None:
                live[start : start + segment.entry.rows] = ~segment.removed
        return live

    def __len__(self) -> int:
        """Rows that are not removed."""
        return self._live_rows

    @property
    def rows(self) -> int:
        """Rows with a number, removed ones included."""
        return self._starts[-1]

    def __contains__(self, card_id: object) -> bool:
        return isinstance(card_id, str) and any(len(rows) for _, rows in self.find(card_id))

    def search(
        self, vectors: ArrayLike | QuantisedVectors, k: int, *, where: Mapping[str, object] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `Catalog.search`."""
        if not self.segments:  # without segments the matrix has no dimension to check
            self._check_dimension(vectors)
        allowed = self._live_words if where is None else self._allowed(parse_filter(where))
        return self._matrix.search(vectors, k, allowed=allowed)

    def _check_dimension(self, vectors: ArrayLike | QuantisedVectors) -> None:
        shape = np.shape(vectors.values if isinstance(vectors, QuantisedVectors) else vectors)
        if not shape or shape[-1] != self.manifest.dimension:
            raise InputError(f"vectors: expected {self.manifest.dimension} dimensions, as the catalog has, got {shape}")

    def _allowed(self, where: Filter) -> NDArray[np.uint64]:
        """The packed bits of the live rows that pass a filter; the last few filters are kept."""
        with self._lock:
            if where in self._filters:
                self._filters.move_to_end(where)
                return self._filters[where]
        mask = np.zeros(self.rows, np.bool_)
        for start, segment in zip(self._starts, self.segments, strict=False):
            mask[start + segment.cards.select(where)] = True
        words = pack_rows(mask if self._live is None else mask & self._live)
        with self._lock:
            self._filters[where] = words
            while len(self._filters) > _CACHED_FILTERS:
                self._filters.popitem(last=False)
        return words

    def _locate(self, row: int) -> tuple[Segment, int]:
        row = int(row)
        if not 0 <= row < self.rows:
            raise InputError(f"row {row} is not in the catalog, which has the rows 0 to {self.rows - 1}")
        index = bisect_right(self._starts, row) - 1
        return self.segments[index], row - self._starts[index]

    def card(self, row: int) -> tuple[str, dict[str, Any]]:
        """Id and metadata of a row; of a removed row as well, until the catalog is compacted."""
        segment, local = self._locate(row)
        return segment.cards.card(local)

    def cards(self, rows: Sequence[int] | NDArray[np.int64]) -> list[tuple[str, dict[str, Any]]]:
        """Ids and metadata of some rows, in their order."""
        found: list[tuple[str, dict[str, Any]]] = []
        for segment, located in groupby(map(self._locate, rows), key=itemgetter(0)):
            found += segment.cards.cards([local for _, local in located])
        return found

    def ids(self, rows: Sequence[int]) -> tuple[str, ...]:
        """The card_ids of some rows, each once, in the order of the rows."""
        return tuple(dict.fromkeys(card_id for card_id, _ in self.cards(rows)))

    @property
    def has_pictures(self) -> bool:
        """Whether some of the rows have a picture."""
        return any(segment.picture_kinds for segment in self.segments)

    @property
    def picture_kinds(self) -> list[PictureKind]:
        """How pictures are kept, the way of the newest segment that has some first."""
        kinds = (kind for segment in reversed(self.segments) for kind in sorted(segment.picture_kinds))
        return list(dict.fromkeys(kinds))

    def picture(self, row: int) -> NDArray[np.uint8] | None:
        """See `Catalog.picture`."""
        segment, local = self._locate(row)
        return segment.picture(local)

    @property
    def knows_twins(self) -> bool:
        """Whether twins were looked for among all rows."""
        return all(segment.twins is not None for segment in self.segments)

    def twins(self, row: int, where: Mapping[str, object] | None = None) -> tuple[int, ...]:
        """The live rows whose pictures are this one's to a camera, itself included, ascending; none if it is alone."""
        rows = self._twins.of(row)
        if rows and where is not None:
            words = self._allowed(parse_filter(where))
            rows = tuple(each for each in rows if int(words[each // 64]) >> (each % 64) & 1)
        return rows if len(rows) > 1 else ()

    def twin_groups(self) -> list[tuple[int, ...]]:
        """The groups of live rows that `twins` gives, in the order of their first rows."""
        return self._twins.groups()

    def best_of(
        self, vector: NDArray[np.float32], rows: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Some rows by their scores, as `search` gives them."""
        mask = np.zeros(self.rows, np.bool_)
        mask[list(rows)] = True
        found, scores = self._matrix.search(vector, len(rows), allowed=pack_rows(mask))
        return found[0], scores[0]

    def find(self, card_id: str) -> list[tuple[int, NDArray[np.int64]]]:
        """The live rows of a card: (segment index, rows within it) of each segment that has some."""
        found = []
        for index, segment in enumerate(self.segments):
            rows = np.array(segment.cards.find(card_id), np.int64)
            if segment.removed is not None:
                rows = rows[~segment.removed[rows]]
            if len(rows):
                found.append((index, rows))
        return found

    def rows_of(self, card_id: str) -> list[int]:
        """The live rows of a card, ascending."""
        return [self._starts[index] + row for index, rows in self.find(card_id) for row in rows.tolist()]

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The stored vectors of some rows, ascending, as float32; a copy."""
        parts = [np.empty((0, self.manifest.dimension), np.float32)]
        for start, segment in zip(self._starts, self.segments, strict=False):
            low, high = np.searchsorted(rows, (start, start + segment.entry.rows))
            if low < high:
                parts.append(segment.vectors[rows[low:high] - start].astype(np.float32))
        return np.concatenate(parts)

    def live_rows(self) -> NDArray[np.int64]:
        """The rows that are not removed, ascending."""
        return np.arange(self.rows) if self._live is None else np.flatnonzero(self._live)

    def verify(self) -> VerifyReport:
        """See `Catalog.verify`."""
        size = sum(segment.verify(self.basis) for segment in self.segments)
        files = sum(len(segment.entry.files) for segment in self.segments)
        lost = sum(segment.lost_pictures() for segment in self.segments)
        return VerifyReport(files, size, self.rows, self.rows - len(self), lost)
