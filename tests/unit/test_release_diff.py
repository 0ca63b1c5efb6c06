"""Comparisons of hand-made builds and releases: what each change is called, how grave it is, and how it is printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from conftest import ROOT
from delta_releases import release
from manifests import manifest, tensor
from ortolan import digest
from ortolan.artifact import Outcome
from ortolan.errors import OrtolanError
from ortolan.events import Event
from ortolan.manifest import (
    ArtifactPart,
    EnginePart,
    GatePart,
    Manifest,
    NeededProvider,
    PackagePart,
    ProviderPart,
    RuntimePart,
    TensorPart,
    WaiverPart,
)
from ortolan.release import delta, layout
from ortolan.release.compare import Bytes, Change, Comparison, Level, compare, find, load, told
from ortolan.report.diff import markdown, text
from ortolan.report.tables import one_line
from ortolan.verbs import diff as verb

GOLDEN = ROOT / "tests" / "golden"
TODAY = date(2027, 1, 15)
CPU, GPU = "CPUExecutionProvider", "CUDAExecutionProvider"
HASH = ["sha256:" + letter * 64 for letter in "0123456789abcdef"]


def net(base: Manifest | None = None, **parts: Any) -> Manifest:
    """The manifest of ``tests/manifests.py`` with other parts."""
    return (base or manifest()).model_copy(update=parts)


def within(part: str, base: Manifest | None = None, **fields: Any) -> Manifest:
    """One with other fields in one part."""
    whole = base or manifest()
    return net(whole, **{part: getattr(whole, part).model_copy(update=fields)})


def gate(
    name: str, outcome: str = "pass", measured: str = "", limit: str = "", subject: str = "shipped", why: str = ""
) -> GatePart:
    return GatePart(name=name, subject=subject, outcome=Outcome(outcome), measured=measured, limit=limit, why=why)


def covered(ops: Mapping[str, int], shares: Mapping[str, float], partitions: int = 1) -> bytes:
    """A ``coverage.json`` with these operators, and these shares of the multiply-accumulates by provider."""
    nodes = [{"op": op.rpartition(":")[2], "domain": op.rpartition(":")[0]} for op, count in ops.items() for _ in range(count)]
    providers = [{"name": n, "node_share": s, "mac_share": s, "levels": {"runs": 3}, "source": "x"} for n, s in shares.items()]
    return json.dumps({"nodes": nodes, "providers": providers, "partitions": partitions}).encode()


class Folders:
    """Builds and releases in a project."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0

    def build(self, made: Manifest, coverage: bytes = b"", timings: Mapping[str, Any] | None = None) -> Path:
        self.count += 1
        folder = self.root / "build" / made.target.name / f"{self.count}"
        folder.mkdir(parents=True)
        if coverage:
            part = ArtifactPart(name="coverage.json", digest=digest.of_bytes(coverage), size=len(coverage), media_type="")
            made = net(made, artifacts=[*made.artifacts, part])
            (folder / "coverage.json").write_bytes(coverage)
        (folder / "manifest.json").write_bytes(made.to_bytes())
        if timings:
            (folder / "measurements.json").write_text(json.dumps(timings))
        return folder

    def release(self, made: Manifest, files: Mapping[str, bytes], sequence: int, *, plain: bool = False) -> Path:
        """A release of these files, which become the manifest's artifacts."""
        self.count += 1
        parts = [ArtifactPart(name=n, digest=digest.of_bytes(d), size=len(d), media_type="") for n, d in files.items()]
        data = net(made, artifacts=parts).to_bytes()
        folder = self.root / "dist" / made.target.name / f"{self.count}"
        release(
            folder, {**files, "manifest.json": data}, sequence=sequence, name=(made.model.name, made.target.name), plain=plain
        )
        about = json.loads((folder / layout.DESCRIPTION).read_text())
        (folder / layout.DESCRIPTION).write_text(json.dumps(about | {"manifest": digest.of_bytes(data), "tag": made.tag}))
        (folder / "manifest.json").write_bytes(data)
        return folder

    def compare(self, old: Path, new: Path) -> Comparison:
        return compare(load(self.root, old), load(self.root, new), TODAY)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def between(folders: Folders) -> Callable[[Manifest, Manifest], Comparison]:
    return lambda old, new: folders.compare(folders.build(old), folders.build(new))


Between = Callable[[Manifest, Manifest], Comparison]


def changes(found: Comparison, name: str) -> dict[str, Change]:
    (group,) = [group for group in found.groups if group.name == name]
    return {change.what: change for change in group.changes}


# --- verdicts ------------------------------------------------------------------------------------------------------


