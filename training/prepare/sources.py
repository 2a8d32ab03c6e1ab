"""Which files a source has, and which card each of them shows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cardrec.importer import open_items
from training.images import SUFFIXES
from training.manifests import manifest_entries

__all__ = ["Picture", "Source", "read_source"]

MANIFESTS = ("cards.jsonl", "cards.csv")
OWN_FILES = frozenset(("source.json", "failures.jsonl", ".lock", ".journal.jsonl"))
"""Of a download; they are about its pictures, and no orphans."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a source.

    Attributes:
        path: the file.
        card_id: the card.
        meta: what the manifest says of it.
    """

    path: Path
    card_id: str
    meta: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """All that lies in a folder.

    Attributes:
        folder: the paths' common beginning.
        pictures: in the order of their cards.
        orphans: files that belong to no card: other kinds of files, hidden ones, pictures that the manifest leaves out.
    """

    folder: Path
    pictures: list[Picture]
    orphans: list[Path]


def read_source(path: Path) -> Source:
    """The files of a download, a manifest or a folder.

    Raises:
        ValueError: a manifest is faulty (`training/manifests.py`), two folders make one card, there are no pictures.
        OSError: there is no such file or folder.
    """
    manifest = path
    if path.is_dir():
        found = [path / name for name in MANIFESTS if (path / name).is_file()]
        if not found:
            return _of_folder(path)
        manifest = found[0]
    return _of_manifest(manifest)


def _of_manifest(manifest: Path) -> Source:
    folder = manifest.parent
    entries = manifest_entries(manifest)
    metas = {_normal(Path(os.fspath(str(image)))): meta for _, image, meta in open_items(manifest)}
    pictures = [Picture(entry.image, entry.card_id, metas.get(_normal(entry.image), {})) for entry in entries]
    listed = {_normal(picture.path) for picture in pictures} | {_normal(manifest)}
    orphans = [path for path in _files(folder) if _normal(path) not in listed and path.name not in OWN_FILES]
    return Source(folder, pictures, orphans)


def _normal(path: Path) -> str:
    return os.path.normpath(path.absolute())


def _of_folder(folder: Path) -> Source:
    pictures, orphans = [], []
    places: dict[str, Path] = {}
    for path in _files(folder):
        inner = path.relative_to(folder)
        if path.suffix.lower() not in SUFFIXES or any(part.startswith(".") for part in inner.parts):
            orphans.append(path)
            continue
        place = inner.parent if len(inner.parts) > 1 else inner.with_suffix("")
        card_id = _readable("-".join(place.parts))
        other = places.setdefault(card_id, place)
        if other != place:
            raise ValueError(
                f"{folder}: {_readable(str(other))} and {_readable(str(place))} are both card {card_id!r}; rename one"
            )
        pictures.append(Picture(path, card_id))
    if not pictures:
        raise ValueError(f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))}); was it downloaded?")
    return Source(folder, pictures, orphans)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, by name. Links to folders count as files: what they lead to is not gone through."""

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from (Path(place, name) for name in sorted(names + links))


def _readable(text: str) -> str:
    """The text of a path; bytes that are no text become ``\\xe9``."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")
