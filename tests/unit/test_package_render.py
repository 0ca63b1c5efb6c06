"""Templates: what they can print, what their mistakes say, and that no text of a user's becomes code in any of the real ones."""

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
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import Environment
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from conftest import ROOT
from manifests import FILES, manifest, tensor
from ortolan.errors import OrtolanError
from ortolan.manifest import Manifest
from ortolan.package import find_templates, pack
from ortolan.package.context import context
from ortolan.package.names import LANGUAGES, identifiers
from ortolan.package.quote import FILTERS, Unquoted, Untrusted
from ortolan.package.render import render
from ortolan.recipe.outputs import Outputs
from snippet_models import ATTACKS, KEYWORDS

TEMPLATES = ROOT / "templates"
RUNTIMES = [ROOT / "runtimes"]
SECRET = 'EVIL" text'


def rendered(folder: Path, text: str, **given: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "file.txt.j2").write_text(text)
    return render("own", folder, given).files["file.txt"].decode()


# --- what can be printed --------------------------------------------------------------------------------------------

WAYS = [
    "{{ x }}", "{{ x ~ '' }}", "{{ '' ~ x }}", "{{ x + '' }}", "{{ '' + x }}", "{{ x * 2 }}", "{{ x[0] }}", "{{ x[:] }}",
    "{{ [x, x] | join(',') }}", "{{ [1, 2] | join(x) }}", "{{ ''.join([x]) }}", "{{ 'a'.replace('a', x) }}",
    "{{ '%s' | format(x) }}", "{{ '%r' | format(x) }}", "{{ '%s' % x }}", "{{ '%s' % [x] }}", "{{ '%(a)s' % {'a': x} }}",
    "{{ '{}'.format(x) }}", "{{ '{!r}'.format(x) }}", "{{ '{0.text}'.format(x) }}", "{{ '{a.text}'.format_map({'a': x}) }}",
    "{{ x | string }}", "{{ x | upper }}", "{{ x | title }}", "{{ x | trim }}", "{{ x | e }}", "{{ x | forceescape }}",
    "{{ x | safe }}", "{{ x | tojson }}", "{{ x | pprint }}", "{{ x | list }}", "{{ x | length }}", "{{ x | urlencode }}",
    "{{ x | replace('a', 'b') }}", "{{ x | indent }}", "{{ x | wordwrap }}", "{{ x | striptags }}", "{{ x | urlize }}",
    "{{ x | truncate }}", "{{ x | center }}", "{{ x | first }}", "{{ x | reverse }}", "{{ x | int }}", "{{ x | float }}",
    "{{ x | default('a') }}", "{{ x | items | list }}", "{{ x | escape | c_string }}", "{{ {'a': x} | xmlattr }}",
    "{{ x.text }}", "{{ x['text'] }}", "{{ x | attr('text') }}", "{{ x.__dict__ }}", "{{ x.__class__ }}", "{{ x.__str__() }}",
    "{{ x.__getattribute__('text') }}", "{{ [x] | map(attribute='text') | join }}", "{{ [x] | sum(start='', attribute='text') }}",
    "{{ [x] | sort(attribute='text') }}", "{% for a, b in [x] | groupby('text') %}{{ a }}{% endfor %}",
    "{{ [x] | max(attribute='text') }}", "{{ [x] }}", "{{ (x,) }}", "{{ {'a': x} }}", "{{ {'a': [x]} }}", "{{ {x: 1} }}",
    "{{ [x] | string }}", "{{ [x] | tojson }}", "{{ [x] | pprint }}", "{{ [x] | e }}", "{{ [x] | c_string }}", "{{ [x] ~ '' }}",
    "{{ {x: 1} | dictsort }}", "{{ [x] | batch(1) | list }}", "{{ dict(a=x).a }}", "{{ namespace(a=x).a }}",
    "{{ cycler(x).next() }}",     "{% set j = joiner(x) %}{{ j() }}{{ j() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(x) }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ x }}{% endcall %}",
    "{% macro m(a=x) %}{{ a }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ varargs }}{% endmacro %}{{ m(x) }}", "{% macro m() %}{{ kwargs }}{% endmacro %}{{ m(a=x) }}",
    "{% set a %}{{ x }}{% endset %}{{ a }}", "{% set a = x %}{{ a }}", "{% with a = x %}{{ a }}{% endwith %}",
    "{% filter upper %}{{ x }}{% endfilter %}", "{% for a in x %}{{ a }}{% endfor %}", "{% for a in [x] %}{{ a }}{% endfor %}",
    "{% for a in [x, x] %}{{ loop.previtem }}{% endfor %}", "{% autoescape true %}{{ x }}{% endautoescape %}",
    "{{ x if true }}", "{{ x or 'a' }}", "{{ not x or x }}", "{% include x %}", "{% import x as a %}", "{% extends x %}",
    "{{ ([x] | first) }}", "{{ [x] | last }}", "{{ [[x]] }}",
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_text_of_the_users_is_printed_through_a_filter_or_not_at_all(tmp_path: Path, way: str) -> None:
    with pytest.raises(OrtolanError) as caught:
        rendered(tmp_path / "own", "\n" + way, x=Untrusted(SECRET))
    assert caught.value.where == f"{tmp_path}/own/file.txt.j2:2"


@pytest.mark.parametrize("name", list(FILTERS))
def test_every_filter_of_jinja_is_on_guard_for_itself(tmp_path: Path, name: str) -> None:
    """Whatever a filter makes of what it is given, an unquoted text does not come out."""
    for other in sorted(Environment().filters):
        for form in (f"{{{{ x | {other} }}}}", f"{{{{ [x] | {other} | list }}}}", f"{{{{ {{'a': x}} | {other} }}}}"):
            try:
                found = rendered(tmp_path / "own", form, x=Untrusted(SECRET))
            except OrtolanError:
                continue
            assert "evil" not in found.lower(), form
    assert rendered(tmp_path / "own", f"{{{{ x | {name} }}}}", x=Untrusted(SECRET)) == FILTERS[name](SECRET)


def test_it_can_be_compared_and_chosen_by(tmp_path: Path) -> None:
    text = "{{ 1 if x == 'a' }}{{ 2 if x in ['a'] }}{{ 3 if x }}{{ 4 if not empty }}{{ 5 if x == same }}{{ 6 if x != empty }}"
    given = {"x": Untrusted("a"), "same": Untrusted("a"), "empty": Untrusted("")}
    assert rendered(tmp_path / "own", text, **given) == "123456"
    with pytest.raises(Unquoted):
        repr(Untrusted("a"))


@pytest.mark.parametrize(
    "text", ["{{ none }}", "{{ range }}", "{{ cycler }}", "{{ m }}{% macro m() %}{% endmacro %}", "{{ none | c_string }}"]
)
def test_what_has_no_text_is_not_printed(tmp_path: Path, text: str) -> None:
    with pytest.raises(OrtolanError):
        rendered(tmp_path / "own", text)


@pytest.mark.parametrize("text", ["{{ lipsum() }}", "{{ [1, 2] | random }}"])
def test_nothing_is_random(tmp_path: Path, text: str) -> None:
    with pytest.raises(OrtolanError):
        rendered(tmp_path / "own", text)


def test_numbers_and_lists_of_them_are_printed(tmp_path: Path) -> None:
    assert rendered(tmp_path / "own", "{{ 1 }} {{ 1e-05 }} {{ true }} {{ [1, none, 'a'] }} {{ {'a': 2} }}") == (
        "1 1e-05 True [1, None, 'a'] {'a': 2}"
    )


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a\n\n{{ missing }}\n", 3, "'missing' is undefined"),
        ("a\n{{ model.missing }}\n", 2, "has no attribute 'missing'"),
        ("a\n{{ missing | c_string }}\n", 2, "'missing' is undefined"),
        ("a\n{% if x %}\n", 2, "innermost block"),
        ("a\n{{ x | c_strin }}\n", 2, "No filter named 'c_strin'"),
        ("a\n{{ 1 / 0 }}\n", 2, "division by zero"),
        ("a\n\n{% include 'none.j2' %}\n", 3, "none.j2"),
        ("{{ nul | c_string }}", 1, "C string"),
        ("{{ end | shell_string }}", 1, "word of the shell"),
    ],
)
def test_a_mistake_names_its_file_and_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    with pytest.raises(OrtolanError) as caught:
        rendered(tmp_path / "own", text, model={}, x=Untrusted("x"), nul=Untrusted("a\0b"), end=Untrusted("a\nb"))
    assert caught.value.where == f"{tmp_path}/own/file.txt.j2:{line}"
    assert why in caught.value.why


