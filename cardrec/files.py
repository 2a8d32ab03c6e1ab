"""Reading files that may be damaged or hostile, and writing files that must survive a power cut."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from cardrec.errors import CatalogFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "EDGE_BYTES",
    "checksums",
    "edges",
    "opened",
    "read_small",
    "require_folder",
    "sync_folder",
    "unsound",
    "write_atomically",
]

EDGE_BYTES = 4096
"""Bytes hashed at each end of a file when a catalog is opened: a page, so that the cost does not grow with the file."""

_READ_BYTES = 1 << 20
_REMEDY = "restore the catalog from a copy, or build it again with overwrite=True"


def unsound(path: Path, what: str, remedy: str = _REMEDY) -> CatalogFormatError:
    """The error for a damaged file: which one, what is wrong, what to do."""
    return CatalogFormatError(f"{path}: {what}; {remedy}")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor for reading a regular file that is no symbolic link (a pipe or device is refused, without blocking).

    Raises:
        CatalogFormatError: it is something else than a regular file.
        OSError: it is missing or may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise unsound(path, "is a symbolic link or a device, a catalog's files must be regular files") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise unsound(path, "is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def require_folder(path: Path) -> None:
    """Refuse a path that is not a real folder: a symbolic link could lead out of the catalog."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise unsound(path, "is not a folder of the catalog (a symbolic link or a file)")


def read_small(path: Path, limit: int) -> bytes:
    """The whole of a regular file of at most ``limit`` bytes."""
    with opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > limit:
            raise unsound(path, f"has {size} bytes, at most {limit} were expected")
        return os.pread(descriptor, limit, 0)


def edges(descriptor: int, size: int) -> tuple[bytes, str]:
    """The first bytes of a file, and the SHA-256 of its first and last ``EDGE_BYTES`` (overlapping in a short file)."""
    head = os.pread(descriptor, EDGE_BYTES, 0)
    tail = os.pread(descriptor, EDGE_BYTES, max(0, size - EDGE_BYTES))
    return head, hashlib.sha256(head + tail).hexdigest()


def checksums(path: Path) -> tuple[int, str, str]:
    """Size in bytes, SHA-256 of everything, SHA-256 of the edges."""
    whole = hashlib.sha256()
    with opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        for offset in range(0, size, _READ_BYTES):
            whole.update(os.pread(descriptor, min(_READ_BYTES, size - offset), offset))
        return size, whole.hexdigest(), edges(descriptor, size)[1]


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the place, sync, rename: a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            stream.write(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_folder(path.parent)
