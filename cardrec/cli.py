"""The command `cardrec`. Errors are one line on stderr and an exit code, here for all subcommands."""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from cardrec import __version__
from cardrec.cli_about import doctor, info
from cardrec.cli_bench import bench
from cardrec.cli_identify import identify
from cardrec.cli_index import index
from cardrec.cli_options import ENVIRONMENT, USAGE, complain, require_subcommand
from cardrec.cli_scan import scan
from cardrec.cli_watch import watch
from cardrec.errors import CardrecError, CatalogFormatError, CatalogMismatchError, DeviceError, ModelError
from cardrec.labels import say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["app", "main"]

INTERRUPTED = 130
BROKEN_PIPE = 141
_ENVIRONMENT_ERRORS = (ModelError, DeviceError, CatalogFormatError, CatalogMismatchError, ImportError)
_USAGE_ERRORS = (CardrecError, FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)


def exit_code(error: Exception) -> int:
    """2 where the command can be said better, 3 where the machine, the model or the catalog must be put right."""
    if isinstance(error, _ENVIRONMENT_ERRORS):
        return ENVIRONMENT
    return USAGE if isinstance(error, _USAGE_ERRORS) else ENVIRONMENT


class App(click.Group):
    """A group whose errors are `cardrec: error: ...`, never a traceback unless --debug asks for it."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the subcommand; what it raises becomes a message and an exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except BrokenPipeError:  # `cardrec identify ... | head` has read enough
            _forget_stdout()
            ctx.exit(BROKEN_PIPE)
        except Exception as error:  # the last line of defence: whatever it is, people get one line
            if ctx.params.get("debug"):
                raise
            known = isinstance(error, (CardrecError, OSError))
            what = say_error(error) if known else f"{type(error).__name__}: {say_error(error)}"
            complain(what if known else f"{what} (a fault in cardrec; `cardrec --debug ...` shows where)")
            ctx.exit(exit_code(error))
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Parses the arguments, runs the subcommand and exits with its code."""
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        sys.exit(_code_of(run))


def _code_of(run: Callable[[], Any]) -> int:
    """Runs the command; errors in how it was called become messages."""
    try:
        result = run()
        return result if isinstance(result, int) else 0
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "cardrec"
        complain(f"{error.format_message()} (see `{command} --help`)")
        return USAGE
    except click.ClickException as error:
        complain(error.format_message())
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return INTERRUPTED


def _forget_stdout() -> None:
    """Sends what is still buffered nowhere, or Python would complain when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    cls=App,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="cardrec")
@click.option("--debug", is_flag=True, help="Log everything, and show the traceback of an error.")
@click.pass_context
def app(context: click.Context, *, debug: bool) -> None:
    """Names the trading cards in pictures, against a catalog of card images.

    \b
    Examples:
      cardrec identify photo.jpg                          the card in a photo, against the bundled demo catalog
      cardrec watch 0                                     the cards that the first camera sees, live
      cardrec scan table.mp4 --csv cards.csv              the cards that were filmed, each counted once
      cardrec index build my-cards/ my.cardrec            a catalog of your own, from a folder of card images
      cardrec identify photo.jpg --catalog my.cardrec     ... and a photo against it
      cardrec doctor                                      is this installation in order?

    Results go to stdout; messages, warnings and progress bars to stderr. Exit codes: 0 done or identified, 1 nothing
    identified, 2 wrong use, 3 the machine, the model or the catalog is not in order.
    """  # noqa: D301 - \b tells click to leave the lines as they are
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if debug else logging.WARNING,
        format="cardrec: %(levelname)s: %(message)s",
    )
    require_subcommand(context)


for command in (identify, watch, scan, index, bench, doctor, info):
    app.add_command(command)


def main() -> None:
    """The entry point of the `cardrec` command."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal can't show must not end the program
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    app(prog_name="cardrec")


if __name__ == "__main__":
    main()
