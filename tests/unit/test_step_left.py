"""What a model's own code may leave in a step's folder is never followed, waited for or believed; none of it stays linked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakes import executor
from ortolan import digest, known
from ortolan.errors import OrtolanError, StoreError
from ortolan.place.reply import Reply, end_of, reply_in
from ortolan.step import Source, Step, tree
from ortolan.store import Store

LEAVE = "import os\nos.chdir(out.parent)\nopen('out/text.txt', 'w').close()\n"
"""The code's own way out comes first; the worker writes no result."""
REFUSED = '{"refused": {"what": "a", "why": "b", "hint": "c"}}'


def failed(root: Path, code: str, limit: float = 30.0, **inputs: Source) -> OrtolanError:
    runner, _ = executor(root)
    step = Step("fake_harm", "here", {"code": LEAVE + code}, inputs, "harm", limit)
    error = runner.run([step])[step.id].error
    assert error
    return error


def kept(error: OrtolanError) -> Path:
    return Path(error.hint.rpartition(": ")[2])


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that the builder can read and the step could not."""
    (tmp_path / "secret").write_text("a secret word")
    return tmp_path / "secret"


def test_a_log_that_is_a_link_is_not_shown(tmp_path: Path, secret: Path) -> None:
    error = failed(tmp_path, f"os.remove('log.txt')\nos.symlink({str(secret)!r}, 'log.txt')\nos._exit(3)")
    assert "exit code 3" in error.what
    assert "secret" not in error.why
    assert error.why == "it printed nothing"


def test_a_log_that_is_a_pipe_does_not_hang(tmp_path: Path) -> None:
    assert failed(tmp_path, "os.remove('log.txt')\nos.mkfifo('log.txt')\nos._exit(3)").why == "it printed nothing"


def test_only_the_end_of_a_log_is_read(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("first" + "x" * 1000 + "last")
    assert end_of(tmp_path / "log.txt", 10) == b"xxxxxxlast"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_a_result_that_is_no_plain_file_is_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "result.json"
    (tmp_path / "good").write_text('{"facts": {}}')
    if kind == "link":
        path.symlink_to("good")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    assert "before it left a result" in reply_in(tmp_path, 3).crash


@pytest.mark.parametrize(
    "text",
    [
        "[]", "1", "null", '"facts"', "{}", "",
        '{"facts": []}', '{"error": "x"}', '{"error": null}', '{"refused": {"what": "a"}}',
        '{"refused": {"what": 1, "why": "b", "hint": "c"}}', '{"facts": {"a": NaN}}', '{"facts": {"a": 1e999}}',
        '{"facts": {"a": "\\ud800"}}', "[" * 100_000, '{"facts": {"a": ' + "[" * 100_000, "\xff",
    ],
)  # fmt: skip
def test_a_result_that_the_worker_would_not_write_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_bytes(text.encode("latin-1"))
    assert "exit code 0 before it left a result" in reply_in(tmp_path, 0).crash


def test_what_the_worker_writes_is_read(tmp_path: Path) -> None:
    for text, reply in (
        ('{"facts": {"a": 1}}', Reply({"a": 1})),
        (REFUSED, Reply(refused={"what": "a", "why": "b", "hint": "c"})),
        ('{"error": {"type": "ValueError", "message": "no"}}', Reply(crash="ValueError: no")),
    ):
        (tmp_path / "result.json").write_text(text)
        assert reply_in(tmp_path, 0) == reply


def test_a_build_ends_with_words_where_the_result_is_a_pipe(tmp_path: Path) -> None:
    assert "before it left a result" in failed(tmp_path, "os.mkfifo('result.json')\nos._exit(0)").what


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("os.remove('out/text.txt')\nos.symlink('SECRET', 'out/text.txt')", "out/text.txt"),
        ("os.remove('out/text.txt')\nos.mkfifo('out/text.txt')", "out/text.txt"),
        ("os.symlink('/', 'out/more')", "out/more"),
        ("os.remove('out/text.txt')\nos.rmdir('out')\nos.symlink('/', 'out')", "out"),
    ],
)
def test_an_output_that_is_no_plain_file_is_refused_by_name(tmp_path: Path, secret: Path, code: str, name: str) -> None:
    error = failed(tmp_path, code.replace("SECRET", str(secret)))
    assert error.what == f"stage fake_harm left what is no plain file: {name}"
    assert not [path for path in (tmp_path / "store" / "objects").iterdir() if "secret" in path.read_text()]


def test_an_output_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    assert "left [], declared are ['text.txt']" in failed(tmp_path, "os.remove('out/text.txt')\nos.rmdir('out')").what


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_the_store_takes_plain_files_only(tmp_path: Path, secret: Path, kind: str) -> None:
    store, given = Store(tmp_path / "store"), tmp_path / "given"
    if kind == "link":
        given.symlink_to(secret)
    else:
        os.mkfifo(given)
    for take in (store.put, store.take):
        with pytest.raises(StoreError, match="only plain files go into the store"):
            take(given)
    assert not list((tmp_path / "store" / "objects").iterdir())


def test_a_folder_that_is_kept_holds_no_name_of_the_users_files(tmp_path: Path) -> None:
    model = tmp_path / "given" / "model.onnx"
    model.parent.mkdir()
    model.write_bytes(bytes(known.LARGE))
    os.utime(model, ns=(10**18, 10**18))
    code = "assert next(inputs['model'].glob('*')).stat().st_nlink == 2\nraise ValueError('after it was linked')"
    error = failed(tmp_path, code, model=tree({"model.onnx": model}))
    assert error.what == "ValueError: after it was linked"
    assert model.stat().st_nlink == 1
    (copy,) = (kept(error) / "in" / "model").iterdir()
    assert digest.of_file(copy) == digest.of_file(model)


def test_a_model_that_was_written_to_and_renamed_over_is_noticed(tmp_path: Path) -> None:
    model = tmp_path / "given" / "model.onnx"
    model.parent.mkdir()
    model.write_bytes(bytes(known.LARGE))
    os.utime(model, ns=(10**18, 10**18))
    code = (
        "path = next(inputs['model'].glob('*'))\npath.open('r+b').write(b'x')\n"
        "(out.parent / 'new').write_bytes(b'new')\n(out.parent / 'new').replace(path)"
    )
    assert failed(tmp_path, code, model=tree({"model.onnx": model})).what == "a file changed while the step read it"
