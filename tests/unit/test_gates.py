"""Gates: each from the facts of real stages, as it passes, fails or is not run; and what the outcomes lead to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan import gates, plan
from ortolan.artifact import Artifact, Gate, Outcome, Precision
from ortolan.errors import StepError
from ortolan.execute import Result, Results
from ortolan.manifest import gate_part
from ortolan.plan import Candidates
from ortolan.platforms import host_platform
from ortolan.quantising import Recovery
from ortolan.recipe.base import Strict
from ortolan.recipe.outputs import CustomBuild
from ortolan.recipe.project import Project
from ortolan.recipe.schema import Data, Model, Provider, Target
from ortolan.recipe.shapes import Profile
from ortolan.sources import Job, job
from ortolan.step import Step
from ortolan.store import Action

PROJECT = Project(Path(__file__).parents[2])
PASS, FAIL, NOT_RUN = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN
Change = Mapping[str, Any]

CLOSE = {"close": True, "max_abs": 0.0, "max_rel": 0.0, "nan": 0, "reason": "", "snr_db": None}
FAR = CLOSE | {"close": False, "max_abs": 0.5, "reason": "2 of 10 values beyond tolerance", "snr_db": 12.0}
ROUNDED = FAR | {"max_abs": 0.004, "snr_db": 45.0}
ABSENT = CLOSE | {"close": False, "max_abs": None, "reason": "shape [1, 9], expected [1, 10]"}
RUNS = {"opens": True, "runs": True, "error": "", "close": True, "outputs": {"probabilities": CLOSE}}
REFUSED = {"opens": False, "runs": False, "error": "no kernel for Sin(7)", "close": False, "outputs": {}}
FAITHFUL = {
    "agreement": 1.0,
    "snr_db": {"min": 22.0, "mean": 78.0},
    "metric": {"name": "top1", "fp32": 0.975, "candidate": 0.975, "drop": 0.0},
}
TAKES_ALL = {
    "name": "CPUExecutionProvider", "unseen": "",
    "source": "a session", "levels": {"runs": 7}, "nodes": 7, "node_share": 1.0, "macs": 70,
    "mac_share": 1.0, "partitions": 1,
}  # fmt: skip
LOWERED: dict[str, Any] = {
    "low": 13, "macs": 100, "macs_share": 0.94, "macs_uncounted": [], "half_precision": [], "unknown_exclude": [],
    "left_in_float": {},
}  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "normalise": {"asked": 17, "found": 17, "given": 9, "ir": 8, "operators": {"Conv": 1}},
    "check_model": {"checker": "", "full_check": "", "shape_inference": ""},
    "verify": {
        "arch": "x86_64",
        "limits": [],
        "providers": {"available": [], "missing": []},
        "placed": None,
        "onnx": RUNS,
        "ort": None,
    },
    "fix_shapes": {"fixed": {"batch": 1}, "unknown": [], "dynamic_inputs": {}, "dynamic_inside": [], "inference": ""},
    "calibrate": {"inputs": {"image": [0.0, 1.0]}, "samples": 128},
    "quantise": {"qdq": 16, "macs": 9, "macs_share": 1.0, "macs_uncounted": [], "half_precision": [], "unknown_exclude": []},
    "quantise_dynamic": LOWERED | {"convolution_share": 0.0},
    "halve": LOWERED | {"size": 52, "float_size": 100},
    "quantise_weights": LOWERED | {"size": 27, "float_size": 100},
    "evaluate": {"samples": 450, **FAITHFUL, "default_kernels": FAITHFUL, "inputs": {"image": {"observed": [0.0, 1.0]}}},
    "coverage": {"providers": [TAKES_ALL], "partitions": 1, "switches": 0, "fallbacks": [], "nowhere": [], "uncounted": []},
    "latency": {"faster": True, "noise": {"speedup": 1.987, "fp32_ms": 0.543, "candidate_ms": 0.273}},
}
"""What the stages say of a model with which nothing is wrong."""
FACTS: dict[str, dict[str, Any]] = {
    "custom_build": {"version": "1.31.1", "flags": ["--use_acl"]},
    "ort_convert": {"onnxruntime": "1.20.1", "unfused": 0},
}
"""What the stages that build engines say."""
SLOW = {"latency": {"faster": False, "noise": {"speedup": 0.987, "fp32_ms": 0.543, "candidate_ms": 0.550}}}
WORSE, BETTER = {"fp32": 0.97, "candidate": 0.9, "drop": 0.07}, {"fp32": 0.9, "candidate": 0.97, "drop": -0.07}
TOO_FEW_BITS = {"evaluate": {"agreement": 0.5}}


@dataclass(frozen=True)
class Case:
    """A job with its graph, and what its steps found."""

    job: Job
    found: Candidates
    results: Results

    def candidates(self) -> list[Gate]:
        """The gates of the candidates."""
        return gates.candidates(self.job, self.found, self.results)

    def shipped(self, precision: Precision, facts: Change, size: int) -> list[Gate]:
        """The gates of what ships, with a model file of this size and a larger file that no device loads."""
        verified = {k: v for k, v in facts.items() if not is_coverage(k, v)}
        ship = plan.shipment(self.job, self.found, precision, "tag", "sha256:0")
        results = {
            step.id: done(step, merged(GOOD["verify"] | {"ort": RUNS | {"against": "optimised"}}, verified))
            for step in ship.verify.values()
        }
        results |= {step.id: done(step, FACTS[step.stage]) for made in ship.made for step in made.steps.values()}
        results[ship.coverage.id] = done(ship.coverage, GOOD["coverage"] | {k: v for k, v in facts.items() if is_coverage(k, v)})
        files = [Artifact(name, "sha256:0", count, "") for name, count in (("model.onnx", size), ("session.json", 10**12))]
        return gates.shipped(self.job, ship, files, results, precision)


R = TypeVar("R", bound=Strict)


def edited(recipe: R, tables: Change) -> R:
    """A recipe with some keys of some tables replaced."""

    def changed(old: Any, new: Any) -> Any:
        return old.model_copy(update=new) if isinstance(old, Strict) and isinstance(new, dict) else new

    return recipe.model_copy(update={key: changed(getattr(recipe, key), new) for key, new in tables.items()})


def is_coverage(key: str, value: Any) -> bool:
    """Whether a change to facts is for the stage ``coverage``; ``verify`` has a dictionary of providers."""
    return key in GOOD["coverage"] and isinstance(value, type(GOOD["coverage"][key]))


def merged(facts: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """Facts with some of them replaced, one level deep."""
    inner = {k: facts[k] | v if isinstance(v, dict) and isinstance(facts.get(k), dict) else v for k, v in change.items()}
    return deepcopy(dict(facts)) | inner


def done(step: Step, facts: Change) -> Result:
    """A step that succeeded, or refused its input."""
    refused = {"what": facts["refused"], "why": "", "hint": ""} if "refused" in facts else None
    return Result(step, Action("key:0", {}, facts={} if refused else facts, refused=refused))


def made(facts: Change | None = None, *, native: bool = True, target: Change | None = None, model: Change | None = None) -> Case:
    """digits-mlp for a target of this machine's kind, or another, with changes to the recipes and, by step, to the facts."""
    picked, network = PROJECT.target("x86-cpu"), PROJECT.model("digits-mlp")
    other = "linux/arm64" if host_platform() != "linux/arm64" else "linux/amd64"
    device: Target = edited(picked.recipe, {"platform": host_platform() if native else other, **(target or {})})
    recipe: Model = edited(network.recipe, model or {})
    one = job(replace(network, recipe=recipe), replace(picked, recipe=device))
    found = plan.candidates(one, host=host_platform())
    results = {step.id: done(step, merged(GOOD.get(step.stage, {}), (facts or {}).get(name, {}))) for name, step in named(found)}
    return Case(one, found, results)


