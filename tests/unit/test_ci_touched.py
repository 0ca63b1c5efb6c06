"""Which jobs a change touches: in real repositories, whatever is edited, moved, linked or removed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from conftest import ROOT
from ortolan import digest, plan, runtime, step
from ortolan.ci.git import Change, Unknown, change
from ortolan.ci.inputs import inputs, trail
from ortolan.ci.touched import touched
from ortolan.errors import OrtolanError
from ortolan.package import find_templates, image_locks
from ortolan.recipe.project import Project
from ortolan.sources import Job
from ortolan.verbs import pick

TARGET = """\
description = "a board"
platform = "linux/arm64"
[runtime]
versions = ["1.20.1"]
opset = 17
[outputs]
snippets = ["c"]
"""
DOCKER = TARGET.replace('"1.20.1"', '"1.31.1"').replace('["c"]', "[]") + '[outputs.docker]\nbase = "debian:12-slim"\n'
ONNX = '[source]\nkind = "onnx"\nfile = "{}"\n[[input]]\nname = "x"\nshape = [1, 3, 4, 4]\n'
TORCH = """\
[source]
kind = "pytorch"
factory = "code/net.py:build"
files = ["code/parts"]
[[input]]
name = "x"
shape = [1, 3, 4, 4]
[data]
calibration = { images = "../../data/pictures", size = [4, 4] }
evaluation = { callable = "code/data.py:all", files = ["code/values.npz"] }
"""
FILES = {
    "recipes/targets/board.toml": TARGET,
    "recipes/targets/box.toml": DOCKER,
    "recipes/models/plain.toml": ONNX.format("plain.onnx"),
    "recipes/models/plain.onnx": "no model, and never opened",
    "recipes/models/linked.toml": ONNX.format("linked.onnx"),
    "weights/v2/linked.onnx": "another",
    "recipes/models/torch.toml": TORCH,
    "recipes/models/code/net.py": "",
    "recipes/models/code/data.py": "",
    "recipes/models/code/values.npz": "",
    "recipes/models/code/parts/one.py": "",
    "data/pictures/a/1.png": "1",
    "data/pictures/b/2.png": "2",
    "templates/c/model.h.j2": "/* nothing */",
    "templates/go/other.go": "",
    "README.md": "words",
    "weights/notes ü\n.txt": "words",
}
LINKS = {"recipes/models/linked.onnx": "../../weights/latest/linked.onnx", "weights/latest": "v2", "data/pictures/c": "../more"}
ALL = {(target, model) for target in ("board", "box") for model in ("plain", "linked", "torch")}


def git(folder: Path, *words: str) -> str:
    """The commands of a developer without settings of their own."""
    env = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")
    return subprocess.run(["git", *who, *words], cwd=folder, env=env, capture_output=True, text=True, check=True).stdout


def commit(folder: Path, text: str = "change") -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", text)


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def make(root: Path) -> Path:
    """A project in a repository of its own, with runtimes, templates, links, and a folder of images."""
    for name, text in FILES.items():
        write(root, name, text)
    for name in ("onnxruntime-1.20.1", "dev"):
        shutil.copytree(ROOT / "runtimes" / name, root / "runtimes" / name)
    for name, to in LINKS.items():
        (root / name).symlink_to(to)
    (root / "data" / "more").mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root, "first")
    return root


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make(tmp_path / "project")


def jobs(root: Path) -> Sequence[Job]:
    """All jobs, with every file read anew."""
    step._file_digest.cache_clear()
    found = Project(root)
    return pick.jobs(found, found.targets(), [])


def names(root: Path, since: str = "main") -> set[tuple[str, str]]:
    return {(one.job.target.name, one.job.model.name) for one in touched(jobs(root), root, change(root, since))}


def only(model: str = "", target: str = "") -> set[tuple[str, str]]:
    return {(t, m) for t, m in ALL if model in ("", m) and target in ("", t)}


# --- one change at a time ------------------------------------------------------------------------------------------

CASES = [
    ("README.md", set()),
    ("weights/notes ü\n.txt", set()),
    ("templates/go/other.go", set()),
    ("runtimes/dev/requirements.txt", set()),
    ("docs/new.md", set()),
    ("recipes/models/unused.py", set()),
    ("recipes/targets/board.toml", only(target="board")),
    ("recipes/models/plain.toml", only("plain")),
    ("recipes/models/plain.onnx", only("plain")),
    ("weights/v2/linked.onnx", only("linked")),
    ("recipes/models/code/net.py", only("torch")),
    ("recipes/models/code/parts/new.py", only("torch")),
    ("data/pictures/a/1.png", only("torch")),
    ("data/pictures/b/new.png", only("torch")),
    ("data/more/new.png", only("torch")),
    ("templates/c/model.h.j2", only(target="board")),
    ("templates/docker/Dockerfile.j2", only(target="box")),
    ("runtimes/onnxruntime-1.20.1/requirements.txt", only(target="board")),
    ("runtimes/onnxruntime-1.31.1/runtime.toml", only(target="box")),
    ("runtimes/torch/requirements.txt", only("torch")),
    ("runtimes/tools/requirements.txt", ALL),
    ("requirements.lock", ALL),
    (".gitlab-ci.yml", ALL),
    ("templates/gitlab/jobs.yml.j2", ALL),
    ("waivers/board-plain-size.toml", ALL),
]  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), CASES, ids=[name.replace("\n", " ") for name, _ in CASES])
def test_a_change_touches_the_jobs_that_read_it(project: Path, name: str, expected: set[Any]) -> None:
    old = jobs(project)
    write(project, name, (project / name).read_text() + "\n" if (project / name).exists() else "new\n")
    found = touched(old, project, change(project, "HEAD"))
    assert {(one.job.target.name, one.job.model.name) for one in found} == expected
    assert all(one.why == [project / name] for one in found)


def test_nothing_changed_touches_nothing(project: Path) -> None:
    assert names(project) == set()


@pytest.mark.parametrize("how", ["dirty", "staged", "committed"])
def test_it_does_not_matter_how_far_a_change_is(project: Path, how: str) -> None:
    git(project, "switch", "--quiet", "--create", "mine")
    write(project, "recipes/models/plain.onnx", "changed")
    if how == "staged":
        git(project, "add", "--all")
    elif how == "committed":
        commit(project)
    assert names(project) == only("plain")


def test_what_others_did_meanwhile_is_not_this_change(project: Path) -> None:
    git(project, "switch", "--quiet", "--create", "mine")
    write(project, "recipes/models/plain.onnx", "mine")
    commit(project)
    git(project, "switch", "--quiet", "main")
    write(project, "recipes/targets/board.toml", TARGET + "\n")
    commit(project)
    git(project, "switch", "--quiet", "mine")
    assert names(project) == only("plain")


def test_a_deleted_recipe_touches_nobody_and_a_new_one_its_own_jobs(project: Path) -> None:
    (project / "recipes/models/plain.toml").unlink()
    assert names(project) == set()
    shutil.copy(project / "recipes/targets/box.toml", project / "recipes/targets/bag.toml")
    assert names(project) == {("bag", "linked"), ("bag", "torch")}


def test_a_renamed_file_touches_by_both_names(project: Path) -> None:
    git(project, "mv", "data/pictures/a/1.png", "data/pictures/1.png")
    commit(project)
    assert names(project, "HEAD~1") == only("torch")
    git(project, "mv", "data/pictures/1.png", "elsewhere.png")
    commit(project)
    assert names(project, "HEAD~1") == only("torch")
    git(project, "mv", "recipes/models/plain.toml", "recipes/models/fresh.toml")
    commit(project)
    assert names(project, "HEAD~1") == {("board", "fresh"), ("box", "fresh")}


def test_links_count_as_what_they_are_and_as_what_they_lead_to(project: Path) -> None:
    shutil.copytree(project / "weights/v2", project / "weights/v3")
    commit(project)
    assert names(project, "HEAD~1") == set()
    (project / "weights/latest").unlink()
    (project / "weights/latest").symlink_to("v3")
    assert names(project) == only("linked")


def test_a_project_may_be_a_folder_of_its_repository(tmp_path: Path) -> None:
    root = make(tmp_path / "project")
    top = tmp_path / "mono"
    top.mkdir()
    git(top, "init", "--quiet", "--initial-branch=main")
    shutil.move(root, top / "edge")
    shutil.rmtree(top / "edge" / ".git")
    commit(top)
    write(top, "edge/recipes/models/plain.onnx", "changed")
    write(top, "recipes/models/linked.onnx", "in another project")
    assert names(top / "edge") == only("plain")


def test_a_submodule_is_a_folder_that_moves(project: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    git(inner, "init", "--quiet", "--initial-branch=main")
    write(inner, "net.onnx", "first")
    commit(inner)
    git(project, "submodule", "--quiet", "add", str(inner), "zoo")
    write(project, "recipes/models/zoo.toml", ONNX.format("../../zoo/net.onnx"))
    commit(project)
    assert names(project) == set()
    write(project, "zoo/net.onnx", "second")
    git(project / "zoo", "commit", "--quiet", "--all", "-m", "second")
    assert names(project) == {("board", "zoo"), ("box", "zoo")}
    git(project, "config", "diff.ignoreSubmodules", "all")
    assert names(project) == {("board", "zoo"), ("box", "zoo")}, "whatever somebody's own git leaves out"


def test_what_git_does_not_keep_may_always_have_changed(project: Path, tmp_path: Path) -> None:
    write(project, ".gitignore", "*.npz\n")
    git(project, "rm", "--quiet", "--cached", "recipes/models/code/values.npz")
    (tmp_path / "outside.onnx").write_text("a share")
    (project / "recipes/models/plain.onnx").unlink()
    (project / "recipes/models/plain.onnx").symlink_to(tmp_path / "outside.onnx")
    commit(project)
    found = {(one.job.model.name, *one.why) for one in touched(jobs(project), project, change(project, "HEAD"))}
    assert found == {("torch", project / "recipes/models/code/values.npz"), ("plain", tmp_path / "outside.onnx")}


# --- where git cannot tell -----------------------------------------------------------------------------------------


def test_an_unknown_revision_is_never_taken_for_no_change(project: Path) -> None:
    for since in ("0" * 40, "no-such-branch", "--all", "HEAD:README.md"):
        with pytest.raises(Unknown, match="there is no commit"):
            change(project, since)


def test_a_shallow_clone_says_what_it_lacks(project: Path, tmp_path: Path) -> None:
    first = git(project, "rev-parse", "HEAD").strip()
    commit(project)
    git(tmp_path, "clone", "--quiet", "--depth=1", project.as_uri(), "shallow")
    with pytest.raises(Unknown, match=r"there is no commit '[0-9a-f]{40}' here; this clone is shallow: GIT_DEPTH 0"):
        change(tmp_path / "shallow", first)


def test_histories_without_a_common_commit_cannot_be_compared(project: Path) -> None:
    git(project, "switch", "--quiet", "--orphan", "other")
    commit(project)
    with pytest.raises(Unknown, match="no commit in common"):
        change(project, "main")


def test_a_folder_without_git_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="not a git repository"):
        change(tmp_path, "HEAD")


def test_a_machine_without_git_says_so(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unknown, match="git is not installed"):
        change(project, "HEAD")


# --- whatever is changed -------------------------------------------------------------------------------------------


def identity(root: Path) -> dict[tuple[str, str], Any]:
    """What decides about each job's bytes, read by the code that builds, which knows nothing of git."""
    return {(one.target.name, one.model.name): _identity(one, root) for one in jobs(root)}


