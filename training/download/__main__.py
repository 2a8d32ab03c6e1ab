"""The command line; `python -m training.download SOURCE --help` says what a source takes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import training.download
from training.failure import Failure, one_line
from training.progress import bar

if TYPE_CHECKING:
    from training.download.cards import Adapter
    from training.download.run import Outcome

COMMAND = "python -m training.download"
SHOWN_FAULTS = 5
SIZES = {
    "pokemontcg": ("large", "small"),
    "pokemon-tcg-data": ("large", "small"),
    "tcgdex": ("high", "low"),
    "scryfall": ("large", "png", "normal", "small", "border_crop"),
}
BULK = ("default_cards", "all_cards", "unique_artwork", "oracle_cards")


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, required=True, help="folder that the download fills, or goes on to fill")
    common.add_argument(
        "--set", dest="sets", action="append", default=[], metavar="ID", help="one set; may be repeated"
    )
    common.add_argument("--limit", type=_positive, help="stop after so many cards")
    common.add_argument("--rate", type=float, default=10.0, help="pictures a second at most (10)")
    common.add_argument("--workers", type=_positive, default=4, help="pictures at a time (4)")
    common.add_argument("--retries", type=int, default=6, help="how often a failed request is repeated (6)")
    common.add_argument("--allow-failures", action="store_true", help="exit with 0 even if pictures are missing")
    return common


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description=training.download.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    common = _common()
    for name, sizes in SIZES.items():
        source = sources.add_parser(name, parents=[common])
        source.add_argument("--size", choices=sizes, default=sizes[0], help=f"of the pictures ({sizes[0]})")
    for name in ("pokemon-tcg-data", "tcgdex"):
        sources.choices[name].add_argument("checkout", type=Path, help="folder of the repository")
    for name in ("pokemontcg", "scryfall"):
        sources.choices[name].add_argument("--api-url", help="where the API is, if not at its usual place")
    sources.choices["tcgdex"].add_argument("--assets-url", help="where the pictures are, if not at their usual place")
    sources.choices["tcgdex"].add_argument("--language", default="en", help="such as de, pt-br, ja (en)")
    sources.choices["scryfall"].add_argument("--language", help="such as en, ja; all that the file has unless given")
    sources.choices["scryfall"].add_argument("--bulk", choices=BULK, default=BULK[0], help="which cards")
    sources.choices["pokemontcg"].add_argument("--query", default="", help="conditions, such as supertype:pokemon")
    return parser


def _adapter(options: argparse.Namespace) -> Adapter:
    """The chosen source. A key comes from the environment, where no list of processes shows it."""
    chosen: dict[str, Any] = {"sets": options.sets, "size": options.size}
    if getattr(options, "api_url", None):
        chosen["url"] = options.api_url
    if options.source == "pokemontcg":
        from training.download.pokemontcg import KEY_VARIABLE, PokemonTcg

        return PokemonTcg(**chosen, key=os.environ.get(KEY_VARIABLE), query=options.query)
    if options.source == "pokemon-tcg-data":
        from training.download.pokemon_tcg_data import PokemonTcgData

        return PokemonTcgData(options.checkout, **chosen)
    if options.source == "tcgdex":
        from training.download.tcgdex import ASSETS, Tcgdex

        return Tcgdex(options.checkout, **chosen, language=options.language, assets=options.assets_url or ASSETS)
    from training.download.scryfall import Scryfall

    return Scryfall(**chosen, language=options.language, bulk=options.bulk)


def _tell(outcome: Outcome, options: argparse.Namespace) -> None:
    out = options.out
    print(f"{out / 'cards.jsonl'}: {outcome.pictures:,} cards, {outcome.fetched:,} of them downloaded now")
    if outcome.pictureless:
        print(f"{len(outcome.pictureless):,} cards have no picture at the source ({out / 'failures.jsonl'})")
    for fault in outcome.faults[:SHOWN_FAULTS]:
        print(f"{fault.what}: {fault.why}", file=sys.stderr)
    if outcome.faults and not options.allow_failures:
        raise Failure(
            f"{len(outcome.faults):,} could not be downloaded, {out / 'failures.jsonl'} says why; run the same command "
            "again, or go on without them: --allow-failures"
        )


def main(given: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(given)
    with one_line(COMMAND):
        try:
            from training.download.run import download
            from training.download.session import Session

            adapter = _adapter(options)
        except ModuleNotFoundError as error:
            raise Failure(f"{error.name} is not installed: pip install --editable '.[data]'") from None
        if options.rate <= 0 or options.retries < 0:
            raise Failure(
                f"--rate {options.rate:g} and --retries {options.retries}: expected more than 0, and 0 or more"
            )
        with Session(adapter.rates, options.rate, options.retries) as session, bar() as progress:
            outcome = download(
                adapter, session, options.out, limit=options.limit, workers=options.workers, progress=progress
            )
        _tell(outcome, options)


if __name__ == "__main__":
    main()
