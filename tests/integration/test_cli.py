"""The console program as people and other programs use it: help, lists, exit codes, errors, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke.parser import Parser

from conftest import ROOT, Workspace
from ortolan.cli import namespace
from program import PROGRAM, call, environment

VERBS = sorted(namespace.task_names)
TARGETS = sorted(path.stem for path in (ROOT / "recipes" / "targets").glob("*.toml"))
ALONE = {"targets", "models", "clean", "waivers"}  # verbs that need no example: one does not have to say anything to them
BUILD = ("build", "--target", "arm64-cpu", "--model", "digits-mlp", "--no-emulation")


# --- help ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["--list"], [], ["build", "--help"], ["show", "--help"], ["runtime-add", "-h"]])
def test_help_comes_from_anywhere(workspace: Workspace, words: list[str]) -> None:
    done = call(workspace, *words, cwd=Path("/"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_list_has_every_verb_with_a_line_of_its_own(workspace: Workspace) -> None:
    said = call(workspace, "--list").stdout
    for verb in VERBS:
        assert re.search(rf"^  {verb} +[A-Z]", said, re.MULTILINE), verb


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_what_it_does_and_shows_how(verb: str) -> None:
    task = namespace[verb]
    examples = [line.strip() for line in str(task.__doc__).splitlines() if line.startswith(("    ./inv ", "    ortolan "))]
    assert examples or verb in ALONE
    for example in examples:
        words = example.split()[1:]
        assert words[0] == verb
        (parsed,) = Parser(contexts=namespace.to_contexts()).parse_argv(words)
        assert parsed.name == verb
        assert not parsed.missing_positional_args


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(workspace: Workspace, verb: str) -> None:
    said = call(workspace, "--help", verb).stdout.partition("Options:\n")[2]
    options = [line for line in said.splitlines() if line.startswith("  -")]
    assert all(re.search(r"\S   +\S", line) for line in options), said
    assert options or verb in {"clean", "targets"}


# --- lists ---------------------------------------------------------------------------------------------------------


def test_targets_and_models_are_listed(workspace: Workspace) -> None:
    assert [line.split()[0] for line in call(workspace, "targets").stdout.splitlines()] == ["target", *TARGETS]
    rows = json.loads(call(workspace, "targets", "--json").stdout)
    assert [(row["target"], row["opset"]) for row in rows] == [(name, "17") for name in TARGETS]
    assert [line.split()[0] for line in call(workspace, "models").stdout.splitlines()] == ["model", "digits", "digits-mlp"]
    assert [row["source"] for row in json.loads(call(workspace, "models", "--json").stdout)] == ["pytorch", "onnx"]


def test_it_works_from_a_folder_inside_the_project(workspace: Workspace) -> None:
    inside = workspace.root / "recipes" / "models"
    assert call(workspace, "models", cwd=inside).stdout == call(workspace, "models").stdout


def test_schemas_are_printed_or_written(workspace: Workspace, tmp_path: Path) -> None:
    printed = json.loads(call(workspace, "schema").stdout)
    done = call(workspace, "schema", "--out", str(tmp_path / "new" / "schemas"), cwd=Path("/"))
    assert done.returncode == 0
    files = [Path(line) for line in done.stdout.splitlines()]
    assert {file.name.partition(".")[0]: json.loads(file.read_text()) for file in files} == printed
    assert set(printed) == {"target", "model", "fleet", "manifest"}


def test_a_terminal_without_unicode_gets_question_marks_and_no_traceback(workspace: Workspace) -> None:
    done = call(workspace, "models", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "8?8" in done.stdout


def test_a_reader_that_leaves_is_no_error(workspace: Workspace) -> None:
    command = f"(sleep 0.5; exec {' '.join(PROGRAM)} schema) | :; echo ${{PIPESTATUS[0]}}"  # the reader has surely left
    done = subprocess.run(
        ["bash", "-c", command], cwd=workspace.root, env=environment(workspace), capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


# --- init ----------------------------------------------------------------------------------------------------------


def test_init_makes_a_project_that_works(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    done = call(workspace, "init", "--folder", str(folder), cwd=Path("/"))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(str(path) for path in folder.rglob("*") if path.is_file())
    assert {path.name for path in folder.iterdir()} == {"recipes", ".gitignore", ".gitlab-ci.yml", "requirements.lock"}
    assert "/build/\n" in (folder / ".gitignore").read_text()
    assert [line.split()[0] for line in call(workspace, "models", cwd=folder).stdout.splitlines()[1:]] == ["digits", "digits-mlp"]
    assert [line.split()[0] for line in call(workspace, "targets", cwd=folder).stdout.splitlines()[1:]] == TARGETS


def test_init_here_keeps_what_is_there(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    mine = [tmp_path / "new" / name for name in (".gitignore", ".gitlab-ci.yml", "requirements.lock")]
    for path in mine:
        path.write_text("mine\n")
    made = call(workspace, "init", cwd=tmp_path / "new")
    assert made.returncode == 0
    assert [path.read_text() for path in mine] == ["mine\n"] * 3
    assert not {path.name for path in mine} & {Path(line).name for line in made.stdout.splitlines()}
    again = call(workspace, "init", cwd=tmp_path / "new")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "error: recipes: there is a recipes folder already\n  try: choose another folder\n"


# --- errors --------------------------------------------------------------------------------------------------------


def mistaken(workspace: Workspace) -> None:
    workspace.edit("targets/x86-cpu.toml", "[quantize]", "[quantise]")


def too_large(workspace: Workspace) -> None:
    workspace.edit("targets/arm64-cpu.toml", "64 MB", "1 B")


def no_model(workspace: Workspace) -> None:
    (workspace.root / "recipes/models/digits-mlp.onnx").write_bytes(b"no model")


def no_runtime(workspace: Workspace) -> None:
    workspace.edit("targets/arm64-cpu.toml", '"1.20.1", "1.31.1"', '"1.20.2"')


def nothing(_: Workspace) -> None:
    return


Change = Callable[[Workspace], None]
ERRORS: list[tuple[Change, tuple[str, ...], int, str]] = [
    (nothing, ("build",), 2, "which target?"),
    (nothing, ("build", "--target", "raspberry-pi5"), 2, "Did you mean raspberry-pi-5?"),
    (nothing, ("build", "--target", "toaster"), 2, "There are: android-arm64"),
    (nothing, ("build", "--target", "x86-cpu", "--model", "digit"), 2, "Did you mean digits?"),
    (nothing, ("build", "--target", "x86-cpu", "--model", "recipes/models/digits-mpl.onnx"), 2, "Did you mean digits-mlp.onnx?"),
    (mistaken, ("build", "--target", "x86-cpu", "--model", "digits-mlp"), 2, "Did you mean quantize?"),
    (too_large, BUILD, 3, ""),
    (no_model, BUILD, 1, "digits-mlp: import onnx: "),
    (no_runtime, BUILD, 1, "Did you mean onnxruntime-1.20.1?"),
    (nothing, (*BUILD, "--jobs", "0"), 1, "--jobs wants a number, 1 or more"),
    (nothing, ("reproduce", *BUILD[1:5], "--jobs", "0"), 1, "--jobs wants a number, 1 or more"),
    (nothing, (*BUILD, "--jobs", "many"), 1, "--jobs wants a number, 1 or more"),
    (nothing, (*BUILD, "--cache", "recipes/targets/x86-cpu.toml"), 1, "x86-cpu.toml"),
    (nothing, ("show", "digits"), 1, "nothing is built yet"),
    (nothing, ("why", "--target", "x86-cpu"), 1, "there is no build to compare with"),
    (nothing, ("runtime-add", "numpy"), 1, "write it like onnxruntime==1.22.1"),
    (nothing, ("schema", "--out", "/proc/nowhere"), 1, "/proc/nowhere"),
    (nothing, ("bild",), 1, "No idea what 'bild' is!"),
    (nothing, ("build", "--targt", "x"), 1, "No idea what '--targt' is!"),
    (nothing, ("show",), 1, "'show' did not receive required positional arguments: 'tag'"),
]


@pytest.mark.parametrize(("change", "words", "code", "text"), ERRORS)
def test_an_error_is_one_message_on_stderr_and_an_exit_code(
    workspace: Workspace, change: Change, words: tuple[str, ...], code: int, text: str
) -> None:
    change(workspace)
    done = call(workspace, *words)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((workspace.root / "build").glob("*/*/manifest.json"))


def test_a_mistake_in_a_recipe_is_told_with_its_line(workspace: Workspace) -> None:
    mistaken(workspace)
    line = (workspace.root / "recipes/targets/x86-cpu.toml").read_text().splitlines().index("[quantise]") + 1
    assert f"recipes/targets/x86-cpu.toml:{line}: " in call(workspace, "build", "--target", "x86-cpu").stderr


def test_outside_a_project_the_hint_is_how_to_make_one(workspace: Workspace) -> None:
    done = call(workspace, "targets", cwd=Path("/"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "ortolan init makes one here" in done.stderr


# --- a build and its manifest --------------------------------------------------------------------------------------


def test_json_is_one_object_in_each_line(workspace: Workspace) -> None:
    done = call(workspace, *BUILD, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert next(line["kind"] for line in lines if line["kind"] != "runtime") == "plan"  # runtimes are made first
    assert [line["kind"] for line in lines].count("built") == 1
    built = lines[-1]
    assert (built["ok"], built["model"], built["target"]) == (True, "digits-mlp", "arm64-cpu")
    assert Path(built["folder"]) == workspace.root / "build" / "arm64-cpu" / built["tag"]
    assert {gate["outcome"] for gate in built["gates"]} == {"pass", "not-run"}


def test_json_of_a_build_that_fails(workspace: Workspace) -> None:
    no_model(workspace)
    done = call(workspace, *BUILD, "--target", "raspberry-pi-5", "--json")
    built = [line for line in map(json.loads, done.stdout.splitlines()) if line["kind"] == "built"]
    assert done.returncode == 1
    assert [(line["target"], line["ok"], line["folder"]) for line in built] == [
        ("arm64-cpu", False, ""), ("raspberry-pi-5", False, ""),
    ]  # fmt: skip
    assert built[0]["errors"] == built[1]["errors"]
    assert done.stderr.count("error: ") == 1, "one mistake, told once"


def test_an_earlier_build_of_a_tag_that_now_fails_is_pointed_at(workspace: Workspace) -> None:
    first = call(workspace, "build", "--target", "raspberry-pi-5", "--model", "digits-mlp", "--no-emulation")
    assert first.returncode == 0, first.stderr
    workspace.edit("targets/raspberry-pi-5.toml", 'max_size = "32 MB"', 'max_size = "1 kB"')
    second = call(workspace, "build", "--target", "raspberry-pi-5", "--model", "digits-mlp", "--no-emulation")
    assert second.returncode == 3
    assert "is an earlier build of this tag" in second.stdout


def test_a_target_named_twice_is_built_once(workspace: Workspace) -> None:
    said = call(workspace, *BUILD, "--target", "arm64-cpu", "--model", "digits-mlp").stdout
    assert said.count("digits-mlp for arm64-cpu\n") == 1


def test_show_prints_a_manifest_and_marks_damage(workspace: Workspace) -> None:
    call(workspace, *BUILD)
    (path,) = (workspace.root / "build").glob("*/*/manifest.json")
    tag = path.parent.name
    said = call(workspace, "show", tag)
    assert said.stdout.startswith(f"{tag} for arm64-cpu\n")
    assert "DAMAGED" not in said.stdout
    assert json.loads(call(workspace, "show", tag, "--json").stdout) == json.loads(path.read_text())
    (path.parent / "session.json").write_text("{}")
    assert re.search(r"^session\.json .*  DAMAGED: build again$", call(workspace, "show", tag).stdout, re.MULTILINE)
    near = call(workspace, "show", tag.replace("ort1.20.1", "ort1.20.0"))
    assert (near.returncode, f"try: ./inv show {tag}" in near.stderr) == (1, True)


def test_a_tag_of_two_targets_is_one_json_document(workspace: Workspace) -> None:
    recipes = workspace.root / "recipes" / "targets"
    (recipes / "another.toml").write_bytes((recipes / "arm64-cpu.toml").read_bytes())
    workspace.edit("targets/another.toml", "64 MB", "65 MB")
    assert call(workspace, *BUILD, "--target", "another").returncode == 0
    paths = sorted((workspace.root / "build").glob("*/*/manifest.json"))
    (tag,) = {path.parent.name for path in paths}
    assert json.loads(call(workspace, "show", tag, "--json").stdout) == [json.loads(path.read_text()) for path in paths]


def test_runtimes_are_looked_for_in_the_cache_that_is_named(workspace: Workspace, tmp_path: Path) -> None:
    here, elsewhere = [
        {row["runtime"]: row["state"] for row in json.loads(call(workspace, "runtimes", "--json", *words).stdout)}
        for words in ((), ("--cache", str(tmp_path / "empty")))
    ]
    assert here.keys() == elsewhere.keys()
    assert len(set(elsewhere.values())) == 1, "none is made there"
    assert here != elsewhere


# --- Ctrl-C --------------------------------------------------------------------------------------------------------

LONG = ("build", "--target", "arm64-cpu", "--model", "digits", "--no-emulation")


def working_in(folder: Path) -> list[int]:
    """The processes whose folder lies below this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = (process / "cwd").readlink()
        except OSError:
            continue  # it has ended meanwhile
        if where.is_relative_to(folder):
            found.append(int(process.name))
    return found


