"""What a person sees: progress on a terminal, in a log and as JSON; tables; manifests in words."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from ortolan.artifact import Gate, Outcome
from ortolan.events import Event, Kind
from ortolan.report.progress import JsonLines, Plain, shown
from ortolan.report.tables import gate_table, size, table

KINDS: list[Kind] = ["plan", "runtime", "start", "done", "recalled", "refused", "failed", "skipped", "note"]
A_BUILD = [
    Event("plan", total=5),
    Event("recalled", "net: import onnx"),
    Event("start", "net: normalise"),
    Event("done", "net: normalise", seconds=1.26),
    Event("start", "net: quantise"),
    Event("refused", "net: quantise", "opset 9 is too old", seconds=0.2),
    Event("skipped", "net: evaluate", "needs net: quantise"),
    Event("start", "net: verify"),
    Event("failed", "net: verify", "out of memory", seconds=3.0),
    Event("note", "net: verify", "runtime x was damaged"),
    Event("runtime", text="making runtime x"),
]
EVENTS = st.builds(
    Event, st.sampled_from(KINDS), st.text(), st.text(), st.integers(0, 99), st.floats(0, 1e6, allow_subnormal=False)
)
CSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


# --- a log ---------------------------------------------------------------------------------------------------------


def test_a_log_has_one_line_for_what_took_time_or_went_wrong() -> None:
    stream = io.StringIO()
    with shown(as_json=False, stream=stream) as emit:
        for event in A_BUILD:
            emit(event)
    assert stream.getvalue().splitlines() == [
        "  done    net: normalise 1.3 s",
        "  refused net: quantise 0.2 s (opset 9 is too old)",
        "  skipped net: evaluate (needs net: quantise)",
        "  FAILED  net: verify 3.0 s (out of memory)",
        "  net: verify: runtime x was damaged",
        "  making runtime x",
    ]


@given(events=st.lists(EVENTS, max_size=20))
def test_json_says_all_that_an_event_holds_in_one_line(events: list[Event]) -> None:
    stream = io.StringIO()
    emit = JsonLines(stream)
    for event in events:
        emit(event)
    lines = stream.getvalue().splitlines()
    assert [Event(**json.loads(line)) for line in lines] == events


def test_json_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(as_json=True) as emit:
        emit(A_BUILD[0])
    said = capsys.readouterr()
    assert (json.loads(said.out), said.err) == ({"kind": "plan", "total": 5}, "")


@pytest.mark.parametrize("renderer", [JsonLines, Plain])
def test_lines_from_many_threads_do_not_mix(tmp_path: Path, renderer: type[JsonLines | Plain]) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with (tmp_path / "log").open("w") as stream:
            emit = renderer(stream)
            event = Event("done", "x" * 50, seconds=1.0)
            threads = [threading.Thread(target=lambda: [emit(event) for _ in range(300)]) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 1200
    assert len(set(lines)) == 1


# --- a terminal ----------------------------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal: a stream to write to, and what a person would have seen on it."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        self.stream: TextIO = os.fdopen(slave, "w")
        self._seen = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._master, 65536):
                self._seen += chunk
        except OSError:
            return  # Linux says so when the other end is closed

    def close(self) -> str:
        """Everything that was written."""
        if not self.stream.closed:
            self.stream.close()
            self._reader.join()
            os.close(self._master)
        return self._seen.decode()


@contextmanager
def terminal() -> Iterator[Terminal]:
    """A terminal that is closed at the end."""
    made = Terminal()
    try:
        yield made
    finally:
        made.close()


def drawn(events: list[Event]) -> str:
    """What a terminal shows of some events, with control sequences."""
    with terminal() as screen:
        with shown(as_json=False, stream=screen.stream) as emit:
            for event in events:
                emit(event)
        return screen.close()


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of a known kind and width."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_terminal_shows_a_bar_and_the_lines_above_it() -> None:
    seen = drawn(A_BUILD)
    plain = CSI.sub("", seen)
    for text in ("done     net: normalise 1.3 s", "refused  net: quantise 0.2 s opset 9 is too old", "FAILED   net: verify"):
        assert text in plain
    assert "5/5" in plain, "five steps settled of five: recalled, done, refused, skipped, failed"
    assert seen.endswith("\x1b[?25h") or "\x1b[?25h" in seen[seen.rindex("\x1b[?25l") :], "the cursor is shown again"
    assert "\x1b[32m" in seen, "colour"


def test_a_terminal_stays_empty_while_everything_is_recalled() -> None:
    assert drawn([Event("plan", total=2), Event("recalled", "a"), Event("recalled", "b")]) == ""


@pytest.mark.parametrize(
    "text",
    ["shape [1, 3], expected [1, 4]", r"a \[red] b", "[/dim]", "[bold]x[/bold]", "a:warning:b", "ends with \\", "[", "画像"],
)
def test_a_terminal_shows_any_text_as_it_is(text: str) -> None:
    seen = CSI.sub("", drawn([Event("start", text), Event("failed", text, text, seconds=1.0), Event("note", text, text)]))
    assert seen.count(text) >= 4, seen


def test_a_terminal_is_put_right_when_a_build_is_stopped() -> None:
    with terminal() as screen:
        with pytest.raises(KeyboardInterrupt):
            _stopped(screen)
        seen = screen.close()
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")


def _stopped(screen: Terminal) -> None:
    with shown(as_json=False, stream=screen.stream) as emit:
        emit(Event("start", "net: export"))
        raise KeyboardInterrupt


def test_rich_is_not_imported_before_a_step_starts() -> None:
    code = (
        "import io, sys\n"
        "from ortolan.events import Event\n"
        "from ortolan.report.progress import Lazy\n"
        "emit = Lazy(io.StringIO())\n"
        "emit(Event('plan', total=1)); emit(Event('recalled', 'a'))\n"
        "print(sorted(name for name in sys.modules if name.startswith('rich')))\n"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- tables --------------------------------------------------------------------------------------------------------

CELLS = st.text(max_size=12)
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=6)


def one_line(text: str) -> str:
    """What a cell shows of a text."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


