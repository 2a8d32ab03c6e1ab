"""The whole way's figures as tables and as a picture.

    python -m benchmarks.whole_way_report OUT

writes OUT/whole_way.md and whole_way.png again from OUT/whole_way.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.plots import STAGE_COLOURS, again, tidy
from benchmarks.whole_way_frames import GROUPS
from cardrec.bench import STAGES

Figures = Mapping[str, Any]

SHADES = ("#c8321f", "#e8853a", "#5b8db8", "#3d4654", "#e0a08f", "#b3cbe0", "#a9b0ba", "#8c6bb1")
"""Of the methods in their order."""
READ_AGAIN = "fixed threshold"
"""In the name of a reading of answers that have a row of times already."""


def write(found: Figures, out: Path) -> None:
    """Writes whole_way.md and, where matplotlib is installed, whole_way.png."""
    (out / "whole_way.md").write_text("\n".join(report(found)) + "\n")
    try:
        draw(found, out / "whole_way.png")
    except ModuleNotFoundError as error:
        print(f"no picture: {error}; pip install 'cardrec[bench]'")


def report(found: Figures) -> Iterator[str]:
    about, groups = found["about"], found["groups"]
    limits = ", ".join(f"{name} {value:.3f}" for name, value in about["thresholds"].items())
    yield "# The whole way beside other ways\n"
    yield f"`{about['command']}`: {about['cards']:,} cards, model {about['model']}; the earlier system searches by "
    yield f"{about['search']}. Thresholds of the other ways, from {about['tuning']} photos: {limits}.\n"
    yield (
        "Machine: " + "; ".join(f"{name} {value}" for name, value in about["machine"].items()) + f"; {about['date']}.\n"
    )
    yield "## Accuracy\n"
    yield from accuracy(groups)
    yield "## Strangers: cards that the catalog lacks\n"
    yield from strangers(groups)
    yield "## Milliseconds of a frame, one thread; stages are medians of their own\n"
    yield from times(groups)


def percent(share: Mapping[str, float] | None) -> str:
    if share is None:
        return "-"
    return f"{100 * share['share']:.1f} ({100 * share['low']:.1f}-{100 * share['high']:.1f})"


def accuracy(groups: Figures) -> Iterator[str]:
    """Of the cards in the catalog."""
    yield "| frames | method | cards | right card first % | named rightly % | named wrongly | no outline | elsewhere |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    for group, methods in groups.items():
        for name, one in methods.items() if next(iter(methods.values()))["known"] else ():
            shares = f"{percent(one['first_share'])} | {percent(one['named_share'])}"
            counts = f"{one['wrong']} | {one['lost']} | {one['elsewhere']}"
            yield f"| {group} ({one['frames']}) | {name} | {one['known']} | {shares} | {counts} |"
    yield ""


def strangers(groups: Figures) -> Iterator[str]:
    yield "| frames | method | strangers | named, % | elsewhere |"
    yield "|---|---|--:|--:|--:|"
    for group, methods in groups.items():
        for name, one in methods.items() if next(iter(methods.values()))["strangers"] else ():
            taken = f"{one['strangers']} | {percent(one['taken_share'])} | {one['elsewhere']}"
            yield f"| {group} ({one['frames']}) | {name} | {taken} |"
    yield ""


def times(groups: Figures) -> Iterator[str]:
    yield "| frames | method | p50 | p95 | x cardrec | detect | rectify | encode | search |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for group, methods in groups.items():
        for name, one in methods.items():
            if READ_AGAIN in name:
                continue
            whole = " | ".join(
                f"{q['ms']:.1f} ({q['low']:.1f}-{q['high']:.1f})" for q in (one["p50_ms"], one["p95_ms"])
            )
            stages = " | ".join(f"{one['stages_ms'][stage]:.2f}" for stage in STAGES if stage != "total_ms")
            yield f"| {group} ({one['frames']}) | {name} | {whole} | {one['ratio']:.2f} | {stages} |"
    yield ""


def draw(found: Figures, path: Path) -> None:
    """Where a frame's milliseconds go, and how many cards come first and are named, by method."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    groups = {name: found["groups"][name] for name in GROUPS if name in found["groups"]}
    drawn = {name: methods for name, methods in groups.items() if "stranger" not in name}
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), dpi=110, layout="constrained", width_ratios=(1, 1.3))
    _stages(left, groups[next(iter(groups))])
    _shares(right, drawn)
    figure.savefig(path, facecolor="white")
    plt.close(figure)


def _stages(axes: Any, methods: Figures) -> None:
    names = [name for name in reversed(list(methods)) if READ_AGAIN not in name]
    begun = [0.0] * len(names)
    for stage, colour in STAGE_COLOURS.items():
        spent = [methods[name]["stages_ms"][stage] for name in names]
        axes.barh(names, spent, left=begun, color=colour, label=stage.removesuffix("_ms"), height=0.65)
        begun = [a + b for a, b in zip(begun, spent, strict=True)]
    for place, (name, end) in enumerate(zip(names, begun, strict=True)):
        axes.text(end, place, f" {methods[name]['p50_ms']['ms']:.1f}", va="center", fontsize=8)
    axes.set_xlim(0, 1.15 * max(begun))
    axes.legend(frameon=False, fontsize=7.5, ncols=4, loc="upper center", bbox_to_anchor=(0.4, -0.13))
    tidy(axes, "One easy card: median ms", "milliseconds, one thread", grid="x", size=9.5)


def _shares(axes: Any, groups: Figures) -> None:
    names = list(next(iter(groups.values())))
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        at = [group + (place - (len(names) - 1) / 2) * width for group in range(len(groups))]
        first, named = (
            [100 * methods[name][key]["share"] for methods in groups.values()] for key in ("first_share", "named_share")
        )
        spread = [
            [
                abs(100 * methods[name]["first_share"][end] - value)
                for value, methods in zip(first, groups.values(), strict=True)
            ]
            for end in ("low", "high")
        ]
        axes.bar(at, first, width, color=SHADES[place % len(SHADES)], alpha=0.45)
        axes.bar(at, named, width, color=SHADES[place % len(SHADES)], label=name)
        axes.errorbar(at, first, spread, fmt="none", ecolor="#333333", elinewidth=0.8)
    axes.set_xticks(range(len(groups)), [name.replace(", ", ",\n") for name in groups], fontsize=8)
    axes.set_ylim(0, 105)
    axes.legend(frameon=False, fontsize=7.5, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    tidy(axes, "Right card first (pale), named (full), %", "", size=9.5)


def main(given: Sequence[str] | None = None) -> None:
    again(__doc__, "whole_way.json", write, given)


if __name__ == "__main__":
    main()
