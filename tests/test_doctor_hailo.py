"""What the doctor says of a Hailo-8 that is absent, broken, in use, old, slow or in order: on a machine without one."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hailo_machine import CARD, Machine, found

import cardrec.embed
from cardrec import doctor_hailo, hailo_facts
from cardrec.backends import hef
from cardrec.doctor import CHECKS, examine, main, run_check
from cardrec.errors import DeviceBusy, DeviceError, DeviceUnavailable, ModelError
from cardrec.model import Model

NAMES = [name for name in CHECKS if name.startswith("hailo-")]
BUSY = "libhailort failed with error: 74 (HAILO_OUT_OF_PHYSICAL_DEVICES)"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("HAILORT_LOGGER_PATH", "NONE")
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_device(machine: Machine, name: str) -> None:
    found(name, "skip", "no Hailo")


@pytest.mark.parametrize("name", NAMES)
def test_another_card_is_no_hailo(machine: Machine, name: str) -> None:
    machine.card(vendor="0x14e4")
    found(name, "skip")


@pytest.mark.parametrize("name", NAMES)
def test_folders_that_can_not_be_read(
    machine: Machine, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(hailo_facts, "SYSFS", tmp_path / "file")
    monkeypatch.setattr(hailo_facts, "DEVICES", tmp_path / "absent")
    found(name, "skip")


def test_odd_files_end_no_check(machine: Machine) -> None:
    machine.card(device="\0", current_link_speed="Unknown", current_link_width="")
    machine.driver("not a version", forced="many")
    (machine.sysfs / "bus/pci/devices" / "no folder").touch()
    (machine.sysfs / "bus/pci/devices/0000:02:00.0/vendor").mkdir(parents=True)
    for name in NAMES:
        finding = run_check(name)
        assert "Error" not in finding.detail, finding


def test_a_file_that_is_no_text(machine: Machine) -> None:
    machine.complete()
    (machine.sysfs / "module/hailo_pci/version").write_bytes(b"\xff\xfe")
    found("hailo-driver", "fail", "\ufffd")


# hailo-device


def test_a_card_without_driver(machine: Machine) -> None:
    machine.card()
    found("hailo-device", "fail", CARD, "sudo apt install dkms hailo-all", "dmesg")
    found("hailo-driver", "fail", "not loaded", "sudo apt install dkms hailo-all")


def test_a_driver_without_device_file(machine: Machine) -> None:
    machine.card()
    machine.driver(node=False)
    found("hailo-device", "fail", "no /dev/hailo0", "--device /dev/hailo0")


def test_a_device_file_that_this_user_may_not_open(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.complete()
    monkeypatch.setattr(os, "access", lambda *_: False)
    found("hailo-device", "fail", "may not open", "hailo0", "udev")


def test_a_card_that_is_in_order(machine: Machine) -> None:
    machine.complete()
    found("hailo-device", "ok", "hailo0", CARD)


def test_a_device_file_alone(machine: Machine) -> None:
    (machine.devices / "hailo0").touch()
    (machine.devices / "hailort").touch()
    assert found("hailo-device", "ok", "not seen on PCIe").detail.count("hailo0") == 1
    found("hailo-driver", "warn", "not loaded")


def test_another_chip_of_hailos(machine: Machine) -> None:
    machine.card(device="0x45c4")
    machine.driver()
    found("hailo-device", "warn", "0x45c4", "CPU")
    found("hailo-driver", "skip")


# hailo-driver, hailo-library, hailo-numpy


def test_driver_and_library_of_one_release(machine: Machine) -> None:
    machine.complete()
    found("hailo-driver", "ok", "4.23.0")
    found("hailo-library", "ok", "4.23.0", "/somewhere")


@pytest.mark.parametrize("version", ["4.20.0", "4.23.1", "5.1.1"])
def test_a_driver_of_another_release(machine: Machine, version: str) -> None:
    machine.card()
    machine.driver(version)
    machine.library()
    found("hailo-driver", "fail", version, "4.23.0", "dkms")


def test_a_driver_alone(machine: Machine) -> None:
    machine.card()
    machine.driver()
    found("hailo-driver", "ok", "4.23.0", "no library")


def test_a_driver_that_does_not_say_its_version(machine: Machine) -> None:
    machine.card()
    machine.driver(None)
    found("hailo-driver", "warn", "modinfo hailo_pci")


def test_no_library(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine.card()
    machine.driver()
    monkeypatch.setattr(doctor_hailo, "SYSTEM_PACKAGES", tmp_path)
    found("hailo-library", "fail", "python3-hailort", "no package index", "--system-site-packages")
    (tmp_path / "hailo_platform").mkdir()
    monkeypatch.setattr(sys, "prefix", "/environment")
    found("hailo-library", "fail", "the system's Python has it")
    for name in ("hailo-firmware", "hailo-hef", "hailo-parity"):
        found(name, "skip", "see hailo-library")
    found("hailo-numpy", "skip")


def test_a_library_without_device(machine: Machine) -> None:
    machine.library()
    found("hailo-library", "ok", "4.23.0")
    found("hailo-numpy", "ok")


def test_a_library_for_another_chip(machine: Machine) -> None:
    machine.card()
    machine.library("5.1.1")
    found("hailo-library", "fail", "5.1.1", "needs 4.x")


@pytest.fixture
def broken_library(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """One that can't be imported."""
    (tmp_path / "hailo_platform.py").write_text("raise ImportError('libhailort.so.4.23.0')\n")
    monkeypatch.delitem(sys.modules, "hailo_platform")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(metadata, "requires", requires())
    return machine


