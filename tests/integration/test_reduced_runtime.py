"""Builds that carry a library of ONNX Runtime: taken in, gated, run by the C program, bundled. The library is a wheel's own.

That is no reduced one: it is too large, needs the C++ runtime and runs every operator, and the gates say so. What a reduced one
passes is seen by the slow tests of ``runtime-build``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import c_header
import emulation
from conftest import ROOT, RunStage, Workspace
from ortolan import manifest
from ortolan.artifact import Gate, Outcome
from ortolan.build import Built, build
from ortolan.cache import Cache, user_cache
from ortolan.errors import OrtolanError
from ortolan.gates import carried as gates
from ortolan.recipe.waiver import FOLDER
from ortolan.release.bundle import Options, bundle
from ortolan.release.layout import SBOM
from ortolan.release.source import source
from ortolan.revision import Revision
from ortolan.stages.lib import elf
from ortolan.verbs import pick
from reduced_results import KNOBS, compiled, put

PASS, FAIL, NOT_RUN = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN
TARGET, MODEL, STOCK = "x86-cpu", "digits-mlp", "1.31.1"
pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="not installed: gcc")


def wheel(version: str = STOCK, machine: str = "") -> Path:
    """The library of a wheel, from the runtime that has been made of it; ``machine`` where that is not this one."""
    name = re.compile("-".join(filter(None, (f"onnxruntime-{re.escape(version)}", machine, "[0-9a-f]{12}"))))
    made = sorted(folder for folder in user_cache().runtimes.iterdir() if name.fullmatch(folder.name))
    found = [path for folder in made for path in folder.glob("lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so*")]
    assert elf.read(found[0].read_bytes()).machine == (machine or "amd64")
    return found[0]


def recipe(workspace: Workspace, table: str, target: str = TARGET) -> None:
    """Ask for a reduced runtime, and for little else."""
    path = workspace.root / "recipes" / "targets" / f"{target}.toml"
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("snippets", "[outputs.docker]", "base", "reduced_runtime"))]
    at = next(index for index, line in enumerate(kept) if line.startswith("[outputs]"))
    path.write_text("\n".join([*kept[: at + 1], 'snippets = ["c"]', f"reduced_runtime = {table}", *kept[at + 1 :]]) + "\n")


def shipped(one: Built) -> dict[str, Gate]:
    return {gate.name: gate for gate in one.gates if gate.name.startswith("reduced-")}


def header() -> bytes:
    return (c_header.folder() / "onnxruntime_c_api.h").read_bytes()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, shared_cache: Cache) -> Workspace:
    """A project whose target wants a library; nothing is built yet."""
    root = tmp_path_factory.mktemp("reduced") / "project"
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    workspace = Workspace(root, shared_cache, [])
    recipe(workspace, '{ max_size = "1.5 MB", static_cxx = true, max_session = 0.01 }')
    return workspace


@pytest.fixture(scope="module")
def without(project: Workspace) -> Built:
    """The build before there is a library."""
    (one,) = project.build(TARGET, MODEL)
    assert one.ok
    return one


@pytest.fixture(scope="module")
def config(without: Built) -> str:
    assert without.folder
    return (without.folder / "required_operators_and_types.config").read_text()


@pytest.fixture(scope="module")
def stock(project: Workspace, config: str) -> Built:
    """The same with a wheel's library."""
    put(project.root / "build" / TARGET, wheel().read_bytes(), config, STOCK, header())
    (one,) = project.build(TARGET, MODEL)
    return one


def test_where_none_was_built_the_gate_says_how(without: Built) -> None:
    (gate,) = shipped(without).values()
    assert (gate.name, gate.outcome) == ("reduced-runtime", NOT_RUN)
    assert f"./inv runtime-build --target {TARGET}" in gate.why
    assert "-rt" not in without.tag


def test_a_stock_library_fails_what_only_a_reduced_one_passes(stock: Built) -> None:
    found = shipped(stock)
    assert not stock.ok
    outcomes = {name: gate.outcome for name, gate in found.items()}
    assert outcomes == {
        "reduced-runtime": PASS, "reduced-size": FAIL, "reduced-needs": FAIL, "reduced-fits": PASS, gates.GOLDEN: PASS,
        gates.REFUSES: FAIL, gates.SPEED: FAIL,
    }  # fmt: skip
    assert "too many" in found["reduced-size"].why
    assert "libstdc++.so.6, which static_cxx = true was to put inside" in found["reduced-needs"].why
    assert f"ONNX Runtime {STOCK} beside 1.17.3" in found[gates.GOLDEN].measured
    assert "not the model" in found[gates.REFUSES].why, "it opens a model with any operator"


