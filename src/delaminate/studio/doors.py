"""The doors of the studio: who may ask, and how much they may send.

One pure ASGI middleware stands before every route there is, so that none can be forgotten: whatever it does not let in is
refused. It lets in requests that carry the session's cookie, to a host and from an origin of the list.
"""

import asyncio
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 2**20
"""Bytes of a request, unless its route takes more."""
LARGER_BODIES = {"/api/images": 2**32, "/pictures": 2**26, "/edits": 2**24, "/imports": 2**28}
"""By the end of the path."""
BODY_SECONDS = 60.0
"""How long a body may stand still."""
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}

FRAMED_HEADERS = {name: value for name, value in HEADERS.items() if name != "x-frame-options"} | {
    "content-security-policy": HEADERS["content-security-policy"].replace(
        "frame-ancestors 'none'", "frame-ancestors http://127.0.0.1:* http://localhost:*"
    )
}


def problem(error: str) -> bytes:
    """The body of a refusal."""
    return json.dumps({"error": error}).encode()


class Doors:
    """Refuses what does not come from the studio's own page.

    Args:
        app: What is behind.
        hosts: Names or addresses, without port, by which the server may be asked.
        port: Where it listens.
        framed: Pages of this machine's other servers may show it in a frame, as notebooks do.

    Attributes:
        key: What a browser carries as a cookie, and a program as `Authorization: Bearer`.
        token: Opens the door once: the address that is printed holds it; None: used.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], port: int, framed: bool = False) -> None:
        self.app, self.framed = app, framed
        self.headers = FRAMED_HEADERS if framed else HEADERS
        names = [f"[{host}]" if ":" in host else host for host in hosts]
        self.hosts = {f"{name}:{port}".lower() for name in names} | (
            {name.lower() for name in names} if port == 80 else set()
        )
        self.origins = {f"http://{host}" for host in self.hosts}
        self.cookie = f"delaminate-{port}"
        self.key = secrets.token_urlsafe(32)
        self.token: str | None = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            if scope["type"] == "websocket":  # there are none
                await send({"type": "websocket.close", "code": 1008})
            return
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1").lower()
            headers[key] = f"{headers[key]}, {value.decode('latin-1')}" if key in headers else value.decode("latin-1")
        refused = self._refuse(scope, headers)
        if refused is not None:
            await self._answer(send, *refused)
            return
        entering = self._entering(scope, headers)
        if entering is not None:
            await self._answer(send, 303, "", entering)
            return
        if not self._knows(headers):
            await self._answer(send, 401, "Open the address that `delaminate studio` printed, or start it again.")
            return
        await self._pass_on(scope, headers, receive, send)

    def _refuse(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Refuse strangers, whatever they ask for."""
        if headers.get("host", "").lower() not in self.hosts:
            return 400, "This host is not the studio's. Open the address that `delaminate studio` printed."
        if "origin" in headers and headers["origin"].lower() not in self.origins:
            return 403, "Another page asks; only the studio's own may."
        site = headers.get("sec-fetch-site", "none")
        if self.framed and site == "same-site" and scope["path"] == "/" and headers.get("sec-fetch-dest") == "iframe":
            site = (
                "none"  # a notebook of this machine shows the page in a frame; what the page asks is of its own origin
            )
        if site not in ("same-origin", "none") or (site == "none" and scope["method"] not in ("GET", "HEAD")
                                                   and "sec-fetch-site" in headers):  # fmt: skip
            return 403, "Another site asks; only the studio's own page may."
        if scope["method"] not in ("GET", "HEAD", "POST", "DELETE"):
            return 405, "Expected GET, HEAD, POST or DELETE."
        return None

    def _entering(self, scope: Scope, headers: dict[str, str]) -> list[tuple[bytes, bytes]] | None:
        """Turn the token of the address into a cookie, once, and the address into a clean one."""
        if scope["path"] != "/" or scope["method"] != "GET":
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not given:
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("project", [""])[0]
        place = f"/?project={asked}" if re.fullmatch(r"[0-9a-f]{1,40}", asked) else "/"
        home = [(b"location", place.encode()), (b"cache-control", b"no-store")]
        if self.token is not None and hmac.compare_digest(given.encode(), self.token.encode()):
            self.token = None
            return [*home, (b"set-cookie", f"{self.cookie}={self.key}; HttpOnly; SameSite=Strict; Path=/".encode())]
        return home if self._knows(headers) else None

    def _knows(self, headers: dict[str, str]) -> bool:
        """Say whether a request carries the key."""
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if not given:
            try:
                found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
            except CookieError:
                found = None
            given = "" if found is None else found.value
        return hmac.compare_digest(given.encode(), self.key.encode())

    async def _pass_on(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        limit = next((most for end, most in LARGER_BODIES.items() if scope["path"].endswith(end)), MAX_BODY)
        stated = headers.get("content-length", "0")
        if not stated.isdigit() or int(stated) > limit:
            await self._answer(
                send, 413 if stated.isdigit() else 400, f"The body is too large; expected at most {limit:,} bytes."
            )
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            try:
                # Only a body may not stand still: afterwards this waits for the other end to hang up.
                message = await (receive() if taken < 0 else asyncio.wait_for(receive(), BODY_SECONDS))
            except TimeoutError:
                raise HTTPException(408, "The body stood still for too long.") from None
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > limit:
                    raise HTTPException(413, f"The body is too large; expected at most {limit:,} bytes.")
                if not message.get("more_body"):
                    taken = -1
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                added = [
                    (name.encode(), value.encode())
                    for name, value in self.headers.items()
                    if name.encode() not in known
                ]
                if b"cache-control" not in known:
                    added.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self.app(scope, counted, with_headers)

    async def _answer(self, send: Send, status: int, error: str, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
        body = problem(error) if error else b""
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def hosts_of(host: str) -> list[str]:
    """List the names by which a server on an address may be asked: itself, and this machine's own."""
    return list(dict.fromkeys((urlsplit(f"//{host}").hostname or host, "127.0.0.1", "localhost", "::1")))
