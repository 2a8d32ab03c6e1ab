"""Searching, changing and sharing sound catalogs."""

from __future__ import annotations

import fcntl
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_catalog import DIMENSION, FakeEncoder, files_of, ids_in, item, items, make, picture

from cardrec.catalog import Catalog
from cardrec.errors import CatalogError, CatalogMismatchError, InputError
from cardrec.store import LOCK


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("template") / "catalog")


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "catalog"))


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


def test_finds_each_card_and_its_metadata(path: Path, encoder: FakeEncoder) -> None:
    with Catalog.open(path) as catalog:
        assert len(catalog) == 20
        rows, scores = catalog.search(encoder.encode([picture(seed) for seed in range(20)]), 3)
        assert rows.dtype == np.int64
        assert scores.dtype == np.float32
        assert rows[:, 0].tolist() == list(range(20))
        np.testing.assert_allclose(scores[:, 0], 1, atol=1e-6)
        assert catalog.card(4) == ("card-4", {"name": "Card 4", "set": "S1", "language": "en", "artist": 4})
        assert [card_id for card_id, _ in catalog.cards([3, 1])] == ["card-3", "card-1"]
        assert "card-7" in catalog
        assert "card-20" not in catalog
        assert 7 not in catalog


def test_info_and_verify(path: Path) -> None:
    with Catalog.open(path) as catalog:
        info = catalog.info()
        report = catalog.verify()
    assert (info["cards"], info["removed"], info["segments"], info["dimension"]) == (20, 0, 1, DIMENSION)
    assert (report.files, report.rows, report.removed) == (6, 20, 0)
    assert (
        report.bytes == info["bytes"] == sum(len(data) for name, data in files_of(path).items() if "segments" in name)
    )


def test_vectors_are_readable_by_numpy(path: Path) -> None:
    vectors = np.load(path / "segments/00000001/vectors.npy", mmap_mode="r")
    assert vectors.shape == (20, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_k_larger_than_the_catalog_gives_every_row_once(path: Path, encoder: FakeEncoder) -> None:
    with Catalog.open(path) as catalog:
        rows, scores = catalog.search(encoder.encode([picture(0)])[0], 1000)
        assert sorted(rows[0].tolist()) == list(range(20))
        assert (np.diff(scores[0]) <= 0).all()


@pytest.mark.parametrize("vectors", [np.zeros(DIMENSION), np.full(DIMENSION, np.nan), np.ones(DIMENSION + 1), "text"])
def test_search_refuses_bad_vectors(path: Path, vectors: Any) -> None:
    with Catalog.open(path) as catalog, pytest.raises(InputError):
        catalog.search(vectors, 1)


@pytest.mark.parametrize("k", [0, -1, 1.5])
def test_search_refuses_bad_k(path: Path, k: Any) -> None:
    with Catalog.open(path) as catalog, pytest.raises(InputError):
        catalog.search(np.ones(DIMENSION), k)


@pytest.mark.parametrize("row", [-1, 20, 2**70])
def test_card_refuses_rows_that_are_not_there(path: Path, row: int) -> None:
    with Catalog.open(path) as catalog, pytest.raises(InputError, match="0 to 19"):
        catalog.card(row)


# where


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"set": "S1"}, {seed for seed in range(20) if seed % 3 == 1}),
        ({"set": ["S0", "S2"], "language": "de"}, {seed for seed in range(20) if seed % 3 != 1 and seed % 2}),
        ({"artist": 3}, {seed for seed in range(20) if seed % 5 == 3}),
        ({"artist": ("3", 4)}, {seed for seed in range(20) if seed % 5 in (3, 4)}),
        ({}, set(range(20))),
        ({"set": []}, set()),
        ({"set": "s1"}, set()),
        ({"no such key": "x"}, set()),
        ({"set": "S1' OR '1'='1"}, set()),
        ({"artist') OR 1 --": 3}, set()),
        ({'"': 3}, set()),
    ],
)
def test_where(path: Path, where: dict[str, Any], expected: set[int]) -> None:
    with Catalog.open(path) as catalog:
        for _ in range(2):  # computed, then cached
            rows, _ = catalog.search(np.ones(DIMENSION), 50, where=where)
            assert set(rows[0].tolist()) == expected