def test_the_same_build_has_not_changed(between: Between) -> None:
    found = between(manifest(), manifest())
    assert (found.verdict, found.text, found.bytes.files) == ("same", "nothing changed", 0)
    assert not [group.name for group in found.groups if group.changes]


def test_what_callers_do_not_notice_is_compatible(between: Between) -> None:
    found = between(manifest(), manifest(licence="MIT"))
    assert (found.verdict, found.text) == ("compatible", "compatible: inputs and outputs unchanged")
    assert changes(found, "identity") == {"licence": Change("licence", "Apache-2.0", "MIT")}


def test_the_verdict_is_the_gravest_change_and_counts_the_others(between: Between) -> None:
    old = net(gates=[gate("size"), gate("partitions")])
    worse = net(gates=[gate("size", "fail", why="too large"), gate("partitions", "not-run")])
    assert between(old, worse).text == "regression: size of shipped pass → fail (and 1 more)"
    broken = net(manifest(outputs=[tensor("y", shape=(1, 12))]), gates=worse.gates)
    found = between(old, broken)
    assert (found.verdict, found.text) == ("breaking", "BREAKING: output y float32[1, 2] → float32[1, 12]")
    assert between(broken, old).verdict == "breaking"


def test_a_change_in_a_line() -> None:
    assert told(Change("input x", "", "int8[1]")) == "input x new: int8[1]"
    assert told(Change("input x", "int8[1]", "")) == "input x removed: int8[1]"


# --- inputs and outputs --------------------------------------------------------------------------------------------

B, C = Level.BREAKING, Level.CHANGED
SHAPES: list[tuple[str, TensorPart, TensorPart, Level]] = [
    ("input", tensor("x", "int8"), tensor("x", "uint8"), B),
    ("output", tensor("x", "int8"), tensor("x", "uint8"), B),
    ("input", tensor("x", shape=(1, 2)), tensor("x", shape=(1, 3)), B),
    ("output", tensor("x", shape=(1, 2)), tensor("x", shape=(1, 3)), B),
    ("input", tensor("x", shape=(1, 2)), tensor("x", shape=(1, 2, 1)), B),
    ("input", tensor("x", shape=(1, 2)), tensor("x", shape=("batch", 2)), C),
    ("input", tensor("x", shape=(1, 2)), tensor("x", shape=(None, 2)), C),
    ("input", tensor("x", shape=("batch", 2)), tensor("x", shape=(1, 2)), B),
    ("input", tensor("x", shape=("batch", 2)), tensor("x", shape=("1", 2)), C),
    ("input", tensor("x", shape=("batch", 2)), tensor("x", shape=("batch", 3)), B),
    ("input", tensor("x", shape=("batch", 2)), tensor("x", shape=(1, "n")), B),
    ("output", tensor("x", shape=(1, 2)), tensor("x", shape=("batch", 2)), B),
    ("output", tensor("x", shape=("batch", 2)), tensor("x", shape=(1, 2)), C),
    ("output", tensor("x", shape=(1, 2)), tensor("x", shape=("1", 2)), B),
    ("output", tensor("x", shape=("batch", 2)), tensor("x", shape=("n", 2)), C),
    ("output", tensor("x", shape=None), tensor("x", shape=("n", 2)), B),
    ("output", tensor("x", shape=("n", 2)), tensor("x", shape=None), B),
    ("input", tensor("x", "int8", None), tensor("x", "int64", None), B),
]


@pytest.mark.parametrize(("kind", "old", "new", "level"), SHAPES)
def test_a_tensor_that_callers_must_change_for_is_breaking(
    between: Between, kind: str, old: TensorPart, new: TensorPart, level: Level
) -> None:
    parts = [within("signature", None, **{f"{kind}s": [one]}) for one in (old, new)]
    found = between(parts[0], parts[1])
    assert changes(found, "inputs and outputs")[f"{kind} x"].level is level
    assert found.verdict == ("breaking" if level is B else "compatible")
    assert level is B or found.text == "compatible: inputs and outputs still fit"


def test_tensors_that_come_go_or_change_places(between: Between) -> None:
    one, two = [tensor("a")], [tensor("a"), tensor("b")]
    for kind, old, new, level, line in (
        ("input", one, two, B, "input b new: float32[1, 2]"),
        ("input", two, one, B, "input b removed: float32[1, 2]"),
        ("output", one, two, C, "output b new: float32[1, 2]"),
        ("output", two, one, B, "output b removed: float32[1, 2]"),
        ("output", two, two[::-1], B, "order of outputs a, b → b, a"),
    ):
        found = between(*(within("signature", None, **{f"{kind}s": tensors}) for tensors in (old, new)))
        (change,) = changes(found, "inputs and outputs").values()
        assert (change.level, told(change)) == (level, line)


