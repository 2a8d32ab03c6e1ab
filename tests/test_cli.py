"""The command line from end to end: what goes to stdout, what to stderr, and the exit codes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import pytest
from command import Run, is_one_line_error, lines
from PIL import Image

import cardrec
from cardrec import cli, cli_identify
from cardrec.cli_options import ENVIRONMENT, NOTHING_IDENTIFIED, USAGE
from cardrec.errors import CardrecError, CatalogError, DeviceUnavailable, InputError

if TYPE_CHECKING:
    from cardrec.samples import Sample


def test_identify_prints_a_table(run: Run, sample: Sample) -> None:
    result = run("identify", sample.path)
    assert result.exit_code == 0
    assert str(sample.card_ids[0]) in result.stdout
    assert "match" in result.stdout
    assert result.stderr == ""


def test_identify_prints_json_lines(run: Run, sample: Sample, blank_photo: Path) -> None:
    result = run("identify", blank_photo, sample.path, "--json", "--top-k", 3)
    assert result.exit_code == 0
    blank, named = lines(result)
    assert (blank["file"], blank["cards"], blank["index"]) == (str(blank_photo), [], 0)
    assert named["file"] == str(sample.path)
    assert named["index"] == 1
    (card,) = named["cards"]
    assert (card["status"], card["matches"][0]["card_id"]) == ("match", sample.card_ids[0])
    assert len(card["matches"]) == 3
    assert np.shape(card["corners_px"]) == (4, 2)
    assert named["timings"]["total_ms"] > 0


def test_nothing_identified(run: Run, blank_photo: Path) -> None:
    result = run("identify", blank_photo)
    assert result.exit_code == NOTHING_IDENTIFIED
    assert "no card" in result.stdout


def test_unreadable_pictures_are_reported_and_the_others_go_on(run: Run, sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes(sample.path.read_bytes()[:4000])
    bad = [tmp_path / "absent.jpg", tmp_path / "empty.jpg", tmp_path / "text.png", tmp_path / "cut.jpg"]
    result = run("identify", *bad, sample.path, "--json")
    assert result.exit_code == 0
    assert len(lines(result)) == 1
    reports = result.stderr.splitlines()
    assert len(reports) == len(bad)
    for path, report in zip(bad, reports, strict=True):
        assert report.startswith("cardrec: error: ")
        assert path.name in report


def test_unreadable_beside_nothing_identified(run: Run, blank_photo: Path, tmp_path: Path) -> None:
    assert run("identify", tmp_path / "absent.jpg", blank_photo).exit_code == NOTHING_IDENTIFIED


def test_no_picture_at_all(run: Run, tmp_path: Path) -> None:
    is_one_line_error(run("identify", tmp_path / "absent.jpg"), USAGE, "absent.jpg: No such file", "none of 1 path")
    (tmp_path / "folder").mkdir()
    is_one_line_error(run("identify", tmp_path / "folder"), USAGE, "holds no pictures")


def test_a_folder_stands_for_its_pictures(run: Run, sample: Sample, tmp_path: Path) -> None:
    shutil.copy(sample.path, tmp_path / "b.jpg")
    shutil.copy(sample.path, tmp_path / "a.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    result = run("identify", tmp_path, tmp_path / "a.jpg", "--json")
    assert [Path(line["file"]).name for line in lines(result)] == ["a.jpg", "b.jpg"], "each once"


def test_where_limits_the_cards(run: Run, photo_of_c3: Path, tiny_catalog: Path) -> None:
    result = run("identify", photo_of_c3, "--json", "--catalog", tiny_catalog, "--where", "set=S0", "--top-k", 9)
    (card,) = lines(result)[0]["cards"]
    assert {match["card_id"] for match in card["matches"]} == {"c0", "c2", "c4", "c6"}
    any_of = run(
        "identify", photo_of_c3, "--json", "--catalog", tiny_catalog, "--where", "name=Card 1", "--where", "name=Card 3"
    )
    (card,) = lines(any_of)[0]["cards"]
    assert {match["card_id"] for match in card["matches"]} == {"c1", "c3"}
    none = run("identify", photo_of_c3, "--json", "--catalog", tiny_catalog, "--where", "set=absent")
    assert none.exit_code == NOTHING_IDENTIFIED
    assert lines(none)[0]["cards"][0]["status"] == "unknown"


@pytest.mark.parametrize("pair", ["set", "=A1", ""])
def test_where_that_is_no_pair(run: Run, sample: Sample, pair: str) -> None:
    is_one_line_error(run("identify", sample.path, "--where", pair), USAGE, "key=value")


@pytest.mark.parametrize(
    "arguments",
    [
        ("identify",),
        ("identify", "a.jpg", "--max-cards", "0"),
        ("identify", "a.jpg", "--top-k", "x"),
        ("identify", "a.jpg", "--threads", "-1"),
        ("identify", "a.jpg", "--backend", "abacus"),
        ("identify", "a.jpg", "--nonsense"),
        ("index", "build", "folder"),
        ("index", "remove", "catalog"),
        ("nonsense",),
        ("--nonsense",),
    ],
)
def test_wrong_use(run: Run, arguments: tuple[str, ...]) -> None:
    is_one_line_error(run(*arguments), USAGE, "--help")


def test_hailo_without_a_device(run: Run, sample: Sample) -> None:
    is_one_line_error(run("identify", sample.path, "--backend", "hailo"), ENVIRONMENT, "hailo")


def test_a_damaged_model(run: Run, sample: Sample, tmp_path: Path) -> None:
    is_one_line_error(run("identify", sample.path, "--model", tmp_path), ENVIRONMENT, "model.json")


def test_a_catalog_that_is_missing_or_damaged(run: Run, sample: Sample, own_catalog: Path) -> None:
    is_one_line_error(run("identify", sample.path, "--catalog", own_catalog / "absent"), USAGE, "absent")
    (own_catalog / "catalog.json").write_text("{")
    is_one_line_error(run("identify", sample.path, "--catalog", own_catalog), ENVIRONMENT, "catalog.json")
    is_one_line_error(run("index", "verify", own_catalog), ENVIRONMENT, "catalog.json")


def test_annotate_one_picture_to_a_file(run: Run, sample: Sample, tmp_path: Path) -> None:
    out = tmp_path / "new" / "named.png"
    result = run("identify", sample.path, "--annotate", out)
    assert result.exit_code == 0
    assert f"wrote: {out}" in result.stderr
    with Image.open(out) as drawn, Image.open(sample.path) as original:
        assert drawn.size == original.size
        assert drawn.format == "PNG"


def test_annotate_several_pictures_to_a_folder(run: Run, sample: Sample, blank_photo: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    twin = Path(shutil.copy(blank_photo, tmp_path / "other" / "BLANK.png"))
    out = tmp_path / "out.v2"
    result = run("identify", sample.path, blank_photo, twin, "--annotate", out)
    assert result.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == sorted([sample.path.name, "blank.jpg", "BLANK-2.jpg"])
    assert result.stderr.count("cardrec: wrote: ") == 3


def test_annotate_overwrites_no_original(run: Run, sample: Sample, tmp_path: Path) -> None:
    original = Path(shutil.copy(sample.path, tmp_path / "photo.jpg"))
    (tmp_path / "link.jpg").symlink_to(original)
    before = original.read_bytes()
    for out in (original, tmp_path, tmp_path / "link.jpg"):
        is_one_line_error(run("identify", original, "--annotate", out), USAGE, "overwrite")
    assert original.read_bytes() == before


def test_annotate_with_one_name_for_several_pictures(
    run: Run, sample: Sample, blank_photo: Path, tmp_path: Path
) -> None:
    result = run("identify", sample.path, blank_photo, "--annotate", tmp_path / "out.jpg")
    is_one_line_error(result, USAGE, "2 pictures")


def test_annotate_where_nothing_can_be_written(run: Run, sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    is_one_line_error(run("identify", sample.path, "--annotate", tmp_path / "file" / "out"), USAGE, "file")


def test_names_with_control_characters_are_harmless(run: Run, tmp_path: Path, blank_photo: Path) -> None:
    odd = tmp_path / "a\x1b[31m[bold]\n.png"
    shutil.copy(blank_photo, odd)
    result = run("identify", odd)
    assert "\x1b" not in result.stdout
    assert "[bold]" in result.stdout
    (line,) = lines(run("identify", odd, "--json"))
    assert line["file"] == str(odd)


def test_info(run: Run, tiny_catalog: Path) -> None:
    (facts,) = lines(run("info", "--catalog", tiny_catalog, "--json"))
    assert facts["version"] == cardrec.__version__
    assert facts["catalog"]["cards"] == 8
    assert "model.fingerprint" in run("info").stdout


@pytest.mark.parametrize("group", [(), ("index",)])
def test_without_a_subcommand_the_help_teaches(run: Run, group: tuple[str, ...]) -> None:
    result = run(*group)
    assert result.exit_code == USAGE
    assert result.stdout == ""
    assert "Examples:\n" in result.stderr


def test_version(run: Run) -> None:
    assert cardrec.__version__ in run("--version").stdout


def commands(group: click.Group = cli.app, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [prefix]
    for name, command in group.commands.items():
        found += commands(command, (*prefix, name)) if isinstance(command, click.Group) else [(*prefix, name)]
    return found


@pytest.mark.parametrize("command", commands())
def test_help_teaches(run: Run, command: tuple[str, ...]) -> None:
    text = run(*command, "--help").stdout
    assert "Usage: " in text
    if command[-1:] not in (("compact",), ("verify",), ("info",)) or command == ("info",):
        assert "Example" in text
        assert f"cardrec {' '.join(command)}".strip() in text.split("Example", 1)[1]
    assert "\b" not in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2),
        (CatalogError("x"), 2),
        (FileNotFoundError(2, "No such file"), 2),
        (DeviceUnavailable("x"), 3),
        (PermissionError(13, "Permission denied"), 3),
        (OSError(28, "No space left on device"), 3),
        (ImportError("x"), 3),
        (RuntimeError("x"), 3),
    ],
)
def test_exit_codes(error: Exception, code: int) -> None:
    assert cli.exit_code(error) == code


def test_a_fault_of_ours_is_one_line_unless_debug(
    run: Run, monkeypatch: pytest.MonkeyPatch, sample_photo: Path
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("inner\nworkings")

    monkeypatch.setattr(cli_identify, "_expand", break_down)
    is_one_line_error(run("identify", sample_photo), ENVIRONMENT, "RuntimeError: inner workings", "--debug")
    assert isinstance(run("--debug", "identify", sample_photo).exception, RuntimeError)


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch, sample_photo: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_identify, "_expand", interrupt)
    result = run("identify", sample_photo)
    assert result.exit_code == cli.INTERRUPTED
    assert "interrupted" in result.stderr


def test_every_error_has_an_exit_code() -> None:
    def leaves(kind: type[Exception]) -> list[type[Exception]]:
        return [kind] + [leaf for child in kind.__subclasses__() for leaf in leaves(child)]

    assert {cli.exit_code(kind("x")) for kind in leaves(CardrecError)} == {USAGE, ENVIRONMENT}
