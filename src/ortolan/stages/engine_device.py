"""Carries out an engine kit on the device that runs the engine: by TensorRT's Python module, else by trtexec."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib.kit import build_engine

INPUTS = ("model", "kit", "script", "timings?")
PARAMS = ("file",)
OUTPUTS = ("model.engine", "engine.json", "timing.cache?")

_ENGINES = "engines"


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``kit`` is the kit's ``engine.json``, ``script`` its ``build_engine.sh``, ``timings`` an earlier build's timing cache.

    ``file`` is what the engine is called in the bundle. ``engine.json`` is the record that the script leaves, ``timing.cache``
    the timings of its kernels. Facts: that record, and ``name``, the engine's on a device that builds it itself. BuildError,
    which no store keeps, says what the device lacks.
    """
    place = Path("kit").resolve()
    place.mkdir()
    kit = _kit(inputs, place)
    engine, cache = _build(kit, inputs.get("timings"), place / _ENGINES)
    record = engine.with_suffix(".json")
    if not build_engine.fits(engine, record, kit):
        raise build_engine.BuildError(f"{record.name} does not fit {engine.name}: what was written is not what was built")
    shutil.copyfile(str(engine), str(out / "model.engine"))
    if cache is not None and cache.is_file():
        shutil.copyfile(str(cache), str(out / "timing.cache"))
    facts = {"library": kit.library, **json.loads(record.read_text(encoding="utf-8")), "name": engine.name}
    facts["engine"]["file"] = params["file"]
    facts["onnxruntime"] = build_engine.ort_options(kit, engine.stem, Path(_ENGINES))
    gpu = facts["device"]
    facts["device_text"] = build_engine.device_text(
        build_engine.Device(gpu["gpu"], gpu["compute_capability"], gpu["multiprocessors"], "")
    )
    (out / "engine.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return facts


def _kit(inputs: Mapping[str, Path], place: Path) -> build_engine.Kit:
    """The kit's folder, as a bundle has it."""
    name = json.loads(inputs["kit"].read_text(encoding="utf-8"))["model"]["file"]
    for path, to in ((inputs["kit"], "engine.json"), (inputs["model"], name), (inputs["script"], "build_engine.sh")):
        (place / to).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(path), str(place / to))
    return build_engine.read_kit(place)


def _build(kit: build_engine.Kit, timings: Path | None, engines: Path) -> tuple[Path, Path | None]:
    """The engine and the file of timings."""
    try:
        library = build_engine.load_library(kit.library)
    except build_engine.BuildError as error:
        if kit.library != build_engine.TENSORRT:
            raise
        return _by_trtexec(kit, timings, engines, str(error))
    device = kit.device()
    engine = build_engine.build(library, kit, device, engines, timings)
    return engine, engines / build_engine.timing_name(kit.library, library.__version__, device)


def _by_trtexec(kit: build_engine.Kit, timings: Path | None, engines: Path, why: str) -> tuple[Path, Path | None]:
    """The engine by the kit's shell script, which wants no module of Python."""
    command = ["bash", str(kit.folder / "build_engine.sh"), str(engines)]
    given = [*command, *([str(timings)] if timings else [])]
    done = subprocess.run(given, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603  the kit's own script
    said = done.stderr.decode(errors="replace").strip()
    print(said)  # noqa: T201  the log of the step
    if done.returncode:
        raise build_engine.BuildError(f"{said.splitlines()[-1] if said else 'build_engine.sh failed'}; {why}")
    engine = Path(done.stdout.decode().strip())
    return engine, next(iter(sorted(engines.glob("timing-*.cache"))), None)