# --- devices and sessions ------------------------------------------------------------------------------------------


def test_devices_that_no_longer_fit_make_it_breaking(between: Between) -> None:
    engine = EnginePart(file="m.engine", provider=GPU, about={"sm": "86", "rtx": "1.7"})
    old = within("preflight", oldest="1.9.2", engines=[engine], providers=[NeededProvider(name=GPU, required=False)])
    newer = engine.model_copy(update={"about": {"sm": "86", "rtx": "1.8"}})
    for fields, what, line in (
        ({"platform": "linux/arm64"}, "platform", "linux/amd64 → linux/arm64"),
        ({"package": "onnxruntime-gpu"}, "package", "onnxruntime → onnxruntime-gpu"),
        ({"oldest": "1.10.0"}, "oldest onnxruntime", "1.9.2 → 1.10.0"),
        ({"providers": [NeededProvider(name=GPU, required=True)]}, f"provider {GPU}", "used where it is → required"),
        ({"engines": []}, "engine m.engine", "rtx 1.7, sm 86 → "),
        ({"engines": [newer]}, "engine m.engine", "rtx 1.7, sm 86 → rtx 1.8, sm 86"),
    ):  # fmt: skip
        change = changes(between(old, within("preflight", old, **fields)), "device")[what]
        assert (change.level, f"{change.old} → {change.new}") == (B, line)


def test_devices_that_are_welcome_as_well_do_not(between: Between) -> None:
    engine = EnginePart(file="m.engine", provider=GPU, about={"sm": "86"})
    old = within("preflight", oldest="1.20.1", providers=[NeededProvider(name=GPU, required=True)])
    welcome: tuple[dict[str, Any], ...] = (
        {"oldest": "1.9.1"}, {"engines": [engine]}, {"providers": [NeededProvider(name=GPU, required=False)]}, {"providers": []},
    )  # fmt: skip
    for fields in welcome:
        found = between(old, within("preflight", old, **fields))
        assert changes(found, "device")
        assert found.verdict == "compatible"


def test_a_session_that_is_opened_otherwise_is_told(between: Between) -> None:
    new = within(
        "signature",
        session_options=manifest().signature.session_options | {"intra_op_num_threads": 2},
        config_entries={"session.intra_op.allow_spinning": "0"},
        providers=[ProviderPart(name=GPU, options={}), ProviderPart(name=CPU, options={"use_arena": "0"})],
        sharing={"sessions": 1, "concurrent_run": False},
    )
    found = changes(between(manifest(), net(new, golden=new.golden.model_copy(update={"atol": 0.1}))), "session")
    assert {what: (one.old, one.new) for what, one in found.items()} == {
        "intra_op_num_threads": ("4", "2"),
        "session.intra_op.allow_spinning": ("", "0"),
        "sharing concurrent_run": ("true", "false"),
        "providers": (CPU, f"{GPU}, {CPU}"),
        f"{CPU} use_arena": ("", "0"),
        "golden tolerance": ("atol 1e-05 + rtol 0.001", "atol 0.1 + rtol 0.001"),
    }


# --- operators, precision, data, runtimes --------------------------------------------------------------------------


def test_operators_opset_and_coverage(folders: Folders) -> None:
    old = net(gates=[gate("opset", measured="17, IR 8", subject="fp32")])
    new = net(within("target", opset=18), gates=[gate("opset", measured="18, IR 9", subject="fp32")])
    lists = ArtifactPart(name="required_operators.config", digest=HASH[0], size=9, media_type="")
    new = net(new, artifacts=[*new.artifacts, lists])
    found = folders.compare(
        folders.build(old, covered({"Conv": 2, "Relu": 1, "Gemm": 1}, {GPU: 0.9, CPU: 0.1}, 2)),
        folders.build(new, covered({"Conv": 2, "Relu": 3, "ai.onnx.ml:Scaler": 1}, {GPU: 0.6, CPU: 0.4}, 3)),
    )
    told_of = changes(found, "operators and opset")
    assert {what: (one.old, one.new) for what, one in told_of.items()} == {
        "opset": ("17", "18"), "IR": ("8", "9"), "Relu": ("1 node", "3 nodes"),
        "ai.onnx.ml:Scaler": ("", "1 node"), "Gemm": ("1 node", ""),
    }  # fmt: skip
    assert told_of["ai.onnx.ml:Scaler"].why == "a reduced runtime needs it: required_operators.config"
    shares = changes(found, "coverage")
    assert [(one.old, one.new, one.level) for one in shares.values()] == [
        ("90.0% of MACs (runs 3)", "60.0% of MACs (runs 3)", Level.REGRESSION),
        ("10.0% of MACs (runs 3)", "40.0% of MACs (runs 3)", C),
        ("2", "3", C),
    ]
    assert next(group.same for group in found.groups if group.name == "operators and opset") == ("1 operator with 2 nodes",)


