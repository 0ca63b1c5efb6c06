"""Calling uv: pip's settings handed on, and what is said when it fails."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uv import find_uv_bin

from ortolan.errors import RuntimeSetupError
from ortolan.runtime.uv import environment, uv

NAMES = ["PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_NO_INDEX", "PIP_TRUSTED_HOST", "PIP_PROXY"]
OURS = ["UV_FIND_LINKS", "UV_DEFAULT_INDEX", "UV_INDEX", "SSL_CERT_FILE", "UV_NO_INDEX", "UV_INSECURE_HOST", "ALL_PROXY"]
OTHERS = ["PATH", "HOME", "HTTPS_PROXY", "NO_PROXY", "UV_CACHE_DIR", "UV_OFFLINE", "PIP_CACHE_DIR"]
LEAKS = ["VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"]
WORDS = st.text("abc:/.", min_size=1, max_size=8)
VALUES = st.one_of(st.just(""), st.lists(WORDS, min_size=1, max_size=3).map(" ".join), st.lists(WORDS, max_size=3).map("\n".join))
ENVIRONMENTS = st.dictionaries(st.sampled_from(NAMES + OURS + OTHERS + LEAKS), VALUES)


@pytest.mark.parametrize(
    ("pip", "value", "name", "ours"),
    [
        ("PIP_FIND_LINKS", "/wheels", "UV_FIND_LINKS", "/wheels"),
        ("PIP_FIND_LINKS", "/wheels  https://a.example/simple\n", "UV_FIND_LINKS", "/wheels,https://a.example/simple"),
        ("PIP_INDEX_URL", "https://a.example/simple", "UV_DEFAULT_INDEX", "https://a.example/simple"),
        ("PIP_EXTRA_INDEX_URL", "https://a.example https://b.example", "UV_INDEX", "https://a.example https://b.example"),
        ("PIP_CERT", "/etc/ca.pem", "SSL_CERT_FILE", "/etc/ca.pem"),
        ("PIP_NO_INDEX", "1", "UV_NO_INDEX", "1"),
        ("PIP_TRUSTED_HOST", "a.example", "UV_INSECURE_HOST", "a.example"),
        ("PIP_PROXY", "http://a.example:8080", "ALL_PROXY", "http://a.example:8080"),
    ],
)
def test_a_setting_of_pip_is_handed_on(pip: str, value: str, name: str, ours: str) -> None:
    assert environment({pip: value}) == {pip: value, name: ours}


@given(environ=ENVIRONMENTS)
def test_what_the_user_set_for_uv_wins_and_the_rest_stays(environ: dict[str, str]) -> None:
    env = environment(environ)
    assert {name: env.get(name) for name in OURS if environ.get(name)} == {
        name: environ[name] for name in OURS if environ.get(name)
    }
    assert {name: value for name, value in env.items() if name in NAMES + OTHERS} == {
        name: value for name, value in environ.items() if name in NAMES + OTHERS
    }
    assert not set(LEAKS) & set(env)
    assert set(env) <= set(environ) | set(OURS)


@given(environ=ENVIRONMENTS)
def test_translating_twice_changes_nothing(environ: dict[str, str]) -> None:
    assert environment(environment(environ)) == environment(environ)


@given(links=st.lists(st.text("abc:/.", min_size=1), min_size=1))
def test_every_link_is_handed_on_in_order(links: list[str]) -> None:
    assert environment({"PIP_FIND_LINKS": " \n ".join(links)})["UV_FIND_LINKS"].split(",") == links


def test_uv_reads_what_is_handed_on(tmp_path: Path) -> None:
    """Two folders, of which only the second has the package: uv itself finds it there."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    wheel(tmp_path / "second", "ortolan-test-only", "1.5")
    links = f"{tmp_path / 'first'} {tmp_path / 'second'}"
    env = environment(os.environ | {"PIP_FIND_LINKS": links, "UV_OFFLINE": "1", "UV_FIND_LINKS": "", "PIP_INDEX_URL": ""})
    done = subprocess.run(
        [find_uv_bin(), "pip", "compile", "--no-header", "--no-index", "--quiet", "-"],
        env=env, input="ortolan-test-only", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "ortolan-test-only==1.5" in done.stdout, done.stderr


def wheel(folder: Path, name: str, version: str) -> None:
    """An empty package."""
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")


def test_stdout_is_returned() -> None:
    assert uv(["--version"], doing="ask").startswith("uv ")


def test_a_failure_says_what_was_done_and_ends_with_what_uv_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeSetupError) as caught:
        uv(["venv", "--python", "3.99", "--no-python-downloads", str(tmp_path / "x")], doing="runtime x")
    error = caught.value
    assert (error.what, error.where) == ("uv failed", "runtime x")
    assert "3.99" in error.why
    assert "install that Python" in error.hint
    assert not (tmp_path / "x").exists()


def test_a_version_that_does_not_exist_is_not_blamed_on_the_network(tmp_path: Path) -> None:
    wheel(tmp_path, "small", "1.0")
    (tmp_path / "requirements.in").write_text("small==99.0\n")
    where = ["--no-index", "--find-links", str(tmp_path)]
    with pytest.raises(RuntimeSetupError) as caught:
        uv(["pip", "compile", *where, str(tmp_path / "requirements.in")], doing="lock small==99.0")
    assert "small==99.0" in caught.value.why
    assert "check the version's number" in caught.value.hint
    assert "network" not in caught.value.hint


def test_without_uv_the_hint_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ortolan.runtime.uv.find_uv_bin", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(RuntimeSetupError) as caught:
        uv(["--version"], doing="ask")
    assert caught.value.hint == "pip install uv"
