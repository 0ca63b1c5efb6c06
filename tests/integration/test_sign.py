"""Releases get both signatures or none; whoever has the signers' keys verifies them, also with OpenSSH or the library alone."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pty
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conftest import ROOT, Workspace
from ortolan.errors import OrtolanError
from ortolan.release import keys, layout, secret
from ortolan.release.openssf import How, Trust
from ortolan.release.sign import sign
from ortolan.release.verify import Wanted, verify
from program import PROGRAM, call
from small_release import small_release

SIGNATURES = {"SHA256SUMS.sig", "model.sig"}
SECRET = "correct horse"
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Place:
    """A folder with the key ``one`` and a release that it has signed."""

    keys: Path
    release: Path

    @property
    def signers(self) -> Path:
        return self.keys / "allowed_signers"

    @property
    def wanted(self) -> Wanted:
        return Wanted(signers=self.signers)

    def signatures(self) -> dict[str, bytes]:
        return {name: (self.release / name).read_bytes() for name in SIGNATURES if (self.release / name).exists()}

    def unsigned(self) -> Place:
        for name in SIGNATURES:
            (self.release / name).unlink(missing_ok=True)
        return self


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    base = tmp_path_factory.mktemp("signed")
    keys.make(base / "keys", "one", passphrase=False)
    sign(small_release(base / "release", plain=True), base / "keys" / "one", How())
    return Place(base / "keys", base / "release")


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Place:
    """A copy of one's own."""
    return Place(shutil.copytree(made.keys, tmp_path / "keys"), shutil.copytree(made.release, tmp_path / "release"))


def run(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The program, without a terminal."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SSH_", "DISPLAY"))}
    return subprocess.run(
        [*PROGRAM, *map(str, words)], env=environment | {"PYTHONPATH": str(ROOT / "src")} | more, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=100, start_new_session=True,
    )  # fmt: skip


def failed(place: Place, wanted: Wanted) -> str:
    """The one check that fails, with its reason; what comes after it is not looked at."""
    gates = verify(place.release, wanted).gates
    outcomes = [str(gate.outcome) for gate in gates]
    at = outcomes.index("fail")
    assert outcomes[at + 1 :] == ["not-run"] * (len(gates) - at - 1)
    return f"{gates[at].name}: {gates[at].why}"


