"""`cardrec bench`: how long a frame takes on this machine, and how that compares with an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardrec.cli_options import NOTHING_IDENTIFIED, catalog_option, complain, encoder_options, json_option, print_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cardrec.bench_report import Change
    from cardrec.recognizer import Recognizer

__all__ = ["bench"]

SLOWER = NOTHING_IDENTIFIED
"""The exit code for a stage that is slower than in the other report: 1, as elsewhere for an answer that is no."""


@click.command(short_help="How long a frame takes on this machine.")
@click.argument("picture", required=False, type=click.Path(path_type=Path), metavar="[PICTURE]")
@click.option("--stages", is_flag=True, hidden=True, expose_value=False)  # asked for them before they always came
@click.option("--stream", is_flag=True, help="Also how many frames a second are streamed.")
@click.option("--in-flight", type=click.IntRange(min=1), help="Frames under way at once in a stream.")
@click.option("--repeats", type=click.IntRange(min=1), default=50, show_default=True, help="Frames to measure.")
@click.option(
    "--simulate-npu",
    type=click.FloatRange(min=0.05, max=1000),
    metavar="MS",
    help="Encode on a simulated NPU that takes so long for a card.",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare with what `cardrec bench --json` wrote earlier, here or elsewhere.",
)
@click.option(
    "--limit",
    type=click.FloatRange(min=1.0),
    metavar="RATIO",
    help="With --compare: times as slow as then from which a stage counts as slower.  [default: 1.15]",
)
@catalog_option
@json_option
@encoder_options
@click.pass_context
def bench(
    context: click.Context,
    *,
    picture: Path | None,
    stream: bool,
    in_flight: int | None,
    repeats: int,
    simulate_npu: float | None,
    compare: Path | None,
    limit: float | None,
    catalog: Path | None,
    as_json: bool,
    model: Path | None,
    backend: str,
    threads: int,
) -> None:
    """Measures how long `identify` takes for one card in a 1280x720 frame, by stage: by default a bundled photo.

    \b
    Examples:
      cardrec bench
      cardrec bench --stream --threads 1
      cardrec bench --repeats 200 --catalog my.cardrec my-photo.jpg
      cardrec bench --json --repeats 200 > before.json
      cardrec bench --repeats 200 --compare before.json
      cardrec bench --stream --simulate-npu 3.0

    Decoding the file is not counted: a camera gives arrays. `total` is what a caller waits, from call to result. A
    photo whose card is not recognised as it stands is read upside down as well, which takes twice as long. The bundled
    photos are identified as well, to say how many of them are answered right.

    --compare prints then, now and their ratio for each stage, and warns where machine, versions, model, frame or
    threads were others. Exit code 1: the median of a stage that both have is slower than --limit; else 0. Other work on
    the machine slows stages down, too: measure again before believing it, with more --repeats.

    --simulate-npu shows what the host adds to an accelerator that is not there: everything runs as with a Hailo device,
    but for the device. It says nothing about a real one's speed.
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.bench import camera_frame, simulated_recognizer
    from cardrec.bench_report import LIMIT, changes, describe_run, read_report
    from cardrec.flight import IN_FLIGHT
    from cardrec.recognizer import Recognizer

    if limit is not None and compare is None:
        raise click.UsageError("--limit needs --compare FILE")
    then = read_report(compare) if compare else None
    opened: AbstractContextManager[Recognizer]
    if simulate_npu is None:
        opened = Recognizer(catalog, model=model, backend=backend, threads=threads)
    else:
        opened = simulated_recognizer(simulate_npu, catalog=catalog, model=model)
    with opened as recognizer:
        frame = camera_frame(picture)
        report = describe_run(recognizer, frame, threads)
        if simulate_npu is not None:
            report["backend"] = f"simulated NPU, {simulate_npu:g} ms a card"
        report |= _measure(recognizer, frame, repeats, simulate_npu, (in_flight or IN_FLIGHT) if stream else 0)
    found = changes(then, report) if then else []
    limit = limit or LIMIT
    slower = [change for change in found if change.ratio > limit]
    if as_json:
        print_json(report | ({"compared": _compared(found, slower)} if then else {}))
    else:
        if then:
            _print_changes(found)
        else:
            _print_table(report)
        _print_setting(report, simulate_npu)
    if then:
        _warn(then, report, slower, limit)
    if slower:
        context.exit(SLOWER)


