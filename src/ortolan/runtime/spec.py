"""What a runtime is before it is made: ``runtimes/<name>/`` with ``runtime.toml``, ``requirements.txt`` and maybe npm's lock."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .. import digest
from ..errors import RuntimeSetupError
from . import npm


@dataclass(frozen=True)
class RuntimeSpec:
    """A pinned environment as written down.

    ``python`` is ``major.minor``. ``lock`` is the hash-locked requirements file, ``npm`` the ``package-lock.json`` beside it
    where there is one, and ``lock_digest`` the digest of all that they lock. ``local`` maps packages to the local version label
    that the Linux build carries (``torch`` → ``cpu``). ``programs`` are those of the system that the runtime's steps start.
    """

    name: str
    description: str
    python: str
    lock: Path
    lock_digest: str
    local: Mapping[str, str] = field(default_factory=dict, hash=False)
    npm: Path | None = None
    programs: tuple[str, ...] = ()

    def packages(self) -> dict[str, str]:
        """The locked packages and their versions; those of npm as ``npm:name``."""
        lines = (line.split(";")[0].split("\\")[0].strip() for line in self.lock.read_text().splitlines() if line[:1].isalnum())
        return dict(line.split("==") for line in lines if "==" in line) | (npm.packages(self.npm) if self.npm else {})


def known(folders: Iterable[Path]) -> dict[str, Path]:
    """All runtimes in the given ``runtimes/`` folders by name; an earlier folder wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.glob("*/runtime.toml")):
            found.setdefault(file.parent.name, file.parent)
    return found


def find(name: str, folders: Iterable[Path]) -> RuntimeSpec:
    """The runtime ``name``; RuntimeSetupError with the nearest names when there is none."""
    found = known(folders)
    if name not in found:
        raise RuntimeSetupError(f"there is no runtime '{name}'", why=_have(name, found), hint=_how(name))
    return _read(found[name])


def _have(name: str, found: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, found, n=1)
    return f"known are {', '.join(sorted(found))}." + (f" Did you mean {near[0]}?" if near else "")


def _how(name: str) -> str:
    package, _, version = name.rpartition("-")
    return f"./inv runtime-add {package}=={version}" if package and version[:1].isdigit() else "./inv runtimes"


def _read(folder: Path) -> RuntimeSpec:
    try:
        described = tomllib.loads((folder / "runtime.toml").read_text())
        lock, wanted, locked = folder / "requirements.txt", folder / npm.WANTED, folder / npm.LOCK
        files = [lock, wanted, locked] if wanted.exists() or locked.exists() else [lock]
        return RuntimeSpec(
            folder.name, described["description"], described["python"], lock, _lock_digest(files), described.get("local", {}),
            locked if locked in files else None, tuple(described.get("programs", ())),
        )  # fmt: skip
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise RuntimeSetupError(f"runtime '{folder.name}' is not complete", where=str(folder), why=str(error)) from error


def _lock_digest(files: list[Path]) -> str:
    if len(files) == 1:
        return digest.of_file(files[0])
    return digest.of_tree({file.name: digest.of_file(file) for file in files})
