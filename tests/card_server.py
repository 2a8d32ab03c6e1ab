"""A web server for tests of downloads: answers what it is told to, and writes down what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image


def picture(seed: int, kind: str = "PNG", size_wh: tuple[int, int] = (60, 84)) -> bytes:
    """The file of a random picture of blocks."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(coarse).resize(size_wh, Image.Resampling.NEAREST).save(file, kind)
    return file.getvalue()


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, [0.0]

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass(frozen=True)
class Answer:
    """What the server sends.

    Attributes:
        cut: the connection ends after so many bytes of the body.
        ranges: a Range is answered with the part; an ETag is sent.
        length: Content-Length is sent; without it the body ends with the connection.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    ranges: bool = False
    length: bool = True


@dataclass(frozen=True)
class Asked:
    """A request: path, its query as first values, headers in lower case."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


class CardServer:
    """Each path has a list of answers, of which the last one stays; other paths are not found."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[Asked] = []
        self.url = ""

    def says(self, path: str, *answers: Answer | bytes) -> str:
        """Sets the answers of a path; returns its address."""
        self.answers[path] = [each if isinstance(each, Answer) else Answer(each) for each in answers]
        return self.url + path

    def paths(self) -> list[str]:
        """What was asked for since the last call."""
        asked, self.asked = [each.path for each in self.asked], []
        return asked

    def take(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        left = self.answers.get(asked.path, [Answer(b"nothing here", 404)])
        return left.pop(0) if len(left) > 1 else left[0]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        answer = self.server.cards.take(Asked(address.path, query, headers))
        start, body = 0, answer.body
        if answer.ranges and "range" in headers:
            start = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else answer.status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if answer.ranges and "ETag" not in answer.headers:
            self.send_header("ETag", f'"{hash(body)}"')
        for key, value in answer.headers.items():
            self.send_header(key, value)
        if answer.length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        sent = body[start:]
        self.wfile.write(sent if answer.cut is None else sent[: answer.cut])
        if answer.cut is not None or not answer.length:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


class _Server(ThreadingHTTPServer):
    cards: CardServer


@contextmanager
def card_server() -> Iterator[CardServer]:
    """A server on a port of its own, for as long as the block."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.cards = CardServer()
        server.cards.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.cards
        finally:
            server.shutdown()
            thread.join()
