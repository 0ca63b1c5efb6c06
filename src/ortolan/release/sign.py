"""Sign a release: OpenSSH's signature over ``SHA256SUMS``, and an OpenSSF one over the bundle. Both, checked, or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from ..disk import disk, part_of, sweep
from ..errors import OrtolanError
from . import openssf, secret, signers, ssh
from .check import check
from .layout import MODEL_SIGNATURE, NAMESPACE, SUMS, SUMS_SIGNATURE, Release
from .openssf import How, Trust
from .secret import Key


@dataclass(frozen=True)
class Signed:
    """A release, and the key that signs it now."""

    folder: Path
    release: Release
    fingerprint: str
    method: openssf.Method


def sign(folder: Path, path: Path, how: How, *, again: bool = False) -> Signed:
    """Sign the release in ``folder`` with the key at ``path``. OrtolanError, and no signature is written or replaced.

    ``again`` replaces signatures that are there.
    """
    _check_how(how, path)
    sweep(folder)
    _check_unsigned(folder, again=again)
    release = check(folder)
    key = secret.open_key(path)
    public = ssh.public(key)
    _check_curve(path, public)
    with tempfile.TemporaryDirectory(prefix="ortolan-") as place:
        made = _made(Path(place), folder, release, key, how)
        _check_made(Path(place), folder, release, public, how)
    _place(folder, made)
    return Signed(folder, release, ssh.fingerprint(public), how.method)


def _check_how(how: How, path: Path) -> None:
    """OrtolanError where something is missing that the method needs."""
    if how.method not in openssf.METHODS:
        raise OrtolanError(f"there is no method '{how.method}'", hint=f"--method {' or '.join(openssf.METHODS)}")
    if how.method == "pkcs11":
        openssf.check_uri(how.pkcs11)
    if how.method == "sigstore" and not how.sigstore:
        raise OrtolanError("which Sigstore?", hint="--trust-config FILE --identity WHO --oidc-issuer URL, of your own instance")
    if how.certificate and how.method != "certificate":
        why = "model-signing 1.1.1 writes certificates with the keys of files only: what it writes for a token cannot be read"
        raise OrtolanError(f"no certificates with --method {how.method}", why=why, hint="leave out --certificate")
    if how.method == "certificate" and not (how.certificate and how.chain):
        raise OrtolanError("certificates are missing", hint="--certificate SIGNER.pem --chain CA.pem, up to the root")
    if how.certificate:
        _check_current(how.certificate)
    if how.method in {"key", "certificate"} and path.suffix == ".pub":
        hint = "--key with the private key's file; --method pkcs11 for a token"
        raise OrtolanError("model-signing asks no agent", where=str(path), hint=hint)


def _check_current(path: Path) -> None:
    """OrtolanError for a certificate that is not valid now: those who verify take the time of signing to be its first day."""
    secret.check_there(path)
    try:
        one = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise OrtolanError("is no certificate in PEM", where=str(path), why=str(error).splitlines()[0]) from error
    if not one.not_valid_before_utc <= datetime.now(UTC) <= one.not_valid_after_utc:
        why = f"valid from {one.not_valid_before_utc:%Y-%m-%d} until {one.not_valid_after_utc:%Y-%m-%d}"
        raise OrtolanError("the certificate is not valid now", where=str(path), why=why)


def _check_unsigned(folder: Path, *, again: bool) -> None:
    there = [name for name in (SUMS_SIGNATURE, MODEL_SIGNATURE) if (folder / name).exists() or (folder / name).is_symlink()]
    for name in there:
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise OrtolanError("is no regular file", where=str(folder / name), hint="remove it")
    if there and not again:
        what, hint = f"has {' and '.join(there)} already", "./inv verify says whose; --again replaces them"
        raise OrtolanError(what, where=str(folder), hint=hint)


def _check_curve(path: Path, public: bytes) -> None:
    if not public.startswith(b"ecdsa-sha2-nistp"):
        why = f"it is {public.split()[0].decode(errors='replace')}; model-signing takes ECDSA keys"
        raise OrtolanError("is no key for releases", where=str(path), why=why, hint="./inv keys-make NAME")


def _made(place: Path, folder: Path, release: Release, key: Key, how: How) -> Mapping[str, bytes]:
    """Both signatures, by name; they also lie in ``place``."""
    (place / SUMS_SIGNATURE).write_bytes(ssh.sign(key, (folder / SUMS).read_bytes(), NAMESPACE))
    if how.method == "certificate" and key.passphrase is not None:
        why = "model-signing opens the key of a certificate without a passphrase only"
        raise OrtolanError("cannot sign the bundle", where=str(key.path), why=why, hint="--method pkcs11, or --method key")
    openssf.sign(release, key, how, place / MODEL_SIGNATURE)
    return {name: (place / name).read_bytes() for name in (MODEL_SIGNATURE, SUMS_SIGNATURE)}


def _check_made(place: Path, folder: Path, release: Release, public: bytes, how: How) -> None:
    """Verify both as anybody would who has the public key (or the certificate's root). OrtolanError."""
    listed = place / signers.NAME
    listed.write_text(signers.entry("signer", public).line() + "\n")
    ssh.verify((folder / SUMS).read_bytes(), place / SUMS_SIGNATURE, listed, NAMESPACE)
    (place / "public.pem").write_bytes(ssh.pem(public))
    if how.method == "sigstore":
        trust = Trust(sigstore=how.sigstore)
    elif how.certificate:
        trust = Trust(chain=how.chain)
    else:
        trust = Trust(public_key=place / "public.pem")
    openssf.verify(release, place / MODEL_SIGNATURE, trust)


def _place(folder: Path, made: Mapping[str, bytes]) -> None:
    """Write both beside each other, then give them their names: ``SHA256SUMS.sig``, which devices look at, last."""
    parts = {name: part_of(folder / name) for name in made}
    with disk(folder):
        try:
            for name, data in made.items():
                _write(parts[name], data)
            for name, part in parts.items():
                part.replace(folder / name)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    path.chmod(0o644)
