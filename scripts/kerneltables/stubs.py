"""Stands in for the CUDA and TensorRT libraries that a wheel links and this machine lacks, so that it can list its kernels.

Every function returns 0 and does nothing. Good for registration tables only: a session on them would be nonsense.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

_LIBRARIES = ("libonnxruntime_providers_cuda.so", "libonnxruntime_providers_tensorrt.so")
_SYSTEM = re.compile(r"GLIBC|GCC_|CXXABI")  # versions of symbols that the system's own libraries have
_HOST = "Provider_GetHost"  # of the wheel's libonnxruntime_providers_shared.so
_DRIVER = "libcuda.so.1"  # looked up at run time by 1.20, so it is in no list of needed libraries
_DRIVER_CALL = re.compile(rb"\0(cu[A-Z][A-Za-z0-9_]+)(?=\0)")


def make(capi: Path, folder: Path) -> None:
    """Compile a stub for each missing library into ``folder``, which then belongs into LD_LIBRARY_PATH. Needs gcc and nm."""
    libraries = [capi / name for name in _LIBRARIES if (capi / name).exists()]
    wanted = _wanted(libraries)
    plain = wanted.pop("", set())
    for place, name in enumerate(sorted(wanted)):
        _compile(folder, name, wanted[name] | (plain if not place else set()))


def _wanted(libraries: list[Path]) -> dict[str, set[str]]:
    """Functions by library; a symbol's version is the name of its library, ``""`` for those without one."""
    found: dict[str, set[str]] = {_DRIVER: set()}
    for library in libraries:
        for line in _run("ldd", str(library)).splitlines():
            if "not found" in line:
                found.setdefault(line.split()[0], set())
        for symbol in _undefined(library):
            name, _, version = symbol.partition("@")
            if name != _HOST and not _SYSTEM.match(version.lstrip("@")):
                found.setdefault(version.lstrip("@"), set()).add(name)
        found[_DRIVER] |= {name.decode() for name in _DRIVER_CALL.findall(library.read_bytes())}
    return found


def _undefined(library: Path) -> list[str]:
    rows = (line.split() for line in _run("nm", "-D", "--undefined-only", str(library)).splitlines())
    return [row[-1] for row in rows if row[-2] == "U"]


def _compile(folder: Path, name: str, functions: set[str]) -> None:
    source, versions = folder / f"{name}.c", folder / f"{name}.map"
    source.write_text("\n".join(f"void *{function}(void) {{ return 0; }}" for function in sorted(functions)))
    versions.write_text(f"{name} {{ global: *; }};\n")
    _run(
        "gcc",
        "-shared",
        "-fPIC",
        "-w",
        f"-Wl,-soname,{name}",
        f"-Wl,--version-script={versions}",
        "-o",
        str(folder / name),
        str(source),
    )


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def environment(folder: Path, base: Mapping[str, str]) -> dict[str, str]:
    """The environment in which the wheel finds the stubs."""
    return {**base, "LD_LIBRARY_PATH": str(folder)}
