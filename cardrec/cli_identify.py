"""`cardrec identify`: pictures in, names out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardrec.cli_options import (
    NOTHING_IDENTIFIED,
    USAGE,
    catalog_option,
    complain,
    encoder_options,
    json_option,
    max_cards_option,
    print_json,
    recognition_options,
)
from cardrec.errors import InputError
from cardrec.labels import say_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cardrec.recognizer import Recognizer
    from cardrec.types import Result

__all__ = ["identify"]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@catalog_option
@json_option
@click.option(
    "--annotate", type=click.Path(path_type=Path), metavar="OUT", help="Write pictures with the cards outlined."
)
@max_cards_option(1)
@recognition_options
@encoder_options
@click.pass_context
def identify(
    context: click.Context,
    *,
    paths: tuple[Path, ...],
    catalog: Path | None,
    as_json: bool,
    annotate: Path | None,
    max_cards: int,
    top_k: int,
    where: dict[str, list[str]] | None,
    model: Path | None,
    backend: str,
    threads: int,
) -> None:
    """Names the cards in pictures. A folder stands for the pictures in it.

    \b
    Examples:
      cardrec identify photo.jpg
      cardrec identify photos/ --catalog my.cardrec --json | jq '.cards[0].matches[0].card_id'
      cardrec identify binder-page.jpg --max-cards 9 --annotate page-named.jpg
      cardrec identify *.jpg --annotate named/
      cardrec identify photo.jpg --where set=A1 --where language=en --where language=de

    --annotate takes a folder, which is made, or for one picture a file name. --where with one key several times: any of
    the values; with several keys: all of them.

    A picture that can't be read is reported on stderr and the others go on. Exit code 0: at least one card was
    identified; 1: none was; 2: wrong use, or not one picture could be read; 3: model, catalog or device not in order.
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.recognizer import Recognizer

    pictures, unreadable = _expand(paths)
    outputs = _plan_outputs(annotate, pictures) if annotate is not None else {}
    results: list[tuple[str, Result]] = []
    with Recognizer(
        catalog, model=model, backend=backend, threads=threads, max_cards=max_cards, top_k=top_k
    ) as recognizer:
        for picture, result in _identified(recognizer, pictures, where):
            if as_json:
                print_json({"file": str(picture), **result.to_dict(), "index": len(results)})
            results.append((str(picture), result))
            if annotate is not None:
                _write_annotated(picture, result, outputs[picture])
    if results and not as_json:
        from cardrec.report import console, results_table

        console().print(results_table(results))
    if not results:
        complain(f"none of {len(pictures) + unreadable} paths could be read")
        context.exit(USAGE)
    if not any(result.best for _, result in results):
        context.exit(NOTHING_IDENTIFIED)


def _expand(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """The pictures, each once, with those of folders; and the number of paths that gave none, which are reported."""
    from cardrec.importer import open_items

    pictures: dict[Path, None] = {}
    unreadable = 0
    for path in paths:
        try:
            found: list[Any] = [image for _, image, _ in open_items(path)] if path.is_dir() else [path]
            pictures.update(dict.fromkeys(found))
        except (InputError, OSError) as error:
            complain(say_error(error))
            unreadable += 1
    return list(pictures), unreadable


def _identified(
    recognizer: Recognizer, pictures: Sequence[Path], where: dict[str, list[str]] | None
) -> Iterator[tuple[Path, Result]]:
    """Each picture with its result; those that can't be read are reported and passed over."""
    for picture in pictures:
        try:
            result = recognizer.identify(picture, where=where)
        except (InputError, OSError) as error:
            complain(say_error(error))
        else:
            yield picture, result


def _plan_outputs(out: Path, pictures: Sequence[Path]) -> dict[Path, Path]:
    """Where each annotated picture goes: checked, and its folder made, before anything is identified.

    Raises:
        click.BadParameter: a file name for several pictures, or a picture would be overwritten by its annotated copy.
    """
    from cardrec.importer import IMAGE_SUFFIXES

    is_file = out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir()
    if is_file and len(pictures) > 1:
        raise click.BadParameter(f"--annotate {out} names one file for {len(pictures)} pictures; name a folder")
    (out.parent if is_file else out).mkdir(parents=True, exist_ok=True)
    outputs = dict.fromkeys(pictures, out) if is_file else _names_in(out, pictures)
    originals = {picture.resolve() for picture in pictures}
    for output in outputs.values():
        if output.resolve() in originals:
            raise click.BadParameter(f"--annotate would overwrite the picture {output}; name another folder")
    return outputs


def _names_in(folder: Path, pictures: Sequence[Path]) -> dict[Path, Path]:
    """A name for each picture in the folder: its own, ending in .jpg, numbered where two are alike."""
    outputs: dict[Path, Path] = {}
    taken: set[str] = set()
    for picture in pictures:
        name, number = f"{picture.stem}.jpg", 1
        while name.lower() in taken:
            number += 1
            name = f"{picture.stem}-{number}.jpg"
        taken.add(name.lower())
        outputs[picture] = folder / name
    return outputs


def _write_annotated(picture: Path, result: Result, output: Path) -> None:
    from PIL import Image

    from cardrec.draw import annotate

    Image.fromarray(annotate(picture, result, color="rgb")).save(output, quality=92)
    complain(str(output), "wrote")
