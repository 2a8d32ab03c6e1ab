"""A segment opened for reading: one immutable folder of rows, mapped only after every size and header was checked."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from cardrec.cards import Cards
from cardrec.errors import InputError
from cardrec.files import checksums, edges, opened, require_folder, unsound
from cardrec.layout import DESCR, HEADER_BYTES, bitmap_words, groups_shape, layout, npy_header, segments_folder
from cardrec.manifest import (
    BASIS_FILE,
    PATHS_FILE,
    PICTURES_FILE,
    PREFIX_FILE,
    TWINS_FILE,
    FileEntry,
    Manifest,
    SegmentEntry,
)
from cardrec.picture_paths import PicturePaths
from cardrec.pictures import Pictures
from cardrec.pruning import Basis, Prefix, covers, orthonormal
from cardrec.search import Arrays, FileRows, RowFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from cardrec.errors import CatalogFormatError
    from cardrec.pictures import PictureKind

__all__ = ["Segment"]

_CHECK_ROWS = 4096
_PAIR_BYTES = 16
# A row is stored with norm 1 within its type's rounding, for float16 a relative error of 2^-11 in each component.
_NORM_TOLERANCE = {"float32": 1e-5, "float16": 1e-3}


def _mapped(descriptor: int, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array file that was checked before, mapped read-only."""
    kind, count = np.dtype(DESCR[dtype]), int(np.prod(shape, dtype=object))
    mapped = mmap.mmap(descriptor, HEADER_BYTES + count * kind.itemsize, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, kind, count, HEADER_BYTES).reshape(shape)


