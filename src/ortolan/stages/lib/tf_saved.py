"""Reads one signature of a SavedModel by TensorFlow's graph loader, which makes no Python objects of what the model holds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import tf_graph
from .refused import Refused
from .tf_graph import Graph
from .tf_port import Port, fitted
from .tf_words import refusing, tensorflow

_INTERNAL = frozenset({"__saved_model_init_op", "__saved_model_train_op"})
_SERVE = "serve"
_WHOLE = "is the folder whole? Compare it with where it came from"


@dataclass(frozen=True)
class Saved(Graph):
    """The graph of a signature, with the variables' values in it, and a session that holds them, which gives the answers."""

    session: Any
    constants: Mapping[str, Any]

    def answers(self, feeds: Mapping[str, Any]) -> list[Any]:
        """What the signature gives, before anything was frozen."""
        with refusing("the signature does not run on its samples", "check [[input]] and [axes] in the recipe"):
            return list(self.session.run([port.tensor for port in self.outputs], {**feeds, **self.constants}))


def read(folder: Path, how: Mapping[str, Any], recipe: Sequence[Mapping[str, Any]]) -> tuple[Saved, dict[str, Any]]:
    """The signature that ``how`` names, or the only one; facts: its name. Raises ``Refused``."""
    tf = tensorflow()
    tags = _tags(folder)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=tf_graph.settings())
    with refusing("TensorFlow cannot load the SavedModel", _WHOLE), session.graph.as_default():
        loaded = tf.compat.v1.saved_model.load(session, tags, str(folder))
    name = _signature(loaded.signature_def, how["signature"])
    said = loaded.signature_def[name]
    ports = [_port(tf, key, info) for key, info in sorted(said.inputs.items())]
    outputs = [_port(tf, key, info) for key, info in sorted(said.outputs.items())]
    given = {port.name: port.tensor for port in ports}
    tf_graph.refuse_unknown_constants(how["constants"], given)
    constants = {given[key]: value for key, value in how["constants"].items()}
    inputs = fitted([port for port in ports if port.name not in how["constants"]], recipe)
    definition = _frozen(tf, session, outputs)
    ready, _ = tf_graph.ready(definition, inputs, {tensor.partition(":")[0]: value for tensor, value in constants.items()})
    return Saved(ready, tuple(inputs), tuple(outputs), session, constants), {"signature": name}


def _tags(folder: Path) -> list[str]:
    """The tags of the graph to load: the only one, or that for serving."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise Refused("saved_model.pb is no SavedModel", why=f"its bytes do not parse: {error}", hint=_WHOLE) from None
    except FileNotFoundError:
        raise Refused("the folder holds no saved_model.pb", hint="name the folder that has it") from None
    found = [sorted(graph.meta_info_def.tags) for graph in saved.meta_graphs]
    for graph in saved.meta_graphs:
        tf_graph.refuse_unregistered(graph.graph_def)
    if len(found) == 1 or [_SERVE] in found:
        return [_SERVE] if [_SERVE] in found else found[0]
    said = "; ".join(" ".join(tags) or "none" for tags in found) or "none"
    raise Refused("the SavedModel has no graph for serving", why=f"the tags of its graphs: {said}", hint="save it with tag serve")


def _signature(known: Mapping[str, Any], wanted: str | None) -> str:
    names = sorted(set(known) - _INTERNAL)
    shown = ", ".join(names)
    if not names:
        hint = "save it with tf.saved_model.save(model, folder, signatures=...), or with Keras's model.export(folder)"
        raise Refused("the SavedModel has no signatures", why="nothing in it says what goes in and what comes out", hint=hint)
    if wanted is None and len(names) > 1:
        hint = f'pick one: [source] signature = "{names[0]}"'
        raise Refused(f"the SavedModel has {len(names)} signatures: {shown}", why="none is named", hint=hint)
    if wanted is not None and wanted not in names:
        near = difflib.get_close_matches(wanted, names, n=1)
        raise Refused(
            f"the SavedModel has no signature '{wanted}'", why=f"it has {shown}", hint=f"did you mean {near[0]}?" if near else ""
        )
    return wanted or names[0]


def _port(tf: Any, name: str, info: Any) -> Port:
    if info.WhichOneof("encoding") != "name":
        raise Refused(
            f"'{name}' is no plain tensor", why="it is sparse, or made of several", hint="give the signature dense tensors"
        )
    shape = info.tensor_shape
    axes = None if shape.unknown_rank else tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)
    return Port(name, info.name, tf.as_dtype(info.dtype).name, axes)


def _frozen(tf: Any, session: Any, outputs: Sequence[Port]) -> Any:
    """The part of the graph that makes the outputs, with the variables' values in it."""
    with refusing("the SavedModel's variables cannot be made constants"):
        ends = tf_graph.nodes(port.tensor for port in outputs)
        return tf.compat.v1.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), ends)
