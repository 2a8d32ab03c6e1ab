"""`python -m training.cloud COMMAND ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = ("launch", "jobs", "registry", "upload", "download", "deploy")


def main(given: Sequence[str] | None = None) -> None:
    arguments = list(sys.argv[1:] if given is None else given)
    if not arguments or arguments[0] not in COMMANDS:
        wanted = arguments and arguments[0] not in ("-h", "--help")
        text = f"usage: python -m training.cloud {{{','.join(COMMANDS)}}} ..., each with --help"
        if wanted or not arguments:
            print(text, file=sys.stderr)
            raise SystemExit(2)
        print(text)
        return
    import_module(f"training.cloud.{arguments[0]}").main(arguments[1:])


if __name__ == "__main__":
    main()
