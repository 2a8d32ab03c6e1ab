"""Measures how well the default detector finds cards: simulated frames, real photos, pictures without a card.

    python -m training.evaluate_detection --data DATA [--frames 400] [--out DIR] [--part simulated photos empty]

Simulated frames show cards that no training sees, a third of them upside down or at any turn. Photos are those with a
label; cards that are cut by the photo's border or covered by something have a row of their own. `found` is the share of
cards found with its 95 % interval; corner errors are in per cent of the card's width; `ms` is for one frame on one
thread, with OpenCV's threads off and no other frame being made meanwhile. The terms are those of
`detection_scoring.py`. With --out, the figures as JSON and contact sheets of what went wrong.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from cardrec.detect import Detector, OutlineDetector
from training.detection_frames import COUNTED, Job, Part, Shot, empty, photos, simulated
from training.detection_scoring import NO_QUADS, Assignment, Quads, Summary, assign, summarise
from training.detection_sheets import Sheets
from training.label_photos import LABELS, read_labels

Runner: TypeAlias = Callable[[Callable[[Job], Shot], Sequence[Job]], Iterable[Shot]]
"""`map`, here or in other processes."""

PARTS = ("simulated", "photos", "empty")
BATCH = 48
"""Frames made, all by all processes, before they are measured, so that nothing runs beside what is timed."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One frame: its cards that count, what each is (`COUNTED`), what became of them, and how long it took."""

    visible: tuple[str, ...]
    result: Assignment
    ms: float

    def of(self, kind: str) -> Assignment:
        """What became of the cards of one kind."""
        return self.result.of(np.array([each == kind for each in self.visible], bool))


def default_detector(min_score: float | None) -> Detector:
    """What `Recognizer` uses unless told otherwise."""
    return OutlineDetector() if min_score is None else OutlineDetector(min_score=min_score)


def run(job: Job) -> Shot:
    return job()


def shots(part: Part, runner: Runner) -> Iterator[Shot]:
    """The part's frames, a batch at a time."""
    for start in range(0, len(part.jobs), BATCH):
        yield from list(runner(run, part.jobs[start : start + BATCH]))


def detect(detector: Detector, shot: Shot, max_cards: int) -> tuple[Quads, float]:
    """The outlines (n, 4, 2) and the milliseconds that they took."""
    start = time.perf_counter()
    found = detector.detect(shot.frame, max_cards=max_cards)
    ms = 1000 * (time.perf_counter() - start)
    return np.stack([each.corners_px for each in found]) if found else NO_QUADS, ms


def measure(detector: Detector, part: Part, runner: Runner, sheets: Sheets | None = None) -> list[Measured]:
    """Looks for the cards of each frame; those in which something is amiss go to the sheets."""
    measured = []
    for shot in shots(part, runner):
        found, ms = detect(detector, shot, part.max_cards)
        counted = shot.seen(*COUNTED)
        result = assign(found, shot.quads_px[counted], shot.quads_px[~counted])
        if sheets and (result.false or (result.iou < part.threshold).any()):
            sheets.add(shot, found, result)
        visible = tuple(kind for kind in shot.visible if kind in COUNTED)
        measured.append(Measured(visible, result, ms))
    if sheets:
        sheets.close()
    return measured


def rows(part: Part, measured: Sequence[Measured]) -> dict[str, Summary]:
    """The part's rows: all frames with the whole cards, then the frames that have other ones with those."""
    times_ms = [each.ms for each in measured]
    found = {part.name: summarise([each.of("whole") for each in measured], times_ms, threshold=part.threshold)}
    for kind in COUNTED[1:]:
        having = [each for each in measured if kind in each.visible]
        if having:
            found[f"{part.name}, {kind}"] = summarise(
                [each.of(kind) for each in having],
                [each.ms for each in having],
                threshold=part.threshold,
                judge_false=False,
            )
    return found


def share(count: int | None, of: int, interval: tuple[float, float] | None) -> str:
    """A share in per cent with its interval."""
    if count is None or interval is None:
        return "-"
    return f"{100 * count / of:.1f} ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})"


def number(value: float | None, digits: int, scale: float = 1.0) -> str:
    return "-" if value is None else f"{scale * value:.{digits}f}"


COLUMNS: tuple[tuple[str, int, Callable[[Summary], str]], ...] = (
    ("frames", 6, lambda row: str(row.frames)),
    ("cards", 6, lambda row: str(row.cards)),
    ("found %", 18, lambda row: share(row.found, row.cards, row.found_interval)),
    ("poor", 5, lambda row: str(row.poor)),
    ("missed", 6, lambda row: str(row.missed)),
    ("false/frame", 11, lambda row: number(None if row.false is None else row.false / row.frames, 3)),
    ("frames with false %", 19, lambda row: share(row.frames_with_false, row.frames, row.with_false_interval)),
    ("IoU", 6, lambda row: number(row.median_iou, 3)),
    ("corners %", 9, lambda row: number(row.median_corner_error, 2, 100)),
    ("95th", 6, lambda row: number(row.p95_corner_error, 2, 100)),
    ("ms", 6, lambda row: number(row.median_ms, 1)),
)
NAME_WIDTH = 18


def heading() -> str:
    return " ".join(["".ljust(NAME_WIDTH), *(title.rjust(width) for title, width, _ in COLUMNS)])


def line(name: str, row: Summary) -> str:
    """One row of the table, aligned with the heading."""
    return " ".join([name.ljust(NAME_WIDTH), *(text(row).rjust(width) for _, width, text in COLUMNS)])


def parts_of(options: argparse.Namespace) -> list[Part]:
    """What is asked for, and can be measured: photos only where there are labels."""
    found: list[Part] = []
    if "simulated" in options.part:
        found += simulated(options.data, options.frames)
    if "photos" in options.part:
        if options.labels.exists():
            found += photos(options.data / "photos", read_labels(options.labels))
        else:
            print(f"{options.labels} is not there: no photos are measured")
    if "empty" in options.part:
        found += empty(options.data)
    return found


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cards, backgrounds and photos")
    parser.add_argument("--frames", type=int, default=400, help="simulated frames of each group")
    parser.add_argument("--labels", type=Path, default=LABELS, help="outlines of the cards in the photos")
    parser.add_argument("--part", choices=PARTS, nargs="+", default=PARTS, help="what to measure; all by default")
    parser.add_argument("--min-score", type=float, help="the detector's; its own default unless given")
    parser.add_argument("--out", type=Path, help="folder for detection.json and the contact sheets")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that make frames")
    return parser.parse_args(given)


def evaluate(detector: Detector, parts: Sequence[Part], runner: Runner, out: Path | None) -> dict[str, Summary]:
    """Prints the table row by row; writes the sheets."""
    table: dict[str, Summary] = {}
    print(heading(), flush=True)
    for part in parts:
        sheets = Sheets(out, part.name) if out else None
        for name, row in rows(part, measure(detector, part, runner, sheets)).items():
            table[name] = row
            print(line(name, row), flush=True)
    return table


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    cv2.setNumThreads(1)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    detector = default_detector(options.min_score)
    context = multiprocessing.get_context("spawn")  # a fork would copy a detector's threads half
    with ProcessPoolExecutor(options.processes, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        table = evaluate(detector, parts_of(options), pool.map, options.out)
    if options.out:
        about = {"detector": type(detector).__name__, "min_score": options.min_score}
        figures = about | {"groups": {name: asdict(row) for name, row in table.items()}}
        (options.out / "detection.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
