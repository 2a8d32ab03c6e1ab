"""What one check of the doctor found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Finding", "ok", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: of the check.
        status: ``ok``, ``warn`` (works, look at it), ``fail``, or ``skip``: nothing was checked, since there is
            nothing (no accelerator, for example) or another finding stands in the way. It never counts as a failure.
        detail: what was found; of ``skip``, why nothing was checked.
        remedy: what to do about it; empty where the status is ``ok`` or ``skip``.
    """

    name: str
    status: Literal["ok", "warn", "fail", "skip"]
    detail: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """The finding as plain JSON types."""
        return asdict(self)


def ok(name: str, detail: str) -> Finding:
    """Nothing is wrong."""
    return Finding(name, "ok", detail)


def skip(name: str, detail: str) -> Finding:
    """Nothing was checked."""
    return Finding(name, "skip", detail)