def named(found: Candidates) -> Iterator[tuple[str, Step]]:
    """The steps under the names that the tests use, those of a runtime like ``verify@1.17.3``."""
    alone = (
        "imported",
        "normalise",
        "check",
        "fixed",
        "samples",
        "reference",
        "calibrate",
        "quantise",
        "evaluate",
        "latency",
        "coverage",
    )
    yield from ((name, step) for name in alone if (step := getattr(found, name)))
    yield from ((f"verify@{version} {sizes}", step) for (sizes, version), step in found.edges.items())
    for name, steps in (("verify", found.verify), ("verify_int8", found.verify_int8 or {})):
        yield from ((f"{name}@{version}", step) for version, step in steps.items())


def pick(judged: list[Gate], name: str, subject: str) -> Gate:
    """The one gate with this name and subject."""
    (found,) = [gate for gate in judged if (gate.name, gate.subject) == (name, subject)]
    return found


# --- every gate, both ways -----------------------------------------------------------------------------------------

SLIP = {"fixed": {}, "unknown": ["bacth"], "dynamic_inputs": {"image": ["batch", 64]}}
NOISE = FAR | {"snr_db": -3.0}
DARK = {"calibrate": {"inputs": {"image": [0.0, 0.004]}}}
UNJUDGED = {"data": {"evaluation": None}}
FULL = {"evaluate": {"inputs": {"image": {"observed": [0.0, 255.0]}}}}
FREE = {"fixed": {}, "dynamic_inputs": {"image": ["batch", 64]}}
TREES = {
    "normalise": {"operators": {"ai.onnx.ml:TreeEnsembleClassifier": 1}},
    "quantise": {"qdq": 0, "macs": 0, "macs_share": 0.0},
}
RANGED: dict[str, Any] = {"target": {"shapes": {"batch": Profile(min=1, opt=4, max=8)}}, "facts": {"fixed": FREE}}
FIXED_INSIDE = {"fixed": FREE, "verify@1.17.3 batch 1": {"onnx": {"close": False, "outputs": {"p": FAR}}}}
BAKED_IN = {"fixed": FREE, "verify@1.17.3 batch 8": {"onnx": REFUSED | {"opens": True, "error": "bad shape"}}}
RTX = {"provider": [Provider(name="NvTensorRTRTXExecutionProvider"), Provider(name="CPUExecutionProvider")], "shapes": {}}
QNN = {"provider": [Provider(name="QNNExecutionProvider"), Provider(name="CPUExecutionProvider")], "shapes": {}}
LOST = {"node": "acme:Foo 'f'", "op": "Foo", "domain": "acme", "why": "unknown domain acme"}
EIGHT: dict[str, Any] = {"target": {"gates": {"max_partitions": 8}}}
CANDIDATES: list[tuple[str, str, dict[str, Any], Outcome, str]] = [
    ("opset", "fp32", {}, PASS, "17, IR 8"),
    ("opset", "fp32", {"facts": {"normalise": {"found": 18}}}, FAIL, "= 17"),
    ("shapes", "fp32", {}, PASS, "batch = 1"),
    ("shapes", "fp32", {"facts": {"fixed": SLIP}}, FAIL, "Did you mean batch?"),
    ("shapes", "fp32", {"facts": {"fixed": SLIP | {"unknown": ["time"]}}}, PASS, "; batch dynamic"),
    ("shapes", "fp32", {"facts": {"fixed": {"dynamic_inside": [{"op": "NonZero", "node": "n"}]}}}, PASS, "NonZero n"),
    ("valid", "fp32", {}, PASS, "clean"),
    ("valid", "fp32", {"facts": {"check": {"full_check": "no shape"}}}, PASS, "full_check: no shape"),
    ("valid", "fp32", {"facts": {"check": {"checker": "bad"}, "verify@1.17.3": {"onnx": REFUSED}}}, FAIL, "1 of 2 runtimes"),
    ("load@1.31.1", "fp32", {"target": {"runtime": {"package": "onnxruntime-gpu"}}}, PASS, "not onnxruntime-gpu"),
    ("load@1.17.3", "fp32", {}, PASS, "runs on x86_64"),
    ("load@1.17.3", "fp32", {"facts": {"verify@1.17.3": {"limits": ["IR 10 is too new"], "onnx": REFUSED}}}, FAIL, "IR 10"),
    ("load@1.17.3", "fp32", {"facts": {"verify@1.17.3": {"onnx": REFUSED | {"opens": True}}}}, FAIL, "no kernel for Sin(7)"),
    ("load@1.31.1", "fp32", {"facts": {"verify@1.17.3": {"onnx": REFUSED}}}, PASS, "runs"),
    ("parity@1.17.3", "fp32", {}, PASS, "max error 0"),
    ("parity@1.17.3", "fp32", {"facts": {"verify@1.17.3": {"onnx": {"close": False, "outputs": {"p": FAR}}}}}, FAIL, "p: 2 "),
    ("parity@1.17.3", "fp32", {"facts": {"verify@1.17.3": {"onnx": REFUSED}}}, NOT_RUN, "did not run"),
    ("parity@1.17.3 batch 8", "fp32", RANGED, PASS, "max error 0"),
    ("parity@1.17.3 batch 1", "fp32", RANGED | {"facts": FIXED_INSIDE}, FAIL, "p: 2 of 10"),
    ("parity@1.17.3 batch 8", "fp32", RANGED | {"facts": BAKED_IN}, FAIL, "bad shape"),
    ("shapes", "fp32", RANGED, PASS, "batch 1…4…8 dynamic"),
    ("shapes", "fp32", {"target": RTX, "facts": {"fixed": FREE}}, FAIL, "TensorRT-RTX builds engines for a size or a profile"),
    ("shapes", "fp32", {"target": QNN, "facts": {"fixed": FREE}}, FAIL, "say batch = <size> in [shapes] of x86-cpu"),
    ("shapes", "fp32", {"target": QNN}, PASS, "batch = 1"),
    ("quantised", "int8", {}, PASS, "16 Q/DQ nodes, 100.0% of MACs"),
    ("quantised", "int8", {"facts": {"quantise": {"qdq": 0, "macs_share": 0.0}}}, FAIL, "nothing was quantised"),
    ("quantised", "int8", {"facts": TREES}, NOT_RUN, "TreeEnsembleClassifier compares and adds"),
    ("quantised", "int8", {"facts": {"quantise": {"macs_share": 0.49}}}, FAIL, "too little was quantised"),
    ("quantised", "int8", {"facts": {"quantise": {"macs_uncounted": ["m"]}}}, FAIL, "the share is not known"),
    ("quantised", "int8", {"facts": {"quantise": {"qdq": 0, "half_precision": ["w"]}}}, FAIL, "half precision"),
    ("quantised", "int8", {"facts": {"quantise": {"unknown_exclude": ["convv"]}}}, PASS, "convv"),
    ("quantised", "int8", {"facts": {"quantise": {"refused": "opset 9 is too old"}}}, FAIL, "opset 9 is too old"),
    ("quantised", "int8", {"model": {"data": Data()}}, NOT_RUN, "no [data] calibration"),
    ("coverage", "int8", EIGHT, PASS, "CPU 100.0% runs (of MACs)"),
    ("coverage", "int8", EIGHT | {"facts": {"coverage": {"nowhere": [LOST]}}}, FAIL, "no provider takes acme:Foo"),
    ("partitions", "int8", EIGHT, PASS, "1 (0 switches"),
    ("partitions", "int8", EIGHT | {"facts": {"coverage": {"partitions": 9}}}, FAIL, "≤ 8"),
    ("load@1.31.1", "int8", {}, PASS, "runs"),
    ("load@1.31.1", "int8", {"facts": {"verify_int8@1.31.1": {"onnx": REFUSED}}}, FAIL, "no kernel"),
    ("sane@1.31.1", "int8", {}, PASS, "equal on the parity samples"),
    ("sane@1.31.1", "int8", {"facts": {"verify_int8@1.31.1": {"onnx": {"close": False, "outputs": {"p": FAR}}}}}, PASS, "12 dB"),
    ("sane@1.31.1", "int8", {"facts": {"verify_int8@1.31.1": {"onnx": {"outputs": {"p": NOISE}}}}}, FAIL, "-3 dB"),
    ("sane@1.31.1", "int8", {"facts": {"verify_int8@1.31.1": {"onnx": {"outputs": {"p": ABSENT}}}}}, FAIL, "shape [1, 9]"),
    ("input-range image", "int8", {"model": UNJUDGED}, PASS, "100% of it used"),
    ("input-range image", "int8", {"model": UNJUDGED, "facts": DARK}, FAIL, "alike?"),
    ("agreement", "int8", {"model": UNJUDGED}, PASS, "450 calibration samples"),
    ("input-range image", "int8", {}, PASS, "0% clipped, 100% of it used"),
    ("input-range image", "int8", {"facts": FULL}, FAIL, "scaled alike?"),
    ("input-range image", "int8", {"facts": {"calibrate": {"inputs": {"image": [0.0, 255.0]}}}}, FAIL, "0 to 255"),
    ("input-range image", "int8", {"facts": {"calibrate": {"inputs": {"image": [0.0, 1.05]}}}}, PASS, "95% of it used"),
    ("agreement", "int8", {}, PASS, "100.0% of 450 samples, SNR 78 dB"),
    ("agreement", "int8", {"facts": {"evaluate": {"agreement": 0.899, "snr_db": None}}}, FAIL, "89.9% of 450 samples"),
    ("agreement@this-cpu", "int8", {"facts": TOO_FEW_BITS}, PASS, "100.0%"),
    ("agreement@this-cpu", "int8", {"facts": {"evaluate": {"default_kernels": {"agreement": 0.5}}}}, FAIL, "50.0%"),
    ("accuracy", "int8", {}, PASS, "top1 0.975 → 0.975"),
    ("accuracy", "int8", {"facts": {"evaluate": {"metric": WORSE}}}, FAIL, "0.97 → 0.9"),
    ("accuracy", "int8", {"facts": {"evaluate": {"metric": BETTER}}}, PASS, "drop ≤ 0.01"),
    ("accuracy@this-cpu", "int8", {}, PASS, "top1"),
    ("accuracy@this-cpu", "int8", {"facts": {"evaluate": {"default_kernels": FAITHFUL | {"metric": {
        "fp32": 0.97, "candidate": 0.1, "drop": 0.87}}}}}, FAIL, "0.1"),
    ("int8-faster", "int8", {}, PASS, "1.99× (0.543 → 0.273 ms)"),
    ("int8-faster", "int8", {"facts": SLOW}, FAIL, "0.99×"),
    ("int8-faster", "int8", {"native": False}, NOT_RUN, "this machine is"),
    ("int8-faster", "int8", {"facts": {"latency": {"refused": "the int8 model cannot be timed"}}}, NOT_RUN, "cannot be timed"),
]  # fmt: skip
AZURE = {"provider": [Provider(name="AzureExecutionProvider"), Provider(name="CPUExecutionProvider")]}
COVERED = {"target": {**AZURE, "gates": {"min_coverage": 0.5, "max_partitions": 2}}}
TAKES_NONE = TAKES_ALL | {"name": "AzureExecutionProvider", "levels": {}, "nodes": 0, "node_share": 0.0, "mac_share": 0.0}
SIN = {"op": "Sin", "domain": "", "provider": "AzureExecutionProvider", "why": "odd", "fix": "use Cos", "goes_to": "CPU"}


