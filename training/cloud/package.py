"""What a training job runs: the code in one archive, the same bytes for the same files; and where it all comes from."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.failure import Failure
from training.settings import Settings

__all__ = [
    "ENTRY",
    "REQUIREMENTS",
    "ROOT",
    "Lineage",
    "config_files",
    "hyperparameters",
    "lineage_of",
    "pack",
    "start_files",
]

ROOT = Path(__file__).parents[2]
ENTRY = "training/cloud/entry.py"
REQUIREMENTS = "requirements.txt"
GIVEN = "given"
"""Folder of the configs in the archive."""

_PARTS = ("LICENSE", "MANIFEST.in", "README.md", "cardrec", "csrc", "pyproject.toml", "setup.py", "training")
_LEFT_OUT = (".so", ".pyc")
_NOT_NEEDED = ("cardrec/data/", "training/models/")
_VALUE_CHARACTERS = 2500  # SageMaker's limits for hyperparameters: 100 of them, values of this length
_VALUES = 100


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a model comes from.

    Attributes:
        config: the config's name.
        config_sha256: of the config and those it is based on.
        data: S3 address of the data.
        data_sha256: of the data's manifest.
        code_sha256: of the archive of the code.
        commit: of the checkout, followed by "-dirty" where it had changes; empty: it is no git checkout.
    """

    config: str
    config_sha256: str
    data: str
    data_sha256: str
    code_sha256: str
    commit: str

    def table(self) -> dict[str, str]:
        """By name."""
        return {name: str(value) for name, value in asdict(self).items()}


def config_files(config: Path) -> dict[str, bytes]:
    """A config and those that it is based on, by their names in the archive; the config itself is the first.

    Raises:
        OSError: one can't be read.
        ValueError: one is not TOML.
    """
    chain = [config.resolve()]
    while base := tomllib.loads(chain[-1].read_text(encoding="utf-8")).get("base"):
        chain.append((chain[-1].parent / base).resolve())
    top = Path(os.path.commonpath([path.parent for path in chain]))
    return {f"{GIVEN}/{path.relative_to(top).as_posix()}": path.read_bytes() for path in chain}


def start_files(start: Mapping[str, Any]) -> dict[str, bytes]:
    """The bundle that a config's ``start`` goes on from, by the names that the job finds it under; none if it has none.

    Raises:
        Failure: the job would not find it under the name that the config gives it, or it isn't here.
    """
    if "bundle" not in start:
        return {}
    bundle = Path(start["bundle"])
    if bundle.is_absolute() or ".." in bundle.parts:
        raise Failure(
            f"[start] names {bundle}, which a job can't see; put it below the current folder, and name it from there"
        )
    try:
        return {(bundle / name).as_posix(): (bundle / name).read_bytes() for name in ("model.json", "model.onnx")}
    except OSError as error:
        raise Failure(f"[start] names {bundle}, which is no bundle here: {error}") from error


def pack(files: Mapping[str, bytes], root: Path = ROOT) -> bytes:
    """The code, further files (configs, a bundle) and what pip has to install there, as a tar archive."""
    files = {name: (root / name).read_bytes() for name in _code(root)} | dict(files)
    files |= {REQUIREMENTS: b"--editable .[training]\n"}
    made = io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(files[name]), 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    return made.getvalue()


def _code(root: Path) -> list[str]:
    """The files of the checkout that belong to it; outside git, all that there are."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_PARTS)
    if listed:
        names = [name for name in listed.split("\0") if name and (root / name).is_file()]
    else:
        paths = [
            path for part in _PARTS for path in ((root / part).rglob("*") if (root / part).is_dir() else [root / part])
        ]
        names = [path.relative_to(root).as_posix() for path in paths if path.is_file()]
    names = sorted({name for name in names if not name.endswith(_LEFT_OUT) and not name.startswith(_NOT_NEEDED)})
    if ENTRY not in names:
        raise Failure(f"{root} is no checkout of cardrec: it lacks {ENTRY}; run the command from one")
    return names


def lineage_of(config: Path, configs: Mapping[str, bytes], code: bytes, data: str, data_manifest: bytes) -> Lineage:
    """What a model trained so comes from."""
    digest = hashlib.sha256()
    for name, text in configs.items():
        digest.update(f"{name} {len(text)}\n".encode() + text)
    commit = _git(ROOT, "rev-parse", "HEAD").strip()
    dirty = "-dirty" if commit and _git(ROOT, "status", "--porcelain").strip() else ""
    sha256 = hashlib.sha256
    return Lineage(
        config=config.name,
        config_sha256=digest.hexdigest(),
        data=data,
        data_sha256=sha256(data_manifest).hexdigest(),
        code_sha256=sha256(code).hexdigest(),
        commit=commit + dirty,
    )


def _git(root: Path, *arguments: str) -> str:
    """What git says; nothing where it can't."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def hyperparameters(config: str, settings: Settings) -> dict[str, str]:
    """The config's name in the archive, which the job reads, and its values for the console, which it does not."""
    table: dict[str, Any] = {}
    _flatten("", {name: value for name, value in asdict(settings).items() if name != "phase"}, table)
    for number, phase in enumerate(settings.phase, 1):
        _flatten(f"phase{number}.", asdict(phase), table)
    values = {name: text for name, value in table.items() if (text := str(value)) and len(text) <= _VALUE_CHARACTERS}
    return {"config": config} | dict(list(values.items())[: _VALUES - 1])


def _flatten(before: str, table: Mapping[str, Any], into: dict[str, Any]) -> None:
    for name, value in table.items():
        if isinstance(value, Mapping):
            _flatten(f"{before}{name}.", value, into)
        elif value != ():
            into[before + name] = value
