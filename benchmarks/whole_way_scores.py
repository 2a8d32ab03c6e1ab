"""What the answers to frames are worth, and what they cost: counts, shares with intervals, milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.whole_way_frames import Shot
from benchmarks.whole_way_methods import Answer
from cardrec.bench import STAGES
from cardrec.types import Timings
from training.detection_scoring import effective_count, iou_table
from training.retrieval import wilson

__all__ = ["Judged", "Tally", "judge"]

ABOUT = 0.2
"""IoU from which an answer is about a card; the picture in a card's frame, which contours find as well, has 0.3 to 0.5.
A name may be right though its outline is not."""
RESAMPLED = 1000


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of the cards of one frame, as counts.

    Attributes:
        known: cards that are in the catalog.
        first: of them, those whose right card comes first, whatever the method would name.
        named: of them, those that are named rightly.
        wrong: of them, those that are named as another card.
        lost: of them, those that no answer is about.
        strangers: cards that are not in the catalog.
        taken: of them, those that are named.
        elsewhere: named answers that are about none of the frame's cards, or one that has an answer already.
    """

    known: int
    first: int
    named: int
    wrong: int
    lost: int
    strangers: int
    taken: int
    elsewhere: int


def judge(shot: Shot, answers: Sequence[Answer]) -> Judged:
    """Each card has the answer whose outline overlaps it most."""
    place = _assigned(shot, answers)
    pairs = [(right, None if at < 0 else answers[at]) for right, at in zip(shot.right, place, strict=True)]
    known = [(right, answer) for right, answer in pairs if right]
    heard = [(answer.card_id in right, answer.named) for right, answer in known if answer is not None]
    surplus = [answer for n, answer in enumerate(answers) if n not in place]
    return Judged(
        known=len(known),
        first=sum(right for right, _ in heard),
        named=sum(right and named for right, named in heard),
        wrong=sum(named and not right for right, named in heard),
        lost=len(known) - len(heard),
        strangers=len(pairs) - len(known),
        taken=sum(answer is not None and answer.named for right, answer in pairs if not right),
        elsewhere=sum(answer.named for answer in surplus),
    )


def _assigned(shot: Shot, answers: Sequence[Answer]) -> list[int]:
    """The answer of each card, -1 for none; the best pairs first."""
    found = np.stack([answer.corners_px for answer in answers]) if answers else np.empty((0, 4, 2), np.float32)
    left = iou_table(found, shot.quads_px)
    left[left < ABOUT] = 0.0
    place = [-1] * len(shot.quads_px)
    while left.any():
        answer, card = (int(n) for n in np.unravel_index(left.argmax(), left.shape))
        place[card] = answer
        left[answer], left[:, card] = 0.0, 0.0
    return place


class Tally:
    """A method's frames of one group."""

    def __init__(self) -> None:
        self._judged: list[Judged] = []
        self._timings: list[Timings] = []

    def add(self, judged: Judged, timings: Timings) -> None:
        self._judged.append(judged)
        self._timings.append(timings)

    @property
    def total_ms(self) -> NDArray[np.float64]:
        """(frames,) of the whole calls."""
        return self._stage("total_ms")

    def _stage(self, name: str) -> NDArray[np.float64]:
        return np.array([getattr(timings, name) for timings in self._timings])

    def figures(self, ours: Tally) -> dict[str, Any]:
        """As `whole_way.json` has them; the ratio is that of the same frames to ``ours``, the median of them."""
        sums = {each.name: sum(getattr(one, each.name) for one in self._judged) for each in fields(Judged)}
        ratios = self.total_ms / ours.total_ms
        return sums | {
            "frames": len(self._judged),
            "first_share": self._share("first", "known"),
            "named_share": self._share("named", "known"),
            "taken_share": self._share("taken", "strangers"),
            "p50_ms": _quantile(self.total_ms, 0.5),
            "p95_ms": _quantile(self.total_ms, 0.95),
            "ratio": round(float(np.median(ratios)), 3),
            "stages_ms": {name: round(float(np.median(self._stage(name))), 3) for name in STAGES},
        }

    def _share(self, hits: str, of: str) -> dict[str, float] | None:
        """A share with its 95 % interval; cards of one frame count as what they are, not independent."""
        counts = [(getattr(one, hits), getattr(one, of)) for one in self._judged if getattr(one, of)]
        if not counts:
            return None
        hit, count = (list(each) for each in zip(*counts, strict=True))
        effective = effective_count(hit, count) if max(count) > 1 else len(count)
        share = sum(hit) / sum(count)
        low, high = wilson(share * effective, effective)
        return {"share": share, "low": low, "high": high}


def _quantile(values: NDArray[np.float64], share: float) -> Mapping[str, float]:
    """A quantile with its 95 % interval, by resampling the frames."""
    again = np.random.default_rng(0).choice(values, (RESAMPLED, len(values)))
    low, high = np.quantile(np.quantile(again, share, axis=1), (0.025, 0.975))
    return {
        name: round(float(value), 3)
        for name, value in (("ms", np.quantile(values, share)), ("low", low), ("high", high))
    }
