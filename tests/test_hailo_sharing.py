"""One Hailo device for each process: shared and counted, or refused; closed under way, twice, and after a fork."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fake_hailo import TIMEOUT_S, Platform, all_answered, encode, in_flight, in_threads, is_answer, opened, right

from cardrec.backends import hailort
from cardrec.backends.hailo import HailoEncoder
from cardrec.backends.simulated import Fault
from cardrec.encode import encode_in_order
from cardrec.errors import CardrecError, DeviceBusy, DeviceError
from cardrec.model import Model


@pytest.fixture
def platform() -> Platform:
    return Platform()


def shared(model: Model, platform: Platform, **options: Any) -> HailoEncoder:
    return HailoEncoder(model, platform=platform, shared=True, timeout_s=TIMEOUT_S, **options)


def params(platform: Platform) -> Any:
    (vdevice,) = platform.opened
    return vdevice.params


def test_a_sole_network_has_the_device_alone(tiny: Model, platform: Platform) -> None:
    with opened(tiny, platform):
        assert params(platform).scheduling_algorithm is platform.HailoSchedulingAlgorithm.NONE
        assert platform.opened[0].active == 1 and not params(platform).multi_process_service


@pytest.mark.parametrize("service", [False, True])
def test_shared_networks_take_turns(tiny: Model, platform: Platform, service: bool) -> None:
    with opened(tiny, platform, shared=True, group="cards", multi_process_service=service) as encoder:
        assert params(platform).scheduling_algorithm is platform.HailoSchedulingAlgorithm.ROUND_ROBIN
        assert (params(platform).group_id, params(platform).multi_process_service) == ("cards", service)
        assert platform.opened[0].active == 0
        assert right(in_flight(encoder, range(3)), range(3))


def test_two_encoders_share_one_device(tiny: Model, platform: Platform) -> None:
    first, second = (shared(tiny, platform) for _ in range(2))
    assert len(platform.opened) == platform.opens == 1
    in_threads(2, lambda which: all_answered((first, second)[which], range(20)))
    first.close()
    assert len(platform.opened) == 1 and is_answer(encode(second, 3), 3)
    first.close()
    third = shared(tiny, platform)
    assert is_answer(encode(second, 4), 4) and is_answer(encode(third, 5), 5)
    third.close()
    second.close()
    platform.in_order()
    assert platform.opens == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({}, {"shared": True}),
        ({"shared": True}, {}),
        ({"shared": True}, {"shared": True, "group": "other"}),
        ({"shared": True}, {"shared": True, "multi_process_service": True}),
    ],
)
def test_encoders_that_can_not_share(
    tiny: Model, platform: Platform, first: dict[str, Any], second: dict[str, Any]
) -> None:
    with opened(tiny, platform, **first) as encoder:
        with pytest.raises(DeviceBusy, match=r"this process has the Hailo device open.*shared=True"):
            HailoEncoder(tiny, platform=platform, **second)
        assert is_answer(encode(encoder, 1), 1)
    with opened(tiny, platform, **second) as encoder:
        assert is_answer(encode(encoder, 1), 1)


def test_another_process_has_it(tiny: Model, platform: Platform) -> None:
    platform.taken = True
    with pytest.raises(DeviceBusy, match=r"another process holds.*multi_process_service=True"), opened(tiny, platform):
        pass
    assert hailort._held == {}


def test_a_fault_of_one_does_not_stop_the_other(tiny: Model, platform: Platform) -> None:
    first, second = (shared(tiny, platform) for _ in range(2))
    for fault in (Fault.FAILS, Fault.NEVER_RETURNS, Fault.REFUSED):
        platform.schedule.coming.append(fault)
        assert is_answer(encode(first, 1), 1) and is_answer(encode(second, 2), 2)
    assert platform.opens == 1
    first.close()
    second.close()
    platform.in_order()


def test_a_device_that_others_use_is_not_opened_anew(tiny: Model, platform: Platform) -> None:
    first, second = (shared(tiny, platform) for _ in range(2))
    platform.schedule.coming.append(Fault.UNPLUGGED)
    with pytest.raises(DeviceError, match="while others in this process use it"):
        encode(first, 1)
    platform.plugged = True
    second.close()
    first.close()
    platform.in_order()
    with opened(tiny, platform) as encoder:
        assert is_answer(encode(encoder, 1), 1)


def test_close_wakes_who_waits(tiny: Model, caplog: pytest.LogCaptureFixture) -> None:
    platform = Platform(latency_ms=400)
    encoder = HailoEncoder(tiny, platform=platform, timeout_s=5)
    outcomes: list[Any] = []
    waiter = threading.Thread(target=lambda: outcomes.extend(in_flight(encoder, range(3))), daemon=True)
    waiter.start()
    while platform.jobs < 4:
        time.sleep(0.001)
    begun = time.perf_counter()
    encoder.close()
    waiter.join(5)
    assert not waiter.is_alive() and time.perf_counter() - begun < 1.0
    assert len(outcomes) == 3 and all(type(one) is DeviceError and "was closed" in str(one) for one in outcomes)
    platform.in_order()
    assert platform.configured == 1 and caplog.records == []


def test_closed_twice_and_then_used(tiny: Model, platform: Platform) -> None:
    encoder = HailoEncoder(tiny, platform=platform)
    held = encoder.acquire()
    assert held is not None
    encoder.close()
    encoder.close()
    with pytest.raises(CardrecError, match="this encoder is closed"):
        encoder.acquire()
    with pytest.raises(CardrecError, match="this encoder is closed"), encoder.slot():
        pass
    with pytest.raises(DeviceError, match="was closed"):
        held.submit(1)
    encoder.release(held)
    encoder.close()
    platform.in_order()


def test_closed_by_many_at_once_while_cards_are_on_their_way(tiny: Model) -> None:
    for round_ in range(10):
        platform = Platform(latency_ms=1)
        encoder = HailoEncoder(tiny, platform=platform)

        def work(thread: int, encoder: HailoEncoder = encoder, round_: int = round_) -> None:
            if thread > 2:
                time.sleep(0.002 * round_)
                encoder.close()
                return
            with pytest.raises(CardrecError, match="closed"):
                all_answered(encoder, range(100_000))

        in_threads(5, work)
        platform.in_order()


def test_one_encoder_after_the_other(tiny: Model, platform: Platform) -> None:
    for number in range(20):
        with opened(tiny, platform) as encoder:
            assert is_answer(encode(encoder, number), number)
    assert platform.opens == 20 and hailort._held == {}


def test_no_slot_is_waited_for_with_one_in_hand(tiny: Model) -> None:
    platform = Platform(latency_ms=2)
    seen: list[list[int]] = [[] for _ in range(4)]
    with opened(tiny, platform, timeout_s=2) as encoder:

        def work(thread: int) -> None:
            encode_in_order(encoder, range(12), lambda *_: None, lambda group, _: seen[thread].append(group[0]))

        in_threads(4, work)
    assert seen == [list(range(12))] * 4


FORK = """
import os, sys
from pathlib import Path
from fake_hailo import TIMEOUT_S, Platform, all_answered, encode, is_answer
from cardrec.backends.hailo import HailoEncoder
from cardrec.errors import DeviceError
from cardrec.model import Model

