"""Writing a segment: one immutable folder of rows, as a stream. `cardrec.layout` says what its files are."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cardrec.cards import CardsWriter
from cardrec.files import checksums, sync_folder
from cardrec.layout import DESCR, HEADER_BYTES, layout, npy_header
from cardrec.manifest import (
    BASIS_FILE,
    PATHS_FILE,
    PICTURES_FILE,
    PREFIX_FILE,
    SEGMENT_FILES,
    TWINS_FILE,
    FileEntry,
    PrefixEntry,
    SegmentEntry,
)
from cardrec.picture_paths import PathsWriter
from cardrec.pictures import PicturesWriter
from cardrec.pruning import MIN_ROWS, Basis, choose_basis, encode_prefix
from cardrec.search import pack_rows, quantise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cardrec.picture_paths import Place

__all__ = ["SegmentWriter", "write_removed", "write_twins"]


class _ArrayWriter:
    """Appends rows to a .npy file; the header comes last."""

    def __init__(self, path: Path, dtype: str) -> None:
        self._dtype = dtype
        self._stream = path.open("xb")
        self._stream.write(bytes(HEADER_BYTES))

    def add(self, rows: NDArray[Any]) -> None:
        self._stream.write(np.ascontiguousarray(rows, dtype=DESCR[self._dtype]).data)

    def flush(self) -> None:
        self._stream.flush()

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
        self.catalog = folder.parent.parent
        self.rows = 0
        self._dimension, self._dtype = dimension, dtype
        folder.mkdir()
        self._arrays = {
            name: _ArrayWriter(folder / name, kind) for name, (kind, _) in layout(0, dimension, dtype).items()
        }
        self._cards = CardsWriter(folder / "cards.sqlite")
        self._pictures: PicturesWriter | None = None
        self._paths: PathsWriter | None = None

    def __contains__(self, card_id: str) -> bool:
        return card_id in self._cards

    def add(self, cards: Sequence[tuple[str, str]], vectors: NDArray[np.floating[Any]]) -> None:
        """Append rows: (card_id, metadata as JSON text) each, and (n, dimension) unit vectors."""
        rows = np.asarray(vectors, dtype=DESCR[self._dtype])
        coded = quantise(rows)
        columns: list[NDArray[Any]] = [rows, coded.codes, coded.scales, coded.errors]
        for writer, column in zip(self._arrays.values(), columns, strict=True):
            writer.add(column)
        self._cards.add(cards)
        self.rows += len(cards)

    def add_pictures(self, pictures: Sequence[bytes | None]) -> None:
        """Keep pictures (`cardrec.pictures.shrunk`) of the rows to come, one each; without any there is no file."""
        if self._pictures is None:
            if not any(pictures):
                return
            self._pictures = PicturesWriter(self.folder / PICTURES_FILE)
        self._pictures.add(self.rows, pictures)

    def add_paths(self, places: Sequence[Place | None]) -> None:
        """Keep where the pictures of the rows to come lie, one each; without any there is no file."""
        if self._paths is None:
            if not any(places):
                return
            self._paths = PathsWriter(self.folder / PATHS_FILE)
        self._paths.add(self.rows, places)

    def choose_basis(self) -> Basis | None:
        """The basis that suits the rows written so far, if one does."""
        return choose_basis(self._written())

    def finish(self, basis: Basis | None, *, keep_basis: bool = False) -> SegmentEntry:
        """Write headers and prefixes, sync every file and the folder, and describe the segment, which has rows.

        The catalog's first segment is where its basis is kept.
        """
        names, prefix = list(SEGMENT_FILES), None
        if basis is not None and self.rows >= MIN_ROWS:
            prefix = encode_prefix(self._written(), basis)
            _write_array(self.folder / PREFIX_FILE, "int8", prefix.groups)
            names.append(PREFIX_FILE)
            if keep_basis:
                _write_array(self.folder / BASIS_FILE, "float32", basis.vectors)
                names.append(BASIS_FILE)
        for name, (_, shape) in layout(self.rows, self._dimension, self._dtype).items():
            self._arrays[name].finish(shape)
        self._cards.finish()
        for name, writer in ((PICTURES_FILE, self._pictures), (PATHS_FILE, self._paths)):
            if writer is not None:
                writer.finish()
                names.append(name)
        for name in names:
            if name.endswith(".sqlite"):
                with (self.folder / name).open("rb") as stream:
                    os.fsync(stream.fileno())
        sync_folder(self.folder)
        sync_folder(self.folder.parent)
        files = {name: _entry(self.folder / name) for name in names}
        numbers = None if prefix is None else PrefixEntry(prefix.scale, prefix.error, prefix.norm)
        return SegmentEntry(self.folder.name, self.rows, files, prefix=numbers)

    def _written(self) -> NDArray[Any]:
        """The vectors written so far, mapped."""
        self._arrays["vectors.npy"].flush()
        return np.memmap(
            self.folder / "vectors.npy", DESCR[self._dtype], "r", HEADER_BYTES, (self.rows, self._dimension)
        )

    def close(self) -> None:
        """Let go of the files, finished or not; idempotent."""
        for array in self._arrays.values():
            with contextlib.suppress(OSError):  # a full disk, said already
                array.close()
        for writer in (self._cards, self._pictures, self._paths):
            if writer is not None:
                writer.close()

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_removed(folder: Path, removed: NDArray[np.bool_], generation: int) -> tuple[str, FileEntry]:
    """Write the tombstones of a segment as packed bits; the name and the entry of the new file."""
    name = f"removed-{generation:08d}.npy"
    _write_array(folder / name, "uint64", pack_rows(removed))
    sync_folder(folder)
    return name, _entry(folder / name)


def write_twins(folder: Path, entry: SegmentEntry, pairs: NDArray[np.int64]) -> SegmentEntry:
    """Write the (m, 2) pairs of twins of a finished segment, the higher row first; the segment with the new file."""
    _write_array(folder / TWINS_FILE, "int64", pairs)
    sync_folder(folder)
    return replace(entry, files={**entry.files, TWINS_FILE: _entry(folder / TWINS_FILE)})


def _write_array(path: Path, dtype: str, array: NDArray[Any]) -> None:
    writer = _ArrayWriter(path, dtype)
    try:
        writer.add(array)
        writer.finish(array.shape)
    finally:
        writer.close()
