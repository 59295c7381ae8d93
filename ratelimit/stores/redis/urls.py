"""Read URLs that name several servers."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

Address = tuple[str, int]
"""A host and a port."""


class Place(NamedTuple):
    """What a URL says."""

    addresses: list[Address]
    path: list[str]
    """What stands behind the hosts, between slashes."""
    head: str
    """Up to the hosts: a scheme that redis-py knows, and who connects."""
    query: str

    def plain(self, path: str = "") -> str:
        """Return the URL of the first server alone, as redis-py reads it."""
        host, port = self.addresses[0]
        host = f"[{host}]" if ":" in host else host
        return f"{self.head}{host}:{port}/{path}{self.query}"


def place_of(url: str, default_port: int) -> Place:
    """Return what a URL such as `redis+cluster://user:password@one:7000,two:7001` says.

    Raises:
        ValueError: It names no host, or a port that is none.

    """
    scheme, _, rest = url.partition("://")
    rest, mark, query = rest.partition("?")
    where, _, path = rest.partition("/")
    user, at, hosts = where.rpartition("@")
    addresses = [_address(host, default_port) for host in hosts.split(",")]
    names = [unquote(name) for name in path.split("/") if name]
    return Place(addresses, names, f"{scheme.partition('+')[0]}://{user}{at}", mark + query)


def _address(text: str, default_port: int) -> Address:
    place = urlsplit(f"//{text}")
    try:
        port = place.port or default_port
    except ValueError as error:
        raise ValueError(f"a URL has a port behind each host, not {text!r}") from error
    if not place.hostname:
        raise ValueError(f"a URL names hosts as host:port,host:port, not {text!r}")
    return unquote(place.hostname), port
