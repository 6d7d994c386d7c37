"""What keeps other pages out: the Host header is checked, and every answer carries a strict policy."""

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    # nothing from elsewhere, in no frame, nothing inline but the one rule that OpenSeadragon adds (by its hash);
    # pictures may be made by the page itself
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "style-src 'self' 'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Answers only requests that were addressed to this machine by number, as localhost, or as one of `hosts`.

    A page elsewhere can make its own name point to 127.0.0.1 (DNS rebinding) and would then be taken for ours; the
    name stays in the Host header. No address in numbers can be made to point elsewhere.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str] = ()):
        self._app, self._hosts = app, {"localhost", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        if self._known(dict(scope["headers"]).get(b"host", b"").decode("latin-1")):
            await self._app(scope, receive, send_with_headers)
            return
        text = b"This address is not one of the viewer's. Open it as 127.0.0.1 or localhost.\n"
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
        await send_with_headers({"type": "http.response.start", "status": 421, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    def _known(self, host: str) -> bool:
        name = host.lower()
        name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True
