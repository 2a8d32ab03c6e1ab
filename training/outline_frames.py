"""Draws the frames that the outline network is trained on, and keeps them as JPEG with their outlines.

    python -m training.outline_frames OUT --data DATA --count 30000 [--first 0]

Wider than the levels that detection is measured at: cards of every size and turn, bordered anew, on textures,
photographs, enlarged art and ground of their own colour, in rows, heaps and pages, among other things. One file
`frames-000000.npz` for each thousand.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data import read_bgr, read_rgb
from training.detection_data import face_paths, ground_paths
from training.render import CardSpec, deck, render
from training.simulate import SimulatedFrame, procedural_background, simulate_frame
from training.simulate_levels import LEVELS, Level, Look

Picture = NDArray[np.uint8]

SIZES_WH = ((512, 288), (288, 512), (448, 336), (336, 448), (400, 400))
"""Twice what the network sees, at most."""
PER_FILE = 1000
RENDERED, RENDERED_SEED, RENDERED_HEIGHT = 600, 500, 264
BORDERS_RGB = (
    (12, 12, 12), (235, 235, 235), (240, 210, 60), (150, 150, 155), (120, 30, 30), (30, 50, 110), (90, 60, 30),
)  # fmt: skip
BORDER_CHANCES = (0.46, 0.16, 0.1, 0.1, 0.06, 0.06, 0.06)
"""Black borders are the commonest in print and the hardest: in a dark sleeve or on a dark page a card seems smaller."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectionFrame:
    """A frame and the cards in it.

    Attributes:
        pixels: (H, W, 3) uint8 BGR.
        quads_px: (n, 4, 2) float32, each card's own top left, top right, bottom right, bottom left.
        visible: (n,) share of each card that no other card covers.
    """

    pixels: Picture
    quads_px: NDArray[np.float32]
    visible: NDArray[np.float32]


