"""The pipelines that are written for GitLab: valid by its own schema, the same each time, safe whatever they are made from."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import given as any_of
from hypothesis import strategies as st

from conftest import ROOT
from ortolan import __version__
from ortolan.ci.pipeline import pipeline, starter
from ortolan.errors import OrtolanError
from ortolan.recipe.project import Project
from ortolan.sources import Job
from ortolan.verbs import pick

TEMPLATES, RUNTIMES = [ROOT / "templates"], [ROOT / "runtimes"]
IMAGE = "python:3.11-bookworm"
RESERVED = {
    "image",
    "services",
    "stages",
    "before_script",
    "after_script",
    "variables",
    "cache",
    "include",
    "default",
    "workflow",
}


@functools.lru_cache
def jobs(*targets: str) -> Sequence[Job]:
    return pick.jobs(Project(ROOT), targets or ["x86-cpu"], [])


def child(found: Sequence[Job], root: Path = ROOT, image: str = IMAGE) -> dict[str, Any]:
    return load(pipeline(found, root, TEMPLATES, RUNTIMES, image))


def load(text: bytes) -> dict[str, Any]:
    found = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


def refused(folder: Path, *texts: bytes) -> str:
    """What GitLab's schema has against pipelines; empty where it takes them."""
    paths = [folder / f"{number}.gitlab-ci.yml" for number, _ in enumerate(texts)]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text)
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


# --- valid ---------------------------------------------------------------------------------------------------------


def test_gitlabs_schema_takes_all_of_them(tmp_path: Path) -> None:
    every = pick.jobs(Project(ROOT), Project(ROOT).targets(), [])
    texts = [
        (ROOT / ".gitlab-ci.yml").read_bytes(),
        starter(TEMPLATES),
        pipeline(every, ROOT, TEMPLATES, RUNTIMES, IMAGE),
        pipeline(every, tmp_path, TEMPLATES, RUNTIMES, ""),
        pipeline([], ROOT, TEMPLATES, RUNTIMES, IMAGE),
        pipeline([], tmp_path, TEMPLATES, RUNTIMES, ""),
    ]
    assert refused(tmp_path, *texts) == ""


BROKEN = [
    ("  stage: build", "  stages: build"),
    ("when: manual", "when: by hand"),
    ("max: 2", "max: 20"),
    ("paths: [.cache/pip]", "paths: .cache/pip"),
    ("rules:\n    - if: $CI_COMMIT_TAG", "rules:\n    - on: $CI_COMMIT_TAG"),
]


def test_broken_ones_are_refused(tmp_path: Path) -> None:
    text = pipeline(jobs(), ROOT, TEMPLATES, RUNTIMES, IMAGE).decode()
    assert all(right in text for right, _ in BROKEN)
    said = refused(tmp_path, text.encode(), *(text.replace(right, wrong).encode() for right, wrong in BROKEN))
    assert {number for number in range(len(BROKEN) + 1) if f"{number}.gitlab-ci.yml::" in said} == set(range(1, len(BROKEN) + 1))


def test_nobody_gets_an_empty_pipeline() -> None:
    found = child([])
    assert found["nothing to build"]["script"] == ['echo "no target × model is touched by this change"']


# --- jobs ----------------------------------------------------------------------------------------------------------


def test_each_target_and_model_has_a_job_that_builds_one_that_releases_and_one_that_promotes() -> None:
    every = pick.jobs(Project(ROOT), Project(ROOT).targets(), [])
    names = {f"{verb} {one.name}" for one in every for verb in ("build", "release", "promote")}
    assert set(child(every)) - RESERVED == names
    assert len(names) == 3 * len(every)


def test_what_a_job_builds_is_what_it_leaves_reports_and_hands_on() -> None:
    found = child(jobs())
    build, release, promote = (found[f"{verb} digits for x86-cpu"] for verb in ("build", "release", "promote"))
    assert build["script"] == ["./inv build --target x86-cpu --model digits"]
    assert build["artifacts"]["when"] == "always", "a failed gate is reported too"
    for path in build["artifacts"]["reports"].values():
        assert path in build["after_script"][-1]
    assert release["needs"] == ["build digits for x86-cpu"]
    assert promote["needs"] == ["release digits for x86-cpu"]
    assert found["default"]["image"] == IMAGE
    assert "image" not in child(jobs(), image="")["default"]


def test_only_tags_release_and_only_people_promote() -> None:
    found = child(jobs())
    assert found["release digits for x86-cpu"]["rules"] == [{"if": "$CI_COMMIT_TAG"}]
    assert found["promote digits for x86-cpu"]["rules"] == [{"if": "$CI_COMMIT_TAG", "when": "manual", "allow_failure": True}]
    assert "rules" not in found["build digits for x86-cpu"]


def test_what_is_released_comes_from_the_build_and_from_no_cache() -> None:
    for name, job in child(jobs()).items():
        paths = [path for cache in given(job) for path in cache["paths"]]
        assert name.startswith("build ") or set(paths) <= {".cache/released"}, name


def test_only_what_can_be_done_again_is_interrupted_or_tried_again() -> None:
    found = child(jobs())
    assert {name for name, job in found.items() if "interruptible" in job} == {
        "build digits for x86-cpu",
        "build digits-mlp for x86-cpu",
    }
    for one in (found, load(starter(TEMPLATES)), load((ROOT / ".gitlab-ci.yml").read_bytes())):
        assert set(one["default"]["retry"]["when"]) == {"runner_system_failure", "scheduler_failure"}, (
            "a failed gate stays failed"
        )