class Segment:
    """A segment opened for reading: codes and prefixes are mapped, vectors stay in their file."""

    __slots__ = (
        "_rows",
        "basis",
        "cards",
        "codes",
        "entry",
        "errors",
        "folder",
        "paths",
        "pictures",
        "prefix",
        "removed",
        "scales",
        "twins",
    )

    def __init__(self, folder: Path, entry: SegmentEntry, manifest: Manifest) -> None:
        """Check everything that can be checked without reading the rows, then map.

        Raises:
            CatalogFormatError: a file is not what the manifest says.
            FileNotFoundError: a file is missing (another process may have compacted the catalog in the meantime).
        """
        require_folder(segments_folder(folder))
        self.folder = segments_folder(folder) / entry.name
        require_folder(self.folder)
        self.entry = entry
        arrays = layout(entry.rows, manifest.dimension, manifest.dtype)
        self._rows = self._open_rows(*arrays["vectors.npy"])
        self.codes = self._map("codes.npy", *arrays["codes.npy"])
        self.scales, self.errors = (self._read_sizes(name, *arrays[name]) for name in ("scales.npy", "errors.npy"))
        self.prefix = self._map_prefix(manifest.basis)
        self.basis = self._read_basis(manifest)
        self.removed = self._read_removed()
        self._check("cards.sqlite")
        self.cards = Cards(self.folder / "cards.sqlite", entry.rows)
        self.pictures = self._open_pictures()
        self.paths = self._open_paths(folder)
        self.twins = self._read_twins(manifest)

    def _check(self, name: str) -> None:
        with opened(self.folder / name) as descriptor:
            self._check_opened(name, descriptor)

    def _check_opened(self, name: str, descriptor: int) -> bytes:
        """Compare size and edges with the manifest; returns the first bytes."""
        path, entry = self.folder / name, self.entry.files[name]
        size = os.fstat(descriptor).st_size
        if size != entry.bytes:
            raise unsound(
                path, f"has {size} bytes, the catalog says {entry.bytes}: it was truncated, extended or replaced"
            )
        head, digest = edges(descriptor, size)
        if digest != entry.edges:
            raise unsound(
                path, "has another checksum than the catalog says: it was damaged or belongs to another catalog"
            )
        return head

    @contextlib.contextmanager
    def _opened_array(self, name: str, dtype: str, shape: tuple[int, ...]) -> Iterator[int]:
        """A descriptor of a file that was found to be this array, as far as can be told without reading it."""
        path, kind = self.folder / name, np.dtype(DESCR[dtype])
        size = HEADER_BYTES + int(np.prod(shape, dtype=object)) * kind.itemsize  # Python ints can't wrap around
        if self.entry.files[name].bytes != size:
            raise unsound(path, f"has {self.entry.files[name].bytes} bytes, {size} were expected for {dtype} {shape}")
        with opened(path) as descriptor:
            head = self._check_opened(name, descriptor)
            if head[:HEADER_BYTES] != npy_header(dtype, shape):
                raise unsound(path, f"does not have the header of {dtype} {shape}")
            yield descriptor

    def _map(self, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        with self._opened_array(name, dtype, shape) as descriptor:
            return _mapped(descriptor, dtype, shape)

    def _read(self, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """What every search needs whole and is small; a mapping would hold a descriptor."""
        return np.array(self._map(name, dtype, shape))

    def _read_sizes(self, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """What the search's bounds are made of: with a negative number or NaN in it rows would be missed."""
        sizes = self._read(name, dtype, shape)
        if not (sizes >= 0).all():
            raise unsound(self.folder / name, "has numbers that are negative or NaN")
        return sizes

    def _open_rows(self, dtype: str, shape: tuple[int, ...]) -> tuple[RowFile, str, tuple[int, ...]]:
        """The vectors' file and what it holds."""
        with self._opened_array("vectors.npy", dtype, shape) as descriptor:
            return RowFile(descriptor), dtype, shape

    @property
    def vectors(self) -> NDArray[Any]:
        """The stored rows, mapped anew: let go of them, and what was read of them is no longer in memory."""
        file, dtype, shape = self._rows
        return _mapped(file.fileno(), dtype, shape)

    def _map_prefix(self, length: int | None) -> Prefix | None:
        entry = self.entry.prefix
        if entry is None or length is None:
            return None
        groups = self._map(PREFIX_FILE, "int8", groups_shape(self.entry.rows, length))
        return Prefix(groups, entry.scale, entry.error, entry.norm)

    def _read_basis(self, manifest: Manifest) -> Basis | None:
        """The basis, where this is the segment that holds it."""
        if manifest.basis is None or self.entry is not manifest.segments[0]:
            return None
        vectors = self._read(BASIS_FILE, "float32", (manifest.basis, manifest.dimension))
        try:
            return orthonormal(vectors)
        except InputError as error:
            raise unsound(self.folder / BASIS_FILE, f"is no rotation ({error})") from None

    def arrays(self) -> Arrays:
        """What the search takes; the vectors stay in their file."""
        file, dtype, _ = self._rows
        rows = FileRows(file, HEADER_BYTES, np.dtype(dtype))
        return Arrays(rows, self.codes, self.scales, self.errors, 1 + _NORM_TOLERANCE[dtype], self.prefix)

    def _read_removed(self) -> NDArray[np.bool_] | None:
        """The rows removed, or None where there are none; a copy in memory, the file may go."""
        if self.entry.removed is None:
            return None
        words = self._read(self.entry.removed, "uint64", (bitmap_words(self.entry.rows),))
        bits = np.unpackbits(words.view(np.uint8), bitorder="little").view(np.bool_)
        if bits[self.entry.rows :].any() or not bits.any():
            raise unsound(self.folder / self.entry.removed, "names rows that the segment does not have, or none")
        return bits[: self.entry.rows]

    def _open_pictures(self) -> Pictures | None:
        if PICTURES_FILE not in self.entry.files:
            return None
        self._check(PICTURES_FILE)
        return Pictures(self.folder / PICTURES_FILE, self.entry.rows)

    def _read_twins(self, manifest: Manifest) -> NDArray[np.int64] | None:
        """Pairs of the catalog's rows, (m, 2), of this segment's and earlier ones; None where nobody looked for any."""
        if TWINS_FILE not in self.entry.files:
            return None
        count = max(0, self.entry.files[TWINS_FILE].bytes - HEADER_BYTES) // _PAIR_BYTES
        pairs = self._read(TWINS_FILE, "int64", (count, 2))
        start = sum(each.rows for each in manifest.segments[: manifest.segments.index(self.entry)])
        high, low = pairs.T
        if not ((low >= 0) & (low < high) & (high >= start) & (high < start + self.entry.rows)).all():
            raise self._unsound(TWINS_FILE, "pairs rows that the catalog does not have, or that are not the segment's")
        return pairs

    def _open_paths(self, catalog: Path) -> PicturePaths | None:
        if PATHS_FILE not in self.entry.files:
            return None
        self._check(PATHS_FILE)
        return PicturePaths(self.folder / PATHS_FILE, self.entry.rows, catalog)

    @property
    def picture_kinds(self) -> frozenset[PictureKind]:
        """How pictures of its rows are kept; empty: not at all."""
        kinds: list[tuple[PictureKind, object]] = [("webp", self.pictures), ("paths", self.paths)]
        return frozenset(kind for kind, database in kinds if database is not None)

    def picture(self, row: int) -> NDArray[np.uint8] | None:
        """(h, w, 3) uint8 RGB of a row; None where it has no picture, or the file that it was in is another by now."""
        found = None if self.pictures is None else self.pictures.picture(row)
        return self.paths.picture(row) if found is None and self.paths is not None else found

    def lost_pictures(self) -> int:
        """How many live rows had a picture in a file that is gone or is another by now; reads them all."""
        return 0 if self.paths is None else sum(map(self.paths.is_lost, self.live_rows().tolist()))

    def live_rows(self) -> NDArray[np.int64]:
        """The rows that are not removed, ascending."""
        if self.removed is None:
            return np.arange(self.entry.rows)
        return np.flatnonzero(~self.removed)

    def verify(self, basis: Basis | None) -> int:
        """Read and check everything, the prefixes against the catalog's basis; returns the bytes read.

        Raises:
            CatalogFormatError: a checksum differs, or the contents are not what a catalog holds.
        """
        for name, entry in self.entry.files.items():
            if FileEntry(*checksums(self.folder / name)) != entry:
                raise unsound(
                    self.folder / name, "has another checksum than the catalog says: its contents were damaged"
                )
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity fail the comparisons
            for start in range(0, self.entry.rows, _CHECK_ROWS):
                self._verify_rows(slice(start, min(start + _CHECK_ROWS, self.entry.rows)), basis)
        self.cards.verify(self.entry.rows)
        for database in (self.pictures, self.paths):
            if database is not None:
                database.verify()
        return sum(entry.bytes for entry in self.entry.files.values())

    def _verify_rows(self, rows: slice, basis: Basis | None) -> None:
        """Unit vectors, and codes whose distance from them is within the stored error: what makes the search exact."""
        stored = self.vectors[rows]
        vectors = stored.astype(np.float64)
        norms = np.linalg.norm(vectors, axis=1)
        tolerance = _NORM_TOLERANCE[str(stored.dtype)]
        if not (np.abs(norms - 1) <= tolerance).all():
            raise self._unsound("vectors.npy", "has rows that are not unit vectors")
        decoded = self.codes[rows] * self.scales[rows].astype(np.float64)[:, None]
        distances = np.linalg.norm(vectors - decoded, axis=1)
        if not (distances <= self.errors[rows].astype(np.float64) * (1 + 1e-6)).all():
            raise self._unsound("codes.npy", "with scales.npy and errors.npy does not agree with vectors.npy")
        if basis is not None and self.prefix is not None and not covers(self.prefix, rows, stored, basis):
            raise self._unsound(PREFIX_FILE, "does not agree with vectors.npy and the catalog's basis")

    def _unsound(self, name: str, what: str) -> CatalogFormatError:
        return unsound(self.folder / name, what)
