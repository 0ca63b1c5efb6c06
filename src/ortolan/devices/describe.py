"""Ask a machine what it is: this one, or a host over ssh. The programs that answer are files that any Python from 3.8 on runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from ..cache import shipped
from ..errors import OrtolanError
from ..place import Errand, Host, HostError
from ..place.host import PYTHON

About = Mapping[str, Any]
"""What ``remote/about.py`` prints; ``facts`` are preflight's."""
_ABOUT = Path(__file__).parent / "remote" / "about.py"
_LIMIT = 300.0


def preflight_program() -> Path:
    """The program that every bundle carries."""
    return shipped() / "templates" / "device" / "preflight.py"


@cache
def preflight() -> Any:
    """The same as a module: what judges facts by rules on the device does so here."""
    spec = spec_from_file_location("device_preflight", preflight_program())
    if spec is None or spec.loader is None:
        raise OrtolanError("preflight.py is not there", where=str(preflight_program()))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_host(host: Host) -> About:
    """What a host is. HostError."""
    errand = Errand(
        command=(PYTHON, _ABOUT.name, preflight_program().name),
        files={path.name: path for path in (_ABOUT, preflight_program())},
        limit=_LIMIT,
        outputs=("said.json", "log.txt"),
        stdout="said.json",
    )
    with tempfile.TemporaryDirectory() as folder:
        ended = host.run(errand, Path(folder))
        said, log = (Path(folder, name).read_text(errors="replace") for name in errand.outputs)
    if ended.late:
        raise HostError(f"it could not say what it is within {_LIMIT:g} s", where=host.address)
    about = _read(said, log, host.address)
    return _of_emulation(about, host.emulates) if host.emulates else about


def _of_emulation(about: About, emulates: str) -> About:
    """Without what is this machine's: its board, sensors and interpreters."""
    own = [one for one in about["pythons"] if one["path"] == about["python"]["path"]]
    none: dict[str, Any] = {"thermal": [], "clocks": [], "throttled": [], "gpus": [], "cuda": "", "power": ""}
    jetson = {"linux": "", "jetpack": ""}
    processor = {**about["processor"], "mhz": 0}
    board = f"emulated {emulates}"
    return {**about, **none, "board": board, "jetson": jetson, "pythons": own, "processor": processor, "emulated": emulates}


def need_runtime(about: About, where: str) -> About:
    """The same; OrtolanError where the interpreter that was asked has no ONNX Runtime that can be imported."""
    runtime = (about["facts"] or {}).get("runtime", {})
    if runtime.get("version"):
        return about
    asked, others = about["python"]["path"], [one for one in about["pythons"] if one["onnxruntime"]]
    other = next((f"{one['path']}, which has {_named(one['onnxruntime'])}" for one in others if one["path"] != asked), "")
    named = f"name {other or 'the interpreter that has it'}: --python, or python in recipes/fleet.toml"
    install = "" if other else "./inv doctor says how to install it; "
    raise OrtolanError(f"{asked} has no ONNX Runtime", where=where, why=runtime.get("why", ""), hint=f"{install}{named}")


def _named(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items())


def of_this(python: str = "") -> About:
    """What this machine is, asked of an interpreter; without one, of the one that runs this, and what it finds."""
    try:
        done = subprocess.run(  # noqa: S603  the interpreter that the user named
            [python or sys.executable, _ABOUT, preflight_program()], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False, timeout=_LIMIT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OrtolanError(f"{python or sys.executable} does not say what this machine is", why=str(error)) from None
    return _read(done.stdout, done.stderr, "this machine")


def _read(said: str, log: str, where: str) -> About:
    try:
        about: dict[str, Any] = json.loads(said)
        preflight().facts_of(about["facts"] or {})
    except (ValueError, KeyError, TypeError, preflight().CannotJudge) as error:
        why = (log.strip().splitlines() or [str(error)])[-1]
        raise HostError("it does not say what it is in a form that can be read", where=where, why=why) from None
    return about
