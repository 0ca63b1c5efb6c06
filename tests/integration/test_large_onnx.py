"""Models whose weights stand in a file of their own: taken in piece by piece, shipped as two files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import models
from conftest import ROOT, RunStage, StageRun, Workspace
from large_models import SMALL, WIDTH, layers, place, usual, weight, write
from ortolan import digest, manifest, runtime
from ortolan.artifact import Outcome
from ortolan.cache import user_cache
from ortolan.place import environment
from ortolan.sandbox import copy_from, prepare
from ortolan.stages import ort_convert
from ortolan.stages.lib import ranges, tensors
from ortolan.stages.lib.refused import Refused
from program import call

SIZE = WIDTH * WIDTH * 4


def imported(run_stage: RunStage, path: Path, inline: int = SMALL) -> StageRun:
    return run_stage("import_onnx", "tools", {"model": path.parent}, {"file": path.name, "inline": inline})


def taken(run_stage: RunStage, path: Path, inline: int = SMALL) -> Path:
    done = imported(run_stage, path, inline)
    assert done.facts, done.refused or done.log
    return done.out / "model.onnx"


def places(model: Path) -> dict[str, dict[str, str]]:
    loaded = onnx.load(model, load_external_data=False)
    return {t.name: {e.key: e.value for e in t.external_data} for t in loaded.graph.initializer if t.external_data}


# --- the two files ---------------------------------------------------------------------------------------------------


def test_weights_stand_in_order_of_name_at_multiples_of_4096(run_stage: RunStage, tmp_path: Path) -> None:
    path = write(tmp_path / "m", {name: weight(at) for at, name in enumerate(["b", "a", "c"])}, start=7)
    done = imported(run_stage, path)
    assert done.facts
    assert done.facts["repaired"]["external_data"] == ["net.data"]
    found = places(done.out / "model.onnx")
    step = SIZE + -SIZE % 4096
    assert {name: int(entry["offset"]) for name, entry in found.items()} == {"a": 0, "b": step, "c": 2 * step}
    assert {entry["location"] for entry in found.values()} == {"model.onnx.data"}
    assert (done.out / "model.onnx.data").stat().st_size == 2 * step + SIZE
    loaded = {t.name: numpy_helper.to_array(t) for t in onnx.load(done.out / "model.onnx").graph.initializer}
    assert all(np.array_equal(loaded[name], weight(at)) for at, name in enumerate(["b", "a", "c"]))


def test_the_model_names_its_weights_by_their_digest(run_stage: RunStage, tmp_path: Path) -> None:
    done = imported(run_stage, usual(tmp_path / "m"))
    assert done.facts
    found = digest.of_file(done.out / "model.onnx.data")
    assert done.facts["weights_file"] == found
    props = {p.key: p.value for p in onnx.load(done.out / "model.onnx", load_external_data=False).metadata_props}
    assert props == {"ortolan.weights": found}


def test_equal_models_have_equal_bytes_however_their_files_were_laid_out(run_stage: RunStage, tmp_path: Path) -> None:
    weights = {f"w{index}": weight(index) for index in range(3)}
    one = taken(run_stage, write(tmp_path / "one", weights))
    reversed_ = dict(reversed(list(weights.items())))
    other = taken(
        run_stage, write(tmp_path / "two", reversed_, model=layers(list(weights)), file="x.bin", name="y.onnx", start=64)
    )
    whole = layers(list(weights))
    for tensor in whole.graph.initializer:
        tensor.raw_data = weights[tensor.name].tobytes()
    inside = taken(run_stage, models.write(whole, tmp_path / "three" / "in.onnx"))
    floats = layers(list(weights))
    for tensor in floats.graph.initializer:
        tensor.float_data.extend(weights[tensor.name].ravel())
    typed = taken(run_stage, models.write(floats, tmp_path / "four" / "in.onnx"))
    for name in ("model.onnx", "model.onnx.data"):
        assert len({path.with_name(name).read_bytes() for path in (one, other, inside, typed)}) == 1


def test_a_model_up_to_the_limit_stays_one_file(run_stage: RunStage, tmp_path: Path) -> None:
    path = usual(tmp_path / "m")
    whole = path.stat().st_size + 3 * SIZE
    assert not (taken(run_stage, path, 2 * whole).parent / "model.onnx.data").exists()
    assert not places(taken(run_stage, path, whole))
    assert places(taken(run_stage, path, whole - 1))


def test_tensors_that_share_a_range_still_do(run_stage: RunStage, tmp_path: Path) -> None:
    model = layers(["a", "b"])
    path = write(tmp_path / "m", {"a": weight(0), "b": weight(1)}, model=model)
    place(model, "b", location="net.data", offset=0, length=SIZE)
    models.write(model, path)
    made = taken(run_stage, path)
    found = places(made)
    assert found["a"] == found["b"]
    assert made.with_name("model.onnx.data").stat().st_size == SIZE
    assert np.array_equal(numpy_helper.to_array(onnx.load(made).graph.initializer[1]), weight(0))


def test_axes_of_size_zero_and_small_tensors_stay_inside(run_stage: RunStage, tmp_path: Path) -> None:
    model = models.graph(
        f"(float[n,{WIDTH}] x) => (float[n,{WIDTH}] y) {{ a = MatMul(x, w) b = Concat<axis=0>(a, none) y = Add(b, bias) }}"
    )
    for name, dims in (("w", [WIDTH, WIDTH]), ("none", [0, WIDTH]), ("bias", [WIDTH])):
        model.graph.initializer.add(name=name, dims=dims, data_type=TensorProto.FLOAT)
    arrays = {"w": weight(0), "none": np.zeros((0, WIDTH), np.float32), "bias": np.ones(WIDTH, np.float32)}
    made = taken(run_stage, write(tmp_path / "m", arrays, model=model))
    assert set(places(made)) == {"w"}
    loaded = {t.name: numpy_helper.to_array(t) for t in onnx.load(made).graph.initializer}
    assert loaded["none"].shape == (0, WIDTH)
    assert np.array_equal(loaded["bias"], arrays["bias"])


def test_weights_in_nested_graphs_come_along(run_stage: RunStage, tmp_path: Path) -> None:
    text = f"(float[{WIDTH}] x, bool c) => (float[{WIDTH}] y) {{ {models.branches('t = MatMul(x, w)', 'e = Abs(x)')} }}"
    model = models.graph(text.replace("float[2]", f"float[{WIDTH}]"))
    inner = model.graph.node[0].attribute[0].g
    inner.initializer.add(name="w", dims=[WIDTH, WIDTH], data_type=TensorProto.FLOAT, raw_data=weight(0).tobytes())
    made = taken(run_stage, models.write(model, tmp_path / "m" / "net.onnx"))
    assert made.with_name("model.onnx.data").stat().st_size == SIZE
    found = onnx.load(made).graph.node[0].attribute
    kept = next(a.g for a in found if a.name == "then_branch").initializer[0]
    assert np.array_equal(numpy_helper.to_array(kept), weight(0))


# --- what is refused -------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    os.truncate(path.with_name("net.data"), 3 * SIZE - 1)


def moved(path: Path, **entries: Any) -> None:
    models.write(place(onnx.load(path, load_external_data=False), "w1", **entries), path)


BROKEN: dict[str, tuple[Any, list[str]]] = {
    "truncated": (cut, ["'net.data' has 307,199 bytes", "too few for tensor 'w2'", "truncated"]),
    "absolute": (lambda path: moved(path, location=path.with_name("net.data")), ["'w1'", "outside the model's folder"]),
    "above": (lambda path: moved(path, location="../net.data"), ["'w1'", "'../net.data'", "outside the model's folder"]),
    "in and out": (lambda path: moved(path, location="a/../../net.data"), ["'w1'", "outside the model's folder"]),
    "missing": (lambda path: path.with_name("net.data").unlink(), ["'net.data' is missing", "[source] external_data"]),
    "a folder": (lambda path: moved(path, location="."), ["'.' is missing"]),
    "overlapping": (
        lambda path: moved(path, location="net.data", offset=SIZE - 4, length=SIZE), ["'w0' and 'w1' overlap", "102,396"],
    ),
    "beyond the end": (lambda path: moved(path, location="net.data", offset=10**12, length=SIZE), ["'w1'", "1000000000000"]),
    "no number": (lambda path: moved(path, location="net.data", offset="0x10", length=SIZE), ["'w1'", "0x10"]),
    "negative": (lambda path: moved(path, location="net.data", offset=-4, length=SIZE), ["'w1'", "-4"]),
    "too short": (lambda path: moved(path, location="net.data", offset=0, length=SIZE - 4), ["'w1' does not fit", "[160, 160]"]),
}  # fmt: skip


@pytest.mark.parametrize("inline", [SMALL, models.LARGE], ids=["apart", "inside"])
@pytest.mark.parametrize("how", BROKEN)
def test_external_data_that_are_not_what_the_model_says(run_stage: RunStage, tmp_path: Path, how: str, inline: int) -> None:
    path = usual(tmp_path / "folder")
    harm, words = BROKEN[how]
    harm(path)
    done = imported(run_stage, path, inline)
    assert done.refused, done.log
    said = " | ".join(done.refused.values())
    assert [word for word in words if word not in said] == []
    assert str(tmp_path) not in said or how == "absolute"


def test_a_link_that_leads_elsewhere_is_taken_only_when_the_recipe_names_it(workspace: Workspace, tmp_path: Path) -> None:
    path = usual(tmp_path / "got", file="net.onnx.data")
    data = path.with_name("net.onnx.data")
    shutil.move(data, tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    (built,) = workspace.build("x86-cpu", str(path))
    assert [error.what for error in built.errors] == ["external data file 'net.onnx.data' is missing"]
    shutil.copytree(path.parent, workspace.root / "recipes" / "models", dirs_exist_ok=True, symlinks=True)
    workspace.add("models/net.toml", recipe('external_data = ["net.onnx.data"]'))
    (built,) = workspace.build("x86-cpu", "net")
    assert built.ok


# --- through all stages ----------------------------------------------------------------------------------------------


def recipe(*lines: str, file: str = "net.onnx") -> str:
    return "\n".join(["[source]", 'kind = "onnx"', f'file = "{file}"', *lines]) + "\n"


def two_files(workspace: Workspace, **more: Any) -> None:
    """The model ``net`` in the workspace, with a limit so low that its weights stand apart."""
    usual(workspace.root / "recipes" / "models", file="net.onnx.data", **more)
    workspace.add("models/net.toml", recipe('external_data = ["net.onnx.data"]', 'inline = "100 kB"'))


@pytest.mark.slow
def test_a_build_ships_both_files_and_every_gate_sees_them(workspace: Workspace) -> None:
    two_files(workspace)
    (built,) = workspace.build("raspberry-pi-5", "net")
    assert built.folder, built.errors
    failed = [gate for gate in built.gates if gate.outcome is Outcome.FAIL]
    assert failed == []
    made = manifest.read(built.folder / manifest.NAME)
    known = {one.name: one for one in made.artifacts}
    props = {p.key: p.value for p in onnx.load(built.folder / "model.onnx", load_external_data=False).metadata_props}
    assert props["ortolan.weights"] == known["model.onnx.data"].digest == digest.of_file(built.folder / "model.onnx.data")
    assert props["ortolan.tag"] == built.tag
    both = known["model.onnx"].size + known["model.onnx.data"].size
    assert next(gate for gate in built.gates if gate.name == "size").measured == f"{max(both, known['model.ort'].size):,} B"
    assert made.preflight.size >= known["model.onnx.data"].size
    made_by = [step.label for step in made.steps if "model.onnx.data" in step.outputs]
    assert made_by == ["net: import onnx"]
    workspace.build("raspberry-pi-5", "net")
    assert workspace.ran() == []


@pytest.mark.slow
def test_a_device_runs_both_files(workspace: Workspace, tmp_path: Path) -> None:
    two_files(workspace)
    (built,) = workspace.build("x86-cpu", "net")
    assert built.folder, built.errors
    made = runtime.ensure(runtime.find("onnxruntime-1.17.3", [ROOT / "runtimes"]), user_cache().runtimes)
    shutil.copytree(built.folder, tmp_path / "device")
    program = [str(made.interpreter), str(tmp_path / "device" / "device" / "selftest.py"), str(tmp_path / "device")]
    assert subprocess.run(program, check=False, capture_output=True).returncode == 0
    opened = [str(made.interpreter), "-c", "import model; model.Model()"]
    assert subprocess.run(opened, cwd=tmp_path / "device" / "python", check=False, capture_output=True).returncode == 0
    (tmp_path / "device" / "model.onnx.data").unlink()
    assert subprocess.run(program, check=False, capture_output=True).returncode != 0


@pytest.mark.slow
def test_a_bundle_holds_both_files_and_an_image_copies_both(workspace: Workspace) -> None:
    two_files(workspace)
    (built,) = workspace.build("x86-cpu", "net")
    assert built.folder, built.errors
    done = call(workspace, "bundle", "--target", "x86-cpu", "--json", "--plain", SOURCE_DATE_EPOCH="1700000000")
    assert done.returncode == 0, done.stderr
    with tarfile.open(Path(json.loads(done.stdout)["folder"]) / "bundle.tar") as archive:
        assert {"model.onnx", "model.onnx.data"} <= {name.rpartition("/")[2] for name in archive.getnames()}
    assert "model.onnx.data" in (built.folder / "docker" / "Dockerfile").read_text()
    assert "!model.onnx.data" in (built.folder / "docker" / "Dockerfile.dockerignore").read_text()


@pytest.mark.slow
def test_models_that_differ_in_their_weights_alone_have_differing_hashes(workspace: Workspace) -> None:
    two_files(workspace)
    folder = workspace.root / "recipes" / "models"
    write(folder, {f"w{index}": weight(index + (index == 1)) for index in range(3)}, file="other.onnx.data", name="other.onnx")
    text = recipe('external_data = ["other.onnx.data"]', 'inline = "100 kB"', file="other.onnx")
    workspace.add("models/other.toml", text)
    first, second = workspace.build("x86-cpu", "net", "other")
    assert first.ok
    assert second.ok
    assert first.hashed != second.hashed


@pytest.mark.slow
def test_damaged_weights_in_the_store_are_made_again(own_cache: Workspace) -> None:
    two_files(own_cache)
    (built,) = own_cache.build("x86-cpu", "net")
    assert built.folder
    found = digest.of_file(built.folder / "model.onnx.data")
    stored = own_cache.cache.store / "objects" / digest.short(found, 64)
    data = bytearray(stored.read_bytes())
    data[5000] ^= 1
    stored.write_bytes(data)
    shutil.rmtree(built.folder)
    (again,) = own_cache.build("x86-cpu", "net")
    assert again.folder
    assert digest.of_file(again.folder / "model.onnx.data") == found
    assert own_cache.ran() == ["net: import onnx"]


@pytest.mark.parametrize("version", models.VERSIONS)
def test_every_runtime_finds_the_weights(run_stage: RunStage, tmp_path: Path, version: str) -> None:
    path = taken(run_stage, usual(tmp_path / "m"))
    samples = sampled(run_stage, path)
    folder = usual(tmp_path / "m").parent
    reference = run_stage("reference_onnx", "tools", {"model": folder, "samples": samples}, {"file": "net.onnx", "inline": SMALL})
    assert reference.facts == {"ran": "original"}
    inputs = {"model": path, "samples": samples, "expected": reference.out / "outputs.npz"}
    params = {"providers": models.CPU, "session": models.SESSION, "rtol": 1e-3, "atol": 1e-5}
    done = run_stage("verify", f"onnxruntime-{version}", inputs, params)
    assert done.facts
    assert done.facts["onnx"]["close"], done.facts


def sampled(run_stage: RunStage, model: Path) -> Path:
    done = run_stage("make_samples", "tools", {"model": model}, {"inputs": [], "axes": {}, "count": 2, "data": None})
    assert done.facts, done.refused
    return done.out / "samples.npz"


def test_the_first_diverging_tensor_is_found_in_two_files_too(run_stage: RunStage, tmp_path: Path) -> None:
    path = taken(run_stage, usual(tmp_path / "m"))
    samples = sampled(run_stage, path)
    other = write(tmp_path / "o", {"w0": weight(0), "w1": weight(9), "w2": weight(2)})
    params = {"file": "net.onnx", "inline": SMALL}
    traced = run_stage("trace_onnx", "tools", {"model": other.parent, "samples": samples}, params)
    assert traced.facts == {"ran": "original", "tensors": 6}
    inputs = {"model": path, "samples": samples, "tensors": traced.out / "tensors.npz"}
    done = run_stage("locate", "onnxruntime-1.31.1", inputs, {"rtol": 1e-3, "atol": 1e-5})
    assert done.facts
    assert done.facts["first"]["node"] == "mul1"


def test_opsets_change_without_the_weights(run_stage: RunStage, tmp_path: Path) -> None:
    path = taken(run_stage, usual(tmp_path / "m"))
    alone = tmp_path / "alone" / "model.onnx"
    alone.parent.mkdir()
    shutil.copy(path, alone)
    for opset in (15, 19):
        done = run_stage("normalise", "tools", {"model": alone}, {"opset": opset})
        assert done.facts, done.refused
        assert (done.facts["found"], done.facts["weights_file"]) == (opset, digest.of_file(path.with_name("model.onnx.data")))
        assert places(done.out / "model.onnx") == places(path)


def test_what_wants_a_whole_model_says_so(run_stage: RunStage, tmp_path: Path) -> None:
    path = taken(run_stage, usual(tmp_path / "m"))
    params = {"format": "onnx", "tag": "t", "bundle": "all", "providers": [], "threads": 1, "session": models.SESSION}
    done = run_stage("web_package", "tools", {"model": path}, params)
    assert done.refused
    assert "307,200 bytes, stand in a file of their own" in done.refused["what"]


def test_an_ort_file_is_made_of_two_files(run_stage: RunStage, tmp_path: Path) -> None:
    path = taken(run_stage, usual(tmp_path / "m"))
    params = {"style": "fixed", "type_reduction": False, "platform": "linux/amd64"}
    done = run_stage("ort_convert", "onnxruntime-1.20.1", {"model": path}, params)
    assert done.facts, done.refused
    assert (done.out / "model.ort").stat().st_size > 3 * SIZE


def test_an_ort_file_of_more_than_two_gigabytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with (tmp_path / "model.onnx.data").open("wb") as stream:
        stream.truncate(2**31)  # sparse
    params = {"style": "fixed", "type_reduction": False, "platform": "linux/amd64"}
    with pytest.raises(Refused, match="2,147,483,648 bytes") as refused:
        ort_convert.run({"model": tmp_path / "model.onnx"}, params, tmp_path / "out")
    assert "flatbuffer" in refused.value.why


# --- fewer bits ------------------------------------------------------------------------------------------------------


def halved(run_stage: RunStage, model: Path, folder: Path) -> StageRun:
    ranges.write(folder / "ranges.json", "minmax", {"x": (-1.0, 1.0)})
    params = {"float_io": True, "exclude": [], "float_operators": []}
    return run_stage("halve", "tools", {"model": model, "ranges": folder / "ranges.json"}, params)


def test_half_precision_is_made_piece_by_piece_and_the_same(run_stage: RunStage, tmp_path: Path) -> None:
    weights = {f"w{index}": weight(index, 320) for index in range(3)}
    weights["w1"][3, 4] = 1e5
    path = write(tmp_path / "m", weights, model=layers(list(weights), 320))
    apart = halved(run_stage, taken(run_stage, path), tmp_path)
    inside = halved(run_stage, taken(run_stage, path, models.LARGE), tmp_path)
    assert apart.facts
    assert inside.facts
    assert apart.facts["weights_file"] == digest.of_file(apart.out / "model.onnx.data")
    same = ("left_in_float", "nodes", "macs_quantised")
    assert {name: apart.facts[name] for name in same} == {name: inside.facts[name] for name in same}
    assert list(apart.facts["left_in_float"]) == ["mul1"]
    assert apart.facts["size"] < 0.7 * apart.facts["float_size"]
    one, other = (onnx.load(done.out / "model.onnx") for done in (apart, inside))
    assert [node.SerializeToString() for node in one.graph.node] == [node.SerializeToString() for node in other.graph.node]
    for a, b in zip(one.graph.initializer, other.graph.initializer, strict=True):
        assert (a.name, a.data_type) == (b.name, b.data_type)
        assert np.array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))


def products() -> ModelProto:
    """Two MatMuls that share their weights, a Gemm, and one whose weights are transposed."""
    text = """(float[2,320] x) => (float[2,320] y) {
        [first] a = MatMul(x, w) [again] b = MatMul(a, w) [plain] c = Gemm(b, v, bias)
        [turned] d = Gemm<transB=1>(c, t) y = Relu(d)
    }"""
    model = models.graph(text)
    for name in ("w", "v", "t"):
        model.graph.initializer.add(name=name, dims=[320, 320], data_type=TensorProto.FLOAT)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(320, np.float32), "bias"))
    return model


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_in_fewer_bits_are_made_one_by_one_and_the_same(run_stage: RunStage, tmp_path: Path, bits: int) -> None:
    path = write(tmp_path / "m", {name: weight(at, 320) for at, name in enumerate("wvt")}, model=products())
    params = {"bits": bits, "block_size": 32, "accuracy_level": 0, "float_operators": []}
    ask = {"apart": (SMALL, []), "inside": (models.LARGE, ["turned"])}
    done = {
        name: run_stage("quantise_weights", "tools", {"model": taken(run_stage, path, inline)}, params | {"exclude": left})
        for name, (inline, left) in ask.items()
    }
    apart, inside = done["apart"], done["inside"]
    assert apart.facts, apart.refused or apart.log
    assert inside.facts, inside.refused or inside.log
    assert apart.facts["left_in_float"] == {"turned": "it transposes weights that stand in a file of their own"}
    assert apart.facts["low"] == inside.facts["low"] == 3
    assert apart.facts["weights_file"] == digest.of_file(apart.out / "model.onnx.data")
    assert apart.facts["size"] < 0.75 * apart.facts["float_size"]
    one, other = ({t.name: t for t in onnx.load(each.out / "model.onnx").graph.initializer} for each in (apart, inside))
    same = [name for name in one if name.startswith(("w_", "v_"))]
    assert len(same) >= 4
    for name in same:
        assert np.array_equal(numpy_helper.to_array(one[name]), numpy_helper.to_array(other[name]))


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "precision", "share"), [("fp16", "fp16", 0.5), ("weight-only", "int4-weights", 0.2)])
def test_a_build_ships_fewer_bits_in_two_files(workspace: Workspace, scheme: str, precision: str, share: float) -> None:
    weights = {f"w{index}": weight(index, 512) for index in range(3)}
    folder = workspace.root / "recipes" / "models"
    write(folder, weights, model=layers(list(weights), 512), file="net.onnx.data")
    lines = ('external_data = ["net.onnx.data"]', 'inline = "100 kB"', "[quantize]", 'policy = "require"', f'scheme = "{scheme}"')
    workspace.add("models/net.toml", recipe(*lines))
    workspace.edit("targets/raspberry-pi-5.toml", "[gates]", "[gates]\nmin_agreement = 0.4")  # of random numbers, with 4 bits
    (built,) = workspace.build("raspberry-pi-5", "net")
    assert built.folder, [gate for gate in built.gates if gate.outcome is Outcome.FAIL] or built.errors
    assert built.precision == precision
    assert (built.folder / "model.onnx.data").stat().st_size < share * 3 * 512 * 512 * 4 + 6 * 4096


@pytest.mark.slow
def test_what_only_takes_whole_models_is_a_reason_to_ship_float(workspace: Workspace) -> None:
    two_files(workspace)
    np.savez(workspace.root / "recipes" / "models" / "x.npz", x=np.ones((4, WIDTH), np.float32))
    data = '[[input]]\nname = "x"\ndtype = "float32"\nshape = ["batch", 160]\n[data]\ncalibration = { npz = "x.npz" }\n'
    workspace.add("models/net.toml", data)
    (built,) = workspace.build("raspberry-pi-5", "net")
    assert built.folder, built.errors
    assert built.precision == "fp32"
    why = next(gate.why for gate in built.gates if gate.name == "quantised")
    assert "stand in a file of their own" in why


# --- odd models ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_names_need_not_be_ascii(workspace: Workspace) -> None:
    folder = workspace.root / "recipes" / "models"
    weights = {"größe": weight(0), "重み": weight(1), "вес 2": weight(2)}
    model = layers(list(weights), name="größe des bildes")
    for node in model.graph.node:
        node.name = f"узел {node.name}"
    write(folder, weights, model=model, file="gewichte größe.bin", name="netz.onnx")
    workspace.add("models/net.toml", recipe('external_data = ["gewichte größe.bin"]', 'inline = "100 kB"', file="netz.onnx"))
    (built,) = workspace.build("raspberry-pi-5", "net")
    assert built.folder, built.errors
    assert list(places(built.folder / "model.onnx")) == ["größe", "вес 2", "重み"]


@pytest.mark.slow
@pytest.mark.parametrize("inline", ["100 kB", "1 GB"])
def test_half_precision_in_and_out(workspace: Workspace, inline: str) -> None:
    folder = workspace.root / "recipes" / "models"
    weights = {f"w{index}": weight(index, 320).astype(np.float16) for index in range(2)}
    model = layers(list(weights), 320, TensorProto.FLOAT16)
    write(folder, weights, model=model, file="net.onnx.data")
    workspace.add("models/net.toml", recipe('external_data = ["net.onnx.data"]', f'inline = "{inline}"'))
    (built,) = workspace.build("x86-cpu", "net")
    assert built.folder, built.errors
    assert (built.folder / "model.onnx.data").exists() is (inline == "100 kB")
    golden = tensors.read_samples(built.folder / "golden-inputs.npz")
    assert {array.dtype for sample in golden for array in sample.values()} == {np.dtype(np.float16)}


def chain(count: int) -> ModelProto:
    """A model of ``count`` nodes without names, in the wrong order, each with a weight of its own."""
    nodes, weights, now = [], [], "x"
    for index in range(count):
        nodes.append(helper.make_node("Mul" if index % 2 else "Add", [now, f"c{index}"], [f"t{index}"]))
        weights.append(numpy_helper.from_array(np.full(4, 1 + index % 2 * 1e-4, np.float32), f"c{index}"))
        now = f"t{index}"
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["batch", 4]) for end in ("x", now)]
    graph = helper.make_graph(nodes[::-1], "chain", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.slow
def test_a_graph_of_ten_thousand_nodes_builds(workspace: Workspace) -> None:
    models.write(chain(10_000), workspace.root / "recipes" / "models" / "net.onnx")
    workspace.add("models/net.toml", recipe("time_limit = 60"))
    (built,) = workspace.build("raspberry-pi-5", "net")
    assert built.folder, built.errors
    assert [gate for gate in built.gates if gate.outcome is Outcome.FAIL] == []


# --- above 2 GB ------------------------------------------------------------------------------------------------------

ROOM = 12_000_000_000
"""Bytes of disk: the model, its copy for the step, what comes out, and as much again for others."""


@pytest.mark.slow
def test_more_than_two_gigabytes_pass_through_little_memory(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < ROOM:
        pytest.skip("less than 12 GB of disk are free")
    names = [f"w{index}" for index in range(9)]
    width = 2**13
    model = layers(names, width)
    with (tmp_path / "net.data").open("wb") as stream:
        for index, name in enumerate(names):
            place(model, name, location="net.data", offset=stream.tell(), length=width * width * 4)
            stream.seek(width * width * 4 - 4, os.SEEK_CUR)
            stream.write(np.float32(index).tobytes())
    models.write(model, tmp_path / "net.onnx")
    made = runtime.ensure(runtime.find("tools", [ROOT / "runtimes"]), user_cache().runtimes)
    files = {f"in/model/{name}": copy_from(tmp_path / name) for name in ("net.onnx", "net.data")}
    step = tmp_path / "step"
    step.mkdir()
    prepare(step, "import_onnx", {"model": "in/model"}, files, {"file": "net.onnx", "inline": models.LARGE})
    process = subprocess.Popen([made.interpreter, "-s", "-m", "stages.lib.worker"], cwd=step, env=environment(step))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_maxrss < 500_000, "kB"
    data = step / "out" / "model.onnx.data"
    assert data.stat().st_size == 9 * width * width * 4 > 2**31
    last = [np.memmap(data, np.float32, "r", index * width * width * 4, (width, width))[-1, -1] for index in range(9)]
    assert last == list(range(9))
