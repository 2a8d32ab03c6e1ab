"""A segment: one immutable folder of rows, written as a stream, mapped only after every size and header was checked.

Arrays are .npy files with a header of exactly 128 bytes, so that it can be written last, when the number of rows is
known, and checked byte for byte: a file is either the array that the manifest describes, or refused.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from cardrec.cards import Cards, CardsWriter
from cardrec.files import checksums, edges, opened, require_folder, sync_folder, unsound
from cardrec.manifest import SEGMENT_FILES, FileEntry, Manifest, SegmentEntry
from cardrec.search import pack_rows, quantise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cardrec.errors import CatalogFormatError

__all__ = ["Segment", "SegmentWriter", "segments_folder", "write_removed"]

HEADER_BYTES = 128
_CHECK_ROWS = 4096
_DESCR = {"float32": "<f4", "float16": "<f2", "int8": "|i1", "uint64": "<u8"}
# A row is stored with norm 1 within its type's rounding: half of 2^-11 relative error in each component.
_NORM_TOLERANCE = {"float32": 1e-5, "float16": 1e-3}


def segments_folder(folder: Path) -> Path:
    """Where the segments of a catalog lie."""
    return folder / "segments"


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file, format version 1.0, padded to ``HEADER_BYTES``."""
    text = f"{{'descr': '{_DESCR[dtype]}', 'fortran_order': False, 'shape': {shape!r}, }}"
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.encode().ljust(length - 1) + b"\n"


