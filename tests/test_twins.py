"""Twins: found whatever the catalog went through, kept in its files, and damaged ones are refused."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from command import Run
from damaged_catalog import SEGMENT, content_of, refuses, reseal, reseal_file
from hypothesis import given, settings
from hypothesis import strategies as st
from small_catalog import FakeEncoder, item, items

from cardrec.catalog import Catalog
from cardrec.duplicates import find_resemblances
from cardrec.errors import CatalogError, CatalogFormatError
from cardrec.files import checksums
from cardrec.layout import npy_header
from cardrec.twins import MOST_TWINS, TWINS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

NAME = "twins.npy"
FILE = f"{SEGMENT}/{NAME}"


def at(*degrees: float) -> NDArray[np.float64]:
    """Unit vectors in a plane; twins are less than 2.56 degrees apart."""
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles), np.zeros((len(degrees), 6))])


def made(path: Path, ids: Sequence[str], vectors: NDArray[np.floating], **options: object) -> Catalog:
    return Catalog.from_vectors(path, ids, vectors, fingerprint="fake-1", preprocessing_hash="pre-1", **options)  # type: ignore[arg-type]


def groups(catalog: Catalog) -> list[tuple[str, ...]]:
    snapshot = catalog.snapshot()
    return [snapshot.ids(rows) for rows in snapshot.twin_groups()]


def append(catalog: Catalog, *seeds: tuple[str, int]) -> None:
    catalog.append([item(seed, card_id) for card_id, seed in seeds], encoder=FakeEncoder(), near=None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Cards a to e: a, c and d are twins."""
    given = [item(seed, card_id) for card_id, seed in (("a", 0), ("b", 1), ("c", 0), ("d", 0), ("e", 2))]
    Catalog.build(tmp_path / "catalog", given, encoder=FakeEncoder(), near=None, calibration=None)
    return tmp_path / "catalog"


# what twins are


def test_the_bound_is_the_angle_between_pictures(tmp_path: Path) -> None:
    assert pytest.approx(2.5627, abs=1e-3) == np.degrees(np.arccos(TWINS))
    with made(tmp_path / "c", list("abcd"), at(0, 2.55, 90, 92.57)) as catalog:
        assert groups(catalog) == [("a", "b")]


def test_groups_hang_together_by_those_between(tmp_path: Path) -> None:
    with made(tmp_path / "c", list("abcd"), at(0, 2, 4, 30)) as catalog:
        assert catalog.twins("a") == ["b", "c"]
        assert catalog.twins("b") == ["a", "c"]
        assert catalog.twins("d") == []
        catalog.remove(["b"])
        assert groups(catalog) == []
        assert catalog.twins("a") == []
        catalog.compact()
        assert groups(catalog) == []
        with pytest.raises(CatalogError, match="'b'"):
            catalog.twins("b")


def test_views_of_one_card_are_no_twins(tmp_path: Path) -> None:
    ids = ["a", "a", "a", "b", "c"]
    with made(tmp_path / "c", ids, at(0, 0, 40, 80, 40), on_duplicate="keep-all") as catalog:
        assert groups(catalog) == [("a", "c")]
        assert catalog.snapshot().twins(0) == ()
        assert catalog.snapshot().twins(2) == (2, 4)
        assert catalog.twins("a") == ["c"]
        catalog.remove(["c"])
        assert groups(catalog) == []


def test_a_filter_leaves_those_that_pass(tmp_path: Path) -> None:
    meta = [{"set": each} for each in ("one", "two", "one", "three")]
    with made(tmp_path / "c", list("abcd"), at(0, 0, 0, 0), meta=meta) as catalog:
        snapshot = catalog.snapshot()
        assert snapshot.twins(0, {"set": ["one", "three"]}) == (0, 2, 3)
        assert snapshot.twins(1, {"set": "two"}) == ()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_pictures_of_one_are_one_group(tmp_path: Path, dtype: str) -> None:
    """More than are kept for each row: all of them, until nearly as many are removed."""
    count = 3 * MOST_TWINS
    vector = np.random.default_rng(0).normal(size=(1, 48)).repeat(count, axis=0)
    with made(tmp_path / "c", [f"{n:03d}" for n in range(count)], vector, dtype=dtype) as catalog:
        assert len(catalog.twins("000")) == count - 1
        assert (tmp_path / "c" / FILE).stat().st_size <= 128 + 16 * count * MOST_TWINS
        catalog.remove([f"{n:03d}" for n in range(MOST_TWINS - 1)])
        assert [len(group) for group in groups(catalog)] == [count - MOST_TWINS + 1]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([2, 5, 70]), st.booleans())
