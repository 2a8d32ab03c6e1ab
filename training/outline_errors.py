"""How far off the detector's outlines are, as the augmentation draws it: measured on simulated frames.

    python -m training.outline_errors --data DATA --frames 40

Writes `training/labels/outline_errors.csv`: for each card that was found, where its true corners lie in the rectified
crop, less where they should lie; in widths and heights of the crop, corner by corner from the card's top left. The
frames show cards and grounds that the detector never saw, in all groups of `training/detection_frames.py`, with seeds
of their own.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from cardrec.detect import OutlineDetector
from cardrec.quads import BEYOND, UNIT_SQUARE, iou
from training.augment import MEASURED
from training.detection_frames import GROUPS, Shot, simulated

SEED = 170
"""Added to the seeds of the groups that the detector is measured on."""
FOUND = 0.6
"""IoU from which a detection means the card."""


def displacements(shot: Shot, found: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The (4, 2) displacements of each card of the frame that one of the outlines (n, 4, 2) means."""
    off = []
    for truth in shot.quads_px:
        overlaps = [iou(quad, truth) for quad in found]
        if overlaps and max(overlaps) >= FOUND:
            quad = found[int(np.argmax(overlaps))]
            upright = min(quad, quad[BEYOND], key=lambda way: float(np.abs(way - truth).sum()))
            crop = cv2.getPerspectiveTransform(upright.astype(np.float32), UNIT_SQUARE.astype(np.float32))
            inside = cv2.perspectiveTransform(truth[None].astype(np.float32), crop)[0]
            off.append((inside - UNIT_SQUARE).astype(np.float32))
    return off


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=60, help="of each group")
    options = parser.parse_args()

    cv2.setNumThreads(1)
    detector = OutlineDetector()
    groups = [replace(group, seed=group.seed + SEED) for group in GROUPS]
    off: list[NDArray[np.float32]] = []
    for part in simulated(options.data, options.frames, groups):
        for job in track(part.jobs, part.name):
            shot = job()
            detections = detector.detect(shot.frame, max_cards=part.max_cards)
            off += displacements(shot, np.array([d.corners_px for d in detections], np.float32).reshape(-1, 4, 2))
    with MEASURED.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([f"{value:.4f}" for value in card.ravel()] for card in off)
    size = np.linalg.norm(np.stack(off), axis=2).mean(axis=1)
    print(f"{len(off)} outlines, mean corner off by {np.quantile(size, [0.5, 0.9, 0.99]).round(4)} at 50, 90, 99 %")


if __name__ == "__main__":
    main()