def test_without_coverage_that_is_said(folders: Folders) -> None:
    bare, full = folders.build(manifest()), folders.build(manifest(), covered({"Conv": 1}, {CPU: 1.0}))
    for old, new, who in ((bare, full, "OLD"), (full, bare, "NEW"), (bare, bare, "each")):
        groups = {group.name: group for group in folders.compare(old, new).groups}
        assert groups["operators and opset"].unseen == (f"operators: {who} has no coverage.json",)
        assert groups["coverage"].unseen == (f"providers: {who} has no coverage.json",)


def test_precision_and_its_reason(between: Between) -> None:
    old, new = net(precision_reason="INT8 is slower"), net(precision="int8", precision_reason="every gate passed")
    assert changes(between(old, new), "precision") == {"ships": Change("ships", "fp32", "int8", why="every gate passed")}
    assert changes(between(old, net(precision_reason="other")), "precision")["reason"].new == "other"


def test_data_that_a_model_was_made_from(between: Between) -> None:
    old = within("model", files={"weights": {"net.st": HASH[1]}, "calibration": {"c.npz": HASH[2]}})
    new = within("model", old, hash=HASH[9], files={"weights": {"net.st": HASH[3]}, "evaluation": {"e.npz": HASH[4]}})
    found = changes(between(old, new), "identity")
    assert {what: (one.old[:2], one.new[:2]) for what, one in found.items()} == {
        "model hash": ("00", "99"), "weights net.st": ("11", "33"), "evaluation e.npz": ("", "44"),
        "calibration c.npz": ("22", ""),
    }  # fmt: skip


def test_runtimes_and_packages(between: Between) -> None:
    def runtime(name: str, python: str = "3.11.7", lock: int = 0, **packages: str) -> RuntimePart:
        return RuntimePart(name=name, python=python, platform="linux/x86_64", lock=HASH[lock], packages=packages)

    old = net(runtimes=[runtime("tools", numpy="2.0", onnx="1.19"), runtime("ort-1", numpy="1.0"), runtime("same", a="1")])
    new = net(
        runtimes=[runtime("tools", "3.12.1", numpy="2.1", onnx_ir="1"), runtime("same", lock=1, a="1"), runtime("ort-2", n="1")]
    )
    assert {what: (one.old, one.new) for what, one in changes(between(old, new), "runtimes and packages").items()} == {
        "tools: Python": ("3.11.7", "3.12.1"), "tools: numpy": ("2.0", "2.1"), "tools: onnx_ir": ("", "1"),
        "tools: onnx": ("1.19", ""), "same: lock": ("0" * 12, "1" * 12),
        "ort-2": ("", "Python 3.11.7, 1 package"), "ort-1": ("Python 3.11.7, 1 package", ""),
    }  # fmt: skip


# --- gates, accuracy, waivers --------------------------------------------------------------------------------------

WORSE, BETTER = Level.REGRESSION, Level.BETTER
OUTCOMES = [
    ("pass", "fail", WORSE), ("pass", "waived", WORSE), ("pass", "not-run", WORSE), ("not-run", "fail", WORSE),
    ("waived", "fail", WORSE), ("fail", "pass", BETTER), ("not-run", "pass", BETTER), ("waived", "pass", BETTER),
    ("fail", "waived", C), ("fail", "not-run", C), ("pass", "", WORSE), ("fail", "", C), ("not-run", "", C),
    ("", "pass", C), ("", "not-run", C), ("", "fail", WORSE), ("", "waived", WORSE),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "level"), OUTCOMES)
def test_a_gate_that_says_less_is_a_regression(between: Between, old: str, new: str, level: Level) -> None:
    gates = [[gate("partitions", outcome, "3", why="so")] if outcome else [] for outcome in (old, new)]
    change = changes(between(net(gates=gates[0]), net(gates=gates[1])), "gates")["partitions of shipped"]
    assert change.level is level
    assert change.why == ("so" if new else "no longer judged")
    assert (change.old, change.new) == (f"{old}: 3" if old else "", f"{new}: 3" if new else "")