TIMED = r"([0-9.]+)× \(([0-9.]+) → ([0-9.]+)"


def test_both_libraries_are_timed_in_one_run(stock: Built) -> None:
    gate = shipped(stock)[gates.SPEED]
    assert gate.varies
    assert f"of onnxruntime {STOCK}" in gate.measured
    assert gate.limit.startswith("session ≤ 0.01×, run ≤ 1.25×")
    assert "in three quarters of the pairs: session" in gate.why, "nobody makes one in a hundredth of the time"
    figures = re.fullmatch(rf"session {TIMED} ms\), run {TIMED} µs\) of onnxruntime {re.escape(STOCK)}", gate.measured)
    assert figures, gate.measured
    assert all(float(figure) > 0 for figure in figures.groups())


@pytest.fixture(scope="module")
def carrying(project: Workspace, config: str, stock: Built) -> Built:
    """A build that ships: the recipe allows what the wheel's library is, and what else it fails is waived."""
    recipe(project, '{ max_size = "64 MB", static_cxx = false, max_session = 100, max_latency = 100 }')
    put(project.root / "build" / TARGET, wheel().read_bytes(), config, STOCK, header(), knobs=KNOBS | {"static_cxx": False})
    (project.root / FOLDER).mkdir()
    day = (datetime.now(UTC) + timedelta(days=2)).date()
    (project.root / FOLDER / f"{gates.REFUSES}.toml").write_text(
        f'gate = "{gates.REFUSES}"\ntarget = "{TARGET}"\nmodel_hash = "{stock.hashed}"\n'
        f'reason = "a stock library"\nwho = "me@example.com"\nexpires = {day}\n',
    )
    (one,) = project.build(TARGET, MODEL)
    assert one.ok, [gate for gate in one.gates if gate.outcome is FAIL]
    return one


def test_the_library_enters_folder_manifest_and_tag(carrying: Built) -> None:
    assert carrying.folder
    made = manifest.read(carrying.folder / manifest.NAME)
    files = {one.name: one for one in made.artifacts}
    library = files["libonnxruntime.so"]
    assert carrying.tag.endswith(f"-rt{library.digest[7:15]}")
    assert library.about == {"glibc": "2.28", "glibcxx": "3.4.22", "cxxabi": "1.3.11", "onnxruntime": STOCK}
    assert {
        "reduced-runtime.json",
        "reduced-runtime.config",
        "reduced-runtime-licences.txt",
        "onnxruntime_c_api.h",
    } < files.keys()
    assert "MIT License" in (carrying.folder / "reduced-runtime-licences.txt").read_text()
    assert made.model.files["reduced-runtime"]["libonnxruntime.so"] == library.digest
    assert {"reduced_library", "reduced_compile", "reduced_run"} <= {step.stage for step in made.steps}


def test_the_c_snippet_uses_the_library_beside_the_model(carrying: Built, tmp_path: Path) -> None:
    if not shutil.which("cmake"):
        pytest.skip("not installed: cmake")
    assert carrying.folder
    for call in (["-S", str(carrying.folder / "c"), "-B", str(tmp_path)], ["--build", str(tmp_path)]):
        subprocess.run(["cmake", *call], check=True, capture_output=True, timeout=120)
    done = subprocess.run([tmp_path / "test_model"], cwd=carrying.folder / "c", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"ONNX Runtime {STOCK} with CPUExecutionProvider")
    mapped = subprocess.run(
        [tmp_path / "test_model"],
        cwd=carrying.folder / "c",
        capture_output=True,
        text=True,
        check=False,
        env={"LD_DEBUG": "libs"},
    )
    loaded = re.findall(r"calling init: (\S*libonnxruntime\S*)", mapped.stderr)
    assert {(carrying.folder / "c" / path).resolve() for path in loaded} == {(carrying.folder / "libonnxruntime.so").resolve()}


def test_a_device_needs_no_onnxruntime_of_its_own(carrying: Built) -> None:
    assert carrying.folder
    program = carrying.folder / "device" / "preflight.py"
    done = subprocess.run([sys.executable, "-S", program, "--json"], capture_output=True, text=True, check=False, timeout=120)
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert found["runtime"]["measured"] == STOCK
    assert "libonnxruntime.so" in found["runtime"]["why"]
    assert done.returncode == 0


