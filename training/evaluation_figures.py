"""An evaluation's answers as figures: plain numbers, as `report.json` holds and tables and curves show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from training.calibration import calibrate, confidence
from training.end_to_end import Seen
from training.methods import MODEL
from training.queries import Asked
from training.references import References
from training.retrieval import MARGIN_QUANTILES, Answers, auroc, false_accepts_at, pooled, wilson
from training.robustness import Step

__all__ = ["CALIBRATED_ON", "Results", "bundle_figures", "calibration_of", "figures"]

Figures: TypeAlias = dict[str, Any]
Floats = NDArray[np.float32]

CALIBRATED_ON = (0.01, 0.03)
"""Corner errors of the photos that fit the calibration and the open set's thresholds: about what a detector leaves."""


@dataclass(slots=True)
class Results:
    """What was asked, by part of the evaluation; retrieval and printings with the source's name."""

    retrieval: list[tuple[str, Asked]] = field(default_factory=list)
    printings: list[tuple[str, Asked]] = field(default_factory=list)
    robustness: list[Step] = field(default_factory=list)
    end_to_end: list[Seen] = field(default_factory=list)

    def open_set(self, levels: Sequence[str]) -> list[Asked]:
        """The photos that calibration and thresholds are measured on."""
        asked = [each for _, each in self.retrieval if each.condition.corner_error in CALIBRATED_ON]
        return [each for each in asked if each.condition.level in levels]


def figures(results: Results, references: References, shipped: Mapping[str, float]) -> Figures:
    """All of it; ``shipped`` is the calibration that the bundle came with (empty, if it has none)."""
    levels = list(dict.fromkeys(str(asked.condition.level) for _, asked in results.retrieval))
    groups = [(level, [level]) for level in levels] + [("all", levels)] * (len(levels) > 1)
    return {
        "references": references.catalog,
        "references_with_printings": len(references.card_ids),
        "retrieval": [_retrieval(source, asked) for source, asked in results.retrieval],
        "printings": [_printings(source, asked, references) for source, asked in results.printings],
        "end_to_end": [_end_to_end(seen) for seen in results.end_to_end],
        "open_set": [_open_set(name, results, chosen, levels, shipped) for name, chosen in groups],
        "robustness": [_step(step) for step in results.robustness],
    }


def rate(hits: float, count: float) -> Figures:
    """A share with its 95 % interval; of repeated photos, ``count`` is the number of cards."""
    low, high = wilson(hits, count)
    return {"hits": round(hits, 2), "count": count, "share": hits / count, "low": low, "high": high}


def calibration_of(results: Results, method: str = MODEL) -> dict[str, float]:
    """Fitted to every other card's photos."""
    return calibrate(pooled([asked.answers[method] for asked in results.open_set(("easy", "hard"))], 0, 2))


def _by_method(asked: Asked, measure: Callable[[Answers], Figures]) -> Figures:
    return {name: measure(answers) for name, answers in asked.answers.items()}


def _about(source: str, asked: Asked) -> Figures:
    condition = asked.condition
    level = condition.level if isinstance(condition.level, str) else "own"
    about = {"cards": source, "level": level, "corner_error": condition.corner_error, "queries": len(asked.cards)}
    return about if condition.height_px is None else about | {"height_px": condition.height_px[0]}


def _retrieval(source: str, asked: Asked) -> Figures:
    def measure(answers: Answers) -> Figures:
        count = len(answers.rank)
        return {
            "top1": rate(int((answers.rank == 1).sum()), count),
            "top5": rate(int((answers.rank <= 5).sum()), count),
            "lead": [float(value) for value in np.quantile(answers.lead, MARGIN_QUANTILES)],
        }

    return _about(source, asked) | {"methods": _by_method(asked, measure)}


def _printings(source: str, asked: Asked, references: References) -> Figures:
    artwork = references.artworks[references.rows(asked.cards)]

    def measure(answers: Answers) -> Figures:
        same = int((references.artworks[answers.best] == artwork).sum())
        return {"exact": rate(int(answers.right.sum()), len(artwork)), "artwork": rate(same, len(artwork))}

    return _about(source, asked) | {"methods": _by_method(asked, measure)}


