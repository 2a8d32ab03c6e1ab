"""A checkout of github.com/PokemonTCG/pokemon-tcg-data, from which the Pokemon TCG API is made: no key, no quota."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.download.cards import Listed, require_folder
from training.download.pokemontcg import POKEMON_NOTE, pokemon_card
from training.download.session import Session
from training.failure import Failure

__all__ = ["PokemonTcgData"]

REPOSITORY = "https://github.com/PokemonTCG/pokemon-tcg-data"


class PokemonTcgData:
    """Cards of the checkout.

    Args:
        checkout: the repository's folder.
        sets: ids such as ``base1``; empty: all.
        size: ``large`` (734x1024) or ``small`` (245x342).
    """

    name = "pokemon-tcg-data"
    note = f"Data: {REPOSITORY}. {POKEMON_NOTE}"

    def __init__(self, checkout: Path, sets: Sequence[str] = (), size: str = "large") -> None:
        self._checkout = require_folder(checkout, f"a checkout of {REPOSITORY}", REPOSITORY)
        self._sets, self._size = sets, size
        self.rates: Mapping[str, float] = {}

    def cards(self, session: Session, workspace: Path) -> Iterator[Listed]:
        del session, workspace
        files = {path.stem: path for path in sorted((self._checkout / "cards" / "en").glob("*.json"))}
        if not files:
            raise Failure(f"{self._checkout} has no cards/en/*.json; a checkout of {REPOSITORY} was expected")
        if missing := [name for name in self._sets if name not in files]:
            raise Failure(f"{self._checkout}/cards/en has no set {missing[0]!r}; there are {', '.join(files)}")
        sets = {each["id"]: each for each in _read(self._checkout / "sets" / "en.json") if "id" in each}
        for name in self._sets or files:
            for record in _read(files[name]):
                yield pokemon_card(record, sets.get(name, {"id": name}), self._size)


def _read(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Failure(f"{path} is missing; is the checkout complete? {REPOSITORY}") from None
    except ValueError as error:
        raise Failure(f"{path} is not JSON ({error}); update the checkout (git pull), or correct the file") from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Failure(f"{path} holds something else than a list of objects; a checkout of {REPOSITORY} was expected")
    return found
