"""Models against tables of kernels: each verdict with its why and fix, and the CPU's table against real sessions of the CPU."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, defs, helper, numpy_helper

import models
from conftest import ROOT, RunStage
from ortolan import runtime
from ortolan.cache import user_cache
from ortolan.stages.lib import evidence
from ortolan.stages.lib.evidence import LISTED, REGISTERED, UNSUPPORTED, Evidence, Verdict

KERNELS = ROOT / "src" / "ortolan" / "kernels"
Ask = Callable[..., Evidence]


@pytest.fixture
def ask(run_stage: RunStage, tmp_path: Path) -> Ask:
    """The evidence of a table on a model, by the stage itself in its runtime."""
    count = itertools.count()

    def run(model: ModelProto | Path, table: str, version: str = "", **options: Any) -> Evidence:
        version = version or table.partition("-")[2]
        path = model if isinstance(model, Path) else models.write(model, tmp_path / f"asked-{next(count)}" / "m.onnx")
        provider = {"name": json.loads((KERNELS / f"{table}.json").read_text())["provider"], "options": options}
        inputs = {"model": path, "table": KERNELS / f"{table}.json"}
        done = run_stage("evidence_table", "tools", inputs, {"provider": provider, "version": version})
        assert done.facts, done.error or done.log
        found = evidence.read(done.out / "evidence.json")
        assert done.facts["provider"] == found.provider == provider["name"]
        assert sum(done.facts["levels"].values()) == len(found.nodes)
        return found

    return run


def levels(found: Evidence) -> list[str]:
    return [verdict.level for verdict in found.nodes]


def one(found: Evidence) -> Verdict:
    assert len(found.nodes) == 1
    return found.nodes[0]


# --- what a table says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["cpu-1.17.3", "cpu-1.31.1", "cuda-1.20.2", "cuda-1.31.1", "dml-1.24.4"])
def test_a_plain_network_is_registered(ask: Ask, table: str) -> None:
    assert levels(ask(models.convnet(), table)) == [REGISTERED] * 5


@pytest.mark.parametrize("table", ["nnapi-1.17.3", "coreml-1.30.0", "tensorrt-1.19.0"])
def test_what_documents_list_is_listed(ask: Ask, table: str) -> None:
    found = ask(models.convnet(batch=1), table)
    assert levels(found) == [LISTED] * 5
    assert found.nodes[0].why == ""


def test_the_source_names_the_version_that_was_asked(ask: Ask) -> None:
    assert ask(models.convnet(), "cuda-1.31.1", "1.31.1").source == "onnxruntime-gpu 1.31.1"
    assert ask(models.convnet(), "cuda-1.20.2", "1.20.1").source == "onnxruntime-gpu 1.20.2, the nearest on file to 1.20.1"
    source = ask(models.convnet(), "tensorrt-1.19.0", "1.20.1").source
    assert source == "the operators of onnx-tensorrt 10.1-GA (file of 1.19.0)"


def test_a_newer_table_registers_nothing(ask: Ask) -> None:
    """What a newer minor version has says little of an older one; a newer patch of the same says as much."""
    assert levels(ask(models.convnet(), "cuda-1.31.1", "1.30.0")) == [LISTED] * 5
    assert levels(ask(models.convnet(), "cuda-1.20.2", "1.20.1")) == [REGISTERED] * 5


def test_an_unknown_domain_is_named(ask: Ask) -> None:
    model = models.graph("(float[2] x) => (float[2] y) { y = my.domain.Twirl(x) }", my_domain=1)
    verdict = one(ask(model, "cuda-1.20.2"))
    assert verdict.level == UNSUPPORTED
    assert verdict.why == "unknown domain 'my.domain'"
    assert "replace Twirl by operators of ai.onnx" in verdict.fix


def test_an_operator_that_the_table_lacks_is_named(ask: Ask) -> None:
    model = models.graph("(float[2,2] x) => (float y) { y = Det(x) }")
    assert one(ask(model, "cpu-1.20.1")).level == REGISTERED
    assert one(ask(model, "cuda-1.20.2")) == Verdict(UNSUPPORTED, "onnxruntime-gpu 1.20.2 has no kernel for Det")
    assert one(ask(model, "tensorrt-1.19.0")) == Verdict(UNSUPPORTED, "Det is not in the operators of onnx-tensorrt 10.1-GA")


def test_an_operator_with_a_body_says_what_it_consists_of(ask: Ask) -> None:
    model = models.graph("(float[2,2] x) => (float[2,2] y) { y = Mish(x) }", 18)
    verdict = one(ask(model, "cuda-1.20.2"))
    assert verdict.level == UNSUPPORTED
    assert verdict.fix == "replace it by what it is defined as: Mul, Softplus, Tanh"


def test_contrib_operators_have_definitions_too(ask: Ask) -> None:
    text = "(float[2,4] x) => (float[2,4] y) { z = com.microsoft.Gelu(x)  y = Relu(z) }"
    assert levels(ask(models.graph(text, com_microsoft=1), "cuda-1.20.2")) == [REGISTERED] * 2
    half = models.graph(text.replace("float[", "double["), com_microsoft=1)
    assert levels(ask(half, "cuda-1.20.2")) == [REGISTERED, REGISTERED]
    assert levels(ask(models.graph(text, com_microsoft=1), "nnapi-1.17.3"))[0] == UNSUPPORTED


def test_an_opset_that_the_runtime_does_not_load(ask: Ask) -> None:
    model = models.convnet(23, batch=1)
    found = ask(model, "cuda-1.20.2")
    assert set(levels(found)) == {UNSUPPORTED}
    assert found.nodes[1] == Verdict(
        UNSUPPORTED, "opset 23 of ai.onnx; onnxruntime-gpu 1.20.2 goes up to 21", "needs opset 21 or older"
    )
    assert levels(ask(model, "cuda-1.31.1")) == [REGISTERED] * 5
    assert (
        ask(model, "tensorrt-1.19.0").nodes[0].why == "opset 23 of ai.onnx; the operators of onnx-tensorrt 10.1-GA goes up to 20"
    )


def test_an_operator_whose_definition_is_newer_than_the_kernels(ask: Ask) -> None:
    model = models.graph("(float[2,2] x) => (float[1,2] y) { y = ReduceMean<axes=[0]>(x) }", 13)
    assert one(ask(model, "dml-1.24.4")).level == REGISTERED
    conv = models.convnet(22, batch=1)
    verdict = ask(conv, "xnnpack-1.17.0").nodes[0]
    assert verdict == Verdict(UNSUPPORTED, "Conv of opset 22 is not in XNNPACK's list of operators", "needs opset 21 or older")
    old = models.convnet(10, batch=1)
    verdict = ask(old, "acl-1.20.0").nodes[0]
    assert verdict.why == "Conv of opset 10 (as of 1) is not in ACL's list of kernels"
    assert verdict.fix == "needs opset 11 or newer"


@pytest.mark.parametrize(
    ("kind", "table", "why", "fix"),
    [
        ("int64", "cuda-1.20.2", "'x' is int64; bfloat16, double, float, float16 are taken", "cast 'x' to float"),
        ("bfloat16", "cpu-1.20.1", "'x' is bfloat16; double, float are taken", "cast 'x' to float"),
        ("double", "nnapi-1.17.3", "'x' is double; float, int32, int8, uint8 are taken", "cast 'x' to float"),
        ("float16", "cpu-1.20.1", "'x' is float16; double, float are taken", "cast 'x' to float"),
        ("double", "dml-1.24.4", "'x' is double; float, float16 are taken", "cast 'x' to float"),
    ],
)
def test_a_wrong_type_is_named_with_those_that_are_taken(ask: Ask, kind: str, table: str, why: str, fix: str) -> None:
    op = "Sqrt"
    elem = {
        "int64": TensorProto.INT64,
        "bfloat16": TensorProto.BFLOAT16,
        "double": TensorProto.DOUBLE,
        "float16": TensorProto.FLOAT16,
    }[kind]
    infos = [helper.make_tensor_value_info(name, elem, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", infos[:1], infos[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert one(ask(model, table)) == Verdict(UNSUPPORTED, why, fix)


def test_a_type_that_nobody_can_tell_counts_against_a_node(ask: Ask) -> None:
    loose = models.graph("(float[2] x) => (int64[k] y) { z = my.domain.Twirl(x)  y = Shape(z) }", my_domain=1)
    verdict = ask(loose, "cuda-1.20.2").nodes[1]
    assert (verdict.level, verdict.why) == (UNSUPPORTED, "the type of 'z' is unknown")
    loose.graph.value_info.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    assert ask(loose, "cuda-1.20.2").nodes[1].level == REGISTERED


def test_dynamic_shapes_where_fixed_ones_are_asked_for(ask: Ask) -> None:
    found = ask(models.convnet(), "nnapi-1.17.3")
    assert set(levels(found)) == {UNSUPPORTED}
    assert found.nodes[0].why == "axis 0 of 'image' is dynamic ('batch'); NnapiExecutionProvider takes fixed shapes only"
    assert found.nodes[0].fix == "give the axis 'batch' a size in [shapes]"
    assert levels(ask(models.convnet(), "coreml-1.30.0")) == [LISTED] * 5
    assert set(levels(ask(models.convnet(), "coreml-1.30.0", RequireStaticInputShapes=True))) == {UNSUPPORTED}


def test_a_shape_that_depends_on_data(ask: Ask) -> None:
    text = "(float[4] x) => (float[k] y) { n = NonZero(x)  s = Squeeze<axes=[0]>(n)  y = Gather(x, s) }"
    verdict = ask(models.graph(text, 12), "nnapi-1.17.3").nodes[2]
    assert verdict.level == UNSUPPORTED
    assert "is dynamic" in verdict.why
    assert ask(models.graph(text, 12), "cuda-1.20.2").nodes[2].level == REGISTERED


def test_too_many_axes_for_coreml(ask: Ask) -> None:
    model = models.graph("(float[1,1,1,1,1,2] x) => (float[1,1,1,1,1,2] y) { y = Relu(x) }")
    assert one(ask(model, "coreml-1.30.0")) == Verdict(
        UNSUPPORTED, "'x' has 6 axes; at most 5 are taken", "reshape 'x' to fewer axes"
    )


def test_an_option_chooses_the_operators(ask: Ask) -> None:
    model = models.graph("(float[2] x) => (float[2] y) { y = Exp(x) }")
    refused = one(ask(model, "coreml-1.30.0"))
    assert (refused.level, refused.fix) == (UNSUPPORTED, "the provider's option ModelFormat = 'MLProgram' takes it")
    assert one(ask(model, "coreml-1.30.0", ModelFormat="MLProgram")).level == LISTED


def test_rules_of_a_table_are_checked(ask: Ask) -> None:
    volume = models.graph(
        "(float[1,2,4,4,4] x) => (float[1,3,4,4,4] y) { y = Conv<pads=[1,1,1,1,1,1]>(x, w) }",
        weights={"w": np.zeros((3, 2, 3, 3, 3), np.float32)},
    )
    assert one(ask(volume, "nnapi-1.17.3")) == Verdict(UNSUPPORTED, "'x' has 5 axes; 4 axes are taken", "give 'x' 4 axes")
    computed = models.graph("(float[1,2,4,4] x, float[3,2,1,1] w) => (float[1,3,4,4] y) { y = Conv(x, w) }")
    refused = one(ask(computed, "xnnpack-1.17.0"))
    assert (refused.why, refused.fix) == ("'w' is computed; only a constant is taken", "make 'w' an initializer")
    assert one(ask(computed, "tensorrt-1.19.0")).level == LISTED
    pool = models.graph(
        "(float[1,2,4,4] x) => (float[1,2,2,2] y) { y = MaxPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x) }"
    )
    assert one(ask(pool, "xnnpack-1.17.0")).why == "ceil_mode is 1; 0 is taken"
    nearest = models.graph(
        "(float[1,1,2,2] x) => (float[1,1,4,4] y) { y = Resize(x, , s) }", weights={"s": np.array([1, 1, 2, 2], np.float32)}
    )
    assert one(ask(nearest, "xnnpack-1.17.0")).why == "mode is nearest; linear is taken"  # the default counts, too


def test_an_activation_that_xnnpack_takes_only_behind_a_convolution(ask: Ask) -> None:
    found = ask(models.convnet(batch=1), "xnnpack-1.17.0")
    assert levels(found) == [LISTED, LISTED, UNSUPPORTED, UNSUPPORTED, LISTED]
    alone = one(ask(models.graph("(float[1,2] x) => (float[1,2] y) { y = Relu(x) }"), "xnnpack-1.17.0"))
    assert alone.why.startswith("Relu is taken only when it fuses with a Conv")


def test_a_note_that_nobody_checks_is_said(ask: Ask) -> None:
    model = models.graph("(float[1,2,4,4] x) => (float[1,2,2,2] y) { y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) }")
    assert one(ask(model, "tensorrt-1.19.0")) == Verdict(LISTED, "not checked: dilations of 1")


# --- graphs in nodes, functions, odd constants ---------------------------------------------------------------------


def test_a_local_function_is_told_to_be_inlined(ask: Ask) -> None:
    function = '<domain: "local", opset_import: ["": 17]> Twice(x) => (y) { y = Add(x, x) }'
    model = models.graph("(float[2] x) => (float[2] y) { y = local.Twice(x) }", functions=function, local=1)
    verdict = one(ask(model, "cuda-1.20.2"))
    assert verdict.why == "Twice is a function of the model's own"
    assert "inline" in verdict.fix


@pytest.mark.parametrize(("op", "level"), [("Relu", REGISTERED), ("Det", UNSUPPORTED)])
def test_a_node_with_graphs_is_what_its_weakest_node_is(ask: Ask, op: str, level: str) -> None:
    inside = {"Relu": "t = Relu(x)", "Det": "m = Reshape(x, s)  d = Det(m)  t = Expand(d, n)"}[op]
    model = models.graph(
        f"(bool c, float[4] x) => (float[4] y) {{ y = If(c)<then_branch = a() => (float[4] t) {{ {inside} }}, "
        "else_branch = b() => (float[4] e) { e = Neg(x) }> }",
        weights={"s": np.array([2, 2]), "n": np.array([4])},
    )
    verdict = one(ask(model, "cuda-1.20.2"))
    assert verdict.level == level
    assert level == REGISTERED or verdict.why.startswith("inside: Det '-> d': onnxruntime-gpu 1.20.2 has no kernel for Det")
    assert one(ask(model, "nnapi-1.17.3")).why == "If is not in the NNAPI table of onnxruntime 1.31.1"


def test_what_a_table_cannot_see_is_said(ask: Ask) -> None:
    model = models.graph(f"(bool c, float[2] x) => (float[2] y) {{ {models.branches('t = Relu(x)', 'e = Neg(x)')} }}")
    assert (
        one(ask(model, "dml-1.24.4")).why == "onnxruntime-directml 1.24.4 has If, but for which opsets and types cannot be seen"
    )


def test_a_sparse_initializer_and_constants_have_types(ask: Ask) -> None:
    model = models.graph(
        "(float[2,2] x) => (float[2,2] y) { c = Constant<value = float[2] {1, 2}>()  z = Add(x, c)  y = MatMul(z, w) }"
    )
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([1.0], np.float32), "w"), numpy_helper.from_array(np.array([0])), [2, 2]
    )
    model.graph.sparse_initializer.append(sparse)
    assert levels(ask(model, "cpu-1.20.1")) == [REGISTERED] * 3
    assert levels(ask(model, "nnapi-1.17.3")) == [LISTED] * 3


def test_an_empty_graph_has_no_verdicts(ask: Ask) -> None:
    model = helper.make_model(helper.make_graph([], "empty", [], []), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert ask(model, "cuda-1.20.2").nodes == []


# --- Q/DQ ----------------------------------------------------------------------------------------------------------


def quantised(activations: str = "uint8", weights: str = "int8", zero: int = 0, op: str = "Conv") -> ModelProto:
    """x -> Q -> DQ -> op(DQ(w)) -> Q -> DQ -> y"""
    constants: dict[str, Any] = {"s": np.array(0.1, np.float32), "za": np.array(zero, activations)}
    constants |= {"zw": np.array(0, weights), "w": np.ones((2, 2, 1, 1), weights)} if op == "Conv" else {}
    inner = {"Conv": "m = Conv(a, b)", "Tanh": "m = Tanh(a)"}[op]
    return models.graph(
        f"""(float[1,2,4,4] x) => (float[1,2,4,4] y) {{
            q = QuantizeLinear(x, s, za)
            a = DequantizeLinear(q, s, za)
            {"b = DequantizeLinear(w, s, zw)" if op == "Conv" else ""}
            {inner}
            r = QuantizeLinear(m, s, za)
            y = DequantizeLinear(r, s, za)
        }}""",
        weights=constants,
    )


def test_nnapi_takes_a_quantised_unit_whole(ask: Ask) -> None:
    assert levels(ask(quantised(), "nnapi-1.17.3")) == [LISTED] * 6


def test_a_unit_of_the_wrong_types_is_refused_with_all_that_belongs_to_it(ask: Ask) -> None:
    found = ask(quantised("int8"), "nnapi-1.17.3")
    assert levels(found)[1:5] == [UNSUPPORTED] * 4
    why = "Conv quantised as int8 with int8; uint8 with uint8 or uint8 with int8 is taken"
    assert found.nodes[3] == Verdict(UNSUPPORTED, why, "quantise as uint8 with uint8 or uint8 with int8")
    assert found.nodes[2].why == f"goes with Conv '-> m': {why}"


def test_xnnpack_takes_units_of_one_type(ask: Ask) -> None:
    taken = ask(quantised("int8", "int8"), "xnnpack-1.17.0")
    assert levels(taken) == [UNSUPPORTED, LISTED, LISTED, LISTED, LISTED, UNSUPPORTED]  # the outermost two stand in no unit
    assert "is taken only around an operator" in taken.nodes[0].why
    assert "uint8 with int8; int8 with int8 or uint8 with uint8" in ask(quantised(), "xnnpack-1.17.0").nodes[3].why


@pytest.mark.parametrize(("kind", "level"), [("int32", LISTED), ("float32", UNSUPPORTED)])
def test_a_unit_with_a_bias_in_float_is_none(ask: Ask, kind: str, level: str) -> None:
    model = quantised("int8", "int8")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2, kind), "bias"))
    if kind == "int32":
        model.graph.node.insert(3, helper.make_node("DequantizeLinear", ["bias", "s"], ["b3"]))
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.input.append("b3" if kind == "int32" else "bias")
    found = ask(model, "xnnpack-1.17.0")
    assert {verdict.level for verdict in found.nodes[1:-1]} == {level}
    assert level == LISTED or found.nodes[3].why == "the bias 'bias' of the quantised Conv is no int32 behind DequantizeLinear"


def test_an_operator_without_a_quantised_form(ask: Ask) -> None:
    verdict = ask(quantised(op="Tanh"), "nnapi-1.17.3").nodes[2]
    assert verdict == Verdict(
        UNSUPPORTED, "Tanh between DequantizeLinear and QuantizeLinear is not taken", "leave Tanh out of quantisation"
    )


def test_coreml_takes_nothing_of_an_int8_model(ask: Ask) -> None:
    found = ask(quantised(), "coreml-1.30.0")
    assert set(levels(found)) == {UNSUPPORTED}
    assert found.nodes[0].why == "CoreMLExecutionProvider takes no Q/DQ"
    assert found.nodes[3].why == "Conv reads int8 through DequantizeLinear, and CoreMLExecutionProvider takes no Q/DQ"
    assert "ship the float model" in found.nodes[3].fix


def test_tensorrt_wants_signed_and_symmetric_values(ask: Ask) -> None:
    assert levels(ask(quantised("int8"), "tensorrt-1.19.0")) == [LISTED] * 6
    skewed = ask(quantised("int8", zero=3), "tensorrt-1.19.0").nodes[0]
    assert (skewed.level, skewed.why) == (UNSUPPORTED, "zero point 'za' is not 0")
    unsigned = ask(quantised(), "tensorrt-1.19.0")
    assert (unsigned.nodes[0].why, unsigned.nodes[0].fix) == (
        "'q' is uint8; int8, float8e4m3fn, int4 is taken",
        "quantise to int8",
    )
    assert (unsigned.nodes[1].level, unsigned.nodes[1].fix) == (UNSUPPORTED, "quantise to int8")


def test_an_int32_bias_is_told_to_stay_in_float(ask: Ask) -> None:
    model = models.graph(
        "(float[1,2] x) => (float[1,2] y) { b = DequantizeLinear(w, s)  y = Add(x, b) }",
        weights={"w": np.array([1, 2], np.int32), "s": np.array(0.1, np.float32)},
    )
    verdict = ask(model, "tensorrt-1.19.0").nodes[0]
    assert (verdict.level, verdict.fix) == (UNSUPPORTED, "leave 'w', a bias, in float")
    assert verdict.why == "'w' is int32; float8e4m3fn, int4, int8 are taken"


def test_a_constant_behind_dq_goes_with_its_reader(ask: Ask) -> None:
    model = models.graph(
        "(float[2,2] x) => (float y) { b = DequantizeLinear(w, s)  z = Add(x, b)  d = Mul(b, z)  y = Det(d) }",
        weights={"w": np.array([1, 2], np.int8), "s": np.array(0.1, np.float32)},
    )
    assert levels(ask(model, "cuda-1.20.2")) == [REGISTERED, REGISTERED, REGISTERED, UNSUPPORTED]
    alone = models.graph(
        "() => (float y) { b = DequantizeLinear(w, s)  y = Det(b) }",
        weights={"w": np.ones((2, 2), np.int8), "s": np.array(0.1, np.float32)},
    )
    verdict = ask(alone, "cuda-1.20.2").nodes[0]
    assert (verdict.level, verdict.why) == (UNSUPPORTED, "goes with Det '-> y': onnxruntime-gpu 1.20.2 has no kernel for Det")


# --- real models, speed and sameness -------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["cuda-1.20.2", "dml-1.24.4", "cpu-1.31.1"])
@pytest.mark.parametrize("name", ["gtcrn_simple", "mnist_cntk", "ultraface_rfb320"])
def test_the_real_models_are_registered(ask: Ask, shared_data: Path, name: str, table: str) -> None:
    assert set(levels(ask(shared_data / "onnx" / f"{name}.onnx", table))) == {REGISTERED}


def test_the_usability_checker_says_the_same_of_the_real_models(ask: Ask, shared_data: Path, tmp_path: Path) -> None:
    """ONNX Runtime's own checker looks at names, shapes and ranks only: what it refuses, the table refuses, and never less."""
    made = runtime.ensure(runtime.find("tools", [ROOT / "runtimes"]), user_cache().runtimes)
    (tmp_path / "check.py").write_text(USABILITY)
    for name, table, tables in (
        ("gtcrn_simple", "nnapi-1.17.3", "nnapi"), ("ultraface_rfb320", "nnapi-1.17.3", "nnapi"),
        ("mnist_cntk", "nnapi-1.17.3", "nnapi"), ("gtcrn_simple", "coreml-1.30.0", "coreml"),
        ("ultraface_rfb320", "coreml-1.30.0", "coreml"),
    ):  # fmt: skip
        path = shared_data / "onnx" / f"{name}.onnx"
        command = [str(made.interpreter), "-B", str(tmp_path / "check.py"), str(path), tables]
        theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        ours = ask(path, table).nodes
        unlisted = {v.why.split()[0] for v in ours if " is not in the " in v.why}
        assert unlisted == {op.rpartition(":")[2] for op in theirs["ops"]} - {"Constant"}
        assert sum(v.level != UNSUPPORTED for v in ours) <= theirs["supported"] + theirs["constants"]