# --- the program ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_keys_are_made_and_a_release_is_signed_and_verified(tmp_path: Path) -> None:
    release, home = small_release(tmp_path / "release"), str(tmp_path / "config")
    assert "./inv keys-make" in run("keys", XDG_CONFIG_HOME=home).stdout
    told = json.loads(
        run("keys-make", "one", "--no-passphrase", "--principal", "r@example.com", "--json", XDG_CONFIG_HOME=home).stdout
    )
    assert Path(told["private"]) == tmp_path / "config" / "ortolan" / "keys" / "one"
    (row,) = json.loads(run("keys", "--json", XDG_CONFIG_HOME=home).stdout)
    assert (row["key"], row["principal"], row["private"]) == ("one", "r@example.com", "no passphrase")
    signed = json.loads(run("sign", release, "--key", "one", "--json", XDG_CONFIG_HOME=home).stdout)
    assert signed["fingerprint"] == told["fingerprint"] == row["fingerprint"]
    assert set(signed["signatures"]) == SIGNATURES
    done = run("verify", release, XDG_CONFIG_HOME=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("verified\n")
    verified = json.loads(run("verify", release, "--json", XDG_CONFIG_HOME=home).stdout)
    assert (verified["ok"], verified["principal"]) == (True, "r@example.com")
    assert [check["outcome"] for check in verified["checks"]] == ["pass"] * 4


def test_a_release_that_is_not_verified_exits_with_3(place: Place) -> None:
    (place.release / "sbom.cdx.json").write_text("{ }\n")
    done = run("verify", place.release, "--signers", place.signers)
    assert (done.returncode, done.stderr) == (3, "")
    assert "contents" in done.stdout
    assert done.stdout.endswith("not verified\n")


@pytest.mark.slow
def test_a_key_is_rotated_and_both_lists_verify(place: Place) -> None:
    done = run("keys-rotate", "one", "two", "--folder", place.keys, "--no-passphrase", "--drop")
    assert done.returncode == 0, done.stderr
    assert failed(place, place.wanted).startswith("signature: SHA256SUMS.sig: is signed by nobody who may")
    again = run("sign", place.release, "--key", "two", "--folder", place.keys, "--again")
    assert again.returncode == 0, again.stderr
    assert verify(place.release, place.wanted).ok
    assert run("keys-retire", "two", "--folder", place.keys, "--on", "2099-01-01", "--by", "two").returncode == 0
    assert verify(place.release, place.wanted).ok
    listed = run("keys", "--folder", place.keys).stdout
    assert "–20990101" in listed
    assert "not in the list" in listed


@pytest.mark.slow
def test_what_a_build_bundles_is_signed_found_by_its_tag_and_verified_by_the_library(
    workspace: Workspace, tmp_path: Path
) -> None:
    (built,) = workspace.build("x86-cpu", "digits-mlp")
    assert built.folder is not None
    assert call(workspace, "bundle", "--target", "x86-cpu", "--sequence", "1").returncode == 0
    keys.make(tmp_path / "keys", "one", passphrase=False)
    done = call(workspace, "sign", built.tag, "--key", str(tmp_path / "keys" / "one"))
    assert done.returncode == 0, done.stderr
    assert call(workspace, "verify", built.tag, "--signers", str(tmp_path / "keys" / "allowed_signers")).returncode == 0
    signature = workspace.root / "dist" / "x86-cpu" / built.tag / "model.sig"
    library(built.folder, signature, tmp_path / "keys" / "one.pem", "--ignore-paths", built.folder / "measurements.json")


# --- by others -----------------------------------------------------------------------------------------------------


def library(folder: Path, signature: Path, public: Path, *more: str | Path) -> None:
    """Verify with the library's own program."""
    command = [
        sys.executable,
        "-m",
        "model_signing",
        "verify",
        "key",
        "--public_key",
        public,
        "--signature",
        signature,
        *more,
        folder,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def unpacked(release: Path, to: Path) -> Path:
    packed = (release / layout.ZST).read_bytes()
    (to.parent / "bundle.tar").write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(packed))
    with tarfile.open(to.parent / "bundle.tar") as archive:
        archive.extractall(to, filter="data")
    return to


def test_openssh_and_sha256sum_alone_verify_a_release(place: Place) -> None:
    script = (
        'ssh-keygen -Y verify -f "$0" -I one -n ortolan-release -s SHA256SUMS.sig <SHA256SUMS && sha256sum -c --strict SHA256SUMS'
    )
    done = subprocess.run(["sh", "-c", script, place.signers], cwd=place.release, capture_output=True, text=True, check=True)
    assert done.stdout.startswith('Good "ortolan-release" signature for one with ECDSA key SHA256:')
    assert done.stdout.count(": OK\n") == 7


@pytest.mark.slow
def test_the_library_alone_verifies_an_unpacked_bundle_and_refuses_a_changed_one(place: Place, tmp_path: Path) -> None:
    folder = unpacked(place.release, tmp_path / "unpacked")
    library(folder, place.release / "model.sig", place.keys / "one.pem")
    (folder / "model.onnx").write_bytes(b"another model")
    with pytest.raises(AssertionError, match=r"Hash mismatch for \W*model\.onnx"):
        library(folder, place.release / "model.sig", place.keys / "one.pem")


@pytest.mark.slow
def test_a_signature_that_the_library_makes_of_the_unpacked_bundle_verifies(place: Place, tmp_path: Path) -> None:
    folder = unpacked(place.release, tmp_path / "unpacked")
    words: list[str | Path] = [
        "sign",
        "key",
        "--private_key",
        place.keys / "one",
        "--signature",
        place.release / "model.sig",
        folder,
    ]
    subprocess.run([sys.executable, "-m", "model_signing", *words], capture_output=True, check=True)
    assert verify(place.release, place.wanted).ok


# --- signing -------------------------------------------------------------------------------------------------------


def test_a_second_signature_is_refused_unless_it_is_asked_for(place: Place) -> None:
    before = place.signatures()
    with pytest.raises(OrtolanError, match=r"has SHA256SUMS.sig and model.sig already"):
        sign(place.release, place.keys / "one", How())
    assert place.signatures() == before
    keys.make(place.keys, "two", passphrase=False)
    sign(place.release, place.keys / "two", How(), again=True)
    verified = verify(place.release, place.wanted)
    assert verified.ok
    assert verified.signer
    assert verified.signer.principal == "two"


@pytest.mark.parametrize("name", ["manifest.json", "bundle.tar.zst", "SHA256SUMS", "release.json"])
def test_nothing_wrong_is_signed(place: Place, name: str) -> None:
    path = place.unsigned().release / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(OrtolanError):
        sign(place.release, place.keys / "one", How())
    assert place.signatures() == {}


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_a_link_in_the_place_of_a_signature_is_refused(place: Place, name: str, tmp_path: Path) -> None:
    (place.unsigned().release / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OrtolanError, match="is no regular file"):
        sign(place.release, place.keys / "one", How(), again=True)
    assert not (tmp_path / "elsewhere").exists()
    assert not place.signatures()


def test_when_one_signature_cannot_be_made_there_is_none(place: Place, tmp_path: Path) -> None:
    certificate, root = certificates(tmp_path, ec.generate_private_key(ec.SECP256R1()).public_key())
    before = sorted(place.unsigned().release.iterdir())
    with pytest.raises(OrtolanError, match="cannot sign the bundle") as told:
        sign(place.release, place.keys / "one", How("certificate", certificate, (root,)))
    assert "does not match" in str(told.value)
    assert sorted(place.release.iterdir()) == before


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_key_that_the_library_does_not_take_is_refused(place: Place, kind: str, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-m", "PKCS8", "-N", "", "-f", tmp_path / "k"], check=True)
    with pytest.raises(OrtolanError, match=r"no key for releases|PKCS #8"):
        sign(place.unsigned().release, tmp_path / "k", How())
    assert place.signatures() == {}


@pytest.mark.parametrize(
    ("key", "how", "why"),
    [
        ("nowhere", How(), "no such file"),
        ("one.pub", How(), "asks no agent"),
        ("one.pub", How("certificate", Path("c"), (Path("d"),)), "no such file"),
        ("one", How("magic"), "no method 'magic'"),  # type: ignore[arg-type]  # what a command line may hold
        ("one", How("certificate"), "certificates are missing"),
        ("one", How("certificate", Path("signer.pem")), "certificates are missing"),
        ("one", How("pkcs11", Path("signer.pem"), pkcs11="pkcs11:object=a?module-path=/x"), "no certificates with"),
        ("one", How("pkcs11"), "no URI of a key"),
        ("one", How("pkcs11", pkcs11="pkcs11:object=a"), "no URI of a key"),
        ("one", How("pkcs11", pkcs11="pkcs11:object=a?module-path=/x&pin-value=1234"), "a PIN is no argument"),
        ("one", How("sigstore"), "which Sigstore?"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_signed(place: Place, key: str, how: How, why: str) -> None:
    with pytest.raises(OrtolanError) as told:
        sign(place.unsigned().release, place.keys / key, how)
    assert why in str(told.value)
    assert "1234" not in str(told.value)
    assert place.signatures() == {}


@pytest.mark.parametrize(
    ("words", "why"), [((), "which key?"), (("--key", "one", "--identity", "me"), "--trust-config and --oidc-issuer")]
)
def test_what_a_command_line_lacks_is_said(place: Place, words: tuple[str, ...], why: str) -> None:
    done = run("sign", place.unsigned().release, "--folder", place.keys, *words)
    assert (done.returncode, done.stdout, why in done.stderr) == (1, "", True)
    assert place.signatures() == {}


def test_a_sigstore_that_is_none_signs_nothing(place: Place, tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_text("{}")
    who = (
        "--identity",
        "me@example.com",
        "--oidc-issuer",
        "https://issuer.example.com",
        "--trust-config",
        tmp_path / "trust.json",
    )
    done = run("sign", place.unsigned().release, "--key", place.keys / "one", "--method", "sigstore", *who)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: cannot sign the bundle\n  why: ")
    assert place.signatures() == {}


# --- secrets -------------------------------------------------------------------------------------------------------


def ask(folder: Path, answer: str) -> dict[str, str]:
    """A program that knows the secret, in place of a person, and notes what it was asked."""
    program = folder / "ask"
    program.write_text(f"#!/bin/sh\necho \"$1\" >>'{folder}/asked'\necho '{answer}'\n")
    program.chmod(0o700)
    return {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}


def watched(folder: Path) -> tuple[dict[str, str], Path]:
    """Programs before the real ones that note how they were called, with all variables; and where."""
    (folder / "bin").mkdir()
    log = folder / "called"
    for name in ("ssh-keygen", "git"):
        watch = folder / "bin" / name
        watch.write_text(f'#!/bin/sh\n{{ echo "$0 $*"; env; }} >>"{log}"\nexec {shutil.which(name)} "$@"\n')
        watch.chmod(0o755)
    return {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}, log


@pytest.mark.slow
def test_a_passphrase_is_asked_for_once_and_seen_nowhere(tmp_path: Path) -> None:
    release, folder = small_release(tmp_path / "release"), tmp_path / "keys"
    path, log = watched(tmp_path)
    asking = ask(tmp_path, SECRET)
    made = run("keys-make", "one", "--folder", folder, **asking, **path)
    assert made.returncode == 0, made.stderr
    assert secret.protected(folder / "one")
    signed = run("sign", release, "--key", "one", "--folder", folder, **asking, **path)
    assert signed.returncode == 0, signed.stderr
    assert (tmp_path / "asked").read_text().count(f"Passphrase for {folder / 'one'}") == 1
    assert verify(release, Wanted(signers=folder / "allowed_signers")).ok
    wrong = run("sign", release, "--key", "one", "--folder", folder, "--again", **ask(tmp_path, "wrong pony"), **path)
    assert wrong.returncode == 1
    assert "incorrect passphrase" in wrong.stderr
    nobody = run("sign", release, "--key", "one", "--folder", folder, "--again", **path)
    assert "nobody can be asked" in nobody.stderr
    body = "".join((folder / "one").read_text().splitlines()[1:-1])
    seen = log.read_text() + "".join(done.stdout + done.stderr for done in (made, signed, wrong, nobody))
    assert "ssh-keygen -Y sign" in seen
    assert not any(one in seen for one in (SECRET, "pony", body[:20], body[-20:]))
    assert [path for path in tmp_path.rglob("*") if path.is_file() and body[:60].encode() in path.read_bytes()] == [
        folder / "one"
    ]


def typed(words: list[str | Path], answers: list[tuple[bytes, str]]) -> tuple[int, bytes]:
    """Run the program in a terminal, and type an answer after each question; its exit code, and what was seen."""
    process, master = pty.fork()
    if not process:
        os.execve(
            PROGRAM[0],
            [*PROGRAM, *map(str, words)],
            {**os.environ, "PYTHONPATH": str(ROOT / "src"), "DISPLAY": "", "SSH_ASKPASS": ""},
        )
    seen = b""
    for question, answer in answers:
        already = len(seen)
        while question not in seen[already:]:
            seen += os.read(master, 4096)
        os.write(master, answer.encode() + b"\n")
    with contextlib.suppress(OSError):  # the terminal is gone
        while more := os.read(master, 4096):
            seen += more
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), seen


@pytest.mark.slow
def test_in_a_terminal_ssh_keygen_asks_for_a_new_passphrase_and_signing_for_that_of_the_key(tmp_path: Path) -> None:
    release, folder = small_release(tmp_path / "release"), tmp_path / "keys"
    code, seen = typed(
        ["keys-make", "one", "--folder", folder], [(b"Enter passphrase", SECRET), (b"Enter same passphrase", SECRET)]
    )
    assert (code, SECRET.encode() in seen) == (0, False), seen
    assert secret.protected(folder / "one")
    code, seen = typed(["sign", release, "--key", folder / "one"], [(b"Passphrase for", SECRET)])
    assert (code, SECRET.encode() in seen) == (0, False), seen
    assert verify(release, Wanted(signers=folder / "allowed_signers")).ok


def test_a_key_that_others_can_read_signs_nothing(place: Place) -> None:
    (place.keys / "one").chmod(0o644)
    done = run("sign", place.unsigned().release, "--key", place.keys / "one")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"try: chmod 600 {place.keys / 'one'}" in done.stderr
    assert place.signatures() == {}
    assert "refused: its mode is 0644" in run("keys", "--folder", place.keys).stdout


def test_a_key_makes_nothing_without_anybody_to_ask_for_its_passphrase(tmp_path: Path) -> None:
    done = run("keys-make", "one", "--folder", tmp_path / "keys")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--no-passphrase" in done.stderr
    assert not (tmp_path / "keys").exists()


# --- tokens and certificates ---------------------------------------------------------------------------------------


@pytest.fixture
def token() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with the public key of a SoftHSM token (PIN 1234), which an ssh-agent has too, and the variables to reach both."""
    with tempfile.TemporaryDirectory(prefix="hsm-") as name:  # short: the agent's socket lies there
        folder = Path(name)
        (folder / "tokens").mkdir()
        (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
        (folder / "pin").write_text("1234\n")
        (folder / "pin").chmod(0o600)
        variables = {"SOFTHSM2_CONF": str(folder / "softhsm2.conf"), "SSH_AUTH_SOCK": str(folder / "agent")}
        environment = os.environ | variables | ask(folder, "1234")
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-m", "PKCS8", "-N", "", "-f", folder / "seed"], check=True
        )
        pins = ["--pin", "1234", "--so-pin", "4321"]
        for words in (
            ["--init-token", "--free", "--label", "test"],
            ["--import", folder / "seed", "--label", "r", "--id", "01", "--token", "test"],
        ):
            subprocess.run(["softhsm2-util", *words, *pins], env=environment, capture_output=True, check=True)
        (folder / "seed").unlink()
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", folder / "agent"], env=environment, stdout=subprocess.PIPE, text=True)
        assert agent.stdout is not None
        agent.stdout.readline()  # the agent listens
        try:
            subprocess.run(["ssh-add", "-s", MODULE], env=environment, capture_output=True, check=True)
            given = subprocess.run(["ssh-keygen", "-D", MODULE], env=environment, capture_output=True, check=True).stdout
            (folder / "token.pub").write_bytes(given)
            yield folder, variables
        finally:
            agent.terminate()
            agent.wait()
            agent.stdout.close()


def uri(source: str = "") -> str:
    return f"pkcs11:token=test;object=r?module-path={MODULE}{source}"


@pytest.mark.slow
def test_a_key_in_a_token_makes_both_signatures(place: Place, token: tuple[Path, dict[str, str]]) -> None:
    folder, variables = token
    keys.trust(place.keys, folder / "token.pub", "hsm", by=place.keys / "one")
    words = ("sign", place.unsigned().release, "--key", folder / "token.pub", "--method", "pkcs11", "--pkcs11", uri())
    asked = run(*words, **variables, **ask(folder, "1234"))
    assert asked.returncode == 0, asked.stderr
    assert verify(place.release, Wanted(signers=place.signers, principal="hsm")).ok
    library(unpacked(place.release, folder / "unpacked"), place.release / "model.sig", pem_of(folder / "token.pub"))


def test_a_pin_comes_from_a_file_of_ones_own_and_is_never_said(
    place: Place, token: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, variables = token
    for name, value in (variables | ask(folder, "9876")).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OrtolanError, match="cannot use the token") as told:
        sign(place.unsigned().release, folder / "token.pub", How("pkcs11", pkcs11=uri()))
    assert ("CKR_PIN_INCORRECT" in str(told.value), "9876" in str(told.value)) == (True, False)
    how = How("pkcs11", pkcs11=uri(f"&pin-source=file:{folder / 'pin'}"))
    sign(place.release, folder / "token.pub", how)
    (folder / "pin").chmod(0o644)
    with pytest.raises(OrtolanError, match="no longer secret"):
        sign(place.unsigned().release, folder / "token.pub", how)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(folder / "nobody"))
    with pytest.raises(OrtolanError, match="cannot sign") as told:
        sign(place.release, folder / "token.pub", how)
    assert "ssh-add -s MODULE" in told.value.hint
    assert place.signatures() == {}


def test_a_token_with_another_key_than_the_agents_is_refused(
    place: Place, token: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, variables = token
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["ssh-add", "-q", place.keys / "one"], check=True)
    with pytest.raises(OrtolanError, match="is no signature of this bundle") as told:
        sign(place.unsigned().release, place.keys / "one.pub", How("pkcs11", pkcs11=uri(f"&pin-source=file:{folder / 'pin'}")))
    assert "Key mismatch" in told.value.why
    assert place.signatures() == {}


def pem_of(public: Path) -> Path:
    path = public.with_suffix(".pem")
    path.write_bytes(subprocess.run(["ssh-keygen", "-e", "-m", "PKCS8", "-f", public], capture_output=True, check=True).stdout)
    return path


def certificates(
    folder: Path, public: ec.EllipticCurvePublicKey, *, starts: timedelta = -ONE_DAY, ends: timedelta = ONE_DAY
) -> tuple[Path, Path]:
    """A signer's certificate and the root that issued it."""
    root = ec.generate_private_key(ec.SECP256R1())

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def issue(subject: str, key: ec.EllipticCurvePublicKey, *, authority: bool) -> Path:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            name("root"), name(subject), key, x509.random_serial_number(),
            now - 9 * ONE_DAY if authority else now + starts, now + 9 * ONE_DAY if authority else now + ends,
        ).add_extension(x509.BasicConstraints(authority, None), critical=True)  # fmt: skip
        usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
        made = builder.add_extension(usage, critical=True).sign(root, hashes.SHA256())
        path = folder / f"{subject}.pem"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return path

    folder.mkdir(exist_ok=True)
    return issue("signer", public, authority=False), issue("root", root.public_key(), authority=True)


def certified(place: Place, folder: Path, **when: timedelta) -> How:
    public = serialization.load_pem_public_key((place.keys / "one.pem").read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    certificate, root = certificates(folder, public, **when)
    return How("certificate", certificate, (root,))


def test_a_certificate_says_whose_key_it_is(place: Place, tmp_path: Path) -> None:
    how, other = certified(place, tmp_path / "a"), certified(place, tmp_path / "b")
    sign(place.unsigned().release, place.keys / "one", how)
    verified = verify(place.release, Wanted(signers=place.signers, trust=Trust(chain=how.chain)))
    assert (verified.ok, verified.gates[-1].measured) == (True, "by certificate")
    bare = verify(place.release, place.wanted)
    assert (bare.ok, str(bare.gates[-1].outcome)) == (True, "not-run")
    assert "--certificate-chain" in bare.gates[-1].why
    assert failed(place, Wanted(signers=place.signers, trust=Trust(chain=other.chain))).startswith("model-signature: ")
    said = run("verify", place.release, "--signers", place.signers).stdout
    assert said.endswith("verified, but nobody looked at its model-signature\n")
    assert run("verify", place.release, "--signers", place.signers, "--certificate-chain", how.chain[0]).stdout.endswith(
        "verified\n"
    )


@pytest.mark.parametrize("when", [{"ends": -ONE_DAY / 2}, {"starts": ONE_DAY / 2}])
def test_a_certificate_that_is_not_valid_now_signs_nothing(place: Place, tmp_path: Path, when: dict[str, timedelta]) -> None:
    how = certified(place, tmp_path / "ca", **when)
    with pytest.raises(OrtolanError, match="not valid now"):
        sign(place.unsigned().release, place.keys / "one", how)
    assert place.signatures() == {}


# --- verifying -----------------------------------------------------------------------------------------------------


def by_hand(place: Place, key: Path, namespace: str = "ortolan-release") -> None:
    (place.release / "SHA256SUMS.sig").unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", namespace, place.release / "SHA256SUMS"], check=True)


def options(place: Place, more: str) -> None:
    """Put more options into the line of the only key."""
    place.signers.write_text(place.signers.read_text().replace('ortolan-keys"', f'ortolan-keys",{more}'))


@pytest.mark.parametrize("namespace", ["ortolan-keys", "file", "git", "ortolan-release2"])
def test_a_signature_for_another_purpose_does_not_count(place: Place, namespace: str) -> None:
    by_hand(place, place.keys / "one", namespace)
    assert failed(place, place.wanted).startswith("signature: SHA256SUMS.sig: is no signature by one for ortolan-release")


def test_a_key_that_is_listed_for_another_purpose_does_not_count(place: Place) -> None:
    place.signers.write_text(place.signers.read_text().replace("ortolan-release,", ""))
    assert failed(place, place.wanted).startswith("signature: ")


def test_somebody_elses_signature_does_not_count(place: Place, tmp_path: Path) -> None:
    keys.make(tmp_path / "theirs", "one", passphrase=False)
    by_hand(place, tmp_path / "theirs" / "one")
    assert "is signed by nobody who may" in failed(place, place.wanted)
    assert "is no signature by one" in failed(place, Wanted(signers=place.signers, principal="one"))


def test_another_principal_does_not_count(place: Place) -> None:
    assert "is no signature by two" in failed(place, Wanted(signers=place.signers, principal="two"))
    assert verify(place.release, Wanted(signers=place.signers, principal="one")).ok


@pytest.mark.parametrize("valid", ['valid-before="20200101"', 'valid-after="20980101"'])
def test_a_key_outside_its_time_does_not_count(place: Place, valid: str) -> None:
    options(place, valid)
    assert "is signed by nobody who may" in failed(place, place.wanted)
    assert "is no signature by one" in failed(place, Wanted(signers=place.signers, principal="one"))


@pytest.mark.parametrize("krl", [True, False])
def test_a_revoked_key_does_not_count(place: Place, krl: bool, tmp_path: Path) -> None:
    revoked = place.keys / "one.pub"
    if krl:
        revoked = tmp_path / "krl"
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, place.keys / "one.pub"], check=True)
    assert "is no signature by one" in failed(place, Wanted(signers=place.signers, revoked=revoked))


def test_a_principal_that_is_a_pattern_has_to_be_named(place: Place) -> None:
    place.signers.write_text(place.signers.read_text().replace("one ", "*@example.com ", 1))
    assert "patterns only" in failed(place, place.wanted)
    assert verify(place.release, Wanted(signers=place.signers, principal="r@example.com")).ok


def test_no_signature_is_a_failure_unless_it_is_said_otherwise(place: Place) -> None:
    (place.release / "model.sig").unlink()
    assert failed(place, place.wanted) == "model-signature: model.sig: there is no such file: the bundle is not signed"
    (place.release / "SHA256SUMS.sig").unlink()
    assert failed(place, place.wanted) == "signature: SHA256SUMS.sig: there is no such file: this release is not signed"
    assert [str(gate.outcome) for gate in verify(place.release, Wanted(unsigned=True)).gates] == [
        "pass",
        "not-run",
        "pass",
        "not-run",
    ]
    done = run("verify", place.release, "--unsigned", XDG_CONFIG_HOME=str(place.keys / "none"))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "its files belong together; who made them is not known")


def test_a_bad_signature_is_a_failure_also_where_none_is_wanted(place: Place) -> None:
    by_hand(place, place.keys / "one", "file")
    assert failed(place, Wanted(signers=place.signers, unsigned=True)).startswith("signature: ")


def test_whom_to_believe_has_to_be_said_and_does_not_come_with_the_release(place: Place) -> None:
    done = run("verify", place.release, XDG_CONFIG_HOME=str(place.keys / "none"))
    assert (done.returncode, "whose signature?" in done.stderr) == (1, True)
    inside = Path(shutil.copy(place.signers, place.release / "allowed_signers"))
    for wanted in (Wanted(signers=inside), Wanted(signers=place.signers, trust=Trust(public_key=inside))):
        with pytest.raises(OrtolanError, match="comes with the release"):
            verify(place.release, wanted)


@pytest.mark.parametrize("name", ["SHA256SUMS", "SHA256SUMS.sig", "model.sig", "release.json", "bundle.tar.zst", "sbom.cdx.json"])
def test_a_link_is_refused_even_to_the_same_bytes(place: Place, name: str, tmp_path: Path) -> None:
    shutil.move(place.release / name, tmp_path / name)
    (place.release / name).symlink_to(tmp_path / name)
    assert failed(place, place.wanted) == f"files: {name}: is no regular file"


@pytest.mark.parametrize("name", ["readme.txt", ".hidden", "SHA256SUMS.sig.bak", "allowed_signers"])
def test_a_file_that_is_not_listed_is_refused(place: Place, name: str) -> None:
    (place.release / name).write_text("more")
    assert failed(place, place.wanted).startswith(f"contents: {name}: is no part of the release")


def test_a_folder_or_a_fifo_is_refused(place: Place) -> None:
    os.mkfifo(place.release / "delta-pipe")
    assert failed(place, place.wanted) == "files: delta-pipe: is no regular file"


def test_a_file_that_is_missing_is_refused(place: Place) -> None:
    for name in ("sbom.cdx.json", "release.json", "SHA256SUMS"):
        (place.release / name).unlink()
        assert failed(place, place.wanted)


def test_the_bundles_signature_is_of_this_bundle_and_by_this_key(place: Place, tmp_path: Path) -> None:
    other = small_release(tmp_path / "other", model=b"another model")
    sign(other, place.keys / "one", How())
    right = (place.release / "model.sig").read_bytes()
    (place.release / "model.sig").write_bytes((other / "model.sig").read_bytes())
    assert "Hash mismatch for 'manifest.json'" in failed(place, place.wanted)
    keys.make(tmp_path / "theirs", "theirs", passphrase=False)
    theirs = Place(place.keys, shutil.copytree(place.release, tmp_path / "copy")).unsigned()
    sign(theirs.release, tmp_path / "theirs" / "theirs", How())
    (place.release / "model.sig").write_bytes((theirs.release / "model.sig").read_bytes())
    assert "Key mismatch" in failed(place, place.wanted)
    (place.release / "model.sig").write_bytes(right)
    assert "Key mismatch" in failed(
        place, Wanted(signers=place.signers, trust=Trust(public_key=tmp_path / "theirs" / "theirs.pem"))
    )
    assert verify(place.release, Wanted(signers=place.signers, trust=Trust(public_key=place.keys / "one.pem"))).ok


def test_a_signature_has_one_form(place: Place) -> None:
    """The same signature in other bytes: what could be added to or taken from it unnoticed."""
    armour, model = ((place.release / name).read_bytes() for name in ("SHA256SUMS.sig", "model.sig"))
    value = json.loads(model)
    first, *rest = armour.splitlines(keepends=True)
    others = {
        "SHA256SUMS.sig": [
            armour + b"\n", b"\n" + armour, armour.rstrip(b"\n"), armour.replace(b"\n", b"\r\n"),
            armour.replace(b"\n", b" \n", 3), first + b"\n" + b"".join(rest), armour * 2, b"",
        ],
        "model.sig": [
            model + b"\n", b"\xef\xbb\xbf" + model, json.dumps(value).encode(), json.dumps(value, indent=1).encode(),
            b"", b"{}", b"[]",
            model.replace(b'"keyid":""', b'"keyid":"","keyid":""'), model.replace(b'{"mediaType"', b'{"more":1,"mediaType"'),
            model.replace(b'{"hint"', b'{"hinu"'), model.replace(b'"publicKey":{"hint"', b'"publicKey":{"rawBytes":"","hint"'),
        ],
    }  # fmt: skip
    for name, changed in others.items():
        right = (place.release / name).read_bytes()
        for data in changed:
            assert data != right
            (place.release / name).write_bytes(data)
            assert not verify(place.release, place.wanted).ok, data
        (place.release / name).write_bytes(right)
    assert verify(place.release, place.wanted).ok


def test_a_signature_of_nothing_like_a_bundle_is_refused(place: Place) -> None:
    envelope = {"payload": base64.b64encode(b"{}").decode(), "payloadType": "application/vnd.in-toto+json", "signatures": []}
    materials: tuple[object, ...] = ({}, {"publicKey": {}, "certificate": {}}, {"publicKey": None}, [])
    for material in materials:
        (place.release / "model.sig").write_text(json.dumps({"verificationMaterial": material, "dsseEnvelope": envelope}))
        assert failed(place, place.wanted).startswith("model-signature: model.sig: ")


BATCHES = 8


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_each_of_1000_changes_of_one_byte_is_refused(place: Place, batch: int) -> None:
    """Any byte of any file, the signatures among them, to any other value."""
    names = sorted(path.name for path in place.release.iterdir())
    assert len(names) == 10
    dice = random.Random(f"one byte {batch}")
    for number in range(1000 // BATCHES):
        path = place.release / names[number % len(names)]
        right = path.read_bytes()
        at = dice.randrange(len(right))
        changed = right[:at] + bytes([right[at] ^ dice.randrange(1, 256)]) + right[at + 1 :]
        path.write_bytes(changed)
        assert not verify(place.release, place.wanted).ok, f"{path.name}: byte {at} became {changed[at]}"
        path.write_bytes(right)
    assert verify(place.release, place.wanted).ok