model, platform = Model.load(Path(sys.argv[1])), Platform(latency_ms=50)
encoder = HailoEncoder(model, platform=platform)
taken = encoder.acquire()
taken.submit(1)
encoder._lock.acquire()  # as another thread may have it while the process is forked
if os.fork() == 0:
    for use in (lambda: encode(encoder, 1), taken.wait, lambda: HailoEncoder(model, platform=platform)):
        try:
            use()
        except DeviceError as error:
            print(type(error).__name__, error, flush=True)
    encoder.release(taken)
    encoder.close()
    os._exit(0)
encoder._lock.release()
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
taken.wait()
encoder.release(taken)
assert is_answer(encode(encoder, 2), 2)
encoder.close()
platform.in_order()
print("parent done")
"""


def test_a_fork_is_told_to_open_its_own(tiny: Model) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, str(tiny.network.parent)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=_environment())
    assert ran.returncode == 0, ran.stderr
    used, waited, opened_, parent = ran.stdout.splitlines()
    for line in (used, waited):
        assert line.startswith("DeviceError this encoder belongs to process") and "open one in each" in line
    assert opened_.startswith("DeviceBusy") and parent == "parent done"


def _environment() -> dict[str, str]:
    import os

    tests = Path(__file__).parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests), *sys.path])}
