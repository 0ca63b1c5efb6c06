"""Writes the script that builds a target's ONNX Runtime, for providers that no package has."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INPUTS = ()
PARAMS = ("version", "flags", "providers")
OUTPUTS = ("build_onnxruntime.sh",)

_REPOSITORY = "https://github.com/microsoft/onnxruntime"
_SCRIPT = """\
#!/bin/sh
# Builds ONNX Runtime {version} with {providers}: on the device, or on a machine of its kind.
# Usage: ./build_onnxruntime.sh [folder for sources and build; default: ./onnxruntime-{version}]
set -eu
work=${{1:-onnxruntime-{version}}}

for tool in git cmake python3 c++; do
    if ! command -v "$tool" > /dev/null; then
        echo "$0: $tool is missing; on Debian: apt-get install git cmake python3 g++" >&2
        exit 1
    fi
done
if [ ! -d "$work/.git" ]; then
    git clone --quiet --depth 1 --branch {tag} --recurse-submodules --shallow-submodules {repository} "$work.part"
    mv "$work.part" "$work"
fi
found=$(git -C "$work" describe --tags --exact-match 2> /dev/null || true)
if [ "$found" != {tag} ]; then
    echo "$0: $work holds '$found', not {tag}: remove it, or name another folder" >&2
    exit 1
fi
cd "$work"
exec ./build.sh --build_dir build {flags}
"""


def run(inputs: Mapping[str, Path], params: Mapping[str, Any], out: Path) -> dict[str, Any]:  # noqa: ARG001
    """``flags`` are build.sh's, ``version`` ONNX Runtime's. Facts: ``version`` and ``flags``."""
    script = _SCRIPT.format(
        version=params["version"],
        tag=shlex.quote(f"v{params['version']}"),
        providers=", ".join(params["providers"]),
        repository=_REPOSITORY,
        flags=shlex.join(params["flags"]),
    )
    (out / "build_onnxruntime.sh").write_text(script)
    return {"version": params["version"], "flags": list(params["flags"])}
