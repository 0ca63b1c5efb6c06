"""Builds images with buildah: no daemon, and equal inputs give equal ids."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import OrtolanError
from . import runc
from .engine import no_base
from .parts import BuildFailed, Container, Image, Wanted, last_lines

PROGRAM = "buildah"
_OWN = ("container", "container_config")  # what buildah's docker format keeps of the container that it worked in
_CONFIG, _LAYERS = "config", "layers"


class Buildah:
    """The buildah on PATH; images go into its user's storage, where podman finds them."""

    varies = ""

    def __init__(self) -> None:
        self.name = " ".join(_run(["--version"]).split()[:3]).replace(" version", "")

    def build(self, wanted: Wanted, name: str) -> Image:
        """In Docker's format, since OCI's has no health check."""
        base = self._base(wanted)
        arguments = [f"--build-arg={key}={value}" for key, value in wanted.arguments.items()]
        same = ["--format=docker", f"--timestamp={wanted.epoch}", "--identity-label=false", "--no-cache", "--pull-never"]
        where = [f"--platform={wanted.platform}", f"--file={wanted.context / wanted.dockerfile}", f"--tag={name}"]
        done = _call(["build", "--quiet", *same, *arguments, *where, str(wanted.context)])
        if done.returncode:
            raise BuildFailed("the image cannot be built", where=wanted.dockerfile, why=last_lines(done.stderr))
        return _settle(name, base, wanted.platform)

    def _base(self, wanted: Wanted) -> list[str]:
        """The layers of the base."""
        found = _inspect(wanted.base)
        if found is None or f"linux/{found['OCIv1']['architecture']}" not in wanted.platform:
            done = _call(["pull", "--quiet", f"--platform={wanted.platform}", wanted.base])
            found = None if done.returncode else _inspect(wanted.base)
            if found is None:
                raise no_base(wanted, done.stderr, "buildah pull")
        return [str(layer) for layer in found["OCIv1"]["rootfs"]["diff_ids"]]

    @contextmanager
    def start(self, name: str, image: Image, wanted: Wanted) -> Iterator[Container]:
        """With runc, on the image's files as buildah mounts them."""
        runc.check(wanted)
        working = _run(["from", "--pull-never", name]).strip()
        try:
            with runc.start(Path(_run(["mount", working]).strip()), image.config, wanted) as running:
                yield running
        finally:
            _call(["umount", working])
            _call(["rm", working])

    def rename(self, name: str, to: str) -> None:
        """Tag it anew."""
        _run(["tag", name, to])
        _call(["untag", name, name])

    def remove(self, name: str) -> None:
        """Remove the image if this was its last name."""
        _call(["rmi", name])


def find() -> Buildah | None:
    """None when there is no buildah."""
    return Buildah() if shutil.which(PROGRAM) else None


def _settle(name: str, base: Sequence[str], platform: str) -> Image:
    """Take out of an image's configuration what names the container it was made in: its id is that of its contents then."""
    with tempfile.TemporaryDirectory(prefix="ortolan-") as scratch:
        folder = Path(scratch) / "image"
        _run(["push", "--quiet", "--disable-compression", name, f"dir:{folder}"])
        listed = json.loads((folder / "manifest.json").read_text())
        told = _without_container(json.loads(_blob(folder, listed[_CONFIG]).read_text()))
        data = json.dumps(told, separators=(",", ":")).encode()
        identity = hashlib.sha256(data).hexdigest()
        (folder / identity).write_bytes(data)
        listed[_CONFIG] |= {"digest": f"sha256:{identity}", "size": len(data)}
        (folder / "manifest.json").write_text(json.dumps(listed))
        _run(["rmi", name])
        _run(["pull", "--quiet", f"dir:{folder}"])
        _run(["tag", identity, name])
    layers = dict(zip(told["rootfs"]["diff_ids"], (layer["size"] for layer in listed[_LAYERS]), strict=True))
    below = sum(layers.get(layer, 0) for layer in base)
    return Image(f"sha256:{identity}", sum(layers.values()), below, platform, told[_CONFIG])


def _blob(folder: Path, entry: dict[str, Any]) -> Path:
    return folder / str(entry["digest"]).partition(":")[2]


def _without_container(told: dict[str, Any]) -> dict[str, Any]:
    config = {key: value for key, value in told[_CONFIG].items() if key not in {"Hostname", "Image"}}
    return {key: value for key, value in told.items() if key not in _OWN} | {_CONFIG: config}


def _inspect(name: str) -> dict[str, Any] | None:
    done = _call(["inspect", "--type", "image", name])
    return None if done.returncode else dict(json.loads(done.stdout))


def _run(arguments: Sequence[str]) -> str:
    done = _call(arguments)
    if done.returncode:
        raise OrtolanError(f"buildah {arguments[0]} failed", why=last_lines(done.stderr), hint="buildah info")
    return done.stdout


def _call(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  the system's buildah, with arguments of ours
        [PROGRAM, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
