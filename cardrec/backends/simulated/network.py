"""A network on the simulated device: configured, and run job after job on a thread of its own."""

from __future__ import annotations

import hashlib
import mmap
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cardrec.backends.simulated import faults
from cardrec.backends.simulated.bundle import Compiled
from cardrec.backends.simulated.faults import Fault
from cardrec.rectify import INPUT_SIZE

if TYPE_CHECKING:
    from cardrec.backends.simulated.platform import VDevice

__all__ = ["ConfiguredModel", "InferModel"]

QUEUE_DEPTH = 4
"""Jobs that the device takes before the first of them is done."""

_REMEMBERED = 64  # answers; an NPU takes no CPU from the host, so that what is measured again and again must not
_LATE_S = 0.05  # after the network was taken down


class Stream:
    """`InferModel.InferStream`: an input or output as it is by default."""

    def __init__(self, shape: list[int], kind: str, order: str, quant_infos: list[SimpleNamespace]) -> None:
        self.shape, self.quant_infos = shape, quant_infos
        self.format = SimpleNamespace(type=kind, order=order)

    def set_format_type(self, kind: Any) -> None:
        """Only the native type is simulated."""
        if str(kind).rsplit(".", 1)[-1] not in ("AUTO", self.format.type):
            raise faults.HailoRTInvalidOperationException(f"only {self.format.type} is simulated, not {kind}")


class InferModel:
    """As HailoRT's: a network, not yet on the device."""

    input_names = ("net/input_layer1",)
    output_names = ("net/fc1",)

    def __init__(self, vdevice: VDevice, compiled: Compiled) -> None:
        self.vdevice = vdevice
        self._compiled = compiled
        quantisation = SimpleNamespace(qp_scale=compiled.scale, qp_zp=float(compiled.zero_point))
        self.inputs = [Stream([INPUT_SIZE, INPUT_SIZE, 3], "FormatType.UINT8", "FormatOrder.NHWC", [])]
        self.outputs = [Stream([compiled.dimension], "FormatType.UINT8", "FormatOrder.NC", [quantisation])]

    def input(self) -> Stream:
        """The only input."""
        return self.inputs[0]

    def output(self) -> Stream:
        """The only output."""
        return self.outputs[0]

    def set_batch_size(self, batch_size: int) -> None:
        """Only single cards are simulated."""
        if batch_size != 1:
            raise self.vdevice.platform.breaks(f"the batch size is {batch_size}, not 1")

    def set_power_mode(self, _mode: Any) -> None:
        """Power is not simulated."""

    def configure(self) -> ConfiguredModel:
        """Puts it on the device."""
        self.vdevice.platform.require_device()
        return ConfiguredModel(self, _Network(self._compiled))