USABILITY = """
import json, sys
import onnx
from onnxruntime.tools.mobile_helpers import usability_checker as checker
model = onnx.shape_inference.infer_shapes(onnx.load(sys.argv[1]))
if sys.argv[2] == "nnapi":
    info = checker.check_nnapi_partitions(model, True)
else:
    info = checker.check_coreml_partitions(model, False, "coreml_supported_neuralnetwork_ops.md")
constants = sum(node.op_type == "Constant" for node in model.graph.node)
print(json.dumps({"ops": sorted(info.unsupported_ops), "supported": info.num_supported_nodes, "constants": constants}))
"""


def test_the_same_model_gives_the_same_bytes(run_stage: RunStage, tmp_path: Path) -> None:
    table = KERNELS / "xnnpack-1.17.0.json"
    params = {"provider": {"name": "XnnpackExecutionProvider", "options": {}}, "version": "1.20.1"}
    found = set()
    for folder in ("a", "b/c"):
        path = models.write(quantised(), tmp_path / folder / "m.onnx")
        found.add(
            (run_stage("evidence_table", "tools", {"model": path, "table": table}, params).out / "evidence.json").read_bytes()
        )
    assert len(found) == 1


def test_a_thousand_nodes_are_quick(ask: Ask, tmp_path: Path) -> None:
    steps = "  ".join(f"v{i + 1} = {('Relu', 'Exp', 'Sigmoid', 'Neg')[i % 4]}(v{i})" for i in range(1000))
    path = models.write(models.graph(f"(float[1,8] v0) => (float[1,8] v1000) {{ {steps} }}"), tmp_path / "long.onnx")
    assert levels(ask(path, "cuda-1.20.2")) == [REGISTERED] * 1000
    made = runtime.ensure(runtime.find("tools", [ROOT / "runtimes"]), user_cache().runtimes)
    command = [str(made.interpreter), "-B", "-c", TIMED, str(path), str(KERNELS / "cuda-1.20.2.json"), str(tmp_path)]
    environment = {"PYTHONPATH": str(ROOT / "src" / "ortolan"), "HOME": str(tmp_path)}
    seconds = float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert seconds < 1


