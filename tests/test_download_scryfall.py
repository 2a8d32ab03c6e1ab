"""Scryfall's bulk data in its shapes, with made-up cards."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from card_listing import faults, ids, listed
from card_server import CardServer, picture

from training.download.__main__ import main
from training.download.cards import Card
from training.download.scryfall import Scryfall, read_bulk
from training.failure import Failure


def magic(number: str, **fields: Any) -> dict[str, Any]:
    """A card as Scryfall's bulk data has it."""
    return {
        "object": "card", "id": f"0000-{number}", "name": f"Spell {number}", "lang": "en", "released_at": "2022-02-18",
        "layout": "normal", "image_status": "highres_scan", "set": "abc", "set_name": "Alphabet", "rarity": "rare",
        "collector_number": number, "artist": "Some One", "type_line": "Sorcery", "prices": {"usd": "0.25"},
        "image_uris": {size: f"https://cards.example/{size}/{number}.jpg?1" for size in ("png", "large", "small")},
    } | fields  # fmt: skip


SIDES = [
    {"object": "card_face", "name": side, "artist": side, "image_uris": {"large": f"https://cards.example/{side}.jpg"}}
    for side in ("Day", "Night")
]
MAGIC = [
    magic("1★"), magic("2", lang="ja"), magic("3", set="xyz"), magic("4", image_status="placeholder"),
    {key: value for key, value in magic("5", layout="transform", card_faces=SIDES).items() if key != "image_uris"},
    magic("6", layout="split", card_faces=[{"name": "Half"}, {"name": "Other half"}]), {"object": "card", "id": "x"},
]  # fmt: skip


def bulk(server: CardServer, content: bytes, field: str = "jsonl_download_uri", name: str = "day1.jsonl.gz") -> None:
    entry = {"object": "bulk_data", "type": "default_cards", field: server.says(f"/files/{name}", content)}
    server.says("/bulk-data", json.dumps({"object": "list", "has_more": False, "data": [entry]}).encode())


def packed(cards: list[dict[str, Any]]) -> bytes:
    return gzip.compress("".join(json.dumps(card) + "\n" for card in cards).encode())


def test_scryfall(server: CardServer, tmp_path: Path) -> None:
    bulk(server, packed(MAGIC))
    found = listed(Scryfall(url=server.url), tmp_path)
    assert ids(found) == ["abc-1★", "abc-2-ja", "xyz-3", "abc-4", "abc-5", "abc-5-side2", "abc-6"]
    assert faults(found) == [("x", "it has no set or no collector_number")]
    cards = {item.card_id: item for item in found if isinstance(item, Card)}
    assert cards["abc-1★"].image_url == "https://cards.example/large/1★.jpg?1"
    assert cards["abc-1★"].meta == {
        "name": "Spell 1★", "set": "abc", "set_name": "Alphabet", "number": "1★", "language": "en", "game": "magic",
        "rarity": "rare", "artist": "Some One", "layout": "normal", "type_line": "Sorcery", "released": "2022-02-18",
        "scryfall_id": "0000-1★",
    }  # fmt: skip
    assert cards["abc-4"].image_url is None
    assert cards["abc-5-side2"].image_url == "https://cards.example/Night.jpg"
    assert (cards["abc-5"].meta["name"], cards["abc-5"].meta["side"], cards["abc-5-side2"].meta["side"]) == (
        "Day",
        1,
        2,
    )
    asked = server.asked[0]
    assert asked.headers["user-agent"].startswith("cardrec/") and asked.headers["accept"] == "application/json"
    assert Scryfall(url="https://api.scryfall.com").rates == {"api.scryfall.com": 10.0}


def test_scryfall_filters_and_keeps_the_file_of_the_day(server: CardServer, tmp_path: Path) -> None:
    bulk(server, packed(MAGIC))
    assert ids(listed(Scryfall(["xyz"], url=server.url), tmp_path)) == ["xyz-3"]
    assert ids(listed(Scryfall(language="ja", url=server.url), tmp_path)) == ["abc-2-ja"]
    assert server.paths() == ["/bulk-data", "/files/day1.jsonl.gz", "/bulk-data"]
    bulk(server, packed(MAGIC[:1]), name="day2.jsonl.gz")
    assert ids(listed(Scryfall(url=server.url), tmp_path)) == ["abc-1★"]
    assert [path.name for path in tmp_path.iterdir()] == ["day2.jsonl.gz"]


@pytest.mark.parametrize("zipped", [True, False])
def test_scryfall_as_one_array(server: CardServer, tmp_path: Path, zipped: bool) -> None:
    content = ("[\n" + ",\n".join(json.dumps(card) for card in MAGIC) + "\n]").encode()
    bulk(server, gzip.compress(content) if zipped else content, "download_uri", "day1.json")
    assert len(ids(listed(Scryfall(url=server.url), tmp_path))) == 7


@pytest.mark.parametrize(
    "content",
    [packed(MAGIC)[:-30], b'{"set": "abc"}\n{"set', b'[{"set": "abc"}, {"se', b"[[1]]", b"3\n", b"\x1f\x8bno gzip"],
)
def test_damaged_bulk_files(server: CardServer, tmp_path: Path, content: bytes) -> None:
    bulk(server, content)
    with pytest.raises(Failure, match=r"day1\.jsonl\.gz is damaged .*has been removed; run the same command again"):
        listed(Scryfall(url=server.url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_scryfall_that_has_changed(server: CardServer, tmp_path: Path) -> None:
    for answer, message in (
        (b"[]", "has no 'default_cards' but nothing"),
        (b'{"data": [{"type": "rulings"}]}', "has no 'default_cards' but rulings"),
        (b'{"data": [{"type": "default_cards"}]}', "says no address for 'default_cards'"),
        (
            b'{"data": [{"type": "default_cards", "download_uri": "%s/gone"}]}' % server.url.encode(),
            "404 .*check --api-url",
        ),
    ):
        server.says("/bulk-data", answer)
        with pytest.raises(Failure, match=message):
            listed(Scryfall(url=server.url), tmp_path)


def test_bulk_files_are_read_as_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "many.json"
    path.write_text("[" + ",".join([json.dumps(magic("1"))] * 3000) + ", broken")
    cards = read_bulk(path)
    assert [next(cards)["set"] for _ in range(2000)] == ["abc"] * 2000  # long before the fault


def test_the_command_with_scryfall(server: CardServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bulk(server, packed([magic("1", image_uris={"png": server.says("/1.png", picture(2)) + "?5"})]))
    main(["scryfall", "--out", str(tmp_path / "magic"), "--api-url", server.url, "--size", "png", "--limit", "1"])
    main(["scryfall", "--out", str(tmp_path / "magic"), "--api-url", server.url, "--size", "png", "--limit", "1"])
    assert (tmp_path / "magic" / "images" / "abc-1.png").read_bytes() == picture(2)
    assert "1 cards, 0 of them downloaded now" in capsys.readouterr().out
