"""Where a training's numbers go: a CSV file and TensorBoard always, Weights & Biases and MLflow where installed.

Weights & Biases is kept offline unless WANDB_MODE says otherwise; `wandb sync` uploads a run later. MLflow writes to
MLFLOW_TRACKING_URI, or into the run's own folder.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Write = Callable[[int, Mapping[str, float]], None]


class Log:
    """Takes numbers by step. A context manager.

    Args:
        out: folder of the run; an earlier part of the same run is gone on with.
        config: of the run, for the services.
        enabled: False for processes that do not write.
    """

    def __init__(self, out: Path, config: Mapping[str, Any], *, enabled: bool = True) -> None:
        self._writers: list[Write] = []
        self._closers: list[Callable[[], object]] = []
        if not enabled:
            return
        self._to_csv(out)
        self._to_tensorboard(out)
        if find_spec("wandb"):
            self._to_wandb(out, config)
        if find_spec("mlflow"):
            self._to_mlflow(out, config)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        for close in reversed(self._closers):
            close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values under their names, `group/name` where they belong together."""
        for write in self._writers:
            write(step, values)

    def _to_csv(self, out: Path) -> None:
        file = (out / "log.csv").open("a", newline="", encoding="utf-8")
        table = csv.writer(file)

        def write(step: int, values: Mapping[str, float]) -> None:
            table.writerows([step, name, f"{value:.6g}"] for name, value in values.items())
            file.flush()

        self._writers.append(write)
        self._closers.append(file.close)

    def _to_tensorboard(self, out: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        board = SummaryWriter(str(out / "tensorboard"))

        def write(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                board.add_scalar(name, value, step)
            board.flush()

        self._writers.append(write)
        self._closers.append(board.close)

    def _to_wandb(self, out: Path, config: Mapping[str, Any]) -> None:
        import wandb

        mode = os.environ.get("WANDB_MODE", "offline")
        run = wandb.init(project="cardrec", dir=str(out), config=dict(config), mode=mode)
        self._writers.append(lambda step, values: run.log(dict(values), step=step))
        self._closers.append(run.finish)

    def _to_mlflow(self, out: Path, config: Mapping[str, Any]) -> None:
        import mlflow

        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{(out / 'mlflow.db').resolve()}")
        mlflow.set_experiment("cardrec")
        mlflow.start_run(run_name=out.name)
        mlflow.log_text(json.dumps(dict(config), indent=2), "config.json")
        self._writers.append(lambda step, values: mlflow.log_metrics(dict(values), step=step))
        self._closers.append(mlflow.end_run)
