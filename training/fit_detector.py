"""Fits the weights by which the contour detector judges an outline (`cardrec/evidence.py`).

    python -m training.fit_detector --cards CARD_FOLDER... --backgrounds PICTURE_FOLDER...

Candidates are what the detector itself proposes in simulated frames with known outlines: one card, six, none. A
logistic regression learns which of them is a card; every fourth frame is kept out of it and reports. Prints the
weights.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec import candidates, evidence
from cardrec.detect import SMALL_SIDE, shrink
from cardrec.quads import iou
from training.data import read_rgb
from training.logistic import fit_logistic
from training.simulate import Level, SimulatedFrame, simulate_frame

Floats = NDArray[np.float64]

CARD_IOU = 0.88
"""Overlap with a true outline from which a candidate is that card; frames printed within a border stay below."""
RIDGE = 1e-4


@dataclass(frozen=True, slots=True)
class Task:
    """One frame to simulate: how hard, how many cards, and the seed of its chance."""

    level: Level
    cards: int
    seed: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The candidates of one frame.

    Attributes:
        name: level and number of cards, for the report.
        measured: (n, features) evidence.
        iou: (n,) best overlap of each with a true outline.
    """

    name: str
    measured: Floats
    iou: Floats


def tasks(single: int, several: int, empty: int) -> list[Task]:
    """So many frames of each level with one card, six cards and none."""
    levels: list[Level] = ["easy", "hard"]
    kinds = ((1, single), (6, several), (0, empty))
    places = [(level, cards, n) for level in levels for cards, count in kinds for n in range(count)]
    return [Task(level, cards, seed) for seed, (level, cards, _) in enumerate(places)]


def photograph(task: Task, cards: list[Path], backgrounds: list[Path], rng: np.random.Generator) -> SimulatedFrame:
    """A frame of the task's cards; in three of five on a real texture or photograph."""
    faces = [read_rgb(cards[rng.integers(len(cards))]) for _ in range(task.cards)]
    ground = None
    if rng.random() < 0.6:
        ground = np.ascontiguousarray(read_rgb(backgrounds[rng.integers(len(backgrounds))])[:, :, ::-1])
    return simulate_frame(faces, rng=rng, level=task.level, background=ground)


def noise(rng: np.random.Generator) -> SimulatedFrame:
    """A frame of noise, white to coarse: edges everywhere and no card."""
    pixels = rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.2, 4.0)))
    return SimulatedFrame(blurred.astype(np.uint8), np.empty((0, 4, 2), np.float32), np.empty(0, np.int64))


def judge(task: Task, cards: list[Path], backgrounds: list[Path]) -> list[Judged]:
    """Simulates a frame and measures what the detector proposes in it, as its quick and its thorough search see it."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([60, task.seed])
    shot = noise(rng) if task.cards == 0 and task.seed % 4 == 0 else photograph(task, cards, backgrounds, rng)
    small, double = shrink(shot.pixels, SMALL_SIDE), shrink(shot.pixels, 2 * SMALL_SIDE)
    fine_edges = candidates.gradients(double, colour=False)
    judged = []
    for colour in (False, True):
        edges = candidates.gradients(small, colour=colour)
        found = [candidates.from_contours(edges, largest=60, outer=outer) for outer in (True, False)]
        found += [
            candidates.from_contours(fine_edges, largest=60, outer=outer) * np.float32(0.5) for outer in (True, False)
        ]
        if colour:
            found.append(candidates.from_lines(edges))
        quads = np.concatenate(found).astype(np.float32)
        quads = quads[np.argsort(-evidence.side_support(quads, edges), kind="stable")[: 200 if task.cards > 1 else 80]]
        truth = shot.quads_px * np.float32(small.shape[1] / shot.pixels.shape[1])
        overlaps = np.array([max((iou(quad, true) for true in truth), default=0.0) for quad in quads])
        judged.append(Judged(f"{task.level}, {task.cards}", evidence.measurements(quads, small, edges), overlaps))
    return judged


def sample_weights(judged: list[Judged]) -> Floats:
    """What each candidate counts: near misses nothing, frames within cards three times."""
    iou = np.concatenate([each.iou for each in judged])
    empty = np.concatenate([np.full(len(each.iou), each.name.endswith(" 0")) for each in judged])
    card = iou > CARD_IOU
    others = np.where(empty, 2.0, np.where(iou > 0.84, 0.0, np.where(iou > 0.5, 3.0, 1.0)))
    return np.where(card, 0.4 * (~card).sum() / max(1, card.sum()), others)


def fit(judged: list[Judged]) -> Floats:
    """Weights of the measurements, and the constant last: a logistic regression."""
    measured = np.concatenate([each.measured for each in judged])
    card = np.concatenate([each.iou for each in judged]) > CARD_IOU
    counts = sample_weights(judged)
    mean, deviation = measured.mean(axis=0), measured.std(axis=0) + 1e-9
    design = np.column_stack([(measured - mean) / deviation, np.ones(len(measured))])
    ridge = np.append(np.full(measured.shape[1], RIDGE * len(design)), 0.0)
    weights = fit_logistic(design, card, ridge=ridge, counts=counts)
    return np.append(weights[:-1] / deviation, weights[-1] - (weights[:-1] * mean / deviation).sum())


def report(judged: list[Judged], weights: Floats) -> None:
    """How often the best candidate of a frame with a card is one, and what the best of an empty frame scores."""
    best: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for each in judged:
        if len(each.iou):
            scores = each.measured @ weights[:-1] + weights[-1]
            best[each.name].append((float(each.iou[scores.argmax()]), float(scores.max())))
    for name, found in sorted(best.items()):
        iou, score = np.array(found).T
        right = "" if name.endswith(" 0") else f"best is a card in {np.mean(iou > CARD_IOU):.1%}, "
        quantiles = ", ".join(f"{value:.2f}" for value in np.quantile(score, [0.1, 0.5, 0.9]))
        print(f"{name} cards: {right}log odds of the best (10, 50, 90 %): {quantiles}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=Path, nargs="+", required=True, help="folders of card faces")
    parser.add_argument("--backgrounds", type=Path, nargs="+", required=True, help="folders of grounds")
    parser.add_argument("--frames", type=int, default=340, help="with one card, for each level")
    options = parser.parse_args()

    cards, grounds = (
        sorted(path for folder in folders for path in folder.iterdir() if path.suffix in {".jpg", ".png"})
        for folders in (options.cards, options.backgrounds)
    )
    listed = tasks(options.frames, options.frames // 5, options.frames // 3)
    with ProcessPoolExecutor() as pool:
        frames = list(pool.map(partial(judge, cards=cards, backgrounds=grounds), listed, chunksize=8))
    fitted = [each for n, frame in enumerate(frames) if n % 4 for each in frame]
    report([each for frame in frames[::4] for each in frame], fit(fitted))
    weights = fit([each for frame in frames for each in frame])
    print(f"{sum(len(each.iou) for frame in frames for each in frame)} candidates in {len(frames)} frames:")
    print(np.array2string(weights, precision=3, separator=", ", suppress_small=True))


if __name__ == "__main__":
    main()
