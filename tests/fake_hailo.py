"""The simulated Hailo platform as tests use it: networks whose answers are known, faults to come, cards in flight."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from bundles import described
from numpy.typing import NDArray

from cardrec import hailo_facts
from cardrec.backends.hailo import HailoEncoder
from cardrec.backends.simulated import Compiled, Fault, SimulatedPlatform
from cardrec.errors import CardrecError, DeviceError, DeviceTimeout, DeviceUnavailable
from cardrec.model import Model
from cardrec.rectify import INPUT_SIZE
from cardrec.search import QuantisedVectors

DIMENSION = 48
"""Of the tiny network: its answer is the first 48 bytes of the card, less 128."""

ZERO_POINT = 128

TIMEOUT_S = 0.2
"""Of the encoders in tests of silent devices: a test takes that, and no stall of a busy machine may."""

PATIENT_S = 5.0
"""Of all others."""

LATENCY_MS = 0.5

ERROR_OF = {
    Fault.FAILS: DeviceError,
    Fault.TIMES_OUT: DeviceTimeout,
    Fault.NEVER_RETURNS: DeviceTimeout,
    Fault.RETURNS_LATE: DeviceTimeout,
    Fault.REFUSED: DeviceError,
    Fault.NOT_READY: DeviceTimeout,
    Fault.UNPLUGGED: DeviceUnavailable,
}
"""What a card fails with that meets the fault twice."""

SILENT = (Fault.NEVER_RETURNS, Fault.RETURNS_LATE, Fault.NOT_READY)
"""Faults that only a time limit ends."""

PASSING = [fault for fault in Fault if fault is not Fault.UNPLUGGED]
"""Faults after which the device is there, and one more try succeeds."""

Outcome: TypeAlias = "NDArray[np.uint8] | CardrecError"


def tiny_model(folder: Path) -> Model:
    """A bundle whose network takes microseconds, without a HEF."""
    folder.mkdir(parents=True)
    write_tiny_network(folder / "model.onnx")
    return described(folder, "tiny", DIMENSION)


def write_tiny_network(path: Path) -> None:
    """From (n, 224, 224, 3) bytes to the first 48 of each, less 128, as floats."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    constants = {
        "flat": np.array([0, INPUT_SIZE * INPUT_SIZE * 3]),
        "from": np.array([0]),
        "to": np.array([DIMENSION]),
        "axis": np.array([1]),
        "zero": np.array(ZERO_POINT, np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["pixels", "flat"], ["bytes"]),
        helper.make_node("Slice", ["bytes", "from", "to", "axis"], ["first"]),
        helper.make_node("Cast", ["first"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "zero"], ["embedding"]),
    ]
    given = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", INPUT_SIZE, INPUT_SIZE, 3])
    said = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIMENSION])
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [given], [said], initial)
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def tiny_compiled(model: Model, **changes: Any) -> Compiled:
    """The tiny network for a chip: its integers are the card's bytes. ``changes`` are those of `Compiled`'s fields."""
    fields: dict[str, Any] = {"scales": (1.0,), "zero_points": (float(ZERO_POINT),), **changes}
    return Compiled(model.network.read_bytes(), fields.pop("architecture", "hailo8"), DIMENSION, **fields)


def answer(number: int) -> NDArray[np.uint8]:
    """(48,) what the device gives for card ``number``; no two are alike."""
    return np.random.default_rng(number).integers(0, 256, DIMENSION, dtype=np.uint8)


def write(pixels: NDArray[np.uint8], number: int) -> None:
    """Puts card ``number`` into the pixels of a slot."""
    pixels.reshape(-1)[:DIMENSION] = answer(number)


class Schedule:
    """What goes wrong with the jobs to come, one after the other; nothing, when it has run out."""

    def __init__(self) -> None:
        self.coming: deque[Fault | None] = deque()
        self.always: Fault | None = None

    def __call__(self, _number: int) -> Fault | None:
        try:
            return self.coming.popleft()
        except IndexError:
            return self.always


def patience(*faults: Fault | None) -> float:
    """The time limit for a test of them."""
    return TIMEOUT_S if any(fault in SILENT for fault in faults) else PATIENT_S