TIMED = """
import sys, time
from pathlib import Path
import onnx
from stages import evidence_table
began = time.perf_counter()
inputs = {"model": Path(sys.argv[1]), "table": Path(sys.argv[2])}
evidence_table.run(inputs, {"provider": {"name": "CUDAExecutionProvider", "options": {}}, "version": "1.20.1"}, Path(sys.argv[3]))
print(time.perf_counter() - began)
"""


# --- the truth -----------------------------------------------------------------------------------------------------


OPERATORS = (
    "Abs",
    "Ceil",
    "Cos",
    "Erf",
    "Exp",
    "Floor",
    "Identity",
    "IsNaN",
    "Neg",
    "Not",
    "Relu",
    "Round",
    "Sign",
    "Sin",
    "Sqrt",
)
KINDS = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT32", "INT64", "UINT64", "BOOL", "STRING")
OPENED = """
import json, sys
from pathlib import Path
import onnxruntime
onnxruntime.set_default_logger_severity(4)
def opens(path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return str(error).splitlines()[0]
    return ""
print(json.dumps({path.stem: opens(path) for path in sorted(Path(sys.argv[1]).glob("*.onnx"))}))
"""


def cases(opset: int) -> dict[str, ModelProto]:
    """A model for each operator and each type that its definition allows at this opset."""
    found = {}
    for op, kind in itertools.product(OPERATORS, KINDS):
        schema = defs.get_schema(op, opset)
        allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
        if f"tensor({kind.lower()})" in allowed[schema.inputs[0].type_str]:
            elem = TensorProto.DataType.Value(kind)
            out = elem if schema.outputs[0].type_str == schema.inputs[0].type_str else TensorProto.BOOL
            infos = [helper.make_tensor_value_info(f"{op}-{kind}-{n}", e, [2]) for n, e in (("x", elem), ("y", out))]
            graph = helper.make_graph([helper.make_node(op, [infos[0].name], [infos[1].name])], "g", infos[:1], infos[1:])
            imports = [helper.make_opsetid("", opset)]
            found[f"{op}-{kind}"] = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return found


