"""The simulated `hailo_platform`: its names, the device, and opening it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from numpy.typing import NDArray

from cardrec.backends.simulated import faults
from cardrec.backends.simulated.bundle import read_hef
from cardrec.backends.simulated.faults import Fault
from cardrec.backends.simulated.network import InferModel

__all__ = ["SimulatedPlatform"]


class HailoSchedulingAlgorithm(Enum):
    """As HailoRT's."""

    NONE = 0
    ROUND_ROBIN = 1


class HailoPowerMode(Enum):
    """As HailoRT's."""

    PERFORMANCE = 0
    ULTRA_PERFORMANCE = 1


class FormatType(Enum):
    """As HailoRT's."""

    AUTO = 0
    UINT8 = 1
    UINT16 = 2
    FLOAT32 = 3


class SimulatedPlatform:
    """What `import hailo_platform` gives, with one device.

    Args:
        latency_ms: of each card, one after the other: 3 ms are 333 cards a second.
        architecture: of the chip.
        faults: asked for each job, by its number from 0, whether something goes wrong with it.
        obstacles: asked each time a network is configured, by its number from 0, for an error to raise.
        watch_memory: notice when memory of a job on its way is written, which costs two checksums for each.

    Attributes:
        latency_ms: may be changed at any time.
        plugged: whether the device is there.
        taken: whether another process has it.
        broken_rules: what HailoRT would not have borne, in words.
        jobs: that were sent so far.
        configured: networks that were configured so far.
        bindings_made: so far.
        opened: the VDevices that hold the device: not released, or with an `InferModel` that still lives.
    """

    __version__ = "4.23.0"
    HailoSchedulingAlgorithm = HailoSchedulingAlgorithm
    HailoPowerMode = HailoPowerMode
    FormatType = FormatType
    HailoRTException = faults.HailoRTException
    pyhailort = SimpleNamespace(pyhailort=faults)

    def __init__(
        self,
        *,
        latency_ms: float = 3.0,
        architecture: str = "HAILO8",
        faults: Callable[[int], Fault | None] | None = None,
        obstacles: Callable[[int], Exception | None] | None = None,
        watch_memory: bool = False,
    ) -> None:
        self.latency_ms, self.architecture = latency_ms, architecture
        self.watch_memory = watch_memory
        self.plugged, self.taken = True, False
        self.broken_rules: list[str] = []
        self.jobs = self.configured = self.bindings_made = 0
        self._faults, self._obstacles = faults, obstacles
        self._vdevices: list[VDevice] = []
        self._lock = threading.Lock()
        self._lent: dict[int, NDArray[Any]] = {}  # outputs by address; held, so that no other gets the address
        self.Device = _Devices(self)
        self.VDevice = _VDevices(self)

    @property
    def opened(self) -> list[VDevice]:
        """See the class."""
        self._vdevices = [one for one in self._vdevices if one.is_held]
        return list(self._vdevices)

    def next_fault(self) -> Fault | None:
        """Counts a job, and says what goes wrong with it."""
        with self._lock:
            number, self.jobs = self.jobs, self.jobs + 1
        return self._faults(number) if self._faults is not None else None

    def begin_configuring(self) -> None:
        """Counts a network, and meets what is in its way."""
        self.require_device()
        number, self.configured = self.configured, self.configured + 1
        error = self._obstacles(number) if self._obstacles is not None else None
        if error is not None:
            raise error

    def add(self, vdevice: VDevice) -> None:
        """Notes that it was opened."""
        self._vdevices.append(vdevice)

    def lend(self, output: NDArray[Any]) -> bool:
        """Gives an output to a job; whether no other has it."""
        with self._lock:
            return self._lent.setdefault(output.ctypes.data, output) is output

    def take_back(self, output: NDArray[Any]) -> None:
        """The job has written to it for the last time."""
        with self._lock:
            self._lent.pop(output.ctypes.data, None)

    def require_device(self) -> None:
        """What every call does that reaches the device.

        Raises:
            HailoRTDriverOperationFailedException: it is unplugged.
        """
        if not self.plugged:
            raise faults.HailoRTDriverOperationFailedException("PCIe driver failure (simulated)")

    def breaks(self, rule: str) -> faults.HailoRTInvalidOperationException:
        """Notes a broken rule, and makes the error for it."""
        self.broken_rules.append(rule)
        return faults.HailoRTInvalidOperationException(rule)


