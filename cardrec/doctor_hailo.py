"""Checks a Hailo-8: card, driver, library, firmware, the model's HEF for it, and how it is connected.

Where there is none, the checks are skipped. Versions: HailoRT refuses a driver of another release (major, minor and
revision; `hailort_driver.cpp`) and firmware of another major or minor (`device.cpp`).
"""

from __future__ import annotations

import mmap
import os
import re
import sys
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from cardrec import hailo_facts as facts
from cardrec.errors import DeviceBusy, DeviceUnavailable, ModelError
from cardrec.finding import Finding, ok, skip
from cardrec.labels import say_error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CHECKS"]

SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
"""Where `python3-hailort` puts the library, for the system's Python."""

LAST_MAJOR = 4
"""Of HailoRT for Hailo-8, 8R and 8L: 5 is for Hailo-10H and 15."""

LARGEST_DESCRIPTOR = 4096
"""Bytes of a DMA descriptor's page that the chip takes (`MAX_SG_PAGE_SIZE` of HailoRT)."""

GOOD_GENERATION = 3
"""Of PCI Express: that of the Hailo-8."""

_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5}  # by GT/s

_INSTALL = "sudo apt install dkms hailo-all, then reboot"
_SAME_RELEASE = (
    "sudo apt update && sudo apt full-upgrade && sudo apt install dkms hailo-all, then reboot; without dkms an older "
    "driver stays: `modinfo -n hailo_pci` names its file"
)
_LIBRARY = (
    f"{_INSTALL}: it brings python3-hailort, which is on no package index; a virtual environment must be one of the "
    "system's Python, made with `python3 -m venv --system-site-packages`"
)
_LOG = "look at `dmesg | grep -i hailo`; if nothing else helps, switch the power off and on"
_OLD_NUMPY = "pip install 'numpy<2'"
_PAGES = "write `options hailo_pci force_desc_page_size=4096` into /etc/modprobe.d/hailo_pci.conf, then reboot"


def check_device() -> Finding:
    """The card is on PCIe, and this user may open its device file."""
    name, cards, nodes = "hailo-device", facts.cards(), facts.nodes()
    others = facts.other_cards()
    if others and not cards:
        detail = f"{_names(others)} is a Hailo, but no Hailo-8, 8R or 8L (PCI id {facts.read(others[0] / 'device')})"
        return Finding(name, "warn", detail, "none for cardrec, which can't use this chip: the CPU is used")
    if not cards and not nodes:
        return skip(name, f"{facts.NONE_HERE}: the CPU is used")
    where = f"on PCIe at {_names(cards)}" if cards else "not seen on PCIe"
    if not nodes:
        return _without_node(where)
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        remedy = f"see `ls -l {closed[0]}`; Hailo's udev rule opens it to everybody: sudo udevadm trigger, or reboot"
        return Finding(name, "fail", f"{where}, but this user may not open {closed[0]}", remedy)
    return ok(name, f"{', '.join(map(str, nodes))}, {where}")


def _without_node(where: str) -> Finding:
    """The card is there, its device file is not."""
    if facts.driver_loaded():
        detail = f"{where}, its driver is loaded, but there is no /dev/hailo0"
        return Finding("hailo-device", "fail", detail, f"in a container: --device /dev/hailo0; else {_LOG}")
    remedy = f"{_INSTALL}; `dmesg | grep -i hailo` says what the driver did"
    return Finding("hailo-device", "fail", f"{where}, but its driver is not loaded", remedy)


def _names(folders: list[Path]) -> str:
    return ", ".join(folder.name for folder in folders)


def check_library() -> Finding:
    """Hailo's library can be imported, and is one for this chip."""
    name, needed = "hailo-library", facts.present()
    if not facts.installed():
        if not needed:
            return skip(name, "not installed, nor needed: no Hailo accelerator here")
        return Finding(name, "fail", "hailo_platform is not installed", _how_to_get_it())
    try:
        hailo = facts.library()
    except Exception as error:  # noqa: BLE001 - libraries that don't fit raise many things
        remedy = f"see hailo-numpy; else: {_LIBRARY}"
        return Finding(name, "fail" if needed else "warn", f"{type(error).__name__}: {say_error(error)}", remedy)
    found = f"hailo_platform {hailo.__version__}"
    if needed and facts.release(hailo.__version__)[:1] > (LAST_MAJOR,):
        return Finding(name, "fail", f"{found} is for Hailo-10H and 15; a Hailo-8 needs {LAST_MAJOR}.x", _INSTALL)
    return ok(name, f"{found} in {Path(str(hailo.__file__)).parent}")


