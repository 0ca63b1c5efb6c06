"""Build this model's TensorRT engine on the device that will run it; needs Python 3.8, TensorRT's module and nothing else.

    python3 build_engine.py [--out FOLDER] [--timings FILE] [--options]

``engine.json`` beside this file says what to build, and with which library: TensorRT, or TensorRT-RTX, which has the same module
under another name and also builds for GPUs that are not here. The engine's name tells the model, the settings, the library's
version and the GPU; an engine that is there under that name, with a record that fits, is not built again.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib
import importlib.util
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable

TENSORRT, RTX = "tensorrt", "tensorrt_rtx"
TITLES = {TENSORRT: "TensorRT", RTX: "TensorRT-RTX"}
MAJORS = {TENSORRT: (10, 11), RTX: (1,)}
"""The major versions that a kit knows, by library."""
SHORT = {TENSORRT: "trt", RTX: "trtrtx"}
"""What stands before the library's version in names."""
_COUNT_SM, _CC_MAJOR, _CC_MINOR = 16, 75, 76  # CUdevice_attribute of cuda.h


class BuildError(Exception):
    """Why there is no engine, in words."""


@dataclass(frozen=True)
class Device:
    """A GPU: its name, compute capability as ``8.7``, number of multiprocessors, and the newest CUDA that its driver takes.

    Of one that is not here, the compute capability alone.
    """

    gpu: str
    compute_capability: str
    multiprocessors: int
    cuda: str


def settings_digest(settings: dict[str, Any]) -> str:
    """12 hex digits for all settings that change an engine."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def engine_stem(tag: str, model_sha256: str, digest: str, library: str, device: str) -> str:
    """The engine's name less its suffix: whatever changes the engine changes this. ``library`` is ``trt10.3.0``."""
    return "-".join([tag, model_sha256[:12], digest, library, device])


def device_text(device: Device) -> str:
    """``orin-sm87-16sms``: Jetson Orin modules share a name and a capability, and differ in multiprocessors. Or ``sm86``."""
    if not device.multiprocessors:
        return f"sm{device.compute_capability.replace('.', '')}"
    name = re.sub(r"[^a-z0-9]+", "-", device.gpu.lower()).strip("-") or "gpu"
    return f"{name}-sm{device.compute_capability.replace('.', '')}-{device.multiprocessors}sms"


def three(version: str) -> str:
    """``10.3.0`` of ``10.3.0.26``: what trtexec, too, tells."""
    return ".".join(version.split(".")[:3])


