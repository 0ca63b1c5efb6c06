"""The Go package: well formed for every tag of the binding, and run for real where the binding's source is at hand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

import models
from conftest import ROOT, Workspace
from ortolan import manifest, runtime
from ortolan.cache import Cache, user_cache
from ortolan.manifest import ProviderPart, TensorPart
from ortolan.outputs.reduced_runtime import LIBRARY
from ortolan.package.context import context
from ortolan.package.render import render
from ortolan.recipe.go_binding import MODULE, find, minor

TEMPLATES = ROOT / "templates" / "go"
FLEETS = ("1.15.0", "1.17.3", "1.19.2", "1.20.1", "1.22.1", "1.31.1")
SOURCES = "ONNXRUNTIME_GO"
NO_SOURCE = "no source of onnxruntime_go: ONNXRUNTIME_GO names no checkout, and no Go module proxy answers"
TARGET = """
description = "A board"
platform = "linux/amd64"
[runtime]
versions = ["1.20.1"]
opset = 17
[session]
intra_op_num_threads = 1
inter_op_num_threads = 1
graph_optimization_level = "extended"
config = { "session.intra_op.allow_spinning" = "0", 'quote" ` # {{evil}}' = "'';\\t" }
[quantize]
policy = "never"
[outputs]
snippets = ["go"]
"""
MANY = {
    "TensorrtExecutionProvider": {"trt_fp16_enable": "1"},
    "CUDAExecutionProvider": {"arena_extend_strategy": "kSameAsRequested", "device_id": "1", 'a" + "b': "\n`"},
    "OpenVINOExecutionProvider": {},
    "DmlExecutionProvider": {"device_id": "0", "performance_preference": "high_performance"},
    "XnnpackExecutionProvider": {"intra_op_num_threads": "1"},
    "ACLExecutionProvider": {},
    "CPUExecutionProvider": {},
}
"""Providers that a build with these models would refuse for other reasons: they are put into its manifest."""
KINDS = ("FLOAT", "DOUBLE", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL", "FLOAT16")
HOSTILE = (
    "x:0", "x.0", "X_0", "model/x-1", "type", "func", "Axes", "Ünïcode ☃", "``x''", '"; panic("x"); //', "*/ /*", "{{ 1 }}",
    "a\nb", "// +build ignore", "1st", "中", "# heading", "[link]: http://x", "$(rm)", "\\u0022", "</script>", "  - list",
)  # fmt: skip
"""``''`` and lists are what gofmt rewrites in a doc comment."""


def every_type(scalars: bool) -> ModelProto:
    """Each type with a dynamic and a fixed axis, and as a scalar where the binding has those (float16 never)."""
    nodes, inputs, outputs = [], [], []
    for name in KINDS:
        kind = getattr(TensorProto, name)
        shapes: dict[str, list[int | str]] = {"t": ["rows", 3], "s": []} if scalars and name != "FLOAT16" else {"t": ["rows", 3]}
        for letter, shape in shapes.items():
            inputs.append(helper.make_tensor_value_info(f"{name}.{letter}", kind, shape))
            outputs.append(helper.make_tensor_value_info(f"{name}.{letter}.y", kind, shape))
            nodes.append(helper.make_node("Identity", [f"{name}.{letter}"], [f"{name}.{letter}.y"]))
    return model(nodes, inputs, outputs)


def data_dependent() -> ModelProto:
    """Two outputs whose shape depends on the data, one that has a fixed shape; a scalar in and out."""
    given: dict[str, list[int | str]] = {"x": ["n", 4], "by": []}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given.items()]
    kinds = {"where": TensorProto.INT64, "chosen": TensorProto.FLOAT, "size": TensorProto.INT64, "sum": TensorProto.FLOAT}
    shapes: dict[str, list[int]] = {"size": [2], "sum": []}
    outputs = [helper.make_tensor_value_info(name, kind, shapes.get(name)) for name, kind in kinds.items()]
    nodes = [
        helper.make_node("Mul", ["x", "by"], ["scaled"]), helper.make_node("NonZero", ["scaled"], ["where"]),
        helper.make_node("Transpose", ["where"], ["places"]), helper.make_node("GatherND", ["scaled", "places"], ["chosen"]),
        helper.make_node("Shape", ["x"], ["size"]), helper.make_node("ReduceSum", ["scaled"], ["sum"], keepdims=0),
    ]  # fmt: skip
    return model(nodes, inputs, outputs)


def hostile() -> ModelProto:
    """Names that would be code, comments or keywords; each input and output has an axis of such a name."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name} axis", 2]) for name in HOSTILE]
    outputs = [helper.make_tensor_value_info(f"{name} out", TensorProto.FLOAT, [f"{name} axis", 2]) for name in HOSTILE]
    return model([helper.make_node("Relu", [name], [f"{name} out"]) for name in HOSTILE], inputs, outputs)