def test_where_leaves_out_removed_rows_in_all_segments(path: Path, encoder: FakeEncoder) -> None:
    with Catalog.open(path) as catalog:
        catalog.append(items(range(20, 90)), encoder=encoder)
        catalog.remove(["card-1", "card-22"])
        rows, _ = catalog.search(np.ones(DIMENSION), 100, where={"set": "S1"})
        assert set(rows[0].tolist()) == {seed for seed in range(90) if seed % 3 == 1} - {1, 22}


@pytest.mark.parametrize(
    "where", [{"set": None}, {"set": {"a": 1}}, {1: "a"}, {"set": float("nan")}, "set", [("set", "a")]]
)
def test_where_refuses_what_it_cannot_compare(path: Path, where: Any) -> None:
    with Catalog.open(path) as catalog, pytest.raises(InputError, match="where"):
        catalog.search(np.ones(DIMENSION), 1, where=where)


def test_many_filters_keep_the_cache_small(path: Path) -> None:
    with Catalog.open(path) as catalog:
        for number in range(100):
            catalog.search(np.ones(DIMENSION), 1, where={"set": str(number)})
        assert len(catalog.snapshot()._filters) == 32


# changing


def test_append_remove_compact(path: Path, encoder: FakeEncoder) -> None:
    with Catalog.open(path) as catalog:
        assert catalog.append(items(range(20, 25)), encoder=encoder).added == 5
        assert catalog.card(22)[0] == "card-22"
        assert catalog.remove(["card-3", "card-21", "card-3"]) == 2
        assert catalog.remove(card_id for card_id in ["card-4"]) == 1
        assert len(catalog) == 22
        assert "card-3" not in catalog
        assert catalog.append([item(3)], encoder=encoder).added == 1
        assert "card-3" in catalog
        expected = sorted(f"card-{seed}" for seed in range(25) if seed not in (4, 21))
        assert ids_in(catalog) == expected
        before = catalog.verify()
        catalog.compact()
        after = catalog.verify()
        assert ids_in(catalog) == expected
        assert (before.rows, before.removed, after.rows, after.removed) == (26, 3, 23, 0)
        assert catalog.card(19)[0] == "card-22"  # the order stays: 0-2, 5-20, 22-24, 3
        assert catalog.card(22)[0] == "card-3"
        assert len(list((path / "segments").iterdir())) == 1
        generation = catalog.info()["generation"]
        catalog.compact()
        assert catalog.info()["generation"] == generation
    with Catalog.open(path) as catalog:
        assert ids_in(catalog) == expected


def test_removing_an_unknown_card_removes_nothing(path: Path) -> None:
    before = files_of(path)
    with Catalog.open(path) as catalog:
        with pytest.raises(CatalogError, match="'nobody', 7 not in the catalog; nothing was removed"):
            catalog.remove(["card-1", "nobody", 7])  # type: ignore[list-item]
        catalog.remove(["card-1"])
        with pytest.raises(CatalogError, match="'card-1'"):
            catalog.remove(["card-1"])
        with pytest.raises(InputError, match="a list of card_ids"):
            catalog.remove("card-2")
        assert catalog.remove([]) == 0
        assert len(catalog) == 19
    assert before.keys() <= files_of(path).keys()


def test_append_is_all_or_nothing(path: Path, encoder: FakeEncoder) -> None:
    before = files_of(path)
    with Catalog.open(path) as catalog:
        with pytest.raises(CatalogError, match="'card-5' is in the catalog already"):
            catalog.append([*items(range(100, 130)), item(5)], encoder=encoder)
        with pytest.raises(CatalogError, match="none of 1 pictures"):
            catalog.append([("new", "missing.png", {})], encoder=encoder)
        assert catalog.append([], encoder=encoder).added == 0
        assert files_of(path) == before
        assert len(catalog) == 20