def find_device() -> Device:
    """The first GPU, as CUDA's driver describes it."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise BuildError(f"CUDA's driver is not here ({error}): run this on the device") from None
    number, version = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    _call(cuda, "cuInit", 0)
    _call(cuda, "cuDeviceGet", ctypes.byref(number), 0)
    _call(cuda, "cuDeviceGetName", name, len(name), number)
    _call(cuda, "cuDriverGetVersion", ctypes.byref(version))
    major, minor, count = (_attribute(cuda, which, number) for which in (_CC_MAJOR, _CC_MINOR, _COUNT_SM))
    newest = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Device(name.value.decode(errors="replace"), f"{major}.{minor}", count, newest)


def _attribute(cuda: Any, which: int, number: Any) -> int:
    value = ctypes.c_int()
    _call(cuda, "cuDeviceGetAttribute", ctypes.byref(value), which, number)
    return value.value


def _call(cuda: Any, name: str, *arguments: Any) -> None:
    code = getattr(cuda, name)(*arguments)
    if code:
        raise BuildError(f"CUDA's driver answers {name} with error {code}: is there a GPU, and may you use it?")


def make_logger(trt: Any) -> Any:
    """A logger of TensorRT that keeps warnings and errors: ``.lines`` holds ``(severity, text)``."""

    class Kept(trt.ILogger):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[tuple[str, str]] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.WARNING:
                self.lines.append((str(severity).rsplit(".", maxsplit=1)[-1], message))

    return Kept()


def errors(logger: Any) -> str:
    """What TensorRT complained of, less what led to nothing."""
    return "; ".join(dict.fromkeys(" ".join(text.split()) for severity, text in logger.lines if "ERROR" in severity))


def parse(trt: Any, logger: Any, model: bytes, settings: dict[str, Any]) -> tuple[Any, Any]:
    """TensorRT's builder, and the network of the model. Strongly typed: the model's own types decide, and nothing else."""
    builder = trt.Builder(logger)
    flag = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag if strongly_typed(settings, trt.__version__) else 0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        said = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise BuildError(f"TensorRT's parser refuses the model: {said or errors(logger)}")
    return builder, network


def strongly_typed(settings: dict[str, Any], version: str) -> bool:
    """All but networks for the DLA of TensorRT 10, which computes in half precision and takes a flag for it."""
    return settings["dla_core"] is None or int(version.split(".", maxsplit=1)[0]) > 10


Check = Callable[[Any, Any], None]


def make(
    trt: Any, logger: Any, model: bytes, settings: dict[str, Any], *,
    read: Check = lambda *_: None, tell: Check = lambda *_: None,
) -> tuple[Any, bytes]:  # fmt: skip
    """The network of a model and its engine: ``read`` sees builder and network, ``tell`` TensorRT and the configuration.

    TensorRT-RTX puts inputs and outputs into the engine by their addresses. In the memory of a process those depend on all that
    it did before, down to the length of its folder's name: four builds of a model with four outputs had three digests. A new
    thread has memory of its own (the arenas of glibc's malloc), where the same work gives the same order.
    """
    with ThreadPoolExecutor(1) as apart:
        builder, network = apart.submit(parse, trt, logger, model, settings).result()
        read(builder, network)
        return network, apart.submit(_built, trt, logger, builder, network, settings, tell).result()


def _built(trt: Any, logger: Any, builder: Any, network: Any, settings: dict[str, Any], tell: Check) -> bytes:
    config = configure(trt, builder, network, settings)
    tell(trt, config)
    return serialise(builder, network, config, logger)


def aim(trt: Any, config: Any, capability: str) -> None:
    """TensorRT-RTX builds for one compute capability, ``8.6``.

    Without a count, it only logs that it does not know the index, and builds for all.
    """
    name = f"SM{capability.replace('.', '')}"
    target = getattr(trt.ComputeCapability, name, None)
    if target is None:
        known = sorted(each for each in trt.ComputeCapability.__members__ if each.startswith("SM"))
        raise BuildError(f"TensorRT-RTX {trt.__version__} builds for {', '.join(known)}, not for {name}")
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(target, 0) or config.get_compute_capability(0) != target:
        raise BuildError(f"TensorRT-RTX did not take the compute capability {name}")


def configure(trt: Any, builder: Any, network: Any, settings: dict[str, Any]) -> Any:
    """TensorRT's configuration with the kit's settings; each is read back where TensorRT tells it."""
    config = builder.create_builder_config()
    if settings["workspace"] is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings["workspace"])
        _same("workspace", config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE), settings["workspace"])
    (config.set_flag if settings["tf32"] else config.clear_flag)(trt.BuilderFlag.TF32)
    _same("tf32", config.get_flag(trt.BuilderFlag.TF32), settings["tf32"])
    if settings["dla_core"] is not None:
        _use_dla(trt, builder, config, settings)
    _add_profile(builder, network, config, settings["profiles"])
    return config


def _use_dla(trt: Any, builder: Any, config: Any, settings: dict[str, Any]) -> None:
    core = settings["dla_core"]
    if core >= builder.num_DLA_cores:
        raise BuildError(f"DLA core {core} was asked for, and this device has {builder.num_DLA_cores}")
    config.default_device_type, config.DLA_core = trt.DeviceType.DLA, core
    if settings["gpu_fallback"]:
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    else:  # reformatting runs on the GPU
        config.set_flag(trt.BuilderFlag.DIRECT_IO)
    if not strongly_typed(settings, trt.__version__):
        config.set_flag(trt.BuilderFlag.FP16)


def _add_profile(builder: Any, network: Any, config: Any, profiles: dict[str, dict[str, list[int]]]) -> None:
    names = [network.get_input(index).name for index in range(network.num_inputs)]
    missing = sorted(set(profiles) - set(names))
    if missing:
        raise BuildError(f"the profiles name {', '.join(missing)}; the model's inputs are {', '.join(names)}")
    if not profiles:
        return
    profile = builder.create_optimization_profile()
    for name, sizes in sorted(profiles.items()):
        profile.set_shape(name, sizes["min"], sizes["opt"], sizes["max"])
        found = [list(shape) for shape in profile.get_shape(name)]
        _same(f"profile of {name}", found, [sizes["min"], sizes["opt"], sizes["max"]])
    if config.add_optimization_profile(profile) < 0:
        raise BuildError("TensorRT does not take the optimisation profile")


def _same(what: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise BuildError(f"TensorRT did not take {what}: asked for {wanted}, it has {found}")


def serialise(builder: Any, network: Any, config: Any, logger: Any) -> bytes:
    """The engine's bytes."""
    made = builder.build_serialized_network(network, config)
    if made is None or not made.nbytes:
        raise BuildError(f"TensorRT cannot build the engine: {errors(logger) or 'it does not say why'}")
    return bytes(made)


@dataclass(frozen=True)
class Kit:
    """A kit's folder, with what its ``engine.json`` says."""

    folder: Path
    data: dict[str, Any]

    @property
    def model(self) -> Path:
        """The model that the engine is built from."""
        return self.folder / str(self.data["model"]["file"])

    @property
    def library(self) -> str:
        """``tensorrt`` or ``tensorrt_rtx``."""
        return str(self.data["library"])

    def stem(self, version: str, device: Device) -> str:
        """The name of the engine for this version of the library and this GPU."""
        digest, library = settings_digest(self.data["settings"]), f"{SHORT[self.library]}{three(version)}"
        return engine_stem(self.data["tag"], self.data["model"]["sha256"], digest, library, device_text(device))

    def device(self) -> Device:
        """The GPU that engines are for: the one that is here, unless the kit names another by its compute capability."""
        wanted = self.data["compute_capability"]
        return Device("", str(wanted), 0, "") if wanted else find_device()


def read_kit(folder: Path) -> Kit:
    """The kit in ``folder``; BuildError when it is not whole or the model is another one."""
    kit = Kit(folder, json.loads((folder / "engine.json").read_text(encoding="utf-8")))
    if not kit.model.is_file():
        raise BuildError(f"{kit.model.name} is not there: it belongs at {kit.model}")
    found, wanted = sha256(kit.model), kit.data["model"]["sha256"]
    if found != wanted:
        raise BuildError(f"{kit.model.name} is another model: its sha256 is {found}, and the kit is for {wanted}")
    return kit


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(2**20), b""):
            found.update(block)
    return found.hexdigest()


