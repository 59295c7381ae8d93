"""Notice that addresses don't tell clients apart."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING

from ratelimit.asgi.addresses import Networks, packed
from ratelimit.warning import FORWARDED, ONE_ADDRESS, warn

if TYPE_CHECKING:
    from ratelimit.asgi.protocol import Scope

WATCHED = 200
"""How many requests are looked at, the first ones."""

_FORWARDING = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
_AGENTS = 10
_LONGEST = 64
_INSIDE = Networks(
    (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1",
        "fc00::/7",
        "fe80::/10",
    ),
    "networks that proxies are in",
)


class Watch:
    """Looks at the first requests to a middleware that charges the address the server gives.

    Clients are taken to be behind a proxy if several of them are forwarded by one address that
    isn't on the internet, and that address isn't among those they are forwarded for, as it is
    where the server has read the header itself. Where no header says so, they are if all
    requests come from one such address, by programs that are too many for one caller.
    """

    def __init__(self) -> None:
        self._left = WATCHED
        self._hosts: set[str] = set()
        self._agents: set[bytes] = set()
        self._forwarded: defaultdict[str, set[bytes]] = defaultdict(set)

    def goes_on(self, scope: Scope) -> bool:
        """Look at a request; whether to look at the next one."""
        self._left -= 1
        host = _host(scope)
        self._hosts.add(host)
        inside = _is_inside(host)
        for name, value in scope["headers"]:
            if name == b"user-agent":
                self._agents.add(value[:_LONGEST])
            elif name in _FORWARDING and inside and not (host and host.encode() in value):
                self._forwarded[host].add(value[-_LONGEST:])
        if len(self._forwarded[host]) > 1:
            warn(
                FORWARDED,
                "requests from %s are forwarded for several clients, which share one limit: name "
                "the proxies to client_ip(trusted_proxies=[...]), or to the server",
                host or "a Unix socket",
            )
            return False
        if self._left:
            return True
        if inside and len(self._hosts) == 1 and len(self._agents) >= _AGENTS:
            warn(
                ONE_ADDRESS,
                "the first %d requests, by %d different programs, all came from %s, and share one "
                "limit: let the proxy in front tell whom it speaks for, and name it to client_ip",
                WATCHED,
                len(self._agents),
                host or "a Unix socket",
            )
        return False


def _host(scope: Scope) -> str:
    """Return what the server says of where a request comes from; nothing of a Unix socket."""
    client = scope.get("client")
    return str(client[0] or "") if client else ""


@lru_cache(maxsize=WATCHED)
def _is_inside(host: str) -> bool:
    address = packed(host)
    return not host or (address is not None and address in _INSIDE)
