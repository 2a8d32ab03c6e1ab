"""The whole way from frame to name, beside other ways: same frames, same catalog, same encoder, one thread each.

    python -m benchmarks.whole_way OUT --data DATA [--count 100] [--references 0] [--prepare]

Compared are cardrec; the system that it replaces (contours, a crop stretched by cv2.resize, normalised in NumPy, the
network in floats, an HNSW graph, a threshold); a hash scanner (contours, 256-bit perceptual hashes, every row, a
threshold); and each of them with the outlines of the other. Frames are simulated photos of cards that no training saw,
and the bundled photos. The methods take each frame in turn, so that a slow second hits all.

The thresholds of the other ways are set so that 1 % of the cards that the catalog lacks would be named, on photos of
cards of their own; cardrec's answers are read by such a threshold of their score, too.

Writes OUT/whole_way.json, whole_way.md and, with matplotlib, whole_way.png. OUT/cache keeps frames, catalogs and
vectors: --prepare makes only those, several minutes of work that nothing is timed in. Empty it when the simulator or
the pictures have changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import whole_way_report
from benchmarks.peers import machine
from benchmarks.whole_way_contours import find_quads
from benchmarks.whole_way_frames import Job, Shot, bundled, jobs_of, shoot, tuning_jobs
from benchmarks.whole_way_methods import Method, Way, by_detector, cardrec_given, cardrec_way, scanner
from benchmarks.whole_way_peers import (
    FloatNetwork,
    Floats,
    Hashes,
    best_by_cosine,
    hash_all,
    write_float_network,
)
from benchmarks.whole_way_scores import Tally, judge
from cardrec import Catalog, Recognizer
from cardrec.detect import OutlineDetector
from cardrec.embed import Embedder, open_encoder
from cardrec.model import Model
from training.data import CardImage
from training.demo import CATALOG_CARDS, CATALOG_SEED
from training.end_to_end import Plan, plan
from training.evaluate import processes, told
from training.failure import one_line
from training.methods import HASH
from training.methods import Method as Vectoriser
from training.queries import thinned
from training.references import Mapper, References, Source, encoded_deck, examined, make_references
from training.render import deck
from training.retrieval import twins
from training.settings import read_settings

OURS, EARLIER, SCANNER, IN_FLOATS = "cardrec", "earlier system", "hash scanner", "cardrec, network in floats"
FIXED = f"{OURS}, {whole_way_report.READ_AGAIN}"
OWN_DECISION = (f"{OURS}, contours", IN_FLOATS)
"""Beside `OURS`, what is read only as cardrec decides."""
FLOATS = "floats"
"""Name of the earlier system's vectors, as `HASH` is of the hashes."""
BUNDLES = (Path("cardrec/data/model"), Path("training/models/third"))
"""The bundled model, and the same in floats where the bundled one is in integers."""
ASKED = 0.01
"""Share of the strangers that may be named; cardrec's default."""
ALL_SAMPLES = 9
"""Cards to look for in a bundled photo; one shows seven."""


class Ground(NamedTuple):
    """What is compared on: the references, those in the catalog, frames to set thresholds with, frames, and a cache."""

    references: References
    kept: NDArray[np.int64]
    tuning: list[Job]
    jobs: list[Job]
    cache: Path


def vectorisers(network: Path) -> list[Vectoriser]:
    """What makes the vectors of the other ways' catalogs."""
    digest = hashlib.sha256(network.read_bytes()).hexdigest()[:12]
    return [
        Vectoriser(FLOATS, f"floats-{digest}", FloatNetwork(network, threads=0).encode_all),
        Vectoriser(HASH, "dct-256-upright", hash_all),
    ]


def ground(
    sources: Sequence[Source], made: Sequence[Vectoriser], options: argparse.Namespace, mapper: Mapper
) -> Ground:
    """References, cards to photograph, and their frames, as files in the cache.

    Strangers are in no catalog, neither those of the figures nor those that thresholds are set with.
    """
    cache: Path = options.out / "cache"
    references = make_references(sources, options.references, made, cache, mapper)
    plans = plan(sources, references, options.count)
    other = _other_cards(sources, plans, references, options.count)
    strangers = [card for one in plans for card in one.strangers] + other
    gone = np.isin(references.faces[: references.catalog], references.faces[references.rows(strangers)])
    tuning = tuning_jobs(other)
    jobs = jobs_of(plans, references)
    for _ in mapper(partial(_keep, cache / "frames"), tuning + jobs):
        pass
    return Ground(references, np.flatnonzero(~gone), tuning, jobs, cache)


