"""How often a host may be asked, over all threads, and how long to wait before asking again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["RateLimit", "back_off", "retry_after"]

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0


class RateLimit:
    """Lets callers through one by one, at least an interval apart.

    Args:
        per_second: how many.
        sleep, clock: in seconds; tests bring their own.
    """

    def __init__(self, per_second: float, sleep: Callable[[float], object], clock: Callable[[], float]) -> None:
        self._interval, self._sleep, self._clock = 1 / per_second, sleep, clock
        self._next = clock()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Returns when it is the caller's turn; a pause that begins meanwhile counts, too."""
        while True:
            with self._lock:
                now = self._clock()
                if now >= self._next:
                    self._next = now + self._interval
                    return
                left = self._next - now
            self._sleep(left)

    def pause(self, seconds: float) -> None:
        """Lets nobody through for a while: the host asked for it."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


def back_off(attempt: int, random: Callable[[], float]) -> float:
    """Seconds to wait after a failed attempt (0, 1, ...): doubled each time, less up to a half by chance.

    Chance keeps threads that failed together from coming back together.
    """
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt) * (0.5 + 0.5 * random()))


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, given as a number or a date; None where there is none."""
    if value is None:
        return None
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
