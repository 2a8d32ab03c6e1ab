"""Fixtures that several tests use. What costs a second or more to make is made once for the session."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest
from bundles import FLOATS
from card_server import CardServer, card_server
from cloud_fixtures import cloud_toml, s3, service, services
from command import Run
from fake_hailo import tiny_compiled, tiny_model
from pictures import card_picture, photo
from PIL import Image
from under_way import Desk, nothing_left

from cardrec import Catalog, Recognizer, calibrate
from cardrec.backends.simulated import make_bundle, write_bundle
from cardrec.embed import Embedder
from cardrec.model import Model
from cardrec.samples import Sample, known_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cloud_toml", "s3", "service", "services"]

TINY_CARDS = 8
NPU_CARDS = 28


@pytest.fixture(scope="session", autouse=True)
def few_captures() -> Iterator[None]:
    """Catalogs are calibrated on a few simulated photos: on as many as for users it takes seconds for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "CAPTURES", 32)
        yield


@pytest.fixture
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No thread is left after the test, nothing waits for the garbage collector, and no complaint is logged."""
    with nothing_left(caplog):
        yield


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Where frames are identified when the test says so; what is left is done at the end."""
    made = Desk()
    yield made
    made.finish_all()


@pytest.fixture
def server() -> Iterator[CardServer]:
    """A web server that answers as the test says."""
    with card_server() as running:
        yield running


@pytest.fixture
def run() -> Run:
    """Runs `cardrec` with some arguments in this process."""
    return Run()


@pytest.fixture(scope="session")
def recognizer() -> Iterator[Recognizer]:
    """A recognizer with the bundled model and the demo catalog."""
    with Recognizer() as opened:
        yield opened


@pytest.fixture(scope="session")
def embedder() -> Iterator[Embedder]:
    """The bundled model for catalogs."""
    with Embedder() as opened:
        yield opened


@pytest.fixture(scope="session")
def sample() -> Sample:
    """A bundled photo that shows one card of the demo catalog, and which."""
    sample = known_sample()
    assert sample is not None
    return sample


@pytest.fixture(scope="session")
def sample_photo(sample: Sample) -> Path:
    """A bundled photo that shows one card of the demo catalog."""
    return sample.path


@pytest.fixture(scope="session")
def card_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images of a few cards: c0.png, c1.png, ..."""
    folder = tmp_path_factory.mktemp("cards")
    for seed in range(TINY_CARDS):
        cv2.imwrite(str(folder / f"c{seed}.png"), card_picture(seed))
    return folder


@pytest.fixture(scope="session")
def tiny_catalog(tmp_path_factory: pytest.TempPathFactory, card_folder: Path, embedder: Embedder) -> Path:
    """A catalog of those cards, read-only by agreement: name, set (S0 even, S1 odd) and language as metadata."""
    path = tmp_path_factory.mktemp("catalogs") / "tiny.cardrec"
    items = [
        (f"c{seed}", card_folder / f"c{seed}.png", {"name": f"Card {seed}", "set": f"S{seed % 2}", "language": "en"})
        for seed in range(TINY_CARDS)
    ]
    Catalog.build(path, items, encoder=embedder)
    return path


@pytest.fixture(scope="session")
def photo_of_c3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of card c3 of the tiny catalog."""
    path = tmp_path_factory.mktemp("photos") / "c3.jpg"
    cv2.imwrite(str(path), photo([card_picture(3)]))
    return path


@pytest.fixture
def own_catalog(tiny_catalog: Path, tmp_path: Path) -> Path:
    """A copy of the tiny catalog, to change."""
    return Path(shutil.copytree(tiny_catalog, tmp_path / "own.cardrec"))


@pytest.fixture
def blank_photo(tmp_path: Path) -> Path:
    """A grey picture without a card."""
    path = tmp_path / "blank.png"
    Image.new("RGB", (320, 240), (90, 90, 90)).save(path)
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A bundle with a network of microseconds for a simulated Hailo-8, see `fake_hailo`."""
    folder = tmp_path_factory.mktemp("tiny")
    model = tiny_model(folder / "plain")
    return write_bundle(model, folder / "compiled", tiny_compiled(model))


@pytest.fixture(scope="session")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The bundled model with what a simulated Hailo-8 makes of its floats, which is not what the CPU has."""
    from quantised_network import quantise, rendered_cards

    folder, cards = tmp_path_factory.mktemp("quantised"), rendered_cards()
    network = quantise(Model.load(FLOATS).network, folder, cards)
    return make_bundle(Model.load(), folder / "bundle", cards, network=network)


@pytest.fixture(scope="session")
def npu_cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of two sets of cards."""
    folder = tmp_path_factory.mktemp("cards") / "shop"
    folder.mkdir()
    for seed in range(NPU_CARDS):
        cv2.imwrite(str(folder / f"S{seed % 2}-{seed}.png"), card_picture(seed))
    return folder


@pytest.fixture(scope="session")
def npu_set(npu_cards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of them 64 pictures to calibrate a compiler on, and 8 photos to judge by."""
    from training import calibrate_npu

    out = tmp_path_factory.mktemp("npu") / "set"
    numbers = ["--pictures", "64", "--photos", "8", "--references", "14", "--processes", "0"]
    calibrate_npu.main(["--images", str(npu_cards), "--out", str(out), *numbers])
    return out
