"""Compiles a model for the HTP of a named Snapdragon: a context binary, made without the device and run on QNN's x86 emulator."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import canon, compared, graphs, qnn, qnn_child, qnn_socs, qnn_verdicts, sessions, signature, tensors
from .lib.refused import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

    from .lib.qnn import Answer
    from .lib.qnn_socs import Soc

INPUTS = ("model", "samples", "expected?")
PARAMS = ("soc", "options")
OUTPUTS = ("model_ctx.onnx",)
CPU = True  # the emulator's and the CPU provider's numbers are facts

_HINT = "see what coverage says of it"
_VOTES, _MOST, _HOPELESS = 3, 9, 5  # agreeing compilations that decide; all that are tried; all different: no use in more
Sample = Mapping[str, Any]


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``soc`` is a name of ``qnn_socs.SOCS``, ``options`` are the provider's own as the recipe has them.

    ``model_ctx.onnx`` embeds the context binary in ``EPContext`` nodes and keeps the nodes that QNN did not take. Facts:
    ``asked`` and ``found``, each ``{"soc", "htp_arch"}``; ``options`` as given to QNN; ``versions``; ``compatibility``, by which
    ONNX Runtime tells whether a device can load the file; ``partitions``; ``on_cpu``, ``{operator: nodes}``; ``signature``, how
    inputs and outputs differ from the model's, empty where they do not; ``bytes``; ``emulator``: ``{"runs", "error", "samples",
    "cpu", "expected"}``, the last two comparing the emulator's outputs with those of the CPU provider on the same model as
    written, and with ``expected``, as ``tensors.compare`` does; ``close`` says whether they are equal. ``reproducible``: whether
    compilations agree on the bytes (``_agreed``).
    """
    (out / "model_ctx.onnx").unlink(missing_ok=True)  # ONNX Runtime leaves an older file where a build fails
    soc = qnn_socs.find(params["soc"])
    options = qnn.options(params["options"], soc)
    model = canon.load(inputs["model"])
    _check(model)
    with tempfile.TemporaryDirectory() as folder:
        made, times = _agreed(model, inputs["samples"], options, Path(folder))
        found = _found(made, soc, options)
        shutil.copyfile(made, out / "model_ctx.onnx")
        emulator = _emulated(made, inputs, options, Path(folder) / "run")
    facts = {**_described(model, canon.parse(out / "model_ctx.onnx")), **found, "options": options, "emulator": emulator}
    return {**facts, "reproducible": max(times) >= _VOTES, "noise": {"compilations": times}}


def _check(model: ModelProto) -> None:
    """QNN leaves nodes with dynamic axes to the CPU without a word, and takes functions for operators of the same name."""
    mistaken = next((node for node in model.graph.node if qnn_verdicts.is_mistaken(node)), None)
    if mistaken is not None:
        what = f"QNN would take {graphs.label(mistaken)} for ONNX's own {mistaken.op_type}"
        raise Refused(what, why="it looks at no domains", hint="give the function a name that no operator of ONNX has")
    for value in signature.inputs(model):
        axes = enumerate(signature.shape(value) or [])
        axis = next((name or f"{value.name}.{index}" for index, name in axes if not isinstance(name, int)), None)
        if axis is not None:
            why = "QNN compiles for fixed shapes, and leaves all else to the CPU without a word"
            raise Refused(f"axis '{axis}' of input '{value.name}' is dynamic", why=why, hint=f"give {axis} a size in [shapes]")


def _agreed(model: ModelProto, samples: Path, options: Mapping[str, str], folder: Path) -> tuple[Path, list[int]]:
    """The bytes that most compilations give, and how often each came, most often first.

    QNN's compiler depends on where its memory lies. Measured (2.51): convolutional networks always gave the same bytes; a
    quantised recurrent one (gtcrn) the same in 7 to 9 of 10 processes; the same in float other bytes each time, as padding of
    weights holds what the memory held before.
    """
    found: dict[bytes, list[Path]] = {}
    for count in range(1, _MOST + 1):
        made = _compiled(model, samples, options, folder / f"compile-{count}")
        found.setdefault(made.read_bytes(), []).append(made)
        if len(found[made.read_bytes()]) == _VOTES or count == len(found) == _HOPELESS:
            break
    voted = sorted(found.values(), key=len, reverse=True)
    return voted[0][0], [len(paths) for paths in voted]


