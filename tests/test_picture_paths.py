"""Pictures kept by path: found again wherever catalog and pictures are moved together, never mistaken for another."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from damaged_catalog import SEGMENT, alter, content_of, refuses, reseal, reseal_file
from numpy.typing import NDArray
from PIL import Image
from small_catalog import FakeEncoder, files_of

from cardrec.catalog import Catalog
from cardrec.errors import CatalogFormatError, InputError
from cardrec.picture_paths import MAX_FILE_BYTES, place_of
from cardrec.pictures import MAX_HEIGHT_PX

NAME = "paths.sqlite"
FILE = f"{SEGMENT}/{NAME}"
CARDS = 12

Item = tuple[str, Path, dict[str, object]]


def drawn(number: int, field_wh: tuple[int, int] = (20, 28)) -> NDArray[np.uint8]:
    """Four plain fields: their middles stay as they are in a resized copy."""
    fields = np.random.default_rng(number).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return np.kron(fields, np.ones((field_wh[1], field_wh[0], 1), np.uint8))


def picture_at(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), drawn(number))
    return path


def items(folder: Path, *numbers: int) -> list[Item]:
    return [(f"card-{number}", picture_at(folder / f"{number}.png", number), {}) for number in numbers]


def build(path: Path, cards: list[Item]) -> Path:
    Catalog.build(path, cards, encoder=FakeEncoder(), near=None, calibration=None, pictures="paths")
    return path


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    return build(root / "catalog", items(root / "cards", *range(CARDS)))


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    """A catalog with its pictures beside it, in cards/."""
    return Path(shutil.copytree(template.parent, tmp_path / "root")) / "catalog"


def shows(catalog: Catalog, row: int, number: int) -> bool:
    picture = catalog.picture(row)
    return picture is not None and bool((picture[14::28, 10::20] == drawn(number)[14::28, 10::20, ::-1]).all())


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_pictures_are_read_where_they_lie(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Catalog.open(path) as catalog:
        assert all(shows(catalog, row, row) for row in range(CARDS))
        assert catalog.info()["pictures"] == ["paths"]
        found = catalog.verify()
        assert (found.files, found.lost_pictures) == (7, 0)
        with pytest.raises(InputError):
            catalog.picture(CARDS)
    assert not (path / SEGMENT / "pictures.sqlite").exists()
    assert not warnings_in(caplog)


def test_a_large_picture_is_shrunk_and_turned_upright(tmp_path: Path) -> None:
    wide = drawn(1, (440, 315))
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    with Catalog.open(build(tmp_path / "catalog", [("a", tmp_path / "wide.png", {})])) as catalog:
        picture = catalog.picture(0)
    assert picture is not None
    assert picture.shape == (MAX_HEIGHT_PX, 229, 3)
    assert (picture[10, 10] == wide[-10, 10, ::-1]).all()


@pytest.mark.parametrize("image", [drawn(1), Image.fromarray(drawn(1))], ids=["array", "PIL"])
def test_what_lies_in_no_file_is_refused(tmp_path: Path, path: Path, image: object) -> None:
    bad: Any = ("b", image, {})
    with pytest.raises(InputError, match=r"card 'b'.*lies in no file.*'webp'"):
        build(tmp_path / "new", [*items(tmp_path / "cards", 1), bad])
    assert not (tmp_path / "new").exists()
    before = files_of(path)
    with Catalog.open(path) as catalog, pytest.raises(InputError, match="lies in no file"):
        catalog.append([bad], encoder=FakeEncoder(), near=None)
    assert files_of(path) == before


@pytest.mark.parametrize("wrong", ["png", "", 1, None])
def test_other_ways_to_keep_pictures_are_refused(tmp_path: Path, path: Path, wrong: object) -> None:
    with pytest.raises(InputError, match="'webp' or 'paths' was expected"):
        Catalog.build(tmp_path / "new", [], encoder=FakeEncoder(), pictures=wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()
    if wrong is not None:  # which append takes for "as before"
        with Catalog.open(path) as catalog, pytest.raises(InputError, match="'webp' or 'paths' was expected"):
            catalog.append([], encoder=FakeEncoder(), pictures=wrong)  # type: ignore[arg-type]


def test_a_file_too_large_to_be_read_as_a_whole(tmp_path: Path) -> None:
    large = picture_at(tmp_path / "large.png", 1)
    os.truncate(large, MAX_FILE_BYTES + 1)
    with pytest.raises(InputError, match=r"large\.png has .* bytes, at most .*'webp'"):
        place_of(large, tmp_path / "catalog")


# moving


def test_catalog_and_pictures_are_moved_together(path: Path, tmp_path: Path) -> None:
    path.parent.rename(tmp_path / "moved")
    (tmp_path / "moved" / "catalog").rename(tmp_path / "moved" / "renamed")
    with Catalog.open(tmp_path / "moved" / "renamed") as catalog:
        assert all(shows(catalog, row, row) for row in range(CARDS))


def test_a_catalog_that_leaves_its_pictures_has_none(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.rename(tmp_path / "alone")
    with Catalog.open(tmp_path / "alone") as catalog:
        assert [catalog.picture(row) for row in range(CARDS)] == [None] * CARDS
        assert catalog.verify().lost_pictures == CARDS
    (told,) = warnings_in(caplog)
    assert "0.png" in told and "no second look" in told


def test_pictures_elsewhere_are_kept_by_absolute_paths(tmp_path: Path) -> None:
    path = build(tmp_path / "a" / "b" / "catalog", items(tmp_path / "cards", 1))
    path.rename(tmp_path / "moved")
    with Catalog.open(tmp_path / "moved") as catalog:
        assert shows(catalog, 0, 1)


def test_pictures_inside_the_catalog_go_with_it(tmp_path: Path) -> None:
    path = build(tmp_path / "catalog", items(tmp_path / "elsewhere", 1))
    with Catalog.open(path) as catalog:
        catalog.append(items(path / "cards", 2), encoder=FakeEncoder(), near=None)
    path.rename(tmp_path / "renamed")
    with Catalog.open(tmp_path / "renamed") as catalog:
        assert shows(catalog, 1, 2)


def test_the_working_directory_counts_while_a_catalog_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items(tmp_path / "cards", 1)
    monkeypatch.chdir(tmp_path / "cards")
    build(Path("../catalog"), [("a", Path("1.png"), {})])
    with Catalog.open("../catalog") as catalog:
        monkeypatch.chdir(tmp_path)
        assert shows(catalog, 0, 1)


def test_links(tmp_path: Path) -> None:
    """A folder's link is followed when the catalog is built, a picture's own link whenever it is read."""
    picture_at(tmp_path / "real" / "deep" / "1.png", 1)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    (tmp_path / "other.png").symlink_to("real/deep/1.png")
    cards: list[Item] = [("a", tmp_path / "link" / ".." / "deep" / "1.png", {}), ("b", tmp_path / "other.png", {})]
    path = build(tmp_path / "catalog", cards)
    with Catalog.open(path) as catalog:
        assert shows(catalog, 0, 1) and shows(catalog, 1, 1)
        (tmp_path / "other.png").unlink()
        (tmp_path / "link").unlink()
        assert shows(catalog, 0, 1) and not shows(catalog, 1, 1)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff'\n.png"))
    picture_at(tmp_path / "1.png", 1).rename(strange)
    with Catalog.open(build(tmp_path / "catalog", [("a", strange, {})])) as catalog:
        assert shows(catalog, 0, 1)


# pictures that are gone or were changed


def _other_of_the_same_size(picture: Path) -> None:
    data = picture.read_bytes()
    picture.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def _pipe(picture: Path) -> None:
    picture.unlink()
    os.mkfifo(picture)


def _folder(picture: Path) -> None:
    picture.unlink()
    picture.mkdir()


def _device(picture: Path) -> None:
    picture.unlink()
    picture.symlink_to("/dev/zero")


def _loop(picture: Path) -> None:
    picture.unlink()
    picture.symlink_to(picture.name)


@pytest.mark.parametrize(
    "change",
    [
        Path.unlink,
        _other_of_the_same_size,
        lambda picture: picture_at(picture, 99),
        lambda picture: picture.write_bytes(b""),
        lambda picture: picture.write_bytes(picture.read_bytes() + b"\0"),
        _pipe,
        _folder,
        _device,
        _loop,
        lambda picture: shutil.rmtree(picture.parent),
    ],
)
def test_a_picture_that_is_not_what_was_embedded(
    path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[Path], object]
) -> None:
    with Catalog.open(path) as catalog:
        change(path.parent / "cards" / "3.png")
        for _ in range(3):
            assert catalog.picture(3) is None
        assert len(warnings_in(caplog)) == 1
        assert catalog.verify().lost_pictures in (1, CARDS)
        catalog.remove(["card-3"])
        assert catalog.verify().lost_pictures in (0, CARDS - 1)


def test_a_picture_that_comes_back_is_taken_again(path: Path) -> None:
    with Catalog.open(path) as catalog:
        picture = path.parent / "cards" / "3.png"
        data = picture.read_bytes()
        picture.unlink()
        assert catalog.picture(3) is None
        picture.write_bytes(data)
        assert shows(catalog, 3, 3)


# append, compact, formats


@pytest.mark.parametrize(
    ("asked", "kinds"), [(None, ["paths"]), ("paths", ["paths"]), (True, ["webp", "paths"]), (False, ["paths"])]
)
def test_append_remove_compact(path: Path, asked: bool | None, kinds: list[str]) -> None:
    with Catalog.open(path) as catalog:
        catalog.append(items(path.parent / "more", 40, 41), encoder=FakeEncoder(), near=None, pictures=asked)
        assert catalog.info()["pictures"] == kinds
        assert (catalog.picture(CARDS + 1) is not None) == (asked is not False)
        assert shows(catalog, CARDS + 1, 41) == (kinds == ["paths"] and asked is not False)
        catalog.remove(["card-0", "card-40"])
        catalog.compact()
        assert all(shows(catalog, row, row + 1) for row in range(CARDS - 1))
        assert (catalog.picture(CARDS - 1) is not None) == (asked is not False)
        assert sorted(catalog.info()["pictures"]) == sorted(kinds)
        catalog.verify()


def test_append_goes_on_as_the_last_one_did(path: Path) -> None:
    with Catalog.open(path) as catalog:
        for number, asked in enumerate(("webp", None, "paths", None, False, None), start=50):
            catalog.append(items(path.parent / "more", number), encoder=FakeEncoder(), near=None, pictures=asked)  # type: ignore[arg-type]
        kinds = [sorted(segment.picture_kinds) for segment in catalog.snapshot().segments]
    assert kinds == [["paths"], ["webp"], ["webp"], ["paths"], ["paths"], [], ["paths"]]


@pytest.mark.parametrize("kind", ["webp", "paths"])
def test_what_is_compacted_away_leaves_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "catalog"
    cards = items(tmp_path / "cards", *range(3))
    Catalog.build(path, cards, encoder=FakeEncoder(), near=None, calibration=None, pictures=kind)  # type: ignore[arg-type]
    with Catalog.open(path) as catalog:
        catalog.remove(["card-0"])
        catalog.compact()
        named = {segment["name"] for segment in content_of(path)["segments"]}
    assert {each.name for each in (path / "segments").iterdir()} == named


def test_paths_in_an_older_format_are_refused(path: Path) -> None:
    """So that versions which read format 2 say that cardrec must be upgraded."""
    assert content_of(path)["format"] == 3
    reseal(path, lambda content: content.update(format=2))
    refuses(path, "catalog.json", "files is")


# damage


def test_truncated_missing_and_at_either_end(path: Path) -> None:
    file = path / FILE
    data = file.read_bytes()
    for damaged in (data[:-1], b"", data + b"\0"):
        file.write_bytes(damaged)
        refuses(path, NAME, "truncated, extended or replaced")
    for offset in (0, 60, len(data) - 1):
        file.write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
        refuses(path, NAME, "another checksum")
    file.unlink()
    refuses(path, NAME, "is missing")
    file.symlink_to(path / SEGMENT / "cards.sqlite")
    refuses(path, NAME, "symbolic link")


@pytest.mark.parametrize(
    ("statements", "match"),
    [
        (["DELETE FROM paths"], "rows None"),
        (["INSERT INTO paths VALUES (12, x'00', 1, x'00')"], "0 to 12"),
        (["INSERT INTO paths VALUES (-1, x'00', 1, x'00')"], "-1 to 11"),
        (["DROP TABLE paths"], "table of a catalog's paths"),
        (["CREATE TABLE more(x)"], "table of a catalog's paths"),
        (["CREATE TRIGGER t AFTER INSERT ON paths BEGIN SELECT 1; END"], "table of a catalog's paths"),
    ],
)
def test_databases_that_are_no_paths(path: Path, statements: list[str], match: str) -> None:
    alter(path, NAME, *statements)
    refuses(path, NAME, match)


@pytest.mark.parametrize(
    "change",
    [
        "path = 'text'",
        "path = x''",
        "path = CAST(path || x'00' AS BLOB)",
        "path = zeroblob(5000)",
        "bytes = 'many'",
        "bytes = 0",
        "bytes = -1",
        "bytes = 1.5",
        "bytes = 9000000000",
        "digest = 'text'",
        "digest = x''",
        "digest = zeroblob(17)",
    ],
)
def test_rows_that_name_no_place_are_found_by_lookup_and_verify(path: Path, change: str) -> None:
    alter(path, NAME, f"UPDATE paths SET {change} WHERE row = 7")
    with Catalog.open(path) as catalog:
        assert shows(catalog, 6, 6)
        catalog.append(items(path.parent / "more", 40), encoder=FakeEncoder(), near=None)
        for use in (lambda: catalog.picture(7), catalog.verify, catalog.compact):
            with pytest.raises(CatalogFormatError, match=r"paths\.sqlite"):
                use()


def test_a_stranger_s_catalog_opens_only_files_it_knows(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a row names: a device or a pipe is not opened, a file of other contents not decoded, text no picture."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text.png").write_text("no picture at all")
    known = place_of(tmp_path / "text.png", path)
    named = [b"/dev/zero", os.fsencode(tmp_path / "pipe"), b"/etc/passwd", b"/proc/self/mem", b"../..", b"a" * 4000]
    for row, name in enumerate(named):
        alter(path, NAME, f"UPDATE paths SET path = x'{name.hex()}' WHERE row = {row}")
    text = os.fsencode(tmp_path / "text.png").hex()
    alter(
        path, NAME, f"UPDATE paths SET path=x'{text}', bytes={known.size}, digest=x'{known.digest.hex()}' WHERE row=6"
    )
    touched: list[str] = []
    opened = os.open

    def watched(name: Path, *rest: int) -> int:
        touched.append(str(name))
        return opened(name, *rest)

    monkeypatch.setattr(os, "open", watched)
    with Catalog.open(path) as catalog:
        touched.clear()
        assert [catalog.picture(row) for row in range(7)] == [None] * 7
        assert touched == [str(tmp_path / "text.png")]  # the others have another size
        assert shows(catalog, 7, 7)
        assert catalog.verify().lost_pictures == 6  # all but the text, which is what the catalog says
    assert len(warnings_in(caplog)) == 1


def test_a_row_may_lack_its_place(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alter(path, NAME, "DELETE FROM paths WHERE row = 7")
    with Catalog.open(path) as catalog:
        assert catalog.picture(7) is None
        assert catalog.verify().lost_pictures == 0
    assert not warnings_in(caplog)


def test_random_contents_under_fitting_checksums_crash_nothing(path: Path) -> None:
    rng = np.random.default_rng(5)
    file = path / FILE
    data = file.read_bytes()
    for turn in range(60):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 1 if turn % 2 else 200):
            damaged[int(position)] = int(rng.choice([0, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
        file.write_bytes(damaged)
        reseal_file(path, NAME)
        with contextlib.suppress(CatalogFormatError), Catalog.open(path) as catalog:
            for row in range(CARDS):
                assert catalog.picture(row) is None or any(shows(catalog, row, number) for number in range(CARDS))
            catalog.verify()
