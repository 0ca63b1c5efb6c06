"""Small models of TensorFlow, Keras and TFLite for tests, all made in one process: TensorFlow takes seconds to start."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ortolan import runtime
from ortolan.cache import user_cache

ROOT = Path(__file__).parents[1]
_MAKE = r"""
import json, os, pathlib, shutil, sys, zipfile
os.environ.update(TF_CPP_MIN_LOG_LEVEL="2", TF_ENABLE_ONEDNN_OPTS="0")
import keras, numpy as np, tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
keras.utils.set_random_seed(0)
v1, L, here = tf.compat.v1, keras.layers, pathlib.Path(sys.argv[1])

image = keras.Input((6, 8, 3), name="image")
conv = L.Conv2D(4, 3, padding="same", activation="relu", name="conv")(image)
pooled = L.GlobalAveragePooling2D()(L.DepthwiseConv2D(3, activation="relu6")(conv))
net = keras.Model(image, L.Dense(5, activation="softmax", name="scores")(pooled))
net.save(here / "image.keras")
net.save(here / "image.h5")
net.save_weights(here / "only.weights.h5")
whole = (here / "image.keras").read_bytes()
(here / "image.zip").write_bytes(whole)
(here / "IMAGE.H5").write_bytes((here / "image.h5").read_bytes())
(here / "half.keras").write_bytes(whole[: len(whole) // 2])
(here / "half.h5").write_bytes((here / "image.h5").read_bytes()[:9000])

a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
pair = keras.Model({"b": b, "a": a}, [L.Dense(2, name="sum")(a + b), L.Dense(3, name="gap")(a - b)])
pair.save(here / "pair.keras")
keras.Sequential([keras.Input((4,), name="x"), L.Dense(3), L.Lambda(lambda t: t * 2.0, name="twice")]).save(here / "lambda.keras")
keras.Sequential([keras.Input((4,), name="x"), L.Lambda(lambda t: t * 2.0, name="twice")]).save(here / "lambda.h5")
outside = str(here / "reached-out")
there = "__import__('os').path.exists('request.json')"
reach = eval(f"lambda t: (t, open('ran', 'w'), open({outside!r}, 'w'))[0] if {there} else t")
reach = L.Lambda(reach, name="reach")
keras.Sequential([keras.Input((4,), name="x"), reach]).save(here / "reach.keras")

@keras.saving.register_keras_serializable("shop")
class Own(L.Layer):
    def call(self, x):
        return x + 1.0

own = keras.Sequential([keras.Input((4,), name="x"), Own(name="mine")])
own.save(here / "own.keras")
own.save(here / "own.h5")
with zipfile.ZipFile(here / "image.keras") as kept, zipfile.ZipFile(here / "module.keras", "w") as made:
    for name in kept.namelist():
        data = kept.read(name)
        if name == "config.json":
            config = json.loads(data)
            config["config"]["layers"][1]["config"]["kernel_initializer"] = {
                "class_name": "system", "module": "os", "registered_name": None, "config": {"command": "touch broken-out"}
            }
            data = json.dumps(config).encode()
        made.writestr(name, data)

class Module(tf.Module):
    def __init__(self):
        self.w = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3) / 7)
    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="x")])
    def logits(self, x):
        return {"logits": x @ self.w}
    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="x"), tf.TensorSpec([], name="gain")])
    def scaled(self, x, gain):
        return {"y": tf.nn.softmax(x @ self.w) * gain, "best": tf.argmax(x @ self.w, axis=-1)}
    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="x")])
    def inc(self, x):
        return {"y": tf.math.betainc(tf.abs(x) + 1.0, tf.abs(x) + 2.0, tf.sigmoid(x), name="inc") @ self.w}
    @tf.function(input_signature=[tf.TensorSpec([None, 0], name="x")])
    def nothing(self, x):
        return {"y": tf.reduce_sum(x, axis=-1)}

model = Module()
tf.saved_model.save(model, here / "one", signatures=model.logits)
tf.saved_model.save(model, here / "two", signatures={"logits": model.logits, "scaled": model.scaled})
tf.saved_model.save(model, here / "none")
tf.saved_model.save(model, here / "inc", signatures=model.inc)
tf.saved_model.save(model, here / "zero", signatures=model.nothing)
for half in ("half_graph", "half_weights", "foreign", "training"):
    shutil.copytree(here / "one", here / half)
path = here / "half_graph" / "saved_model.pb"
path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
path = here / "half_weights" / "variables" / "variables.data-00000-of-00001"
path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
saved = SavedModel.FromString((here / "one" / "saved_model.pb").read_bytes())
saved.meta_graphs[0].graph_def.node.add(name="theirs", op="TheirOwnOp")
(here / "foreign" / "saved_model.pb").write_bytes(saved.SerializeToString())
saved = SavedModel.FromString((here / "one" / "saved_model.pb").read_bytes())
saved.meta_graphs.add().CopyFrom(saved.meta_graphs[0])
for graph, tag in zip(saved.meta_graphs, ("train", "tune")):
    graph.meta_info_def.tags[:] = [tag]
(here / "training" / "saved_model.pb").write_bytes(saved.SerializeToString())

def graph(name, build):
    with tf.Graph().as_default() as made:
        build()
    (here / name).write_bytes(made.as_graph_def().SerializeToString())

def dense():
    x = v1.placeholder(tf.float32, [None, 4], name="x")
    keep = v1.placeholder(tf.float32, name="keep_prob")
    rate = v1.placeholder_with_default(np.float32(2.0), [], name="rate")
    hidden = tf.nn.relu(x @ np.eye(4, 6, dtype=np.float32), name="hidden")
    mask = tf.floor(keep + v1.random_uniform(tf.shape(hidden)))
    return tf.identity(hidden / keep * mask * rate, name="out")