def _end_to_end(seen: Seen) -> Figures:
    return {
        "cards": seen.source,
        "level": seen.level,
        "references": seen.references,
        "photos": seen.photos,
        "methods": {name: {"top1": rate(hits, seen.photos)} for name, hits in seen.first.items()},
        "outcomes": dict(seen.outcomes),
        "strangers": seen.strangers,
        "accepted": rate(seen.accepted, seen.strangers) if seen.strangers else None,
    }


def _open_set(
    name: str, results: Results, chosen: Sequence[str], levels: Sequence[str], shipped: Mapping[str, float]
) -> Figures:
    """One group of photos; what has to be fitted was fitted to the other half of the cards, at all levels."""
    parts = results.open_set(chosen)
    methods: Figures = {}
    for method in parts[0].answers:
        numbers = calibrate(pooled([each.answers[method] for each in results.open_set(levels)], 0, 2))
        report = pooled([each.answers[method] for each in parts], 1, 2)
        inside, outside = evidence(report, numbers)
        photos = _photos_of_each(parts)
        methods[method] = {by: _separation(inside[by], outside[by], photos) for by in inside}
        if method == MODEL:
            methods[method]["measured_calibration"] = _accepted(report, numbers)
            if shipped:
                methods[method]["bundle_calibration"] = _accepted(report, shipped)
    report = pooled([each.answers[MODEL] for each in parts], 1, 2)
    return {
        "level": name,
        "photos": len(report.rank),
        "strangers": len(report.strangers()[0]),
        "methods": methods,
    }


def evidence(report: Answers, numbers: Mapping[str, float]) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """By what cards in the catalog and strangers may be told apart: of the former, then of the latter."""
    outside_score, outside_margin = report.strangers()
    inside = confidence(report.score, report.margin, numbers)
    outside = confidence(outside_score, outside_margin, numbers)
    return (
        {"score": report.score, "margin": report.margin, "confidence": inside},
        {"score": outside_score, "margin": outside_margin, "confidence": outside},
    )


def _photos_of_each(parts: Sequence[Asked]) -> float:
    """How many photos there are of a card, in the mean."""
    cards = {card.card_id for part in parts for card in part.cards}
    return sum(len(part.cards) for part in parts) / len(cards)


def _separation(inside: Floats, outside: Floats, photos_of_each: float) -> Figures:
    false = false_accepts_at(inside, outside)
    cards = len(outside) / photos_of_each
    return {"auroc": auroc(inside, outside), "false_accepts": rate(false * cards, cards)}


def _accepted(report: Answers, numbers: Mapping[str, float]) -> Figures:
    """Shares at the calibration's own threshold."""
    accepted = confidence(report.score, report.margin, numbers) >= numbers["min_confidence"]
    strangers = confidence(*report.strangers(), numbers) >= numbers["min_confidence"]
    return {
        "false_accepts": float(strangers.mean()),
        "right_and_accepted": float((report.right & accepted).mean()),
        "wrong_and_accepted": float((~report.right & accepted).mean()),
    }


def _step(step: Step) -> Figures:
    def measure(answers: Answers) -> Figures:
        return {"top1": rate(int(answers.right.sum()), len(answers.rank))}

    about = {"factor": step.factor.name, "unit": step.factor.unit, "value": step.value}
    return about | {"queries": len(step.asked.cards), "methods": _by_method(step.asked, measure)}


def percent(share: Mapping[str, float]) -> str:
    """A share in per cent with its interval."""
    return f"{100 * share['share']:.1f} ({100 * share['low']:.1f}-{100 * share['high']:.1f})"


def bundle_figures(found: Figures) -> Figures:
    """What `model.json` keeps of them."""
    whole = found["open_set"][-1]["methods"][MODEL]
    top1 = [
        {key: row[key] for key in ("level", "corner_error", "queries")}
        | {"source": row["cards"]}
        | {name: percent(method["top1"]) for name, method in row["methods"].items()}
        for row in found["retrieval"]
    ]
    shares = {name: round(value, 4) for name, value in whole["measured_calibration"].items()}
    return {
        "references": found["references"],
        "top1": top1,
        "open_set_auroc": round(whole["score"]["auroc"], 4),
    } | shares
