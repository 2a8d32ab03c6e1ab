"""What the subcommands share: options, exit codes, messages, and opening what the options name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cardrec.labels import printable

if TYPE_CHECKING:
    from cardrec.embed import Embedder

__all__ = [
    "ENVIRONMENT",
    "NOTHING_IDENTIFIED",
    "TABLE",
    "USAGE",
    "catalog_option",
    "complain",
    "encoder_options",
    "json_option",
    "max_cards_option",
    "open_embedder",
    "patience_option",
    "print_json",
    "recognition_options",
    "require_subcommand",
]

NOTHING_IDENTIFIED = 1
USAGE = 2
ENVIRONMENT = 3

TABLE = 18
"""Cards that are followed at once unless another number is asked for: two binder pages, or what a table holds that a
camera can still read. With one card in the frame it costs nothing: 23 ms for a frame with 1, 9, 18 or 24 asked for;
with seven cards, 2 ms more than 9 do."""

Command = TypeVar("Command", bound=Callable[..., Any])

catalog_option = click.option(
    "--catalog",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Catalog to search; the bundled demo by default.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout instead of a table.")

patience_option = click.option(
    "--patience",
    type=click.FloatRange(min=0.0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a card may be unseen, under a hand for example, before it has left.",
)


def parse_where(_context: click.Context, _option: click.Parameter, pairs: Sequence[str]) -> dict[str, list[str]] | None:
    """`set=A1 set=A2 language=en` as {"set": ["A1", "A2"], "language": ["en"]}."""
    where: dict[str, list[str]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{pair!r} is not of the form key=value, such as set=A1")
        where.setdefault(key, []).append(value)
    return where or None


_RECOGNITION_OPTIONS = (
    click.option(
        "--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Matches to give for each card."
    ),
    click.option(
        "--where",
        multiple=True,
        callback=parse_where,
        metavar="KEY=VALUE",
        help="Only cards with this metadata; repeatable.",
    ),
)

_ENCODER_OPTIONS = (
    click.option(
        "--model",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Model bundle; the one in the library by default.",
    ),
    click.option(
        "--backend",
        type=click.Choice(["auto", "onnx", "hailo"]),
        default="auto",
        show_default=True,
        help="What runs the model: a Hailo NPU, ONNX Runtime on the CPU, or the first of them that works here.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Threads of the model; 0: all cores.",
    ),
)


def max_cards_option(default: int) -> Callable[[Command], Command]:
    """Adds --max-cards."""
    return click.option(
        "--max-cards",
        type=click.IntRange(min=1),
        default=default,
        show_default=True,
        help="Cards to look for in each picture.",
    )


def recognition_options(command: Command) -> Command:
    """Adds --top-k and --where."""
    return _with(_RECOGNITION_OPTIONS, command)


def encoder_options(command: Command) -> Command:
    """Adds --model, --backend and --threads."""
    return _with(_ENCODER_OPTIONS, command)


def _with(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    """The command with these options, in the help in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def open_embedder(model: Path | None, backend: str, threads: int) -> Embedder:
    """The embedder that the encoder options ask for."""
    from cardrec.embed import Embedder, open_encoder

    return Embedder(open_encoder(model, backend=backend, threads=threads))


def require_subcommand(context: click.Context) -> None:
    """Ends a group that was called without a subcommand: its help on stderr, and the code for wrong use."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(USAGE)


def complain(message: str, kind: str = "error") -> None:
    """One line on stderr."""
    click.echo(f"cardrec: {kind}: {printable(message)}", err=True)


def print_json(line: Mapping[str, Any]) -> None:
    """One line of JSON on stdout, at once, in ASCII so that any terminal and pipe takes it."""
    click.echo(json.dumps(line, allow_nan=False))
