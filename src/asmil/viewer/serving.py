"""A web server on this machine for as long as it is looked at."""

import ipaddress
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from asmil.errors import RunError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What keeps other pages out: the Host header is checked, and every answer carries a strict policy.

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

    def __init__(self, app: "ASGIApp", *, hosts: Sequence[str] = ()):
        self._app, self._hosts = app, {"localhost", *(host.lower() for host in hosts)}

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: "Message") -> None:
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


def refusal(request: "Request", token: str) -> RunError | None:
    """Why a request may not write; None where it may.

    A page elsewhere can make a browser send requests here. It cannot send the `token` with them: that needs a header
    of its own, for which a browser asks first and gets no leave, and no other page can read the token.
    """
    client = request.client.host if request.client else ""
    if not is_loopback(client):
        return RunError("only this machine may write", found=client, fix="ssh -L makes another machine this one")
    origin = request.headers.get("origin")
    same = origin is None or origin.partition("://")[2] == request.headers.get("host")
    reads = request.method in ("GET", "HEAD")
    given = request.headers.get("x-asmil-token", "").encode()  # texts are compared only where they are ASCII
    if not same or not (reads or secrets.compare_digest(given, token.encode())):
        return RunError("only the viewer's own page may write", fix="load the page again")
    return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, for no other to reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


FIRST_PORT, TRIED_PORTS = 8765, 20


def listen(host: str, port: int | None) -> socket.socket:
    """A socket bound to a port; to the first free one from 8765 on if `port` is None, to any free one if it is 0.

    Raises:
        RunError: the port is taken, or the host is not an address of this machine.
    """
    failed: OSError | None = None
    for candidate in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + TRIED_PORTS):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, candidate))
            return bound
        except OSError as error:
            bound.close()
            failed = error
    raise RunError(
        f"the viewer cannot listen at {host}",
        found=f"port {port or FIRST_PORT}: {failed and failed.strerror}",
        fix="choose another --port, or a --host that is an address of this machine",
    )


def serve(app: "ASGIApp", bound: socket.socket, *, started: Callable[[], None] = lambda: None) -> None:
    """Answer requests at a bound socket until ctrl-C; `started` is called once they are."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none", server_header=False, lifespan="off")
    with suppress(KeyboardInterrupt):  # uvicorn gives the signal on once it has ended
        Server(config).run(sockets=[bound])
