"""ONNX Runtime's own tools, in pinned runtimes, read our configurations and .ort files as we do, and merge models alike."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from onnx import ModelProto

import models
from conftest import ROOT, RunStage
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.errors import OrtolanError
from ortolan.reduced import ort_file
from ortolan.reduced.config import NAME, Config, merge, read
from ortolan.reduced.config_types import to_json
from reduced_configs import configs

READ = """
import json, sys
from pathlib import Path
from onnxruntime.tools.reduced_build_config_parser import parse_config

def told(path):
    operators, types = parse_config(str(path), enable_type_reduction=True)
    found = sorted((d, o, n) for d, opsets in (operators or {}).items() for o, names in opsets.items() for n in names)
    manager = getattr(types, "_manager", None)
    keys = sorted(manager._operator_processors) if manager else []
    limits = {key: entry for key in keys if (entry := manager.get_config_entry(*key.split(":")))}
    alike = sorted(types.global_type_list()) if types and not manager else None
    return [operators is None, found, limits, alike]

print(json.dumps([told(path) for path in sorted(Path(sys.argv[1]).glob("*.config"))]))
"""
JUDGE = """
import json, re, sys
from pathlib import Path
from onnxruntime.tools.reduced_build_config_parser import parse_config

ENTRY = re.compile(r"TYPES\\((\\w+), (\\w+), (Input|Output), (\\d+), (.*)\\);")
DOMAINS = {"kOnnxDomain": "ai.onnx", "kMSDomain": "com.microsoft"}

def limits(types):
    found = [told.groups() for line in (types.get_cpp_entries() if types else []) if (told := ENTRY.search(line))]
    return {(DOMAINS[domain], name, end, at): set(names.split(", ")) for domain, name, end, at, names in found}

def kept(types, domain, name, kind):
    try:
        return types is None or types.is_typed_registration_needed(domain, name, kind)
    except (RuntimeError, KeyError):  # it has not the place that registrations are by: the build stops and says so
        return None

def lost(one, whole, kinds):
    (operators, types), (all_operators, all_types) = (parse_config(str(path), True) for path in (one, whole))
    if operators is None and all_operators is not None:
        yield f"{one.name}: all operators"
    needed = sorted((d, o, name) for d, opsets in (operators or {}).items() for o, names in opsets.items() for name in names)
    for domain, opset, name in needed:
        if all_operators is not None and name not in all_operators.get(domain, {}).get(opset, ()):
            yield f"{one.name}: {domain};{opset};{name}"
        for place, allowed in limits(all_types).items():
            if place[:2] == (domain, name) and not limits(types).get(place, allowed | {"all"}) <= allowed:
                yield f"{one.name}: {place}"
        some = kinds[:3]
        for kind in kinds if name != "OneHot" else [f"{a}_{b}_{c}" for a in some for b in some for c in some]:
            if kept(types, domain, name, kind) and kept(all_types, domain, name, kind) is False:
                yield f"{one.name}: {domain} {name} {kind}"

folder, kinds = Path(sys.argv[1]), sys.argv[2:]
pairs = [(one, whole) for whole in sorted(folder.glob("*.merged")) for one in sorted(folder.glob(f"{whole.stem}-*.one"))]
print(json.dumps([what for one, whole in pairs for what in lost(one, whole, kinds)]))
"""
WRITE = """
import sys
from pathlib import Path
from onnxruntime.tools.ort_format_model import create_config_from_models
create_config_from_models([Path(name) for name in sys.argv[2:]], Path(sys.argv[1]), True)
"""
NODES = """
import json, sys
from pathlib import Path
from onnxruntime.tools.ort_format_model import ort_model_processor
from onnxruntime.tools.ort_format_model.types import FbsTypeInfo
found = []

class Keeper:
    def process_node(self, node, types):
        def told(names):
            return [FbsTypeInfo.typeinfo_to_str(types[name]) if name in types and name else "" for name in names]
        operator = [node.Domain().decode() or "ai.onnx", node.SinceVersion(), node.OpType().decode()]
        inputs = [node.Inputs(i) for i in range(node.InputsLength())]
        outputs = [node.Outputs(i) for i in range(node.OutputsLength())]
        found.append([operator, node.Name().decode(), told(inputs), told(outputs)])

