"""Stands for trtexec, which comes with standard TensorRT only: the same flags and lines, engines really built by TensorRT-RTX.

The flags and the lines are those of trtexec 10.3 (samples/trtexec/trtexec.cpp, samples/common/sampleDevice.cpp and
sampleOptions.cpp of NVIDIA's repository). ``TRT_VERSION`` and ``GPU`` (name, capability, multiprocessors) play the device.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

FLAGS = {
    "--onnx", "--saveEngine", "--skipInference", "--minShapes", "--optShapes", "--maxShapes", "--memPoolSize", "--noTF32",
    "--useDLACore", "--allowGPUFallback", "--stronglyTyped", "--timingCacheFile", "--fp16",
}  # fmt: skip
GONE = {"11": {"--fp16"}}  # what TensorRT 11 removed


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> int:
    version = os.environ["TRT_VERSION"]
    name, capability, count = os.environ["GPU"].split(",")
    given = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    with Path(os.environ["TRT_CALLS"]).open("a") as calls:
        calls.write(" ".join(sys.argv[1:]) + "\n")
    say(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{version.replace('.', '0')}] # trtexec")
    odd = given.keys() - (FLAGS - GONE.get(version.split(".")[0], set()))
    if odd:
        say(f"[E] Unknown option: {min(odd)}")
        return 1
    for line in (
        "=== Device Information ===", "Available Devices: ", f'  Device 0: "{name}" UUID: GPU-0', f"Selected Device: {name}",
        "Selected Device ID: 0", f"Compute Capability: {capability}", f"SMs: {count}", "", f"TensorRT version: {version}",
    ):  # fmt: skip
        say(f"[11/21/2026-12:00:00] [I] {line}")
    return build(given)


def build(given: dict[str, str]) -> int:
    sys.path.insert(0, os.environ["STAGES"])
    from stages.lib import trt_load

    trt = trt_load.load()
    model = Path(given["--onnx"])
    if not model.is_file():
        say(f"[E] Could not open file {model}")
        return 1
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, logger).parse(model.read_bytes())
    config = builder.create_builder_config()
    if "--memPoolSize" in given:
        assert given["--memPoolSize"].startswith("workspace:")
        assert given["--memPoolSize"].endswith("B")
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(given["--memPoolSize"][10:-1]))
    if "--minShapes" in given:
        profile = builder.create_optimization_profile()
        shapes = [dict(shaped(given[f"--{point}Shapes"])) for point in ("min", "opt", "max")]
        for name in shapes[0]:
            profile.set_shape(name, *(shape[name] for shape in shapes))
        config.add_optimization_profile(profile)
    made = builder.build_serialized_network(network, config)
    if made is None:
        return 1
    Path(given["--saveEngine"]).write_bytes(bytes(made))
    say("&&&& PASSED TensorRT.trtexec")
    return 0


def shaped(text: str) -> list[tuple[str, list[int]]]:
    pairs = (one.rpartition(":") for one in text.split(","))
    return [(name, [int(size) for size in sizes.split("x")]) for name, _, sizes in pairs]


if __name__ == "__main__":
    sys.exit(main())
