"""Whether a device fits a target, by the rules of a bundle built for it; and what to do where it does not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..manifest import ArtifactPart, TargetPart
from ..preflight import rules
from ..recipe.project import NamedTarget
from ..recipe.provider_data import find
from ..recipe.provider_rules import numbers
from ..recipe.schema import Target
from ..stages.lib.qnn_socs import SOCS
from .describe import About, preflight

_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Check:
    """One line: ``outcome`` is pass, fail, warn or not-run; ``fix`` is what to do, where something is to be done."""

    name: str
    outcome: str
    measured: str
    limit: str
    why: str
    fix: str


def judge(target: NamedTarget, about: About) -> list[Check]:
    """Every check of a bundle's preflight that does not need the bundle, for a device that said what it is."""
    program, recipe = preflight(), target.recipe
    part = rules(_part(target), list(_engines(recipe)), {one.name: one.media_type for one in _engines(recipe)})
    manifest = {"manifest_version": 1, "preflight": part.model_dump(mode="json"), "target": {"versions": recipe.runtime.versions}}
    wanted, newest = program.rules_of(manifest)
    facts = program.facts_of(about["facts"] or {"facts_version": 1})
    found = [*program.judge(wanted, newest, facts), *_threads(recipe, about)]
    return [Check(**one, fix=_fix(one, recipe, about) if one["outcome"] != "pass" else "") for one in found]


def fits(checks: Sequence[Check]) -> bool:
    """Whether nothing speaks against it."""
    return all(one.outcome != "fail" for one in checks)


def _threads(recipe: Target, about: About) -> Iterator[dict[str, str]]:
    """More threads than processors wait for each other."""
    wanted, there = recipe.session.intra_op_num_threads, about["processor"]["count"]
    if wanted and there:
        outcome, why = ("warn", "threads without a processor of their own wait") if wanted > there else ("pass", "")
        yield {"name": "threads", "outcome": outcome, "measured": f"{there} processors", "limit": f">= {wanted}", "why": why}


def _part(target: NamedTarget) -> TargetPart:
    recipe = target.recipe
    return TargetPart(
        name=target.name, recipe="", platform=recipe.platform, package=recipe.runtime.package,
        versions=list(recipe.runtime.versions), opset=recipe.runtime.opset, providers=[one.name for one in recipe.provider],
    )  # fmt: skip


def _engines(recipe: Target) -> Iterator[ArtifactPart]:
    """The engines that the recipe asks for, by what they will say of themselves; ``media_type`` is their provider."""
    outputs = recipe.outputs
    if outputs.tensorrt:
        yield _engine("model.engine", outputs.tensorrt.provider, tensorrt=outputs.tensorrt.version)
    if outputs.qnn and outputs.qnn.soc in SOCS:
        yield _engine("model_ctx.onnx", outputs.qnn.provider, soc=outputs.qnn.soc)
    for one in outputs.tensorrt_rtx.compute_capabilities if outputs.tensorrt_rtx else ():
        name = f"model-sm{one.replace('.', '')}.engine"
        yield _engine(name, "NvTensorRTRTXExecutionProvider", compute_capability=f"SM{one.replace('.', '')}")


def _engine(name: str, provider: str, **about: str) -> ArtifactPart:
    return ArtifactPart(name=name, digest="", size=0, media_type=provider, about=about)


# --- what to do -----------------------------------------------------------------------------------------------------


def _fix(check: Mapping[str, str], recipe: Target, about: About) -> str:
    kind = check["name"].partition(" ")[0]
    return _FIXES[kind](check, recipe, about) if kind in _FIXES else ""


def _platform(check: Mapping[str, str], _recipe: Target, _about: About) -> str:
    return f'build for a target with platform = "{check["measured"].partition(" ")[0]}"' if check["outcome"] == "fail" else ""


def _runtime(check: Mapping[str, str], recipe: Target, about: About) -> str:
    package, newest = recipe.runtime.package, recipe.runtime.versions[-1]
    if check["outcome"] == "warn":
        return f'add "{check["measured"]}" to [runtime] versions: then it is checked'
    if check["outcome"] == "not-run":
        return ""
    if other := _elsewhere(recipe, about):
        return other
    return _install(package, recipe, about, newest)


