"""Text of the user's as literals of each language. Templates can print it in no other way."""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import NoReturn


class Unquoted(Exception):
    """A template prints text of the user's, or reckons with it, without a filter."""


@dataclass(frozen=True, eq=False, repr=False)
class Untrusted:
    """Text that a model or a recipe brings along: a template must pass it through one of ``FILTERS``, or rendering fails.

    It can be compared with text, and is true unless it is empty.
    """

    text: str

    def __str__(self) -> NoReturn:
        raise Unquoted(f"{self.text!r} comes from a model or a recipe: print it through one of the filters {', '.join(FILTERS)}")

    __repr__ = __html__ = __int__ = __float__ = __str__  # %r and lists print by repr; a filter makes 0 of what is no number

    def __bool__(self) -> bool:
        return bool(self.text)

    def __eq__(self, other: object) -> bool:
        return self.text == (other.text if isinstance(other, Untrusted) else other)

    def __hash__(self) -> int:
        return hash(self.text)


def _escaped(text: str, escape_of: Callable[[str], str]) -> str:
    """Between double quotes: printable ASCII as it is, but for what ends a literal; all else by ``escape_of`` a character."""
    return '"' + "".join(c if " " <= c <= "~" and c not in '"\\' else escape_of(c) for c in text) + '"'


def _unicode(one: str) -> str:
    one = "\ufffd" if unicodedata.category(one) == "Cs" else one  # half a pair is no character
    return f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"


def _without(text: str, controls: str, where: str) -> str:
    """The text, when it has none of these characters."""
    found = next((one for one in controls if one in text), None)
    if found is not None:
        raise ValueError(f"{text!r} cannot stand in {where}: it has a U+{ord(found):04X}")
    return text


def c(text: str) -> str:
    """A C and C++ string literal of UTF-8 bytes; no trigraphs, no escapes that swallow a digit behind them.

    ValueError for a null character, at which C would end the text.
    """
    data = _without(text, "\0", "a C string").encode()
    return '"' + "".join(chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in data) + '"'


def go(text: str) -> str:
    """An interpreted Go string literal."""
    return _escaped(text, _unicode)


def python(text: str) -> str:
    """A Python string literal."""
    return _escaped(text, lambda one: f"\\U{ord(one):08x}")


def js(text: str) -> str:
    """A JavaScript and JSON string literal that is harmless inside ``<script>`` too."""
    return json.dumps(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def docker(text: str) -> str:
    """A quoted word of LABEL, ENV and ARG, and of the shell: no variable is expanded in it.

    A Dockerfile's words stand on one line, so that line ends and control characters become blanks. A backtick stands between
    single quotes, because a Dockerfile keeps the backslash before one, and a shell must have it.
    """
    line = "".join(one if one.isprintable() else " " for one in text)
    return '"' + "".join("\"'`'\"" if one == "`" else f"\\{one}" if one in '"\\$' else one for one in line) + '"'


def shell(text: str) -> str:
    """A word of the shell. ValueError for what a word cannot have, and for line ends: they would end an instruction around it."""
    return shlex.quote(_without(text, "\0\n\r", "a word of the shell"))


def yaml(text: str) -> str:
    """A double-quoted YAML scalar."""
    return _escaped(text, _unicode)


def html(text: str) -> str:
    """Text of an HTML element, and of an attribute in quotes; control characters and turns of direction are replaced."""
    return escape("".join(one if one in "\n\t" or not _unseen(one) else "\ufffd" for one in text), quote=True)


def comment(text: str) -> str:
    """One line for a comment or a docstring: nothing that would end it or mean anything in it, and no line end in disguise."""
    plain = "".join(one if " " <= one <= "~" else "?" for one in " ".join(text.split()))
    plain = plain.translate(str.maketrans('\\<>"', "/()'"))
    short = plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}..."
    return _DIRECTIVE.sub(r"\1:", _ENDS.sub(r"\g<0> ", short))


_LONGEST = 200  # characters of a comment
_ENDS = re.compile(  # comments, trigraphs and templates; an encoding for Python, a constraint for Go
    r"\*(?=/)|/(?=\*)|-(?=-)|\?(?=\?)|\{(?=[{%#])|[%#}](?=\})|'(?=')|coding(?=[:=])|\+(?=build)"
)
_DIRECTIVE = re.compile(r"^(\w+\s*)=")  # for a Dockerfile's first lines: syntax=…


def _unseen(one: str) -> bool:
    return unicodedata.category(one) in {"Cc", "Cs"} or unicodedata.bidirectional(one) in _TURNS or one in "\u2028\u2029"


_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

FILTERS: dict[str, Callable[[str], str]] = {
    "c_string": c,
    "go_string": go,
    "python_string": python,
    "js_string": js,
    "docker_string": docker,
    "shell_string": shell,
    "yaml_string": yaml,
    "html": html,
    "comment": comment,
}
"""What templates call them."""