def test_what_a_candidate_that_does_not_ship_loses_is_no_regression(between: Between) -> None:
    gates = [[gate("int8-faster", outcome, subject="int8")] for outcome in ("pass", "fail")]
    assert between(net(gates=gates[0]), net(gates=gates[1])).verdict == "compatible"
    assert between(net(gates=gates[0]), net(gates=gates[1], precision="int8")).verdict == "regression"


def test_measured_values_and_limits(between: Between) -> None:
    old, new = gate("size", measured="10 B", limit="≤ 20 B"), gate("size", measured="12 B", limit="≤ 30 B")
    found = between(net(gates=[old]), net(gates=[new]))
    assert list(changes(found, "gates").values()) == [
        Change("size of shipped", "10 B", "12 B"), Change("limit of size of shipped", "≤ 20 B", "≤ 30 B"),
    ]  # fmt: skip
    assert found.verdict == "compatible"


def test_gates_of_other_versions_and_of_a_candidate_that_is_gone_are_counted(between: Between) -> None:
    old = net(
        gates=[gate("load@1.17.3"), gate("parity@1.17.3"), gate("quantised", subject="int8"), gate("accuracy", subject="int8")]
    )
    newer = within("target", versions=["1.20.1"])
    new = net(newer, gates=[gate("load@1.20.1"), gate("parity@1.20.1 batch = 2", "fail", why="differs")])
    found = changes(between(old, new), "gates")
    assert {what: (one.old, one.new, one.level) for what, one in found.items()} == {
        "outcomes": ("4 pass", "1 pass, 1 fail", C),
        "gates of version 1.17.3": ("2 pass", "", C),
        "gates of version 1.20.1": ("", "1 pass", C),
        "parity@1.20.1 batch = 2 of shipped": ("", "fail", WORSE),
        "gates of the int8 candidate": ("2 pass", "", C),
    }


ACCURACIES = [
    ("int8", "top1 0.99 → 0.98", "top1 0.99 → 0.975", C, "top1 of what ships: 0.98 → 0.975, within the drop of 0.01"),
    ("int8", "top1 0.99 → 0.98", "top1 0.98 → 0.96", WORSE, "top1 of what ships: 0.98 → 0.96, beyond the drop of 0.01"),
    ("int8", "top1 0.99 → 0.98", "top1 0.99 → 0.985", BETTER, "top1 of what ships: 0.98 → 0.985"),
    ("fp32", "top1 0.99 → 0.98", "top1 0.99 → 0.90", C, "top1 of what ships: 0.99 → 0.99"),
    ("int8", "mse 1e-3 → 2e-3", "mse 1e-3 → 5e-2", WORSE, "mse of what ships: 0.002 → 0.05, beyond"),
    ("int8", "mse 1e-3 → 2e-3", "mse 1e-3 → 1e-3", BETTER, "mse of what ships: 0.002 → 0.001"),
    ("int8", "top1 0.9 → 0.8", "top5 0.9 → 0.7", C, ""),
    ("int8", "odd", "top1 0.9 → 0.7", C, ""),
]


@pytest.mark.parametrize(("precision", "old", "new", "level", "why"), ACCURACIES)
def test_accuracy_of_what_ships(between: Between, precision: str, old: str, new: str, level: Level, why: str) -> None:
    parts = [net(precision=precision, gates=[gate("accuracy", "pass", told, "drop ≤ 0.01", "int8")]) for told in (old, new)]
    found = changes(between(parts[0], parts[1]), "accuracy")["accuracy"]
    assert (found.old, found.new, found.level) == (old, new, level)
    assert found.why.startswith(why)
    assert bool(found.why) == bool(why)


def test_the_limit_of_accuracy_stands_beside_it(between: Between) -> None:
    told = [
        gate("accuracy", "pass", measured, limit, "int8")
        for measured, limit in (("top1 0.9 → 0.9", "drop ≤ 0.01"), ("top1 0.9 → 0.8", "drop ≤ 0.2"))
    ]
    found = changes(between(net(precision="int8", gates=told[:1]), net(precision="int8", gates=told[1:])), "accuracy")
    assert found["accuracy"].why == "top1 of what ships: 0.9 → 0.8, within the drop of 0.2 that a recipe grants fewer bits"
    assert found["limit of accuracy"] == Change("limit of accuracy", "drop ≤ 0.01", "drop ≤ 0.2")


def test_an_accuracy_of_other_samples_says_so(between: Between) -> None:
    found = between(manifest(), within("model", files={"evaluation": {"e.npz": HASH[1]}}))
    (group,) = [group for group in found.groups if group.name == "accuracy"]
    assert group.unseen[0] == "the evaluation data differ: the figures are not of the same samples"