def half(name: str) -> dict[str, Any]:
    """A provider that takes half of the model, as far as a document says."""
    return TAKES_ALL | {"name": f"{name}ExecutionProvider", "levels": {"listed": 3}, "node_share": 0.5, "mac_share": 0.5}


BLIND = [TAKES_NONE | {"unseen": "no browser"}, TAKES_ALL]
LAST, HALVES = [TAKES_NONE, TAKES_ALL], [half("Azure"), half("CPU")]
CUSTOM = {"target": {"outputs": {"custom_build": CustomBuild(flags=["--use_acl"])}}}
SHIPPED: list[tuple[str, dict[str, Any], Precision, dict[str, Any], int, Outcome, str]] = [
    ("load@1.17.3", {}, "int8", {}, 1000, PASS, "runs"),
    ("load@1.17.3", {}, "int8", {"onnx": REFUSED}, 1000, FAIL, "no kernel"),
    ("parity@1.31.1", {}, "fp32", {}, 1000, PASS, "max error 0"),
    ("parity@1.31.1", {}, "fp32", {"onnx": {"close": False, "outputs": {"p": FAR}}}, 1000, FAIL, "p: 2 of 10"),
    ("parity@1.31.1", {}, "fp32", {"onnx": REFUSED}, 1000, NOT_RUN, "did not run"),
    ("ort@1.31.1", {}, "fp32", {}, 1000, PASS, "equals .onnx"),
    ("ort@1.31.1", {}, "fp32", {"ort": {"close": False, "outputs": {"p": ROUNDED}}}, 1000, FAIL, "2 of 10"),
    ("ort@1.31.1", {}, "int8", {"ort": {"close": False, "outputs": {"p": ROUNDED}}}, 1000, PASS, "max error 0.004"),
    ("ort@1.31.1", {}, "int8", {"ort": {"close": False, "outputs": {"p": FAR}}}, 1000, FAIL, "2 of 10"),
    ("ort@1.31.1", {}, "int8", {"ort": {"close": False, "outputs": {"p": ROUNDED, "q": ABSENT}}}, 1000, FAIL, "q: shape"),
    ("ort@1.31.1", {}, "int8", {"ort": {"close": False, "outputs": {"p": CLOSE, "q": ROUNDED}}}, 1000, PASS, "0.004"),
    ("ort@1.31.1", {}, "int8", {"ort": {"close": None, "outputs": {}}}, 1000, FAIL, "no numbers to compare"),
    ("ort@1.31.1", {}, "fp32", {"ort": REFUSED}, 1000, FAIL, "no kernel"),
    ("providers@1.31.1", {}, "fp32", {}, 1000, PASS, "CPUExecutionProvider"),
    ("providers@1.31.1", {}, "fp32", {"placed": {"CPUExecutionProvider": 7}}, 1000, PASS, "7 nodes"),
    ("providers@1.31.1", {"target": AZURE}, "fp32", {"placed": {"CPUExecutionProvider": 7}}, 1000, NOT_RUN, "took no node"),
    ("providers@1.31.1", {"target": AZURE}, "fp32", {"placed": {"AzureExecutionProvider": 7}}, 1000, PASS, "Azure"),
    ("providers@1.17.3", {"target": AZURE}, "fp32", {}, 1000, NOT_RUN, "does not tell"),
    ("providers@1.31.1", {}, "fp32", {"providers": {"missing": ["CPUExecutionProvider"]}}, 1000, NOT_RUN, "needs the device"),
    ("size", {}, "fp32", {}, 128_000_000, PASS, "≤ 128,000,000 B"),
    ("size", {}, "fp32", {}, 128_000_001, FAIL, "128,000,001 B"),
    ("size", {"target": {"gates": {"max_size": None}}}, "fp32", {}, 1000, NOT_RUN, "sets no max_size"),
    ("coverage", {}, "int8", {}, 1000, PASS, "CPU 100.0% runs (of MACs)"),
    ("coverage", {}, "int8", {"nowhere": [LOST]}, 1000, FAIL, "no provider takes acme:Foo (unknown domain acme)"),
    (
        "coverage",
        COVERED,
        "int8",
        {"providers": [half("Azure"), half("CPU")]},
        1000,
        PASS,
        "Azure 50.0% listed, CPU 50.0% listed",
    ),
    (
        "coverage",
        COVERED,
        "int8",
        {"providers": [TAKES_NONE, TAKES_ALL], "fallbacks": [SIN]},
        1000,
        FAIL,
        "Sin is not Azure's: odd",
    ),
    ("coverage", COVERED, "int8", {"providers": HALVES, "uncounted": ["m"]}, 1000, FAIL, "not known"),
    ("coverage", {"target": AZURE}, "int8", {}, 1000, PASS, "nothing is known of AzureExecutionProvider"),
    ("coverage", COVERED, "int8", {"providers": BLIND}, 1000, NOT_RUN, "Azure could not be asked here: no browser"),
    ("partitions", COVERED, "int8", {"providers": BLIND}, 1000, NOT_RUN, "no browser"),
    ("partitions", {}, "int8", {"partitions": 9, "switches": 8}, 1000, PASS, "9 (8 switches"),
    ("partitions", COVERED, "int8", {"partitions": 2, "switches": 1}, 1000, PASS, "≤ 2"),
    ("partitions", COVERED, "int8", {"partitions": 3, "switches": 2, "fallbacks": [SIN]}, 1000, FAIL, "use Cos"),
    (
        "runtime",
        {"target": {"outputs": {"custom_build": CustomBuild(flags=["--use_acl"])}}},
        "int8",
        {},
        1000,
        NOT_RUN,
        "built on",
    ),
    ("on-device", {"native": False}, "int8", {}, 1000, NOT_RUN, "all of this was seen on"),
]
SEEN = {"providers", "runtime", "on-device"}  # gates that say what was or was not seen: they never fail


