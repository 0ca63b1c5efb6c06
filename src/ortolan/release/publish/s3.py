"""A bucket of S3, or of what speaks like it (``AWS_ENDPOINT_URL``), as a store. Users, regions and retries are boto3's own."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import digest as digests
from ...errors import OrtolanError
from ...events import Emit
from ..behind import Sum
from .address import Address
from .progress import moving

PART = 64 << 20
"""Files up to this size, in bytes, are one request, on the condition that the key is free; larger ones are parts of this size."""
_CHUNK = 1 << 20
_TAKEN, _NO_CONDITIONS, _ABSENT = (
    {"412", "PreconditionFailed", "ConditionalRequestConflict"},
    {"501", "NotImplemented"},
    {"404", "NoSuchKey"},
)
_DIGEST = "sha256"
"""The name under which an object's metadata keep its digest: of an object in parts S3 itself knows none."""


@dataclass(frozen=True)
class Bucket:
    """Keys below ``prefix`` in a bucket."""

    client: Any
    name: str
    prefix: str

    def url(self, folder: str) -> str:
        """As ``s3://``."""
        return f"s3://{self.name}/{self._key(folder)}"

    def digests(self, folder: str) -> Mapping[str, str]:
        """By S3's own checksums where it keeps them, else by reading."""
        return {name: self._digest(folder, name) for name in self._listed(folder)[1]}

    def add(self, folder: str, files: Mapping[str, Path], emit: Emit) -> None:
        """One after the other: a release without its last file, ``SHA256SUMS``, is none."""
        for name, path in files.items():
            with _told(self.url(folder)), moving(emit, name, path.stat().st_size) as tell:
                if path.stat().st_size <= PART:
                    self._put(f"{folder}/{name}", path)
                else:
                    self._put_parts(f"{folder}/{name}", path, tell)

    def replace(self, folder: str, name: str, data: bytes, before: bytes | None) -> None:
        """On the condition that it is what it was, where the store knows conditions."""
        with _told(self.url(folder)):
            present = self._get(f"{folder}/{name}")
            if (present["Body"].read() if present else None) != before:
                raise _changed(name, self.url(folder))
            condition = {"IfMatch": present["ETag"]} if present else {"IfNoneMatch": "*"}
            if not self._put_if(f"{folder}/{name}", data, condition):
                raise _changed(name, self.url(folder))

    def read(self, folder: str, name: str) -> bytes | None:
        """Its bytes."""
        with _told(self.url(folder)):
            found = self._get(f"{folder}/{name}")
            return bytes(found["Body"].read()) if found else None

    def names(self, folder: str) -> list[str]:
        """Keys and common prefixes."""
        folders, files = self._listed(folder)
        return sorted(folders + files)

    def prove(self, folder: str, name: str) -> str:
        """Read it back."""
        with _told(self.url(folder)):
            found, whole = self._get(f"{folder}/{name}"), Sum()
            for piece in found["Body"].iter_chunks(_CHUNK) if found else ():
                whole.add(piece)
            return whole.digest

    def _key(self, rest: str) -> str:
        return f"{self.prefix}/{rest}" if self.prefix else rest

    def _listed(self, folder: str) -> tuple[list[str], list[str]]:
        """Folders and files, sorted."""
        prefix, folders, files = f"{self._key(folder)}/", list[str](), list[str]()
        with _told(self.url(folder)):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix, Delimiter="/")
            for page in pages:
                folders += [one["Prefix"].removeprefix(prefix).rstrip("/") for one in page.get("CommonPrefixes", [])]
                files += [one["Key"].removeprefix(prefix) for one in page.get("Contents", [])]
        return sorted(folders), sorted(files)

    def _digest(self, folder: str, name: str) -> str:
        with _told(self.url(folder)):
            about = self.client.head_object(Bucket=self.name, Key=self._key(f"{folder}/{name}"), ChecksumMode="ENABLED")
        checksum, kept = about.get("ChecksumSHA256", ""), about.get("Metadata", {}).get(_DIGEST, "")
        if "-" in checksum and kept:  # an object in parts, whose checksum was compared when it was sent
            return str(kept)
        whole = f"sha256:{base64.b64decode(checksum).hex()}" if "-" not in checksum else ""
        return whole if checksum and whole == kept else self.prove(folder, name)

    def _get(self, key: str) -> Any:
        try:
            return self.client.get_object(Bucket=self.name, Key=self._key(key))
        except self.client.exceptions.ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise

    def _put(self, key: str, path: Path) -> None:
        """A key that was taken meanwhile stays; whether it has the same bytes is seen when all is verified."""
        with path.open("rb") as stream:
            self._put_if(key, stream, {"IfNoneMatch": "*"}, digests.of_file(path))

    def _put_if(self, key: str, body: Any, condition: Mapping[str, str], digest: str = "") -> bool:
        """Whether the condition held; without one where the store knows none."""
        hashed = digest or digests.of_bytes(body)
        checksum = base64.b64encode(bytes.fromhex(hashed.removeprefix("sha256:"))).decode()
        wanted = {
            "Bucket": self.name,
            "Key": self._key(key),
            "Body": body,
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": checksum,
            "Metadata": {_DIGEST: hashed},
        }
        try:
            self.client.put_object(**wanted, **condition)
        except self.client.exceptions.ClientError as error:
            if _code(error) in _TAKEN:
                return False
            if _code(error) not in _NO_CONDITIONS:
                raise
            if digest:
                body.seek(0)
            self.client.put_object(**wanted)
        return True

    def _put_parts(self, key: str, path: Path, tell: Any) -> None:
        """boto3 sends parts side by side, each again when it fails. OrtolanError when S3's checksum of them is not ours."""
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - costs a tenth of a second

        there = _Count(tell)
        extra = {"ChecksumAlgorithm": "SHA256", "Metadata": {_DIGEST: digests.of_file(path)}}
        config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
        self.client.upload_file(str(path), self.name, self._key(key), ExtraArgs=extra, Config=config, Callback=there)
        about = self.client.head_object(Bucket=self.name, Key=self._key(key), ChecksumMode="ENABLED")
        found, wanted = about.get("ChecksumSHA256", "").partition("-")[0], _of_parts(path)
        if found and found != wanted:
            raise OrtolanError(f"{path.name} arrived damaged", where=self.url(key), why=f"its checksum is {found}, not {wanted}")


