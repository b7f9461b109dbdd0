"""What keeps a page's server to one browser on one machine: token, Host, Origin and size of requests."""

import json
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY = 2**20  # bytes
HEADERS = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
CHANGES = ("POST", "PUT", "PATCH", "DELETE")


class Guard:
    """An ASGI application around another one, which only requests of the page reach.

    Against pages of other sites: the Host must be this machine under its own name (DNS rebinding), an Origin must be
    the page's (forged requests), and every request needs the token, which no other site knows. Bodies are read here, up
    to `MOST_BODY`.

    Args:
        app: The application.
        port: Port of the server.
        token: The token.
    """

    def __init__(self, app: App, port: int, token: str) -> None:
        self.app, self.token, self.port = app, token, port
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self.cookie = f"hsi_al_token_{port}"  # cookies are shared among the ports of a machine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets here
            await send({"type": "websocket.close"})
            return
        is_page = scope["path"] == "/"

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *HEADERS]
                if not scope["path"].startswith("/static/") and not any(
                    name.lower() == b"cache-control" for name, _ in headers
                ):
                    headers.append((b"cache-control", b"no-store"))
                if is_page and message["status"] == 200:
                    cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
                    headers.append((b"set-cookie", cookie.encode()))
                message = {**message, "headers": headers}
            await send(message)

        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        problem = self.problem(headers, scope["query_string"])
        if problem:
            await refuse(sending, 403, problem)
            return
        body = await self.body(headers, receive)
        if body is None:
            await refuse(sending, 413, f"The request is larger than {MOST_BODY} bytes.")
            return
        kind = headers.get(b"content-type", [b""])[0].split(b";")[0].strip().lower()
        if body and scope["method"] in CHANGES and kind != b"application/json":
            await refuse(sending, 400, "A request needs the content type application/json.")
            return
        sent = False

        async def receiving() -> Message:
            nonlocal sent
            if sent:
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receiving, sending)

    def problem(self, headers: dict[bytes, list[bytes]], query: bytes) -> str:
        """Return why a request is refused, as a sentence; empty if it isn't."""
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or hosts[0].decode("latin-1").lower() not in self.hosts:
            return (
                f"This address belongs to another site; open the page at 127.0.0.1:{self.port}, through a tunnel by "
                f"the same port at both ends (ssh -L {self.port}:127.0.0.1:{self.port} ...)."
            )
        for origin in headers.get(b"origin", []):
            if origin.decode("latin-1").lower() not in {f"http://{host}" for host in self.hosts}:
                return "Another site sent this request."
        given = [value.decode("latin-1") for value in headers.get(b"x-token", [])]
        given += parse_qs(query.decode("latin-1")).get("token", [])
        # Read here, since SimpleCookie stops at the first cookie of another program that isn't as it should be.
        cookies = [part for value in headers.get(b"cookie", []) for part in value.decode("latin-1").split(";")]
        given += [
            value.strip() for name, _, value in (part.partition("=") for part in cookies) if name.strip() == self.cookie
        ]
        # All are compared, each in constant time: how long that takes must not tell how much of a token is right.
        if not any([secrets.compare_digest(value.encode(), self.token.encode()) for value in given]):
            return "The address lacks the right token; open the one that the program printed when it started."
        return ""

    async def body(self, headers: dict[bytes, list[bytes]], receive: Receive) -> bytes | None:
        """Return the body of a request; None if it is too large."""
        claimed = headers.get(b"content-length", [b"0"])[0]
        if not re.fullmatch(rb"\d{1,9}", claimed) or int(claimed) > MOST_BODY:
            return None
        parts = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return bytes(parts)
            parts += message.get("body", b"")
            if len(parts) > MOST_BODY:
                return None
            if not message.get("more_body", False):
                return bytes(parts)


async def refuse(send: Send, status: int, sentence: str) -> None:
    """Answer with a status and a sentence."""
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