SLOW_HERE = {"faster": False, "noise": {"speedup": 0.15, "fp32_ms": 32.1, "candidate_ms": 227.0}}
CONVOLUTIONS: dict[str, Any] = {"quantise": {"convolution_share": 0.99}}
NOISY = {"onnx": {"outputs": {"p": NOISE}}}


def scheme(name: str, facts: Change | None = None, gates: Change | None = None, **keys: Any) -> dict[str, Any]:
    """A case for another scheme; the limit on speed counts as the recipe's where it is given."""
    return {"target": {"quantize": {"scheme": name, **keys}, "gates": gates or {}}, "facts": facts or {}}


CANDIDATES += [
    ("quantised", "int8-dynamic", scheme("dynamic"), PASS, "13 nodes with 8-bit weights and dynamic ranges, 94.0% of MACs"),
    ("quantised", "int8-dynamic", scheme("dynamic", {"quantise": {"macs_share": 0.01}}), FAIL, "convolutions stay in float"),
    ("quantised", "fp16", scheme("fp16"), PASS, "13 nodes in half precision"),
    ("quantised", "fp16", scheme("fp16", {"quantise": {"left_in_float": {"mul": "large", "exp": ""}}}), PASS, "mul (large)"),
    ("quantised", "fp16", scheme("fp16", {"quantise": {"low": 0, "macs_share": 0.0}}), FAIL, "nothing was quantised"),
    ("quantised", "int4-weights", scheme("weight-only"), PASS, "13 matrix products with 4-bit weights"),
    ("quantised", "int8-weights", scheme("weight-only", bits=8), PASS, "13 matrix products with 8-bit weights"),
    ("quantised", "int4-weights", scheme("weight-only", {"quantise": {"macs_share": 0.003}}), FAIL, "MatMul and Gemm"),
    ("quantised", "fp16", scheme("fp16") | {"model": {"data": Data()}}, PASS, "half precision"),
    ("agreement", "fp16", scheme("fp16") | {"model": {"data": Data()}}, PASS, "450 parity samples"),
    ("sane@1.17.3", "fp16", scheme("fp16", {"verify_int8@1.17.3": NOISY}), FAIL, "mem_pattern = false"),
    ("smaller", "fp16", scheme("fp16"), PASS, "100 → 52 B (52%)"),
    ("smaller", "int4-weights", scheme("weight-only"), PASS, "27%"),
    ("smaller", "int4-weights", scheme("weight-only", {"quantise": {"size": 96}}), FAIL, "≤ 75% of fp32's"),
    ("smaller", "fp16", scheme("fp16", gates={"max_relative_size": 0.5}), FAIL, "≤ 50% of fp32's"),
    ("fp16-faster", "fp16", scheme("fp16", {"latency": SLOW_HERE}), NOT_RUN, "told and not judged"),
    ("fp16-faster", "fp16", scheme("fp16", {"latency": SLOW_HERE}, {"min_speedup": 1.0}), FAIL, "0.15×"),
    ("fp16-faster", "fp16", scheme("fp16", gates={"min_speedup": 1.0}), PASS, "1.99×"),
    ("int8-dynamic-faster", "int8-dynamic", scheme("dynamic"), PASS, "1.99×"),
    ("int8-dynamic-faster", "int8-dynamic", scheme("dynamic", {"latency": SLOW_HERE}), FAIL, "int8-dynamic ran at 0.15×"),
    ("convolutions", "int8-dynamic", scheme("dynamic"), PASS, "0.0% of MACs in ConvInteger"),
    ("convolutions", "int8-dynamic", scheme("dynamic", CONVOLUTIONS), PASS, "99.0% of MACs"),
    ("convolutions", "int8-dynamic", scheme("dynamic", CONVOLUTIONS | {"latency": SLOW_HERE}), FAIL, "0.15× the speed of float"),
    ("convolutions", "int8-dynamic", scheme("dynamic", CONVOLUTIONS) | {"native": False}, FAIL, "leave out convolutions = true"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "subject", "how", "outcome", "words"), CANDIDATES)
