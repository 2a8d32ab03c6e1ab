"""The repository of tcgdex, its TypeScript and what it compiles to, with made-up cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from card_listing import faults, ids, listed
from card_server import CardServer, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from training.download.__main__ import main
from training.download.cards import Card
from training.download.tcgdex import Tcgdex
from training.download.typescript import read_object
from training.failure import Failure

SERIES_TS = """import { Serie } from '../interfaces'

const serie: Serie = {
\tname: { en: "Old", de: "Alt" },
\tid: "old"
}

export default serie
"""

SET_TS = """import { Set } from '../../interfaces'
import serie from '../Old Times'

const set: Set = {
\tid: "old1",
\tname: {
\t\ten: "Beginnings: Part 1",
\t\tde: 'Anf\\u00e4nge',
\t},
\tserie: serie,
\tcardCount: { official: 102 },
\treleaseDate: { en: "1999-01-09" },
}

export default set
"""

CARD_TS = """import { Card } from "../../../interfaces";
import Set from "../Beginnings: Part 1";

// a comment: { "not": this }
const card: Card = {
    set: Set,
    name: {
        en: "Sleepy \\"Cat\\"", /* { */
        "de": `Schlaf'katze`,
        'pt-br': 'Gato d\\'agua'
    },
    illustrator: "Some One",
    rarity: "Two Diamond",
    category: "Pokemon",
    dexId: [
        6,
    ],
    hp: 1_20,
    types: ["Fire"],
    attacks: [{ cost: [], name: { en: "Yawn" }, damage: -30 }],
    variants: { normal: true, reverse: false, foil: undefined },
    thirdParty: { cardmarket: 273699, ratio: 1.5e1 }
};

