"""The tables of an evaluation, in Markdown, from its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from training.evaluate_frames import OUTCOMES
from training.evaluation_figures import percent
from training.methods import MODEL
from training.retrieval import MARGIN_QUANTILES, RECALL
from training.robustness import BLURRED_PX, HEIGHT_PX

__all__ = ["TITLES", "report"]

Figures = dict[str, Any]

TITLES = {"model": "encoder", "phash": "256-bit hash", "untrained": "untrained network"}


def report(found: Figures, command: str, pictures: Sequence[str]) -> str:
    """The whole report; ``command`` is what measured it, ``pictures`` are the names of what was drawn."""
    lines = [f"# Evaluation of {found['model']['name']} ({found['model']['fingerprint'][:8]})", ""]
    lines += [
        f"Simulated photos of cards that no training saw, among {found['references']:,} references; shares in per cent",
        "with 95 % intervals (Wilson). Every table was measured by",
        "",
        f"    {command}",
        "",
    ]
    for title, section in SECTIONS:
        rows = list(section(found))
        if rows:
            lines += [f"## {title}", "", *rows, ""]
    lines += [line for name in pictures for line in (f"![{name}]({name})", "")]
    return "\n".join(lines)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def methods_of(rows: Sequence[Figures]) -> list[str]:
    return [name for name in TITLES if name in rows[0]["methods"]]


def outline(error: float) -> str:
    return f"{100 * error:g} %" if error else "true"


def retrieval(found: Figures) -> Iterator[str]:
    rows = found["retrieval"]
    names = methods_of(rows)
    yield "Right face first, and among the first five. `corners`: standard deviation in shares of the card's width.\n"
    yield from table(
        ["cards", "photos", "corners", "n", *(f"{TITLES[name]}, top-{k}" for name in names for k in (1, 5))],
        [
            [row["cards"], row["level"], outline(row["corner_error"]), str(row["queries"])]
            + [percent(row["methods"][name][f"top{k}"]) for name in names for k in (1, 5)]
            for row in rows
        ],
    )


def printings(found: Figures) -> Iterator[str]:
    rows = found["printings"]
    if not rows:
        return
    names = methods_of(rows)
    yield (
        f"The same artwork in two languages, both among {found['references_with_printings']:,} references. `exact`:\n"
        "the printing of the right language is first; `art`: either is. True outline.\n"
    )
    yield from table(
        [
            "cards",
            "photos",
            "card's height",
            "n",
            *(f"{TITLES[n]}, {what}" for n in names for what in ("exact", "art")),
        ],
        [
            [row["cards"], row["level"], f"{row['height_px']:g} px" if "height_px" in row else "level's own"]
            + [str(row["queries"])]
            + [percent(row["methods"][name][what]) for name in names for what in ("exact", "artwork")]
            for row in rows
        ],
    )


def end_to_end(found: Figures) -> Iterator[str]:
    rows = found["end_to_end"]
    if not rows:
        return
    names = methods_of(rows)
    yield (
        f"1280x720 frames through `Recognizer`, {rows[0]['references']:,} references, calibration as measured here.\n"
        "Top-1 is of the matches that are returned, whatever the status; a missed outline counts as wrong. Hash and\n"
        "untrained network are given the outlines that the detector found.\n"
    )
    yield from table(
        ["cards", "photos", "n", *(f"{TITLES[name]}, top-1" for name in names)],
        [
            [row["cards"], row["level"], str(row["photos"]), *(percent(row["methods"][n]["top1"]) for n in names)]
            for row in rows
        ],
    )
    yield "\nWhat was said of them, and of cards that are not in the catalog:\n"
    yield from table(
        ["cards", "photos", "n", *OUTCOMES, "strangers accepted"],
        [
            [row["cards"], row["level"], str(row["photos"])]
            + [str(row["outcomes"].get(name, 0)) for name in OUTCOMES]
            + [
                f"{row['accepted']['hits']:.0f} of {row['strangers']}: {percent(row['accepted'])}"
                if row["accepted"]
                else "-"
            ]
            for row in rows
        ],
    )


def open_set(found: Figures) -> Iterator[str]:
    rows = found["open_set"]
    names = methods_of(rows)
    yield (
        f"Each card once in the catalog and once taken out of it; reprints under another name are left out. False\n"
        f"accepts are at {RECALL:.0%} recall of the cards in the catalog; intervals count cards, not photos.\n"
        "Confidence is that of `cardrec.decide`, fitted for each method to the other half of the cards. Outlines are\n"
        "off by 1 and 3 %.\n"
    )
    yield from table(
        ["photos", "n", "strangers", "by"]
        + [f"{TITLES[n]}, {what}" for n in names for what in ("AUROC", "false accepts")],
        [
            [row["level"], str(row["photos"]), str(row["strangers"]), by]
            + [
                text
                for name in names
                for figures in [row["methods"][name][by]]
                for text in (f"{figures['auroc']:.4f}", percent(figures["false_accepts"]))
            ]
            for row in rows
            for by in ("score", "margin", "confidence")
        ],
    )
    yield "\nAt the calibration's own threshold:\n"
    kinds = {"measured_calibration": "measured here", "bundle_calibration": "the bundle's"}
    yield from table(
        ["photos", "calibration", "strangers accepted", "right and accepted", "wrong and accepted"],
        [
            [row["level"], kinds[kind]] + [f"{100 * value:.1f}" for value in row["methods"][MODEL][kind].values()]
            for row in rows
            for kind in kinds
            if kind in row["methods"][MODEL]
        ],
    )


def margins(found: Figures) -> Iterator[str]:
    rows = found["retrieval"]
    quantiles = [f"{quantile:.0%}" for quantile in MARGIN_QUANTILES]
    yield "Cosine of the right reference less that of the best wrong one, at quantiles of photos; below 0 is wrong.\n"
    yield from table(
        ["cards", "photos", "corners"] + [f"{TITLES[n]}, {q}" for n in methods_of(rows) for q in quantiles],
        [
            [row["cards"], row["level"], outline(row["corner_error"])]
            + [f"{value:.4f}" for name in methods_of(rows) for value in row["methods"][name]["lead"]]
            for row in rows
        ],
    )


def robustness(found: Figures) -> Iterator[str]:
    rows = found["robustness"]
    if not rows:
        return
    names = methods_of(rows)
    yield (
        f"Easy photos, true outline, cards of {HEIGHT_PX:g} px ({BLURRED_PX:g} px where blur varies): one factor\n"
        "varied at a time, the same cards throughout. Right face first.\n"
    )
    yield from table(
        ["factor", "value", "n", *(TITLES[name] for name in names)],
        [
            [f"{row['factor']} ({row['unit']})", f"{row['value']:g}", str(row["queries"])]
            + [percent(row["methods"][name]["top1"]) for name in names]
            for row in rows
        ],
    )


SECTIONS = (
    ("Retrieval, true and perturbed outlines", retrieval),
    ("End to end", end_to_end),
    ("Exact printing", printings),
    ("Open set", open_set),
    ("Score margin", margins),
    ("Robustness by factor", robustness),
)
