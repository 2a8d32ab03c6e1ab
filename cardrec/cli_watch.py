"""`cardrec watch`: a camera or a video in, names out, live."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cardrec.cli_options import (
    NOTHING_IDENTIFIED,
    TABLE,
    catalog_option,
    complain,
    encoder_options,
    json_option,
    max_cards_option,
    patience_option,
    recognition_options,
)
from cardrec.cli_outputs import Output, open_output
from cardrec.errors import DeviceUnavailable, InputError
from cardrec.labels import say_error

if TYPE_CHECKING:
    from cardrec.track import Tracker
    from cardrec.watch import Pace, Seen
    from cardrec.window import Window

__all__ = ["watch"]


def parse_size(_context: click.Context, _option: click.Parameter, size: str | None) -> tuple[int, int] | None:
    """`1280x720` as (1280, 720)."""
    if size is None:
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size, re.ASCII)
    if found is None:
        raise click.BadParameter(f"{size!r} is no size; expected width and height in pixels, such as 1280x720")
    return int(found[1]), int(found[2])


@click.command(short_help="Names the cards that a camera sees, live.")
@click.argument("source")
@catalog_option
@json_option
@click.option("--frames-json", is_flag=True, help="JSON Lines of frames instead of events, each frame on its own.")
@max_cards_option(TABLE)
@recognition_options
@click.option("--size", callback=parse_size, metavar="WxH", help="Pixels to ask a camera for.  [default: 1280x720]")
@click.option(
    "--in-flight",
    type=click.IntRange(min=1, max=64),
    default=3,
    show_default=True,
    help="Frames that are worked on at once.",
)
@click.option(
    "--drop",
    type=click.Choice(["auto", "never", "oldest"]),
    default="auto",
    show_default=True,
    help="Whether old frames give way to new ones; auto: a camera's do, a file's don't.",
)
@patience_option
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Stop after N frames.")
@click.option(
    "--window/--no-window",
    default=None,
    help="Show the picture with the cards outlined; by default where there is a display.",
)
@encoder_options
@click.pass_context
def watch(
    context: click.Context,
    *,
    source: str,
    catalog: Path | None,
    as_json: bool,
    frames_json: bool,
    max_cards: int,
    top_k: int,
    where: dict[str, list[str]] | None,
    size: tuple[int, int] | None,
    in_flight: int,
    drop: Literal["auto", "never", "oldest"],
    patience: float,
    frames: int | None,
    window: bool | None,
    model: Path | None,
    backend: str,
    threads: int,
) -> None:
    """Names the cards of a camera or a video, live. Ctrl-C ends it; in the window q or Escape as well.

    SOURCE is a video file, a camera's number or path, or the Raspberry Pi's own camera: picamera2, picamera2:1.

    \b
    Examples:
      cardrec watch 0
      cardrec watch picamera2 --catalog my.cardrec --max-cards 1
      cardrec watch /dev/video2 --size 1920x1080 --no-window
      cardrec watch table.mp4 --json | jq -r 'select(.event == "identified").track.card_id'
      cardrec watch table.mp4 --frames-json | jq -r '.cards[].matches[0].card_id'
      cardrec watch table.mp4 --frames 100 --where set=A1

    Cards are followed from frame to frame, and named once, when their frames together are sure. On a terminal a table
    shows the cards that are there. Elsewhere there is a line for each event: a card appeared, was identified, changed
    (the first answer was wrong), left; with --json as JSON. --frames-json gives every frame as it was read on its own.
    The window shows the same tracks as the table; a card under a hand has a dashed outline. How many frames there were,
    how fast, how many were dropped, and how many physical cards were identified, is said on stderr at the end.

    Exit code 0: at least one card was identified, by its frames together; 1: none was; 2: wrong use, or a source that
    can't be opened; 3: the model, the catalog or the device is not in order, or the camera was unplugged.
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.recognizer import Recognizer
    from cardrec.sources import open_source
    from cardrec.watch import Pace
    from cardrec.watch import watch as watching

    # What FFmpeg says of a damaged frame would go across the table.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    pace = Pace()
    identified: set[int] = set()
    with (
        open_source(source, size_wh=size, in_flight=in_flight) as opened,
        _picture(window, opened.name) as picture,
        Recognizer(
            catalog,
            model=model,
            backend=backend,
            threads=threads,
            max_cards=max_cards,
            top_k=top_k,
            color=opened.color,
        ) as recognizer,
    ):
        seen = watching(
            recognizer,
            opened,
            pace,
            keep_pictures=picture is not None,
            in_flight=in_flight,
            drop=("oldest" if opened.live else "never") if drop == "auto" else drop,
            where=where,
        )
        tracker = recognizer.tracker(patience_s=patience)
        with (
            _summary(pace, identified),
            open_output(opened.name, as_json=as_json, frames_json=frames_json) as output,
            closing(seen),
        ):
            _show_all(seen, frames, tracker, output, picture, identified)
    if not identified:
        context.exit(NOTHING_IDENTIFIED)


def _show_all(
    steps: Iterator[Seen | InputError],
    frames: int | None,
    tracker: Tracker,
    output: Output,
    picture: Window | None,
    identified: set[int],
) -> None:
    """Shows what is seen until there is no more, the frames asked for were seen, or the window was closed."""
    from cardrec.draw import annotate_tracks

    count = 0
    try:
        for seen in steps:
            if isinstance(seen, InputError):
                complain(say_error(seen))
                continue
            events, tracks = tracker.update(seen.result, seen.time_s), tracker.tracks
            identified.update(event.track.id for event in events if event.kind == "identified")
            output.show(seen, events, tracks)
            drawn = None if seen.picture is None else annotate_tracks(seen.picture, tracks, seen.time_s)
            if picture and drawn is not None and not picture.show(drawn):
                return
            count += 1
            if count == frames:
                return
    finally:
        output.tell(tracker.finish())


@contextmanager
def _summary(pace: Pace, identified: set[int]) -> Iterator[None]:
    """Ctrl-C ends what runs inside; whatever ends it, what there was is said on stderr."""
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        numbers = f"{pace.frames} frames, {pace.per_second:.1f} frames/s, {pace.dropped} dropped"
        complain(f"{numbers}, cards identified: {len(identified)}", "watched")


@contextmanager
def _picture(wanted: bool | None, name: str) -> Iterator[Window | None]:
    """The window, or None: where it is not wanted, or can't be had and was not asked for."""
    from cardrec.window import open_window

    opened: Window | None = None
    try:
        if wanted is not False:
            opened = open_window(f"cardrec: {name}")
    except DeviceUnavailable:
        if wanted:
            raise
    try:
        yield opened
    finally:
        if opened is not None:
            opened.close()
