"""Objects in a bucket of S3: what goes in is checked by S3 and looked at afterwards, what comes out is checked here."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cardrec.files import sync_folder
from training.cloud.aws import client, explained, missing
from training.cloud.files import PART_BYTES, Content
from training.cloud.settings import Where
from training.failure import Failure

__all__ = ["Held", "Store", "open_store", "split_uri"]


@dataclass(frozen=True, slots=True)
class Held:
    """What S3 says of an object.

    Attributes:
        size: in bytes.
        checksum: SHA-256 as `Content.checksum` writes it; empty: S3 has none. After that of parts S3 writes how many
            they are, which some stores leave out, as here.
        etag: of an object in one part, its MD5.
    """

    size: int
    checksum: str
    etag: str


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`.

    Raises:
        ValueError: it is none.
    """
    if not uri.startswith("s3://"):
        raise ValueError(f"{uri!r} is no S3 address; expected s3://BUCKET/KEY")
    bucket, _, key = uri[5:].partition("/")
    if not bucket:
        raise ValueError(f"{uri!r} names no bucket; expected s3://BUCKET/KEY")
    return bucket, key


class Store:
    """One bucket. Threads may share it.

    Args:
        s3: a client.
        bucket: its name.
    """

    def __init__(self, s3: Any, bucket: str) -> None:
        self.s3, self.bucket = s3, bucket

    def check(self) -> None:
        """Raises a `Failure` unless the bucket is there and may be used."""
        with explained(f"the bucket {self.bucket}"):
            try:
                self.s3.head_bucket(Bucket=self.bucket)
            except self.s3.exceptions.ClientError as error:
                if not missing(error):
                    raise
                raise Failure(
                    f"there is no bucket {self.bucket}; make it (`aws s3 mb s3://{self.bucket}`), or put the right one "
                    "under [cloud]"
                ) from error

    def head(self, key: str) -> Held | None:
        """What is there under a key; None: nothing."""
        with explained(f"s3://{self.bucket}/{key}"):
            try:
                answer = self.s3.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
            except self.s3.exceptions.ClientError as error:
                if missing(error):
                    return None
                raise
        return Held(
            answer["ContentLength"], answer.get("ChecksumSHA256", "").partition("-")[0], answer["ETag"].strip('"')
        )

    def holds(self, key: str, content: Content) -> bool:
        """Whether an object has this content."""
        return (held := self.head(key)) is not None and (held.size, held.checksum) == (content.size, content.checksum)

    def put(self, key: str, path: Path, content: Content) -> None:
        """Sends a file; S3 refuses it where its bytes are not those of the checksum.

        Raises:
            Failure: it could not be sent, changed meanwhile, or S3 then has another content.
        """
        with path.open("rb") as file, explained(f"s3://{self.bucket}/{key}"):
            if len(content.parts) == 1:
                self._put_one(key, file.read(PART_BYTES + 1), content.parts[0])
            else:
                self._put_parts(key, file, content)
        if not self.holds(key, content):
            raise Failure(f"s3://{self.bucket}/{key} is not what was sent; run the same command again")

    def put_bytes(self, key: str, body: bytes) -> None:
        """Sends a small object."""
        digest = hashlib.sha256(body)
        with explained(f"s3://{self.bucket}/{key}"):
            self._put_one(key, body, digest.digest())
        if not self.holds(key, Content(len(body), digest.hexdigest(), (digest.digest(),))):
            raise Failure(f"s3://{self.bucket}/{key} is not what was sent; run the same command again")

    def _put_one(self, key: str, body: bytes, digest: bytes) -> None:
        checksum = base64.b64encode(digest).decode()
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, ChecksumAlgorithm="SHA256", ChecksumSHA256=checksum)

    def _put_parts(self, key: str, file: BinaryIO, content: Content) -> None:
        where = {"Bucket": self.bucket, "Key": key}
        upload = {"UploadId": self.s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]}
        try:
            parts = []
            for number, digest in enumerate(content.parts, 1):
                checksum = {"ChecksumSHA256": base64.b64encode(digest).decode()}
                body = file.read(PART_BYTES)
                part = {"PartNumber": number, **checksum}
                sent = self.s3.upload_part(**where, **upload, **part, Body=body, ChecksumAlgorithm="SHA256")
                parts.append(part | {"ETag": sent["ETag"]})
            self.s3.complete_multipart_upload(**where, **upload, MultipartUpload={"Parts": parts})
        except BaseException:
            with contextlib.suppress(self.s3.exceptions.ClientError):  # what failed first is the news
                self.s3.abort_multipart_upload(**where, **upload)
            raise

    def bytes(self, key: str, most: int = 64 << 20) -> bytes | None:
        """A small object; None: there is none."""
        with explained(f"s3://{self.bucket}/{key}"):
            try:
                answer = self.s3.get_object(Bucket=self.bucket, Key=key)
            except self.s3.exceptions.ClientError as error:
                if missing(error):
                    return None
                raise
            if answer["ContentLength"] > most:
                raise Failure(
                    f"s3://{self.bucket}/{key} has {answer['ContentLength']:,} bytes; expected at most {most:,}"
                )
            return bytes(answer["Body"].read())

    def get(self, key: str, path: Path) -> Content:
        """Writes an object into a file beside its place, then renames it; returns what came."""
        part = path.with_name(path.name + ".part")
        whole, size = hashlib.sha256(), 0
        try:
            with explained(f"s3://{self.bucket}/{key}"), part.open("wb") as file:
                answer = self.s3.get_object(Bucket=self.bucket, Key=key)
                for piece in answer["Body"].iter_chunks(1 << 20):
                    file.write(piece)
                    whole.update(piece)
                    size += len(piece)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
        return Content(size, whole.hexdigest())

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin so, in order."""
        with explained(f"s3://{self.bucket}/{prefix}"):
            for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                yield from (entry["Key"] for entry in page.get("Contents", ()))

    def remove(self, key: str) -> None:
        """Removes an object, if it is there."""
        with explained(f"s3://{self.bucket}/{key}"):
            self.s3.delete_object(Bucket=self.bucket, Key=key)


def open_store(where: Where, bucket: str = "") -> Store:
    """The bucket of the settings, or another one, after a look that it is there.

    Raises:
        Failure: it is not, or the credentials are wrong.
    """
    if not bucket:
        where.need("bucket")
    store = Store(client(where, "s3"), bucket or where.bucket)
    store.check()
    return store
