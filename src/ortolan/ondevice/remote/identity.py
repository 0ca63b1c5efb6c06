"""Prints, as JSON, what a step's result may depend on here: the board, the interpreter, its packages, the GPU and TensorRT.

    python3 identity.py [tensorrt | tensorrt_rtx]...

``about.py`` and ``build_engine.py`` lie beside this file. Needs Python 3.8 or newer. What is not here is told in words.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import struct
import subprocess
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Iterator, Sequence

import about  # type: ignore[import-not-found]  # beside this file, on the device
import build_engine  # type: ignore[import-not-found]

MATTERS = re.compile(r"(onnxruntime|numpy|tensorrt|nvidia)", re.IGNORECASE)
"""The beginnings of the names of packages that numbers depend on."""
UNITS = ("etc/machine-id", "proc/device-tree/serial-number", "sys/class/dmi/id/product_uuid")
ONNXRUNTIME = "import onnxruntime as ort; print(ort.__version__); print(*ort.get_available_providers())"


def packages() -> dict[str, dict[str, str]]:
    """Versions, and a digest of each package's list of files with their sizes and times: it changes when a file is written."""
    found = {}
    for one in metadata.distributions():
        name = one.metadata["Name"] or ""
        if MATTERS.match(name):
            found[name.lower()] = {"version": one.version, "files": stamp(one)}
    return dict(sorted(found.items()))


def stamp(one: metadata.Distribution) -> str:
    """Of the files that the package lists."""
    hashed = hashlib.sha256()
    for file in (each for each in one.files or [] if each.suffix != ".pyc"):  # the interpreter writes those as it likes
        hashed.update(f"{file} {file.hash and file.hash.value} {written(Path(str(file.locate())))}\n".encode())
    return hashed.hexdigest()[:32]


def written(path: Path) -> str:
    """A file's size and time."""
    try:
        told = path.stat()
    except OSError:
        return "absent"
    return f"{told.st_size} {told.st_mtime_ns}"


def unit() -> str:
    """A number of this very machine, from which its serial numbers cannot be told."""
    machine = about.Machine(Path("/"))
    return hashlib.sha256("\n".join([platform.node(), *map(machine.text, UNITS)]).encode()).hexdigest()[:16]


def onnxruntime() -> dict[str, Any]:
    """Its version and providers; asked of another process, as its import may end one."""
    done = subprocess.run([sys.executable, "-s", "-c", ONNXRUNTIME], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    lines = done.stdout.decode(errors="replace").split("\n")
    if done.returncode or len(lines) < 2:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return {"version": "", "providers": [], "package": "", "why": said[-1] if said else f"exit code {done.returncode}"}
    names = [one.metadata["Name"] for one in metadata.distributions() if MATTERS.match(one.metadata["Name"] or "")]
    named = [name for name in names if name.lower().startswith("onnxruntime") and "_ep" not in name and "-ep" not in name]
    return {"version": lines[0], "providers": lines[1].split(), "package": named[0] if len(named) == 1 else "", "why": ""}


def library(name: str) -> dict[str, str]:
    """A builder of engines: its version, and by what it is used; or why it cannot be."""
    try:
        return {"version": str(build_engine.load_library(name).__version__), "by": "python", "why": ""}
    except build_engine.BuildError as error:
        version = trtexec() if name == build_engine.TENSORRT else ""
        return {"version": version, "by": "trtexec" if version else "", "why": "" if version else str(error)}
    except Exception as error:  # noqa: BLE001  whatever a broken installation raises
        return {"version": "", "by": "", "why": f"{type(error).__name__}: {error}"}


def trtexec() -> str:
    """The version that trtexec tells."""
    path = next((one for one in (*found("trtexec"), "/usr/src/tensorrt/bin/trtexec") if os.access(one, os.X_OK)), "")
    if not path:
        return ""
    done = subprocess.run([path, "--onnx=/no-such-model.onnx"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    said = re.search(r"\[I\] TensorRT version: *([\d.]+)", (done.stdout + done.stderr).decode(errors="replace"))
    return said[1] if said else ""


def found(name: str) -> Iterator[str]:
    """Where steps look for programs."""
    yield from (f"{folder}/{name}" for folder in ("/usr/bin", "/bin"))


def gpu() -> dict[str, Any]:
    """The first GPU, by CUDA's driver."""
    try:
        return {**asdict(build_engine.find_device()), "why": ""}
    except build_engine.BuildError as error:
        return {"gpu": "", "compute_capability": "", "multiprocessors": 0, "cuda": "", "why": str(error)}


def driver(machine: Any) -> str:
    """NVIDIA's kernel module, in its own words: its version, and the compiler that made it; empty where there is none."""
    return str(machine.text("proc/driver/nvidia/version"))


def main(libraries: Sequence[str]) -> int:
    """Print everything."""
    machine = about.Machine(Path("/"))
    told = {
        "board": machine.board(),
        "system": machine.system(),
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
        "unit": unit(),
        "processor": machine.processor()["name"],
        "jetson": machine.jetson(),
        "power": about.power(),
        "python": {"path": sys.executable, "version": platform.python_version()},
        "packages": packages(),
        "onnxruntime": onnxruntime(),
        "libraries": {name: library(name) for name in libraries},
        "gpu": gpu(),
        "driver": driver(machine),
    }
    print(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
