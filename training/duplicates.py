"""Finds images of one printing under several names: reissues and rescans that a training must not tell apart.

    python -m training.duplicates FOLDER --out pairs.csv [--sheet sheet.png]

A perceptual hash proposes pairs over all n^2, the bundled encoder confirms them, and every small part of one picture
must be found in the other at the same place, or a few pixels off. Neither of the first two sees a language: an English
Pocket card and its German counterpart differ in 0 to 32 bits and have a cosine of 0.984 to 0.999; a quarter of the
pairs in redemption-same.csv have less. The encoder sees frames of other colours, which the comparison in grey doesn't.

On the development data, with the constants below (by hash and cosine alone in brackets):

| pairs | there are | merged |
|---|---|---|
| redemption, of one class in redemption-same.csv | 295 | 134 (284) |
| redemption, others | 15.9 million | 2 (127) |
| pocket-en with pocket-de, same number | 675 | 0 (675) |
| rendered, `deck(500, seed=77)` at 320 px: reprints and twins that the hash proposes | 80 | 7 (77) |

The first two rows are the command's, on cards/redemption; the others `find_duplicates` of both languages together and
of the deck. By that list precision is 134 of 136, recall 134 of 295. But it asks for nearly the same picture, this
module for the same: seven of its pairs, looked at among those that agree least, all have other rules, another value or
another frame. The threshold was chosen on these pairs, and the encoder was trained on most of redemption, so other
cards may do worse. The 7 are reprints in the old frame with another set symbol, a few pixels wide; no twin in another
language and no other card is among them. What is found is a proposal: look at the sheet.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.embed import Embedder
from training.images import Picture, check_images
from training.manifests import folder_entries
from training.phash import phash

__all__ = ["Pair", "agreement", "candidates", "find_duplicates", "write_pairs"]

Floats = NDArray[np.float32]

MAX_BITS = 40
MIN_COSINE = 0.95
MIN_AGREEMENT = 0.62

SIZE_WH = (256, 352)
"""Pictures are compared at this size: text of 230x320 pixels is still lettering."""
PART_PX = 24
"""Side of a part: a word of the rules."""
SHIFT_PX = 3
"""How far off a part may be, in each direction; two scans are rarely cut to the same pixel."""
CONTRAST = 16
"""Levels (standard deviation): parts with less in both pictures are grain and the artefacts of JPEG."""
BLOCK = 2048
"""Rows of hashes compared at a time: 16 MB of products."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures that the hash takes for one.

    Attributes:
        a, b: their places in the sequence, ``a`` before ``b``.
        bits: of 256 in which the hashes differ.
        cosine: of the bundled encoder's vectors.
        agreement: of the parts that agree least, -1..1.
    """

    a: int
    b: int
    bits: int
    cosine: float
    agreement: float

    @property
    def same(self) -> bool:
        """Whether they show one printing."""
        return self.bits <= MAX_BITS and self.cosine >= MIN_COSINE and self.agreement >= MIN_AGREEMENT

    @property
    def certainty(self) -> float:
        """How far the decision is from being the other one."""
        return abs(min(self.agreement - MIN_AGREEMENT, self.cosine - MIN_COSINE))


def candidates(hashes: Floats, max_bits: int = MAX_BITS) -> Iterator[tuple[int, int, int]]:
    """Rows a < b of (n, 256) hashes of -1 and 1 that differ in at most ``max_bits`` bits, and in how many they do."""
    length = hashes.shape[1]
    for top in range(0, len(hashes), BLOCK):
        for left in range(top, len(hashes), BLOCK):
            products = hashes[top : top + BLOCK] @ hashes[left : left + BLOCK].T
            rows, columns = np.nonzero(products >= length - 2 * max_bits)
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                if top + row < left + column:
                    yield top + row, left + column, int(length - products[row, column]) // 2


def agreement(first: Picture, second: Picture) -> float:
    """The correlation of the part that agrees least, -1..1; 1 where neither picture has parts with contrast.

    Each part of the first picture is compared with the second at every shift of up to `SHIFT_PX`, and the best counts,
    so that light, contrast and a slightly other cut don't matter, but a word, a number or a symbol does.

    Args:
        first, second: (H, W, 3) uint8 RGB, any sizes.
    """
    a, b = _grey(first), _grey(second)
    inner = _inside(a, 0, 0)
    (mean_a, variance_a), (mean_b, variance_b) = _moments(a), _moments(b)
    best = np.full(mean_a[inner].shape, -1, np.float32)
    for dy in range(-SHIFT_PX, SHIFT_PX + 1):
        for dx in range(-SHIFT_PX, SHIFT_PX + 1):
            there = _inside(a, dy, dx)
            product = _mean(a * np.roll(b, (-dy, -dx), (0, 1)))[inner]
            covariance = product - mean_a[inner] * mean_b[there]
            np.maximum(best, covariance / np.sqrt(variance_a[inner] * variance_b[there]), out=best)
    shown = np.maximum(variance_a, variance_b)[inner] >= CONTRAST**2
    return float(best[shown].min(initial=1))


def _grey(picture: Picture) -> Floats:
    """About 0, so that float32 suffices for differences of squares."""
    small = cv2.resize(picture, SIZE_WH, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32) - np.float32(128)


def _mean(values: Floats) -> Floats:
    return np.asarray(cv2.blur(values, (PART_PX, PART_PX)), np.float32)


def _moments(grey: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of the part about each pixel; variances are at least 1, for flat parts."""
    mean = _mean(grey)
    return mean, np.maximum(_mean(grey * grey) - mean * mean, np.float32(1))


