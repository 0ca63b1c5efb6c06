"""The verbs of keys and signatures."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from .verb import JSON, module, verb

FOLDER = "folder of the keys; default: ~/.config/ortolan/keys"
PRINCIPAL = "who signs with it, as lists of allowed signers say; default: the key's name"
BARE = "without a passphrase, for a machine that signs alone; else ssh-keygen asks for one"
AFTER = "first day on which it is valid, as 2027-01-31; default: always, as devices without a clock need it"
BY = "a key of the list as it is, which signs the new list for devices that have the old one"
RELEASE = "folder of a release, or the tag of one in dist/"
TRUST_CONFIG = "of a private Sigstore instance: its trust configuration (ClientTrustConfig as JSON)"


@verb(help={"folder": FOLDER, "json": JSON})
def keys(_: Context, folder: str = "", json: bool = False) -> None:
    """List the keys that sign releases, and how they are kept; keys-make, keys-rotate, keys-trust, keys-retire change them.

    ./inv keys --folder keys
    """
    module("keys").show(_keys(folder), as_json=json)


@verb(
    name="keys-make",
    positional=["name"],
    help={
        "name": "of the key, and of its files: NAME, NAME.pub, NAME.pem",
        "folder": FOLDER,
        "principal": PRINCIPAL,
        "no-passphrase": BARE,
        "valid-after": AFTER,
        "by": BY,
        "json": JSON,
    },
)
def keys_make(
    _: Context,
    name: str,
    folder: str = "",
    principal: str = "",
    no_passphrase: bool = False,
    valid_after: str = "",
    by: str = "",
    json: bool = False,
) -> None:
    """Make an ECDSA P-256 key pair with ssh-keygen, and add it to allowed_signers, which goes onto devices.

    ./inv keys-make release-2026 --principal releases@example.com
    """
    module("keys").make(
        _keys(folder), name, principal, passphrase=not no_passphrase, after=valid_after, by=by, as_json=json
    )  # fmt: skip


@verb(
    name="keys-rotate",
    auto_shortflags=False,  # Invoke would make "--" that of --no-passphrase
    positional=["old", "new"],
    help={
        "old": "name or path of the key that signs now; a .pub file where ssh-agent has the key",
        "new": "name of the key to make",
        "folder": FOLDER,
        "principal": PRINCIPAL,
        "no-passphrase": BARE,
        "valid-after": AFTER,
        "retire": "day from which the old key, and what it signed, is refused, as 2027-01-31",
        "drop": "take the old key out of the list now",
        "json": JSON,
    },
)
def keys_rotate(
    _: Context,
    old: str,
    new: str,
    folder: str = "",
    principal: str = "",
    no_passphrase: bool = False,
    valid_after: str = "",
    retire: str = "",
    drop: bool = False,
    json: bool = False,
) -> None:
    """Make a new key, and have the old one sign the list with both: devices that trust the old key then trust the new one.

    ./inv keys-rotate release-2026 release-2027 --retire 2027-06-30
    """
    module("keys").rotate(
        _keys(folder), old, new, principal, passphrase=not no_passphrase, after=valid_after, until=retire, drop=drop, as_json=json
    )


@verb(
    name="keys-trust",
    positional=["public"],
    help={
        "public": "public key in OpenSSH's form, as ssh-keygen -D MODULE prints for a token",
        "folder": FOLDER,
        "principal": PRINCIPAL,
        "valid-after": AFTER,
        "by": BY,
        "json": JSON,
    },
)
def keys_trust(
    _: Context, public: str, folder: str = "", principal: str = "", valid_after: str = "", by: str = "", json: bool = False
) -> None:
    """Add a key that was made elsewhere, in a token or by a colleague, to allowed_signers.

    ./inv keys-trust token.pub --principal releases@example.com --by release-2026
    """
    module("keys").trust(_keys(folder), public, principal, after=valid_after, by=by, as_json=json)


@verb(
    name="keys-retire",
    positional=["key"],
    help={
        "key": "name of the key, or path of its .pub file",
        "on": "day from which it is refused, as 2027-01-31; default: it is taken out of the list now",
        "by": BY,
        "folder": FOLDER,
        "json": JSON,
    },
)
def keys_retire(_: Context, key: str, on: str = "", by: str = "", folder: str = "", json: bool = False) -> None:
    """End a key in allowed_signers: what it signed is refused as well, until another key signs it again.

    ./inv keys-retire release-2026 --by release-2027
    """
    module("keys").retire(_keys(folder), key, on, by=by, as_json=json)


@verb(
    positional=["release"],
    iterable=["chain"],
    help={
        "release": RELEASE,
        "key": "private key (path, or name of ./inv keys), or a .pub file whose private key ssh-agent has",
        "target": "which target's, where several have a release of that tag",
        "method": "how the bundle is signed: key (default), certificate, pkcs11 or sigstore",
        "certificate": "of the signer, in PEM (method certificate)",
        "chain": "certificates of the authorities above it, up to the root, in PEM; may be given more than once",
        "pkcs11": "URI of the key in a token, with module-path and, if nobody is to be asked, pin-source=file:/PATH",
        "trust-config": TRUST_CONFIG,
        "identity": "of a private Sigstore instance: who signs",
        "oidc-issuer": "of a private Sigstore instance: URL of the issuer that says who signs",
        "identity-token": "file with the issuer's token; default: that of the CI's surroundings, else it asks",
        "folder": FOLDER,
        "again": "replace signatures that are there",
        "json": JSON,
    },
)
def sign(
    _: Context,
    release: str,
    chain: list[str],
    key: str = "",
    target: str = "",
    method: str = "key",
    certificate: str = "",
    pkcs11: str = "",
    trust_config: str = "",
    identity: str = "",
    oidc_issuer: str = "",
    identity_token: str = "",
    folder: str = "",
    again: bool = False,
    json: bool = False,
) -> None:
    """Sign a release: SHA256SUMS.sig (OpenSSH) and model.sig (OpenSSF Model Signing); both, after a check, or none.

    ./inv sign digits-5f3c9a1b2c4d-opset17-ort1.20.1 --key release-2026
    ./inv sign dist/x86-cpu/digits-5f3c9a1b2c4d-opset17-ort1.20.1 --key token.pub --method pkcs11 --pkcs11 'pkcs11:token=ortolan;object=release?module-path=/usr/lib/softhsm/libsofthsm2.so'
    """  # noqa: E501 - an example that can be copied
    verbs = module("sign")
    verbs.run(
        release, target, key, _keys(folder), method=method, certificate=certificate, chain=chain, pkcs11=pkcs11,
        sigstore=verbs.sigstore(trust_config, identity, oidc_issuer, identity_token), again=again, as_json=json,
    )  # fmt: skip


@verb(
    positional=["release"],
    iterable=["certificate_chain"],
    help={
        "release": RELEASE,
        "signers": "list of allowed signers, not from the release; default: that of ~/.config/ortolan/keys",
        "principal": "who must have signed; default: whoever the list has for the key",
        "revoked": "keys that no longer count: a KRL of ssh-keygen -k, or public keys by line",
        "target": "which target's, where several have a release of that tag",
        "public-key": "PEM of the key that must have signed the bundle; default: the one that signed SHA256SUMS",
        "certificate-chain": "root, and what stands below it, that must have issued the signer's certificate; may be repeated",
        "trust-config": TRUST_CONFIG,
        "identity": "of a private Sigstore instance: who must have signed",
        "oidc-issuer": "of a private Sigstore instance: URL of the issuer",
        "unsigned": "a signature that is not there is no failure: are the files those of one release?",
        "json": JSON,
    },
)
def verify(
    _: Context,
    release: str,
    certificate_chain: list[str],
    signers: str = "",
    principal: str = "",
    revoked: str = "",
    target: str = "",
    public_key: str = "",
    trust_config: str = "",
    identity: str = "",
    oidc_issuer: str = "",
    unsigned: bool = False,
    json: bool = False,
) -> None:
    """Verify a release: signature, every file, every file in the archives, and the bundle's own signature; exit 3 if one fails.

    ./inv verify dist/x86-cpu/digits-5f3c9a1b2c4d-opset17-ort1.20.1 --signers allowed_signers
    """
    sigstore = module("sign").sigstore(trust_config, identity, oidc_issuer, "")
    module("verify").run(
        release, target, signers, principal, revoked, public_key=public_key, chain=certificate_chain, sigstore=sigstore,
        unsigned=unsigned, as_json=json,
    )  # fmt: skip


def _keys(folder: str) -> Path:
    """The folder that the command line names, or the user's."""
    return Path(folder) if folder else Path(module("keys").folders.user_keys())
