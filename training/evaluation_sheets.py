"""What an evaluation shows: curves, and a contact sheet of the worst failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.evaluation_figures import Figures, Results, calibration_of, evidence
from training.evaluation_tables import TITLES
from training.methods import MODEL
from training.queries import Asked, photograph
from training.references import References
from training.retrieval import RECALL, pooled

__all__ = ["draw", "failures"]

Picture = NDArray[np.uint8]

COLOURS = {"model": "#c8321f", "phash": "#5b8db8", "untrained": "#8a8f98"}
KNOWN, STRANGER = "#3d7a4e", "#b9975b"
STYLES = {"score": "--", "margin": ":", "confidence": "-"}
TILE_PX, CAPTION_PX, GAP_PX = 200, 54, 16
COLUMNS, ROWS = 3, 8
"""Failures on the sheet, three pictures each."""


def draw(found: Figures, results: Results, out: Path) -> list[str]:
    """Draws the curves that there are figures for; returns the files' names. Needs matplotlib, and says so without."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError as error:
        print(f"no curves: {error}; pip install 'cardrec[bench]'")
        return []
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn = []
    for name, (part, size_wh, make) in CURVES.items():
        if found[part]:
            figure = plt.figure(figsize=size_wh, dpi=110, layout="constrained")
            make(figure, found, results)
            figure.savefig(out / name)
            plt.close(figure)
            drawn.append(name)
    return drawn


def _tidy(axes: Any, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=10, loc="left", fontweight="bold")
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _open_set(figure: Any, _: Figures, results: Results) -> None:
    """Histograms of the encoder's score and margin, and false accepts over recall for each method."""
    parts = results.open_set(("easy", "hard"))
    panels = figure.subplots(1, 3)
    for method in parts[0].answers:
        report = pooled([each.answers[method] for each in parts], 1, 2)
        inside, outside = evidence(report, calibration_of(results, method))
        for by, style in STYLES.items():
            levels = np.sort(inside[by])[::-1]
            false = [float((outside[by] >= level).mean()) for level in levels]
            recall = np.arange(1, len(levels) + 1) / len(levels)
            panels[2].plot(100 * recall, false, style, color=COLOURS[method], label=f"{TITLES[method]}, {by}", lw=1.2)
        if method == MODEL:
            for axes, by in zip(panels, ("score", "margin"), strict=False):
                span = (float(min(inside[by].min(), outside[by].min())), float(inside[by].max()))
                for values, colour, label in (
                    (inside, KNOWN, "in the catalog"),
                    (outside, STRANGER, "taken out of it"),
                ):
                    axes.hist(values[by], bins=50, range=span, color=colour, alpha=0.65, label=label)
                _tidy(axes, f"The encoder's {by}", by, "photos")
                axes.legend(frameon=False, fontsize=8)
    panels[2].axvline(100 * RECALL, color="#444444", lw=0.7)
    panels[2].set_yscale("symlog", linthresh=0.005)
    panels[2].set_ylim(0, 1)
    panels[2].set_xlim(50, 100)
    _tidy(panels[2], "Strangers accepted", "cards of the catalog accepted, %", "share of strangers accepted")
    panels[2].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))


def _margins(figure: Any, _: Figures, results: Results) -> None:
    """Cumulative distribution of the right reference's lead, a panel for each method."""
    methods = list(results.retrieval[0][1].answers)
    shades = ("#1f4e79", "#c8321f", "#3d7a4e", "#b9975b", "#7a4e9c", "#8a8f98")
    for axes, method in zip(figure.subplots(1, len(methods), squeeze=False)[0], methods, strict=True):
        groups = {(source, asked.condition.level) for source, asked in results.retrieval}
        for (source, level), shade in zip(sorted(groups, key=str), shades, strict=False):
            same = [a for s, a in results.retrieval if (s, a.condition.level) == (source, level)]
            lead = np.sort(pooled([asked.answers[method] for asked in same]).lead)
            axes.plot(lead, np.arange(1, len(lead) + 1) / len(lead), color=shade, label=f"{source}, {level}", lw=1.3)
        axes.axvline(0, color="#444444", lw=0.7)
        axes.set_ylim(0, 1)
        _tidy(axes, TITLES[method], "right reference less best wrong one, cosine", "share of photos")
        axes.legend(frameon=False, fontsize=8)


def _printings(figure: Any, found: Figures, _: Results) -> None:
    """Exact printing by the card's height; both languages together."""
    axes = figure.subplots()
    rows = [row for row in found["printings"] if "height_px" in row]
    heights = sorted({row["height_px"] for row in rows})
    for name in (name for name in TITLES if rows and name in rows[0]["methods"]):
        for what, style in (("exact", "-"), ("artwork", ":")):
            shares = [
                100
                * float(np.mean([row["methods"][name][what]["share"] for row in rows if row["height_px"] == height]))
                for height in heights
            ]
            axes.plot(heights, shares, f"o{style}", color=COLOURS[name], ms=4, label=f"{TITLES[name]}, {what}")
    axes.set_ylim(0, 102)
    _tidy(axes, "Exact printing, easy photos, true outline", "card's height in the frame, px", "first, %")
    axes.legend(frameon=False, fontsize=8)


