"""The Pokemon TCG API and the repository of its data, in their shapes, with made-up cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from card_listing import faults, ids, listed
from card_server import Answer, CardServer, picture

from training.download.__main__ import main
from training.download.cards import Card
from training.download.pokemon_tcg_data import PokemonTcgData
from training.download.pokemontcg import KEY_VARIABLE, PokemonTcg
from training.failure import Failure
from training.manifests import manifest_entries

KEY = "made-up-key-0123456789"


def api_card(number: int, base: str = "https://images.example") -> dict[str, Any]:
    """A card as the Pokemon TCG API gives it."""
    return {
        "id": f"xx1-{number}", "name": f"Creature {number}", "supertype": "Pokémon", "subtypes": ["Basic"], "hp": "70",
        "types": ["Grass"], "attacks": [{"name": "Nod", "cost": ["Grass"], "damage": "40+", "text": ""}],
        "set": {
            "id": "xx1", "name": "First", "series": "XX", "printedTotal": 3, "total": 3, "releaseDate": "2016/02/22",
            "images": {"symbol": f"{base}/xx1/symbol.png", "logo": f"{base}/xx1/logo.png"},
        },
        "number": str(number), "artist": "Someone", "rarity": "Common", "legalities": {"unlimited": "Legal"},
        "images": {"small": f"{base}/xx1/{number}.png", "large": f"{base}/xx1/{number}_hires.png"},
        "tcgplayer": {"updatedAt": "2021/07/15", "prices": {"normal": {"low": 0.1, "market": 0.2}}},
    }  # fmt: skip


def page(cards: list[dict[str, Any]], number: int, total: int) -> bytes:
    return json.dumps(
        {"data": cards, "page": number, "pageSize": 250, "count": len(cards), "totalCount": total}
    ).encode()


def test_api_pages(server: CardServer, tmp_path: Path) -> None:
    cards = [api_card(number) for number in range(501)]
    server.says("/v2/cards", page(cards[:250], 1, 501), page(cards[250:500], 2, 501), page(cards[500:], 3, 501))
    found = listed(PokemonTcg(["xx1", "xx2"], key=KEY, url=f"{server.url}/v2/", query="hp:70"), tmp_path)
    assert ids(found) == [f"xx1-{number}" for number in range(501)] and not faults(found)
    assert [each.query["page"] for each in server.asked] == ["1", "2", "3"]
    asked = server.asked[0]
    assert asked.query["q"] == '(set.id:"xx1" OR set.id:"xx2") hp:70'
    assert asked.query["pageSize"] == "250" and asked.query["orderBy"] == "set.releaseDate,number,name"
    assert asked.headers["x-api-key"] == KEY and asked.headers["user-agent"].startswith("cardrec/")
    first = found[0]
    assert isinstance(first, Card) and first.image_url == "https://images.example/xx1/0_hires.png"
    assert first.meta == {
        "name": "Creature 0", "set": "xx1", "set_name": "First", "series": "XX", "number": "0", "language": "en",
        "game": "pokemon", "rarity": "Common", "artist": "Someone", "supertype": "Pokémon", "subtypes": ["Basic"],
        "types": ["Grass"], "hp": "70", "released": "2016/02/22",
    }  # fmt: skip


def test_api_without_key_size_and_broken_records(server: CardServer, tmp_path: Path) -> None:
    bare = {"id": "xx1-2", "images": None}
    server.says("/cards", page([api_card(1), bare, {"name": "no id"}], 1, 3))
    found = listed(PokemonTcg(size="small", url=server.url), tmp_path)
    assert "x-api-key" not in server.asked[0].headers and "q" not in server.asked[0].query
    assert isinstance(found[0], Card) and found[0].image_url == "https://images.example/xx1/1.png"
    assert isinstance(found[1], Card) and found[1].image_url is None
    assert [what for what, _ in faults(found)] == ["{'name': 'no id'}", "1 of 3 cards"]


def test_api_rates() -> None:
    assert PokemonTcg().rates == {"api.pokemontcg.io": 0.5}
    assert PokemonTcg(key=KEY).rates == {"api.pokemontcg.io": 5.0}


def test_cards_that_slip_between_pages_are_missed_aloud(server: CardServer, tmp_path: Path) -> None:
    cards = [api_card(number) for number in range(250)]
    server.says("/cards", page(cards, 1, 252), page([cards[249]], 2, 252), page([], 3, 252))
    found = listed(PokemonTcg(url=server.url), tmp_path)
    assert faults(found) == [("2 of 252 cards", "the pages did not have them; run the same command again")]
    server.says("/cards", page(cards, 1, 600), page([], 2, 600))
    assert faults(listed(PokemonTcg(url=server.url), tmp_path))[0][0] == "350 of 600 cards"


@pytest.mark.parametrize(
    ("status", "key", "message"),
    [
        (403, KEY, f"the key in {KEY_VARIABLE} is not accepted; copy it again"),
        (401, KEY, f"the key in {KEY_VARIABLE} is not accepted"),
        (403, "", f"get a key at dev.pokemontcg.io and set {KEY_VARIABLE}"),
        (429, "", "the quota is used up"),
        (400, "", "check --set, --query and --api-url"),
        (301, KEY, "301 Moved Permanently, to https://elsewhere.example/"),
        (502, "", "502 Bad Gateway, 2 times; run the same command again later"),
    ],
)
def test_api_errors_have_remedies(server: CardServer, tmp_path: Path, status: int, key: str, message: str) -> None:
    body = json.dumps({"error": {"message": "no", "code": status}}).encode()
    server.says("/cards", Answer(body, status, {"Location": "https://elsewhere.example/"} if status == 301 else {}))
    with pytest.raises(Failure) as caught:
        listed(PokemonTcg(key=key, url=server.url), tmp_path)
    assert message in str(caught.value) and KEY not in str(caught.value)


def test_api_that_is_another(server: CardServer, tmp_path: Path) -> None:
    for answer in (b"[]", b'{"cards": []}', b'{"data": []}'):
        server.says("/cards", answer)
        with pytest.raises(Failure, match="is it version 2 of the API"):
            listed(PokemonTcg(url=server.url), tmp_path)
    for key in ("with blank in it", "new\nline", "schlüssel"):
        with pytest.raises(Failure) as caught:
            PokemonTcg(key=key)
        assert key not in str(caught.value)


def test_the_key_is_written_nowhere(
    server: CardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY + "\n")
    server.says("/cards", page([api_card(1, server.url), api_card(2, server.url)], 1, 2))
    server.says("/xx1/1_hires.png", picture(1))
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["pokemontcg", "--out", str(out), "--api-url", server.url, "--retries", "0"])
    assert ended.value.code == (
        f"python -m training.download: 1 could not be downloaded, {out}/failures.jsonl says why; run the same command "
        "again, or go on without them: --allow-failures"
    )
    told = capfd.readouterr()
    assert "cards.jsonl: 1 cards, 1 of them downloaded now" in told.out and "404" in told.err
    assert [each.headers.get("x-api-key") for each in server.asked] == [KEY, None, None]  # no key to the pictures' host
    everything = told.out + told.err + "".join(
        path.read_text(errors="replace") for path in out.rglob("*") if path.is_file()
    )  # fmt: skip
    assert KEY not in everything
    main(["pokemontcg", "--out", str(out), "--api-url", server.url, "--retries", "0", "--allow-failures"])
    assert [entry.card_id for entry in manifest_entries(out / "cards.jsonl")] == ["xx1-1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pokemon-tcg-data", "/nowhere"], "/nowhere is no folder; a checkout of https://github.com/PokemonTCG"),
        (["tcgdex", "/nowhere"], "/nowhere is no folder; a checkout of https://github.com/tcgdex"),
        (["scryfall", "--rate", "0"], "--rate 0 and --retries 6: expected more than 0"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main([*arguments, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def data_checkout(folder: Path) -> Path:
    """A checkout of pokemon-tcg-data: cards without their set, sets apart."""
    (folder / "cards" / "en").mkdir(parents=True)
    (folder / "sets").mkdir()
    for name in ("xx1", "xx2"):
        cards = [{key: value for key, value in api_card(n).items() if key != "set"} for n in range(2)]
        for card in cards:
            card["id"] = card["id"].replace("xx1", name)
        (folder / "cards" / "en" / f"{name}.json").write_text(json.dumps(cards), encoding="utf-8")
    (folder / "sets" / "en.json").write_text(json.dumps([api_card(0)["set"]]), encoding="utf-8")
    return folder


def test_checkout_of_the_api_data(tmp_path: Path) -> None:
    checkout = data_checkout(tmp_path)
    found = listed(PokemonTcgData(checkout), tmp_path)
    assert ids(found) == ["xx1-0", "xx1-1", "xx2-0", "xx2-1"]
    assert isinstance(found[0], Card) and found[0].meta["set_name"] == "First" and found[0].meta["released"]
    assert isinstance(found[2], Card) and found[2].meta["set"] == "xx2" and "set_name" not in found[2].meta
    assert ids(listed(PokemonTcgData(checkout, ["xx2"]), tmp_path)) == ["xx2-0", "xx2-1"]
    with pytest.raises(Failure, match="has no set 'xx3'; there are xx1, xx2"):
        listed(PokemonTcgData(checkout, ["xx3"]), tmp_path)
    (checkout / "cards" / "en" / "xx1.json").write_text('[{"id": "xx1-1",}]')
    with pytest.raises(Failure, match=r"xx1\.json is not JSON .*line 1.*update the checkout"):
        listed(PokemonTcgData(checkout), tmp_path)
    (checkout / "cards" / "en" / "xx1.json").write_text('{"data": []}')
    with pytest.raises(Failure, match=r"xx1\.json holds something else"):
        listed(PokemonTcgData(checkout), tmp_path)
    (checkout / "sets" / "en.json").unlink()
    with pytest.raises(Failure, match=r"en\.json is missing"):
        listed(PokemonTcgData(checkout), tmp_path)
    with pytest.raises(Failure, match=r"has no cards/en/\*\.json"):
        listed(PokemonTcgData(tmp_path / "sets"), tmp_path)
