"""Runs the jobs of a GitLab pipeline as a runner does: in a clean checkout, lines in one shell, artifacts and caches between.

Only what our pipelines use is known; anything else in one fails the test. What GitLab's own server takes is checked by its
schema, not here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_GLOBAL = {"workflow", "stages", "variables", "default"}
_KNOWN = {
    "stage", "script", "before_script", "after_script", "rules", "needs", "artifacts", "cache", "image", "interruptible", "retry",
    "resource_group", "variables", "trigger", "inherit",
}  # fmt: skip
_TERM = re.compile(r'(\$\w+)(?:\s*==\s*(\$\w+|"[^"]*"))?')


@dataclass
class Ran:
    """A job that ran: its lines, what it printed, and how it ended."""

    name: str
    lines: Sequence[str]
    said: str
    code: int
    after: str = ""


@dataclass
class Runner:
    """A machine with one checkout. ``predefined`` are the variables that GitLab sets; ``kept`` holds artifacts and caches.

    ``replace`` may put other lines for those of a job, for tests that would run themselves.
    """

    checkout: Path
    kept: Path
    predefined: Mapping[str, str]
    host: Mapping[str, str]
    replace: Callable[[str, list[str]], list[str]] = field(default=lambda _, lines: lines)
    ran: list[Ran] = field(default_factory=list)
    seeds: dict[str, Path] = field(default_factory=dict)

    def pipeline(self, text: str, inherited: Mapping[str, str] | None = None) -> None:
        """Run the jobs by stage, and a child pipeline where it is triggered; AssertionError at the first that fails."""
        found = yaml.safe_load(text)
        variables = {**{k: str(v) for k, v in found.get("variables", {}).items()}, **(inherited or {})}
        jobs = {name: job for name, job in found.items() if name not in _GLOBAL}
        if "workflow" in found and not self._included(found["workflow"]["rules"], variables):
            return
        stages = found.get("stages", [])
        for name, job in sorted(jobs.items(), key=lambda pair: stages.index(pair[1]["stage"])):
            assert set(job) <= _KNOWN, f"{name} has {set(job) - _KNOWN}, which this runner does not know"
            if self._included(job.get("rules", [{}]), variables):
                self._run(name, {**found.get("default", {}), **job}, variables, jobs)

    def seed(self, path: str, to: Path) -> None:
        """Let ``path`` in the checkout lead to a folder of this machine in every job, as a cache that is always hit."""
        self.seeds[path] = to

    def _run(self, name: str, job: Mapping[str, Any], variables: Mapping[str, str], jobs: Mapping[str, Any]) -> None:
        self._clean()
        if "trigger" in job:
            (include,) = job["trigger"]["include"]
            handed = job.get("inherit", {}).get("variables", True)
            names = list(variables) if handed is True else handed or []
            child = self.kept / "artifacts" / include["job"] / include["artifact"]
            self.pipeline(child.read_text(), {one: variables[one] for one in names})
            return
        earlier = [other for other, one in jobs.items() if "trigger" not in one and other != name]
        for needed in job.get("needs", earlier):
            self._restore(self.kept / "artifacts" / needed)
        for cache in _caches(job):
            self._restore(self.kept / "caches" / self._key(cache))
        for path, to in self.seeds.items():
            (self.checkout / path).parent.mkdir(parents=True, exist_ok=True)
            (self.checkout / path).symlink_to(to)
        env = self._environment(name, job, variables)
        lines = self.replace(name, [*job.get("before_script", []), *job["script"]])
        code, said = self._shell(lines, env)
        done = Ran(name, lines, said, code)
        if "after_script" in job:
            done.after = self._shell(job["after_script"], env)[1]
        self.ran.append(done)
        self._keep(name, job)
        assert code == 0, f"{name} exits with {code}:\n{said}"

    def _clean(self) -> None:
        """``GIT_CLEAN_FLAGS`` of a runner: what is ignored goes too, but here the installed libraries stay, to save minutes."""
        subprocess.run(["git", "clean", "-q", "-ffdx", "--exclude=/.venv"], cwd=self.checkout, check=True)

    def _environment(self, name: str, job: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
        image = {"CI_JOB_IMAGE": job["image"]} if "image" in job else {}
        own = {key: str(value) for key, value in job.get("variables", {}).items()}
        given = {**self.predefined, **image, "CI_JOB_NAME": name}
        written = {key: re.sub(r"\$(\w+)", lambda m: given.get(m[1], ""), value) for key, value in {**variables, **own}.items()}
        return {**self.host, **written, **given}

    def _shell(self, lines: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
        """As the runner's bash: errors end it, also in pipes, and there is nobody to ask."""
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", "\n".join(lines)], cwd=self.checkout, env=dict(env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _included(self, rules: Sequence[Mapping[str, Any]], variables: Mapping[str, str]) -> bool:
        return any(self._holds(rule, {**variables, **self.predefined}) for rule in rules)

    def _holds(self, rule: Mapping[str, Any], known: Mapping[str, str]) -> bool:
        """``if: $A``, ``if: $A == $B`` and ``exists``; what waits for somebody is started by somebody."""
        assert set(rule) <= {"if", "exists", "when", "allow_failure"}, rule
        there = all(any(self.checkout.glob(pattern)) for pattern in rule.get("exists", []))
        match = _TERM.fullmatch(rule["if"]) if "if" in rule else None
        assert match or "if" not in rule, rule
        values = [
            known.get(term[1:], "") if term.startswith("$") else term[1:-1] for term in (match.groups() if match else ()) if term
        ]
        return there and (not match or (bool(values[0]) if len(values) == 1 else values[0] == values[1]))

    def _keep(self, name: str, job: Mapping[str, Any]) -> None:
        artifacts = job.get("artifacts", {})
        reports = list(artifacts.get("reports", {}).values())
        for path in [*artifacts.get("paths", []), *reports]:
            assert (self.checkout / path).exists(), f"{name} left no {path}, which it says it does"
            self._copy(self.checkout / path, self.kept / "artifacts" / name / path)
        for cache in _caches(job):
            for path in cache["paths"]:
                if (self.checkout / path).exists() and path not in self.seeds:
                    self._copy(self.checkout / path, self.kept / "caches" / self._key(cache) / path)

    def _key(self, cache: Mapping[str, Any]) -> str:
        key = cache["key"]
        return key if isinstance(key, str) else "-".join(key["files"]).replace("/", "-")

    def _restore(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if path.is_symlink() or path.is_file():
                self._copy(path, self.checkout / path.relative_to(folder))

    def _copy(self, path: Path, to: Path) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            to.symlink_to(path.readlink())
        elif path.is_dir():
            shutil.copytree(path, to, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(path, to)


def _caches(job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = job.get("cache", [])
    return found if isinstance(found, list) else [found]


def host(home: Path) -> dict[str, str]:
    """The environment of an empty machine: nothing of the user's but the settings of pip, as .ci/run has it."""
    settings = Path.home() / ".config" / "pip" / "pip.conf"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PYTEST_", "PYTHON", "CI", "GIT"))}
    found = {"PIP_CONFIG_FILE": str(settings)} if settings.exists() and "PIP_CONFIG_FILE" not in kept else {}
    return {**kept, **found, "HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull}
