"""What the latency gate says of the times that it has measured: a verdict for each stage, a table, an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["CONTROL", "FINE", "INCONCLUSIVE", "LIMIT", "SLOWER", "Judged", "Repeat", "exit_code", "judge", "table"]

LIMIT = 1.15
"""Head's time over base's from which head is slower."""
CONTROL = (0.9, 1.1)
"""Where base's time over base's own must lie for a repeat to count: outside, the machine was not the same for all."""

FINE, SLOWER, INCONCLUSIVE = 0, 1, 3
"""Exit codes; 2 is a wrong command."""

Verdict = Literal["fine", "slower", "accepted", "inconclusive", "not in base", "not in head"]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The shortest times of one stage in one repeat, in milliseconds: of base, of base again, of head."""

    base_ms: float
    again_ms: float
    head_ms: float

    @property
    def ratio(self) -> float:
        return self.head_ms / self.base_ms

    @property
    def control(self) -> float:
        return self.again_ms / self.base_ms

    @property
    def counts(self) -> bool:
        return CONTROL[0] <= self.control <= CONTROL[1]


@dataclass(frozen=True, slots=True)
class Judged:
    """One stage: the verdict, the reason where there is one, and what it was measured by."""

    stage: str
    verdict: Verdict
    reason: str = ""
    repeats: Sequence[Repeat] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types, with the ratios."""
        ratios = [{"ratio": each.ratio, "control": each.control, "counts": each.counts} for each in self.repeats]
        return asdict(self) | {"repeats": [asdict(r) | more for r, more in zip(self.repeats, ratios, strict=True)]}


def verdict_of(repeats: Sequence[Repeat], of: int) -> Verdict:
    """By most of the first ``of`` repeats that count; inconclusive if those that are lacking could decide."""
    counting = [each for each in repeats if each.counts][:of]
    most = of // 2 + 1
    slower = sum(each.ratio > LIMIT for each in counting)
    if slower >= most:
        return "slower"
    return "fine" if slower + (of - len(counting)) < most else "inconclusive"


def judge(stage: str, repeats: Sequence[Repeat], of: int, accepted: Mapping[str, str]) -> Judged:
    """Judges a stage that both sides have.

    Args:
        stage: its name.
        repeats: in the order in which they were measured.
        of: repeats that are wanted; those that don't count can have been made up for.
        accepted: stages that may be slower, and why.
    """
    verdict = verdict_of(repeats, of)
    if verdict == "slower" and stage in accepted:
        return Judged(stage, "accepted", accepted[stage], repeats)
    return Judged(stage, verdict, "", repeats)


def exit_code(stages: Sequence[Judged]) -> int:
    """1 where a stage is slower or can't be measured in head any more, else 3 where one is inconclusive, else 0."""
    verdicts = {each.verdict for each in stages}
    if verdicts & {"slower", "not in head"}:
        return SLOWER
    return INCONCLUSIVE if "inconclusive" in verdicts else FINE


def table(stages: Sequence[Judged]) -> str:
    """Lines of text. Ratios of repeats that don't count are in brackets."""
    most = max((len(each.repeats) for each in stages), default=0)
    wide = max(13, 8 * most)
    lines = [f"{'stage':17}{'base us':>9}{'head us':>9}  {'head / base':{wide}}{'base / base':{wide}}verdict"]
    for each in stages:
        line = f"{each.stage:17}"
        if each.repeats:
            counting = [repeat for repeat in each.repeats if repeat.counts] or each.repeats
            base_ms = min(repeat.base_ms for repeat in counting)
            head_ms = min(repeat.head_ms for repeat in counting)
            ratios = "".join(_cell(repeat.ratio, repeat.counts) for repeat in each.repeats)
            controls = "".join(_cell(repeat.control, repeat.counts) for repeat in each.repeats)
            line += f"{_us(base_ms):>9}{_us(head_ms):>9}  {ratios:{wide}}{controls:{wide}}"
        else:
            line += " " * (20 + 2 * wide)
        lines.append(f"{line}{each.verdict}{': ' if each.reason else ''}{each.reason}")
    return "\n".join(lines)


def _cell(ratio: float, counts: bool) -> str:
    return f"{f'{ratio:.3f}' if counts else f'({ratio:.2f})':8}"


def _us(ms: float) -> str:
    return f"{1e3 * ms:,.0f}" if ms >= 1 else f"{1e3 * ms:.4g}"
