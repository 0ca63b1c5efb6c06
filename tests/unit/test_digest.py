"""Digests and identities: equal values, equal digests; kinds never collide."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import write
from ortolan import digest
from ortolan.step import Step, tree

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def reordered(value: object) -> object:
    """The same value with every mapping's keys in the opposite order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(list(value))}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(JSON)
def test_the_order_of_keys_does_not_matter(value: object) -> None:
    assert digest.of_json("key", value) == digest.of_json("key", reordered(value))


@given(JSON, JSON)
def test_different_canonical_bytes_give_different_digests(one: object, other: object) -> None:
    same = digest.canonical(one) == digest.canonical(other)
    assert (digest.of_json("key", one) == digest.of_json("key", other)) == same


def test_kinds_do_not_collide() -> None:
    assert digest.short(digest.of_json("key", {}), 64) != digest.short(digest.of_json("tree", {}), 64)


def test_a_file_has_the_digest_that_sha256sum_prints(tmp_path: Path) -> None:
    data = b"x" * (digest.CHUNK + 1)
    (tmp_path / "f").write_bytes(data)
    assert digest.of_file(tmp_path / "f") == "sha256:" + hashlib.sha256(data).hexdigest() == digest.of_bytes(data)


def test_nan_has_no_digest() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest.of_json("key", float("nan"))


def test_a_step_is_its_stage_runtime_params_and_inputs(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    base = write("x")
    others = [
        write("y"),
        Step("fake_write", "elsewhere", {"text": "x"}, {}, "write x"),
        write("x", before=write("z")["text.txt"]),
        write("x", folder=tree({"a": tmp_path / "a"})),
    ]
    assert base == write("x", limit=1.0)
    assert len({base.id, *(step.id for step in others)}) == 5


@pytest.mark.parametrize(
    ("params", "inputs"), [({}, {}), ({"text": "x", "more": 1}, {}), ({"text": "x"}, {"unknown": write("y")["text.txt"]})]
)
def test_a_step_must_fit_its_contract(params: dict[str, object], inputs: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="fake_write"):
        Step("fake_write", "here", params, inputs, "x")  # type: ignore[arg-type]


def test_an_output_that_is_not_declared_cannot_be_named() -> None:
    with pytest.raises(KeyError, match="no output"):
        write("x")["other.txt"]
