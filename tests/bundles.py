"""Bundles around networks that tests write."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from cardrec.model import PREPROCESSING, Model, fingerprint_of, preprocessing_hash

FLOATS = Path(__file__).parents[1] / "training" / "models" / "third"
"""The bundled encoder in floats."""


def described(folder: Path, name: str, dimension: int) -> Model:
    """Writes the `model.json` of a folder that has a `model.onnx`, without a calibration."""
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    details = {
        "format": 1,
        "name": name,
        "dimension": dimension,
        "file": "model.onnx",
        "sha256": digest,
        "fingerprint": fingerprint_of(digest, preprocessing_hash()),
        "preprocessing": dict(PREPROCESSING),
        "preprocessing_hash": preprocessing_hash(),
        "calibration": {},
    }
    (folder / "model.json").write_text(json.dumps(details))
    return Model.load(folder)