def test_the_oracle_finds_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, dimension: int, views: bool
) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(1 + count // 4, dimension))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = (
        centres[rng.integers(0, len(centres), count)] + rng.normal(size=(count, dimension)) * 0.03 / dimension**0.5
    )
    ids = [f"{n // 2 if views else n}" for n in range(count)]
    path = tmp_path_factory.mktemp("oracle") / "c"
    removed = {each for each in ids[1:] if rng.random() < 0.2}
    with made(path, ids, vectors, on_duplicate="keep-all") as catalog:
        catalog.remove(removed)
        assert catalog.snapshot().twin_groups() == oracle(ids, catalog.snapshot().vectors(np.arange(count)), removed)
        before = groups(catalog)
        catalog.compact()
        assert groups(catalog) == before


def oracle(ids: list[str], vectors: NDArray[np.float32], removed: Iterable[str]) -> list[tuple[int, ...]]:
    """All pairs, and from them by and by larger sets."""
    exact = vectors.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    cosines = exact @ exact.T
    sets: list[set[int]] = [{row} for row in range(len(ids)) if ids[row] not in removed]
    for a, b in combinations(range(len(ids)), 2):
        if ids[a] != ids[b] and cosines[a, b] >= TWINS and not {ids[a], ids[b]} & set(removed):
            of_a, of_b = (next(each for each in sets if row in each) for row in (a, b))
            if of_a is not of_b:
                sets.remove(of_b)
                of_a |= of_b
    return sorted(tuple(sorted(each)) for each in sets if len(each) > 1)


# through changes


def test_build_tells_of_twins(tmp_path: Path) -> None:
    given = [item(0, "a"), item(1, "b"), item(0, "c"), item(1, "d"), item(2, "e")]
    for near in (None, 0.98, 1.0):
        report = Catalog.build(
            tmp_path / "c", given, encoder=FakeEncoder(), near=near, calibration=None, overwrite=True
        )
        assert report.twins == [("a", "c"), ("b", "d")]
        assert len(report.duplicates) == (0 if near is None else 2)


def test_append_finds_twins_of_old_rows_and_of_new_ones(path: Path) -> None:
    with Catalog.open(path) as catalog:
        report = catalog.append([item(3, "f"), item(2, "g")], encoder=FakeEncoder())
        assert report.twins == [("e", "g")]
        append(catalog, ("h", 3), ("i", 3), ("j", 9))
        append(catalog, ("k", 10))
        expected = [("a", "c", "d"), ("e", "g"), ("f", "h", "i")]
        assert groups(catalog) == expected
        assert catalog.info()["twins"] == 3
        assert [len(segment.twins) for segment in catalog.snapshot().segments if segment.twins is not None] == [
            3, 1, 3, 0,
        ]  # fmt: skip
        catalog.verify()
        catalog.remove(["a", "h", "e"])
        expected = [("c", "d"), ("f", "i")]
        assert groups(catalog) == expected
        catalog.compact()
        assert groups(catalog) == expected
        catalog.verify()
    with Catalog.open(path) as catalog:
        assert groups(catalog) == expected
        catalog.remove(["b", "c", "d", "f", "g", "i", "j", "k"])
        catalog.compact()
        append(catalog, ("l", 0), ("m", 0))
        assert groups(catalog) == [("l", "m")]


def test_a_catalog_from_before_there_were_twins(path: Path) -> None:
    def without(content: dict[str, object]) -> None:
        content["format"] = 2
        content["segments"][0]["files"].pop(NAME)  # type: ignore[index]

    reseal(path, without)
    with Catalog.open(path) as catalog:
        assert catalog.info()["twins"] is None
        assert groups(catalog) == []
        assert catalog.twins("a") == []
        catalog.verify()
        catalog.remove(["b"])
        assert content_of(path)["format"] == 2  # as older versions read it
        append(catalog, ("f", 2), ("g", 0))
        assert content_of(path)["format"] == 3
        assert catalog.info()["twins"] is None
        assert catalog.twins("e") == ["f"]
        catalog.compact()
        assert catalog.info()["twins"] == 2
        assert groups(catalog) == [("a", "c", "d", "g"), ("e", "f")]


def test_a_failure_while_twins_are_looked_for_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with Catalog.open(path) as catalog:
        monkeypatch.setattr("cardrec.catalog.find_resemblances", fail)
        with pytest.raises(KeyboardInterrupt):
            append(catalog, ("f", 2))
        monkeypatch.undo()
        assert len(Catalog.open(path)) == 5
        append(catalog, ("f", 2))
        assert catalog.twins("f") == ["e"]


