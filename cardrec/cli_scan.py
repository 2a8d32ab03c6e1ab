"""`cardrec scan`: a video of cards in, a collection out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cardrec.cli_options import (
    NOTHING_IDENTIFIED,
    TABLE,
    catalog_option,
    complain,
    encoder_options,
    json_option,
    max_cards_option,
    parse_where,
    patience_option,
    print_json,
)
from cardrec.errors import InputError
from cardrec.labels import say_error

if TYPE_CHECKING:
    from cardrec.collection import Collection
    from cardrec.track import Tracker
    from cardrec.watch import Seen

__all__ = ["scan"]

STDOUT = "-"


@click.command(short_help="Counts the cards of a video: a collection as CSV.")
@click.argument("source")
@catalog_option
@json_option
@click.option(
    "--csv",
    "csv_path",
    is_flag=False,
    flag_value=STDOUT,
    metavar="[OUT]",
    help="Write the collection as CSV: to a file, or to stdout where none is named.",
)
@max_cards_option(TABLE)
@click.option(
    "--where",
    multiple=True,
    callback=parse_where,
    metavar="KEY=VALUE",
    help="Only cards with this metadata; repeatable.",
)
@patience_option
@encoder_options
@click.pass_context
def scan(
    context: click.Context,
    *,
    source: str,
    catalog: Path | None,
    as_json: bool,
    csv_path: str | None,
    max_cards: int,
    where: dict[str, list[str]] | None,
    patience: float,
    model: Path | None,
    backend: str,
    threads: int,
) -> None:
    """Counts the cards of a video, each physical card once. Ctrl-C ends it, and what was counted is given.

    SOURCE is a video file or a camera, as for `cardrec watch`.

    \b
    Examples:
      cardrec scan table.mp4                        a table
      cardrec scan table.mp4 --csv                  CSV on stdout
      cardrec scan table.mp4 --csv cards.csv        a table, and CSV in a file
      cardrec scan table.mp4 --json --catalog my.cardrec

    There is a row for each card of the catalog that was seen: card_id, name, set, number, language, the count of
    copies, the confidence of the least certain one, and when it was seen first and last, in seconds. Copies are told
    apart by where they lie. A card that is unseen for longer than --patience and comes back counts again, and so does
    a copy that is put where another was taken away, if the place was empty for that long.

    Exit code 0: at least one card was identified; 1: none was; 2: wrong use, or a source that can't be opened; 3: the
    model, the catalog or the device is not in order.
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.collection import Collection
    from cardrec.recognizer import Recognizer
    from cardrec.sources import open_source
    from cardrec.watch import Pace, watch

    _check_output(csv_path, as_json=as_json)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what FFmpeg says of a damaged frame would go to stderr
    pace, collection = Pace(), Collection()
    with (
        open_source(source) as opened,
        Recognizer(
            catalog, model=model, backend=backend, threads=threads, max_cards=max_cards, color=opened.color
        ) as recognizer,
        closing(watch(recognizer, opened, pace, keep_pictures=False, in_flight=3, drop="never", where=where)) as seen,
        suppress(KeyboardInterrupt),
    ):
        _count(seen, collection, recognizer.tracker(patience_s=patience))
    _give(collection, csv_path, as_json=as_json)
    counted = f"{len(collection)} cards, {len(collection.holdings)} different, {collection.unnamed} not identified"
    complain(f"{pace.frames} frames, {pace.per_second:.1f} frames/s: {counted}", "scanned")
    if not len(collection):
        context.exit(NOTHING_IDENTIFIED)


def _check_output(csv_path: str | None, *, as_json: bool) -> None:
    """Refuses, before a long video is read, what could not be written after it."""
    if csv_path is None:
        return
    if csv_path == STDOUT:
        if as_json:
            raise click.UsageError("--json and --csv both write to stdout; name a file: --csv cards.csv")
        return
    path = Path(csv_path)
    if path.is_dir() or not path.parent.is_dir():
        why = "is a folder" if path.is_dir() else f"can't be written: there is no folder {path.parent}"
        raise click.BadParameter(f"{path} {why}", param_hint="--csv")


def _count(steps: Iterator[Seen | InputError], collection: Collection, tracker: Tracker) -> None:
    """Puts what was tracked into a collection, also where it ends early."""
    try:
        for seen in steps:
            if isinstance(seen, InputError):
                complain(say_error(seen))
                continue
            for event in tracker.update(seen.result, seen.time_s):
                collection.add(event)
    finally:
        for event in tracker.finish():
            collection.add(event)


def _give(collection: Collection, csv_path: str | None, *, as_json: bool) -> None:
    """Writes the collection where it is wanted."""
    from cardrec.files import write_atomically
    from cardrec.report import console, holdings_table

    if csv_path == STDOUT:
        click.echo(collection.to_csv(), nl=False)
        return
    if csv_path is not None:
        write_atomically(Path(csv_path), collection.to_csv().encode())
    if as_json:
        for holding in collection.holdings:
            print_json(holding.to_dict())
    elif collection.holdings:
        console().print(holdings_table(collection.holdings))
