"""`cardrec bench`: how long a frame takes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardrec.cli_options import catalog_option, encoder_options, json_option, print_json
from cardrec.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cardrec.recognizer import Recognizer

__all__ = ["STAGES", "bench", "measure"]

STAGES = ("detect_ms", "rectify_ms", "encode_ms", "search_ms", "total_ms")
FRAME_WH = (1280, 720)
WARM_UP = 5


@click.command(short_help="How long a frame takes on this machine.")
@click.argument("picture", required=False, type=click.Path(path_type=Path), metavar="[PICTURE]")
@click.option("--stages", is_flag=True, help="Also the time of each stage.")
@click.option("--repeats", type=click.IntRange(min=1), default=50, show_default=True, help="Frames to measure.")
@catalog_option
@json_option
@encoder_options
def bench(
    *,
    picture: Path | None,
    stages: bool,
    repeats: int,
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
      cardrec bench --stages
      cardrec bench --stages --repeats 200 --catalog my.cardrec my-photo.jpg

    Decoding the file is not counted: a camera gives arrays. `total` is what a caller waits, from call to result. A
    photo whose card is not recognised as it stands is read upside down as well, which takes twice as long.
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.recognizer import Recognizer

    with Recognizer(catalog, model=model, backend=backend, threads=threads) as recognizer:
        measured = measure(recognizer, _frame(picture), repeats)
        facts = recognizer.info()
    shown = measured if stages else {"total_ms": measured["total_ms"]}
    setting = {
        "frame": list(FRAME_WH),
        "frames": repeats,
        "cards": facts["catalog"]["cards"],
        "backend": facts["backend"],
        "simd": facts["simd"],
        "model": facts["model"]["name"],
    }
    if as_json:
        print_json({**setting, **shown})
    else:
        _print_table(setting, shown)


def _frame(picture: Path | None) -> NDArray[np.uint8]:
    """The picture, or the first bundled photo of a demo card, at 1280x720 as a camera would give it: BGR."""
    import cv2
    import numpy as np

    from cardrec.image import load
    from cardrec.samples import read_samples

    if picture is None:
        known = [sample for sample in read_samples() if len(sample.card_ids) == 1 and sample.card_ids[0]]
        if not known:
            raise InputError("there is no bundled photo; name a picture of your own")
        picture = known[0].path
    rgb = load(picture).pixels
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[:, :, None], 3, axis=2)
    scale = min(FRAME_WH[0] / rgb.shape[1], FRAME_WH[1] / rgb.shape[0])
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    frame = np.full((FRAME_WH[1], FRAME_WH[0], 3), 90, np.uint8)
    left, top = (FRAME_WH[0] - size[0]) // 2, (FRAME_WH[1] - size[1]) // 2
    shrunk = cv2.resize(np.ascontiguousarray(rgb[:, :, 2::-1]), size, interpolation=cv2.INTER_AREA)
    frame[top : top + size[1], left : left + size[0]] = shrunk
    return frame


def measure(recognizer: Recognizer, frame: NDArray[np.uint8], repeats: int) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of each stage, in milliseconds, over some frames; a few more go before."""
    import numpy as np

    timings = [recognizer.identify(frame).timings for _ in range(WARM_UP + repeats)][WARM_UP:]
    measured: dict[str, dict[str, float]] = {}
    for stage in STAGES:
        spent = [getattr(timing, stage) for timing in timings]
        measured[stage] = {
            "median": round(float(np.median(spent)), 3),
            "p95": round(float(np.percentile(spent, 95)), 3),
        }
    return measured


def _print_table(setting: dict[str, Any], measured: dict[str, dict[str, float]]) -> None:
    from cardrec.report import console, table

    made = table("stage", "median ms", "95 % under ms", right=("median ms", "95 % under ms"))
    for stage, spent in measured.items():
        made.add_row(stage.removesuffix("_ms"), f"{spent['median']:.2f}", f"{spent['p95']:.2f}")
    console().print(made)
    wide, high = setting["frame"]
    click.echo(
        f"{wide}x{high}, {setting['frames']} frames, {setting['cards']:,} cards, model {setting['model']} on "
        f"{setting['backend']}, search {setting['simd']}"
    )
