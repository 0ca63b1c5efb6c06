"""``doctor`` and ``bench`` as a user runs them: on this machine, on a device over ssh, and on several side by side."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import emulation
import large_models
import manifests
import ssh_device
from conftest import ROOT, Workspace
from device_programs import interpreter
from ortolan import digest
from ortolan.cache import Cache
from ortolan.devices import bench
from ortolan.manifest import StepPart
from ortolan.place import Host
from ortolan.platforms import host_platform
from ortolan.recipe.project import Project
from ortolan.store import Store
from ortolan.verbs.last_builds import file_name
from program import PROGRAM, call, environment
from ssh_device import SshDevice

MODEL = "digits-mlp"
LIMITS = "min_speedup = 1e-6\nmax_latency_ms = 1e6\nmin_fps = 1e-6\nmin_sustained = 1e-6"
PAGE = ROOT / "docs" / "devices.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshDevice]:
    with ssh_device.running(tmp_path_factory.mktemp("device")) as made:
        yield made


@pytest.fixture
def device(server: SshDevice, monkeypatch: pytest.MonkeyPatch) -> SshDevice:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_cache: Cache) -> Workspace:
    """A project with one model built for x86-cpu, in INT8 whatever its speed here; tests only add to it."""
    root = tmp_path_factory.mktemp("built") / "project"
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    workspace = Workspace(root, shared_cache, [])
    workspace.edit("targets/x86-cpu.toml", "[gates]", f"[gates]\n{LIMITS}")
    done = call(workspace, "build", "--target", "x86-cpu", "--model", MODEL)
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace


def fleet(workspace: Workspace, **devices: dict[str, Any]) -> None:
    lines = [f"[device.{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in one.items()) for name, one in devices.items()]
    (workspace.root / "recipes" / "fleet.toml").write_text("\n".join(lines))


def python(version: str) -> str:
    return interpreter(f"onnxruntime-{version}")


# --- doctor -------------------------------------------------------------------------------------------------------------


def test_doctor_tells_of_this_machine_and_of_its_programs(workspace: Workspace) -> None:
    done = call(workspace, "doctor", "--target", "x86-cpu", "--python", python("1.20.1"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^ONNX Runtime +onnxruntime 1\.20\.1 of ", done.stdout, re.MULTILINE)
    assert re.search(r"^provider +CPUExecutionProvider: runs a node$", done.stdout, re.MULTILINE)
    assert re.search(r"\d+ of \d+ programs of the system", done.stdout)
    told = json.loads(call(workspace, "doctor", "--json", "--python", python("1.20.1")).stdout)
    assert told["targets"]["x86-cpu"]["fits"]
    assert not told["targets"]["raspberry-pi-5"]["fits"]
    assert {"program", "package", "use", "path"} == set(told["tools"][0])


def test_doctor_on_a_device_says_what_does_not_fit_and_what_to_do(workspace: Workspace, device: SshDevice) -> None:
    words = ["doctor", "--host", "device", "--python", python("1.17.3")]
    done = call(workspace, *words, "--target", "x86-cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    done = call(workspace, *words, "--target", "intel-openvino", "--target", "raspberry-pi-5")
    assert done.returncode == 1
    assert "-m pip install onnxruntime-openvino==1.24.1" in done.stdout
    assert re.search(r"^raspberry-pi-5 +platform +fail +linux/", done.stdout, re.MULTILINE)
    assert device.jobs() == []


@pytest.mark.usefixtures("device")
def test_doctor_asks_a_fleet_side_by_side_and_one_failure_stops_no_other(workspace: Workspace) -> None:
    fleet(
        workspace,
        good={"host": "device", "target": "x86-cpu", "labels": ["lab"], "python": python("1.20.1")},
        old={"host": "device", "target": "intel-openvino", "labels": ["lab"], "python": python("1.17.3")},
        gone={"host": "no-such-host.invalid", "target": "x86-cpu"},
        bare={"host": "device", "target": "x86-cpu", "python": "no-such-python"},
    )
    done = call(workspace, "doctor", "--host", "all")
    assert done.returncode == 1
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines.keys() == {"good", "old", "gone", "bare"}
    assert lines["good"].startswith("fits x86-cpu")
    assert lines["old"].startswith("does not fit intel-openvino")
    assert lines["gone"].startswith("failed  there is no host of that name")
    assert lines["gone"].endswith("(try check the name, or ~/.ssh/config)")
    assert lines["bare"].startswith("failed  it has no such Python")
    told = json.loads(call(workspace, "doctor", "--host", "all", "--json").stdout)
    assert [one["name"] for one in told] == ["good", "old", "gone", "bare"]
    assert set(told[2]["error"]) == {"what", "where", "why", "hint"}
    assert told[2]["error"]["hint"]
    assert call(workspace, "doctor", "--host", "good").returncode == 0


@pytest.mark.usefixtures("device")
def test_a_slip_of_a_devices_name_is_asked_about(workspace: Workspace) -> None:
    fleet(workspace, kitchen={"host": "device", "target": "x86-cpu"})
    done = call(workspace, "doctor", "--host", "kichen")
    assert done.returncode == 1
    assert "Did you mean kitchen?" in done.stderr
    done = call(workspace, "doctor", "--host", "all", "--target", "x86-cp")
    assert done.returncode == 2
    (workspace.root / "recipes" / "fleet.toml").unlink()
    assert "there are no devices yet" in call(workspace, "doctor", "--host", "all").stderr


# --- bench --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bench_ties_numbers_to_files_and_to_the_machine(built: Workspace, device: SshDevice) -> None:
    words = ["bench", "--target", "x86-cpu", "--model", MODEL, "--seconds", "1", "--json"]
    here = json.loads(call(built, *words).stdout)
    there = json.loads(call(built, *words, "--host", "device", "--python", python("1.31.1")).stdout)
    for (one,), name in ((here, "this-machine"), (there, "device")):
        assert [each["file"] for each in one["results"]] == ["model.onnx", "model.ort", "fp32.onnx"]
        assert [(each["file"], each["against"]) for each in one["comparisons"]] == [
            ("model.onnx", "fp32.onnx"), ("model.ort", "model.onnx"),
        ]  # fmt: skip
        assert all(0 < each["low"] <= each["median"] <= each["high"] for each in one["comparisons"])
        seen = {"latency": "pass", "throughput": "pass", "sustained": "not-run", "int8-faster": "pass"}
        assert {(gate["name"], gate["outcome"], gate["subject"]) for gate in one["gates"]} == {
            (gate, outcome, name) for gate, outcome in seen.items()
        }
        assert next(gate["why"] for gate in one["gates"] if gate["name"] == "sustained").endswith("--seconds 30 or more")
        folder = built.root / "build" / "x86-cpu" / one["tag"]
        assert one["session"] == digest.of_file(folder / "session.json")
        for each in one["results"][:2]:
            assert each["digest"] == digest.of_file(folder / each["file"])
        for each in one["results"]:
            assert each["runtime"] == "1.31.1"
            assert 0 < each["burst"]["p50_ms"] <= each["burst"]["p95_ms"] <= each["burst"]["p99_ms"]
            assert each["sustained"]["ended"] in {"time", "steady", "throttled"}
            assert min(each["cold_start_ms"], each["peak_bytes"], each["sustained"]["per_second"]) > 0
        assert one["device"]["digest"] == here[0]["device"]["digest"], "the same machine, asked in two ways"
        kept = built.root / "build" / "x86-cpu" / "bench" / one["tag"] / f"{name}.json"
        assert json.loads(kept.read_text()) == one
    assert device.jobs() == []


@pytest.mark.slow
@pytest.mark.usefixtures("device")
def test_bench_on_a_fleet_goes_on_where_one_fails(built: Workspace) -> None:
    fleet(
        built,
        good={"host": "device", "target": "x86-cpu", "python": python("1.20.1")},
        bare={"host": "device", "target": "x86-cpu", "python": "/usr/bin/python3"},
        gone={"host": "no-such-host.invalid", "target": "x86-cpu"},
        pi={"host": "device", "target": "raspberry-pi-5"},
    )
    done = call(built, "bench", "--host", "all", "--model", MODEL, "--seconds", "1")
    (built.root / "recipes" / "fleet.toml").unlink()
    assert done.returncode == 1
    assert "gone  failed  there is no host of that name" in done.stdout
    pi = f"pi  failed  {MODEL} for raspberry-pi-5 is not built (try ./inv build --target raspberry-pi-5 --model {MODEL})"
    assert pi in done.stdout.splitlines()
    assert re.search(r"^good +digits-mlp +model\.onnx +int8 .* ms ", done.stdout, re.MULTILINE)
    assert re.search(r"^bare  failed  /usr/bin/\S+ has no ONNX Runtime: .*No module named .*--python", done.stdout, re.MULTILINE)
    assert not list(built.root.glob("build/*/bench/*/bare.json")), "nothing is kept of what did not run"


@pytest.mark.parametrize("verb", ["bench", "tune"])
def test_a_device_that_is_something_else_or_does_not_answer_is_a_record(built: Workspace, verb: str, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(built.root, root, symlinks=True)
    project, words = Workspace(root, built.cache, []), (verb, "--target", "x86-cpu", "--model", MODEL, "--seconds", "1")
    fleet(
        project,
        orin={"host": "orin.invalid", "target": "jetson-orin"},
        gone={"host": "no-such-host.invalid", "target": "x86-cpu"},
    )
    done = call(project, *words, "--host", "all", "--json")
    assert done.returncode == 1
    told = {one["device"]["name"]: one["error"] for one in json.loads(done.stdout)}
    assert told["orin"]["what"] == "is a jetson-orin, not x86-cpu"
    assert told["gone"]["what"].startswith("there is no host of that name")
    assert told["gone"]["hint"]
    done = call(project, *words, "--host", "all")
    assert done.returncode == 1
    assert "orin  failed  is a jetson-orin, not x86-cpu (try --target jetson-orin)" in done.stdout.splitlines()
    done = call(project, *words, "--host", "orin")
    assert (done.returncode, done.stdout) == (1, "")
    assert "orin: is a jetson-orin, not x86-cpu" in done.stderr
    done = call(project, verb, "--host", "orin")
    assert done.returncode == 1
    assert "is not built" in done.stderr


@pytest.mark.parametrize("device", ["pi@pi5", "pi pi5", "emulated:arm64", ".hidden", "@"])
def test_names_of_devices_that_are_no_names_of_files_share_none(device: str) -> None:
    plain = re.sub(r"\W", "-", device).strip("-")
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*-[0-9a-f]{8}", file_name(device))
    assert len({file_name(one) for one in (device, plain, "pi-pi5", "pi_pi5")}) == len({device, plain, "pi-pi5", "pi_pi5"})
    assert file_name("pi-pi5") == "pi-pi5"


def test_models_with_weights_of_their_own_are_timed(tmp_path: Path, device: SshDevice) -> None:
    """Two precisions, each with its own model.onnx.data; a symbolic link would be refused for weights."""
    folder, store = two_files(tmp_path)
    (scratch := tmp_path / "scratch").mkdir()
    wanted = bench.work(folder, store, scratch, 0.2)
    assert [one.weights is not None for one in wanted.subjects] == [True, True]
    for version in ("1.17.3", "1.31.1"):
        found = bench.here(Path(python(version)), wanted)
        assert {name: one.get("error") for name, one in found["models"].items()} == {"model.onnx": None, "fp32.onnx": None}
    there = Host("device", python("1.31.1"))
    with there:
        found = bench.on_host(there, wanted)
    assert {name: one.get("error") for name, one in found["models"].items()} == {"model.onnx": None, "fp32.onnx": None}
    assert {*found["rounds"]} == {"model.onnx", "fp32.onnx"}
    assert device.jobs() == []


def two_files(folder: Path) -> tuple[Path, Store]:
    """A build in two files by hand, and the store that has its other precision: of another size, in two files, too."""
    build, other, store = folder / "build", folder / "other", Store(folder / "store")
    large_models.usual(build, file="model.onnx.data", name="model.onnx", count=2)
    large_models.usual(other, file="model.onnx.data", name="model.onnx")
    (build / "session.json").write_text(json.dumps({"providers": [], "session_options": {}, "config_entries": {}}))
    shape = [1, large_models.WIDTH]
    entry = {"dtype": "float32", "shape": shape, "offset": 0, "size": 4 * shape[1]}
    (build / "golden.json").write_text(json.dumps({"file": "golden.bin", "samples": [{"inputs": {"x": entry}}]}))
    (build / "golden.bin").write_bytes(bytes(4 * shape[1]))
    names = ("model.onnx", "model.onnx.data", "session.json", "golden.json", "golden.bin")
    stored = {path.name: store.put(path).digest for path in sorted(other.iterdir())}
    steps = [
        _step("halve", outputs=stored),
        _step("verify", inputs={"model": stored["model.onnx"]}),
    ]
    made = manifests.manifest(files=names).model_copy(update={"precision": "fp16", "steps": steps})
    (build / "manifest.json").write_text(made.model_dump_json())
    return build, store


def _step(stage: str, **more: dict[str, str]) -> StepPart:
    told: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}} | more
    return StepPart(label=f"net: {stage} fp32", stage=stage, source="", runtime="", cpu=[], key="", params={}, **told)


@pytest.mark.parametrize("verb", ["bench", "tune", "doctor"])
def test_an_interpreter_of_this_machine_that_is_not_there_is_told(built: Workspace, verb: str) -> None:
    done = call(built, verb, *([] if verb == "doctor" else ["--model", MODEL]), "--target", "x86-cpu", "--python", "~/no/python")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no interpreter ~/no/python on this machine" in done.stderr


def test_bench_wants_a_build(workspace: Workspace) -> None:
    done = call(workspace, "bench", "--target", "x86-cpu", "--model", MODEL)
    assert done.returncode == 1
    assert f"./inv build --target x86-cpu --model {MODEL}" in done.stderr


@pytest.mark.slow
def test_a_failed_gate_stops_the_bundle_until_it_is_waived(built: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(built.root, root, symlinks=True)
    project = Workspace(root, built.cache, [])
    project.edit("targets/x86-cpu.toml", "max_latency_ms = 1e6", "max_latency_ms = 1e-6")
    for path in (root / "build" / "x86-cpu" / "bench").glob("*/*"):
        path.unlink()
    bundle, asked = ("bundle", "--target", "x86-cpu", "--sequence", "1"), ("--target", "x86-cpu", "--model", MODEL)
    done = call(project, *bundle)
    assert done.returncode == 0, done.stderr
    assert f"latency (device): not-run: ./inv bench --target x86-cpu --model {MODEL} --host" in done.stdout
    done = call(project, "bench", *asked, "--seconds", "1")
    assert done.returncode == 3
    assert re.search(r"^latency +this-machine +fail +p95 .* ms \(model\.\w+\) +p95 ≤ 1e-06 ms", done.stdout, re.MULTILINE)
    for stopped in (bundle, ("publish", "dist/x86-cpu", "--to", f"file://{tmp_path}/store", "--unsigned")):
        done = call(project, *stopped)
        assert done.returncode == 3
        assert "is too slow for x86-cpu" in done.stderr
    assert call(project, "gates", "--strict").returncode == 3
    words = ("--reason", "the lab's is slow", "--who", "the release manager", "--expires", "2999-01-01")
    assert call(project, "waive", "latency", *asked, *words).returncode == 0
    done = call(project, *bundle)
    assert done.returncode == 0, done.stderr
    assert "latency (this-machine): waived:" in done.stdout
    assert call(project, "bench", *asked, "--seconds", "1").returncode == 0


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_on_the_device(built: Workspace, device: SshDevice) -> None:
    words = [
        "bench",
        "--target",
        "x86-cpu",
        "--model",
        MODEL,
        "--seconds",
        "300",
        "--host",
        "device",
        "--python",
        python("1.20.1"),
    ]
    client = subprocess.Popen(
        [*PROGRAM, *words], cwd=built.root, env=environment(built), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    _eventually(lambda: any("bench.py" in one and "model.onnx" in one for one in device.processes()))
    client.send_signal(signal.SIGINT)
    _, said = client.communicate(timeout=30)
    assert client.returncode == 130, said
    _eventually(lambda: not device.processes() and not device.jobs())


def _eventually(true: Any) -> None:
    late = time.monotonic() + 30
    while not true():
        assert time.monotonic() < late
        time.sleep(0.05)


# --- the page -----------------------------------------------------------------------------------------------------------


WITHOUT = "## Without a device"


@pytest.mark.slow
@pytest.mark.usefixtures("device")
def test_the_page_can_be_followed(built: Workspace) -> None:
    """All commands of docs/devices.md in order; the Pi is the sshd here, and the target that of this machine."""
    text = PAGE.read_text()
    head, _, rest = text.partition(WITHOUT)
    fleet_file = next(one for one in _blocks("toml", text) if one.startswith("[device."))
    devices = fleet_file.partition("[device.none]")[0]
    (built.root / "recipes" / "fleet.toml").write_text(_as_here(devices))
    _follow(built, [*_commands(head), *_commands(rest.partition("\n## ")[2])], 6)
    (built.root / "recipes" / "fleet.toml").unlink()


@pytest.mark.slow
@pytest.mark.skipif(host_platform() == "linux/arm64", reason="no emulated ARM here: this is one")
def test_the_page_can_be_followed_without_a_device(built: Workspace) -> None:
    emulation.arm("onnxruntime-1.31.1")
    _follow(built, _commands(PAGE.read_text().partition(WITHOUT)[2].partition("\n## ")[0]), 2)
    (kept,) = (built.root / "build" / "x86-cpu" / "bench").glob("*/emulated.json")
    told = json.loads(kept.read_text())
    assert told["device"]["emulated"].startswith("cortex-a76 by qemu-aarch64")
    assert told["platform"] == {"wanted": "linux/amd64", "found": "linux/arm64"}
    assert {(gate["outcome"], gate["why"]) for gate in told["gates"]} == {("not-run", "emulated: says nothing of speed")}
    kept.unlink()


def test_the_limits_of_the_page_are_those_of_recipes(workspace: Workspace) -> None:
    (limits,) = (one for one in _blocks("toml", PAGE.read_text()) if one.startswith("[gates]"))
    workspace.edit("targets/x86-cpu.toml", "[gates]", limits)
    assert Project(workspace.root).target("x86-cpu").recipe.gates.max_latency_ms == 20


def _blocks(kind: str, text: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _commands(text: str) -> list[str]:
    return [line for block in _blocks("sh", text) for line in block.splitlines()]


def _follow(project: Workspace, commands: list[str], least: int) -> None:
    assert len(commands) >= least
    (project.root / "inv").write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    (project.root / "inv").chmod(0o755)
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", _as_here(command)], cwd=project.root, env=environment(project),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def _as_here(text: str) -> str:
    changed = {"pi@pi5": "device", "nvidia@orin": "device", "raspberry-pi-5": "x86-cpu", "jetson-orin": "x86-cpu"}
    seconds = {"--seconds 120": "--seconds 1", "--seconds 60": "--seconds 5", "--seconds 2": "--seconds 1"}
    own = {"'~/venv/bin/python'": python("1.31.1"), "~/venv/bin/python": python("1.31.1"), "--model digits": f"--model {MODEL}"}
    for old, new in (changed | seconds | own).items():
        text = text.replace(old, new)
    return text
