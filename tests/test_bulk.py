"""Engines: batches in order, pictures prepared ahead, what can't be used, what goes wrong on the way."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from small_catalog import DIMENSION, FakeEncoder, Item, files_of, items, picture

from cardrec.bulk import AHEAD, Batch, LocalEngine, Pending
from cardrec.catalog import Catalog
from cardrec.embed import Embedder, Prepared
from cardrec.errors import CatalogError, InputError
from cardrec.image import load
from cardrec.types import ImageLike

WAIT_S = 30


class PreparingEncoder(FakeEncoder):
    """Prepares pictures as an `Embedder` does, and keeps which, and on which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[tuple[object, str]] = []

    def prepare(self, image: ImageLike) -> Prepared:
        self.prepared.append((image, threading.current_thread().name))
        return Prepared(load(image).pixels)

    def encode(self, images: list[ImageLike], /) -> NDArray[np.float32]:
        return super().encode([each.pixels if isinstance(each, Prepared) else each for each in images])


def batches(count: int, size: int = 4) -> Iterator[Batch]:
    for start in range(0, count, size):
        yield [Pending(f"card-{seed}", "{}", picture(seed)) for seed in range(start, min(start + size, count))]


@pytest.fixture
def encoder() -> PreparingEncoder:
    return PreparingEncoder()


@pytest.mark.parametrize("count", [0, 1, 4, 5, 4 * AHEAD, 4 * AHEAD + 5, 50])
def test_every_batch_comes_back_in_order_with_its_vectors(encoder: PreparingEncoder, count: int) -> None:
    done = list(LocalEngine(encoder).run(batches(count)))
    assert [card.card_id for batch, _ in done for card in batch] == [f"card-{seed}" for seed in range(count)]
    for batch, outcomes in done:
        expected = FakeEncoder().encode([card.image for card in batch])
        np.testing.assert_allclose(np.stack(outcomes), expected, atol=1e-6)  # type: ignore[arg-type]
    assert len(encoder.prepared) == count


def test_pictures_are_prepared_while_others_are_encoded(encoder: PreparingEncoder) -> None:
    """And not more of them than said: whole catalogs would not fit into memory."""
    ahead = threading.Event()
    encode, prepare = encoder.encode, encoder.prepare
    most = 0

    def preparing(image: ImageLike) -> Prepared:
        if len(encoder.prepared) >= 4 * AHEAD:
            ahead.set()
        return prepare(image)

    def encoding(images: list[ImageLike], /) -> NDArray[np.float32]:
        nonlocal most
        assert ahead.wait(WAIT_S), "nothing was prepared ahead"
        most = max(most, len(encoder.prepared) - sum(encoder.calls))
        return encode(images)

    encoder.encode, encoder.prepare = encoding, preparing  # type: ignore[method-assign]
    assert len(list(LocalEngine(encoder).run(batches(80)))) == 20
    assert most <= 4 * (AHEAD + 1)


def test_only_what_several_threads_may_decode_is_prepared_on_others(encoder: PreparingEncoder, tmp_path: Path) -> None:
    Image.fromarray(picture(1)).save(tmp_path / "a.png")
    given: list[ImageLike] = [tmp_path / "a.png", str(tmp_path / "a.png"), picture(2), Image.fromarray(picture(3))]
    list(LocalEngine(encoder).run(iter([[Pending("a", "{}", image) for image in given]])))
    here = threading.current_thread().name
    assert sorted((type(image).__name__, name == here) for image, name in encoder.prepared) == [
        ("Image", True),
        ("PosixPath", False),
        ("ndarray", False),
        ("str", False),
    ]


def test_the_rest_of_a_batch_is_encoded_together(encoder: PreparingEncoder, tmp_path: Path) -> None:
    cards = next(batches(6, 6))
    cards[2] = Pending("gone", "{}", tmp_path / "gone.png")
    ((_, outcomes),) = LocalEngine(encoder).run(iter([cards]))
    assert isinstance(outcomes[2], FileNotFoundError)
    assert [isinstance(outcome, Exception) for outcome in outcomes].count(True) == 1
    assert encoder.calls == [5]