def _inside(grey: Floats, dy: int, dx: int) -> tuple[slice, slice]:
    """The parts that remain in the picture at every shift, as they lie at the given one."""
    edge = SHIFT_PX + PART_PX // 2
    height, width = grey.shape
    return slice(edge + dy, height - edge + dy), slice(edge + dx, width - edge + dx)


def find_duplicates(pictures: Sequence[Picture], embedder: Embedder | None = None) -> list[Pair]:
    """The pairs that the hash proposes, with all scores, in the order of the pictures; ``same`` says which are one.

    Args:
        pictures: (H, W, 3) uint8 RGB of whole cards.
        embedder: for arrays in RGB; None is the bundled encoder.
    """
    if embedder is None:
        with Embedder(color="rgb") as bundled:
            return find_duplicates(pictures, bundled)
    proposed = list(candidates(phash(pictures)))
    rows = sorted({row for a, b, _ in proposed for row in (a, b)})
    vectors = dict(zip(rows, embedder.encode([pictures[row] for row in rows]), strict=True))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        agreements = list(pool.map(lambda pair: agreement(pictures[pair[0]], pictures[pair[1]]), proposed))
    return [
        Pair(a, b, bits, float(vectors[a] @ vectors[b]), agreed)
        for (a, b, bits), agreed in zip(proposed, agreements, strict=True)
    ]


def write_pairs(path: Path, names: Sequence[str], pairs: Sequence[Pair]) -> None:
    """A CSV file with columns a, b and the scores, as ``duplicates`` of a config reads it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "bits", "cosine", "agreement"])
        for pair in pairs:
            writer.writerow([names[pair.a], names[pair.b], pair.bits, f"{pair.cosine:.4f}", f"{pair.agreement:.4f}"])


def contact_sheet(pictures: Sequence[Picture], pairs: Sequence[Pair], columns: int = 4) -> Picture:
    """The pairs side by side, row by row, with their scores; those that count as the same have a green caption."""
    width, height = SIZE_WH
    tiles = []
    for pair in pairs:
        both = [cv2.resize(pictures[row], SIZE_WH, interpolation=cv2.INTER_AREA) for row in (pair.a, pair.b)]
        tile = np.zeros((height + 24, 2 * width + 8, 3), np.uint8)
        tile[:height, : 2 * width] = np.hstack(both)
        text = f"agreement {pair.agreement:.2f} cosine {pair.cosine:.3f} bits {pair.bits}"
        colour = (90, 230, 90) if pair.same else (230, 120, 90)
        cv2.putText(tile, text, (4, height + 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="images, or one folder of images for each card")
    parser.add_argument("--out", type=Path, required=True, help="CSV file of the pairs that are the same")
    parser.add_argument("--sheet", type=Path, help="picture of the pairs that were hardest to decide")
    parser.add_argument("--shown", type=int, default=40, help="pairs on the sheet")
    options = parser.parse_args()

    entries = folder_entries(options.folder)
    pictures = check_images([entry.image for entry in entries])
    names = [entry.card_id for entry in entries]
    pairs = [pair for pair in find_duplicates(pictures) if names[pair.a] != names[pair.b]]
    same = [pair for pair in pairs if pair.same]
    write_pairs(options.out, names, same)
    print(f"{len(same)} pairs are the same, {len(pairs) - len(same)} more are similar")
    if options.sheet and pairs:
        unsure = sorted(pairs, key=lambda pair: pair.certainty)[: options.shown]
        sheet = contact_sheet(pictures, unsure)
        if not cv2.imwrite(str(options.sheet), sheet[:, :, ::-1]):
            raise OSError(f"could not write {options.sheet}; is it a .png or .jpg in a folder that can be written?")


if __name__ == "__main__":
    main()
