"""`cardrec index`: makes and keeps catalogs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cardrec.cli_options import complain, encoder_options, json_option, open_embedder, print_json, require_subcommand

if TYPE_CHECKING:
    from cardrec.bulk import Engine
    from cardrec.ingest import BuildReport, OnDuplicate, OnSkip, Progress
    from cardrec.pictures import PictureKind

__all__ = ["index"]

SHOWN_DUPLICATES = 20
"""Pairs named on stderr; the report has all."""

Command = TypeVar("Command", bound=Callable[..., Any])
_catalog_argument = click.argument("catalog", type=click.Path(path_type=Path), metavar="CATALOG")


@click.group(invoke_without_command=True)
@click.pass_context
def index(context: click.Context) -> None:
    """Makes and keeps catalogs: the cards that can be recognised.

    \b
    Examples:
      cardrec index build card-images/ my.cardrec       one picture a card, the file's name is its card_id
      cardrec index build cards.csv my.cardrec          with metadata: columns card_id, image, and any others
      cardrec index append new-set.csv my.cardrec
      cardrec index remove my.cardrec A1-025 A1-026
      cardrec index verify my.cardrec
    """  # noqa: D301 - \b tells click to leave the lines as they are
    require_subcommand(context)


_INGEST_OPTIONS = (
    click.argument("source", type=click.Path(path_type=Path), metavar="SOURCE"),
    _catalog_argument,
    click.option(
        "--on-duplicate",
        type=click.Choice(["error", "keep-all"]),
        default="error",
        show_default=True,
        help="A card_id that comes again: an error, or another view of the same card.",
    ),
    click.option(
        "--report", type=click.Path(path_type=Path), metavar="FILE", help="Write what was skipped or looks the same."
    ),
    click.option(
        "--near",
        type=click.FloatRange(0, 1),
        default=0.98,
        show_default=True,
        help="Cosine from which two cards are reported as looking the same; 0 does without the report.",
    ),
    click.option(
        "--pictures",
        flag_value="webp",
        help="Keep small pictures, 13 KB each, for a second look at cards that look alike.",
    ),
    click.option(
        "--picture-paths",
        "pictures",
        flag_value="paths",
        help="The same, but keep only where the pictures lie; they are read when cards are compared.",
    ),
)


def ingest_options(command: Command) -> Command:
    """Adds what build and append have in common."""
    for option in reversed(_INGEST_OPTIONS):
        command = option(command)
    return encoder_options(command)


@index.command()
@click.option("--overwrite", is_flag=True, help="Replace a catalog that is there already.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Of the stored vectors; float16 halves the file.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where pictures are encoded: here, or on the Ray cluster of RAY_ADDRESS, which must see the same files.",
)
@ingest_options
def build(
    *,
    source: Path,
    catalog: Path,
    on_duplicate: OnDuplicate,
    report: Path | None,
    near: float,
    overwrite: bool,
    dtype: Any,
    pictures: PictureKind | None,
    engine: str,
    model: Path | None,
    backend: str,
    threads: int,
) -> None:
    """Makes CATALOG from the card images of SOURCE: a folder, or a CSV, TSV or JSON Lines file.

    \b
    Examples:
      cardrec index build card-images/ my.cardrec
      cardrec index build cards.csv my.cardrec --report skipped.csv
      cardrec index build scans.jsonl my.cardrec --on-duplicate keep-all    several pictures of each card
      cardrec index build cards.csv my.cardrec --engine ray                 on many machines, to the same bytes

    Each picture shows one card and nothing around it. In a folder the card_id is the file's name without its ending. A
    manifest has the columns card_id and image (relative to the manifest) and any others, which become metadata; name,
    set, number, language and game are those that filters find fastest.

    A picture that can't be used is reported and left out; the rest is built. Cards under different ids that look the
    same are reported and kept.
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.catalog import Catalog
    from cardrec.importer import open_items

    items = open_items(source)
    cluster = _cluster(model, backend) if engine == "ray" else None
    backend = backend if cluster is None else "onnx"
    with open_embedder(model, backend, threads) as encoder, _progress() as (progress, on_skip):
        made = Catalog.build(
            catalog,
            items,
            encoder=encoder,
            overwrite=overwrite,
            on_duplicate=on_duplicate,
            dtype=dtype,
            near=near or None,
            progress=progress,
            on_skip=on_skip,
            pictures=pictures or False,
            engine=cluster,
        )
    _tell(catalog, made, report)


def _cluster(model: Path | None, backend: str) -> Engine:
    """The engine on many machines, which have processors in common."""
    if backend == "hailo":
        raise click.UsageError("--engine ray encodes on processors: leave out --backend hailo")
    from cardrec.bulk_ray import RayEngine

    return RayEngine(model)


