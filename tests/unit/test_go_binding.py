"""The table of the Go binding's tags, and what a recipe and its templates learn from it."""

from __future__ import annotations

import re

import pytest

from ortolan.recipe import go_binding
from ortolan.recipe.go_binding import Adding, find, number

TABLE = go_binding._table()


@pytest.mark.parametrize(
    ("oldest", "tag", "api"),
    [
        ("1.15.0", "v1.4.0", 15), ("1.17.3", "v1.9.0", 17), ("1.18.1", "v1.11.0", 18), ("1.19.2", "v1.12.1", 19),
        ("1.20.1", "v1.17.0", 20), ("1.24.4", "v1.27.0", 24), ("1.27.0", "v1.31.0", 26), ("1.29.0", "v1.35.0", 29),
        ("1.31.1", "v1.35.0", 29),
    ],
)  # fmt: skip
def test_the_newest_tag_that_the_oldest_runtime_accepts(oldest: str, tag: str, api: int) -> None:
    found = find(oldest)
    assert found
    assert (found.tag, found.api) == (tag, api)
    assert found.api <= go_binding.minor(oldest)


def test_a_runtime_that_is_older_than_every_tag() -> None:
    assert find("1.14.1") is None


def test_a_runtime_that_is_newer_than_every_tag_takes_the_newest_and_says_so() -> None:
    newest, known = find("1.31.1"), find("1.29.1")
    assert newest
    assert known
    assert newest.note == "ONNX Runtime 1.31.1 has API 31; no tag of the binding is known that reaches beyond API 29"
    assert known.note == ""


def test_what_a_tag_has() -> None:
    old, new = find("1.17.3"), find("1.20.1")
    assert old
    assert new
    assert [what for what, there in old.has.items() if there] == ["float16", "session_memory"]
    assert all(new.has.values())
    assert "CoreMLExecutionProvider" not in new.providers
    assert new.providers["CUDAExecutionProvider"] == Adding(call="CUDA")
    last = find("1.31.1")
    assert last
    assert last.providers["XnnpackExecutionProvider"] == Adding(name="XNNPACK")


def test_the_table_is_in_order_and_every_part_has_a_source() -> None:
    tags = list(TABLE["tags"])
    assert all(re.fullmatch(r"v1\.\d+\.\d+", tag) for tag in tags)
    assert tags == sorted(tags, key=number)
    assert list(TABLE["tags"].values()) == sorted(TABLE["tags"].values())
    firsts = [*TABLE["since"].values(), *(how["since"] for how in TABLE["providers"].values())]
    assert set(firsts) <= set(tags)
    assert {"tags", "since", "providers"} <= set(TABLE["sources"])
    assert all(("call" in how) != ("name" in how) for how in TABLE["providers"].values())


def test_other_snippets_ask_nothing_of_the_runtime() -> None:
    assert not list(go_binding.mistakes(["c", "python"], "onnxruntime-web", ["1.2.0"]))
    assert not list(go_binding.mistakes(["go"], "onnxruntime", ["1.17.3", "1.31.1"]))