def _identity(job: Job, root: Path) -> Any:
    recipe = job.target.recipe
    locked = {*plan.runtimes(job), *image_locks(recipe)}
    kinds = [find_templates(kind, pick.template_folders(root)) for kind in recipe.outputs.templates()]
    return (
        recipe.model_dump_json(),
        job.model.recipe.model_dump_json(),
        {role: tree.files for role, tree in job.trees.items()},
        {name: runtime.find(name, pick.runtime_folders(root)) for name in locked},
        {path.name: digest.of_file(path) for kind in kinds for path in kind.rglob("*") if path.is_file()},
    )


PATHS = sorted({*FILES, *LINKS, *(f"runtimes/{name}/runtime.toml" for name in ("dev", "onnxruntime-1.20.1", "torch"))})


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    edits=st.lists(
        st.tuples(
            st.sampled_from(PATHS), st.sampled_from(["append", "delete", "move", "beside", "link"]), st.sampled_from(PATHS)
        ),
        min_size=1,
        max_size=2,
    )
)
def test_a_job_whose_inputs_changed_is_always_touched(tmp_path_factory: pytest.TempPathFactory, edits: Any) -> None:
    root = make(tmp_path_factory.mktemp("any") / "project")
    before = identity(root)
    for path, how, other in edits:
        edit(root, path, how, other)
    try:
        after = identity(root)
    except (OrtolanError, RecursionError):  # the recipes do not fit any more: ci-jobs ends with that
        assume(False)
        raise
    changed = {name for name, found in after.items() if found != before.get(name)}
    assert changed <= names(root)
    git(root, "add", "--all")
    commit(root)
    assert changed <= names(root, "HEAD~1")