def joined(parts: dict[str, ModelProto]) -> ModelProto:
    """All of them in one model, so that one run of the stage judges them."""
    graphs = [model.graph for model in parts.values()]
    graph = helper.make_graph(
        [graph.node[0] for graph in graphs], "g", [graph.input[0] for graph in graphs], [graph.output[0] for graph in graphs]
    )
    return helper.make_model(graph, opset_imports=[next(iter(parts.values())).opset_import[0]], ir_version=8)


@pytest.mark.parametrize("opset", [12, 17, 22])
@pytest.mark.parametrize("version", models.VERSIONS)
def test_the_cpu_table_says_what_real_sessions_say(ask: Ask, tmp_path: Path, version: str, opset: int) -> None:
    """Node by node: registered where a session opens, unsupported where it finds no implementation.

    One exception: for float16 without a kernel ONNX Runtime puts casts around the node and runs the float32 kernel.
    """
    parts = cases(opset)
    for name, model in parts.items():
        models.write(model, tmp_path / "parts" / f"{name}.onnx")
    made = runtime.ensure(runtime.find(f"onnxruntime-{version}", [ROOT / "runtimes"]), user_cache().runtimes)
    command = [str(made.interpreter), "-B", "-c", OPENED, str(tmp_path / "parts")]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    ours = dict(zip(parts, ask(joined(parts), f"cpu-{version}", version).nodes, strict=True))
    wrong = {name: (ours[name], theirs[name]) for name in parts if (ours[name].level == REGISTERED) != (not theirs[name])}
    assert {name for name in wrong if not (name.endswith("-FLOAT16") and ours[name].level == UNSUPPORTED)} == set()
    assert len(parts) > 60
    loads = opset <= {"1.17.3": 20, "1.20.1": 21, "1.31.1": 26}[version]
    assert {verdict.level for verdict in ours.values()} == ({REGISTERED, UNSUPPORTED} if loads else {UNSUPPORTED})


