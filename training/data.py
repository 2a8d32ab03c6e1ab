"""Cards to train and measure with: which images there are, which show one face, which are held out.

A *class* is a face: images of one card are one class, and so are those of cards that `duplicates` declares the same,
in training as in evaluation. Held-out faces are chosen by a hash of the class's name, so that the split never depends
on the order or number of files. A source of a config is one of

    [[source]]
    folder = "cards/redemption"         # images, or one folder of images for each card (`training/manifests.py`)
    duplicates = "cards/same.csv"       # or "find" (`training/duplicates.py`); without it, every card is a class

    [[source]]
    manifest = "shop/cards.csv"         # or .jsonl: image, card_id, perhaps face
    name = "shop"                       # before the names of cards and classes; else the folder's name
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.images import Picture, check_images, read_bgr, read_rgb
from training.manifests import Entry, folder_entries, manifest_entries

__all__ = [
    "CardImage",
    "Picture",
    "check_images",
    "held_out",
    "load_folder",
    "load_source",
    "load_sources",
    "read_bgr",
    "read_pairs",
    "read_rgb",
    "same_faces",
    "source_name",
    "split",
]

FIND = "find"
"""What `duplicates` says instead of the name of a file, where they are to be found in the pictures."""


@dataclass(frozen=True, slots=True)
class CardImage:
    """One image of one face.

    Attributes:
        card_id: names the image, unique over all sources: ``source/card``, with ``/stem`` or ``/number`` after it where
            the card may have several images.
        face: name of the class; equal for images that show the same face.
        pixels: (H, W, 3) uint8 RGB.
    """

    card_id: str
    face: str
    pixels: Picture


def same_faces(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Maps each name that occurs in ``pairs`` to one representative of all that are connected to it."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {name: root(name) for name in list(parent)}


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The columns a and b of a CSV file of pairs that show the same face.

    Raises:
        ValueError: there are no such columns, or a line is too short; names file and line.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if not {"a", "b"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path}: the header is {rows.fieldnames}; columns a and b were expected, names of cards")
        pairs = []
        for row in rows:
            if not row["a"] or not row["b"]:
                raise ValueError(f"{path}, line {rows.line_num}: a or b is blank; expected the names of two cards")
            pairs.append((row["a"], row["b"]))
    return pairs


def load_folder(folder: Path, *, duplicates: Path | None = None) -> list[CardImage]:
    """Reads the images of a folder, or those of its folders, in the order of their names.

    Args:
        folder: images, each a card named by its stem, or one folder of images for each card.
        duplicates: CSV of pairs (columns a, b: cards) that are one face.

    Raises:
        ValueError: see `load_sources`.
    """
    return load_source({"folder": folder} | ({"duplicates": duplicates} if duplicates else {}), Path())


def load_source(source: Mapping[str, Any], data: Path) -> list[CardImage]:
    """The cards of one ``[[source]]`` of a config, trained on or not; ``data`` is where its paths start."""
    return load_sources([source], data)[0]


def load_sources(sources: Sequence[Mapping[str, Any]], data: Path) -> list[list[CardImage]]:
    """The cards of each source. All files are read before any fault is reported, so that there is one report.

    Raises:
        ValueError: images that can't be trained on (`check_images`), a folder or manifest that isn't as
            `training/manifests.py` says, pairs that name none of the cards, two sources of one name.
        OSError: a folder, a manifest or a file of pairs can't be read.
    """
    names = [source_name(source) for source in sources]
    if repeated := [name for index, name in enumerate(names) if name in names[:index]]:
        raise ValueError(f'two sources are called {repeated[0]!r}; give one of them a name of its own: name = "..."')
    listed = [_entries(source, data) for source in sources]
    pictures = iter(check_images([entry.image for entries in listed for entry in entries]))
    loaded = []
    for source, name, entries in zip(sources, names, listed, strict=True):
        own = [next(pictures) for _ in entries]
        faces = _faces(source, data, entries, own)
        loaded.append(
            [
                CardImage(f"{name}/{entry.name}", f"{name}/{face}", pixels)
                for entry, face, pixels in zip(entries, faces, own, strict=True)
            ]
        )
    return loaded


def source_name(source: Mapping[str, Any]) -> str:
    """What stands before the names of a source's cards and classes: its ``name``, else the name of the folder.

    Raises:
        ValueError: the source has neither folder nor manifest, or both; or a name with a slash.
    """
    if ("folder" in source) == ("manifest" in source):
        raise ValueError(f"the source {dict(source)} has {sorted(source)}; expected either folder or manifest")
    path = Path(source["folder"]) if "folder" in source else Path(source["manifest"]).parent
    name = str(source.get("name", path.name))
    if not name or "/" in name:
        raise ValueError(f'the source {dict(source)} is called {name!r}; give it a name without a slash: name = "..."')
    return name


def _entries(source: Mapping[str, Any], data: Path) -> list[Entry]:
    return (
        folder_entries(data / source["folder"]) if "folder" in source else manifest_entries(data / source["manifest"])
    )


def _faces(source: Mapping[str, Any], data: Path, entries: Sequence[Entry], pictures: Sequence[Picture]) -> list[str]:
    """The class of each image, duplicates merged."""
    if "duplicates" not in source:
        pairs = []
    elif source["duplicates"] == FIND:
        from training.duplicates import find_duplicates

        pairs = [(entries[pair.a].face, entries[pair.b].face) for pair in find_duplicates(pictures) if pair.same]
    else:
        pairs = _named_pairs(data / source["duplicates"], entries)
    merged = same_faces(pairs)
    return [merged.get(entry.face, entry.face) for entry in entries]


def _named_pairs(path: Path, entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Pairs of classes, of a file of pairs of cards; cards that aren't there may stand in it, but not those alone."""
    pairs = read_pairs(path)
    faces: dict[str, set[str]] = {}
    for entry in entries:
        faces.setdefault(entry.card_id, set()).add(entry.face)
    if pairs and not any(a in faces and b in faces for a, b in pairs):
        raise ValueError(f"{path}: none of its {len(pairs)} pairs names two cards, such as {entries[0].card_id!r}")
    for name in {name for pair in pairs for name in pair}:
        if len(several := faces.get(name, set())) > 1:
            raise ValueError(
                f"{path}: {name!r} has the faces {sorted(several)}; give them the same face in the manifest"
            )
    return [(min(faces.get(a, {a})), min(faces.get(b, {b}))) for a, b in pairs]


