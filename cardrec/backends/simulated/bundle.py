"""A stand-in for the compiler: a bundle whose HEF holds an ONNX network, for the simulated device alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cardrec.backends.hef import MAGIC
from cardrec.backends.simulated import faults
from cardrec.model import Model
from cardrec.network import open_network
from cardrec.rectify import INPUT_SIZE

__all__ = ["Compiled", "compiled", "make_bundle", "read_hef", "write_bundle"]

_ROOM = 1.25  # of the output's range over what the calibration pictures took of it


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """What a stand-in HEF holds: the network, its chip, and how its integers are to be read.

    Attributes:
        onnx: the network, from one uint8 card (1, 224, 224, 3) to (1, dimension) floats.
        architecture: of the chip, in lower case.
        dimension: of the output.
        scales: one of the output, or one of each number.
        zero_points: as many.
        output_type: ``UINT8``, ``UINT16``, or ``FLOAT32`` for one that is converted on the host.
        outputs: how many it has, all alike.
        input_shape, input_order, input_type: what the device takes.
    """

    onnx: bytes
    architecture: str
    dimension: int
    scales: tuple[float, ...]
    zero_points: tuple[float, ...]
    output_type: str = "UINT8"
    outputs: int = 1
    input_shape: tuple[int, ...] = (INPUT_SIZE, INPUT_SIZE, 3)
    input_order: str = "NHWC"
    input_type: str = "UINT8"

    def to_bytes(self) -> bytes:
        """The file."""
        header = {name: value for name, value in asdict(self).items() if name != "onnx"}
        text = json.dumps(header).encode()
        return MAGIC + len(text).to_bytes(8, "little") + text + self.onnx


def compiled(
    source: Path, pictures: NDArray[np.uint8], *, architecture: str = "hailo8", output_type: str = "UINT8"
) -> Compiled:
    """An ONNX network in the integers of a chip, all numbers of the output by one scale.

    Args:
        source: the network.
        pictures: (n, 224, 224, 3) RGB cards, from which the range of the output is taken.
        architecture: of the chip.
        output_type: ``UINT8`` or ``UINT16``.
    """
    answers = open_network(source, threads=1)(pictures)
    half = 128 if output_type == "UINT8" else 32768
    scale = float(np.abs(answers).max()) * _ROOM / (half - 1)
    return Compiled(source.read_bytes(), architecture, answers.shape[1], (scale,), (float(half),), output_type)


def make_bundle(
    model: Model,
    folder: Path,
    pictures: NDArray[np.uint8],
    *,
    architecture: str = "hailo8",
    network: Path | None = None,
) -> Model:
    """Writes a copy of a bundle with a HEF for a simulated chip.

    Args:
        model: the bundle.
        folder: where the copy goes; it is made.
        pictures: (n, 224, 224, 3) RGB cards, from which the range of the output is taken.
        architecture: of the chip.
        network: ONNX file to run instead of the bundle's, such as a quantised one.

    Returns:
        The copy, opened.
    """
    return write_bundle(model, folder, compiled(network or model.network, pictures, architecture=architecture))


def write_bundle(model: Model, folder: Path, *networks: Compiled) -> Model:
    """Writes a copy of a bundle with a HEF for each of some chips, and opens it; see `make_bundle`."""
    folder.mkdir(parents=True)
    shutil.copy(model.network, folder)
    entries = []
    for network in networks:
        hef, name = network.to_bytes(), f"{network.architecture}.hef"
        (folder / name).write_bytes(hef)
        entries.append(
            {
                "architecture": network.architecture,
                "file": name,
                "sha256": hashlib.sha256(hef).hexdigest(),
                "fingerprint": model.fingerprint,
                "preprocessing_hash": model.preprocessing_hash,
            }
        )
    (folder / "model.json").write_text(json.dumps({**model.details, "hailo": entries}))
    return Model.load(folder)


def read_hef(path: Path) -> Compiled:
    """What a stand-in HEF holds.

    Raises:
        HailoRTInvalidHEFException: it is none.
    """
    return _parsed(path.read_bytes())


@lru_cache(maxsize=2)
def _parsed(data: bytes) -> Compiled:
    """The same object for the same bytes: its network is opened once."""
    if not data.startswith(MAGIC):
        raise faults.HailoRTInvalidHEFException("libhailort failed with error: 92 (HAILO_HEF_NOT_SUPPORTED)")
    try:
        end = 12 + int.from_bytes(data[4:12], "little")
        return Compiled(data[end:], **json.loads(data[12:end]))
    except (ValueError, TypeError) as error:
        raise faults.HailoRTInvalidHEFException(
            "libhailort failed with error: 91 (HAILO_HEF_FILE_CORRUPTED)"
        ) from error
