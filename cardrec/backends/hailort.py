"""HailoRT's Python library: found or explained, its errors in our words, and one device for each process."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from cardrec import hailo_facts
from cardrec.errors import DeviceBusy, DeviceError, DeviceTimeout, DeviceUnavailable, ModelError

__all__ = [
    "INSTALL",
    "DeviceSettings",
    "DeviceShare",
    "architecture_of",
    "errors_while",
    "load",
    "translated",
]

INSTALL = (
    "on Raspberry Pi OS `sudo apt install dkms hailo-all` brings driver, firmware and library (it is on no package "
    "index), and a virtual environment must be made with `python3 -m venv --system-site-packages`"
)
"""How to get `hailo_platform`."""

_LOOK = "`cardrec doctor` says what is there"


def load() -> Any:
    """The module `hailo_platform`.

    Raises:
        DeviceUnavailable: it is not installed, or does not fit this Python or NumPy.
    """
    try:
        return hailo_facts.library()
    except Exception as error:  # an extension built for another NumPy raises what it likes
        raise DeviceUnavailable(f"HailoRT's library hailo_platform can't be imported ({error}): {INSTALL}") from error


def errors_while(platform: Any, doing: str, *, loading: bool = False) -> AbstractContextManager[None]:
    """Turns HailoRT's exceptions into ours, for a ``with`` block.

    Args:
        platform: the module `hailo_platform`.
        doing: what, for the message.
        loading: a network, whose file may be at fault.

    Raises:
        ModelError: the file is at fault.
        DeviceTimeout, DeviceBusy, DeviceUnavailable, DeviceError: by what HailoRT said.
    """
    return _Translation(platform, doing, loading)


@dataclass(frozen=True, slots=True)
class _Translation(AbstractContextManager[None]):
    """See `errors_while`. A class, since `contextlib.contextmanager` keeps the frames that must go."""

    platform: Any
    doing: str
    loading: bool

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del trace
        if not isinstance(error, self.platform.pyhailort.pyhailort.HailoRTException):
            return
        _forget_frames(error)
        if self.loading and "HEF" in f"{type(error).__name__} {error}":
            remedy = "compile the network for this chip with the compiler that goes with this HailoRT"
            raise ModelError(f"{_said(error, self.doing)}; {remedy}") from error
        raise translated(self.platform, error, self.doing) from error


def _forget_frames(error: BaseException) -> None:
    """Takes the frames from HailoRT's error: they hold its network, and that the device, while anybody keeps it."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__


def translated(platform: Any, error: BaseException, doing: str) -> DeviceError:
    """One of HailoRT's exceptions as one of ours, with the remedy."""
    kind, said = type(error).__name__, _said(error, doing)
    if "Timeout" in kind or "HAILO_TIMEOUT" in said:
        return DeviceTimeout(f"{said}; the device did not answer in time. If it goes on, {_LOOK}")
    if hailo_facts.is_busy(error):
        return _nothing_free(platform, said)
    if any(word in kind + said for word in ("Driver", "DRIVER", "CommunicationClosed", "NOT_AVAILABLE")):
        return DeviceUnavailable(f"{said}; the device or its driver is gone: look at its power and cable; {_LOOK}")
    return DeviceError(f"{said}; {_LOOK}")


def _said(error: BaseException, doing: str) -> str:
    return f"{doing}: {type(error).__name__}: {error}"


def _nothing_free(platform: Any, said: str) -> DeviceError:
    """HailoRT says the same of a device that is not there and of one that is taken."""
    found = []
    with contextlib.suppress(platform.pyhailort.pyhailort.HailoRTException):
        found = platform.Device.scan()
    if found:
        return DeviceBusy(
            f"{said}; another process holds the Hailo device: end it, or share it through Hailo's service, in both "
            "with HailoEncoder(..., shared=True, multi_process_service=True)"
        )
    return DeviceUnavailable(f"{said}; there is no Hailo device here: look at the board and its cable; {_LOOK}")


