"""Opens a model of TensorFlow's family and leaves it as ONNX, under the names of its signature."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import canon, down_convert, tf_finish, tf_open, tf_port


def export(source: Path, params: Mapping[str, Any], to: Path) -> dict[str, Any]:
    """The facts of the step ``export_tensorflow`` but ``confined``. Raises ``Refused``."""
    opened, told = tf_open.open_model(source, params)
    turned = tf_port.turned(opened.inputs, params["layout"])
    model = opened.convert(params["opset"], turned)
    emitted = down_convert.opset(model)
    model = tf_finish.finish(model, (opened.inputs, opened.outputs), turned, params["inputs"], params["outputs"])
    model = canon.save(model, to)
    told |= {"turned": [port.name for port in turned]} if turned else {}
    return canon.describe(model) | told | {"emitted_opset": emitted}
