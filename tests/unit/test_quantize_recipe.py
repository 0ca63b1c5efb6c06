"""``[quantize]``: schemes, what they use, what a model's recipe may say of a target's, and durations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ortolan.errors import RecipeError
from ortolan.recipe.project import NamedModel, NamedTarget, Project
from ortolan.recipe.quantize import OwnQuantize, Quantize, merged
from ortolan.recipe.together import together
from ortolan.sources import job

NO_EIGHT = "ONNX Runtime 1.17.3, the oldest of the fleet, has no MatMulNBits with 8 bits"
PROJECT = Project(Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("keys", "precision"),
    [
        ({}, "int8"),
        ({"scheme": "dynamic"}, "int8-dynamic"),
        ({"scheme": "fp16"}, "fp16"),
        ({"scheme": "weight-only"}, "int4-weights"),
        ({"scheme": "weight-only", "bits": 8}, "int8-weights"),
    ],
)
def test_a_scheme_says_what_a_candidate_computes_in(keys: dict[str, Any], precision: str) -> None:
    assert Quantize.model_validate(keys).precision == precision


@given(st.integers(1, 10_000), st.sampled_from([("s", 1), ("min", 60), ("h", 3600)]))
def test_durations_are_seconds(count: int, unit: tuple[str, int]) -> None:
    table = {"policy": "recover", "budget": f"{count} {unit[0]}"}
    assert Quantize.model_validate(table).budget == count * unit[1]
    assert Quantize.model_validate(table | {"budget": count}).budget == count


@pytest.mark.parametrize("budget", ["0 s", "soon", "10 minutes", "-1 s", 0, True, 1.5, "0.2 s"])
def test_what_is_no_duration(budget: Any) -> None:
    with pytest.raises(ValidationError, match="wants a number and a unit"):
        Quantize.model_validate({"policy": "recover", "budget": budget})


# --- a model's table before its target's ---------------------------------------------------------------------------------------


def test_a_model_says_what_it_says_and_the_target_the_rest() -> None:
    target = Quantize(activations="uint8", method="entropy", exclude=["a"])
    found = merged(target, OwnQuantize(exclude=["b"], policy="require"))
    assert (found.policy, found.activations, found.method, found.exclude) == ("require", "uint8", "entropy", ["b"])


def test_another_scheme_leaves_out_what_was_said_for_the_targets() -> None:
    found = merged(Quantize(activations="uint8", per_channel=False), OwnQuantize(scheme="dynamic", weights="uint8"))
    assert found.scheme == "dynamic"
    assert (found.weights, found.per_channel) == ("uint8", False)


def test_keys_are_judged_with_those_of_the_target() -> None:
    assert merged(Quantize(method="percentile"), OwnQuantize(percentile=99.9)).percentile == 99.9
    with pytest.raises(ValidationError, match="does not use it"):
        merged(Quantize(), OwnQuantize(percentile=99.9))


def test_a_budget_is_for_the_policy_that_searches() -> None:
    assert merged(Quantize(policy="recover", budget=60), OwnQuantize(policy="prefer")).budget == 600


def with_table(tmp_path: Path, lines: str, target: str = "x86-cpu") -> tuple[NamedTarget, NamedModel]:
    """A target of the repository, and digits with a ``[quantize]`` of its own."""
    folder = PROJECT.root / "recipes" / "models"
    for name in ("digits.py", "digits.safetensors", "digits-calibration.npz", "digits-evaluation.npz"):
        (tmp_path / "recipes" / "models").mkdir(parents=True, exist_ok=True)
        (tmp_path / "recipes" / "models" / name).write_bytes((folder / name).read_bytes())
    path = tmp_path / "recipes" / "models" / "digits.toml"
    path.write_text((folder / "digits.toml").read_text() + f"\n[quantize]\n{lines}\n")
    return PROJECT.target(target), Project(tmp_path).model("digits")


def test_a_job_has_the_target_as_its_model_wants_it(tmp_path: Path) -> None:
    target, model = with_table(tmp_path, 'scheme = "fp16"\npolicy = "require"')
    made = job(model, target)
    assert made.precision == "fp16"
    assert made.limits()["policy"] == "require"
    assert target.recipe.quantize.policy == "prefer", "the target itself stays as it is"


@pytest.mark.parametrize(
    ("lines", "target", "expected"),
    [
        (
            'scheme = "weight-only"',
            "x86-rtx",
            'quantize.scheme: for x86-rtx: TensorRT-RTX needs "static" or "fp16". Say scheme = "static".',
        ),
        (
            'scheme = "weight-only"\nbits = 8',
            "x86-cpu",
            f"quantize.bits: for x86-cpu: {NO_EIGHT}. Say bits = 4.",
        ),
        ("bits = 8", "x86-cpu", 'quantize.bits: for x86-cpu: scheme = "static" does not use it. It is for "weight-only".'),
    ],
)
def test_what_a_target_cannot_do_is_said_at_the_models_line(tmp_path: Path, lines: str, target: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        together(*with_table(tmp_path, lines, target))
    where, _, text = str(caught.value).partition(": ")
    assert text == expected
    line = int(where.rpartition(":")[2])
    written = (tmp_path / "recipes" / "models" / "digits.toml").read_text().splitlines()[line - 1]
    assert written.startswith(expected.partition(":")[0].partition(".")[2])
