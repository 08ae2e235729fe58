"""Label Studio over plain HTTP: tokens, pages, and errors in one sentence, none of which shows the token.

Calls as in Label Studio 1.23 (https://api.labelstud.io); nothing is installed for them.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from data.names import Missing, Refused, Unreachable

TOKEN = "LABEL_STUDIO_API_KEY"  # environment variable: options are recorded, a token must not be
PATIENCE = 60.0  # s for one answer; large imports take seconds
TRIED = "1.23.2"  # version of Label Studio that all this was tried with
PAGE = 100  # entries asked for at once, the most that the server gives of projects


class Gone(Missing):
    """The server knows no such thing (404)."""


class Invalid(Refused):
    """The server does not take what was sent (400); the sentence is its own."""


class _Stay(HTTPRedirectHandler):
    """Follows no redirection, which would take the token to another machine."""

    def redirect_request(self, *given: Any, **named: Any) -> None:
        return None


class Server:
    """A Label Studio and the token for it. Made by `connect`."""

    def __init__(self, url: str, token: str, patience: float = PATIENCE):
        self.url = require_url(url)
        self.warnings: list[str] = []
        self._patience = patience
        self._token, self._access = token, ""
        self._personal = token.count(".") == 2  # a JSON web token that is changed for one that lasts minutes
        here = _is_here(self.url)
        if self.url.startswith("http:") and not here:
            self.warnings.append(
                f"{self.url} is another machine and not encrypted: token and labels can be read on the way. Use https"
            )
        self._opener: OpenerDirector = build_opener(_Stay, *([ProxyHandler({})] if here else []))

    def __repr__(self) -> str:
        return f"Server({self.url!r})"

    def get(self, path: str, **query: Any) -> Any:
        """What the server answers, as plain values."""
        return self._plain(path, self._call("GET", path, query=query))

    def content(self, path: str) -> bytes:
        """A file that the server shows to the user of the token."""
        return self._call("GET", path)

    def post(self, path: str, body: Any, **query: Any) -> Any:
        return self._plain(path, self._call("POST", path, body, query))

    def patch(self, path: str, body: Any) -> Any:
        return self._plain(path, self._call("PATCH", path, body))

    def pages(self, path: str, entry: str, **query: Any) -> Iterator[dict]:
        """All entries of a list that is given in pages: `entry` is their key in the answer."""
        number = 1
        while True:
            answer = self.get(path, page=number, page_size=PAGE, **query)
            found = answer.get(entry) if isinstance(answer, dict) else None
            if not isinstance(found, list):
                raise self._strange(path)
            yield from found
            if len(found) < PAGE:
                return
            number += 1
            if number * PAGE - PAGE >= int(answer.get("total", answer.get("count", number * PAGE))):
                return

    def _call(self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> bytes:
        address = f"{self.url}{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        for attempt in (1, 2):
            try:
                return self._send(method, address, content, self._authorization())
            except HTTPError as error:
                if error.code == 401 and self._personal and attempt == 1:
                    self._access = ""  # it lasts some minutes: get the next one
                    continue
                raise self._refused(method, path, error) from None
        raise self._strange(path)

    def _authorization(self) -> str:
        if not self._personal:
            return f"Token {self._token}"
        if not self._access:
            content = json.dumps({"refresh": self._token}).encode()
            try:
                answer = self._plain("", self._send("POST", f"{self.url}/api/token/refresh/", content, ""))
            except HTTPError as error:
                raise self._refused("POST", "/api/token/refresh/", error) from None
            if not isinstance(answer, dict) or not isinstance(answer.get("access"), str):
                raise self._strange("/api/token/refresh/")
            self._access = answer["access"]
        return f"Bearer {self._access}"

    def _send(self, method: str, address: str, content: bytes | None, authorization: str) -> bytes:
        request = Request(address, content, {"Accept": "*/*", "Content-Type": "application/json"}, method=method)
        if authorization:
            request.add_unredirected_header("Authorization", authorization)
        try:
            with self._opener.open(request, timeout=self._patience) as answer:
                return answer.read()
        except HTTPError:
            raise
        except TimeoutError as error:
            raise self._away(f"no answer within {self._patience:g} s") from error
        except URLError as error:
            reason = error.reason
            late = isinstance(reason, TimeoutError)
            said = (
                f"no answer within {self._patience:g} s" if late else getattr(reason, "strerror", None) or str(reason)
            )
            raise self._away(said) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._away(f"it ended the connection: {type(error).__name__}") from None

    def _away(self, reason: str) -> Unreachable:
        return Unreachable(
            f"Label Studio at {self.url} does not answer ({reason}): start it, or correct label_studio=; nothing is "
            "lost, the same command goes on"
        )

    def _refused(self, method: str, path: str, error: HTTPError) -> Refused:
        """The sentence for an answer that is an error."""
        said = _reason(error)
        for secret in (self._token, self._access):  # a server might repeat it
            said = said.replace(secret, "...") if secret else said
        if error.code in (401, 403):
            if "legacy" in said:
                return Refused(
                    f"{self.url} takes no legacy tokens any more: make a personal access token (Account & Settings, "
                    f"Personal Access Token) and set {TOKEN} to it, or have legacy tokens allowed by the organisation"
                )
            return Refused(
                f"{self.url} does not accept the token in {TOKEN}: copy it anew from Account & Settings of Label Studio"
                + (", of a user who may see the project" if error.code == 403 else "")
            )
        if error.code == 404:
            return Gone(f"{self.url} has no {path}")
        if 300 <= error.code < 400:
            to = urlsplit(error.headers.get("Location") or "")
            return Refused(
                f"{self.url} sends on to {to.scheme}://{to.hostname}, which is not followed with a token: give the "
                "address itself as label_studio="
            )
        if error.code == 400:
            return Invalid(said or f"{self.url} does not accept {method} {path}")
        return Refused(f"{self.url} answers {method} {path} with an error of its own ({error.code}): see its log")

    def _plain(self, path: str, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError:
            raise self._strange(path) from None

    def _strange(self, path: str) -> Refused:
        return Refused(f"{self.url} answers {path} as no Label Studio that is known here (tried with {TRIED})")


def connect(url: str) -> Server:
    """The server at an address, with the token of the environment.

    Refused in one sentence for an address that is none, where there is no token or a wrong one, for what is no Label
    Studio; Unreachable where nothing answers.
    """
    server = Server(url, _token())
    version = server.get("/api/version")
    if not isinstance(version, dict) or "label-studio-os-package" not in version:
        raise server._strange("/api/version")
    server.get("/api/current-user/whoami")
    release = str(version.get("release"))
    if release.split(".")[:1] != TRIED.split(".")[:1]:
        server.warnings.append(f"{server.url} is Label Studio {release}; this was tried with {TRIED}")
    return server


def require_url(url: str) -> str:
    """The address of a server without a slash at its end. Refused for what is none, and for one with a password."""
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Refused("label_studio= is no address, expected one such as http://127.0.0.1:8080") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise Refused(
            "label_studio= holds more than an address (a user, a password or a query), which would be recorded: "
            f"expected one such as http://127.0.0.1:8080, and the token in {TOKEN}"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise Refused(f"label_studio={url!r} is no address, expected one such as http://127.0.0.1:8080")
    return url.strip().rstrip("/")


def _token() -> str:
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise Refused(
            f"label_studio needs a token: set {TOKEN} in the environment (from Account & Settings of Label Studio)"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Refused(f"{TOKEN} holds characters that no token has: copy it anew from Account & Settings")
    if token.startswith("eyJ") and token.count(".") < 2:
        raise Refused(
            f"{TOKEN} holds a personal access token without its last part, as the list of Label Studio shows it: click "
            "Create New Token, and Copy"
        )
    return token


def _is_here(url: str) -> bool:
    """Whether an address is this machine by what it says."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _reason(error: HTTPError) -> str:
    """What the server says of a mistake, in one line."""
    try:
        said = json.loads(error.read())
    except (ValueError, OSError, http.client.HTTPException):
        return ""
    if not isinstance(said, dict):
        return ""
    found = list(_texts(said.get("validation_errors"))) or list(_texts(said.get("detail")))
    return " ".join(" ".join(found).split())[:300]


def _texts(said: Any) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    elif isinstance(said, (list, dict)):
        for each in said.values() if isinstance(said, dict) else said:
            yield from _texts(each)
