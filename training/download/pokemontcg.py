"""The Pokemon TCG API, version 2 (docs.pokemontcg.io): English cards, page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from training.download.cards import Card, Fault, Listed, known
from training.download.session import HttpError, Session
from training.failure import Failure

__all__ = ["POKEMON_NOTE", "PokemonTcg", "pokemon_card"]

URL = "https://api.pokemontcg.io/v2"
KEY_VARIABLE = "POKEMONTCG_IO_API_KEY"
PAGE = 250  # the most that the API gives

ORDER = "set.releaseDate,number,name"
"""New sets come last, so that pages stay what they are while one reads."""

POKEMON_NOTE = (
    "The pictures and the texts on the cards belong to Nintendo, Creatures, GAME FREAK and The Pokemon Company; "
    "neither the source nor this project is theirs or speaks for them. Download for your own use; pass no picture on."
)


class PokemonTcg:
    """Cards of the API.

    Args:
        sets: ids such as ``base1``; empty: all.
        size: ``large`` (734x1024) or ``small`` (245x342).
        key: of dev.pokemontcg.io; None: 30 requests a minute instead of 20,000 a day.
        url: where the API is.
        query: further conditions, in the API's language, such as ``supertype:pokemon``.
    """

    name = "pokemontcg"
    note = f"Data: Pokemon TCG API (pokemontcg.io), free of charge. {POKEMON_NOTE}"

    def __init__(
        self, sets: Sequence[str] = (), size: str = "large", key: str | None = None, url: str = URL, query: str = ""
    ) -> None:
        self._sets, self._size, self._query, self._url = sets, size, query, url.rstrip("/")
        self._key = (key or "").strip()
        if not re.fullmatch(r"[\x21-\x7e]*", self._key):
            raise Failure(f"the key in {KEY_VARIABLE} has blanks or letters that no key has; copy it again")
        self.rates: Mapping[str, float] = {httpx.URL(self._url).host: 5.0 if self._key else 0.5}

    def cards(self, session: Session, workspace: Path) -> Iterator[Listed]:
        del workspace
        listed: set[str] = set()
        page, total = 1, 1
        while (page - 1) * PAGE < total:
            answer = self._page(session, page)
            total = answer["totalCount"]
            for record in answer["data"]:
                item = pokemon_card(record, record.get("set", {}) if isinstance(record, dict) else {}, self._size)
                if isinstance(item, Card):
                    listed.add(item.card_id)
                yield item
            if not answer["data"]:
                break
            page += 1
        if len(listed) < total:
            yield Fault(
                f"{total - len(listed)} of {total} cards", "the pages did not have them; run the same command again"
            )

    def _page(self, session: Session, page: int) -> dict[str, Any]:
        parameters = {"page": page, "pageSize": PAGE, "orderBy": ORDER}
        if query := self._search():
            parameters["q"] = query
        headers = {"X-Api-Key": self._key} if self._key else {}
        try:
            answer = session.get_json(f"{self._url}/cards", params=parameters, headers=headers)
        except HttpError as error:
            raise Failure(self._remedy(error)) from error
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
            raise Failure(f"{self._url}/cards answers without 'data'; is it version 2 of the API? See --api-url")
        if not isinstance(answer.get("totalCount"), int):
            raise Failure(f"{self._url}/cards answers without 'totalCount'; is it version 2 of the API? See --api-url")
        return answer

    def _search(self) -> str:
        chosen = " OR ".join(f'set.id:"{name}"' for name in self._sets)
        return " ".join(part for part in (f"({chosen})" if chosen else "", self._query) if part)

    def _remedy(self, error: HttpError) -> str:
        if error.status in (401, 403) and self._key:
            return (
                f"{error}: the key in {KEY_VARIABLE} is not accepted; copy it again from dev.pokemontcg.io, or unset it"
            )
        if error.status in (401, 403):
            return f"{error}: get a key at dev.pokemontcg.io and set {KEY_VARIABLE}"
        if error.status == 429:
            return f"{error}: the quota is used up; run the same command tomorrow, or with a key in {KEY_VARIABLE}"
        if error.status in (400, 404):
            return f"{error}: check --set, --query and --api-url"
        return f"{error}; run the same command again later"


def pokemon_card(record: Any, of_set: Mapping[str, Any], size: str) -> Listed:
    """A card in the form that the API and the repository of its data share.

    Args:
        record: the card.
        of_set: its set: ``id``, ``name``, ``series``, ``releaseDate``.
        size: ``large`` or ``small``; the other one where that is missing.
    """
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        return Fault(repr(record)[:60], "it has no id")
    images = record["images"] if isinstance(record.get("images"), dict) else {}
    meta = known(
        name=record.get("name"), set=of_set.get("id"), set_name=of_set.get("name"), series=of_set.get("series"),
        number=record.get("number"), language="en", game="pokemon", rarity=record.get("rarity"),
        artist=record.get("artist"), supertype=record.get("supertype"), subtypes=record.get("subtypes"),
        types=record.get("types"), hp=record.get("hp"), released=of_set.get("releaseDate"),
    )  # fmt: skip
    return Card(record["id"], meta, images.get(size) or images.get("large") or images.get("small"))
