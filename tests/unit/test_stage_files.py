"""A stage's key holds the files that it is made of, and no others."""

from __future__ import annotations

import pytest

from ortolan.contract import contract
from ortolan.stage_files import STAGES, stage_files

NAMES = sorted(path.stem for path in STAGES.glob("[!_]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_has_its_module_its_worker_and_what_they_import(name: str) -> None:
    found = stage_files(name)
    assert {f"stages/{name}.py", "stages/__init__.py", "stages/lib/__init__.py", "stages/lib/worker.py"} <= found.keys()
    assert {"stages/lib/refused.py", "stages/lib/transient.py"} <= found.keys()  # the worker imports them
    assert all((STAGES.parent / path).read_bytes() == data for path, data in found.items())


def test_imports_are_followed_and_others_are_left_out() -> None:
    found = stage_files("coverage").keys()
    assert "stages/lib/quant_nodes.py" in found  # macs imports it
    assert not [path for path in found if "torch" in path]


def test_every_shared_file_belongs_to_some_stage() -> None:
    used = {path for name in NAMES for path in stage_files(name)}
    every = {f"stages/{path.relative_to(STAGES).as_posix()}" for path in (STAGES / "lib").rglob("*") if path.is_file()}
    assert {path for path in every - used if not path.endswith(".pyc")} == set()


def test_an_input_may_come_any_number_of_times() -> None:
    declared = contract("coverage")
    assert declared.takes(["model"])
    assert declared.takes(["model", "evidence:CPUExecutionProvider", "evidence:any"])
    assert not declared.takes(["evidence:CPUExecutionProvider"])
    assert not declared.takes(["model", "evident:CPUExecutionProvider"])
    assert not declared.takes(["model", "samples"])
