"""paths.sqlite: where the pictures of a segment's rows lie, for catalogs that keep no copies of them. Optional.

A picture below the folder that the catalog lies in is kept relative to the catalog, so that the two can be moved
together; another by its absolute path. Size and hash of its file are kept with it: what is compared is the very picture
that was embedded, or none. So a catalog from elsewhere can make its reader open regular files, and decode those whose
contents it knows already.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cardrec.database import Database, DatabaseWriter
from cardrec.errors import InputError
from cardrec.image import decode
from cardrec.pictures import MAX_HEIGHT_PX
from cardrec.rectify import upright_copy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PathsWriter", "PicturePaths", "Place", "place_of"]

MAX_FILE_BYTES = 1 << 28
"""Of a picture that is kept by path: it is read as a whole. A scan of 1,200 dots per inch takes 37 MB uncompressed."""

_MAX_PATH_BYTES = 4096
_DIGEST_BYTES = 16
_TABLE = "CREATE TABLE paths(row INTEGER PRIMARY KEY, path BLOB NOT NULL, bytes INTEGER NOT NULL, digest BLOB NOT NULL)"
_log = logging.getLogger("cardrec")


class Place(NamedTuple):
    """Where a picture lies, and what its file holds.

    Attributes:
        path: as the system has it; relative to the catalog's folder, or absolute.
        size: of the file in bytes.
        digest: BLAKE2b of its contents, 16 bytes.
    """

    path: bytes
    size: int
    digest: bytes


def place_of(picture: str | os.PathLike[str], catalog: Path) -> Place:
    """What is kept of a picture that was just embedded.

    Raises:
        OSError: it can't be read.
        InputError: it is no regular file, or too large to be kept by its path.
    """
    path = Path(picture)
    data = _contents(path)
    return Place(os.fsencode(_from_catalog(path, catalog)), len(data), _digest(data))


def _from_catalog(picture: Path, catalog: Path) -> str:
    """Relative to the catalog for what lies below the folder that it is in; a link to a picture stays that link."""
    path, base = picture.parent.resolve() / picture.name, catalog.resolve()
    near = base.parent
    return os.path.relpath(path, base) if path.is_relative_to(near) and near != near.parent else str(path)


def _contents(path: Path, size: int | None = None) -> bytes:
    """The bytes of a regular file, of this size if one is given; a pipe or device is refused without opening it."""
    _check(path, path.stat(), size)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check(path, status, size)
        return file.read(status.st_size)


def _check(path: Path, status: os.stat_result, size: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is no regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise InputError(
            f"{path} has {status.st_size:,} bytes, at most {MAX_FILE_BYTES:,} can be kept by path: say pictures='webp'"
        )
    if size is not None and status.st_size != size:
        raise InputError(f"{path} has {status.st_size:,} bytes, {size:,} when it was embedded")


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


class PathsWriter(DatabaseWriter):
    """Writes one paths.sqlite."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLE)

    def add(self, first_row: int, places: Sequence[Place | None]) -> None:
        """Keep the places of the rows from ``first_row`` on; a row may have none."""
        rows = [(first_row + n, *each) for n, each in enumerate(places) if each is not None]
        self._connection.executemany("INSERT INTO paths VALUES (?, ?, ?, ?)", rows)


class PicturePaths(Database):
    """A paths.sqlite, opened; it may name pictures of some of the segment's rows, and of no others.

    Args:
        path: of the file.
        rows: of the segment.
        catalog: its folder.
    """

    def __init__(self, path: Path, rows: int, catalog: Path) -> None:
        self._catalog = catalog.resolve()
        self._told = False
        super().__init__(path, rows)

    def _check(self) -> None:
        self._check_table("paths", _TABLE)

    def place(self, row: int) -> Place | None:
        """What is kept of a row's picture; None where that is nothing."""
        found = self._one("SELECT path, bytes, digest FROM paths WHERE row=?", row)
        if found is None:
            return None
        place = Place(*found)
        if not _is_sound(place):
            raise self._unsound(f"row {row} does not say where a picture lies")
        return place

    def picture(self, row: int) -> NDArray[np.uint8] | None:
        """(h, w, 3) uint8 RGB of a row of the segment, as it would be stored; None where it has no picture.

        Nor has a row whose picture is gone or is another by now: that is logged, once.
        """
        place = self.place(row)
        if place is None:
            return None
        try:
            path, data = self._read(place)
            return upright_copy(decode(data, str(path)), MAX_HEIGHT_PX)
        except (OSError, InputError) as error:
            self._tell(error)
            return None

    def is_lost(self, row: int) -> bool:
        """Whether a row had a picture which is gone or is another by now."""
        place = self.place(row)
        try:
            if place is not None:
                self._read(place)
        except (OSError, InputError):
            return True
        return False

    def verify(self) -> None:
        """Read everything but the pictures themselves: SQLite's own integrity check, then each row."""
        self._check_integrity()
        for row in range(self._rows):
            self.place(row)

    def _read(self, place: Place) -> tuple[Path, bytes]:
        path = self._catalog / os.fsdecode(place.path)
        data = _contents(path, place.size)
        if _digest(data) != place.digest:
            raise InputError(f"{path} is not the picture that was embedded")
        return path, data

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "%s: no second look at cards whose picture is gone or was changed, such as this: %s", self._path, error
            )


def _is_sound(place: Place) -> bool:
    """A file's contents are checked when they are read; this is about what stands in the row."""
    path, size, digest = place
    named = isinstance(path, bytes) and 0 < len(path) <= _MAX_PATH_BYTES and b"\0" not in path
    sized = type(size) is int and 0 < size <= MAX_FILE_BYTES
    return named and sized and isinstance(digest, bytes) and len(digest) == _DIGEST_BYTES
