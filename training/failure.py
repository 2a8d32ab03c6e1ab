"""How a command of the re-training ends when it can't go on: one line that says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Failure", "one_line"]


class Failure(Exception):
    """Something outside the program is wrong; the message names it, what was expected and the remedy."""


@contextmanager
def one_line(command: str) -> Iterator[None]:
    """Ends the process with ``command: message`` on stderr and code 1 where the block fails, with 130 after Ctrl-C.

    Only what people can put right is caught: `Failure`, the ``ValueError`` of checks, the system's errors.
    """
    try:
        yield
    except (Failure, ValueError, OSError) as error:
        raise SystemExit(f"{command}: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
