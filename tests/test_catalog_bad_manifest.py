"""A catalog.json that is damaged, foreign or hostile: a typed error, and nothing is touched."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from damaged_catalog import make_template, refuses, reseal

from cardrec.catalog import Catalog
from cardrec.errors import CatalogFormatError


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template") / "catalog")


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "catalog"))


NESTED = b"[" * 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 500,
        b"{",
        b"null",
        b"[]",
        b"3",
        b'"catalog"',
        b"{}",
        b"\xff\xfe",
        NESTED,
        b'{"format":' + NESTED,
        b'{"format": 1' + b"0" * 5000 + b"}",
        b'{"format": NaN}',
        b'{"format": Infinity}',
        b'{"format": 1, "format": 1}',
        b'{"format": true}',
        b'{"format": 1.0}',
        b'{"format": "1"}',
        b'{"format": 0}',
        b'{"format": -1}',
        b'{"format": 1}',
        b" " * ((1 << 20) + 1),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_catalog_json_of_any_bytes(path: Path, data: bytes) -> None:
    (path / "catalog.json").write_bytes(data)
    refuses(path, "catalog.json")


def test_a_future_format_says_upgrade(path: Path) -> None:
    reseal(path, lambda content: content.update(format=4, shards=["new"]))
    refuses(path, "catalog.json", "format 4, this version of cardrec reads up to format 3; upgrade cardrec")


def test_an_edited_catalog_json_is_noticed(path: Path) -> None:
    file = path / "catalog.json"
    file.write_bytes(file.read_bytes().replace(b"fake-1", b"fake-2"))
    refuses(path, "catalog.json", "checksum")


HUGE = 10**400
FIRST = ("segments", 0)
VECTORS = (*FIRST, "files", "vectors.npy")


WRONG_VALUES: dict[tuple[Any, ...], tuple[Any, ...]] = {
    ("dimension",): (0, -1, 2**40, HUGE, 1.5, True, None, "32", [32], 33),
    ("generation",): (0, -1, 2**60, HUGE, 1.0, None),
    ("dtype",): ("int8", "float64", "", None, 4, "float16"),
    ("model",): (None, {}, [], {"fingerprint": "a"}, {"fingerprint": 1, "preprocessing": "b"}),
    ("model", "fingerprint"): ("x" * 1000,),
    ("calibration",): (3, [], "x", True),
    ("extra",): (1,),
    ("segments",): (None, {}, "x", [None], [[]], [{}], [{}] * 1000),
    (*FIRST, "name"): ("../x", "/etc", "..", ".", "", "0000001/../00000001", "1", "0000000\u0661", "00000002", None, 1),
    (*FIRST, "rows"): (0, -1, 299, 301, 2**31, 2**32, 2**63, 2**64 + 300, HUGE, 1e3, True, None),
    (*FIRST, "removed"): ("../removed-00000002.npy", "vectors.npy", "removed-1.npy", 2, True, None),
    (*FIRST, "extra"): (1,),
    (*FIRST, "files"): (None, {}, []),
    (*FIRST, "files", "../../../etc/passwd"): ({"bytes": 1, "sha256": "0" * 64, "edges": "0" * 64},),
    (*VECTORS, "bytes"): (0, -1, 1, 2**62, HUGE, 2.5, True),
    (*VECTORS, "edges"): ("", "0" * 64, "Z" * 64, "0" * 63, None, 5),
    (*VECTORS, "sha256"): ("", "0" * 63, None, 5),
}


@pytest.mark.parametrize(
    ("place", "value"), [(place, value) for place, values in WRONG_VALUES.items() for value in values], ids=str
)
def test_wrong_values_with_a_right_checksum(path: Path, place: tuple[Any, ...], value: Any) -> None:
    def change(content: dict[str, Any]) -> None:
        target: Any = content
        for step in place[:-1]:
            target = target[step]
        target[place[-1]] = value

    reseal(path, change)
    with pytest.raises(CatalogFormatError, match=r"catalog\.json|segments"):
        Catalog.open(path)


def test_counts_whose_product_wraps_around_64_bits(path: Path) -> None:
    """Counts that are each within their limits, whose bytes are far beyond the file's."""
    for rows, dimension in ((2**31 - 1, 65_536), (2**26, 2**14)):

        def change(content: dict[str, Any], rows: int = rows, dimension: int = dimension) -> None:
            content["dimension"] = dimension
            content["segments"][0]["rows"] = rows

        reseal(path, change)
        refuses(path, "vectors.npy", "bytes were expected|bytes, ")


def test_two_segments_of_one_name(path: Path) -> None:
    reseal(path, lambda content: content["segments"].append(content["segments"][0]))
    refuses(path, "catalog.json", "same name")


def test_too_many_rows_in_all(path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        first = content["segments"][0]
        content["segments"] = [{**first, "name": f"{number:08d}", "rows": 2**30} for number in range(1, 5)]

    reseal(path, change)
    refuses(path, "catalog.json", "at most 2147483647")