@pytest.mark.parametrize("macro", ["{% macro m(x) %}\n{{ x.y }}\n{% endmacro %}", "\n{% macro m(x) %}{% endmacr %}"])
def test_a_mistake_in_a_macro_is_in_the_file_of_the_macro(tmp_path: Path, macro: str) -> None:
    (tmp_path / "_macros.j2").write_text(macro)
    with pytest.raises(OrtolanError) as caught:
        rendered(tmp_path, "{% from '_macros.j2' import m %}\n\n\n{{ m(1) }}")
    assert caught.value.where == f"{tmp_path}/_macros.j2:2"


def test_a_kind_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "cobol").mkdir()
    with pytest.raises(OrtolanError) as caught:
        find_templates("pyton", [tmp_path, TEMPLATES])
    assert caught.value.hint == "Did you mean python?"
    with pytest.raises(OrtolanError) as caught:
        find_templates("fortran", [tmp_path, TEMPLATES])
    assert "cobol" in caught.value.hint
    with pytest.raises(OrtolanError, match="no templates 'c'"):
        find_templates("c", [])
    assert find_templates("cobol", [tmp_path, TEMPLATES]) == tmp_path / "cobol"


def test_a_projects_own_kind_comes_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "own.txt").write_text("own")
    made = pack(manifest(), Outputs(snippets=["python"]), [tmp_path, TEMPLATES], RUNTIMES)
    assert [name for name in made.files if not name.startswith("device/")] == ["python/own.txt"]


