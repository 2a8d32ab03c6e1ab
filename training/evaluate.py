"""Measures a model bundle on cards that no training saw, and writes its calibration.

    python -m training.evaluate cardrec/data/model --data DATA --config training/configs/first.toml [--write]

Queries are simulated photos (`simulate.py`, another model of a camera than training's) of held-out cards; the
references are all cards of the sources, each as it stands in a catalog. Beside the model: a 256-bit perceptual hash
on the same crops. Half of the queries fit the calibration, the other half report.
"""

from __future__ import annotations

import argparse
import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.embed import Embedder, open_encoder
from training.data import CardImage, load_source, split
from training.phash import nearest, phash
from training.simulate import Level, simulate_crop

Floats = NDArray[np.float32]
Split = tuple[list[CardImage], list[CardImage]]
Row = tuple[str, Level, float, int, str, str]
"""Source, level, corner error, queries, and the top-1 of the model and of the hash."""
FALSE_ACCEPTS = 0.01
"""Share of cards outside the catalog that the written thresholds may accept."""


@dataclass(frozen=True, slots=True)
class Answers:
    """How a set of queries was answered.

    Attributes:
        right: (n,) bool, the best reference shows the query's face.
        score, margin: (n,) cosine of the best reference, and its lead over the best of another face.
        outside_score, outside_margin: the same with the query's face taken out of the catalog.
    """

    right: NDArray[np.bool_]
    score: Floats
    margin: Floats
    outside_score: Floats
    outside_margin: Floats


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson 1927)."""
    z, share = 1.96, hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return centre - half, centre + half


def best_of_faces(similarity: Floats, faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats, Floats]:
    """For each query the best row, its score, and its lead over the best row of another face."""
    rows = np.arange(len(similarity))
    best = similarity.argmax(axis=1)
    score = similarity[rows, best]
    others = np.where(faces[None, :] == faces[best][:, None], -np.inf, similarity).max(axis=1)
    return best, score, (score - others).astype(np.float32)


def answer(queries: Floats, truth: NDArray[np.int64], references: Floats, faces: NDArray[np.int64]) -> Answers:
    """Searches the references; ``truth`` and ``faces`` number the faces of queries and references."""
    similarity = queries @ references.T
    best, score, margin = best_of_faces(similarity, faces)
    similarity[faces[None, :] == truth[:, None]] = -np.inf
    _, outside_score, outside_margin = best_of_faces(similarity, faces)
    return Answers(faces[best] == truth, score, margin, outside_score, outside_margin)


def fit_logistic(features: NDArray[np.float64], right: NDArray[np.bool_], ridge: float = 1e-3) -> NDArray[np.float64]:
    """Weights (bias first) of a logistic regression, by Newton's method with a little ridge."""
    design = np.column_stack([np.ones(len(features)), features])
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (chance - right) + ridge * weights
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design + ridge * np.eye(len(weights))
        weights -= np.linalg.solve(hessian, gradient)
    return weights


def choose_thresholds(answers: Answers) -> tuple[float, float]:
    """(min_score, min_margin) that accept the most right answers at no more than `FALSE_ACCEPTS` of cards outside."""
    best = (-1.0, 1.0, 0.0)
    for min_score in np.linspace(0.1, 0.95, 86):
        for min_margin in np.linspace(0.01, 0.3, 30):
            false = np.mean((answers.outside_score >= min_score) & (answers.outside_margin >= min_margin))
            kept = np.mean(answers.right & (answers.score >= min_score) & (answers.margin >= min_margin))
            if false <= FALSE_ACCEPTS and kept > best[0]:
                best = (float(kept), float(min_score), float(min_margin))
    return best[1], best[2]


def calibrate(answers: Answers) -> dict[str, float]:
    """The `calibration` object of `model.json`."""
    min_score, min_margin = choose_thresholds(answers)
    scores = np.concatenate([answers.score, answers.outside_score]).astype(np.float64)
    margins = np.concatenate([answers.margin, answers.outside_margin]).astype(np.float64)
    right = np.concatenate([answers.right, np.zeros(len(answers.right), bool)])
    bias, score_weight, margin_weight = fit_logistic(np.column_stack([scores, margins]), right)
    numbers = {"min_score": min_score, "min_margin": min_margin, "bias": bias}
    numbers |= {"score_weight": score_weight, "margin_weight": margin_weight}
    return {name: round(float(value), 4) for name, value in numbers.items()}


