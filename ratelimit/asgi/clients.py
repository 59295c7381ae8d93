"""Whose address a request comes from."""

from __future__ import annotations

from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING

from ratelimit.asgi.addresses import LISTS, Address, Networks, behind, packed, peer
from ratelimit.asgi.identity import Combined
from ratelimit.asgi.keys import header_name, text
from ratelimit.quota import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ratelimit.asgi.protocol import Scope

_REMEMBERED = 4096


class ClientIP:
    """The address of the client: the key that `client_ip` returns."""

    __slots__ = ("address", "ask", "ipv6_prefix")

    ask: Callable[[Scope], str | None]
    """What the key does, without the call of its own."""

    address: Address | None
    """What finds the address behind proxies; None where the server gives it."""

    def __init__(self, address: Address | None, ipv6_prefix: int) -> None:
        self.address = address
        self.ipv6_prefix = ipv6_prefix
        self.ask = _by_peer(ipv6_prefix) if address is None else _by(address, ipv6_prefix)

    def __call__(self, scope: Scope) -> str | None:
        """Return the key of a request's client."""
        return self.ask(scope)


def client_ip(
    *,
    trusted_proxies: Iterable[str] | None = None,
    hops: int | None = None,
    header: str = "x-forwarded-for",
    ipv6_prefix: int = 64,
) -> ClientIP:
    """Charge the address of the client.

    An IPv4 address is a key of its own, also where it is written as IPv6. An IPv6 address is
    charged with its network, as one customer has at least a /64. A name that is no address, such
    as a test client's, is a key too.

    It is the address that the server says the request comes from. Behind a proxy that is the
    proxy's: tell either the server or this function which proxies to trust. Then the header's
    entries are read from the right, and the first that isn't one of the proxies is the client; an
    entry that is no address ends the search at the proxy that wrote it.

    Args:
        trusted_proxies: The networks that proxies are in, such as `["10.0.0.0/8"]`.
        hops: How many proxies stand in front, each of which adds one entry; for proxies whose
            addresses aren't known, or that connect by a Unix socket. With fewer entries it is the
            address that the server gives.
        header: Where the proxies write it: `x-forwarded-for`, `forwarded` (RFC 7239), or a header
            with one address such as `cf-connecting-ip`, which the last proxy has to overwrite.
        ipv6_prefix: How many bits of an IPv6 address tell clients apart, from 1 to 128.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number or a network can't be used, or `trusted_proxies` and `hops` are both
            given.

    """
    if whole(ipv6_prefix, "ipv6_prefix", 1) > 128:
        raise ValueError(f"ipv6_prefix is at most 128, not {ipv6_prefix}")
    return ClientIP(_address(trusted_proxies, hops, header), ipv6_prefix)


def from_networks(
    networks: Iterable[str],
    *,
    trusted_proxies: Iterable[str] | None = None,
    hops: int | None = None,
    header: str = "x-forwarded-for",
) -> Callable[[Scope], bool]:
    """Return a function that says whether a request's client is in one of the networks.

    Args:
        networks: The networks, such as `["192.0.2.0/24", "2001:db8::/32"]`.
        trusted_proxies: As in `client_ip`, and so are `hops` and `header`.

    Raises:
        TypeError, ValueError: As `client_ip`.

    """
    return within(networks, _address(trusted_proxies, hops, header) or peer)


def finder_of(key: object) -> Address:
    """Return what finds the address that a key is made of.

    Raises:
        ValueError: The key isn't made of an address.

    """
    for part in key.parts if isinstance(key, Combined) else (key,):
        if isinstance(part, ClientIP):
            return part.address or peer
    raise ValueError(
        "which address is looked up in the networks? The key isn't made of one: "
        "give exempt=from_networks(...)"
    )


def within(networks: Iterable[str], find: Address) -> Callable[[Scope], bool]:
    """Return a function that says whether an address is in one of the networks."""
    wanted = Networks(networks, "networks")

    def is_within(scope: Scope) -> bool:
        found = find(scope)
        return found is not None and found in wanted

    return is_within


def _address(proxies: Iterable[str] | None, hops: int | None, name: str) -> Address | None:
    """Return what finds an address behind proxies, or None if there are none."""
    lower = header_name(name)
    if proxies is not None and hops is not None:
        raise ValueError("give trusted_proxies or hops, not both")
    if hops is None:
        trusted = None if proxies is None else Networks(proxies, "trusted_proxies")
        return None if trusted is None else behind(trusted, 0, lower.encode())
    if whole(hops, "hops", 1) > 1 and lower not in LISTS:
        raise ValueError(f"{name} has one entry, not {hops}")
    return behind(None, hops, lower.encode())


@lru_cache
def _by_peer(prefix: int) -> Callable[[Scope], str | None]:
    @lru_cache(maxsize=_REMEMBERED)
    def of(host: str) -> str | None:
        address = packed(host)
        if address is not None:
            return _network(address, prefix)
        return text("host", host.encode("utf-8", "backslashreplace")) if host else None

    def key(scope: Scope) -> str | None:
        client = scope.get("client")
        return of(client[0]) if client else None

    return key


def _by(address: Address, prefix: int) -> Callable[[Scope], str | None]:
    def key(scope: Scope) -> str | None:
        found = address(scope)
        return None if found is None else _network(found, prefix)

    return key


def _network(address: bytes, prefix: int) -> str:
    """Return the key of an address: of IPv6 that of its network."""
    if len(address) == 4:
        return f"ip:{inet_ntop(AF_INET, address)}"
    number = int.from_bytes(address) >> (128 - prefix) << (128 - prefix)
    return f"ip:{inet_ntop(AF_INET6, number.to_bytes(16))}/{prefix}"
