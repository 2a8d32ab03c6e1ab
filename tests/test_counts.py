"""The counts of instructions: that they stand, are exact, and how they are compared with those on file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import native_build
import pytest
from refusals import refusal
from tools import IN_CI, needed

from benchmarks import counting, counts, drivers, planted
from benchmarks.counting import Counted
from training.failure import Failure

NAME = "g++ 1.2, x86-64"
on_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="callgrind and single steps are for x86-64 here")


def driver(module: str = "search") -> Path:
    """A driver for this machine, which the comparison has built or takes again."""
    return drivers.build(module, drivers.compiler(drivers.host_compiler()))


def test_the_counts_on_file_stand(capsys: pytest.CaptureFixture[str]) -> None:
    """The gate: no kernel executes over 2 % more than on file, in any tier that can be counted here."""
    host = drivers.compiler(drivers.host_compiler())
    needed(*counting.tools(host.machine), *((counts.CROSS_COMPILER, counting.EMULATOR) if IN_CI else ()))
    status = counts.main([])
    said = capsys.readouterr().out
    assert status == 0, said


def test_the_file_is_as_it_is_written(tmp_path: Path) -> None:
    counts.write(tmp_path / "counts.json", counts.read(counts.FILE))
    assert (tmp_path / "counts.json").read_bytes() == counts.FILE.read_bytes()


@on_x86
def test_single_steps_and_callgrind_agree_whatever_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    needed(counting.CALLGRIND)
    program = driver()
    tier = "avx2" if counts.processor_has("avx2") else "scalar"
    kernels = ("prefix", "rescore_f32")  # the quickest: each step is a signal
    stepped = inside(counting.by_steps(program, [tier], kernels))
    assert sorted(stepped) == sorted(kernels)
    for environment in ("", "x" * 3001):
        monkeypatch.setenv("CARDREC_TEST_PADDING", environment)
        assert inside(counting.by_callgrind(program, [tier], kernels)) == stepped


def inside(found: counting.Counts) -> dict[str, dict[str, int]]:
    """What is counted; libc does with AVX-512, which valgrind hides from it, in other instructions what is left out."""
    return {kernel: {tier: each.inside for tier, each in tiers.items()} for kernel, tiers in found.items()}


def test_qemus_log_is_counted_as_single_steps_are() -> None:
    """A log that was cut down to what matters: blocks of 2, 3 and 1 instructions, entered between two marks."""
    log = b"""----------------
IN: counted
0x00000100:  d10043ff  sub      sp, sp, #0x10
0x00000104:  b9000fff  b        #0x200

Trace 0: 0x7f4c [0000000001009331/0000000000000100/00000001/00000200] counted
IN: work
0x00000200:  d503201f  nop
0x00000204:  d503201f  nop
0x00000208:  d503201f  b.le     #0x200

Trace 0: 0x7f4d [0000000001009331/0000000000000200/00000001/00000200] work
Trace 0: 0x7f4d [0000000001009331/0000000000000200/00000001/00000200] work
IN: finished
0x00000300:  d65f03c0  ret

Trace 0: 0x7f4e [0000000001009331/0000000000000300/00000001/00000200] finished
Trace 0: 0x7f4d [0000000001009331/0000000000000200/00000001/00000200] work
Trace 0: 0x7f4c [0000000001009331/0000000000000100/00000001/00000200] counted
Trace 0: 0x7f4e [0000000001009331/0000000000000300/00000001/00000200] finished
"""
    assert list(counting._totals(log.splitlines(keepends=True), 0x100, 0x300)) == [8, 2]


def refused_line(*words: str, file: Path, kernel: str = "scan") -> None:
    """The command must end with one line of error that has these words."""

    def command() -> None:
        counts.main(["--file", str(file), "--kernel", kernel])

    refusal(command, *words, command="python -m benchmarks.counts")


def verdicts(counted: counts.Numbers, on_file: counts.Numbers, *, cannot: str = "") -> dict[tuple[str, str], str]:
    lines = counts.compare(NAME, counted, on_file, lambda tier: tier == cannot)
    return {(line.kernel, line.tier): line.verdict for line in lines}


@pytest.mark.parametrize(
    ("counted", "verdict"),
    [(10_000, "ok"), (10_200, "ok"), (10_201, "slower"), (9_800, "ok"), (9_799, "faster"), (20_000, "slower")],
)
def test_over_two_percent_fails(counted: int, verdict: str) -> None:
    assert verdicts({"scan": {"avx2": counted}}, {"scan": {"avx2": 10_000}}) == {("scan", "avx2"): verdict}
    assert (verdict in counts.FAILS) == (counted > 10_200)


def test_a_kernel_or_a_tier_that_is_gone_or_new() -> None:
    on_file = {"scan": {"scalar": 9, "avx2": 5}, "old": {"scalar": 1}}
    counted = {"scan": {"scalar": 9}, "fresh": {"scalar": 1}}
    assert verdicts(counted, on_file) == {
        ("scan", "scalar"): "ok",
        ("scan", "avx2"): "gone",
        ("old", "scalar"): "gone",
        ("fresh", "scalar"): "new",
    }
    assert {"gone", "new"} <= {*counts.FAILS}
    assert verdicts(counted, on_file, cannot="avx2")["scan", "avx2"] == "not counted"
    # Whoever wrote the file had no such processor: not this code's failure.
    assert verdicts({"scan": {"avx512vnni": 3}}, {"scan": {"scalar": 9}}, cannot="scalar") == {
        ("scan", "avx512vnni"): "not on file",
        ("scan", "scalar"): "not counted",
    }


def test_an_update_keeps_what_was_not_counted() -> None:
    before = {"scan": {"scalar": 9, "avx512vnni": 2}, "old": {"scalar": 1}}
    counted = {"scan": {"scalar": 8}}
    assert counts.merged(before, counted) == {"scan": {"scalar": 8, "avx512vnni": 2}}
    assert counts.merged(before, counted, kernels=["scan"])["old"] == {"scalar": 1}


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The command with one compiler, whose code is as counted on file; that file."""
    found = {"scan": {"scalar": Counted(100, 1), "avx2": Counted(50, 0)}, "resize": {"scalar": Counted(70, 0)}}
    monkeypatch.setattr(counts, "compilers", lambda: iter([drivers.Compiler("g++", "x86-64", NAME)]))
    monkeypatch.setattr(counts, "count", lambda *_: found)
    monkeypatch.setattr(counts, "processor_has", lambda _: True)
    file = tmp_path / "counts.json"
    counts.write(file, {NAME: counts.numbers(found), "g++ 9.9, x86-64": {"scan": {"scalar": 1}}})
    return file


