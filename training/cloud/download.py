"""Fetches from S3 what `upload` sent there: every file of its manifest, each checked, all or nothing.

    python -m training.cloud download NAME|s3://BUCKET/KEY FOLDER

The folder appears once everything is in it. What came before an interruption lies in a hidden folder beside it, and the
same command goes on from there.
"""

from __future__ import annotations

import argparse
import errno
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cardrec.files import sync_folder
from training.cloud.files import MANIFEST, Content, content_of, list_folder, read_manifest
from training.cloud.settings import add_cloud_option, read_cloud
from training.cloud.store import Store, open_store
from training.cloud.upload import each_of, place_of
from training.failure import Failure, one_line
from training.progress import Progress, bar

__all__ = ["download", "read_remote_manifest", "room_for"]

COMMAND = "python -m training.cloud download"


def read_remote_manifest(store: Store, key: str) -> bytes:
    """The manifest of an upload.

    Raises:
        Failure: there is none.
    """
    text = store.bytes(f"{key}/{MANIFEST}")
    if text is None:
        raise Failure(
            f"s3://{store.bucket}/{key} is not a complete upload: it has no {MANIFEST}. Send the folder there again: "
            f"python -m training.cloud upload FOLDER s3://{store.bucket}/{key}"
        )
    return text


def download(store: Store, key: str, folder: Path, *, progress: Progress) -> int:
    """Fetches an upload into a folder; returns how many files came over the network.

    Raises:
        Failure: it is not complete, a file is not what the manifest says, the folder is there with other contents, or
            the disk is full.
        OSError: the folder can't be written.
    """
    files, empty = read_manifest(read_remote_manifest(store, key), f"s3://{store.bucket}/{key}/{MANIFEST}")
    if folder.exists():
        if _same(folder, files):
            return 0
        raise Failure(f"{folder} is there with other contents; take it away, or choose another folder")
    part = folder.with_name(f".{folder.name}.partial")
    try:
        part.mkdir(parents=True, exist_ok=True)
        left = [name for name, content in files.items() if not _is(part / name, content)]
        room_for(part, sum(files[name].size for name in left))
        for name in {str(Path(each).parent) for each in files} | set(empty):
            (part / name).mkdir(parents=True, exist_ok=True)
        each_of(lambda name: _fetch(store, f"{key}/{name}", part / name, files[name]), left, "downloading", progress)
        for extra in set(list_folder(part).files) - set(files):
            (part / extra).unlink()
        part.rename(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Failure(
                f"the disk of {folder} is full; make room and run the same command again: it goes on where it stopped"
            ) from error
        raise
    sync_folder(folder.parent)
    return len(left)


def _same(folder: Path, files: Mapping[str, Content]) -> bool:
    if not folder.is_dir() or set(list_folder(folder).files) != set(files):
        return False
    return all(_is(folder / name, content) for name, content in files.items())


def _is(path: Path, content: Content) -> bool:
    if not path.is_file() or path.stat().st_size != content.size:
        return False
    return content_of(path).sha256 == content.sha256


def _fetch(store: Store, key: str, path: Path, content: Content) -> None:
    came = store.get(key, path)
    if (came.size, came.sha256) != (content.size, content.sha256):
        path.unlink()
        raise Failure(f"s3://{store.bucket}/{key} is not what the manifest says; upload it again")


def room_for(folder: Path, size: int) -> None:
    """Refuses to begin where it would not end.

    Raises:
        Failure: the disk has less room.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise Failure(f"{size:,} bytes are to come, and the disk of {folder} has room for {free:,}; make room first")


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="s3://BUCKET/KEY, or a name under the bucket and prefix of the settings")
    parser.add_argument("folder", type=Path, help="must not be there, or hold just this")
    add_cloud_option(parser)
    options = parser.parse_args(given)

    with one_line(COMMAND):
        where = read_cloud(options.cloud).cloud
        bucket, key = place_of(where, options.name)
        with bar() as progress:
            fetched = download(open_store(where, bucket), key, options.folder, progress=progress)
        print(f"{options.folder}: complete, {fetched} files fetched now")
