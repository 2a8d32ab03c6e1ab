"""Building catalogs: from pictures and vectors, in new folders and in place of others; what is reported."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from small_catalog import DIMENSION, FakeEncoder, Item, files_of, ids_in, item, items, make, picture

from cardrec.catalog import Catalog
from cardrec.duplicates import find_duplicates
from cardrec.errors import CatalogError, InputError
from cardrec.store import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("template") / "catalog")


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "catalog"))


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


def test_build_streams_in_batches(tmp_path: Path, encoder: FakeEncoder) -> None:
    taken = 0

    def stream() -> Iterator[Item]:
        nonlocal taken
        for seed in range(100):
            assert taken - sum(encoder.calls) <= 16
            taken += 1
            yield item(seed)

    seen: list[tuple[str, int, int | None]] = []
    report = Catalog.build(
        tmp_path / "c", stream(), encoder=encoder, calibration=None, progress=lambda *state: seen.append(state)
    )
    assert report.added == 100
    assert max(encoder.calls) == 16
    assert seen[0] == ("encode", 16, None)
    assert ("encode", 100, None) in seen
    assert seen[-1] == ("duplicates", 100, 100)


def test_unreadable_pictures_are_skipped_and_reported(tmp_path: Path, encoder: FakeEncoder) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    odd: list[Any] = [
        ("missing", tmp_path / "missing.png", {}),
        ("folder", tmp_path, {}),
        ("empty", str(tmp_path / "empty.png"), {}),
        ("text", tmp_path / "text.png", {}),
        ("floats", np.ones((8, 8, 3)), {}),
        ("grey", np.full((16, 16), 9, np.uint8), {}),
    ]
    told: list[tuple[str, str, str]] = []
    mixed = [*items(range(3)), *odd, *items(range(3, 40))]
    report = Catalog.build(
        tmp_path / "c", mixed, encoder=encoder, on_skip=lambda *skip: told.append(skip), progress=lambda *_: None
    )
    assert report.added == 40
    assert [skip.card_id for skip in report.skipped] == ["missing", "folder", "empty", "text", "floats", "grey"]
    assert report.skipped[0].source == str(tmp_path / "missing.png")
    assert all(skip.reason for skip in report.skipped)
    assert told == report.skipped
    with Catalog.open(tmp_path / "c") as catalog:
        assert ids_in(catalog) == sorted(f"card-{seed}" for seed in range(40))


def test_a_build_of_which_nothing_is_readable_is_an_error(tmp_path: Path, encoder: FakeEncoder) -> None:
    with pytest.raises(CatalogError, match=r"none of 2 pictures .*a\.png"):
        Catalog.build(tmp_path / "c", [("a", "a.png", {}), ("b", "b.png", {})], encoder=encoder)
    assert not (tmp_path / "c").exists()


def test_the_machines_faults_are_no_skipped_pictures(tmp_path: Path, encoder: FakeEncoder) -> None:
    def full(images: object) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    encoder.encode = full  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left"):
        Catalog.build(tmp_path / "c", items(range(3)), encoder=encoder)
    assert not (tmp_path / "c").exists()


def test_a_repeated_card_id_is_an_error(tmp_path: Path, encoder: FakeEncoder) -> None:
    for gap in (0, 1, 30):  # next to each other, in one batch, in different batches
        repeated = [item(0), *items(range(1, 1 + gap)), item(99, "card-0")]
        with pytest.raises(CatalogError, match=r"'card-0' occurs twice.*keep-all"):
            Catalog.build(tmp_path / "c", repeated, encoder=encoder)
        with pytest.raises(CatalogError, match="'card-0' occurs twice"):
            Catalog.from_vectors(tmp_path / "c", [each[0] for each in repeated], np.ones((len(repeated), 4)))
        assert not (tmp_path / "c").exists()


def test_keep_all_keeps_every_view(tmp_path: Path, encoder: FakeEncoder) -> None:
    views: list[Item] = [item(0), item(1, "card-0"), item(2)]
    report = Catalog.build(tmp_path / "c", views, encoder=encoder, on_duplicate="keep-all")
    assert report.added == 3
    with Catalog.open(tmp_path / "c") as catalog:
        catalog.append([item(3, "card-0")], encoder=encoder, on_duplicate="keep-all")
        assert ids_in(catalog) == ["card-0", "card-0", "card-0", "card-2"]
        assert catalog.remove(["card-0"]) == 3
        assert ids_in(catalog) == ["card-2"]


@pytest.mark.parametrize(
    "bad",
    [
        ("a", picture(0)),
        ["a", picture(0), {}],
        ("", picture(0), {}),
        ("  ", picture(0), {}),
        (7, picture(0), {}),
        ("x" * 1001, picture(0), {}),
        ("\udc80", picture(0), {}),
        ("a", picture(0), None),
        ("a", picture(0), {1: "x"}),
        ("a", picture(0), {"x": float("nan")}),
        ("a", picture(0), {"x": object()}),
        ("a", picture(0), {"x": "\ud800"}),
    ],
)
def test_bad_items_are_named(tmp_path: Path, encoder: FakeEncoder, bad: Any) -> None:
    with pytest.raises(InputError, match=r"expected|not valid JSON"):
        Catalog.build(tmp_path / "c", [item(1), bad], encoder=encoder)
    assert not (tmp_path / "c").exists()


def test_bad_options(tmp_path: Path, encoder: FakeEncoder) -> None:
    for options in (
        {"on_duplicate": "merge"},
        {"dtype": "int8"},
        {"calibration": {"min_score": float("nan")}},
        {"calibration": {"min_score": object()}},
        {"calibration": {"text": "x" * 600_000}},
    ):
        with pytest.raises(InputError, match=r"expected|can't start"):
            Catalog.build(tmp_path / "c", items(range(2)), encoder=encoder, **options)
        assert not (tmp_path / "c").exists()


def test_odd_ids_and_metadata_come_back_as_they_were(tmp_path: Path, encoder: FakeEncoder) -> None:
    odd: list[Item] = [
        (
            "Glurak ex „☃“ '; DROP TABLE cards; --",
            picture(1),
            {"set": "ä", "number": 10**30, "foil": True, "x": [1, {"y": None}]},
        ),
        ("a\x00b\n", picture(2), {"name": None, "number": 7, "": 1.5}),
    ]
    Catalog.build(tmp_path / "c", odd, encoder=encoder)
    with Catalog.open(tmp_path / "c") as catalog:
        assert catalog.cards([0, 1]) == [(card_id, dict(meta)) for card_id, _, meta in odd]
        for where, row in (({"number": 10**30}, 0), ({"number": "7"}, 1), ({"foil": True}, 0), ({"": 1.5}, 1)):
            assert catalog.search(np.ones(DIMENSION), 5, where=where)[0].tolist() == [[row]]
        for card_id, _, _ in odd:
            assert card_id in catalog


def test_empty_catalog(tmp_path: Path, encoder: FakeEncoder) -> None:
    report = Catalog.build(tmp_path / "c", [], encoder=encoder)
    assert (report.added, report.skipped, report.duplicates) == (0, [], [])
    with Catalog.open(tmp_path / "c") as catalog:
        assert len(catalog) == 0
        rows, scores = catalog.search(np.ones((3, DIMENSION)), 5, where={"set": "A"})
        assert rows.shape == scores.shape == (3, 0)
        with pytest.raises(InputError, match="32 dimensions"):
            catalog.search(np.ones(5), 1)
        with pytest.raises(InputError):
            catalog.search(np.zeros(DIMENSION), 1)
        catalog.verify()
        catalog.compact()
        catalog.append(items(range(2)), encoder=encoder)
        assert ids_in(catalog) == ["card-0", "card-1"]
        catalog.remove(["card-0", "card-1"])
        assert catalog.search(np.ones(DIMENSION), 5)[0].shape == (1, 0)
        catalog.compact()
        assert (len(catalog), catalog.info()["segments"]) == (0, 0)
        assert not any((tmp_path / "c/segments").iterdir())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_from_vectors_scales_rows_and_is_exact(tmp_path: Path, dtype: Any) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(3000, 48)) * generator.lognormal(0, 20, (3000, 1))
    names = [str(index) for index in range(3000)]
    with Catalog.from_vectors(tmp_path / "c", names, vectors, dtype=dtype) as catalog:
        catalog.verify()
        queries = vectors[::100] / np.linalg.norm(vectors[::100], axis=1, keepdims=True)
        rows, _ = catalog.search(queries, 5)
        stored = catalog.snapshot().vectors(np.arange(3000)).astype(np.float64)
        expected = np.argsort(-(queries @ stored.T), axis=1, kind="stable")[:, :5]
        np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    ("vectors", "count"),
    [
        (np.ones(4), 4),
        (np.ones((2, 0)), 2),
        (np.ones((2, 4)), 3),
        (np.zeros((2, 4)), 2),
        (np.array([[1.0, np.inf]]), 1),
        (np.ones((1, 2), complex), 1),
        (np.array([["a"]]), 1),
    ],
)
def test_from_vectors_refuses_bad_arrays(tmp_path: Path, vectors: Any, count: int) -> None:
    with pytest.raises(InputError, match=r"was expected|were expected"):
        Catalog.from_vectors(tmp_path / "c", [str(index) for index in range(count)], vectors)
    assert not (tmp_path / "c").exists()


def test_equal_input_gives_equal_files(tmp_path: Path) -> None:
    assert files_of(make(tmp_path / "a")) == files_of(make(tmp_path / "b"))


# duplicates


def test_duplicates_are_reported_not_merged(tmp_path: Path, encoder: FakeEncoder) -> None:
    close = picture(5).copy()
    close[0, 0] ^= 255
    given = [*items(range(40)), ("same-5", picture(5), {}), ("close-5", close, {}), ("same-30", picture(30), {})]
    report = Catalog.build(tmp_path / "c", given, encoder=encoder, near=0.99)
    kinds = {(pair.first, pair.second): pair.kind for pair in report.duplicates}
    assert kinds == {
        ("card-5", "same-5"): "exact",
        ("card-30", "same-30"): "exact",
        ("card-5", "close-5"): "near",
        ("same-5", "close-5"): "near",
    }
    assert report.added == 43
    with Catalog.open(tmp_path / "c") as catalog:
        appended = catalog.append([("again-7", picture(7), {}), item(50)], encoder=encoder)
        assert [pair[:2] + pair[3:] for pair in appended.duplicates] == [("card-7", "again-7", "exact")]


def test_duplicates_behind_many_views_of_one_card(tmp_path: Path, encoder: FakeEncoder) -> None:
    views: list[Item] = [("many", picture(1), {})] * 60
    given = [*views, ("other", picture(1), {}), *items(range(2, 20))]
    report = Catalog.build(tmp_path / "c", given, encoder=encoder, on_duplicate="keep-all", dtype="float16")
    assert [(pair.first, pair.second, pair.kind) for pair in report.duplicates] == [("many", "other", "exact")]
    assert report.duplicates[0].cosine == pytest.approx(1.0)


def test_removed_cards_are_no_duplicates(tmp_path: Path, encoder: FakeEncoder) -> None:
    given: list[Item] = [item(0), ("same-0", picture(0), {}), item(1), ("same-1", picture(1), {})]
    Catalog.build(tmp_path / "c", given, encoder=encoder)
    with Catalog.open(tmp_path / "c") as catalog:
        catalog.remove(["same-0", "card-1"])
        assert find_duplicates(catalog.snapshot()) == []
        report = catalog.append([("again-0", picture(0), {}), ("again-1", picture(1), {})], encoder=encoder)
        assert [pair[:2] for pair in report.duplicates] == [("card-0", "again-0"), ("same-1", "again-1")]


def test_duplicates_of_one_picture_are_bounded(tmp_path: Path, encoder: FakeEncoder) -> None:
    report = Catalog.build(tmp_path / "c", [(str(index), picture(0), {}) for index in range(200)], encoder=encoder)
    assert 199 <= len(report.duplicates) <= 8 * 200
    assert {each for pair in report.duplicates for each in pair[:2]} == {str(index) for index in range(200)}


def test_near_is_checked_and_can_be_left_out(tmp_path: Path, encoder: FakeEncoder) -> None:
    same: list[Item] = [("a", picture(0), {}), ("b", picture(0), {})]
    assert Catalog.build(tmp_path / "c", same, encoder=encoder, near=None).duplicates == []
    with pytest.raises(InputError, match=r"near is 1\.5"):
        Catalog.build(tmp_path / "d", same, encoder=encoder, near=1.5)
    assert not (tmp_path / "d").exists()


# the folder


def test_build_refuses_an_existing_catalog(path: Path, encoder: FakeEncoder) -> None:
    before = files_of(path)
    with pytest.raises(CatalogError, match="overwrite=True"):
        Catalog.build(path, items(range(2)), encoder=encoder)
    assert files_of(path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_build_refuses_a_foreign_folder(tmp_path: Path, encoder: FakeEncoder, overwrite: bool) -> None:
    for name, text in (("thesis.tex", "x"), ("catalog.json", '{"books": 3}')):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(CatalogError, match=r"choose|overwrite"):
            Catalog.build(folder, items(range(2)), encoder=encoder, overwrite=overwrite)
        assert [each.name for each in folder.iterdir()] == [name]
        assert (folder / name).read_text() == text


def test_overwrite_replaces_the_catalog_and_nothing_else(path: Path, encoder: FakeEncoder) -> None:
    foreign = ["notes.txt", "segments/notes.txt", "segments/00000001/notes.txt", "segments/mine/vectors.npy"]
    for name in foreign:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(name)
    reader = Catalog.open(path)
    Catalog.build(path, items(range(50, 53)), encoder=encoder, overwrite=True)
    with Catalog.open(path) as catalog:
        assert ids_in(catalog) == ["card-50", "card-51", "card-52"]
        catalog.verify()
    assert all((path / name).read_text() == name for name in foreign)
    assert not (path / "segments/00000001/vectors.npy").exists()
    assert len(ids_in(reader)) == 20  # opened before


def test_a_failed_overwrite_keeps_the_old_catalog(path: Path, encoder: FakeEncoder) -> None:
    before = files_of(path)
    with pytest.raises(CatalogError, match="occurs twice"):
        Catalog.build(path, [*items(range(40)), item(0)], encoder=encoder, overwrite=True)
    assert files_of(path) == before


def test_a_damaged_catalog_can_be_overwritten_and_is_kept_until_then(path: Path, encoder: FakeEncoder) -> None:
    (path / "catalog.json").write_bytes(b"")
    before = files_of(path)
    with pytest.raises(CatalogError, match="occurs twice"):
        Catalog.build(path, [item(0), item(0)], encoder=encoder, overwrite=True)
    assert files_of(path) == before
    Catalog.build(path, items(range(3)), encoder=encoder, overwrite=True)
    with Catalog.open(path) as catalog:
        assert len(catalog) == 3
    assert [each.name for each in (path / "segments").iterdir()] == ["00000002"]


def test_missing_paths_are_the_systems_errors(tmp_path: Path, encoder: FakeEncoder) -> None:
    with pytest.raises(FileNotFoundError):
        Catalog.open(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        Catalog.open(tmp_path / "file")
    with pytest.raises(FileExistsError):
        Catalog.build(tmp_path / "file", [], encoder=encoder)


def test_closed_catalog(path: Path) -> None:
    catalog = Catalog.open(path)
    catalog.close()
    catalog.close()
    for use in (lambda: len(catalog), lambda: catalog.search(np.ones(DIMENSION), 1), catalog.verify, catalog.compact):
        with pytest.raises(CatalogError, match="closed"):
            use()


def test_reading_writes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / LOCK).unlink()
    real_open = os.open

    def read_only(name: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system", str(name))
        return real_open(name, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", read_only)
    for each in [path, *path.rglob("*")]:
        each.chmod(0o555 if each.is_dir() else 0o444)
    before = {each: each.stat().st_mtime_ns for each in [path, *path.rglob("*")]}
    with Catalog.open(path) as catalog:
        assert len(ids_in(catalog)) == 20
        catalog.verify()
        with pytest.raises(OSError, match=r"Read-only|Permission"):
            catalog.remove(["card-1"])
        assert len(catalog) == 20
    assert {each: each.stat().st_mtime_ns for each in [path, *path.rglob("*")]} == before
    for each in [path, *path.rglob("*")]:
        each.chmod(0o755)
