"""Sends a folder to S3 (a data set, a catalog, a model), so that nothing is lost on the way unnoticed.

    python -m training.cloud upload FOLDER NAME|s3://BUCKET/KEY [--prune]

Every file goes with its SHA-256, which S3 checks, and is looked at afterwards. A manifest of all of them goes last: an
upload without one is not complete, and nothing here takes it for one. A second run sends what is missing or differs.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from training.cloud.files import MANIFEST, Content, content_of, list_folder, manifest_of
from training.cloud.settings import Where, add_cloud_option, read_cloud
from training.cloud.store import Store, open_store, split_uri
from training.failure import Failure, one_line
from training.progress import Progress, bar

__all__ = ["Uploaded", "each_of", "place_of", "upload"]

COMMAND = "python -m training.cloud upload"

WORKERS = 8
Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What an upload did.

    Attributes:
        uri: where it is.
        files: how many are there.
        sent: how many of them went over the network.
        digest: SHA-256 of the manifest: the same for the same files.
    """

    uri: str
    files: int
    sent: int
    digest: str


def place_of(where: Where, name: str) -> tuple[str, str]:
    """Bucket and key of an S3 address, or of a name under the prefix; the key without a slash at its end.

    Raises:
        Failure: it is a name and there is no bucket.
        ValueError: it names nothing.
    """
    if not name.startswith("s3://"):
        where.need("bucket")
        name = where.uri(name)
    bucket, key = split_uri(name)
    if not key.strip("/"):
        raise ValueError(f"{name!r} names a whole bucket; expected s3://BUCKET/KEY")
    return bucket, key.rstrip("/")


def upload(folder: Path, store: Store, key: str, *, prune: bool = False, progress: Progress) -> Uploaded:
    """Sends a folder, then its manifest.

    Args:
        folder: which.
        store: where to.
        key: what the keys begin with.
        prune: remove what is there and is not in the folder; without it that is refused.
        progress: is told how many files are done.

    Raises:
        Failure: files could not be sent, all of which are named; there is no manifest then.
        OSError: the folder can't be read.
    """
    listing = list_folder(folder)
    wanted = {f"{key}/{name}" for name in listing.files}
    others = [each for each in store.keys(f"{key}/") if each not in wanted and each != f"{key}/{MANIFEST}"]
    if others and not prune:
        raise Failure(
            f"s3://{store.bucket}/{key}/ also holds {len(others)} objects that are not in {folder} ({others[0]!r}, "
            "...); choose another place, or remove them with --prune"
        )
    contents = dict(
        zip(listing.files, each_of(content_of, [folder / n for n in listing.files], "reading", progress), strict=True)
    )
    manifest = manifest_of(contents, listing.empty)
    if store.bytes(f"{key}/{MANIFEST}") != manifest:
        store.remove(f"{key}/{MANIFEST}")  # what it says of the place ends to be true now

    def send(name: str) -> bool | str:
        try:
            return _send(folder / name, contents[name], store, f"{key}/{name}")
        except (Failure, OSError) as error:
            return f"{name!r}: {error}"

    outcomes = each_of(send, listing.files, "uploading", progress)
    _refuse_failures([each for each in outcomes if isinstance(each, str)], len(outcomes))
    for each in others:
        store.remove(each)
    store.put_bytes(f"{key}/{MANIFEST}", manifest)
    digest = hashlib.sha256(manifest).hexdigest()
    return Uploaded(f"s3://{store.bucket}/{key}", len(contents), outcomes.count(True), digest)


def each_of(work: Callable[[Given], Made], items: Sequence[Given], stage: str, progress: Progress) -> list[Made]:
    """Does something with each item, some at a time; in the items' order."""
    pool = ThreadPoolExecutor(WORKERS)
    try:
        running = [pool.submit(work, item) for item in items]
        for done, _ in enumerate(as_completed(running), 1):
            progress(stage, done, len(items))
        return [future.result() for future in running]
    finally:
        pool.shutdown(cancel_futures=True)


def _send(path: Path, content: Content, store: Store, key: str) -> bool:
    """Whether the file had to be sent."""
    if store.holds(key, content):
        return False
    store.put(key, path, content)
    return True


def _refuse_failures(failed: list[str], files: int) -> None:
    if not failed:
        return
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    raise Failure(
        f"{len(failed)} of {files} files were not sent, the first: {failed[0]}. There is no manifest, so that nothing "
        "takes this for complete: run the same command again, which sends what is missing"
    )


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", help="s3://BUCKET/KEY, or a name under the bucket and prefix of the settings")
    parser.add_argument("--prune", action="store_true", help="remove what is there and is not in the folder")
    add_cloud_option(parser)
    options = parser.parse_args(given)

    with one_line(COMMAND):
        where = read_cloud(options.cloud).cloud
        bucket, key = place_of(where, options.name)
        with bar() as progress:
            done = upload(options.folder, open_store(where, bucket), key, prune=options.prune, progress=progress)
        print(f"{done.uri}: {done.files} files, {done.sent} of them sent now; manifest {done.digest}")