export default card;
"""


def tcgdex_checkout(folder: Path) -> Path:
    cards = folder / "data" / "Old Times" / "Beginnings: Part 1"
    cards.mkdir(parents=True)
    (folder / "data" / "Old Times.ts").write_text(SERIES_TS)
    cards.with_name("Beginnings: Part 1.ts").write_text(SET_TS)
    (cards / "4.ts").write_text(CARD_TS)
    (cards / "TG05.ts").write_text(CARD_TS.replace('"de": `Schlaf\'katze`,', ""))
    return folder


def test_checkout_of_tcgdex(server: CardServer, tmp_path: Path) -> None:
    checkout = tcgdex_checkout(tmp_path)
    server.says("/datas.json", json.dumps({"en": {"old": {"old1": {"4": "sha1"}}}, "de": {}}).encode())
    found = listed(Tcgdex(checkout, assets=server.url), tmp_path)
    assert ids(found) == ["old1-4", "old1-TG05"] and not faults(found)
    first, second = found
    assert isinstance(first, Card) and first.image_url == f"{server.url}/en/old/old1/4/high.webp"
    assert first.meta == {
        "name": 'Sleepy "Cat"', "set": "old1", "set_name": "Beginnings: Part 1", "number": "4", "language": "en",
        "game": "pokemon", "rarity": "Two Diamond", "artist": "Some One", "supertype": "Pokemon", "types": ["Fire"],
        "hp": 120, "released": "1999-01-09",
    }  # fmt: skip
    assert isinstance(second, Card) and second.image_url is None  # the host has no picture of it
    german = listed(Tcgdex(checkout, language="de", size="low", assets=server.url), tmp_path)
    assert ids(german) == ["old1-4-de"]  # the other one was not printed in German
    assert isinstance(german[0], Card) and german[0].meta["name"] == "Schlaf'katze"
    assert german[0].meta["set_name"] == "Anfänge" and "released" not in german[0].meta
    del server.answers["/datas.json"]  # a host that does not say what it has is asked for all
    german = listed(Tcgdex(checkout, ["old1"], language="de", size="low", assets=server.url), tmp_path)
    assert isinstance(german[0], Card) and german[0].image_url == f"{server.url}/de/old/old1/4/low.webp"
    assert listed(Tcgdex(checkout, ["other"], assets=server.url), tmp_path) == []


def test_faulty_files_of_tcgdex_are_named(server: CardServer, tmp_path: Path) -> None:
    checkout = tcgdex_checkout(tmp_path)
    cards = checkout / "data" / "Old Times" / "Beginnings: Part 1"
    (cards / "5.ts").write_text(CARD_TS.replace("set: Set,", "...common,"))
    (cards / "6.ts").write_bytes(b"\xff\xfe")
    cards.with_name("Broken.ts").write_text("export default makeSet()")
    found = listed(Tcgdex(checkout, assets=server.url), tmp_path)
    assert ids(found) == ["old1-4", "old1-TG05"]
    assert [(what.rsplit("/", 1)[1], why[:34]) for what, why in faults(found)] == [
        ("5.ts", "the card can't be read: line 6: th"),
        ("6.ts", "the card can't be read: 'utf-8' co"),
        ("Broken.ts", "the set can't be read: no object i"),
    ]
    with pytest.raises(Failure, match=r"data-asia has no SERIES/SET\.ts"):
        listed(Tcgdex(checkout, language="ja", assets=server.url), tmp_path)


def test_compiled_tcgdex_comes_first(server: CardServer, tmp_path: Path) -> None:
    checkout = tcgdex_checkout(tmp_path)
    compiled = checkout / "server" / "generated" / "en" / "cards.json"
    compiled.parent.mkdir(parents=True)
    base = {
        "category": "Pokemon",
        "illustrator": "Some One",
        "set": {"id": "old1", "name": "B", "cardCount": {"total": 2}},
    }
    cards = [
        base | {"id": "old1-4", "localId": "4", "name": "Cat", "image": "https://a.example/en/old/old1/4"},
        base | {"id": "old1-5", "localId": "5", "name": "Dog"},
        {"id": "old1-6", "name": "nowhere"},
    ]
    compiled.write_text(json.dumps(cards))
    found = listed(Tcgdex(checkout, assets=server.url), tmp_path)
    assert ids(found) == ["old1-4", "old1-5"] and len(faults(found)) == 1
    assert isinstance(found[0], Card) and found[0].image_url == "https://a.example/en/old/old1/4/high.webp"
    assert isinstance(found[1], Card) and found[1].image_url is None and not server.asked
    compiled.write_text("[{")
    with pytest.raises(Failure, match=r"is not JSON .*compile it again, or remove it"):
        listed(Tcgdex(checkout, assets=server.url), tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "no object is declared"),
        ("const a = 1", "no object is declared"),
        ("const a = { b: 1", r"line 1: ',' or '}' was expected"),
        ("const a = {\n b 1 }", "line 2: ':' was expected, not '1'"),
        ("const a = { b: f(1) }", r"',' or '}' was expected, not '\(1\) }'"),
        ("const a = { b: `x${1}` }", "a value was expected"),
        ("const a = { b: 'x' + 'y' }", "',' or '}' was expected"),
        ("const a = { [b]: 1 }", "the name of a field was expected"),
        ("const a = " + "{ b: " * 100_000, "nested too deeply"),
    ],
)
def test_what_is_more_than_data_is_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_object(source)


JSON = st.recursive(
    st.booleans() | st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_typescript_reads_all_json(value: dict[str, Any]) -> None:
    assert read_object("export default " + json.dumps(value)) == value
    assert (
        read_object("import { A } from 'a'\nexport const x: Array<A> = " + json.dumps(value, indent=1) + "\n") == value
    )


def test_the_command_with_tcgdex(server: CardServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkout = tcgdex_checkout(tmp_path / "tcgdex")
    server.says("/datas.json", json.dumps({"en": {"old": {"old1": {"4": "sha1"}}}}).encode())
    server.says("/en/old/old1/4/high.webp", picture(1, "WEBP"))
    out = tmp_path / "out"
    main(["tcgdex", str(checkout), "--out", str(out), "--assets-url", server.url])
    told = capsys.readouterr().out
    assert "1 cards, 1 of them downloaded now" in told and "1 cards have no picture at the source" in told
    assert (out / "images" / "old1-4.webp").read_bytes() == picture(1, "WEBP")
