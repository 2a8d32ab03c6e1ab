"""Reliability: how often a card is right that is named with so much confidence, and how far off that is in the mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bin", "calibration_error", "draw", "reliability"]

BINS = 10


class Bin(NamedTuple):
    """A tenth of the confidence: its mean, the share that was right, what its photos weigh, and their number."""

    said: float
    was: float
    weight: float
    photos: int


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], weight: NDArray[np.float64]) -> list[Bin]:
    """The tenths that have photos; the weights add up to 1 (Guo et al., "On Calibration of Modern Neural Networks")."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    found = []
    for index in range(BINS):
        of = place == index
        if of.any():
            said, was = (float(np.average(each[of], weights=weight[of])) for each in (confidence, right.astype(float)))
            found.append(Bin(said, was, float(weight[of].sum()), int(of.sum())))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: how far confidence and truth are apart, in the mean over the photos."""
    return sum(one.weight * abs(one.said - one.was) for one in bins)


def draw(diagrams: Mapping[str, Sequence[Bin]], path: Path) -> bool:
    """A diagram for each title, two rows: circles on the diagonal are honest. False without matplotlib.

    A circle's area is what its photos weigh; where it is pale it has fewer than ten.
    """
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        return False
    mpl.use("agg")
    import matplotlib.pyplot as plt

    columns = -(-len(diagrams) // 2) if len(diagrams) > 3 else len(diagrams)
    rows = -(-len(diagrams) // columns)
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(2.9 * columns, 3.1 * rows),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for axes in panels.flat[len(diagrams) :]:
        axes.set_visible(False)
    for axes, (title, bins) in zip(panels.flat, diagrams.items(), strict=False):
        axes.plot((0, 1), (0, 1), color="#8a8f98", lw=1)
        for one in bins:
            low, high = sorted((one.said, one.was))
            axes.vlines(one.said, low, high, color="#c8321f", lw=1)
            size, opacity = 20 + 500 * one.weight, 0.35 if one.photos < 10 else 0.9
            axes.scatter(
                one.said, one.was, s=size, color="#3d7a4e", alpha=opacity, edgecolors="none", zorder=3, clip_on=False
            )
        axes.set_title(f"{title}\nerror {calibration_error(bins):.3f}", fontsize=9, loc="left")
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
        axes.grid(color="#e6e6e6", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("confidence", fontsize=9)
    figure.supylabel("share that was right", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
