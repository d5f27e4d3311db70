"""Refuse requests that a foreign page makes to the explorer by giving its own name this machine's address.

A browser sends the name of the page in the header Host. Streamlit compares it with the header Origin alone, which such
a page controls too.
"""

import ipaddress
import os
import socket
from functools import cache

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["HOSTS", "KnownHosts", "is_known"]

HOSTS = "EADBENCH_HOSTS"
"""The environment variable with further names of this machine, separated by commas."""


class KnownHosts:
    """ASGI middleware that answers requests, and WebSockets, to known hosts only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400 to a request to an unknown host."""
        if scope["type"] in ("http", "websocket") and not is_known(Headers(scope=scope).get("host", "")):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse("unknown host; --host-name allows it\n", status_code=400)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_known(host: str) -> bool:
    """Return whether a Host header names this machine: by an address, which no foreign page has, or by its own name."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost") or name in _own_names()
    return True


@cache
def _own_names() -> frozenset[str]:
    given = os.environ.get(HOSTS, "").split(",")
    names = (socket.gethostname(), socket.getfqdn(), *given)
    return frozenset(name.strip().rstrip(".").lower() for name in names if name.strip())
