"""Measures a model bundle on cards that no training saw, and writes a report and the model's calibration.

    python -m training.evaluate cardrec/data/model --floats training/models/third --data DATA
        --config training/configs/third.toml --out REPORT

Queries are simulated photos (`simulate.py`, another model of a camera than training's) of held-out cards; references
are all cards of the sources and rendered ones. Beside the model: a 256-bit perceptual hash and the untrained network,
on the same photos. Half of the cards fit the calibration, the other half report on it.

REPORT gets report.md, report.json, curves (with matplotlib) and failures.jpg. Encoded references are kept in
REPORT/cache, or in the folder that --cache names. With --write, calibration and figures go into the bundle's
model.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from cardrec.model import Model
from training import end_to_end, evaluation_sheets, robustness
from training.evaluation_figures import CALIBRATED_ON, Results, bundle_figures, calibration_of, figures
from training.evaluation_tables import report
from training.methods import open_methods
from training.queries import Condition, Examiner, thinned
from training.references import Mapper, References, Source, examined, make_references
from training.settings import read_settings
from training.simulate import Level

LEVELS: tuple[Level, ...] = ("easy", "hard")
CORNER_ERRORS = (0.0, *CALIBRATED_ON)
PRINTING_HEIGHTS_PX = (360.0, 240.0, 160.0, 110.0, 80.0)
QUICK = 40
"""Photos of each group with --quick."""
SPARE = 400
"""References beyond those asked for: as many as the strangers that the end-to-end catalog lacks, at most."""


def ask_all(examiner: Examiner, sources: Sequence[Source], count: int) -> Results:
    """Everything but the whole way: ``count`` photos of a group, half for a height, a quarter for a factor's value."""
    results = Results()
    measured = [source for source in sources if not source.other_language and source.queries]
    for source in measured:
        for level in LEVELS:
            for error in CORNER_ERRORS:
                asked = examiner.ask(thinned(source.queries, count), Condition(level, error))
                results.retrieval.append((source.name, asked))
        told(f"retrieval of {source.name}")
    results.printings = ask_printings(examiner, sources, count)
    few = max(1, count // 4)
    results.robustness = robustness.measure(
        examiner, [card for source in measured for card in thinned(source.queries, few)]
    )
    told("robustness")
    return results


def ask_printings(examiner: Examiner, sources: Sequence[Source], count: int) -> list[tuple[str, Any]]:
    """Both languages of each artwork that has two."""
    twice = {source.art for source in sources if source.other_language}
    found = []
    for source in (source for source in sources if source.art in twice):
        cards = thinned(source.queries, count)
        few = thinned(source.queries, max(1, count // 2))
        found += [(source.name, examiner.ask(cards, Condition(level), printings=True)) for level in LEVELS]
        found += [
            (source.name, examiner.ask(few, Condition("easy", 0.0, (height, height)), printings=True))
            for height in PRINTING_HEIGHTS_PX
        ]
        told(f"printings of {source.name}")
    return found


def told(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


@contextmanager
def processes(count: int) -> Iterator[Mapper]:
    """`map` in other processes, or here where ``count`` is 0."""
    if count == 0:
        yield map
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the networks' threads half
    with ProcessPoolExecutor(count, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:

        def mapper(function: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
            return pool.map(function, items, chunksize=8)

        yield mapper


def evaluate(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, float], Results, References]:
    """Figures, calibration, and what they come from."""
    model = Model.load(options.model)
    sources = examined(read_settings(options.config), options.data)
    cache = options.cache or options.out / "cache"
    opened = open_methods(options.model, cache, floats=options.floats, threads=options.threads)
    with processes(options.processes) as mapper, opened as methods:
        told("references")
        wanted = options.references + SPARE if options.references else 0
        references = make_references(sources, wanted, methods, cache, mapper)
        results = ask_all(Examiner(methods, references, mapper), sources, options.count)
        calibration = calibration_of(results)
        plans = end_to_end.plan(sources, references, max(2, options.count // 2))
        results.end_to_end = end_to_end.measure(model, methods, references, plans, calibration, mapper)
        told("end to end")
    found = figures(results, references, model.calibration)
    found["model"] = {"name": model.name, "fingerprint": model.fingerprint}
    return found, calibration, results, references


def command(options: argparse.Namespace) -> str:
    """What to type for the same figures, without this machine's paths."""
    floats = " --floats FLOATS" if options.floats else ""
    inputs = f"MODEL_FOLDER{floats} --data DATA --config {options.config.name} --out REPORT"
    return f"python -m training.evaluate {inputs} --count {options.count} --references {options.references}"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the bundle")
    parser.add_argument("--data", type=Path, required=True, help="folder that the config's paths start from")
    parser.add_argument("--config", type=Path, required=True, help="the training's config, for what it held out")
    parser.add_argument("--floats", type=Path, help="of a bundle in integers: that in floats, to draw weights anew for")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--count", type=int, default=400, help="photos for each source, level and outline")
    parser.add_argument(
        "--references", type=int, default=17_592, help="cards in the catalog, at least; 0: none is rendered"
    )
    parser.add_argument("--cache", type=Path, help="folder of encoded references; REPORT/cache unless given")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that draw cards and photos; 0: none")
    parser.add_argument("--threads", type=int, default=1, help="of a network; 0: all cores")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} photos of each group, no rendered references")
    parser.add_argument("--write", action="store_true", help="put calibration and figures into model.json")
    options = parser.parse_args(given)
    if options.quick:
        options.count, options.references = QUICK, 0
    return options


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    found, calibration, results, references = evaluate(options)
    found["calibration"] = calibration
    (options.out / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    pictures = evaluation_sheets.draw(found, results, options.out)
    if evaluation_sheets.failures(results.retrieval, references, options.out / "failures.jpg"):
        pictures.append("failures.jpg")
    text = report(found, command(options), pictures)
    (options.out / "report.md").write_text(text)
    print(text)
    if options.write:
        path = options.model / "model.json"
        written = {"calibration": calibration, "figures": bundle_figures(found)}
        path.write_text(json.dumps(json.loads(path.read_text()) | written, indent=2) + "\n")


if __name__ == "__main__":
    main()
