"""The root file system of an emulated machine: unpacked from Debian's packages on first use, checked on later ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import digest
from ..disk import disk, part_of, remove, sweep
from ..errors import RuntimeSetupError
from . import apt, kept
from .make import only_one
from .uv import uv

RECIPE = "rootfs.toml"
INSTALL = "on Debian or Ubuntu: apt-get install qemu-user-static debian-archive-keyring"
_MARKER, _PACKAGES = "ortolan.json", "apt"
_CPUINFO = "proc/cpuinfo"
_UNUSED = "test|tests|idlelib|lib2to3|ensurepip|distutils|pydoc_data|transformers|tools|backend|typing"  # by the stages


@dataclass(frozen=True)
class RootSpec:
    """An emulated machine as written down in ``runtimes/<name>/rootfs.toml``; ``digest`` is that of the file."""

    name: str
    description: str
    architecture: str
    machine: str
    emulators: tuple[str, ...]
    cpu: str
    python: str
    suite: str
    mirror: str
    keyring: str
    packages: tuple[str, ...]
    cpuinfo: str
    digest: str

    def emulator(self) -> str:
        """The emulator's program here; RuntimeSetupError where there is none."""
        found = next((path for name in self.emulators if (path := shutil.which(name, path="/usr/bin:/bin"))), None)
        if found is None:
            why = f"no {' and no '.join(self.emulators)} in /usr/bin"
            raise RuntimeSetupError(f"{self.machine} cannot be emulated here", why=why, hint=INSTALL)
        return found


@dataclass(frozen=True)
class Root:
    """A root file system that exists: where, its Python's version, and the digest of its packages' names, versions and bytes."""

    spec: RootSpec
    place: Path
    python: str
    packages: str

    @property
    def programs(self) -> Path:
        """The folder with its Python."""
        return self.place / "usr" / "bin"


def find(name: str, folders: Iterable[Path]) -> RootSpec:
    """The emulated machine ``name``; RuntimeSetupError when there is none or its recipe is not complete."""
    path = next((path for folder in folders if (path := folder / name / RECIPE).is_file()), None)
    if path is None:
        raise RuntimeSetupError(f"there is no emulated machine '{name}'", hint=f"runtimes/{name}/{RECIPE} describes one")
    try:
        told: dict[str, Any] = tomllib.loads(path.read_text())
        told |= {key: tuple(told[key]) for key in ("emulators", "packages")}
        return RootSpec(name=name, digest=digest.of_file(path), **told)
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise RuntimeSetupError(f"the emulated machine '{name}' is not complete", where=str(path), why=str(error)) from error


def ensure(spec: RootSpec, folder: Path, say: Callable[[str], object] = str) -> Root:
    """The root file system of ``spec`` below ``folder``, made when it is missing or visibly broken.

    RuntimeSetupError when it cannot be made; nothing half-made is left then.
    """
    place = folder / f"{spec.name}-{digest.short(spec.digest)}"
    marker = _sound(place)
    if marker is None:
        with disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with only_one(folder / f"{place.name}.lock"):
            marker = _sound(place)
            if marker is None:
                say(f"making {spec.name}, once: {spec.description}; 20 MB of packages, about 15 seconds")
                marker = _make(spec, place)
    _know_processors(spec, place)
    return Root(spec, place, marker["python"], digest.of_json("packages", marker["packages"]))


def needs(spec: RootSpec, folder: Path) -> str:
    """What this machine lacks to make the root file system, in words; nothing where it is made already."""
    if _sound(folder / f"{spec.name}-{digest.short(spec.digest)}") is not None:
        return ""
    return ", ".join([*apt.missing(), *([] if Path(spec.keyring).is_file() else [spec.keyring])])


