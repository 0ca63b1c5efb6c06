"""Lines of keys: every key that tomllib finds has the line that it is written on."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.recipe.toml_lines import Keys, line_of, lines

SCALARS = [
    "1", "-2.5e3", "true", "nan", "1979-05-27 07:32:00", '"a # b"', "'c ] }'", '"\\" ="', '""', "''",
    '"""two\nlines = 1 """""', "'''\n[no.table]\n'''", '"""\\""" k = 2"""', "0xf",
]  # fmt: skip
TRIVIA = ["", "\n", "# comment = [ {\n", "   # x\n\n", "\t\n"]


class Writer:
    """Writes TOML with a unique name for every key, and remembers nothing: the names tell where the keys are."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.count = draw, 0

    def key(self) -> str:
        self.count += 1
        name = f"k{self.count}k"
        return self.draw(st.sampled_from([name, f'"{name}"', f"'{name}'", f'"{name} \\" ."']))

    def dotted(self) -> str:
        glue = self.draw(st.sampled_from([".", " . "]))
        return glue.join(self.key() for _ in range(self.draw(st.integers(1, 3))))

    def value(self, depth: int = 0) -> str:
        kind = self.draw(st.sampled_from(["scalar", "array", "inline"] if depth < 2 else ["scalar"]))
        count = range(self.draw(st.integers(0, 3)))
        if kind == "array":
            gap = self.draw(st.sampled_from([" ", "\n", " # ] , }\n  "]))
            inner = "".join(f"{gap}{self.value(depth + 1)}{gap}," for _ in count)
            return f"[{inner}{gap}]"
        if kind == "inline":
            return "{ " + ", ".join(f"{self.dotted()} = {self.value(depth + 1)}" for _ in count) + " }"
        return self.draw(st.sampled_from(SCALARS))

    def body(self) -> str:
        pairs = (f"{self.dotted()} = {self.value()}\n" for _ in range(self.draw(st.integers(0, 3))))
        return "".join(self.draw(st.sampled_from(TRIVIA)) + pair for pair in pairs)

    def document(self) -> str:
        text, arrays = self.body(), list[str]()
        for _ in range(self.draw(st.integers(0, 4))):
            again = bool(arrays) and self.draw(st.booleans())
            many = self.draw(st.booleans())
            if again:
                name = self.draw(st.sampled_from(arrays))
                name, many = (name, True) if self.draw(st.booleans()) else (f"{name}.{self.key()}", many)
            else:
                name = self.dotted()
            arrays += [name] * many
            text += (f"[[ {name} ]]" if many else f"[{name}]") + " # c\n" + self.body()
        return text


@st.composite
def documents(draw: st.DrawFn) -> str:
    return Writer(draw).document()


def paths(value: Any, path: Keys = ()) -> Iterator[Keys]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


@given(documents(), st.sampled_from(["\n", "\r\n"]))
def test_every_key_has_its_line(text: str, newline: str) -> None:
    text = text.replace("\n", newline)
    found, rows = lines(text), text.split("\n")
    assert set(found) == set(paths(tomllib.loads(text)))
    for path, line in found.items():
        if isinstance(path[-1], str):
            assert path[-1].partition(" ")[0] in rows[line - 1], (path, line)


@given(documents())
def test_lines_grow_with_depth(text: str) -> None:
    found = lines(text)
    assert all(found[path] >= found[path[:-1]] for path in found if len(path) > 1)


@given(documents(), st.integers(0, 5))
def test_blank_lines_above_shift_every_line(text: str, blank: int) -> None:
    assert {path: line + blank for path, line in lines(text).items()} == lines("\n" * blank + text)


def test_elements_of_arrays_and_of_arrays_of_tables() -> None:
    text = 'a = [\n  1,\n  { b = 2 },\n]\n[[t]]\n[[t.u]]\n[[t.u]]\nx = 1\n[[t]]\n[t.v]\ny = """\n\n"""\nz = 1\n'
    found = lines(text)
    assert [found["a", 0], found["a", 1, "b"]] == [2, 3]
    assert [found["t", 0], found["t", 0, "u", 1], found["t", 0, "u", 1, "x"], found["t", 1]] == [5, 7, 8, 9]
    assert [found["t", 1, "v", "y"], found["t", 1, "v", "z"]] == [11, 14]


@pytest.mark.parametrize(("path", "line"), [(("t", "absent"), 2), (("absent",), 1), ((), 1), (("t", "k", 3, "x"), 3)])
def test_a_missing_key_has_the_line_of_its_table(path: Keys, line: int) -> None:
    assert line_of(path, lines("a = 1\n[t]\nk = []\n")) == line
