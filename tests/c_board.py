"""What the tests of the C snippet share: its models, its builds, the compilers and the libraries of the runtimes' wheels."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto, helper

import models
import snippet_models
from conftest import ROOT
from ortolan import manifest, runtime
from ortolan.cache import user_cache
from ortolan.manifest import Manifest
from ortolan.package.context import context
from ortolan.package.render import render

NEW, OLD = "1.31.1", "1.20.1"
PROGRAMS = ("cmake", "gcc", "g++", "valgrind")
FLAGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")
LANGUAGES = {"C11": ("gcc", "-std=c11"), "C++17": ("g++", "-x", "c++", "-std=c++17")}
DATA = ROOT / "tests" / "data" / "c"
TARGET = """
description = "A board"
platform = "linux/amd64"
[runtime]
versions = {versions}
opset = 17
[session]
intra_op_num_threads = 1
inter_op_num_threads = 1
config = {{ "session.intra_op.allow_spinning" = "0", 'quote" \\ ??/ */ %s' = "'\\t\\n" }}
[quantize]
policy = "never"
[outputs]
snippets = ["c"]
"""
MANY = {
    "TensorrtExecutionProvider": {"trt_fp16_enable": "1", 'a" "b': "%n\n"},
    "CUDAExecutionProvider": {},
    "OpenVINOExecutionProvider": {"device_type": "CPU"},
    "NnapiExecutionProvider": {"NNAPI_FLAG_USE_FP16": "1", "NNAPI_FLAG_CPU_ONLY": "0"},
    "ACLExecutionProvider": {"enable_fast_math": "1"},
    "DmlExecutionProvider": {},
    "XnnpackExecutionProvider": {"intra_op_num_threads": "1"},
    'Hostile"Provider\\': {},
    "CPUExecutionProvider": {},
}
"""Providers that a build with these models would refuse for other reasons: they are put into its manifest."""
CLASHES = (
    "int8_t", "int64_t", "size_t", "bool", "NULL", "true", "model", "error", "sizes", "call", "inputs", "outputs", "data",
    "count", "shape", "near", "clash", "clash_inputs", "api", "tensor", "INPUTS", "memcpy", "EOF", "class", "errno", "assert",
)  # fmt: skip
"""Names of C, C++, their headers and the snippet itself."""


def model(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def value(name: str, shape: Sequence[int | str] | None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def clashes() -> ModelProto:
    """Each name as an input, and as an axis of it."""
    nodes = [helper.make_node("Neg", [name], [f"{name} y"]) for name in CLASHES]
    return model(nodes, [value(n, [n, 2]) for n in CLASHES], [value(f"{n} y", [n, 2]) for n in CLASHES])


def data_dependent() -> ModelProto:
    """Outputs whose shape the data decides: one that does not say so, one without a shape, and one whose axis is another's."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"]), helper.make_node("Transpose", ["where"], ["places"]),
        helper.make_node("GatherND", ["x", "places"], ["chosen"]), helper.make_node("Concat", ["x", "x"], ["twice"], axis=0),
    ]  # fmt: skip
    outputs = [value("where", [2, "n"], TensorProto.INT64), value("chosen", None), value("twice", ["n", 4])]
    return model(nodes, [value("x", ["n", 4])], outputs)


def constant() -> ModelProto:
    """No inputs at all, and a scalar."""
    tensors = [helper.make_tensor("y", TensorProto.FLOAT, [2], [1, 2]), helper.make_tensor("s", TensorProto.INT64, [], [3])]
    nodes = [helper.make_node("Constant", [], [one.name], value=one) for one in tensors]
    return model(nodes, [], [value("y", [2]), value("s", [], TensorProto.INT64)])


MODELS = {
    "net": models.convnet(17), "types": snippet_models.every_type(), "odd": snippet_models.odd_names(), "clash": clashes(),
    "chosen": data_dependent(), "constant": constant(),
}  # fmt: skip


@dataclass(frozen=True)
class Board:
    """Finished builds by model, the header's folder, and where programs go."""

    folders: dict[str, Path]
    include: Path
    place: Path

    def compile(
        self, sources: Sequence[Path | str], language: str = "C11", flags: Sequence[str] = FLAGS, name: str = "program"
    ) -> Path:
        """A program of C sources; the first one's folder has the others."""
        to = self.place / f"{name}-{language}"
        call = [*LANGUAGES[language], *flags, "-O1", "-g", "-isystem", self.include, *sources, "-o", to]
        subprocess.run([str(word) for word in call] + ["-x", "none", "-ldl", "-lm", "-pthread"], check=True, timeout=120)
        return to

    def test(self, folder: Path, language: str = "C11") -> Path:
        """The snippet's own test program."""
        snippet = folder / "c"
        name = f"test-{folder.name}"
        return self.compile([snippet / n for n in ("model.c", "golden.c", "test_model.c")], language, name=name)


def library(version: str, package: str = "onnxruntime") -> Path:
    """ONNX Runtime's library out of a runtime's wheel."""
    made = runtime.ensure(runtime.find(f"{package}-{version}", [ROOT / "runtimes"]), user_cache().runtimes)
    (found,) = made.interpreter.parents[1].glob(f"lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so.{version}")
    return found


def run(program: Path, *words: Path | str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def replay(program: Path, folder: Path, *words: str, version: str = OLD) -> subprocess.CompletedProcess[str]:
    """The snippet's test, started where its README starts it."""
    return run(program, "--library", library(version), *words, cwd=folder / "c")


def render_again(folder: Path, to: Path, **changes: Any) -> Path:
    """The same build with another signature in its manifest, beside links to its files."""
    made = manifest.read(folder / manifest.NAME)
    changed = made.model_copy(update={"signature": made.signature.model_copy(update=changes)})
    return render_into(to, folder, changed)


def render_into(to: Path, folder: Path, made: Manifest) -> Path:
    files = render("c", ROOT / "templates" / "c", context(made)).files
    (to / "c").mkdir(parents=True)
    for name, data in files.items():
        (to / "c" / name).write_bytes(data)
    for name in ("model.onnx", "golden.bin"):
        (to / name).symlink_to(folder / name)
    return to
