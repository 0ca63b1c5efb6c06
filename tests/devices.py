"""A device for tests: a temporary root folder, a key that it trusts, and ortolan-device as a module and as a program."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from conftest import ROOT
from releases import MODEL, TARGET, Key, digest, make_key

PROGRAM = ROOT / "device" / "ortolan-device"
REFUSED, BUSY = 3, 4


def load() -> Any:
    """The program as a module."""
    name = "ortolan_device"
    if name not in sys.modules:
        spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, str(PROGRAM)))
        assert spec is not None
        assert spec.loader is not None
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
        sys.dont_write_bytecode = before
    return sys.modules[name]


@dataclass
class Device:
    """What is below one root folder."""

    root: Path
    key: Key

    def configure(self, **settings: Any) -> None:
        """Add settings to config.json."""
        path = self.root / "config.json"
        path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | settings))

    def command(self, *words: str | Path) -> list[str]:
        """The program with its root folder."""
        return [sys.executable, str(PROGRAM), *map(str, words), "--root", str(self.root)]

    def call(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=120)

    def ok(self, *words: str | Path) -> dict[str, Any]:
        """What a call that succeeds says as JSON."""
        done = self.call(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["ok"]
        return found

    def fails(self, *words: str | Path, code: int = REFUSED) -> dict[str, Any]:
        """What a call that fails says as JSON."""
        done = self.call(*words, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert not found["ok"]
        assert found["what"]
        return found

    def inside(self, *words: str | Path) -> dict[str, Any]:
        """The same without a process of its own: the result, or what went wrong."""
        module = load()
        told = module.parser().parse_args([*map(str, words), "--root", str(self.root)])
        try:
            found: dict[str, Any] = told.run(module.load_config(self.root, {}), told)
        except module.Problem as problem:
            found = problem.told() | {"code": problem.code}
        return found

    def status(self, *words: str) -> dict[str, Any]:
        """Of the one model."""
        (found,) = self.inside("status", *words)["models"]
        assert isinstance(found, dict)
        return found

    @property
    def folder(self) -> Path:
        """The model's."""
        return self.root / MODEL

    def running(self) -> str:
        """The digest of release.json in the slot that programs find, when every file in it is whole; empty without a slot."""
        if not (self.folder / "current").exists():
            return ""
        slot = (self.folder / "current").resolve()
        described = (slot / ".ortolan" / "release.json").read_bytes()
        wanted = {path: (part["digest"], part["executable"]) for path, part in json.loads(described)["files"].items()}
        names = {str(path.relative_to(slot)) for path in slot.rglob("*") if path.is_file()}
        assert names == set(wanted) | {f".ortolan/{name}" for name in ("SHA256SUMS", "SHA256SUMS.sig", "release.json")}
        for path, (sum_, executable) in wanted.items():
            assert digest((slot / path).read_bytes()) == sum_
            assert bool((slot / path).stat().st_mode & 0o111) == executable
        return digest(described)


def make_device(folder: Path, **settings: Any) -> Device:
    """A new device that trusts a new key."""
    key = make_key(folder / "keys")
    root = folder / "device"
    root.mkdir()
    (root / "allowed_signers").write_bytes(key.signers.read_bytes())
    device = Device(root, key)
    device.configure(**{"target": TARGET, "retry_seconds": 0.01} | settings)
    return device


def released(folder: Path) -> str:
    """The digest of a release folder's description."""
    return digest((folder / "release.json").read_bytes())