def _elsewhere(recipe: Target, about: About) -> str:
    """Another Python of the device that has what is wanted."""
    package, oldest, asked = recipe.runtime.package, numbers(recipe.runtime.versions[0]), about["python"]["path"]
    for one in about["pythons"]:
        version = _VERSION.match(one["onnxruntime"].get(package, ""))
        if version and one["path"] != asked and numbers(version[0]) >= oldest:
            return f"--python {one['path']}, which has {package} {version[0]}"
    return ""


def _install(package: str, recipe: Target, about: About, version: str = "") -> str:
    """Into the interpreter that was asked: neither the system's own (PEP 668), nor the one that runs Ortolan."""
    python, wanted = str(about["python"]["path"]), f"{package}=={version}" if version else package
    if "emulated" in about:
        return f"--python {package}-{version or 'VERSION'}, if runtimes/ has it: nothing is installed on what is emulated"
    if package == "onnxruntime-gpu" and recipe.platform == "linux/arm64":
        return f"install {package} {version} of NVIDIA's index for Jetson: PyPI has none for this processor".replace("  ", " ")
    if python.startswith("/usr/") or python == sys.executable:
        return f"python3 -m venv ~/venv && ~/venv/bin/pip install {wanted}, and then --python '~/venv/bin/python'"
    return f"{python} -m pip install {wanted}"


def _package(check: Mapping[str, str], recipe: Target, about: About) -> str:
    """Two of them in one interpreter overwrite each other's files."""
    install = _install(check["limit"], recipe, about)
    python = about["python"]["path"]
    return f"{python} -m pip uninstall {check['measured']}, then {install}" if install.startswith(f"{python} ") else install


def _opset(check: Mapping[str, str], recipe: Target, _about: About) -> str:
    found = check["measured"].partition(" ")[0]
    lower = f", or [runtime] opset = {found}" if found.isdigit() else ""
    return f"a newer {recipe.runtime.package}{lower}" if check["outcome"] == "fail" else ""


def _provider(check: Mapping[str, str], recipe: Target, about: About) -> str:
    """A package that has it on this platform, else a build of ONNX Runtime with it."""
    data = find(check["name"].partition(" ")[2])
    if data is None or check["outcome"] == "not-run":
        return ""
    if check["measured"] != "not in this ONNX Runtime":
        return "its libraries or its driver are missing or too old on the device"
    if _other_package(recipe, about):
        return f"{recipe.runtime.package}, which may have it: see package"
    packages = [one for one in data.package if recipe.platform in one.platforms and one.registry == "pypi"]
    if packages and recipe.runtime.package != packages[0].name:
        return _install(packages[0].name, recipe, about)
    if data.build_flag:
        return f"a build of ONNX Runtime with {data.build_flag} ([outputs] custom_build), or leave {data.title} out of the recipe"
    return f"leave {data.title} out of the recipe"


def _other_package(recipe: Target, about: About) -> bool:
    return (about["facts"] or {}).get("runtime", {}).get("package", "") not in {"", recipe.runtime.package}


def _engine_fix(check: Mapping[str, str], recipe: Target, _about: About) -> str:
    if check["outcome"] != "fail":
        return ""
    if recipe.outputs.tensorrt:
        return "say [outputs] tensorrt = { version = ... } as the device has it, or update its JetPack"
    return "name this device's own in [outputs], and build again"


def _disk(check: Mapping[str, str], _recipe: Target, _about: About) -> str:
    return "free some space, or install to another folder" if check["outcome"] == "fail" else ""


def _fewer(_check: Mapping[str, str], _recipe: Target, about: About) -> str:
    return f"[session] intra_op_num_threads = {about['processor']['count']}, or what ./inv tune finds"


_FIXES: Mapping[str, Any] = {
    "platform": _platform, "runtime": _runtime, "api": _runtime, "package": _package, "opset": _opset, "provider": _provider,
    "engine": _engine_fix, "disk": _disk, "threads": _fewer,
}  # fmt: skip
