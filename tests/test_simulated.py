"""The simulated platform itself: its answers, its time, and that each of HailoRT's rules is enforced."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_hailo import DIMENSION, TIMEOUT_S, Platform, answer, write
from numpy.typing import NDArray

from cardrec.backends.hef import find_hef
from cardrec.backends.simulated import Fault
from cardrec.backends.simulated import faults as raised
from cardrec.backends.simulated.pipeline import QUEUE_DEPTH
from cardrec.encode import page_aligned
from cardrec.model import Model

READY_MS = int(TIMEOUT_S * 1e3)


class Rig:
    """HailoRT's calls without a backend, each of which may be made wrongly."""

    def __init__(self, model: Model, *, shared: bool = False, **options: Any) -> None:
        self.platform = Platform(**options)
        params = self.platform.VDevice.create_params()
        if shared:
            params.scheduling_algorithm = self.platform.HailoSchedulingAlgorithm.ROUND_ROBIN
            params.group_id = "rig"
        self.vdevice = self.platform.VDevice(params)
        self.hef = str(find_hef(model, "hailo8"))
        self.network: Any = self.vdevice.create_infer_model(self.hef)
        self.configured: Any = self.network.configure()
        self.done: list[Any] = []
        self.event = threading.Event()

    def bindings(self, pixels: NDArray[Any] | None = None, output: NDArray[Any] | None = None) -> Any:
        pixels = page_aligned((224, 224, 3)) if pixels is None else pixels
        output = page_aligned((DIMENSION,)) if output is None else output
        return self.configured.create_bindings({"net/input_layer1": pixels}, {"net/fc1": output})

    def called_back(self, completion_info: Any) -> None:
        self.done.append(completion_info.exception)
        self.event.set()

    def ready(self) -> None:
        self.configured.wait_for_async_ready(timeout_ms=READY_MS)

    def run(self, bindings: Any, callback: Callable[..., None] | None = None) -> None:
        self.configured.run_async([bindings], callback or self.called_back)

    def wait(self, jobs: int = 1) -> list[Any]:
        until = time.perf_counter() + 5
        while len(self.done) < jobs and time.perf_counter() < until:
            time.sleep(0.0005)
        return self.done

    def close(self) -> None:
        self.configured.shutdown()
        self.vdevice.release()


@pytest.fixture
def make(tiny: Model) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make_rig(**options: Any) -> Rig:
        made.append(Rig(tiny, **options))
        return made[-1]

    yield make_rig
    for rig in made:
        rig.close()


@pytest.fixture
def rig(make: Callable[..., Rig]) -> Rig:
    opened = make()
    opened.configured.activate()
    return opened


def breaks(rig: Rig, rule: str, call: Callable[[], object]) -> None:
    """The call must be refused and noted, and the pipeline be down."""
    with pytest.raises(raised.HailoRTInvalidOperationException, match=rule):
        call()
    assert len(rig.platform.broken_rules) == 1
    with pytest.raises(raised.HailoRTStreamAborted):
        rig.ready()


def test_a_card_that_keeps_the_rules(rig: Rig) -> None:
    pixels, output = page_aligned((224, 224, 3)), page_aligned((DIMENSION,))
    write(pixels, 5)
    rig.ready()
    rig.run(rig.bindings(pixels, output))
    assert rig.wait() == [None] and np.array_equal(output, answer(5)) and rig.platform.broken_rules == []


@pytest.mark.parametrize("which", ["input", "output"])
def test_memory_off_a_page(rig: Rig, which: str) -> None:
    memory = {"input": page_aligned((224 * 224 * 3 + 64,)), "output": page_aligned((DIMENSION + 64,))}[which]
    shape = {"input": (224, 224, 3), "output": (DIMENSION,)}[which]
    moved = memory[64:].reshape(shape)
    bindings = rig.bindings(moved, None) if which == "input" else rig.bindings(None, moved)
    rig.ready()
    breaks(rig, "does not start on a page", lambda: rig.run(bindings))


