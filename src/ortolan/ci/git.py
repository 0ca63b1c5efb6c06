"""What git says of a change: the paths that differ, and which files it cannot compare."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_DIFF = ("diff", "--name-only", "-z", "--no-renames", "--no-relative", "--no-ext-diff", "--ignore-submodules=none")


class Unknown(Exception):
    """What changed cannot be told; the text says why."""


@dataclass(frozen=True)
class Change:
    """The paths that differ and those that git keeps an eye on; all are absolute, and links in their folders are followed.

    ``known`` holds files, links and the folders of submodules. A path that is renamed is there by both names.
    """

    changed: frozenset[Path]
    known: frozenset[Path]


def change(root: Path, since: str) -> Change:
    """What differs between the last common commit of ``since`` and HEAD, and HEAD and the folder. Raises Unknown."""
    top = toplevel(root)
    base = _base(top, since)
    asked = [(*_DIFF, f"{base}..HEAD"), (*_DIFF, "HEAD"), ("ls-files", "-z", "--others", "--exclude-standard")]
    found = {name for words in asked for name in _names(top, words)}
    return Change(_below(top, found), _below(top, {*found, *_names(top, ("ls-files", "-z"))}))


def toplevel(root: Path) -> Path:
    """The folder that holds the repository of ``root``. Raises Unknown where there is none."""
    return Path(_git(root, ("rev-parse", "--show-toplevel")).removesuffix("\n"))


def _base(top: Path, since: str) -> str:
    """The commit to compare with: the last that HEAD and ``since`` have in common."""
    shallow = _git(top, ("rev-parse", "--is-shallow-repository")).strip() == "true"
    short = "; this clone is shallow: GIT_DEPTH 0 fetches all of the history" if shallow else ""
    try:
        _git(top, ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{since}^{{commit}}"))
    except Unknown:
        raise Unknown(f"there is no commit {since!r} here{short}") from None
    try:
        return _git(top, ("merge-base", "--end-of-options", since, "HEAD")).strip()
    except Unknown:
        raise Unknown(f"HEAD and {since!r} have no commit in common{short}") from None


def _below(top: Path, names: Iterable[str]) -> frozenset[Path]:
    return frozenset(top / name for name in names)


def _names(top: Path, words: Sequence[str]) -> list[str]:
    return [name for name in _git(top, words).split("\0") if name]


def _git(folder: Path, words: Sequence[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - git, with words of ours
            ["git", *words],  # noqa: S607 - the user's own git
            cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False, encoding="utf-8", errors="surrogateescape",
        )  # fmt: skip
    except FileNotFoundError:
        raise Unknown("git is not installed") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise Unknown(said[0] if said else f"git {words[0]} exits with {done.returncode}")
    return done.stdout
