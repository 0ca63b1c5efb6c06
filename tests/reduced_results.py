"""Reduced runtimes for tests, as ``runtime-build`` leaves them: any library with a record and a configuration of the test's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ortolan import digest
from ortolan.carried import CONFIG, CURRENT, PLACE, RECORD

KNOBS = {"exceptions": True, "static_cxx": True, "xnnpack": False, "extended": False}
SOURCE = {
    "name": "onnxruntime",
    "version": "1.21.0",
    "file": "onnxruntime.tar.xz",
    "digest": "sha256:" + "1" * 64,
    "licence": "MIT",
}


def put(target: Path, library: bytes, config: str, version: str, header: bytes = b"", **record: Any) -> Path:
    """Make ``library`` the current reduced runtime of the target whose builds lie in ``target``; its folder."""
    key = digest.of_bytes(library + config.encode() + json.dumps(record).encode())
    folder = target / PLACE / digest.short(key)
    (folder / "licences").mkdir(parents=True, exist_ok=True)
    (folder / "libonnxruntime.so").write_bytes(library)
    (folder / CONFIG).write_text(config)
    (folder / "licences" / "onnxruntime.txt").write_text("MIT License\n")
    if header:
        (folder / "onnxruntime_c_api.h").write_bytes(header)
    told = {
        "runtime_version": 1, "key": key, "onnxruntime": version, "platform": "linux/amd64",
        "config": digest.of_bytes(config.encode()), "sources": [SOURCE], "flags": {"onnxruntime_MINIMAL_BUILD": "ON"},
        "patches": [], "toolchain": {"compiler": "gcc", "version": "14.2.0", "packages": "sha256:" + "2" * 64}, "knobs": KNOBS,
        "library": {"file": "libonnxruntime.so", "digest": digest.of_bytes(library), "size": len(library)}, "needed": [],
        "symbol_versions": {},
    }  # fmt: skip
    (folder / RECORD).write_text(json.dumps(told | record))
    use(target, key)
    return folder


def use(target: Path, key: str) -> None:
    """Make another one the current one."""
    (target / PLACE / CURRENT).write_text(json.dumps({"key": key, "folder": digest.short(key)}))


def compiled(folder: Path, code: str, *flags: str, name: str = "it.so") -> Path:
    """A shared library from C."""
    source, made = folder / f"{name}.c", folder / name
    source.write_text(code)
    call = ["gcc", "-shared", "-fPIC", str(source), "-o", str(made), *flags]
    subprocess.run(call, check=True, capture_output=True, timeout=60)
    return made


def facts(**other: Any) -> Mapping[str, Any]:
    """What the stage that takes in a library tells of a good one."""
    elf = {
        "machine": "amd64", "soname": "libonnxruntime.so.1", "needed": ["libc.so.6"], "runpath": "",
        "versions": {"libc.so.6": ["GLIBC_2.34"]}, "symbols": {}, "stripped": True,
    }  # fmt: skip
    record = {"onnxruntime": "1.21.0", "platform": "linux/amd64", "knobs": KNOBS}
    return {"size": 1_284_264, "record": record, "elf": elf | other, "error": ""}
