"""Tables and the plot of the peers' figures.

    python -m benchmarks.peers_report OUT_DIR

writes OUT_DIR/peers.md and peers.png again from OUT_DIR/peers.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

TITLES = {
    "real": "Embeddings of cards",
    "random": "Isotropic random",
    "clusters": "Near-duplicates, eight to a cluster",
}
COLOURS = {"exact": "#3d4654", "scan": "#5b8db8", "approximate": "#b9975b"}
KINDS = {"exact": "every row, float32", "scan": "every row, fewer bits", "approximate": "some rows: graph or tree"}
OURS = "cardrec"
OURS_COLOUR = "#c8321f"
PANEL_ROWS = 17_592
"""The size that is drawn, or the smallest there is."""
LABEL_STEP = 0.046
"""Room for one label, as a share of a panel's width."""


UNDISTURBED = 0.95
"""Share of a core below which a table says that it was disturbed."""


class Timing(TypedDict):
    """One method, one number of threads, one batch size.

    `ratio` is to cardrec, the median of the rounds' ratios. `cpus` is processor time by wall-clock time: more than
    `threads` cannot be, less means that other processes ran.
    """

    threads: int
    batch: int
    us: float
    p95_us: float
    ratio: float | None
    recall_at_1: float
    recall_at_5: float
    cpus: float
    round_us: list[float]


class Entry(TypedDict):
    """One method in one group: those of a group were timed in turn."""

    method: str
    kind: str
    group: int
    build_s: float
    bytes: int
    detail: str
    timings: list[Timing]


class Run(TypedDict):
    """One scenario at one size."""

    scenario: str
    rows: int
    dimension: int
    queries: int
    machine: dict[str, str]
    entries: list[Entry]
    left_out: dict[str, str]


def read(path: Path) -> list[Run]:
    runs: list[Run] = json.loads(path.read_text())["runs"] if path.exists() else []
    return runs


def write(runs: Sequence[Run], out: Path) -> None:
    """Writes peers.json, peers.md and, where matplotlib is installed, peers.png."""
    (out / "peers.json").write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    (out / "peers.md").write_text("\n".join(report(runs)) + "\n")
    try:
        draw(runs, out / "peers.png")
    except ModuleNotFoundError as error:
        print(f"no plot: {error}; pip install 'cardrec[bench]'")


def timing(entry: Entry, threads: int, batch: int) -> Timing | None:
    found = [one for one in entry["timings"] if (one["threads"], one["batch"]) == (threads, batch)]
    return found[0] if found else None


def ranked(run: Run) -> list[tuple[Entry, Timing]]:
    """Each method once, with its figures for one query on one thread, fastest first."""
    best: dict[str, tuple[Entry, Timing]] = {}
    for entry in run["entries"]:
        one = timing(entry, 1, 1)
        if one is not None:
            best.setdefault(entry["method"], (entry, one))
    return sorted(best.values(), key=lambda pair: pair[1]["us"])


def title(run: Run) -> str:
    return f"{TITLES[run['scenario']]}: {run['rows']:,} x {run['dimension']}"


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def share(value: float) -> str:
    """Three digits, but 1 only where nothing was missed."""
    return "1" if value == 1 else f"{min(value, 0.999):.3f}"


def table(run: Run) -> Iterator[str]:
    """One thread, one query at a time."""
    yield f"### {title(run)}\n"
    yield "| method | us | p95 us | x cardrec | recall@1 | recall@5 | MB | build s |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for entry, one in ranked(run):
        name = f"**{entry['method']}**" if entry["method"] == OURS else entry["method"]
        times = f"{one['us']:.0f} | {one['p95_us']:.0f} | {number(one['ratio'], 2)}"
        recalls = f"{share(one['recall_at_1'])} | {share(one['recall_at_5'])}"
        yield f"| {name} | {times} | {recalls} | {entry['bytes'] / 1e6:.1f} | {entry['build_s']:.1f} |"
    yield ""
    least = min((one["cpus"] for _, one in ranked(run)), default=1.0)
    if least < UNDISTURBED:
        yield f"Other work took part of the processor: a method had {least:.2f} of a core while it was timed.\n"
    yield from (f"{method}: {reason}.\n" for method, reason in run["left_out"].items())


def compact_table(run: Run) -> Iterator[str]:
    """Batches and two threads."""
    modes = sorted({(one["threads"], one["batch"]) for entry in run["entries"] for one in entry["timings"]})
    modes = [mode for mode in modes if mode != (1, 1)]
    if not modes:
        return
    yield f"### {title(run)}\n"
    names = [f"{threads} thread{'s' * (threads > 1)}, batch {batch}" for threads, batch in modes]
    yield f"| method | {' | '.join(names)} |"
    yield "|---|" + "--:|" * len(modes)
    lines = [(entry["method"], [timing(entry, *mode) for mode in modes]) for entry, _ in ranked(run)]
    for method, times in sorted(lines, key=lambda line: line[1][0]["us"] if line[1][0] else float("inf")):
        yield f"| {method} | {' | '.join(number(one['us'] if one else None, 0) for one in times)} |"
    yield ""


