"""Times networks on engines, and measures beside it what they name: to choose the network that the library brings.

    python -m training.measure_engines BUNDLE BUNDLE_INT8 --images CARDS

Each bundle runs in ONNX Runtime and in OpenVINO (`pip install openvino`), with one thread and with two. Times are those
of one card: the fastest of many, and the median of the ratios to the first network within a round, since other work on
the machine falls on all of them alike. The whole way is compared photo by photo with the first network.

The default that the library brings should be the fastest whose loss is under 0.3 points.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cardrec.model import Model
from training.calibration_pictures import draw
from training.compare_networks import compare, lines
from training.engines import ENGINES, open_engine, time_in_turn
from training.evaluate import processes
from training.failure import one_line
from training.material import add_arguments, read_material

__all__ = ["LARGEST_LOSS", "fastest", "main"]

LARGEST_LOSS = 0.3
"""Points of photos whose right card comes first on the whole way."""
THREADS = (1, 2)


def measure_times(models: Sequence[Model], engines: Sequence[str], pixels: Any, rounds: int) -> list[dict[str, Any]]:
    """Times of every bundle on every engine, for each number of threads; ratios are to the first at one thread."""
    with ExitStack() as stack:
        encoders = {}
        for threads in THREADS:
            for engine in engines:
                for model in models:
                    encoder = open_engine(engine, model, threads=threads)
                    stack.callback(encoder.close)
                    encoders[f"{model.name}, {engine}|{threads}"] = encoder
        took = time_in_turn(encoders, pixels, rounds)
    reference = np.array(next(iter(took.values())))
    return [
        {
            "name": name.rpartition("|")[0],
            "threads": int(name.rpartition("|")[2]),
            "ms": round(min(each), 2),
            "ratio": round(float(np.median(np.array(each) / reference)), 3),
        }
        for name, each in took.items()
    ]


def time_lines(times: Sequence[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(one["name"] for one in times))
    cells = {(one["name"], one["threads"]): f"{one['ms']:.2f} ms ({one['ratio']:.2f})" for one in times}
    head = [f"| network | {' | '.join(f'{threads} threads' for threads in THREADS)} |", "|---|" + "---|" * len(THREADS)]
    return head + [f"| {name} | {' | '.join(cells[name, threads] for threads in THREADS)} |" for name in names]


def fastest(times: Sequence[dict[str, Any]], accuracy: Sequence[dict[str, Any]]) -> str:
    """The name of the fastest at one thread of those that lose less than `LARGEST_LOSS`."""
    fine = {one["name"] for one in accuracy if one["loss_points"] < LARGEST_LOSS}
    return str(
        min((one for one in times if one["threads"] == 1 and one["name"] in fine), key=lambda one: one["ms"])["name"]
    )


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", type=Path, nargs="+", help="folders of bundles; the others are compared with the first"
    )
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    add_arguments(parser)
    parser.add_argument("--count", type=int, default=300, help="photos at each level; 0: only times are measured")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each network")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that take photos; 0: none")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    cv2.setNumThreads(1)
    with one_line("python -m training.measure_engines"), ExitStack() as stack:
        models = [Model.load(folder) for folder in options.models]
        if len({model.name for model in models}) < len(models):
            raise ValueError("two bundles have one name, and could not be told apart in the table; rename one")
        material = read_material(options, options.count)
        pixels = next(draw(material.seen, 1)).pixels
        times = measure_times(models, options.engines, pixels, options.rounds)
        print("\n".join(time_lines(times)), flush=True)
        found = []
        if options.count:
            encoders = {f"{m.name}, {e}": open_engine(e, m, threads=1) for e in options.engines for m in models}
            mapper = stack.enter_context(processes(options.processes))
            compared = compare(encoders, material, mapper)
            found = [one.figures(compared[0]) for one in compared]
            print("\n" + "\n".join(lines(found)))
            print(f"\nfastest with one thread that loses less than {LARGEST_LOSS} points: {fastest(times, found)}")
        if options.out:
            options.out.write_text(json.dumps({"times": times, "accuracy": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