def layout(rows: int, dimension: int, dtype: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The arrays of a segment: file name -> (dtype, shape)."""
    return {
        "vectors.npy": (dtype, (rows, dimension)),
        "codes.npy": ("int8", (rows, dimension)),
        "scales.npy": ("float32", (rows,)),
        "errors.npy": ("float32", (rows,)),
    }


def _words(rows: int) -> int:
    return (rows + 63) // 64


class _ArrayWriter:
    """Appends rows to a .npy file; the header comes last."""

    def __init__(self, path: Path, dtype: str) -> None:
        self._dtype = dtype
        self._stream = path.open("xb")
        self._stream.write(bytes(HEADER_BYTES))

    def add(self, rows: NDArray[Any]) -> None:
        self._stream.write(np.ascontiguousarray(rows, dtype=_DESCR[self._dtype]).data)

    def finish(self, shape: tuple[int, ...]) -> None:
        self._stream.seek(0)
        self._stream.write(npy_header(self._dtype, shape))
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.close()

    def close(self) -> None:
        self._stream.close()


def _entry(path: Path) -> FileEntry:
    return FileEntry(*checksums(path))


class SegmentWriter:
    """Writes a new segment batch by batch, one batch in memory, whatever the number of rows. A context manager."""

    def __init__(self, folder: Path, dimension: int, dtype: str) -> None:
        """Make ``folder``, which must not exist."""
        self.folder = folder
        self.rows = 0
        self._dimension, self._dtype = dimension, dtype
        folder.mkdir()
        self._arrays = {
            name: _ArrayWriter(folder / name, kind) for name, (kind, _) in layout(0, dimension, dtype).items()
        }
        self._cards = CardsWriter(folder / "cards.sqlite")

    def __contains__(self, card_id: str) -> bool:
        return card_id in self._cards

    def add(self, cards: Sequence[tuple[str, str]], vectors: NDArray[np.floating[Any]]) -> None:
        """Append rows: (card_id, metadata as JSON text) each, and (n, dimension) unit vectors."""
        arrays = quantise(np.asarray(vectors, dtype=_DESCR[self._dtype]))
        for writer, array in zip(self._arrays.values(), arrays, strict=True):
            writer.add(array)
        self._cards.add(cards)
        self.rows += len(cards)

    def finish(self) -> SegmentEntry | None:
        """Write the headers, sync every file and the folder, and describe the segment; None where it has no rows."""
        if not self.rows:
            return None
        for name, (_, shape) in layout(self.rows, self._dimension, self._dtype).items():
            self._arrays[name].finish(shape)
        self._cards.finish()
        with (self.folder / "cards.sqlite").open("rb") as stream:
            os.fsync(stream.fileno())
        sync_folder(self.folder)
        sync_folder(self.folder.parent)
        return SegmentEntry(self.folder.name, self.rows, {name: _entry(self.folder / name) for name in SEGMENT_FILES})

    def close(self) -> None:
        """Let go of the files, finished or not; idempotent."""
        for array in self._arrays.values():
            with contextlib.suppress(OSError):  # a full disk, said already
                array.close()
        self._cards.close()

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_removed(folder: Path, removed: NDArray[np.bool_], generation: int) -> tuple[str, FileEntry]:
    """Write the tombstones of a segment as packed bits; the name and the entry of the new file."""
    name = f"removed-{generation:08d}.npy"
    writer = _ArrayWriter(folder / name, "uint64")
    try:
        writer.add(pack_rows(removed))
        writer.finish((_words(len(removed)),))
    finally:
        writer.close()
    sync_folder(folder)
    return name, _entry(folder / name)


class Segment:
    """A segment opened for reading: its arrays are mapped, no page of them is read before a search needs it."""

    __slots__ = ("cards", "codes", "entry", "errors", "folder", "removed", "scales", "vectors")

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
        self.vectors, self.codes, self.scales, self.errors = (self._map(name, *arrays[name]) for name in arrays)
        self.removed = self._read_removed()
        self._check("cards.sqlite")
        self.cards = Cards(self.folder / "cards.sqlite", entry.rows)

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

    def _map(self, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        path, kind = self.folder / name, np.dtype(_DESCR[dtype])
        count = int(np.prod(shape, dtype=object))  # Python ints: a product can't wrap around
        size = HEADER_BYTES + count * kind.itemsize
        if self.entry.files[name].bytes != size:
            raise unsound(path, f"has {self.entry.files[name].bytes} bytes, {size} were expected for {dtype} {shape}")
        with opened(path) as descriptor:
            head = self._check_opened(name, descriptor)
            if head[:HEADER_BYTES] != npy_header(dtype, shape):
                raise unsound(path, f"does not have the header of {dtype} {shape}")
            mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, kind, count, HEADER_BYTES).reshape(shape)

    def _read_removed(self) -> NDArray[np.bool_] | None:
        """The rows removed, or None where there are none; a copy in memory, the file may go."""
        if self.entry.removed is None:
            return None
        words = self._map(self.entry.removed, "uint64", (_words(self.entry.rows),))
        bits = np.unpackbits(words.view(np.uint8), bitorder="little").view(np.bool_)
        if bits[self.entry.rows :].any() or not bits.any():
            raise unsound(self.folder / self.entry.removed, "names rows that the segment does not have, or none")
        return bits[: self.entry.rows]

    def live_rows(self) -> NDArray[np.int64]:
        """The rows that are not removed, ascending."""
        if self.removed is None:
            return np.arange(self.entry.rows)
        return np.flatnonzero(~self.removed)

    def verify(self) -> int:
        """Read and check everything; returns the bytes read.

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
                self._verify_rows(slice(start, start + _CHECK_ROWS))
        self.cards.verify(self.entry.rows)
        return sum(entry.bytes for entry in self.entry.files.values())

    def _verify_rows(self, rows: slice) -> None:
        """Unit vectors, and codes whose distance from them is within the stored error: what makes the search exact."""
        vectors = self.vectors[rows].astype(np.float64)
        norms = np.linalg.norm(vectors, axis=1)
        tolerance = _NORM_TOLERANCE[str(self.vectors.dtype)]
        if not (np.abs(norms - 1) <= tolerance).all():
            raise self._unsound("vectors.npy", "has rows that are not unit vectors")
        decoded = self.codes[rows] * self.scales[rows].astype(np.float64)[:, None]
        distances = np.linalg.norm(vectors - decoded, axis=1)
        if not (distances <= self.errors[rows].astype(np.float64) * (1 + 1e-6)).all():
            raise self._unsound("codes.npy", "with scales.npy and errors.npy does not agree with vectors.npy")

    def _unsound(self, name: str, what: str) -> CatalogFormatError:
        return unsound(self.folder / name, what)