def wait_for(seen: Callable[[], object], seconds: float = 60) -> None:
    """Until something is true."""
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")
def test_an_interrupt_ends_a_build_and_all_that_it_started(own_cache: Workspace) -> None:
    work = own_cache.cache.work
    with subprocess.Popen(
        [*PROGRAM, *LONG, "--json"],
        cwd=own_cache.root,
        env=environment(own_cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(lambda: working_in(work))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert err == "stopped: nothing half-made was left; the next build goes on from here\n"
    ended = [line for line in map(json.loads, out.splitlines()) if line["kind"] == "failed"]
    assert {line["text"] for line in ended} <= {"was stopped"}, "nothing else is wrong"
    assert working_in(work) == []
    assert list(work.iterdir()) == []
    assert list((own_cache.cache.store / "parts").glob("[0-9]*-*")) == []
    assert not (own_cache.root / "build").exists() or not list((own_cache.root / "build").glob("*/*"))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")
def test_ctrl_c_on_a_terminal_ends_a_build_and_leaves_the_terminal_right(own_cache: Workspace) -> None:
    work, env = own_cache.cache.work, environment(own_cache, TERM="xterm-256color", COLUMNS="120")
    process, master = pty.fork()
    if not process:
        os.chdir(own_cache.root)
        os.execve(PROGRAM[0], [*PROGRAM, *LONG], env)
    os.set_blocking(master, False)
    seen = bytearray()

    def drawn(text: bytes) -> bool:
        seen.extend(read(master))
        return text in seen

    wait_for(lambda: drawn(b"export pytorch") and working_in(work))
    os.write(master, b"\x03")
    wait_for(lambda: drawn(b"stopped: nothing half-made was left"))
    _, status = os.waitpid(process, 0)
    os.close(master)
    assert os.waitstatus_to_exitcode(status) == 130
    assert "━".encode() in seen, "a bar"
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l"), "the cursor is shown again"
    assert working_in(work) == []
    assert b"Traceback" not in seen


def read(master: int) -> bytes:
    """What has been written to a terminal meanwhile."""
    try:
        return os.read(master, 65536)
    except OSError:
        return b""
