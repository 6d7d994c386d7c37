"""A web server on this machine for as long as it is looked at."""

import socket
from collections.abc import Callable
from typing import Any

from asmil.errors import RunError

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


def serve(app: Any, bound: socket.socket, *, started: Callable[[], None] = lambda: None) -> None:
    """Answer requests at a bound socket until ctrl-C; `started` is called once they are."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none", server_header=False)
    Server(config).run(sockets=[bound])