def waiver(name: str = "size", expires: str = "2027-06-30", who: str = "ana") -> WaiverPart:
    return WaiverPart(gate=name, subject="shipped", reason="EDGE-17", who=who, expires=expires)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([], [waiver()], {"size of shipped": WORSE}),
        ([waiver()], [], {"size of shipped": BETTER}),
        ([waiver()], [waiver(who="ben")], {"size of shipped": C}),
        ([waiver(expires="2027-01-15")], [waiver(expires="2027-01-15")], {"waiver of size of shipped": C}),
        ([waiver(expires="2027-02-14")], [waiver(expires="2027-02-14")], {"waiver of size of shipped": C}),
        ([waiver(expires="2027-02-15")], [waiver(expires="2027-02-15")], {}),
        ([waiver(expires="2027-01-14")], [waiver(expires="2027-01-14")], {"waiver of size of shipped": WORSE}),
        ([waiver(expires="soon")], [waiver(expires="soon")], {"waiver of size of shipped": WORSE}),
    ],
)
def test_waivers(between: Between, old: list[WaiverPart], new: list[WaiverPart], expected: Mapping[str, Level]) -> None:
    found = between(net(waivers=old), net(waivers=new, precision_reason="another build"))
    assert {what: one.level for what, one in changes(found, "waivers").items()} == expected
    (group,) = [group for group in found.groups if group.name == "waivers"]
    assert all("EDGE-17" in " ".join([*group.same, *(one.new for one in group.changes)]) for _ in new)


# --- files and bytes -----------------------------------------------------------------------------------------------


def test_timings_where_both_have_them(folders: Folders) -> None:
    builds = [folders.build(manifest(), timings={"int8-faster": {"measured": f"{speed}×"}}) for speed in (1.2, 0.9)]
    assert changes(folders.compare(builds[0], builds[1]), "latency")["int8-faster"].new == "0.9×"
    (builds[1] / "measurements.json").write_text("[1]")
    (group,) = [group for group in folders.compare(builds[0], builds[1]).groups if group.name == "latency"]
    assert group.unseen == ("no timing is there of both: only builds keep them, in measurements.json",)


def test_files_of_builds(folders: Folders) -> None:
    def package(*files: str) -> PackagePart:
        return PackagePart(kind="c", templates="tree:0", files={name: HASH[int(name[0])] for name in files})

    old = net(packages=[package("1.c", "2.c")])
    new = net(packages=[package("2.c", "3.c")], artifacts=[one for one in old.artifacts if one.name != "golden.bin"])
    paths = [folders.build(one) for one in (old, new)]
    (paths[1] / "c").mkdir()
    (paths[1] / "c" / "3.c").write_text("12345")
    found = folders.compare(*paths)
    told_of = changes(found, "files")
    assert told_of["golden.bin"] == Change("golden.bin", "64 B, 111111111111", "")
    assert (told_of["c/"].old, told_of["c/"].new, told_of["c/"].why) == ("2 files, 0 B", "2 files, 5 B", "files: 1 came, 1 went")
    size = (paths[1] / "manifest.json").stat().st_size
    assert (found.bytes.full, found.bytes.delta, found.bytes.files) == (None, None, size + 5)


def files(head: int) -> dict[str, bytes]:
    body = bytes(range(256)) * 40
    return {"c/a.c": b"int", "coverage.json": covered({"Conv": head}, {CPU: 1.0}), "model.onnx": body + bytes([head]) * 9}


@pytest.mark.parametrize("plain", [False, True])
def test_releases_are_compared_without_being_unpacked(folders: Folders, *, plain: bool) -> None:
    two = [folders.release(net(tag=f"net-{n}"), files(n), sequence=n, plain=plain) for n in (1, 2)]
    for folder in two if plain else []:
        (folder / layout.ZST).unlink()
    found = folders.compare(*two)
    assert changes(found, "operators and opset")["Conv"].new == "2 nodes"
    assert {"tag", "sequence"} == changes(found, "identity").keys()
    after = layout.read(two[1])
    sent = sum(after.files[name].size for name in ("coverage.json", "manifest.json", "model.onnx"))
    assert (found.bytes.full, found.bytes.files, found.bytes.unpacked) == (after.zst.size, sent, after.unpacked)
    assert found.bytes.delta is None
    assert any("delta from OLD: " in line and line.endswith("none is made") for line in re.split("\n", "\n".join(text(found))))


def test_a_delta_from_the_old_release_is_counted(folders: Folders) -> None:
    two = [folders.release(net(tag=f"net-{n}"), files(n), sequence=n) for n in (1, 2)]
    made = delta.make(two[0], two[1], lambda _: None)
    assert made.delta
    found = folders.compare(*two)
    assert found.bytes.delta == made.delta.size
    assert folders.compare(folders.release(net(tag="net-3"), files(3), sequence=0), two[1]).bytes.delta is None


