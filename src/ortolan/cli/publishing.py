"""The verbs that bring releases to where devices fetch them, and move the channels that devices follow."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from ..cache import user_cache
from ..root import find_root
from .verb import module, verb

_STORE = "oci://HOST/BASE, s3://BUCKET/PREFIX, gitlab://HOST/GROUP/PROJECT or file:///FOLDER"
_INSECURE = "speak plain HTTP to a host that is not this machine"
_TARGET = "name of the target"


@verb(
    positional=["release"],
    help={
        "release": "tag of a release, its folder, or a folder of releases such as dist or dist/<target>",
        "to": _STORE,
        "target": f"{_TARGET}, where several have the tag",
        "deep": "read everything back and hash it; else what the store says of digests and sizes is compared",
        "unsigned": "publish without a signature, for devices that trust the store alone",
        "insecure": _INSECURE,
        "json": "print events and the result as lines of JSON",
    },
)
def publish(
    _: Context, release: str, to: str = "", target: str = "", deep: bool = False, unsigned: bool = False, insecure: bool = False,
    json: bool = False,
) -> None:  # fmt: skip
    """Bring releases to a registry or another store; the same again goes on, or finds nothing to do.

    ./inv publish digits-5f3c9a1b2c4d-opset17-ort1.20.1 --to oci://registry.example.com/models
    ./inv publish dist/x86-cpu --to s3://bucket/releases
    """
    module("publish").run(
        find_root(Path.cwd()), release, target, to, insecure=insecure, unsigned=unsigned, deep=deep, as_json=json,
        cache=user_cache(),
    )  # fmt: skip


@verb(
    positional=["tag"],
    help={
        "tag": "tag of a published release",
        "channel": "what devices follow: stable, beta",
        "at": _STORE,
        "target": _TARGET,
        "model": "name of the model; default: as the tag says",
        "by": "who answers for it; default: GitLab's user in a pipeline, else git's user.email",
        "back": "allow a release that is older than the channel's present one",
        "unsigned": "allow a release without a signature",
        "insecure": _INSECURE,
        "json": "print one line of JSON",
    },
)
def promote(
    _: Context, tag: str, channel: str = "", at: str = "", target: str = "", model: str = "", by: str = "", back: bool = False,
    unsigned: bool = False, insecure: bool = False, json: bool = False,
) -> None:  # fmt: skip
    """Let a channel lead to a release that is published, and record who did that, when, and from where.

    ./inv promote digits-5f3c9a1b2c4d-opset17-ort1.20.1 --channel stable --at oci://registry.example.com/models --target x86-cpu
    """
    module("promote").run(
        find_root(Path.cwd()), tag, channel, at, target, model, by=by, back=back, unsigned=unsigned, insecure=insecure,
        as_json=json, cache=user_cache(),
    )  # fmt: skip


@verb(
    help={
        "at": _STORE,
        "target": _TARGET,
        "model": "name of the model",
        "insecure": _INSECURE,
        "json": "print JSON",
    },
)
def channels(_: Context, at: str = "", target: str = "", model: str = "", insecure: bool = False, json: bool = False) -> None:
    """List what is published of a model, where its channels lead, and all promotions.

    ./inv channels --at oci://registry.example.com/models --target x86-cpu --model digits
    """
    module("channels").run(at, target, model, insecure=insecure, as_json=json, cache=user_cache())