def _how_to_get_it() -> str:
    """The remedy where the library is missing."""
    if sys.prefix != sys.base_prefix and (SYSTEM_PACKAGES / "hailo_platform").is_dir():
        return "the system's Python has it: make the environment with `python3 -m venv --system-site-packages`"
    return _LIBRARY


def check_numpy() -> Finding:
    """NumPy is one that Hailo's library was made for."""
    name = "hailo-numpy"
    if not facts.installed():
        return skip(name, "no Hailo library here")
    import numpy as np

    release = facts.release(np.__version__)
    asked = next((text for text in _requirements() if _excludes(text, release)), None)
    if asked:  # not imported then: a module made for another NumPy may end the process
        return Finding(name, "warn", f"NumPy {np.__version__}, but Hailo's library asks for {asked}", _OLD_NUMPY)
    try:
        facts.library()
    except Exception as error:  # noqa: BLE001 - libraries that don't fit raise many things
        if release < (2,):
            return skip(name, f"NumPy {np.__version__} is not what is in the way: see hailo-library")
        detail = f"NumPy {np.__version__}, and Hailo's library can't be imported ({say_error(error)})"
        return Finding(name, "warn", detail, _OLD_NUMPY)
    return ok(name, f"{np.__version__}; Hailo's library can be imported, and asks for no older one")


def _requirements() -> list[str]:
    """What the library's package asks for, such as ``numpy<2``, but for what it asks for on a condition."""
    try:
        lines = metadata.requires("hailort") or []  # its name in setup.py
    except metadata.PackageNotFoundError:
        return []
    return [line for line in lines if ";" not in line]


def _excludes(requirement: str, release: tuple[int, ...]) -> bool:
    """Whether a requirement is one for an older NumPy, by an upper limit or by a version of an earlier major."""
    if not re.match(r"numpy\b", requirement):
        return False
    limits = re.findall(r"(<=|<|==|~=)\s*([\d.]+)", requirement)
    return any(
        release >= facts.release(limit) if sign == "<" else release[:1] > facts.release(limit)[:1]
        for sign, limit in limits
    )


def check_driver() -> Finding:
    """The driver is loaded, and of the library's release."""
    name = "hailo-driver"
    if not facts.present():
        return skip(name, facts.NONE_HERE)
    if not facts.driver_loaded():  # or, where there is a device file nevertheless, the kernel's files are hidden
        return Finding(name, "warn" if facts.nodes() else "fail", "hailo_pci is not loaded", _INSTALL)
    driver = facts.driver_version()
    if driver is None:
        return Finding(name, "warn", "hailo_pci is loaded, its version can't be read", "see `modinfo hailo_pci`")
    if facts.obstacle():
        return ok(name, f"hailo_pci {driver}; no library to compare it with")
    found = str(facts.library().__version__)
    if facts.release(driver) != facts.release(found):
        return Finding(name, "fail", f"hailo_pci is {driver}, the library {found}: it refuses that", _SAME_RELEASE)
    return ok(name, f"hailo_pci {driver}, as the library")


def check_firmware() -> Finding:
    """The chip answers, its firmware is of the library's release, and no other process holds it."""
    name = "hailo-firmware"
    if why := facts.obstacle():
        return skip(name, why)
    hailo = facts.library()
    what = "the chip"
    try:
        boards = facts.boards()
        if not boards:
            return Finding(name, "fail", "the library finds no chip", f"see hailo-device; {_LOG}")
        what = "; ".join(map(str, boards))
        wrong = _release_finding(boards, str(hailo.__version__), what)
        if wrong:
            return wrong
        for board in boards:
            hailo.VDevice(device_ids=[board.device_id]).release()
    except hailo.HailoRTException as error:
        if facts.is_busy(error):
            return Finding(name, "warn", f"{what}; another process holds it", facts.BUSY_REMEDY)
        remedy = _SAME_RELEASE if "HAILO_INVALID_DRIVER_VERSION" in str(error) else _LOG
        return Finding(name, "fail", f"{what} did not open: {say_error(error)}", remedy)
    return ok(name, f"{what}, as the library")


