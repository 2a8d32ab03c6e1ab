"""A network on the simulated device, as HailoRT's InferModel interface shows it."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cardrec.backends.simulated import faults
from cardrec.backends.simulated.bundle import Compiled
from cardrec.backends.simulated.pipeline import QUEUE_DEPTH, Network, Pipeline, load_network

if TYPE_CHECKING:
    from cardrec.backends.simulated.platform import VDevice

__all__ = ["ConfiguredModel", "InferModel"]

_BYTES = {"UINT8": 1, "UINT16": 2, "FLOAT32": 4}


class Stream:
    """`InferModel.InferStream`: an input or output as it is by default."""

    def __init__(self, shape: list[int], kind: str, order: str, quant_infos: list[SimpleNamespace]) -> None:
        self.shape, self.quant_infos = shape, quant_infos
        self.format = SimpleNamespace(type=f"FormatType.{kind}", order=f"FormatOrder.{order}")

    @property
    def nbytes(self) -> int:
        """Of one card's memory."""
        return math.prod(self.shape) * _BYTES[self.format.type.rsplit(".", 1)[-1]]

    def set_format_type(self, kind: Any) -> None:
        """Only floats can be asked for as bytes; another conversion is not simulated."""
        asked, native = str(kind).rsplit(".", 1)[-1], self.format.type.rsplit(".", 1)[-1]
        if asked not in ("AUTO", native) and (native, asked) != ("FLOAT32", "UINT8"):
            raise faults.HailoRTInvalidOperationException(f"{native} as {asked} is not simulated")
        self.format.type = f"FormatType.{native if asked == 'AUTO' else asked}"


class InferModel:
    """As HailoRT's: a network, not yet on the device; the VDevice stays open for as long as it lives."""

    def __init__(self, vdevice: VDevice, compiled: Compiled) -> None:
        self.vdevice = vdevice
        self._compiled = compiled
        scales = zip(compiled.scales, compiled.zero_points, strict=True)
        infos = [SimpleNamespace(qp_scale=scale, qp_zp=zero_point) for scale, zero_point in scales]
        self.input_names = ["net/input_layer1"]
        self.output_names = [f"net/fc{number}" for number in range(1, compiled.outputs + 1)]
        self.inputs = [Stream(list(compiled.input_shape), compiled.input_type, compiled.input_order, [])]
        self.outputs = [Stream([compiled.dimension], compiled.output_type, "NC", infos) for _ in self.output_names]

    def input(self) -> Stream:
        """The only input."""
        return self.inputs[0]

    def output(self) -> Stream:
        """The only output."""
        if len(self.outputs) > 1:
            raise faults.HailoRTException("libhailort failed with error: 61 (HAILO_NOT_FOUND)")
        return self.outputs[0]

    def set_batch_size(self, batch_size: int) -> None:
        """Only single cards are simulated."""
        if batch_size != 1:
            raise self.vdevice.platform.breaks(f"the batch size is {batch_size}, not 1")

    def set_power_mode(self, _mode: Any) -> None:
        """Power is not simulated."""

    def configure(self) -> ConfiguredModel:
        """Puts it on the device."""
        self.vdevice.platform.begin_configuring()
        return ConfiguredModel(self, load_network(self._compiled))


class Bindings:
    """As HailoRT's: the memory of one card."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.buffers: dict[str, NDArray[Any]] = {}
        self.are_sound = False  # as far as was looked at

    def set_buffer(self, name: str, buffer: NDArray[Any]) -> None:
        """Names the memory of an input or output."""
        if not buffer.flags.c_contiguous or not buffer.flags.writeable:
            raise self.pipeline.breaks(f"the memory of {name} is read-only or strided")
        self.buffers[name] = buffer
        self.are_sound = False


class ConfiguredModel:
    """As HailoRT's `ConfiguredInferModel`."""

    def __init__(self, model: InferModel, network: Network) -> None:
        self._vdevice, self._platform, self._model = model.vdevice, model.vdevice.platform, model
        self._activated = False
        self.pipeline = Pipeline(self._platform, network)

    def activate(self) -> None:
        """Gives it the device, alone."""
        self._platform.require_device()
        if self._vdevice.scheduled:
            raise self.pipeline.breaks("activated although the scheduler decides")
        if self._vdevice.active:
            raise self.pipeline.breaks("activated although another network is")
        self._vdevice.active += 1
        self._activated = True

    def deactivate(self) -> None:
        """Takes the device away from it."""
        if self._vdevice.scheduled:
            raise self.pipeline.breaks("deactivated although the scheduler decides")
        if self._activated:
            self._vdevice.active -= 1
        self._activated = False

    def create_bindings(
        self, input_buffers: Mapping[str, NDArray[Any]], output_buffers: Mapping[str, NDArray[Any]]
    ) -> Bindings:
        """Bindings of that memory."""
        self._platform.bindings_made += 1
        made = Bindings(self.pipeline)
        for name, buffer in {**input_buffers, **output_buffers}.items():
            made.set_buffer(name, buffer)
        return made

    def wait_for_async_ready(self, timeout_ms: int = 1000, frames_count: int = 1) -> None:
        """Waits until there is room for so many jobs."""
        self.pipeline.wait_for_room(timeout_ms / 1e3, frames_count)

    def run_async(self, bindings: list[Bindings], callback: Callable[..., None]) -> None:
        """Sends a job off."""
        self.pipeline.require_running()
        self._check(bindings)
        (given,) = self._model.output_names
        buffers = bindings[0].buffers
        output = np.frombuffer(buffers[given], self.pipeline.dtype)
        self.pipeline.send(buffers[self._model.input_names[0]], output, callback)

    def _check(self, bindings: list[Bindings]) -> None:
        """Refuses what HailoRT would go down over."""
        breaks, model = self.pipeline.breaks, self._model
        if not (self._activated or self._vdevice.scheduled):
            raise breaks("run although it was not activated")
        if len(bindings) == 1 and bindings[0].are_sound and bindings[0].pipeline is self.pipeline:
            return  # looked at once, so that the stand-in's own work is not taken for the host's
        if len(bindings) != 1 or bindings[0].buffers.keys() != {*model.input_names, *model.output_names}:
            raise breaks("run with other than one card's memory")
        if bindings[0].pipeline is not self.pipeline:
            raise breaks("run with another network's bindings")
        names = zip((*model.input_names, *model.output_names), (*model.inputs, *model.outputs), strict=True)
        for name, stream in names:
            buffer = bindings[0].buffers[name]
            if buffer.nbytes != stream.nbytes:
                raise breaks(f"{name} has {buffer.nbytes} bytes, the network's {stream.shape} {stream.nbytes}")
            if buffer.ctypes.data % mmap.PAGESIZE:
                raise breaks(f"the memory of {name} does not start on a page")
        bindings[0].are_sound = True

    def get_async_queue_size(self) -> int:
        """Jobs that it takes at once."""
        return QUEUE_DEPTH

    def shutdown(self) -> None:
        """Takes it down: jobs on their way are called back with an error."""
        self.pipeline.shutdown()

    def __enter__(self) -> ConfiguredModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def __del__(self) -> None:
        self.shutdown()