def edit(root: Path, path: str, how: str, other: str) -> None:
    """Something that people do to files."""
    at = root / path
    if how == "append":
        write(root, path, (at.read_text() if at.is_file() else "") + "\n#\n") if not at.is_dir() else write(at, "new.png", "")
    elif how == "beside":
        write(at.parent, f"new{at.suffix}", "new")
    elif at.is_symlink() or at.is_file():
        data = at.read_bytes() if at.is_file() else b""
        at.unlink()
        if how == "move" and not (at.parent / f"moved-{at.name}").exists():
            (at.parent / f"moved-{at.name}").write_bytes(data)
        elif how == "link" and path != other:
            at.symlink_to(os.path.relpath(root / other, at.parent))


def test_every_file_of_this_repository_that_a_job_reads_touches_it() -> None:
    found = jobs(ROOT)
    known = frozenset(path for one in found for path in inputs(one, ROOT.resolve()).files)
    for job in found:
        own = [path for tree in job.trees.values() for path in tree.paths.values()]
        runtimes = [path for name in plan.runtimes(job) for path in (ROOT / "runtimes" / name).iterdir()]
        kinds = [path for kind in job.target.recipe.outputs.templates() for path in (ROOT / "templates" / kind).iterdir()]
        own += [job.target.path, job.model.folder / f"{job.model.name}.toml", *runtimes, *kinds]
        for path in [*own, ROOT / "src" / "ortolan" / "plan.py", ROOT / "requirements.lock", ROOT / "inv"]:
            seen = Change(frozenset({path.resolve()}), known)
            assert [one.job for one in touched([job], ROOT, seen)] == [job], path


def test_the_lock_of_an_image_is_an_input_though_no_step_runs_in_it() -> None:
    found = jobs(ROOT)
    lock = ROOT.resolve() / "runtimes" / "onnxruntime-gpu-1.31.1" / "requirements.txt"
    known = frozenset(path for one in found for path in inputs(one, ROOT.resolve()).files)
    hit = {one.job.target.name for one in touched(found, ROOT.resolve(), Change(frozenset({lock}), known))}
    assert hit == {"x86-cuda"}


def test_a_link_to_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert {tmp_path / "a", tmp_path / "b"} <= set(trail(tmp_path / "a" / "c"))
