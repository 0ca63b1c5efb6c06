"""Builds a TensorRT-RTX engine for one compute capability, without a GPU, and checks what can be known of it here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lib import canon, evidence, graphs, signature, trt_engine, trt_load, trt_profiles, trt_qdq, trt_repair, trt_types
from .lib.kit import build_engine

INPUTS = ("model",)
PARAMS = ("provider", "compute_capability", "profiles", "workspace", "tf32")
OUTPUTS = ("model.engine", "evidence.json")

PROVED_BY_A_GPU = "an engine opens only on a GPU of its compute capability"


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``compute_capability`` is ``SM86`` …; ``profiles`` is ``{axis: {min, opt, max}}``; ``workspace`` is bytes or ``None``.

    Facts: ``tensorrt`` and ``compute_capability``; ``size``; ``inputs`` and ``outputs`` as TensorRT has them (``null``: dynamic);
    ``profiles`` by input and ``unknown_profiles``; ``nodes`` of the model and ``layers`` of the network; ``quantised``, Q/DQ
    nodes; ``settings``; ``read_back``, as ``trt_engine.read_back`` gives it; ``repairs``, quantised scalars that were given an
    axis; ``narrowed``, float64 tensors that it computes as float32; ``loads``, which is always not run; ``warnings``;
    ``suffix``, which makes a file's name of a tag. Refused: unknown capability, Q/DQ that TensorRT misreads, an axis without a
    profile, nodes that the parser does not take, inputs or outputs of other types, and what the builder cannot build.
    """
    trt = trt_load.load()
    target = trt_engine.capability(trt, params["compute_capability"])
    model = canon.load(inputs["model"])
    trt_qdq.check(model)
    repairs = trt_repair.give_axes(model)
    settings = {
        "profiles": trt_profiles.of_model(model, params["profiles"]), "workspace": params["workspace"], "tf32": params["tf32"],
        "dla_core": None, "gpu_fallback": False,
    }  # fmt: skip
    trt_engine.refuse_unsupported(trt, model)
    logger = build_engine.make_logger(trt)
    made, engine = trt_engine.make(trt, logger, model, settings, target)
    (out / "model.engine").write_bytes(engine)
    found = _evidence(model, params["provider"]["name"], trt.__version__, target.name)
    evidence.write(out / "evidence.json", found)
    names = [value.name for value in (*signature.inputs(model), *model.graph.output)]
    return {
        **trt_engine.tensors(made),
        "tensorrt": trt.__version__,
        "compute_capability": target.name,
        "size": len(engine),
        "profiles": settings["profiles"],
        "unknown_profiles": trt_profiles.unknown(model, params["profiles"]),
        "settings": settings,
        "nodes": len(model.graph.node),
        "operators": signature.operators(model),
        "layers": made.num_layers,
        "quantised": sum(node.op_type in {trt_qdq.Q, trt_qdq.DQ} for node in graphs.nodes(model)),
        "read_back": trt_engine.read_back(trt, engine, target.name, names),
        "repairs": repairs,
        "narrowed": trt_types.doubles(model),
        "loads": {"outcome": "not-run", "why": PROVED_BY_A_GPU},
        "warnings": sorted({text for severity, text in logger.lines if severity == "WARNING"}),
        "suffix": f"{build_engine.settings_digest(settings)}-trtrtx{trt.__version__}-{target.name.lower()}",
    }


def _evidence(model: Any, provider: str, version: str, target: str) -> evidence.Evidence:
    """The whole model is in the engine, so every node is."""
    nodes = [evidence.Verdict(evidence.BUILT) for _ in model.graph.node]
    return evidence.Evidence(provider, f"an engine of TensorRT-RTX {version} for {target}", nodes)
