"""The simulated `hailo_platform`: its names, the device, and opening it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

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
        watch_memory: notice when memory of a job on its way is written, which costs two checksums for each.

    Attributes:
        latency_ms: may be changed at any time.
        plugged: whether the device is there.
        broken_rules: what HailoRT would not have borne, in words.
        jobs: that were sent so far.
        opened: the VDevices that are open.
    """

    __version__ = "4.23.0"
    HailoSchedulingAlgorithm = HailoSchedulingAlgorithm
    HailoPowerMode = HailoPowerMode
    FormatType = FormatType
    pyhailort = SimpleNamespace(pyhailort=faults)

    def __init__(
        self,
        *,
        latency_ms: float = 3.0,
        architecture: str = "HAILO8",
        faults: Callable[[int], Fault | None] | None = None,
        watch_memory: bool = False,
    ) -> None:
        self.latency_ms, self.architecture = latency_ms, architecture
        self.watch_memory = watch_memory
        self.plugged = True
        self.broken_rules: list[str] = []
        self.jobs = 0
        self.opened: list[VDevice] = []
        self._faults = faults
        self.Device = _Devices(self)
        self.VDevice = _VDevices(self)

    def next_fault(self) -> Fault | None:
        """Counts a job, and says what goes wrong with it."""
        number, self.jobs = self.jobs, self.jobs + 1
        return self._faults(number) if self._faults is not None else None

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
        return SimpleNamespace(device_architecture=self._platform.architecture, firmware_version="4.23.0")

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
        if not platform.plugged or (others and others != {params.group_id}) or "UNIQUE" in others:
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
        platform.opened.append(self)

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
        return InferModel(self, compiled)

    def release(self) -> None:
        """Lets the device go."""
        if self in self.platform.opened:
            self.platform.opened.remove(self)
