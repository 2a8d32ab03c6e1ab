"""The simulated device at work: job after job on a thread of its own, until the first error takes it down."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cardrec.backends.simulated import faults
from cardrec.backends.simulated.bundle import Compiled
from cardrec.backends.simulated.faults import Fault

if TYPE_CHECKING:
    from cardrec.backends.simulated.platform import SimulatedPlatform

__all__ = ["LATE_S", "QUEUE_DEPTH", "Job", "Pipeline"]

QUEUE_DEPTH = 4
"""Jobs that the device takes before the first of them is done."""

LATE_S = 0.05
"""After the network was taken down, a late job is called back."""

_REMEMBERED = 64  # answers; an NPU takes no CPU from the host, so that what is measured again and again must not
_TYPES: dict[str, type[np.generic]] = {"UINT8": np.uint8, "UINT16": np.uint16}


def digest(pixels: NDArray[np.uint8]) -> bytes:
    """Names the contents of memory."""
    return hashlib.blake2b(pixels.data, digest_size=16).digest()


@lru_cache(maxsize=2)
def load_network(compiled: Compiled) -> Network:
    """The network of a HEF, the same one each time that it is configured: opening it takes a tenth of a second."""
    return Network(compiled)


class Network:
    """From a card to the integers that the device would give; it remembers the last cards. Thread-safe."""

    def __init__(self, compiled: Compiled) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(compiled.onnx, options, providers=["CPUExecutionProvider"])
        self._scales, self._zero_points = np.array(compiled.scales), np.array(compiled.zero_points)
        self.dtype = np.dtype(_TYPES.get(compiled.output_type, np.uint8))
        self._answers: OrderedDict[bytes, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """(dimension,) integers."""
        key = digest(pixels)
        with self._lock:
            if key not in self._answers:
                self._answers[key] = self._computed(pixels)
                if len(self._answers) > _REMEMBERED:
                    self._answers.popitem(last=False)
            return self._answers[key]

    def _computed(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        name = self._session.get_inputs()[0].name
        (vector,) = self._session.run(None, {name: pixels[None]})[0]
        levels = np.round(vector / self._scales) + self._zero_points
        return np.asarray(np.clip(levels, 0, np.iinfo(self.dtype).max), self.dtype)


class Job:
    """A card on its way: its memory, whom to call, and what goes wrong with it."""

    def __init__(
        self, pixels: NDArray[np.uint8], output: NDArray[Any], callback: Callable[..., None], fault: Fault | None
    ) -> None:
        self.pixels, self.output = pixels, output
        self.callback, self.fault = callback, fault
        self.submitted = time.perf_counter()
        self.digest: bytes | None = None


class Pipeline:
    """A configured network's queue and thread. It outlives whoever configured it while a job is on its way."""

    def __init__(self, platform: SimulatedPlatform, network: Network) -> None:
        self._platform, self._network, self.dtype = platform, network, network.dtype
        self._lock = threading.Lock()
        self._promised = 0  # jobs that were told that there is room
        self._waiting = 0  # jobs on their way
        self._fault: Fault | None = None  # of the next job
        self._down = threading.Event()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="cardrec-simulated-npu", daemon=True).start()

    def breaks(self, rule: str) -> faults.HailoRTInvalidOperationException:
        """Notes a broken rule; the pipeline goes down over it."""
        self._down.set()
        return self._platform.breaks(rule)

    def wait_for_room(self, timeout_s: float, jobs: int) -> None:
        """Waits until there is room for so many jobs."""
        until = time.perf_counter() + timeout_s
        self._fault = self._platform.next_fault()
        if self._fault is Fault.NOT_READY:
            self._down.wait(timeout_s)
            self._down.set()
        while time.perf_counter() < until:
            self._require_up()
            with self._lock:
                if self._waiting + jobs <= QUEUE_DEPTH:
                    self._promised = jobs
                    return
            time.sleep(50e-6)
        raise faults.HailoRTTimeout("the queue stayed full (simulated)")

    def require_running(self) -> None:
        """Meets the fault of the job that is to be sent; raises what HailoRT would."""
        if self._fault is Fault.UNPLUGGED:
            self._platform.plugged = False
        if self._fault is Fault.REFUSED or not self._platform.plugged:
            self._down.set()
        self._platform.require_device()
        self._require_up()

    def _require_up(self) -> None:
        if self._down.is_set():
            raise self._aborted()

    def send(self, pixels: NDArray[np.uint8], output: NDArray[Any], callback: Callable[..., None]) -> None:
        """Takes a job, for which there must be room."""
        fault, self._fault = self._fault, None
        job = Job(pixels, output, callback, fault)
        with self._lock:
            if self._promised < 1:
                raise self.breaks("run without having asked for room")
            self._promised -= 1
            self._waiting += 1
        if not self._platform.lend(output):
            raise self.breaks("the output belongs to another job that is on its way")
        if self._platform.watch_memory:
            job.digest = digest(job.pixels)
        self._jobs.put(job)

    def shutdown(self) -> None:
        """Takes it down: jobs on their way are called back with an error."""
        self._down.set()
        self._jobs.put(None)

    def _work(self) -> None:
        """The device: one card after the other, each at its time."""
        due = 0.0
        while (job := self._jobs.get()) is not None:
            due = max(due, job.submitted) + self._platform.latency_ms / 1e3
            error = self._run(job, due)
            self._platform.take_back(job.output)
            with self._lock:
                self._waiting -= 1
            if job.fault is not Fault.NEVER_RETURNS:
                self._call_back(job, error)
            del job, error  # nothing is kept while the next one is waited for

    def _run(self, job: Job, due: float) -> Exception | None:
        """The answer into the job's memory, when it is due; or what went wrong."""
        if job.fault in (Fault.NEVER_RETURNS, Fault.RETURNS_LATE):
            self._down.wait()
            time.sleep(LATE_S)
        elif self._down.is_set():
            return self._aborted()
        answer = self._network.answer(job.pixels)
        if job.fault is not Fault.RETURNS_LATE and self._down.wait(max(0.0, due - time.perf_counter())):
            return self._aborted()
        if error := self._failure(job):
            self._down.set()
            return error
        if job.digest is not None and not self._down.is_set() and digest(job.pixels) != job.digest:
            self._platform.breaks("the memory of a card on its way was written")
        job.output[...] = answer
        return None

    def _failure(self, job: Job) -> Exception | None:
        if not self._platform.plugged:
            return faults.HailoRTDriverOperationFailedException("PCIe driver failure (simulated)")
        if job.fault in (Fault.FAILS, Fault.TIMES_OUT):
            kind = faults.HailoRTTimeout if job.fault is Fault.TIMES_OUT else faults.HailoRTException
            return kind(f"{job.fault.value} (simulated)")
        return None

    def _aborted(self) -> Exception:
        if self._fault is Fault.NOT_READY:
            return faults.HailoRTTimeout("the queue never got ready (simulated)")
        return faults.HailoRTStreamAborted("the pipeline is down (simulated)")

    def _call_back(self, job: Job, error: Exception | None) -> None:
        try:
            job.callback(completion_info=SimpleNamespace(exception=error))
        except BaseException as raised:  # noqa: BLE001 - HailoRT would end the process
            self._platform.breaks(f"a callback raised {raised!r}")
