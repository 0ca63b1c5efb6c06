"""The gate of fusion: something was fused, and every runtime of the target has the operators that came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..artifact import FP32, Gate
from ..execute import Results
from ..plan import Candidates
from ..sources import Job
from .common import judge

_ATTENTION = frozenset({"Attention", "MultiHeadAttention"})
_EAGER = (
    'attention was not recognised: attn_implementation = "eager" in the model\'s configuration and exporter = "torchscript"'
    " give it a form that is known"
)


def fusion(job: Job, found: Candidates, results: Results) -> list[Gate]:
    """Nothing where the recipe does not ask for it."""
    if found.fused is None:
        return []
    facts = results[found.fused.id].facts
    against = list(_against(job, found, results, facts["fused"]))
    why = "; ".join(against) or ("" if _ATTENTION & facts["fused"].keys() else _EAGER)
    several = ", ".join(f"{count} {name}" for name, count in facts["fused"].items()) or "nothing"
    measured = f"{several}; {facts['nodes']['before']} → {facts['nodes']['after']} nodes"
    return [judge("fusion", FP32, not against, measured, "fused, and run by every runtime", why)]


def _against(job: Job, found: Candidates, results: Results, fused: Mapping[str, Any]) -> Iterator[str]:
    if not fused:
        family = job.model.recipe.optimise.fusion if job.model.recipe.optimise else ""
        yield f'none of the patterns of fusion = "{family}" is in the graph: say another family, or leave [optimise] out'
    for version, step in found.verify.items():
        if fused and not results[step.id].facts["onnx"]["runs"]:
            operators = ", ".join(fused)
            hint = f"leave {job.target.name} out of targets in [optimise]"
            yield f"onnxruntime {version} does not run it, and may lack {operators}, which are none of ONNX's: {hint}"