def model(nodes: Sequence[NodeProto], inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


MODELS: dict[str, Callable[[], ModelProto]] = {
    "types": lambda: every_type(scalars=True), "tensors": lambda: every_type(scalars=False), "chosen": data_dependent,
    "hostile": hostile, "net": lambda: models.convnet(17), "fixed": lambda: models.convnet(17, batch=1),
}  # fmt: skip


Source = Callable[[str], Path | None]


@dataclass(frozen=True)
class Builds:
    """Real builds of all ``MODELS``, and a place for what is rendered from them."""

    folders: Mapping[str, Path]
    place: Path

    def go(
        self, name: str, oldest: str, inputs: Sequence[TensorPart] | None = None, *, carries: bool = False, **options: str
    ) -> Path:
        """The Go folder for a fleet with this oldest runtime, beside the model and its golden samples.

        ``inputs`` and session ``options`` stand in for those of the build; ``carries``: as if it had an ONNX Runtime of its own.
        """
        made = manifest.read(self.folders[name] / manifest.NAME)
        target = made.target.model_copy(update={"versions": [oldest, "1.31.1"]})
        providers = [ProviderPart(name=name, options=options) for name, options in MANY.items()]
        given = {"providers": providers, "session_options": made.signature.session_options | options}
        given |= {} if inputs is None else {"inputs": inputs}
        whole = made.model_copy(update={"target": target, "signature": made.signature.model_copy(update=given)})
        if carries:
            first = made.artifacts[0]
            whole = whole.model_copy(update={"artifacts": [*made.artifacts, first.model_copy(update={"name": LIBRARY})]})
        folder = self.place / (f"{name}-carries" if carries else name) / oldest / "go"
        folder.mkdir(parents=True, exist_ok=True)
        for path in (self.folders[name] / "model.onnx", self.folders[name] / "golden.bin"):
            shutil.copy(path, folder.parent)
        for file, data in render("go", TEMPLATES, context(whole)).files.items():
            (folder / file).write_bytes(data)
        return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_cache: Cache) -> Builds:
    root = tmp_path_factory.mktemp("go")
    workspace = Workspace(root / "project", shared_cache, [])
    (workspace.root / "recipes" / "targets").mkdir(parents=True)
    for name, make in MODELS.items():
        models.write(make(), workspace.root / "recipes" / "models" / f"{name}.onnx")
        workspace.add(f"models/{name}.toml", f'[source]\nkind = "onnx"\nfile = "{name}.onnx"\n')
    workspace.add("targets/go.toml", TARGET)
    made = workspace.build("go", *MODELS)
    assert all(one.folder for one in made), [(one.errors, [gate for gate in one.gates if gate.outcome == "fail"]) for one in made]
    return Builds({name: one.folder for name, one in zip(MODELS, made, strict=True) if one.folder}, root)