def requires(*lines: str) -> Any:
    """A stand-in for `importlib.metadata.requires`."""
    return lambda _: list(lines)


def test_a_library_that_can_not_be_imported(broken_library: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found("hailo-library", "warn", "libhailort.so.4.23.0")
    broken_library.card()
    broken_library.driver()
    found("hailo-library", "fail", "ImportError: libhailort.so.4.23.0", "hailo-numpy")
    for name in ("hailo-firmware", "hailo-hef", "hailo-parity"):
        found(name, "skip", "see hailo-library")
    found("hailo-driver", "ok", "no library")
    monkeypatch.setattr(np, "__version__", "2.1.3")
    found("hailo-numpy", "warn", "2.1.3", "libhailort", "pip install 'numpy<2'")
    monkeypatch.setattr(np, "__version__", "1.26.4")
    found("hailo-numpy", "skip", "1.26.4")


@pytest.mark.parametrize(
    ("numpy", "line", "status"),
    [
        ("2.1.3", "numpy<2", "warn"),
        ("2.0.0", "numpy (<2)", "warn"),
        ("2.1.3", "numpy==1.23.3", "warn"),
        ("2.1.3", "numpy<2.1,>=1.26", "warn"),
        ("2.1.3", "numpy~=1.26", "warn"),
        ("1.26.4", "numpy<2", "ok"),
        ("1.26.4", "numpy==1.23.3", "ok"),
        ("2.1.3", "numpy", "ok"),
        ("2.1.3", "numpy>=1.26", "ok"),
        ("2.1.3", "numpy<3", "ok"),
        ("2.1.3", "numpydoc<2", "ok"),
        ("2.1.3", "numpy<2; python_version < '3.13'", "ok"),
    ],
)
def test_what_the_library_asks_of_numpy(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, numpy: str, line: str, status: str
) -> None:
    machine.library()
    monkeypatch.setattr(np, "__version__", numpy)
    monkeypatch.setattr(metadata, "requires", requires("netaddr", line))
    found("hailo-numpy", status, numpy)


def test_a_library_that_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hailo_platform.py").write_text("import os\nos.abort()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    library, python = examine(["hailo-library", "python"])
    assert (library.status, python.status) == ("fail", "ok")
    assert "SIGABRT" in library.detail
    assert "dkms" in library.remedy


def test_the_library_writes_no_log_but_where_the_user_wants_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.library()
    monkeypatch.setenv("HAILORT_LOGGER_PATH", "/var/log")
    hailo_facts.library()
    assert os.environ["HAILORT_LOGGER_PATH"] == "/var/log"
    monkeypatch.delenv("HAILORT_LOGGER_PATH")
    hailo_facts.library()
    assert os.environ["HAILORT_LOGGER_PATH"] == "NONE"


# hailo-firmware


def test_a_chip_that_is_in_order(machine: Machine) -> None:
    machine.complete()
    found("hailo-firmware", "ok", "HAILO8L", CARD, "4.23.0")
    assert machine.chip.released == 1


@pytest.mark.parametrize(
    ("firmware", "status"), [((4, 20, 0), "fail"), ((5, 23, 0), "fail"), ((4, 23, 1), "warn"), ((4, 23, 0), "ok")]
)
def test_firmware_of_another_release(machine: Machine, firmware: tuple[int, int, int], status: str) -> None:
    machine.complete().chip.firmware = firmware
    found("hailo-firmware", status, ".".join(map(str, firmware)))


@pytest.mark.parametrize("error", [BUSY, "libhailort failed with error: 73 (HAILO_DEVICE_IN_USE)"])
def test_a_chip_that_another_process_holds(machine: Machine, error: str) -> None:
    machine.complete().chip.hold_error = error
    found("hailo-firmware", "warn", "another process", "HAILO8L", "fuser")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("libhailort failed with error: 76 (HAILO_INVALID_DRIVER_VERSION)", "dkms"),
        ("Received a timeout - hailort has failed because a timeout had occurred", "dmesg"),
    ],
)
def test_a_chip_that_does_not_answer(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, error: str, remedy: str
) -> None:
    machine.complete().chip.open_error = error
    monkeypatch.setattr("mmap.PAGESIZE", 16384)
    found("hailo-firmware", "fail", error, remedy)
    for name in ("hailo-hef", "hailo-pages", "hailo-parity"):
        found(name, "skip", "see hailo-firmware")