ort_model_processor.OrtFormatModelProcessor(sys.argv[1], {}, Keeper()).process()
print(json.dumps(found))
"""


def ask(script: str, version: str, *words: str) -> str:
    """What a script says in the runtime of a version."""
    made = runtime.ensure(runtime.find(f"onnxruntime-{version}", [ROOT / "runtimes"]), user_cache().runtimes)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(made.interpreter), "-B", "-c", script, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def ours(config: Config) -> list[Any]:
    """The same as ``READ`` tells."""
    limits = {f"{domain}:{name}": to_json(types) for (domain, name), types in config.types.items()}
    alike = None if config.allowed is None else sorted(config.allowed)
    return [config.everything, [[one.domain, one.opset, one.name] for one in sorted(config.operators)], limits, alike]


def some(count: int) -> list[Config]:
    """Configurations as the tools write them, the same in every run."""
    found: list[Config] = []

    @settings(max_examples=count, derandomize=True, database=None, phases=[Phase.generate])
    @given(configs(like_tools=True))
    def collect(one: Config) -> None:
        found.append(one)

    collect()
    return found


@pytest.mark.parametrize("version", models.VERSIONS)
def test_the_tools_read_the_same_sets(version: str, tmp_path: Path) -> None:
    written = some(60)
    written += [merge(written[index : index + 3]) for index in range(0, 60, 3)]
    for index, one in enumerate(written):
        (tmp_path / f"{index:03}.config").write_text(one.text())
    assert json.loads(ask(READ, version, str(tmp_path))) == [ours(one) for one in written]


def lost(version: str, folder: Path, cases: Sequence[tuple[Sequence[Config], str]]) -> list[str]:
    """What ONNX Runtime's build would leave out of the second of each, a text, that the first need: by its own words alone."""
    for index, (several, whole) in enumerate(cases):
        (folder / f"{index:03}.merged").write_text(whole)
        for number, one in enumerate(several):
            (folder / f"{index:03}-{number}.one").write_text(one.text())
    found: list[str] = json.loads(ask(JUDGE, version, str(folder), "float", "double", "int8_t", "int64_t", "bool", "MLFloat16"))
    return found


@pytest.mark.parametrize("version", models.VERSIONS)
def test_the_tools_leave_nothing_out_of_a_merge(version: str, tmp_path: Path) -> None:
    """Operators, limits in the code that they write, and registrations that they keep: none is judged by code of ours."""
    written = some(90)
    several = [written[index : index + 3] for index in range(0, 90, 3)]
    assert lost(version, tmp_path, [(each, merge(each).text()) for each in several]) == []


def test_the_tools_leave_types_out_of_what_is_put_together_by_hand(tmp_path: Path) -> None:
    """The judge of the test before can say no."""
    one, other = (
        read(f'ai.onnx;{opset};Conv{{"inputs": {{"0": ["{kind}"]}}}}\n') for opset, kind in ((11, "float"), (22, "double"))
    )
    (tmp_path / "types").mkdir()
    assert lost("1.31.1", tmp_path / "types", [([one, other], one.text() + other.text())]) == [
        "000-0.one: ('ai.onnx', 'Conv', 'Input', '0')", "000-0.one: ai.onnx Conv float",
    ]  # fmt: skip
    (tmp_path / "opsets").mkdir()
    assert "000-1.one: ai.onnx;22;Conv" in lost("1.31.1", tmp_path / "opsets", [([one, other], one.text())])


def test_the_tools_lose_types_that_are_written_apart(tmp_path: Path) -> None:
    """Why one text must not say two things of an operator: should this change, so may the refusal in ``read``."""
    lines = ['ai.onnx;11;Conv{"inputs": {"0": ["float"]}}', 'ai.onnx;22;Conv{"inputs": {"0": ["MLFloat16"]}}']
    (tmp_path / "apart.config").write_text("\n".join(lines))
    ((_, _, limits, _),) = json.loads(ask(READ, "1.31.1", str(tmp_path)))
    assert limits == {"ai.onnx:Conv": '{"inputs": {"0": ["MLFloat16"]}}'}


