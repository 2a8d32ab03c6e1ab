"""Segments that are damaged, foreign or hostile: a typed error that names the file, and nothing is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_catalog import FILES, SEGMENT, alter, make_template, refuses, reseal, reseal_file, resealed
from small_catalog import DIMENSION, FakeEncoder, files_of, ids_in, item, items

from cardrec.catalog import Catalog
from cardrec.errors import CatalogError, CatalogFormatError
from cardrec.layout import HEADER_BYTES, npy_header


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template") / "catalog")


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "catalog"))


def test_the_template_is_sound(path: Path) -> None:
    with resealed(path) as catalog:
        assert (len(catalog), catalog.verify().files) == (299, 7)


# segments


@pytest.mark.parametrize("name", FILES)
def test_truncated_oversized_missing_empty(path: Path, name: str) -> None:
    file = path / SEGMENT / name
    data = file.read_bytes()
    for damaged in (data[:-1], data[: len(data) // 2], b"", data + b"\0", data + data):
        file.write_bytes(damaged)
        refuses(path, name, "truncated, extended or replaced")
    file.unlink()
    refuses(path, name, "is missing")


@pytest.mark.parametrize("name", FILES)
def test_damage_at_either_end_is_found_at_open(path: Path, name: str) -> None:
    file = path / SEGMENT / name
    data = file.read_bytes()
    for offset in (0, 60, HEADER_BYTES - 1, len(data) - 1):
        file.write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
        refuses(path, name, "another checksum")


@pytest.mark.parametrize("name", FILES[:5])
def test_damage_in_the_middle_is_found_by_verify(path: Path, tmp_path: Path, name: str) -> None:
    if name in ("scales.npy", "errors.npy"):
        path = tmp_path / "large"
        names = [str(index) for index in range(2200)]
        Catalog.from_vectors(path, names, np.random.default_rng(0).normal(size=(2200, 8)), fingerprint="fake-1").close()
    file = path / SEGMENT / name
    data = file.read_bytes()
    middle = len(data) // 2
    assert len(data) > 8192
    file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    with Catalog.open(path) as catalog:
        catalog.remove([catalog.card(5)[0]])
        before = files_of(path)
        for use in (catalog.verify, catalog.compact):  # which must not give the damage a new checksum
            with pytest.raises(CatalogFormatError, match=f"{name}: has another checksum"):
                use()
        assert files_of(path) == before


def test_a_segment_of_another_catalog(path: Path, tmp_path: Path) -> None:
    """The same sizes, the same schema, other cards."""
    other = tmp_path / "other"
    Catalog.build(other, items(range(1000, 1300)), encoder=FakeEncoder(), near=None, calibration=None)
    for name in FILES[:5]:
        original = (path / SEGMENT / name).read_bytes()
        shutil.copyfile(other / SEGMENT / name, path / SEGMENT / name)
        refuses(path, name)
        (path / SEGMENT / name).write_bytes(original)
    Catalog.open(path).close()


def test_swapped_checksums(path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        files = content["segments"][0]["files"]
        files["scales.npy"], files["errors.npy"] = files["errors.npy"], files["scales.npy"]

    reseal(path, change)
    refuses(path, "scales.npy", "another checksum")


@pytest.mark.parametrize(
    "header",
    [
        npy_header("float16", (300, DIMENSION)),
        npy_header("float32", (DIMENSION, 300)),
        npy_header("float32", (2**62, DIMENSION)),
        npy_header("float32", (-1, DIMENSION)),
        npy_header("float32", (300, DIMENSION)).replace(b"'<f4'", b"'|O8'"),
        npy_header("float32", (300, DIMENSION)).replace(b"False", b"True "),
        npy_header("float32", (300, DIMENSION)).replace(b"\x01\x00", b"\x03\x00"),
        b"\0" * HEADER_BYTES,
    ],
)
def test_headers_that_lie(path: Path, header: bytes) -> None:
    file = path / SEGMENT / "vectors.npy"
    file.write_bytes(header + file.read_bytes()[HEADER_BYTES:])
    reseal_file(path, "vectors.npy")
    refuses(path, "vectors.npy", "header")


@pytest.mark.parametrize("bits", [np.zeros(5, np.uint64), np.full(5, 2**64 - 1, np.uint64)])
def test_tombstones_of_rows_that_are_not_there(path: Path, bits: Any) -> None:
    (path / SEGMENT / FILES[5]).write_bytes(npy_header("uint64", (5,)) + bits.tobytes())
    reseal_file(path, FILES[5])
    refuses(path, FILES[5], "rows that the segment does not have")


def test_contents_that_disagree_although_all_checksums_fit(path: Path) -> None:
    for name, row_bytes in {
        "vectors.npy": 4 * DIMENSION,
        "codes.npy": DIMENSION,
        "errors.npy": 4,
        "scales.npy": 4,
    }.items():
        file = path / SEGMENT / name
        original = file.read_bytes()
        head, rest = original[:HEADER_BYTES], original[HEADER_BYTES + row_bytes :]
        file.write_bytes(head + b"\0" * row_bytes + rest)
        reseal_file(path, name)
        with Catalog.open(path) as catalog, pytest.raises(CatalogFormatError, match=r"unit vectors|agree"):
            catalog.verify()
        file.write_bytes(original)
        reseal_file(path, name)
    Catalog.open(path).verify()


# cards.sqlite


@pytest.mark.parametrize(
    ("statements", "match"),
    [
        (["DELETE FROM cards WHERE row = 299"], "rows 0 to 298, 0 to 299"),
        (["DELETE FROM cards WHERE row = 0"], "rows 1 to 299"),
        (["DELETE FROM cards"], "rows None"),
        (["DROP TABLE cards"], "tables of a catalog"),
        (["DROP INDEX cards_card_id"], "tables of a catalog"),
        (["CREATE TABLE more(x)"], "tables of a catalog"),
        (["CREATE TRIGGER t AFTER INSERT ON cards BEGIN SELECT 1; END"], "tables of a catalog"),
        (
            [
                "ALTER TABLE cards RENAME TO hidden",
                "CREATE VIEW cards AS WITH RECURSIVE n(row) AS (SELECT 0 UNION ALL SELECT 1 FROM n) SELECT * FROM n",
            ],
            "tables of a catalog",
        ),
    ],
)
def test_databases_that_are_no_card_tables(path: Path, statements: list[str], match: str) -> None:
    alter(path, "cards.sqlite", *statements)
    refuses(path, "cards.sqlite", match)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM cards WHERE row = 7",
        "UPDATE cards SET meta = '{' WHERE row = 7",
        "UPDATE cards SET meta = x'ff' WHERE row = 7",
        "UPDATE cards SET card_id = CAST(x'ff' AS TEXT) WHERE row = 7",
        "UPDATE cards SET meta = replace(hex(zeroblob(20000)), '0', '[') WHERE row = 7",
    ],
)
def test_bad_rows_are_found_by_lookup_and_verify(path: Path, statement: str) -> None:
    alter(path, "cards.sqlite", statement)
    with Catalog.open(path) as catalog:
        assert catalog.card(6)[0] == "card-6"
        with pytest.raises(CatalogFormatError, match=r"cards\.sqlite"):
            catalog.card(7)
        with pytest.raises(CatalogFormatError, match=r"cards\.sqlite"):
            catalog.verify()


def test_a_database_that_is_none(path: Path) -> None:
    (path / SEGMENT / "cards.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    reseal_file(path, "cards.sqlite")
    refuses(path, "cards.sqlite")


# links and other things in the place of files


@pytest.mark.parametrize("name", ["catalog.json", "segments", SEGMENT, *(f"{SEGMENT}/{name}" for name in FILES)])
def test_symbolic_links_are_refused(path: Path, tmp_path: Path, name: str) -> None:
    """Even to sound copies: what is outside the folder is not the catalog's."""
    outside = (path / name).rename(tmp_path / "outside")
    (path / name).symlink_to(outside)
    before = files_of(tmp_path)
    with pytest.raises(CatalogFormatError, match=f"{Path(name).name}: is .*symbolic link"):
        Catalog.open(path)
    with pytest.raises(CatalogError):
        Catalog.build(path, [], encoder=FakeEncoder())
    assert files_of(tmp_path) == before