def test_a_gate_of_a_candidate(name: str, subject: str, how: dict[str, Any], outcome: Outcome, words: str) -> None:
    gate = pick(made(**how).candidates(), name, subject)
    assert (gate.outcome, words in f"{gate.measured} {gate.limit} {gate.why}") == (outcome, True), gate


@pytest.mark.parametrize(("name", "how", "precision", "facts", "size", "outcome", "words"), SHIPPED)
def test_a_gate_of_what_ships(
    name: str, how: dict[str, Any], precision: Precision, facts: dict[str, Any], size: int, outcome: Outcome, words: str
) -> None:
    gate = pick(made(**how).shipped(precision, facts, size), name, "shipped")
    assert (gate.outcome, words in f"{gate.measured} {gate.limit} {gate.why}") == (outcome, True), gate


def test_every_gate_is_seen_to_pass_and_to_fail() -> None:
    def kind(name: str) -> str:
        return re.split(r"@1\.| ", name, maxsplit=1)[0]

    case = made()
    others = [made(**scheme(name)) for name in ("dynamic", "fp16")]
    judged = [gate for one in (case, *others) for gate in one.candidates()]
    every = {kind(gate.name) for gate in [*judged, *case.shipped("fp32", {}, 1)]} | {"runtime", "on-device"}
    seen: dict[str, set[Outcome]] = {}
    for name, outcome in [*((n, o) for n, _, _, o, _ in CANDIDATES), *((n, o) for n, *_, o, _ in SHIPPED)]:
        seen.setdefault(kind(name), set()).add(outcome)
    assert {name for name in every if name not in SEEN and not seen[name] >= {PASS, FAIL}} == set()
    assert every == set(seen)


