"""Building a catalog on a Ray cluster: the same bytes as here, also if a machine is lost on the way."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Run
from PIL import Image
from small_catalog import Item, files_of, picture

ray = pytest.importorskip(
    "ray.data", reason="Ray is not installed: pip install 'cardrec[ray]'"
) and pytest.importorskip("ray")

from cardrec.bulk import Pending  # noqa: E402
from cardrec.bulk_ray import RayEngine, _check_identity, _check_seen, _Worker  # noqa: E402
from cardrec.catalog import Catalog  # noqa: E402
from cardrec.embed import Embedder  # noqa: E402
from cardrec.errors import CatalogMismatchError, InputError, ModelError  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own warnings are no errors of ours

MEMORY = 100_000_000
CARDS = 400


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that does no work."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        here = f"{Path(__file__).parents[1]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        patch.setenv("PYTHONPATH", here)  # the workers', which start elsewhere
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY})
        ray.init(address=made.address, log_to_driver=False, logging_level=logging.ERROR)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def two_workers(cluster: Any) -> Iterator[list[Any]]:
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=MEMORY) for _ in range(2)]
    yield nodes
    for node in nodes:
        if node in cluster.worker_nodes:
            cluster.remove_node(node)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, among them some that can't be used."""
    made: Path = tmp_path_factory.mktemp("pictures")
    for seed in range(CARDS):
        Image.fromarray(picture(seed)).save(made / f"{seed:04d}.png")
    (made / "0100x.png").write_text("no picture")
    (made / "0350x.png").touch()
    return made


def test_a_lost_worker_costs_no_card_and_no_bit(
    two_workers: list[Any], cluster: Any, folder: Path, tmp_path: Path, embedder: Embedder
) -> None:
    from cardrec.importer import open_items

    items: list[Item] = [*open_items(folder), ("gone", folder / "gone.png", {})]
    lost_at: list[int] = []

    def lose(stage: str, done: int, _total: int | None) -> None:
        if stage == "encode" and not lost_at:
            lost_at.append(done)
            cluster.remove_node(two_workers[0], allow_graceful=False)

    def build(name: str, **options: Any) -> Any:
        return Catalog.build(tmp_path / name, items, encoder=embedder, calibration=None, near=None, **options)

    there = build("ray", engine=RayEngine(), progress=lose)
    here = build("local")
    assert lost_at and lost_at[0] < CARDS / 2
    assert (there.added, there.skipped) == (CARDS, here.skipped) and len(here.skipped) == 3
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


def test_the_command(
    two_workers: list[Any], folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a relative path, from another folder than that of the workers."""
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(folder.iterdir())[:20]:
        (few / path.name).hardlink_to(path)
    (few / "text.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    told = {}
    for engine in ("local", "ray"):
        result = run("index", "build", "few", f"{engine}.cardrec", "--engine", engine, "--report", f"{engine}.csv")
        assert result.exit_code == 0, result.stderr
        told[engine] = Path(f"{engine}.csv").read_text()
    assert told["ray"] == told["local"] and "few/text.png" in told["ray"]
    assert files_of(Path("ray.cardrec")) == files_of(Path("local.cardrec"))


def test_a_model_that_the_workers_lack(
    two_workers: list[Any], folder: Path, tmp_path: Path, embedder: Embedder
) -> None:
    items: list[Item] = [("a", folder / "0000.png", {})]
    with pytest.raises(ModelError, match=r"model\.json does not exist"):
        Catalog.build(tmp_path / "c", items, encoder=embedder, engine=RayEngine(tmp_path / "none"))
    assert not (tmp_path / "c").exists()


def test_pictures_must_be_files(two_workers: list[Any], tmp_path: Path, embedder: Embedder) -> None:
    with pytest.raises(InputError, match="'a' is a ndarray; with Ray pictures are files"):
        Catalog.build(tmp_path / "c", [("a", picture(0), {})], encoder=embedder, engine=RayEngine())


def test_no_card_at_all(cluster: Any) -> None:
    assert list(RayEngine().run(iter(()))) == []


def test_errors_of_a_worker_reach_the_driver(tmp_path: Path) -> None:
    row = {"number": 0, "cards": pickle.dumps([Pending("a", "", tmp_path / "a.png")])}
    said = _Worker(str(tmp_path / "none"), ".")(row)
    assert isinstance(pickle.loads(said["said"]), ModelError)


def test_workers_that_differ(caplog: pytest.LogCaptureFixture) -> None:
    same = ("model", "preprocessing", b"bits")
    _check_identity("pi", same, same)
    assert not caplog.records
    _check_identity("pi", ("model", "preprocessing", b"other"), same)
    assert "pi rounds otherwise" in caplog.text
    for other in (("another", "preprocessing", b"bits"), ("model", "another", b"bits")):
        with pytest.raises(CatalogMismatchError, match="pi has another model"):
            _check_identity("pi", other, same)


def test_a_file_that_only_the_driver_sees(tmp_path: Path) -> None:
    Image.fromarray(picture(1)).save(tmp_path / "a.png")
    cards = [Pending("a", "", tmp_path / "a.png"), Pending("b", "", tmp_path / "b.png")]
    missing = FileNotFoundError(2, "No such file")
    _check_seen("pi", cards, [np.ones(3, np.float32), missing])
    with pytest.raises(InputError, match=r"a\.png is here, but pi does not see it"):
        _check_seen("pi", cards, [missing, missing])