def _robustness(figure: Any, found: Figures, _: Results) -> None:
    rows = found["robustness"]
    names = list(dict.fromkeys(row["factor"] for row in rows))
    panels = figure.subplots(-(-len(names) // 3), 3, squeeze=False).ravel()
    for axes, factor in zip(panels, names, strict=False):
        steps = [row for row in rows if row["factor"] == factor]
        values = [row["value"] for row in steps]
        for name in (name for name in reversed(TITLES) if name in steps[0]["methods"]):  # the encoder on top
            shares = [row["methods"][name]["top1"] for row in steps]
            low, high = ([100 * share[end] for share in shares] for end in ("low", "high"))
            axes.fill_between(values, low, high, color=COLOURS[name], alpha=0.15, linewidth=0)
            axes.plot(values, [100 * s["share"] for s in shares], "o-", color=COLOURS[name], ms=4, label=TITLES[name])
        if min(values) > 0:
            axes.set_xscale("log")
            axes.set_xticks(values, [f"{value:g}" for value in values], minor=False)
            axes.minorticks_off()
        if values[0] > values[-1]:
            axes.invert_xaxis()  # worse to the right
        axes.set_ylim(0, 102)
        _tidy(axes, factor, steps[0]["unit"], "right face first, %")
    panels[0].legend(frameon=False, fontsize=8)
    for axes in panels[len(names) :]:
        axes.set_axis_off()


CURVES: Mapping[str, tuple[str, tuple[float, float], Callable[[Any, Figures, Results], None]]] = {
    "open-set.png": ("open_set", (15.0, 4.0), _open_set),
    "margins.png": ("retrieval", (13.0, 4.0), _margins),
    "printings.png": ("printings", (7.0, 4.2), _printings),
    "robustness.png": ("robustness", (13.0, 10.0), _robustness),
}
"""The part of the figures that each shows, its size in inches, and what draws it."""


def failures(asked: Sequence[tuple[str, Asked]], references: References, path: Path) -> int:
    """Writes the encoder's worst failures as one picture: the photo, the right reference, the one that was first.

    Worst is where the right reference was farthest behind. A card is shown once. Returns how many there are on the
    sheet; without any, nothing is written.
    """
    worst: dict[str, tuple[float, Asked, int]] = {}
    for _, each in asked:
        lead = each.answers[MODEL].lead
        for place in np.flatnonzero(~each.answers[MODEL].right).tolist():
            card_id, failure = each.cards[place].card_id, (float(lead[place]), each, place)
            if card_id not in worst or failure[0] < worst[card_id][0]:
                worst[card_id] = failure
    chosen = sorted(worst.values(), key=lambda failure: failure[0])[: COLUMNS * ROWS]
    if chosen:
        tiles = [tile(each, place, references) for _, each, place in chosen]
        if not cv2.imwrite(str(path), sheet(tiles), [cv2.IMWRITE_JPEG_QUALITY, 88]):
            raise OSError(f"could not write {path}; is the folder writable?")
    return len(chosen)


def sheet(tiles: Sequence[Picture]) -> Picture:
    """The tiles as one picture, row by row."""
    rows = -(-len(tiles) // COLUMNS)
    padded = [*tiles, *[np.full_like(tiles[0], 255)] * (rows * COLUMNS - len(tiles))]
    return np.vstack([np.hstack(padded[start : start + COLUMNS]) for start in range(0, len(padded), COLUMNS)])


def tile(asked: Asked, place: int, references: References) -> Picture:
    """One failure with its caption, BGR."""
    card, answers = asked.cards[place], asked.answers[MODEL]
    best, score = int(answers.best[place]), float(answers.score[place])
    right = score + float(answers.lead[place]) if answers.rank[place] > 1 else score
    shown = [photograph(asked.condition, card), card.pixels, references.picture(best)]
    picture = np.full((CAPTION_PX + TILE_PX + GAP_PX, 3 * TILE_PX + GAP_PX, 3), 255, np.uint8)
    for column, pixels in enumerate(shown):
        small = cv2.resize(pixels, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
        picture[CAPTION_PX : CAPTION_PX + TILE_PX, column * TILE_PX : (column + 1) * TILE_PX] = small[:, :, ::-1]
    level = asked.condition.level if isinstance(asked.condition.level, str) else "easy"
    about = f"photo: {level}, corners {100 * asked.condition.corner_error:g} %, rank {answers.rank[place]}"
    for line, text in enumerate(
        (about, f"right: {card.card_id} {right:.3f}", f"given: {references.card_ids[best]} {score:.3f}")
    ):
        at = (4, 14 + 16 * line)
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
    return picture
