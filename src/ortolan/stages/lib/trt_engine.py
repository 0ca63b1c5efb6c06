"""Builds a TensorRT-RTX engine without a GPU, and checks what can be known of it without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import graphs, signature, trt_header, trt_load, trt_parser
from .kit import build_engine
from .refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

_SHOWN = 5
_MISREAD = "Defaulting to INT8"
_UNSIZED = -1


def capability(trt: Any, name: str) -> Any:
    """The compute capability ``SM86`` …; raises ``Refused`` for one that this TensorRT-RTX does not build for."""
    known = trt_load.capabilities(trt)
    if name not in known:
        why = f"TensorRT-RTX {trt.__version__} builds for {', '.join(known)}"
        hint = "a Jetson's engine is built on the device: use an engine kit" if name in {"SM72", "SM87", "SM101", "SM110"} else ""
        raise Refused(f"unknown compute capability {name}", why=why, hint=hint or "write it as in SM86")
    return getattr(trt.ComputeCapability, name)


def refuse_unsupported(trt: Any, model: ModelProto) -> None:
    """Raise ``Refused``, naming each node that the parser does not take, with its reason."""
    verdicts = trt_parser.verdicts(trt, model)
    found = [(graphs.label(node), why) for node, why in zip(model.graph.node, verdicts, strict=True) if why]
    if not found:
        return
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise Refused(
        f"TensorRT-RTX does not take {len(found)} of {len(verdicts)} nodes",
        why="; ".join(f"{label}: {why}" for label, why in found[:_SHOWN]) + more,
        hint="change them, or leave the engine out for this target: ONNX Runtime gives such nodes to its other providers",
    )


def make(trt: Any, logger: Any, model: ModelProto, settings: Mapping[str, Any], target: Any) -> tuple[Any, bytes]:
    """The network of a model and its engine for one compute capability, by the code that a kit takes to devices.

    Raises ``Refused`` where TensorRT-RTX cannot read the model, reads another, or cannot build it.
    """
    if not model.graph.output:
        raise Refused("the model has no output", why="an engine without one computes nothing")
    read = False

    def check(_: Any, made: Any) -> None:
        nonlocal read
        read = True
        _check_network(logger, model, made, settings)

    capability = f"{target.name[2:-1]}.{target.name[-1]}"
    try:
        return build_engine.make(
            trt, logger, model.SerializeToString(), dict(settings), read=check,
            tell=lambda trt, config: build_engine.aim(trt, config, capability),
        )  # fmt: skip
    except build_engine.BuildError as error:
        if not read:
            raise Refused("TensorRT-RTX cannot read the model", why=str(error)) from error
        hint = "the parser took every node, and the builder refused: change what it names, or leave this capability out"
        raise Refused(f"no engine for {target.name}", why=str(error), hint=hint) from error


def _check_network(logger: Any, model: ModelProto, made: Any, settings: Mapping[str, Any]) -> None:
    """Raise ``Refused`` where inputs or outputs are not the model's."""
    if any(_MISREAD in text for _, text in logger.lines):
        raise Refused("TensorRT-RTX reads uint8 as int8 in this model", why="its parser only warns of it")
    differing = differences(made, model)
    if differing:
        hint = "give the model's inputs and outputs types that TensorRT has: float64 is not one"
        raise Refused("TensorRT-RTX reads other inputs or outputs than the model has", why="; ".join(differing), hint=hint)
    sizes = [tensor.name for tensor in _inputs(made) if tensor.is_shape_tensor and tensor.name in settings["profiles"]]
    if sizes:
        hint = "fix the input's shape in [shapes]"
        raise Refused(f"the input {sizes[0]} holds sizes of other tensors", why="its values, too, need a profile", hint=hint)


def read_back(trt: Any, engine: bytes, target: str, names: Sequence[str]) -> dict[str, Any]:
    """``{"header", "problems", "names"}``: what the engine says of itself, and what of that is not as asked.

    ``header`` is ``None`` where its layout is unknown. ``names`` are the inputs and outputs whose names are in the engine.
    """
    header = trt_header.read(engine)
    found = [name for name in names if name.encode() in engine]
    problems = [f"the engine does not name {name}" for name in names if name not in found]
    if header is None:
        return {"header": None, "problems": problems, "names": found}
    for what, got, wanted in (
        ("size", header.size, len(engine)),
        ("version", header.version, trt.__version__),
        ("compute capability", ", ".join(header.capabilities), target),
    ):
        problems += [f"the engine's {what} is {got}, and not {wanted}"] if got != wanted else []
    said = {"version": header.version, "size": header.size, "capabilities": list(header.capabilities)}
    return {"header": said, "problems": problems, "names": found}


def tensors(made: Any) -> dict[str, list[dict[str, Any]]]:
    """``{"inputs", "outputs"}`` of a network: names, dtypes, and shapes with ``null`` for what is dynamic."""
    return {"inputs": [_tensor(t) for t in _inputs(made)], "outputs": [_tensor(t) for t in _outputs(made)]}


def _inputs(made: Any) -> list[Any]:
    return [made.get_input(index) for index in range(made.num_inputs)]


def _outputs(made: Any) -> list[Any]:
    return [made.get_output(index) for index in range(made.num_outputs)]


def _tensor(tensor: Any) -> dict[str, Any]:
    shape = [None if size == _UNSIZED else int(size) for size in tensor.shape]
    return {"name": tensor.name, "dtype": trt_load.dtype(tensor.dtype), "shape": shape}


def differences(made: Any, model: ModelProto) -> list[str]:
    """How the network's inputs and outputs differ from the model's: number, names, dtypes, axes of known size."""
    wanted = {"input": signature.inputs(model), "output": model.graph.output}
    got = {"input": tensors(made)["inputs"], "output": tensors(made)["outputs"]}
    found: list[str] = []
    for kind, values in wanted.items():
        known = {value["name"]: value for value in got[kind]}
        described = [signature.value(value) for value in values]
        found += [f"there is no {kind} {value['name']}" for value in described if value["name"] not in known]
        extra = sorted(known.keys() - {value["name"] for value in described})
        found += [f"{kind} {name} is not the model's" for name in extra]
        found += [text for v in described if v["name"] in known for text in _differs(kind, v, known[v["name"]])]
    return found


def _differs(kind: str, model: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    found = []
    if model["dtype"] != made["dtype"]:
        found.append(f"{kind} {model['name']} is {model['dtype']} in the model and {made['dtype']} in the engine")
    shape = model["shape"]
    if shape is not None and not (len(shape) == len(made["shape"]) and all(map(_fits, shape, made["shape"]))):
        found.append(f"{kind} {model['name']} has the shape {shape} in the model and {made['shape']} in the engine")
    return found


def _fits(model: Any, made: int | None) -> bool:
    """Whether an axis is the same in both, or dynamic in one: TensorRT may know a size that the model does not say."""
    return made is None or not isinstance(model, int) or model == made
