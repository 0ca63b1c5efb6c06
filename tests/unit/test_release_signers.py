"""Lists of allowed signers: read, added to and ended without a change to any other line, as OpenSSH reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.errors import OrtolanError
from ortolan.release import signers
from ortolan.release.signers import Entry

ONE, TWO = b"ecdsa-sha2-nistp256 AAAAE2VjZHNh\n", b"ecdsa-sha2-nistp256 AAAAE2VjZHNi\n"
OLD = '# the fleet\n\none namespaces="ortolan-release,ortolan-keys" ecdsa-sha2-nistp256 AAAAE2VjZHNh  one, 2026\n'


def test_an_entry_is_for_releases_and_lists_alone() -> None:
    one = signers.entry("r@example.com", ONE, after="2027-01-31")
    options = 'namespaces="ortolan-release,ortolan-keys",valid-after="20270131"'
    assert one.line() == f"r@example.com {options} ecdsa-sha2-nistp256 AAAAE2VjZHNh r@example.com"
    assert signers.read(one.line()) == [one]
    assert (one.valid("after"), one.valid("before")) == ("20270131", "")


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("a,b* ssh-ed25519 AAAA", Entry("a,b*", "", "ssh-ed25519 AAAA")),
        ('"a b" cert-authority ssh-rsa AAAA= x y', Entry('"a b"', "cert-authority", "ssh-rsa AAAA=", "x y")),
        ('a Namespaces="x y",FROM="1"  ssh-rsa  AAAA', Entry("a", 'Namespaces="x y",FROM="1"', "ssh-rsa AAAA")),
        ("a sk-ssh-ed25519@openssh.com AAAA me", Entry("a", "", "sk-ssh-ed25519@openssh.com AAAA", "me")),
    ],
)  # fmt: skip
def test_lines_of_others_are_read(line: str, want: Entry) -> None:
    assert signers.read(f"{line}\n") == [want]


@pytest.mark.parametrize("line", ["a", "a AAAA", 'a namespaces="x ssh-rsa AAAA', "a ssh-rsa", "a,b c d e"])
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(OrtolanError) as told:
        signers.read(f"# first\n{line}\n")
    assert told.value.where == "allowed_signers:2"


def test_a_key_is_added_once() -> None:
    new = signers.added(OLD, signers.entry("two", TWO))
    assert new.startswith(OLD)
    assert [one.principals for one in signers.read(new)] == ["one", "two"]
    with pytest.raises(OrtolanError, match="has this key already"):
        signers.added(new, signers.entry("again", ONE))


def test_a_list_without_a_newline_at_its_end_keeps_its_last_line() -> None:
    assert len(signers.read(signers.added(OLD.rstrip("\n"), signers.entry("two", TWO)))) == 2


def test_a_key_ends_on_a_day_or_now() -> None:
    both = signers.added(OLD, signers.entry("two", TWO))
    later = signers.ended(both, ONE, "2027-06-30")
    assert [one.valid("before") for one in signers.read(later)] == ["20270630", ""]
    sooner = signers.ended(later, ONE, "20270101")
    assert [one.valid("before") for one in signers.read(sooner)] == ["20270101", ""]
    assert signers.ended(both, TWO) == OLD
    with pytest.raises(OrtolanError, match="does not have this key"):
        signers.ended(OLD, TWO)


@pytest.mark.parametrize("day", ["", "tomorrow", "2027-02-30", "2027-1", "31.1.2027", "20270131Z", '20270131",cert-authority'])
def test_what_is_no_day_is_refused(day: str) -> None:
    with pytest.raises(OrtolanError, match="is no day"):
        signers.day(day)


@given(st.text(min_size=1))
def test_no_principal_becomes_more_than_one_word_in_a_list(name: str) -> None:
    try:
        line = signers.entry(name, ONE).line()
    except OrtolanError:
        return
    assert line.split(" ")[0] == name
    assert not set(name) & set(",*?!\"'# \t\n")
    assert [one.principals for one in signers.read(line)] == [name]


@given(st.text(alphabet='ab ,"=#*\n', max_size=30))
def test_any_text_is_a_list_or_an_error(text: str) -> None:
    try:
        found = signers.read(text)
    except OrtolanError:
        return
    assert all(one.key for one in found)


def test_openssh_reads_what_is_written(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "k"], check=True)
    public = b" ".join((tmp_path / "k.pub").read_bytes().split()[:2])
    for day in ("", "2030-01-31"):
        text = signers.added("", signers.entry("r", public, after="2020-01-01"))
        (tmp_path / "list").write_text(signers.ended(text, public, day) if day else text)
        done = subprocess.run(
            ["ssh-keygen", "-Y", "match-principals", "-I", "r", "-f", tmp_path / "list"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("r\n", "")
