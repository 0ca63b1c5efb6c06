"""Models that are hard on generated code: odd names, all types of tensors, dynamic axes, scalars, several outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

ATTACKS = (
    'quote" + evil() + "',
    "quote' + evil() + '",
    "line\nevil()\r\nevil()",
    "line\u2028evil()\u2029evil()\u0085evil()",
    "end */ evil(); /*",
    "end *\\ evil(); /\\*",
    "end --> <b>evil</b> <!--",
    "</script><script>evil()</script>",
    "$(rm evil) ${evil} `evil`",
    "%s %n %d %(evil)s",
    "??/ ??' evil",
    "backslash \\",
    "backslash \\\nevil()",
    "bidi \u202e evil \u2066 evil \u2069",
    "{{7*7}} {% evil %} {# evil #}",
    "controls \x01\x07\x1b[31m\x7f\x9f",
    "coding: utf-7 +AG8-",
    "syntax=evil/frontend",
    "+build evil",
    '""" + evil() + """',
    "''' + evil() + '''",
    "${{ evil }} #{evil}",
    "&quot; onload=evil() x=&",
    "- evil: [*evil, &evil] #evil",
    "🐦\U0001f600 ünï 名前",
    "", " ", "-", "0", "../../evil",
)  # fmt: skip
"""Texts that would do harm, or break what they stand in, were they printed as they are."""

KEYWORDS = (
    "class",
    "type",
    "func",
    "int",
    "self",
    "new",
    "await",
    "import",
    "np",
    "ort",
    "None",
    "then",
    "constructor",
    "__proto__",
)

TYPES = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32,
    TensorProto.INT64, TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64, TensorProto.BOOL,
)  # fmt: skip


def every_type() -> ModelProto:
    """Each type in and out: with a dynamic axis and a fixed one, and once as a scalar; one sum over what it is fed."""
    nodes, inputs, outputs = [], [], []
    for kind in TYPES:
        name = TensorProto.DataType.Name(kind).lower()
        inputs += [_value(f"{name} x", kind, ["rows", 3]), _value(f"{name}.x", kind, [])]
        outputs += [_value(f"{name}:y", kind, ["rows", 3]), _value(f"{name}/y", kind, [])]
        nodes += [
            helper.make_node("Identity", [f"{name} x"], [f"{name}:y"]),
            helper.make_node("Identity", [f"{name}.x"], [f"{name}/y"]),
        ]
    inputs.append(_value("b", TensorProto.FLOAT16, [3, "columns"]))
    outputs.append(_value("sum", TensorProto.FLOAT16, ["rows", "columns"]))
    nodes.append(helper.make_node("MatMul", ["float16 x", "b"], ["sum"]))
    return _model("types", nodes, inputs, outputs)


def odd_names() -> ModelProto:
    """Every attack as the name of an input, of an output and of an axis; and keywords, and names that are alike when cleaned."""
    names = [name for name in (*ATTACKS, *KEYWORDS, "x:0", "x.0", "x/0", "X_0", "x 0 2") if name]
    inputs = [_value(name, TensorProto.FLOAT, [f"axis {name}", 2]) for name in names]
    outputs = [_value(f"{name} ", TensorProto.FLOAT, [f"axis {name}", 2]) for name in names]
    nodes = [helper.make_node("Neg", [name], [f"{name} "]) for name in names]
    return _model("odd", nodes, inputs, outputs)


def _value(name: str, kind: int, shape: Sequence[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    name: str, nodes: Sequence[NodeProto], inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
) -> ModelProto:
    graph = helper.make_graph(nodes, name, inputs, outputs)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def texts() -> ModelProto:
    """A text for each truth value, and an output that depends on no input. No recipe takes texts as inputs."""
    words = [numpy_helper.from_array(np.array(name, np.object_), name) for name in ("jä", 'no"\n')]
    constant = helper.make_node("Constant", [], ["k"], value=helper.make_tensor("v", TensorProto.INT64, [2], [3, 4]))
    where = helper.make_node("Where", ["truth", "jä", 'no"\n'], ["words"])
    outputs = [_value("words", TensorProto.STRING, ["n"]), _value("k", TensorProto.INT64, [2])]
    made = _model("texts", [where, constant], [_value("truth", TensorProto.BOOL, ["n"])], outputs)
    made.graph.initializer.extend(words)
    return made


def no_inputs() -> ModelProto:
    """A model that is fed nothing."""
    constant = helper.make_node("Constant", [], ["k"], value=helper.make_tensor("v", TensorProto.FLOAT, [2], [3, 4]))
    return _model("alone", [constant, helper.make_node("Neg", ["k"], ["y"])], [], [_value("y", TensorProto.FLOAT, [2])])