def _compiled(model: ModelProto, samples: Path, options: Mapping[str, str], folder: Path) -> Path:
    answer = qnn.ask("compile", model.SerializeToString(), samples, options, folder)
    if answer.no_start:
        raise Refused("QNN does not start", why=answer.no_start, hint="see soc and the provider's options")
    error = f"its compiler ended with {answer.died}" if answer.said is None else answer.said["error"]
    if error:
        raise Refused("QNN cannot compile this model", why=error, hint=_HINT)
    made = folder / "made.onnx"
    if not any(node.op_type == "EPContext" for node in canon.parse(made).graph.node):
        raise Refused("QNN took no node of this model", why=_first(answer), hint=_HINT)
    return made


def _first(answer: Answer) -> str:
    name, reason = next(iter(answer.reasons.items()), ("", "it does not say why"))
    return f"{name}: {reason}" if name else reason.rstrip(".")


def _found(made: Path, soc: Soc, options: Mapping[str, str]) -> dict[str, Any]:
    """What was asked and what the binaries say. Raises ``Refused`` where they differ: what does not take is ignored silently."""
    asked = {"soc": soc.name, "htp_arch": options["htp_arch"]}
    found = [{"soc": name, "htp_arch": str(arch)} for name, arch in _built_for(canon.parse(made))]
    if found != [asked]:
        built = ", ".join(f"{one['soc']} with HTP {one['htp_arch']}" for one in found) or "what it does not name"
        why = "QNN ignores what it cannot follow, and says nothing"
        hint = "give the target's soc alone, without soc_model and htp_arch in the provider's options"
        raise Refused(f"QNN compiled for {built}, asked for {soc.name} with HTP {asked['htp_arch']}", why=why, hint=hint)
    return {"asked": asked, "found": found[0]}


def _built_for(model: ModelProto) -> list[tuple[str, int]]:
    binaries = [one.s for node in _contexts(model) for one in node.attribute if one.name == "ep_cache_context"]
    return list(dict.fromkeys(pair for binary in binaries for pair in qnn_socs.built_for(binary)))


def _contexts(model: ModelProto) -> list[Any]:
    return [node for node in model.graph.node if node.op_type == "EPContext"]


def _described(before: ModelProto, after: ModelProto) -> dict[str, Any]:
    from importlib.metadata import version

    contexts = _contexts(after)
    sdk = next((one.s.decode() for node in contexts for one in node.attribute if one.name == "ep_sdk_version"), "")
    versions = {name: version(name) for name in ("onnxruntime", "onnxruntime-qnn")} | {"qnn": sdk}
    rest = Counter(node.op_type for node in after.graph.node if node.op_type != "EPContext")
    metadata = {entry.key: entry.value for entry in after.metadata_props}
    return {
        "versions": versions,
        "compatibility": metadata.get(qnn_child.COMPATIBILITY, ""),
        "partitions": len(contexts),
        "on_cpu": dict(sorted(rest.items())),
        "signature": _differences(before, after),
        "bytes": after.ByteSize(),
    }


def _differences(before: ModelProto, after: ModelProto) -> list[str]:
    """How the compiled model's inputs and outputs differ from the model's."""
    found = []
    for what, old, new in (
        ("input", signature.inputs(before), signature.inputs(after)),
        ("output", before.graph.output, after.graph.output),
    ):
        wanted, given = ([signature.value(value) for value in values] for values in (old, new))
        found += [f"{what} {value} is not in the engine" for value in wanted if value not in given]
        found += [f"{what} {value} is not in the model" for value in given if value not in wanted]
    return found


def _emulated(made: Path, inputs: Mapping[str, Path], options: Mapping[str, str], folder: Path) -> dict[str, Any]:
    samples = tensors.read_samples(inputs["samples"])
    answer = qnn.ask("run", made.read_bytes(), inputs["samples"], options, folder)
    said = answer.said or {"error": f"the emulator ended with {answer.died}"}
    error = said["error"] or said["run_error"]
    if error:
        return {"runs": False, "error": error, "samples": len(samples), "cpu": {}, "expected": None}
    given = tensors.read_samples(folder / "outputs.npz")
    expected = tensors.read_samples(inputs["expected"]) if "expected" in inputs else None
    cpu = compared.outputs(_on_cpu(inputs["model"], samples), given, 0.0, 0.0)
    against = compared.outputs(expected, given, 0.0, 0.0) if expected is not None else None
    return {"runs": True, "error": "", "samples": len(samples), "cpu": cpu, "expected": against}


def _on_cpu(model: Path, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    import onnxruntime as ort

    options = sessions.session_options(None)
    options.graph_optimization_level = sessions.optimization_level("disable")  # as written: fused int8 kernels may saturate
    session = ort.InferenceSession(str(model), options, providers=[sessions.CPU], enable_fallback=0)
    return [sessions.run(session, sample) for sample in samples]
