"""Preflight: the rules that a manifest gives, and the judge that measures a device's facts against them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from device_programs import PREFLIGHT, SELFTEST, checks, module, run
from manifests import manifest
from ortolan import preflight
from ortolan.manifest import ArtifactPart, Manifest, PreflightPart, TargetPart

PROGRAM = module(PREFLIGHT)
CPU, QNN, RTX = "CPUExecutionProvider", "QNNExecutionProvider", "NvTensorRTRTXExecutionProvider"


# --- the rules of a manifest ---------------------------------------------------------------------------------------


def artifact(name: str, size: int = 10, **about: str) -> ArtifactPart:
    return ArtifactPart(name=name, digest="sha256:0", size=size, media_type="x", about=about)


def target(*providers: str) -> TargetPart:
    return TargetPart(
        name="device", recipe="recipe:0", platform="linux/arm64", package="onnxruntime", versions=["1.20.1", "1.31.1"], opset=17,
        providers=list(providers),
    )  # fmt: skip


def test_rules_are_the_targets_and_count_every_byte() -> None:
    found = preflight.rules(target(CPU), [artifact("model.onnx", 7), artifact("session.json", 5)], {})
    assert (found.platform, found.package, found.oldest, found.api, found.opset) == (
        "linux/arm64", "onnxruntime", "1.20.1", 20, 17,
    )  # fmt: skip
    assert (found.size, preflight.grown(found, 100).size) == (12, 112)


def test_the_last_provider_is_required_and_one_that_alone_opens_an_artifact() -> None:
    def required(*files: ArtifactPart) -> list[str]:
        found = preflight.rules(target(QNN, RTX, CPU), files, {"model_ctx.onnx": QNN, "model-sm86.engine": RTX})
        return [one.name for one in found.providers if one.required]

    assert required(artifact("model.onnx")) == [CPU]
    assert required(artifact("model-sm86.engine", compute_capability="SM86")) == [CPU]
    assert required(artifact("model_ctx.onnx", soc="SM8650")) == [QNN, CPU]


def test_engines_are_what_says_of_itself_what_it_is_for() -> None:
    files = [artifact("model_ctx.onnx", soc="SM8650"), artifact("web.json", web="1"), artifact("plain.bin")]
    found = preflight.rules(target(QNN, CPU), files, {"model_ctx.onnx": QNN, "plain.bin": QNN, "web.json": ""})
    assert [(one.file, one.provider, one.about) for one in found.engines] == [("model_ctx.onnx", QNN, {"soc": "SM8650"})]


def test_the_program_reads_what_the_manifest_writes() -> None:
    made = manifest()
    rules, newest = PROGRAM.rules_of(json.loads(made.to_bytes()))
    assert rules == made.preflight.model_dump()
    assert newest == "1.17.3"
    assert set(PROGRAM.RULES) == set(PreflightPart.model_fields)


# --- what is no rule and no fact ------------------------------------------------------------------------------------


def raw() -> Any:
    """A manifest of an engine for three GPUs, as JSON."""
    made = manifest(providers={RTX: {}, CPU: {}})
    engines = [
        {"file": f"model-sm{n}.engine", "provider": RTX, "about": {"compute_capability": f"SM{n}", "tensorrt_rtx": "1.7.1.116"}}
        for n in (86, 89, 120)
    ]
    found = json.loads(made.to_bytes())
    found["preflight"]["engines"] = engines
    return found


@pytest.mark.parametrize("key", sorted(PROGRAM.RULES))
def test_a_rule_that_is_missing_or_of_another_type_is_named(key: str) -> None:
    fine: list[Any] = ["1.2"] if PROGRAM.RULES[key] is str else [[]]
    odds: list[Any] = [None, [], {}, "1.2", -1, True, 1.5, [[]], [{}]]
    for odd in odds:
        given = raw()
        given["preflight"][key] = odd
        if odd in fine and PROGRAM.RULES[key] is not int:
            continue
        with pytest.raises(PROGRAM.CannotJudge, match=rf"preflight\.{key}"):
            PROGRAM.rules_of(given)
    given = raw()
    del given["preflight"][key]
    with pytest.raises(PROGRAM.CannotJudge, match=rf"preflight\.{key} is missing"):
        PROGRAM.rules_of(given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"manifest_version": 2}, "manifest_version is 2"),
        ({"preflight": None}, "preflight is null"),
        ({"target": {}}, r"target\.versions is null"),
        ({"target": {"versions": ["new"]}}, "'new', not a version"),
    ],
)
def test_what_is_no_manifest_of_ours_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(PROGRAM.CannotJudge, match=said):
        PROGRAM.rules_of(raw() | change)


def test_rules_of_a_newer_kind_and_rules_twice_are_refused() -> None:
    given = raw()
    given["preflight"]["colour"] = "red"
    with pytest.raises(PROGRAM.CannotJudge, match=r"colour is not known: this preflight\.py may be too old"):
        PROGRAM.rules_of(given)
    for key in ("providers", "engines"):
        given = raw()
        given["preflight"][key].append(given["preflight"][key][0])
        with pytest.raises(PROGRAM.CannotJudge, match=f"{key} has .* twice"):
            PROGRAM.rules_of(given)
    given = raw()
    given["preflight"]["oldest"] = "old"
    with pytest.raises(PROGRAM.CannotJudge, match="'old', not a version"):
        PROGRAM.rules_of(given)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PROGRAM.RULES, *PROGRAM.FACTS]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    for read in (PROGRAM.rules_of, PROGRAM.facts_of, lambda one: PROGRAM.rules_of(raw() | {"preflight": one})):
        with suppress(PROGRAM.CannotJudge):
            read(value)


@pytest.mark.parametrize(
    "data", [b"", b"[", b"\xff\xfe", b'{"a": 1, "a": 2}', b"[" * 200_000, b"{}", b"[]", b"null", b'"text"', b"\x00" * 100]
)
def test_garbage_is_one_line_and_exit_code_2(data: bytes) -> None:
    done = run(PREFLIGHT, "--manifest", "-", "--json", given=data)
    assert done.returncode == 2
    assert done.stderr.startswith(b"preflight: cannot judge: ")
    assert done.stderr.count(b"\n") == 1
    told = json.loads(done.stdout)
    assert (told["fits"], told["checks"]) == (False, [])
    assert told["error"]


@pytest.mark.parametrize("words", [["--colour"], ["--python", "a", "--library", "b"], ["--timeout", "0"], ["--timeout", "x"]])
def test_another_command_line_is_exit_code_2(words: list[str]) -> None:
    done = run(PREFLIGHT, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: ")


@pytest.mark.parametrize(
    "data", [b"{}", b"[]", b'{"facts_version": 2}', b'{"facts_version": 1, "disk": {"free": "much"}}', b"\xff"]
)
def test_what_are_no_facts_of_a_device_is_exit_code_2(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "device.json").write_bytes(data)
    (tmp_path / "manifest.json").write_bytes(manifest().to_bytes())
    for device in ("device.json", "gone.json"):
        done = run(PREFLIGHT, "--manifest", tmp_path / "manifest.json", "--device", tmp_path / device)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.count(b"\n") == 1


# --- judging ---------------------------------------------------------------------------------------------------------


def perfect(rules: Any) -> Any:
    """The facts of a device that the rules describe, with one GPU of each kind."""
    engines: dict[str, Any] = {}
    for one in rules["engines"]:
        for key, value in one["about"].items():
            engines.setdefault(key, {"values": [], "why": ""})["values"].append(PROGRAM._wish(key, {key: value}))
    system, _, architecture = rules["platform"].partition("/")
    return {
        "facts_version": 1,
        "platform": {"os": system, "architecture": architecture, "note": ""},
        "runtime": {
            "where": "", "package": rules["package"], "version": rules["oldest"], "api": rules["api"], "opset": rules["opset"],
            "why": "", "providers": {one["name"]: {"state": "takes", "why": ""} for one in rules["providers"]},
        },
        "engines": engines,
        "disk": {"folder": "/", "free": 2 * rules["size"] + PROGRAM.ROOM},
    }  # fmt: skip


def judged(given: Any, facts: Any) -> dict[str, Any]:
    """The checks by name."""
    found = PROGRAM.judge(*PROGRAM.rules_of(given), facts)
    assert len({one["name"] for one in found}) == len(found)
    return {one["name"]: one for one in found}


def test_a_device_that_is_what_the_rules_say_fits_strictly() -> None:
    found = judged(raw(), perfect(raw()["preflight"]))
    assert PROGRAM.fits(PROGRAM.strict(list(found.values()))), found
    assert list(found) == [
        "platform", "runtime", "package", "api", "opset", f"provider {RTX}", f"provider {CPU}",
        "engine model-sm86.engine or model-sm89.engine or model-sm120.engine", "disk",
    ]  # fmt: skip


ENGINE = "engine model-sm86.engine or model-sm89.engine or model-sm120.engine"


@pytest.mark.parametrize(
    ("place", "value", "name", "outcome", "said"),
    [
        (("platform", "architecture"), "arm64", "platform", "fail", "linux/arm64"),
        (("platform", "os"), "windows", "platform", "fail", "windows/amd64"),
        (("platform",), {"os": "", "architecture": "", "note": ""}, "platform", "not-run", "not known"),
        (("runtime", "version"), "1.16.3", "runtime", "fail", "older than 1.17.3"),
        (("runtime", "version"), "1.17.2", "runtime", "fail", "older than 1.17.3"),
        (("runtime", "version"), "1.18.0", "runtime", "warn", "newer than 1.17.3"),
        (("runtime", "version"), "nightly", "runtime", "not-run", "not known"),
        (("runtime", "package"), "onnxruntime-gpu", "package", "warn", "another package"),
        (("runtime", "api"), 16, "api", "fail", "GetApi"),
        (("runtime", "api"), 0, "api", "pass", "17, by its version"),
        (("runtime", "opset"), 16, "opset", "fail", "above 16"),
        (("runtime", "opset"), 0, "opset", "pass", "20 or more, by its version"),
        (("runtime", "providers", CPU, "state"), "fails", f"provider {CPU}", "fail", "does not work"),
        (("runtime", "providers", RTX, "state"), "fails", f"provider {RTX}", "fail", "does not work"),
        (("runtime", "providers", RTX, "state"), "opens", f"provider {RTX}", "pass", "took no node"),
        (("runtime", "providers", RTX, "state"), "listed", f"provider {RTX}", "not-run", "not tried"),
        (("runtime", "providers"), {CPU: {"state": "takes", "why": ""}}, f"provider {RTX}", "warn", f"fall to {CPU}"),
        (("runtime", "providers"), {RTX: {"state": "takes", "why": ""}}, f"provider {CPU}", "fail", "not in this ONNX Runtime"),
        (("runtime", "providers"), {}, f"provider {CPU}", "not-run", "could not be asked"),
        (("engines", "compute_capability", "values"), ["7.5"], ENGINE, "fail", "compute_capability is 7.5, not 8.6"),
        (("engines", "compute_capability", "values"), ["7.5", "8.9"], ENGINE, "pass", "7.5 and 8.9"),
        (("engines", "tensorrt_rtx", "values"), ["1.8.0.1"], ENGINE, "fail", "tensorrt_rtx is 1.8.0.1, not 1.7.1.116"),
        (("engines", "tensorrt_rtx", "values"), ["1.7.1"], ENGINE, "pass", "1.7.1"),
        (("engines", "tensorrt_rtx"), {"values": [], "why": "no library"}, ENGINE, "not-run", "tensorrt_rtx: no library"),
        (("engines",), {}, ENGINE, "not-run", "not known"),
        (("disk", "free"), 0, "disk", "fail", "0 B free"),
        (("disk",), {"folder": "", "free": 0}, "disk", "not-run", "not known"),
    ],
)
def test_one_thing_that_is_otherwise_is_one_check(place: tuple[str, ...], value: Any, name: str, outcome: str, said: str) -> None:
    facts = perfect(raw()["preflight"])
    part = facts
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    found = judged(raw(), facts)
    assert found[name]["outcome"] == outcome
    assert said in " ".join(found[name].values())
    if place != ("runtime", "providers"):
        others = {key: one["outcome"] for key, one in found.items() if key != name}
        assert set(others.values()) == {"pass"}
    assert PROGRAM.fits(list(found.values())) is (outcome != "fail")
    assert PROGRAM.fits(PROGRAM.strict(list(found.values()))) is (outcome == "pass")


def test_no_runtime_is_a_failure_with_what_was_tried_but_in_an_app_nobody_can_ask() -> None:
    facts = PROGRAM.facts_of({"facts_version": 1, "runtime": {"why": "python3: no onnxruntime"}})
    assert judged(raw(), facts)["runtime"]["outcome"] == "fail"
    assert judged(raw(), facts)["runtime"]["why"] == "python3: no onnxruntime"
    given = raw()
    given["preflight"]["package"] = "onnxruntime-android"
    assert judged(given, facts)["runtime"]["outcome"] == "not-run"


def test_a_bundle_for_browsers_asks_a_device_for_room_alone() -> None:
    made = manifest(package="onnxruntime-web", platform="web", files=["model.web.onnx"])
    found = judged(json.loads(made.to_bytes()), PROGRAM.facts_of({"facts_version": 1, "disk": {"folder": "/", "free": 0}}))
    assert {name: one["outcome"] for name, one in found.items()} == {"platform": "not-run", "runtime": "not-run", "disk": "fail"}


@pytest.mark.parametrize(
    ("key", "wanted", "found", "good"),
    [
        ("soc", "SM8650", "sm8650", True), ("soc", "SM8650", "SM8750", False),
        ("openvino", "2026.4.1-22982-e213a147257-releases/2026/4", "2026.4.1", True),
        ("openvino", "2026.4.1-22982", "2025.4.1", False), ("openvino", "2026.4.1", "2027.0.0", True),
        ("onnxruntime-qnn", "2.7.0", "2.6.1", False), ("onnxruntime-qnn", "2.7.0", "2.10.0", True),
        ("tensorrt", "10.3", "10.3.0.30", True), ("tensorrt", "10.3", "10.13.2", False), ("tensorrt", "10.3", "?", False),
        ("compute_capability", "SM120", "12.0", True), ("compute_capability", "SM87", "8.6", False),
        ("isa", "avx512_core", "AVX512_CORE", True),
    ],
)  # fmt: skip
def test_what_engines_say_is_compared_as_its_maker_compares_it(key: str, wanted: str, found: str, good: bool) -> None:
    assert PROGRAM.COMPARED[key](wanted, found) is good
    assert set(PROGRAM.COMPARED) == set(PROGRAM.IDENTITY)


def test_an_engine_for_another_snapdragon_names_both() -> None:
    given = raw()
    given["preflight"]["engines"] = [{"file": "model_ctx.onnx", "provider": QNN, "about": {"soc": "SM8650", "htp_arch": "75"}}]
    facts = perfect(given["preflight"])
    assert judged(given, facts)["engine model_ctx.onnx"]["outcome"] == "pass"
    facts["engines"]["soc"]["values"] = ["SM8750"]
    found = judged(given, facts)["engine model_ctx.onnx"]
    assert (found["outcome"], found["measured"], found["limit"]) == ("fail", "soc SM8750", "soc SM8650")
    assert found["why"] == "made for another device: soc is SM8750, not SM8650"


def of(form: Any) -> st.SearchStrategy[Any]:
    """Anything of this form."""
    if isinstance(form, list):
        return st.lists(of(form[0]), max_size=3)
    if isinstance(form, dict) and PROGRAM.ANY in form:
        return st.dictionaries(WORDS, of(form[PROGRAM.ANY]), max_size=4)
    if isinstance(form, dict):
        return st.fixed_dictionaries({key: of(one) for key, one in form.items()})
    return {str: WORDS | st.text(max_size=5), int: st.integers(0, 10**12), bool: st.booleans()}[form]


WORDS = st.sampled_from(
    [
        "", CPU, QNN, RTX, "soc", "compute_capability", "tensorrt", "SM86", "8.6", "1.17.3", "1.31.1", "10.3", "linux", "arm64",
        "web", "linux/arm64", "onnxruntime", "onnxruntime-web", "onnxruntime-android", "a", "b",
    ]
)  # fmt: skip
STATE = st.sampled_from(sorted(PROGRAM.OUTCOMES))
VERSION = st.sampled_from(["1.16.0", "1.17.3", "1.20.1", "1.31.1", "2.0"])


@st.composite
def rules(draw: st.DrawFn) -> tuple[Any, str]:
    """Rules that the program accepts, and the newest version that they were checked in."""
    found = draw(of(PROGRAM.RULES)) | {"oldest": draw(VERSION)}
    preflighted = raw() | {"preflight": found, "target": {"versions": [draw(VERSION)]}}
    try:
        accepted: tuple[Any, str] = PROGRAM.rules_of(preflighted)
    except PROGRAM.CannotJudge:
        assume(False)
    return accepted


@st.composite
def facts(draw: st.DrawFn) -> Any:
    """Facts that the program accepts."""
    found = draw(of(PROGRAM.FACTS)) | {"facts_version": 1}
    found["runtime"]["version"] = draw(VERSION | WORDS)
    found["runtime"]["providers"] = {name: one | {"state": draw(STATE)} for name, one in found["runtime"]["providers"].items()}
    assert PROGRAM.facts_of(json.loads(json.dumps(found))) == found
    return found


@given(given=rules(), found=facts())
@settings(max_examples=100, deadline=None)
def test_every_device_is_judged_and_the_same_way_each_time(given: tuple[Any, str], found: Any) -> None:
    before = deepcopy((given, found))
    said = PROGRAM.judge(*given, found)
    assert (given, found) == before
    assert PROGRAM.judge(*given, found) == said
    assert json.loads(json.dumps(said)) == said
    assert all(one["outcome"] in {"pass", "fail", "warn", "not-run"} for one in said)
    assert all(isinstance(text, str) for one in said for text in one.values())
    assert all(one["why"] or one["measured"] for one in said if one["outcome"] != "pass")
    strictly = PROGRAM.strict(said)
    assert {one["outcome"] for one in strictly} <= {"pass", "fail"}
    assert PROGRAM.fits(strictly) <= PROGRAM.fits(said)
    assert PROGRAM.fits(said) == all(one["outcome"] != "fail" for one in said)


@given(given=rules(), found=facts(), more=st.integers(0, 10**13))
@settings(max_examples=60, deadline=None)
def test_more_room_never_hurts(given: tuple[Any, str], found: Any, more: int) -> None:
    roomy = found | {"disk": found["disk"] | {"free": found["disk"]["free"] + more}}
    assert PROGRAM.fits(PROGRAM.judge(*given, found)) <= PROGRAM.fits(PROGRAM.judge(*given, roomy))


@given(given=rules())
@settings(max_examples=60, deadline=None)
def test_what_nothing_is_known_of_passes_nothing(given: tuple[Any, str]) -> None:
    assume(given[0]["opset"] > 0)
    said = PROGRAM.judge(*given, PROGRAM.facts_of({"facts_version": 1}))
    assert {one["outcome"] for one in said} == {"not-run"}


def test_a_server_decides_with_facts_that_an_app_wrote(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(manifest().to_bytes())
    told = {"facts_version": 1, "platform": {"os": "linux", "architecture": "amd64"}, "runtime": {"version": "1.17.3"}}
    (tmp_path / "device.json").write_text(json.dumps(told))
    done = run(PREFLIGHT, "--manifest", tmp_path / "manifest.json", "--device", tmp_path / "device.json", "--json")
    assert done.returncode == 0
    found = checks(done)
    assert {name: one["outcome"] for name, one in found.items()} == {
        "platform": "pass", "runtime": "pass", "api": "pass", "opset": "pass", f"provider {CPU}": "not-run", "disk": "not-run",
    }  # fmt: skip
    strictly = run(PREFLIGHT, "--manifest", tmp_path / "manifest.json", "--device", tmp_path / "device.json", "--strict")
    assert strictly.returncode == 1
    assert strictly.stdout.splitlines()[-1].startswith(b"does not fit: provider ")


# --- the programs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PREFLIGHT, SELFTEST], ids=lambda path: path.name)
def test_they_are_programs_for_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))
    command = [sys.executable, "-m", "ruff", "check", "--target-version", "py38", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert path.stat().st_mode & 0o111
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert imported <= sys.stdlib_module_names


def test_help_has_examples() -> None:
    done = run(PREFLIGHT, "--help")
    assert done.returncode == 0
    assert b"preflight.py --manifest manifest.json --device device.json" in done.stdout


def test_every_manifest_has_rules_and_old_ones_are_refused() -> None:
    assert Manifest.model_fields["preflight"].is_required()


def test_an_answer_that_nobody_reads_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, PREFLIGHT, "--manifest", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, said = process.communicate(manifest(platform="web", package="onnxruntime-web").to_bytes())
    assert b"Traceback" not in said
    assert process.returncode == 2


# --- a bundle that brings its own ONNX Runtime ------------------------------------------------------------------------


def bringing(glibc: str = "2.34") -> Any:
    """A manifest with a reduced library among its artifacts."""
    found = json.loads(manifest().to_bytes())
    about = {"glibc": glibc, "onnxruntime": "1.21.0"} if glibc else {}
    library = {"name": "libonnxruntime.so", "digest": "sha256:0", "size": 9, "media_type": "x", "about": about}
    return found | {"artifacts": [*found["artifacts"], library]}


def of_own(glibc: str, note: str, **runtime: Any) -> dict[str, Any]:
    """The check of ONNX Runtime on a device with this C library, and nothing else to ask."""
    rules, newest = PROGRAM.rules_of(bringing(glibc))
    facts = PROGRAM.facts_of({"facts_version": 1, "platform": {"os": "linux", "architecture": "amd64", "note": note}})
    facts["runtime"].update(runtime)
    found = {one["name"]: one for one in PROGRAM.judge(rules, newest, facts)}
    assert "package" not in found
    assert not [name for name in found if name.startswith("provider")]
    result: dict[str, Any] = found["runtime"]
    return result


@pytest.mark.parametrize(
    ("glibc", "note", "outcome", "measured"),
    [
        ("2.34", "glibc 2.36", "pass", "glibc 2.36"),
        ("2.34", "glibc 2.31", "fail", "glibc 2.31"),
        ("2.9", "glibc 2.31", "pass", "glibc 2.31"),
        ("2.34", "musl", "fail", "musl"),
        ("2.34", "", "not-run", ""),
        ("", "glibc 2.36", "not-run", ""),
    ],
)
def test_a_bundles_own_library_needs_the_c_library_alone(glibc: str, note: str, outcome: str, measured: str) -> None:
    found = of_own(glibc, note, why="no onnxruntime in /usr/bin/python3")
    assert (found["outcome"], found["measured"]) == (outcome, measured)
    assert "the device needs no ONNX Runtime" in found["why"]


def test_what_is_asked_for_by_name_is_judged_all_the_same() -> None:
    rules, newest = PROGRAM.rules_of(bringing())
    facts = PROGRAM.facts_of({"facts_version": 1})
    facts["runtime"].update(version="1.16.3", asked=True)
    found = {one["name"]: one for one in PROGRAM.judge(rules, newest, facts)}
    assert (found["runtime"]["outcome"], found["runtime"]["measured"]) == ("fail", "1.16.3")


@pytest.mark.parametrize(
    "change", [{"artifacts": 1}, {"artifacts": [1]}, {"artifacts": [{"name": "libonnxruntime.so", "about": {"glibc": 1}}]}]
)
def test_artifacts_that_are_none_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PROGRAM.CannotJudge):
        PROGRAM.rules_of(raw() | change)
