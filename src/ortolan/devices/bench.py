"""Time what a build made, here or on a host, and tie the numbers to the files' digests and to what the machine is."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

from .. import digest, manifest
from ..artifact import FP32
from ..disk import json_bytes
from ..errors import OrtolanError, StoreError
from ..manifest import Manifest
from ..place import Errand, Host, HostError
from ..place.host import PYTHON
from ..store import Store
from .describe import About
from .laid import lay

VERSION = 3
_REMOTE = Path(__file__).parent / "remote"
_PROGRAM, _ONE = _REMOTE / "turns.py", _REMOTE / "bench.py"
_BESIDE = ("session.json", "golden.json", "golden.bin")
MODELS, SESSION = ("model.onnx", "model.ort"), "session.json"
_WEIGHTS = "model.onnx.data"
_PRECISIONS = ("fp32", "int8-dynamic", "int8-weights", "int4-weights", "int8", "fp16")


@dataclass(frozen=True)
class Subject:
    """A model file to time: its name, precision and digest; ``weights`` are in a file of their own, where there is one."""

    name: str
    precision: str
    digest: str
    path: Path
    ships: bool
    weights: Path | None = None

    @property
    def place(self) -> str:
        """Its path where it is timed: models of several precisions call their weights alike."""
        return self.name if self.ships else f"{self.precision}/{self.name}"

    @property
    def files(self) -> dict[str, Path]:
        """Its files by their paths there."""
        beside = {str(Path(self.place).with_name(_WEIGHTS)): self.weights} if self.weights else {}
        return {self.place: self.path, **beside}


@dataclass(frozen=True)
class Work:
    """What is timed: a build's models, for so many seconds each at the most."""

    folder: Path
    built: Manifest
    subjects: list[Subject]
    seconds: float


def work(folder: Path, store: Store, scratch: Path, seconds: float) -> Work:
    """The models of a build, and beside them those of other precisions that the build compared and did not ship."""
    built = manifest.read(folder / manifest.NAME)
    digests = {one.name: one.digest for one in built.artifacts}
    weights = folder / _WEIGHTS if _WEIGHTS in digests else None
    shipped = [
        Subject(name, built.precision, digests[name], folder / name, ships=True, weights=weights)
        for name in MODELS
        if name in digests
    ]
    if not shipped or not {*_BESIDE} <= set(digests):
        what = f"{built.tag} has nothing that can be timed"
        raise OrtolanError(what, where=str(folder), why=f"it needs a model and {', '.join(_BESIDE)}")
    return Work(folder, built, [*shipped, *_others(built, store, scratch)], seconds)


def _others(built: Manifest, store: Store, scratch: Path) -> Iterator[Subject]:
    """The candidates that the build verified and did not ship, as far as the store still has them."""
    found: dict[str, str] = {}
    for step in built.steps:
        words = re.findall(r"[\w-]+", step.label.partition(": ")[2]) if step.stage == "verify" else []
        found |= {word: step.inputs["model"] for word in words if word in _PRECISIONS}
    for precision in sorted(set(found) - {built.precision}):
        path = scratch / f"{precision}.onnx"
        with suppress(StoreError, OSError):
            store.fetch(found[precision], path)
            weights = _weights(built, found[precision], store, scratch / f"{precision}.data")
            yield Subject(path.name, precision, found[precision], path, ships=False, weights=weights)


def _weights(built: Manifest, model: str, store: Store, to: Path) -> Path | None:
    """The weights that the step which made a model left beside it; None where they stand in the model. StoreError."""
    made = next((one.outputs for one in built.steps if one.outputs.get(MODELS[0]) == model), {})
    if _WEIGHTS not in made:
        return None
    store.fetch(made[_WEIGHTS], to, shared=True)
    return to


def errand(wanted: Work, scratch: Path) -> Errand:
    """The program with its files."""
    request = {"models": {one.name: one.place for one in wanted.subjects}, "seconds": wanted.seconds}
    (scratch / "bench.json").write_bytes(json_bytes(request))
    beside = {name: wanted.folder / name for name in _BESIDE}
    models = {name: path for one in wanted.subjects for name, path in one.files.items()}
    return Errand(
        command=(PYTHON, _PROGRAM.name, "."),
        files={_PROGRAM.name: _PROGRAM, _ONE.name: _ONE, "bench.json": scratch / "bench.json", **beside, **models},
        limit=len(wanted.subjects) * (240 + 5 * wanted.seconds),
        outputs=("said.json", "log.txt"),
        stdout="said.json",
    )


