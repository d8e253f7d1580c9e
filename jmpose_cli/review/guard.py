"""Who may talk to the server: a browser that was given the token, from the server's own page."""

import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 1 << 20
COOKIE = "jmpose-review"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Lets only requests through that come from the page which this server has given to whoever knows the token.

    The token stands in the address that is printed. The first load turns it into a cookie that other sites can neither
    read nor send.

    Args:
        app: What is behind.
        token: The secret.
        port: Tells cookies of several servers of one machine apart.
        hosts: Names under which the server may be asked for, lower case; addresses count as `is_open` says.
        is_open: The server listens to other machines: any address may be its own. Otherwise those of this machine only.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int, hosts: frozenset[str], is_open: bool) -> None:
        self._app, self._token, self._cookie = app, token, f"{COOKIE}-{port}"
        self._hosts, self._is_open = hosts, is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            return  # neither web sockets nor events of the server's life are for anybody
        headers = Headers(scope=scope)
        is_first = scope["path"] == "/" and self._is_right(_query_token(scope))
        refused = self._refusal(scope, headers, is_first)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.update(_HEADERS)
                if is_first and refused is None:
                    answer["Set-Cookie"] = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
            await send(message)

        if refused is not None:
            await refused(scope, receive, send_guarded)
            return
        body = await _body(receive, headers) if scope["method"] == "POST" else b""
        if body is None:
            await _said(413, f"more than {MOST_BODY_BYTES} bytes")(scope, receive, send_guarded)
            return

        async def receive_read() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_read, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers, is_first: bool) -> Response | None:
        """Return what a request is answered that is not passed on; None of one that is."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_own(host):
            return _said(403, "this server is not asked for under that name")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        is_foreign = origin not in (None, f"http://{host}") or site in ("cross-site", "same-site")
        if scope["method"] not in ("GET", "HEAD") and origin is None:
            is_foreign = True
        if is_foreign and not (is_first and origin is None):  # a link on another page may lead here
            return _said(403, "requests of other sites are not answered")
        if not is_first and not self._is_right(self._given(headers)):
            text = "The token is missing or wrong: open the address that `jmpose review` has printed."
            return PlainTextResponse(text, 403) if scope["path"] == "/" else _said(403, text)
        if scope["method"] == "POST" and headers.get("content-type", "").partition(";")[0] != "application/json":
            return _said(415, "send JSON")
        return None

    def _is_own(self, host: str) -> bool:
        name, address = _host_name(host), None
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return address.is_loopback or self._is_open or name in self._hosts

    def _is_right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self._token.encode())

    def _given(self, headers: Headers) -> str:
        if "x-jmpose-token" in headers:
            return headers["x-jmpose-token"]
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return "" if found is None else found.value


def _host_name(host: str) -> str:
    """Return a Host header without its port, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _query_token(scope: Scope) -> str:
    values = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
    return values[0] if len(values) == 1 else ""


async def _body(receive: Receive, headers: Headers) -> bytes | None:
    """Read what was sent; None where it is too much."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
        return None
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _said(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message, "hint": ""}, status)
