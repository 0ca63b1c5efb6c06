"""Orchestration with fake stages: recall, sharing, failure, repair of a damaged store."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from fakes import executor, misbehave, write
from ortolan.errors import StoreError
from ortolan.execute import Result
from ortolan.step import Step, in_order, tree


def text_of(result: Result, root: Path) -> str:
    """The bytes that the result's object holds."""
    assert result.action
    return (root / "store" / "objects" / result.action.outputs["text.txt"].digest.removeprefix("sha256:")).read_text()


def test_a_chain_runs_once_and_is_recalled_afterwards(tmp_path: Path) -> None:
    first = write("a")
    second = write("b", before=first["text.txt"])
    runner, events = executor(tmp_path)
    results = runner.run([second])
    assert text_of(results[second.id], tmp_path) == "ab"
    assert results[second.id].facts == {"length": 2}
    assert sum(e.kind == "done" for e in events) == 2
    again, events = executor(tmp_path)
    again.run([second])
    assert [e.kind for e in events] == ["plan", "recalled", "recalled"]


def test_equal_steps_are_one_step_whatever_their_labels(tmp_path: Path) -> None:
    one = Step("fake_write", "here", {"text": "a"}, {}, "for one target")
    other = Step("fake_write", "here", {"text": "a"}, {}, "for another target")
    assert one == other
    assert len(in_order([one, other])) == 1
    runner, events = executor(tmp_path)
    runner.run([one, other])
    assert sum(e.kind == "start" for e in events) == 1


def test_a_folder_is_an_input_and_its_names_are_part_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("same")
    paths = tmp_path / "x"
    runner, _ = executor(tmp_path)
    one, other = write("a", folder=tree({"one": paths})), write("a", folder=tree({"other": paths}))
    results = runner.run([one, other])
    assert one != other
    assert results[one.id].action != results[other.id].action


def test_a_refusal_is_a_result_and_is_not_tried_again(tmp_path: Path) -> None:
    step = misbehave("refuse")
    runner, _ = executor(tmp_path)
    assert runner.run([step])[step.id].refused == {"what": "the input is bad", "why": "it is", "hint": "another"}
    again, events = executor(tmp_path)
    again.run([step])
    assert [e.kind for e in events] == ["plan", "recalled"]


@pytest.mark.parametrize(
    ("how", "limit", "words"),
    [
        ("raise", 30, "ValueError: something unforeseen"),
        ("exit", 30, "exit code 7"),
        ("die", 30, "SIGABRT"),
        ("hang", 1, "time limit of 1 s"),
        ("forget", 30, "left []"),
        ("litter", 30, "left ['more.txt', 'text.txt']"),
    ],
)
def test_a_crash_names_the_step_and_stops_only_what_needs_it(tmp_path: Path, how: str, limit: float, words: str) -> None:
    bad = misbehave(how, limit)
    after, aside = write("b", before=bad["text.txt"]), write("c")
    runner, _ = executor(tmp_path)
    results = runner.run([after, aside])
    error = results[bad.id].error
    assert error
    assert words in error.what
    assert error.where == bad.label
    assert results[after.id].skipped == bad
    assert results[aside.id].ok


def test_a_crash_keeps_the_log_and_the_folder(tmp_path: Path) -> None:
    step = misbehave("raise")
    runner, _ = executor(tmp_path)
    error = runner.run([step])[step.id].error
    assert error
    kept = Path(error.hint.rpartition(": ")[2])
    assert "about to raise" in (kept / "log.txt").read_text()
    assert "something unforeseen" in error.why
    assert [p for p in (tmp_path / "work").iterdir() if p != kept] == []


def test_a_flipped_bit_is_noticed_and_the_object_is_made_again(tmp_path: Path) -> None:
    first = write("a")
    runner, _ = executor(tmp_path)
    made = runner.run([first])[first.id].action
    assert made
    damaged = tmp_path / "store" / "objects" / made.outputs["text.txt"].digest.removeprefix("sha256:")
    damaged.write_bytes(bytes([damaged.read_bytes()[0] ^ 1]))
    second = write("b", before=first["text.txt"])
    runner, events = executor(tmp_path)
    results = runner.run([second])
    assert text_of(results[second.id], tmp_path) == "ab"
    assert damaged.read_text() == "a"
    assert any(e.kind == "note" and "damaged" in e.text for e in events)


def test_a_damaged_object_that_many_steps_want_is_made_again_once(tmp_path: Path) -> None:
    first = write("a")
    runner, _ = executor(tmp_path)
    made = runner.run([first])[first.id].action
    assert made
    damaged = tmp_path / "store" / "objects" / made.outputs["text.txt"].digest.removeprefix("sha256:")
    damaged.write_bytes(b"b")
    wanted = [write(text, before=first["text.txt"]) for text in "cdefgh"]
    runner, events = executor(tmp_path, jobs=6)
    results = runner.run(wanted)
    assert [text_of(results[step.id], tmp_path) for step in wanted] == [f"a{text}" for text in "cdefgh"]
    assert sum(e.kind == "done" and e.label == first.label for e in events) == 1


def test_a_missing_object_is_made_again(tmp_path: Path) -> None:
    step = write("a")
    runner, _ = executor(tmp_path)
    runner.run([step])
    for path in (tmp_path / "store" / "objects").iterdir():
        path.unlink()
    runner, _ = executor(tmp_path)
    assert text_of(runner.run([step])[step.id], tmp_path) == "a"


def test_other_bytes_for_one_key_are_an_error(tmp_path: Path) -> None:
    step = misbehave("random")
    runner, _ = executor(tmp_path)
    results = runner.run([step])
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(StoreError, match="not reproducible"):
        runner._act(step, results)


def test_two_builds_at_once_make_one_thing_once(tmp_path: Path) -> None:
    step = write("a")
    both = [executor(tmp_path) for _ in range(2)]
    threads = [threading.Thread(target=runner.run, args=([step],)) for runner, _ in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    started = [e for _, events in both for e in events if e.kind == "start"]
    assert len(started) == 1


def test_a_build_that_waits_for_another_can_be_stopped(tmp_path: Path) -> None:
    step = misbehave("hang", limit=600)
    (one, events), (other, _) = executor(tmp_path), executor(tmp_path)
    first = threading.Thread(target=lambda: one.run([step]), daemon=True)
    first.start()
    while not any(e.kind == "start" for e in events):
        time.sleep(0.01)
    ended: list[type[BaseException]] = []

    def wait_in_vain() -> None:
        try:
            other.run([step])
        except KeyboardInterrupt:
            ended.append(KeyboardInterrupt)

    second = threading.Thread(target=wait_in_vain, daemon=True)
    second.start()
    time.sleep(0.3)
    other.place.stop()
    second.join(10)
    assert ended == [KeyboardInterrupt]
    assert first.is_alive()
    one.place.stop()
    first.join(10)
    assert not first.is_alive()


def test_stop_ends_running_steps_at_once(tmp_path: Path) -> None:
    step = misbehave("hang", limit=600)
    runner, events = executor(tmp_path)
    thread = threading.Thread(target=lambda: runner.run([step]), daemon=True)
    thread.start()
    while not any(e.kind == "start" for e in events):
        time.sleep(0.01)
    time.sleep(0.5)
    runner.place.stop()
    thread.join(10)
    assert not thread.is_alive()
