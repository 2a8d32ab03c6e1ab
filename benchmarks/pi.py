"""Measures cardrec on a Raspberry Pi 5, with a Hailo-8 where there is one, once, and writes a file to send back.

    make demo
    .venv/bin/python -m benchmarks.pi --out pi.json

`benchmarks/pi.md` says how to run it and what is recorded. It needs cardrec, Python's own library and, for what only
they know, the tools of Raspberry Pi OS; it runs on any Linux machine, and says so where that is no Raspberry Pi. What
can't be had is recorded as missing, with the reason. No names of hosts or users and no serial numbers are kept.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import pi_facts
from benchmarks.measure import commit
from benchmarks.pi_facts import Missing, gather
from cardrec import Recognizer
from cardrec.bench import accuracy, by_stage, camera_frame, frames_per_second, timings_of
from cardrec.errors import CardrecError
from cardrec.labels import say_error
from cardrec.machine import versions
from training.failure import Failure, one_line

KIND, FORMAT = "cardrec pi", 1
ROOT = Path(__file__).parent.parent
IN_FLIGHT = (1, 3, 6)
LOAD_EVERY_S = 10.0
LOAD_FRAMES = 50
"""Streamed at a time under load: a few seconds on a Pi, so that the state is looked at when it should be."""


class Plan:
    """How long everything is measured; with ``quick`` only as long as it takes to see whether it works."""

    def __init__(self, *, quick: bool) -> None:
        self.frames = 20 if quick else 500
        self.load_s = 10.0 if quick else 300.0
        self.tool_s = 2 if quick else 15


def say(text: str) -> None:
    print(f"benchmarks.pi: {text}", file=sys.stderr, flush=True)


def measure(report: dict[str, Any], plan: Plan, model: Path | None, hef: Path | None) -> None:
    """Fills the report, piece by piece, so that what was measured is there even if the rest fails."""
    missing = report["missing"]
    report["is_raspberry_pi"] = pi_facts.is_raspberry_pi()
    report["system"] = gather(pi_facts.SYSTEM, missing, "system.")
    report["hailo"] = gather(pi_facts.HAILO, missing, "hailo.")
    report["versions"] = {**versions(), "commit": commit()}
    if not report["is_raspberry_pi"]:
        say("this is no Raspberry Pi: the figures say nothing about one")
    for backend in ("onnx", "hailo"):
        say(f"opening {backend}")
        try:
            with Recognizer(model=model, backend=backend) as recognizer:
                report["runs"].append(run := {"backend": backend})
                measure_backend(recognizer, run, report["states"], missing, plan)
        except CardrecError as error:
            missing[f"runs.{backend}"] = say_error(error)
            say(f"no figures of {backend}: {say_error(error)}")
    report["network"] = gather({"hailortcli": lambda: own_network(model, hef, plan)}, missing, "network.")


def measure_backend(
    recognizer: Recognizer, run: dict[str, Any], states: list[Any], missing: dict[str, str], plan: Plan
) -> None:
    """One at a time and streamed, at rest; the same after minutes of load."""
    frame = camera_frame()
    facts = recognizer.info()
    run |= {"model": facts["model"], "simd": facts["simd"], "simd_image": facts["simd_image"]}
    run["accuracy"] = accuracy(recognizer)

    def at(when: str) -> None:
        states.append({"backend": run["backend"], "when": when} | gather(pi_facts.STATE, missing, "state."))

    def figures() -> dict[str, Any]:
        spent = by_stage(timings_of(recognizer, frame, plan.frames))
        rates = {
            str(depth): round(frames_per_second(recognizer, frame, plan.frames, in_flight=depth), 1)
            for depth in IN_FLIGHT
        }
        return {"frames": plan.frames, "ms": spent, "frames_per_second": rates}

    at("before")
    say(f"{run['backend']}: at rest")
    run["at_rest"] = figures()
    say(f"{run['backend']}: {plan.load_s:.0f} s of load")
    begun = time.monotonic()
    while (spent_s := time.monotonic() - begun) < plan.load_s:
        at(f"during, {spent_s:.0f} s")
        until = time.monotonic() + min(LOAD_EVERY_S, plan.load_s - spent_s)
        while time.monotonic() < until:
            frames_per_second(recognizer, frame, min(LOAD_FRAMES, plan.frames), in_flight=IN_FLIGHT[1])
    run["after_load"] = figures()
    at("after")


def own_network(model: Path | None, hef: Path | None, plan: Plan) -> dict[str, Any]:
    """What Hailo's own tool says of the network, to be laid beside our `encode`."""
    from cardrec.backends.hef import find_hef
    from cardrec.model import Model

    if hef is None:
        chip = pi_facts.identity("Device Architecture").lower()
        try:
            hef = find_hef(Model.load(model), chip)
        except CardrecError as error:
            raise Missing(f"{say_error(error)}; --hef FILE measures another network") from None
    say(f"hailortcli: {hef.name}")
    return {"file": hef.name, **pi_facts.network(hef, plan.tool_s)}


