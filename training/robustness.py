"""How much of one evil an answer survives: easy photos with the true outline, one factor varied at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from training.data import CardImage
from training.queries import Asked, Condition, Examiner
from training.simulate_levels import LEVELS, Look

__all__ = ["FACTORS", "Factor", "Step", "measure"]

HEIGHT_PX = 240.0
"""Of a card, where neither the height nor a blur is what varies."""
BLURRED_PX = 110.0
"""Of a card that is blurred: the simulator's largest disc, 4.5 px, is 0.04 of it, its longest motion, 10 px, 0.09."""
BASE = Condition(LEVELS["easy"], 0.0, (HEIGHT_PX, HEIGHT_PX))


def _look(**changes: float | tuple[float, float]) -> Condition:
    look: Look = replace(BASE.level, **changes)  # type: ignore[type-var,assignment]
    return replace(BASE, level=look)


def _blurred(**changes: float | tuple[float, float]) -> Condition:
    return replace(_look(**changes), height_px=(BLURRED_PX, BLURRED_PX))


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
    Factor("defocus", "blur radius / card height", (0, 0.01, 0.02, 0.03, 0.04), lambda v: _blurred(defocus=(v, v))),
    Factor(
        "motion",
        "length / card height",
        (0, 0.02, 0.04, 0.06, 0.09),
        lambda v: _blurred(motion=float(v > 0), motion_length=(v, v)),
    ),
    Factor(
        "glare", "linear light added", (0, 0.4, 0.8, 1.5, 3, 6), lambda v: _look(glare=float(v > 0), glare_gain=(v, v))
    ),
    Factor(
        "card height",
        "px in the frame",
        (240, 160, 110, 80, 56, 40, 32),
        lambda v: replace(BASE, height_px=(v, v)),
    ),
    Factor("noise", "standard deviation, grey levels", (0, 10, 20, 40, 60, 90), lambda v: _look(noise=(v, v))),
    Factor("under-exposure", "gain", (1, 0.3, 0.1, 0.05, 0.02, 0.01), lambda v: _look(exposure=(v, v))),
    Factor("over-exposure", "gain", (1, 2, 3, 4.5, 7, 10), lambda v: _look(exposure=(v, v))),
    Factor("tilt", "degrees", (0, 15, 30, 45, 60), lambda v: _look(tilt_deg=(v, v))),
    Factor(
        "outline",
        "corners' standard deviation / card width",
        (0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12),
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
