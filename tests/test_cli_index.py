"""`cardrec index` from end to end: what it makes, what it reports, what it refuses."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import cv2
from command import Run, is_one_line_error, lines
from pictures import card_picture

import cardrec
from cardrec import cli_index
from cardrec.cli_options import USAGE

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_index_build_from_a_folder_and_identify(run: Run, card_folder: Path, photo_of_c3: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "new" / "built.cardrec"
    built = run("index", "build", card_folder, catalog, "--near", 0)
    assert built.exit_code == 0, built.stderr
    assert "cards added: 8, pictures skipped: 0" in built.stdout
    (line,) = lines(run("identify", photo_of_c3, "--catalog", catalog, "--json"))
    assert line["cards"][0]["matches"][0]["card_id"] == "c3"


def test_index_build_reports_what_it_skips_and_what_looks_the_same(run: Run, card_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    rows = [
        ("card_id", "image", "name"),
        ("a", card_folder / "c0.png", "Ämber"),
        ("b", card_folder / "c0.png", "Amber again"),
        ("c", tmp_path / "empty.jpg", "Empty"),
        ("d", tmp_path / "absent.jpg", "Absent"),
    ]
    with (tmp_path / "cards.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    report = tmp_path / "skipped.csv"
    built = run("index", "build", tmp_path / "cards.csv", tmp_path / "built.cardrec", "--report", report)
    assert built.exit_code == 0, built.stderr
    assert "cards added: 2, pictures skipped: 2, pairs that look the same: 1" in built.stdout
    assert "cardrec: skipped: c: " in built.stderr
    assert "cardrec: skipped: d: " in built.stderr
    assert "a and b look the same (exact" in built.stderr
    with report.open(newline="", encoding="utf-8") as stream:
        kinds = [(row["what"], row["card_id"]) for row in csv.DictReader(stream)]
    assert kinds == [("skipped", "c"), ("skipped", "d"), ("exact", "a"), ("twins", "a")]


def test_index_build_merges_and_replaces_nothing_unasked(run: Run, card_folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "views.jsonl"
    views = [{"card_id": "one", "image": str(card_folder / f"c{view}.png")} for view in range(2)]
    manifest.write_text("\n".join(map(json.dumps, views)))
    catalog = tmp_path / "views.cardrec"
    is_one_line_error(run("index", "build", manifest, catalog), USAGE, "'one' occurs twice", "keep-all")
    assert not (catalog / "catalog.json").exists()
    assert run("index", "build", manifest, catalog, "--on-duplicate", "keep-all").exit_code == 0
    again = run("index", "build", manifest, catalog, "--on-duplicate", "keep-all")
    is_one_line_error(again, USAGE, "views.cardrec", "overwrite")
    half = run("index", "build", card_folder, catalog, "--overwrite", "--dtype", "float16", "--near", 0)
    assert half.exit_code == 0
    assert lines(run("index", "info", catalog, "--json"))[0]["dtype"] == "float16"


def test_index_append_remove_compact_verify_info(run: Run, own_catalog: Path, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    cv2.imwrite(str(folder / "c90.png"), card_picture(90))
    assert "cards added: 1" in run("index", "append", folder, own_catalog, "--near", 0).stdout
    is_one_line_error(run("index", "append", folder, own_catalog), USAGE, "in the catalog already")
    assert "2 rows removed, 7 left" in run("index", "remove", own_catalog, "c0", "c90").stdout
    is_one_line_error(run("index", "remove", own_catalog, "c0"), USAGE, "'c0' not in the catalog")
    assert lines(run("index", "info", own_catalog, "--json"))[0]["removed"] == 2
    assert run("index", "compact", own_catalog).exit_code == 0
    (facts,) = lines(run("index", "info", own_catalog, "--json"))
    assert (facts["cards"], facts["removed"], facts["segments"]) == (7, 0, 1)
    assert "7 rows, 0 removed" in run("index", "verify", own_catalog).stdout
    assert "generation" in run("index", "info", own_catalog).stdout


def test_index_faults_in_the_source(run: Run, tmp_path: Path) -> None:
    catalog = tmp_path / "c.cardrec"
    is_one_line_error(run("index", "build", tmp_path / "absent.csv", catalog), USAGE, "absent.csv: No such file")
    (tmp_path / "cards.csv").write_text("id,picture\n1,a.png\n")
    is_one_line_error(run("index", "build", tmp_path / "cards.csv", catalog), USAGE, "cards.csv, line 1", "card_id")
    (tmp_path / "cards.xls").touch()
    is_one_line_error(run("index", "build", tmp_path / "cards.xls", catalog), USAGE, "no manifest")
    assert not catalog.exists()


def test_many_duplicates_are_not_all_listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pairs = [cardrec.catalog.Duplicate("a", f"b{n}", 0.99, "near") for n in range(50)]
    made = cardrec.catalog.BuildReport(51, [], pairs)
    cli_index._tell(tmp_path / "c", made, None)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == cli_index.SHOWN_DUPLICATES + 1
    assert "30 more pairs" in told[-1]