def build(trt: Any, kit: Kit, device: Device, out: Path, timings: Path | None = None) -> Path:
    """The engine in ``out``: built, or found there with a record that fits. ``timings``: kernels' timings to begin with."""
    check_version(trt.__version__, kit.data)
    stem = kit.stem(trt.__version__, device)
    engine, record = out / f"{stem}.engine", out / f"{stem}.json"
    if fits(engine, record, kit):
        return engine
    out.mkdir(parents=True, exist_ok=True)
    cache = out / timing_name(kit.library, trt.__version__, device) if kit.data["timing_cache"] else None
    made, logger = _make(trt, kit, cache, timings)
    _replace(engine, made)
    facts = {
        "engine": {"file": engine.name, "sha256": hashlib.sha256(made).hexdigest(), "size": len(made)},
        "model": kit.data["model"],
        "settings": kit.data["settings"],
        "library": kit.library,
        "tensorrt": trt.__version__,
        "device": asdict(device),
        "onnxruntime": ort_options(kit, stem, out),
        "warnings": [text for severity, text in logger.lines if severity == "WARNING"],
        "built_by": "build_engine.py",
    }
    _replace(record, (json.dumps(facts, indent=2, sort_keys=True) + "\n").encode())
    return engine


def _make(trt: Any, kit: Kit, cache: Path | None, timings: Path | None) -> tuple[bytes, Any]:
    """The engine's bytes; ``cache`` gets the timings of its kernels."""
    known = [path for path in (cache, timings) if path is not None and path.is_file()]
    used: list[Any] = []

    def tell(trt: Any, config: Any) -> None:
        if kit.data["compute_capability"]:
            aim(trt, config, kit.data["compute_capability"])
        if cache is not None or timings is not None:
            used.append(_timings(config, known[0] if known else None))

    logger = make_logger(trt)
    made = make(trt, logger, kit.model.read_bytes(), kit.data["settings"], tell=tell)[1]
    if cache is not None:
        _replace(cache, bytes(used[0].serialize()))
    return made, logger


