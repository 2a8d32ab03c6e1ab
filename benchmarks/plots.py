"""What the pictures of the benchmarks share, and the command that draws them again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

STAGE_COLOURS = {"detect_ms": "#3d4654", "rectify_ms": "#b9975b", "encode_ms": "#5b8db8", "search_ms": "#c8321f"}


def tidy(axes: Any, title: str, across: str, *, grid: str = "y", size: float = 10) -> None:
    """Title, label and faint lines behind what is drawn; no box around it."""
    axes.set_title(title, fontsize=size, loc="left", fontweight="bold")
    axes.set_xlabel(across, fontsize=9)
    axes.grid(visible=True, axis=grid, color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def again(
    about: str | None, file: str, write: Callable[[Mapping[str, Any], Path], None], given: Sequence[str] | None
) -> None:
    """The command of a report: writes it again from the figures that a run has left in a folder.

    Args:
        about: what --help says.
        file: the figures, in the folder that is named on the command line.
        write: given the figures and the folder.
        given: the command line; None: this process's own.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args(given).out
    write(json.loads((out / file).read_text()), out)
