"""Engines that run a bundle's network on the CPU: ONNX Runtime, as the library does, and OpenVINO, to compare with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec.encode import Encoder, Slot, SlottedEncoder, page_aligned
from cardrec.errors import DeviceUnavailable
from cardrec.model import Model
from cardrec.rectify import INPUT_SIZE

__all__ = ["ENGINES", "OpenVinoEncoder", "open_engine", "time_in_turn"]

ENGINES = ("onnxruntime", "openvino")
BURST = 5
"""Inferences of one network before it is the next one's turn."""


def open_engine(engine: str, model: Model, *, threads: int) -> Encoder:
    """The encoder of a bundle on an engine.

    Raises:
        DeviceUnavailable: the engine is not installed.
        ModelError: it can't load the network.
    """
    if engine == "openvino":
        return OpenVinoEncoder(model, threads=threads)
    from cardrec.backends.onnx import OnnxEncoder

    return OnnxEncoder(model, threads=threads)


class _OpenVinoSlot:
    """One slot: a request of the compiled network, for one card."""

    def __init__(self, request: Any) -> None:
        self.pixels: NDArray[np.uint8] = page_aligned((1, INPUT_SIZE, INPUT_SIZE, 3))
        self._request = request

    def submit(self, count: int) -> None:
        if count != 1:
            raise ValueError(f"{count} cards submitted; a slot holds 1")

    def wait(self) -> NDArray[np.float32]:
        self._request.infer([self.pixels])
        vectors: NDArray[np.float32] = self._request.get_output_tensor(0).data
        return vectors.copy()

    def settle(self) -> None:
        """Nothing runs but in `wait`."""


class OpenVinoEncoder(SlottedEncoder):
    """Encodes cards with OpenVINO, one at a time. A network that ONNX Runtime gave in integers stays in integers.

    Args:
        model: the bundle.
        threads: for one inference.

    Raises:
        DeviceUnavailable: OpenVINO is not installed.
    """

    name = "openvino"
    capacity = 1

    def __init__(self, model: Model, *, threads: int = 1) -> None:
        self.model = model
        compiled = _compiled(model.network, threads)
        super().__init__([_OpenVinoSlot(compiled.create_infer_request())])


def _compiled(network: Path, threads: int) -> Any:
    try:
        import openvino
    except ModuleNotFoundError:
        raise DeviceUnavailable(
            "OpenVINO is not installed: pip install openvino, or leave it out of --engines"
        ) from None
    core = openvino.Core()
    graph = core.read_model(str(network))
    graph.reshape([1, INPUT_SIZE, INPUT_SIZE, 3])
    # Processors with BF16 would use it where nothing is said, and floats would be no floats.
    asked = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(graph, "CPU", asked)


def time_in_turn(encoders: Mapping[str, Encoder], pixels: NDArray[np.uint8], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of one card, by encoder: of each round the fastest of `BURST`, all encoders in each round.

    What else the machine does then falls on all of them alike.

    Args:
        encoders: by name.
        pixels: (224, 224, 3) of a card.
        rounds: times that each has its turn, first and last alternately.
    """
    took: dict[str, list[float]] = {name: [] for name in encoders}
    names = list(encoders)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            took[name].append(min(_bursts(encoders[name], pixels)))
    return took


def _bursts(encoder: Encoder, pixels: NDArray[np.uint8]) -> Sequence[float]:
    with encoder.slot() as slot:
        slot.pixels[0] = pixels
        return [_timed(slot) for _ in range(BURST + 1)][1:]


def _timed(slot: Slot) -> float:
    begun = time.perf_counter()
    slot.submit(1)
    slot.wait()
    return 1000 * (time.perf_counter() - begun)
