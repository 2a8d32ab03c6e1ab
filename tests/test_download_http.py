"""What all downloads share: requests, rates, pauses, file names, how commands end."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from card_server import Answer, CardServer, Clock
from hypothesis import given
from hypothesis import strategies as st

from training.download import transfer
from training.download.limits import RateLimit, back_off, retry_after
from training.download.names import Names, escaped
from training.download.session import HttpError, Session, Stopped, Unreachable
from training.failure import Failure, one_line


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_pictures_that_are_too_large(server: CardServer, tmp_path: Path, clock: Clock) -> None:
    with Session(sleep=clock.sleep, clock=clock) as session, pytest.raises(HttpError, match="larger than 1,000 bytes"):
        transfer.fetch(session, server.says("/1", b"x" * 200_000), tmp_path, "1", max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_stopping_ends_all_waits(server: CardServer) -> None:
    url = server.says("/1", Answer(status=429, headers={"Retry-After": "500"}))
    with Session() as session:
        threading.Timer(0.1, session.stop).start()
        with pytest.raises(Stopped):
            session.get_json(url)


def test_what_is_no_json_is_asked_for_again(server: CardServer, clock: Clock) -> None:
    url = server.says("/1", b'{"half": ', b'{"whole": 1}')
    with Session(sleep=clock.sleep, clock=clock, retries=1) as session:
        assert session.get_json(url) == {"whole": 1}
        server.says("/1", b"<html>")
        with pytest.raises(Unreachable, match="answers with what is no JSON"):
            session.get_json(url)


def test_rates_hold_over_threads() -> None:
    clock = Clock()
    limit = RateLimit(4, clock.sleep, clock)
    for _ in range(9):
        limit.wait()
    assert clock.now == pytest.approx(102)
    limit.pause(10)
    limit.wait()
    assert clock.now == pytest.approx(112)


def test_pauses() -> None:
    assert [back_off(n, lambda: 1.0) for n in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert back_off(3, lambda: 0.0) == 2
    assert retry_after(None) is None and retry_after("7") == 7 and retry_after("soon") is None
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert 3e8 < (retry_after("Wed, 21 Oct 2099 07:28:00 GMT") or 0) < 4e9


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(st.lists(TEXTS, unique=True))
def test_names_lead_back_and_are_distinct_on_any_file_system(texts: list[str]) -> None:
    names = Names()
    given = [names.take(text) for text in texts]
    for text, name in zip(texts, given, strict=True):
        if "%~" not in name:
            assert os.fsdecode(unquote_to_bytes(name)) == text
        assert not set(name) & set('/\\:*?"<>|\0\n') and not name.startswith(".") and len(name.encode()) <= 200
    assert len({name.casefold() for name in given}) == len(texts)


def test_names_of_special_texts() -> None:
    assert [escaped(text) for text in ("base1-4", "../x", "é", "e\u0301", "50%", "a.", "日本")] == [
        "base1-4", "%2E.%2Fx", "é", "e%CC%81", "50%25", "a%2E", "日本",
    ]  # fmt: skip
    names = Names(["Ab"])
    assert names.take("aB") == "%61%42" and names.take("ab") == "%61%62"
    shortened = names.take("x" * 1000)
    assert len(shortened) < 210 and shortened != names.take("x" * 1000 + "y")
    assert escaped(os.fsdecode(b"x\xe9")) == "x%E9"


def test_commands_end_with_one_line() -> None:
    for error, code in ((Failure("no key"), "it: no key"), (OSError("disk"), "it: disk"), (KeyboardInterrupt(), 130)):
        with pytest.raises(SystemExit) as ended, one_line("it"):
            raise error
        assert ended.value.code == code
    with pytest.raises(KeyError), one_line("it"):
        raise KeyError("a bug keeps its traceback")
