"""A machine with a Hailo-8, as the doctor sees it: the kernel's files in a folder, and a small `hailo_platform`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any

import pytest

from cardrec import hailo_facts
from cardrec.doctor import Finding, run_check

CARD = "0000:01:00.0"


def found(name: str, status: str, *words: str) -> Finding:
    """Runs a check; its finding must have that status, and those words in detail or remedy."""
    finding = run_check(name)
    assert finding.status == status, finding
    assert bool(finding.remedy) == (status in ("warn", "fail"))
    for word in words:
        assert word in f"{finding.detail} {finding.remedy}", finding
    return finding


class HailoRTException(Exception):
    """What the library raises; its text names HailoRT's status."""


@dataclass
class Chip:
    """What the chip of the fake library does.

    Attributes:
        firmware: its release.
        architecture: its kind, as `str` gives it.
        open_error: raised when a device is opened.
        hold_error: raised when one is to be used.
    """

    firmware: tuple[int, int, int] = (4, 23, 0)
    architecture: str = "HAILO8L"
    open_error: str | None = None
    hold_error: str | None = None
    found: list[str] = field(default_factory=lambda: [CARD])
    released: int = 0


class Machine:
    """The kernel's files in ``folder``; no card at first.

    Example:
        >>> machine.card(); machine.driver("4.23.0"); machine.library("4.23.0")
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sysfs, self.devices = folder / "sys", folder / "dev"
        self.chip = Chip()
        self._monkeypatch = monkeypatch
        self.devices.mkdir()
        monkeypatch.setattr(hailo_facts, "SYSFS", self.sysfs)
        monkeypatch.setattr(hailo_facts, "DEVICES", self.devices)
        monkeypatch.setitem(sys.modules, "hailo_platform", None)

    def write(self, path: str, text: str) -> None:
        """A file of the kernel's."""
        file = self.sysfs / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def card(self, *, vendor: str = "0x1e60", device: str = "0x2864", **files: str) -> None:
        """A card on PCIe, with a link of PCIe Gen 3."""
        link = {"current_link_speed": "8.0 GT/s PCIe", "current_link_width": "1"}
        limits = {"max_link_speed": "8.0 GT/s PCIe", "max_link_width": "4"}
        for name, text in {"vendor": vendor, "device": device, **link, **limits, **files}.items():
            self.write(f"bus/pci/devices/{CARD}/{name}", f"{text}\n")

    def driver(self, version: str | None = "4.23.0", *, node: bool = True, forced: str | None = None) -> None:
        """A driver that is loaded, and the device file that it makes."""
        (self.sysfs / "module/hailo_pci").mkdir(parents=True)
        if version is not None:
            self.write("module/hailo_pci/version", f"{version}\n")
        if forced is not None:
            self.write("module/hailo_pci/parameters/force_desc_page_size", f"{forced}\n")
        if node:
            (self.devices / "hailo0").touch()

    def library(self, version: str = "4.23.0") -> None:
        """A `hailo_platform` that is installed, with what the doctor uses of it."""
        fake: Any = ModuleType("hailo_platform")
        fake.__version__, fake.__file__ = version, "/somewhere/hailo_platform/__init__.py"
        fake.HailoRTException, fake.Device, fake.VDevice = HailoRTException, self._device_class(), self._use
        self._monkeypatch.setitem(sys.modules, "hailo_platform", fake)

    def complete(self) -> Machine:
        """A Hailo-8L that is in order."""
        self.card()
        self.driver()
        self.library()
        return self

    def _use(self, *, device_ids: list[str]) -> SimpleNamespace:
        assert device_ids == [CARD]
        if self.chip.hold_error:
            raise HailoRTException(self.chip.hold_error)
        return SimpleNamespace(release=self._release)

    def _release(self) -> None:
        self.chip.released += 1

    def _device_class(self) -> type:
        chip = self.chip

        class Device:
            def __init__(self, device_id: str) -> None:
                assert device_id in chip.found
                if chip.open_error:
                    raise HailoRTException(chip.open_error)
                self._open = False

            @staticmethod
            def scan() -> list[str]:
                return chip.found

            def __enter__(self) -> Device:
                self._open = True
                return self

            def __exit__(
                self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
            ) -> None:
                self._open = False

            @property
            def control(self) -> Device:
                return self

            def identify(self) -> SimpleNamespace:
                if not self._open:
                    raise HailoRTException("The device in use has been released.")
                major, minor, revision = chip.firmware
                firmware = SimpleNamespace(major=major, minor=minor, revision=revision)
                return SimpleNamespace(firmware_version=firmware, device_architecture=chip.architecture)

        return Device