def held_out(face: str, share: float) -> bool:
    """Whether this face belongs to the evaluation split of the given share; a property of its name alone."""
    digest = hashlib.sha256(face.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def split(
    cards: Sequence[CardImage], source: Mapping[str, Any], share: float
) -> tuple[list[CardImage], list[CardImage]]:
    """The cards of a source to train on, and those that no training sees.

    Trained on are the files whose name starts with one of the source's ``prefixes`` (all, if it has none), less the
    faces that the given share holds out. Sources with the same art under the same file names, such as one set in two
    languages, name one of them as ``split_as``, so that no artwork is on both sides.
    """
    prefixes = tuple(source.get("prefixes", [""]))
    folder = source.get("split_as") or source_name(source)

    def trained(card: CardImage) -> bool:
        face = card.face.split("/", 1)[1]
        return card.card_id.split("/", 1)[1].startswith(prefixes) and not held_out(f"{folder}/{face}", share)

    return [card for card in cards if trained(card)], [card for card in cards if not trained(card)]


def split_sources(
    sources: Sequence[Mapping[str, Any]], data: Path, share: float
) -> tuple[list[CardImage], list[CardImage]]:
    """`load_sources`, and the cards of each to train on and held out (`split`), together."""
    parts = [split(cards, source, share) for cards, source in zip(load_sources(sources, data), sources, strict=True)]
    return [card for trained, _ in parts for card in trained], [card for _, unseen in parts for card in unseen]
