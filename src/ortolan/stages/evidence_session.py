"""Opens a real session of a provider, runs the samples, and says for every node whether the provider was given it and ran it."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lib import assignment, canon, evidence, external, graphs, limits, probes, sessions, signature, tensors
from .lib.assignment import Seen
from .lib.evidence import REGISTERED, RUNS, UNSUPPORTED, Evidence, Verdict
from .lib.heard import heard, reason
from .lib.transient import reraise_if_transient

if TYPE_CHECKING:
    import onnxruntime
    from onnx import ModelProto

INPUTS = ("model+", "samples")
PARAMS = ("provider", "version", "session")
OUTPUTS = ("evidence.json",)
CPU = True

_NOT_HERE = ("session.disable_cpu_ep_fallback", "ep.context_")  # would end or save the session; what is asked is who takes what
_ABSENT = ("has no such provider", "is not available")
_LOWER_OPSET = "lower [runtime] opset, or raise the oldest of [runtime] versions"
_FIXES = {
    "is not a registered function/op": "replace it by standard operators, or put a local function of that name into the model",
    "No Op registered": "replace it by standard operators, or by another opset's",
    "No opset import": "replace it by standard operators, or import the opset of its domain",
    "does not support the following ONNX operations": "replace it; if it holds a nested graph, the provider took nodes inside",
    "Could not find an implementation": "cast its inputs to float32, lower the opset, or use another operator",
}


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """``provider`` is ``{"name", "options"}``, ``version`` the fleet's oldest ONNX Runtime, ``session`` the recipe's settings.

    The session has this provider and the CPU, and no graph optimisation: so every node of the model is there to be given to
    somebody, where otherwise constants are folded and nodes fused before the CPU gets them. OpenVINO took the same nodes of
    three real models either way. Level ``runs`` wants a session that gave the provider the node (ONNX Runtime 1.24.1 and later
    say so; before, the profiler's kernels do) and a run on all samples in which the profiler saw kernels of the provider.
    A session that opens and does not run leaves ``registered``. Of a model that does not open nothing runs: for the CPU each
    node is asked alone, ``registered`` where that opens; for other providers all is ``unsupported``, with the node's own reason
    where it has one. Facts: those of ``evidence.write``, ``runtime``, ``opens``, ``runs``, ``error``, ``providers`` (those that
    the session lists) and ``said``, warnings and errors on stderr while it opened.
    """
    import onnxruntime as ort

    model, provider = canon.parse(inputs["model"]), params["provider"]["name"]
    tried = _try(model, inputs["model"].parent, params, tensors.read_samples(inputs["samples"]))
    source = f"a session of onnxruntime {ort.__version__} on {provider}, {platform.machine()}"
    if ort.__version__ != params["version"]:
        source += f" (the fleet's oldest is {params['version']})"
    found = Evidence(provider, source, _judge(model, params, tried), _unseen(provider, tried))
    facts = evidence.write(out / "evidence.json", found)
    return facts | {
        "runtime": ort.__version__, "opens": tried.opens, "runs": tried.runs, "error": tried.error,
        "providers": tried.providers, "said": tried.said,
    }  # fmt: skip


def _unseen(provider: str, tried: _Tried) -> str:
    """Why nothing of the provider can be seen on this machine: it lacks the provider, or the device that the options name."""
    said = next((line for line in [tried.error, *tried.said] if any(words in line for words in _ABSENT)), "")
    return said if provider != sessions.CPU and provider not in tried.providers else ""


@dataclass
class _Tried:
    """What came of one session."""

    opens: bool = False
    runs: bool = False
    error: str = ""
    providers: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)


def _try(model: ModelProto, beside: Path, params: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> _Tried:
    import onnxruntime as ort

    name = params["provider"]["name"]
    if name not in ort.get_available_providers():
        return _Tried(error=f"this onnxruntime {ort.__version__} has no such provider")
    tried = _Tried()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        try:
            with heard() as tried.said:
                session = _open(external.openable(assignment.marked(model), beside), params, Path(folder))
            tried.opens, tried.providers = True, session.get_providers()
            tried.seen = Seen(assignment.placed(session))
            for sample in samples:
                session.run(None, dict(sample))
            tried.seen = Seen(tried.seen.placed, assignment.executed(Path(session.end_profiling())))
            tried.runs = bool(samples)
        except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type; each is the verdict
            reraise_if_transient(error)
            tried.error = assignment.original(model, reason(error))
    return tried


def _open(model: bytes | Path, params: Mapping[str, Any], folder: Path | None = None) -> onnxruntime.InferenceSession:
    """A session of the provider and the CPU; with a ``folder`` it keeps a profile there. It never tries again on the CPU."""
    import onnxruntime as ort

    class Strict(ort.InferenceSession):  # type: ignore[misc,unused-ignore]
        _enable_fallback = property(lambda _: False, lambda _, __: None)

    config = {key: value for key, value in params["session"]["config"].items() if not key.startswith(_NOT_HERE)}
    options = sessions.session_options(
        {**params["session"], "graph_optimization_level": "disable", "config": {**config, **assignment.RECORD}}
    )
    if folder:
        options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    wanted = {params["provider"]["name"]: _texts(params["provider"].get("options") or {})} | {sessions.CPU: {}}
    given = str(model) if isinstance(model, Path) else model
    return Strict(given, options, providers=list(wanted), provider_options=list(wanted.values()))


def _texts(options: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in options.items()}


def _judge(model: ModelProto, params: Mapping[str, Any], tried: _Tried) -> list[Verdict]:
    provider = params["provider"]["name"]
    if not tried.opens:
        return _unopened(model, params, tried)
    if provider not in tried.providers:
        why = "; ".join(tried.said[:1]) or "it does not say why"
        return _all(model, Verdict(UNSUPPORTED, f"ONNX Runtime dropped the provider: {why}", "check its options and its device"))
    if tried.runs:
        return assignment.verdicts(model, provider, tried.seen)
    return _not_run(model, provider, tried)


def _not_run(model: ModelProto, provider: str, tried: _Tried) -> list[Verdict]:
    """The session opened, so its nodes have kernels, but none was seen to run."""
    why = f"the session opens, but does not run: {tried.error or 'there are no samples'}"
    given = {provider: []} if provider == sessions.CPU else tried.seen.placed or {}
    found = assignment.verdicts(model, provider, Seen(tried.seen.placed, given))
    return [Verdict(REGISTERED if one.level == RUNS else UNSUPPORTED, why) for one in found]


def _unopened(model: ModelProto, params: Mapping[str, Any], tried: _Tried) -> list[Verdict]:
    import onnxruntime as ort

    if params["provider"]["name"] not in ort.get_available_providers():
        return _all(model, Verdict(UNSUPPORTED, tried.error))
    beyond = limits.problems(int(model.ir_version), signature.opsets(model), ort.__version__)
    if beyond:
        return _all(model, Verdict(UNSUPPORTED, "; ".join(beyond), _LOWER_OPSET))
    refused = probes.refusals(model, lambda alone: _open(alone, params))
    why = f"the session does not open{_blame(model, refused)}: {tried.error}"
    on_cpu = params["provider"]["name"] == sessions.CPU
    left = Verdict(REGISTERED, f"it has a kernel, but {why}") if on_cpu else Verdict(UNSUPPORTED, why)
    found = [Verdict(UNSUPPORTED, no, _fix(no)) if no else left for no in refused]
    return assignment.with_constants(model, found)


def _blame(model: ModelProto, refused: Sequence[str]) -> str:
    names = [graphs.label(node) for node, why in zip(model.graph.node, refused, strict=True) if probes.is_refused(why)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f" because of {', '.join(names[:3])}{more}" if names else ""


def _fix(why: str) -> str:
    return next((fix for words, fix in _FIXES.items() if words in why), "")


def _all(model: ModelProto, verdict: Verdict) -> list[Verdict]:
    return [verdict for _ in model.graph.node]
