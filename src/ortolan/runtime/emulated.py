"""A pinned runtime on an emulated machine: the same lock, with that machine's wheels, started by qemu's user mode.

It is a virtual environment whose ``bin/python`` starts the emulator, and so is used like any other: no root, chroot or binfmt.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import digest
from ..disk import disk, part_of, remove, sweep
from ..errors import RuntimeSetupError
from . import kept, programs, rootfs
from .make import Runtime, only_one
from .rootfs import Root
from .spec import RuntimeSpec
from .spec import find as find_spec
from .uv import uv

AT = "@"
"""Between the names of a runtime and of the machine that is emulated: ``onnxruntime-1.20.1@arm64``."""
_MARKER, _PROGRAMS = "ortolan.json", "programs.json"
_START = """#!/bin/sh
# Starts this environment's Python under emulation, over the root file system beside it.
here=${{0%/bin/python}}
exec {emulator} -cpu {cpu} -L "$here/../{root}" -0 "$0" "$here/../{root}/usr/bin/python{python}" -B "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Emulated(Runtime):
    """A runtime of another architecture. What identifies it has the emulator and the packages of the root file system in it."""

    root: Root

    @property
    def name(self) -> str:
        """The runtime's name and the machine's."""
        return f"{self.spec.name}{AT}{self.root.spec.name}"

    @property
    def identity(self) -> dict[str, Any]:
        """What two machines must share for the same key."""
        return {
            "lock": self.spec.lock_digest, "python": self.python, "platform": f"linux/{self.root.spec.machine}",
            "cpu": self.root.spec.cpu, "root": self.root.packages, "programs": dict(self.programs),
        }  # fmt: skip

    @property
    def cpu_features(self) -> tuple[str, ...]:
        """The emulated processor stands for its features."""
        return (self.root.spec.machine, self.root.spec.cpu)


def is_emulated(name: str) -> bool:
    """Whether a runtime of this name runs under emulation."""
    return AT in name


def ensure(name: str, folders: Sequence[Path], cache: Path, say: Callable[[str], object] = str) -> Emulated:
    """The runtime ``<runtime>@<machine>`` below ``cache``, made when it is missing or visibly broken, and its root file system.

    RuntimeSetupError when it cannot be made here, with what to install.
    """
    base, _, machine = name.partition(AT)
    spec, wanted = find_spec(base, folders), rootfs.find(machine, folders)
    emulator = wanted.emulator()
    if spec.python != wanted.python:
        why = f"it is locked for Python {spec.python}, {machine} has Python {wanted.python}"
        raise RuntimeSetupError(
            f"runtime {base} cannot be emulated", why=why, hint=f"./inv runtime-add locks for {wanted.python}"
        )
    cache = cache.resolve()  # the environment names the folder of its root file system
    root = rootfs.ensure(wanted, cache, say)
    place = _place(spec, root, emulator, cache)
    if _sound(place, root) is None:
        with only_one(cache / f"{place.name}.lock"):
            if _sound(place, root) is None:
                say(f"making runtime {name}: {spec.description}, for {wanted.machine}")
                _make(spec, root, emulator, place)
    used = programs.versions([Path(emulator).name], place / _PROGRAMS)
    return Emulated(spec, place / "bin" / "python", root.python, used, root=root)


def broken(runtime: Emulated) -> list[str]:
    """The damaged files of the environment and of its root file system; where there are some, it is made again on next use."""
    found: list[str] = []
    for place in (runtime.interpreter.parents[1], runtime.root.place):
        problems = kept.problems(place)
        if problems:
            remove(place)
        found += problems
    return found


def _place(spec: RuntimeSpec, root: Root, emulator: str, cache: Path) -> Path:
    named = {"lock": spec.lock_digest, "root": root.place.name, "packages": root.packages, "emulator": emulator}
    return cache / f"{spec.name}-{root.spec.name}-{digest.short(digest.of_json('emulated', named))}"


def _sound(place: Path, root: Root) -> Mapping[str, Any] | None:
    """The marker, when the wrapper is there, its home is where it says, and no package is missing."""
    try:
        marker: dict[str, Any] = json.loads((place / _MARKER).read_text())
        there = {path.name for path in (place / marker["packages"]).iterdir()}
        whole = set(marker["entries"]) <= there and os.access(place / "bin" / "python", os.X_OK)
    except (OSError, ValueError, KeyError):
        return None
    return marker if whole and marker["home"] == str(root.programs) else None


def _make(spec: RuntimeSpec, root: Root, emulator: str, place: Path) -> None:
    sweep(place.parent)
    part = part_of(place)
    packages = Path("lib") / f"python{spec.python}" / "site-packages"
    with disk(place.parent):
        try:
            _begin(spec, root, emulator, part)
            _install(spec, root, part / packages)
            _starts(spec, part)
            rootfs.compile_for(spec.python, [part / packages])
            entries = sorted(path.name for path in (part / packages).iterdir())
            marker = {"packages": packages.as_posix(), "entries": entries, "home": str(root.programs)}
            kept.remember(part)
            (part / _MARKER).write_text(json.dumps(marker))
            remove(place)
            part.rename(place)
        finally:
            remove(part)


def _begin(spec: RuntimeSpec, root: Root, emulator: str, part: Path) -> None:
    """What makes a folder a virtual environment (PEP 405), and the script in its interpreter's place."""
    start = part / "bin" / "python"
    start.parent.mkdir(parents=True)
    start.write_text(_START.format(emulator=emulator, cpu=root.spec.cpu, root=root.place.name, python=spec.python))
    start.chmod(0o755)
    (part / "pyvenv.cfg").write_text(f"home = {root.programs}\ninclude-system-site-packages = false\nversion = {root.python}\n")


def _install(spec: RuntimeSpec, root: Root, to: Path) -> None:
    where = ["--target", str(to), "--python-version", spec.python, "--python-platform", f"{root.spec.machine}-unknown-linux-gnu"]
    checked = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--link-mode", "copy"]
    uv(
        ["pip", "install", "--quiet", *where, *checked, "-r", str(spec.lock)],
        doing=f"runtime {spec.name} for {root.spec.machine}",
    )
    remove(to / "bin")
    remove(to / ".lock")


def _starts(spec: RuntimeSpec, part: Path) -> None:
    """The locked version of ONNX Runtime is what the emulator imports."""
    if "onnxruntime" not in spec.packages():
        return
    asked = [str(part / "bin" / "python"), "-I", "-c", "import onnxruntime; print(onnxruntime.__version__)"]
    done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode or done.stdout.strip() != spec.packages()["onnxruntime"]:
        why = done.stderr.strip()[-400:] or f"exit code {done.returncode}, version {done.stdout.strip()!r}"
        raise RuntimeSetupError(f"runtime {spec.name} does not start under emulation", why=why)
