"""The run on a Raspberry Pi of `benchmarks/pi.py`, with tools and files of the kernel's that have the real shapes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hailo_machine import CARD, Machine
from refusals import refusal

from benchmarks import pi, pi_facts
from benchmarks.pi_facts import Missing
from cardrec import Recognizer, bench
from cardrec.bench import simulated_recognizer
from cardrec.errors import DeviceTimeout

IDENTIFY = """Executing on device: 0000:01:00.0
Identifying board
Control Protocol Version: 2
Firmware Version: 4.23.0 (release,app,extended context switch buffer)
Logger Version: 0
Board Name: Hailo-8
Device Architecture: HAILO8L
Serial Number: HLDDLBB234500054
Part Number: HM21LB1C2LAE
Product Name: HAILO-8L AI ACC M.2 B+M KEY MODULE EXT TMP

"""
STREAM = """Running streaming inference (net.hef):
  Transform data: true
    Type:      auto
    Quantized: true
> Inference result:
 Network group: efficientnet_lite0
    Duration: 00:00:02
    FPS: 1057.25
    Send Rate: 1273.25 Mbit/s
    Recv Rate: 8.46 Mbit/s
"""
LATENCY = f"{STREAM}    HW Latency: 1.87 ms\n    Overall Latency: 2.61 ms\n".replace("1057.25", "376.14")
LSPCI = """0000:01:00.0 Co-processor: Hailo Technologies Ltd. Hailo-8 AI Processor (rev 01)
\t\tLnkCap:\tPort #0, Speed 8GT/s, Width x4, ASPM L0s L1, Exit Latency L0s <1us, L1 <2us
\t\tLnkCtl:\tASPM Disabled; RCB 64 bytes, Disabled- CommClk+
\t\tLnkSta:\tSpeed 5GT/s (downgraded), Width x1 (downgraded)
"""
HAILORTCLI = f"""case "$*" in
--version) echo "HailoRT-CLI version 4.23.0" ;;
"fw-control identify") cat <<'END'
{IDENTIFY}
END
;;
*--measure-latency*) cat <<'END'
{LATENCY}
END
;;
run*) cat <<'END'
{STREAM}
END
;;
*) echo "what is $*?" >&2; exit 1 ;;
esac
"""


class Board(Machine):
    """A machine whose tools the test writes; a Raspberry Pi 5 if asked for one."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        self.tools = folder / "bin"
        self.tools.mkdir()
        monkeypatch.setenv("PATH", f"{self.tools}:/usr/bin:/bin")

    def tool(self, name: str, script: str) -> None:
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def raspberry(self) -> Board:
        self.write("firmware/devicetree/base/model", "Raspberry Pi 5 Model B Rev 1.0\0")
        frequency = "devices/system/cpu/cpu0/cpufreq"
        self.write(f"{frequency}/scaling_governor", "ondemand\n")
        self.write(f"{frequency}/scaling_cur_freq", "2400000\n")
        self.write(f"{frequency}/cpuinfo_max_freq", "2400000\n")
        self.write("class/thermal/thermal_zone0/type", "rp1-thermal\n")
        self.write("class/thermal/thermal_zone0/temp", "48000\n")
        self.write("class/thermal/thermal_zone1/type", "cpu-thermal\n")
        self.write("class/thermal/thermal_zone1/temp", "61700\n")
        self.tool("vcgencmd", 'test "$1" = get_throttled && echo throttled=0x50005')
        self.tool("hailortcli", HAILORTCLI)
        self.complete()
        return self


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(tmp_path, monkeypatch)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two frames, one to warm up, and a fifth of a second of load."""

    def plan(self: pi.Plan, *, quick: bool) -> None:
        self.frames, self.load_s, self.tool_s = 2, 0.2, 1

    monkeypatch.setattr(bench, "WARM_UP", 1)

    monkeypatch.setattr(pi.Plan, "__init__", plan)


Opens = Callable[[], AbstractContextManager[Recognizer]]


@pytest.fixture
def with_npu(monkeypatch: pytest.MonkeyPatch, recognizer: Recognizer) -> Callable[[Opens], None]:
    """Lets the Hailo backend be one of the test's; that of ONNX Runtime is open already."""

    def replaced(hailo: Opens) -> None:
        def opened(*, model: Path | None, backend: str) -> AbstractContextManager[Recognizer]:
            assert model is None
            return hailo() if backend == "hailo" else nullcontext(recognizer)

        monkeypatch.setattr(pi, "Recognizer", opened)

    return replaced


def run(out: Path, *arguments: str) -> dict[str, Any]:
    pi.main(["--quick", "--out", str(out), *arguments])
    report: dict[str, Any] = json.loads(out.read_text())
    return report