@pytest.mark.parametrize(
    ("pixels", "output"),
    [((224, 224), (DIMENSION,)), ((225, 224, 3), (DIMENSION,)), ((224, 224, 3), (DIMENSION - 1,))],
)
def test_memory_of_another_size(rig: Rig, pixels: tuple[int, ...], output: tuple[int, ...]) -> None:
    bindings = rig.bindings(page_aligned(pixels), page_aligned(output))
    rig.ready()
    breaks(rig, "bytes, the network's", lambda: rig.run(bindings))


def test_memory_that_is_read_only_or_strided(rig: Rig) -> None:
    fixed = page_aligned((DIMENSION,))
    fixed.flags.writeable = False
    for memory in (fixed, page_aligned((DIMENSION * 2,))[::2]):
        with pytest.raises(raised.HailoRTInvalidOperationException, match="read-only or strided"):
            rig.bindings(None, memory)


def test_room_not_asked_for(rig: Rig) -> None:
    bindings = rig.bindings()
    breaks(rig, "without having asked for room", lambda: rig.run(bindings))


def test_room_asked_for_once_is_for_one_job(make: Callable[..., Rig]) -> None:
    rig = make(latency_ms=10_000)
    rig.configured.activate()
    rig.ready()
    rig.run(rig.bindings())
    second = rig.bindings()
    breaks(rig, "without having asked for room", lambda: rig.run(second))


def test_the_queue_has_a_depth(make: Callable[..., Rig]) -> None:
    rig = make(latency_ms=10_000)
    rig.configured.activate()
    for _ in range(QUEUE_DEPTH):
        rig.ready()
        rig.run(rig.bindings())
    with pytest.raises(raised.HailoRTTimeout, match="full"):
        rig.ready()
    assert rig.configured.get_async_queue_size() == QUEUE_DEPTH and rig.platform.broken_rules == []


def test_more_room_than_there_is(rig: Rig) -> None:
    with pytest.raises(raised.HailoRTTimeout):
        rig.configured.wait_for_async_ready(timeout_ms=20, frames_count=QUEUE_DEPTH + 1)


def test_not_activated(make: Callable[..., Rig]) -> None:
    rig = make()
    rig.ready()
    breaks(rig, "not activated", lambda: rig.run(rig.bindings()))


def test_activated_twice(rig: Rig) -> None:
    breaks(rig, "another network is", rig.configured.activate)


@pytest.mark.parametrize("call", ["activate", "deactivate"])
def test_activated_under_the_scheduler(make: Callable[..., Rig], call: str) -> None:
    rig = make(shared=True)
    breaks(rig, "the scheduler decides", getattr(rig.configured, call))


def test_under_the_scheduler_nothing_is_activated(make: Callable[..., Rig]) -> None:
    rig = make(shared=True)
    rig.ready()
    rig.run(rig.bindings())
    assert rig.wait() == [None] and rig.platform.broken_rules == []


def test_a_batch(rig: Rig) -> None:
    with pytest.raises(raised.HailoRTInvalidOperationException, match="batch size is 2"):
        rig.network.set_batch_size(2)
    rig.platform.broken_rules.clear()
    rig.ready()
    two = [rig.bindings(), rig.bindings()]
    breaks(rig, "other than one card", lambda: rig.configured.run_async(two, rig.called_back))


def test_another_networks_bindings(rig: Rig) -> None:
    foreign = rig.network.configure().create_bindings(*(one.buffers for one in (rig.bindings(), rig.bindings())))
    rig.ready()
    breaks(rig, "another network's bindings", lambda: rig.run(foreign))


def test_a_callback_that_raises(rig: Rig) -> None:
    def fail(completion_info: Any) -> None:
        rig.event.set()
        raise KeyError("oops")

    rig.ready()
    rig.run(rig.bindings(), fail)
    assert rig.event.wait(5)
    until = time.perf_counter() + 5
    while not rig.platform.broken_rules and time.perf_counter() < until:
        time.sleep(0.001)
    assert rig.platform.broken_rules == ["a callback raised KeyError('oops')"]