def _keep(cache: Path, job: Job) -> None:
    shoot(cache, job)


def _other_cards(
    sources: Sequence[Source], plans: Sequence[Plan], references: References, count: int
) -> list[CardImage]:
    """Cards that no training saw either, are not photographed for the figures, and look like no other card."""
    asked = {card.face for one in plans for card in one.known + one.strangers}
    found = []
    for source in sources:
        others = [card for card in source.queries if card.face not in asked]
        same = twins(references.vectors[HASH], references.faces, references.rows(others))
        found += thinned([card for card, twin in zip(others, same, strict=True) if not twin], count)
    return found


def open_catalog(model: Model, on: Ground) -> Catalog:
    """A catalog built from the pictures, as users build theirs; kept in the cache."""
    ids = [on.references.card_ids[row] for row in on.kept]
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]
    path = on.cache / f"{model.fingerprint[:12]}-{digest}.cardrec"
    if not path.exists():
        meta: Mapping[str, object] = {}
        items = (
            (card_id, on.references.picture(row), meta) for card_id, row in zip(ids, on.kept.tolist(), strict=True)
        )
        with Embedder(open_encoder(model), color="rgb") as embedder:
            beside = path.with_suffix(".part")
            Catalog.build(beside, items, encoder=embedder, near=None, overwrite=True)
        beside.rename(path)
    return Catalog.open(path)


def limit_of(way: Way, on: Ground) -> float:
    """The score that one in a hundred strangers reaches: those of the tuning photos."""
    shots = (shoot(on.cache / "frames", job) for job in on.tuning)
    scores = [answer.score for shot in shots for answer in way(shot.pixels, 1).answers]
    if not scores:
        raise ValueError("no outline was found in any photo that thresholds are set by; take more with --count")
    return float(np.quantile(scores, 1 - ASKED))


def ways_of(
    recognizer: Recognizer, network: FloatNetwork, vectors: Mapping[str, Any], card_ids: Sequence[str]
) -> tuple[dict[str, Way], str]:
    """All ways over one catalog, and what searches for the earlier system."""
    search, best = best_by_cosine(vectors[FLOATS])
    detected = by_detector(OutlineDetector())
    floats, hashes = Floats(network, best), Hashes(vectors[HASH])
    return {
        OURS: cardrec_way(recognizer),
        EARLIER: scanner(find_quads, floats, card_ids),
        SCANNER: scanner(find_quads, hashes, card_ids),
        f"{OURS}, contours": cardrec_given(recognizer, find_quads),
        f"{EARLIER}, cardrec's outlines": scanner(detected, floats, card_ids),
        f"{SCANNER}, cardrec's outlines": scanner(detected, hashes, card_ids),
    }, search


def limits_of(ways: Mapping[str, Way], on: Ground) -> dict[str, float]:
    """The thresholds of the other ways, and of cardrec's score where it is read as theirs are."""
    return {FIXED if name == OURS else name: limit_of(ways[name], on) for name in ways if name not in OWN_DECISION}


def methods_of(ways: Mapping[str, Way], limits: Mapping[str, float]) -> list[Method]:
    """The ways with how their answers are read: cardrec's by its own decision, and by a threshold as well."""
    return [
        Method(way, {name: None, FIXED: limits[FIXED]} if name == OURS else {name: limits.get(name)})
        for name, way in ways.items()
    ]


def measure(methods: Sequence[Method], shots: Iterable[tuple[str, int, Shot]]) -> dict[str, dict[str, Tally]]:
    """By group and reading; ``shots`` with their group and the most cards that may be named."""
    tallies: dict[str, dict[str, Tally]] = {}
    for number, (group, most, shot) in enumerate(shots):
        if number == 0:
            for method in methods:
                method.way(shot.pixels, most)  # the first call of each plans its memory
        of_group = tallies.setdefault(group, {name: Tally() for method in methods for name in method.readings})
        first = number % len(methods)
        for method in [*methods[first:], *methods[:first]]:
            seen = method.way(shot.pixels, most)
            for name, answers in method.read(seen):
                of_group[name].add(judge(shot, answers), seen.timings)
    return tallies


