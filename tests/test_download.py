"""Downloads of cards: resuming, errors, what is written; against a server of the test's own."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from card_server import Answer, CardServer, Clock, picture

from cardrec.importer import open_items
from training.download.cards import Card, Fault, Listed
from training.download.run import Outcome, download
from training.download.session import Session, Unreachable
from training.failure import Failure
from training.manifests import manifest_entries


class Shelf:
    """A source with given cards."""

    name, note = "shelf", "made for a test"
    rates: Mapping[str, float] = {}

    def __init__(self, *cards: Listed) -> None:
        self.listed = cards

    def cards(self, session: Session, workspace: Path) -> Iterator[Listed]:
        del session, workspace
        yield from self.listed


@pytest.fixture
def clock() -> Clock:
    return Clock()


Get = Callable[..., Outcome]


@pytest.fixture
def get(tmp_path: Path, clock: Clock) -> Get:
    """Downloads cards into tmp_path/out, with one worker, so that requests have an order."""

    def run(*cards: Listed, retries: int = 3, **options: Any) -> Outcome:
        with Session(rate=1000.0, retries=retries, sleep=clock.sleep, clock=clock, chance=lambda: 1.0) as session:
            return download(Shelf(*cards), session, tmp_path / "out", **{"workers": 1} | options)

    return run


def card(card_id: str, url: str | None, **meta: object) -> Card:
    return Card(card_id, {"name": card_id.upper()} | meta, url)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_the_folder_is_what_catalogs_and_trainings_read(server: CardServer, get: Get, tmp_path: Path) -> None:
    png, jpeg = server.says("/1/large", picture(1)), server.says("/2.png", picture(2, "JPEG"))
    outcome = get(card("b-1", png, set="b", hp=70), card("a/2 é", jpeg))
    assert (outcome.pictures, outcome.fetched, outcome.faults) == (2, 2, [])
    out = tmp_path / "out"
    assert set(files(out)) == {"cards.jsonl", "source.json", ".lock", "images/b-1.png", "images/a%2F2 é.jpg"}
    assert files(out)["images/b-1.png"] == picture(1) and files(out)["images/a%2F2 é.jpg"] == picture(2, "JPEG")
    first, second = lines(out / "cards.jsonl")
    assert first["card_id"] == "a/2 é" and first["bytes"] == len(picture(2, "JPEG"))
    assert second["image_url"] == png and second["set"] == "b" and second["hp"] == 70
    assert json.loads((out / "source.json").read_text())["note"] == "made for a test"
    assert [entry.card_id for entry in manifest_entries(out / "cards.jsonl")] == ["a/2 é", "b-1"]
    assert [(card_id, meta["name"]) for card_id, _, meta in open_items(out / "cards.jsonl")] == [
        ("a/2 é", "A/2 É"),
        ("b-1", "B-1"),
    ]


def test_a_second_run_fetches_what_is_missing_changed_or_damaged(server: CardServer, get: Get, tmp_path: Path) -> None:
    cards = [card(str(n), server.says(f"/{n}", picture(n))) for n in range(5)]
    get(*cards)
    before = files(tmp_path / "out")
    server.paths()
    assert get(*cards).fetched == 0 and server.paths() == [] and files(tmp_path / "out") == before
    images = tmp_path / "out" / "images"
    (images / "1.png").unlink()
    (images / "2.png").write_bytes(picture(9))
    (images / "3.png").write_bytes(picture(3)[:-1] + b"x")  # as long as before
    cards[4] = card("4", server.says("/4b", picture(4, "JPEG")))
    assert get(*cards).fetched == 4 and server.paths() == ["/1", "/2", "/3", "/4b"]
    after = files(tmp_path / "out")
    assert after["images/4.jpg"] == picture(4, "JPEG") and "images/4.png" not in after
    assert {name: after[name] for name in ("images/1.png", "images/2.png", "images/3.png")} == {
        f"images/{n}.png": picture(n) for n in (1, 2, 3)
    }


def test_runs_add_up_and_metadata_is_renewed(server: CardServer, get: Get, tmp_path: Path) -> None:
    one, two = (server.says(f"/{n}", picture(n)) for n in (1, 2))
    get(card("1", one, price=3))
    server.paths()
    assert get(card("1", one, rarity="rare"), card("2", two)).pictures == 2
    assert server.paths() == ["/2"]
    first, second = lines(tmp_path / "out" / "cards.jsonl")
    assert first["rarity"] == "rare" and "price" not in first and second["card_id"] == "2"
    assert get(card("2", two)).pictures == 2


def test_order_and_number_of_workers_change_nothing(server: CardServer, get: Get, tmp_path: Path) -> None:
    cards = [card(f"card{n}", server.says(f"/{n}", picture(n))) for n in range(20)]
    get(*cards, workers=8)
    first = files(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "before")
    get(*reversed(cards))
    assert files(tmp_path / "out") == first


def test_a_cut_connection_is_resumed_by_range(server: CardServer, get: Get, tmp_path: Path) -> None:
    body = picture(1, "BMP")
    url = server.says(
        "/1", Answer(body, cut=5000, ranges=True), Answer(body, cut=7000, ranges=True), Answer(body, ranges=True)
    )
    assert get(card("1", url)).faults == []
    assert [each.headers.get("range") for each in server.asked] == [None, "bytes=5000-", "bytes=12000-"]
    assert files(tmp_path / "out")["images/1.bmp"] == body


def test_an_interrupted_picture_leaves_a_part_for_the_next_run(server: CardServer, get: Get, tmp_path: Path) -> None:
    body = picture(1, "BMP")
    other = card("0", server.says("/0", picture(0)))
    url = server.says("/1", Answer(body, cut=5000, ranges=True), Answer(body, cut=0, ranges=True))
    with pytest.raises(Unreachable, match=r"/1.*4 times; check the connection, then run the same command again"):
        get(other, card("1", url))
    out = tmp_path / "out"
    left = [name for name in files(out) if not name.startswith(("images/0", "source", "cards", ".lock"))]
    assert len(left) == 1 and left[0].startswith(".parts/1.") and left[0].endswith(".part")
    assert files(out)[left[0]] == body[:5000]
    assert [line["card_id"] for line in lines(out / "cards.jsonl")] == ["0"]
    server.asked.clear()
    server.says("/1", Answer(body, ranges=True))
    assert get(other, card("1", url)).fetched == 1
    assert [(each.path, each.headers.get("range")) for each in server.asked] == [("/1", "bytes=5000-")]
    assert files(out)["images/1.bmp"] == body and not (out / ".parts").exists()


def test_a_part_of_another_version_is_not_continued(server: CardServer, get: Get, tmp_path: Path) -> None:
    old, new = picture(1, "BMP"), picture(2, "BMP")
    url = server.says("/1", Answer(old, cut=5000, ranges=True), Answer(new, ranges=True))
    assert get(card("1", url)).faults == []
    assert [each.headers.get("range") for each in server.asked] == [None, "bytes=5000-", None]
    assert files(tmp_path / "out")["images/1.bmp"] == new


def test_without_ranges_or_versions_it_begins_again(server: CardServer, get: Get, tmp_path: Path) -> None:
    body = picture(1, "BMP")
    url = server.says("/1", Answer(body, cut=5000), Answer(body))
    tagged = server.says("/2", Answer(body, cut=5000, headers={"ETag": '"a"'}), Answer(body, headers={"ETag": '"a"'}))
    assert get(card("1", url), card("2", tagged)).faults == []
    assert [each.headers.get("range") for each in server.asked] == [None, None, None, "bytes=5000-"]
    assert files(tmp_path / "out")["images/1.bmp"] == files(tmp_path / "out")["images/2.bmp"] == body


def test_a_part_that_is_too_long_begins_again(server: CardServer, get: Get, tmp_path: Path) -> None:
    body = picture(1, "BMP")
    url = server.says("/1", Answer(body, ranges=True))
    get(card("0", server.says("/0", picture(0))))
    stamp = hashlib.sha256(f'{url}\n"{hash(body)}"'.encode()).hexdigest()[:16]
    (tmp_path / "out" / ".parts").mkdir(exist_ok=True)
    (tmp_path / "out" / ".parts" / f"1.{stamp}.part").write_bytes(body + b"more")
    assert get(card("1", url)).fetched == 1
    assert files(tmp_path / "out")["images/1.bmp"] == body


def test_a_missing_picture_is_reported_and_the_others_go_on(server: CardServer, get: Get, tmp_path: Path) -> None:
    good = card("good", server.says("/good", picture(1)))
    html = card("html", server.says("/html", b"<!DOCTYPE html><p>please log in"))
    half = card("half", server.says("/half", Answer(picture(2, "JPEG")[:-300], length=False)))
    moved = card("moved", server.says("/moved", Answer(status=302, headers={"Location": "/good"})))
    outcome = get(card("gone", f"{server.url}/gone"), html, half, good, moved, card("odd", "ftp://example/x"))
    assert outcome.pictures == 2
    why = {fault.what: fault.why for fault in outcome.faults}
    assert set(why) == {"gone", "html", "half", "odd"}
    assert (
        "404" in why["gone"] and "begin b'<!DOCTYPE" in why["html"] and "damaged" in why["half"] and "ftp" in why["odd"]
    )
    assert lines(tmp_path / "out" / "failures.jsonl")[0]["image_url"] == f"{server.url}/gone"
    assert not (tmp_path / "out" / ".parts").exists()
    server.says("/gone", picture(3))
    assert get(card("gone", f"{server.url}/gone")).pictures == 3
    assert not (tmp_path / "out" / "failures.jsonl").exists()


def test_cards_without_a_picture_are_no_failure(server: CardServer, get: Get, tmp_path: Path) -> None:
    outcome = get(card("1", server.says("/1", picture(1))), card("2", None))
    assert outcome.faults == [] and [fault.what for fault in outcome.pictureless] == ["2"]
    assert lines(tmp_path / "out" / "failures.jsonl")[0]["card_id"] == "2"


def test_ids_that_are_listed_twice(server: CardServer, get: Get) -> None:
    one, two = server.says("/1", picture(1)), server.says("/2", picture(2))
    outcome = get(card("1", one), card("1", one), card("1", two), card(" ", one), Fault("x", "unreadable"))
    assert outcome.pictures == 1
    assert [(fault.what, fault.why[:20]) for fault in outcome.faults] == [
        ("1", "the id occurs twice;"),
        (" ", "card_id is ' '; text"),
        ("x", "unreadable"),
    ]


def test_nothing_listed_is_an_error(get: Get) -> None:
    with pytest.raises(Failure, match="lists no card with a picture; check --set"):
        get()


def test_limit(server: CardServer, get: Get) -> None:
    cards = [card(str(n), server.says(f"/{n}", picture(n))) for n in range(5)]
    assert get(*cards, limit=2).pictures == 2 and server.paths() == ["/0", "/1"]


def test_busy_hosts_are_waited_for(server: CardServer, get: Get, clock: Clock) -> None:
    busy = Answer(status=429, headers={"Retry-After": "30"})
    assert get(card("1", server.says("/1", busy, Answer(status=503), picture(1)))).faults == []
    assert sum(clock.slept) == pytest.approx(30 + 1.0, abs=0.01)  # the second pause is doubled
    with pytest.raises(Unreachable, match="429 Too Many Requests and asks for a pause of 86,400 s"):
        get(card("2", server.says("/2", Answer(status=429, headers={"Retry-After": "86400"}))))


def test_a_host_that_stays_broken_for_one_picture(server: CardServer, get: Get) -> None:
    outcome = get(card("1", server.says("/1", Answer(status=500))), card("2", server.says("/2", picture(2))))
    assert "500 Internal Server Error, 4 times" in outcome.faults[0].why
    assert server.paths() == ["/1"] * 4 + ["/2"]


def test_a_source_that_refuses_everything_is_left_alone(server: CardServer, get: Get, tmp_path: Path) -> None:
    refused = [card(f"c{n:02}", f"{server.url}/c{n:02}") for n in range(60)]
    good = [card(f"a{n:02}", server.says(f"/a{n:02}", picture(n))) for n in range(3)]
    with pytest.raises(Failure, match=r"25 pictures in a row .*404.*; nothing more is asked for"):
        get(*good, *refused)
    assert len(server.asked) < 35
    assert len(lines(tmp_path / "out" / "cards.jsonl")) == 3


def test_failures_here_and_there_are_no_refusal(server: CardServer, get: Get) -> None:
    good = [card(f"good{n}", server.says(f"/good{n}", picture(n))) for n in range(3)]
    gone = [card(f"gone{n:02}", f"{server.url}/gone{n:02}") for n in range(40)]
    outcome = get(*gone[:20], good[0], *gone[20:], good[1], good[2])
    assert (outcome.pictures, len(outcome.faults)) == (3, 40)


def test_what_is_gone_leaves_no_part(server: CardServer, get: Get, tmp_path: Path) -> None:
    body = picture(1, "BMP")
    for status, kept in ((404, 0), (503, 5000)):
        url = server.says(f"/{status}", Answer(body, cut=5000, ranges=True), Answer(status=status))
        assert str(status) in get(card(str(status), url)).faults[0].why
        parts = tmp_path / "out" / ".parts"
        assert sum(part.stat().st_size for part in parts.iterdir()) == kept if parts.exists() else not kept


def test_no_connection(get: Get, clock: Clock) -> None:
    with pytest.raises(Unreachable, match="4 times; check the connection"):
        get(card("1", "http://127.0.0.1:9/1"))
    assert sum(clock.slept) == pytest.approx(0.5 + 1 + 2, abs=0.01)


def test_a_full_disk(server: CardServer, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (card(str(n), server.says(f"/{n}", picture(n))) for n in (1, 2))
    get(one)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Failure, match=r"the disk of .*out is full; make room and run the same command again"):
            get(two)
    assert [name for name in files(tmp_path / "out") if name.startswith("images")] == ["images/1.png"]
    assert get(one, two).pictures == 2


def test_a_killed_run_loses_nothing(server: CardServer, get: Get, tmp_path: Path) -> None:
    cards = [card(str(n), server.says(f"/{n}", picture(n))) for n in range(3)]
    get(*cards)
    out = tmp_path / "out"
    text = (out / "cards.jsonl").read_text()
    one, two, three = text.splitlines(keepends=True)
    (out / "cards.jsonl").write_text(one)
    (out / ".journal.jsonl").write_text(two + three[:40])  # killed while the third line was written
    server.paths()

    def journal_is_sound(stage: str, *_: object) -> None:
        if stage == "downloading" and (out / ".journal.jsonl").exists():
            assert len(lines(out / ".journal.jsonl")) == 1

    assert get(*cards, progress=journal_is_sound).fetched == 1 and server.paths() == ["/2"]
    assert (out / "cards.jsonl").read_text() == text and not (out / ".journal.jsonl").exists()


def test_the_journal_is_written_while_pictures_come(server: CardServer, get: Get, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[int] = []

    def progress(stage: str, done: int, total: int | None) -> None:
        if stage == "downloading":
            seen.append(len(lines(out / ".journal.jsonl")))

    get(*(card(str(n), server.says(f"/{n}", picture(n))) for n in range(3)), progress=progress)
    assert len(seen) == 3 and seen[0] >= 1 and seen[-1] == 3


def test_two_runs_and_two_sources_keep_apart(server: CardServer, get: Get, tmp_path: Path) -> None:
    one = card("1", server.says("/1", picture(1)))

    def meanwhile(*_: object) -> None:
        with pytest.raises(Failure, match="another download writes to"):
            get(one)

    get(one, progress=meanwhile)
    other = Shelf(one)
    other.name = "drawer"
    with (
        Session() as session,
        pytest.raises(Failure, match="holds cards of shelf, not of drawer; choose another --out"),
    ):
        download(other, session, tmp_path / "out")
    (tmp_path / "out" / "cards.jsonl").write_text('{"card_id": "1", "image": "../../etc/passwd"}\n')
    with pytest.raises(Failure, match=r"cards\.jsonl, line 1: .*was not written by a download"):
        get(one)


def test_any_interruption_can_be_resumed(server: CardServer, get: Get, tmp_path: Path) -> None:
    """Connections are cut at random places, run after run, until all is there: byte for byte what the server has."""
    rng = random.Random(0)
    cards = []
    for n in range(6):
        body = picture(n, "BMP")
        cuts = [Answer(body, cut=rng.randrange(len(body)), ranges=n % 2 == 0) for _ in range(rng.randrange(5))]
        cards.append(card(str(n), server.says(f"/{n}", *cuts, Answer(body, ranges=n % 2 == 0))))
    for _ in range(20):
        try:
            outcome = get(*cards, retries=0)
        except Unreachable:
            continue
        break
    assert outcome.pictures == 6
    assert {name: data for name, data in files(tmp_path / "out").items() if name.startswith("images")} == {
        f"images/{n}.bmp": picture(n, "BMP") for n in range(6)
    }


def test_without_its_libraries_the_command_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\nfrom training.download.__main__ import main\n"
        f"main(['pokemontcg', '--out', {str(tmp_path)!r}])"
    )
    environment: Mapping[str, str] = dict(os.environ)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "python -m training.download: httpx is not installed: pip install --editable '.[data]'\n"
