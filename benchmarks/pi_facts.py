"""What a Raspberry Pi says of itself, for `benchmarks.pi`: board, system, temperature, throttling, Hailo and its link.

Everything is read from the kernel's files or asked of tools that Raspberry Pi OS has. What can't be had is a `Missing`
with the reason. Serial numbers are left out where they are read.
"""

from __future__ import annotations

import mmap
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cardrec import hailo_facts, machine
from cardrec.hailo_facts import read

TOOL_TIMEOUT_S = 60

THROTTLED = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage has occurred",
    17: "frequency capping has occurred",
    18: "throttling has occurred",
    19: "soft temperature limit has occurred",
}
"""Bits of `vcgencmd get_throttled`; those from 16 on are kept since the Pi was started."""


class Missing(Exception):
    """Something can't be had; the message says why."""


def gather(getters: Mapping[str, Callable[[], Any]], missing: dict[str, str], prefix: str = "") -> dict[str, Any]:
    """What each getter gives; None where it can't be had, with the reason in ``missing`` under the dotted name."""
    found: dict[str, Any] = {}
    for name, getter in getters.items():
        try:
            found[name] = getter()
        except Missing as error:
            found[name] = None
            missing[f"{prefix}{name}"] = str(error)
    return found


def run_tool(*command: str, longer_s: float = 0.0) -> str:
    """What a command prints to stdout, within `TOOL_TIMEOUT_S` and ``longer_s``.

    Raises:
        Missing: it is not installed, fails, or does not end.
    """
    name, timeout_s = " ".join(command[:2]), TOOL_TIMEOUT_S + longer_s
    environment = {**os.environ, "LC_ALL": "C", "HAILORT_LOGGER_PATH": "NONE"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=True, timeout=timeout_s, env=environment
        )
    except FileNotFoundError:
        raise Missing(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Missing(f"`{name}` did not end within {timeout_s:.0f} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        raise Missing(f"`{name}` ended with {error.returncode}: {said[0] if said else 'no message'}") from None
    except OSError as error:
        raise Missing(f"`{name}` can't be run: {error.strerror}") from None
    return done.stdout


def kernel(path: str) -> str:
    """A file below /sys."""
    text = read(hailo_facts.SYSFS / path)
    if text is None:
        raise Missing(f"/sys/{path} can't be read or is empty")
    return text


def searched(pattern: str, text: str, what: str) -> str:
    found = re.search(pattern, text, re.M)
    if found is None:
        raise Missing(f"{what} says nothing of it")
    return found[1].strip()


# --- the board and its system


def board() -> str:
    """The board's name, such as ``Raspberry Pi 5 Model B Rev 1.0``."""
    return kernel("firmware/devicetree/base/model")


def is_raspberry_pi() -> bool:
    try:
        return "Raspberry Pi" in board()
    except Missing:
        return False


def _system_name() -> str:
    try:
        return str(platform.freedesktop_os_release()["PRETTY_NAME"])
    except (OSError, KeyError):
        raise Missing("no os-release file names the system") from None


def _memory_mb() -> int:
    text = read(machine.PROC / "meminfo") or ""
    return int(searched(r"^MemTotal:\s+(\d+) kB", text, "/proc/meminfo")) // 1024


SYSTEM: dict[str, Callable[[], Any]] = {
    "board": board,
    "cpu": machine.cpu_name,
    "cores": machine.cores,
    "memory_mb": _memory_mb,
    "system": _system_name,
    "kernel": platform.release,
    "architecture": platform.machine,
    "page_bytes": lambda: mmap.PAGESIZE,
    "max_mhz": lambda: int(kernel("devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")) // 1000,
}


# --- what changes while it works


def temperature_c() -> float:
    """Of the processor."""
    zones = sorted((hailo_facts.SYSFS / "class/thermal").glob("thermal_zone*"))
    zones.sort(key=lambda zone: "cpu" not in (read(zone / "type") or ""))
    for zone in zones:
        if (value := hailo_facts.number(zone / "temp")) is not None:
            return value / 1000
    raise Missing("/sys/class/thermal has no zone with a temperature")


def throttled() -> dict[str, Any]:
    """What `vcgencmd get_throttled` says: the number, and its bits in words."""
    value = int(searched(r"throttled=(0x[0-9a-fA-F]+)", run_tool("vcgencmd", "get_throttled"), "vcgencmd"), 16)
    return {"value": hex(value), "means": [name for bit, name in THROTTLED.items() if value >> bit & 1]}


STATE: dict[str, Callable[[], Any]] = {
    "governor": lambda: kernel("devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    "mhz": lambda: int(kernel("devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")) // 1000,
    "temperature_c": temperature_c,
    "throttled": throttled,
    "load_average": lambda: round(os.getloadavg()[0], 2),
}


# --- the Hailo


def _card() -> Path:
    cards = hailo_facts.cards()
    if not cards:
        raise Missing("no Hailo-8 on PCIe (/sys/bus/pci/devices)")
    return cards[0]


def link(which: str) -> str:
    """``current`` or ``max``: ``8.0 GT/s PCIe x1``; where the kernel's files don't say it, as lspci does."""
    folder = _card()
    speed, width = read(folder / f"{which}_link_speed"), read(folder / f"{which}_link_width")
    if speed and width:
        return f"{speed} x{width}"
    line = "LnkSta" if which == "current" else "LnkCap"
    text = run_tool("lspci", "-vv", "-s", folder.name)
    found = re.search(rf"{line}:.*?Speed ([\d.]+ ?GT/s).*?Width (x\d+)", text)
    if found is None:
        raise Missing(f"neither /sys/bus/pci/devices nor `lspci -vv` says {line} (lspci may need sudo)")
    return f"{found[1]} {found[2]}"


def _driver() -> str:
    version = hailo_facts.driver_version()
    if version is None:
        raise Missing("the driver hailo_pci is not loaded, or does not say its version")
    return version


def _library() -> str:
    if not hailo_facts.installed():
        raise Missing("hailo_platform is not installed in this Python (python3 -m venv --system-site-packages)")
    try:
        return str(hailo_facts.library().__version__)
    except Exception as error:  # noqa: BLE001 - libraries that don't fit raise many things
        raise Missing(f"hailo_platform can't be imported: {type(error).__name__}") from None


def identity(name: str) -> str:
    """A line of `hailortcli fw-control identify`, which also prints serial numbers."""
    return searched(rf"^{name}: (.*)$", run_tool("hailortcli", "fw-control", "identify"), "fw-control identify")


HAILO: dict[str, Callable[[], Any]] = {
    "link": lambda: link("current"),
    "link_at_most": lambda: link("max"),
    "driver": _driver,
    "library": _library,
    "command": lambda: searched(r"version (\S+)", run_tool("hailortcli", "--version"), "hailortcli --version"),
    "firmware": lambda: identity("Firmware Version"),
    "chip": lambda: identity("Device Architecture"),
    "forced_page_bytes": lambda: hailo_facts.forced_page_size() or "not set",
}


def network(hef: Path, seconds: int) -> dict[str, float]:
    """What Hailo's own tool measures of a compiled network, in ms and frames a second.

    ``hw_ms`` is from the chip's first input to its first output, ``overall_ms`` with the host's part, both one frame
    at a time; ``frames_per_second`` with several frames in the chip.
    """
    options = ("--time-to-run", str(seconds), "--dont-show-progress")
    alone = run_tool(
        *("hailortcli", "run", str(hef), *options, "--measure-latency", "--measure-overall-latency"),
        longer_s=seconds,
    )
    stream = run_tool("hailortcli", "run", str(hef), *options, longer_s=seconds)
    what = "`hailortcli run`"
    return {
        "hw_ms": float(searched(r"HW Latency: ([\d.]+) ms", alone, what)),
        "overall_ms": float(searched(r"Overall Latency: ([\d.]+) ms", alone, what)),
        "frames_per_second": float(searched(r"^\s*FPS: ([\d.]+)", stream, what)),
    }
