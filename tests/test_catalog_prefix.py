"""Catalogs large enough for prefixes: kept through every change, checked by verify, never needed for a result."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_catalog import SEGMENT, content_of, refuses, reseal, reseal_file
from numpy.typing import NDArray
from small_catalog import Item, files_of
from vectors import decaying_rows

from cardrec import manifest
from cardrec.catalog import Catalog
from cardrec.errors import CatalogFormatError, InputError
from cardrec.search import Matrix, QuantisedVectors, quantise

ROWS, DIMENSION, APPENDED = 4500, 64, 100


class RowEncoder:
    """Takes pictures whose first bytes are the vector itself."""

    fingerprint = preprocessing_hash = "unknown"
    dimension = DIMENSION

    def encode(self, images: list[Any], /) -> NDArray[np.float32]:
        return np.stack([np.frombuffer(image.tobytes(), np.float32) for image in images])


def append(catalog: Catalog, rows: NDArray[np.float32], prefix: str) -> None:
    pictures = rows.view(np.uint8).reshape(len(rows), 8, -1)
    items: list[Item] = [(f"{prefix}{n}", picture, {}) for n, picture in enumerate(pictures)]
    catalog.append(items, encoder=RowEncoder(), near=None)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4,500 cards, 100 appended, some removed."""
    path = tmp_path_factory.mktemp("template") / "catalog"
    ids = [f"card-{row}" for row in range(ROWS)]
    with Catalog.from_vectors(path, ids, decaying_rows(ROWS, DIMENSION, 0)) as catalog:
        append(catalog, decaying_rows(APPENDED, DIMENSION, 1), "late-")
        catalog.remove(["card-7", "late-3"])
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "catalog"))


def found(catalog: Catalog) -> list[tuple[str, float]]:
    rows, scores = catalog.search(decaying_rows(6, DIMENSION, 2), 5)
    pairs = zip(catalog.cards(rows.ravel()), scores.ravel().tolist(), strict=True)
    return [(card_id, score) for (card_id, _), score in pairs]


def without_prefixes(path: Path) -> list[tuple[str, float]]:
    """The same search in the bare rows."""
    with Catalog.open(path) as catalog:
        state = catalog.snapshot()
        live = state.live_rows()
        bare = Matrix([quantise(state.vectors(live))])
        rows, scores = bare.search(decaying_rows(6, DIMENSION, 2), 5)
        return [
            (state.card(live[row])[0], score) for row, score in zip(rows.flat, scores.ravel().tolist(), strict=True)
        ]


def test_every_segment_has_prefixes_in_the_basis_of_the_first(path: Path) -> None:
    content = content_of(path)
    assert content["basis"] == 16
    first, second = content["segments"]
    assert {"basis.npy", "prefix.npy"} <= set(first["files"])
    assert "prefix.npy" in second["files"] and "basis.npy" not in second["files"]
    with Catalog.open(path) as catalog:
        assert catalog.verify().rows == ROWS + APPENDED
        assert found(catalog) == without_prefixes(path)