def test_a_linked_segment_is_not_cleaned_away(path: Path, tmp_path: Path) -> None:
    """A link beside the segments is not followed by the writer that deletes leftovers."""
    precious = Path(shutil.copytree(path / SEGMENT, tmp_path / "precious"))
    (path / "segments/00000009").symlink_to(precious)
    before = files_of(precious)
    with Catalog.open(path) as catalog:
        catalog.remove(["card-2"])
        catalog.compact()
    assert files_of(precious) == before


def test_a_linked_lock_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (path / "catalog.lock").unlink()
    (path / "catalog.lock").symlink_to(tmp_path / "target")
    with Catalog.open(path) as catalog, pytest.raises(OSError, match=r"catalog\.lock"):
        catalog.remove(["card-2"])
    assert (tmp_path / "target").read_text() == "precious"


@pytest.mark.parametrize("name", ["catalog.json", *(f"{SEGMENT}/{name}" for name in FILES)])
def test_pipes_and_folders_do_not_hang_or_crash(path: Path, name: str) -> None:
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(CatalogFormatError, match="not a regular file"):
        Catalog.open(path)
    (path / name).unlink()
    (path / name).mkdir()
    with pytest.raises(CatalogFormatError, match="not a regular file"):
        Catalog.open(path)


def test_a_missing_catalog_json(path: Path) -> None:
    (path / "catalog.json").unlink()
    with pytest.raises(CatalogFormatError, match=r"catalog\.json: is missing, so this folder is no catalog; build one"):
        Catalog.open(path)


