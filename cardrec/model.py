"""The model bundle: a folder with `model.json` and the network, checked before use.

`model.json` states what the network takes and gives and which preprocessing it was trained with. Its *fingerprint*
names the embedding space: two catalogs are comparable only if they were made by the same network from the same
preprocessing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cardrec.errors import ModelError

__all__ = ["BUNDLED", "PREPROCESSING", "Model", "fingerprint_of", "preprocessing_hash"]

BUNDLED = Path(__file__).parent / "data" / "model"
"""The model in the wheel."""

FORMAT = 1

PREPROCESSING: Mapping[str, Any] = MappingProxyType(
    {
        "version": 2,
        "color": "rgb",
        "dtype": "uint8",
        "layout": "NHWC",
        "size": [224, 224],
        "geometry": "the whole card, one in landscape turned a quarter clockwise, stretched to the square",
        "resampling": "area average",
        "normalisation": "inside the network",
    }
)
"""What happens to a card before the network, the same in training, on every backend and in every catalog."""

_FIELDS: Mapping[str, type] = {
    "format": int,
    "name": str,
    "dimension": int,
    "file": str,
    "sha256": str,
    "fingerprint": str,
    "preprocessing": dict,
    "preprocessing_hash": str,
    "calibration": dict,
}


def preprocessing_hash(specification: Mapping[str, Any] = PREPROCESSING) -> str:
    """SHA-256 (hex) of a preprocessing specification in canonical JSON."""
    return hashlib.sha256(json.dumps(dict(specification), sort_keys=True).encode()).hexdigest()


def fingerprint_of(network_sha256: str, preprocessing: str) -> str:
    """The name of an embedding space, from the network's SHA-256 and the preprocessing hash; 32 hex digits."""
    return hashlib.sha256(f"{network_sha256}:{preprocessing}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Model:
    """A checked model bundle.

    Attributes:
        name: for people.
        network: path of the ONNX file; input (n, 224, 224, 3) uint8 RGB, output (n, dimension) float32 unit vectors.
        dimension: length of an embedding.
        fingerprint: names the embedding space.
        preprocessing_hash: names the preprocessing.
        calibration: what `decide` needs, as numbers by name.
        details: all of `model.json`.
    """

    name: str
    network: Path
    dimension: int
    fingerprint: str
    preprocessing_hash: str
    calibration: Mapping[str, float]
    details: Mapping[str, Any]

    @classmethod
    def load(cls, folder: str | Path | None = None) -> Model:
        """Opens a bundle and checks it: fields, checksum of the network, preprocessing, fingerprint.

        Args:
            folder: the bundle; None is the one that comes with the library.

        Raises:
            ModelError: something is missing, damaged, or made for another preprocessing; the message names the file.
        """
        folder = BUNDLED if folder is None else Path(folder)
        details = _read_details(folder / "model.json")
        network = folder / details["file"]
        if network.parent != folder or network.is_symlink() or not network.is_file():
            raise ModelError(f"{network} is not a file of the bundle; copy the whole model folder again")
        digest = hashlib.sha256(network.read_bytes()).hexdigest()
        if digest != details["sha256"]:
            raise ModelError(f"{network} is damaged: its SHA-256 is not the one in model.json; copy the bundle again")
        _check_preprocessing(folder, details)
        return cls(
            name=details["name"],
            network=network,
            dimension=details["dimension"],
            fingerprint=details["fingerprint"],
            preprocessing_hash=details["preprocessing_hash"],
            calibration=MappingProxyType({key: float(value) for key, value in details["calibration"].items()}),
            details=MappingProxyType(details),
        )


def _read_details(path: Path) -> dict[str, Any]:
    """`model.json` with the fields and types that this version needs."""
    try:
        details = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist; expected a model bundle (model.json and its network)") from None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON ({error}); copy the bundle again") from None
    if not isinstance(details, dict):
        raise ModelError(f"{path} holds a {type(details).__name__}; expected an object")
    for field, kind in _FIELDS.items():
        if type(details.get(field)) is not kind:
            raise ModelError(f"{path}: {field!r} is {details.get(field)!r}; expected {kind.__name__}")
    if details["format"] != FORMAT:
        raise ModelError(
            f"{path} has format {details['format']}, this cardrec reads {FORMAT}; install a matching cardrec"
        )
    if not 1 <= details["dimension"] <= 65536:
        raise ModelError(f"{path}: dimension {details['dimension']} is outside 1..65536")
    numbers = details["calibration"].values()
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in numbers):
        raise ModelError(f"{path}: calibration holds something that is not a finite number")
    return details


def _check_preprocessing(folder: Path, details: Mapping[str, Any]) -> None:
    """Refuses a bundle whose preprocessing is not ours or whose hashes don't follow from its contents."""
    path = folder / "model.json"
    if details["preprocessing_hash"] != preprocessing_hash():
        raise ModelError(
            f"{path} asks for another preprocessing than this cardrec does; use the version it was made for"
        )
    if preprocessing_hash(details["preprocessing"]) != details["preprocessing_hash"]:
        raise ModelError(f"{path}: preprocessing and preprocessing_hash disagree; export the model again")
    if fingerprint_of(details["sha256"], details["preprocessing_hash"]) != details["fingerprint"]:
        raise ModelError(f"{path}: the fingerprint does not follow from the network; export the model again")