def test_the_build_of_a_release_lends_its_timings_if_it_is_still_the_same(folders: Folders) -> None:
    two = [folders.release(net(tag=f"net-{n}"), files(n), sequence=n) for n in (1, 2)]
    builds = [folders.root / "build" / "device" / layout.read(folder).tag for folder in two]
    for folder, build in zip(two, builds, strict=True):
        build.mkdir(parents=True)
        (build / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
        (build / "measurements.json").write_text('{"int8-faster": {"measured": "1×"}}')
    same = {group.name: group.same for group in folders.compare(*two).groups}
    assert same["latency"] == ("int8-faster 1×",)
    (builds[1] / "manifest.json").write_bytes(manifest().to_bytes())
    assert load(folders.root, two[1]).timings == {}


def test_an_older_release_cannot_take_the_place_of_a_newer_one(folders: Folders) -> None:
    two = [folders.release(manifest(), files(n), sequence=n) for n in (2, 1)]
    assert folders.compare(*two).text == "BREAKING: sequence 2 → 1"


# --- what is looked for, and what is refused -----------------------------------------------------------------------


def test_what_a_name_means(tmp_path: Path) -> None:
    for path in ("dist/a/one", "build/a/one", "build/a/two", "build/b/two"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "manifest.json").write_text("{}")
    assert find(tmp_path, "one") == tmp_path / "dist/a/one"
    assert find(tmp_path, "two", "b") == tmp_path / "build/b/two"
    assert find(tmp_path, str(tmp_path / "build/a/two")) == tmp_path / "build/a/two"
    for words, name, target in (
        (r"several targets have two: a, b\n  try: --target a", "two", ""),
        ("no build and no release 'three'[^$]*there are one, two", "three", ""),
        ("no build and no release 'one'", "one", "b"),
        ("no build and no release '../a/one'", "../a/one", ""),
    ):
        with pytest.raises(OrtolanError, match=words):
            find(tmp_path, name, target)
    with pytest.raises(OrtolanError, match="nothing is built yet"):
        find(tmp_path / "dist", "one")


def test_parts_that_do_not_belong_together_are_refused(folders: Folders) -> None:
    folder = folders.release(manifest(), files(1), sequence=1)
    whole = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(whole.replace(b"Apache-2.0", b"MIT"))
    with pytest.raises(OrtolanError, match="the manifest is not that of the release"):
        load(folders.root, folder)
    (folder / "manifest.json").write_bytes(whole)
    (folder / layout.ZST).write_bytes(b"no archive")
    with pytest.raises(OrtolanError, match="cannot read the bundle"):
        load(folders.root, folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(OrtolanError, match="not a manifest"):
        load(folders.root, folder)
    build = folders.build(manifest(), b'{"nodes": 1}')
    with pytest.raises(OrtolanError, match="damaged"):
        load(folders.root, build)
    (build / "coverage.json").unlink()
    with pytest.raises(OrtolanError, match=r"damaged[^$]*does not have the digest of manifest.json"):
        load(folders.root, build)
    other = folders.release(manifest(), {"model.onnx": b"1"}, sequence=1)
    lying = folders.release(manifest(), files(1), sequence=1)
    (lying / layout.ZST).write_bytes((other / layout.ZST).read_bytes())
    with pytest.raises(OrtolanError, match="does not have the digest"):
        load(folders.root, lying)


# --- text, Markdown, JSON ------------------------------------------------------------------------------------------


def rich(folders: Folders) -> Comparison:
    """Two releases that differ in something of every group, with a name that is markup."""
    old = within("model", files={"weights": {"net.safetensors": HASH[1]}, "evaluation": {"e.npz": HASH[2]}})
    old = within("target", within("preflight", old, oldest="1.17.3"), name="camera")
    tools = RuntimePart(
        name="tools", python="3.11.7", platform="linux/x86_64", lock=HASH[5], packages={"numpy": "2.0", "onnx": "1.19"}
    )
    judged = [gate("size", measured="10 B", limit="≤ 20 B"), gate("int8-faster", subject="int8"), gate("load@1.17.3")]
    judged.append(gate("accuracy", "pass", "top1 0.99 → 0.98", "drop ≤ 0.01", "int8"))
    old = net(old, gates=judged, runtimes=[tools], precision="int8", precision_reason="every INT8 gate that ran passed")
    new = within("model", old, hash=HASH[9], files={"weights": {"net.safetensors": HASH[3]}, "evaluation": {"e.npz": HASH[2]}})
    new = within("signature", new, outputs=[tensor("a|`b`* <i>", shape=(1, 12))], inputs=[tensor("x", shape=("batch", 2))])
    new = net(new, tag="net-999999999999-opset17-ort1.17.3", runtimes=[tools.model_copy(update={"packages": {"numpy": "2.1"}})])
    judged = [gate("size", "waived", "30 B", "≤ 20 B", why="waived by ana until 2027-02-01: EDGE-17"), *judged[1:3]]
    judged.append(gate("accuracy", "pass", "top1 0.99 → 0.975", "drop ≤ 0.01", "int8"))
    new = net(new, gates=judged, waivers=[waiver(expires="2027-02-01")])
    two = [folders.release(one, files(n), sequence=n) for n, one in ((1, old), (2, new))]
    delta.make(two[0], two[1], silent, "zstd")
    return folders.compare(*two)


def silent(_: Event) -> None:
    return


@pytest.mark.parametrize(("name", "lines"), [("diff.txt", text), ("diff.md", markdown)])
def test_a_comparison_in_words(
    folders: Folders, request: pytest.FixtureRequest, name: str, lines: Callable[[Comparison], list[str]]
) -> None:
    whole = rich(folders)
    files = next(group for group in whole.groups if group.name == "files")
    sizes = replace(files, changes=(Change("model.onnx", "9,990,000 B, 111111111111", "9,990,000 B, 333333333333"),))
    fixed = replace(whole, bytes=Bytes(full=9_000_000, delta=45_000, files=9_990_000, unpacked=10_100_000))
    fixed = replace(fixed, groups=tuple(sizes if group is files else group for group in whole.groups))
    found, kept = "\n".join(lines(fixed)) + "\n", GOLDEN / name
    if request.config.getoption("--update"):
        kept.write_text(found)
    assert found == kept.read_text(), f"if this is what you meant: pytest {request.node.nodeid} --update"


def test_a_comparison_for_programs(folders: Folders) -> None:
    found = json.loads(json.dumps(verb.told(rich(folders))))
    assert found.keys() == {"diff_version", "old", "new", "verdict", "text", "groups", "bytes"}
    assert found["old"].keys() == {"tag", "target", "model", "model_hash", "tar", "sequence"}
    assert {key for group in found["groups"] for key in group} == {"name", "changes", "same", "unseen"}
    levels = {change["level"] for group in found["groups"] for change in group["changes"]}
    assert levels <= {"changed", "better", "regression", "breaking"}
    assert found["bytes"].keys() == {"full", "delta", "files", "unpacked"}
    assert (found["verdict"], found["old"]["sequence"]) == ("breaking", 1)


def cells(source: Sequence[str]) -> tuple[list[str], set[str]]:
    """The texts of code as a reader of Markdown sees them, and the elements that are anything else than layout."""
    from html.parser import HTMLParser

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.found, self.tags = False, list[str](), set[str]()

        def handle_starttag(self, tag: str, _: object) -> None:
            self.inside = self.inside or tag == "code"
            self.tags.add(tag)
            if tag == "code":
                self.found.append("")

        def handle_endtag(self, tag: str) -> None:
            self.inside = self.inside and tag != "code"

        def handle_data(self, data: str) -> None:
            if self.inside:
                self.found[-1] += data

    reader = Reader()
    reader.feed(MarkdownIt("commonmark").enable("table").render("\n".join(source)))
    return reader.found, reader.tags


LAYOUT = {"h1", "h2", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "code", "ul", "li"}


@given(
    name=st.text(min_size=1, max_size=12) | st.text("`|\\*_<>[]() \n&#@!", min_size=1, max_size=8), reason=st.text(max_size=12)
)
def test_no_foreign_text_is_markup(tmp_path_factory: pytest.TempPathFactory, name: str, reason: str) -> None:
    name, reason = (part.encode(errors="ignore").decode() for part in (name, reason))
    folders = Folders(tmp_path_factory.mktemp("diff"))
    made = [
        manifest(),
        net(within("model", licence=f"x{name}x"), gates=[gate(f"x{name}x", "fail", why=f"x{reason}x")], tag=f"x{name}x"),
    ]
    found = folders.compare(*(folders.build(one) for one in made))
    texts, tags = cells(markdown(found))
    assert tags <= LAYOUT
    wanted = one_line(f"x{name}x")
    assert {wanted, f"{wanted} of shipped", one_line(f"x{reason}x")} <= set(texts)
    assert all(line.isprintable() for line in text(found))
