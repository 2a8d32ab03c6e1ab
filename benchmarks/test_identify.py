"""The whole way, from a frame to its answers, and what is made of them; and what all but the encoder costs.

make bench PYTEST_ARGS="-k identify"
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from benchmarks import budgets
from benchmarks.stage import Stage
from cardrec import Recognizer, annotate
from cardrec.embed import open_encoder
from cardrec.image import Frame

OVERHEAD_LIMIT = 0.9
"""Share of the encoder's own time that all else may take, mostly the detector's networks: 0.59 and 0.64 measured with
AVX2, 0.76 with VNNI, by which the encoder gains more."""
FRAMES_PER_SECOND = 30


@pytest.fixture(scope="module")
def encode() -> Iterator[Callable[[int], None]]:
    """Encodes so many cards, whatever they show."""
    encoder = open_encoder(threads=1, backend="onnx")

    def run(cards: int) -> None:
        with encoder.slot() as slot:
            slot.submit(cards)
            slot.wait()

    yield run
    encoder.close()


def test_identify_overhead(
    stage: Stage, frame: Frame, recognizer: Recognizer, encode: Callable[[int], None], photos_right: float
) -> None:
    """One card, beside the bare encoder, in turn, as whole calls."""
    result = stage("identify, 1 card", lambda: recognizer.identify(frame.pixels), budget_ms=budgets.TOTAL)
    assert result.best is not None
    stage.right("photos right", photos_right)
    overhead = stage.beside({"encoder alone": lambda: encode(1)}, rounds=300)["encoder alone"] - 1
    assert overhead <= OVERHEAD_LIMIT


def test_identify_nine_cards(
    stage: Stage, nine: tuple[Frame, set[str]], recognizer: Recognizer, encode: Callable[[int], None]
) -> None:
    page, shown = nine
    result = stage("identify, 9 cards", lambda: recognizer.identify(page.pixels, max_cards=9), rounds=40, warm_up=3)
    stage.beside({"encoder alone": lambda: encode(9)}, rounds=20, warm_up=2)
    named = {card.match.card_id for card in result.cards if card.match}
    stage.right("cards named right", len(named & shown) / len(shown))
    stage.right("wrong", len(named - shown))
    assert not named - shown


def test_track_one_frame(stage: Stage, frame: Frame, recognizer: Recognizer) -> None:
    """What following costs, beyond identifying."""
    tracker, numbers = recognizer.tracker(), itertools.count()
    result = recognizer.identify(frame.pixels)

    def follow() -> None:
        number = next(numbers)
        tracker.update(replace(result, index=number), number / FRAMES_PER_SECOND)

    stage("track one frame", follow, rounds=500)
    assert result.best is not None
    (track,) = tracker.tracks
    stage.right("named right", track.match is not None and track.match.card_id == result.best.card_id)


def test_annotate(stage: Stage, frame: Frame, recognizer: Recognizer) -> None:
    result = recognizer.identify(frame.pixels)
    drawn = stage("annotate", lambda: annotate(frame.pixels, result))
    assert (drawn != frame.pixels).any()