class _Count:
    """boto3 tells how many bytes more there are."""

    def __init__(self, tell: Any) -> None:
        self._tell, self._there = tell, 0

    def __call__(self, more: int) -> None:
        self._there += more
        self._tell(self._there)


def bucket(address: Address) -> Bucket:
    """The bucket of an address; with paths in place of host names where another endpoint than Amazon's is set."""
    import boto3  # noqa: PLC0415 - costs a third of a second
    from botocore.config import Config  # noqa: PLC0415 - the same

    own = any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
    config = Config(
        retries={"mode": "standard", "max_attempts": 6}, s3={"addressing_style": "path"} if own else {},
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    )  # fmt: skip
    return Bucket(boto3.Session().client("s3", config=config), address.host, address.path)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """S3's own words, which hold no secrets, as an OrtolanError."""
    from boto3.exceptions import Boto3Error  # noqa: PLC0415 - as above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    try:
        yield
    except ClientError as error:
        about = error.response.get("Error", {})
        raise OrtolanError(f"S3 refused: {about.get('Code')}", where=where, why=str(about.get("Message", ""))) from error
    except (BotoCoreError, Boto3Error) as error:
        raise OrtolanError(
            "S3 cannot be used", where=where, why=str(error), hint="look at AWS_ENDPOINT_URL, AWS_PROFILE"
        ) from error


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _changed(name: str, where: str) -> OrtolanError:
    return OrtolanError(f"{name} has been changed meanwhile", where=where, hint="look at it (./inv channels), then again")


def _of_parts(path: Path) -> str:
    """S3's checksum of an object in parts: that of the parts' checksums. Mostly a dash and their number follow it."""
    parts = list[bytes]()
    with path.open("rb") as stream:
        while piece := stream.read(PART):
            parts.append(hashlib.sha256(piece).digest())
    return base64.b64encode(hashlib.sha256(b"".join(parts)).digest()).decode()
