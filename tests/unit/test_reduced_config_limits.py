"""What a configuration names that ONNX Runtime does not know, and what no minimal build can run: by the tables of its wheels."""

from __future__ import annotations

import pytest

from ortolan.errors import OrtolanError
from ortolan.reduced.config import Operator, lacking, read
from ortolan.reduced.config_kernels import around, check_known, foreign, having, tables
from ortolan.reduced.config_limits import barred
from ortolan.reduced.config_nodes import concerned
from ortolan.reduced.ort_file import Node


def told(text: str, version: str = "1.21.0", **more: frozenset[str]) -> list[str]:
    return [str(one) for one in barred(read(text), version, **more)]


@pytest.mark.parametrize(
    ("line", "slip"),
    [
        ("ai.onnx;11;Conv,Covn", "unknown operator 'Covn' of ai.onnx. Did you mean Conv?"),
        ("com.microsoft;1;FusedConv,QGem", "unknown operator 'QGem' of com.microsoft. Did you mean QGemm?"),
        ("ai.onx;11;Conv", "unknown domain 'ai.onx' of Conv. Did you mean ai.onnx?"),
        ("ai.onnx;99;Conv", "Conv of ai.onnx has no kernel for opset 99: they are for 1 to 22"),
        ('ai.onnx;11;Conv{"inputs": {"0": ["flaot"]}}', "Conv has an unknown type 'flaot'. Did you mean float?"),
        ("com.example;1;Gear", "unknown domain 'com.example' of Gear."),
        ("!globally_allowed_types;float,flaot", "!globally_allowed_types; names an unknown type 'flaot'. Did you mean float?"),
    ],
)
def test_a_slip_is_named_with_its_line_and_the_nearest_word(line: str, slip: str) -> None:
    with pytest.raises(OrtolanError) as caught:
        check_known(f"# ours\nai.onnx;14;Reshape\n{line}\n", "fielded.config")
    assert caught.value.what.splitlines() == [f"fielded.config:3: {slip}"]
    assert "pass over what they do not know" in caught.value.why


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ai.onnx;14;Reshape\n\nai.onnx;13\n", "c:3: not a line of a configuration"),
        ("ai.onnx;14;Reshape\nai.onnx;13;Relu,\n", "c:2: an operator has no name"),
        ('ai.onnx;11;Conv\nai.onnx;22;Conv{"inputs": {"0": ["float"]}}\n', "c:2: ai.onnx Conv has inputs 0: float here"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_own_line(text: str, what: str) -> None:
    with pytest.raises(OrtolanError) as caught:
        check_known(text, "c")
    assert str(caught.value).startswith(what)


@pytest.mark.parametrize("text", ["", "\n\n", "# ours\n\n  # nothing yet\n", "!globally_allowed_types;float\n"])
def test_a_configuration_without_operators_is_refused(text: str) -> None:
    """ONNX Runtime's tools would take it for all operators."""
    with pytest.raises(OrtolanError) as caught:
        check_known(text, "c")
    assert str(caught.value).startswith("c: the configuration names no operators")
    assert "!no_ops_specified_means_all_ops_are_required" in caught.value.hint


def test_what_is_known_passes() -> None:
    for text in (
        "!no_ops_specified_means_all_ops_are_required\n",
        "!globally_allowed_types;float,int8_t\nai.onnx;13;Relu\n",
        '# ours\nai.onnx;11;Conv{"inputs": {"0": ["float"]}}\nai.onnx;14;Reshape\n',
    ):
        check_known(text, "c")


def test_all_slips_are_told_at_once() -> None:
    with pytest.raises(OrtolanError) as caught:
        check_known("ai.onnx;11;Covn\nai.onnx;14;Reluu,Reshape\n", "c")
    assert [line[:4] for line in caught.value.what.splitlines()] == ["c:1:", "c:2:"]


def test_what_some_version_knows_is_known() -> None:
    check_known('ai.onnx;11,22;Conv{"inputs": {"0": ["float"]}}\nai.onnx;23;Attention\ncom.microsoft;1;QGemm\n', "c")
    check_known("ai.onnx;12;Conv\n", "c")  # a model's opset, by which older tools wrote their lists


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("com.example;1;Gear", "no CPU kernel in ONNX Runtime 1.17.3 to 1.31.1: com.example is a domain of your own"),
        ("ai.onnx;15;Bernoulli", "a function that was not inlined"),
        ("ai.onnx;23;Attention", "ONNX Runtime 1.21.0 has no CPU kernel for it; on file"),
        ("ai.onnx;18;OptionalGetElement", "a reduced runtime is built without values that may be absent"),
        ('ai.onnx;19;QuantizeLinear{"outputs": {"0": ["Float8E5M2"]}}', "is built without 8-bit floats (Float8E5M2)"),
        ("com.microsoft;1;SparseToDenseMatMul", "is built without sparse tensors"),
        ("com.microsoft;1;Tokenizer", "is built without regular expressions"),
        ('ai.onnx;11;Conv{"inputs": {"0": ["MLFloat16"]}}', "no CPU kernel of ONNX Runtime 1.21.0 takes MLFloat16"),
    ],
)
def test_what_a_minimal_build_cannot_have(line: str, why: str) -> None:
    (found,) = told(f"ai.onnx;14;Reshape\n{line}\n")
    assert found.startswith(line.partition("{")[0])
    assert why in found