def test_changes_of_a_damaged_catalog_are_refused_and_harm_nothing(path: Path) -> None:
    with Catalog.open(path) as catalog:
        file = path / SEGMENT / "codes.npy"
        file.write_bytes(file.read_bytes()[:-1])
        before = files_of(path)
        for change in (
            lambda: catalog.append([item(900)], encoder=FakeEncoder()),
            lambda: catalog.remove(["card-5"]),
            catalog.compact,
            catalog.verify,
        ):
            with pytest.raises(CatalogFormatError, match=r"codes\.npy"):
                change()
        assert files_of(path) == before


# at random


@pytest.mark.parametrize("name", ["catalog.json", *(f"{SEGMENT}/{name}" for name in FILES)])
def test_random_damage_is_always_found(path: Path, name: str) -> None:
    """Whatever byte is changed or cut off: `open` refuses, or `verify` does, and using it meanwhile crashes nothing."""
    generator = np.random.default_rng(sum(name.encode()))
    file = path / name
    data = file.read_bytes()
    sound = ids_in(Catalog.open(path))
    for turn in range(60):
        position = int(generator.integers(len(data)))
        flipped = data[:position] + bytes([data[position] ^ int(generator.integers(1, 256))]) + data[position + 1 :]
        file.write_bytes(data[:position] if turn % 5 == 0 else flipped)
        error = _error_of(path)
        if error is None:  # white space in catalog.json may differ, nothing else
            assert name == "catalog.json"
            assert ids_in(Catalog.open(path)) == sound
        else:
            assert Path(name).name in str(error)


@pytest.mark.parametrize("name", FILES)
def test_random_contents_under_fitting_checksums_crash_nothing(path: Path, name: str) -> None:
    """An attacker can compute checksums too: results may be nonsense then, a typed error is the worst that happens."""
    generator = np.random.default_rng(sum(name.encode()))
    file = path / SEGMENT / name
    data = file.read_bytes()
    start = 0 if name == "cards.sqlite" else HEADER_BYTES
    for turn in range(40):
        damaged = bytearray(data)
        for position in generator.integers(start, len(data), 1 if turn % 2 else 200):
            damaged[int(position)] = int(generator.choice([0, 0x7F, 0x80, 0xFF, int(generator.integers(256))]))
        file.write_bytes(damaged)
        reseal_file(path, name)
        error = _error_of(path)
        assert error is None or name in str(error)


def _error_of(path: Path) -> CatalogFormatError | None:
    """What `open` or `verify` finds; the catalog is used in between."""
    try:
        with Catalog.open(path) as catalog:
            _use(catalog)
            catalog.verify()
    except CatalogFormatError as error:
        return error
    return None


def _use(catalog: Catalog) -> None:
    """Search, filter and look up, whatever comes of it."""
    try:
        rows, _ = catalog.search(np.random.default_rng(0).normal(size=(3, DIMENSION)), 10, where={"language": "en"})
        catalog.search(np.ones(DIMENSION), 5)
        catalog.cards(rows.ravel())
        catalog.snapshot().find("card-5")
    except CatalogFormatError:
        pass
