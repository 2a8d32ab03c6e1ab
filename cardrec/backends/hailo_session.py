"""The network configured on a Hailo device, and jobs on their way through it: until one fails."""

from __future__ import annotations

import contextlib
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cardrec.backends.hailort import errors_while, translated
from cardrec.encode import Embeddings, page_aligned
from cardrec.errors import DeviceError, DeviceTimeout, ModelError
from cardrec.rectify import INPUT_SIZE
from cardrec.search import QuantisedVectors, unit_vectors

__all__ = ["Job", "Session"]

_INPUT = [INPUT_SIZE, INPUT_SIZE, 3]
_OUTPUTS: dict[str, type[np.uint8] | type[np.uint16]] = {"UINT8": np.uint8, "UINT16": np.uint16}


class Job:
    """One run of the network; called back by HailoRT's thread, which must not be kept, nor meet an exception.

    Args:
        session: that runs it.

    Attributes:
        error: what went wrong, once it is done or given up: the first that was said of it.
    """

    __slots__ = ("_done", "_lock", "error", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.error: BaseException | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()

    def __call__(self, completion_info: Any) -> None:
        """What HailoRT calls when it is done."""
        try:
            error = completion_info.exception
        except BaseException as raised:  # noqa: BLE001 - leaving HailoRT's thread by an exception ends the process
            error = raised
        self._end(error)

    def give_up(self, error: DeviceError) -> None:
        """Wakes who waits: no answer is to be expected."""
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            if not self._done.is_set():
                self.error = error
                self.session.failed |= error is not None
                self._done.set()

    def finished(self, timeout_s: float) -> bool:
        """Whether it is done or given up, waiting so long for it."""
        return self._done.wait(timeout_s)


class Session:
    """The network, configured once and run many times.

    Args:
        platform: the module `hailo_platform`.
        vdevice: the open device.
        hef: the compiled network.
        dimension: of its output.
        alone: nobody else runs networks on the device; else its scheduler decides.
        timeout_s: for one job, also for the queue to take it.

    Attributes:
        failed: a job of it failed or was given up, and with it the whole pipeline.

    Raises:
        ModelError: the network is for another chip, or takes and gives something else than cardrec does.
        DeviceError: the device refuses it.
    """

    def __init__(
        self, platform: Any, vdevice: Any, hef: Path, dimension: int, *, alone: bool, timeout_s: float
    ) -> None:
        self._platform, self._timeout_s, self._alone = platform, timeout_s, alone
        self._dimension = dimension
        self._model: Any = None
        self._configured: Any = None
        self.failed = False
        try:
            self._open(vdevice, hef)
        except BaseException:
            self.close()
            raise

    def _open(self, vdevice: Any, hef: Path) -> None:
        # No variable holds the model: errors keep variables, and the model keeps the device.
        with errors_while(self._platform, f"loading {hef}", loading=True):
            self._model = vdevice.create_infer_model(str(hef))
            self._model.set_batch_size(1)
            self._model.set_power_mode(self._platform.HailoPowerMode.ULTRA_PERFORMANCE)
            self._output_type = self._check_streams(hef)
            self._names = self._model.input_names[0], self._model.output_names[0]
            self._scales, self._zero_points = _quantisation(hef, self._model.output().quant_infos, self._dimension)
            self._configured = self._model.configure()
        with errors_while(self._platform, "activating the network"):
            if self._alone:
                self._configured.activate()

    def _check_streams(self, hef: Path) -> type[np.uint8] | type[np.uint16]:
        """The type of the output; the input must be what the rectifier writes, so that nothing is converted."""
        inputs, outputs = len(self._model.inputs), len(self._model.outputs)
        if (inputs, outputs) != (1, 1):
            raise ModelError(f"{hef} has {inputs} inputs and {outputs} outputs; expected one of each")
        taken, given = self._model.input(), self._model.output()
        order, kind = _name(taken.format.order), _name(taken.format.type)
        if list(taken.shape) != _INPUT or order != "NHWC" or kind != "UINT8":
            raise ModelError(f"{hef} takes {taken.shape} {order} {kind}; expected {_INPUT} NHWC UINT8, RGB")
        if math.prod(given.shape) != self._dimension:
            raise ModelError(f"{hef} gives {given.shape} numbers; expected {self._dimension}, as model.json says")
        native = _name(given.format.type)
        if native not in _OUTPUTS:  # float32 would add a conversion, and a thread for it
            given.set_format_type(self._platform.FormatType.UINT8)
            native = "UINT8"
        return _OUTPUTS[native]

    def make_output(self) -> NDArray[Any]:
        """Memory for one answer."""
        return page_aligned((1, self._dimension), self._output_type)

    def bind(self, pixels: NDArray[np.uint8], output: NDArray[Any]) -> Any:
        """HailoRT's bindings of an input (224, 224, 3) and an output, to be used again and again."""
        with errors_while(self._platform, "binding memory to the network"):
            return self._configured.create_bindings(
                input_buffers={self._names[0]: pixels}, output_buffers={self._names[1]: output.reshape(-1)}
            )

    def start(self, bindings: Any, job: Job) -> None:
        """Sends a job off. HailoRT takes its pipeline down over a job that it has no room for, so that is asked first.

        Raises:
            DeviceTimeout: the queue stays full.
            DeviceError: the device refuses it.
        """
        try:
            with errors_while(self._platform, "sending a card to the Hailo device"):
                self._configured.wait_for_async_ready(timeout_ms=math.ceil(self._timeout_s * 1e3))
                self._configured.run_async([bindings], job)
        except BaseException:
            job.give_up(DeviceError("the Hailo device did not take this card"))
            raise

    def failure(self, job: Job) -> DeviceError | None:
        """Waits for a job and says what went wrong with it."""
        if not job.finished(self._timeout_s):
            return DeviceTimeout(f"the Hailo device did not answer within {self._timeout_s:g} s")
        if job.error is None or isinstance(job.error, DeviceError):
            return job.error
        return translated(self._platform, job.error, "encoding a card")

    def read(self, output: NDArray[Any]) -> Embeddings:
        """An answer, copied: integers as they are, where the search takes them.

        Raises:
            DeviceError: it is all zeros, which no card gives.
        """
        if output[0, 0] == self._zero_points[0] and np.all(output == self._zero_points):
            raise DeviceError("the Hailo device returned a vector of zeros; `cardrec doctor` compares it with the CPU")
        if self._output_type is np.uint8 and len(self._scales) == 1 and 0 <= self._zero_points[0] <= 255:
            return QuantisedVectors(output.copy(), float(self._scales[0]), int(self._zero_points[0]))
        return unit_vectors((output.astype(np.float64) - self._zero_points) * self._scales)

    def close(self) -> None:
        """Takes the network off the device, also one that has failed."""
        if self._configured is not None:
            calls = (self._configured.deactivate,) * self._alone + (self._configured.shutdown,)
            for call in (*calls, lambda: self._configured.__exit__(None, None, None)):
                with contextlib.suppress(self._platform.pyhailort.pyhailort.HailoRTException):
                    call()
        self._configured = self._model = None  # HailoRT keeps the device open for as long as a model of it lives


def _name(constant: Any) -> str:
    """The name of one of HailoRT's constants."""
    return str(constant).rsplit(".", 1)[-1]


def _quantisation(hef: Path, infos: list[Any], dimension: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scales and zero points, (1,) or (dimension,): a number stands for ``(value - zero point) * scale``."""
    scales = np.array([info.qp_scale for info in infos], np.float64)
    zero_points = np.array([info.qp_zp for info in infos], np.float64)
    if (scales == scales[:1]).all() and (zero_points == zero_points[:1]).all():
        scales, zero_points = scales[:1], zero_points[:1]
    whole = np.isfinite(zero_points) & (zero_points == np.round(zero_points))
    if len(scales) not in (1, dimension) or not ((scales > 0) & np.isfinite(scales) & whole).all():
        raise ModelError(f"{hef}: scales {scales} and zero points {zero_points} of its output can't be used")
    return scales, zero_points