def test_a_chip_that_the_library_does_not_find(machine: Machine) -> None:
    machine.complete().chip.found = []
    found("hailo-firmware", "fail", "finds no chip")
    found("hailo-hef", "skip", "see hailo-firmware")


# hailo-hef


def find_with(monkeypatch: pytest.MonkeyPatch, find: Any) -> None:
    """Puts `find_hef` where the doctor looks for it."""
    monkeypatch.setattr(hef, "find_hef", find)


@pytest.mark.parametrize(
    ("architecture", "wanted"),
    [("HAILO8L", "hailo8l"), ("DeviceArchitecture.HAILO8", "hailo8"), ("HAILO8R", "hailo8r")],
)
def test_a_hef_for_the_chip(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, architecture: str, wanted: str
) -> None:
    machine.complete().chip.architecture = architecture

    def find(model: Model, chip: str) -> Path:
        assert model.fingerprint == Model.load().fingerprint
        path = tmp_path / f"model.{chip}.hef"
        path.write_bytes(bytes(1234))
        return path

    find_with(monkeypatch, find)
    found("hailo-hef", "ok", f"model.{wanted}.hef", "1,234 bytes")


def test_no_hef_for_the_chip(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.complete()

    def find(model: Model, chip: str) -> Path:
        raise ModelError(f"no HEF for {chip} in the bundle")

    find_with(monkeypatch, find)
    found("hailo-hef", "fail", "no HEF for hailo8l", "--backend onnx")


# hailo-pcie


def test_a_fast_link(machine: Machine) -> None:
    machine.card()
    found("hailo-pcie", "ok", "Gen 3 x1", "8.0 GT/s PCIe x4")


@pytest.mark.parametrize("model", ["Raspberry Pi 5 Model B Rev 1.0\0", "Raspberry Pi Compute Module 5 Rev 1.0\0"])
def test_a_slow_link_of_a_raspberry_pi(machine: Machine, model: str) -> None:
    machine.card(current_link_speed="5.0 GT/s PCIe")
    machine.write("firmware/devicetree/base/model", model)
    found("hailo-pcie", "warn", "Gen 2 x1", "dtparam=pciex1_gen=3")


def test_a_slow_link_elsewhere(machine: Machine) -> None:
    machine.card(current_link_speed="2.5 GT/s PCIe")
    assert "dtparam" not in found("hailo-pcie", "warn", "Gen 1 x1").remedy


@pytest.mark.parametrize("speed", ["Unknown", "", "1.0 GT/s PCIe", "GT/s", ".. GT/s", "1..0 GT/s"])
def test_a_link_of_unknown_speed(machine: Machine, speed: str) -> None:
    machine.card(current_link_speed=speed)
    found("hailo-pcie", "skip", "does not say")


# hailo-pages


def open_with(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """Makes opening the encoder of the device fail, or not."""

    def open_encoder(model: object = None, *, backend: str = "auto", threads: int = 0) -> object:
        assert backend == "hailo"
        if error:
            raise error
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(cardrec.embed, "open_encoder", open_encoder)


@pytest.mark.parametrize(("page", "forced"), [(4096, None), (4096, "0"), (16384, "4096"), (16384, "2048")])
def test_pages_that_the_chip_takes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, page: int, forced: str | None
) -> None:
    machine.card()
    machine.driver(forced=forced)
    monkeypatch.setattr("mmap.PAGESIZE", page)
    found("hailo-pages", "ok", f"{page:,} bytes", "not set" if forced in (None, "0") else str(forced))


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (DeviceError("libhailort failed with error: 8 (HAILO_INTERNAL_FAILURE)"), "warn", "force_desc_page_size=4096"),
        (DeviceBusy("another process holds it"), "skip", "not tried"),
        (DeviceUnavailable("no backend"), "skip", "not tried"),
        (ModelError("no HEF"), "skip", "no HEF"),
        (None, "ok", "the model runs"),
    ],
)
@pytest.mark.parametrize("forced", [None, "16384"])
def test_pages_that_are_too_large(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None,
    status: str,
    word: str,
    forced: str | None,
) -> None:
    machine.card()
    machine.driver(forced=forced)
    machine.library()
    monkeypatch.setattr("mmap.PAGESIZE", 16384)
    open_with(monkeypatch, error)
    found("hailo-pages", status, "16,384 bytes", word)


def test_pages_that_can_not_be_tried(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.card()
    monkeypatch.setattr("mmap.PAGESIZE", 16384)
    found("hailo-pages", "skip", "see hailo-library")


def test_what_is_skipped_is_no_failure(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cardrec.doctor.examine", lambda: map(run_check, ["python", *NAMES]))
    assert main() == 0
    assert capsys.readouterr().out.count("\nskip  hailo-") == len(NAMES)
