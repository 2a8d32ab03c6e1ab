"""The scaling figures as tables and pictures.

    python -m benchmarks.scaling_report OUT

writes OUT/scaling.md and the pictures again from OUT/scaling.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.plots import STAGE_COLOURS, again, tidy

Figures = Mapping[str, Any]
Row = Mapping[str, Any]

LINES = ("#c8321f", "#5b8db8", "#3d7a4e", "#b9975b")
SETTINGS = {
    "catalog": ("kind", "cards"),
    "cards": ("cards_in_frame", "max_cards"),
    "threads": ("threads", "cards_in_frame"),
    "searches": ("kind", "cards", "queries"),
    "batches": ("what", "threads", "batch"),
}
"""What the rows of each part differ in."""
TITLES = {
    "catalog": "Cards in the catalog: one card in the frame, one thread",
    "cards": "Cards in the frame: one thread, the demo's 1,000 cards",
    "threads": "Threads of the encoder, max_cards 18",
    "searches": "Queries in one call of Catalog.search, one thread each: ms for each query",
    "batches": "Cards encoded together, frames identified together: ms for each card",
}


def write(found: Figures, out: Path) -> None:
    """Writes scaling.md and, where matplotlib is installed, a picture for each subject that has been measured."""
    (out / "scaling.md").write_text("\n".join(report(found)) + "\n")
    try:
        draw(found, out)
    except ModuleNotFoundError as error:
        print(f"no pictures: {error}; pip install 'cardrec[bench]'")


def report(found: Figures) -> Iterator[str]:
    yield "# How the time of identify grows\n"
    yield f"Model {found['model']}. Machine: " + "; ".join(f"{k} {v}" for k, v in found["machine"].items()) + ".\n"
    for part, settings in SETTINGS.items():
        if part in found:
            yield f"## {TITLES[part]} ({found[part]['date']})\n"
            yield from table(found[part]["rows"], settings)


def table(rows: Sequence[Row], settings: Sequence[str]) -> Iterator[str]:
    """A line for each setting; columns are those of the first row."""
    values = [name for name in rows[0] if name not in settings]
    yield f"| {' | '.join([*settings, *values])} |".replace("_", " ")
    yield "|" + "---|" * len(settings) + "--:|" * len(values)
    for row in rows:
        yield f"| {' | '.join([*(said(row[name]) for name in settings), *(said(row[name]) for name in values)])} |"
    yield ""


def said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def draw(found: Figures, out: Path) -> list[Path]:
    """One picture for the catalog's size, one for the cards in the frame, one for what is done at once."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn = []
    for name, (parts, make) in PICTURES.items():
        if all(part in found for part in parts):
            figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), dpi=110, layout="constrained")
            make(panels, found)
            drawn.append(out / f"scaling-{name}.png")
            figure.savefig(drawn[-1], facecolor="white")
            plt.close(figure)
    return drawn


def _catalog(panels: Sequence[Any], found: Figures) -> None:
    rows = found["catalog"]["rows"]
    for colour, kind in zip(LINES, dict.fromkeys(row["kind"] for row in rows), strict=False):
        own = [row for row in rows if row["kind"] == kind]
        sizes = [row["cards"] for row in own]
        panels[0].plot(sizes, [row["search_ms"] for row in own], "o-", color=colour, label=f"search, {kind}")
        panels[0].plot(
            sizes, [row["total_ms"] for row in own], "o--", color=colour, label=f"identify, {kind}", alpha=0.5
        )
    panels[0].set(xscale="log", yscale="log")
    panels[0].legend(frameon=False, fontsize=8)
    _labelled(panels[0], "Time against the catalog's size", "cards in the catalog", "median ms")
    first = rows[0]["kind"]
    own = [row for row in rows if row["kind"] == first]
    _stack(panels[1], own, [f"{row['cards']:,}" for row in own])
    _labelled(panels[1], f"By stage, rows {first}", "cards in the catalog", "median ms")