def test_another_model_is_refused(path: Path) -> None:
    other = FakeEncoder("fake-2")
    with Catalog.open(path) as catalog:
        catalog.check_model("fake-1", "pre-1")
        with pytest.raises(CatalogMismatchError, match="model fake-1, in use is fake-2"):
            catalog.append([item(30)], encoder=other)
        with pytest.raises(CatalogMismatchError, match="preprocessing pre-1"):
            catalog.check_model("fake-1", "pre-2")
        assert len(catalog) == 20


def test_too_many_segments_ask_for_compact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: FakeEncoder
) -> None:
    monkeypatch.setattr("cardrec.changes.MAX_SEGMENTS", 2)
    with Catalog.open(make(tmp_path / "c", 2)) as catalog:
        catalog.append([item(5)], encoder=encoder)
        with pytest.raises(CatalogError, match=r"compact\(\)"):
            catalog.append([item(6)], encoder=encoder)
        catalog.compact()
        catalog.append([item(6)], encoder=encoder)
        assert len(catalog) == 4


def test_calibration_is_kept(tmp_path: Path, encoder: FakeEncoder) -> None:
    Catalog.build(tmp_path / "c", items(range(3)), encoder=encoder, calibration={"min_score": 0.5})
    with Catalog.open(tmp_path / "c") as catalog:
        catalog.append([item(7)], encoder=encoder)
        catalog.compact()
        assert catalog.calibration == {"min_score": 0.5}


# several at once


def test_a_second_writer_is_refused(path: Path, encoder: FakeEncoder) -> None:
    with Catalog.open(path) as catalog, (path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for change in (
            lambda: catalog.append([item(30)], encoder=encoder),
            lambda: catalog.remove(["card-1"]),
            catalog.compact,
            lambda: Catalog.build(path, [], encoder=encoder, overwrite=True),
        ):
            with pytest.raises(CatalogError, match="another writer"):
                change()
        assert len(ids_in(catalog)) == 20
        fcntl.flock(lock, fcntl.LOCK_UN)
        catalog.remove(["card-1"])


def test_a_writer_sees_what_others_wrote(path: Path, encoder: FakeEncoder) -> None:
    with Catalog.open(path) as one, Catalog.open(path) as two:
        one.append([item(30)], encoder=encoder)
        assert "card-30" not in two
        two.remove(["card-30", "card-2"])
        assert len(two) == 19
        assert "card-2" in one


def test_readers_stay_right_while_a_writer_works(path: Path, encoder: FakeEncoder) -> None:
    """Old readers, new readers and the writer's own object, all searching while rows come, go and are renumbered."""
    vectors = encoder.encode([picture(seed) for seed in range(20)])
    old = Catalog.open(path)
    shared = Catalog.open(path)
    stop = threading.Event()
    wrong: list[object] = []

    def check(snapshot: Any) -> None:
        rows, scores = snapshot.search(vectors[10:], 1, where={"language": ["en", "de"]})
        ids = [card_id for card_id, _ in snapshot.cards(rows[:, 0])]
        if ids != [f"card-{seed}" for seed in range(10, 20)] or not (scores > 0.9999).all():
            wrong.append((ids, scores))

    def read() -> None:
        while not stop.is_set():
            with Catalog.open(path) as fresh:
                for catalog in (old, shared, fresh):
                    check(catalog.snapshot())

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for turn in range(10):
            shared.append(items(range(100 + turn * 5, 105 + turn * 5)), encoder=encoder, near=None)
            shared.remove([f"card-{100 + turn * 5}", f"card-{turn}"])
            if turn % 3 == 2:
                shared.compact()
        stop.set()
        for reader in readers:
            reader.result()
    assert not wrong, wrong[0]
    assert len(old) == 20
    assert len(ids_in(old)) == 20
    old.close()
    shared.close()
