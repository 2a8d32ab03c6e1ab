"""How well photos are answered: ranks, margins, the open set, intervals. NumPy only; nothing here draws or encodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MARGIN_QUANTILES", "RECALL", "Answers", "answer", "auroc", "best_of_faces", "false_accepts_at", "pooled", "twins",
    "wilson",
]  # fmt: skip

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

RECALL = 0.95
"""Share of the cards in the catalog that are accepted where false accepts are counted."""
MARGIN_QUANTILES = (0.01, 0.05, 0.25, 0.5)
TWIN_AGREEMENT = 0.6
"""Hash agreement (-1..1, 0 by chance) of two clean pictures that show nearly the same: 51 of 256 bits differ."""


@dataclass(frozen=True, slots=True)
class Answers:
    """How a set of queries was answered.

    Attributes:
        best: (n,) row of the best reference.
        rank: (n,) 1 where the best reference shows the query's face, else 1 and the rows of other faces ahead of it.
        score, margin: (n,) cosine of the best reference, and its lead over the best of another face.
        lead: (n,) how far the right face's score is over the best wrong one; negative where the answer is wrong.
        outside_score, outside_margin: score and margin with the query's face taken out of the catalog.
        twin: (n,) bool, the catalog has another face that looks nearly the same (a reprint that no list names), so that
            taking the query's face out does not make the card a stranger.
    """

    best: Integers
    rank: Integers
    score: Floats
    margin: Floats
    lead: Floats
    outside_score: Floats
    outside_margin: Floats
    twin: Bools

    @property
    def right(self) -> Bools:
        """(n,) whether the best reference shows the query's face."""
        return np.asarray(self.rank == 1, np.bool_)

    def strangers(self) -> tuple[Floats, Floats]:
        """Scores and margins of the queries that are strangers once their face is taken out."""
        return self.outside_score[~self.twin], self.outside_margin[~self.twin]


def best_of_faces(similarity: Floats, faces: Integers) -> tuple[Integers, Floats, Floats]:
    """For each query the best row, its score, and its lead over the best row of another face."""
    rows = np.arange(len(similarity))
    best = similarity.argmax(axis=1)
    score = similarity[rows, best]
    others = np.where(faces[None, :] == faces[best][:, None], -np.inf, similarity).max(axis=1)
    return best, score, (score - others).astype(np.float32)


def answer(queries: Floats, truth: Integers, references: Floats, faces: Integers, twin: Bools) -> Answers:
    """Searches the references; ``truth`` and ``faces`` number the faces of queries and references.

    Every query's face must be among the references, and one other. Equal scores are ordered by the lower row.
    """
    similarity = queries @ references.T
    same = faces[None, :] == truth[:, None]
    best, score, margin = best_of_faces(similarity, faces)
    own = np.where(same, similarity, -np.inf)
    own_row = own.argmax(axis=1)[:, None]
    own_score = own.max(axis=1)[:, None]
    similarity[same] = -np.inf
    _, outside_score, outside_margin = best_of_faces(similarity, faces)
    lower = np.arange(len(references))[None, :] < own_row
    ahead = (similarity > own_score) | ((similarity == own_score) & lower)
    lead = (own_score[:, 0] - outside_score).astype(np.float32)
    return Answers(best, 1 + ahead.sum(axis=1), score, margin, lead, outside_score, outside_margin, twin)


def twins(vectors: Floats, faces: Integers, chosen: Integers) -> Bools:
    """Which of the chosen rows have a look-alike under another face, by the hashes (unit vectors) of clean pictures."""
    agreement = vectors[chosen] @ vectors.T
    other = faces[None, :] != faces[chosen][:, None]
    found: Bools = ((agreement >= TWIN_AGREEMENT) & other).any(axis=1)
    return found


def pooled(parts: Sequence[Answers], start: int = 0, step: int = 1) -> Answers:
    """All the parts' queries, every ``step``-th one from ``start``."""
    fields = Answers.__slots__
    return Answers(*(np.concatenate([getattr(part, name)[start::step] for part in parts]) for name in fields))


def wilson(hits: float, count: float) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson 1927); an effective count need not be whole."""
    z, share = 1.96, hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def auroc(inside: Floats, outside: Floats) -> float:
    """Area under the ROC curve: the chance that a card in the catalog outscores one outside; ties count half."""
    _, place, counts = np.unique(np.concatenate([inside, outside]), return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    ranks = mean_rank[place[: len(inside)]]
    return float((ranks.sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside)))


def false_accepts_at(inside: Floats, outside: Floats, recall: float = RECALL) -> float:
    """Share of strangers over the highest threshold that accepts ``recall`` of the cards in the catalog."""
    threshold = np.sort(inside)[::-1][math.ceil(recall * len(inside)) - 1]
    return float((outside >= threshold).mean())