def on_host(host: Host, wanted: Work) -> Mapping[str, Any]:
    """The program's answer from a host: results by file name."""
    with tempfile.TemporaryDirectory() as name:
        ended = host.run(asked := errand(wanted, Path(name)), Path(name))
        if ended.late:
            raise HostError(f"the bench was not over after {asked.limit:g} s", where=host.address)
        return _read(Path(name, "said.json").read_text(), Path(name, "log.txt").read_text(errors="replace"), host.address)


def here(python: Path, wanted: Work) -> Mapping[str, Any]:
    """The same of this machine."""
    with tempfile.TemporaryDirectory() as name:
        asked = errand(wanted, Path(name))
        lay(asked.files, Path(name))
        try:
            done = subprocess.run(  # noqa: S603  a pinned runtime's interpreter, or the one that the user named
                [python, name + "/" + _PROGRAM.name, "."], cwd=name, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", check=False, timeout=asked.limit,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OrtolanError("the bench did not end", where=str(python), why=str(error)) from None
        return _read(done.stdout, done.stderr, str(python))


def _read(said: str, log: str, where: str) -> Mapping[str, Any]:
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        why = (log.strip().splitlines() or ["it printed nothing"])[-1]
        raise HostError("the bench did not run", where=where, why=why) from None
    return found


# --- what is kept ---------------------------------------------------------------------------------------------------


def identity(about: About) -> dict[str, Any]:
    """What of a machine its numbers depend on; two of the same make and software have the same."""
    facts = about["facts"] or {}
    runtime = facts.get("runtime", {})
    kept: dict[str, Any] = {"emulated": about["emulated"]} if "emulated" in about else {}
    kept |= {key: about[key] for key in ("board", "system", "kernel", "jetson", "processor", "cuda", "power", "gpus")}
    engines = {key: one["values"] for key, one in facts.get("engines", {}).items() if one["values"]}
    ort = {key: runtime.get(key, "") for key in ("package", "version")}
    return {**kept, "memory": about["memory"]["total"], "engines": engines, "onnxruntime": ort}


def result(wanted: Work, device: str, about: About, found: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a bench."""
    what = identity(about)
    return {
        "bench_version": VERSION,
        "target": wanted.built.target.name,
        "model": wanted.built.model.name,
        "tag": wanted.built.tag,
        "platform": {"wanted": wanted.built.target.platform, "found": _platform(about)},
        "device": {"name": device, "digest": digest.of_json("device", what), **what},
        "session": next(one.digest for one in wanted.built.artifacts if one.name == SESSION),
        "seconds": wanted.seconds,
        "results": [_told(one, found["models"].get(one.name, {"error": "no result"})) for one in wanted.subjects],
        "comparisons": list(comparisons(wanted.subjects, found["rounds"])),
    }


def _told(one: Subject, found: Mapping[str, Any]) -> dict[str, Any]:
    return {"file": one.name, "precision": one.precision, "digest": one.digest, "ships": one.ships, **found}


def comparisons(subjects: Sequence[Subject], rounds: Mapping[str, Sequence[float]]) -> Iterator[dict[str, Any]]:
    """Each other precision against fp32, and ``.ort`` against ``.onnx``: how many times as fast, by the rounds of all in turns.

    ``low`` and ``high`` are the quartiles of the rounds' ratios.
    """
    onnx = {one.precision: one for one in subjects if one.name.endswith(".onnx") and rounds.get(one.name)}
    pairs = [(one, onnx[FP32], FP32) for precision, one in onnx.items() if precision != FP32 and FP32 in onnx]
    same = [one for one in subjects if one.name.endswith(".ort") and rounds.get(one.name) and one.precision in onnx]
    for one, other, than in [*pairs, *((one, onnx[one.precision], "onnx") for one in same)]:
        ratios = [theirs / ours for ours, theirs in zip(rounds[one.name], rounds[other.name], strict=True)]
        low, middle, high = quantiles(ratios, method="inclusive")
        yield {
            "file": one.name, "precision": one.precision, "than": than, "against": other.name,
            "median": middle, "low": low, "high": high, "rounds": len(ratios),
        }  # fmt: skip


def _platform(about: About) -> str:
    found = about["facts"]["platform"]
    return f"{found['os']}/{found['architecture']}"