def test_a_bundle_has_it_and_its_bill_of_materials_the_sources(carrying: Built, project: Workspace) -> None:
    record = project.root / "build" / TARGET / f"{MODEL}.json"
    made = bundle(source(record, datetime.now(UTC).date()), Options(project.root / "dist", Revision("0" * 40, 1)))
    assert "libonnxruntime.so" in made.release.files
    parts = {part["bom-ref"]: part for part in json.loads((made.folder / SBOM).read_bytes())["components"]}
    assert parts["reduced:onnxruntime"]["hashes"][0]["content"] == made.release.files["libonnxruntime.so"].digest[7:]
    assert parts["reduced-source:onnxruntime"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert carrying.tag == made.release.tag


def test_a_library_without_an_operator_of_the_model_is_not_carried(carrying: Built, project: Workspace) -> None:
    put(project.root / "build" / TARGET, wheel().read_bytes(), "ai.onnx;14;Relu\n", STOCK, knobs=KNOBS | {"static_cxx": False})
    (one,) = project.build(TARGET, MODEL)
    assert one.ok
    assert one.tag == carrying.tag.partition("-rt")[0]
    (gate,) = shipped(one).values()
    assert (gate.name, gate.outcome) == ("reduced-runtime", NOT_RUN)
    assert "Gemm" in gate.why
    assert "runtime-config" in gate.why


def test_a_damaged_library_stops_a_build_before_it_begins(carrying: Built, project: Workspace, config: str) -> None:
    assert carrying.ok
    folder = put(project.root / "build" / TARGET, b"first", config, STOCK)
    (folder / "libonnxruntime.so").write_bytes(b"other")
    with pytest.raises(OrtolanError, match="the reduced runtime is damaged"):
        project.jobs([TARGET], (MODEL,))


# --- libraries that are none, or worse --------------------------------------------------------------------------------

CRASHES = "#include <stdlib.h>\nvoid *OrtGetApiBase(void) { abort(); }\n"
STRANGE = "int nothing(void) { return 0; }\n"
OLD = """
static const char *version(void) { return "1.2.0"; }
static const void *api(unsigned number) { (void)number; return 0; }
static struct { const void *(*api)(unsigned); const char *(*version)(void); } base = {api, version};
void *OrtGetApiBase(void) { return &base; }
"""
"""A library whose C API is older than any program asks for."""


@pytest.mark.parametrize(
    ("code", "measured", "why"),
    [(CRASHES, "died of SIGABRT", ""), (STRANGE, "failed", "is not ONNX Runtime"), (OLD, "failed", "too old")],
)
def test_a_library_that_does_not_run_the_samples_fails(
    carrying: Built, run_stage: RunStage, tmp_path: Path, code: str, measured: str, why: str
) -> None:
    assert carrying.folder
    shown = {"program": carrying.folder / "c", "header": carrying.folder / "onnxruntime_c_api.h"}
    made = run_stage("reduced_compile", "native", shown, {"platform": "linux/amd64", "compiler": "gcc"})
    assert made.facts, made.refused
    read = {
        "program": made.out / "test_model.so", "model": carrying.folder / "model.ort", "golden": carrying.folder / "golden.bin",
        "library": compiled(tmp_path, code, name="libonnxruntime.so"),
    }  # fmt: skip
    ran = run_stage("reduced_run", "tools", read, {})
    assert ran.facts
    gate = gates._golden(ran.facts["golden"], "")
    assert (gate.outcome, gate.measured) == (FAIL, measured)
    assert why in gate.why
    assert str(tmp_path) not in json.dumps(ran.facts), "the same whatever folder it ran in"


def test_a_program_that_does_not_compile_is_told_with_the_compilers_words(
    carrying: Built, run_stage: RunStage, tmp_path: Path
) -> None:
    assert carrying.folder
    broken = shutil.copytree(carrying.folder / "c", tmp_path / "c")
    (broken / "model.c").write_text("int main(void) { return nowhere; }\n")
    shown = {"program": broken, "header": carrying.folder / "onnxruntime_c_api.h"}
    made = run_stage("reduced_compile", "native", shown, {"platform": "linux/amd64", "compiler": "gcc"})
    assert made.refused
    assert "nowhere" in made.refused["why"]
    none = run_stage("reduced_compile", "native", shown, {"platform": "linux/arm64", "compiler": "no-such-gcc"})
    assert none.refused
    assert "apt-get install" in none.refused["hint"]


# --- what a library says of itself ------------------------------------------------------------------------------------

NEEDY = '#include <math.h>\n#include <stdio.h>\ndouble half(double x) { printf("%f", x); return fmod(x, 2.0); }\n'


def test_the_tables_of_a_library_are_read(tmp_path: Path) -> None:
    made = compiled(tmp_path, NEEDY, "-g", "-fno-builtin", "-Wl,-soname,libit.so.1", "-Wl,-rpath,/nowhere", "-lm")
    found = elf.read(made.read_bytes())
    assert (found.soname, found.runpath, found.stripped) == ("libit.so.1", "/nowhere", False)
    assert {"libm.so.6", "libc.so.6"} == set(found.needed)
    assert any("fmod" in names for names in found.symbols.values())
    assert {name for names in found.versions.values() for name in names} >= set(found.symbols)
    subprocess.run(["strip", made], check=True, timeout=60)
    stripped = elf.read(made.read_bytes())
    assert stripped.stripped
    assert stripped.versions == found.versions


def test_readelf_says_the_same(tmp_path: Path) -> None:
    if not shutil.which("readelf"):
        pytest.skip("not installed: readelf")
    made = compiled(tmp_path, NEEDY, "-fno-builtin", "-lm")
    said = subprocess.run(["readelf", "--wide", "--dynamic", "--version-info", made], capture_output=True, text=True, check=True)
    found = elf.read(made.read_bytes())
    assert all(f"[{name}]" in said.stdout for name in found.needed)
    assert all(f"Name: {name} " in said.stdout for names in found.versions.values() for name in names)


DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "not an ELF file": lambda data: b"PK" + data[2:],
    "64 bits": lambda data: data[:4] + b"\x01" + data[5:],
    "not a shared library": lambda data: data[:16] + b"\x02" + data[17:],
    "ends before": lambda data: data[:40],
}