def draw_frame(seed: int, faces: list[Path], grounds: list[Path]) -> DetectionFrame:
    """One frame; equal seeds give equal frames."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([90, seed])
    size_wh = SIZES_WH[int(rng.choice(len(SIZES_WH), p=(0.45, 0.15, 0.15, 0.15, 0.1)))]
    look, count = _look(rng)
    cards = [_restyled(_face(faces, rng), rng) for _ in range(count)]
    ground = _ground(cards, faces, grounds, size_wh, rng)
    pictures = (
        [_art(_face(faces, rng)), read_rgb(grounds[int(rng.integers(len(grounds)))])] if rng.random() < 0.5 else []
    )
    shot = simulate_frame(cards, rng=rng, level=look, size_wh=size_wh, background=ground, pictures=pictures)
    return DetectionFrame(shot.pixels, shot.quads_px, _visible(shot))


def _look(rng: np.random.Generator) -> tuple[Look, int]:
    """How it is photographed, and how many cards."""
    kind = rng.random()
    if kind < 0.2:
        page = replace(LEVELS["page"], fill=(0.6, 1.0), turn_deg=180.0, tilt_deg=(0.0, 35.0), clutter=0.2)
        return page, int(rng.integers(3, 10) if rng.random() < 0.5 else rng.integers(10, 19))
    level: Level = "easy" if rng.random() < 0.35 else "hard"
    look = replace(LEVELS[level], tilt_deg=(0.0, 45.0), turn_deg=180.0, clutter=0.35, rows=0.35)
    look = replace(look, hold=0.25, cover=0.3, sleeve=0.35)
    if kind < 0.3:
        return replace(look, clutter=0.8), 0
    if kind < 0.65:
        return replace(look, fill=(0.15, 1.0)), 1
    overlap = float(rng.choice((0.0, 0.2, 0.6)))
    return replace(look, fill=(0.2, 1.0), overlap=overlap), int(rng.integers(2, 13))


def _face(faces: list[Path], rng: np.random.Generator) -> Picture:
    if rng.random() < 0.2:
        return _rendered(int(rng.integers(RENDERED)))
    return read_rgb(faces[int(rng.integers(len(faces)))])


@cache
def _rendered(number: int) -> Picture:
    """A rendered card, drawn once in each process."""
    return render(_specs()[number], height_px=RENDERED_HEIGHT)


@cache
def _specs() -> list[CardSpec]:
    return deck(RENDERED, seed=RENDERED_SEED)


def _restyled(card: Picture, rng: np.random.Generator) -> Picture:
    """Most cards get a border of their own, some lose theirs: games differ in it, and outlines rest on it."""
    kind = rng.random()
    if kind < 0.3:
        return card
    height, width = card.shape[:2]
    if kind < 0.45:
        cut = round(width * rng.uniform(0.05, 0.12))
        inner = card[cut : height - cut, cut : width - cut]
        return np.asarray(cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    rim = max(2, round(width * rng.uniform(0.015, 0.075)))
    colour = np.asarray(BORDERS_RGB[int(rng.choice(len(BORDERS_RGB), p=BORDER_CHANCES))]) + rng.uniform(-20, 20, 3)
    framed = np.empty_like(card)
    framed[:] = np.clip(colour, 0, 255).astype(np.uint8)
    cut = int(rng.integers(0, rim + 1))
    inner = card[cut : height - cut, cut : width - cut]
    framed[rim:-rim, rim:-rim] = cv2.resize(inner, (width - 2 * rim, height - 2 * rim), interpolation=cv2.INTER_AREA)
    return framed


def _ground(
    cards: list[Picture], faces: list[Path], grounds: list[Path], size_wh: tuple[int, int], rng: np.random.Generator
) -> Picture | None:
    """BGR: a texture or photograph, enlarged art as on a playing mat, the cards' own colour; None: drawn anew."""
    kind = rng.random()
    if kind < 0.45:
        return read_bgr(grounds[int(rng.integers(len(grounds)))])
    if kind < 0.6:
        art = _art(read_rgb(faces[int(rng.integers(len(faces)))]))[:, :, ::-1]
        return np.asarray(cv2.resize(art, size_wh, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    if kind < 0.72 and cards:
        return _like_the_border(cards[0], size_wh, rng)
    return None


def _art(card: Picture) -> Picture:
    """The upper middle of a card, where its picture is, without the frame around it."""
    height, width = card.shape[:2]
    return card[int(height * 0.18) : int(height * 0.45), int(width * 0.16) : int(width * 0.84)]


def _like_the_border(card: Picture, size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    """A ground in nearly the colour of a card's border."""
    border = np.concatenate([card[:4].reshape(-1, 3), card[:, :4].reshape(-1, 3)]).mean(axis=0)[::-1]
    ground = procedural_background(size_wh, rng, str(rng.choice(("plain", "felt", "leather", "paper")))).astype(
        np.float32
    )
    ground += (border + rng.uniform(-20, 20, 3) - ground.mean(axis=(0, 1))).astype(np.float32)
    return np.asarray(np.clip(ground, 0, 255), dtype=np.uint8)


def _visible(shot: SimulatedFrame) -> NDArray[np.float32]:
    """How much of each card no later card covers; what fingers and pens hide is at most a fifth."""
    owner = np.full(shot.pixels.shape[:2], -1, np.int16)
    whole = np.zeros(owner.shape, np.uint8)
    full = []
    for number, quad in enumerate(np.round(shot.quads_px).astype(np.int32)):
        cv2.fillConvexPoly(owner, quad, number)
        whole[:] = 0
        full.append(cv2.countNonZero(cv2.fillConvexPoly(whole, quad, 1)))
    seen = [np.count_nonzero(owner == number) for number in range(len(full))]
    return np.asarray(np.divide(seen, np.maximum(full, 1)), np.float32)


def write_frames(path: Path, frames: list[DetectionFrame]) -> None:
    """Keeps frames in one file: JPEG one after the other, and where each begins."""
    coded = [cv2.imencode(".jpg", frame.pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].ravel() for frame in frames]
    np.savez(
        path,
        jpeg=np.concatenate(coded),
        starts=np.cumsum([0, *map(len, coded)]),
        quads=np.concatenate([frame.quads_px for frame in frames]),
        visible=np.concatenate([frame.visible for frame in frames]),
        firsts=np.cumsum([0, *(len(frame.quads_px) for frame in frames)]),
    )


class StoredFrames:
    """The frames of a folder, decoded one at a time."""

    def __init__(self, folder: Path) -> None:
        self._files = []
        for path in sorted(folder.glob("frames-*.npz")):
            with np.load(path) as arrays:
                self._files.append({name: arrays[name] for name in arrays.files})
        if not self._files:
            raise FileNotFoundError(f"{folder} holds no frames-*.npz: make some with python -m training.outline_frames")
        self._ends = np.cumsum([len(file["firsts"]) - 1 for file in self._files])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> DetectionFrame:
        number = int(np.searchsorted(self._ends, index, side="right"))
        file = self._files[number]
        at = index - (int(self._ends[number - 1]) if number else 0)
        start, end = file["starts"][at : at + 2]
        pixels = cv2.imdecode(file["jpeg"][start:end], cv2.IMREAD_COLOR)
        cards = slice(*file["firsts"][at : at + 2])
        return DetectionFrame(np.asarray(pixels, np.uint8), file["quads"][cards], file["visible"][cards])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--data", type=Path, required=True, help="folder with cards/ and backgrounds/")
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first frame: its seed")
    parser.add_argument("--processes", type=int)
    options = parser.parse_args()

    faces, grounds = face_paths(options.data, held=False), ground_paths(options.data, held=False)
    options.out.mkdir(parents=True, exist_ok=True)
    draw = partial(draw_frame, faces=faces, grounds=grounds)
    with ProcessPoolExecutor(options.processes) as pool:
        for first in range(options.first, options.first + options.count, PER_FILE):
            seeds = range(first, min(first + PER_FILE, options.first + options.count))
            write_frames(options.out / f"frames-{first:06d}.npz", list(pool.map(draw, seeds, chunksize=16)))
            print(f"{seeds.stop} frames", flush=True)


if __name__ == "__main__":
    main()
