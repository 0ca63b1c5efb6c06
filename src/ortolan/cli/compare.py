"""The verbs that set two releases side by side."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from ..root import find_root
from .verb import JSON, module, verb

OLD = "tag of a release, as in dist/<target>/<tag>/, or a folder"
TARGET = "the target, where several have a release of that tag"


@verb(
    positional=["old", "new"],
    help={
        "old": f"what devices have: {OLD}",
        "new": "what they are to get; the delta is written there",
        "target": TARGET,
        "method": "zstd or bsdiff alone, for devices that cannot apply the other; default: the smaller",
        "json": JSON,
    },
)
def delta(_: Context, old: str, new: str, target: str = "", method: str = "", json: bool = False) -> None:
    """Make the patch that turns one release's bundle into another's, applied and compared before it is written.

    ./inv delta digits-5f3c9a1b2c4d-opset17-ort1.20.1 digits-0a1b2c3d4e5f-opset17-ort1.20.1
    """
    module("delta").run(find_root(Path.cwd()), old, new, target=target, method=method, as_json=json)


@verb(
    positional=["old", "new"],
    help={
        "old": "tag of a release or build, as in dist/<target>/<tag>/ and build/<target>/<tag>/, or a folder of either",
        "new": "the same; what would take OLD's place",
        "target": "the target, where several have that tag",
        "markdown": "print Markdown, for a merge request or a release page",
        "json": JSON,
        "fail-on": "breaking or regression (which includes breaking): exit with 3 where the verdict is that",
    },
)
def diff(_: Context, old: str, new: str, target: str = "", markdown: bool = False, json: bool = False, fail_on: str = "") -> None:
    """Tell what changed between two releases or builds: inputs, operators, gates, waivers, runtimes, sizes, bytes to send.

    ./inv diff digits-5f3c9a1b2c4d-opset17-ort1.20.1 digits-0a1b2c3d4e5f-opset17-ort1.20.1
    ./inv diff dist/x86-cpu/digits-5f3c9a1b2c4d-opset17-ort1.20.1 build/x86-cpu/digits-0a1b2c3d4e5f-opset17-ort1.20.1 --markdown
    """
    module("diff").run(find_root(Path.cwd()), old, new, target=target, fail_on=fail_on, as_markdown=markdown, as_json=json)
