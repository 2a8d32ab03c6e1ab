"""`Recognizer.track`, collections and `cardrec scan`, on clips drawn in milliseconds."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Run, is_one_line_error, lines
from numpy.typing import NDArray
from pictures import card_picture, photo
from sightings import follow, sighting
from test_watch import write_video

import cardrec
from cardrec import Event, InputError, Recognizer
from cardrec.cli_options import NOTHING_IDENTIFIED, USAGE
from cardrec.collection import COLUMNS, Collection
from cardrec.evidence import declared_from
from cardrec.sources import open_source

Frame = NDArray[np.uint8]
SIZE_WH = (640, 360)


@pytest.fixture(scope="module")
def clip() -> list[Frame]:
    """An empty table; c3; two copies of c3 and c5; the table again."""
    blank = np.full((SIZE_WH[1], SIZE_WH[0], 3), 120, np.uint8)
    one = photo([card_picture(3)], size_wh=SIZE_WH)
    three = photo([card_picture(3), card_picture(3), card_picture(5)], size_wh=SIZE_WH)
    return [blank] * 2 + [one] * 5 + [three] * 6 + [blank] * 2


@pytest.fixture(scope="module")
def recognizer_of_tiny(tiny_catalog: Path) -> Iterator[Recognizer]:
    with Recognizer(tiny_catalog, max_cards=4) as opened:
        yield opened


@pytest.fixture(scope="module")
def clip_video(tmp_path_factory: pytest.TempPathFactory, clip: list[Frame]) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "table.avi", clip)


def identities(events: list[Event]) -> list[str]:
    return sorted(event.track.match.card_id for event in events if event.kind == "left" and event.track.match)


def test_track_follows_cards(recognizer_of_tiny: Recognizer, clip: list[Frame]) -> None:
    with recognizer_of_tiny.track(clip, frames_per_second=10) as events:
        assert iter(events) is events
        told = list(events)
        assert events.dropped == 0
        assert events.tracks == []
    assert identities(told) == ["c3", "c3", "c5"]
    assert {event.kind for event in told} <= {"appeared", "identified", "left"}
    first = told[0]
    assert (first.kind, first.index) == ("appeared", 4)
    assert first.time_s == pytest.approx(0.4)
    assert first.track.card.embedding is not None
    assert [event.index for event in told] == sorted(event.index for event in told)


def test_track_takes_times_from_a_source(recognizer_of_tiny: Recognizer, clip_video: Path) -> None:
    with open_source(clip_video) as video, recognizer_of_tiny.track(video) as events:
        told = list(events)
    assert identities(told) == ["c3", "c3", "c5"]
    assert told[0].time_s == pytest.approx(0.4)


def test_track_raises_at_its_place_and_goes_on(recognizer_of_tiny: Recognizer, clip: list[Frame]) -> None:
    frames: list[Any] = [clip[2], clip[2].astype(np.float32), clip[2], clip[2]]
    with recognizer_of_tiny.track(frames) as events:
        with pytest.raises(InputError, match="float32"):
            next(events)
        assert identities(list(events)) == ["c3"]


def test_track_may_be_left_early(recognizer_of_tiny: Recognizer, clip: list[Frame]) -> None:
    before = threading.active_count()
    events = recognizer_of_tiny.track(clip * 20)
    assert next(events).kind == "appeared"
    assert [track.match.card_id for track in events.tracks if track.match] == ["c3"]
    events.close()
    events.close()
    assert threading.active_count() <= before
    assert [event.kind for event in events][-1] == "left", "what was there has left"
    assert list(events) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"frames": 5}, "iterate"),
        ({"frames_per_second": 0}, "frames_per_second"),
        ({"frames_per_second": "30"}, "frames_per_second"),
        ({"patience_s": -1}, "patience_s"),
        ({"max_cards": 0}, "max_cards"),
        ({"in_flight": 0}, "in_flight"),
        ({"drop": "newest"}, "drop"),
    ],
)
def test_track_checks_its_arguments(recognizer_of_tiny: Recognizer, arguments: dict[str, object], word: str) -> None:
    given: dict[str, object] = {"frames": [], **arguments}
    with pytest.raises(InputError, match=word):
        recognizer_of_tiny.track(**given)  # type: ignore[arg-type]


def test_a_tracker_asks_for_what_the_recognizer_was_asked_for(tiny_catalog: Path, recognizer: Recognizer) -> None:
    """Of a catalog that knows its strangers by the share that may be named, else by its one threshold."""

    def surely(asked: Recognizer, confidence: float) -> bool:
        frames = [[sighting("a", 300, confidence=confidence)]] * 8
        return "identified" in [event.kind for event in follow(frames, asked.tracker())]

    with (
        Recognizer(tiny_catalog, max_false_accept=0.1) as lax,
        Recognizer(tiny_catalog, max_false_accept=1e-5) as strict,
    ):
        assert declared_from(lax._reader.calibration, 0.1) < declared_from(lax._reader.calibration, 1e-5)
        between = (declared_from(lax._reader.calibration, 0.1) + declared_from(strict._reader.calibration, 1e-5)) / 2
        assert surely(lax, between) and not surely(strict, between)
        one_threshold = replace(lax._reader.calibration, tail_scale=0.0, min_confidence=0.88)
        assert declared_from(one_threshold, 0.1) == declared_from(one_threshold, None) == 0.88
    with pytest.raises(InputError, match="patience_s"):
        recognizer.tracker(patience_s=0)


def test_public_names() -> None:
    assert {"Event", "Track", "Tracker", "Tracking"} <= set(cardrec.__all__)


def test_a_collection_counts_tracks_that_have_left() -> None:
    collection = Collection()
    stranger = sighting("s", 900, confidence=0.02, gap=0.004)
    frames = [[sighting("a", 300), sighting("a", 420), sighting("b", 600, confidence=0.97), stranger]] * 8
    for event in follow(frames):
        collection.add(event)
    rows = [holding.to_dict() for holding in collection.holdings]
    assert [(row["card_id"], row["name"], row["set"], row["count"]) for row in rows] == [
        ("a", "A", "", 2),
        ("b", "B", "", 1),
    ]
    assert (len(collection), collection.unnamed) == (3, 1)
    assert (rows[0]["first_s"], rows[0]["last_s"]) == (0.0, pytest.approx(7 / 15, abs=0.01))
    assert collection.to_csv().splitlines()[0] == ",".join(COLUMNS)


def rows_of(text: str) -> dict[str, dict[str, str]]:
    return {row["card_id"]: row for row in csv.DictReader(io.StringIO(text))}


def test_scan_counts_each_card_once(run: Run, clip_video: Path, tiny_catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "cards.csv"
    result = run("scan", clip_video, "--catalog", tiny_catalog, "--csv", out)
    assert result.exit_code == 0, result.stderr
    rows = rows_of(out.read_text())
    assert {card_id: row["count"] for card_id, row in rows.items()} == {"c3": "2", "c5": "1"}
    assert (rows["c5"]["name"], rows["c5"]["set"], rows["c5"]["language"], rows["c5"]["number"]) == (
        "Card 5",
        "S1",
        "en",
        "",
    )
    assert float(rows["c3"]["first_s"]) == pytest.approx(0.2)
    assert float(rows["c5"]["confidence"]) > 0.9
    assert "Card 5" in result.stdout
    assert result.stderr.splitlines()[-1].endswith("3 cards, 2 different, 0 not identified")


def test_scan_to_stdout(run: Run, clip_video: Path, tiny_catalog: Path) -> None:
    result = run("scan", clip_video, "--catalog", tiny_catalog, "--csv")
    assert result.exit_code == 0, result.stderr
    assert {card_id: row["count"] for card_id, row in rows_of(result.stdout).items()} == {"c3": "2", "c5": "1"}
    as_json = run("scan", clip_video, "--catalog", tiny_catalog, "--json")
    assert [(row["card_id"], row["count"]) for row in lines(as_json)] == [("c3", 2), ("c5", 1)]


def test_scan_finds_nothing(run: Run, tmp_path: Path, clip: list[Frame]) -> None:
    empty = write_video(tmp_path / "empty.avi", clip[:2])
    result = run("scan", empty, "--csv")
    assert result.exit_code == NOTHING_IDENTIFIED
    assert result.stdout == ",".join(COLUMNS) + "\n"


def test_scan_wrong_use(run: Run, clip_video: Path, tmp_path: Path) -> None:
    is_one_line_error(run("scan", clip_video, "--csv", tmp_path), USAGE, "is a folder")
    is_one_line_error(run("scan", clip_video, "--csv", tmp_path / "absent" / "x.csv"), USAGE, "no folder")
    is_one_line_error(run("scan", clip_video, "--json", "--csv"), USAGE, "stdout")
    is_one_line_error(run("scan", tmp_path / "absent.avi"), USAGE, "No such file")
    is_one_line_error(run("scan", clip_video, "--patience", 0), USAGE, "--patience")


def test_embeddings_are_unit_vectors_and_in_no_json(recognizer_of_tiny: Recognizer, clip: list[Frame]) -> None:
    (card,) = recognizer_of_tiny.identify(clip[2], max_cards=1).cards
    assert card.embedding is not None
    assert card.embedding.dtype == np.float32
    assert float(np.linalg.norm(card.embedding)) == pytest.approx(1, abs=1e-5)
    assert "embedding" not in card.to_dict()
    assert "embedding" not in repr(card)
    assert float(card.embedding @ recognizer_of_tiny.encode(card_picture(3))[0]) > 0.8
