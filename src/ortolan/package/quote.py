"""Text of the user's as literals of each language. Templates can print it in no other way."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import NoReturn


@dataclass(frozen=True)
class Untrusted:
    """Text that a model or a recipe brings along: a template must pass it through one of ``FILTERS``, or rendering fails."""

    text: str

    def __str__(self) -> NoReturn:
        raise TypeError(f"{self.text!r} comes from a model or a recipe: print it through one of the filters {', '.join(FILTERS)}")

    __html__ = __str__

    def __bool__(self) -> bool:
        return bool(self.text)


def _escaped(text: str, escape_of: Callable[[str], str]) -> str:
    """Between double quotes: printable ASCII as it is, but for what ends a literal; all else by ``escape_of`` a character."""
    return '"' + "".join(c if " " <= c <= "~" and c not in '"\\' else escape_of(c) for c in text) + '"'


def c(text: str) -> str:
    """A C and C++ string literal of UTF-8 bytes; no trigraphs, no escapes that swallow a digit behind them."""
    octal = "".join(chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in _utf8(text))
    return f'"{octal}"'


def go(text: str) -> str:
    """An interpreted Go string literal."""
    return _escaped(text, lambda one: f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}")


def python(text: str) -> str:
    """A Python string literal."""
    return _escaped(text, lambda one: f"\\U{ord(one):08x}")


def js(text: str) -> str:
    """A JavaScript and JSON string literal that is harmless inside ``<script>`` too."""
    return json.dumps(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def docker(text: str) -> str:
    """A quoted word of a Dockerfile on one line; no variable is expanded in it."""
    line = "".join(one if one.isprintable() else " " for one in text)
    return '"' + "".join(f"\\{one}" if one in '"\\$`' else one for one in line) + '"'


def yaml(text: str) -> str:
    """A double-quoted YAML scalar."""
    return json.dumps(text)


def comment(text: str) -> str:
    """One line for a comment in any language: nothing that would end it, and no line end in disguise."""
    line = "".join(one if " " <= one <= "~" else "?" for one in " ".join(text.split()))
    for ends in ("*/", "/*", "--", "<!", "-->", "??/", "{{", "}}", "{%", "%}", "{#", "#}"):
        line = line.replace(ends, " ".join(ends))
    return line.replace("\\", "/").replace("<", "(").replace(">", ")")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


FILTERS: dict[str, Callable[[str], str]] = {
    "c_string": c,
    "go_string": go,
    "python_string": python,
    "js_string": js,
    "docker_string": docker,
    "shell_string": shlex.quote,
    "yaml_string": yaml,
    "html": lambda text: escape(text, quote=True),
    "comment": comment,
}
"""What templates call them."""
