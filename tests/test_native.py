"""The kernels of csrc/ in C++, without Python: every tier of this processor, and those of arm64 under qemu."""

from __future__ import annotations

import subprocess

import native_build
import pytest
from tools import needed

from cardrec import _image
from cardrec.search import simd_tiers

ARM64_COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"


def tiers_checked(*command: str) -> list[str]:
    """Runs a test program; the tiers that it has checked."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=240, env=native_build.environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *tiers, last = done.stdout.splitlines()
    assert last.endswith("checks passed")
    return [line.removeprefix("tier ") for line in tiers]


def test_kernels_of_this_processor() -> None:
    program = native_build.build(native_build.KERNELS, native_build.host_compiler())
    assert tiers_checked(str(program)) == simd_tiers()


def test_image_kernels_of_this_processor() -> None:
    program = native_build.build(native_build.IMAGE_KERNELS, native_build.host_compiler(), module=native_build.IMAGE)
    assert tiers_checked(str(program)) == _image.simd_tiers()


def test_a_tier_that_is_demanded_and_missing_is_a_failure() -> None:
    program = native_build.build(native_build.KERNELS, native_build.host_compiler())
    with pytest.raises(AssertionError, match="FAILED: the tier mmx does not run here"):
        tiers_checked(str(program), "--require", "mmx")


@pytest.mark.parametrize(
    ("processor", "tiers"),
    [("cortex-a76", ["scalar", "neon", "neon_dotprod"]), ("cortex-a72", ["scalar", "neon"])],
)
def test_kernels_of_arm64(processor: str, tiers: list[str]) -> None:
    """The processors of a Raspberry Pi 5 and 4."""
    needed(ARM64_COMPILER, EMULATOR)
    program = native_build.build(native_build.KERNELS, ARM64_COMPILER, "-static", variant="arm64")
    assert tiers_checked(EMULATOR, "-cpu", processor, str(program), "--require", tiers[-1]) == tiers


@pytest.mark.parametrize("processor", ["cortex-a76", "cortex-a72"])
def test_image_kernels_of_arm64(processor: str) -> None:
    needed(ARM64_COMPILER, EMULATOR)
    program = native_build.build(
        native_build.IMAGE_KERNELS, ARM64_COMPILER, "-static", module=native_build.IMAGE, variant="arm64"
    )
    assert tiers_checked(EMULATOR, "-cpu", processor, str(program), "--require", "neon") == ["scalar", "neon"]