def compile_for(python: str, folders: Iterable[Path]) -> None:
    """Compile the modules below ``folders`` with a Python of this machine of the same version: emulated, that takes minutes.

    ``python`` is ``major.minor``. Where this machine has none they stay as they are, and every start takes four seconds more.
    """
    try:
        program = uv(["python", "find", "--no-python-downloads", python], doing="find a Python").strip()
    except RuntimeSetupError:
        return
    left = rf"/(site-packages|python3\.\d+)/(.*/)?({_UNUSED})/"
    command = [program, "-I", "-m", "compileall", "-q", "-j", "0", "-x", left, *map(str, folders)]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603  what fails stays source


def command(emulator: str, root: Path, cpu: str) -> list[str]:
    """How a program of the root file system is started."""
    return [emulator, "-cpu", cpu, "-L", str(root)]


def _sound(place: Path) -> dict[str, Any] | None:
    """The marker, when the interpreter and the loader are there."""
    try:
        marker: dict[str, Any] = json.loads((place / _MARKER).read_text())
        whole = all((place / path).is_file() for path in marker["needed"])
    except (OSError, ValueError, KeyError):
        return None
    return marker if whole else None


def _make(spec: RootSpec, place: Path) -> dict[str, Any]:
    sweep(place.parent)
    lacking = needs(spec, place.parent)
    if lacking:
        what = f"the root file system of {spec.machine} cannot be made here"
        raise RuntimeSetupError(what, why=f"there is no {lacking}", hint=INSTALL)
    emulator, part = spec.emulator(), part_of(place)
    with disk(place.parent):
        try:
            part.mkdir()
            marker = _unpacked(spec, part)
            (part / _MARKER).write_text(json.dumps(marker | {"python": _starts(spec, emulator, part)}))
            compile_for(spec.python, [part / "usr/lib" / f"python{spec.python}"])
            kept.remember(part, [_MARKER, _CPUINFO])
            remove(place)
            part.rename(place)
        finally:
            remove(part)
    return _marker(place)


def _marker(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / _MARKER).read_text())
    return found


def _unpacked(spec: RootSpec, part: Path) -> dict[str, Any]:
    """Fetch, unpack; ``packages`` is what ended up in it."""
    source = apt.Source(spec.architecture, spec.suite, spec.mirror, Path(spec.keyring))
    fetched = part / _PACKAGES
    packages: dict[str, Mapping[str, str]] = {}
    try:
        for path in apt.fetch(source, spec.packages, fetched):
            name, version = apt.unpack(path, part)
            packages[name] = {"version": version, "digest": digest.of_file(path)}
    finally:
        remove(fetched)
    _know_processors(spec, part)
    interpreter = f"usr/bin/python{spec.python}"
    return {"packages": packages, "needed": [interpreter, f"usr/lib/python{spec.python}/os.py", kept.NAME]}


def _starts(spec: RootSpec, emulator: str, root: Path) -> str:
    """The version of the Python inside, which shows that the emulator runs it."""
    ask = "import platform; print(platform.machine(), platform.python_version())"
    program = root / "usr/bin" / f"python{spec.python}"
    begun = [*command(emulator, root, spec.cpu), str(program), "-I", "-B", "-c", ask]
    done = subprocess.run(begun, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    machine, _, version = done.stdout.strip().partition(" ")
    if done.returncode or machine != spec.machine:
        why = done.stderr.strip()[-400:] or f"exit code {done.returncode}, machine {machine!r}"
        raise RuntimeSetupError(
            f"the emulated Python for {spec.machine} does not start", why=why, hint=f"is {emulator} of 7.1 or later?"
        )
    return version


def _know_processors(spec: RootSpec, place: Path) -> None:
    """``/proc/cpuinfo`` of the emulated machine: as many processors as this one has."""
    count = os.cpu_count() or 1
    text = "\n".join(f"processor\t: {number}\n{spec.cpuinfo.strip()}\n" for number in range(count))
    path = place / _CPUINFO
    if path.is_file() and path.read_text() == text:
        return
    part = part_of(path)
    with disk(place):
        path.parent.mkdir(exist_ok=True)
        part.write_text(text)
        part.replace(path)