def test_what_was_not_run_or_failed_says_why() -> None:
    for name, subject, how, outcome, _ in CANDIDATES:
        gate = pick(made(**how).candidates(), name, subject)
        assert gate.why or gate.limit or outcome is PASS, gate
        assert gate.why or outcome is not NOT_RUN, gate


# --- which gates there are -----------------------------------------------------------------------------------------


def test_a_model_without_a_metric_has_no_accuracy_gate() -> None:
    assert not [gate for gate in made(model={"accuracy": None}).candidates() if gate.name.startswith("accuracy")]


def test_saturating_kernels_are_judged_only_where_they_are_the_targets() -> None:
    judged = made({"evaluate": {"default_kernels": FAITHFUL | {"agreement": 0.1}}}, native=False).candidates()
    assert [gate.name for gate in judged if gate.name.endswith("@this-cpu")] == []
    assert gates.choose(made(native=False).job, judged)[0] == "int8"


def test_int8_that_opens_nowhere_is_judged_no_further() -> None:
    case = made({"verify_int8@1.17.3": {"onnx": REFUSED}, "evaluate": {"refused": "the int8 model does not open"}})
    names = {gate.name for gate in case.candidates() if gate.subject == "int8"}
    assert names == {"quantised", "load@1.17.3", "load@1.31.1", "sane@1.31.1", "agreement", "accuracy"}
    tolerated = gates.tolerated(case.found, case.results)
    assert {case.found.quantise.id, case.found.evaluate.id, case.found.latency.id} == tolerated  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("policy", "precision", "stops"), [("prefer", "fp32", []), ("require", "int8", ["agreement", "accuracy"])]
)
def test_a_waiver_for_what_does_not_open_is_none_for_what_was_not_measured(policy: str, precision: str, stops: list[str]) -> None:
    facts = {"verify_int8@1.17.3": {"onnx": REFUSED}, "evaluate": {"refused": "the int8 model does not open"}}
    case = made(facts, target={"quantize": {"policy": policy}})
    judged = [replace(g, outcome=Outcome.WAIVED) if g.outcome is FAIL else g for g in case.candidates()]
    assert {g.name for g in judged if g.outcome is Outcome.WAIVED} == {"load@1.17.3"}
    for name, limit in (("agreement", "≥ 90%"), ("accuracy", "drop ≤ 0.01")):
        gate = pick(judged, name, "int8")
        assert (gate.outcome, gate.limit, gate.why) == (NOT_RUN, limit, "the int8 model does not open")
    chosen, reason = gates.choose(case.job, judged)
    assert (chosen, [gate.name for gate in gates.stopping(judged, chosen, case.job)]) == (precision, stops)
    assert reason == "agreement: the int8 model does not open; accuracy: the int8 model does not open"


