"""The order of layers: each module imports only what stands above it; no cycles, no imports inside functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "ortolan"
ORDER = [
    "__init__", "errors", "digest", "known", "artifact", "platforms", "cache", "root", "disk", "events", "stages", "recipe",
    "runtime", "stage_files", "contract", "step", "sources", "origins", "outputs", "coverage", "quantising", "plan", "store",
    "sandbox", "place", "execute", "gates", "recover", "elsewhere", "emulation", "manifest", "preflight", "devices", "ondevice",
    "record", "package", "carried", "assemble", "shipped", "fresh", "build", "why", "reproduce", "revision", "image", "release",
    "reduced", "ci", "report", "verbs", "cli", "__main__",
]  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def layer(path: Path) -> str:
    """The first part of a module's name below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def ours(path: Path) -> set[str]:
    """The layers that a module imports, absolutely or relatively."""
    found: set[str] = set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ortolan") and not node.level:
            found |= {(node.module or "").split(".")[1]} if "." in (node.module or "") else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ortolan.")}
    return {name if (PACKAGE / name).exists() or (PACKAGE / f"{name}.py").exists() else "__init__" for name in found}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_what_stands_above_it(path: Path) -> None:
    below = {name for name in ours(path) if ORDER.index(name) > ORDER.index(layer(path))}
    assert not below, f"{path.name} imports {below}, which stand below {layer(path)} in {ORDER}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_our_own_modules_are_never_imported_inside_a_function(path: Path) -> None:
    if layer(path) == "stages":
        functions = []  # heavy imports stand inside run, and lib modules that need them may too
    else:
        functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = [
        node for function in functions for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("ortolan"))
    ]  # fmt: skip
    assert not inside


@pytest.mark.parametrize("path", [p for p in MODULES if layer(p) == "stages"], ids=lambda p: p.name)
def test_a_stage_imports_nothing_of_ours_but_stages(path: Path) -> None:
    outside = ours(path)
    assert not outside, f"{path.name} runs where only its runtime's packages are, yet imports {outside}"


@pytest.mark.parametrize("path", [p for p in MODULES if layer(p) == "stages"], ids=lambda p: p.name)
def test_a_stage_imports_nothing_heavy_before_it_runs(path: Path) -> None:
    heavy = {"numpy", "onnx", "onnxruntime", "torch", "onnx_ir", "onnxscript", "PIL", "safetensors"}
    heavy |= {"sklearn", "skl2onnx", "onnxmltools", "xgboost", "lightgbm", "skops", "joblib", "pandas", "scipy"}
    top = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {alias.name.split(".")[0] for n in top if isinstance(n, ast.Import) for alias in n.names}
    names |= {(n.module or "").split(".")[0] for n in top if isinstance(n, ast.ImportFrom) and not n.level}
    assert not names & heavy


def test_every_layer_is_in_the_order() -> None:
    assert {layer(path) for path in MODULES} <= set(ORDER)