def random_faults(seed: int, rate: float, among: Sequence[Fault] = PASSING) -> Callable[[int], Fault | None]:
    """A fault now and then; which follows from the seed and the job's number alone. None in the first job."""

    def fault_of(number: int) -> Fault | None:
        rng = np.random.default_rng((seed, number))
        return among[int(rng.integers(len(among)))] if number and rng.random() < rate else None

    return fault_of


class Platform(SimulatedPlatform):
    """The simulated platform with a `Schedule`, memory watched, and what it counted.

    Attributes:
        most_in_flight: jobs that were on their way at once.
        opens: times that the device was opened.
    """

    def __init__(self, *, latency_ms: float = LATENCY_MS, **options: Any) -> None:
        self.schedule = Schedule()
        self.most_in_flight = self.opens = 0
        super().__init__(latency_ms=latency_ms, **{"faults": self.schedule, "watch_memory": True, **options})

    def lend(self, output: NDArray[Any]) -> bool:
        free = super().lend(output)
        self.most_in_flight = max(self.most_in_flight, len(self._lent))
        return free

    def add(self, vdevice: Any) -> None:
        self.opens += 1
        super().add(vdevice)

    def in_order(self) -> None:
        """Nothing was broken, and nothing holds the device."""
        assert self.broken_rules == []
        assert self.opened == []


@contextmanager
def opened(model: Model, platform: Platform, **options: Any) -> Iterator[HailoEncoder]:
    """An encoder on a platform that must be in order when it is closed."""
    encoder = HailoEncoder(model, platform=platform, **{"timeout_s": PATIENT_S, **options})
    try:
        yield encoder
    finally:
        encoder.close()
    platform.in_order()


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, platform: SimulatedPlatform | None) -> None:
    """Makes it this machine's `hailo_platform`, beside the device's file; None: neither is there."""
    folder.mkdir()
    if platform is not None:
        (folder / "hailo0").touch()
    monkeypatch.setenv("HAILORT_LOGGER_PATH", "NONE")
    monkeypatch.setattr(hailo_facts, "DEVICES", folder)
    monkeypatch.setitem(sys.modules, "hailo_platform", platform)


def encode(encoder: HailoEncoder, number: int) -> NDArray[np.uint8]:
    """The device's integers for card ``number``."""
    with encoder.slot() as slot:
        write(slot.pixels, number)
        slot.submit(1)
        return integers(slot.wait())


def all_answered(encoder: HailoEncoder, numbers: Sequence[int]) -> None:
    """Encodes cards one after the other, each of which must get its answer."""
    for number in numbers:
        assert is_answer(encode(encoder, number), number)


def integers(vectors: Any) -> NDArray[np.uint8]:
    """(48,) of one answer."""
    assert isinstance(vectors, QuantisedVectors) and vectors.values.shape == (1, DIMENSION)
    values: NDArray[np.uint8] = vectors.values[0]
    return values


def in_flight(encoder: HailoEncoder, numbers: Sequence[int]) -> list[Outcome]:
    """Sends cards off, all before the first is waited for; what became of each."""
    slots = [encoder.acquire() for _ in numbers]
    outcomes: list[Outcome | None] = [None] * len(numbers)
    for place, (slot, number) in enumerate(zip(slots, numbers, strict=True)):
        assert slot is not None
        write(slot.pixels, number)
        try:
            slot.submit(1)
        except DeviceError as error:
            outcomes[place] = error
    done: list[Outcome] = []
    for slot, outcome in zip(slots, outcomes, strict=True):
        assert slot is not None
        try:
            done.append(integers(slot.wait()) if outcome is None else outcome)
        except DeviceError as error:
            done.append(error)
        encoder.release(slot)
    return done


def right(outcomes: Sequence[Outcome], numbers: Sequence[int]) -> bool:
    """Whether each card got its own answer."""
    return all(is_answer(outcome, number) for outcome, number in zip(outcomes, numbers, strict=True))


def is_answer(outcome: Outcome, number: int) -> bool:
    """Whether it is the answer to that card."""
    return isinstance(outcome, np.ndarray) and np.array_equal(outcome, answer(number))


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Runs ``work`` with 0, 1, ... on threads of their own, and raises what the first of them to fail raised."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]
