"""Looks at each picture once: what it is, whether it is sound; and keeps a small copy to compare it with others."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training import images
from training.duplicates import SIZE_WH, Pair, find_duplicates
from training.prepare.sources import Picture
from training.progress import Progress

__all__ = ["Facts", "Place", "Seen", "look_at"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a picture is.

    Attributes:
        fault: why nothing can be learned from it; None: it was put into its place.
        sha256, bytes: of the source's file.
        kind, mode: of the file, such as ``PNG`` and ``RGB``.
        width, height: upright; 0 where it can't be decoded.
        placed: the file in the layout.
    """

    fault: str | None
    sha256: str
    bytes: int
    kind: str
    mode: str
    width: int
    height: int
    placed: Path | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture belongs: a path without its ending."""

    picture: Picture
    stem: Path


class Seen:
    """Facts of all pictures, in their order, and the pairs among them that look the same.

    The copies lie in a file without a name, not in memory: 270 KB each, 5.4 GB for 20,000 pictures.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self.facts: list[Facts] = []
        width, height = SIZE_WH
        shape = (max(1, count), height, width, 3)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, math.prod(shape))  # a full disk is an error here, not a signal later
            self._copies = np.memmap(file, np.uint8, "r+", shape=shape)  # it is there until the last view is gone

    def keep(self, row: int, picture: NDArray[np.uint8]) -> None:
        """Keeps a small copy, turned as catalogs turn cards in landscape."""
        small = cv2.resize(picture, SIZE_WH if picture.shape[0] >= picture.shape[1] else SIZE_WH[::-1],
                           interpolation=cv2.INTER_AREA)  # fmt: skip
        self._copies[row] = small if small.shape[0] >= small.shape[1] else cv2.rotate(small, cv2.ROTATE_90_CLOCKWISE)

    def pairs(self) -> list[Pair]:
        """Pairs of rows that show the same (`training/duplicates.py`); a faulty picture is in none."""
        rows = [row for row, facts in enumerate(self.facts) if facts.fault is None]
        found = find_duplicates([np.asarray(self._copies[row]) for row in rows])
        return [Pair(rows[pair.a], rows[pair.b], pair.bits, pair.cosine, pair.agreement) for pair in found if pair.same]


def look_at(
    places: Sequence[Place],
    folder: Path,
    *,
    height_px: int | None,
    copy: bool,
    progress: Progress,
) -> Seen:
    """Decodes each picture once, checks it, and puts it into its place.

    Args:
        places: of all pictures.
        folder: for temporary files.
        height_px: pictures that are higher are scaled down to it, and written as PNG; None: files stay as they are.
        copy: copy files instead of linking them.
        progress: called with ``"looking"``, how many, of how many.
    """
    seen = Seen(len(places), folder)

    def one(row: int) -> Facts:
        return _look(places[row], row, seen, height_px, copy=copy)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for facts in pool.map(one, range(len(places))):
            seen.facts.append(facts)
            progress("looking", len(seen.facts), len(places))
    return seen


def _look(place: Place, row: int, seen: Seen, height_px: int | None, *, copy: bool) -> Facts:
    path = place.picture.path
    about: dict[str, Any] = {"bytes": path.stat().st_size, **_header(path)}
    with path.open("rb") as file:
        about["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    picture = images.read_card(path)
    if isinstance(picture, str):
        return Facts(fault=picture, width=0, height=0, placed=None, **about)
    height, width = picture.shape[:2]
    seen.keep(row, picture)
    place.stem.parent.mkdir(exist_ok=True)
    if height_px is not None and height > height_px:
        placed = _scaled(picture, place.stem, height_px)
    else:
        placed = place.stem.with_name(place.stem.name + path.suffix.lower())
        _place(path, placed, copy=copy)
    return Facts(fault=None, width=width, height=height, placed=placed, **about)


def _header(path: Path) -> dict[str, str]:
    """Kind and mode, without decoding."""
    if path.suffix.lower() == ".npy":
        return {"kind": "NPY", "mode": "array"}
    try:
        with Image.open(path) as image:
            return {"kind": str(image.format), "mode": image.mode}
    except Exception:  # noqa: BLE001 - decoders fail in many ways; what is wrong says the decoding that follows
        return {"kind": "unknown", "mode": "unknown"}


def _scaled(picture: NDArray[np.uint8], stem: Path, height_px: int) -> Path:
    height, width = picture.shape[:2]
    size_wh = max(1, round(width * height_px / height)), height_px
    placed = stem.with_name(stem.name + ".png")
    Image.fromarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA)).save(placed)
    return placed


def _place(path: Path, placed: Path, *, copy: bool) -> None:
    if not copy:
        try:
            placed.hardlink_to(path.resolve())
            return
        except OSError:  # another file system, or one without links: a full disk shows when it is copied
            pass
    shutil.copy2(path, placed)
