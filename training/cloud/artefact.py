"""What a job leaves: fetched, unpacked without trusting it, every checksum looked at, and a checkpoint that opens."""

from __future__ import annotations

import errno
import hashlib
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from training.cloud.download import room_for
from training.cloud.entry import CONTENTS
from training.cloud.files import content_of, list_folder, read_manifest
from training.cloud.follow import describe, ended_how
from training.cloud.settings import Where
from training.cloud.store import Store, split_uri
from training.failure import Failure

__all__ = ["CHECKPOINT", "check_checkpoint", "fetch", "fetch_checkpoint", "unpack"]

CHECKPOINT = "checkpoint.pt"
MOST_FILES = 10_000
_AGAIN = "fetch it again; if that does not help, train again with --resume"


def fetch(where: Where, store: Store, job: str, out: Path) -> None:
    """Fetches what a completed job made into a folder, which appears once everything in it is checked.

    Raises:
        Failure: the job made nothing, or what it made is damaged.
        OSError: the folder can't be written.
    """
    description = describe(where, job)
    if description["TrainingJobStatus"] != "Completed":
        remedy = f"its last checkpoint is had by `jobs fetch {job} --checkpoint --out RUN`"
        raise Failure(f"{job} made no artefact: it {ended_how(description)}; {remedy}")
    bucket, key = split_uri(description["ModelArtifacts"]["S3ModelArtifacts"])
    place = Store(store.s3, bucket)
    held = place.head(key)
    if held is None:
        raise Failure(f"s3://{bucket}/{key}, what {job} made, is not there any more; train again with --resume {job}")
    with _folder_for(out) as made:
        room_for(made.parent, held.size)
        archive = made.parent / "model.tar.gz"
        came = place.get(key, archive)
        if came.size != held.size or (len(held.etag) == 32 and held.etag != _md5(archive)):
            raise Failure(f"s3://{bucket}/{key} came damaged; {_AGAIN}")
        unpack(archive, made)
        _check_contents(made, f"s3://{bucket}/{key}")
        check_checkpoint(made / CHECKPOINT)


def fetch_checkpoint(where: Where, store: Store, job: str, out: Path) -> None:
    """Fetches the last checkpoint of a job that runs or was interrupted.

    Raises:
        Failure: there is none, or it is damaged.
    """
    uri = describe(where, job).get("CheckpointConfig", {}).get("S3Uri")
    if uri is None:
        raise Failure(f"{job} keeps no checkpoints in S3")
    bucket, key = split_uri(f"{uri}/{CHECKPOINT}")
    place = Store(store.s3, bucket)
    if (held := place.head(key)) is None:
        raise Failure(f"{job} has written no checkpoint so far; it does after each check on held-out cards")
    with _folder_for(out) as made:
        room_for(made, held.size)
        place.get(key, made / CHECKPOINT)
        check_checkpoint(made / CHECKPOINT)


class _folder_for:  # noqa: N801 a function in all but its form
    """A folder to fill beside its place, which gets its name when the block ends well."""

    def __init__(self, out: Path) -> None:
        if out.exists():
            raise Failure(f"{out} is there already; choose another folder")
        self._out = out

    def __enter__(self) -> Path:
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._work = Path(tempfile.mkdtemp(prefix=f".{self._out.name}.", dir=self._out.parent))
        made = self._work / "made"
        made.mkdir()
        return made

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            if kind is None:
                (self._work / "made").rename(self._out)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Failure(f"the disk of {self._out} is full; make room and fetch again") from error


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a tar archive that may be damaged or hostile: files and folders that stay in the folder, nothing else.

    Raises:
        Failure: it is no such archive; nothing outside the folder was touched.
        OSError: the folder can't be written.
    """
    try:
        with tarfile.open(archive, "r:gz") as opened:
            members = []
            for member in opened:
                _check_member(member)
                members.append(member)
                if len(members) > MOST_FILES:
                    raise Failure(f"the artefact holds more than {MOST_FILES:,} files; it is none of training.train's")
            room_for(folder, sum(member.size for member in members))
            opened.extractall(folder, members, filter="data")
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise Failure(f"the artefact is no sound tar.gz archive ({error}); {_AGAIN}") from error
    except OSError as error:
        if error.errno is None:  # gzip.BadGzipFile, which is an OSError that no system raised
            raise Failure(f"the artefact is no sound tar.gz archive ({error}); {_AGAIN}") from error
        raise


def _check_member(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isreg() or member.isdir()):
        raise Failure(
            f"the artefact holds {member.name!r}, which is not a file or folder inside of it; it was not made by "
            "training.train and nothing of it was unpacked"
        )


def _check_contents(folder: Path, uri: str) -> None:
    contents = folder / CONTENTS
    if not contents.is_file():
        raise Failure(f"{uri} has no {CONTENTS}; it was not made by training.cloud.entry")
    files, _ = read_manifest(contents.read_bytes(), f"{uri}/{CONTENTS}", _AGAIN)
    there = set(list_folder(folder).files) - {CONTENTS}
    wrong = [n for n in files if n not in there or content_of(folder / n).sha256 != files[n].sha256]
    if wrong or there != set(files):
        named = [*wrong, *sorted(there - set(files))][0]
        raise Failure(f"{uri} is damaged: {named} is not what {CONTENTS} says; {_AGAIN}")


def check_checkpoint(path: Path) -> None:
    """Whether a file is a checkpoint of `training.train`: sound in all its bytes, and where torch is there, it opens.

    Raises:
        Failure: it is not.
    """
    try:
        with zipfile.ZipFile(path) as opened:
            if (bad := opened.testzip()) is not None:
                raise ValueError(f"{bad} is damaged")
            if not any(name.endswith("/data.pkl") for name in opened.namelist()):
                raise ValueError("it holds no pickle of torch")
        if find_spec("torch"):
            import torch

            state = torch.load(path, map_location="cpu", weights_only=True)
            if lacking := {"average", "objective", "config", "total"} - set(state):
                raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
    except FileNotFoundError:
        raise Failure(f"there is no {CHECKPOINT} in it; it was not made by training.train") from None
    except Exception as error:
        raise Failure(f"{path.name} is no sound checkpoint ({error}); {_AGAIN}") from error
