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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cardrec.embed import Embedder, open_encoder
from training.data import CardImage, load_source, split
from training.logistic import fit_logistic
from training.phash import nearest, phash
from training.simulate import Level, simulate_crop

Floats = NDArray[np.float32]
Split = tuple[list[CardImage], list[CardImage]]
Row = tuple[str, Level, float, int, str, str]
"""Source, level, corner error, queries, and the top-1 of the model and of the hash."""
FALSE_ACCEPTS = 0.01
"""Share of cards outside the catalog that the written thresholds may accept."""
RIDGE = 1e-3
AMBIGUOUS_STRANGERS = 0.1
"""Share of cards outside the catalog that may be called ambiguous instead of unknown, or be accepted."""
TWIN_AGREEMENT = 0.6
"""Hash agreement (-1..1, 0 by chance) of two clean pictures that show nearly the same: 51 of 256 bits differ."""


@dataclass(frozen=True, slots=True)
class Answers:
    """How a set of queries was answered.

    Attributes:
        right: (n,) bool, the best reference shows the query's face.
        score, margin: (n,) cosine of the best reference, and its lead over the best of another face.
        outside_score, outside_margin: the same with the query's face taken out of the catalog.
        twin: (n,) bool, the catalog has another face that looks nearly the same (a reprint that no list names), so that
            taking the query's face out does not make the card a stranger.
    """

    right: NDArray[np.bool_]
    score: Floats
    margin: Floats
    outside_score: Floats
    outside_margin: Floats
    twin: NDArray[np.bool_]

    def strangers(self) -> tuple[Floats, Floats]:
        """Scores and margins of the queries that are strangers once their face is taken out."""
        return self.outside_score[~self.twin], self.outside_margin[~self.twin]


def wilson(hits: float, count: float) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson 1927); an effective count need not be whole."""
    z, share = 1.96, hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def best_of_faces(similarity: Floats, faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats, Floats]:
    """For each query the best row, its score, and its lead over the best row of another face."""
    rows = np.arange(len(similarity))
    best = similarity.argmax(axis=1)
    score = similarity[rows, best]
    others = np.where(faces[None, :] == faces[best][:, None], -np.inf, similarity).max(axis=1)
    return best, score, (score - others).astype(np.float32)


def twins(hashes: Floats, faces: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the chosen rows have a look-alike under another face, by the perceptual hash of the clean pictures."""
    agreement = hashes[chosen] @ hashes.T / hashes.shape[1]
    other = faces[None, :] != faces[chosen][:, None]
    found: NDArray[np.bool_] = ((agreement >= TWIN_AGREEMENT) & other).any(axis=1)
    return found


def answer(
    queries: Floats,
    truth: NDArray[np.int64],
    references: Floats,
    faces: NDArray[np.int64],
    twin: NDArray[np.bool_],
) -> Answers:
    """Searches the references; ``truth`` and ``faces`` number the faces of queries and references."""
    similarity = queries @ references.T
    best, score, margin = best_of_faces(similarity, faces)
    similarity[faces[None, :] == truth[:, None]] = -np.inf
    _, outside_score, outside_margin = best_of_faces(similarity, faces)
    return Answers(faces[best] == truth, score, margin, outside_score, outside_margin, twin)


def calibrate(answers: Answers) -> dict[str, float]:
    """The `calibration` object of `model.json`: the curve, and the confidence and score that strangers rarely reach."""
    outside_score, outside_margin = answers.strangers()
    max_margin = float(np.quantile(outside_margin, 1 - FALSE_ACCEPTS))
    scores = np.concatenate([answers.score, outside_score]).astype(np.float64)
    margins = np.minimum(np.concatenate([answers.margin, outside_margin]), max_margin).astype(np.float64)
    right = np.concatenate([answers.right, np.zeros(len(outside_score), bool)])
    bias, score_weight, margin_weight = fit_logistic(
        np.column_stack([np.ones(len(scores)), scores, margins]), right, ridge=RIDGE
    )
    numbers = {"bias": bias, "score_weight": score_weight, "margin_weight": margin_weight, "max_margin": max_margin}
    numbers["min_score"] = float(np.quantile(outside_score, 1 - AMBIGUOUS_STRANGERS))
    numbers["min_confidence"] = float(
        np.quantile(confidence(outside_score, outside_margin, numbers), 1 - FALSE_ACCEPTS)
    )
    return {name: round(float(value), 4) for name, value in numbers.items()}


def confidence(score: Floats, margin: Floats, numbers: Mapping[str, float]) -> Floats:
    """What `cardrec.decide` makes of scores and margins: (n,) 0..1."""
    logit = (
        numbers["bias"]
        + numbers["score_weight"] * score
        + numbers["margin_weight"] * np.minimum(margin, numbers["max_margin"])
    )
    return np.asarray(1 / (1 + np.exp(-logit)), np.float32)


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
    place = {card.card_id: row for row, card in enumerate(cards)}
    references = embedder.encode([card.pixels for card in cards])
    hashes = phash([card.pixels for card in cards])
    rows: list[Row] = []
    answers: list[Answers] = []
    for source, (_, unseen) in sources.items():
        chosen = unseen[:: max(1, len(unseen) // count)][:count]
        truth = np.array([number[card.face] for card in chosen])
        twin = twins(hashes, faces, np.array([place[card.card_id] for card in chosen]))
        levels: list[Level] = ["easy", "hard"]
        for level in levels:
            for error in (0.01, 0.03):
                rng = np.random.default_rng([20, len(rows)])
                crops = [simulate_crop(card.pixels, rng=rng, level=level, corner_error=error) for card in chosen]
                answers.append(answer(embedder.encode(crops), truth, references, faces, twin))
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
    accepted = confidence(report.score, report.margin, calibration) >= calibration["min_confidence"]
    outside_score, outside_margin = report.strangers()
    false = confidence(outside_score, outside_margin, calibration) >= calibration["min_confidence"]
    figures = {
        "references": references,
        "top1": [
            dict(zip(("source", "level", "corner_error", "queries", "model", "phash"), row, strict=True))
            for row in rows
        ],
        "open_set_auroc": round(auroc(report.score, outside_score), 4),
        "false_accepts": round(float(false.mean()), 4),
        "right_and_accepted": round(float((report.right & accepted).mean()), 4),
        "wrong_and_accepted": round(float((~report.right & accepted).mean()), 4),
    }
    print(json.dumps({"calibration": calibration, "figures": figures}, indent=2))
    if options.write:
        path = options.model / "model.json"
        details = json.loads(path.read_text()) | {"calibration": calibration, "figures": figures}
        path.write_text(json.dumps(details, indent=2) + "\n")


if __name__ == "__main__":
    main()
