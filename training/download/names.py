"""File names for any text, from which the text can be had back: ``os.fsdecode(urllib.parse.unquote_to_bytes(name))``.

What a file system may refuse is written as in a URL, ``%2F`` for a slash. Two texts that some file systems would take
for one name, since they differ in case or in how accents are composed, get two names: the later one's letters are all
escaped.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable

__all__ = ["Names", "escaped"]

MAX_BYTES = 200
"""Of a name; file systems take 255, endings included."""

PLAIN = frozenset("-._0123456789")

REFUSED = frozenset('/\\:*?"<>|%')
"""Of these Linux refuses the slash alone; the others are refused where the folder may be copied to. % marks escapes."""


def escaped(text: str, *, strictly: bool = False) -> str:
    """The name for a text; ``strictly`` leaves only digits and ``-._`` as they are."""
    composed = unicodedata.normalize("NFC", text) == text
    kept = [
        character
        if character in PLAIN or (not strictly and _kept(character, composed=composed))
        else "".join(f"%{byte:02X}" for byte in os.fsencode(character))
        for character in text
    ]
    if kept and kept[0] == ".":  # hidden
        kept[0] = "%2E"
    if kept and kept[-1] in (".", " "):
        kept[-1] = f"%{ord(kept[-1]):02X}"
    return "".join(kept)


def _kept(character: str, *, composed: bool) -> bool:
    return character not in REFUSED and character.isprintable() and (composed or character.isascii())


class Names:
    """Gives out names, each once.

    A name that would be too long is cut and ends in ``%~`` and a digest: no escape looks like that, so it can't be
    another text's; only a list of what has which name leads back from it.

    Args:
        taken: names that are in use.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {_folded(name) for name in taken}

    def take(self, text: str) -> str:
        """The name for a text that has none yet."""
        name = _shortened(escaped(text), text)
        if _folded(name) in self._taken:
            name = _shortened(escaped(text, strictly=True), text)
        self._taken.add(_folded(name))
        return name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _shortened(name: str, text: str) -> str:
    encoded = name.encode()
    if len(encoded) <= MAX_BYTES:
        return name
    return f"{encoded[: MAX_BYTES - 40].decode(errors='ignore')}%~{hashlib.sha256(os.fsencode(text)).hexdigest()[:32]}"
