"""The model script of Hailo's compiler: written, checked to normalise exactly once, and what the compiler made of it.

The compiler lowers its optimisation level without a GPU or with fewer than 1,024 pictures, and takes 64 of however many
pictures where it is not told how many. It says so in its log, between hundreds of other lines, and goes on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from training.hailo_graph import Cut

__all__ = ["FEWEST", "FULL", "ReadBack", "check_script", "model_script", "read_back"]

FULL = 1024
"""Pictures under which the compiler lowers its optimisation level."""
FEWEST = 64
"""Pictures that it takes where nothing is said; with fewer, ranges are guesses."""
BATCH = 32

_NORMALISATION = re.compile(r"\bnormalization\s*\(\s*(\[[^\]]*\])\s*,\s*(\[[^\]]*\])")
_COMMENT = re.compile(r"#[^\n]*")
_LOWERED = re.compile(r"Reducing optimization level to (\d+)([^\n]*(?:because|as) [^\n]*)?")
_DEFAULT = re.compile(r"Using default optimization level of (\d+)")
_ENTRIES = re.compile(r"Using dataset with (\d+) entries for calibration")


def model_script(part: Cut, *, pictures: int, level: int, more: str = "") -> str:
    """The script for a network.

    Args:
        part: the network, with what its input needs.
        pictures: in the calibration set, all of which count.
        level: of optimisation, 0 to 4.
        more: further commands, such as ``quantization_param(output_layer1, precision_mode=a16_w16)``.

    Raises:
        ValueError: ``more`` normalises as well.
    """
    lines = [
        f"normalization1 = normalization({list(part.mean)}, {list(part.deviation)})",
        f"model_optimization_flavor(optimization_level={level}, compression_level=0)",
        f"model_optimization_config(calibration, batch_size={BATCH}, calibset_size={pictures})",
        *([more.strip()] if more.strip() else []),
    ]
    text = "\n".join(lines) + "\n"
    check_script(text, part)
    return text


def check_script(text: str, part: Cut) -> None:
    """Checks that the script normalises once, and as the network needs it.

    Raises:
        ValueError: it does not.
    """
    found = _NORMALISATION.findall(_COMMENT.sub("", text))
    if len(found) != 1:
        raise ValueError(
            f"the model script normalises {len(found)} times; exactly one normalization() was expected: the network's "
            "input is normalised nowhere else. Take it out of --script"
        )
    given = tuple(_numbers(values) for values in found[0])
    if given != (part.mean, part.deviation):
        raise ValueError(f"the model script normalises by {given}; the network needs {(part.mean, part.deviation)}")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(value) for value in text.strip("[]").split(","))


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What the compiler says that it did.

    Attributes:
        level: of optimisation.
        pictures: that it calibrated on; None, if it does not say.
        reason: why it lowered the level; empty, if it did not.
    """

    level: int
    pictures: int | None
    reason: str = ""

    def check(self, level: int, pictures: int) -> None:
        """Raises ValueError where that is less than what was asked for."""
        if self.level < level:
            raise ValueError(
                f"the compiler lowered its optimisation level from {level} to {self.level}{self.reason}; nothing was "
                f"written. Run it where it finds a GPU and give it {FULL} pictures, or accept that with "
                f"--level {self.level}"
            )
        if self.pictures is not None and self.pictures < pictures:
            raise ValueError(
                f"the compiler calibrated on {self.pictures} of {pictures} pictures; nothing was written. Take other "
                "commands about the calibration out of --script"
            )


def read_back(log: str, level: int) -> ReadBack:
    """What a log of the optimisation says.

    Args:
        log: all that the compiler printed.
        level: that was asked for.
    """
    lowered = _LOWERED.findall(log)
    levels = [int(found) for found, _ in lowered] + [int(found) for found in _DEFAULT.findall(log)]
    entries = [int(found) for found in _ENTRIES.findall(log)]
    return ReadBack(min([level, *levels]), min(entries) if entries else None, _reason(lowered))


def _reason(lowered: Sequence[tuple[str, str]]) -> str:
    said = [why[why.index("because") :].strip() for _, why in lowered if "because" in why]
    return f" {said[-1]}" if said else ""
