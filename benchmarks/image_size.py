"""Prints where the bytes of an image go, and how large it is over what it must hold: base, runtime and model.

It wants the base of the target's recipe where the builder looks for images, or a base by another name. The runtime counts as
what its wheels unpack to: that is what runs, and what a device's disk holds.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

from side_by_side import ROOT, call, copy_of_recipes

GOAL = 1.15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="x86-cpu")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--builder", default="", help="docker or buildah; default: what answers")
    parser.add_argument("--base", default="", help="in place of the recipe's")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = copy_of_recipes(Path(folder))
        if given.base:
            recipe = project / "recipes" / "targets" / f"{given.target}.toml"
            recipe.write_text(re.sub(r'(?m)^base( *= *)"[^"]*"', rf'base\1"{given.base}"', recipe.read_text()))
        said = call(
            [ROOT / "inv", "image", "--target", given.target, "--model", given.model, "--json", *_builder(given)], project
        )
    told = json.loads(said.splitlines()[-1])
    parts = told["bytes"]
    for name in ("base", "runtime", "model", "rest", "whole"):
        print(f"{name:8}{parts[name] / 1e6:9.3f} MB")
    found = parts["whole"] / (parts["whole"] - parts["rest"])
    print(f"{told['image']} by {told['builder']}: {found:.3f}× of base, runtime and model, goal ≤ {GOAL:.2f}×")
    return 0 if found <= GOAL else 1


def _builder(given: argparse.Namespace) -> list[str]:
    return ["--builder", given.builder] if given.builder else []


if __name__ == "__main__":
    sys.exit(main())