def test_files_macros_and_litter(tmp_path: Path) -> None:
    litter = dict.fromkeys(("__pycache__/x.pyc", "a.txt.j2~", ".a.swp", ".DS_Store"), "")
    files = {"a.txt.j2": "{% from '_m.j2' import m %}{{ m() }}", "_m.j2": "{% macro m() %}1{% endmacro %}", "sub/b.j2": "2\r\n"}
    files |= {"c.bin": "{{ raw }}", ".dockerignore": "x", **litter}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    found = render("own", tmp_path, {})
    assert found.files == {"a.txt": b"1", "sub/b": b"2\n", "c.bin": b"{{ raw }}", ".dockerignore": b"x"}
    (tmp_path / "_m.j2").write_text("{% macro m() %}1{% endmacro %} ")
    assert render("own", tmp_path, {}).templates != found.templates


def test_two_templates_of_one_file_and_no_text_are_mistakes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    (tmp_path / "a.j2").write_text("")
    with pytest.raises(OrtolanError, match="two templates make a"):
        render("own", tmp_path, {})
    (tmp_path / "a").unlink()
    (tmp_path / "a.j2").write_bytes(b"\xff")
    with pytest.raises(OrtolanError, match="UTF-8"):
        render("own", tmp_path, {})


def test_no_snippets_of_a_model_that_no_program_can_load() -> None:
    with pytest.raises(OrtolanError, match="ships no model"):
        pack(manifest(files=["model.engine"]), Outputs(snippets=["python"]), [TEMPLATES], RUNTIMES)
    made = pack(manifest(files=["model.engine"]), Outputs(), [TEMPLATES], RUNTIMES)
    assert {name.partition("/")[0] for name in made.files} == {"device"}


def test_every_build_has_once_what_its_device_runs_first(tmp_path: Path) -> None:
    for asked in (Outputs(), Outputs(snippets=["device", "python", "device"])):
        made = pack(manifest(), asked, [TEMPLATES], RUNTIMES)
        assert [part.kind for part in made.manifest.packages].count("device") == 1
        assert {"device/preflight.py", "device/selftest.py"} <= made.files.keys()
        assert made.manifest.preflight.size == 64 * len(FILES) + sum(map(len, made.files.values()))
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "preflight.py").write_text("")
    with pytest.raises(OrtolanError, match=r"no selftest\.py"):
        pack(manifest(), Outputs(), [tmp_path, TEMPLATES], RUNTIMES)


