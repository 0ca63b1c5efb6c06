"""Keys of releases: made by ssh-keygen, kept from others, rotated in a way that devices can follow."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from ortolan.disk import PART
from ortolan.errors import OrtolanError
from ortolan.release import keys, secret, signers, ssh
from ortolan.release.secret import Key
from ortolan.release.signers import KEYS_NAMESPACE

SECRET = "correct horse"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the key ``one``."""
    keys.make(tmp_path / "keys", "one", passphrase=False)
    return tmp_path / "keys"


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that knows the passphrase, in place of a person."""
    program = tmp_path / "ask"
    program.write_text(f"#!/bin/sh\necho '{SECRET}'\n")
    program.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- made ----------------------------------------------------------------------------------------------------------


def test_a_key_is_made_with_what_goes_onto_devices(folder: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"one": 0o600, "one.pub": 0o644, "one.pem": 0o644, "allowed_signers": 0o644}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "one").stat().st_nlink == 1
    (entry,) = signers.read((folder / "allowed_signers").read_text())
    assert (
        entry.key.encode() == ssh.public(Key(folder / "one")).strip() == b" ".join((folder / "one.pub").read_bytes().split()[:2])
    )
    told = subprocess.run(["openssl", "pkey", "-in", folder / "one", "-pubout"], capture_output=True, check=True)
    assert told.stdout == (folder / "one.pem").read_bytes()


def test_a_loose_umask_makes_no_loose_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.make(tmp_path / "keys", "one", passphrase=False)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys", tmp_path / "keys" / "one")] == [0o700, 0o600]


@pytest.mark.parametrize("name", ["one", "one.pub", "../two", "a b", "", "-f", "allowed_signers", ".x", "x.pem", "ä"])
def test_a_name_that_is_taken_or_is_none_is_refused_and_nothing_changes(folder: Path, name: str) -> None:
    before = files(folder)
    with pytest.raises(OrtolanError, match=r"is there already|is no name"):
        keys.make(folder, name, passphrase=False)
    assert files(folder) == before


@pytest.mark.parametrize("taken", ["two.pub", "two.pem"])
def test_a_file_of_the_pair_that_is_there_stays(folder: Path, taken: str) -> None:
    (folder / taken).write_text("mine")
    with pytest.raises(OrtolanError, match="is there already"):
        keys.make(folder, "two", passphrase=False)
    assert (folder / taken).read_text() == "mine"
    assert not (folder / "two").exists()


def test_a_link_to_nowhere_is_a_name_that_is_taken(folder: Path, tmp_path: Path) -> None:
    (folder / "two").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OrtolanError, match="is there already"):
        keys.make(folder, "two", passphrase=False)
    assert not (tmp_path / "elsewhere").exists()


def test_a_principal_that_is_a_pattern_is_refused_before_a_key_is_made(tmp_path: Path) -> None:
    with pytest.raises(OrtolanError, match="is no principal"):
        keys.make(tmp_path / "keys", "one", "*", passphrase=False)
    assert not (tmp_path / "keys").exists()


def test_a_list_that_is_none_leaves_no_key_behind(folder: Path) -> None:
    (folder / "allowed_signers").write_text("what is this\n")
    before = files(folder)
    with pytest.raises(OrtolanError, match="is not of OpenSSH's form"):
        keys.make(folder, "two", passphrase=False)
    assert files(folder) == before


def test_what_a_killed_call_left_goes_away(folder: Path) -> None:
    left = folder / f"{PART}999999999-two"
    left.mkdir()
    (left / "two").write_text("half a key")
    keys.make(folder, "three", passphrase=False)
    assert not left.exists()


# --- passphrases ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("asking")
def test_a_passphrase_that_is_asked_for_protects_the_key(tmp_path: Path) -> None:
    keys.make(tmp_path / "keys", "one", passphrase=True)
    path = tmp_path / "keys" / "one"
    assert secret.protected(path)
    assert subprocess.run(["ssh-keygen", "-y", "-P", "wrong", "-f", path], capture_output=True, check=False).returncode
    subprocess.run(["ssh-keygen", "-y", "-P", SECRET, "-f", path], capture_output=True, check=True)
    assert SECRET not in repr(secret.open_key(path))
    assert ssh.public(secret.open_key(path)) == ssh.public(Key(tmp_path / "keys" / "one.pub"))


@pytest.mark.usefixtures("asking")
def test_an_empty_passphrase_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "ask").write_text("#!/bin/sh\necho\n")
    with pytest.raises(OrtolanError, match="passphrase was empty"):
        keys.make(tmp_path / "keys", "one", passphrase=True)
    assert files(tmp_path / "keys") == {}


@pytest.mark.usefixtures("asking")
def test_a_wrong_passphrase_is_an_error_that_does_not_say_it(tmp_path: Path) -> None:
    keys.make(tmp_path / "keys", "one", passphrase=True)
    (tmp_path / "ask").write_text("#!/bin/sh\necho 'wrong pony'\n")
    with pytest.raises(OrtolanError, match="cannot be read") as told:
        ssh.public(secret.open_key(tmp_path / "keys" / "one"))
    assert "incorrect passphrase" in str(told.value)
    assert "pony" not in str(told.value)


@pytest.mark.usefixtures("asking")
def test_a_program_that_gives_no_secret_is_named(tmp_path: Path) -> None:
    (tmp_path / "ask").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(OrtolanError, match="gave no secret"):
        secret.ask("Passphrase: ")


# --- kept from others ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601])
def test_a_key_that_others_can_use_is_refused_with_what_to_do(folder: Path, mode: int) -> None:
    (folder / "one").chmod(mode)
    with pytest.raises(OrtolanError, match="no longer secret") as told:
        secret.open_key(folder / "one")
    assert told.value.hint.startswith(f"chmod 600 {folder / 'one'}")


def test_a_key_of_another_form_is_refused_without_a_word_of_it(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True)
    with pytest.raises(OrtolanError, match="PKCS #8") as told:
        secret.open_key(tmp_path / "k")
    assert (tmp_path / "k").read_text().splitlines()[1] not in str(told.value)


def test_a_folder_that_others_can_write_to_is_refused(folder: Path) -> None:
    folder.chmod(0o770)
    with pytest.raises(OrtolanError, match="others may write"):
        keys.make(folder, "two", passphrase=False)


def test_a_folder_that_git_would_take_along_is_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    with pytest.raises(OrtolanError, match="no place for keys"):
        keys.make(tmp_path / "keys" / "deep", "one", passphrase=False)
    assert not (tmp_path / "keys").exists()
    (tmp_path / ".gitignore").write_text("/keys/\n")
    keys.make(tmp_path / "keys" / "deep", "one", passphrase=False)


# --- rotated -------------------------------------------------------------------------------------------------------


def accepted(folder: Path, trusted: Path) -> str:
    """Who signed the list, as a device sees it that trusts an older one and has only OpenSSH."""
    with (folder / "allowed_signers").open("rb") as data:
        found = subprocess.run(
            ["ssh-keygen", "-Y", "find-principals", "-s", folder / "allowed_signers.sig", "-f", trusted],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", trusted, "-I", found, "-n", KEYS_NAMESPACE, "-s", "allowed_signers.sig"],
            stdin=data, cwd=folder, capture_output=True, check=True,
        )  # fmt: skip
    return found


def test_a_device_that_trusts_the_old_key_accepts_the_new_list(folder: Path, tmp_path: Path) -> None:
    trusted = tmp_path / "on-the-device"
    trusted.write_bytes((folder / "allowed_signers").read_bytes())
    changed = keys.rotate(folder, folder / "one", "two", "two@example.com", passphrase=False, until="2099-01-01")
    assert (changed.signed, changed.principal) == (True, "two@example.com")
    assert accepted(folder, trusted) == "one"
    assert [(one.principals, one.valid("before")) for one in keys.entries(folder)] == [
        ("one", "20990101"),
        ("two@example.com", ""),
    ]
    trusted.write_bytes((folder / "allowed_signers").read_bytes())
    keys.rotate(folder, folder / "two", "three", passphrase=False, drop=True)
    assert accepted(folder, trusted) == "two@example.com"
    assert [one.principals for one in keys.entries(folder)] == ["one", "three"]


def test_a_key_that_the_list_does_not_have_cannot_rotate_it(folder: Path, tmp_path: Path) -> None:
    keys.make(tmp_path / "strange", "other", passphrase=False)
    before = files(folder)
    with pytest.raises(OrtolanError, match="no device would accept"):
        keys.rotate(folder, tmp_path / "strange" / "other", "two", passphrase=False)
    assert files(folder) == before


def test_a_key_that_has_ended_cannot_rotate_the_list(folder: Path) -> None:
    keys.rotate(folder, folder / "one", "two", passphrase=False, until="2020-01-01")
    before = files(folder)
    with pytest.raises(OrtolanError, match="no device would accept"):
        keys.rotate(folder, folder / "one", "three", passphrase=False)
    assert files(folder) == before


def test_a_signature_of_an_older_list_does_not_stay(folder: Path) -> None:
    keys.rotate(folder, folder / "one", "two", passphrase=False)
    assert (folder / "allowed_signers.sig").exists()
    assert not keys.make(folder, "three", passphrase=False).signed
    assert not (folder / "allowed_signers.sig").exists()


def test_a_public_key_from_elsewhere_is_added_and_ended(folder: Path, tmp_path: Path) -> None:
    trusted = tmp_path / "on-the-device"
    trusted.write_bytes((folder / "allowed_signers").read_bytes())
    keys.make(tmp_path / "other", "token", passphrase=False)
    keys.trust(folder, tmp_path / "other" / "token.pub", "hsm@example.com", by=folder / "one")
    assert accepted(folder, trusted) == "one"
    trusted.write_bytes((folder / "allowed_signers").read_bytes())
    changed = keys.retire(folder, folder / "one.pub", by=tmp_path / "other" / "token")
    assert changed.signed
    assert accepted(folder, trusted) == "hsm@example.com"
    assert [one.principals for one in keys.entries(folder)] == ["hsm@example.com"]


@pytest.mark.parametrize("name", ["one", "one.pem", "nothing.pub"])
def test_only_a_public_key_is_trusted(folder: Path, name: str) -> None:
    before = files(folder)
    with pytest.raises(OrtolanError, match=r"no public key|no such file|has this key"):
        keys.trust(folder, folder / name)
    assert files(folder) == before
