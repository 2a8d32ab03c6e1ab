"""Small pictures in a catalog: written, appended, copied and removed with their rows; damaged ones are refused."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from damaged_catalog import SEGMENT, alter, refuses, reseal_file
from numpy.typing import NDArray
from small_catalog import FakeEncoder

from cardrec.catalog import Catalog
from cardrec.errors import CatalogFormatError, InputError
from cardrec.image import load
from cardrec.pictures import MAX_HEIGHT_PX, shrunk

NAME = "pictures.sqlite"
FILE = f"{SEGMENT}/{NAME}"

Item = tuple[str, NDArray[np.uint8], dict[str, object]]


def drawn(number: int, size_wh: tuple[int, int] = (140, 200)) -> NDArray[np.uint8]:
    """Four plain fields, so that WebP changes little; blue, green and red differ."""
    rng = np.random.default_rng(number)
    fields = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return np.kron(fields, np.ones((size_wh[1] // 2, size_wh[0] // 2, 1), np.uint8))


def items(*numbers: int) -> list[Item]:
    return [(f"card-{number}", drawn(number), {}) for number in numbers]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "catalog"
    Catalog.build(path, items(*range(30)), encoder=FakeEncoder(), near=None, pictures=True)
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "catalog"))


def shows(catalog: Catalog, row: int, number: int) -> bool:
    """Whether the row's picture is the one drawn for this number, within what WebP changes."""
    picture = catalog.picture(row)
    if picture is None:
        return False
    middles = picture[50::100, 35::70].astype(int)
    return bool(np.abs(middles - drawn(number)[50::100, 35::70, ::-1]).max() <= 12)


def test_pictures_are_kept_in_rgb(path: Path) -> None:
    with Catalog.open(path) as catalog:
        assert catalog.info()["pictures"]
        assert all(shows(catalog, row, row) for row in range(30))
        assert catalog.verify().files == 7
        with pytest.raises(InputError):
            catalog.picture(30)


def test_a_catalog_without_pictures(tmp_path: Path) -> None:
    Catalog.build(tmp_path / "plain", items(1, 2), encoder=FakeEncoder(), near=None)
    with Catalog.open(tmp_path / "plain") as catalog:
        assert not catalog.info()["pictures"]
        assert catalog.picture(0) is None
        assert not (tmp_path / "plain" / FILE).exists()


@pytest.mark.parametrize(("asked", "kept"), [(None, True), (True, True), (False, False)])
def test_append_goes_on_as_the_catalog_began(path: Path, asked: bool | None, kept: bool) -> None:
    with Catalog.open(path) as catalog:
        catalog.append(items(40, 41), encoder=FakeEncoder(), near=None, pictures=asked)
        assert shows(catalog, 3, 3)
        assert shows(catalog, 31, 41) == kept
        catalog.remove(["card-0", "card-40"])
        catalog.compact()
        assert shows(catalog, 0, 1)
        assert shows(catalog, 29, 41) == kept
        assert (catalog.picture(29) is not None) == kept
        catalog.verify()


def test_append_to_a_catalog_without_pictures(tmp_path: Path) -> None:
    Catalog.build(tmp_path / "plain", items(1), encoder=FakeEncoder(), near=None)
    with Catalog.open(tmp_path / "plain") as catalog:
        catalog.append(items(2), encoder=FakeEncoder(), near=None)
        assert catalog.picture(1) is None
        catalog.append(items(3), encoder=FakeEncoder(), near=None, pictures=True)
        assert shows(catalog, 2, 3)


