"""Encodes the pictures of a catalog on a Ray cluster, with Ray Data: the rows are those of a build on one machine.

Every machine needs this version of cardrec with the extra ``ray``, and must see pictures and model under the same
paths. What a lost machine had not delivered is done again by another. Processors with other vector instructions may
round otherwise: a machine whose vectors differ in their last bits is named in the log.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cardrec.bulk import encoded, prepared
from cardrec.embed import Embedder, open_encoder
from cardrec.errors import CatalogMismatchError, DeviceError, DeviceUnavailable, InputError
from cardrec.image import Frame
from cardrec.rectify import INPUT_SIZE

if TYPE_CHECKING:
    from cardrec.bulk import Batch, Outcome

__all__ = ["RayEngine"]

TASK_BATCHES = 16
"""Batches of a task at most: 256 pictures, some seconds of one core, so that Ray's own work for each does not count."""
TASKS_A_CORE = 4
"""At least, of a small catalog: else the last core to finish keeps the others waiting."""

_log = logging.getLogger("cardrec")
_PATHS = (str, os.PathLike)


class RayEngine:
    """An `Engine` on the cluster that RAY_ADDRESS names or that the process is connected to; else on this machine.

    Args:
        model: the bundle's folder, the same on every machine; None is the one that comes with the library.

    Raises:
        DeviceUnavailable: Ray is not installed.
    """

    def __init__(self, model: Path | None = None) -> None:
        try:
            import ray.data  # noqa: F401
        except ImportError as error:
            raise DeviceUnavailable(f"Ray Data is missing ({error}): pip install 'cardrec[ray]'") from error
        self._model = None if model is None else str(model.resolve())

    def run(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, list[Outcome]]]:
        """See `Engine.run`. The batches are read to their end first; of each card, id and path are kept."""
        import ray

        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
            ray.init(log_to_driver=False, logging_level=logging.WARNING)
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of each run, and of the bars that it lacks
        todo = list(batches)
        if not todo:
            return
        expected = _Worker(self._model, ".").identity()
        for number, (batch, row) in enumerate(zip(todo, self._rows(todo), strict=True)):
            if row["number"] != number:
                raise DeviceError(f"Ray gave batch {row['number']} where {number} was due; nothing was written")
            said = pickle.loads(row["said"])  # noqa: S301 - of our own workers
            if isinstance(said, Exception):
                raise said
            _check_identity(row["host"], pickle.loads(row["identity"]), expected)  # noqa: S301
            _check_seen(row["host"], batch, said)
            yield batch, said

    def _rows(self, batches: list[Batch]) -> Iterator[dict[str, Any]]:
        """What the workers say of each batch, in order."""
        import ray.data

        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < 1:
            raise DeviceUnavailable("the Ray cluster has no CPU to work on: start a worker, `ray start --address=...`")
        tasks = max(min(len(batches), cores * TASKS_A_CORE), len(batches) // TASK_BATCHES)
        packed = [{"number": number, "cards": _packed(batch)} for number, batch in enumerate(batches)]
        work = ray.data.from_items(packed, override_num_blocks=tasks)
        work.context.execution_options.preserve_order = True
        work.context.enable_progress_bars = False
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=cores)
        done = work.map(_Worker, fn_constructor_args=(self._model, str(Path.cwd())), compute=pool, num_cpus=1)
        yield from done.iter_rows()


def _packed(batch: Batch) -> bytes:
    for card in batch:
        if not isinstance(card.image, _PATHS):
            raise InputError(
                f"the image of card {card.card_id!r} is a {type(card.image).__name__}; with Ray pictures are files "
                "that every machine sees: give a path"
            )
    return pickle.dumps([card._replace(text="") for card in batch])


class _Worker:
    """Encodes batches on one core, in the folder that relative paths start from, if there is one here."""

    def __init__(self, model: str | None, folder: str) -> None:
        with suppress(OSError):  # what is not found then is noticed by the driver
            os.chdir(folder)
        self._model = model
        self._embedder: Embedder | None = None
        self._identity = "", "", b""

    def identity(self) -> tuple[str, str, bytes]:
        """Model and preprocessing, and a vector, whose last bits tell how this processor rounds."""
        self._open()
        return self._identity

    def _open(self) -> Embedder:
        """The encoder. It is opened with the first batch, since Ray would hide why it can't be."""
        if self._embedder is None:
            self._embedder = Embedder(open_encoder(self._model, backend="onnx", threads=1))
            noise = np.random.default_rng(0).integers(0, 256, (INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
            vector = self._embedder.encode(Frame(noise, "rgb", "<noise>"))
            self._identity = self._embedder.fingerprint, self._embedder.preprocessing_hash, vector.tobytes()
        return self._embedder

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """What came of a batch; what goes wrong is said, too, since Ray would wrap it in errors of its own."""
        batch: Batch = pickle.loads(row["cards"])  # noqa: S301 - of our own driver
        said: list[Outcome] | Exception
        try:
            embedder = self._open()
            said = encoded(embedder, batch, [prepared(embedder.prepare, each.image) for each in batch])
        except Exception as error:  # noqa: BLE001 - raised by the driver
            said = error
        return {
            "number": row["number"],
            "said": pickle.dumps(said),
            "identity": pickle.dumps(self._identity),
            "host": platform.node(),
        }


def _check_identity(host: str, found: tuple[str, str, bytes], expected: tuple[str, str, bytes]) -> None:
    if found[:2] != expected[:2]:
        raise CatalogMismatchError(
            f"{host} has another model or another version of cardrec ({found[0]}, here {expected[0]}): give every "
            "machine the same ones"
        )
    if found[2] != expected[2]:
        _log.warning("%s rounds otherwise than this machine: its vectors differ in their last bits", host)


def _check_seen(host: str, batch: Batch, outcomes: list[Outcome]) -> None:
    """A file that is here and not there is no unreadable picture."""
    for card, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, FileNotFoundError) and Path(str(card.image)).exists():
            raise InputError(f"{card.image} is here, but {host} does not see it: share its folder under the same path")