def gofmt(folder: Path) -> str:
    if not shutil.which("gofmt"):
        pytest.skip("Go is not installed")
    done = subprocess.run(["gofmt", "-l", "-e", "-d", "."], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", MODELS)
def test_all_tags_give_well_formed_go(built: Builds, name: str) -> None:
    for oldest in FLEETS:
        go = built.go(name, oldest)
        assert gofmt(go) == "", oldest
        binding = find(oldest)
        assert binding
        assert f"require {MODULE} {binding.tag} " in (go / "go.mod").read_text()


def test_what_a_tag_cannot_set_is_said(built: Builds) -> None:
    always = ["option performance_preference", "ACLExecutionProvider"]
    old = [
        "execution_mode",
        "graph_optimization_level",
        "config entry session.intra_op.allow_spinning",
        "XnnpackExecutionProvider",
    ]
    for oldest, said in (("1.17.3", [*old, *always]), ("1.31.1", always)):
        go = built.go("net", oldest, execution_mode="ORT_PARALLEL")
        for text in ((go / "README.md").read_text(), (go / "options.go").read_text()):
            assert {word for word in [*old, *always] if re.search(rf"(- |Not set: ){word} ", text)} == set(said)
    note = "has API 31; no tag of the binding is known that reaches beyond API 29"
    assert note in (built.go("net", "1.31.1") / "README.md").read_text()


ENVIRONMENT = """
package onnxruntime_go

var path string

func SetSharedLibraryPath(library string) { path = library }
func InitializeEnvironment() error        { return nil }
func IsInitialized() bool                 { return path != "" }
func DestroyEnvironment() error           { path = ""; return nil }
"""
"""In place of the binding: it opens nothing and remembers the path."""
PATHS = """
package model

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const leastAPI = 17

func TestPaths(t *testing.T) {
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	own, link, other := filepath.Join(folder, "own.so"), filepath.Join(folder, "link.so"), filepath.Join(folder, "other.so")
	for _, path := range []string{own, other} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chdir(folder); err != nil {
		t.Fatal(err)
	}
	if found, err := beside("model.ort", "own.so"); err != nil || found != own {
		t.Fatalf("beside a mere name: %s, %v", found, err)
	}
	for _, path := range []string{"./own.so", own, link, "../" + filepath.Base(folder) + "/own.so", ""} {
		if err := acquire(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{other, "own.so", filepath.Join(folder, "nowhere.so")} {
		err := acquire(path)
		if err == nil || !strings.Contains(err.Error(), "already loaded from "+own+",") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for range [5]int{} {
		if err := release(); err != nil {
			t.Fatal(err)
		}
	}
	if err := acquire(other); err != nil {
		t.Error(err)
	}
}
"""


def test_one_library_by_several_paths_is_one(tmp_path: Path) -> None:
    if not shutil.which("go"):
        pytest.skip("Go is not installed")
    shutil.copy(TEMPLATES / "environment.go", tmp_path)
    files = {
        "paths_test.go": PATHS,
        "go.mod": f"module model\n\ngo 1.19\n\nrequire {MODULE} v0.0.0\n\nreplace {MODULE} => ./binding\n",
        "binding/binding.go": ENVIRONMENT,
        "binding/go.mod": f"module {MODULE}\n\ngo 1.19\n",
    }
    (tmp_path / "binding").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(["go", "test", "-count=1", "."], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_build_that_carries_a_library_is_well_formed(built: Builds) -> None:
    for oldest in FLEETS:
        go = built.go("net", oldest, carries=True)
        assert gofmt(go) == "", oldest
        assert f'beside(modelPath, "{LIBRARY}")' in (go / "model.go").read_text()


# --- with the binding ------------------------------------------------------------------------------------------------


def fleets() -> list[str]:
    """Oldest runtimes whose tags of the binding can be had: all of a checkout with tags, or that of a plain folder."""
    checkout = os.environ.get(SOURCES, "")
    if not checkout or git(checkout, "rev-parse", "v1.17.0"):
        return ["1.17.3", "1.19.2", "1.20.1", "1.31.1"] if checkout else ["1.20.1"]
    found = re.search(r"define ORT_API_VERSION (\d+)", (Path(checkout) / "onnxruntime_c_api.h").read_text())
    assert found, f"{checkout} is no checkout of {MODULE}"
    return [f"1.{found[1]}.0"]


def git(checkout: str, *words: str) -> bytes:
    """What git says of the checkout; nothing where it is no repository."""
    return subprocess.run(["git", "-C", checkout, *words], capture_output=True, check=False).stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path | None]:
    """The folder of the binding's source at a tag; None where the module cache or a proxy has it."""
    return cache(lambda tag: _source(tag, tmp_path_factory.mktemp("binding")))


def _source(tag: str, folder: Path) -> Path | None:
    checkout = os.environ.get(SOURCES)
    if not shutil.which("go"):
        pytest.skip("Go is not installed")
    if not checkout:
        asked = subprocess.run(["go", "mod", "download", f"{MODULE}@{tag}"], cwd=folder, capture_output=True, check=False)
        return pytest.skip(NO_SOURCE) if asked.returncode else None
    names = git(checkout, "ls-tree", "--name-only", tag).decode().split()
    if not names:
        return Path(checkout)
    wanted = [name for name in names if re.search(r"(?<!_test)\.(go|c|h)$|^go\.mod$", name)]
    with tarfile.open(fileobj=BytesIO(git(checkout, "archive", tag, *wanted))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def prepared(go: Path, source: Callable[[str], Path | None], oldest: str) -> Path:
    """The module with the binding in its go.mod."""
    binding = find(oldest)
    assert binding
    found = source(binding.tag)
    words = ["mod", "tidy"] if found is None else ["mod", "edit", f"-replace={MODULE}={found}"]
    subprocess.run(["go", *words], cwd=go, check=True, capture_output=True)
    return go


def library(version: str) -> Path:
    """ONNX Runtime's library in a pinned runtime."""
    made = runtime.ensure(runtime.find(f"onnxruntime-{version}", [ROOT / "runtimes"]), user_cache().runtimes)
    return next(made.interpreter.parents[1].glob(f"lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so.{version}"))


def go_test(go: Path, version: str, *words: str, **more: str) -> tuple[bool, str]:
    """``go test`` on a runtime, and what it says."""
    given = os.environ | {"ONNXRUNTIME_LIBRARY": str(library(version))} | more
    done = subprocess.run(["go", "test", "-count=1", *words, "."], cwd=go, env=given, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("oldest", fleets())
def test_golden_samples(built: Builds, source: Source, oldest: str) -> None:
    """Every type; scalars, dynamic axes and outputs that ONNX Runtime allocates, where the tag has them."""
    binding = find(oldest)
    assert binding
    names = ["types" if binding.has["bool"] else "tensors", "net", "fixed"]
    names += ["chosen"] if binding.has["allocated_outputs"] else []
    for name in names:
        go = prepared(built.go(name, oldest), source, oldest)
        for version in [version for version in ("1.20.1", "1.31.1") if minor(version) >= binding.api]:
            passed, said = go_test(go, version, "-v", GOLDEN_EXACT="1" if name in {"types", "tensors"} else "")
            assert passed, said
            assert "CUDAExecutionProvider: in use false CUDA execution provider is not enabled in this build" in said
            assert "CPUExecutionProvider: in use true" in said
        assert subprocess.run(["go", "vet", "."], cwd=go, capture_output=True, text=True, check=False).stderr == ""


def test_hostile_names(built: Builds, source: Source) -> None:
    go = prepared(built.go("hostile", fleets()[-1]), source, fleets()[-1])
    passed, said = go_test(go, "1.31.1")
    assert passed, said


def test_a_library_that_is_too_old(built: Builds, source: Source) -> None:
    if minor(fleets()[-1]) <= minor("1.20.1"):
        pytest.skip(NO_SOURCE)
    go = prepared(built.go("net", fleets()[-1]), source, fleets()[-1])
    passed, said = go_test(go, "1.20.1", "-run", "TestGolden")
    assert not passed
    assert "(it must be 1.29 or newer)" in said


@pytest.mark.parametrize(
    ("name", "oldest", "inputs", "why"),
    [
        ("types", "1.17.3", None, "onnxruntime_go v1.9.0 has no scalars"),
        ("chosen", "1.17.3", None, "onnxruntime_go v1.9.0 leaks such outputs"),
        ("net", "1.20.1", [], "onnxruntime_go runs no model without inputs"),
        ("net", "1.31.1", [TensorPart(name="image", dtype="float16", shape=[])], "onnxruntime_go v1.35.0 has no float16 scalars"),
        ("net", "1.31.1", [TensorPart(name="image", dtype="str", shape=[1])], "strings are not taken"),
        ("net", "1.31.1", [TensorPart(name="image", dtype="bfloat16", shape=[1])], "Go has no type for bfloat16"),
        ("net", "1.31.1", [TensorPart(name="image", dtype="float32", shape=None)], "its rank is not known"),
    ],
)
def test_what_the_binding_cannot_run_is_said(
    built: Builds, source: Source, name: str, oldest: str, inputs: Sequence[TensorPart] | None, why: str
) -> None:
    go = built.go(name, oldest, inputs)
    assert gofmt(go) == ""
    assert why in (go / "model.go").read_text()
    if oldest in fleets():
        passed, said = go_test(prepared(go, source, oldest), "1.31.1")
        assert not passed
        assert why in said


def test_wrong_golden_samples_fail(built: Builds, source: Source) -> None:
    """The generated test sees an output that is not near, and with GOLDEN_EXACT one that is not the same."""
    oldest = fleets()[0]
    go = prepared(built.go("net", oldest), source, oldest)
    folder = go.parent
    at = manifest.read(built.folders["net"] / manifest.NAME).golden.samples[0]["outputs"]["scores"]["offset"]
    data = bytearray((folder / "golden.bin").read_bytes())
    for flip, exact, passes in ((0, "", True), (1, "", True), (1, "1", False), (1 << 30, "", False)):
        changed = int.from_bytes(data[at : at + 4], "little") ^ flip
        (folder / "other.bin").write_bytes(data[:at] + changed.to_bytes(4, "little") + data[at + 4 :])
        passed, said = go_test(go, "1.20.1", "-run", "TestGolden", GOLDEN=str(folder / "other.bin"), GOLDEN_EXACT=exact)
        assert passed == passes, said


CARRIED = """
package model

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCarried(t *testing.T) {
	if err := os.Chdir(".."); err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Abs("libonnxruntime.so")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"model.onnx", "go/../model.onnx"} {
		m, err := NewModel("", path)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil || !strings.Contains(string(maps), own) {
		t.Errorf("%s is not loaded: %v", own, err)
	}
	_, err = NewModel(os.Getenv("ONNXRUNTIME_LIBRARY"), "model.onnx")
	if err == nil || !strings.Contains(err.Error(), "already loaded from "+own) {
		t.Errorf("another library: %v", err)
	}
}
"""


def test_a_carried_library_is_the_one_beside_the_model(built: Builds, source: Source) -> None:
    """With a path that is a mere name, too: the loader would look for its library among the system's."""
    oldest = fleets()[-1]
    go = prepared(built.go("net", oldest, carries=True), source, oldest)
    shutil.copy(library("1.31.1"), go.parent / LIBRARY)
    (go / "carried_test.go").write_text(CARRIED)
    passed, said = go_test(go, "1.31.1", "-run", "TestCarried")
    assert passed, said
