"""Addresses of stores: what is understood, what is refused, and that no message repeats a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ortolan.errors import OrtolanError
from ortolan.release.publish.address import REPOSITORY, parse


@pytest.mark.parametrize(
    ("url", "kind", "host", "path", "scheme"),
    [
        ("oci://registry.example.com/models", "oci", "registry.example.com", "models", "https"),
        ("oci://registry.example.com:5000/team/models/", "oci", "registry.example.com:5000", "team/models", "https"),
        ("oci://127.0.0.1:5000/m", "oci", "127.0.0.1:5000", "m", "http"),
        ("oci://localhost/m", "oci", "localhost", "m", "http"),
        ("oci://[::1]:5000/m", "oci", "[::1]:5000", "m", "http"),
        ("oci://127.0.0.1.example.com/m", "oci", "127.0.0.1.example.com", "m", "https"),
        ("gitlab://gitlab.example.com/Group/sub/project", "gitlab", "gitlab.example.com", "Group/sub/project", "https"),
        ("s3://bucket", "s3", "bucket", "", "https"),
        ("s3://bucket/a/b/", "s3", "bucket", "a/b", "https"),
        ("file:///srv/releases/", "file", "", "/srv/releases", "https"),
        ("file:///srv/with%20blank", "file", "", "/srv/with blank", "https"),
    ],
)
def test_an_address_is_understood(url: str, kind: str, host: str, path: str, scheme: str) -> None:
    found = parse(url)
    assert (found.kind, found.host, found.path, found.scheme) == (kind, host, path, scheme)


@pytest.mark.parametrize(
    "url",
    [
        "", "oci", "registry.example.com/models", "ftp://host/path", "http://host/path", "oci://", "oci://host", "oci:///models",
        "oci://host/Models", "oci://host/models?x=1", "oci://host/models#x", "oci://host:port/models", "oci://host:99999999/m",
        "oci://host/models//x", "oci://-host/models", "oci://ho st/models", "gitlab://host/project", "gitlab://host", "s3://", "s3://B",
        "s3://b_c/x", "file://host/x", "file:///", "file://", "oci://[::1/models",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(OrtolanError) as caught:
        parse(url)
    assert "://" in str(caught.value)


def test_plain_http_is_for_this_machine_and_for_who_asks_for_it() -> None:
    assert parse("oci://registry.example.com/m").scheme == "https"
    assert parse("oci://registry.example.com/m", insecure=True).scheme == "http"


@pytest.mark.parametrize("kind", ["oci", "gitlab", "s3", "ftp"])
@given(secret=st.text("abcXYZ019:%!$&'()*+,;=~._-", min_size=6))
def test_no_error_repeats_a_password(kind: str, secret: str) -> None:
    with pytest.raises(OrtolanError) as caught:
        parse(f"{kind}://user:{secret}@host/group/project")
    assert secret not in str(caught.value).replace("oci://HOST", "")


@given(st.text())
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    for url in (text, f"oci://{text}", f"gitlab://{text}", f"s3://{text}", f"file://{text}"):
        try:
            found = parse(url)
        except OrtolanError:
            continue
        assert found.kind != "oci" or REPOSITORY.fullmatch(found.path)
        assert parse(str(found)) == found or found.kind == "file"
