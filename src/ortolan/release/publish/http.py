"""HTTP requests that are tried again when the server is busy, gone or talks nonsense; bodies are streamed from files."""

from __future__ import annotations

import email.utils
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Protocol
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from ... import __version__
from ...errors import OrtolanError
from .patience import PATIENCE, Patience, Transient, insist

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
TOKENS = ("PRIVATE-TOKEN", "JOB-TOKEN")
"""GitLab's headers."""
_TIMEOUT = (10.0, 300.0)  # seconds to connect, and between two packets: a registry hashes a blob before it answers
_BLOCK = 1 << 20
_SAYS = 300  # characters of a server's own words


class Signer(Protocol):
    """What lets requests in: a header, and another try after the server has said what it wants."""

    def headers(self) -> Mapping[str, str]:
        """What every request to the server carries."""

    def answer(self, response: requests.Response) -> bool:
        """After a 401: whether it is worth asking again."""


class Window:
    """A part of a file as the body of a request: it has a length, is read in pieces and can be read again."""

    def __init__(self, stream: IO[bytes], start: int, size: int, tell: Callable[[int], None] | None = None) -> None:
        self._stream, self._start, self._size, self._at, self._tell = stream, start, size, 0, tell
        stream.seek(start)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(_BLOCK):
            yield piece

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes of what is left."""
        left = self._size - self._at
        piece = self._stream.read(left if size < 0 else min(size, left))
        self._at += len(piece)
        if piece and self._tell:
            self._tell(self._start + self._at)
        return piece

    def tell(self) -> int:
        """How much was read."""
        return self._at

    def seek(self, to: int) -> int:
        """Read on from there: a redirected request sends its body again."""
        self._stream.seek(self._start + to)
        self._at = to
        return to


class Signed(AuthBase):
    """Sets headers; being there at all, it keeps requests from sending what it finds in ~/.netrc."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request, signed."""
        request.headers.update(self._headers)
        return request


@dataclass
class Client:
    """Speaks to one server; each thread has a connection of its own. ``base`` is ``https://host``; redirects are followed.

    What the signer adds goes to this server alone, never to one that a redirect or an upload's location leads to.
    """

    base: str
    signer: Signer
    patience: Patience = PATIENCE
    local: bool = False
    _own: threading.local = field(default_factory=threading.local)

    def ask(
        self, method: str, url: str, *, ok: Collection[int], headers: Mapping[str, str] | None = None, body: bytes | None = None,
        stream: bool = False,
    ) -> requests.Response:  # fmt: skip
        """A request that does no harm when it is sent twice. OrtolanError for an answer that is not ``ok``, or none at all."""

        def attempt() -> requests.Response:
            return checked(self.once(method, url, headers=headers, body=body, stream=stream), ok)

        return insist(self.patience, f"{method} {shown(urljoin(self.base, url))}", attempt)

    def once(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: Window | bytes | None = None,
        stream: bool = False,
    ) -> requests.Response:  # fmt: skip
        """One request, sent again only with what a 401 asks for. Transient for a server that is busy or does not answer."""
        whole = urljoin(self.base, url)
        answer = self._send(method, whole, headers or {}, body, stream)
        if answer.status_code == requests.codes.unauthorized and self._ours(whole) and self._answered(answer):
            if isinstance(body, Window):
                body.seek(0)
            answer = self._send(method, whole, headers or {}, body, stream)
        if answer.status_code in BUSY:
            raise Transient(said(answer), _asked(answer.headers.get("Retry-After", "")))
        return answer

    def _answered(self, answer: requests.Response) -> bool:
        try:
            return self.signer.answer(answer)
        except requests.RequestException as error:
            raise failure(error) from error

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Any, stream: bool) -> requests.Response:
        sent = {"Accept-Encoding": "identity", "User-Agent": f"ortolan/{__version__}", **headers}
        auth = Signed(self.signer.headers() if self._ours(url) else {})
        try:
            return self._session().request(
                method, url, headers=sent, data=body, auth=auth, stream=stream, timeout=_TIMEOUT, allow_redirects=True
            )
        except requests.RequestException as error:
            raise failure(error) from error

    def _ours(self, url: str) -> bool:
        return urlsplit(url)[:2] == urlsplit(self.base)[:2]

    def _session(self) -> requests.Session:
        found: requests.Session | None = getattr(self._own, "session", None)
        if found is None:
            found = self._own.session = session(local=self.local)
        return found


def session(*, local: bool) -> requests.Session:
    """A session that reads files in large pieces; for this machine (``local``) no proxy of the environment's is asked."""
    made = _Session()
    made.trust_env = not local
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter())
    return made


class _Session(requests.Session):
    """Requests takes ``Authorization`` alone away when a redirect leads to another server; tokens have other headers too."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        super().rebuild_auth(prepared_request, response)
        if self.should_strip_auth(str(response.request.url), str(prepared_request.url)):
            for name in TOKENS:
                prepared_request.headers.pop(name, None)


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, blocksize=_BLOCK)


def checked(answer: requests.Response, ok: Collection[int]) -> requests.Response:
    """The answer, when its status is one of ``ok``. OrtolanError with the server's words otherwise."""
    if answer.status_code in ok:
        return answer
    what = f"{answer.request.method} {shown(answer.url)}: {said(answer)}"
    raise OrtolanError(what, hint=_HINTS.get(answer.status_code, ""))


_HINTS = {
    401: "log in (docker login HOST for a registry; CI_JOB_TOKEN or GITLAB_TOKEN for GitLab)",
    403: "this user may not do that there",
    413: "the server, or a proxy before it, takes no bodies of this size",
}


def said(answer: requests.Response) -> str:
    """The status, and the server's reason on one line, without control characters and not at length."""
    try:
        words = " ".join(_words(answer))
    except requests.RequestException:
        words = ""
    clean = "".join(letter if letter.isprintable() else " " for letter in words)[:_SAYS].strip()
    return f"{answer.status_code} {answer.reason}" + (f" ({clean})" if clean else "")


def _words(answer: requests.Response) -> list[str]:
    """Registries answer ``{"errors": [{code, message}]}``, GitLab ``{"message": …}`` or ``{"error": …}``."""
    try:
        value = answer.json()
    except ValueError:
        return []
    if not isinstance(value, dict):
        return []
    errors = value.get("errors")
    if isinstance(errors, list):
        return [f"{one.get('code')}: {one.get('message')}" for one in errors if isinstance(one, dict)]
    return [str(value[key]) for key in ("message", "error", "error_description") if isinstance(value.get(key), str)]


def shown(url: str) -> str:
    """A URL for people: without a user's part and without its query, which may hold signatures and tokens."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _asked(header: str) -> float | None:
    """Retry-After: seconds or a date (RFC 9110, 10.2.3)."""
    if re.fullmatch(r"\d{1,9}", header.strip()):
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def failure(error: requests.RequestException) -> Exception:
    """Why there was no answer, in words that repeat no URL: Transient, or OrtolanError where another try is no use."""
    if isinstance(error, requests.exceptions.SSLError):
        return OrtolanError(
            "the server's certificate is not trusted", why=_reason(error), hint="REQUESTS_CA_BUNDLE names a file of your own CAs"
        )
    if isinstance(
        error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema | requests.exceptions.TooManyRedirects
    ):
        return OrtolanError("the server leads to an address that cannot be followed", why=type(error).__name__)
    return Transient(_reason(error))


def _reason(error: BaseException) -> str:
    """The system's own word for it (Connection refused), or the kind of error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror and not isinstance(seen, requests.RequestException):
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
