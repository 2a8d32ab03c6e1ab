"""The latency gate: does a change make a stage slower? Base and head are built, and timed in turn.

    python -m benchmarks.gate [--base REV] [--only STAGE ...]        (make gate)

Base is the last commit of main, see `benchmarks.gate_base.find_base`; head is the working tree. In each round fresh
processes of base, of base again and of head time each stage a moment apart, on one core, one thread. A repeat is the
shortest time of some rounds. A stage fails whose ratio of head to base is above 1.15 in two of three repeats. A repeat
counts only if base again is within 0.9 to 1.1 of base; one that does not is made up for, twice at most.

A slowdown that is meant says so in a trailer of its commit's message, for each stage that it makes slower:

    Accept-Slower: encode identify stream - the larger network names 2 % more cards

or, where nothing is committed yet, with --accept. Exit codes: 0 nothing is slower, or there is nothing to compare with;
1 a stage is slower, or head can't be measured; 2 a wrong command; 3 the machine was too busy to tell, or base can't be
built here. `make gate`, and so CI, goes on after 3, loudly: who changes the code can't help a busy machine, and the
next change would fail just so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import gate_base
from benchmarks.gate_builds import BuildError, Installed, install_both, make_scene, with_shared_catalogs
from benchmarks.gate_judge import FINE, INCONCLUSIVE, LIMIT, Judged, Repeat, exit_code, judge, table
from benchmarks.gate_rounds import Times, WorkerError, round_of, shortest
from benchmarks.gate_worker import STAGES
from training.failure import Failure, one_line

COMMAND = "python -m benchmarks.gate"
WRONG_COMMAND = 2
ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 6
"""In each repeat."""
REPEATS = 3
MORE = 2
"""Repeats that make up for those that don't count, only of the stages that are not decided."""
WITHIN_S = 540.0
"""No round begins that would not end by then: CI allows ten minutes. A repeat without all its rounds does not count."""


