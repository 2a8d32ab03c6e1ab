"""Cards to train and measure with: which images there are, which show one face, which are held out.

A *class* is a face: images that `duplicates` pairs declare the same are one class, in training as in evaluation.
Held-out faces are chosen by a hash of the class's name, so that the split never depends on the order or number of
files.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CardImage:
    """One image of one face.

    Attributes:
        card_id: unique over all sources, ``folder/stem``.
        face: name of the class; equal for images that show the same face.
        pixels: (H, W, 3) uint8 RGB.
    """

    card_id: str
    face: str
    pixels: Picture


def read_bgr(path: Path) -> Picture:
    """The image as (H, W, 3) uint8 BGR; ValueError names the file where it can't be decoded."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"{path} is not a readable image")
    return np.asarray(bgr, np.uint8)


def read_rgb(path: Path) -> Picture:
    """The same as RGB."""
    return np.ascontiguousarray(read_bgr(path)[:, :, ::-1])


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
    """The first two columns (a, b) of a CSV file of image pairs that show the same face."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["a"], row["b"]) for row in csv.DictReader(file)]


def load_folder(folder: Path, *, duplicates: Path | None = None) -> list[CardImage]:
    """Reads the JPEG and PNG files of a folder, in the order of their names.

    Args:
        folder: the images; a file's stem is its name.
        duplicates: CSV of pairs (columns a, b: stems) that are one face.
    """
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    faces = same_faces(read_pairs(duplicates)) if duplicates else {}
    with ThreadPoolExecutor(2) as pool:
        pictures = list(pool.map(read_rgb, paths))
    return [
        CardImage(f"{folder.name}/{path.stem}", f"{folder.name}/{faces.get(path.stem, path.stem)}", pixels)
        for path, pixels in zip(paths, pictures, strict=True)
    ]


def load_source(source: Mapping[str, Any], data: Path) -> list[CardImage]:
    """The cards of one ``[[source]]`` of a config, trained on or not; ``data`` is where its paths start."""
    duplicates = data / source["duplicates"] if "duplicates" in source else None
    return load_folder(data / source["folder"], duplicates=duplicates)


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
    folder = source.get("split_as", Path(source["folder"]).name)

    def trained(card: CardImage) -> bool:
        face = card.face.split("/", 1)[1]
        return card.card_id.split("/", 1)[1].startswith(prefixes) and not held_out(f"{folder}/{face}", share)

    return [card for card in cards if trained(card)], [card for card in cards if not trained(card)]
