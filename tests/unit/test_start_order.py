"""Which of the steps that are ready starts first."""

from __future__ import annotations

from pathlib import Path

from fakes import executor, write
from ortolan.execute import longest_first
from ortolan.step import in_order, tree


def test_what_a_long_chain_waits_for_starts_before_what_nothing_waits_for(tmp_path: Path) -> None:
    alone = [write(text) for text in "xyz"]
    first = write("a")
    second = write("b", before=first["text.txt"])
    third = write("c", before=second["text.txt"])
    runner, events = executor(tmp_path, jobs=1)
    runner.run([*alone, third])
    assert [event.label[-1] for event in events if event.kind == "start"] == ["a", "b", "x", "y", "z", "c"]


def test_a_step_comes_after_all_that_it_needs() -> None:
    first = write("a")
    second, other = write("b", before=first["text.txt"]), write("c", before=first["text.txt"])
    third = write("d", before=second["text.txt"], folder=other["text.txt"])
    found = longest_first(in_order([other, third]))
    assert [step.label[-1] for step in found] in (list("acbd"), list("abcd"))


def test_no_more_steps_run_at_once_than_asked_for(tmp_path: Path) -> None:
    runner, events = executor(tmp_path, jobs=2)
    runner.run([write(str(number)) for number in range(6)])
    running = most = 0
    for event in events:
        running += (event.kind == "start") - (event.kind == "done")
        most = max(most, running)
    assert most == 2


def test_of_equals_the_one_that_reads_files_of_the_user_comes_first(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("images")
    plain, reader = write("a"), write("b", folder=tree({"data": tmp_path / "data"}))
    assert longest_first([plain, reader]) == [reader, plain]
