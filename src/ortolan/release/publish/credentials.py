"""Lets a client into a registry: ``docker login``'s own records, HTTP Basic, and tokens that the registry's server hands out."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import docker.auth
import docker.errors
import requests

from ...errors import OrtolanError
from .address import Address
from .http import BUSY, Signed, said, session, shown
from .patience import Transient

_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')
_TIMEOUT = (10.0, 60.0)


class Login:
    """Answers a registry's challenges (RFC 7235) with what ``~/.docker/config.json`` or its credential helper holds for it.

    Without a record the client stays nameless, for which a registry may hand out a token too. Tokens are kept in memory alone.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._header: dict[str, str] = {}
        self._scopes: set[str] = set()
        self._guard = threading.Lock()

    def headers(self) -> Mapping[str, str]:
        """``Authorization``, as soon as the registry has asked for it."""
        return self._header

    def answer(self, response: requests.Response) -> bool:
        """Whether there is now something to show that was not shown with the request."""
        with self._guard:
            if response.request.headers.get("Authorization") != self._header.get("Authorization"):
                return True  # another thread has been there
            scheme, _, rest = response.headers.get("WWW-Authenticate", "").partition(" ")
            wanted = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
            made = self._basic() if scheme.lower() == "basic" else self._bearer(wanted) if scheme.lower() == "bearer" else ""
            fresh = bool(made) and made != self._header.get("Authorization")
            if made:
                self._header = {"Authorization": made}
            return fresh

    def _basic(self) -> str:
        known = self._record()
        name, password = known.get("username") or known.get("Username"), known.get("password") or known.get("Password")
        return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode() if name and password else ""

    def _bearer(self, wanted: Mapping[str, str]) -> str:
        """A token of the server that the challenge names (Docker Registry v2 authentication; OAuth2 for identity tokens)."""
        realm = wanted.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme not in {"https", self._address.scheme} or not parts.netloc:
            raise OrtolanError("the registry sends its users to a server without encryption", where=shown(realm))
        self._scopes |= set(wanted.get("scope", "").split())
        asked = {"service": wanted.get("service", ""), "scope": sorted(self._scopes)}
        answer = self._token(realm, {key: value for key, value in asked.items() if value})
        if answer.status_code in BUSY:
            raise Transient(said(answer))
        if answer.status_code != requests.codes.ok:
            hint = f"docker login {self._address.host}"
            raise OrtolanError(f"no token for {self._address.host}", where=shown(realm), why=said(answer), hint=hint)
        value = answer.json()
        token = value.get("token") or value.get("access_token") if isinstance(value, dict) else None
        return f"Bearer {token}" if isinstance(token, str) else ""

    def _token(self, realm: str, asked: Mapping[str, Any]) -> requests.Response:
        known = self._record()
        refresh = known.get("IdentityToken") or known.get("identitytoken")
        if known.get("Username", known.get("username")) == docker.auth.TOKEN_USERNAME:
            refresh = known.get("Password") or known.get("password")
        asking = session(local=self._address.loopback)
        if refresh:
            scope = " ".join(asked.get("scope", []))
            form = {**asked, "scope": scope, "grant_type": "refresh_token", "client_id": "ortolan", "refresh_token": refresh}
            return asking.post(realm, data=form, auth=Signed({}), timeout=_TIMEOUT)
        basic = self._basic()
        return asking.get(realm, params=asked, auth=Signed({"Authorization": basic} if basic else {}), timeout=_TIMEOUT)

    def _record(self) -> Mapping[str, Any]:
        """What docker login kept for this registry; empty when it kept nothing."""
        try:
            return docker.auth.load_config().resolve_authconfig(self._address.host) or {}
        except (docker.errors.DockerException, OSError, ValueError) as error:
            why, hint = type(error).__name__, f"docker login {self._address.host}"
            raise OrtolanError("docker's record of logins cannot be read", why=why, hint=hint) from error
