"""Lists of allowed signers, in OpenSSH's form (ssh-keygen(1), ALLOWED SIGNERS): which key signs for what, and when."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from ..errors import OrtolanError
from .layout import NAMESPACE

NAME = "allowed_signers"
SIGNATURE = "allowed_signers.sig"
KEYS_NAMESPACE = "ortolan-keys"
"""What a list of allowed signers is signed for by a key of the list before it."""

NAMESPACES = f"{NAMESPACE},{KEYS_NAMESPACE}"
_LINE = re.compile(
    r'(?P<principals>"[^"]*"|\S+) +(?:(?P<options>(?:[^\s"]|"[^"]*")+) +)?'
    r"(?P<key>(?:ssh|ecdsa|sk)-\S+ +[A-Za-z0-9+/]+=*)(?: +(?P<comment>.*))?"
)
_VALID = re.compile(r',?valid-(after|before)="(?P<day>[0-9]+)Z?"', re.IGNORECASE)
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")


@dataclass(frozen=True)
class Entry:
    """One line: the principals as they stand there, the options, and the key as ``type base64``."""

    principals: str
    options: str
    key: str
    comment: str = ""

    def line(self) -> str:
        """As it stands in a list."""
        return " ".join(part for part in (self.principals, self.options, self.key, self.comment) if part)

    def valid(self, which: str) -> str:
        """The day or time from which (``after``) or until which (``before``) the key is valid; empty without one."""
        return next((found["day"] for found in _VALID.finditer(self.options) if found[1].lower() == which), "")


def entry(principal: str, public: bytes, *, after: str = "") -> Entry:
    """The line of a key that signs releases and lists. OrtolanError for a principal that OpenSSH would take for a pattern."""
    if not _PRINCIPAL.fullmatch(principal):
        what = f"'{principal}' is no principal: letters, digits and . _ @ + - only"
        raise OrtolanError(
            what, why="blanks, commas and wildcards mean something else in a list", hint="--principal releases@example.com"
        )
    valid = f',valid-after="{day(after)}"' if after else ""
    return Entry(principal, f'namespaces="{NAMESPACES}"{valid}', public.decode("ascii").strip(), principal)


def read(text: str) -> list[Entry]:
    """The entries of a list. OrtolanError with the number of a line that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise OrtolanError("is not of OpenSSH's form", where=f"{NAME}:{number}", hint="ssh-keygen(1), ALLOWED SIGNERS")
        key = " ".join(match["key"].split())
        found.append(Entry(match["principals"], match["options"] or "", key, match["comment"] or ""))
    return found


def added(text: str, one: Entry) -> str:
    """The list with another entry at its end. OrtolanError when it has that key already."""
    for other in read(text):
        if other.key == one.key:
            raise OrtolanError("the list has this key already", where=NAME, why=f"its principal is {other.principals}")
    return text + ("" if not text or text.endswith("\n") else "\n") + one.line() + "\n"


def ended(text: str, public: bytes, day_: str = "") -> str:
    """The list with a key that is valid before a day only, or, without a day, no longer there. OrtolanError when it never was."""
    key = public.decode("ascii").strip()
    if key not in {one.key for one in read(text)}:
        raise OrtolanError("the list does not have this key", where=NAME, hint="./inv keys shows what it has")
    return "".join(_ended(line, key, day(day_) if day_ else "") for line in text.splitlines(keepends=True))


def _ended(line: str, key: str, before: str) -> str:
    found = read(line)
    if not found or found[0].key != key:
        return line
    if not before:
        return ""
    kept = _without(found[0].options, "before")
    return replace(found[0], options=f'{kept}{"," if kept else ""}valid-before="{before}"').line() + "\n"


def _without(options: str, which: str) -> str:
    return re.sub(rf',?valid-{which}="[0-9]+Z?"', "", options, flags=re.IGNORECASE).lstrip(",")


def day(text: str) -> str:
    """``YYYYMMDD`` of ``2027-01-31`` or ``20270131``: its first moment where it is verified. OrtolanError."""
    for form in ("%Y-%m-%d", "%Y%m%d"):
        try:
            return datetime.strptime(text, form).strftime("%Y%m%d")  # noqa: DTZ007 - a day, of no time zone
        except ValueError:
            continue
    raise OrtolanError(f"'{text}' is no day", hint="2027-01-31")


def principals(entries: Iterable[Entry], public: bytes) -> str:
    """The principals that a list has for a key; empty without any."""
    return ",".join(one.principals for one in entries if one.key == public.decode("ascii").strip())