def _cards(panels: Sequence[Any], found: Figures) -> None:
    rows = [row for row in found["cards"]["rows"] if row["max_cards"] > 1]
    _stack(panels[0], rows, [str(row["cards_in_frame"]) for row in rows])
    _labelled(panels[0], "By stage, one thread, max_cards 18", "cards in the frame", "median ms")
    counts = [row["cards_in_frame"] for row in rows]
    for colour, stage in zip(("#222222", *STAGE_COLOURS.values()), ("total_ms", *STAGE_COLOURS), strict=True):
        each = [row[stage] / row["cards_in_frame"] for row in rows]
        panels[1].plot(counts, each, "o-", color=colour, label=stage.removesuffix("_ms"))
    panels[1].set_ylim(bottom=0)
    panels[1].set_xticks(counts)
    panels[1].legend(frameon=False, fontsize=8, ncols=2)
    _labelled(panels[1], "For each card", "cards in the frame", "median ms for each card")


def _at_once(panels: Sequence[Any], found: Figures) -> None:
    for style, what in (("o-", "encode"), ("s--", "identify_batch")):
        for colour, threads in zip(LINES, (1, 2), strict=False):
            own = [r for r in found["batches"]["rows"] if (r["what"], r["threads"]) == (what, threads)]
            label = f"{what}, {threads} thread{'s' * (threads > 1)}"
            panels[0].plot([r["batch"] for r in own], [r["each_ms"] for r in own], style, color=colour, label=label)
    panels[0].set_ylim(bottom=0)
    panels[0].set_xscale("log", base=2)
    batches = sorted({row["batch"] for row in found["batches"]["rows"]})
    panels[0].set_xticks(batches, [str(count) for count in batches])
    _labelled(panels[0], "Cards or frames given together", "cards, or frames of one card", "ms for each")
    rows = found["searches"]["rows"]
    for colour, kind in zip(LINES, dict.fromkeys(row["kind"] for row in rows), strict=False):
        own = [row for row in rows if row["kind"] == kind]
        panels[1].plot([r["queries"] for r in own], [1e3 * r["each_ms"] for r in own], "o-", color=colour, label=kind)
    panels[1].set_ylim(bottom=0)
    _labelled(
        panels[1], f"Queries searched together, {rows[0]['cards']:,} rows", "queries in a call", "us for each query"
    )
    panels[1].set_xticks(sorted({row["queries"] for row in rows}))
    for axes in panels:
        axes.legend(frameon=False, fontsize=8)


PICTURES: dict[str, tuple[tuple[str, ...], Callable[[Sequence[Any], Figures], None]]] = {
    "catalog": (("catalog",), _catalog),
    "cards": (("cards",), _cards),
    "at-once": (("batches", "searches"), _at_once),
}


def _labelled(axes: Any, title: str, across: str, up: str) -> None:
    tidy(axes, title, across)
    axes.set_ylabel(up, fontsize=9)


def _stack(axes: Any, rows: Sequence[Row], names: Sequence[str]) -> None:
    """A bar for each row, of the stages' medians, the call's own above it."""
    begun = [0.0] * len(rows)
    for stage, colour in STAGE_COLOURS.items():
        spent = [row[stage] for row in rows]
        axes.bar(names, spent, bottom=begun, color=colour, label=stage.removesuffix("_ms"), width=0.65)
        begun = [a + b for a, b in zip(begun, spent, strict=True)]
    for place, row in enumerate(rows):
        axes.text(place, begun[place], f"{row['total_ms']:.1f}", ha="center", va="bottom", fontsize=8)
    axes.set_ylim(0, 1.12 * max(begun))
    axes.legend(frameon=False, fontsize=8)


def main(given: Sequence[str] | None = None) -> None:
    again(__doc__, "scaling.json", write, given)


if __name__ == "__main__":
    main()
