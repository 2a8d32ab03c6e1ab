"""A checkout of github.com/tcgdex/cards-database: Pokemon cards in many languages, TCG Pocket among them.

The repository is TypeScript, `data/SERIES/SET/NUMBER.ts` (`data-asia` for Asian languages). Its compiler (`bun run
compile` in `server/`) writes `server/generated/LANGUAGE/cards.json`, which is read instead where it is there. Which
cards have a picture says the host of the pictures, in one file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.download.cards import Card, Fault, Listed, known, require_folder
from training.download.pokemontcg import POKEMON_NOTE
from training.download.session import HttpError, Session
from training.download.typescript import read_object
from training.failure import Failure

__all__ = ["Tcgdex"]

REPOSITORY = "https://github.com/tcgdex/cards-database"
ASSETS = "https://assets.tcgdex.net"
ASIAN = frozenset(("ja", "ko", "zh-tw", "zh-cn", "id", "th"))


class Tcgdex:
    """Cards of the checkout, in one language.

    Args:
        checkout: the repository's folder.
        sets: ids such as ``base1`` or ``A1``; empty: all.
        size: ``high`` (600x825) or ``low`` (245x337).
        language: such as ``en``, ``de``, ``pt-br``, ``zh-tw``.
        assets: where the pictures are.
    """

    name = "tcgdex"
    note = f"Data: {REPOSITORY} (MIT licence), pictures: {ASSETS}. {POKEMON_NOTE}"

    def __init__(
        self, checkout: Path, sets: Sequence[str] = (), size: str = "high", language: str = "en", assets: str = ASSETS
    ) -> None:
        self._checkout = require_folder(checkout, f"a checkout of {REPOSITORY}", REPOSITORY)
        self._sets, self._size, self._language = frozenset(sets), size, language
        self._assets = assets.rstrip("/")
        self.rates: Mapping[str, float] = {}

    def cards(self, session: Session, workspace: Path) -> Iterator[Listed]:
        del workspace
        compiled = self._checkout / "server" / "generated" / self._language / "cards.json"
        return self._compiled(compiled) if compiled.is_file() else self._sources(session)

    def _card(self, of_set: Mapping[str, Any], number: str, card: Mapping[str, Any], picture: str | None) -> Card:
        """A card, whose names are texts by now."""
        suffix = "" if self._language == "en" else f"-{self._language}"
        meta = known(
            name=card.get("name"), set=of_set.get("id"), set_name=of_set.get("name"), number=number,
            language=self._language, game="pokemon", rarity=card.get("rarity"), artist=card.get("illustrator"),
            supertype=card.get("category"), types=card.get("types"), hp=card.get("hp"),
            released=of_set.get("releaseDate"),
        )  # fmt: skip
        return Card(f"{of_set.get('id')}-{number}{suffix}", meta, f"{picture}/{self._size}.webp" if picture else None)

    def _compiled(self, path: Path) -> Iterator[Listed]:
        try:
            cards = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise Failure(f"{path} is not JSON ({error}); compile it again, or remove it") from None
        if not isinstance(cards, list):
            raise Failure(f"{path} holds a {type(cards).__name__}, a list was expected; compile it again, or remove it")
        for card in cards:
            if not isinstance(card, dict) or not isinstance(card.get("set"), dict) or not card.get("localId"):
                yield Fault(repr(card)[:60], f"{path}: it has no set or no localId")
            elif not self._sets or card["set"].get("id") in self._sets:
                yield self._card(card["set"], str(card["localId"]), card, card.get("image"))

    def _sources(self, session: Session) -> Iterator[Listed]:
        data = self._checkout / ("data-asia" if self._language in ASIAN else "data")
        files = sorted(data.glob("*/*.ts"))
        if not files:
            raise Failure(f"{data} has no SERIES/SET.ts; a checkout of {REPOSITORY} was expected")
        pictures = self._pictures(session)
        for file in files:
            try:
                of_set = read_object(file.read_text(encoding="utf-8"))
                series = read_object(file.parent.with_name(f"{file.parent.name}.ts").read_text(encoding="utf-8"))
                if self._sets and of_set.get("id") not in self._sets:
                    continue
            except (OSError, ValueError) as error:
                yield Fault(str(file.relative_to(self._checkout)), f"the set can't be read: {error}")
                continue
            yield from self._cards_of(file.parent / file.stem, series, of_set, pictures)

    def _cards_of(
        self, folder: Path, series: Mapping[str, Any], of_set: Mapping[str, Any], pictures: Mapping[str, Any] | None
    ) -> Iterator[Listed]:
        there = (pictures or {}).get(str(series.get("id")), {}).get(str(of_set.get("id")), {})
        named = {"id": of_set.get("id"), "name": self._text(of_set.get("name"))}
        named["releaseDate"] = self._text(of_set.get("releaseDate"))
        for file in sorted(folder.glob("*.ts")):
            try:
                card = read_object(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                yield Fault(str(file.relative_to(self._checkout)), f"the card can't be read: {error}")
                continue
            if (name := self._text(card.get("name"))) is None:
                continue  # not printed in this language
            address = f"{self._assets}/{self._language}/{series.get('id')}/{of_set.get('id')}/{file.stem}"
            shown = pictures is None or file.stem in there
            yield self._card(named, file.stem, card | {"name": name}, address if shown else None)

    def _text(self, value: Any) -> str | None:
        """A text that may be given for each language."""
        if isinstance(value, dict):
            value = value.get(self._language)
        return value if isinstance(value, str) and value else None

    def _pictures(self, session: Session) -> Mapping[str, Any] | None:
        """What pictures there are in this language, by series, set and number; None where the host doesn't tell."""
        try:
            found = session.get_json(f"{self._assets}/datas.json")
        except HttpError as error:
            if error.status == 404:
                return None
            raise Failure(f"{error}; run the same command again later") from error
        return found.get(self._language, {}) if isinstance(found, dict) else {}
