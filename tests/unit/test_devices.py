"""What a device tells of itself, read from copies of /proc and /sys; how it is judged; when a bench is steady or throttled."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ortolan.devices
import ortolan.ondevice
import ortolan.place
from conftest import ROOT
from ortolan.devices.describe import need_runtime
from ortolan.devices.fleet import Emulators, by_turns, here, side_by_side, there
from ortolan.devices.judge import Check, fits, judge
from ortolan.devices.tools import TOOLS
from ortolan.errors import OrtolanError
from ortolan.recipe.fleet import NamedDevice
from ortolan.recipe.project import Project
from ortolan.verbs.doctor import pick_devices

REMOTE = Path(ortolan.devices.__file__).parent / "remote"
WORKER = Path(ortolan.place.__file__).parent / "remote" / "worker.py"
PROGRAMS = [WORKER, *sorted(REMOTE.glob("*.py")), *sorted((Path(ortolan.ondevice.__file__).parent / "remote").glob("*.py"))]
CPU, XNNPACK = "CPUExecutionProvider", "XnnpackExecutionProvider"


def module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"remote_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def machine(root: Path, **files: str) -> Any:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return module(REMOTE / "about.py").Machine(root)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_programs_for_devices_are_python_3_8_and_import_nothing_of_ours(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not {name for name in names if name.split(".")[0] in {"numpy", "onnxruntime", "ortolan"}}


# --- what a device is ---------------------------------------------------------------------------------------------------


def test_a_raspberry_pi(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        **{
            "proc__device-tree__model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "etc__os-release": 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            "proc__cpuinfo": "".join(f"processor\t: {n}\nCPU part\t: 0xd0b\n\n" for n in (0, 1)),
            "proc__meminfo": "MemTotal:        8244704 kB\nMemAvailable:    7000000 kB\nSwapTotal:        204784 kB\n",
            "sys__class__thermal__thermal_zone0__temp": "61450\n",
            "sys__class__thermal__thermal_zone0__type": "cpu-thermal\n",
            "sys__class__thermal__thermal_zone0__trip_point_0_type": "critical\n",
            "sys__class__thermal__thermal_zone0__trip_point_0_temp": "110000\n",
            "sys__class__thermal__thermal_zone0__trip_point_1_type": "passive\n",
            "sys__class__thermal__thermal_zone0__trip_point_1_temp": "85000\n",
            "sys__devices__system__cpu__cpufreq__policy0__scaling_cur_freq": "1500000\n",
            "sys__devices__system__cpu__cpufreq__policy0__cpuinfo_max_freq": "2400000\n",
            "sys__devices__system__cpu__cpufreq__policy0__scaling_governor": "ondemand\n",
            "sys__devices__platform__soc@107c000000__soc@107c000000:firmware__get_throttled": "50005\n",
        },
    )
    assert found.board() == "Raspberry Pi 5 Model B Rev 1.0"
    assert found.system() == "Debian GNU/Linux 12 (bookworm)"
    assert found.processor() == {"name": "Cortex-A76", "count": 2, "mhz": 2400}
    assert found.memory()["total"] == 8244704 * 1024
    assert found.thermal() == [{"name": "cpu-thermal", "celsius": 61.45, "limit": 85.0}]
    assert found.clocks() == [{"name": "policy0", "governor": "ondemand", "mhz": 1500, "most": 2400}]
    assert found.throttled() == [
        "under-voltage now", "throttled now", "under-voltage since it was started", "throttled since it was started",
    ]  # fmt: skip
    assert found.jetson() == {"linux": "", "jetpack": ""}


@pytest.mark.parametrize(
    ("package", "jetpack"),
    [("", "6.1"), ("Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 6.1+b123\n", "6.1+b123")],
)
def test_a_jetson(tmp_path: Path, package: str, jetpack: str) -> None:
    release = (
        "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64, DATE: Fri Sep 13 04:36:44 UTC 2024\n"
    )
    found = machine(tmp_path, etc__nv_tegra_release=release, var__lib__dpkg__status=f"Package: other\nVersion: 1\n\n{package}")
    assert found.jetson() == {"linux": "36.4.0", "jetpack": jetpack}


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    found = machine(tmp_path)
    assert (found.board(), found.system(), found.thermal(), found.clocks(), found.throttled()) == ("", "", [], [], [])
    assert found.memory() == {"total": 0, "available": 0, "swap": 0}
    assert found.processor()["mhz"] == 0


# --- how it is judged ---------------------------------------------------------------------------------------------------


def about(
    platform: str = "linux/arm64", version: str = "1.20.1", engines: Any = None, package: str = "onnxruntime", **states: str
) -> Any:
    system, _, architecture = platform.partition("/")
    tried = {name: {"state": state, "why": ""} for name, state in ({CPU: "takes"} | states).items()}
    runtime = {
        "package": package,
        "version": version,
        "opset": 21,
        "api": 20,
        "where": "/v/python",
        "why": "",
        "providers": tried,
    }
    facts = {
        "facts_version": 1,
        "platform": {"os": system, "architecture": architecture, "note": ""},
        "runtime": runtime if version else {"why": "no onnxruntime"},
        "engines": {key: {"values": [value], "why": ""} for key, value in (engines or {}).items()},
        "disk": {"folder": "/home", "free": 10**9},
    }
    asked = {"path": "/home/pi/venv/bin/python", "version": "3.11.2"}
    return {
        "facts": facts,
        "python": asked,
        "pythons": [asked | {"onnxruntime": {}}],
        "processor": {"name": "", "count": 4, "mhz": 0},
    }


def checked(target: str, given: Any) -> dict[str, Check]:
    found = judge(Project(ROOT).target(target), given)
    assert fits(found) == all(one.outcome != "fail" for one in found)
    assert all(one.fix for one in found if one.outcome == "fail"), "what does not fit comes with what to do"
    return {one.name: one for one in found}


def test_a_pi_whose_wheel_has_no_xnnpack_fits_and_is_told() -> None:
    found = checked("raspberry-pi-5", about())
    assert fits(list(found.values()))
    one = found[f"provider {XNNPACK}"]
    assert one.outcome == "warn"
    assert "--use_xnnpack" in one.fix


@pytest.mark.parametrize(
    ("given", "name", "fix"),
    [
        (about("linux/amd64"), "platform", 'platform = "linux/amd64"'),
        (about(version=""), "runtime", "/home/pi/venv/bin/python -m pip install onnxruntime==1.31.1"),
        (about(version="1.18.0"), "runtime", "pip install onnxruntime==1.31.1"),
        (about(**{XNNPACK: "fails"}), f"provider {XNNPACK}", "its libraries or its driver"),
    ],
)
def test_what_does_not_fit_comes_with_a_fix(given: Any, name: str, fix: str) -> None:
    one = checked("raspberry-pi-5", given)[name]
    assert one.outcome == "fail"
    assert fix in one.fix


def test_a_newer_runtime_and_another_package_warn() -> None:
    found = checked("raspberry-pi-5", about(version="1.40.0", package="onnxruntime-gpu"))
    assert found["runtime"].outcome == found["package"].outcome == "warn"
    assert '"1.40.0"' in found["runtime"].fix
    python = "/home/pi/venv/bin/python"
    assert found["package"].fix == f"{python} -m pip uninstall onnxruntime-gpu, then {python} -m pip install onnxruntime"
    assert found[f"provider {XNNPACK}"].fix == "onnxruntime, which may have it: see package"


def test_what_no_index_or_emulation_has_is_not_to_be_installed_from_there() -> None:
    assert "NVIDIA's index" in checked("jetson-orin", about())["package"].fix
    emulated = about(version="1.18.0") | {"emulated": "a Cortex-A76"}
    assert checked("raspberry-pi-5", emulated)["runtime"].fix.startswith("--python onnxruntime-1.31.1")


def test_the_tensorrt_of_a_jetson_is_the_recipes() -> None:
    (name,) = [name for name in checked("jetson-orin", about()) if name.startswith("engine")]
    assert checked("jetson-orin", about(engines={"tensorrt": "10.3.0.30"}))[name].outcome == "pass"
    other = checked("jetson-orin", about(engines={"tensorrt": "8.6.2"}))[name]
    assert other.outcome == "fail"
    assert "JetPack" in other.fix
    assert checked("jetson-orin", about())[name].outcome == "not-run"


def test_a_system_python_takes_no_packages() -> None:
    given = about(version="") | {"python": {"path": "/usr/bin/python3", "version": "3.11.2"}}
    assert checked("raspberry-pi-5", given)["runtime"].fix.startswith("python3 -m venv ~/venv")


def test_another_python_that_has_the_runtime_is_named() -> None:
    other = {"path": "/opt/ml/bin/python3", "version": "3.11.2", "onnxruntime": {"onnxruntime": "1.24.4"}}
    older, dev = other | {"onnxruntime": {"onnxruntime": "1.17.3"}}, other | {"onnxruntime": {"onnxruntime": "1.x"}}
    for found, fix in (([other], "--python /opt/ml/bin/python3, which has onnxruntime 1.24.4"), ([older, dev], "-m pip install")):
        assert fix in checked("raspberry-pi-5", about(version="") | {"pythons": found})["runtime"].fix


def test_more_threads_than_processors_are_told() -> None:
    few = {"processor": {"name": "", "count": 2, "mhz": 0}}
    assert checked("raspberry-pi-5", about())["threads"].outcome == "pass"
    found = checked("raspberry-pi-5", about() | few)["threads"]
    assert (found.outcome, found.measured, found.limit) == ("warn", "2 processors", ">= 4")
    assert "[session] intra_op_num_threads = 2" in found.fix


def test_every_recipe_can_be_judged() -> None:
    project = Project(ROOT)
    for name in project.targets():
        checked(name, about())
        checked(name, about(version=""))


def test_the_programs_of_ci_are_those_that_doctor_looks_for() -> None:
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("programs")]
    wanted = dict(pair.split(":") for line in lines for pair in re.findall(r"[\w+-]+:[\w.+-]+", line))
    assert wanted.items() <= {one.program: one.package for one in TOOLS}.items()


# --- when a run is over -------------------------------------------------------------------------------------------------


def windows(*times: float, heat: Any = None, share: Any = None) -> list[dict[str, Any]]:
    heat = heat if isinstance(heat, list) else [heat] * len(times)
    return [{"p50_ms": one, "celsius": hot, "clock_share": share} for one, hot in zip(times, heat, strict=True)]


def test_a_run_is_steady_when_neither_latency_nor_temperature_moves() -> None:
    steady = module(REMOTE / "bench.py").steady
    assert steady(windows(9, *[1.0, 1.01, 1.0, 1.02, 1.0, 1.01]))
    assert not steady(windows(*[1.0] * 5))
    assert not steady(windows(1.0, 1.0, 1.0, 1.0, 1.0, 1.1))
    assert not steady(windows(*[1.0] * 6, heat=[60.0, 61.0, 62.0, 63.0, 64.0, 65.0]))
    assert steady(windows(*[1.0] * 6, heat=[65.0, 65.5, 65.2, 65.0, 65.4, 65.1]))


def test_a_run_is_throttled_when_it_is_slower_with_a_slower_clock() -> None:
    throttled = module(REMOTE / "bench.py").throttled
    assert throttled(windows(*[1.5] * 6, share=0.6), 1.0)
    assert not throttled(windows(*[1.5] * 6, share=1.0), 1.0)
    assert not throttled(windows(*[1.5] * 6), 1.0)
    assert not throttled(windows(*[1.0] * 6, share=0.6), 1.0)
    assert not throttled(windows(1.0, *[1.5] * 5, share=0.6), 1.0)


def test_percentiles_are_runs_that_were_seen() -> None:
    found = module(REMOTE / "bench.py").summary([one / 1000 for one in range(1, 101)], 2.0)
    keys = ("p50_ms", "p95_ms", "p99_ms", "least_ms", "most_ms")
    assert [found[key] for key in keys] == pytest.approx([50, 95, 99, 1, 100])
    assert (found["per_second"], found["runs"]) == (50.0, 100)
    assert module(REMOTE / "bench.py").summary([0.002], 1.0)["p99_ms"] == 2.0


@given(st.lists(st.lists(st.floats(0.001, 10), min_size=1, max_size=30), min_size=1, max_size=12), st.integers(2, 40))
def test_of_a_long_run_evenly_spread_times_are_kept_and_all_are_counted(windows: list[list[float]], most: int) -> None:
    program, every = module(REMOTE / "bench.py"), [one for window in windows for one in window]
    program.KEPT, kept = most, program.Kept()
    for window in windows:
        kept.add(window, sum(window))
    assert list(kept.times) == every[:: kept.spacing], "as if all had been kept, and then every second one, and again"
    assert len(kept.times) <= most
    whole, found = program.summary(every, sum(every)), kept.summary()
    assert {key: found[key] for key in ("least_ms", "most_ms", "runs")} == {
        key: whole[key] for key in ("least_ms", "most_ms", "runs")
    }
    assert found["per_second"] == pytest.approx(whole["per_second"])
    if kept.spacing == 1:
        assert found["p95_ms"] == whole["p95_ms"]


def test_a_sensor_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    senses = module(REMOTE / "bench.py").Senses(tmp_path)
    assert senses.now() == {"celsius": None, "mhz": None, "clock_share": None}
    machine(
        tmp_path,
        class__thermal__thermal_zone0__temp="40000",
        class__thermal__thermal_zone1__temp="n/a",
        devices__system__cpu__cpufreq__policy0__scaling_cur_freq="600000",
        devices__system__cpu__cpufreq__policy0__cpuinfo_max_freq="1200000",
    )
    assert module(REMOTE / "bench.py").Senses(tmp_path).now() == {"celsius": 40.0, "mhz": 600.0, "clock_share": 0.5}


def test_the_clock_of_a_gpu_counts_once_it_was_used(tmp_path: Path) -> None:
    gpu, idle = "class__devfreq__17000000.gpu__", "class__devfreq__17000000.dla__"
    machine(tmp_path, **{f"{gpu}cur_freq": "306000000", f"{gpu}max_freq": "1020000000"})
    machine(tmp_path, **{f"{idle}cur_freq": "115200000", f"{idle}max_freq": "1600000000"})
    senses, shares = module(REMOTE / "bench.py").Senses(tmp_path), []
    for now, most in ((306000000, 1020000000), (1020000000, 1020000000), (612000000, 612000000)):
        machine(tmp_path, **{f"{gpu}cur_freq": str(now), f"{gpu}max_freq": str(most)})
        shares.append(senses.now()["clock_share"])
    assert shares == [None, 1.0, 0.6], "idle, at work, and throttled: then the kernel lowers what it may have at most, too"


def test_a_path_that_the_shell_made_of_the_home_folder_is_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")  # by which shells expand it, whatever the list of users says
    expanded = {"/home/me/venv/bin/python": "~/venv/bin/python", "~/venv/bin/python": "~/venv/bin/python"}
    for typed, meant in {**expanded, "/home/meg/bin/python": "/home/meg/bin/python", "python3.11": "python3.11"}.items():
        assert there(typed) == meant
    (one,) = pick_devices(Project(ROOT), ["pi@pi5"], "/home/me/venv/bin/python")
    assert one.python == "~/venv/bin/python"


def test_an_interpreter_of_this_machine_is_found_from_wherever_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(python.parent))
    monkeypatch.chdir(tmp_path)
    for named in ("~/venv/bin/python", "venv/bin/python", "./venv/bin/python", "python", str(python)):
        assert here(named) == str(python), "a link is not followed: it is a virtual environment's"
    for missing in ("~/venv/bin/python9", "python9", str(tmp_path)):
        with pytest.raises(OrtolanError, match="there is no interpreter"):
            here(missing)


def test_what_cannot_run_a_model_is_told_before_anything_is_sent() -> None:
    assert need_runtime(about(), "pi5") == about()
    bare = about(version="")
    with pytest.raises(OrtolanError, match=r"pi5: /home/pi/venv/bin/python has no ONNX Runtime\n  why: no onnx(.|\n)*inv doctor"):
        need_runtime(bare, "pi5")
    other = {"path": "/opt/ml/bin/python3", "version": "3.11.2", "onnxruntime": {"onnxruntime": "1.24.4"}}
    with pytest.raises(OrtolanError, match=r"try: name /opt/ml/bin/python3, which has onnxruntime 1\.24\.4: --python"):
        need_runtime(bare | {"pythons": [*bare["pythons"], other]}, "pi5")


def test_devices_of_one_host_are_measured_by_turns() -> None:
    devices = [NamedDevice("a", "pi5"), NamedDevice("b", "pi5", "python3.12"), NamedDevice("c", "orin")]
    at_work, most, together = dict.fromkeys(("pi5", "orin"), 0), dict.fromkeys(("pi5", "orin"), 0), threading.Barrier(2)

    def work(device: NamedDevice, _: object) -> str:
        at_work[device.host] += 1
        most[device.host] = max(most[device.host], at_work[device.host])
        if device.name != "b":
            together.wait(20)  # of two hosts both are at work at once
        time.sleep(0.05)
        at_work[device.host] -= 1
        return device.name

    found = list(side_by_side(devices, Emulators([], Path()), by_turns(devices, work)))
    assert sorted(str(one.value) for one in found) == ["a", "b", "c"]
    assert most == {"pi5": 1, "orin": 1}


def test_a_device_by_its_own_name_is_not_one_of_several(tmp_path: Path) -> None:
    (tmp_path / "recipes" / "targets").mkdir(parents=True)
    (tmp_path / "recipes" / "targets" / "x86-cpu.toml").write_text((ROOT / "recipes" / "targets" / "x86-cpu.toml").read_text())
    devices = "\n".join(f'[device.{name}]\nhost = "{name}"\ntarget = "x86-cpu"\n' for name in ("one", "two"))
    (tmp_path / "recipes" / "fleet.toml").write_text(devices)
    for words in (["two", "all"], ["all", "two"]):
        found = pick_devices(Project(tmp_path), words, "python3.11")
        assert {one.name: (one.group, one.python) for one in found} == {"one": (True, "python3.11"), "two": (False, "python3.11")}


def test_no_page_or_help_lets_the_shell_here_expand_a_home_folder() -> None:
    told = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", *(ROOT / "src" / "ortolan").rglob("*.py")]
    assert not [path for path in told if re.search(r"--python ~", path.read_text())]