def test_what_a_minimal_build_can_have() -> None:
    text = (
        'ai.onnx;11;Conv{"inputs": {"0": ["float"]}},SequenceAt,SplitToSequence{"inputs": {"0": ["float"]}}\n'
        'ai.onnx;13;DequantizeLinear{"inputs": {"0": ["int8_t"]}},QuantizeLinear{"outputs": {"0": ["uint8_t"]}}\n'
        "ai.onnx.ml;1;TreeEnsembleClassifier\ncom.microsoft;1;FusedConv,QGemm\n"
    )
    assert [told(text, version) for version in tables()] == [[]] * len(tables())


def test_classical_models_where_they_are_switched_off() -> None:
    (found,) = told("ai.onnx.ml;1;Scaler\n", off=frozenset({"ML_OPS"}))
    assert "without the operators of classical models" in found
    assert not told("ai.onnx.ml;1;Scaler\n")


def test_between_two_tables_only_what_both_say_is_known() -> None:
    assert [table.version for table in around("1.22.1")] == ["1.21.0", "1.24.4"]
    assert not barred(read("ai.onnx;22;MaxPool\n"), "1.22.1")
    assert having(Operator("ai.onnx", 23, "Flatten"))[0] == "1.24.4"
    (found,) = barred(read("ai.onnx;23;Flatten\n"), "1.22.1")
    assert (found.sure, found.why) == (False, "whether 1.22.1 has a CPU kernel is not on file: 1.21.0 has none, 1.24.4 has one")


def test_a_version_older_or_newer_than_all_tables() -> None:
    assert [table.version for table in around("1.99.0")] == [list(tables())[-1]]
    assert [table.version for table in around("1.2.0")] == [next(iter(tables()))]


def test_what_such_a_version_has_is_not_on_file() -> None:
    assert [one for one in ("1.2.0", "1.17.3", "1.22.1", "1.31.1", "1.99.0") if foreign(one)] == ["1.2.0", "1.99.0"]
    (absent,) = barred(read("ai.onnx;1;Conv\nai.onnx;23;Flatten\n"), "1.2.0")
    assert (absent.sure, absent.why) == (False, "whether 1.2.0 has a CPU kernel is not on file: 1.17.3 has none")
    (typed,) = barred(read('ai.onnx;11;Conv{"inputs": {"0": ["MLFloat16"]}}\n'), "1.2.0")
    assert (typed.sure, typed.why) == (False, "no CPU kernel of ONNX Runtime 1.17.3 takes MLFloat16")


def test_only_nodes_of_the_missing_types_are_concerned() -> None:
    conv, onehot = Operator("ai.onnx", 11, "Conv"), Operator("ai.onnx", 11, "OneHot")
    nodes = [
        Node(conv, "first", ("float", "float"), ("float",)),
        Node(conv, "second", ("double", "double"), ("double",)),
        Node(onehot, "hot", ("int64_t", "int64_t", "float"), ("float",)),
    ]
    needed = read('ai.onnx;11;Conv{"inputs": {"0": ["double", "float"]}},OneHot{"custom": [["int64_t", "float", "int64_t"]]}\n')
    within = read('ai.onnx;11;Conv{"inputs": {"0": ["float"]}},OneHot{"custom": [["float", "float", "int64_t"]]}\n')
    assert [concerned(lack, nodes) for lack in lacking(needed, within)] == [["second"], ["hot"]]
    (absent,) = lacking(read("ai.onnx;11;Conv\n"), read("ai.onnx;14;Relu\n"))
    assert concerned(absent, nodes) == ["first", "second"]
