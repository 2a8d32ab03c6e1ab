"""Faults of a Hailo device: every card is answered or fails, in time, and with its own answer."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fake_hailo import (
    ERROR_OF,
    LATENCY_MS,
    PASSING,
    SILENT,
    TIMEOUT_S,
    Platform,
    all_answered,
    encode,
    in_flight,
    in_threads,
    integers,
    is_answer,
    opened,
    patience,
    right,
    write,
)

from cardrec.backends.simulated import Fault
from cardrec.backends.simulated.pipeline import LATE_S
from cardrec.encode import encode_in_order
from cardrec.errors import DeviceError, DeviceTimeout, DeviceUnavailable
from cardrec.model import Model

SLACK_S = 2.0
"""What a busy machine may add to any bound; a hang takes for ever, and one wait too many would be noticed below."""


@pytest.fixture
def platform() -> Platform:
    return Platform()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    assert time.perf_counter() - begun < seconds + SLACK_S


PLACES = [(count, place) for count in (1, 2, 3) for place in range(count)]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize(("count", "place"), PLACES)
def test_one_fault_costs_one_configuration_and_no_card(
    tiny: Model, platform: Platform, fault: Fault, count: int, place: int
) -> None:
    with opened(tiny, platform, timeout_s=patience(fault)) as encoder:
        platform.schedule.coming.extend([None] * place + [fault])
        with at_most(2 * TIMEOUT_S):
            assert right(in_flight(encoder, range(count)), range(count))
        assert platform.configured == 2 and platform.opens == 1
        assert right(in_flight(encoder, range(10, 13)), range(10, 13)) and platform.configured == 2


@pytest.mark.parametrize(("count", "place"), PLACES)
def test_unplugged_and_back(tiny: Model, platform: Platform, count: int, place: int) -> None:
    with opened(tiny, platform) as encoder:
        platform.schedule.coming.extend([None] * place + [Fault.UNPLUGGED])
        with at_most(TIMEOUT_S):
            outcomes = in_flight(encoder, range(count))
        assert all(isinstance(one, DeviceUnavailable) or is_answer(one, number) for number, one in enumerate(outcomes))
        assert isinstance(outcomes[place], DeviceUnavailable)
        with pytest.raises(DeviceUnavailable, match="no Hailo device here"):
            encode(encoder, 1)
        platform.plugged = True
        assert right(in_flight(encoder, range(3)), range(3)) and platform.opens == 2


def test_unplugged_while_cards_are_on_their_way(tiny: Model) -> None:
    platform = Platform(latency_ms=300)
    with opened(tiny, platform) as encoder, encoder.slot() as slot:
        slot.submit(1)
        platform.plugged = False
        with pytest.raises(DeviceUnavailable):
            slot.wait()


@pytest.mark.parametrize(("first", "second"), list(itertools.product(Fault, Fault)))
def test_a_card_that_fails_twice_fails(tiny: Model, platform: Platform, first: Fault, second: Fault) -> None:
    with opened(tiny, platform, timeout_s=patience(first, second)) as encoder:
        platform.schedule.coming.extend([first, second])
        last = first if first is Fault.UNPLUGGED else second
        with at_most(3 * TIMEOUT_S), pytest.raises(DeviceError) as caught:
            encode(encoder, 1)
        assert type(caught.value) is ERROR_OF[last]
        platform.plugged = True
        platform.schedule.coming.clear()
        configured = platform.configured
        assert right(in_flight(encoder, range(3)), range(3)) and platform.configured == configured + 1


@pytest.mark.parametrize("fault", PASSING)
def test_each_card_has_two_tries_of_its_own(tiny: Model, platform: Platform, fault: Fault) -> None:
    with opened(tiny, platform, timeout_s=patience(fault)) as encoder:
        platform.schedule.coming.extend([fault] * 3)
        with pytest.raises(DeviceError):
            encode(encoder, 1)
        assert is_answer(encode(encoder, 2), 2)


@pytest.mark.parametrize("fault", Fault)
def test_faults_on_several_threads(tiny: Model, platform: Platform, fault: Fault) -> None:
    def work(thread: int) -> None:
        for number in range(100 * thread, 100 * thread + 12):
            try:
                assert is_answer(encode(encoder, number), number)
            except DeviceUnavailable:
                assert fault is Fault.UNPLUGGED
                platform.plugged = True

    with opened(tiny, platform, timeout_s=patience(fault)) as encoder:
        platform.schedule.coming.extend([*[None] * 7, fault, *[None] * 13, fault])
        in_threads(3, work)


def test_a_late_answer_is_not_seen(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform, slots=1, timeout_s=TIMEOUT_S) as encoder:
        platform.schedule.coming.append(Fault.RETURNS_LATE)
        kept = encode(encoder, 1)
        with encoder.slot() as slot:
            write(slot.pixels, 2)
            slot.submit(1)
            time.sleep(LATE_S * 1.5)  # meanwhile the late job has written its answer
            assert is_answer(integers(slot.wait()), 2)
        assert is_answer(kept, 1)


def test_a_late_answer_to_an_abandoned_card_is_not_seen(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform, slots=1, timeout_s=TIMEOUT_S) as encoder:
        platform.schedule.coming.append(Fault.RETURNS_LATE)
        with at_most(TIMEOUT_S), encoder.slot() as slot:
            write(slot.pixels, 1)
            slot.submit(1)
        with encoder.slot() as slot:
            write(slot.pixels, 2)
            slot.submit(1)
            time.sleep(LATE_S * 1.5)
            assert is_answer(integers(slot.wait()), 2)


def test_an_abandoned_card_that_is_slow_is_not_written_to(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform, slots=1, timeout_s=TIMEOUT_S) as encoder:
        platform.latency_ms = 3 * TIMEOUT_S * 1e3
        with encoder.slot() as slot:
            slot.submit(1)
        platform.latency_ms = LATENCY_MS
        with encoder.slot() as slot:
            write(slot.pixels, 2)
            time.sleep(3 * TIMEOUT_S)  # had it not been taken down, the device would read now what is written there
            slot.submit(1)
            assert is_answer(integers(slot.wait()), 2)


@pytest.mark.parametrize("fault", SILENT)
def test_a_silent_device_is_waited_for_a_bounded_time(tiny: Model, fault: Fault) -> None:
    platform, timeout_s = Platform(), 0.7
    with opened(tiny, platform, timeout_s=timeout_s) as encoder:
        platform.schedule.always = fault
        begun = time.perf_counter()
        with pytest.raises(DeviceTimeout):
            encode_in_order(encoder, range(6), lambda pixels, group: write(pixels, group[0]), lambda *_: None)
        assert time.perf_counter() - begun < 2.8 * timeout_s  # two for one card; nobody waits a third time, or in turn
        platform.schedule.always = None
        assert right(in_flight(encoder, range(3)), range(3))


@pytest.mark.parametrize("fault", Fault)
def test_an_abandoned_card_holds_nobody_up(tiny: Model, platform: Platform, fault: Fault) -> None:
    with opened(tiny, platform, timeout_s=patience(fault)) as encoder:
        platform.schedule.coming.append(fault)
        with at_most(2 * TIMEOUT_S):
            try:
                with encoder.slot() as slot:
                    slot.submit(1)
            except DeviceUnavailable:
                platform.plugged = True
            assert right(in_flight(encoder, range(3)), range(3))
        assert platform.configured == 2 or fault is Fault.UNPLUGGED


def test_a_caller_that_raises_keeps_no_slot(tiny: Model) -> None:
    platform = Platform(latency_ms=10)

    def fail_on_third(pixels: Any, group: list[int]) -> None:
        if group == [2]:
            raise KeyError("write")
        write(pixels, group[0])

    def fail(*_: object) -> None:
        raise KeyError("take")

    with opened(tiny, platform) as encoder:
        for put, take in ((fail_on_third, lambda *_: None), (lambda pixels, group: write(pixels, group[0]), fail)):
            with pytest.raises(KeyError):
                encode_in_order(encoder, range(6), put, take)
            assert right(in_flight(encoder, range(3)), range(3))
        assert platform.configured == 1


def test_a_submission_that_fails_leaves_the_slot_usable(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform, timeout_s=TIMEOUT_S) as encoder, encoder.slot() as slot:
        pixels = slot.pixels
        for fault in (*PASSING, None):
            platform.schedule.coming.extend([fault, fault])
            write(pixels, 7)
            try:
                slot.submit(1)
                assert is_answer(integers(slot.wait()), 7) and fault is None
            except DeviceError:
                assert fault is not None
        assert slot.pixels is pixels


@pytest.mark.parametrize("slots", [5, 8])
def test_more_slots_than_the_queue_holds(tiny: Model, slots: int) -> None:
    platform = Platform(latency_ms=5)
    with opened(tiny, platform, slots=slots, timeout_s=2) as encoder:
        assert right(in_flight(encoder, range(slots)), range(slots))
        in_threads(slots, lambda thread: all_answered(encoder, range(thread, 40, slots)))
