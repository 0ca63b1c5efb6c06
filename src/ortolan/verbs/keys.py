"""``keys``, ``keys-make``, ``keys-rotate``, ``keys-trust``, ``keys-retire``: the keys that sign releases."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import OrtolanError
from ..release import keys as folders
from ..release import secret, signers, ssh
from ..release.keys import Changed
from ..release.secret import Key
from .lists import listed

_HEADER = ("key", "principal", "valid", "private", "fingerprint")


def show(folder: Path, *, as_json: bool) -> None:
    """One line for each key of the folder and of its list."""
    rows = _rows(folder)
    if rows or as_json:
        listed(_HEADER, rows, as_json=as_json)
    else:
        print(f"no keys in {folder} yet: ./inv keys-make NAME makes one")


def make(folder: Path, name: str, principal: str, *, passphrase: bool, after: str, by: str, as_json: bool) -> None:
    """Make a key pair, its PEM and its line in the list."""
    signing = folders.named(folder, by) if by else None
    changed = folders.make(folder, name, principal, passphrase=passphrase, after=after, by=signing)
    _say(changed, _pair(folder, name), as_json=as_json)


def rotate(
    folder: Path, old: str, name: str, principal: str, *, passphrase: bool, after: str, until: str, drop: bool, as_json: bool
) -> None:
    """Make a key pair, and have the old key sign the list with both."""
    if until and drop:
        raise OrtolanError("--retire or --drop: not both", hint="--drop takes the old key out now, --retire DAY from a day on")
    changed = folders.rotate(
        folder, folders.named(folder, old), name, principal, passphrase=passphrase, after=after, until=until, drop=drop
    )
    _say(changed, _pair(folder, name), as_json=as_json)


def trust(folder: Path, public: str, principal: str, *, after: str, by: str, as_json: bool) -> None:
    """Add a public key to the list."""
    signing = folders.named(folder, by) if by else None
    _say(folders.trust(folder, Path(public), principal, after=after, by=signing), {"public": public}, as_json=as_json)


def retire(folder: Path, key: str, until: str, *, by: str, as_json: bool) -> None:
    """End a key in the list."""
    public = folders.named(folder, key if key.endswith(".pub") else f"{key}.pub")
    signing = folders.named(folder, by) if by else None
    _say(folders.retire(folder, public, until, by=signing), {"public": str(public)}, as_json=as_json)


def _pair(folder: Path, name: str) -> dict[str, str]:
    path = folder / name
    return {"private": str(path), "public": f"{path}.pub", "pem": f"{path}.pem"}


def _say(changed: Changed, files: dict[str, str], *, as_json: bool) -> None:
    made = {**files, "signers": str(changed.folder / signers.NAME)}
    made |= {"signers_signature": str(changed.folder / signers.SIGNATURE)} if changed.signed else {}
    if as_json:
        told = {**made, "principal": changed.principal, "fingerprint": ssh.fingerprint(changed.public)}
        print(json.dumps(told, indent=1, sort_keys=True))
        return
    width = max(map(len, made))
    print(f"{changed.principal}: {ssh.fingerprint(changed.public)}")
    print("\n".join(f"  {what.replace('_', ' '):{width}}  {path}" for what, path in made.items()))
    if not changed.signed and len(folders.entries(changed.folder)) > 1:
        print(f"  {signers.NAME} is not signed: devices that have an older one take it by hand only (--by OLD-KEY signs it)")


def _rows(folder: Path) -> list[tuple[str, str, str, str, str]]:
    entries = folders.entries(folder)
    pairs = {ssh.public(Key(path)).decode().strip(): path.stem for path in sorted(folder.glob("*.pub"))}
    names = {**{one.key: "" for one in entries}, **pairs}
    by_key = {one.key: one for one in entries}
    rows = []
    for key, name in names.items():
        one = by_key.get(key)
        valid = f"{one.valid('after') or ''}–{one.valid('before') or ''}" if one else "not in the list"
        principal = one.principals if one else ""
        shown = "" if valid == "–" else valid
        rows.append((name or "–", principal, shown or "always", _private(folder, name), ssh.fingerprint(key.encode())))
    return rows


def _private(folder: Path, name: str) -> str:
    """How well a private key is kept."""
    path = folder / name
    if not name or not path.is_file():
        return "elsewhere"
    try:
        return "passphrase" if secret.protected(path) else "no passphrase"
    except OrtolanError as error:
        return f"refused: {error.why}"