# --- the real templates, with all that is hostile --------------------------------------------------------------------

KINDS = sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir() and path.name != "gitlab")  # see test_ci_pipeline.py
NAMES = [name for name in (*ATTACKS, *KEYWORDS) if name]


def hostile(texts: list[str], package: str) -> Manifest:
    """A manifest in which every place where a user's text can stand holds one."""
    return manifest(
        inputs=[
            tensor(text, dtype, (f"{text} axis", 2))
            for text, dtype in zip(texts, ["float32", "int64", "bool"] * 99, strict=False)
        ],
        outputs=[tensor(f"{text} out", "float32", (f"{text} axis", None)) for text in texts],
        providers={"XnnpackExecutionProvider": dict(zip(texts, reversed(texts), strict=True)), "CPUExecutionProvider": {}},
        config=dict(zip(texts, reversed(texts), strict=True)),
        licence=" ".join(texts),
        package=package,
        platform="web" if package == "onnxruntime-web" else "linux/amd64",
        files=[*FILES, "model.web.onnx", "web.json"] if package == "onnxruntime-web" else FILES,
    )


def harmless(texts: list[str]) -> list[str]:
    """Other texts, all different and without anything special, that come to the same identifiers in all languages."""
    plain = [" ".join(re.findall(r"[A-Za-z0-9]+", ascii_of(text))) + "." * (place + 1) for place, text in enumerate(texts)]
    for language in LANGUAGES:
        assert identifiers(plain, language, "input") == identifiers(texts, language, "input")
    return plain


def ascii_of(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def packed(kind: str, texts: list[str]) -> dict[str, str]:
    web = kind.endswith("web")
    asked: dict[str, Any] = {"snippets": [kind]}
    if kind.startswith("docker"):
        asked = {"docker": {"base": "debian:12-slim", "templates": kind}}
    files = pack(
        hostile(texts, "onnxruntime-web" if web else "onnxruntime"), Outputs.model_validate(asked), [TEMPLATES], RUNTIMES
    ).files
    return {name: data.decode() for name, data in files.items()}


C_LIKE = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`""", re.DOTALL)


def c_like(text: str) -> Any:
    """Code without what stands in comments and literals; line ends count, as Go and JavaScript heed them."""
    return C_LIKE.sub(lambda found: found[0][:2] if found[0][0] == "/" else '""', text)


def python_code(text: str) -> Any:
    ast.parse(text)
    kept = [one for one in tokenize.generate_tokens(io.StringIO(text).readline) if one.type != tokenize.COMMENT]
    return [(one.type, "" if one.type == tokenize.STRING else one.string) for one in kept]


def shape(value: Any) -> Any:
    """JSON, YAML or TOML without its texts."""
    if isinstance(value, Mapping):
        return [shape(one) for one in value.values()]
    return [shape(one) for one in value] if isinstance(value, list) else "" if isinstance(value, str) else value


def dockerfile(text: str) -> Any:
    """Lines that go on are one; comments are none; quoted words are empty."""
    lines = [line for line in text.split("\n") if not re.match(r"\s*#", line)]
    words = re.sub(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*')+""", "''", "\n".join(lines).replace("\\\n", " "))
    return words.split("\n")


class Page(html.parser.HTMLParser):
    """The elements of a page and the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []
        self.script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, [name for name, _ in attrs]))
        self.script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(f"/{tag}")
        self.script = False

    def handle_data(self, data: str) -> None:
        self.seen += [c_like(data)] if self.script else []

    def handle_comment(self, data: str) -> None:
        assert "--" not in data


def page(text: str) -> Any:
    one = Page()
    one.feed(text)
    one.close()
    return one.seen


def prose(text: str) -> Any:
    """Documents: code blocks and lines, without code spans."""
    return [line.count("```") for line in text.split("\n")]


READ: list[tuple[str, Callable[[str], Any]]] = [
    (r".*\.py", python_code),
    (r".*\.(c|h|go|mod|mjs|js|ts|mts|cjs)|CMakeLists\.txt", c_like),
    (r".*\.json", lambda text: shape(json.loads(text))),
    (r".*\.ya?ml", lambda text: shape(YAML(typ="safe", pure=True).load(text))),
    (r".*\.toml", lambda text: shape(tomllib.loads(text))),
    (r"Dockerfile|.*\.dockerfile", dockerfile),
    (r".*\.html", page),
    (r".*\.md", prose),
]


def code(name: str, text: str) -> Any:
    """What a file says beside texts and comments; of a file of no known kind all."""
    read = next((read for pattern, read in READ if re.fullmatch(pattern, name.rpartition("/")[2])), lambda text: text)
    return read(text)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_texts_change_nothing_but_texts_and_comments(kind: str) -> None:
    bad, good = packed(kind, NAMES), packed(kind, harmless(NAMES))
    assert bad.keys() == good.keys()
    for name, text in bad.items():
        assert code(name, text) == code(name, good[name]), name
        assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text), name


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_no_text_at_all_becomes_code(kind: str, texts: list[str]) -> None:
    bad, good = packed(kind, texts), packed(kind, harmless(texts))
    for name, text in bad.items():
        assert code(name, text) == code(name, good[name]), name