_HOMES = re.compile(r"(/home|/Users)/[^/\s'\"]+|/root\b")


def without_names(value: Any) -> Any:
    """The report without the paths of this checkout and of homes, and without the host's name."""
    if isinstance(value, dict):
        return {name: without_names(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_names(each) for each in value]
    if not isinstance(value, str):
        return value
    text = value.replace(str(ROOT), "CHECKOUT")
    home = str(Path.home())
    text = _HOMES.sub("~", text.replace(home, "~") if home != "/" else text)
    host = socket.gethostname()
    return re.sub(rf"\b{re.escape(host)}\b", "HOST", text) if host else text


def summarise(report: Mapping[str, Any]) -> None:
    """The figures for people, on stdout."""
    from cardrec.report import console, table

    columns = ("backend", "stage", "p50", "p95", "p99", "after load p50", "p95", "p99")
    made = table(*columns, right=columns[2:])
    for run in report["runs"]:
        rest, load = run.get("at_rest"), run.get("after_load")
        for stage, spent in (rest["ms"] if rest else {}).items():
            after = load["ms"][stage] if load else {}
            cells = [f"{value:.2f}" for value in (*spent.values(), *after.values())]
            made.add_row(run["backend"], stage, *cells)
    console().print(made)
    for run in report["runs"]:
        for when in ("at_rest", "after_load"):
            rates = run.get(when, {}).get("frames_per_second", {})
            text = ", ".join(f"{rate} with {depth} in flight" for depth, rate in rates.items())
            print(f"{run['backend']}, {when.replace('_', ' ')}, frames/s: {text}")
        if seen := run.get("accuracy"):
            print(f"{run['backend']}: {seen['right']} of {seen['photos']} bundled photos answered right")
    print(f"network, by Hailo's tool: {report['network']['hailortcli'] or 'missing'}")
    hot = max((state["temperature_c"] or 0.0 for state in report["states"]), default=0.0)
    slowed = sorted({name for state in report["states"] for name in (state["throttled"] or {}).get("means", ())})
    print(f"hottest: {f'{hot:.0f} degrees C' if hot else 'unknown'}; throttling: {', '.join(slowed) or 'none seen'}")
    for name, why in report["missing"].items():
        print(f"missing: {name}: {why}")


@contextmanager
def kept(report: dict[str, Any], out: Path) -> Iterator[None]:
    """Writes the report, complete or not, whatever ends the block."""
    try:
        yield
        report["complete"] = True
    finally:
        partial = out.with_name(f"{out.name}.part")
        partial.write_text(json.dumps(without_names(report), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(out)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pi", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("pi.json"), help="file to write (default: pi.json)")
    parser.add_argument("--quick", action="store_true", help="a minute or two, to see whether it works")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a bundle that was compiled for the Hailo")
    parser.add_argument("--hef", type=Path, metavar="FILE", help="a compiled network for Hailo's own tool to measure")
    options = parser.parse_args(arguments)
    report: dict[str, Any] = {"kind": KIND, "format": FORMAT, "complete": False, "quick": options.quick}
    report |= {"states": [], "runs": [], "network": {"hailortcli": None}, "missing": {}}
    with one_line("python -m benchmarks.pi"):
        if not options.out.resolve().parent.is_dir():
            raise Failure(f"{options.out}: there is no such folder; name a file in one that exists")
        if options.hef and not options.hef.is_file():
            raise Failure(f"{options.hef} is no file; name a compiled network, such as model.hef")
        with kept(report, options.out):
            measure(report, Plan(quick=options.quick), options.model, options.hef)
        summarise(without_names(report))
    say(f"please send {options.out}; it holds what benchmarks/pi.md lists, and nothing else")


if __name__ == "__main__":
    main()