def changed(file: Path, kernel: str, tier: str, count: int) -> bytes:
    data = json.loads(file.read_text())
    data[NAME][kernel][tier] = count
    counts.write(file, data)
    return file.read_bytes()


def test_the_command_compares(fixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert counts.main(["--file", str(fixed)]) == 0
    assert "FAILED" not in capsys.readouterr().out
    before = changed(fixed, "scan", "avx2", 46)
    assert counts.main(["--file", str(fixed), "--json", str(fixed.with_name("said.json"))]) == 1
    said = capsys.readouterr().out
    assert "+8.70%  slower" in said and "FAILED: scan:" in said and counts.UPDATE in said
    assert fixed.read_bytes() == before
    slower = [line for line in json.loads(fixed.with_name("said.json").read_text()) if line["verdict"] == "slower"]
    assert [(line["kernel"], line["tier"], line["counted"], line["on_file"]) for line in slower] == [
        ("scan", "avx2", 50, 46)
    ]
    assert counts.main(["--file", str(fixed), "--kernel", "resize"]) == 0


def test_an_improvement_is_said_and_fails_nothing(fixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed(fixed, "scan", "avx2", 60)
    assert counts.main(["--file", str(fixed)]) == 0
    assert "scan: more than 2% below the count on file" in capsys.readouterr().out


def test_the_command_updates(fixed: Path) -> None:
    before = fixed.read_bytes()
    changed(fixed, "scan", "avx2", 46)
    assert counts.main(["--file", str(fixed), "--update"]) == 0
    assert fixed.read_bytes() == before  # the other compiler's counts with it


def test_an_unknown_compiler_is_said_aloud(fixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts.write(fixed, {"g++ 9.9, x86-64": {"scan": {"scalar": 1}}})
    assert counts.main(["--file", str(fixed)]) == 0
    assert f"NOT COMPARED: no counts on file for {NAME}: {counts.UPDATE} adds them" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"g++": 3}', '{"g++": {"scan": {"avx2": "7"}}}', '{"g++": {"scan": {"avx2": 0}}}']
)
def test_a_damaged_file_is_refused(fixed: Path, text: str) -> None:
    fixed.write_text(text)
    refused_line(str(fixed), counts.UPDATE, file=fixed)
    assert fixed.read_text() == text


def test_a_kernel_that_is_not_there_is_refused(fixed: Path) -> None:
    refused_line("scam", "resize, scan", file=fixed, kernel="scam")


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Failure, match="apt install valgrind"):
        counting.require("x86-64")
    with pytest.raises(Failure, match="x86-64 and aarch64 are counted"):
        counting.require("riscv64")


@pytest.mark.parametrize("kernel", planted.KERNELS)
def test_what_is_planted_fits_the_sources(kernel: str, tmp_path: Path) -> None:
    """Each edit applies to today's sources, and they still compile."""
    shutil.copytree(drivers.ROOT / "csrc", tmp_path / "csrc")
    planted.plant(tmp_path, kernel, 0.08)
    module = "search" if kernel in ("scan", "prefix", "rescore") else "image"
    folder = tmp_path / "csrc" / module
    edited = [
        file
        for file in folder.glob("*.cpp")
        if file.read_bytes() != (native_build.ROOT / file.relative_to(tmp_path)).read_bytes()
    ]
    assert len(edited) == 1
    options = ["-std=c++17", "-fsyntax-only", "-Werror", "-Wall", f"-I{folder}", f"-I{tmp_path / 'csrc' / 'common'}"]
    subprocess.run([native_build.host_compiler(), *options, str(edited[0])], check=True, env=native_build.environment())
    edited[0].write_text("// something else\n")
    with pytest.raises(RuntimeError, match="up to date"):
        planted.plant(tmp_path, kernel, 0.08)
    assert edited[0].read_text() == "// something else\n"


def test_a_plant_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no kernel 'scam'"):
        planted.plant(tmp_path, "scam", 0.08)
    with pytest.raises(ValueError, match="share must be above 0"):
        planted.plant(tmp_path, "scan", 0.0)


@on_x86
def test_a_planted_slowdown_is_caught() -> None:
    """One kernel; the others, in all tiers, by hand: `python -m benchmarks.counts --plant`."""
    needed(counting.CALLGRIND)
    using = drivers.compiler(drivers.host_compiler())
    kernels = ("prefix", "rescore_f16", "rescore_f32")
    with counts.planted_tree("rescore", counts.PLANTED) as tree:
        slow = counting.by_callgrind(drivers.build("search", using, tree=tree), ["scalar"], kernels)
    before = counts.numbers(counting.by_callgrind(driver(), ["scalar"], kernels))
    found = verdicts(counts.numbers(slow), before)
    assert found == {
        ("prefix", "scalar"): "ok",
        ("rescore_f16", "scalar"): "slower",
        ("rescore_f32", "scalar"): "slower",
    }
