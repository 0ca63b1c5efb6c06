"""How often is tried again, how long is waited, and when it is given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.errors import OrtolanError
from ortolan.release.publish.http import Window, _asked, shown
from ortolan.release.publish.patience import Patience, Transient, insist

QUICK = Patience(tries=4, first=0.0001, longest=0.001)


def test_what_fails_for_the_moment_is_tried_again() -> None:
    left = [Transient("busy"), Transient("busy")]

    def attempt() -> str:
        if left:
            raise left.pop()
        return "done"

    assert insist(QUICK, "it", attempt) == "done"


def test_what_never_works_is_given_up_with_the_last_reason() -> None:
    tried = []

    def attempt() -> None:
        tried.append(1)
        raise Transient("500 Internal Server Error")

    with pytest.raises(OrtolanError, match=r"(?s)pushing failed.*500 Internal Server Error; tried 4 times"):
        insist(QUICK, "pushing", attempt)
    assert len(tried) == 4


def test_an_error_of_another_kind_is_not_tried_again() -> None:
    tried = []

    def attempt() -> None:
        tried.append(1)
        raise OrtolanError("forbidden")

    with pytest.raises(OrtolanError, match="forbidden"):
        insist(QUICK, "pushing", attempt)
    assert len(tried) == 1


def test_tries_count_anew_while_there_is_progress() -> None:
    there = []

    def attempt() -> str:
        there.append(1)
        if len(there) < 50:
            raise Transient("reset")
        return "done"

    assert insist(QUICK, "it", attempt, progress=lambda: len(there)) == "done"


def test_progress_that_only_returns_to_where_it_was_is_none() -> None:
    turns = []

    def attempt() -> None:
        turns.append(1)
        raise Transient("reset")

    with pytest.raises(OrtolanError):
        insist(QUICK, "it", attempt, progress=lambda: len(turns) % 2)
    assert len(turns) <= 2 * QUICK.tries


@given(failed=st.integers(1, 60), asked=st.none() | st.floats(0, 1e6))
def test_pauses_have_bounds_and_heed_the_server(failed: int, asked: float | None) -> None:
    patience = Patience(first=0.5, longest=30)
    pause = patience.pause(failed, asked)
    assert min(0.25, asked or 1) <= pause <= 30
    assert pause >= min(asked or 0, 30)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("", None), ("soon", None)]
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert _asked(header) == seconds


@given(st.text(max_size=40))
def test_any_retry_after_is_a_number_or_nothing(header: str) -> None:
    found = _asked(header)
    assert found is None or found >= 0


def test_a_url_is_shown_without_secrets() -> None:
    assert shown("https://user:secret@host:1/v2/x?_state=secret#secret") == "https://host:1/v2/x"


@given(data=st.binary(max_size=200), start=st.integers(0, 100), size=st.integers(0, 100), pieces=st.lists(st.integers(1, 50)))
def test_a_window_is_a_part_of_a_file_that_can_be_read_twice(data: bytes, start: int, size: int, pieces: list[int]) -> None:
    import io

    start = min(start, len(data))
    size = min(size, len(data) - start)
    window = Window(io.BytesIO(data), start, size)
    first = b"".join(window.read(one) for one in pieces) + window.read()
    window.seek(0)
    assert first == data[start : start + size] == b"".join(window)
    assert len(window) == size