@pytest.mark.parametrize("words", DAMAGES)
def test_what_is_no_library_is_told(tmp_path: Path, words: str) -> None:
    data = compiled(tmp_path, STRANGE).read_bytes()
    with pytest.raises(elf.NotElf, match=words):
        elf.read(DAMAGES[words](data))


def test_no_damage_of_a_library_is_anything_else(tmp_path: Path) -> None:
    data = compiled(tmp_path, NEEDY, "-fno-builtin", "-lm").read_bytes()
    damaged = [data[:end] for end in range(0, len(data), 97)]
    damaged += [data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :] for at in range(0, len(data) - 4, 61)]
    for one in damaged:
        try:
            elf.read(one)
        except elf.NotElf:
            continue


# --- the other architecture -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_c_program_runs_on_an_emulated_arm(tmp_path: Path, shared_cache: Cache) -> None:
    emulation.arm("onnxruntime-1.20.1")
    if not shutil.which("aarch64-linux-gnu-gcc"):
        pytest.skip("not installed: aarch64-linux-gnu-gcc")
    root = tmp_path / "project"
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    workspace = Workspace(root, shared_cache, [])
    recipe(workspace, "{ static_cxx = false }", "arm64-cpu")
    workspace.edit("targets/arm64-cpu.toml", '["1.20.1", "1.31.1"]', '["1.20.1"]')
    (plain,) = workspace.build("arm64-cpu", MODEL)
    assert plain.folder
    told: dict[str, Any] = {"platform": "linux/arm64", "knobs": KNOBS | {"static_cxx": False}}
    needed = (plain.folder / "required_operators_and_types.config").read_text()
    put(root / "build" / "arm64-cpu", wheel("1.20.1", "arm64").read_bytes(), needed, "1.20.1", header(), **told)
    options = pick.options(root, shared_cache, emulation=True)
    (one,) = build(workspace.jobs(["arm64-cpu"], (MODEL,)), options, workspace.events.append)
    found = shipped(one)
    assert (found[gates.GOLDEN].outcome, found["reduced-needs"].outcome) == (PASS, PASS), found
    assert found[gates.GOLDEN].measured.endswith("on emulated linux/arm64")
    assert found["reduced-needs"].measured.startswith("arm64, ")
    assert "emulation shows results, no speed" in found[gates.SPEED].why
    (unasked,) = workspace.build("arm64-cpu", MODEL)
    assert shipped(unasked)[gates.GOLDEN].outcome is NOT_RUN
    assert "emulation was not asked for" in shipped(unasked)[gates.GOLDEN].why
