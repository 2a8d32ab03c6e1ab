"""The evaluation of printings: what it photographs, what it counts, and a small run from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from printings import make_data, printing

from cardrec import Card, Catalog, Match, Result, Timings
from cardrec.types import Status
from training.data import CardImage
from training.evaluate_printing import HEADER, Row, Tally, artwork, line, main, photograph, reprints, tally
from training.render import deck
from training.reprints import reprinted


def card(name: str, language: str = "en") -> CardImage:
    pixels = np.ascontiguousarray(printing(int(name.split("-")[1]), language)[:, :, ::-1])
    return CardImage(f"pocket-{language}/{name}", f"pocket-{language}/{name}", pixels)


def result(first: str | None, status: Status = "match", total_ms: float = 1.0) -> Result:
    """An answer with one card, or with none."""
    match = Match(first or "", 0.9, 0, {})
    matches = (match,) if status == "match" else ()
    seen = Card(np.zeros((4, 2), np.float32), 1.0, (match,), status, 0.9, matches, np.zeros(1, np.float32))
    return Result(0, (1280, 720), () if first is None else (seen,), Timings(0, 0, 0, 0, total_ms))


def test_both_languages_share_an_artwork() -> None:
    assert artwork(card("A2-1")) == artwork(card("A2-1", "de")) != artwork(card("A2-2"))


def test_a_photo_is_the_same_every_time_and_fits_the_card() -> None:
    for height_px, size_wh in ((300, (1280, 720)), (600, (1920, 1080))):
        once, again = (photograph(card("A2-1"), "easy", height_px) for _ in range(2))
        assert once.shape == (size_wh[1], size_wh[0], 3)
        assert (once == again).all()
    assert (photograph(card("A2-1"), "easy", 300) != photograph(card("A2-2"), "easy", 300)).any()


def test_reprints_differ_in_symbol_and_number_only() -> None:
    cards, groups = reprints(5)
    known, strangers = groups["reprints"]
    assert (len(cards), len(known), len(strangers)) == (10, 5, 1)
    assert [card.card_id.split("/")[0] for card in known] == ["again", "first", "again", "first", "again"]
    assert {card.card_id for card in known} < {card.card_id for card in cards}
    assert artwork(strangers[0]) not in {artwork(card) for card in cards}
    for first, again in zip(cards[::2], cards[1::2], strict=True):
        assert artwork(first) == artwork(again) and first.card_id != again.card_id
        differs = (first.pixels != again.pixels).any(axis=2)
        assert 0.0005 < differs.mean() < 0.01
        assert differs[-50:, :260].any() and not differs[:8].any()  # the number is in the lower left corner


def test_reprints_are_of_another_set() -> None:
    originals = [spec for spec in deck(40, seed=5) if spec.language == "en"]
    for spec, other in zip(originals, reprinted(originals), strict=True):
        assert spec.set != other.set and spec.set_seed != other.set_seed
        assert 1 <= other.number <= other.set_size
        kept = replace(
            other,
            set=spec.set,
            set_name=spec.set_name,
            set_size=spec.set_size,
            set_seed=spec.set_seed,
            number=spec.number,
        )
        assert kept == spec


def test_what_is_counted() -> None:
    known = [
        (card("A2-1"), result("pocket-en/A2-1", total_ms=3.0)),
        (card("A2-2"), result("pocket-en/A2-2", "ambiguous", total_ms=5.0)),
        (card("A2-3"), result("pocket-de/A2-3", total_ms=9.0)),
        (card("A2-4"), result(None)),
    ]
    strangers = [result("pocket-en/A2-1"), result("pocket-en/A2-1", "unknown"), result(None)]
    counted = tally(known, strangers)
    assert counted.outcomes == {"right": 1, "ambiguous, right first": 1, "wrong": 1, "no outline": 1}
    assert (counted.first, counted.accepted, counted.milliseconds) == (2, 1, 4.0)


def test_a_line_of_the_table() -> None:
    without = Tally(first=8, outcomes={"right": 5, "wrong": 1}, accepted=0, milliseconds=5.04)
    looking = replace(without, first=10, outcomes={"right": 9}, accepted=2)
    written = line(Row("German", "hard", 400, 10, 4, without, looking))
    cells = [cell.strip() for cell in written.strip("|").split("|")]
    assert cells[:3] == ["German", "hard", "400"]
    assert [cell.split()[0] for cell in cells[3:7]] == ["80.0", "100.0", "50.0", "90.0"]
    assert cells[7:] == ["1", "0", "0 of 4", "2 of 4", "5.0", "5.0"]
    assert written.count("|") == HEADER.splitlines()[0].count("|")


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = make_data(tmp_path / "data"), tmp_path / "report"
    arguments = ["--data", data, "--out", out, "--count", 2, "--heights", 400, "--levels", "easy", "--reprints", 1]
    main([str(each) for each in arguments])
    rows: list[dict[str, Any]] = json.loads((out / "printing.json").read_text())
    assert [row["group"] for row in rows] == ["English", "German", "reprints"]
    assert [(row["photos"], row["strangers"]) for row in rows] == [(2, 2), (2, 2), (1, 1)]
    for row in rows[:2]:
        assert (row["height_px"], row["level"]) == (400, "easy")
        assert row["looking"]["first"] == 2
        assert row["looking"]["accepted"] == 0
        assert sum(row["without"]["outcomes"].values()) == sum(row["looking"]["outcomes"].values()) == 2
    printed = capsys.readouterr().out
    assert all(written in printed for written in (out / "printing.md").read_text().splitlines())
    with Catalog.open(out / "printings.cardrec") as catalog:
        assert f"{len(catalog)} references" in printed
        assert catalog.info()["pictures"]
        gone = [
            name for name in ("A2-0", "A2-6") for language in ("en", "de") if f"pocket-{language}/{name}" in catalog
        ]
        assert not gone
        assert all(f"pocket-{language}/{name}" in catalog for name in ("A1-0", "A2-1") for language in ("en", "de"))
    before = (out / "printings.cardrec" / "catalog.json").read_bytes()
    main([str(each) for each in [*arguments[:4], "--count", 1, *arguments[6:-2]]])
    assert (out / "printings.cardrec" / "catalog.json").read_bytes() == before
    assert [row["photos"] for row in json.loads((out / "printing.json").read_text())] == [1, 1]