def test_integers_from_an_accelerator_are_searched(path: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(5).integers(0, 256, (3, DIMENSION), np.uint8)
    with Catalog.open(path) as catalog:
        rows, scores = catalog.search(QuantisedVectors(values, 0.01, 128), 4)
        expected = catalog.search(values.astype(np.float32) - 128, 4)
        np.testing.assert_array_equal(rows, expected[0])
        np.testing.assert_array_equal(scores, expected[1])
    with Catalog.from_vectors(tmp_path / "empty", [], np.zeros((0, DIMENSION))) as empty:
        assert empty.search(QuantisedVectors(values, 0.01, 128), 4)[0].shape == (3, 0)
        with pytest.raises(InputError, match="dimensions"):
            empty.search(QuantisedVectors(values[:, 1:], 0.01, 128), 4)


def test_rows_that_the_basis_does_not_see_are_appended(tmp_path: Path) -> None:
    """Directions that were dead when the basis was chosen: the new rows' coordinates are all zero."""
    rows = decaying_rows(ROWS, DIMENSION, 0)
    rows[:, 40:] = 0.0
    unseen = np.zeros((80, DIMENSION), np.float32)
    unseen[:, 50] = 1.0
    with Catalog.from_vectors(tmp_path / "dead", [f"card-{row}" for row in range(ROWS)], rows) as catalog:
        append(catalog, unseen, "late-")
        assert catalog.card(catalog.search(unseen[0], 1)[0][0, 0]) == ("late-0", {})
        catalog.verify()


def test_an_append_too_small_for_pruning_has_no_prefixes(path: Path) -> None:
    with Catalog.open(path) as catalog:
        append(catalog, decaying_rows(40, DIMENSION, 3), "few-")
        assert content_of(path)["segments"][2]["prefix"] is None
        assert found(catalog) == without_prefixes(path)


def test_compact_keeps_results_and_chooses_a_basis_anew(path: Path) -> None:
    with Catalog.open(path) as catalog:
        before = found(catalog)
        catalog.compact()
        assert found(catalog) == before
        catalog.verify()
    assert content_of(path)["basis"] == 16
    assert len(content_of(path)["segments"]) == 1


def test_a_catalog_that_becomes_small_or_empty_has_no_basis(path: Path) -> None:
    with Catalog.open(path) as catalog:
        catalog.remove([f"card-{row}" for row in range(1000) if row != 7])
        catalog.compact()
        assert content_of(path)["basis"] is None
        catalog.remove([catalog.card(row)[0] for row in range(len(catalog))])
        catalog.compact()
        assert content_of(path)["segments"] == []
        append(catalog, decaying_rows(40, DIMENSION, 3), "new-")
        assert len(catalog) == 40
        catalog.verify()


def test_the_first_format_is_read_and_written_anew(path: Path) -> None:
    content = content_of(path)
    del content["basis"]
    content["format"] = 1
    for segment in content["segments"]:
        del segment["prefix"]
        for name in ("prefix.npy", "basis.npy", "twins.npy"):
            segment["files"].pop(name, None)
    (path / "catalog.json").write_bytes(manifest.seal(content))
    with Catalog.open(path) as catalog:
        catalog.verify()
        assert found(catalog) == without_prefixes(path)
        append(catalog, decaying_rows(40, DIMENSION, 3), "new-")
        assert content_of(path)["format"] == 3  # the new segment has twins
        assert content_of(path)["basis"] is None
        assert not [name for name in files_of(path) if name.endswith(("basis.npy", "prefix.npy"))]


def test_what_a_killed_writer_left_is_swept(path: Path) -> None:
    left = path / "segments" / "00000099"
    left.mkdir()
    for name in ("vectors.npy", "prefix.npy", "basis.npy"):
        (left / name).write_bytes(b"half a file")
    with Catalog.open(path) as catalog:
        catalog.remove(["card-8"])
    assert not left.exists()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_a_segment_holds_few_open_files(path: Path) -> None:
    """As many segments as a catalog may have must fit, in three states at once, into 1,024."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Catalog.open(path) as catalog:
        held = len(list(Path("/proc/self/fd").iterdir())) - before
        segments = len(catalog.snapshot().segments)
        assert 3 * manifest.MAX_SEGMENTS * held / segments < 1000
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


# --- damage


@pytest.mark.parametrize("name", ["scales.npy", "errors.npy"])
@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_bounds_that_would_exclude_the_best_are_refused(path: Path, name: str, value: float) -> None:
    file = path / SEGMENT / name
    data = bytearray(file.read_bytes())
    data[8000:8004] = np.float32(value).tobytes()  # between the edges whose checksum is looked at
    file.write_bytes(data)
    refuses(path, name, "negative or NaN")


def test_damaged_prefixes_are_found(path: Path) -> None:
    file = path / SEGMENT / "prefix.npy"
    data = bytearray(file.read_bytes())
    data[20_000] ^= 1
    file.write_bytes(data)
    with Catalog.open(path) as catalog, pytest.raises(CatalogFormatError, match=r"prefix\.npy"):
        catalog.verify()


@pytest.mark.parametrize("name", ["prefix.npy", "basis.npy"])
def test_files_that_do_not_belong_to_the_rows_are_found(path: Path, name: str) -> None:
    """Sound by every checksum, but of other rows."""
    file = path / SEGMENT / name
    data = file.read_bytes()
    array = np.frombuffer(data, np.int8 if name == "prefix.npy" else np.float32, offset=128)
    rows = array.reshape(-1, 5 * 16 * 4 if name == "prefix.npy" else DIMENSION)
    file.write_bytes(data[:128] + rows[::-1].tobytes())
    reseal_file(path, name)
    with Catalog.open(path) as catalog, pytest.raises(CatalogFormatError, match="does not agree"):
        catalog.verify()


def test_a_basis_that_is_no_rotation_is_refused(path: Path) -> None:
    file = path / SEGMENT / "basis.npy"
    data = file.read_bytes()
    for content in (np.ones(16 * DIMENSION, np.float32), np.full(16 * DIMENSION, np.nan, np.float32)):
        file.write_bytes(data[:128] + content.tobytes())
        reseal_file(path, "basis.npy")
        refuses(path, "basis.npy", "is no rotation")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(basis=6),
        lambda content: content.update(basis=0),
        lambda content: content.update(basis=68),
        lambda content: content.update(basis=8),
        lambda content: content.update(basis=16.0),
        lambda content: content.update(basis=None),
        lambda content: content.pop("basis"),
        lambda content: content.update(format=1),
        lambda content: content["segments"][0].pop("prefix"),
        lambda content: content["segments"][0].update(prefix=None),
        lambda content: content["segments"][0].update(prefix=[1.0, 1.0, 1.0]),
        lambda content: content["segments"][0]["prefix"].update(scale=0.0),
        lambda content: content["segments"][0]["prefix"].update(scale=1),
        lambda content: content["segments"][0]["prefix"].update(error=1e300),
        lambda content: content["segments"][0]["prefix"].update(norm=-1.0),
        lambda content: content["segments"][0]["prefix"].pop("norm"),
        lambda content: content["segments"][0]["files"].pop("basis.npy"),
        lambda content: content["segments"][1]["files"].pop("prefix.npy"),
    ],
)
def test_a_manifest_with_wrong_prefixes_is_refused(path: Path, change: Any) -> None:
    reseal(path, change)
    refuses(path, "segments" if content_of(path).get("basis") == 8 else "catalog.json")


@pytest.mark.parametrize("name", ["prefix.npy", "basis.npy"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "longer", "a link"])
def test_files_that_are_not_as_the_manifest_says_are_refused(path: Path, name: str, fault: str, tmp_path: Path) -> None:
    file = path / SEGMENT / name
    data = file.read_bytes()
    file.unlink()
    if fault == "truncated":
        file.write_bytes(data[:-1])
    elif fault == "longer":
        file.write_bytes(data + b"x")
    elif fault == "a link":
        (tmp_path / name).write_bytes(data)
        file.symlink_to(tmp_path / name)
    refuses(path, name)
