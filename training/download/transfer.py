"""One file over HTTP: in pieces where the connection is cut, and never under its name before it is whole."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import httpx

from training.download.session import BUSY, HttpError, Session, TryAgain

__all__ = ["fetch"]

UNSTAMPED = "0" * 16
RANGE_REFUSED = 416

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


def fetch(session: Session, url: str, folder: Path, name: str, *, max_bytes: int | None = None) -> Path:
    """Downloads a file to ``name.*.part``, synced, and returns that path; the caller gives it its name.

    A part that an earlier attempt or run left is continued where the host takes ranges and says by ETag or date that
    the file is the same: the stamp in the part's name is made of that. Otherwise the file comes from its beginning.

    Raises:
        HttpError: the host refuses, or the file is larger than ``max_bytes``. No part is left then.
        Unreachable: the host gives no answers; what came is kept.
        OSError: the disk is full, or nothing may be written.
    """
    try:
        return session.again(url, lambda: _attempt(session, url, folder, name, max_bytes))
    except HttpError as error:
        if error.status not in BUSY:
            for part in _parts(folder, name):
                part.unlink()
        raise


def _attempt(session: Session, url: str, folder: Path, name: str, max_bytes: int | None) -> Path:
    there = next((part for part in _parts(folder, name) if UNSTAMPED not in part.name), None)
    offset = there.stat().st_size if there else 0
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    with session.stream(url, headers) as response:
        if offset and response.status_code == RANGE_REFUSED:
            _restart(there, url)
        session.check(response)
        part = folder / f"{name}.{_stamp(url, response)}.part"
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            if part != there or _start(response) != offset:
                _restart(there, url)
        else:
            offset = 0
            for old in _parts(folder, name):
                old.unlink()
        _write(part, offset, session, response, max_bytes)
    return part


def _parts(folder: Path, name: str) -> list[Path]:
    pattern = re.compile(re.escape(name) + r"\.[0-9a-z]{16}\.part")
    return sorted(path for path in folder.glob("*.part") if pattern.fullmatch(path.name))


def _restart(part: Path | None, url: str) -> None:
    if part:
        part.unlink()
    raise TryAgain(f"{url} has changed since a part of it was downloaded")


def _stamp(url: str, response: httpx.Response) -> str:
    """16 characters that stay while the file does; `UNSTAMPED` where the host doesn't tell one file from the next."""
    tag = response.headers.get("ETag", "")
    validator = response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    if not validator:
        return UNSTAMPED
    return hashlib.sha256(f"{url}\n{validator}".encode()).hexdigest()[:16]


def _start(response: httpx.Response) -> int | None:
    found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _write(part: Path, offset: int, session: Session, response: httpx.Response, max_bytes: int | None) -> None:
    with part.open("ab" if offset else "wb") as file:
        for chunk in response.iter_raw():
            file.write(chunk)
            if max_bytes is not None and file.tell() > max_bytes:
                raise HttpError(response.status_code, f"{response.url} is larger than {max_bytes:,} bytes")
            session.raise_if_stopped()
        file.flush()
        os.fsync(file.fileno())
