"""Channels: their names, and the record of their moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgoing
from ortolan.errors import OrtolanError
from ortolan.release.layout import ArchivePart, Release
from ortolan.release.publish import channel
from ortolan.release.publish.channel import Known, Promotion, Record, moved, name

PART = ArchivePart(digest="sha256:" + "0" * 64, size=1)


def known(tag: str, sequence: int) -> Known:
    made = Release(
        release_version=1, tag=tag, target="device", model="net", model_hash=PART.digest, sequence=sequence, revision="0" * 40,
        ortolan="1", manifest=PART.digest, files={}, unpacked=0, tar=PART, zst=PART,
    )  # fmt: skip
    return Known(made, f"sha256:{sequence:064d}")


def wanted(tag: str, *, hour: int = 0, **more: Any) -> Promotion:
    return Promotion(tag, "device", "net", "stable", "maintainer@example.org", datetime(2024, 5, 1, hour, tzinfo=UTC), **more)


def test_a_record_says_who_when_and_from_where() -> None:
    first = moved(wanted(outgoing.TAG), known(outgoing.TAG, 1), None, None)
    second = moved(wanted(outgoing.LATER, hour=3), known(outgoing.LATER, 2), known(outgoing.TAG, 1), first)
    assert first.previous is None
    assert (second.tag, second.by, second.at) == (outgoing.LATER, "maintainer@example.org", "2024-05-01T03:00:00Z")
    assert second.previous is not None
    assert (second.previous.tag, second.previous.release) == (outgoing.TAG, f"sha256:{1:064d}")
    assert [(one.tag, one.at) for one in second.history] == [
        (outgoing.TAG, "2024-05-01T00:00:00Z"), (outgoing.LATER, "2024-05-01T03:00:00Z"),
    ]  # fmt: skip
    assert channel.read(second.to_bytes(), "there") == second


def test_a_channel_goes_back_only_when_asked_to() -> None:
    new, old = known(outgoing.TAG, 1), known(outgoing.LATER, 2)
    with pytest.raises(OrtolanError, match=r"(?s)sequence 1 is lower than 2.*--back"):
        moved(wanted(outgoing.TAG), new, old, None)
    assert moved(wanted(outgoing.TAG, back=True), new, old, None).tag == outgoing.TAG


def test_an_equal_sequence_is_no_step_back() -> None:
    assert moved(wanted(outgoing.LATER), known(outgoing.LATER, 2), known(outgoing.TAG, 2), None).tag == outgoing.LATER


def test_times_are_utc_wherever_the_promoter_sits() -> None:
    there = Promotion(
        outgoing.TAG, "device", "net", "beta", "me", datetime(2024, 5, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    )
    assert moved(there, known(outgoing.TAG, 1), None, None).at == "2024-04-30T20:30:00Z"


@pytest.mark.parametrize("text", ["stable", "beta", "eu-west", "v2", "a.b_c", "r1"])
def test_a_channel_has_a_simple_name(text: str) -> None:
    assert name(text) == text


@pytest.mark.parametrize(
    "text", ["", "Stable", "-x", "a/b", "..", "a b", "sha256-" + "0" * 64, outgoing.TAG, "x" * 65, "a\n", "1a"]
)
def test_what_could_be_a_tag_or_a_path_is_no_channel(text: str) -> None:
    with pytest.raises(OrtolanError, match="no name of a channel"):
        name(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_an_error(data: bytes) -> None:
    try:
        found = channel.read(data, "there")
    except OrtolanError:
        return
    assert isinstance(found, Record)