@pytest.mark.parametrize(
    ("name", "text", "caught"),
    [
        ("a.py", "x = '{{ model.licence | html }}'", False),
        ("a.py", "x = '{{ model.licence | python_string }}'", True),
        ("a.py", "# {{ model.licence | js_string }}", False),
        ("a.c", "/* {{ model.licence | c_string }} */", True),
        ("a.c", "/* {{ model.licence | comment }} */", False),
        ("a.mjs", "const a = `{{ model.licence | js_string }}`;", True),
        ("a.mjs", "const a = {{ model.licence | js_string }};", False),
        ("a.go", "/* {{ model.licence | shell_string }} */", True),
        ("Dockerfile", "LABEL a={{ model.licence | html }}", True),
        ("Dockerfile", "LABEL a={{ model.licence | docker_string }}", False),
        ("a.yaml", "a: [{{ model.licence | html }}]", True),
        ("a.yaml", "a: {{ model.licence | yaml_string }}", False),
        ("a.html", "<p title={{ model.licence | html }}>", True),
        ("a.html", "<p title='{{ model.licence | html }}'>", False),
        ("a.html", "<script>const a = {{ model.licence | yaml_string }}</script>", True),
        ("a.html", "<script>const a = {{ model.licence | js_string }}</script>", False),
    ],
)
def test_the_comparison_sees_a_wrong_filter(tmp_path: Path, name: str, text: str, caught: bool) -> None:
    (tmp_path / f"{name}.j2").write_text(text + "\n")
    texts = [text for text in NAMES if not {"\n", "\r"} & set(text)]
    bad, good = (render("own", tmp_path, context(hostile(one, "onnxruntime"))) for one in (texts, harmless(texts)))
    try:
        same = code(name, bad.files[name].decode()) == code(name, good.files[name].decode())
    except (SyntaxError, tokenize.TokenError, YAMLError, AssertionError):
        same = False
    assert same != caught


@pytest.mark.parametrize("kind", KINDS)
def test_equal_manifests_give_equal_files(kind: str) -> None:
    assert packed(kind, NAMES) == packed(kind, NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_the_languages_own_parsers_take_what_comes_out(kind: str, tmp_path: Path) -> None:
    files = packed(kind, NAMES)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in files:
        command = parser(tmp_path / name)
        if command:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{name}: {done.stderr[:1500]}"


def parser(path: Path) -> list[str | Path]:
    """The program that parses a file, where there is one here."""
    if path.suffix in {".mjs", ".cjs", ".js"}:
        return ["node", "--check", path]
    if path.suffix == ".go" and shutil.which("gofmt"):
        return ["gofmt", "-e", path]
    if path.suffix == ".c" and has_header():
        return ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I/usr/include/onnxruntime", path]
    return []


def has_header() -> bool:
    return Path("/usr/include/onnxruntime/onnxruntime_c_api.h").is_file()