def auroc(inside: Floats, outside: Floats) -> float:
    """Area under the ROC curve: the chance that a card in the catalog scores over one outside."""
    ranks = np.concatenate([inside, outside]).argsort().argsort()[: len(inside)] + 1
    return float((ranks.sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside)))


def pooled(parts: Sequence[Answers], start: int) -> Answers:
    """All the parts' queries, every other one from ``start``."""
    fields = Answers.__slots__
    return Answers(*(np.concatenate([getattr(part, name)[start::2] for part in parts]) for name in fields))


def top1(right: NDArray[np.bool_]) -> str:
    """A share in per cent with its interval."""
    low, high = wilson(int(right.sum()), len(right))
    return f"{100 * right.mean():.1f} ({100 * low:.1f}-{100 * high:.1f})"


def evaluate(embedder: Embedder, sources: dict[str, Split], count: int) -> tuple[list[Row], list[Answers], int]:
    """Rows of the table, the answers that they come from, and the number of references."""
    cards = [card for trained, unseen in sources.values() for card in trained + unseen]
    number = {face: n for n, face in enumerate(sorted({card.face for card in cards}))}
    faces = np.array([number[card.face] for card in cards])
    references = embedder.encode([card.pixels for card in cards])
    hashes = phash([card.pixels for card in cards])
    rows: list[Row] = []
    answers: list[Answers] = []
    for source, (_, unseen) in sources.items():
        chosen = unseen[:: max(1, len(unseen) // count)][:count]
        truth = np.array([number[card.face] for card in chosen])
        levels: list[Level] = ["easy", "hard"]
        for level in levels:
            for error in (0.01, 0.03):
                rng = np.random.default_rng([20, len(rows)])
                crops = [simulate_crop(card.pixels, rng=rng, level=level, corner_error=error) for card in chosen]
                answers.append(answer(embedder.encode(crops), truth, references, faces))
                hashed = faces[nearest(phash(crops), hashes)] == truth
                rows.append((source, level, error, len(chosen), top1(answers[-1].right), top1(hashed)))
                print(*rows[-1], sep=" | ", flush=True)
    return rows, answers, len(cards)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the bundle")
    parser.add_argument("--data", type=Path, required=True, help="folder that the config's paths start from")
    parser.add_argument("--config", type=Path, required=True, help="the training's config, for what it held out")
    parser.add_argument("--count", type=int, default=400, help="queries for each source and level")
    parser.add_argument("--write", action="store_true", help="put calibration and figures into model.json")
    options = parser.parse_args()

    cv2.setNumThreads(1)
    config = tomllib.loads(options.config.read_text())
    measured = [source for source in config["source"] if source.get("evaluate", True)]
    sources = {
        Path(source["folder"]).name: split(load_source(source, options.data), source, config["held_out"])
        for source in measured
    }
    with Embedder(open_encoder(options.model), color="rgb") as embedder:
        rows, answers, references = evaluate(embedder, sources, options.count)
    calibration = calibrate(pooled(answers, 0))
    report = pooled(answers, 1)
    accepted = (report.score >= calibration["min_score"]) & (report.margin >= calibration["min_margin"])
    false = (report.outside_score >= calibration["min_score"]) & (report.outside_margin >= calibration["min_margin"])
    figures = {
        "references": references,
        "top1": [
            dict(zip(("source", "level", "corner_error", "queries", "model", "phash"), row, strict=True))
            for row in rows
        ],
        "open_set_auroc": round(auroc(report.score, report.outside_score), 4),
        "false_accepts": round(float(false.mean()), 4),
        "right_and_accepted": round(float((report.right & accepted).mean()), 4),
    }
    print(json.dumps({"calibration": calibration, "figures": figures}, indent=2))
    if options.write:
        path = options.model / "model.json"
        details = json.loads(path.read_text()) | {"calibration": calibration, "figures": figures}
        path.write_text(json.dumps(details, indent=2) + "\n")


if __name__ == "__main__":
    main()
