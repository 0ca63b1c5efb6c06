"""Builds and starts images with the Docker engine that answers, through its SDK."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any

import docker
from docker.errors import APIError, BuildError, DockerException, ImageNotFound
from docker.types import DeviceRequest

from ..errors import OrtolanError
from .parts import STRANGE, BuildFailed, CannotStart, Container, Image, Wanted, last_lines, strange

_STOP = 10  # seconds between SIGTERM and SIGKILL
_GPUS = DeviceRequest(count=-1, capabilities=[["gpu"]])
_NO_WAY_OUT = {"com.docker.network.bridge.enable_ip_masquerade": "false"}


class Engine:
    """A Docker engine. Its classic builder stamps every layer and every image with the time of day."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client
        self.name = f"Docker Engine {client.version()['Version']}"
        self.varies = (
            "its classic builder, the one that the SDK reaches, stamps images with the time of day; try --builder buildah"
        )

    def build(self, wanted: Wanted, name: str) -> Image:
        """Send the folder as a tar file, the same for the same files."""
        base = self._base(wanted)
        with tempfile.TemporaryFile() as context:
            _pack(wanted.context, context, wanted.epoch)
            context.seek(0)
            try:
                made, _ = self._client.images.build(
                    fileobj=context, custom_context=True, dockerfile=wanted.dockerfile, tag=name, platform=wanted.platform,
                    buildargs=dict(wanted.arguments), rm=True, forcerm=True,
                )  # fmt: skip
            except BuildError as error:
                said = "".join(str(line.get("stream") or line.get("error") or "") for line in error.build_log)
                raise BuildFailed("the image cannot be built", where=wanted.dockerfile, why=last_lines(said)) from error
            except APIError as error:
                raise BuildFailed("the image cannot be built", where=wanted.dockerfile, why=str(error.explanation)) from error
        about = made.attrs
        return Image(made.id, about["Size"], base.attrs["Size"], _platform(about), about["Config"])

    def _base(self, wanted: Wanted) -> Any:
        try:
            found = self._client.images.get(wanted.base)
        except ImageNotFound:
            found = None
        if found is None or not _same(_platform(found.attrs), wanted.platform):
            try:
                found = self._client.images.pull(wanted.base, platform=wanted.platform)
            except DockerException as error:
                raise no_base(wanted, str(error), "docker pull") from error
        return found

    @contextmanager
    def start(self, name: str, image: Image, wanted: Wanted) -> Iterator[Container]:
        """Behind a network of its own that leads nowhere; its port is published on this machine's loopback."""
        self._fit(wanted)
        own = f"{name.replace('/', '-').replace(':', '-')}-net"
        network = self._client.networks.create(own, driver="bridge", options=_NO_WAY_OUT)
        container = None
        try:
            container = self._client.containers.create(
                image.id, platform=wanted.platform, network=network.name, ports={f"{wanted.port}/tcp": ("127.0.0.1", None)},
                read_only=True, cap_drop=["ALL"], security_opt=["no-new-privileges"], pids_limit=512,
                device_requests=[_GPUS] if wanted.nvidia else None,
            )  # fmt: skip
            container.start()
            yield _Running(container, wanted.port)
            _emulated(container, wanted)
        finally:
            if container is not None:
                container.remove(force=True, v=True)
            network.remove()

    def _fit(self, wanted: Wanted) -> None:
        """CannotStart where no start could say anything about the image."""
        if wanted.nvidia and "nvidia" not in self._client.info().get("Runtimes", {}):
            hint = "on a machine with an NVIDIA GPU, install the NVIDIA container toolkit"
            raise CannotStart("this engine has no NVIDIA runtime", hint=hint)
        if not self._client.api.base_url.startswith(("http+docker://", "npipe://", "http://localhost", "http://127.")):
            hint = "run ./inv image on that machine"
            raise CannotStart("the engine is on another machine, whose ports cannot be reached from here", hint=hint)

    def rename(self, name: str, to: str) -> None:
        """Tag it anew."""
        self._client.images.get(name).tag(to)
        self._client.api.remove_image(name, noprune=True)

    def remove(self, name: str) -> None:
        """Untag it; its layers go where nothing else uses them."""
        try:
            self._client.images.remove(name, force=True)
        except ImageNotFound:
            return


class _Running:
    """A container of the engine's."""

    how = "Docker: read-only root, no capabilities, no way out"

    @property
    def enter(self) -> Sequence[str]:
        return ()

    def __init__(self, container: Any, port: int) -> None:
        self._container, self._inside = container, f"{port}/tcp"

    def connect(self, limit: float) -> HTTPConnection:
        host, _, port = self.address().partition(":")
        return HTTPConnection(host, int(port), timeout=limit)

    def address(self) -> str:
        self._container.reload()
        published = self._container.ports.get(self._inside)
        if not published:
            raise ConnectionRefusedError("the container has ended")
        return f"127.0.0.1:{published[0]['HostPort']}"

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        done = self._container.exec_run(list(command))
        return int(done.exit_code), done.output.decode(errors="replace")

    def running(self) -> bool:
        self._container.reload()
        return bool(self._container.status == "running")

    def log(self) -> str:
        return str(self._container.logs().decode(errors="replace"))

    def stop(self) -> int | None:
        self._container.stop(timeout=_STOP)
        code = int(self._container.wait(timeout=_STOP)["StatusCode"])
        return None if code == 128 + 9 else code


def find() -> Engine | None:
    """The engine that DOCKER_HOST names, or the default socket; None when none answers."""
    try:
        return Engine(docker.from_env(timeout=600))
    except (DockerException, OSError):
        return None


def no_base(wanted: Wanted, why: str, pull: str) -> OrtolanError:
    """The base is not here for this platform, and cannot be fetched."""
    what = f"there is no base image {wanted.base} for {wanted.platform}"
    hint = f"{pull} --platform {wanted.platform} {wanted.base}, or another base in [outputs.docker]"
    return OrtolanError(what, why=last_lines(why, 3), hint=hint)


def _emulated(container: Any, wanted: Wanted) -> None:
    if STRANGE in container.logs().decode(errors="replace").lower():
        raise strange(wanted.platform)


def _platform(about: dict[str, Any]) -> str:
    return "/".join(part for part in (about["Os"], about["Architecture"], about.get("Variant", "")) if part)


def _same(have: str, want: str) -> bool:
    """linux/arm64/v8 is linux/arm64."""
    return have == want or have.startswith(f"{want}/")


def _pack(folder: Path, to: IO[bytes], epoch: int) -> None:
    """A tar file with nothing of this machine in it: no owner, one time, two kinds of modes, in order."""
    with tarfile.open(fileobj=to, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            entry = tar.gettarinfo(path, path.relative_to(folder).as_posix())
            if entry.islnk():  # the wheels are hard links in a cache; the second of two in one tar would refer to the first
                entry.type, entry.size, entry.linkname = tarfile.REGTYPE, path.stat().st_size, ""
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime, entry.mode = epoch, 0o755 if path.is_dir() else 0o644
            if path.is_file():
                with path.open("rb") as stream:
                    tar.addfile(entry, stream)
            else:
                tar.addfile(entry)
