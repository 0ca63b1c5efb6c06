"""Reports of gates for CI systems: what failed, was waived or did not run, whatever texts they hold."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import ROOT
from ortolan.artifact import Gate, Outcome
from ortolan.ci.records import Record, records
from ortolan.errors import OrtolanError
from ortolan.report.code_quality import code_quality
from ortolan.report.junit import junit, plain

PASS = Gate("size", "shipped", Outcome.PASS, "70,976 B", "≤ 128,000,000 B")
FAIL = Gate("size", "shipped", Outcome.FAIL, "70,976 B", "≤ 1 B", "it is too large")
WAIVED = Gate("accuracy", "int8", Outcome.WAIVED, "0.98 → 0.92", "drop ≤ 0.01", "waived by A until 2027-01-31: EDGE-17")
UNSEEN = Gate("int8-faster", "int8", Outcome.NOT_RUN, "", "≥ 1.1×", "this machine is linux/amd64, the target is linux/arm64")
TAG = "digits-5f3c9a1b2c4d-opset17-ort1.20.1"


def record(*gates: Gate, ok: bool = True, errors: tuple[str, ...] = (), target: str = "x86-cpu") -> Record:
    return Record(target, "digits", ok, TAG, gates, errors)


def suites(*given: Record) -> list[ET.Element]:
    return list(ET.fromstring(junit(given)))


def words(case: ET.Element) -> str:
    return str(case.findtext("system-out"))


# --- JUnit ---------------------------------------------------------------------------------------------------------


def test_every_outcome_is_told_as_what_it_is() -> None:
    (suite,) = suites(record(PASS, FAIL, WAIVED, UNSEEN, ok=False))
    assert suite.attrib == {"name": "digits for x86-cpu", "tests": "4", "failures": "1", "errors": "0", "skipped": "2"}
    passed, failed, waived, unseen = suite
    assert [child.tag for child in passed] == ["system-out"]
    assert words(passed) == "pass; measured 70,976 B; limit ≤ 128,000,000 B"
    assert failed.find("failure").attrib["message"] == "fail; measured 70,976 B; limit ≤ 1 B; it is too large"  # type: ignore[union-attr]
    assert waived.find("skipped").attrib["message"] == "waived: waived by A until 2027-01-31: EDGE-17"  # type: ignore[union-attr]
    assert "EDGE-17" in words(waived)
    assert unseen.find("skipped").attrib["message"].startswith("not run: this machine is linux/amd64")  # type: ignore[union-attr]
    assert {case.attrib["classname"] for case in suite} == {"x86-cpu.digits"}


def test_an_error_that_ended_a_build_is_a_case() -> None:
    (suite,) = suites(record(ok=False, errors=("digits: export: it broke\n  why: no reason", "another")))
    assert suite.attrib["errors"] == "2"
    assert [case.find("error").attrib["message"] for case in suite] == ["digits: export: it broke", "another"]  # type: ignore[union-attr]
    assert suite[0].findtext("error") == "digits: export: it broke\n  why: no reason"


def test_a_build_that_left_nothing_is_never_a_success() -> None:
    (suite,) = suites(record(PASS, ok=False))
    assert suite.attrib["errors"] == "1"


def test_each_build_has_a_suite_and_the_whole_is_their_sum() -> None:
    text = junit([record(PASS, FAIL, ok=False), record(PASS, UNSEEN, target="web")])
    top = ET.fromstring(text)
    assert top.attrib == {"name": "ortolan", "tests": "4", "failures": "1", "errors": "0", "skipped": "1"}
    assert [suite.attrib["name"] for suite in top] == ["digits for x86-cpu", "digits for web"]


def test_another_program_reads_it(tmp_path: Path) -> None:
    program = shutil.which("junitparser")
    assert program, "junitparser is not installed; .ci/run names its package"
    for name, one, code in (("good", record(PASS, UNSEEN, WAIVED), 0), ("bad", record(FAIL, ok=False), 1)):
        (tmp_path / f"{name}.xml").write_bytes(junit([one]))
        assert subprocess.run([program, "verify", tmp_path / f"{name}.xml"], check=False).returncode == code
    subprocess.run([program, "merge", *(str(tmp_path / f"{name}.xml") for name in ("good", "bad", "both"))], check=True)
    counts = ET.parse(tmp_path / "both.xml").getroot().attrib
    assert (counts["tests"], counts["failures"], counts["skipped"]) == ("4", "1", "2")


texts = st.text(st.characters(), max_size=40)  # half pairs and control characters too
gates = st.builds(Gate, texts, texts, st.sampled_from(list(Outcome)), texts, texts, texts)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(found=st.lists(gates, max_size=4), errors=st.lists(texts, max_size=2), ok=st.booleans())
def test_any_text_stands_in_both_reports_and_changes_no_count(found: list[Gate], errors: list[str], ok: bool) -> None:
    given = Record("x86-cpu", "digits", ok, TAG, found, errors)
    (suite,) = suites(given)
    cases = list(suite)
    assert [case.attrib["name"] for case in cases[: len(found)]] == [plain(f"{gate.name} ({gate.subject})") for gate in found]
    assert int(suite.attrib["failures"]) == sum(gate.outcome is Outcome.FAIL for gate in found)
    assert int(suite.attrib["errors"]) == len(errors) + (not ok and not given.failed)
    for gate, case in zip(found, cases, strict=False):
        assert plain(gate.why) in words(case)
    entries = json.loads(code_quality([given], ROOT, ROOT))
    assert len(entries) == len(errors) + sum(gate.outcome in {Outcome.FAIL, Outcome.WAIVED} for gate in found)


# --- Code Quality --------------------------------------------------------------------------------------------------


def quality(*given: Record, root: Path = ROOT) -> list[dict[str, Any]]:
    found = json.loads(code_quality(given, root, ROOT))
    for one in found:  # what GitLab's documentation asks for
        assert set(one) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert one["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert not Path(one["location"]["path"]).is_absolute()
        assert one["location"]["lines"]["begin"] >= 1
    return list(found)


def line(path: str, text: str) -> int:
    return next(number for number, found in enumerate((ROOT / path).read_text().splitlines(), 1) if found.startswith(text))


def test_only_failures_and_waivers_are_findings() -> None:
    assert quality(record(PASS, UNSEEN)) == []
    assert [one["severity"] for one in quality(record(FAIL, WAIVED, ok=False))] == ["critical", "minor"]
    assert [one["severity"] for one in quality(record(FAIL))] == ["major"], "what ships is not what failed"
    assert [one["severity"] for one in quality(record(ok=False, errors=("broken\n  why: so",)))] == ["blocker"]


def test_a_finding_stands_where_the_limit_is_written() -> None:
    target, model = "recipes/targets/x86-cpu.toml", "recipes/models/digits.toml"
    parity = Gate("parity@1.20.1", "fp32", Outcome.FAIL)
    agreement = Gate("agreement", "int8", Outcome.FAIL)
    strange = Gate("of-tomorrow", "int8", Outcome.FAIL)
    found = [one["location"] for one in quality(record(FAIL, WAIVED, parity, agreement, strange))]
    assert found == [
        {"path": target, "lines": {"begin": line(target, "max_size")}},
        {"path": model, "lines": {"begin": line(model, "max_drop")}},
        {"path": model, "lines": {"begin": line(model, "[parity]")}},
        {"path": target, "lines": {"begin": line(target, "[gates]")}},  # a default, so the table it would stand in
        {"path": target, "lines": {"begin": 1}},
    ]


def test_every_gate_that_a_recipe_limits_has_its_line() -> None:
    """The gates of real builds, as the golden file of one has them."""
    lines_ = (ROOT / "tests/golden/digits-mlp.raspberry-pi-5.gates.txt").read_text().splitlines()[1:]
    found = [Gate(text.split()[0], "int8", Outcome.FAIL) for text in lines_ if text.split()]
    at_first = {
        one["check_name"] for one in quality(record(*found, target="raspberry-pi-5")) if one["location"]["lines"]["begin"] == 1
    }
    assert at_first <= {"ortolan/valid", "ortolan/on-device", "ortolan/sane"}, "no recipe sets a limit for these"


def test_a_fingerprint_outlives_the_measured_value_and_tells_all_else_apart() -> None:
    (first,), (again,) = quality(record(FAIL)), quality(record(Gate("size", "shipped", Outcome.FAIL, "9 B", "≤ 2 B")))
    assert first["fingerprint"] == again["fingerprint"]
    others = quality(record(FAIL, Gate("size", "int8", Outcome.FAIL), WAIVED, target="web", errors=("a", "b")))
    prints = [one["fingerprint"] for one in [first, *others]]
    assert len(set(prints)) == len(prints)


def test_a_recipe_that_is_gone_is_its_first_line(tmp_path: Path) -> None:
    found = json.loads(code_quality([record(FAIL)], tmp_path, tmp_path))
    assert found[0]["location"] == {"path": "recipes/targets/x86-cpu.toml", "lines": {"begin": 1}}


# --- records -------------------------------------------------------------------------------------------------------


def write(output: Path, target: str, model: str, text: str) -> None:
    (output / target).mkdir(parents=True, exist_ok=True)
    (output / target / f"{model}.json").write_text(text)


def test_records_are_picked_by_name(tmp_path: Path) -> None:
    told = json.dumps({"ok": True, "tag": TAG, "gates": [], "errors": [], "steps": {}})
    for target, model in (("web", "digits"), ("web", "net"), ("ios", "digits")):
        write(tmp_path, target, model, told)
    assert [one.name for one in records(tmp_path, [], [])] == ["digits for ios", "digits for web", "net for web"]
    assert [one.name for one in records(tmp_path, ["web"], ["digits"])] == ["digits for web"]
    with pytest.raises(OrtolanError, match=r"no build of the target 'wep'\. Did you mean web\?"):
        records(tmp_path, ["wep"], [])
    with pytest.raises(OrtolanError, match="nothing that is asked for was built"):
        records(tmp_path, ["ios"], ["net"])


def test_the_record_of_an_image_is_none_of_a_build(tmp_path: Path) -> None:
    told = json.dumps({"ok": True, "tag": TAG, "gates": [], "errors": []})
    write(tmp_path, "web", "net.image", told)
    write(tmp_path, "web", f"{TAG}.image", '{"id": "sha256:0"}')
    assert [one.name for one in records(tmp_path, [], [])] == ["net.image for web"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ok": true, "tag": "", "errors": [], "gates": [{"name": "size"}]}'])
def test_a_record_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    write(tmp_path, "web", "digits", text)
    with pytest.raises(OrtolanError, match=r"web/digits\.json: not the record of a build"):
        records(tmp_path, [], [])
