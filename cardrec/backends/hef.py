"""The network as the Hailo compiler made it: the bundle's file for a chip, checked before the device sees it.

HailoRT says little about a file that is not for it, and ends the process over an empty one; Python can't ask a HEF for
its chip. So a bundle's `model.json` says it, in a list `hailo` with an entry for each chip:

    {"architecture": "hailo8", "file": "hailo8.hef", "sha256": "...", "fingerprint": "...", "preprocessing_hash": "..."}

The fingerprint and the hash are those of the bundle that was compiled: catalogs of that bundle are searched with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cardrec.errors import ModelError
from cardrec.model import Model

__all__ = ["ARCHITECTURES", "HEADER_BYTES", "MAGIC", "find_hef"]

ARCHITECTURES = ("hailo8", "hailo8l", "hailo8r")
"""Chips that HailoRT 4.23 drives."""

MAGIC = b"\x01HEF"
"""The first bytes of every HEF (0x01484546)."""

HEADER_BYTES = 12
"""Magic, version and length of what follows, which every HEF has at least."""

_FIELDS = ("file", "sha256", "fingerprint", "preprocessing_hash")


def find_hef(model: Model, architecture: str) -> Path:
    """The bundle's HEF for a chip.

    Args:
        model: the bundle.
        architecture: the chip in lower case, e.g. ``hailo8``.

    Raises:
        ModelError: the bundle has none for this chip, or it is damaged, no HEF, or compiled from another network; the
            message names the file and the remedy.
    """
    entries = _entries(model)
    known = [str(entry.get("architecture")) for entry in entries]
    if architecture not in known:
        there = f"it has one for {', '.join(known)}" if known else "it has none for any chip"
        raise ModelError(
            f"the model bundle {model.network.parent} has no network compiled for {architecture}: {there}. Compile it "
            "with Hailo's Dataflow Compiler (in a checkout: python -m training.compile), or use backend='onnx'"
        )
    entry = entries[known.index(architecture)]
    for field in _FIELDS:
        if not isinstance(entry.get(field), str):
            raise ModelError(f"{model.network.parent / 'model.json'}: the entry for {architecture} lacks {field!r}")
    path = model.network.parent / str(entry["file"])
    _check_file(path, model, entry)
    _check_origin(path, model, entry)
    return path


def _entries(model: Model) -> list[Mapping[str, Any]]:
    entries = model.details.get("hailo", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ModelError(f"{model.network.parent / 'model.json'}: 'hailo' is not a list of objects")
    return entries


def _check_file(path: Path, model: Model, entry: Mapping[str, Any]) -> None:
    remedy = "copy the whole model folder again, or compile it again"
    if path.parent != model.network.parent or path.is_symlink() or not path.is_file():
        raise ModelError(f"{path} is not a file of the bundle; {remedy}")
    data = path.read_bytes()
    if len(data) < HEADER_BYTES:
        raise ModelError(f"{path} has {len(data)} bytes, too few for a HEF; {remedy}")
    if not data.startswith(MAGIC):
        raise ModelError(f"{path} is no HEF: it begins with {data[:4].hex()}, not {MAGIC.hex()}; {remedy}")
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise ModelError(f"{path} is damaged: its SHA-256 is not the one in model.json; {remedy}")


def _check_origin(path: Path, model: Model, entry: Mapping[str, Any]) -> None:
    for field, ours in (("fingerprint", model.fingerprint), ("preprocessing_hash", model.preprocessing_hash)):
        if entry[field] != ours:
            raise ModelError(
                f"{path} was compiled from another network than this bundle's: its {field} is {entry[field]}, the "
                f"bundle's {ours}. Its vectors would not fit the catalogs; compile this bundle's network"
            )