def test_pictures_that_the_encoder_refuses_are_found_one_by_one(encoder: PreparingEncoder) -> None:
    cards = next(batches(5, 5))
    cards[1] = Pending("grey", "{}", np.full((16, 16), 9, np.uint8))
    ((_, outcomes),) = LocalEngine(encoder).run(iter([cards]))
    assert isinstance(outcomes[1], InputError) and "no direction" in str(outcomes[1])
    assert encoder.calls == [5, 1, 1, 1, 1, 1]


def test_a_batch_without_a_usable_picture(encoder: PreparingEncoder, tmp_path: Path) -> None:
    ((_, outcomes),) = LocalEngine(encoder).run(iter([[Pending("gone", "{}", tmp_path / "gone.png")]]))
    assert isinstance(outcomes[0], FileNotFoundError) and encoder.calls == []


@pytest.mark.parametrize("ahead", [True, False])
def test_what_the_source_raises_comes_in_its_turn(ahead: bool) -> None:
    def faulty() -> Iterator[Batch]:
        yield from batches(8)
        raise InputError("item 9 is no card")

    engine = LocalEngine(PreparingEncoder() if ahead else FakeEncoder())
    run = engine.run(faulty())
    assert [len(next(run)[0]) for _ in range(2)] == [4, 4]
    with pytest.raises(InputError, match="item 9"):
        next(run)


def test_the_machines_faults_end_the_run(encoder: PreparingEncoder) -> None:
    def full(image: ImageLike) -> Prepared:
        raise OSError(errno.EMFILE, "Too many open files")

    encoder.prepare = full  # type: ignore[method-assign]
    with pytest.raises(OSError, match="Too many open files"):
        list(LocalEngine(encoder).run(batches(4)))


def test_vectors_of_another_shape_are_the_encoders_fault(encoder: PreparingEncoder) -> None:
    encoder.dimension = DIMENSION + 1
    with pytest.raises(CatalogError, match=r"shape \(4, 32\)"):
        list(LocalEngine(encoder).run(batches(4)))


def test_no_thread_is_left_behind(encoder: PreparingEncoder) -> None:
    before = set(threading.enumerate())
    run = LocalEngine(encoder).run(batches(40))
    next(run)
    assert set(threading.enumerate()) > before
    run.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) == before


def test_an_engine_of_ones_own_builds_a_catalog(tmp_path: Path, encoder: PreparingEncoder) -> None:
    class Counting(LocalEngine):
        ran = 0

        def run(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, list[object]]]:  # type: ignore[override]
            for done in super().run(batches):
                self.ran += len(done[0])
                yield done  # type: ignore[misc]

    engine = Counting(encoder)
    Catalog.build(tmp_path / "a", items(range(20)), encoder=encoder, calibration=None, engine=engine)  # type: ignore[arg-type]
    Catalog.build(tmp_path / "b", items(range(20)), encoder=FakeEncoder(), calibration=None)
    assert engine.ran == 20
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_an_id_that_comes_again_is_an_error_whether_or_not_its_picture_can_be_read(tmp_path: Path) -> None:
    for gap in (0, 5, 90):
        gone: Item = ("twice", tmp_path / "gone.png", {})
        with pytest.raises(CatalogError, match="'twice' occurs twice"):
            Catalog.build(tmp_path / "c", [gone, *items(range(gap)), gone], encoder=FakeEncoder(), calibration=None)


@pytest.mark.parametrize("shape", [(32, 24, 3), (24, 32, 3), (500, 300, 3), (224, 224, 3), (40, 30)])
def test_prepared_pictures_have_the_vectors_of_the_pictures(embedder: Embedder, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    prepared = embedder.prepare(pixels)
    assert prepared.pixels.shape == (224, 224, 3)
    assert np.array_equal(embedder.encode(prepared), embedder.encode(pixels))