def two():
    out = dense()
    tf.identity(out + 1.0, name="up")
    tf.identity(out - 1.0, name="down")

def twins():
    x = v1.placeholder(tf.float32, [None, 4], name="x")
    tf.add_n([tf.nn.relu(x @ np.eye(4, dtype=np.float32)) * float(i) for i in range(8)], name="sum")

graph("twins.pb", twins)
graph("one.pb", dense)
graph("two.pb", two)
graph("betainc.pb", lambda: tf.math.betainc(v1.placeholder(tf.float32, [2], name="x"), 1.0, 0.5, name="inc"))
graph("variable.pb", lambda: v1.placeholder(tf.float32, [2], name="x") + v1.Variable([1.0, 2.0], name="bias", use_resource=True))
(here / "half.pb").write_bytes((here / "one.pb").read_bytes()[:200])
odd = v1.GraphDef.FromString((here / "one.pb").read_bytes())
odd.node.add(name="theirs", op="TheirOwnOp", input=["out"])
(here / "foreign.pb").write_bytes(odd.SerializeToString())

def lite(name, **options):
    converter = tf.lite.TFLiteConverter.from_keras_model(net)
    for key, value in options.items():
        setattr(converter, key, value)
    (here / name).write_bytes(converter.convert())

draw = np.random.default_rng(0)
rows = [draw.random((1, 6, 8, 3), dtype=np.float32) for _ in range(16)]
lite("float.tflite")
small = {"optimizations": [tf.lite.Optimize.DEFAULT], "representative_dataset": lambda: ([row] for row in rows)}
lite("int8.tflite", **small)
flat = L.Dense(6, activation="relu", bias_initializer="normal")(L.Flatten()(image))
net = keras.Model(image, L.Dense(3, bias_initializer="normal")(flat))
lite("dense8.tflite", **small)
converter = tf.lite.TFLiteConverter.from_concrete_functions([model.inc.get_concrete_function()], model)
converter.allow_custom_ops = True
(here / "custom.tflite").write_bytes(converter.convert())
@tf.function(input_signature=[tf.TensorSpec([4, 4])])
def inverse(x):
    return tf.linalg.inv(x)

converter = tf.lite.TFLiteConverter.from_concrete_functions([inverse.get_concrete_function()])
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
(here / "flex.tflite").write_bytes(converter.convert())
whole = (here / "float.tflite").read_bytes()
(here / "half.tflite").write_bytes(whole[: len(whole) // 2])
"""
_ASK = r"""
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from stages.lib import canon, tensors, tf_export, tf_open, tf_port, tf_trace
from stages.lib.refused import Refused

def ask(case, number):
    to = here / f"{number}.onnx"
    told = {}
    try:
        told["facts"] = tf_export.export(here, case, to)
        opened, _ = tf_open.open_model(here, case)
    except Refused as refused:
        return {"refused": {"what": refused.what, "why": refused.why, "hint": refused.hint}}
    if case.get("samples"):
        model = canon.load(to)
        feeds = tf_port.feeds(opened.inputs, tensors.read_samples(here / case["samples"])[0], case["layout"])
        names = [info.name for info in model.graph.output]
        found = tf_trace.fit(model, opened.inside(feeds, model)) | dict(zip(names, opened.answers(feeds), strict=True))
        tensors.write_samples(here / f"{number}.npz", [found])
    return told

here = pathlib.Path(sys.argv[2])
cases = json.loads((here / "cases.json").read_text())
(here / "told.json").write_text(json.dumps([ask(case, number) for number, case in enumerate(cases)]))
"""
_HOW: Mapping[str, Mapping[str, Any]] = {
    "tensorflow": {"signature": None, "output_tensors": [], "constants": {}},
    "keras": {"trust": False},
    "tflite": {},
}


def interpreter() -> Path:
    """Python of the runtime ``tensorflow``."""
    return runtime.ensure(runtime.find("tensorflow", [ROOT / "runtimes"]), user_cache().runtimes).interpreter


def make(folder: Path) -> Path:
    """Put all models into ``folder``."""
    _run(_MAKE, folder)
    return folder


def case(
    file: str, *, layout: str = "keep", inputs: Any = (), outputs: Any = (), samples: str = "", **how: Any
) -> dict[str, Any]:
    """The parameters of the stages for a file; ``how`` holds keys of its kind of source."""
    kinds = {".keras": "keras", ".zip": "keras", ".h5": "keras", ".tflite": "tflite"}
    kind = kinds.get(Path(file).suffix.lower(), "tensorflow")
    given = {"kind": kind, "file": file, "how": {**_HOW[kind], **how}, "layout": layout}
    return {**given, "inputs": list(inputs), "outputs": list(outputs), "opset": 17, "samples": samples}


def ask(folder: Path, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the stages' code says to each case, in one process: ``facts`` or ``refused``; ``<number>.onnx``; ``<number>.npz``.

    The last holds the framework's own tensors for the case's ``samples``, by their names in the model.
    """
    (folder / "cases.json").write_text(json.dumps(cases))
    _run(_ASK, ROOT / "src" / "ortolan", folder)
    told: list[dict[str, Any]] = json.loads((folder / "told.json").read_text())
    return told


def _run(script: str, *arguments: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "0"}  # as a step has it
    words = [str(interpreter()), "-c", script, *map(str, arguments)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
