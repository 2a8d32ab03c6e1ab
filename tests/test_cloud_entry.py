"""What runs in a training job: the archive, unpacked, trained from by torchrun as SageMaker's library calls it."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("timm", "tensorboard"):
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)

from training.cloud.artefact import _check_contents, check_checkpoint  # noqa: E402
from training.cloud.package import ENTRY, config_files, hyperparameters, pack  # noqa: E402
from training.failure import Failure  # noqa: E402
from training.settings import read_settings  # noqa: E402

CONFIG = """
held_out = 0.3
workers = 0
precision = "fp32"
evaluate_every = 1
[model]
dimension = 16
channels = 2
grid = 2
[[source]]
folder = "cards"
[[phase]]
size = 64
steps = {steps}
stop = {stop}
warm_up_steps = 1
batch = 4
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A folder with data, and the job's code as it is unpacked and installed there."""
    (tmp_path / "data" / "cards").mkdir(parents=True)
    for number in range(10):
        coarse = np.random.default_rng(number).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"data/cards/{number}.png"), cv2.resize(coarse, (70, 98)))
    return tmp_path


def unpack(job: Path, steps: int, stop: int = 0) -> dict[str, str]:
    """Packs the code with a config and unpacks it; what it is called with."""
    config = job / "config.toml"
    config.write_text(CONFIG.format(steps=steps, stop=stop))
    files = config_files(config)
    shutil.rmtree(job / "code", ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(pack(files))) as archive:
        archive.extractall(job / "code", filter="data")
    for module in (Path(__file__).parents[1] / "cardrec").glob("_*.so"):  # what pip builds there
        shutil.copy(module, job / "code" / "cardrec")
    return hyperparameters(next(iter(files)), read_settings(config))


def train(job: Path, values: dict[str, str], processes: int = 1) -> subprocess.CompletedProcess[str]:
    (job / "output").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc_per_node={processes}"]
    command += ["--standalone", ENTRY]
    for name, value in values.items():
        command += [f"--{name}", value]
    command += ["--checkpoints", str(job / "checkpoints"), "--failure", str(job / "output" / "failure")]
    places = {"SM_CHANNEL_DATA": str(job / "data"), "SM_MODEL_DIR": str(job / "model"), "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | places
    return subprocess.run(command, cwd=job / "code", env=environment, capture_output=True, text=True, check=False)


def test_a_job_trains_is_interrupted_and_goes_on(job: Path) -> None:
    done = train(job, unpack(job, steps=4, stop=2), processes=2)
    assert done.returncode == 0, done.stderr
    assert "phase 1, step 2 of 2: hit" in done.stdout and "going on" not in done.stdout
    shutil.rmtree(job / "model")
    done = train(job, unpack(job, steps=4))
    assert done.returncode == 0, done.stderr
    assert "going on from the last checkpoint" in done.stdout
    assert "step 4 of 4" in done.stdout and "step 1 of" not in done.stdout
    _check_contents(job / "model", "the model")
    check_checkpoint(job / "model" / "checkpoint.pt")
    assert torch.load(job / "model" / "checkpoint.pt", weights_only=True)["total"] == 4
    assert (job / "model" / "log.csv").is_file() and list((job / "model" / "tensorboard").iterdir())
    torch.save({"average": {}}, job / "model" / "checkpoint.pt")
    with pytest.raises(Failure, match="it lacks config, objective, total"):
        check_checkpoint(job / "model" / "checkpoint.pt")


def test_why_a_job_fails_is_written_down(job: Path) -> None:
    values = unpack(job, steps=2)
    (job / "data" / "cards" / "3.png").write_bytes(b"no picture")
    done = train(job, values)
    assert done.returncode != 0
    assert "3.png" in (job / "output" / "failure").read_text()
    assert not (job / "model").exists()
