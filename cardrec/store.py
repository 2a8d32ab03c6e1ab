"""The writing side of a catalog folder: one writer at a time, all or nothing, cleaning up after those that were killed.

A change writes new files under names that no manifest mentions, syncs them, and takes effect when catalog.json is
swapped. A writer killed before that leaves files that nothing refers to; the next writer deletes them, under the same
lock. Readers hold their files open, so that deleting the names takes nothing from them.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from cardrec import manifest as manifests
from cardrec.errors import CatalogError, CatalogFormatError
from cardrec.files import require_folder, sync_folder, unsound
from cardrec.layout import segments_folder
from cardrec.manifest import (
    BASIS_FILE,
    MANIFEST,
    PATHS_FILE,
    PICTURES_FILE,
    PREFIX_FILE,
    REMOVED_NAME,
    SEGMENT_FILES,
    SEGMENT_NAME,
    TWINS_FILE,
    Manifest,
    SegmentEntry,
)
from cardrec.segment_writer import SegmentWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Set
    from pathlib import Path

__all__ = ["LOCK", "Transaction", "creating", "writing"]

LOCK = "catalog.lock"
_OWN_NAMES = {LOCK, MANIFEST, f"{MANIFEST}.new", "segments"}
_OWN_FILE = re.compile(
    "|".join(
        [
            *map(re.escape, (*SEGMENT_FILES, PREFIX_FILE, BASIS_FILE, PICTURES_FILE, PATHS_FILE, TWINS_FILE)),
            r"cards\.sqlite-journal",
            REMOVED_NAME.pattern,
        ]
    )
)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the catalog's lock, or say at once that somebody else does."""
    import fcntl

    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CatalogError(
                    f"{folder}: another writer is changing this catalog; try again when it is done"
                ) from error
            if _is_at(descriptor, path):  # a build that failed may have deleted its lock between our two calls
                yield
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


class Transaction:
    """What a writer may do while it holds the lock: write new segments, commit."""

    def __init__(self, folder: Path, manifest: Manifest | None, *, damaged: bool = False) -> None:
        """Clean up after killed writers; of a ``damaged`` catalog nothing is deleted before its successor is there."""
        self.folder = folder
        self.manifest = manifest
        segments = segments_folder(folder)
        segments.mkdir(parents=True, exist_ok=True)
        require_folder(segments)
        self._spared = _segment_names(folder) if damaged else set()
        _sweep(folder, manifest, self._spared)
        self.generation = 1 + max([*map(int, _segment_names(folder)), 0 if manifest is None else manifest.generation])

    def segment(self, dimension: int, dtype: str) -> SegmentWriter:
        """Start a new segment; the only one of this transaction."""
        return SegmentWriter(segments_folder(self.folder) / f"{self.generation:08d}", dimension, dtype)

    def commit(self, base: Manifest, segments: tuple[SegmentEntry, ...], basis: int | None) -> None:
        """Swap the manifest in, then delete what it no longer names."""
        manifest = base.next(segments, self.generation, basis)
        manifests.write(self.folder, manifest)
        self.manifest = manifest
        with contextlib.suppress(OSError):  # the change is made; the next writer tries again
            _sweep(self.folder, manifest)

    def undo(self) -> None:
        """Delete what was written, unless the manifest that names it is in place already."""
        try:
            committed = manifests.read(self.folder).generation == self.generation
        except CatalogFormatError:  # a first build has no manifest yet, a damaged one is left as it was
            committed = False
        if not committed:
            _sweep(self.folder, self.manifest, self._spared)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[Transaction]:
    """Change an existing catalog. Whatever fails before the commit leaves it as it was.

    Raises:
        CatalogError: another writer holds the lock.
        CatalogFormatError: the catalog is not sound.
    """
    manifests.read(folder)  # a folder that is no catalog gets no lock file
    with _locked(folder), _undone_unless_committed(Transaction(folder, manifests.read(folder))) as transaction:
        yield transaction


@contextlib.contextmanager
def creating(folder: Path, overwrite: bool) -> Iterator[Transaction]:
    """Make a catalog in a new or empty folder, or in place of an existing catalog.

    Raises:
        CatalogError: there is a catalog and ``overwrite`` is not said, the folder holds other things, or it is locked.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    _check_place(folder, overwrite)
    sync_folder(folder.parent)
    with _locked(folder):
        existing, damaged = _check_place(folder, overwrite)
        try:
            with _undone_unless_committed(Transaction(folder, existing, damaged=damaged)) as transaction:
                yield transaction
        except BaseException:
            if not (folder / MANIFEST).exists():
                _leave_nothing(folder, made)
            raise


@contextlib.contextmanager
def _undone_unless_committed(transaction: Transaction) -> Iterator[Transaction]:
    try:
        yield transaction
    finally:
        with contextlib.suppress(OSError):
            transaction.undo()


def _check_place(folder: Path, overwrite: bool) -> tuple[Manifest | None, bool]:
    """The manifest that a build replaces, or whether it is damaged; refuse a folder that is not a catalog's own."""
    names = {path.name for path in folder.iterdir()}
    if MANIFEST not in names:
        if foreign := sorted(names - _OWN_NAMES):
            raise CatalogError(
                f"{folder}: is no catalog and holds other files ({foreign[0]!r}, ...); choose an empty folder"
            )
        return None, False
    if not overwrite:
        raise CatalogError(f"{folder}: there is a catalog already; say overwrite=True to replace it, or append to it")
    try:
        return manifests.read(folder), False
    except CatalogFormatError:
        if "segments" not in names:
            raise unsound(folder / MANIFEST, "is not cardrec's", "choose another folder, or remove the file") from None
        return None, True


def _leave_nothing(folder: Path, made: bool) -> None:
    """Take away the stub of a catalog that was never finished; stops at the first thing that is not ours."""
    with contextlib.suppress(OSError):
        segments_folder(folder).rmdir()
        (folder / LOCK).unlink()
        if made:
            folder.rmdir()


def _segment_names(folder: Path) -> set[str]:
    return {path.name for path in segments_folder(folder).iterdir() if SEGMENT_NAME.fullmatch(path.name)}


def _sweep(folder: Path, manifest: Manifest | None, spared: Set[str] = frozenset()) -> None:
    """Delete the catalog's own files that the manifest does not name; other files, and links, are left alone."""
    with contextlib.suppress(FileNotFoundError):
        (folder / f"{MANIFEST}.new").unlink()
    named = {segment.name: segment.files for segment in manifest.segments} if manifest else {}
    for name in _segment_names(folder) - spared:
        path = segments_folder(folder) / name
        if path.is_dir() and not path.is_symlink():
            _sweep_segment(path, set(named.get(name, ())))


def _sweep_segment(folder: Path, keep: set[str]) -> None:
    for path in list(folder.iterdir()):
        if _OWN_FILE.fullmatch(path.name) and path.name not in keep:
            path.unlink()
    if not keep:
        with contextlib.suppress(OSError):  # holds a file that is not ours
            folder.rmdir()