def test_only_a_refusal_to_quantise_is_tolerated_when_int8_runs() -> None:
    case = made()
    assert case.found.quantise
    assert gates.tolerated(case.found, case.results) == {case.found.quantise.id}
    never = made(target={"quantize": {"policy": "never"}})
    assert gates.tolerated(never.found, never.results) == set()


# --- what the outcomes lead to -------------------------------------------------------------------------------------

REASONS = {PASS: {}, FAIL: {"quantise": {"qdq": 0, "macs_share": 0.0}}, NOT_RUN: {}}


@pytest.mark.parametrize(
    ("policy", "outcome", "precision", "stops"),
    [
        ("never", PASS, "fp32", []), ("never", FAIL, "fp32", []), ("never", NOT_RUN, "fp32", []),
        ("prefer", PASS, "int8", []), ("prefer", FAIL, "fp32", []), ("prefer", NOT_RUN, "fp32", []),
        ("require", PASS, "int8", []), ("require", FAIL, "int8", ["quantised"]), ("require", NOT_RUN, "int8", ["quantised"]),
    ],
)  # fmt: skip
def test_the_policy_decides_what_a_quantisation_that_failed_means(
    policy: str, outcome: Outcome, precision: str, stops: list[str]
) -> None:
    model = {"data": Data()} if outcome is NOT_RUN else {}
    case = made(REASONS[outcome], target={"quantize": {"policy": policy}}, model=model)
    judged = case.candidates()
    chosen, reason = gates.choose(case.job, judged)
    assert (chosen, [gate.name for gate in gates.stopping(judged, chosen, case.job)]) == (precision, stops)
    assert reason
    assert ("quantised: " in reason) == (policy != "never" and outcome is not PASS)


@pytest.mark.parametrize("policy", ["prefer", "require"])
def test_a_speed_that_was_not_measured_does_not_speak_against_int8(policy: str) -> None:
    case = made(native=False, target={"quantize": {"policy": policy}})
    judged = case.candidates()
    assert pick(judged, "int8-faster", "int8").outcome is NOT_RUN
    assert gates.choose(case.job, judged)[0] == "int8"
    assert gates.stopping(judged, "int8", case.job) == []


@pytest.mark.parametrize(("policy", "precision", "stops"), [("prefer", "fp32", []), ("require", "int8", ["int8-faster"])])
def test_slow_int8(policy: str, precision: str, stops: list[str]) -> None:
    case = made(SLOW, target={"quantize": {"policy": policy}})
    judged = case.candidates()
    assert gates.choose(case.job, judged)[0] == precision
    assert [gate.name for gate in gates.stopping(judged, precision, case.job)] == stops