# --- caches --------------------------------------------------------------------------------------------------------


def given(job: Any) -> list[dict[str, Any]]:
    """A job's caches: GitLab takes one or a list."""
    found = job.get("cache", []) if isinstance(job, dict) else []
    return found if isinstance(found, list) else [found]


def keys(root: Path, runtimes: Path) -> dict[str, list[str]]:
    text = pipeline(jobs("x86-cpu", "arm64-cpu"), root, TEMPLATES, [runtimes], IMAGE)
    found = {name: given(job) for name, job in load(text).items() if name.startswith("build ")}
    for caches in found.values():
        assert all(path.startswith(".cache/") for cache in caches for path in cache["paths"]), "GitLab caches the checkout only"
        assert len(caches) <= 4, "GitLab allows four"
    return {name.removeprefix("build "): [cache["key"] for cache in caches] for name, caches in found.items()}


def test_caches_are_named_by_the_locks_that_a_job_needs(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("first\n")
    runtimes = shutil.copytree(ROOT / "runtimes", tmp_path / "runtimes")
    before = keys(tmp_path, runtimes)
    assert before == keys(tmp_path, runtimes)
    (runtimes / "torch" / "requirements.txt").write_text("other==1\n")
    after = keys(tmp_path, runtimes)
    changed = {name for name, found in after.items() if found != before[name]}
    assert changed == {"digits for x86-cpu", "digits for arm64-cpu"}
    (tmp_path / "requirements.lock").write_text("second\n")
    for name, found in keys(tmp_path, runtimes).items():
        libraries, pinned, results = zip(found, after[name], strict=True)
        assert libraries[0] != libraries[1]
        assert pinned[0] == pinned[1]
        assert results[0] != results[1]


def test_jobs_with_the_same_runtimes_share_them_and_no_two_share_results(tmp_path: Path) -> None:
    found = keys(tmp_path, ROOT / "runtimes")
    assert found["digits for x86-cpu"][1] != found["digits for arm64-cpu"][1]
    assert len({results for _, _, results in found.values()}) == len(found)
    assert all("/" not in key and len(key) < 250 for caches in found.values() for key in caches)


# --- quoting and templates -----------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@any_of(image=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_whatever_an_image_is_called_is_one_text(image: str) -> None:
    assert child(jobs(), image=image)["default"]["image"] == image
    assert child([], image=image).keys() == child([]).keys()


def test_names_that_mean_something_to_yaml_are_names(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes" / "models", tmp_path / "recipes/models", ignore=shutil.ignore_patterns("__pycache__"))
    names = ["null", "true", "1", "1e3", "0x1f", "2027-01-31", "no", "a.b-c_d", "image", "default"]
    texts = []
    for name in names:
        for kind, one in (("targets", "arm64-cpu"), ("models", "digits-mlp")):
            (tmp_path / "recipes" / kind).mkdir(exist_ok=True)
            shutil.copy(ROOT / f"recipes/{kind}/{one}.toml", tmp_path / f"recipes/{kind}/{name}.toml")
        texts.append(pipeline(pick.jobs(Project(tmp_path), [name], [name]), tmp_path, TEMPLATES, RUNTIMES, ""))
        found = load(texts[-1])
        assert found[f"build {name} for {name}"]["script"] == [f"ortolan build --target {name} --model {name}"]
        assert found[f"release {name} for {name}"]["artifacts"]["paths"] == [f"dist/{name}/"]
    assert refused(tmp_path, *texts) == ""


def test_equal_recipes_give_equal_bytes() -> None:
    assert pipeline(jobs(), ROOT, TEMPLATES, RUNTIMES, IMAGE) == pipeline(jobs(), ROOT, TEMPLATES, RUNTIMES, IMAGE)


def test_a_new_project_asks_for_the_version_that_made_it() -> None:
    assert load(starter(TEMPLATES))["variables"]["ORTOLAN"] == f"ortolan=={__version__}"


def test_both_pipelines_of_a_project_install_alike(tmp_path: Path) -> None:
    own, jobs_ = load(starter(TEMPLATES)), child(jobs(), tmp_path)
    assert own["default"]["before_script"] == jobs_["default"]["before_script"]
    assert own["builds"]["inherit"]["variables"] == ["ORTOLAN"], "what the lines ask for is handed on"


def test_a_project_may_have_templates_of_its_own(tmp_path: Path) -> None:
    mine = shutil.copytree(ROOT / "templates" / "gitlab", tmp_path / "gitlab")
    text = (mine / "jobs.yml.j2").read_text()
    (mine / "jobs.yml.j2").write_text(text.replace("default:\n", "default:\n  tags: [{{ version | yaml_string }}]\n"))
    assert load(pipeline(jobs(), ROOT, [tmp_path, *TEMPLATES], RUNTIMES, ""))["default"]["tags"] == [__version__]
    (mine / "jobs.yml.j2").write_text("image: {{ image }}\n")
    with pytest.raises(OrtolanError, match=r"jobs\.yml\.j2:1: a template cannot be rendered"):
        pipeline(jobs(), ROOT, [tmp_path, *TEMPLATES], RUNTIMES, "python:3")