@pytest.mark.parametrize("version", models.VERSIONS)
def test_real_models_whose_nodes_are_registered_open(ask: Ask, shared_data: Path, tmp_path: Path, version: str) -> None:
    """All nodes registered: the session finds all implementations. One missing: the session says so too."""
    made = runtime.ensure(runtime.find(f"onnxruntime-{version}", [ROOT / "runtimes"]), user_cache().runtimes)
    kept = [*sorted((shared_data / "onnx").glob("*.onnx")), *sorted((shared_data / "odd").glob("*.onnx"))]
    kept = [path for path in kept if path.stem not in {"ext_weights", "empty", "bad_graph_with_no_name"}]
    folder = tmp_path / "kept"
    folder.mkdir()
    for path in kept:
        (folder / path.name).write_bytes(path.read_bytes())
    command = [str(made.interpreter), "-B", "-c", OPENED, str(folder)]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    ours = {path.stem: set(levels(ask(path, f"cpu-{version}", version))) == {REGISTERED} for path in kept}
    lacking = (
        "Could not find an implementation",
        "is not a registered function/op",
        "No Op registered",
        "No opset import for domain",
    )
    lacks = {name: any(words in error for words in lacking) for name, error in theirs.items()}
    assert {name: theirs[name] for name in ours if ours[name] == lacks[name]} == {}
    assert sum(lacks.values()) >= 3
