"""Reads the object that a TypeScript file of data declares, such as ``const card: Card = { name: { en: "x" } }``.

Only literals are read: objects, arrays, strings, numbers, true, false, null. A name, such as that of an import, becomes
None. Anything that would have to be run is an error.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["read_object"]

_START = re.compile(r"^\s*(?:export\s+default|(?:export\s+)?const\s+\w+\s*(?::[^={]*)?=)\s*(?=\{)", re.MULTILINE)
_TOKEN = re.compile(
    r"""(?P<skip>(?:\s|//[^\n]*|/\*.*?\*/)+)
      | (?P<text>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | `(?:[^`\\$]|\\.|\$(?!\{))*`)
      | (?P<number>-?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<word>[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*)
      | (?P<sign>[{}\[\]:,])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_CHARACTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
_CONSTANTS = {"true": True, "false": False}


def read_object(source: str) -> dict[str, Any]:
    """The first object that the source declares or exports.

    Raises:
        ValueError: there is none, or it is more than literals; names the line.
    """
    start = _START.search(source)
    if start is None:
        raise ValueError("no object is declared; const NAME = { ... } was expected")
    try:
        found: dict[str, Any] = _Reader(source, start.end()).value()
    except RecursionError:
        raise ValueError("its objects are nested too deeply") from None
    return found


class _Reader:
    """Tokens from a place on, one of them looked at."""

    def __init__(self, source: str, place: int) -> None:
        self._source, self._place = source, place
        self._kind, self._token = "", ""
        self._advance()

    def _advance(self) -> tuple[str, str]:
        """The token that was looked at; the next one takes its place."""
        taken = self._kind, self._token
        found = _TOKEN.match(self._source, self._place)
        if found and found.lastgroup == "skip":
            self._place = found.end()
            found = _TOKEN.match(self._source, self._place)
        if found is None:
            self._kind, self._token = "end", self._source[self._place : self._place + 20]
        else:
            self._kind, self._token, self._place = str(found.lastgroup), found[0], found.end()
        return taken

    def _refuse(self, expected: str) -> ValueError:
        line = self._source.count("\n", 0, self._place) + 1
        return ValueError(f"line {line}: {expected} was expected, not {self._token!r}")

    def value(self) -> Any:
        if self._token in ("{", "["):
            return self._object() if self._token == "{" else self._array()
        if self._kind not in ("text", "number", "word"):
            raise self._refuse("a value")
        kind, token = self._advance()
        if kind == "text":
            return _text(token)
        if kind == "number":
            digits = token.replace("_", "")
            return int(digits) if digits.lstrip("-").isdigit() else float(digits)
        return _CONSTANTS.get(token)

    def _object(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        self._advance()
        while self._token != "}":
            if self._kind not in ("text", "number", "word"):
                raise self._refuse("the name of a field")
            kind, token = self._advance()
            name = _text(token) if kind == "text" else token
            if self._token == ":":
                self._advance()
                fields[name] = self.value()
            elif self._token in (",", "}") and kind == "word":  # { name } is short for { name: name }
                fields[name] = None
            else:
                raise self._refuse("':'")
            self._separator("}")
        self._advance()
        return fields

    def _array(self) -> list[Any]:
        values = []
        self._advance()
        while self._token != "]":
            values.append(self.value())
            self._separator("]")
        self._advance()
        return values

    def _separator(self, end: str) -> None:
        if self._token == ",":
            self._advance()
        elif self._token != end:
            raise self._refuse(f"',' or {end!r}")


def _text(token: str) -> str:
    text = _ESCAPE.sub(_character, token[1:-1])
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs such as \\ud83d\\ude00 become one


def _character(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    return chr(int(code, 16)) if code else _CHARACTERS.get(found[4], found[4])
