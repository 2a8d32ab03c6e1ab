"""The files of a folder with their checksums, and the manifest that says so beside an upload."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from training.failure import Failure

__all__ = ["MANIFEST", "PART_BYTES", "Content", "Listing", "content_of", "list_folder", "manifest_of", "read_manifest"]

MANIFEST = ".cardrec-upload.json"
"""Hidden, so that a training that gets the folder passes it over."""

PART_BYTES = 64 << 20
"""Files over this are sent in parts of this: a part that fails is sent again alone. S3 takes 10,000: 640 GB."""

KEY_BYTES = 1024
"""Of an S3 key, at most."""

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file.

    Attributes:
        size: in bytes.
        sha256: of all of it, hexadecimal.
        parts: the SHA-256 of each part.
    """

    size: int
    sha256: str
    parts: tuple[bytes, ...] = ()

    @property
    def checksum(self) -> str:
        """As S3 has it: of the whole file, or of the checksums of its parts."""
        if len(self.parts) == 1:
            return base64.b64encode(self.parts[0]).decode()
        return base64.b64encode(hashlib.sha256(b"".join(self.parts)).digest()).decode()


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds, by names relative to it, with slashes.

    Attributes:
        files: in the order of their names.
        empty: folders that hold nothing, which S3 does not know.
    """

    files: tuple[str, ...]
    empty: tuple[str, ...]


def list_folder(folder: Path) -> Listing:
    """Everything in a folder.

    Raises:
        Failure: something is neither a file nor a folder, or has a name that S3 can't keep; all such are named.
        OSError: something can't be read.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    files, empty, wrong = [], [], []
    for place, folders, names in os.walk(folder, onerror=_raise):
        relative = PurePosixPath(Path(place).relative_to(folder).as_posix())
        folders.sort()
        for name in sorted(names + [each for each in folders if (Path(place) / each).is_symlink()]):
            path = str(relative / name)
            kind = os.lstat(Path(place) / name).st_mode
            if not stat.S_ISREG(kind):
                wrong.append(f"{path!r} is {'a symbolic link' if stat.S_ISLNK(kind) else 'no regular file'}")
            elif not _keeps(path):
                wrong.append(f"{path!r} has a name that S3 can't keep (control characters, bytes that are no UTF-8)")
            elif path != MANIFEST:
                files.append(path)
        if not folders and not names and relative.parts:
            empty.append(str(relative))
    if wrong:
        listed = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise Failure(
            f"{folder}: {listed}. Nothing was sent: put files with other names in their place, or take them out"
        )
    if not files:
        raise Failure(f"{folder} holds no files")
    return Listing(tuple(sorted(files)), tuple(sorted(empty)))


def _raise(error: OSError) -> None:
    raise error


def _keeps(name: str) -> bool:
    return (
        not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
        and len(name.encode()) < KEY_BYTES
    )


def content_of(path: Path) -> Content:
    """Reads a file once for its checksums."""
    whole, parts, size = hashlib.sha256(), [], 0
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            whole.update(part)
            parts.append(hashlib.sha256(part).digest())
            size += len(part)
    return Content(size, whole.hexdigest(), tuple(parts) or (whole.digest(),))


def manifest_of(contents: Mapping[str, Content], empty: tuple[str, ...]) -> bytes:
    """The manifest, the same bytes for the same files."""
    files = {name: {"size": contents[name].size, "sha256": contents[name].sha256} for name in sorted(contents)}
    return (json.dumps({"format": FORMAT, "files": files, "empty": empty}, indent=1, sort_keys=True) + "\n").encode()


def read_manifest(
    text: bytes, where: str, remedy: str = "upload the folder again"
) -> tuple[dict[str, Content], tuple[str, ...]]:
    """Files and empty folders of a manifest.

    Raises:
        Failure: it is damaged, or a name in it would lead out of the folder.
    """
    try:
        table: dict[str, Any] = json.loads(text)
        if table["format"] != FORMAT:
            raise ValueError(f"format {table['format']}")
        files = {str(name): Content(int(each["size"]), str(each["sha256"])) for name, each in table["files"].items()}
        empty = tuple(str(name) for name in table["empty"])
        for name in (*files, *empty):
            _inside(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"{where} is no manifest ({error}); {remedy}") from error
    return files, empty


def _inside(name: str) -> None:
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise ValueError(f"the name {name!r} leads out of the folder")