def _timings(config: Any, path: Path | None) -> Any:
    """A timing cache that the builder reads and adds to. BuildError for one of another TensorRT or another GPU."""
    cache = config.create_timing_cache(path.read_bytes() if path else b"")
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        name = path.name if path else "a new timing cache"
        raise BuildError(f"TensorRT does not take {name}: timings hold for one TensorRT on one GPU; build without it")
    return cache


def timing_name(library: str, version: str, device: Device) -> str:
    """Timings hold for one TensorRT on one GPU."""
    return f"timing-{SHORT[library]}{three(version)}-{device_text(device)}.cache"


def check_version(version: str, data: dict[str, Any]) -> None:
    """BuildError for a TensorRT that this kit does not know, or that the settings do not suit."""
    major, known = int(version.split(".", maxsplit=1)[0]), MAJORS[data["library"]]
    if major not in known:
        raise BuildError(f"{TITLES[data['library']]} {version} is here; this kit knows {' and '.join(map(str, known))}")
    if data["settings"]["dla_core"] is not None and major > known[0] and not data["half"]:
        raise BuildError(
            f"TensorRT {version} takes its types from the model, which is float32, and the DLA computes in float16: "
            "nothing would run there. Build the kit from a float16 model, or with dla_core left out"
        )


def fits(engine: Path, record: Path, kit: Kit) -> bool:
    """Whether the engine is there, whole, and of this very model with these very settings."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        same = found["model"]["sha256"] == kit.data["model"]["sha256"] and found["settings"] == kit.data["settings"]
        return bool(same and found["engine"]["sha256"] == sha256(engine))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def ort_options(kit: Kit, stem: str, out: Path) -> dict[str, str]:
    """The options of ONNX Runtime's TensorRT provider that keep its own caches under the same name."""
    options = kit.data["onnxruntime"]["options"]
    return {key: value.replace("{engine}", stem).replace("{folder}", str(out)) for key, value in options.items()}


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        if part.exists():
            part.unlink()


def main(arguments: list[str] | None = None) -> int:
    """0 when the engine is there, its path on stdout; 1 with the reason on stderr."""
    reader = argparse.ArgumentParser(description="Build this kit's TensorRT engine on this device.")
    reader.add_argument("--out", type=Path, default=Path("engines"), help="folder for engines (default: engines)")
    reader.add_argument("--timings", type=Path, help="timings of kernels to begin with: timing-*.cache of an earlier build")
    reader.add_argument("--options", action="store_true", help="print ONNX Runtime's provider options for it as JSON")
    given = reader.parse_args(arguments)
    try:
        kit = read_kit(Path(__file__).resolve().parent)
        engine = build(load_library(kit.library), kit, kit.device(), given.out, given.timings)
    except BuildError as error:
        sys.stderr.write(f"build_engine.py: {error}\n")
        return 1
    record = json.loads(engine.with_suffix(".json").read_text(encoding="utf-8"))
    sys.stdout.write(json.dumps(record["onnxruntime"], indent=2) + "\n" if given.options else f"{engine}\n")
    return 0


def load_library(library: str) -> Any:
    """The library's Python module; TensorRT-RTX's is the same under another name. BuildError where there is none."""
    return _module(TENSORRT, "install python3-libnvinfer, or use build_engine.sh") if library == TENSORRT else _load_rtx()


def _load_rtx() -> Any:
    """Its libraries may lie in ONNX Runtime's plug-in. That is found and not imported: it would write links into its folder."""
    found = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    folder = Path(found.origin).parent if found and found.origin else None
    for name in ("libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*"):  # in this order: the second needs the first
        for path in sorted(folder.glob(name)) if folder else ():
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    name = next((each for each in (RTX, f"{RTX}_bindings") if importlib.util.find_spec(each)), RTX)
    return _module(name, "pip install tensorrt-rtx")


def _module(name: str, hint: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        title = TITLES[RTX if name.startswith(RTX) else TENSORRT]
        raise BuildError(f"{title}'s Python module is not here ({error}): {hint}") from None


if __name__ == "__main__":
    sys.exit(main())
