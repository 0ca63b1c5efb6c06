"""Identifiers made of any names: valid, distinct, not reserved; held against the languages' own tools."""

from __future__ import annotations

import builtins
import dataclasses
import keyword
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.package.names import LANGUAGES, identifiers
from snippet_models import ATTACKS, KEYWORDS

SHAPES = {
    "c": r"[a-z][a-z0-9_]*",
    "go": r"[A-Z][A-Za-z0-9_]*",
    "python": r"[a-z][a-z0-9_]*",
    "js": r"[a-z][A-Za-z0-9_]*",
}
NAMES = st.lists(st.one_of(st.text(), st.sampled_from([*ATTACKS, *KEYWORDS]), st.text("aA_ 1/:é", max_size=4)), max_size=30)
WORDS = [word for _, reserved in LANGUAGES.values() for word in reserved]
EVERY = sorted({*ATTACKS, *KEYWORDS, *WORDS, *dir(object), *dir(builtins)})
HEADERS = ("assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "limits", "locale", "math", "setjmp", "signal",
           "stdarg", "stdbool", "stddef", "stdint", "stdio", "stdlib", "string", "sys/stat", "pthread", "time",
           "dlfcn", "unistd")  # fmt: skip


@pytest.mark.parametrize("language", list(LANGUAGES))
@given(NAMES)
def test_identifiers_are_valid_distinct_and_free(language: str, names: list[str]) -> None:
    found = identifiers(names, language, "input")
    assert len(found) == len(names)
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(SHAPES[language], one, re.ASCII) for one in found)
    assert not LANGUAGES[language][1].intersection(found)
    assert all(len(one) <= 60 for one in found)
    assert identifiers(names, language, "input") == found


@given(NAMES)
def test_names_that_come_behind_change_none_before(names: list[str]) -> None:
    for language in LANGUAGES:
        assert identifiers(names, language, "axis")[: len(names) // 2] == identifiers(names[: len(names) // 2], language, "axis")


@pytest.mark.parametrize(
    ("name", "c", "go", "python", "js"),
    [
        ("input:0", "input_0", "Input0", "input_0", "input0"),
        ("model/x-1", "model_x_1", "ModelX1", "model_x_1", "modelX1"),
        ("größe", "groe", "Groe", "groe", "groe"),
        ("名前", "input", "Input", "input", "input"),
        ("0", "input_0", "Input0", "input_0", "input0"),
        ("", "input", "Input", "input", "input"),
        ("class", "class_", "Class", "class_", "class_"),
        ("errno", "errno_", "Errno", "errno", "errno"),
        ("np", "np", "Np", "np_", "np"),
        ("__proto__", "proto", "Proto", "proto", "proto"),
    ],
)
def test_what_becomes_of_a_name(name: str, c: str, go: str, python: str, js: str) -> None:
    assert [identifiers([name], language, "input")[0] for language in ("c", "go", "python", "js")] == [c, go, python, js]


def test_alike_names_are_numbered_in_their_order() -> None:
    assert identifiers(["x:0", "x.0", "x_0_2", "x/0"], "c", "input") == ["x_0", "x_0_2", "x_0_2_2", "x_0_3"]


def test_python_takes_them_as_fields_and_parameters() -> None:
    found = identifiers(EVERY, "python", "input")
    assert all(one.isidentifier() and not keyword.iskeyword(one) and not keyword.issoftkeyword(one) for one in found)
    made = dataclasses.make_dataclass("Input", found, frozen=True)
    assert [field.name for field in dataclasses.fields(made)] == found
    compile(f"def zeros(*, {', '.join(found)}): pass", "zeros", "exec")


def test_javascript_takes_them_as_variables_and_keys(tmp_path: Path) -> None:
    found = identifiers(EVERY, "js", "input")
    lines = [
        f"let {one} = {index}; if ({{{one}}}.{one} !== {index}) throw new Error('{one}');" for index, one in enumerate(found)
    ]
    lines += [f"if ('{one}' in {{}}) throw new Error('{one} is inherited');" for one in found]
    (tmp_path / "names.mjs").write_text("\n".join(lines))
    ran(["node", tmp_path / "names.mjs"])


@pytest.mark.parametrize(("compiler", "standard"), [("gcc", "c11"), ("gcc", "gnu11"), ("g++", "c++17"), ("g++", "gnu++17")])
def test_c_takes_them_as_members_and_variables_behind_every_header(tmp_path: Path, compiler: str, standard: str) -> None:
    includes = "".join(f"#include <{name}.h>\n" for name in HEADERS if (name, compiler) != ("complex", "g++"))
    source = tmp_path / ("a.cpp" if compiler == "g++" else "a.c")
    source.write_text(includes)
    said = ran([compiler, f"-std={standard}", "-dM", "-E", source])
    macros = re.findall(r"^#define ([A-Za-z_]\w*)", said, re.MULTILINE)
    assert len(macros) > 300
    found = identifiers(sorted({*EVERY, *macros}), "c", "input")
    members = "".join(f"    int {one};\n" for one in found)
    uses = "".join(f"    s->{one} = 1;\n" for one in found)
    source.write_text(f"{includes}struct s {{\n{members}}};\nvoid use(struct s *s);\nvoid use(struct s *s) {{\n{uses}}}\n")
    ran([compiler, f"-std={standard}", "-fsyntax-only", source])


@pytest.mark.skipif(not shutil.which("gofmt"), reason="Go is not installed")
def test_go_takes_them_as_fields() -> None:
    found = identifiers(EVERY, "go", "input")
    ran(["gofmt", "-e"], "package p\n\ntype Input struct {\n" + "".join(f"\t{one} int\n" for one in found) + "}\n")


def ran(command: list[str | Path], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    return done.stdout
