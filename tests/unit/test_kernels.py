"""The tables of kernels: they parse, name their sources, fit onnx's definitions, and come out of their script again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from onnx import defs

from conftest import ROOT
from ortolan.recipe.provider_data import find
from ortolan.stages.lib import kernel_table, table_rules
from ortolan.stages.lib.evidence import LISTED, REGISTERED
from ortolan.stages.lib.kernel_table import Form, KernelTable

FOLDER = ROOT / "src" / "ortolan" / "kernels"
FILES = sorted(FOLDER.glob("*.json"))
RAW: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in FILES}
TABLES = {path.stem: kernel_table.read(path, {}) for path in FILES}
TABLES |= {f"{p.stem} MLProgram": kernel_table.read(p, {"ModelFormat": "MLProgram"}) for p in FOLDER.glob("coreml-*.json")}
every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def forms(table: KernelTable) -> list[tuple[str, Form]]:
    return [(name, form) for name, all_ in table.operators.items() for form in all_]


def test_they_are_there() -> None:
    assert {path.stem.rpartition("-")[0] for path in FILES} == {
        "acl", "armnn", "coreml", "cpu", "cuda", "dml", "nnapi", "tensorrt", "xnnpack",
    }  # fmt: skip
    assert sum(path.stat().st_size for path in FILES) < 400_000


@every_file
def test_a_file_says_what_it_is_about(path: Path) -> None:
    raw = RAW[path.stem]
    assert path.stem.rpartition("-")[2] == raw["version"]
    assert find(raw["provider"]) is not None
    assert raw["level"] in {REGISTERED, LISTED}
    assert raw["software"]
    assert raw["made"].startswith("scripts/kernels.py ")
    assert all(raw["sources"]), raw["sources"]
    assert raw["qdq"] in {"nodes", "units", "none"}
    assert bool(raw["units"]) == (raw["qdq"] == "units")


@every_table
def test_ranges_are_sane(table: KernelTable) -> None:
    assert table.operators
    for name, form in forms(table):
        assert 1 <= form.since <= (form.until or form.since) < 100, name
        assert form.until is not None or table.level == LISTED, f"{name}: a registered kernel has an end"


@every_table
def test_operators_are_those_of_onnx(table: KernelTable) -> None:
    known = {(one.domain or "ai.onnx", one.name) for one in defs.get_all_schemas_with_history()}
    known |= {
        ("ai.onnx", name) for name in ("Affine", "Crop", "DynamicSlice", "FusedConv", "GivenTensorFill", "ParametricSoftplus")
    }
    known |= {
        ("ai.onnx", name)
        for name in (
            "GroupNorm",
            "ImageScaler",
            "MemcpyFromHost",
            "MemcpyToHost",
            "ScaledTanh",
            "Scale",
            "SimplifiedLayerNormalization",
        )
    }
    ours = {tuple(name.split(":")) for name in (*table.operators, *table.units, *table.unseen)}
    assert {one for one in ours if one[0].startswith("ai.onnx")} <= known | {("ai.onnx", "Gelu")}
    assert {domain for domain, _ in ours} <= {"ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal"}


@every_table
def test_types_are_types_and_rules_are_rules(table: KernelTable) -> None:
    kinds = {kind for one in defs.get_all_schemas_with_history() for c in one.type_constraints for kind in c.allowed_type_strs}
    bare = {kind.replace("tensor(", "").replace(")", "").rpartition("(")[2] for kind in kinds} | {"float8e8m0"}
    for name, form in forms(table):
        for what, allowed in form.types.items():
            assert {kind.replace(")", "").rpartition("(")[2] for kind in allowed} <= bare, (name, what)
        for rule in form.rules:
            assert {option.split()[0] for option in rule.split(" | ")} <= table_rules.NAMES, (name, rule)


@pytest.mark.parametrize("name", [name for name in RAW if RAW[name]["level"] == REGISTERED])
def test_type_names_are_those_of_the_definitions(name: str) -> None:
    """A kernel's types are named as the operator's definition names types, inputs or outputs; any other would go unchecked."""
    lost = []
    for key, form in forms(TABLES[name]):
        domain, _, op = key.partition(":")
        short = "" if domain == "ai.onnx" else domain
        if not defs.has(op, form.since, short):
            continue
        one = defs.get_schema(op, form.since, short)
        names = {p.type_str for p in (*one.inputs, *one.outputs)} | {p.name for p in (*one.inputs, *one.outputs)}
        lost += [(key, form.since, what) for what in form.types if what not in names]
    assert not lost


def test_what_is_known_for_sure_is_in_them() -> None:
    cuda, cpu, dml = (TABLES[name] for name in ("cuda-1.20.2", "cpu-1.20.1", "dml-1.24.4"))
    half = frozenset({"float16"})
    assert any(form.covers(11) and half <= form.types["T"] for form in cuda.operators["ai.onnx:Conv"])
    assert not any(form.covers(22) for form in cuda.operators["ai.onnx:Conv"])
    assert not any(half <= form.types["T"] for form in cpu.operators["ai.onnx:Conv"])
    assert cuda.opsets["ai.onnx"] == cpu.opsets["ai.onnx"] == 21
    assert [sorted(form.types["T"]) for form in dml.operators["ai.onnx:Conv"]] == [["float", "float16"]] * 2
    assert "ai.onnx:If" in dml.unseen


# --- the script ----------------------------------------------------------------------------------------------------


def kernels(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", str(ROOT / "scripts" / "kernels.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("kind", "file"), [("xnnpack", "xnnpack-1.17.0"), ("acl", "acl-1.20.0"), ("armnn", "armnn-1.17.0")])
def test_the_script_makes_the_same_file_again(tmp_path: Path, kind: str, file: str) -> None:
    done = kernels("--out", str(tmp_path), kind)
    assert not done.returncode, done.stderr
    assert (tmp_path / f"{file}.json").read_bytes() == (FOLDER / f"{file}.json").read_bytes()


DOCUMENT = """A parser for the inclusive range of opset 9 to opset 20.