@index.command()
@ingest_options
def append(
    *,
    source: Path,
    catalog: Path,
    on_duplicate: OnDuplicate,
    report: Path | None,
    near: float,
    pictures: PictureKind | None,
    model: Path | None,
    backend: str,
    threads: int,
) -> None:
    """Adds the card images of SOURCE to CATALOG, all or none; see `cardrec index build --help`.

    Pictures are kept as the catalog kept the last ones, where neither option says how.

    \b
    Example:
      cardrec index append new-set.csv my.cardrec
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.catalog import Catalog
    from cardrec.importer import open_items

    items = open_items(source)
    with Catalog.open(catalog) as opened, open_embedder(model, backend, threads) as encoder:
        opened.check_model(encoder.fingerprint, encoder.preprocessing_hash)
        with _progress() as (progress, on_skip):
            made = opened.append(
                items,
                encoder=encoder,
                on_duplicate=on_duplicate,
                near=near or None,
                progress=progress,
                on_skip=on_skip,
                pictures=pictures,
            )
    _tell(catalog, made, report)


@index.command()
@_catalog_argument
@click.argument("card_ids", nargs=-1, required=True, metavar="CARD_ID...")
def remove(catalog: Path, card_ids: tuple[str, ...]) -> None:
    """Removes cards with all their views, all or none. `compact` frees the space.

    \b
    Example:
      cardrec index remove my.cardrec A1-025 A1-026
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.catalog import Catalog

    with Catalog.open(catalog) as opened:
        click.echo(f"{catalog}: {opened.remove(card_ids):,} rows removed, {len(opened):,} left")


@index.command()
@_catalog_argument
def compact(catalog: Path) -> None:
    """Rewrites CATALOG as one segment without the removed rows. Readers that have it open stay right."""
    from cardrec.catalog import Catalog

    with Catalog.open(catalog) as opened:
        before = opened.info()["bytes"]
        opened.compact()
        click.echo(f"{catalog}: {before / 1e6:.1f} MB before, {opened.info()['bytes'] / 1e6:.1f} MB now")


@index.command()
@_catalog_argument
def verify(catalog: Path) -> None:
    """Reads every byte of CATALOG and checks it. Exit code 0: sound; 3: damaged, with the file that is.

    Pictures that are kept by path are read as well. A catalog is sound without them.
    """
    from cardrec.catalog import Catalog

    with Catalog.open(catalog) as opened:
        found = opened.verify()
    click.echo(
        f"{catalog}: sound: {found.files} files, {found.bytes:,} bytes, {found.rows:,} rows, {found.removed:,} removed"
    )
    if found.lost_pictures:
        complain(f"{found.lost_pictures:,} pictures are gone or are not those that were embedded any more", "warning")


@index.command("info")
@_catalog_argument
@json_option
def index_info(catalog: Path, as_json: bool) -> None:
    """Says what CATALOG is: cards, segments, model, size."""
    from cardrec.catalog import Catalog

    with Catalog.open(catalog) as opened:
        facts = opened.info()
    if as_json:
        print_json(facts)
    else:
        from cardrec.report import console, facts_table

        console().print(facts_table(facts))


@contextmanager
def _progress() -> Iterator[tuple[Progress, OnSkip]]:
    """A progress bar on stderr, shown where that is a terminal; and what reports a skipped picture beside it."""
    import sys

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from cardrec.report import console

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    stderr = console(sys.stderr)
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as bar:
        tasks: dict[str, Any] = {}
        titles = {"encode": "encoding", "duplicates": "looking for duplicates"}

        def progress(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(titles.get(stage, stage), total=total)
            bar.update(tasks[stage], completed=done)

        def on_skip(card_id: str, source: str, reason: str) -> None:
            where = "" if source in reason else f"{source}: "
            complain(f"{card_id}: {where}{reason}", "skipped")

        yield progress, on_skip


def _tell(catalog: Path, made: BuildReport, report: Path | None) -> None:
    """What was added on stdout, what to look at on stderr, everything in the report."""
    for pair in made.duplicates[:SHOWN_DUPLICATES]:
        complain(f"{pair.first} and {pair.second} look the same ({pair.kind}, cosine {pair.cosine:.4f})", "warning")
    if len(made.duplicates) > SHOWN_DUPLICATES:
        rest = f"{len(made.duplicates) - SHOWN_DUPLICATES:,} more pairs look the same"
        complain(f"{rest}; {f'{report} names' if report else '--report FILE writes'} them all", "warning")
    if report is not None:
        _write_report(report, made)
    click.echo(
        f"{catalog}: cards added: {made.added:,}, pictures skipped: {len(made.skipped):,}, "
        f"pairs that look the same: {len(made.duplicates):,}, groups that no photo tells apart: {len(made.twins):,}"
    )


def _write_report(path: Path, made: BuildReport) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("what", "card_id", "other_card_id", "image", "detail"))
        writer.writerows(("skipped", card_id, "", source, reason) for card_id, source, reason in made.skipped)
        writer.writerows((pair.kind, pair.first, pair.second, "", f"{pair.cosine:.6f}") for pair in made.duplicates)
        writer.writerows(("twins", group[0], other, "", "") for group in made.twins for other in group[1:])
    complain(str(path), "wrote")
