"""Prints what a delta of MobileNetV2 for x86-cpu costs over the full bundle, for three changes.

Bundles are those of ``./inv bundle``: ``.onnx`` and ``.ort`` with the same weights, snippets, manifest. Weights are random, so
that nothing is gained by their being alike. The goals are for transfer learning to 10 classes. With 1,000 classes the last layer
is 37% of all weights, and no patch can leave those out; nor can one leave out weights that have all moved.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from side_by_side import ROOT, call

from ortolan import runtime
from ortolan.cache import user_cache

HERE = Path(__file__).parent
TARGET, MODEL = "x86-cpu", "mobilenetv2"
HEAD, METADATA, TUNED = "last layer trained again", "another licence", "all weights moved by 0.1%"
GOALS = {HEAD: 0.10, METADATA: 0.01}
JUDGED = 10  # classes
POLICY = {
    "fp32": '[quantize]\npolicy = "never"\n',
    "int8": '[quantize]\npolicy = "require"\n',
}
INT8_GATES = "[gates]\nmin_speedup = 0.001\nmin_agreement = 0.0\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="", help="zstd or bsdiff alone; bsdiff takes 2 s for each MB")
    parser.add_argument("--classes", type=int, action="append", choices=[10, 1000], help="default: both")
    given = parser.parse_args()
    met = True
    print(f"{'classes':8}{'precision':11}{'change':27}{'full':>10}{'method':>8}{'patch':>14}    ratio  goal")
    for classes in given.classes or [10, 1000]:
        for precision in POLICY:
            with tempfile.TemporaryDirectory() as folder:
                for change, told in deltas(Path(folder), classes, precision, given.method):
                    met &= show(classes, precision, change, told)
    return 0 if met else 1


def deltas(folder: Path, classes: int, precision: str, method: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What ``./inv delta --json`` says of each change, from one release."""
    project = make_project(folder, classes, precision)
    first = release(project, "first", 1)
    save_weights(project, classes, training=2)
    yield HEAD, delta(project, first, release(project, "trained", 2), method)
    save_weights(project, classes, training=1, moved=0.001)
    yield TUNED, delta(project, first, release(project, "tuned", 2), method)
    save_weights(project, classes, training=1)
    recipe = project / "recipes" / "models" / f"{MODEL}.toml"
    recipe.write_text(recipe.read_text().replace("Apache-2.0", "MIT"))
    yield METADATA, delta(project, first, release(project, "licensed", 3), method)


def make_project(folder: Path, classes: int, precision: str) -> Path:
    """A project with one model and one target, which ships this precision whatever it costs."""
    models, targets = folder / "recipes" / "models", folder / "recipes" / "targets"
    shutil.copytree(HERE / MODEL, models, ignore=shutil.ignore_patterns("__pycache__"))
    (models / "recipe.toml").rename(models / f"{MODEL}.toml")
    recipe = models / f"{MODEL}.toml"
    recipe.write_text(recipe.read_text().replace("CLASSES", str(classes)))
    targets.mkdir()
    text = (ROOT / "recipes" / "targets" / f"{TARGET}.toml").read_text().replace("[quantize]\n", POLICY[precision])
    (targets / f"{TARGET}.toml").write_text(text.replace("[gates]\n", INT8_GATES if precision == "int8" else "[gates]\n"))
    save_weights(folder, classes, training=1)
    return folder


def save_weights(project: Path, classes: int, training: int, moved: float = 0.0) -> None:
    python = runtime.ensure(runtime.find("torch", [ROOT / "runtimes"]), user_cache().runtimes).interpreter
    code = f"import {MODEL}; {MODEL}.save_weights('{MODEL}.safetensors', {classes}, {training}, {moved})"
    call([python, "-c", code], project / "recipes" / "models")


def release(project: Path, name: str, sequence: int) -> Path:
    """Build and bundle; the release folder, moved to a name of its own."""
    words = ("--target", TARGET, "--model", MODEL)
    ortolan(project, "build", *words)
    ortolan(project, "bundle", *words, "--sequence", str(sequence))
    (made,) = (path.parent for path in (project / "dist").glob("*/*/release.json"))
    return made.rename(project / name)


def delta(project: Path, old: Path, new: Path, method: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        ortolan(project, "delta", str(old), str(new), "--json", *(["--method", method] * bool(method)))
    )
    return told


def ortolan(project: Path, *words: str) -> str:
    return call([sys.executable, "-m", "ortolan", *words], project, PYTHONPATH=str(ROOT / "src"))


def show(classes: int, precision: str, change: str, told: dict[str, Any]) -> bool:
    """A line for each method, with the goal beside the smaller patch; whether that is met."""
    sizes = {method: one["size"] for method, one in told["methods"].items() if one["size"] is not None}
    best, goal = min(sizes.values()), GOALS.get(change) if classes == JUDGED else None
    for method, size in sizes.items():
        wanted = f"≤ {goal:.0%}" if goal and size == best else ""
        row = f"{classes:<8}{precision:11}{change:27}{told['full'] / 1e6:7.2f} MB{method:>8}{size:>12,} B"
        print(f"{row}{size / told['full']:9.3%}  {wanted}".rstrip(), flush=True)
    return goal is None or best <= goal * told["full"]


if __name__ == "__main__":
    sys.exit(main())
