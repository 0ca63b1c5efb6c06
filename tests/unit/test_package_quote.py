"""Literals of each language: read back by the language itself, they are the text that went in, and nothing beside it."""

from __future__ import annotations

import ast
import html.parser
import io
import json
import re
import shutil
import subprocess
import tokenize
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment
from ruamel.yaml import YAML

from ortolan.package import quote
from snippet_models import ATTACKS

EDGES = [
    *ATTACKS,
    "\0",
    "a\0001",
    "\x80",
    "\xa0",
    "\ufeff",
    "\uffff",
    "\U0010ffff",
    "??=??/",
    "\\u0041",
    "\\x41",
    "\\101",
    "a" * 5000,
]
EDGES += [chr(code) for code in range(1, 0x180)]
TEXTS = st.one_of(st.text(), st.text(st.sampled_from("\\\"'`$?/*-#{}%<>!&;:=\n\r\t ab0n\u2028")), st.sampled_from(EDGES))
"""Characters that mean something somewhere come together more often than by chance."""


@given(TEXTS)
def test_python(text: str) -> None:
    literal = quote.python(text)
    assert ast.literal_eval(literal) == text
    (token,) = [one for one in tokenize.generate_tokens(io.StringIO(literal).readline) if one.string.strip()]
    assert token.type == tokenize.STRING


@given(TEXTS)
def test_json_and_toml_basic_strings_of_python(text: str) -> None:
    assert json.loads(quote.js(text)) == text
    assert quote.js(text).isascii()
    assert not set("<>&\u2028\u2029") & set(quote.js(text))


@given(TEXTS)
def test_yaml(text: str) -> None:
    assert YAML(typ="safe", pure=True).load(f"before: [{quote.yaml(text)}]\nafter: 1\n") == {"before": [text], "after": 1}


class Page(html.parser.HTMLParser):
    """What a page consists of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.title: str | None = None
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.title = dict(attrs).get("title", self.title)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(TEXTS)
def test_html(text: str) -> None:
    page = Page()
    page.feed(f'<p title="{quote.html(text)}">{quote.html(text)}</p>')
    page.close()
    assert page.tags == ["p"]
    seen = "".join("\ufffd" if re.match(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", one) else one for one in text)
    assert (page.title, page.text) == (seen, seen)


def test_javascript() -> None:
    literals = ",\n".join(map(quote.js, EDGES))
    program = f"const all = [{literals}];\nprocess.stdout.write(JSON.stringify(all));"
    assert json.loads(ran(["node", "--input-type=module"], program.encode())) == EDGES


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("literal", [quote.shell, quote.docker])
def test_words_of_the_shell(shell: str, literal: Callable[[str], str]) -> None:
    texts = [text for text in EDGES if not set("\0\n\r") & set(text)]
    texts = [text for text in texts if text.isprintable()] if literal is quote.docker else texts
    script = "".join(f"printf '%s\\0' {literal(text)}\n" for text in texts)
    assert ran([shell], script.encode()).decode().split("\0")[:-1] == texts


@given(TEXTS)
def test_a_word_of_the_shell_has_no_line_end(text: str) -> None:
    if set("\0\n\r") & set(text):
        with pytest.raises(ValueError, match="word of the shell"):
            quote.shell(text)
    else:
        assert len(re.split(r"[\n\r]", quote.shell(text))) == 1


@given(TEXTS)
def test_words_of_a_dockerfile(text: str) -> None:
    """https://docs.docker.com/reference/dockerfile: LABEL, ENV and environment replacement."""
    found = quote.docker(text)
    assert docker_words(f"a={found} b=1") == ["a=" + "".join(one if one.isprintable() else " " for one in text), "b=1"]


def docker_words(line: str) -> list[str]:
    """The words of an instruction, parted by blanks outside of quotes; in double ones a backslash quotes ``"``, ``$``, itself."""
    assert line.isprintable(), "a control character could end the line"
    words, quoted, places = [""], "", iter(range(len(line)))
    for place in places:
        one, after = line[place], line[place + 1 : place + 2]
        if quoted == "'" or one not in "\\\"'$ " or (quoted and one in "' "):
            if one == quoted:
                quoted = ""
            else:
                words[-1] += one
        elif one == "\\":
            escaped = bool(after) and after in '"\\$'
            words[-1] += after if escaped else one
            if escaped:
                next(places)
        elif one in "\"'":
            quoted = "" if quoted else one
        else:
            assert one == " ", "a variable would be expanded"
            words.append("")
    assert not quoted
    return words