| Operator | Supported | Supported Types | Restrictions |
|----------|-----------|-----------------|--------------|
| Abs      | Y         | FP32, FP16, INT32 |
| Cast     | Y         | FP32, , INT64   |   |
| Det      | N         |
| MaxPool  | Y         | FP32            | two or three axes |
| If       | Y         | FP32, BOOL      | something about branches
"""


def test_a_document_of_tensorrt_becomes_a_table(tmp_path: Path) -> None:
    (tmp_path / "operators.md").write_text(DOCUMENT)
    done = kernels("--out", str(tmp_path), "tensorrt", str(tmp_path / "operators.md"), "9.9-GA", "1.99.0")
    assert not done.returncode, done.stderr
    table = kernel_table.read(tmp_path / "tensorrt-1.99.0.json", {})
    assert (table.software, table.level, table.opsets) == ("the operators of onnx-tensorrt 9.9-GA", LISTED, {"ai.onnx": 20})
    assert set(table.operators) == {"ai.onnx:Abs", "ai.onnx:Cast", "ai.onnx:MaxPool", "ai.onnx:If"}
    assert table.operators["ai.onnx:Abs"] == [Form(1, None, {"in 0": frozenset({"float", "float16", "int32"})}, (), "")]
    assert table.operators["ai.onnx:Cast"][0].types == {"in 0": frozenset({"float", "int64"})}
    assert table.operators["ai.onnx:MaxPool"][0].rules == ("rank 0 4 5", "without 1")
    assert set(table.operators["ai.onnx:If"][0].types) == {"out 0"}
    repository = TABLES["tensorrt-1.19.0"].operators["ai.onnx:MaxPool"][0]
    assert repository.rules == table.operators["ai.onnx:MaxPool"][0].rules


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("INT32 |", "INT32 | a new restriction", "Abs has a restriction that has no rule yet: a new restriction"),
        ("FP32            |", "FP6 |", "FP6"),
        ("inclusive range of opset", "opsets", "does not say which opsets"),
    ],
)
def test_a_document_that_says_something_new_is_an_error(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in DOCUMENT
    (tmp_path / "operators.md").write_text(DOCUMENT.replace(old, new))
    done = kernels("--out", str(tmp_path), "tensorrt", str(tmp_path / "operators.md"), "9.9-GA", "1.99.0")
    assert done.returncode
    assert words in done.stderr
    assert not list(tmp_path.glob("*.json"))