class _Network:
    """From a card to the integers that the device would give; it remembers the last cards."""

    def __init__(self, compiled: Compiled) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(compiled.onnx, options, providers=["CPUExecutionProvider"])
        self._compiled = compiled
        self._answers: OrderedDict[bytes, NDArray[np.uint8]] = OrderedDict()

    def answer(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(dimension,) uint8."""
        key = digest(pixels)
        if key not in self._answers:
            name = self._session.get_inputs()[0].name
            (vector,) = self._session.run(None, {name: pixels[None]})[0]
            levels = np.round(vector / self._compiled.scale) + self._compiled.zero_point
            self._answers[key] = np.clip(levels, 0, 255).astype(np.uint8)
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        return self._answers[key]


def digest(pixels: NDArray[np.uint8]) -> bytes:
    """Names the contents of memory."""
    return hashlib.blake2b(pixels.data, digest_size=16).digest()


class Bindings:
    """As HailoRT's: the memory of one card."""

    def __init__(self, configured: ConfiguredModel) -> None:
        self._configured = configured
        self.buffers: dict[str, NDArray[Any]] = {}

    def set_buffer(self, name: str, buffer: NDArray[Any]) -> None:
        """Names the memory of an input or output."""
        if not buffer.flags.c_contiguous or not buffer.flags.writeable:
            raise self._configured.breaks(f"the memory of {name} is read-only or strided")
        self.buffers[name] = buffer


class _Job:
    """A card on its way: its memory, what goes wrong with it, and whom to call."""

    def __init__(self, bindings: Bindings, callback: Callable[..., None], fault: Fault | None, *, watch: bool) -> None:
        self.pixels = bindings.buffers[InferModel.input_names[0]]
        self.output = bindings.buffers[InferModel.output_names[0]]
        self.callback, self.fault = callback, fault
        self.submitted = time.perf_counter()
        self.digest = digest(self.pixels) if watch else None


class ConfiguredModel:
    """As HailoRT's `ConfiguredInferModel`."""

    def __init__(self, model: InferModel, network: _Network) -> None:
        self._vdevice, self._platform = model.vdevice, model.vdevice.platform
        self._model = model
        self._network = network
        self._activated = False
        self._lock = threading.Lock()
        self._ready = 0  # jobs that were promised room
        self._waiting = 0  # jobs on their way
        self._fault: Fault | None = None  # of the next job
        self._down = threading.Event()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="cardrec-simulated-npu", daemon=True)
        self._thread.start()

    def breaks(self, rule: str) -> faults.HailoRTInvalidOperationException:
        """Notes a broken rule; the pipeline goes down over it."""
        self._down.set()
        return self._platform.breaks(rule)

    def activate(self) -> None:
        """Gives it the device, alone."""
        self._platform.require_device()
        if self._vdevice.scheduled:
            raise self.breaks("activated although the scheduler decides")
        if self._vdevice.active:
            raise self.breaks("activated although another network is")
        self._vdevice.active += 1
        self._activated = True

    def deactivate(self) -> None:
        """Takes the device away from it."""
        if self._activated:
            self._vdevice.active -= 1
        self._activated = False

    def create_bindings(
        self, input_buffers: Mapping[str, NDArray[Any]], output_buffers: Mapping[str, NDArray[Any]]
    ) -> Bindings:
        """Bindings of that memory."""
        made = Bindings(self)
        for name, buffer in {**input_buffers, **output_buffers}.items():
            made.set_buffer(name, buffer)
        return made

    def wait_for_async_ready(self, timeout_ms: int = 1000, frames_count: int = 1) -> None:
        """Waits until there is room for so many jobs."""
        until = time.perf_counter() + timeout_ms / 1e3
        self._fault = self._platform.next_fault()
        if self._fault is Fault.NOT_READY:
            self._down.wait(timeout_ms / 1e3)
            self._down.set()
        while time.perf_counter() < until:
            if self._down.is_set():
                raise self._aborted()
            with self._lock:
                if self._waiting + frames_count <= QUEUE_DEPTH:
                    self._ready = frames_count
                    return
            time.sleep(50e-6)
        raise faults.HailoRTTimeout("the queue stayed full (simulated)")

    def run_async(self, bindings: list[Bindings], callback: Callable[..., None]) -> None:
        """Sends a job off."""
        fault, self._fault = self._fault, None
        if fault is Fault.UNPLUGGED:
            self._platform.plugged = False
        if fault is Fault.REFUSED or not self._platform.plugged:
            self._down.set()
        self._platform.require_device()
        if self._down.is_set():
            raise self._aborted()
        self._check(bindings)
        with self._lock:
            self._ready -= 1
            self._waiting += 1
        self._jobs.put(_Job(bindings[0], callback, fault, watch=self._platform.watch_memory))

    def _check(self, bindings: list[Bindings]) -> None:
        """Refuses what HailoRT would go down over."""
        if not (self._activated or self._vdevice.scheduled):
            raise self.breaks("run although it was not activated")
        if len(bindings) != 1 or len(bindings[0].buffers) != 2:
            raise self.breaks("run with other than one card's memory")
        for stream, name in ((self._model.input(), "input"), (self._model.output(), "output")):
            buffer = bindings[0].buffers[getattr(InferModel, f"{name}_names")[0]]
            if buffer.nbytes != int(np.prod(stream.shape)):
                raise self.breaks(f"the {name} has {buffer.nbytes} bytes, the network's {stream.shape}")
            if buffer.ctypes.data % mmap.PAGESIZE:
                raise self.breaks(f"the {name} does not start on a page")
        if self._ready < 1:
            raise self.breaks("run without having asked for room")

    def get_async_queue_size(self) -> int:
        """Jobs that it takes at once."""
        return QUEUE_DEPTH

    def shutdown(self) -> None:
        """Takes it down: jobs on their way are called back with an error."""
        self._down.set()
        self._jobs.put(None)

    def __enter__(self) -> ConfiguredModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def _work(self) -> None:
        """The device: one card after the other, each at its time."""
        due = 0.0
        while (job := self._jobs.get()) is not None:
            due = max(due, job.submitted) + self._platform.latency_ms / 1e3
            error = self._run(job, due)
            with self._lock:
                self._waiting -= 1
            if job.fault is not Fault.NEVER_RETURNS:
                self._call_back(job, error)

    def _run(self, job: _Job, due: float) -> Exception | None:
        """The answer into the job's memory, when it is due; or what went wrong."""
        if job.fault in (Fault.NEVER_RETURNS, Fault.RETURNS_LATE):
            self._down.wait()
            time.sleep(_LATE_S)
        elif self._down.is_set():
            return self._aborted()
        answer = self._network.answer(job.pixels)
        if job.fault is not Fault.RETURNS_LATE and self._down.wait(max(0.0, due - time.perf_counter())):
            return self._aborted()
        if job.fault in (Fault.FAILS, Fault.TIMES_OUT):
            self._down.set()
            kind = faults.HailoRTTimeout if job.fault is Fault.TIMES_OUT else faults.HailoRTException
            return kind(f"{job.fault.value} (simulated)")
        if job.digest is not None and digest(job.pixels) != job.digest:
            self._platform.breaks("the memory of a card on its way was written")
        job.output[...] = answer
        return None

    def _aborted(self) -> Exception:
        if self._fault is Fault.NOT_READY:
            return faults.HailoRTTimeout("the queue never got ready (simulated)")
        return faults.HailoRTStreamAborted("the pipeline is down (simulated)")

    def _call_back(self, job: _Job, error: Exception | None) -> None:
        try:
            job.callback(completion_info=SimpleNamespace(exception=error))
        except BaseException as raised:  # noqa: BLE001 - HailoRT would end the process
            self._platform.breaks(f"a callback raised {raised!r}")