def main(given: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Runs the gate on a checkout; the exit code."""
    options = _options(given)
    signal.signal(signal.SIGTERM, _terminated)
    with one_line(COMMAND), tempfile.TemporaryDirectory(prefix="cardrec-gate-") as folder:
        try:
            base = gate_base.find_base(root, options.base, os.environ)
        except gate_base.NothingToCompare as reason:
            print(f"gate: nothing to compare with: {reason}")
            return FINE
        except Failure as error:
            print(f"{COMMAND}: {error}", file=sys.stderr)
            return WRONG_COMMAND
        print(f"gate: base is {gate_base.subject(root, base.commit)} ({base.why})", flush=True)
        return _compare(root, base.commit, Path(folder), options)


def _compare(root: Path, base: str, folder: Path, options: argparse.Namespace) -> int:
    begun = time.monotonic()
    trees = {side: folder / f"{side}-source" for side in ("base", "head")}
    gate_base.export_base(root, base, trees["base"])
    gate_base.export_head(root, trees["head"])
    if options.skip_equal and len({gate_base.contents(tree) for tree in trees.values()}) == 1:
        print("gate: what is built of base and head is the same, byte for byte: not measured")
        return FINE
    accepted, wrong = gate_base.accepted(root, base, STAGES)
    accepted |= dict.fromkeys(options.accept, "--accept")
    for line in wrong:
        print(f"gate: {line}")
    built = install_both(trees, options.keep or folder)
    if isinstance(built["head"], BuildError):
        raise Failure(f"head can't be built: {built['head']}")
    if isinstance(built["base"], BuildError):
        print(f"gate: INCONCLUSIVE: base can't be built here: {built['base']}")
        return INCONCLUSIVE
    sides = with_shared_catalogs(built["base"], built["head"])
    try:
        make_scene(sides["head"], folder)
        _say(f"built in {time.monotonic() - begun:.0f} s")
        repeats, models = _measure(sides, folder, options, begun + options.within)
    except (BuildError, WorkerError) as error:
        raise Failure(f"could not be measured: {error}; see benchmarks/gate_worker.py") from error
    stages = [_judged(stage, repeats, options.repeats, accepted) for stage in options.only]
    _report(stages, models, time.monotonic() - begun)
    if options.json:
        _write_json(options.json, base, stages, models)
    return exit_code(stages)


def _measure(
    sides: dict[str, Installed], folder: Path, options: argparse.Namespace, end: float
) -> tuple[list[Times], dict[str, str]]:
    """The repeats that were completed in time, and the model of each process."""
    rng, core = random.Random(options.seed), _core()
    repeats: list[Times] = []
    models: dict[str, str] = {}
    left, longest_s = list(options.only), 0.0
    while left and len(repeats) < options.repeats + MORE:
        rounds: list[Times] = []
        repeat_begun = time.monotonic()
        while len(rounds) < options.rounds:
            begun = time.monotonic()
            if begun + longest_s > end:
                _say(f"no time for more after {len(repeats)} repeats and {len(rounds)} rounds")
                return repeats, models
            times, models = round_of(sides, left, folder, core, rng)
            rounds.append(times)
            longest_s = max(longest_s, time.monotonic() - begun)
        repeats.append(shortest(rounds))
        _say(f"repeat {len(repeats)}: {len(left)} stages in {time.monotonic() - repeat_begun:.0f} s")
        if len(repeats) >= options.repeats:
            verdicts = {stage: _judged(stage, repeats, options.repeats, {}).verdict for stage in left}
            left = [stage for stage in left if verdicts[stage] == "inconclusive"]
    return repeats, models


def _core() -> int | None:
    """The last one that this process may use; interrupts are mostly handled by the first."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _judged(stage: str, repeats: Sequence[Times], of: int, accepted: dict[str, str]) -> Judged:
    measured = [times[stage] for times in repeats if stage in times]
    for side, names in (("head", ("head",)), ("base", ("base", "again"))):
        for reason in (times[name] for times in measured for name in names):
            if isinstance(reason, str):
                return Judged(stage, "not in head" if side == "head" else "not in base", reason)
    counted = [Repeat(*(float(times[name]) for name in ("base", "again", "head"))) for times in measured]
    return judge(stage, counted, of, accepted)


def _report(stages: Sequence[Judged], models: dict[str, str], took_s: float) -> None:
    print(table(stages))
    if models.get("base") != models.get("head"):
        print(f"gate: the model changed, from {models.get('base')} to {models.get('head')}")
    named: dict[str, list[str]] = {}
    for each in stages:
        named.setdefault(each.verdict, []).append(each.stage)
    for stage in named.get("not in head", []):
        print(f"gate: FAILED: {stage} can't be measured in head; put benchmarks/gate_worker.py right")
    if slower := " ".join(named.get("slower", [])):
        print(f"gate: FAILED: over {LIMIT} of base's time: {slower}")
        print(f"gate: make it faster; if it is meant, say so in the commit: '{gate_base.TRAILER}: {slower} - reason'")
    if unclear := " ".join(named.get("inconclusive", [])):
        print(f"gate: INCONCLUSIVE: the machine was too busy to tell of {unclear}; run it again when it is idle")
    print(f"gate: {len(stages)} stages in {took_s:.0f} s")


def _write_json(path: Path, base: str, stages: Sequence[Judged], models: dict[str, str]) -> None:
    content: dict[str, Any] = {"base": base, "models": models, "stages": [each.to_dict() for each in stages]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _say(text: str) -> None:
    print(f"gate: {text}", file=sys.stderr, flush=True)


def _terminated(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", metavar="REV", help="commit to compare with")
    parser.add_argument("--rounds", type=_positive, default=ROUNDS, help=f"in each repeat ({ROUNDS})")
    parser.add_argument("--repeats", type=_positive, default=REPEATS, help=f"most of them decide ({REPEATS})")
    parser.add_argument(
        "--only", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE", help=", ".join(STAGES)
    )
    parser.add_argument("--accept", nargs="+", choices=STAGES, default=[], metavar="STAGE", help="may be slower")
    parser.add_argument("--skip-equal", action="store_true", help="measure nothing if both are built of the same bytes")
    parser.add_argument(
        "--keep",
        type=lambda text: Path(text).resolve(),
        metavar="FOLDER",
        help="keep the builds there, and use those that fit",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times and verdicts")
    parser.add_argument("--within", type=float, default=WITHIN_S, metavar="SECONDS", help=f"({WITHIN_S:.0f})")
    parser.add_argument("--seed", type=int, default=None, help="of the order of the processes")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
