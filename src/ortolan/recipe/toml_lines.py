"""The line of every key in a TOML text that tomllib has found valid."""

from __future__ import annotations

import re
import tomllib
from typing import Any

Keys = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BASIC, _LITERAL = r'"(?:[^"\\\n]|\\.)*"', r"'[^'\n]*'"
_PART = rf"(?:[A-Za-z0-9_-]+|{_BASIC}|{_LITERAL})"
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_MULTI = r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})' + "|" + r"'''.*?'''(?:'{0,2})"
_STRING = re.compile(f"{_MULTI}|{_BASIC}|{_LITERAL}", re.DOTALL)
_OTHER = re.compile(r"[^,\]}#\n]+")


def lines(text: str) -> dict[Keys, int]:
    """``{("provider", 0, "name"): 12}``: lines count from 1; a table that several headers or dotted keys make has its first."""
    return _Scanner(text).scan()


def line_of(path: Keys, known: dict[Keys, int]) -> int:
    """The line of a key, or of the nearest table above it that is written; 1 for the document."""
    return next((known[path[:n]] for n in range(len(path), 0, -1) if path[:n] in known), 1)


class _Scanner:
    """One pass over the text; ``at`` is the position, ``table`` the path of the last header."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.line, self.counted = text, 0, 1, 0
        self.table: Keys = ()
        self.found: dict[Keys, int] = {}
        self.sizes: dict[Keys, int] = {}

    def scan(self) -> dict[Keys, int]:
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                self.header()
            else:
                self.pair(self.table)
            self.skip(_BLANK)
        return self.found

    def header(self) -> None:
        """``[a.b]`` or ``[[a.b]]``; a name that is an array of tables means its last element."""
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        self.skip(_BLANK)
        path: Keys = ()
        for part in self.key():
            path = self.note((*self.last(path), part))
        if many:
            index = self.sizes[path] = self.sizes.get(path, -1) + 1
            path = self.note((*path, index))
        self.table = self.last(path)
        self.skip(_BLANK)
        self.at += 2 if many else 1

    def last(self, path: Keys) -> Keys:
        """The last element, where the path is an array of tables."""
        return (*path, self.sizes[path]) if path in self.sizes else path

    def pair(self, table: Keys) -> None:
        path = table
        for part in self.key():
            path = self.note((*path, part))
        self.skip(_BLANK)
        self.at += 1  # the equals sign
        self.skip(_BLANK)
        self.value(path)

    def value(self, path: Keys) -> None:
        first = self.text[self.at]
        if first in "[{":
            self.items(path, "]" if first == "[" else "}")
        else:
            self.skip(_STRING if first in "\"'" else _OTHER)

    def items(self, path: Keys, end: str) -> None:
        """An array's values or an inline table's pairs, up to the closing bracket."""
        self.at += 1
        self.skip(_BLANK)
        index = 0
        while self.text[self.at] != end:
            if end == "]":
                self.value(self.note((*path, index)))
            else:
                self.pair(path)
            index += 1
            self.skip(_BLANK)
            self.at += self.text[self.at] == ","
            self.skip(_BLANK)
        self.at += 1

    def key(self) -> list[str]:
        """The parts of a dotted key; tomllib undoes quotes and escapes."""
        start = self.at
        self.skip(_KEY)
        table: Any = tomllib.loads(self.text[start : self.at] + "=0")
        parts: list[str] = []
        while isinstance(table, dict):
            [(part, table)] = table.items()
            parts.append(part)
        return parts

    def note(self, path: Keys) -> Keys:
        """Remember the line of a path's first mention."""
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        self.found.setdefault(path, self.line)
        return path

    def skip(self, what: re.Pattern[str]) -> None:
        match = what.match(self.text, self.at)
        self.at = match.end() if match else self.at