class _Devices:
    """`hailo_platform.Device`: looks for devices, and opens one to ask what it is."""

    def __init__(self, platform: SimulatedPlatform) -> None:
        self._platform = platform

    def scan(self) -> list[str]:
        """The device's address on the bus."""
        return ["0000:01:00.0"] if self._platform.plugged else []

    def __call__(self, device_id: str) -> Device:
        self._platform.require_device()
        return Device(self._platform, device_id)


class Device:
    """As HailoRT's."""

    def __init__(self, platform: SimulatedPlatform, device_id: str) -> None:
        self._platform, self.device_id = platform, device_id
        self.control = self

    def identify(self) -> SimpleNamespace:
        """What the board is."""
        self._platform.require_device()
        firmware = SimpleNamespace(major=4, minor=23, revision=0)
        return SimpleNamespace(device_architecture=self._platform.architecture, firmware_version=firmware)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        return


@dataclass(slots=True)
class VDeviceParams:
    """As HailoRT's."""

    scheduling_algorithm: HailoSchedulingAlgorithm = HailoSchedulingAlgorithm.NONE
    group_id: str = "UNIQUE"
    multi_process_service: bool = False


class _VDevices:
    """`hailo_platform.VDevice`: opens the device."""

    def __init__(self, platform: SimulatedPlatform) -> None:
        self._platform = platform

    def create_params(self) -> VDeviceParams:
        """What is asked for by default."""
        return VDeviceParams()

    def __call__(self, params: VDeviceParams) -> VDevice:
        platform, scheduled = self._platform, params.scheduling_algorithm is HailoSchedulingAlgorithm.ROUND_ROBIN
        others = {other.params.group_id for other in platform.opened}
        if not platform.plugged or platform.taken or (others and others != {params.group_id}) or "UNIQUE" in others:
            raise faults.HailoRTException("libhailort failed with error: 74 (HAILO_OUT_OF_PHYSICAL_DEVICES)")
        if params.multi_process_service and not scheduled:
            raise platform.breaks("the multi-process service needs the scheduler")
        return VDevice(platform, params, scheduled=scheduled)


class VDevice:
    """As HailoRT's: the device, open."""

    def __init__(self, platform: SimulatedPlatform, params: VDeviceParams, *, scheduled: bool) -> None:
        self.platform, self.params, self.scheduled = platform, params, scheduled
        self.active = 0  # networks that have it alone
        self._process = os.getpid()
        self._released = False
        self._models: weakref.WeakSet[InferModel] = weakref.WeakSet()
        platform.add(self)

    @property
    def is_held(self) -> bool:
        """Whether it still holds the device."""
        return not self._released or len(self._models) > 0

    def create_infer_model(self, hef_source: str, name: str = "") -> InferModel:
        """Loads a HEF by its path."""
        self.platform.require_device()
        if os.getpid() != self._process:
            raise faults.HailoRTException("the VDevice was made by another process")
        if not isinstance(hef_source, str) or name:
            raise self.platform.breaks(f"expected the path of a HEF as text, got {type(hef_source).__name__}")
        compiled = read_hef(Path(hef_source))
        if compiled.architecture != self.platform.architecture.lower():
            raise faults.HailoRTHEFNotCompatibleWithDevice(f"the HEF is for {compiled.architecture}")
        model = InferModel(self, compiled)
        self._models.add(model)
        return model

    def release(self) -> None:
        """Lets the device go, once no `InferModel` of it lives."""
        self._released = True
