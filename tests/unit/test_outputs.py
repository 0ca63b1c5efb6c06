"""The gates of engines and packages: each from the facts of its steps, as it passes, fails or is not run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ortolan import outputs
from ortolan.artifact import Gate, Outcome
from ortolan.outputs.made import Facts, rounded
from ortolan.recipe.outputs import Outputs

PASS, FAIL, NOT_RUN = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN
CLOSE = {"close": True, "max_abs": 0.0, "reason": "", "snr_db": None}
ROUNDED = CLOSE | {"close": False, "max_abs": 0.004, "reason": "2 of 10 values beyond tolerance", "snr_db": 38.0}
FAR = ROUNDED | {"snr_db": 12.0}
RTX: dict[str, Any] = {
    "size": 1000, "nodes": 7, "quantised": 4, "tensorrt": "1.7.1.116", "compute_capability": "SM86", "suffix": "abc-sm86",
    "read_back": {"header": {"version": "1.7.1.116"}, "problems": [], "names": ["x"]}, "repairs": [], "narrowed": [],
    "loads": {"outcome": "not-run", "why": "only a GPU opens it"},
}  # fmt: skip
KIT: dict[str, Any] = {
    "tensorrt": "10.3", "typing": "strong", "settings_digest": "0123456789abcdef", "doubtful": [],
    "engine": {"outcome": "not-run", "why": "no Jetson given (--host)"},
}  # fmt: skip
IR: dict[str, Any] = {
    "openvino": "2026.4.1-22982-e213a147257", "differences": [], "constants": {"f32": 80}, "fake_quantize": 0, "blob": None,
    "ir": {"opens": True, "runs": True, "error": "", "outputs": {"y": CLOSE}, "close": True},
}  # fmt: skip
INT8_IR = IR | {"fake_quantize": 4, "ir": IR["ir"] | {"close": False, "outputs": {"y": ROUNDED}}}
FAR_IR = INT8_IR | {"ir": IR["ir"] | {"close": False, "outputs": {"y": FAR}}}
BLOB = IR["ir"] | {"differences": [], "made_for": {"openvino": "2026.4.1", "isa": "avx2"}}
SM8650 = {"soc": "SM8650", "htp_arch": "75"}
QNN: dict[str, Any] = {
    "reproducible": True,
    "asked": SM8650, "found": SM8650, "bytes": 90_000, "partitions": 1, "on_cpu": {}, "signature": [], "compatibility": "x",
    "versions": {"qnn": "2.51"},
    "emulator": {"runs": True, "error": "", "samples": 2, "cpu": {"y": ROUNDED}, "expected": None},
}  # fmt: skip
DIED = {"runs": False, "error": "it died", "samples": 2, "cpu": {}}
SIDE = [{"name": "x", "dtype": "float32", "shape": [1]}]
PACKAGE: dict[str, Any] = {
    "package": {"name": "onnxruntime-web", "version": "1.30.0"}, "files": [{"name": "ort.wasm"}], "inputs": SIDE, "outputs": SIDE,
}  # fmt: skip
PAGE: dict[str, Any] = {
    "ran": True, "runs": True, "error": "", "versions": {"chromium": "Chromium 156.0 built on Debian"}, "outputs": {"y": CLOSE},
    "close": True, "inputs": SIDE, "results": SIDE, "fetched": ["ort.wasm"],
    "placed": {"WebGpuExecutionProvider": 3}, "adapter": {"architecture": "swiftshader"},
    "options": {"ignored": []},
}  # fmt: skip
DEAF = PAGE | {"options": {"ignored": ["enableInt64"]}}
OTHER = PACKAGE | {"package": {"name": "onnxruntime-web", "version": "1.29.0"}}
ABSENT = {"ran": False, "why": "chromium is not installed", "hint": "apt-get install chromium"}
KNOBS = {"exceptions": True, "extended": False, "static_cxx": False, "xnnpack": False}
ELF: dict[str, Any] = {
    "machine": "amd64", "soname": "libonnxruntime.so.1", "needed": ["libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"],
    "runpath": "", "versions": {"libc.so.6": ["GLIBC_2.2.5", "GLIBC_2.34"]}, "stripped": True,
}  # fmt: skip
REDUCED: dict[str, Any] = {
    "size": 1_284_264, "record": {"onnxruntime": "1.21.0", "platform": "linux/amd64", "knobs": KNOBS}, "elf": ELF, "error": "",
}  # fmt: skip


def reduced(**other: Any) -> Facts:
    """The facts of a reduced library with another ELF."""
    return {"library": REDUCED | {"elf": ELF | other}}


def recorded(**other: Any) -> Facts:
    """The same with another record."""
    return {"library": REDUCED | {"record": REDUCED["record"] | other}}


NO_ELF: Facts = {"library": REDUCED | {"elf": None, "error": "not an ELF file"}}

CASES: list[tuple[str, Facts, str, Outcome, str]] = [
    ("tensorrt_rtx", {"sm86": RTX}, "engine@sm86", PASS, "1,000 B of 7 nodes, 4 Q/DQ nodes, TensorRT-RTX 1.7.1.116"),
    ("tensorrt_rtx", {"sm86": RTX | {"read_back": {"header": {}, "problems": ["is for SM75"]}}}, "engine@sm86", FAIL, "SM75"),
    ("tensorrt_rtx", {"sm86": RTX | {"read_back": {"header": None, "problems": []}}}, "engine@sm86", NOT_RUN, "not known"),
    ("tensorrt_rtx", {"sm86": RTX | {"narrowed": ["w"]}}, "engine@sm86", PASS, "float64 becomes float32 in w"),
    ("tensorrt_rtx", {"sm86": RTX}, "engine-runs", NOT_RUN, "only a GPU opens it"),
    ("tensorrt", {"kit": KIT}, "engine-kit", PASS, "TensorRT 10.3, strong typing, settings 0123456789ab"),
    ("tensorrt", {"kit": KIT | {"doubtful": ["zero"]}}, "engine-kit", FAIL, "zero"),
    ("tensorrt", {"kit": KIT}, "engine", NOT_RUN, "no Jetson given (--host)"),
    ("openvino", {"ir": IR}, "ir", PASS, "OpenVINO 2026.4.1, equal"),
    ("openvino", {"ir": IR | {"ir": IR["ir"] | {"close": False, "outputs": {"y": ROUNDED}}}}, "ir", FAIL, "2 of 10"),
    (
        "openvino",
        {"ir": IR | {"fake_quantize": 4, "ir": IR["ir"] | {"close": False, "outputs": {"y": ROUNDED}}}},
        "ir",
        PASS,
        "38 dB",
    ),
    (
        "openvino",
        {"ir": IR | {"fake_quantize": 4, "ir": IR["ir"] | {"close": False, "outputs": {"y": FAR}}}},
        "ir",
        FAIL,
        "12 dB",
    ),
    ("openvino", {"ir": IR | {"differences": ["no input x"]}}, "ir", FAIL, "no input x"),
    ("openvino", {"ir": IR | {"ir": {"runs": False, "error": "no layer Foo", "outputs": {}, "close": False}}}, "ir", FAIL, "Foo"),
    ("openvino", {"ir": IR | {"blob": BLOB}}, "blob", PASS, "equal"),
    ("openvino", {"ir": IR | {"blob": BLOB | {"differences": ["no output y"]}}}, "blob", FAIL, "no output y"),
    ("qnn", {"context": QNN}, "engine", PASS, "SM8650, HTP 75, 90,000 B, 1 partition(s)"),
    ("qnn", {"context": QNN | {"found": SM8650 | {"htp_arch": "68"}}}, "engine", FAIL, "HTP 68"),
    ("qnn", {"context": QNN | {"signature": ["input x is not in the engine"]}}, "engine", FAIL, "not in the engine"),
    ("qnn", {"context": QNN | {"on_cpu": {"Sin": 2}}}, "engine", PASS, "left to the CPU: 2 Sin"),
    ("qnn", {"context": QNN}, "emulator", PASS, "SNR 38 dB on 2 samples"),
    ("qnn", {"context": QNN | {"emulator": QNN["emulator"] | {"cpu": {"y": FAR}}}}, "emulator", FAIL, "12 dB"),
    (
        "qnn",
        {"context": QNN | {"emulator": DIED}},
        "emulator",
        FAIL,
        "it died",
    ),
    ("qnn", {"context": QNN}, "engine-bytes", PASS, "compilations agree"),
    ("qnn", {"context": QNN | {"reproducible": False}}, "engine-bytes", FAIL, "other bytes each time"),
    ("qnn", {"context": QNN}, "engine-runs", NOT_RUN, "no Snapdragon"),
    ("web", {"package": PACKAGE, "chromium-webgpu": PAGE}, "web@chromium-webgpu", PASS, "equal on swiftshader, chromium 156.0"),
    ("web", {"package": PACKAGE, "chromium-webgpu": PAGE | {"placed": {}}}, "web@chromium-webgpu", NOT_RUN, "given no node"),
    ("web", {"package": OTHER, "node-wasm": PAGE}, "web@node-wasm", FAIL, "was run with onnxruntime-web 1.29.0"),
    ("web", {"package": PACKAGE, "chromium-wasm": ABSENT}, "web@chromium-wasm", NOT_RUN, "apt-get install chromium"),
    ("web", {"package": PACKAGE, "node-wasm": PAGE | {"close": False, "outputs": {"y": FAR}}}, "web@node-wasm", FAIL, "2 of 10"),
    ("web", {"package": PACKAGE, "node-wasm": PAGE | {"fetched": ["ort.jsep.wasm"]}}, "web@node-wasm", FAIL, "ort.jsep.wasm"),
    (
        "web",
        {"package": PACKAGE, "node-wasm": DEAF},
        "web@node-wasm",
        FAIL,
        "enableInt64",
    ),
    ("web", {"package": PACKAGE, "node-wasm": PAGE | {"inputs": []}}, "web@node-wasm", FAIL, "inputs are"),
    ("web", {"package": PACKAGE, "node-wasm": PAGE | {"runs": False, "error": "no kernel"}}, "web@node-wasm", FAIL, "no kernel"),
    ("custom_build", {"script": {"version": "1.31.1", "flags": ["--use_acl"]}}, "runtime", NOT_RUN, "1.31.1, 1 flags"),
    ("reduced_runtime", {}, "reduced-runtime", NOT_RUN, "./inv runtime-build --target"),
    ("reduced_runtime", {"library": REDUCED}, "reduced-runtime", PASS, "ONNX Runtime 1.21.0, exceptions = true"),
    ("reduced_runtime", recorded(onnxruntime="1.16.3"), "reduced-runtime", FAIL, "ask for the C API of 1.17.3"),
    ("reduced_runtime", recorded(platform="linux/arm64"), "reduced-runtime", FAIL, "was built for linux/arm64"),
    ("reduced_runtime", recorded(knobs=KNOBS | {"xnnpack": True}), "reduced-runtime", FAIL, "was built with xnnpack = true"),
    ("reduced_runtime", {"library": REDUCED}, "reduced-size", PASS, "1,284,264 B"),
    ("reduced_runtime", reduced(stripped=False), "reduced-size", FAIL, "strip it"),
    ("reduced_runtime", NO_ELF, "reduced-size", FAIL, "not an ELF file"),
    ("reduced_runtime", {"library": REDUCED}, "reduced-needs", PASS, "amd64, GLIBC 2.34, 3 libraries"),
    ("reduced_runtime", NO_ELF, "reduced-needs", FAIL, "not an ELF file"),
    ("reduced_runtime", reduced(machine="arm64"), "reduced-needs", FAIL, "is for arm64, the target is amd64"),
    ("reduced_runtime", reduced(needed=["libre2.so.9"]), "reduced-needs", FAIL, "needs libre2.so.9"),
    ("reduced_runtime", reduced(needed=["libstdc++.so.6"]), "reduced-needs", PASS, "1 libraries"),
    ("reduced_runtime", reduced(versions={"libc.so.6": ["GLIBC_2.38"]}), "reduced-needs", FAIL, "the target has 2.36"),
    ("reduced_runtime", reduced(versions={"c++": ["GLIBCXX_3.4.32"]}), "reduced-needs", FAIL, "the target has 3.4.30"),
    ("reduced_runtime", reduced(runpath="/build/lib"), "reduced-needs", FAIL, "looks for libraries in /build/lib"),
]


def judged(kind: str, facts: Facts) -> list[Gate]:
    """The gates of an output of this kind."""
    judge: Any = outputs.KINDS[kind]._judge
    found: list[Gate] = judge(facts)
    return found


@pytest.mark.parametrize(("kind", "facts", "name", "outcome", "words"), CASES)
def test_a_gate_of_an_output(kind: str, facts: Facts, name: str, outcome: Outcome, words: str) -> None:
    (gate,) = [gate for gate in judged(kind, facts) if gate.name == name]
    assert (gate.outcome, words in f"{gate.measured} {gate.limit} {gate.why}") == (outcome, True), gate
    assert gate.why or outcome is PASS


def test_every_gate_of_an_output_is_seen_to_pass_and_to_fail() -> None:
    seen: dict[tuple[str, str], set[Outcome]] = {}
    for kind, facts, name, outcome, _ in CASES:
        for gate in judged(kind, facts):
            seen.setdefault((kind, gate.name.partition("@")[0]), set())
        seen[kind, name.partition("@")[0]].add(outcome)
    unseen = {key: found for key, found in seen.items() if not found >= {PASS, FAIL} and found != {NOT_RUN}}
    assert unseen == {}
    assert {kind for kind, _ in seen} == outputs.KINDS.keys() - {"ort"}  # the gates of .ort are those of verify


def test_every_table_of_outputs_has_a_module_and_says_what_is_proven() -> None:
    assert set(Outputs.model_fields) - {"onnx", "snippets", "docker"} == outputs.KINDS.keys()
    for module in outputs.KINDS.values():
        assert module.PROVEN
        assert module.LEFT
        folders = Path(__file__).parents[2] / "runtimes"
        assert all((folders / name).is_dir() for name in module.RUNTIMES)


@pytest.mark.parametrize(
    ("given", "close", "near"),
    [([CLOSE], True, True), ([ROUNDED], False, True), ([FAR], False, False), ([CLOSE, FAR], False, False), ([], False, False)],
)
def test_near_is_close_or_rounded(given: list[Mapping[str, Any]], close: bool, near: bool) -> None:
    assert rounded(given, close)[0] is near
