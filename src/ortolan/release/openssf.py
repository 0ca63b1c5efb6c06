"""Signatures in the OpenSSF Model Signing format, made and checked by the library model-signing.

https://github.com/sigstore/model-transparency

What is signed is the list of a bundle's files with their digests, as ``release.json`` has it: that of the unpacked bundle. No
unpacked files are needed, but the archives must have been held against ``release.json`` before.
"""

from __future__ import annotations

import contextlib
import io
import json
import urllib.parse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from model_signing import hashing, signing, verifying
from model_signing._hashing.hashing import Digest  # manifests consist of it, and nothing public makes one
from model_signing.manifest import Manifest, SerializationType
from sigstore_models.bundle.v1 import Bundle

from ..errors import OrtolanError
from . import secret
from .layout import Release
from .secret import Key

Method = Literal["key", "certificate", "pkcs11", "sigstore"]
METHODS: tuple[Method, ...] = ("key", "certificate", "pkcs11", "sigstore")
_FILES = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
_KINDS = {"publicKey": "key", "x509CertificateChain": "certificate", "certificate": "sigstore"}


@dataclass(frozen=True)
class Sigstore:
    """A private Sigstore instance: its trust configuration, and whose identity, told by which issuer, signs."""

    trust_config: Path
    identity: str
    issuer: str
    token: Path | None = None


@dataclass(frozen=True)
class How:
    """What a bundle is signed with besides the key: certificates up to the root, a token's URI, or a Sigstore."""

    method: Method = "key"
    certificate: Path | None = None
    chain: tuple[Path, ...] = ()
    pkcs11: str = ""
    sigstore: Sigstore | None = None


@dataclass(frozen=True)
class Trust:
    """Whom to believe: a public key's PEM, or certificate authorities, or an identity of a Sigstore. One of them."""

    public_key: Path | None = None
    chain: tuple[Path, ...] = ()
    sigstore: Sigstore | None = None


class _Listed(hashing.Config):  # type: ignore[misc,unused-ignore]
    """In place of hashing a folder: the digests that a release has for a bundle's files."""

    def __init__(self, release: Release) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._release = release

    def hash(self, model_path: hashing.PathLike, *, files_to_hash: Iterable[hashing.PathLike] | None = None) -> Manifest:
        """Nothing is read."""
        del model_path, files_to_hash
        form = SerializationType.from_args(_FILES)
        files = self._release.files.items()
        return Manifest(
            self._release.tag,
            [form.new_item(path, Digest("sha256", bytes.fromhex(part.digest.removeprefix("sha256:")))) for path, part in files],
            form,
        )


def sign(release: Release, key: Key, how: How, to: Path) -> None:
    """Write the signature of a release's bundle to ``to``. OrtolanError with what the library says, and without any secret."""
    config = signing.Config().set_hashing_config(_Listed(release))  # type: ignore[no-untyped-call]
    with _told("cannot sign the bundle"):
        pin = _use(config, key, how)
    with _told("cannot sign the bundle", pin):
        config.sign(release.tag, to)


def verify(release: Release, signature: Path, trust: Trust) -> str:
    """Hold a signature against a release whose files have been checked; by what it is signed. OrtolanError."""
    config = verifying.Config().set_hashing_config(_Listed(release))  # type: ignore[no-untyped-call]
    with _told("is no signature of this bundle", where=signature):
        if trust.sigstore:
            one = trust.sigstore
            config.use_sigstore_verifier(identity=one.identity, oidc_issuer=one.issuer, trust_config=one.trust_config)
        else:
            _check_form(signature.read_text("utf-8"))
            if trust.chain:
                config.use_certificate_verifier(certificate_chain=trust.chain)
            elif trust.public_key:
                config.use_elliptic_key_verifier(public_key=trust.public_key)
        config.verify(release.tag, signature)
    return kind(signature)


def kind(signature: Path) -> str:
    """What a signature says it was made with: ``key``, ``certificate`` or ``sigstore``. OrtolanError for anything else."""
    with _told("is no signature of a model", where=signature):
        material = json.loads(signature.read_bytes())["verificationMaterial"]
        (found,) = _KINDS.keys() & material.keys()
    return _KINDS[found]


def _use(config: signing.Config, key: Key, how: How) -> str:
    """Set up the signer; the PIN, if there is one."""
    if how.method == "sigstore" and how.sigstore:
        _use_sigstore(config, how.sigstore)
    elif how.method == "pkcs11":
        uri, pin = _with_pin(how.pkcs11)
        with _told("cannot use the token", pin):
            config.use_pkcs11_signer(pkcs11_uri=uri)
        return pin
    elif how.method == "certificate" and how.certificate:
        config.use_certificate_signer(private_key=key.path, signing_certificate=how.certificate, certificate_chain=how.chain)
    else:
        password: Any = key.passphrase  # the library says str, and hands it to cryptography, which takes bytes
        config.use_elliptic_key_signer(private_key=key.path, password=password)
    return ""


def _use_sigstore(config: signing.Config, one: Sigstore) -> None:
    token = None
    if one.token:
        secret.check_private(one.token)
        token = one.token.read_text().strip()
    config.use_sigstore_signer(trust_config=one.trust_config, identity_token=token, use_ambient_credentials=True, force_oob=True)


def _with_pin(uri: str) -> tuple[str, str]:
    """The URI with the PIN in it, for the library alone, and the PIN: from the file that ``pin-source`` names, or asked for."""
    path, _, query = uri.partition("?")
    parts = [part for part in query.split("&") if part]
    sources = [part.removeprefix("pin-source=") for part in parts if part.startswith("pin-source=")]
    if sources:
        source = Path(urllib.parse.unquote(sources[0].removeprefix("file:").removeprefix("//")))
        secret.check_private(source)
        pin = source.read_text().strip()
    else:
        pin = secret.ask(f"PIN for {path}: ").decode()
    kept = [part for part in parts if not part.startswith("pin-source=")]
    return f"{path}?{'&'.join([*kept, 'pin-value=' + urllib.parse.quote(pin, safe='')])}", pin


def check_uri(uri: str) -> None:
    """OrtolanError for a URI (RFC 7512) that names no key, or that holds a PIN, which other processes could then read."""
    if "pin-value" in uri:
        hint = "pin-source=file:/path/to/pin (mode 0600), or leave it out and be asked"
        raise OrtolanError("a PIN is no argument", why="every process of this machine can read arguments", hint=hint)
    if not uri.startswith("pkcs11:") or "module-" not in uri:
        hint = "pkcs11:token=LABEL;object=KEY?module-path=/usr/lib/softhsm/libsofthsm2.so"
        raise OrtolanError("--pkcs11 is no URI of a key with its module", hint=hint)


def _check_form(text: str) -> None:
    """ValueError unless a bundle is written as the library writes it, so that no other bytes stand for the same signature."""
    value = json.loads(text)
    again = json.loads(Bundle.from_json(text).to_json())
    if json.dumps(value, separators=(",", ":"), ensure_ascii=False) != text or again != value:
        raise ValueError("it is not written as model-signing writes it")


@contextmanager
def _told(what: str, pin: str = "", where: Path | None = None) -> Iterator[None]:
    """Turn whatever the library raises (its own, cryptography's, OpenSSL's, PyKCS11's) into an OrtolanError; it prints, too."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    except (OrtolanError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - the library lets through what the libraries below it raise
        why = str(error).strip() or type(error).__name__
        for secret_text in {pin, urllib.parse.quote(pin, safe="")} - {""}:
            why = why.replace(secret_text, "…")
        raise OrtolanError(what, where=str(where or ""), why=why.splitlines()[0][:500]) from None
