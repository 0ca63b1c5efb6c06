"""Android and iOS: ONNX Runtime's own command lines for a package with the same operators, and what they run in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from ..artifact import Gate, Outcome
from ..disk import json_bytes, write_bytes
from ..recipe.rules import CPU
from .config import NAME, Config
from .flags import Knobs

_FILES = Path(__file__).parent / "phones"
_SETTINGS = "build_settings.json"
PACKAGES = {"android": "AAR", "ios": "xcframework"}
_PROVIDERS = {
    "NnapiExecutionProvider": "--use_nnapi",
    "CoreMLExecutionProvider": "--use_coreml",
    "XnnpackExecutionProvider": "--use_xnnpack",
}
"""What build.py builds in besides the CPU without another SDK. In a minimal build they ask for an extended one, which alone
gives nodes to them when it opens a model."""
_WHY = {
    "android": "the Android SDK and NDK are not among the pinned sources, and their licences are for you to accept",
    "ios": "an xcframework is built with Xcode, on a Mac",
}


def version(platform: str, oldest: str, pinned: str) -> str:
    """The ONNX Runtime that is built for a platform: for phones ``oldest``, the fleet's own, else that of the pinned sources."""
    return oldest if platform.partition("/")[0] in PACKAGES else pinned


def write(
    folder: Path, platform: str, onnxruntime: str, config: Config, knobs: Knobs, providers: Sequence[str] = ()
) -> list[Path]:
    """Leave the configuration, the settings and the commands in ``folder``; which files those are."""
    kind = platform.partition("/")[0]
    words = {"version": onnxruntime, "config": NAME, "settings": _SETTINGS}
    texts = {path.name.removesuffix(".in"): path for path in sorted((_FILES / kind).iterdir())}
    made = {name: Template(path.read_text()).substitute(words).encode() for name, path in texts.items()}
    made |= {NAME: config.text().encode(), _SETTINGS: json_bytes(settings(kind, knobs, providers))}
    for name, data in made.items():
        write_bytes(folder / name, data)
        if name.endswith(".sh"):
            (folder / name).chmod(0o755)
    return [folder / name for name in sorted(made)]


def settings(kind: str, knobs: Knobs, providers: Sequence[str] = ()) -> dict[str, object]:
    """What ONNX Runtime's packaging scripts read: architectures, and flags of its build.py for the target's ``providers``.

    As in its own ``default_full_…_build_settings.json`` of 1.21, of which the versions of Android and iOS are.
    """
    wanted = [*providers, *(["XnnpackExecutionProvider"] if knobs.xnnpack else [])]
    used = [flag for name, flag in _PROVIDERS.items() if name in wanted]
    minimal = ["--minimal_build=extended", *used] if used or knobs.extended else ["--minimal_build"]
    exceptions = [] if knobs.exceptions else ["--disable_exceptions"]
    flags = ["--parallel", *minimal, *exceptions, "--disable_rtti", "--enable_reduced_operator_type_support", "--skip_tests"]
    flags.append("--cmake_extra_defines=onnxruntime_BUILD_UNIT_TESTS=OFF")
    if kind == "android":
        own = ["--android", "--cmake_generator=Ninja", "--build_java", "--build_shared_lib"]
        versions = {"android_min_sdk_version": 24, "android_target_sdk_version": 34}
        return {"build_abis": ["arm64-v8a"], **versions, "build_params": [*own, *flags]}
    phone = ["--ios", "--apple_deploy_target=15.1"]
    return {
        "build_osx_archs": {"iphoneos": ["arm64"], "iphonesimulator": ["arm64", "x86_64"]},
        "build_params": {
            "base": ["--use_xcode", "--build_apple_framework", *flags],
            "iphoneos": phone,
            "iphonesimulator": phone,
        },
    }


def gate(platform: str, providers: Sequence[str] = ()) -> Gate:
    """That nothing was built, and why; and which of the target's ``providers`` the command leaves out."""
    kind = platform.partition("/")[0]
    left = [name for name in providers if name not in {CPU, *_PROVIDERS}]
    without = f"; the settings leave out {', '.join(left)}: it needs a software development kit of its own" if left else ""
    return Gate("reduced-runtime", PACKAGES[kind], Outcome.NOT_RUN, why=_WHY[kind] + without)