def test_the_encoder_says_what_arrays_hold(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    encoder.color = "rgb"  # type: ignore[attr-defined]
    swapped = [(name, picture[:, :, ::-1].copy(), meta) for name, picture, meta in items(1)]
    Catalog.build(tmp_path / "rgb", swapped, encoder=encoder, near=None, pictures=True)
    with Catalog.open(tmp_path / "rgb") as catalog:
        assert shows(catalog, 0, 1)


def test_large_pictures_are_shrunk_and_turned_upright(tmp_path: Path) -> None:
    landscape = drawn(1, (880, 630))
    Catalog.build(tmp_path / "large", [("a", landscape, {})], encoder=FakeEncoder(), near=None, pictures=True)
    with Catalog.open(tmp_path / "large") as catalog:
        picture = catalog.picture(0)
    assert picture is not None
    assert picture.shape == (MAX_HEIGHT_PX, 229, 3)
    top_left = landscape[-10, 10, ::-1].astype(int)  # a quarter clockwise brings the lower left corner up
    assert np.abs(picture[10, 10] - top_left).max() <= 12


@pytest.mark.parametrize("size_wh", [(2, 2), (2, 4000), (4000, 2), (63, 88)])
def test_awkward_sizes(size_wh: tuple[int, int]) -> None:
    data = shrunk(load(drawn(1, size_wh)))
    assert data[:4] == b"RIFF"


# damage


def test_truncated_oversized_missing_empty(path: Path) -> None:
    file = path / FILE
    data = file.read_bytes()
    for damaged in (data[:-1], data[: len(data) // 2], b"", data + b"\0"):
        file.write_bytes(damaged)
        refuses(path, NAME, "truncated, extended or replaced")
    file.unlink()
    refuses(path, NAME, "is missing")


def test_damage_at_either_end_is_found_at_open(path: Path) -> None:
    file = path / FILE
    data = file.read_bytes()
    for offset in (0, 60, len(data) - 1):
        file.write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
        refuses(path, NAME, "another checksum")


def test_damage_in_the_middle_is_found_by_verify(path: Path) -> None:
    file = path / FILE
    data = file.read_bytes()
    middle = len(data) // 2
    file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    with Catalog.open(path) as catalog:
        catalog.remove(["card-5"])
        for use in (catalog.verify, catalog.compact):  # which must not give the damage a new checksum
            with pytest.raises(CatalogFormatError, match=f"{NAME}: has another checksum"):
                use()


@pytest.mark.parametrize(
    ("statements", "match"),
    [
        (["DELETE FROM pictures"], "rows None"),
        (["INSERT INTO pictures VALUES (30, x'00')"], "0 to 30"),
        (["INSERT INTO pictures VALUES (-1, x'00')"], "-1 to 29"),
        (["DROP TABLE pictures"], "table of a catalog's pictures"),
        (["CREATE TABLE more(x)"], "table of a catalog's pictures"),
        (["CREATE TRIGGER t AFTER INSERT ON pictures BEGIN SELECT 1; END"], "table of a catalog's pictures"),
    ],
)
def test_databases_that_are_no_pictures(path: Path, statements: list[str], match: str) -> None:
    alter(path, NAME, *statements)
    refuses(path, NAME, match)


@pytest.mark.parametrize(
    "change",
    [
        "webp = 'text'",
        "webp = x''",
        "webp = x'ff'",
        "webp = zeroblob(2000000)",
        "webp = substr(webp, 1, 40)",
        "webp = CAST(substr(webp, 1, 26) || x'ff3fff3f' || substr(webp, 31) AS BLOB)",  # 16383 pixels each way
    ],
)
def test_bad_pictures_are_found_by_lookup_and_verify(path: Path, change: str) -> None:
    alter(path, NAME, f"UPDATE pictures SET {change} WHERE row = 7")
    with Catalog.open(path) as catalog:
        assert shows(catalog, 6, 6)
        for use in (lambda: catalog.picture(7), catalog.verify):
            with pytest.raises(CatalogFormatError, match=r"pictures\.sqlite"):
                use()


def test_a_row_may_lack_its_picture(path: Path) -> None:
    alter(path, NAME, "DELETE FROM pictures WHERE row = 7")
    with Catalog.open(path) as catalog:
        assert catalog.picture(7) is None
        catalog.verify()


def test_symbolic_links_are_refused(path: Path, tmp_path: Path) -> None:
    outside = (path / FILE).rename(tmp_path / "outside")
    (path / FILE).symlink_to(outside)
    with pytest.raises(CatalogFormatError, match="symbolic link"):
        Catalog.open(path)


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
            for row in range(30):
                catalog.picture(row)
            catalog.verify()