def test_several_blocks_of_rows_and_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(100, 24))[rng.integers(0, 100, 230)]
    with made(tmp_path / "c", [str(n) for n in range(230)], vectors) as catalog:
        catalog.remove(["3", "17", "80"])
        whole = find_resemblances(catalog.snapshot(), near=0.9)
        monkeypatch.setattr("cardrec.neighbours._MEMBERS", 7)
        monkeypatch.setattr("cardrec.duplicates._COLUMNS", 16)
        parts = find_resemblances(catalog.snapshot(), near=0.9)
        assert parts.duplicates == whole.duplicates
        assert parts.twins.tolist() == whole.twins.tolist()
        late = find_resemblances(catalog.snapshot(), 200, near=0.9)
        assert late.twins.tolist() == [pair for pair in whole.twins.tolist() if pair[0] >= 200]


# damage


@pytest.mark.parametrize(
    "pairs",
    [[[2, 2]], [[2, 3]], [[5, 0]], [[2, -1]], [[-1, -2]], [[2**62, 0]], [[2, 0], [0, 2]]],
    ids=["itself", "order", "beyond", "negative", "both", "huge", "second"],
)
def test_pairs_of_rows_that_are_not_there(path: Path, pairs: list[list[int]]) -> None:
    array = np.array(pairs, np.int64)
    (path / FILE).write_bytes(npy_header("int64", array.shape) + array.tobytes())
    reseal_file(path, NAME)
    refuses(path, NAME, "pairs rows that")


def test_pairs_of_an_earlier_segment(path: Path) -> None:
    with Catalog.open(path) as catalog:
        append(catalog, ("f", 0))
    folder = path / "segments" / "00000002"
    array = np.array([[4, 0]], np.int64)
    (folder / NAME).write_bytes(npy_header("int64", (1, 2)) + array.tobytes())
    size, sha256, edges = checksums(folder / NAME)
    entry = {"bytes": size, "sha256": sha256, "edges": edges}
    reseal(path, lambda content: content["segments"][1]["files"].update({NAME: entry}))
    with pytest.raises(CatalogFormatError, match=f"{NAME}: pairs rows that"):
        Catalog.open(path)


@pytest.mark.parametrize(
    "data",
    [
        npy_header("int64", (3, 2)),
        npy_header("int64", (2, 3)) + bytes(48),
        npy_header("uint64", (3, 2)) + bytes(48),
        npy_header("int64", (0, 2)) + bytes(8),
        b"\0" * 20,
    ],
)
def test_headers_that_lie(path: Path, data: bytes) -> None:
    (path / FILE).write_bytes(data)
    reseal_file(path, NAME)
    refuses(path, NAME)


def test_damage_in_the_middle_is_found_by_verify(tmp_path: Path) -> None:
    vectors = np.ones((40, 8))
    with made(tmp_path / "c", [str(n) for n in range(40)], vectors) as catalog:
        file = tmp_path / "c" / FILE
        data = bytearray(file.read_bytes())
        assert len(data) > 8192 + 256
        data[4096 + 128] ^= 1
        file.write_bytes(data)
        with pytest.raises(CatalogFormatError, match=f"{NAME}: has another checksum"):
            catalog.verify()


def test_format_2_has_no_twins(path: Path) -> None:
    reseal(path, lambda content: content.update(format=2))
    refuses(path, "catalog.json", "files")


def test_the_command_line_tells_of_groups(run: Run, card_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(card_folder, tmp_path / "cards")
    shutil.copyfile(card_folder / "c3.png", tmp_path / "cards" / "c3-again.png")
    done = run("index", "build", tmp_path / "cards", tmp_path / "c", "--near", "0", "--report", tmp_path / "report.csv")
    assert done.exit_code == 0
    assert "groups that no photo tells apart: 1" in done.stdout
    assert "twins,c3-again,c3,," in (tmp_path / "report.csv").read_text()
    assert '"twins": 1' in run("index", "info", tmp_path / "c", "--json").stdout


def test_many_new_cards_are_few_groups(tmp_path: Path) -> None:
    report = Catalog.build(tmp_path / "c", items(range(50)), encoder=FakeEncoder(), near=None, calibration=None)
    assert report.twins == []
    with Catalog.open(tmp_path / "c") as catalog:
        assert catalog.info()["twins"] == 0
