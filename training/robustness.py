"""How much of one evil an answer survives: easy photos with the true outline, one factor varied at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from training.data import CardImage
from training.queries import Asked, Condition, Examiner
from training.simulate_levels import LEVELS, Look

__all__ = ["FACTORS", "Factor", "Step", "measure"]

HEIGHT_PX = 240.0
"""Of a card where the height is not what varies. The camera's largest blur disc, 4.5 px, is then 0.019 of it."""
BASE = Condition(LEVELS["easy"], 0.0, (HEIGHT_PX, HEIGHT_PX))


def _look(**changes: float | tuple[float, float]) -> Condition:
    look: Look = replace(BASE.level, **changes)  # type: ignore[type-var,assignment]
    return replace(BASE, level=look)


@dataclass(frozen=True, slots=True)
class Factor:
    """What is varied.

    Attributes:
        name: for table and curve.
        unit: of the values.
        values: from harmless to bad.
        at: the condition at a value.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    at: Callable[[float], Condition]


FACTORS = (
    Factor("defocus", "blur radius / card height", (0, 0.004, 0.008, 0.012, 0.018), lambda v: _look(defocus=(v, v))),
    Factor(
        "motion",
        "length / card height",
        (0, 0.01, 0.02, 0.03, 0.04),
        lambda v: _look(motion=float(v > 0), motion_length=(v, v)),
    ),
    Factor(
        "glare",
        "linear light added",
        (0, 0.2, 0.4, 0.7, 1.0, 1.5),
        lambda v: _look(glare=float(v > 0), glare_gain=(v, v)),
    ),
    Factor("card height", "px in the frame", (360, 240, 160, 110, 80, 56), lambda v: replace(BASE, height_px=(v, v))),
    Factor("noise", "standard deviation, grey levels", (0, 5, 10, 20, 30, 45), lambda v: _look(noise=(v, v))),
    Factor("exposure", "gain", (1, 0.5, 0.3, 0.2, 0.1, 0.05), lambda v: _look(exposure=(v, v))),
    Factor("over-exposure", "gain", (1, 1.5, 2, 3, 4.5), lambda v: _look(exposure=(v, v))),
    Factor("tilt", "degrees", (0, 15, 30, 45, 60), lambda v: _look(tilt_deg=(v, v))),
    Factor(
        "outline",
        "corners' standard deviation / card width",
        (0, 0.01, 0.02, 0.03, 0.05, 0.08),
        lambda v: replace(BASE, corner_error=v),
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A factor at one value, and what was answered."""

    factor: Factor
    value: float
    asked: Asked


def measure(examiner: Examiner, cards: Sequence[CardImage]) -> list[Step]:
    """Every factor at every value; the same cards and, but for the factor, the same photos throughout."""
    return [Step(factor, value, examiner.ask(cards, factor.at(value))) for factor in FACTORS for value in factor.values]
