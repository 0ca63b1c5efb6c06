"""ortolan-device on a temporary folder: fetch, install, update, status, rollback, trust, and all that it refuses."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bsdiff4
import pytest

import pythons
import releases
from devices import BUSY, Device, load, make_device, released
from releases import CANNOT_RUN, FAILS, FITS_NOT, MODEL, make_key, publish, whole, write_release

NOISE = bytes(range(256)) * 300
FIRST = whole({"model.onnx": NOISE + b"one", "c/run.sh": b"#!/bin/sh\n"})
SECOND = FIRST | {"model.onnx": NOISE + b"two", "more/notes.txt": b"new\n"}


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A new device with a folder store beside it."""
    return make_device(tmp_path, source=(tmp_path / "store").as_uri())


def release(device: Device, files: Mapping[str, bytes], sequence: int, **about: Any) -> Path:
    """A release folder signed by the device's key."""
    folder = device.root.parent / f"release-{sequence}-{len(list(device.root.parent.iterdir()))}"
    return write_release(folder, files, device.key, sequence=sequence, executable={"c/run.sh"}, **about)


def put(device: Device, folder: Path) -> Path:
    """Publish a release to the device's store and promote it to stable; the release's folder there."""
    store = device.root.parent / "store"
    return store / releases.TARGET / MODEL / publish(folder, store, "stable")


def delta(old: Path, new: Path, method: str) -> Path:
    """The patch from one release to another, in the latter's folder; returns its file."""
    before, after = old / "bundle.tar", new / "bundle.tar"
    digest = releases.description(old)["tar"]["digest"]
    patch = new / f"delta-{digest[7:19]}.{'zst' if method == 'zstd' else 'bsdiff'}"
    if method == "zstd":
        command = ["zstd", "-q", "--long=31", f"--patch-from={before}", str(after), "-o"]
        subprocess.run([*command, str(patch)], check=True, capture_output=True)
    else:
        patch.write_bytes(bsdiff4.diff(before.read_bytes(), after.read_bytes()))
    data = patch.read_bytes()
    record = {
        "delta_version": 1, "from": digest, "to": releases.description(new)["tar"]["digest"], "method": method,
        "file": patch.name, "digest": releases.digest(data), "size": len(data),
        "old_size": before.stat().st_size, "new_size": after.stat().st_size,
    }  # fmt: skip
    (new / f"delta-{digest[7:19]}.json").write_text(json.dumps(record))
    return patch


# --- fetch, install, update ----------------------------------------------------------------------------------------


def test_a_release_is_fetched_installed_and_runs(device: Device) -> None:
    folder = release(device, FIRST, 1)
    put(device, folder)
    fetched = device.ok("fetch", MODEL)
    assert (fetched["outcome"], fetched["way"], fetched["sequence"]) == ("fetched", "bundle.tar.zst", 1)
    assert device.running() == ""
    assert device.ok("verify", MODEL)["outcome"] == "verified"
    assert device.ok("install", MODEL)["slot"] == "a"
    assert device.running() == released(folder)
    assert not device.status()["left"]
    assert not (device.folder / "incoming").exists()


def test_a_newer_release_goes_to_the_other_slot(device: Device) -> None:
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    put(device, first)
    assert device.ok("update", MODEL)["slot"] == "a"
    assert device.ok("update", MODEL)["outcome"] == "up-to-date"
    put(device, second)
    assert device.ok("install", "--fetch", MODEL)["slot"] == "b"
    assert device.running() == released(second)
    found = device.status("--check")
    assert {slot: held["sequence"] for slot, held in found["slots"].items()} == {"a": 1, "b": 2}
    assert (found["current"], found["highest"]["sequence"]) == ("b", 2)


def test_a_folder_is_installed_without_a_store(device: Device) -> None:
    folder = release(device, FIRST, 1, plain=False)
    assert device.ok("preflight", folder)["outcome"] == "fits"
    assert device.ok("install", folder)["outcome"] == "installed"
    assert device.ok("install", folder)["outcome"] == "up-to-date"
    assert device.ok("install", folder, "--again")["slot"] == "b"
    assert device.running() == released(folder)