def machines(runs: Sequence[Run]) -> Iterator[str]:
    for line in dict.fromkeys("; ".join(f"{key} {value}" for key, value in run["machine"].items()) for run in runs):
        yield f"Machine: {line}.\n"


def report(runs: Sequence[Run]) -> Iterator[str]:
    """The Markdown file, line by line."""
    yield "# Vector search: cardrec beside its peers\n"
    yield "`python -m benchmarks.peers` measured this; `peers.json` has all figures.\n"
    yield from machines(runs)
    yield (
        "Five rows per query, wall-clock time of the library's Python call, median over all queries. Each library ran\n"
        "in a process of its own, in turn with the others. `x cardrec`: the median of the rounds' ratios to cardrec's\n"
        "time in the same round; above 1 is slower. Recall is against float64, by score. MB: memory that building the\n"
        "index added to the process.\n"
    )
    yield "## One thread, one query at a time\n"
    for run in runs:
        yield from table(run)
    yield "## Batches and two threads: us per query\n"
    yield "`-`: the library has no threads of its own for this.\n"
    for run in runs:
        yield from compact_table(run)


def spread(places: Sequence[float], step: float) -> list[float]:
    """Moves sorted places in 0 to 1 as little as it takes to be `step` apart, first right, then back from the end."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + step) if moved else place)
    limit = 1.0
    for turn in reversed(range(len(moved))):
        moved[turn] = min(moved[turn], limit)
        limit = moved[turn] - step
    return moved


def draw(runs: Sequence[Run], path: Path) -> None:
    """Time against recall, a panel per scenario, each point with its name above the panel."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn = [run for run in runs if ranked(run)]
    size = min((run["rows"] for run in drawn), key=lambda rows: (rows != PANEL_ROWS, rows), default=0)
    drawn = [run for run in drawn if run["rows"] == size]
    if not drawn:
        return
    figure, panels = plt.subplots(1, len(drawn), figsize=(5.4 * len(drawn), 5.6), squeeze=False, dpi=150)
    figure.subplots_adjust(left=0.17 / len(drawn), right=1 - 0.14 / len(drawn), top=0.62, bottom=0.17, wspace=0.3)
    for axes, run in zip(panels[0], drawn, strict=True):
        panel(axes, run)
    handles = [plt.Line2D([], [], marker="o", ls="", color=COLOURS[kind], label=KINDS[kind]) for kind in KINDS]
    figure.legend(handles=handles, loc="lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path)
    plt.close(figure)


def panel(axes: Any, run: Run) -> None:
    """One scenario: points, and names at their times, spread until they do not overlap."""
    pairs = ranked(run)
    times = [one["us"] for _, one in pairs]
    missed = max(0.02, *(1 - one["recall_at_5"] for _, one in pairs))
    axes.set_xscale("log")
    axes.set_xlim(min(times) / 1.35, max(times) * 1.35)
    axes.set_ylim(1 - 1.12 * missed, 1 + 0.06 * missed)
    axes.set_xlabel("microseconds per query, one thread")
    axes.set_ylabel("recall@5")
    axes.set_title(title(run), fontsize=9.5, fontweight="bold", loc="left", y=1.64)
    axes.xaxis.set_major_formatter(lambda us, _: f"{us:,.0f}")
    axes.grid(visible=True, which="major", color="#e6e6e6", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    across = axes.transScale.transform
    low, high = (across((limit, 1))[0] for limit in axes.get_xlim())
    places = spread([float((across((us, 1))[0] - low) / (high - low)) for us in times], LABEL_STEP)
    for (entry, one), place in zip(pairs, places, strict=True):
        point(axes, entry, one, place)


def point(axes: Any, entry: Entry, one: Timing, place: float) -> None:
    """A point, its name at `place`, and a line between."""
    ours = entry["method"] == OURS
    colour = OURS_COLOUR if ours else COLOURS[entry["kind"]]
    at = (one["us"], one["recall_at_5"])
    axes.plot(*at, "o", color=colour, markersize=9 if ours else 6, zorder=4 if ours else 3, clip_on=False)
    line = {"arrowstyle": "-", "color": "#c4c4c4", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
    axes.annotate("", at, (place, 1.06), textcoords="axes fraction", arrowprops=line, annotation_clip=False)
    axes.text(
        place,
        1.07,
        f"{entry['method']}  {one['us']:,.0f}",
        transform=axes.transAxes,
        rotation=60,
        rotation_mode="anchor",
        fontsize=8.5,
        color=colour,
        fontweight="bold" if ours else "normal",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    write(read(out / "peers.json"), out)


if __name__ == "__main__":
    main()