@given(rows=ROWS)
@example(rows=[("画像", "b", "c"), ("e\u0301", "\n", "x"), ("a\tb", "\x1b[2J", "y\r\nz")])
def test_columns_align_whatever_the_text(rows: list[tuple[str, str, str]]) -> None:
    lines = table(("gate", "of", "why"), [(a, b, c + "|") for a, b, c in rows])
    assert [len(line.splitlines()) for line in lines] == [1] * (1 + len(rows))
    starts = {cell_len(line.removesuffix(one_line(c) + "|")) for line, (_, _, c) in zip(lines[1:], rows, strict=True)}
    assert starts <= {cell_len(lines[0].removesuffix("why"))}
    assert all(line.isprintable() for line in lines)


@given(rows=ROWS)
def test_a_table_loses_no_printable_text(rows: list[tuple[str, str, str]]) -> None:
    for line, row in zip(table(("a", "b", "c"), rows)[1:], rows, strict=True):
        assert all(one_line(cell).strip() in line for cell in row)


def test_a_table_without_rows_is_its_header() -> None:
    assert table(("a", "b"), []) == ["a  b"]


GATES = st.builds(Gate, CELLS, CELLS, st.sampled_from(list(Outcome)), CELLS, CELLS, CELLS)


@given(gates=st.lists(GATES, max_size=5))
@example(gates=[Gate("pass fail", " pass", Outcome.PASS, "pass", "pass", "pass")])
def test_colour_marks_the_outcome_and_moves_nothing(gates: list[Gate]) -> None:
    plain, painted = gate_table(gates, colour=False), gate_table(gates, colour=True)
    assert [CSI.sub("", line) for line in painted] == plain
    for line, gate in zip(painted[1:], gates, strict=True):
        assert re.findall(r"\x1b\[[0-9;]+m(.*?)\x1b\[0m", line) == [str(gate.outcome)]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (31_376, "31.38 kB"), (2_500_000, "2.5 MB"), (10**12, "1000 GB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