def simulated(on: Ground) -> Iterator[tuple[str, int, Shot]]:
    """The frames in an order of chance, so that no group has a slow minute of the machine to itself."""
    for place in np.random.default_rng(0).permutation(len(on.jobs)):
        job = on.jobs[place]
        yield job.group, job.most, shoot(on.cache / "frames", job)


def figures(tallies: Mapping[str, Mapping[str, Tally]]) -> dict[str, Any]:
    return {
        group: {name: tally.figures(methods[OURS]) for name, tally in methods.items()}
        for group, methods in tallies.items()
    }


def compare(options: argparse.Namespace) -> dict[str, Any] | None:
    """All figures; None where only the cache was to be made."""
    model = Model.load(options.model)
    floats = options.floats or (BUNDLES[1] if BUNDLES[1].exists() else options.model)
    network = write_float_network(Model.load(floats).network, options.out / "cache" / "floats.onnx")
    bundles = {OURS: model} | ({IN_FLOATS: Model.load(floats)} if floats != options.model else {})
    made = vectorisers(network)
    sources = [each for each in examined(read_settings(options.config), options.data) if not each.other_language]
    specs = deck(CATALOG_CARDS, seed=CATALOG_SEED)
    with processes(options.processes) as mapper:
        on = ground(sources, made, options, mapper)
        told("frames")
        demo = encoded_deck(made, on.cache, specs, mapper)
    with ExitStack() as stack:
        catalogs = {name: stack.enter_context(open_catalog(bundle, on)) for name, bundle in bundles.items()}
        told("catalogs")
        if options.prepare:
            return None
        recognizers = {
            name: stack.enter_context(Recognizer(catalogs[name], model=bundle, threads=1))
            for name, bundle in bundles.items()
        }
        single = FloatNetwork(network)
        vectors = {name: on.references.vectors[name][on.kept] for name in (FLOATS, HASH)}
        ways, search = ways_of(recognizers[OURS], single, vectors, [on.references.card_ids[row] for row in on.kept])
        ways |= {name: cardrec_way(each) for name, each in recognizers.items() if name != OURS}
        limits = limits_of(ways, on)
        told("thresholds")
        found = figures(measure(methods_of(ways, limits), simulated(on)))
        samples = stack.enter_context(Recognizer(model=model, threads=1))
        card_ids = [spec.card_id for spec in specs]
        methods = methods_of(ways_of(samples, single, demo, card_ids)[0], limits)
        found |= figures(measure(methods, (("bundled photos", ALL_SAMPLES, shot) for shot in bundled(card_ids))))
    about: dict[str, Any] = {"machine": machine(), "date": date.today().isoformat(), "command": command(options)}
    about |= {"cards": len(on.kept), "model": model.name, "search": search}
    return {"about": about | {"thresholds": limits, "tuning": len(on.tuning)}, "groups": found}


def command(options: argparse.Namespace) -> str:
    """What to type for the same figures, without this machine's paths."""
    return f"python -m benchmarks.whole_way OUT --data DATA --count {options.count} --references {options.references}"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that the config's paths start from")
    parser.add_argument(
        "--config", type=Path, default=Path("training/configs/third.toml"), help="says what it held out"
    )
    parser.add_argument("--model", type=Path, default=BUNDLES[0], help="cardrec's bundle")
    parser.add_argument("--floats", type=Path, help=f"the same in floats; {BUNDLES[1]} if it is there, else --model")
    parser.add_argument("--count", type=int, default=100, help="cards of each source to photograph at each level")
    parser.add_argument("--references", type=int, default=0, help="cards in the catalog, at least; rest is rendered")
    parser.add_argument("--prepare", action="store_true", help="only what is kept in OUT/cache")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that draw cards and photos; 0: none")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    cv2.setNumThreads(1)
    with one_line("python -m benchmarks.whole_way"):
        found = compare(options)
        if found is None:
            return
        (options.out / "whole_way.json").write_text(json.dumps(found, indent=1) + "\n")
        whole_way_report.write(found, options.out)
        print((options.out / "whole_way.md").read_text())


if __name__ == "__main__":
    main()
