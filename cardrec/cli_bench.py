"""`cardrec bench`: how long a frame takes on this machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardrec.cli_options import catalog_option, encoder_options, json_option, print_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cardrec.recognizer import Recognizer

__all__ = ["bench"]


@click.command(short_help="How long a frame takes on this machine.")
@click.argument("picture", required=False, type=click.Path(path_type=Path), metavar="[PICTURE]")
@click.option("--stages", is_flag=True, help="Also the time of each stage.")
@click.option("--stream", is_flag=True, help="Also how many frames a second are streamed.")
@click.option("--in-flight", type=click.IntRange(min=1), help="Frames under way at once in a stream.")
@click.option("--repeats", type=click.IntRange(min=1), default=50, show_default=True, help="Frames to measure.")
@click.option(
    "--simulate-npu",
    type=click.FloatRange(min=0.05, max=1000),
    metavar="MS",
    help="Encode on a simulated NPU that takes so long for a card.",
)
@catalog_option
@json_option
@encoder_options
def bench(
    *,
    picture: Path | None,
    stages: bool,
    stream: bool,
    in_flight: int | None,
    repeats: int,
    simulate_npu: float | None,
    catalog: Path | None,
    as_json: bool,
    model: Path | None,
    backend: str,
    threads: int,
) -> None:
    """Measures how long `identify` takes for one card in a 1280x720 frame: by default a bundled photo.

    \b
    Examples:
      cardrec bench
      cardrec bench --stages --stream
      cardrec bench --stages --repeats 200 --catalog my.cardrec my-photo.jpg
      cardrec bench --stages --stream --simulate-npu 3.0

    Decoding the file is not counted: a camera gives arrays. `total` is what a caller waits, from call to result. A
    photo whose card is not recognised as it stands is read upside down as well, which takes twice as long.

    --simulate-npu shows what the host adds to an accelerator that is not there: everything runs as with a Hailo device,
    but for the device. It says nothing about a real one's speed.
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.bench import FRAME_WH, camera_frame, simulated_recognizer
    from cardrec.flight import IN_FLIGHT
    from cardrec.recognizer import Recognizer

    opened: AbstractContextManager[Recognizer]
    if simulate_npu is None:
        opened = Recognizer(catalog, model=model, backend=backend, threads=threads)
    else:
        opened = simulated_recognizer(simulate_npu, catalog=catalog, model=model)
    in_flight = in_flight or IN_FLIGHT
    with opened as recognizer:
        measured = _measure(recognizer, camera_frame(picture), repeats, simulate_npu, in_flight if stream else 0)
        facts = recognizer.info()
    rows = measured["ms"] if stages else {"total_ms": measured["ms"]["total_ms"]}
    setting = {
        "frame": list(FRAME_WH),
        "frames": repeats,
        "cards": facts["catalog"]["cards"],
        "backend": facts["backend"] if simulate_npu is None else f"simulated NPU, {simulate_npu:g} ms a card",
        "simd": facts["simd"],
        "model": facts["model"]["name"],
    }
    if stream:
        setting |= {"in_flight": in_flight, "frames_per_second": measured["frames_per_second"]}
    if as_json:
        print_json({**setting, **rows})
    else:
        _print_table(setting, rows, simulate_npu)


def _measure(
    recognizer: Recognizer, frame: NDArray[np.uint8], repeats: int, npu_ms: float | None, in_flight: int
) -> dict[str, Any]:
    """Milliseconds by stage, and frames a second where some are in flight.

    ``host_ms`` is all but detection and encoding; with a simulated NPU all but detection and the NPU's own time, so
    that handing cards over counts.
    """
    from cardrec.bench import STAGES, frames_per_second, summary, timings_of

    timings = timings_of(recognizer, frame, repeats)
    spent = {stage: summary([getattr(timing, stage) for timing in timings]) for stage in STAGES}
    host = [each.total_ms - each.detect_ms - (each.encode_ms if npu_ms is None else npu_ms) for each in timings]
    measured: dict[str, Any] = {"ms": spent | {"host_ms": summary(host)}}
    if in_flight:
        rate = frames_per_second(recognizer, frame, 4 * repeats, in_flight=in_flight)
        measured["frames_per_second"] = round(rate, 1)
    return measured


_NAMES = {"host_ms": "all but detect, encode", "total_ms": "total"}


def _print_table(setting: dict[str, Any], measured: dict[str, dict[str, float]], npu_ms: float | None) -> None:
    from cardrec.report import console, table

    columns = ("median ms", "95 % under", "99 % under")
    made = table("stage", *columns, right=columns)
    names = _NAMES if npu_ms is None else _NAMES | {"host_ms": "all but detect, NPU"}
    for stage, spent in measured.items():
        made.add_row(names.get(stage, stage.removesuffix("_ms")), *(f"{value:.2f}" for value in spent.values()))
    console().print(made)
    wide, high = setting["frame"]
    click.echo(
        f"{wide}x{high}, {setting['frames']} frames, {setting['cards']:,} cards, model {setting['model']} on "
        f"{setting['backend']}, search {setting['simd']}"
    )
    if "frames_per_second" in setting:
        own = "" if npu_ms is None else f"; the simulated NPU alone: {1000 / npu_ms:.1f}"
        click.echo(
            f"stream, {setting['in_flight']} frames in flight: {setting['frames_per_second']:.1f} frames a second{own}"
        )