def _measure(
    recognizer: Recognizer, frame: NDArray[np.uint8], repeats: int, npu_ms: float | None, in_flight: int
) -> dict[str, Any]:
    """Milliseconds by stage, accuracy, and frames a second where some are in flight."""
    from cardrec.bench import accuracy, by_stage, frames_per_second, timings_of

    spent = by_stage(timings_of(recognizer, frame, repeats), npu_ms)
    measured: dict[str, Any] = {"frames": repeats, "ms": spent}
    if in_flight:
        rate = frames_per_second(recognizer, frame, 4 * repeats, in_flight=in_flight)
        measured["stream"] = {"in_flight": in_flight, "frames_per_second": round(rate, 1)}
    return measured | {"accuracy": accuracy(recognizer)}


def _compared(found: list[Change], slower: list[Change]) -> dict[str, Any]:
    ratios = {change.stage: round(change.ratio, 4) for change in found}
    return {"ratios": ratios, "slower": [change.stage for change in slower]}


def _warn(then: Mapping[str, Any], now: Mapping[str, Any], slower: list[Change], limit: float) -> None:
    """Says on stderr what two reports can't be compared for, and what is slower."""
    from cardrec.bench_report import differences

    if others := differences(then, now):
        complain(f"not the same in both: {'; '.join(others)}", "warning")
    if slower:
        names = ", ".join(f"{_NAMES.get(each.stage, each.stage)} ({each.ratio:.2f})" for each in slower)
        complain(f"slower than {limit:g} times as long as then: {names}", "warning")


_NAMES = {"host": "all but detect and model", "stream": "a frame of the stream"}


def _print_table(report: Mapping[str, Any]) -> None:
    from cardrec.report import console, table

    columns = ("median ms", "95 % under", "99 % under")
    made = table("stage", *columns, right=columns)
    for stage, spent in report["ms"].items():
        made.add_row(_NAMES.get(stage, stage), *(f"{value:.2f}" for value in spent.values()))
    console().print(made)


def _print_setting(report: Mapping[str, Any], npu_ms: float | None) -> None:
    """What was measured on what, how right the answers are, and the stream."""
    wide, high = report["frame"]["size_wh"]
    machine, seen = report["machine"], report["accuracy"]
    click.echo(
        f"{wide}x{high}, {report['frames']} frames, {report['catalog']['cards']:,} cards, model "
        f"{report['model']['name']} on {report['backend']}, search {report['simd']}, images {report['simd_image']}"
    )
    click.echo(f"{machine['cpu']}, {machine['cores']} cores, {report['threads'] or 'all'} for the model")
    right = f"{seen['right']} of {seen['photos']}" if seen["photos"] else f"not measured: {seen['why']}"
    wrong = f" (not {', '.join(seen['wrong'])})" if seen["wrong"] else ""
    click.echo(f"bundled photos answered right: {right}{wrong}")
    if "stream" in report:
        stream, own = report["stream"], "" if npu_ms is None else f"; the simulated NPU alone: {1000 / npu_ms:.1f}"
        click.echo(
            f"stream, {stream['in_flight']} frames in flight: {stream['frames_per_second']:.1f} frames a second{own}"
        )


def _print_changes(found: list[Change]) -> None:
    from cardrec.labels import printable
    from cardrec.report import console, table

    columns = ("median ms then", "now", "ratio", "95 % under then", "now", "ratio")
    made = table("stage", *columns, right=columns)
    for change in found:
        cells = [
            cell
            for then, now in filter(None, (change.ms, change.p95_ms))
            for cell in (f"{then:.2f}", f"{now:.2f}", f"{now / then:.2f}")
        ]
        made.add_row(printable(_NAMES.get(change.stage, change.stage)), *cells)
    console().print(made)
