"""./inv runtime-config on real builds and releases: what is merged, what is refused, and the gates that name what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import models
from conftest import Workspace
from ortolan.digest import of_file
from ortolan.recipe.project import Project
from ortolan.reduced.config import NAME, Config, lacking, merge, read
from ortolan.reduced.config_kernels import span
from program import call

TARGET = "x86-cpu"
RECIPE = f"targets/{TARGET}.toml"


def config(workspace: Workspace, *words: str, target: str = TARGET) -> dict[str, Any]:
    done = call(workspace, "runtime-config", "--target", target, "--json", *words)
    assert done.returncode in {0, 3}, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["path"] is None) == (done.returncode == 3)
    return told


def refused(workspace: Workspace, *words: str, target: str = TARGET, code: int = 1) -> str:
    """The message, with blanks for line ends; nothing was written."""
    done = call(workspace, "runtime-config", "--target", target, *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert not (workspace.root / "build" / target / "runtime").exists()
    return " ".join(done.stderr.split())


def small(workspace: Workspace, name: str, text: str, **more: Any) -> Path:
    """A model file without a recipe, in a project without other models, for a fleet of one version."""
    shutil.rmtree(workspace.root / "recipes" / "models", ignore_errors=True)
    path = workspace.root / "recipes" / RECIPE
    path.write_text(path.read_text().replace('["1.17.3", "1.31.1"]', '["1.20.1"]'))
    return models.write(models.graph(text, **more), workspace.root / f"{name}.onnx")


def built(workspace: Workspace, *paths: Path | str, target: str = TARGET) -> list[Path]:
    made = workspace.build(target, *map(str, paths))
    assert all(one.folder for one in made), [[str(error) for error in one.errors] or one.gates for one in made]
    return [one.folder for one in made if one.folder]


def of(folder: Path) -> Config:
    return read((folder / NAME).read_text())


CONV = "(float[1,1,8,8] x) => (float[1,1,8,8] y) { [rise] a = Sin(x) [up] y = Abs(a) }"
INTEGERS = "(int64[4] x) => (int64[4] y) { [size] a = Abs(x) [twice] y = Add(a, a) }"


@pytest.mark.slow
def test_the_models_of_a_target_are_merged(workspace: Workspace) -> None:
    folders = built(workspace, "digits", "digits-mlp")
    told = config(workspace)
    path = workspace.root / "build" / TARGET / "runtime" / NAME
    whole = read(path.read_text())
    assert whole == merge(map(of, folders))
    assert [lacking(of(folder), whole) for folder in folders] == [[], []]
    assert (told["path"], told["digest"]) == (str(path), of_file(path))
    assert [(one["model"], one["of"], one["typed"]) for one in told["models"]] == [
        ("digits", "build", True), ("digits-mlp", "build", True),
    ]  # fmt: skip
    assert len(told["operators"]) == len(whole.operators)
    assert {gate["outcome"] for gate in told["gates"]} == {"pass"}
    text = path.read_bytes()
    said = call(workspace, "runtime-config", "--target", TARGET)
    assert said.returncode == 0
    assert path.read_bytes() == text
    assert f"build/{TARGET}/runtime/{NAME}: {len(whole.operators)} operators" in said.stdout


@pytest.mark.slow
def test_types_of_both_models_stand_at_one_operator(workspace: Workspace) -> None:
    built(workspace, small(workspace, "floats", CONV), small(workspace, "integers", INTEGERS))
    config(workspace)
    whole = read((workspace.root / "build" / TARGET / "runtime" / NAME).read_text())
    assert whole.types["ai.onnx", "Abs"] == {"inputs 0": {"float", "int64_t"}}
    only = config(workspace, "--model", "integers")
    assert {one["operator"]: one["types"] for one in only["operators"]}["Abs"] == {"inputs 0": ["int64_t"]}


@pytest.mark.slow
def test_a_model_outside_a_given_configuration_fails_a_gate(workspace: Workspace) -> None:
    built(workspace, small(workspace, "floats", CONV), small(workspace, "integers", INTEGERS))
    within = workspace.root / "fielded.config"
    within.write_text('ai.onnx;13;Abs{"inputs": {"0": ["float"]}}\nai.onnx;7;Add,Sin\n')
    told = config(workspace, "--within", str(within))
    gates = {gate["subject"]: gate for gate in told["gates"] if gate["name"] == "within"}
    assert (gates["floats"]["outcome"], gates["integers"]["outcome"]) == ("pass", "fail")
    assert gates["integers"]["measured"] == "0 of 2 operators"
    assert [
        (one["model"], one["operator"], one["opset"], one["missing"], one["types"], one["nodes"]) for one in told["missing"]
    ] == [
        ("integers", "Abs", 13, "types", {"inputs 0": ["int64_t"]}, ["size"]),
        ("integers", "Add", 14, "opset", {"inputs 0": ["int64_t"]}, ["twice"]),
    ]
    said = call(workspace, "runtime-config", "--target", TARGET, "--within", str(within))
    assert said.returncode == 3
    assert "ai.onnx;13;Abs (inputs 0: int64_t) at size; ai.onnx;14;Add (inputs 0: int64_t) at twice" in said.stdout
    assert "nothing was written" in said.stdout
    assert not (workspace.root / "build" / TARGET / "runtime").exists()
    assert config(workspace, "--within", str(within), "--model", "floats")["path"]


@pytest.mark.slow
def test_a_rollback_still_runs(workspace: Workspace) -> None:
    """The release's model needs what today's no longer does; it is taken by tag, by folder and by its bundle."""
    (folder,) = built(workspace, small(workspace, "net", CONV))
    assert call(workspace, "bundle", "--target", TARGET, "--sequence", "1").returncode == 0
    old = of(folder)
    built(workspace, small(workspace, "new/net", INTEGERS))
    assert {one["operator"] for one in config(workspace)["operators"]} == {"Abs", "Add"}
    release = workspace.root / "dist" / TARGET / folder.name
    for named in (folder.name, str(release), str(release / "bundle.tar.zst")):
        told = config(workspace, "--also", named)
        assert [(one["tag"], one["of"]) for one in told["models"]][1:] == [(folder.name, "release")]
        assert not lacking(old, read(Path(told["path"]).read_text()))
        assert {one["operator"] for one in told["operators"]} == {"Abs", "Add", "Sin"}
    assert len(config(workspace, "--also", folder.name, "--also", str(release))["models"]) == 2
    (workspace.root / "fielded.config").write_text((workspace.root / "build" / TARGET / "runtime" / NAME).read_text())
    config(workspace)
    within = call(
        workspace, "runtime-config", "--target", TARGET, "--also", folder.name, "--within", f"build/{TARGET}/runtime/{NAME}"
    )
    assert within.returncode == 3
    assert "ai.onnx;7;Sin (inputs 0: float) at rise" in within.stdout


@pytest.mark.slow
def test_releases_that_are_not_what_they_say_are_refused(workspace: Workspace) -> None:
    (folder,) = built(workspace, small(workspace, "net", CONV))
    assert call(workspace, "bundle", "--target", TARGET, "--sequence", "1").returncode == 0
    release = workspace.root / "dist" / TARGET / folder.name
    assert "did you mean" in refused(workspace, "--also", "nix").lower() or "no release 'nix'" in refused(
        workspace, "--also", "nix"
    )
    (workspace.root / "alone").mkdir()
    lonely = shutil.copy(release / "bundle.tar.zst", workspace.root / "alone" / "bundle.tar.zst")
    assert "the bundle cannot be verified" in refused(workspace, "--also", str(lonely))
    bundle = release / "bundle.tar.zst"
    whole = bundle.read_bytes()
    for damaged in (whole[:-40], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        bundle.write_bytes(damaged)
        assert "bundle.tar.zst: is not the archive of this release" in refused(workspace, "--also", folder.name)
    bundle.write_bytes(whole)
    shutil.copy(workspace.root / "recipes" / RECIPE, workspace.root / "recipes" / "targets" / "twin.toml")
    built(workspace, workspace.root / "net.onnx", target="twin")
    said = refused(workspace, "--also", str(release), target="twin")
    assert f"a release for another target why: {folder.name} is for x86-cpu" in said


@pytest.mark.slow
def test_an_older_release_without_types_needs_all_of_them(workspace: Workspace) -> None:
    path = small(workspace, "net", CONV)
    workspace.edit(RECIPE, "type_reduction = true", "type_reduction = false")
    (folder,) = built(workspace, path)
    assert call(workspace, "bundle", "--target", TARGET, "--sequence", "1").returncode == 0
    assert "come without the types that they need" in refused(workspace)
    workspace.edit(RECIPE, "type_reduction = false", "type_reduction = true")
    assert "was built without what a reduced runtime is made from" in refused(workspace)
    (again,) = built(workspace, path)
    assert again.name == folder.name
    told = config(workspace, "--also", folder.name)
    assert [one["typed"] for one in told["models"]] == [True, False]
    assert all(one["types"] is None for one in told["operators"])


@pytest.mark.slow
def test_two_releases_of_one_tag_with_other_types_both_count(workspace: Workspace) -> None:
    """Types are no part of a tag: the same model, once with and once without them."""
    path = small(workspace, "net", CONV)
    releases = []
    for name, typed in (("untyped", "false"), ("typed", "true")):
        workspace.edit(RECIPE, "type_reduction = true", f"type_reduction = {typed}")
        (folder,) = built(workspace, path)
        assert call(workspace, "bundle", "--target", TARGET, "--sequence", "1").returncode == 0
        releases.append(shutil.move(workspace.root / "dist" / TARGET / folder.name, workspace.root / name))
        workspace.edit(RECIPE, f"type_reduction = {typed}", "type_reduction = true")
    words = [word for release in releases for word in ("--also", str(release))]
    told = config(workspace, *words)
    assert [(one["of"], one["typed"]) for one in told["models"]] == [("build", True), ("release", False), ("release", True)]
    assert all(one["types"] is None for one in told["operators"])


def test_what_is_not_built_for_it_is_named(workspace: Workspace) -> None:
    assert "nothing is built for 'x86-cpu'" in refused(workspace)
    built(workspace, "digits-mlp")
    said = refused(workspace)
    assert said.startswith("error: digits: not built for x86-cpu why: the target takes digits, and what it needs is not known")
    assert "'digit-mlp' is not built for x86-cpu" in refused(workspace, "--model", "digit-mlp")
    assert config(workspace, "--model", "digits-mlp")["path"]


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("", 2, "which target? why: known are android-arm64, "),
        ("x86-cpuu", 2, "Did you mean x86-cpu?"),
        ("jetson-orin", 1, "the target ships no .ort files why: a reduced runtime reads .ort files"),
    ],
)
def test_targets_without_a_reduced_runtime(workspace: Workspace, target: str, code: int, said: str) -> None:
    found = refused(workspace, target=target, code=code)
    assert said in found


@pytest.mark.slow
def test_a_failed_or_damaged_build_is_refused(workspace: Workspace) -> None:
    path = small(workspace, "net", CONV)
    (folder,) = built(workspace, path)
    kept = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(kept.replace(b"Sin", b"Cos"))
    assert f"the build is damaged: {NAME} differs from the manifest" in refused(workspace)
    (folder / NAME).write_bytes(kept)
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes() + b"\n")
    assert "the manifest is not the one that was built" in refused(workspace)
    workspace.edit(RECIPE, 'max_size = "128 MB"', 'max_size = "1 B"')
    (made,) = workspace.build(TARGET, str(path))
    assert made.folder is None
    assert "the last build of net for x86-cpu failed why: failed: size" in refused(workspace)


def test_a_build_that_the_reduced_runtime_alone_stopped_counts(workspace: Workspace) -> None:
    """Else nobody could build the runtime that its new model needs. Its files come from the store."""
    (folder,) = built(workspace, small(workspace, "net", CONV))
    path = workspace.root / "build" / TARGET / "net.json"
    record = json.loads(path.read_text())
    stopped = {"name": "reduced-fits", "subject": "shipped", "outcome": "fail"}
    shutil.rmtree(folder)
    path.write_text(json.dumps(record | {"ok": False, "manifest": "", "gates": [*record["gates"], stopped]}))
    assert {one["operator"] for one in config(workspace)["operators"]} == {"Abs", "Sin"}
    shutil.rmtree(workspace.root / "build" / TARGET / "runtime")
    other = {**stopped, "name": "size"}
    path.write_text(json.dumps(record | {"ok": False, "manifest": "", "gates": [*record["gates"], stopped, other]}))
    assert "failed why: failed: reduced-fits, size" in refused(workspace)
    path.write_text(json.dumps(record | {"ok": False, "gates": [stopped], "steps": {}}))
    assert "failed why: failed: reduced-fits" in refused(workspace)


def test_a_given_configuration_with_a_slip_is_refused(workspace: Workspace) -> None:
    built(workspace, small(workspace, "net", CONV))
    for text, said in (
        (b"ai.onnx;13;Abz\n", "c:1: unknown operator 'Abz' of ai.onnx. Did you mean Abs?"),
        (b"ai.onnx;13;Abs\nai.onnx;13\n", "c:2: not a line of a configuration"),
        (b"# nothing yet\n", "c: the configuration names no operators"),
        (b"!globally_allowed_types;flaot\nai.onnx;13;Abs\n", "c:1: !globally_allowed_types; names an unknown type 'flaot'."),
        (b"\xff", "no configuration that can be read"),
    ):
        (workspace.root / "c").write_bytes(text)
        assert said in refused(workspace, "--within", "c")
    assert "no configuration that can be read" in refused(workspace, "--within", "nowhere")
    assert "--onnxruntime wants a version, not 'new'" in refused(workspace, "--onnxruntime", "new")


@pytest.mark.slow
def test_what_a_minimal_build_cannot_have_fails_a_gate(workspace: Workspace) -> None:
    """The stock library runs 8-bit floats; a reduced one is built without."""
    path = small(workspace, "net", "(float[4] x) => (float[4] y) { [low] a = Cast<to=17>(x) [high] y = Cast<to=1>(a) }", opset=19)
    workspace.edit(RECIPE, "opset    = 17", "opset    = 19")
    built(workspace, path)
    done = call(workspace, "runtime-config", "--target", TARGET)
    assert done.returncode == 3, done.stderr
    assert "ai.onnx;19;Cast: a reduced runtime is built without 8-bit floats (Float8E4M3FN) (nodes low, high)" in done.stdout
    assert not (workspace.root / "build" / TARGET / "runtime").exists()


@pytest.mark.slow
def test_a_version_that_lacks_a_kernel_says_so(workspace: Workspace) -> None:
    path = small(workspace, "net", CONV, opset=22, ir=10)
    workspace.edit(RECIPE, 'versions = ["1.20.1"]\nopset    = 17', 'versions = ["1.31.1"]\nopset    = 22')
    built(workspace, path)
    told = config(workspace, "--onnxruntime", "1.17.3")
    (gate,) = told["gates"]
    assert (gate["outcome"], gate["measured"]) == ("fail", "1 of 2 operators")
    assert gate["why"].startswith("ai.onnx;22;Sin: ONNX Runtime 1.17.3 has no CPU kernel for it; on file 1.21.0,")
    assert config(workspace, "--onnxruntime", "1.31.1")["path"]
    (gate,) = config(workspace, "--onnxruntime", "1.99.0")["gates"]
    assert (gate["outcome"], gate["why"]) == ("not-run", f"which kernels 1.99.0 has is not on file: {span()} are")


def test_phones_are_asked_about_the_version_that_they_build(workspace: Workspace) -> None:
    built(workspace, "digits-mlp", target="android-arm64")
    oldest = Project(workspace.root).target("android-arm64").recipe.runtime.versions[0]
    assert config(workspace, "--model", "digits-mlp", target="android-arm64")["onnxruntime"] == oldest
