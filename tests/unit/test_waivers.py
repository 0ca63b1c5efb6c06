"""A failed gate ships only with a waiver that names it, the target and the model, and that has not expired."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan import gates
from ortolan.artifact import Gate, Outcome
from ortolan.errors import OrtolanError, RecipeError
from ortolan.recipe.waiver import NamedWaiver, Waiver, Waivers, load_waivers
from ortolan.sources import Job
from ortolan.verbs import waivers as verb

HASH, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
TODAY = date(2026, 6, 15)
WAIVER = Waiver(gate="size", target="board", model_hash=HASH, reason="fits after EDGE-17", who="release", expires=TODAY)
SIZE = Gate("size", "shipped", Outcome.FAIL, "9 MB", "≤ 8 MB", "too large")


@dataclass(frozen=True)
class _Named:
    name: str = "board"


@dataclass(frozen=True)
class _Job:
    waivers: Waivers
    target: _Named = field(default_factory=_Named)


def job(*every: Waiver, today: date = TODAY) -> Job:
    named = [NamedWaiver(f"waivers/{index}.toml", one) for index, one in enumerate(every)]
    return cast("Job", _Job(Waivers(named, today)))


def changed(**what: Any) -> Waiver:
    return WAIVER.model_copy(update=what)


def judged(gate: Gate, *every: Waiver, today: date = TODAY) -> Gate:
    (found,) = gates.waive(job(*every, today=today), [gate], HASH)
    return found


def test_a_waiver_in_force_turns_a_failure_into_waived_and_says_who_why_and_until_when() -> None:
    found = judged(SIZE, WAIVER)
    assert (found.outcome, found.measured) == (Outcome.WAIVED, "9 MB")
    assert found.why == "too large; waived by release until 2026-06-15: fits after EDGE-17"
    ((gate, named),) = gates.granted(job(WAIVER), [found], HASH)
    assert (gate, named.waiver) == (found, WAIVER)


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.NOT_RUN])
def test_only_failures_are_waived(outcome: Outcome) -> None:
    gate = replace(SIZE, outcome=outcome)
    assert judged(gate, WAIVER) == gate


@pytest.mark.parametrize(
    ("waiver", "said"),
    [
        (changed(expires=TODAY - timedelta(days=1)), "waivers/0.toml does not count: it expired on 2026-06-14"),
        (changed(model_hash=OTHER), f"waivers/0.toml does not count: it is for the model {OTHER}, this is {HASH}"),
        (changed(gate="accuracy"), ""),
        (changed(target="another"), ""),
        (changed(subject="int8"), ""),
    ],
)
def test_one_that_expired_or_is_for_something_else_counts_as_none(waiver: Waiver, said: str) -> None:
    found = judged(SIZE, waiver)
    assert found.outcome is Outcome.FAIL
    assert found.why == "; ".join(filter(None, ["too large", said]))
    assert gates.granted(job(waiver), [found], HASH) == []


def test_the_first_that_counts_is_taken() -> None:
    found = judged(SIZE, changed(expires=TODAY - timedelta(days=1)), changed(who="second"), changed(who="third"))
    assert "waived by second" in found.why


def test_the_subject_can_be_named() -> None:
    assert judged(SIZE, changed(subject="shipped")).outcome is Outcome.WAIVED


@given(st.dates(), st.dates())
def test_it_counts_until_the_end_of_its_day(today: date, expires: date) -> None:
    assert (judged(SIZE, changed(expires=expires), today=today).outcome is Outcome.WAIVED) == (today <= expires)


# --- files ---------------------------------------------------------------------------------------------------------

TEXT = f"""
gate       = "size"
target     = "board"
model_hash = "{HASH}"
reason     = "fits after EDGE-17"
who        = "release"
expires    = 2026-06-15
"""


def put(root: Path, text: str) -> Path:
    (root / "waivers").mkdir(exist_ok=True)
    path = root / "waivers" / "one.toml"
    path.write_text(text)
    return path


def test_files_are_read(tmp_path: Path) -> None:
    put(tmp_path, TEXT)
    assert load_waivers(tmp_path, TODAY) == Waivers((NamedWaiver("waivers/one.toml", WAIVER),), TODAY)
    assert load_waivers(tmp_path / "none", TODAY).every == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        (HASH, HASH[:19], 4, "model_hash"),
        ("2026-06-15", '"2026-06-15"', 7, "expires"),
        ('who        = "release"', "", 1, "who"),
        ("gate ", "gates ", 2, "gate"),
        ('"release"', '""', 6, "who"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    path = put(tmp_path, TEXT.replace(old, new))
    with pytest.raises(RecipeError, match=said) as failed:
        load_waivers(tmp_path, TODAY)
    assert f"{path}:{line}: " in str(failed.value)


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1))
def test_what_is_written_is_read(reason: str, who: str) -> None:
    given_ = changed(reason=reason.encode("utf-8", "replace").decode(), who=who.encode("utf-8", "replace").decode())
    assert Waiver.model_validate(tomllib.loads(verb._toml(given_))) == given_


@pytest.mark.parametrize("text", ["tomorrow", "2027-13-01", "", str(datetime.now(UTC).date() - timedelta(days=1))])
def test_a_day_that_is_none_or_has_passed_is_refused(text: str) -> None:
    with pytest.raises(OrtolanError):
        verb._day(text)