def choosing() -> ModelProto:
    """OneHot, Cast, Slice with its types, and nodes that stand in a nested graph alone."""
    text = """(int64[3] ids, bool pick) => (float[?,?] y) {
        depth = Constant<value_int=4>() values = Constant<value_floats=[0.0, 1.0]>()
        [hot] h = OneHot(ids, depth, values)
        [whole] w = Cast<to=6>(h)
        [back] b = Cast<to=1>(w)
        s = Constant<value_ints=[0]>() e = Constant<value_ints=[2]>() t = Slice(b, s, e, s)
        [branch] y = If(pick) <
            then_branch = then () => (float[?,?] a) { [only_here] a = Sin(t) },
            else_branch = other () => (float[?,?] c) { [and_here] c = Mul(t, t) }
        >
    }"""
    return models.graph(text, 17)


def quantised() -> ModelProto:
    text = """(float[1,1,8,8] image) => (float[1,2,6,6] scores) {
        q = QuantizeLinear(image, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(wq, s, z)
        c = Conv(d, w) r = Relu(c) qr = QuantizeLinear(r, s, z) scores = DequantizeLinear(qr, s, z)
    }"""
    weights = np.arange(-9, 9, dtype=np.int8).reshape(2, 1, 3, 3)
    return models.graph(text, 13, weights={"s": np.float32(0.1), "z": np.int8(0), "wq": weights})  # type: ignore[dict-item]


@pytest.fixture
def converted(run_stage: RunStage, tmp_path: Path) -> Sequence[Path]:
    """Folders with ``model.ort`` and its configuration."""
    found = []
    for index, model in enumerate([models.convnet(), choosing(), quantised()]):
        params = {"style": "fixed", "type_reduction": True, "platform": ("linux/arm64", "linux/amd64")[index % 2]}
        path = models.write(model, tmp_path / f"{index}" / "m.onnx")
        done = run_stage("ort_convert", "onnxruntime-1.20.1", {"model": path}, params)
        assert done.facts, done.refused or done.log
        found.append(done.out)
    return found


@pytest.mark.slow
def test_a_merge_of_models_is_what_the_tools_make_of_them_together(converted: Sequence[Path], tmp_path: Path) -> None:
    merged = merge(read((folder / NAME).read_text()) for folder in converted)
    for version in models.VERSIONS:
        ask(WRITE, version, str(tmp_path / version), *(str(folder / "model.ort") for folder in converted))
        lines = (tmp_path / version).read_text().splitlines(keepends=True)
        assert merged.text() == "".join(line for line in lines if not line.startswith("#")), version
    assert {"OneHot", "If", "Sin", "Cast", "Slice", "QuantizeLinear"} <= {one.name for one in merged.operators}


@pytest.mark.slow
def test_an_ort_file_has_the_nodes_and_types_that_the_tools_see(converted: Sequence[Path]) -> None:
    for folder in converted:
        seen = json.loads(ask(NODES, "1.20.1", str(folder / "model.ort")))
        nodes = ort_file.nodes((folder / "model.ort").read_bytes(), "model.ort")
        told = [[[n.operator.domain, n.operator.opset, n.operator.name], n.name, list(n.inputs), list(n.outputs)] for n in nodes]
        assert [[*one[:1], *one[2:]] for one in told] == [[*one[:1], *one[2:]] for one in seen]
        assert all(mine[1] == theirs[1] or not theirs[1] for mine, theirs in zip(told, seen, strict=True))
        config = read((folder / NAME).read_text())
        assert config.operators == {node.operator for node in nodes}


@pytest.mark.slow
def test_a_damaged_ort_file_is_refused_or_read(converted: Sequence[Path]) -> None:
    """Whatever is cut off or overwritten: an error in words, and never another exception."""
    data = (converted[0] / "model.ort").read_bytes()
    draw = np.random.Generator(np.random.PCG64(7))
    for _ in range(200):
        cut = bytearray(data[: int(draw.integers(0, len(data)))])
        for at in draw.integers(8, max(9, len(cut)), 8) if len(cut) > 9 else []:
            cut[int(at)] = int(draw.integers(0, 256))
        try:
            ort_file.nodes(bytes(cut), "model.ort")
        except OrtolanError as error:
            assert error.what == "not an .ort file that can be read"  # noqa: PT017 - most are refused, some survive