def _release_finding(boards: list[facts.Board], version: str, what: str) -> Finding | None:
    """What is wrong with the firmware's release, if anything."""
    wanted = facts.release(version)
    if all(board.firmware == wanted for board in boards):
        return None
    usable = all(board.firmware[:2] == wanted[:2] for board in boards)
    detail = f"{what}; the library is {version}{'' if usable else ' and refuses it'}"
    return Finding("hailo-firmware", "warn" if usable else "fail", detail, _SAME_RELEASE)


def check_hef() -> Finding:
    """The bundled model has a sound HEF for this chip."""
    name = "hailo-hef"
    if why := facts.silence():
        return skip(name, why)
    from cardrec.backends.hef import find_hef
    from cardrec.model import Model

    chip = facts.boards()[0].architecture.lower()
    try:
        path = find_hef(Model.load(), chip)
    except ModelError as error:
        return Finding(name, "fail", say_error(error), f"compile the model for {chip}; until then: --backend onnx")
    return ok(name, f"{path.name} for {chip}, {path.stat().st_size:,} bytes")


def check_pcie() -> Finding:
    """The link is as fast as the chip can make it."""
    name = "hailo-pcie"
    if not facts.cards():
        return skip(name, facts.NONE_HERE)
    folder = facts.cards()[0]
    speed, width = facts.read(folder / "current_link_speed"), facts.read(folder / "current_link_width")
    found = re.match(r"\d+(\.\d+)?(?= GT/s)", speed or "")
    generation = _GENERATIONS.get(float(found[0])) if found else None
    if generation is None:
        return skip(name, f"the kernel does not say how fast the link is: {speed or 'no file'}")
    detail = f"Gen {generation} x{width or '?'} ({speed}), the card can do {_at_most(folder)}"
    if generation >= GOOD_GENERATION:
        return ok(name, detail)
    if "Raspberry Pi" in (facts.read(facts.SYSFS / "firmware/devicetree/base/model") or ""):
        return Finding(name, "warn", detail, "add `dtparam=pciex1_gen=3` to /boot/firmware/config.txt, then reboot")
    return Finding(name, "warn", detail, "use a slot of PCIe Gen 3, or set it to that in the firmware's settings")


def _at_most(folder: Path) -> str:
    speed, width = facts.read(folder / "max_link_speed"), facts.read(folder / "max_link_width")
    return f"{speed or 'an unknown speed'} x{width or '?'}"


def check_pages() -> Finding:
    """The driver's DMA descriptors are not larger than the chip takes.

    The driver makes them as large as the kernel's pages, 16 KiB on a Pi 5, unless told otherwise. Whether the library
    refuses that shows only when a network is loaded: the chip can be opened, and says which one it is.
    """
    name = "hailo-pages"
    if not facts.present():
        return skip(name, facts.NONE_HERE)
    forced = facts.forced_page_size()
    detail = f"pages of {mmap.PAGESIZE:,} bytes, force_desc_page_size {forced or 'not set'}"
    if (forced or mmap.PAGESIZE) <= LARGEST_DESCRIPTOR:
        return ok(name, detail)
    if why := facts.silence():
        return skip(name, f"{detail}; not tried: {why}")
    from cardrec.embed import open_encoder

    try:
        with closing(open_encoder(backend="hailo")):
            return ok(name, f"{detail}, and the model runs")
    except (DeviceBusy, DeviceUnavailable, ModelError) as error:
        return skip(name, f"{detail}; not tried: {say_error(error)}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the page size is the likely cause
        return Finding(name, "warn", f"{detail}, and the model can't be loaded: {say_error(error)}", _PAGES)


CHECKS: dict[str, tuple[Callable[[], Finding], str]] = {
    "hailo-device": (check_device, _LOG),
    "hailo-library": (check_library, _LIBRARY),
    "hailo-numpy": (check_numpy, _OLD_NUMPY),
    "hailo-driver": (check_driver, _SAME_RELEASE),
    "hailo-firmware": (check_firmware, _LOG),
    "hailo-hef": (check_hef, "install cardrec again: pip install --force-reinstall --no-deps cardrec"),
    "hailo-pcie": (check_pcie, _LOG),
    "hailo-pages": (check_pages, _PAGES),
}
"""Each check, with the remedy for what it raises."""