@pytest.mark.parametrize("policy", ["never", "prefer", "require"])
def test_a_float_model_that_fails_stops_under_every_policy(policy: str) -> None:
    case = made({"normalise": {"found": 18}}, target={"quantize": {"policy": policy}})
    judged = case.candidates()
    assert [gate.name for gate in gates.stopping(judged, gates.choose(case.job, judged)[0], case.job)] == ["opset"]


def test_every_reason_against_int8_is_told() -> None:
    case = made({"evaluate": TOO_FEW_BITS["evaluate"] | FULL["evaluate"]} | SLOW)
    _, reason = gates.choose(case.job, case.candidates())
    told = [part.partition(": ")[0] for part in reason.split("; ")]
    assert told == ["input-range image", "agreement", "int8-faster"]


@given(speedup=st.floats(0.001, 1000), fp32=st.floats(0.001, 1000), int8=st.floats(0.001, 1000))
def test_no_timing_reaches_the_reason_or_the_manifest(speedup: float, fp32: float, int8: float) -> None:
    faster = speedup >= 1.1
    case = made({"latency": {"faster": faster, "noise": {"speedup": speedup, "fp32_ms": fp32, "candidate_ms": int8}}})
    quiet = made({"latency": {"faster": faster, "noise": {"speedup": 1.0, "fp32_ms": 1.0, "candidate_ms": 1.0}}})
    assert gates.choose(case.job, case.candidates()) == gates.choose(quiet.job, quiet.candidates())
    assert [gate_part(gate) for gate in case.candidates()] == [gate_part(gate) for gate in quiet.candidates()]


# --- parity that failed --------------------------------------------------------------------------------------------


def test_the_first_diverging_tensor_is_named_with_its_node_and_its_error() -> None:
    step = made().found.check
    first = {"tensor": "/conv/out", "node": "/conv/Conv", "op": "Conv", "max_abs": 0.25}
    said = gates.diverging(done(step, {"compared": 9, "first": first}))
    assert said == "first diverging tensor: /conv/out, made by Conv node /conv/Conv, off by 0.25"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda s: done(s, {"compared": 9, "first": None}), "none of the 9 tensors"),
        (lambda s: done(s, {"refused": "it does not run"}), "could not be looked for: it does not run"),
        (lambda s: Result(s, error=StepError("out of memory")), "could not be looked for: out of memory"),
        (lambda s: Result(s, skipped=s), "could not be looked for"),
    ],
)
def test_a_tensor_that_cannot_be_named_is_not_made_up(how: Any, words: str) -> None:
    assert words in gates.diverging(how(made().found.check))


def test_a_reason_is_added_to_those_that_a_gate_has() -> None:
    gate = Gate("parity@1", "fp32", FAIL)
    assert gates.because(gate, "a").why == "a"
    assert gates.because(gates.because(gate, "a"), "b").why == "a; b"


# --- layers left in float ------------------------------------------------------------------------------------------------------

FOUND = Recovery(("conv37", "head"), layers=120, most=32, evaluations=10)
LOST_SEARCH = Recovery((), layers=120, most=32, evaluations=8)
OUT_OF_TIME = replace(LOST_SEARCH, ended="the budget of 10 min ended the search: fewer may do, or more help", timed=True)


@pytest.mark.parametrize(
    ("recovery", "outcome", "measured", "why", "varies"),
    [
        (FOUND, PASS, "2 of 120 layers in float: conv37, head", "10 evaluations", False),
        (LOST_SEARCH, FAIL, "no such layers found", "8 evaluations", False),
        (OUT_OF_TIME, FAIL, "no such layers found", "8 evaluations; the budget of 10 min", True),
    ],
)
def test_what_a_search_found_is_a_gate(recovery: Recovery, outcome: Outcome, measured: str, why: str, *, varies: bool) -> None:
    case = made(target={"quantize": {"policy": "recover"}})
    gate = pick(replace(case, found=replace(case.found, recovery=recovery)).candidates(), "recovered", "int8")
    assert (gate.outcome, gate.measured, gate.limit, gate.varies) == (outcome, measured, "≤ 32, by min_quantized_macs", varies)
    assert gate.why.startswith(why)


def test_the_reason_names_the_layers_in_float() -> None:
    case = made(target={"quantize": {"policy": "recover"}})
    judged = replace(case, found=replace(case.found, recovery=FOUND)).candidates()
    floats = "with 2 of 120 layers in float: conv37, head"
    assert gates.choose(case.job, judged) == ("int8", f"policy recover: every INT8 gate that ran passed, {floats}")


def test_what_a_search_did_not_find_ships_as_fp32() -> None:
    case = made({"evaluate": {"agreement": 0.5}}, target={"quantize": {"policy": "recover"}})
    case = replace(case, found=replace(case.found, recovery=LOST_SEARCH))
    precision, reason = gates.choose(case.job, case.candidates())
    assert precision == "fp32"
    assert "agreement" in reason
    assert "recovered: 8 evaluations" in reason
    assert not gates.stopping(case.candidates(), "fp32", case.job)
