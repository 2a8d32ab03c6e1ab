"""How a command of the re-training ends when it can't go on: one line that says what is wrong and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from cardrec.errors import CardrecError
from cardrec.labels import say_error

__all__ = ["Failure", "one_line"]


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Failure(Exception):
    """Something outside the program is wrong; the message names it, what was expected and the remedy."""


@contextmanager
def one_line(command: str) -> Iterator[None]:
    """Ends the process with ``command: message`` on stderr and code 1 where the block fails, with 130 after Ctrl-C.

    Only what people can put right is caught: `Failure`, the ``ValueError`` of checks, the library's and the system's
    errors.
    """
    try:
        yield
    except (Failure, CardrecError, ValueError, OSError) as error:
        full = isinstance(error, OSError) and error.errno in _FULL
        remedy = "; free some space, then run the same command again" if full else ""
        raise SystemExit(f"{command}: {say_error(error)}{remedy}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
