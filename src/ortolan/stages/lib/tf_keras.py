"""Loads a Keras model, runs it, and makes a frozen graph of it to convert."""

from __future__ import annotations

import shutil
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import tf_keras_config
from .refused import Refused
from .tf_graph import Graph
from .tf_port import Port, fitted
from .tf_words import refusing, tensorflow


@dataclass(frozen=True)
class Keras(Graph):
    """The graph of a model, with the weights in it, and the model, which gives the answers."""

    model: Any

    def answers(self, feeds: Mapping[str, Any]) -> list[Any]:
        """What the model itself gives, called for inference."""
        tf = tensorflow()
        with refusing("the model does not run on its samples", "check [[input]] and [axes] in the recipe"):
            given = [tf.constant(feeds[port.tensor]) for port in self.inputs]
            return [value.numpy() for value in tf.nest.flatten(_call(self.model, given))]


def read(path: Path, how: Mapping[str, Any], recipe: Sequence[Mapping[str, Any]]) -> tuple[Keras, dict[str, Any]]:
    """The model in a file; facts: its class. Python code in it is run only where ``how`` has trust. Raises ``Refused``."""
    tensorflow()
    import keras

    tf_keras_config.check(path, trust=how["trust"])
    with refusing(
        f"Keras cannot load {path.name}", "save it with the Keras that made it as .keras, or with model.export(folder)"
    ):
        model = keras.models.load_model(_called(path), compile=False, safe_mode=not how["trust"])
    if not getattr(model, "inputs", None):
        hint = "give the model an Input layer, or call it once, and save it again"
        raise Refused("the model does not tell its inputs", why="it was saved before it had seen any", hint=hint)
    with refusing("Keras cannot make a graph of the model"):
        graph = _graph(model, recipe)
    return Keras(graph.definition, graph.inputs, graph.outputs, model), {"class": type(model).__name__}


def _called(path: Path) -> Path:
    """The file by a name from which Keras tells its form: it looks at the suffix, small letters alone, and not into the file."""
    ends = (".keras",) if zipfile.is_zipfile(path) else (".h5", ".hdf5")
    if path.suffix in ends:
        return path
    return shutil.copyfile(path, path.with_name(path.name + ends[0]))


def _graph(model: Any, recipe: Sequence[Mapping[str, Any]]) -> Graph:
    """The model traced for inference with its weights as constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf = tensorflow()
    named = _unique([str(one.name) for one in model.inputs])
    ports = [Port(name, "", str(one.dtype), tuple(one.shape)) for name, one in zip(named, model.inputs, strict=True)]
    ports = fitted(ports, recipe)
    taken = [tf.TensorSpec(port.shape, port.dtype) for port in ports]
    function = tf.function(lambda *given: tf.nest.flatten(_call(model, list(given))), input_signature=taken)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(), lower_control_flow=False)
    inputs = [Port(port.name, each.name, port.dtype, port.shape) for port, each in zip(ports, frozen.inputs, strict=True)]
    names = _unique([str(name) for name in getattr(model, "output_names", None) or _makers(model)])
    names = names if len(names) == len(frozen.outputs) else [f"output_{index}" for index in range(len(frozen.outputs))]
    outputs = [
        Port(name, each.name, each.dtype.name, None if each.shape.rank is None else tuple(each.shape.as_list()))
        for name, each in zip(names, frozen.outputs, strict=True)
    ]
    return Graph(frozen.graph.as_graph_def(), tuple(inputs), tuple(outputs))


def _makers(model: Any) -> list[str]:
    """The layers that make the outputs: a sequential model does not name these."""
    return [str(getattr(one, "_keras_history", (model.layers[-1],))[0].name) for one in model.outputs]


def _call(model: Any, given: Sequence[Any]) -> Any:
    """The model on its inputs, in the structure that it was made with: one, a list, or a dictionary."""
    import keras

    structure = getattr(model, "_inputs_struct", None)  # of functional models only; others take one tensor or a list
    packed = keras.tree.pack_sequence_as(structure, list(given)) if structure is not None else given
    return model(packed[0] if structure is None and len(given) == 1 else packed, training=False)


def _unique(names: Sequence[str]) -> list[str]:
    """Names with a number behind those that came before."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(f"{name}_{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found
