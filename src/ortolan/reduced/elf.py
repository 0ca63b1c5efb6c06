"""What a shared library needs of others, as readelf tells it."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NEEDED = re.compile(r"\(NEEDED\).*\[(.+)\]")
_VERSION = re.compile(r"Name: ([A-Za-z]\w*?)_(\d+(?:\.\d+)*)\s")
_ABI = re.compile(r"Name: GLIBC_ABI_DT_RELR\s")
_RELR = "Name: GLIBC_2.36 "  # the first that has it
_DEFINED = re.compile(r"^Version definition section.*?(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def needed(said: str) -> list[str]:
    """The libraries that the loader brings along."""
    return sorted(_NEEDED.findall(said))


def symbol_versions(said: str) -> Mapping[str, str]:
    """The newest version of each family (``GLIBC``, ``GLIBCXX``) that is asked for."""
    newest: dict[str, str] = {}
    for family, version in _VERSION.findall(_ABI.sub(_RELR, _DEFINED.sub("", said))):
        newest[family] = max(newest.get(family, "0"), version, key=_parts)
    return dict(sorted(newest.items()))


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
