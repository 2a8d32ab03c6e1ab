"""A stand-in for the compiler: a bundle whose HEF holds an ONNX network, for the simulated device alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cardrec.backends.hef import MAGIC
from cardrec.backends.simulated import faults
from cardrec.model import Model
from cardrec.network import open_network

__all__ = ["Compiled", "make_bundle", "read_hef"]

_ROOM = 1.25  # of the output's range over what the calibration pictures took of it


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a stand-in HEF holds: the network, its chip, and how its output's integers are to be read."""

    onnx: bytes
    architecture: str
    dimension: int
    scale: float
    zero_point: int


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
    source = network or model.network
    largest = float(np.abs(open_network(source, threads=1)(pictures)).max()) * _ROOM
    header = {"architecture": architecture, "dimension": model.dimension, "scale": largest / 127, "zero_point": 128}
    text = json.dumps(header).encode()
    hef = MAGIC + len(text).to_bytes(8, "little") + text + source.read_bytes()
    folder.mkdir(parents=True)
    shutil.copy(model.network, folder)
    name = f"{architecture}.hef"
    (folder / name).write_bytes(hef)
    entry = {
        "architecture": architecture,
        "file": name,
        "sha256": hashlib.sha256(hef).hexdigest(),
        "fingerprint": model.fingerprint,
        "preprocessing_hash": model.preprocessing_hash,
    }
    (folder / "model.json").write_text(json.dumps({**model.details, "hailo": [entry]}))
    return Model.load(folder)


def read_hef(path: Path) -> Compiled:
    """What a stand-in HEF holds.

    Raises:
        HailoRTInvalidHEFException: it is none.
    """
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise faults.HailoRTInvalidHEFException("libhailort failed with error: 92 (HAILO_HEF_NOT_SUPPORTED)")
    try:
        end = 12 + int.from_bytes(data[4:12], "little")
        return Compiled(data[end:], **json.loads(data[12:end]))
    except (ValueError, TypeError) as error:
        raise faults.HailoRTInvalidHEFException(
            "libhailort failed with error: 91 (HAILO_HEF_FILE_CORRUPTED)"
        ) from error
