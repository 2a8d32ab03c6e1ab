"""`cardrec doctor` and `cardrec info`: what is installed, and whether it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cardrec.cli_options import ENVIRONMENT, catalog_option, encoder_options, json_option, print_json

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["doctor", "info"]


@click.command(short_help="Is this installation in order?")
@json_option
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Checks this installation: libraries, native modules, model, demo catalog, one photo from end to end, accelerator.

    \b
    Examples:
      cardrec doctor
      cardrec doctor --json | jq 'select(.remedy != "")'

    Each finding is ok, warn or fail, the last two with a remedy, or skip: there was nothing to check, such as no
    accelerator. Exit code 0: nothing failed; 3: something did.
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.doctor import examine, render

    failed = False
    for finding in examine():
        failed |= finding.status == "fail"
        if as_json:
            print_json(finding.to_dict())
        else:
            click.echo(render(finding))
    if failed:
        context.exit(ENVIRONMENT)


@click.command(short_help="Versions, backend, model and catalog in use.")
@catalog_option
@json_option
@encoder_options
def info(*, catalog: Path | None, as_json: bool, model: Path | None, backend: str, threads: int) -> None:
    """Says what is in use: versions, backend, instruction set, model, catalog.

    \b
    Example:
      cardrec info --catalog my.cardrec --json
    """  # noqa: D301 - \b tells click to leave the lines as they are
    from cardrec.recognizer import Recognizer

    with Recognizer(catalog, model=model, backend=backend, threads=threads) as recognizer:
        facts = recognizer.info()
    if as_json:
        print_json(facts)
    else:
        from cardrec.report import console, facts_table

        console().print(facts_table(facts))
