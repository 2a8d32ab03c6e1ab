"""What this machine says of a Hailo-8, for `cardrec.doctor_hailo`: the kernel's files, Hailo's library, the chip.

The kernel's files may be absent, unreadable or odd: what can't be read is None. Nothing imports Hailo's library but
`library`.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = [
    "Board",
    "boards",
    "cards",
    "driver_loaded",
    "driver_version",
    "forced_page_size",
    "installed",
    "is_busy",
    "library",
    "nodes",
    "number",
    "obstacle",
    "other_cards",
    "present",
    "read",
    "release",
    "silence",
]

SYSFS = Path("/sys")
DEVICES = Path("/dev")

VENDOR = "0x1e60"
HAILO_8 = "0x2864"
"""PCI ids, from `common/pcie_common.h` of Hailo's driver; 8R and 8L have the Hailo-8's."""

NONE_HERE = "no Hailo accelerator here"
BUSY_REMEDY = "one process at a time can hold it: end the other one, which `sudo fuser -v /dev/hailo0` names"

_BUSY = ("HAILO_OUT_OF_PHYSICAL_DEVICES", "HAILO_DEVICE_IN_USE")  # the second where the device is asked for by its id


@dataclass(frozen=True, slots=True)
class Board:
    """A chip that has answered.

    Attributes:
        device_id: where it is, for PCIe domain:bus:device.function.
        architecture: ``HAILO8``, ``HAILO8L``, ...
        firmware: the release that runs on it: major, minor, revision.
    """

    device_id: str
    architecture: str
    firmware: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.architecture} at {self.device_id}, firmware {'.'.join(map(str, self.firmware))}"


def read(path: Path) -> str | None:
    """A small file of the kernel's, without white space and NUL at its ends; None if it can't be read or is empty."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip(" \t\r\n\0") or None
    except OSError:
        return None


def number(path: Path) -> int | None:
    """A whole number in a file of the kernel's, decimal or 0x...; None if it holds none."""
    try:
        return int(read(path) or "", 0)
    except ValueError:
        return None


def release(text: str) -> tuple[int, ...]:
    """The first three numbers of a version: major, minor, revision.

    Example:
        >>> release("4.23.0 (release,app)")
        (4, 23, 0)
    """
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def cards() -> list[Path]:
    """The folders of the Hailo-8 on PCIe."""
    return [folder for folder in _hailo_on_pcie() if read(folder / "device") in (HAILO_8, None)]


def other_cards() -> list[Path]:
    """The folders of what else of Hailo's is on PCIe, such as a Hailo-10H."""
    return [folder for folder in _hailo_on_pcie() if read(folder / "device") not in (HAILO_8, None)]


def _hailo_on_pcie() -> list[Path]:
    return [folder for folder in _entries(SYSFS / "bus/pci/devices") if read(folder / "vendor") == VENDOR]


def nodes() -> list[Path]:
    """The device files, ``/dev/hailo0`` and so on."""
    return [path for path in _entries(DEVICES) if re.fullmatch(r"hailo\d+", path.name)]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def present() -> bool:
    """Whether there is a Hailo-8, on PCIe or, where the kernel doesn't show that, as a device file."""
    return bool(cards()) or (bool(nodes()) and not other_cards())


def driver_loaded() -> bool:
    """Whether the driver for the Hailo-8 is loaded."""
    return _driver() in _entries(SYSFS / "module")


def driver_version() -> str | None:
    """The version of the driver that is loaded."""
    return read(_driver() / "version")


def forced_page_size() -> int | None:
    """Bytes of a DMA descriptor's page as the driver's option says; None: the driver chooses."""
    return number(_driver() / "parameters/force_desc_page_size") or None


def _driver() -> Path:
    return SYSFS / "module/hailo_pci"


def installed() -> bool:
    """Whether Hailo's library is there, without importing it: it might not survive that."""
    return sys.modules.get("hailo_platform") is not None or find_spec("hailo_platform") is not None


def library() -> Any:
    """Hailo's Python library.

    Raises:
        Exception: it is missing, or not made for this Python, NumPy or libhailort.
    """
    os.environ.setdefault("HAILORT_LOGGER_PATH", "NONE")  # else it writes hailort.log into the working directory
    import hailo_platform

    return hailo_platform


def obstacle() -> str | None:
    """Why the chip can't even be asked, or None."""
    if not present():
        return NONE_HERE
    if not installed():
        return "Hailo's library is not installed: see hailo-library"
    try:
        library()
    except Exception:  # noqa: BLE001 - whatever it is, hailo-library says it
        return "Hailo's library can't be imported: see hailo-library"
    return None


def boards() -> list[Board]:
    """What each chip says of itself; another process may hold it at the time.

    Raises:
        HailoRTException: one did not answer, or driver and library are of different releases.
    """
    hailo = library()
    found = []
    for device_id in hailo.Device.scan():
        with hailo.Device(device_id) as device:  # by name: its control does not keep it alive, and would fail
            about = device.control.identify()
        firmware = about.firmware_version
        architecture = str(about.device_architecture).rpartition(".")[2]
        found.append(
            Board(str(device_id), architecture, (int(firmware.major), int(firmware.minor), int(firmware.revision)))
        )
    return found


def silence() -> str | None:
    """Why no chip can be used, or None: an obstacle, or there is none that answers."""
    if why := obstacle():
        return why
    try:
        return None if boards() else "no chip answers: see hailo-firmware"
    except library().HailoRTException:
        return "the chip does not answer: see hailo-firmware"


def is_busy(error: BaseException) -> bool:
    """Whether HailoRT's error says that another process holds the chip."""
    return any(status in str(error) for status in _BUSY)
