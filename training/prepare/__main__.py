"""The command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import training.prepare
from training.failure import Failure, one_line
from training.images import MIN_SIDE_PX
from training.progress import bar

COMMAND = "python -m training.prepare"


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description=training.prepare.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="a download, a manifest (.csv, .jsonl) or a folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the layout; an earlier layout is replaced")
    parser.add_argument("--height", type=int, help="scale higher pictures down to so many pixels; PNG files then")
    parser.add_argument("--copy", action="store_true", help="copy files instead of linking them")
    parser.add_argument("--no-duplicates", action="store_true", help="don't look for cards that look the same")
    parser.add_argument("--allow-faulty", action="store_true", help="exit with 0 even if pictures are faulty")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = _arguments(given)
    with one_line(COMMAND):
        if options.height is not None and options.height < MIN_SIDE_PX:
            raise Failure(f"--height is {options.height}; at least {MIN_SIDE_PX} pixels were expected")
        from training.prepare.layout import prepare

        with bar() as progress:
            found = prepare(
                options.source,
                options.out,
                height_px=options.height,
                copy=options.copy,
                duplicates=not options.no_duplicates,
                progress=progress,
            )
        print(
            f"{options.out}: {found['pictures']:,} pictures of {found['cards']:,} cards; "
            f"{len(found['faulty']):,} faulty, {len(found['duplicates']):,} pairs look the same, "
            f"{len(found['orphans']):,} orphans: see report.md"
        )
        if found["faulty"] and not options.allow_faulty:
            first = found["faulty"][0]
            raise Failure(
                f"{len(found['faulty']):,} pictures are faulty, such as {first['file']} ({first['why']}); download or "
                "replace them, or go on without them: --allow-faulty"
            )


if __name__ == "__main__":
    main()