@pytest.mark.usefixtures("short")
def test_a_pi_with_a_hailo(
    machine: Board, tmp_path: Path, with_npu: Callable[[Opens], None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine.raspberry()
    with_npu(lambda: simulated_recognizer(0.5))
    (tmp_path / "net.hef").touch()
    report = run(tmp_path / "pi.json", "--hef", str(tmp_path / "net.hef"))
    assert report["complete"] and report["is_raspberry_pi"] and report["missing"] == {}
    assert report["system"]["board"] == "Raspberry Pi 5 Model B Rev 1.0" and report["system"]["max_mhz"] == 2400
    assert report["hailo"] == {
        "link": "8.0 GT/s PCIe x1",
        "link_at_most": "8.0 GT/s PCIe x4",
        "driver": "4.23.0",
        "library": "4.23.0",
        "command": "4.23.0",
        "firmware": "4.23.0 (release,app,extended context switch buffer)",
        "chip": "HAILO8L",
        "forced_page_bytes": "not set",
    }
    assert report["network"]["hailortcli"] == {
        "file": "net.hef",
        "hw_ms": 1.87,
        "overall_ms": 2.61,
        "frames_per_second": 1057.25,
    }
    assert [each["backend"] for each in report["runs"]] == ["onnx", "hailo"]
    for each in report["runs"]:
        for when in ("at_rest", "after_load"):
            assert 0 < each[when]["ms"]["encode"]["p50"] <= each[when]["ms"]["total"]["p99"]
            assert set(each[when]["frames_per_second"]) == {"1", "3", "6"}
        assert each["accuracy"]["photos"] == 8
    whens = [state["when"] for state in report["states"] if state["backend"] == "hailo"]
    assert whens[0] == "before" and whens[1].startswith("during") and whens[-1] == "after"
    state = report["states"][0]
    assert (state["governor"], state["mhz"], state["temperature_c"]) == ("ondemand", 2400, 61.7)
    told = capsys.readouterr()
    assert "hottest: 62 degrees C; throttling: throttled, " in told.out and "no Raspberry Pi" not in told.err


@pytest.mark.usefixtures("short")
def test_elsewhere_all_that_is_missing_is_named(
    machine: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(tmp_path / "pi.json")
    assert report["complete"] and not report["is_raspberry_pi"]
    assert [each["backend"] for each in report["runs"]] == ["onnx"]
    missing = report["missing"]
    assert missing["system.board"] == "/sys/firmware/devicetree/base/model can't be read or is empty"
    assert missing["state.throttled"] == "vcgencmd is not installed"
    assert missing["hailo.link"].startswith("no Hailo-8 on PCIe")
    assert missing["hailo.firmware"] == missing["network.hailortcli"] == "hailortcli is not installed"
    assert "hailo_platform" in missing["runs.hailo"]
    assert report["states"][0]["temperature_c"] is None and report["hailo"]["firmware"] is None
    told = capsys.readouterr()
    assert "this is no Raspberry Pi" in told.err and "hottest: unknown" in told.out
    assert "missing: state.throttled: vcgencmd is not installed" in told.out


@pytest.mark.usefixtures("short")
def test_a_device_that_fails_on_the_way_leaves_the_rest(
    machine: Board, tmp_path: Path, with_npu: Callable[[Opens], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.raspberry()
    monkeypatch.setenv("HOME", "/srv/people/anna")

    def failing() -> AbstractContextManager[Recognizer]:
        raise DeviceTimeout(f"no answer from {Path.home()}/x on {socket.gethostname()}, /home/anna/y")

    with_npu(failing)
    report = run(tmp_path / "pi.json")
    assert report["complete"] and len(report["runs"]) == 1
    assert report["missing"]["runs.hailo"] == "no answer from ~/x on HOST, ~/y"
    assert "has no network compiled for hailo8l" in report["missing"]["network.hailortcli"]
    text = (tmp_path / "pi.json").read_text()
    for secret in ("HLDDLBB234500054", "HM21LB1C2LAE", socket.gethostname(), str(pi.ROOT), "anna"):
        assert secret not in text


@pytest.mark.usefixtures("short")
def test_what_was_measured_is_kept_after_ctrl_c(
    machine: Board, tmp_path: Path, with_npu: Callable[[Opens], None]
) -> None:
    def interrupted() -> AbstractContextManager[Recognizer]:
        raise KeyboardInterrupt

    with_npu(interrupted)
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "pi.json")
    assert stopped.value.code == 130
    report = json.loads((tmp_path / "pi.json").read_text())
    assert not report["complete"] and report["runs"][0]["after_load"]["ms"]["total"]["p50"] > 0


def test_the_link_as_lspci_says_it(machine: Board) -> None:
    machine.card(current_link_speed="", max_link_speed="")
    machine.tool("lspci", f"test \"$*\" = '-vv -s {CARD}' && cat <<'END'\n{LSPCI}\nEND")
    assert pi_facts.link("current") == "5GT/s x1"
    assert pi_facts.link("max") == "8GT/s x4"
    machine.tool("lspci", "echo '01:00.0 Co-processor: Hailo'; echo ' Capabilities: <access denied>'")
    with pytest.raises(Missing, match="may need sudo"):
        pi_facts.link("current")


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("0x0", []),
        ("0x4", ["throttled"]),
        ("0xe0008", ["soft temperature limit", *list(pi_facts.THROTTLED.values())[-3:]]),
    ],
)
def test_throttling(machine: Board, said: str, means: list[str]) -> None:
    machine.tool("vcgencmd", f"echo throttled={said}")
    assert pi_facts.throttled() == {"value": said, "means": means}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'VCHI initialization failed' >&2; exit 255", "ended with 255: VCHI initialization failed"),
        ("exit 1", "ended with 1: no message"),
        ("echo something else", "vcgencmd says nothing of it"),
        ("sleep 9", "did not end within"),
    ],
)
def test_tools_that_fail_are_missing(machine: Board, monkeypatch: pytest.MonkeyPatch, script: str, why: str) -> None:
    monkeypatch.setattr(pi_facts, "TOOL_TIMEOUT_S", 0.3)
    machine.tool("vcgencmd", script)
    missing: dict[str, str] = {}
    assert pi_facts.gather({"throttled": pi_facts.throttled}, missing, "state.") == {"throttled": None}
    assert why in missing["state.throttled"]


def test_wrong_use_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    command = "python -m benchmarks.pi"
    refusal(lambda: pi.main(["--out", str(tmp_path / "none" / "pi.json")]), "no such folder", command=command)
    refusal(lambda: pi.main(["--out", str(tmp_path / "a"), "--hef", str(tmp_path / "b")]), "is no file")
    assert list(tmp_path.iterdir()) == []
