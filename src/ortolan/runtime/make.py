"""Make a pinned environment on first use, check it on later ones, make it again when it is broken."""

from __future__ import annotations

import base64
import csv
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import digest
from ..errors import RuntimeSetupError
from ..platforms import cpu_features, machine
from . import npm, programs
from .spec import RuntimeSpec
from .uv import uv

_MARKER = "ortolan.json"
_PROGRAMS = "programs.json"


@dataclass(frozen=True)
class Runtime:
    """A runtime that exists: its interpreter and what identifies it.

    ``identity`` (lock digest, interpreter, platform, system programs) is what ``fingerprint`` is the digest of. ``programs``
    maps the system's programs that the runtime uses to their versions here, ``absent`` where one is not installed.
    """

    spec: RuntimeSpec
    interpreter: Path
    python: str
    programs: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The runtime's name."""
        return self.spec.name

    @property
    def identity(self) -> dict[str, Any]:
        """What two machines must share for the same key."""
        own = {"lock": self.spec.lock_digest, "python": self.python, "platform": f"{sys.platform}/{machine()}"}
        return own | ({"programs": dict(self.programs)} if self.programs else {})

    @property
    def fingerprint(self) -> str:
        """The digest of the identity."""
        return digest.of_json("runtime", self.identity)

    @property
    def cpu_features(self) -> tuple[str, ...]:
        """Features of the processor that this runtime's sessions run on."""
        return cpu_features()


def ensure(spec: RuntimeSpec, folder: Path, say: Callable[[str], object] = str) -> Runtime:
    """The environment of ``spec`` below ``folder``, made when it is missing or visibly broken.

    ``say`` is told when something is made, which takes seconds to minutes. RuntimeSetupError when it cannot be made.
    """
    place = _place(spec, folder)
    marker = _sound(place)
    if marker is None:
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(folder / f"{place.name}.lock"):
            marker = _sound(place)
            if marker is None:
                say(f"making runtime {spec.name}: {spec.description}")
                marker = _make(spec, place)
    used = programs.versions(spec.programs, place / _PROGRAMS) if spec.programs else {}
    return Runtime(spec, place / "bin" / "python", marker["python"], used)


def _place(spec: RuntimeSpec, folder: Path) -> Path:
    return folder / f"{spec.name}-{digest.short(spec.lock_digest)}"


def _sound(place: Path) -> dict[str, Any] | None:
    """The marker, when the environment has it, its interpreter starts where it says, and no package folder is missing."""
    try:
        marker: dict[str, Any] = json.loads((place / _MARKER).read_text())
        packages = place / marker["packages"]
        whole = set(marker["entries"]) <= {path.name for path in packages.iterdir()}
        whole &= not marker.get("npm") or set(marker["npm"]) <= set(npm.entries(place))
        runs = os.access(place / "bin" / "python", os.X_OK) and marker["interpreter"] == _interpreter(place)
    except (OSError, ValueError, KeyError):
        return None
    return marker if whole and runs else None


def _interpreter(place: Path) -> list[str | int]:
    """Which program the environment starts; an upgrade of the system's Python changes it, and with it the numbers."""
    program = (place / "bin" / "python").resolve(strict=True)
    return [str(program), program.stat().st_size, program.stat().st_mtime_ns]


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Wait until no other process is between these lines with the same file."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _make(spec: RuntimeSpec, place: Path) -> dict[str, Any]:
    part = place.with_name(place.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    doing = f"runtime {spec.name}"
    try:
        uv(["venv", "--quiet", "--relocatable", "--python", spec.python, str(part)], doing=doing)
        uv(
            [
                "pip",
                "install",
                "--quiet",
                "--compile-bytecode",  # a confined step cannot write it, and TensorFlow takes three times as long without
                "--link-mode",
                "copy",
                *_sources(spec),
                "--python",
                str(part / "bin" / "python"),
                *_locked(spec, part),
            ],
            doing=doing,
        )
        marker = _describe(spec, part)
        if spec.npm:
            npm.install(spec.npm.parent, part, part / marker["packages"], doing=doing)
            marker["npm"] = npm.entries(part)
        (part / _MARKER).write_text(json.dumps(marker))
        shutil.rmtree(place, ignore_errors=True)
        part.rename(place)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return marker


def _sources(spec: RuntimeSpec) -> list[str]:
    given = any(os.environ.get(name) for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"))
    return ["--torch-backend", "cpu"] if spec.local and not given else []


def _locked(spec: RuntimeSpec, part: Path) -> list[str]:
    """The lock as uv wants it: on Linux a package's local version is written out, since uv matches hashes by version."""
    text = spec.lock.read_text()
    for package, label in spec.local.items() if sys.platform == "linux" else ():
        text = re.sub(rf"^({re.escape(package)}==[^\s+]+)(?=\s)", rf"\1+{label}", text, flags=re.MULTILINE)
    lock = part / "requirements.txt"
    lock.write_text(text)
    return ["--no-deps", "--require-hashes", "-r", str(lock)]


def _describe(spec: RuntimeSpec, part: Path) -> dict[str, Any]:
    ask = "import platform, sysconfig; print(platform.python_version()); print(sysconfig.get_path('purelib'))"
    said = subprocess.run([part / "bin" / "python", "-I", "-c", ask], capture_output=True, text=True, check=False)  # noqa: S603
    if said.returncode:
        raise RuntimeSetupError("the new interpreter does not start", where=f"runtime {spec.name}", why=said.stderr.strip())
    version, packages = said.stdout.split("\n")[:2]
    inside = Path(packages).resolve().relative_to(part.resolve())
    return {
        "lock": spec.lock_digest,
        "python": version,
        "packages": str(inside),
        "entries": sorted(path.name for path in Path(packages).iterdir()),
        "interpreter": _interpreter(part),
    }


def state(spec: RuntimeSpec, folder: Path, *, check: bool) -> str:
    """``not made``, ``made``, or after reading every file (``check``) ``sound`` or how many files are damaged."""
    place = _place(spec, folder)
    if _sound(place) is None:
        return "broken: made again on next use" if place.exists() else "not made"
    if not check:
        return "made"
    found = problems(Runtime(spec, place / "bin" / "python", spec.python))
    return f"damaged: {len(found)} files, such as {found[0]}" if found else "sound"


def problems(runtime: Runtime) -> list[str]:
    """Files of the environment that are missing or have other bytes than their package's RECORD says; npm's, than at first."""
    marker = _sound(runtime.interpreter.parents[1])
    if marker is None:
        return [_MARKER]
    packages = runtime.interpreter.parents[1] / marker["packages"]
    rows = (row for record in sorted(packages.glob("*.dist-info/RECORD")) for row in csv.reader(record.open()))
    found = [path for path, hashed, *_ in rows if hashed and not _matches(packages / path, hashed)]
    return found + (npm.problems(runtime.interpreter.parents[1]) if runtime.spec.npm else [])


def _matches(path: Path, hashed: str) -> bool:
    kind, _, wanted = hashed.partition("=")
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == wanted


def broken(runtime: Runtime) -> list[str]:
    """The same as ``problems``; an environment that has some is removed, so that the next ``ensure`` makes it again.

    An interpreter that ``ensure`` did not make is nobody's to judge or to remove: it has none.
    """
    place = runtime.interpreter.parents[1]
    if place.name != _place(runtime.spec, place.parent).name:
        return []
    found = problems(runtime)
    if found:
        shutil.rmtree(place, ignore_errors=True)
    return found
