"""What runs in a training job, in each of its processes: `training.train`, from the last checkpoint where there is one.

    torchrun training/cloud/entry.py --config given/third.toml

SageMaker keeps the checkpoints' folder in S3 as it changes, and fills it before a job starts: one that was interrupted
goes on. What is in the model's folder at the end becomes the artefact. Options that are not known here are the config's
values, which the console shows.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # beside this script lie modules that are not meant to be found without their package's name
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import argparse
import os
import shutil
from collections.abc import Sequence

from training.cloud.files import content_of, list_folder, manifest_of

CONTENTS = "cardrec-artefact.json"
"""In an artefact: its files with their checksums, as the manifest of an upload."""


def keep(run: Path, model: Path) -> None:
    """Copies what is worth keeping of a run, and writes down what it is."""
    model.mkdir(parents=True, exist_ok=True)
    for name in ("checkpoint.pt", "log.csv"):
        shutil.copyfile(run / name, model / name)
    if (run / "tensorboard").is_dir():
        shutil.copytree(run / "tensorboard", model / "tensorboard", dirs_exist_ok=True)
    listing = list_folder(model)
    contents = {name: content_of(model / name) for name in listing.files if name != CONTENTS}
    (model / CONTENTS).write_bytes(manifest_of(contents, listing.empty))


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SM_CHANNEL_DATA", "/opt/ml/input/data/data")))
    parser.add_argument("--checkpoints", type=Path, default=Path("/opt/ml/checkpoints"))
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")))
    parser.add_argument("--failure", type=Path, default=Path("/opt/ml/output/failure"))
    options, _ = parser.parse_known_args(given)
    leads = os.environ.get("RANK", "0") == "0"

    try:
        from training import train

        options.checkpoints.mkdir(parents=True, exist_ok=True)
        resume = ["--resume"] if (options.checkpoints / "checkpoint.pt").exists() else []
        if leads and resume:
            print("going on from the last checkpoint", flush=True)
        train.main([str(options.config), "--data", str(options.data), "--out", str(options.checkpoints), *resume])
        if leads:
            keep(options.checkpoints, options.model)
    except BaseException as error:
        if options.failure.parent.is_dir() and not options.failure.exists():
            options.failure.write_text(f"{type(error).__name__}: {error}"[:1024])  # becomes the job's FailureReason
        raise


if __name__ == "__main__":
    main()