def test_a_plain_archive_does_where_nothing_unpacks_zst(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load(), "can_unzstd", lambda: False)
    put(device, release(device, FIRST, 1, plain=False))
    assert "--plain" in device.inside("fetch", MODEL)["hint"]
    put(device, release(device, SECOND, 2))
    assert device.inside("fetch", MODEL)["way"] == "bundle.tar"
    assert device.inside("install", MODEL)["outcome"] == "installed"


def test_what_was_fetched_and_cannot_be_unpacked_any_more_is_fetched_in_another_form(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(device, release(device, FIRST, 1))
    assert device.inside("fetch", MODEL)["way"] == "bundle.tar.zst"
    monkeypatch.setattr(load(), "can_unzstd", lambda: False)
    assert device.inside("install", MODEL)["kind"] == "missing"
    assert device.inside("update", MODEL)["way"] == "bundle.tar"


def test_a_tag_can_be_asked_for(device: Device) -> None:
    first = release(device, FIRST, 1)
    put(device, first)
    put(device, release(device, SECOND, 2))
    assert device.ok("update", MODEL, "--tag", releases.description(first)["tag"])["sequence"] == 1


def test_people_are_told_in_words(device: Device) -> None:
    tag = put(device, release(device, FIRST, 1)).name
    said = device.call("update", MODEL).stdout
    assert said.startswith(f"{MODEL}: {tag} is installed in slot a, which runs now (")
    assert said.endswith(" bytes: the whole archive)\n")
    assert device.call("update", MODEL).stdout == f"{MODEL}: {tag} runs already: nothing to do\n"
    assert device.call("verify", "--installed", MODEL).stdout == f"{MODEL}: {tag} is as it was signed\n"
    told = [f"{MODEL}: slot a runs; the highest sequence that ran here is 1", f"  → a  {tag}  sequence 1", "    b  empty"]
    assert device.call("status").stdout.splitlines() == told
    done = device.call("rollback", MODEL)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is nothing in slot b" in done.stderr
    assert "try: " not in done.stderr


# --- patches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["zstd", "bsdiff"])
def test_an_update_comes_as_a_patch(device: Device, method: str) -> None:
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    put(device, first)
    device.ok("update", MODEL)
    patch = delta(first, second, method)
    put(device, second)
    done = device.ok("update", MODEL)
    assert (done["way"], done["outcome"]) == ("delta", "installed")
    small = sum(path.stat().st_size for path in second.iterdir() if not path.name.startswith(("bundle", "sbom", "prov", "delta")))
    assert done["bytes"] < small + patch.stat().st_size + 1000
    assert device.running() == released(second)


def broken(patch: Path) -> None:
    data = bytearray(patch.read_bytes())
    data[len(data) // 2] ^= 255
    patch.write_bytes(data)


def another(patch: Path) -> None:
    """A patch of the right digest that gives something else."""
    data = bsdiff4.diff(b"x", b"y" * 40)
    patch.write_bytes(data)
    record = patch.with_suffix(".json")
    about = {"digest": releases.digest(data), "size": len(data), "method": "bsdiff"}
    record.write_text(json.dumps(json.loads(record.read_text()) | about))


def nonsense(patch: Path) -> None:
    patch.with_suffix(".json").write_text("[1, 2")


@pytest.mark.parametrize("harm", [broken, another, nonsense, Path.unlink])
def test_where_a_patch_fails_the_whole_is_fetched(device: Device, harm: Any) -> None:
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    put(device, first)
    device.ok("update", MODEL)
    patch = delta(first, second, "zstd")
    harm(put(device, second) / patch.name)
    done = device.ok("update", MODEL)
    assert (done["way"], device.running()) == ("bundle.tar.zst", released(second))


def test_where_the_running_slot_is_damaged_the_whole_is_fetched(device: Device) -> None:
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    put(device, first)
    device.ok("update", MODEL)
    delta(first, second, "zstd")
    put(device, second)
    (device.folder / "slots" / "a" / "model.onnx").write_bytes(NOISE[::-1] + b"bad")
    assert device.ok("update", MODEL)["way"] == "bundle.tar.zst"
    assert device.running() == released(second)


# --- refusals ------------------------------------------------------------------------------------------------------


def test_a_signature_by_another_key_is_refused(device: Device, tmp_path: Path) -> None:
    folder = write_release(tmp_path / "forged", FIRST, make_key(tmp_path / "forger"), sequence=9)
    put(device, folder)
    for words in (["fetch", MODEL], ["install", str(folder)], ["verify", str(folder)], ["preflight", str(folder)]):
        assert device.fails(*words)["kind"] == "signature"
    assert device.running() == ""


def test_a_signature_for_another_purpose_is_refused(device: Device) -> None:
    folder = release(device, FIRST, 1)
    device.key.sign(folder / "SHA256SUMS", "git")
    assert device.fails("install", folder)["kind"] == "signature"


def test_without_a_list_of_signers_nothing_is_trusted(device: Device) -> None:
    folder = release(device, FIRST, 1)
    (device.root / "allowed_signers").unlink()
    assert "allowed_signers" in device.fails("install", folder, code=1)["why"]


def test_an_older_release_is_refused_unless_told(device: Device) -> None:
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    device.ok("install", second)
    assert device.fails("install", first)["kind"] == "downgrade"
    put(device, first)
    assert device.fails("update", MODEL)["kind"] == "downgrade"
    assert device.running() == released(second)
    assert device.ok("install", first, "--allow-downgrade")["outcome"] == "installed"
    assert device.running() == released(first)
    assert device.status()["highest"]["sequence"] == 2


def test_another_release_with_the_same_sequence_is_refused(device: Device) -> None:
    first, twin = release(device, FIRST, 1), release(device, SECOND, 1)
    device.ok("install", first)
    assert device.fails("install", twin)["kind"] == "replay"
    assert device.ok("install", twin, "--allow-downgrade")["outcome"] == "installed"


def test_the_highest_sequence_outlives_both_slots_and_a_lost_state(device: Device) -> None:
    third = release(device, FIRST, 3)
    device.ok("install", third)
    (device.folder / "state.json").write_text("{")
    assert device.fails("install", release(device, SECOND, 2))["kind"] == "downgrade"


def test_a_lost_state_and_a_rollback_do_not_open_the_way_for_what_lies_between(device: Device) -> None:
    for folder in (release(device, FIRST, 1), release(device, SECOND, 5)):
        assert device.inside("install", folder)["outcome"] == "installed"
    assert device.inside("rollback", MODEL)["sequence"] == 1
    (device.folder / "state.json").unlink()
    assert device.inside("install", release(device, {**FIRST, "more": b"3"}, 3))["kind"] == "downgrade"


@pytest.mark.parametrize("about", [{"target": "arm64-cpu"}, {"model": "other"}])
def test_a_release_for_another_device_or_model_is_refused(device: Device, about: dict[str, str]) -> None:
    folder = release(device, FIRST, 1, **about)
    if "target" in about:
        assert device.fails("install", folder)["kind"] == "target"
    place = device.root.parent / "store" / releases.TARGET / MODEL / releases.description(folder)["tag"]
    place.parent.mkdir(parents=True)
    folder.rename(place)
    assert device.fails("fetch", MODEL, "--tag", place.name)["kind"] == "target"


def test_a_store_cannot_give_one_release_in_place_of_another(device: Device) -> None:
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    old, new = put(device, first), put(device, second)
    for path in old.iterdir():
        (new / path.name).write_bytes(path.read_bytes())
    assert device.fails("fetch", MODEL)["kind"] == "tag"


def test_preflight_speaks_before_the_download(device: Device) -> None:
    place = put(device, release(device, whole({"model.onnx": NOISE}, preflight=FITS_NOT), 1))
    for name in ("bundle.tar", "bundle.tar.zst"):
        (place / name).unlink()
    said = device.fails("fetch", MODEL)
    assert (said["kind"], said["why"]) == ("preflight", "platform: linux/riscv64, needed linux/amd64 (another processor)")
    assert "404" in device.fails("fetch", MODEL, "--force-preflight", code=1)["what"]


TELLS = b"import sys\nprint('{\"checks\": [], \"words\": %r}' % ' '.join(sys.argv))\nsys.exit(1)\n"


def test_a_release_that_brings_its_onnxruntime_asks_none_of_this_interpreter(device: Device) -> None:
    """Unless the settings name an interpreter."""
    for library, named in ((False, False), (True, False), (True, True)):
        if named:
            device.configure(python="/usr/bin/python3-of-the-device")
        files = {"model.onnx": b"1", **({"libonnxruntime.so": b"2"} if library else {})}
        place = put(device, release(device, whole(files, preflight=TELLS), 1))
        told = device.fails("preflight", place)["why"]
        assert ("--python" in told) == (named or not library)
        shutil.rmtree(place)


def test_a_release_without_preflight_is_refused(device: Device) -> None:
    place = put(device, release(device, FIRST, 1))
    (place / "preflight.py").unlink()
    device.fails("fetch", MODEL, code=1)
    (place / "preflight.py").write_bytes(b"import os\nos.abort()\n")
    assert device.fails("fetch", MODEL)["kind"] == "digest"


def test_a_release_that_unpacks_to_too_much_is_refused(device: Device) -> None:
    device.configure(max_unpacked=1000)
    put(device, release(device, FIRST, 1))
    assert device.fails("fetch", MODEL)["kind"] == "size"


@pytest.mark.parametrize("script", [FAILS, CANNOT_RUN])
def test_a_failed_self_test_leaves_the_old_slot(device: Device, script: bytes) -> None:
    first, second = release(device, FIRST, 1), release(device, whole({"model.onnx": b"2"}, self_test=script), 2)
    device.ok("install", first)
    said = device.fails("install", second)
    assert said["kind"] == "self-test"
    assert ("golden sample 3 differs" in said["why"]) == (script == FAILS)
    assert device.running() == released(first)
    assert not device.status()["left"]
    assert device.status()["slots"]["b"] is None


def test_a_release_that_failed_is_not_tried_again_by_itself(device: Device) -> None:
    put(device, release(device, FIRST, 1))
    device.ok("update", MODEL)
    put(device, release(device, whole({"model.onnx": b"2"}, self_test=FAILS), 2))
    assert device.fails("update", MODEL)["kind"] == "self-test"
    assert device.fails("update", MODEL)["kind"] == "bad"
    assert device.fails("update", MODEL, "--retry")["kind"] == "self-test"
    assert device.ok("update", MODEL, "--retry", "--no-self-test")["outcome"] == "installed"
    assert not device.status()["bad"]


def test_the_configuration_can_name_another_self_test(device: Device) -> None:
    device.configure(self_test=["grep", "-q", "one", "{slot}/model.onnx"])
    assert device.ok("install", release(device, FIRST, 1))["outcome"] == "installed"
    assert device.fails("install", release(device, SECOND, 2))["kind"] == "self-test"


def test_a_self_test_that_hangs_has_failed(device: Device) -> None:
    device.configure(self_test=["sleep", "60"], self_test_seconds=1)
    assert "longer than 1 seconds" in device.fails("install", release(device, FIRST, 1))["why"]


def test_a_release_without_a_self_test_is_refused_unless_told(device: Device) -> None:
    files = {path: data for path, data in FIRST.items() if path != releases.SELF_TEST_PATH}
    folder = release(device, files, 1)
    assert device.fails("install", folder)["kind"] == "self-test"
    assert device.ok("install", folder, "--no-self-test")["outcome"] == "installed"


def test_two_calls_do_not_meet(device: Device) -> None:
    folder = release(device, FIRST, 1)
    with (device.root / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert device.fails("install", folder, code=BUSY)["kind"] == "busy"
        device.ok("status")
    device.ok("install", folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"nonsense": 1}, {"retries": "5"}, {"insecure": 1}, {"target": None}, {"root": "/"}, {"retries": -1},
        {"retry_seconds": -0.5}, {"self_test": ["true", 1]},
    ],
)  # fmt: skip
def test_a_setting_that_is_none_is_an_error(device: Device, settings: dict[str, Any]) -> None:
    device.configure(**settings)
    assert next(iter(settings)) in device.fails("status", code=1)["what"]


@pytest.mark.parametrize("words", [[], ["fetch"], ["unknown"], ["rollback", MODEL, "--to", "c"]])
def test_wrong_usage_exits_with_2(device: Device, words: list[str]) -> None:
    done = device.call(*words)
    assert (done.returncode, "usage:" in done.stderr) == (2, True)


@pytest.mark.parametrize("model", ["..", "a b", ".hidden", "x" * 201])
def test_a_model_is_a_plain_name(device: Device, model: str) -> None:
    assert device.inside("fetch", model)["what"] == f"'{model}' is not the name of a model"


@pytest.mark.parametrize("source", ["oci://[::1/models", "https://[/x"])
def test_a_source_that_is_no_address_is_an_error(device: Device, source: str) -> None:
    device.configure(source=source)
    assert device.inside("fetch", MODEL)["what"] == f"'{source}' is no address of a store"


def test_without_a_target_nothing_is_asked_for(device: Device) -> None:
    device.configure(target="")
    assert device.inside("fetch", MODEL)["hint"] == "set target in config.json, or give --target"


@pytest.mark.parametrize("words", [["fetch"], ["update"], ["rollback"], ["status"]])
def test_a_model_that_is_not_there_leaves_nothing(device: Device, words: list[str]) -> None:
    device.call(*words, "digit")
    assert not (device.root / "digit").exists()


# --- a full disk ---------------------------------------------------------------------------------------------------


def test_a_disk_without_room_is_seen_before_the_download(tmp_path: Path, small_disk: Any) -> None:
    device = make_device(tmp_path, source=(tmp_path / "store").as_uri())
    place = put(device, release(device, whole({"model.onnx": bytes(4_000_000)}), 1))
    (place / "bundle.tar.zst").unlink()
    disk = small_disk("3m")
    (disk / "allowed_signers").write_bytes(device.key.signers.read_bytes())
    there = Device(disk, device.key)
    there.configure(target=releases.TARGET, source=(tmp_path / "store").as_uri())
    assert "no room" in there.fails("fetch", MODEL, code=1)["what"]


def test_the_spare_slot_makes_room_only_where_it_must(tmp_path: Path, small_disk: Any) -> None:
    device = make_device(tmp_path)
    folders = [release(device, whole({"model.onnx": bytes([n]) * 2_000_000}), n) for n in (1, 2, 3)]
    disk = small_disk("7m")
    (disk / "allowed_signers").write_bytes(device.key.signers.read_bytes())
    there = Device(disk, device.key)
    there.configure(target=releases.TARGET)
    for folder in folders:
        assert there.ok("install", folder)["outcome"] == "installed"
        assert there.running() == released(folder)


# --- rollback, verify, status --------------------------------------------------------------------------------------


def test_rollback_goes_back_and_the_release_is_not_installed_again_by_itself(device: Device) -> None:
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    put(device, first)
    device.ok("update", MODEL)
    put(device, second)
    device.ok("update", MODEL)
    assert device.ok("rollback", MODEL, "--self-test")["sequence"] == 1
    assert device.running() == released(first)
    assert device.ok("rollback", MODEL, "--to", "a")["outcome"] == "up-to-date"
    assert device.fails("update", MODEL)["kind"] == "bad"
    put(device, release(device, SECOND | {"more/notes.txt": b"better\n"}, 3))
    assert device.ok("update", MODEL)["sequence"] == 3


def test_rollback_and_forth(device: Device) -> None:
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    device.ok("install", first)
    device.ok("install", second)
    for expected in (first, second, first, second):
        device.ok("rollback", MODEL)
        assert device.running() == released(expected)
    assert not device.status()["bad"]


def test_rollback_to_a_damaged_slot_is_refused(device: Device) -> None:
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    device.ok("install", first)
    device.ok("install", second)
    (device.folder / "slots" / "a" / "model.onnx").write_bytes(NOISE + b"bad")
    assert "model.onnx" in device.fails("rollback", MODEL)["why"]
    assert device.running() == released(second)


def test_rollback_from_a_slot_that_lost_its_description(device: Device) -> None:
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    device.ok("install", second)
    device.ok("install", first, "--allow-downgrade")
    (device.folder / "slots" / "b" / ".ortolan" / "release.json").unlink()
    assert device.status()["current"] is None
    assert device.ok("rollback", MODEL)["slot"] == "a"
    assert device.running() == released(second)


def test_damage_is_found_and_repaired(device: Device) -> None:
    folder = release(device, FIRST, 1)
    device.ok("install", folder)
    slot = device.folder / "slots" / "a"
    (slot / "model.onnx").write_bytes(NOISE + b"bad")
    assert device.ok("status")["models"][0]["slots"]["a"]["damaged"] == []
    assert device.status("--check")["slots"]["a"]["damaged"] == ["model.onnx"]
    assert device.fails("verify", "--installed", MODEL)["kind"] == "digest"
    (slot / "c" / "run.sh").unlink()
    assert device.status()["slots"]["a"]["damaged"] == ["c/run.sh"]
    assert device.ok("install", folder)["slot"] == "b"
    assert device.running() == released(folder)
    assert device.ok("verify", "--installed", MODEL)["outcome"] == "verified"


def test_damage_in_what_was_fetched_is_found_and_fetched_again(device: Device) -> None:
    folder = release(device, FIRST, 1)
    put(device, folder)
    device.ok("fetch", MODEL)
    broken(device.folder / "incoming" / "bundle.tar.zst")
    assert device.fails("verify", MODEL)["kind"] == "digest"
    assert device.fails("install", MODEL)["kind"] == "digest"
    assert device.ok("update", MODEL)["outcome"] == "installed"
    assert device.running() == released(folder)


def test_status_of_a_device_without_anything(device: Device) -> None:
    assert device.ok("status")["models"] == []
    assert device.call("status").stdout == "nothing is installed\n"


# --- trust ---------------------------------------------------------------------------------------------------------


def test_keys_are_rotated_by_those_who_are_trusted(device: Device, tmp_path: Path) -> None:
    new = make_key(tmp_path / "new", "later@example.org")
    device.key.sign(new.signers, "ortolan-keys")
    folder = write_release(tmp_path / "later", FIRST, new, sequence=1)
    assert device.fails("install", folder)["kind"] == "signature"
    assert device.ok("trust", new.signers)["signed_by"] == device.key.principal
    assert device.ok("install", folder)["outcome"] == "installed"
    assert device.fails("install", release(device, SECOND, 2))["kind"] == "signature"


@pytest.mark.parametrize("namespace", ["ortolan-release", "file"])
def test_a_list_of_signers_that_was_signed_for_something_else_is_refused(device: Device, tmp_path: Path, namespace: str) -> None:
    new = make_key(tmp_path / "new")
    device.key.sign(new.signers, namespace)
    assert device.fails("trust", new.signers)["kind"] == "signature"
    assert (device.root / "allowed_signers").read_bytes() == device.key.signers.read_bytes()


def test_a_list_of_signers_cannot_sign_itself_or_be_empty(device: Device, tmp_path: Path) -> None:
    new = make_key(tmp_path / "new")
    new.sign(new.signers, "ortolan-keys")
    assert device.fails("trust", new.signers)["kind"] == "signature"
    empty = tmp_path / "empty"
    empty.write_text("# nobody\n")
    device.key.sign(empty, "ortolan-keys")
    assert device.fails("trust", empty)["what"] == "the new list names nobody"


def test_a_principal_can_be_asked_for(device: Device) -> None:
    device.configure(principal="somebody-else")
    assert device.fails("install", release(device, FIRST, 1))["kind"] == "signature"
    device.configure(principal=device.key.principal)
    assert device.ok("install", release(device, FIRST, 1))["outcome"] == "installed"


# --- the Pythons of devices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13", "3.14"])
def test_it_runs_in_the_pythons_that_devices_have(device: Device, version: str) -> None:
    python = pythons.find(version) or pytest.skip("no Python of that version here")
    first, second = release(device, FIRST, 1), release(device, SECOND, 2)
    put(device, first)
    delta(first, second, "bsdiff")
    for folder in (first, second):
        put(device, folder)
        subprocess.run([python, *device.command("update", MODEL)[1:]], check=True, capture_output=True)
        assert device.running() == released(folder)
    subprocess.run([python, *device.command("rollback", MODEL, "--self-test")[1:]], check=True, capture_output=True)
    assert device.running() == released(first)