@pytest.mark.parametrize(("compiler", "flags"), [("gcc", ["-std=c11", "-trigraphs"]), ("g++", ["-std=c++14", "-trigraphs"])])
def test_c(tmp_path: Path, compiler: str, flags: list[str]) -> None:
    texts = [text for text in EDGES if "\0" not in text]
    rows = "".join(f"  {{{quote.c(text)}, sizeof {quote.c(text)} - 1}},\n" for text in texts)
    source = tmp_path / ("a.c" if compiler == "gcc" else "a.cpp")
    source.write_text(
        "#include <stdio.h>\nstatic const struct { const char *text; unsigned long size; } all[] = {\n" + rows + "};\n"
        "int main(void) {\n  for (unsigned long i = 0; i < sizeof all / sizeof *all; i++)\n"
        "    fwrite(all[i].text, 1, all[i].size + 1, stdout);\n  return 0;\n}\n"
    )
    ran([compiler, *flags, "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "a", source])
    assert ran([tmp_path / "a"]).decode().split("\0")[:-1] == texts


def test_c_has_no_null_characters() -> None:
    with pytest.raises(ValueError, match="C string"):
        quote.c("a\0b")


GO = re.compile(r'"(?:[ !#-\[\]-~]|\\u[0-9a-f]{4}|\\U000[0-9a-f]{5}|\\U0010[0-9a-f]{4})*"')
"""Interpreted string literals, as far as they are used. https://go.dev/ref/spec#String_literals."""


@given(TEXTS)
def test_go_by_its_specification(text: str) -> None:
    literal = quote.go(text)
    assert GO.fullmatch(literal)
    values = re.sub(r"\\u(....)|\\U(........)", lambda found: chr(int(found[1] or found[2], 16)), literal[1:-1])
    assert values == text


@pytest.mark.skipif(not shutil.which("gofmt"), reason="Go is not installed")
def test_go_by_its_own_compiler() -> None:
    rows = "".join(f"\t{quote.go(text)},\n" for text in EDGES)
    ran(["gofmt", "-e"], f"package p\n\nvar all = []string{{\n{rows}}}\n".encode())


def test_half_a_pair_of_surrogates_is_no_character() -> None:
    assert quote.go("\ud800") == quote.yaml("\ud800") == '"\\ufffd"'
    assert quote.html("\ud800") == "\ufffd"
    with pytest.raises(ValueError, match="surrogates"):
        quote.c("\ud800")


# --- comments -----------------------------------------------------------------------------------------------------


@given(TEXTS)
def test_a_comment_is_one_line_that_ends_nothing(text: str) -> None:
    found = quote.comment(text)
    assert found.isascii()
    assert found.isprintable()
    assert not set('\\<>"') & set(found)
    for ends in ("*/", "/*", "--", "??", "'''", "{{", "}}", "{%", "%}", "{#", "#}", "coding:", "coding=", "+build"):
        assert ends not in found
    assert not re.match(r"\w+\s*=", found)
    assert Environment(autoescape=False).from_string(found).render() == found
    assert len(found) < 500


def test_comments_of_c(tmp_path: Path) -> None:
    lines = "".join(
        f"/* {quote.comment(text)} */ int a{i}; // {quote.comment(text)}\nint b{i};\n" for i, text in enumerate(EDGES)
    )
    (tmp_path / "a.c").write_text(lines)
    ran(["gcc", "-std=c11", "-trigraphs", "-Wall", "-Wextra", "-Wcomment", "-Werror", "-fsyntax-only", tmp_path / "a.c"])
    tokens = ran(["gcc", "-std=c11", "-trigraphs", "-E", "-P", tmp_path / "a.c"]).decode().split()
    assert "".join(tokens) == "".join(f"inta{i};intb{i};" for i in range(len(EDGES)))


def test_comments_of_javascript() -> None:
    lines = [f"/* {quote.comment(text)} */ count += 1; // {quote.comment(text)}\ncount += 1;" for text in EDGES]
    program = "let count = 0;\n" + "\n".join(lines) + "\nprocess.stdout.write(String(count));"
    assert int(ran(["node", "--input-type=module"], program.encode())) == 2 * len(EDGES)


@given(TEXTS)
def test_comments_and_docstrings_of_python(text: str) -> None:
    source = f'# {quote.comment(text)}\n"""{quote.comment(text)}"""\n# {quote.comment(text)}\nx = 1\n'.encode()
    assert tokenize.detect_encoding(io.BytesIO(source).readline)[0] == "utf-8"
    assert [type(one) for one in ast.parse(source).body] == [ast.Expr, ast.Assign]


@given(TEXTS)
def test_comments_of_html_yaml_and_toml(text: str) -> None:
    page = Page()
    page.feed(f"<!-- {quote.comment(text)} --><p>end</p>")
    page.close()
    assert (page.tags, page.text) == (["p"], "end")
    assert YAML(typ="safe", pure=True).load(f"# {quote.comment(text)}\na: 1 # {quote.comment(text)}\n") == {"a": 1}
    assert tomllib.loads(f"# {quote.comment(text)}\na = 1 # {quote.comment(text)}\n") == {"a": 1}


@pytest.mark.parametrize("text", ["syntax=evil/frontend", "escape = `", "check=skip=all"])
def test_a_comment_at_the_head_of_a_dockerfile_is_no_directive(text: str) -> None:
    """https://docs.docker.com/reference/dockerfile/#parser-directives."""
    assert not re.match(r"#\s*[a-zA-Z][a-zA-Z0-9]*\s*=", f"# {quote.comment(text)}")


def test_a_backslash_ends_no_comment() -> None:
    assert quote.comment("*\\ evil(); /*") == "* / evil(); / *"


def ran(command: Sequence[str | Path], text: bytes = b"") -> bytes:
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:2000]
    return done.stdout