def architecture_of(platform: Any) -> str:
    """The chip of the first device, in lower case, e.g. ``hailo8``.

    Raises:
        DeviceUnavailable: there is none.
        DeviceError: it does not answer.
    """
    with errors_while(platform, "looking for a Hailo device"):
        found = platform.Device.scan()
        if not found:
            raise DeviceUnavailable(f"there is no Hailo device here: look at the board and its cable; {_LOOK}")
        with platform.Device(found[0]) as device:
            return str(device.control.identify().device_architecture).rsplit(".", 1)[-1].lower()


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """How a process holds the device.

    Attributes:
        shared: other networks run on it as well, by HailoRT's scheduler; else one network has it alone.
        group: name under which the parts of this process, or with the service of all processes, find each other.
        multi_process_service: through Hailo's service, which lets several processes use one device.
    """

    shared: bool = False
    group: str = "cardrec"
    multi_process_service: bool = False


@dataclass(slots=True)
class _Held:
    """This process's VDevice, and how many use it."""

    settings: DeviceSettings
    vdevice: Any
    users: int = 0


_held: dict[int, _Held] = {}  # by process: a child's memory has what its parent held, which is not the child's
_lock = threading.Lock()


class DeviceShare:
    """A share in this process's one VDevice, which is opened for the first share and released after the last.

    Args:
        platform: the module `hailo_platform`.
        settings: the same as of the shares that there are.

    Raises:
        DeviceBusy: this process has the device already, for one network alone or by other settings; or another
            process has it.
        DeviceUnavailable: there is none.
        DeviceError: it can't be opened.
    """

    def __init__(self, platform: Any, settings: DeviceSettings) -> None:
        self._platform, self.settings = platform, settings
        with _lock:
            held = _held.get(os.getpid())
            if held is None:
                held = _held[os.getpid()] = _Held(settings, _open_vdevice(platform, settings))
            elif not (settings.shared and held.settings == settings):
                raise DeviceBusy(
                    f"this process has the Hailo device open with {held.settings}, which {settings} does not go with; "
                    "close that encoder, or open both with the same settings and shared=True"
                )
            held.users += 1
        self._mine: _Held | None = held

    @property
    def is_open(self) -> bool:
        """Whether there is a VDevice: none is after a failed `renew`."""
        return self._mine is not None and self._mine.vdevice is not None

    @property
    def vdevice(self) -> Any:
        """HailoRT's VDevice."""
        if self._mine is None or self._mine.vdevice is None:
            raise DeviceError("the Hailo device is not open")
        return self._mine.vdevice

    def renew(self) -> None:
        """Opens the device again, where nobody else uses it; all that was configured on it must be let go before.

        Raises:
            DeviceError: it can't be opened, or others use it. `renew` may be tried again.
        """
        with _lock:
            held = self._mine
            if held is None or held.users > 1:
                raise DeviceError(
                    "the Hailo device failed and can't be opened again while others in this process use it"
                )
            if held.vdevice is not None:
                _release(held.vdevice)
                held.vdevice = None
            held.vdevice = _open_vdevice(self._platform, self.settings)

    def release(self) -> None:
        """Gives the share back; further calls do nothing."""
        with _lock:
            held, self._mine = self._mine, None
            if held is None:
                return
            held.users -= 1
            if held.users == 0:
                _held.pop(os.getpid(), None)
                if held.vdevice is not None:
                    _release(held.vdevice)


def _open_vdevice(platform: Any, settings: DeviceSettings) -> Any:
    with errors_while(platform, "opening the Hailo device"):
        params = platform.VDevice.create_params()
        algorithms = platform.HailoSchedulingAlgorithm
        params.scheduling_algorithm = algorithms.ROUND_ROBIN if settings.shared else algorithms.NONE
        if settings.shared:
            params.group_id = settings.group
            params.multi_process_service = settings.multi_process_service
        return platform.VDevice(params)


def _release(vdevice: Any) -> None:
    """Lets a VDevice go, also one that has failed."""
    gc.collect()  # whatever was configured keeps the device open for as long as it lives
    with contextlib.suppress(Exception):  # HailoRT does not wrap this call's errors in its own exceptions
        vdevice.release()