def test_memory_written_in_flight(make: Callable[..., Rig]) -> None:
    rig = make(latency_ms=300)
    rig.configured.activate()
    pixels = page_aligned((224, 224, 3))
    rig.ready()
    rig.run(rig.bindings(pixels))
    pixels[200, 200] = 9
    rig.wait()
    assert rig.platform.broken_rules == ["the memory of a card on its way was written"]


def test_an_output_of_two_jobs(make: Callable[..., Rig]) -> None:
    rig = make(latency_ms=10_000)
    rig.configured.activate()
    output = page_aligned((DIMENSION,))
    rig.ready()
    rig.run(rig.bindings(None, output))
    rig.ready()
    breaks(rig, "belongs to another job", lambda: rig.run(rig.bindings(None, output)))


@pytest.mark.parametrize("source", [b"bytes", None])
def test_a_network_by_anything_but_a_path(rig: Rig, source: Any) -> None:
    with pytest.raises(raised.HailoRTInvalidOperationException, match="path of a HEF"):
        rig.vdevice.create_infer_model(source)


def test_the_service_without_the_scheduler() -> None:
    platform = Platform()
    params = platform.VDevice.create_params()
    params.multi_process_service = True
    with pytest.raises(raised.HailoRTInvalidOperationException, match="needs the scheduler"):
        platform.VDevice(params)


def test_a_device_is_held_while_a_network_of_it_lives(rig: Rig) -> None:
    rig.close()
    with pytest.raises(raised.HailoRTException, match="OUT_OF_PHYSICAL_DEVICES"):
        rig.platform.VDevice(rig.platform.VDevice.create_params())
    rig.configured = rig.network = SimpleNamespace(shutdown=lambda: None)
    rig.platform.VDevice(rig.platform.VDevice.create_params())


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.FAILS, raised.HailoRTException), (Fault.TIMES_OUT, raised.HailoRTTimeout)]
)
def test_an_error_takes_what_is_behind_it_down(rig: Rig, fault: Fault, error: type[Exception]) -> None:
    rig.platform.schedule.coming.extend([None, fault, None])
    for _ in range(3):
        rig.ready()
        rig.run(rig.bindings())
    first, second, third = rig.wait(3)
    assert first is None and type(second) is error and isinstance(third, raised.HailoRTStreamAborted)


def test_an_unplugged_device_fails_what_is_on_its_way(make: Callable[..., Rig]) -> None:
    rig = make(latency_ms=300)
    rig.configured.activate()
    rig.ready()
    rig.run(rig.bindings())
    rig.platform.plugged = False
    assert isinstance(rig.wait()[0], raised.HailoRTDriverOperationFailedException)
    assert rig.platform.Device.scan() == []


def test_streams_as_hailort_describes_them(rig: Rig) -> None:
    given, said = rig.network.input(), rig.network.output()
    assert (given.shape, str(given.format.order), str(given.format.type)) == (
        [224, 224, 3],
        "FormatOrder.NHWC",
        "FormatType.UINT8",
    )
    assert said.shape == [DIMENSION] and said.quant_infos == [SimpleNamespace(qp_scale=1.0, qp_zp=128.0)]
    with pytest.raises(raised.HailoRTInvalidOperationException):
        said.set_format_type(rig.platform.FormatType.FLOAT32)


@pytest.mark.parametrize("latency_ms", [2.0, 5.0])
def test_a_card_takes_as_long_as_it_is_told(make: Callable[..., Rig], latency_ms: float) -> None:
    rig = make(latency_ms=latency_ms)
    rig.configured.activate()
    bindings, taken_ms = rig.bindings(), []
    for count in range(1, 12):
        begun = time.perf_counter()
        rig.ready()
        rig.run(bindings)
        rig.wait(count)
        taken_ms.append((time.perf_counter() - begun) * 1e3)
    assert latency_ms <= min(taken_ms) and statistics.median(taken_ms) < latency_ms + 10  # the machine may be busy


def test_cards_go_one_after_the_other(make: Callable[..., Rig]) -> None:
    rig = make(latency_ms=10)
    rig.configured.activate()
    begun = time.perf_counter()
    for _ in range(3):
        rig.ready()
        rig.run(rig.bindings())
    assert rig.wait(3) == [None] * 3 and time.perf_counter() - begun >= 0.03
