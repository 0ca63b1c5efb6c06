#!/usr/bin/env python3
"""Tells whether this bundle fits this device, before anything of it is loaded. Needs Python 3.8 or newer, nothing else.

    python3 preflight.py                                    this device, by the rules in the manifest of this bundle
    python3 preflight.py --folder /data --json              and whether /data has room; JSON for programs
    python3 preflight.py --library /opt/libonnxruntime.so   a device whose ONNX Runtime is a library without Python
    python3 preflight.py --describe > device.json           what this device is, and then, on a server before a download:
    python3 preflight.py --manifest manifest.json --device device.json

What ONNX Runtime can do is tried with a model of one node that stands in this file, each attempt in a process of its own, so
that a crash or a hang is a result. Exit codes: 0 fits, 1 does not fit, 2 cannot be judged.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import ctypes.util
import importlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import struct
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).resolve().parent
ROOM = 1 << 20
"""Bytes that a bundle needs beside its files: the manifest, folders, what a file system keeps of each."""
CPU = "CPUExecutionProvider"
APPS = frozenset({"onnxruntime-android", "onnxruntime-c"})
"""Packages of ONNX Runtime that stand in an app, where no other program can ask them."""
PLUGINS = {"QNNExecutionProvider": "onnxruntime_qnn", "NvTensorRTRTXExecutionProvider": "onnxruntime_ep_nv_tensorrt_rtx"}
"""Providers that come as a plug-in for Python, and the modules that hold them."""
USUAL = {"QNNExecutionProvider": {"backend_type": "htp"}}
"""Options of providers that do nothing without any."""
SELECTS = frozenset({"backend_path", "backend_type", "device_id", "device_type", "htp_arch", "soc_model"})
"""Options of providers that say on which hardware they run; the others do not matter to a model of one node."""
LIBRARY = "libonnxruntime.so"
"""What a bundle calls the ONNX Runtime that it brings, reduced to what its model needs."""
MINIMAL = "ONNX format model is not supported in this build"
"""What such a library says to an ``.onnx``, and so to the trial model."""
TAKES = {12: 17, 17: 20, 18: 21, 22: 22, 31: 26}
"""The opset that a minor version of ONNX Runtime, and each later one, takes at least (ONNX Runtime's documents; tried: 17 on)."""
TEGRAS = {"nvidia,tegra194": "7.2", "nvidia,tegra234": "8.7"}
"""Compute capabilities of Jetsons (Xavier, Orin), by what their device tree is compatible with."""
CONV = (
    "CAc6hwEKDwoBeAoBdxIBeSIEQ29udhIFcHJvYmUqMwgBCAEIAwgDEAEiJAAAgD8AAIA/AACAPwAAgD8AAIA/AACAPwAAgD8AAIA/AACAP0IBd1obCgF4"
    "EhYKFAgBEhAKAggBCgIIAQoCCAQKAggEYhsKAXkSFgoUCAESEAoCCAEKAggBCgIIAgoCCAI="
)
"""An ONNX model of IR 7 without its opset: x, float32 [1, 1, 4, 4], convolved with nine ones; of ones it makes nines."""


class CannotJudge(Exception):
    """The rules, the facts or the command line are not what they must be."""


# --- what is written: rules in a manifest, facts of a device --------------------------------------------------------

ANY = ""
"""Stands for every key of a table whose keys are names."""
RULES = {
    "platform": str, "package": str, "oldest": str, "api": int, "opset": int, "size": int,
    "providers": [{"name": str, "required": bool}],
    "engines": [{"file": str, "provider": str, "about": {ANY: str}}],
}  # fmt: skip
FACTS = {
    "facts_version": int,
    "platform": {"os": str, "architecture": str, "note": str},
    "runtime": {
        "where": str, "package": str, "version": str, "api": int, "opset": int, "why": str,
        "providers": {ANY: {"state": str, "why": str}},
    },
    "engines": {ANY: {"values": [str], "why": str}},
    "disk": {"folder": str, "free": int},
}  # fmt: skip
"""What ``--describe`` prints, and what an app or an inventory may write by itself: what is left out is not known.

``state`` of a provider: ``takes`` (it ran a node), ``opens`` (a session with it opened, no more), ``fails``, ``listed`` (not
tried). Provider names are ONNX Runtime's. ``free`` is in bytes.
"""
OUTCOMES = {
    "takes": ("pass", "runs a node"),
    "opens": ("pass", "opens, took no node of the trial model"),
    "fails": ("fail", "listed, does not work"),
    "listed": ("not-run", "listed, not tried"),
}
"""What is said of a provider by its state."""
_EMPTY = {str: "", int: 0, bool: False}
_KINDS = {dict: "a table", list: "a list", str: "text", int: "a whole number", bool: "true or false"}


def shaped(value: Any, form: Any, where: str, *, whole: bool) -> Any:
    """The value, with empty ones for what it lacks unless it must be ``whole``. CannotJudge when it has another form."""
    if isinstance(form, dict):
        return _table(_is(value, dict, where), form, where, whole=whole)
    if isinstance(form, list):
        return [shaped(one, form[0], f"{where}[{index}]", whole=whole) for index, one in enumerate(_is(value, list, where))]
    return _is(value, form, where)


def _table(value: Mapping[str, Any], form: Mapping[str, Any], where: str, *, whole: bool) -> Any:
    if ANY in form:
        return {key: shaped(one, form[ANY], f"{where}.{key}", whole=whole) for key, one in value.items()}
    lacking, strange = sorted(set(form) - set(value)), sorted(set(value) - set(form))
    if strange:
        raise CannotJudge(f"{where}.{strange[0]} is not known: this preflight.py may be too old for it")
    if whole and lacking:
        raise CannotJudge(f"{where}.{lacking[0]} is missing")
    return {
        key: shaped(value[key], one, f"{where}.{key}", whole=whole) if key in value else _empty(one) for key, one in form.items()
    }


def _is(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CannotJudge(f"{where} is {json.dumps(value)[:60]}, not {_KINDS[kind]}")
    if kind is int and value < 0:
        raise CannotJudge(f"{where} is {value}, less than 0")
    return value


def _empty(form: Any) -> Any:
    if isinstance(form, dict):
        return {key: _empty(one) for key, one in form.items() if key != ANY}
    return [] if isinstance(form, list) else _EMPTY[form]


def rules_of(manifest: Any) -> tuple[dict[str, Any], str]:
    """A manifest's rules, and the newest version of ONNX Runtime that the bundle was checked in. CannotJudge."""
    _is(manifest, dict, "the manifest")
    if manifest.get("manifest_version") != 1:
        raise CannotJudge(f"manifest_version is {json.dumps(manifest.get('manifest_version'))[:60]}, not 1")
    rules: dict[str, Any] = shaped(manifest.get("preflight"), RULES, "preflight", whole=True)
    versions = shaped(_is(manifest.get("target"), dict, "target").get("versions"), [str], "target.versions", whole=True)
    for where, text in [("preflight.oldest", rules["oldest"]), *(("target.versions", one) for one in versions)]:
        if not _numbers(text):
            raise CannotJudge(f"{where} is {text[:60]!r}, not a version")
    _once([one["name"] for one in rules["providers"]], "preflight.providers")
    _once([one["file"] for one in rules["engines"]], "preflight.engines")
    rules.update(_brings(manifest))
    return rules, max([rules["oldest"], *versions], key=_numbers)


def _brings(manifest: Mapping[str, Any]) -> dict[str, str]:
    """``brings``: the C library that the bundle's own ONNX Runtime needs; nothing where it has none."""
    files = [_is(one, dict, "artifacts[]") for one in _is(manifest.get("artifacts", []), list, "artifacts")]
    own = next((one for one in files if one.get("name") == LIBRARY), None)
    return {} if own is None else {"brings": _is(_is(own.get("about", {}), dict, "about").get("glibc", ""), str, "about.glibc")}


def _once(names: Sequence[str], where: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CannotJudge(f"{where} has {twice!r} twice")


def facts_of(given: Any) -> dict[str, Any]:
    """The facts of a device as they were written; CannotJudge when they are none."""
    facts: dict[str, Any] = shaped(given, FACTS, "device", whole=False)
    if facts["facts_version"] != 1:
        raise CannotJudge(f"device.facts_version is {facts['facts_version']}, not 1")
    for name, one in facts["runtime"]["providers"].items():
        if one["state"] not in OUTCOMES:
            raise CannotJudge(f"device.runtime.providers.{name}.state is {one['state'][:60]!r}, not one of {', '.join(OUTCOMES)}")
    return facts


def loaded(data: bytes, where: str) -> Any:
    """JSON without a key twice in one table. CannotJudge."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise CannotJudge(f"{where} is not JSON: {error}") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} stands twice in one table")
    return found


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with, at least two; none of what is no version."""
    match = re.match(r"v?(\d{1,9}(?:\.\d{1,9})+)", text)
    return tuple(map(int, match[1].split("."))) if match else ()


# --- judging: nothing but rules and facts ---------------------------------------------------------------------------

Check = dict
"""``name``, ``outcome`` (pass, fail, warn, not-run), ``measured``, ``limit`` and ``why``, all text."""


def judge(rules: Mapping[str, Any], newest: str, facts: Mapping[str, Any]) -> list[Check]:
    """What a device with these facts is, measured against the rules; ``newest`` is the newest ONNX Runtime that was checked."""
    runtime = facts["runtime"]
    if _brought(rules, runtime):
        checks = [_platform_check(rules["platform"], facts["platform"]), _own(rules["brings"], facts["platform"])]
        return [*checks, *_engines(rules["engines"], facts["engines"]), _disk(rules["size"], facts["disk"])]
    checks = [_platform_check(rules["platform"], facts["platform"]), _version(rules, newest, runtime)]
    if rules["platform"] != "web":
        checks += [
            *_package(rules, runtime),
            _api(rules, runtime),
            _opset(rules, runtime),
            *_providers(rules["providers"], runtime),
        ]
    return [*checks, *_engines(rules["engines"], facts["engines"]), _disk(rules["size"], facts["disk"])]


def strict(checks: Sequence[Check]) -> list[Check]:
    """The same where only what passed is good."""
    return [one if one["outcome"] == "pass" else {**one, "outcome": "fail"} for one in checks]


def fits(checks: Sequence[Check]) -> bool:
    """Whether nothing speaks against the bundle."""
    return all(one["outcome"] != "fail" for one in checks)


def check(name: str, outcome: str, measured: str = "", limit: str = "", why: str = "") -> Check:
    """One line of the answer."""
    return {"name": name, "outcome": outcome, "measured": measured, "limit": limit, "why": why}


def _platform_check(wanted: str, found: Mapping[str, str]) -> Check:
    if wanted == "web":
        return check("platform", "not-run", limit=wanted, why="this bundle runs in a browser, on whatever device")
    name = f"{found['os']}/{found['architecture']}"
    if name == "/":
        return check("platform", "not-run", limit=wanted, why="the platform is not known")
    note = f" ({found['note']})" if found["note"] else ""
    return check("platform", "pass" if name == wanted else "fail", name + note, wanted)


def _version(rules: Mapping[str, Any], newest: str, runtime: Mapping[str, Any]) -> Check:
    oldest, found = rules["oldest"], runtime["version"]
    limit = f">= {oldest}, checked up to {newest}"
    if not _numbers(found) or rules["platform"] == "web":
        return _unknown_version(rules, limit, runtime)
    of = f"asked of {runtime['where']}" if runtime["where"] else ""
    if _numbers(found) < _numbers(oldest):
        return check("runtime", "fail", found, limit, _and(f"older than {oldest}, the oldest that the bundle was checked in", of))
    if _numbers(found) > _numbers(newest):
        return check("runtime", "warn", found, limit, _and(f"newer than {newest}, the newest that the bundle was checked in", of))
    return check("runtime", "pass", found, limit, of)


def _brought(rules: Mapping[str, Any], runtime: Mapping[str, Any]) -> bool:
    """Whether the bundle brings its ONNX Runtime, and no other was asked: then what the device has of it does not matter."""
    return "brings" in rules and not runtime.get("asked") and Path(runtime["where"]).name != LIBRARY


def _own(glibc: str, platform_facts: Mapping[str, str]) -> Check:
    """The bundle's own ONNX Runtime, by the C library that it needs."""
    limit, note = f"glibc >= {glibc}" if glibc else "", platform_facts["note"]
    found = re.search(r"glibc (\d+(?:\.\d+)*)", note)
    why = f"the bundle brings {LIBRARY}: the device needs no ONNX Runtime"
    if "musl" in note or (glibc and found and _numbers(found[1]) < _numbers(glibc)):
        return check("runtime", "fail", found[0] if found else "musl", limit, f"{why}, and a C library that has what it needs")
    if not found or not glibc:
        return check("runtime", "not-run", "", limit, f"{why}; its C library is not known")
    return check("runtime", "pass", found[0], limit, why)


def _and(*words: str) -> str:
    return "; ".join(filter(None, words))


def _unknown_version(rules: Mapping[str, Any], limit: str, runtime: Mapping[str, Any]) -> Check:
    if rules["platform"] == "web":
        return check("runtime", "not-run", limit=limit, why=f"the page brings {rules['package']}; no device has it")
    if rules["package"] in APPS:
        return check("runtime", "not-run", limit=limit, why=f"{rules['package']} stands in the app: only the app can ask it")
    if runtime["why"]:
        return check("runtime", "fail", "none", limit, runtime["why"])
    return check("runtime", "not-run", runtime["version"], limit, "the version of ONNX Runtime is not known")


def _package(rules: Mapping[str, Any], runtime: Mapping[str, Any]) -> Iterator[Check]:
    """A library has no package's name; what matters of it, the providers, is asked all the same."""
    if runtime["package"]:
        same = runtime["package"].lower() == rules["package"].lower()
        why = "" if same else "another package may lack providers and compute otherwise"
        yield check("package", "pass" if same else "warn", runtime["package"], rules["package"], why)


def _api(rules: Mapping[str, Any], runtime: Mapping[str, Any]) -> Check:
    """Version 1.N of ONNX Runtime has the API N."""
    wanted, version = rules["api"], _numbers(runtime["version"])
    found = runtime["api"] or (version[1] if version[:1] == (1,) else 0)
    if not found:
        return check("api", "not-run", limit=f">= {wanted}", why="the API of ONNX Runtime could not be asked")
    why = "" if found >= wanted else "GetApi gives nothing to a program that asks for the bundle's API"
    told = str(found) if runtime["api"] else f"{found}, by its version"
    return check("api", "fail" if why else "pass", told, f">= {wanted}", why)


def _opset(rules: Mapping[str, Any], runtime: Mapping[str, Any]) -> Check:
    wanted, found, version = rules["opset"], runtime["opset"], _numbers(runtime["version"])
    if found:
        why = "" if found >= wanted else f"this ONNX Runtime opens no model of an opset above {found}"
        return check("opset", "fail" if why else "pass", str(found), f">= {wanted}", why)
    least = max([opset for minor, opset in TAKES.items() if version >= (1, minor)], default=0)
    if least >= wanted:
        return check("opset", "pass", f"{least} or more, by its version", f">= {wanted}")
    return check("opset", "not-run", limit=f">= {wanted}", why="which opsets ONNX Runtime takes could not be asked")


def _providers(wanted: Sequence[Mapping[str, Any]], runtime: Mapping[str, Any]) -> list[Check]:
    following = [one["name"] for one in wanted[1:]] + [""]
    return [_provider(one, after, runtime) for one, after in zip(wanted, following)]


def _provider(wanted: Mapping[str, Any], after: str, runtime: Mapping[str, Any]) -> Check:
    """A provider that is listed and does not start fails even where it may be absent: the bundle's programs open none but all."""
    name, limit = f"provider {wanted['name']}", "required" if wanted["required"] else "wanted"
    if not runtime["providers"]:
        return check(name, "not-run", "", limit, "the providers of ONNX Runtime could not be asked")
    found = runtime["providers"].get(wanted["name"])
    if not found:
        falls = "" if wanted["required"] or not after else f"; its nodes fall to {after}"
        why = f"there are {', '.join(sorted(runtime['providers']))}{falls}"
        return check(name, "fail" if wanted["required"] else "warn", "not in this ONNX Runtime", limit, why)
    outcome, measured = OUTCOMES[found["state"]]
    return check(name, outcome, measured, limit, found["why"])


def _disk(size: int, found: Mapping[str, Any]) -> Check:
    """Room for the bundle as it comes and, beside the one in use, for its files."""
    need = 2 * size + ROOM
    if not found["folder"]:
        return check("disk", "not-run", limit=f">= {need:,} B", why="the free space is not known")
    good, where = found["free"] >= need, f"in {found['folder']}"
    why = where if good else _and(where, f"the bundle of {size:,} B is fetched and unpacked while the one before it stays")
    return check("disk", "pass" if good else "fail", f"{found['free']:,} B free", f">= {need:,} B", why)


# --- engines: files for some devices alone --------------------------------------------------------------------------


def _release(wanted: str, found: str) -> bool:
    """Whether versions are the same as far as both are told."""
    one, other = _numbers(wanted), _numbers(found)
    known = min(len(one), len(other))
    return known > 0 and one[:known] == other[:known]


def _since(wanted: str, found: str) -> bool:
    return bool(_numbers(found)) and _numbers(found)[:3] >= _numbers(wanted)[:3]


def _cuda(wanted: str, found: str) -> bool:
    """Whether a driver takes what was built with another: it is of the same major version, and no older."""
    return _numbers(wanted)[:1] == _numbers(found)[:1] and _since(wanted, found)


def _same(wanted: str, found: str) -> bool:
    return wanted.lower() == found.lower()


def _capability(text: str) -> str:
    """``SM86`` as the driver says it: ``8.6``."""
    match = re.fullmatch(r"SM(\d+)(\d)", text, re.IGNORECASE)
    return f"{match[1]}.{match[2]}" if match else text


def _wish(key: str, about: Mapping[str, str]) -> str:
    """What an engine asks for, in the device's words."""
    return _capability(about[key]) if key == "compute_capability" else about[key]


COMPARED = {
    "compute_capability": lambda wanted, found: _capability(wanted) == found,
    "tensorrt_rtx": _release,  # NVIDIA: engines open in the very release that made them
    "tensorrt": _release,
    "soc": _same,
    "onnxruntime-qnn": _since,
    "openvino": _since,
    "isa": _same,
    "gpu": _same,
    "cuda": _cuda,
    "jetson_linux": _release,
}  # type: dict[str, Callable[[str, str], bool]]
"""How what an engine says of itself is compared with the device's; other keys are for people."""


def _engines(engines: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[Check]:
    """Engines that say the same things of themselves are alternatives: a device needs one of them."""
    groups = {}  # type: dict[Any, list[Mapping[str, Any]]]
    for one in engines:
        groups.setdefault((one["provider"], tuple(sorted(set(one["about"]) & set(COMPARED)))), []).append(one)
    return [_engine(group, keys, facts) for (_, keys), group in groups.items()]


def _engine(group: Sequence[Mapping[str, Any]], keys: Sequence[str], facts: Mapping[str, Any]) -> Check:
    name = "engine " + " or ".join(one["file"] for one in group)
    found = {key: facts.get(key, {"values": [], "why": "not known"}) for key in keys}
    limit = ", ".join(f"{key} {' or '.join(dict.fromkeys(_wish(key, one['about']) for one in group))}" for key in keys)
    measured = ", ".join(f"{key} {' and '.join(one['values'])}" for key, one in found.items() if one["values"])
    best = min((_differs(one["about"], found) for one in group), key=len, default=[])
    unknown = [f"{key}: {one['why'] or 'not known'}" for key, one in found.items() if not one["values"]]
    if best:
        return check(name, "fail", measured, limit, f"made for another device: {', '.join(best)}")
    if unknown or not keys:
        return check(name, "not-run", measured, limit, "; ".join(unknown) or "it does not say what it is for")
    return check(name, "pass", measured, limit)


def _differs(about: Mapping[str, str], found: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} is {' and '.join(one['values'])}, not {_wish(key, about)}"
        for key, one in found.items()
        if one["values"] and not any(COMPARED[key](about[key], value) for value in one["values"])
    ]


# --- asking the device ----------------------------------------------------------------------------------------------

ARCHITECTURES = {
    "x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm/v7", "armv8l": "arm/v7",
    "armv6l": "arm/v6", "i386": "386", "i586": "386", "i686": "386", "x86": "386",
}  # fmt: skip
NARROW = {"amd64": "386", "arm64": "arm/v7"}
"""What a 64-bit kernel runs as 32-bit programs."""


class Asking:
    """How the device is asked: the interpreter or the library that holds ONNX Runtime, and how long each answer may take."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.python, self.library, self.timeout = given.python, given.library, given.timeout

    def ask(self, python: str, **task: Any) -> tuple[dict[str, Any], str]:
        """What this program answers as a process of ``python``; or nothing, and why."""
        command = [python, str(Path(__file__).resolve()), "--child", json.dumps(task)]
        return answer(command, self.timeout)


def answer(command: Sequence[str], timeout: float) -> tuple[dict[str, Any], str]:
    """The JSON that a program prints; or nothing, and why. ``said``: the last error that it wrote beside it."""
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
    own_group = {} if os.name == "nt" else {"start_new_session": True}
    try:
        process = subprocess.Popen(  # noqa: S603  the interpreter that the caller named, or the system's
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, **own_group
        )
    except (OSError, ValueError) as error:
        return {}, f"{command[0]} does not start: {error}"
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        return {}, f"{command[0]} gave no answer in {timeout:g} s"
    said = _last_error(err.decode(errors="replace"))
    try:
        found = json.loads(out.decode())
        return {**found, "said": said}, ""
    except (ValueError, TypeError):
        return {}, f"{command[0]} {_ended(process.returncode)}{': ' + said if said else ''}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process and those that it started."""
    if os.name == "nt":
        process.kill()
        process.communicate()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()
    for stream in (process.stdout, process.stderr):  # one that fled its group may still hold the other ends
        if stream:
            stream.close()
    process.wait()


def _ended(code: int) -> str:
    names = {one.value: one.name for one in signal.Signals}
    return f"crashed ({names.get(-code, -code)})" if code < 0 else f"ended with code {code} and no answer"


def _last_error(text: str) -> str:
    """The line that speaks of the failure, without colours and source files."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in text.splitlines()]
    telling = [line for line in lines if re.search(r"error|fail|not found|cannot", line, re.IGNORECASE)] or list(
        filter(None, lines)
    )
    return _bare(telling[0]) if telling else ""


def _bare(line: str) -> str:
    """An error of ONNX Runtime without the time, the severity, its source file and the signature of a function."""
    line = re.sub(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line)
    line = re.sub(r"^[\d: .,-]*\[[EWF]:[^\]]*\] ", "", line)
    return re.sub(r"^\S+\.(?:cc|h):\d+ .*?\)(?: const)? ", "", line)[:300]


def describe(asking: Asking, folder: Path, wanted: Mapping[str, Mapping[str, str]] | None, keys: Sequence[str]) -> dict[str, Any]:
    """The facts of this device; ``wanted`` are the providers to try with their options (None: all), ``keys`` those of engines."""
    runtime, python = _library_facts(asking, wanted) if asking.library else _python_facts(asking, wanted)
    return {
        "facts_version": 1,
        "platform": platform_facts(),
        "runtime": runtime,
        "engines": _identity(asking, python, keys),
        "disk": disk_facts(folder),
    }


def platform_facts() -> dict[str, str]:
    """The operating system and the architecture of programs like this one, in words of container images."""
    android, machine = hasattr(sys, "getandroidapilevel"), platform.machine().lower()
    found, note = ARCHITECTURES.get(machine, machine), _libc()
    if struct.calcsize("P") == 4 and found in NARROW:
        found, note = NARROW[found], f"32-bit programs on a 64-bit {machine} kernel{', ' + note if note else ''}"
    return {"os": "android" if android else platform.system().lower(), "architecture": found, "note": note}


def _libc() -> str:
    """What wheels and libraries are built against on Linux."""
    name, version = platform.libc_ver()
    if not name and next(Path("/lib").glob("ld-musl-*"), None):
        return "musl"
    return f"{name} {version}".strip()


def disk_facts(folder: Path) -> dict[str, Any]:
    """The free bytes where ``folder`` is, or would be."""
    try:
        there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
        return {"folder": str(there), "free": shutil.disk_usage(str(there)).free}
    except (OSError, StopIteration):
        return {"folder": "", "free": 0}


def _python_facts(asking: Asking, wanted: Mapping[str, Mapping[str, str]] | None) -> tuple[dict[str, Any], str]:
    """Of the first interpreter that has onnxruntime; without one, of the system's library."""
    named = [sys.executable, shutil.which("python3")]
    tried = [asking.python] if asking.python else [str(one) for one in dict.fromkeys(named) if one]
    whys = []
    for python in tried:
        told, why = asking.ask(python, task="python")
        if told and not told["why"]:
            return _tried(asking, python, told, wanted, task="try"), python
        whys.append(why or f"{python}: {told['why']}")
    if not asking.python and _system_library():
        return _library_facts(asking, wanted)
    return {**_empty(FACTS["runtime"]), "why": "; ".join(whys)}, tried[0]


def _library_facts(asking: Asking, wanted: Mapping[str, Mapping[str, str]] | None) -> tuple[dict[str, Any], str]:
    path = asking.library or _system_library()
    told, why = asking.ask(sys.executable, task="library", path=path)
    if not told or told["why"]:
        return {**_empty(FACTS["runtime"]), "where": path, "why": why or f"{path}: {told['why']}"}, sys.executable
    return _tried(asking, sys.executable, told, wanted, task="library-try", path=path), sys.executable


def _system_library() -> str:
    found = ctypes.util.find_library("onnxruntime")
    return found or ""


def _tried(
    asking: Asking, python: str, told: Mapping[str, Any], wanted: Mapping[str, Mapping[str, str]] | None, **task: str
) -> dict[str, Any]:
    """What was told, with each provider that is listed and wanted tried in a process of its own."""
    states = {name: {"state": "listed", "why": "not asked for"} for name in told["listed"]}
    for name in told["listed"]:
        if wanted is None or name in wanted:
            options = dict((wanted or {}).get(name) or USUAL.get(name, {}))
            found, why = asking.ask(python, name=name, options=options, **task)
            states[name] = _state(found, why)
    kept = {key: told[key] for key in ("where", "package", "version", "api", "opset")}
    return {**kept, "why": "", "providers": states}


def _state(found: Mapping[str, Any], why: str) -> dict[str, str]:
    if not found:
        return {"state": "fails", "why": why}
    return {"state": found["state"], "why": _and(found["why"], found["said"] if found["state"] == "fails" else "")}


def _identity(asking: Asking, python: str, keys: Sequence[str]) -> dict[str, Any]:
    found = {}
    for key in keys:
        if key in IDENTITY:
            told, why = asking.ask(python, task="identity", key=key)
            found[key] = {"values": told["values"], "why": told["why"]} if told else {"values": [], "why": why}
    return found


# --- what runs in a process of its own ------------------------------------------------------------------------------


def model(opset: int) -> bytes:
    """The trial model in this opset: field 8 of ONNX's ModelProto is the version of the default domain."""
    return base64.b64decode(CONV) + b"\x42\x04\x0a\x00\x10" + bytes([opset])


def newest_opset(opens: Callable[[bytes], Any]) -> int:
    """The newest opset whose trial model opens; 0 when none does, as in a runtime that was built without ``.onnx`` or Conv."""
    newest = 0
    for opset in range(7, 128):
        if _opens_without_error(opens, model(opset)):
            newest = opset
        elif newest:
            break
    return newest


def _opens_without_error(opens: Callable[[bytes], Any], data: bytes) -> bool:
    try:
        opens(data)
    except Exception:  # noqa: BLE001  ONNX Runtime's errors have no common type
        return False
    return True


def child(task: Mapping[str, Any]) -> int:
    """Answer one question on what is standard output now; all that libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    given = {key: value for key, value in task.items() if key != "task"}
    answers.write(json.dumps(TASKS[task["task"]](**given)))
    answers.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # what libraries do when they are unloaded is of no interest, and may crash


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _bare(lines[0]) if lines else type(error).__name__


def ask_python() -> dict[str, Any]:
    """What this interpreter's onnxruntime is."""
    try:
        ort = importlib.import_module("onnxruntime")
        version, listed = str(ort.__version__), list(ort.get_available_providers())
    except Exception as error:  # noqa: BLE001  a broken installation raises what it likes
        return {"why": f"no onnxruntime: {_first(error)}"}
    listed += [name for name, module in PLUGINS.items() if name not in listed and importlib.util.find_spec(module)]
    quiet = ort.SessionOptions()
    quiet.log_severity_level = 4
    opset = newest_opset(lambda data: ort.InferenceSession(data, quiet, providers=[CPU]))
    number = _numbers(version)
    told = {"version": version, "api": number[1] if number else 0, "opset": opset, "listed": listed, "why": ""}
    return {**told, "where": sys.executable, "package": _installed()}


def _installed() -> str:
    """The package that the module onnxruntime comes from."""
    for one in metadata.distributions():
        name = one.metadata["Name"] or ""
        if name.lower().startswith(("onnxruntime", "ort-")) and any(
            str(file) == "onnxruntime/__init__.py" for file in one.files or ()
        ):
            return name
    return ""


def ask_provider(name: str, options: Mapping[str, str]) -> dict[str, str]:
    """Whether a session with this provider alone opens and computes: first with the CPU forbidden, then with it at hand."""
    ort = importlib.import_module("onnxruntime")
    try:
        if name != CPU:
            return _opened(ort, name, options, {"session.disable_cpu_ep_fallback": "1"})
    except Exception:  # noqa: BLE001, S110  the second attempt tells a refused node from a provider that does not work
        pass
    try:
        return {**_opened(ort, name, options, {}), **({} if name == CPU else {"state": "opens"})}
    except Exception as error:  # noqa: BLE001  the same
        return {"state": "fails", "why": _first(error)}


def _opened(ort: Any, name: str, options: Mapping[str, str], entries: Mapping[str, str]) -> dict[str, str]:
    given = ort.SessionOptions()
    for key, value in entries.items():
        given.add_session_config_entry(key, value)

    class Session(ort.InferenceSession):  # type: ignore[name-defined]
        """Never tries again on another provider."""

        _enable_fallback = property(lambda _: False, lambda _, __: None)

    if name in ort.get_available_providers():
        session = Session(model(13), given, providers=[name], provider_options=[dict(options)])
    else:
        _add_plugin(ort, given, name, options)
        session = Session(model(13), given)
    if name not in session.get_providers():
        raise RuntimeError("ONNX Runtime left it out of the session")
    value = float(session.run(None, {"x": importlib.import_module("numpy").ones((1, 1, 4, 4), "float32")})[0].mean())
    if round(value) != 9:
        raise RuntimeError(f"it computes {value:g} in place of 9")
    return {"state": "takes", "why": ""}


def _add_plugin(ort: Any, given: Any, name: str, options: Mapping[str, str]) -> None:
    if not hasattr(ort, "register_execution_provider_library"):
        raise RuntimeError(f"onnxruntime {ort.__version__} takes no plug-ins")
    ort.register_execution_provider_library(name, str(importlib.import_module(PLUGINS[name]).get_library_path()))
    devices = [one for one in ort.get_ep_devices() if one.ep_name == name]
    if not devices:
        raise RuntimeError("the plug-in finds no device of its kind here")
    given.add_provider_for_devices(devices[:1], dict(options))


# --- the same through the C API, by the places of its functions in OrtApi, to which new ones are only appended -------

_PLACES = {
    "GetErrorMessage": 2, "CreateEnv": 3, "CreateSessionFromArray": 8, "CreateSessionOptions": 10, "GetAvailableProviders": 125,
    "AddSessionConfigEntry": 130, "AppendTensorRT": 170, "CreateTensorRTOptions": 171, "AppendCUDA": 204,
    "CreateCUDAOptions": 205, "AppendProvider": 216,
}  # fmt: skip
_SHORT = {"Xnnpack": "XNNPACK", "Dml": "DML", "WebGpu": "WebGPU", "NvTensorRTRTX": "NvTensorRtRtx"}
_STRUCTS = {"CUDAExecutionProvider": "CUDA", "TensorrtExecutionProvider": "TensorRT"}
"""Providers whose options are a structure."""
_OLDEST_API = 12


class Library:
    """An ``onnxruntime`` library by ctypes."""

    def __init__(self, path: str) -> None:
        self.library = ctypes.CDLL(path)
        self.library.OrtGetApiBase.restype = ctypes.POINTER(ctypes.c_void_p * 2)
        get_api, get_version = self.library.OrtGetApiBase().contents
        self.version = ctypes.CFUNCTYPE(ctypes.c_char_p)(get_version)().decode()
        numbers, ask = _numbers(self.version), ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)(get_api)
        tables = ((api, ask(api)) for api in range(numbers[1] if numbers else 0, 0, -1))
        self.api, self.table = next(((api, table) for api, table in tables if table), (0, None))
        named = [ctypes.c_int(2), ctypes.c_char_p(b"preflight")]
        self.environment = self.made("CreateEnv", *named) if self.api >= _OLDEST_API else None

    def call(self, name: str, *given: Any) -> None:
        """Call a function of the API that gives a status; RuntimeError with what it says."""
        status = self._function(name, ctypes.c_void_p, given)(*given)
        if status:
            message = self._function("GetErrorMessage", ctypes.c_char_p, [ctypes.c_void_p()])(status)
            raise RuntimeError(message.decode(errors="replace"))

    def _function(self, name: str, result: Any, given: Sequence[Any]) -> Any:
        address = ctypes.cast(self.table, ctypes.POINTER(ctypes.c_void_p))[_PLACES[name]]
        kinds = [
            ctypes.c_void_p if not isinstance(one, (ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p)) else type(one)
            for one in given
        ]
        return ctypes.CFUNCTYPE(result, *kinds)(address)

    def made(self, name: str, *given: Any) -> ctypes.c_void_p:
        """What a function leaves in its last argument."""
        found = ctypes.c_void_p()
        self.call(name, *given, ctypes.addressof(found))
        return found

    def session(self, data: bytes, options: ctypes.c_void_p) -> None:
        """Open a model from its bytes."""
        self.made("CreateSessionFromArray", self.environment, ctypes.c_char_p(data), ctypes.c_size_t(len(data)), options)

    def listed(self) -> list[str]:
        """The providers that the library was built with."""
        count, names = ctypes.c_int(), ctypes.POINTER(ctypes.c_char_p)()
        self.call("GetAvailableProviders", ctypes.addressof(names), ctypes.addressof(count))
        return [names[index].decode() for index in range(count.value)]


def ask_library(path: str) -> dict[str, Any]:
    """What an onnxruntime library is; its table of functions is used only where all that is asked stands in it."""
    try:
        library = Library(path)
    except (OSError, AttributeError, ValueError) as error:
        return {"why": f"no onnxruntime: {_first(error)}"}
    told = {"version": library.version, "api": library.api, "opset": 0, "listed": [], "where": path, "package": "", "why": ""}
    if library.api < _OLDEST_API:
        return told
    opset = newest_opset(lambda data: library.session(data, library.made("CreateSessionOptions")))
    return {**told, "opset": opset, "listed": library.listed()}


def ask_library_provider(path: str, name: str, options: Mapping[str, str]) -> dict[str, str]:
    """Whether a session with this provider opens through the C API."""
    library = Library(path)
    try:
        _added(library, name, options)
    except RuntimeError as error:
        unknown = "Unknown provider name" in str(error)
        return {"state": "listed" if unknown else "fails", "why": _first(error)}
    try:
        given = _added(library, name, options)
        if name != CPU:
            library.call(
                "AddSessionConfigEntry", given, ctypes.c_char_p(b"session.disable_cpu_ep_fallback"), ctypes.c_char_p(b"1")
            )
        library.session(model(13), given)
    except RuntimeError as error:
        if MINIMAL in str(error):
            return {"state": "listed", "why": "it opens .ort files alone, and the trial model is none"}
        return _opens(library, _added(library, name, options))
    return {"state": "takes", "why": ""}


def _opens(library: Library, given: ctypes.c_void_p) -> dict[str, str]:
    try:
        library.session(model(13), given)
    except RuntimeError as error:
        return {"state": "fails", "why": _first(error)}
    return {"state": "opens", "why": ""}


def _added(library: Library, name: str, options: Mapping[str, str]) -> ctypes.c_void_p:
    given = library.made("CreateSessionOptions")
    if name in _STRUCTS:
        library.call(f"Append{_STRUCTS[name]}", given, library.made(f"Create{_STRUCTS[name]}Options"))
    elif name != CPU:
        short = name[: -len("ExecutionProvider")] if name.endswith("ExecutionProvider") else name
        texts = [(ctypes.c_char_p * len(options))(*(one.encode() for one in kind)) for kind in (options, options.values())]
        words = ctypes.c_char_p(_SHORT.get(short, short).encode())
        library.call("AppendProvider", given, words, *map(ctypes.addressof, texts), ctypes.c_size_t(len(options)))
    return given


# --- what the device is, as engines ask for it ----------------------------------------------------------------------


def _output(command: Sequence[str]) -> list[str]:
    """The lines that a program prints; none where there is no such program, or where it fails."""
    try:
        done = subprocess.run(  # noqa: S603  the names of programs are constants
            command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]


def _text(path: str) -> str:
    try:
        return Path(path).read_bytes().replace(b"\0", b"\n").decode(errors="replace").strip()
    except OSError:
        return ""


def capabilities() -> list[str]:
    """Of all NVIDIA GPUs, each once."""
    lines = _output(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"])
    found = [line for line in lines if re.fullmatch(r"\d+\.\d+", line)]
    compatible = _text("/proc/device-tree/compatible").split()
    return list(dict.fromkeys(found or [TEGRAS[one] for one in compatible if one in TEGRAS]))


def _driver() -> Any:
    """CUDA's driver, started; None where there is none, or no GPU."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        return None if cuda.cuInit(0) else cuda
    except (OSError, AttributeError):
        return None


def gpus() -> list[str]:
    """The first GPU as the names of engines have it (build_engine.py): ``orin-nvgpu-sm87-16sms``."""
    cuda = _driver()
    number, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    if cuda is None or cuda.cuDeviceGet(ctypes.byref(number), 0) or cuda.cuDeviceGetName(name, len(name), number):
        return []
    told = [ctypes.c_int() for _ in range(3)]
    if any(cuda.cuDeviceGetAttribute(ctypes.byref(one), which, number) for one, which in zip(told, (75, 76, 16))):
        return []  # cuda.h: compute capability, major and minor, and the number of multiprocessors
    slug = re.sub(r"[^a-z0-9]+", "-", name.value.decode(errors="replace").lower()).strip("-") or "gpu"
    return [f"{slug}-sm{told[0].value}{told[1].value}-{told[2].value}sms"]


def cuda() -> list[str]:
    """The newest CUDA that the driver takes."""
    driver, version = _driver(), ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)):
        return []
    return [f"{version.value // 1000}.{version.value % 1000 // 10}"]


def jetson_linux() -> list[str]:
    """The release of Jetson Linux, which JetPack's follows."""
    match = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", _text("/etc/nv_tegra_release"))
    return [f"{match[1]}.{match[2]}"] if match else []


def soc() -> list[str]:
    """Qualcomm's name of the SoC, of Android's properties or of Linux's own."""
    found = [*_output(["getprop", "ro.soc.model"])[:1], _text("/sys/devices/soc0/machine")]
    return [one for one in found if one][:1]


def tensorrt(name: str) -> list[str]:
    """What TensorRT's library says of itself, wherever the loader, or a package of Python, has it."""
    return next(filter(None, map(_tensorrt_version, _libraries(name))), [])


def _tensorrt_version(path: str) -> list[str]:
    try:
        library = ctypes.CDLL(path)
        parts = [getattr(library, f"getInferLib{part}Version")() for part in ("Major", "Minor", "Patch", "Build")]
    except (OSError, AttributeError):
        return []
    return [".".join(map(str, parts))]


def _libraries(name: str) -> Iterator[str]:
    usual = (f"lib{name}.so", f"lib{name}.so.1", f"lib{name}.so.10", f"{name}.dll")
    yield from filter(None, [ctypes.util.find_library(name), *usual])
    for module in ("onnxruntime_ep_nv_tensorrt_rtx", "tensorrt_libs", "tensorrt_rtx_libs"):
        spec = importlib.util.find_spec(module)
        for folder in map(Path, (spec.submodule_search_locations or []) if spec else []):
            yield from map(str, [*sorted(folder.glob(f"lib{name}.so*")), *sorted(folder.glob(f"{name}*.dll"))])


def package(name: str) -> list[str]:
    """The version of an installed package of Python."""
    try:
        return [metadata.version(name)]
    except metadata.PackageNotFoundError:
        return []


def openvino() -> list[str]:
    """Of Python's package, or of the library that the loader finds."""
    found = package("openvino")
    path = None if found else ctypes.util.find_library("openvino_c")
    if not path:
        return found
    version = (ctypes.c_char_p * 2)()
    ctypes.CDLL(path).ov_get_openvino_version(version)
    return [version[0].decode(errors="replace")] if version[0] else []


IDENTITY = {
    "compute_capability": (capabilities, "no nvidia-smi that answers, and no Jetson that is known"),
    "tensorrt": (lambda: tensorrt("nvinfer"), "no libnvinfer of TensorRT 10 or newer"),
    "tensorrt_rtx": (lambda: tensorrt("tensorrt_rtx"), "no libtensorrt_rtx"),
    "soc": (soc, "neither getprop nor /sys/devices/soc0 names it"),
    "onnxruntime-qnn": (lambda: package("onnxruntime-qnn"), "no package onnxruntime-qnn"),
    "openvino": (openvino, "no package openvino, and no libopenvino_c"),
    "isa": (list, "only OpenVINO knows what it calls this processor"),
    "gpu": (gpus, "no driver of CUDA that answers"),
    "cuda": (cuda, "no driver of CUDA that answers"),
    "jetson_linux": (jetson_linux, "no /etc/nv_tegra_release: this is no Jetson"),
}  # type: dict[str, tuple[Callable[[], list[str]], str]]


def ask_identity(key: str) -> dict[str, Any]:
    """What the device has of one key of engines, or why that is not known."""
    find, missing = IDENTITY[key]
    values = find()
    return {"values": values, "why": "" if values else missing}


TASKS = {
    "python": ask_python, "try": ask_provider, "library": ask_library, "library-try": ask_library_provider,
    "identity": ask_identity,
}  # type: dict[str, Callable[..., Any]]  # fmt: skip


# --- the program ----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Print the answer; return the exit code."""
    if list(arguments[:1]) == ["--child"]:
        return child(json.loads(arguments[1]))
    given = _parser().parse_args(arguments)
    try:
        return _describe(given) if given.describe else _judged(given)
    except CannotJudge as error:
        return _cannot(given, str(error))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  a program that others decide by never ends in a traceback
        return _cannot(given, f"unexpected: {type(error).__name__}: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog=(__doc__ or "").partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--manifest", default="", help="the bundle's manifest.json (- is standard input); default: the one beside"
    )
    parser.add_argument("--device", type=Path, help="facts of a device, as --describe printed them there; nothing is asked here")
    parser.add_argument("--describe", action="store_true", help="print the facts of this device as JSON and judge nothing")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--strict", action="store_true", help="what warns, or could not be asked, fails")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--python", default="", help="interpreter that has onnxruntime; default: this one, then python3")
    where.add_argument("--library", default="", help="libonnxruntime.so, for programs in C, Go, ...")
    parser.add_argument("--folder", type=Path, default=HERE, help="where the bundle is to lie; default: where this file lies")
    parser.add_argument("--timeout", type=_seconds, default=120.0, help="seconds for each question to ONNX Runtime (120)")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def _judged(given: argparse.Namespace) -> int:
    manifest = _manifest(given.manifest)
    rules, newest = rules_of(manifest)
    if given.device:
        facts = facts_of(loaded(_read(given.device), str(given.device)))
    else:
        keys = [key for key in IDENTITY if any(key in one["about"] for one in rules["engines"])]
        given.library = given.library or _beside(given, rules)
        facts = describe(Asking(given), given.folder, _wanted(rules, manifest), keys)
        facts["runtime"]["asked"] = bool(given.python or given.library)
    checks = judge(rules, newest, facts)
    _say(given, strict(checks) if given.strict else checks)
    return 0 if fits(strict(checks) if given.strict else checks) else 1


def _beside(given: argparse.Namespace, rules: Mapping[str, Any]) -> str:
    """The library of the unpacked bundle that this file lies in, where nothing else is asked for."""
    library = HERE.parent / LIBRARY
    own = "brings" in rules and not given.python and not given.manifest
    return str(library) if own and library.is_file() else ""


def _describe(given: argparse.Namespace) -> int:
    facts = describe(Asking(given), given.folder, None, list(IDENTITY))
    print(json.dumps(facts, indent=1))
    return 0


def _wanted(rules: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The providers of the rules, with what the manifest's session says of their hardware."""
    wanted = {one["name"]: {} for one in rules["providers"]}  # type: dict[str, dict[str, str]]
    try:
        for one in manifest["signature"]["providers"]:
            if one["name"] in wanted:
                wanted[one["name"]] = {key: str(value) for key, value in one["options"].items() if key in SELECTS}
    except (KeyError, TypeError, AttributeError):
        raise CannotJudge("signature.providers is not a list of providers with options") from None
    return wanted


def _manifest(named: str) -> Any:
    if named == "-":
        return loaded(sys.stdin.buffer.read(), "standard input")
    places = [Path(named)] if named else [HERE / "manifest.json", HERE.parent / "manifest.json"]
    path = next((one for one in places if one.is_file()), places[-1])
    return loaded(_read(path), str(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotJudge(f"{path}: {error.strerror or error}") from None


def _cannot(given: argparse.Namespace, why: str) -> int:
    print(f"preflight: cannot judge: {why}", file=sys.stderr)
    if given.json:
        print(json.dumps({"fits": False, "checks": [], "error": why}))
    return 2


def _say(given: argparse.Namespace, checks: Sequence[Check]) -> None:
    if given.json:
        print(json.dumps({"fits": fits(checks), "checks": checks}, indent=1))
        return
    keys = ("name", "outcome", "measured", "limit", "why")
    rows = [keys, *([one[key] for key in keys] for one in checks)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths)), row[4]]).rstrip())
    failed = [one["name"] for one in checks if one["outcome"] == "fail"]
    print(f"does not fit: {', '.join(failed)}" if failed else "fits")


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
        sys.stderr.reconfigure(errors="backslashreplace")
    try:
        ended = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads the answer
        os._exit(2)
    sys.exit(ended)
