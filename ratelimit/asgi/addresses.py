"""Which address a request comes from.

An address is its 4 or 16 bytes. IPv4 that is written as IPv6, as a mapped address or one that a
NAT64 translates (RFC 6052), is IPv4, before anything else is done with it. What a client can have
written is never believed, and never returned unparsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ratelimit.asgi.protocol import Scope

Address = Callable[["Scope"], bytes | None]
"""Return the address of a request's client, or None if that can't be told."""

TCHAR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
"""A character of a token in a header field."""

LISTS = ("forwarded", "x-forwarded-for")
"""The headers that have an entry for each proxy; others have one."""

_WRITTEN = (b"\0" * 10 + b"\xff\xff", b"\0d\xff\x9b" + b"\0" * 8)
"""What IPv4 that is written as IPv6 begins with: `::ffff:0:0/96`, `64:ff9b::/96`."""
_FARTHEST = 32
_LONGEST = 512
_PORT = re.compile(r"(?::[0-9]{1,5})?", re.ASCII)
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_PAIR = rf"{TCHAR}++=(?:{TCHAR}++|{_QUOTED})"
_FORWARDED = re.compile(rf"{_PAIR}(?:;{_PAIR})*+", re.ASCII)
_EACH = re.compile(rf"({TCHAR}++)=({TCHAR}++|{_QUOTED})", re.ASCII)


def packed(text: str) -> bytes | None:
    """Return the bytes of an address, whatever brackets, port and zone it has, or None."""
    try:
        address = inet_pton(*_plain(text))
    except (OSError, ValueError):
        return None
    return address[12:] if len(address) == 16 and address.startswith(_WRITTEN) else address


def _plain(text: str) -> tuple[int, str]:
    """Return an address's family, and the address without brackets, port and zone."""
    if text.startswith("["):
        text, _, port = text[1:].partition("]")
    elif text.count(":") < 2:
        text, colon, port = text.partition(":")
        port = colon + port
    else:
        port = ""
    if _PORT.fullmatch(port) is None:
        raise ValueError(f"not a port: {port!r}")
    return (AF_INET6, text.partition("%")[0]) if ":" in text else (AF_INET, text)


class Networks:
    """A set of networks.

    Args:
        texts: Networks and addresses, such as `"10.0.0.0/8"` and `"2001:db8::1"`.
        what: What they are for, for messages.

    Raises:
        TypeError: They are no list of `str`.
        ValueError: There is none, one is none, or one is everything there is.

    """

    __slots__ = ("_networks",)

    def __init__(self, texts: Iterable[str], what: str) -> None:
        if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
            raise TypeError(f"{what} are a list of networks, not {texts!r}")
        self._networks = [_network(text, what) for text in texts]
        if not self._networks:
            raise ValueError(f"{what} are at least one network")

    def __contains__(self, address: bytes) -> bool:
        """Say whether an address is in one of them."""
        number, size = int.from_bytes(address), len(address)
        return any(
            size == length and number >> shift == prefix for length, shift, prefix in self._networks
        )


def _network(text: object, what: str) -> tuple[int, int, int]:
    """Return a network as its addresses' length, the bits that don't matter, and the others."""
    if not isinstance(text, str):
        raise TypeError(f"{what} are texts such as '10.0.0.0/8', not {text!r}")
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"{what} are networks such as '10.0.0.0/8': {error}") from error
    bits, size = network.prefixlen, network.network_address.packed
    if size.startswith(_WRITTEN) and len(size) == 16 and bits >= 96:
        bits, size = bits - 96, size[12:]
    if not bits:
        raise ValueError(f"{what} can't be everyone: {text!r}")
    shift = 8 * len(size) - bits
    return len(size), shift, int.from_bytes(size) >> shift


def peer(scope: Scope) -> bytes | None:
    """Return the address that the server says the request comes from."""
    client = scope.get("client")
    return packed(client[0]) if client else None


def behind(proxies: Networks | None, hops: int, name: bytes) -> Address:
    """Return what finds the client behind proxies, by a header that they write.

    Args:
        proxies: The networks of the proxies: it is the first address from the right that isn't
            one. None to count `hops` instead.
        hops: How many proxies there are, each of which adds one entry.
        name: The header's name, in lower case.

    """
    read = _reader(name)

    def by_hops(scope: Scope) -> bytes | None:
        entries = read(scope, hops)
        found = entries[-1] if len(entries) == hops else None
        return peer(scope) if found is None else found

    def by_proxies(scope: Scope) -> bytes | None:
        address = peer(scope)
        if proxies is None or address is None or address not in proxies:
            return address
        for entry in read(scope, _FARTHEST):
            if entry is None:
                return address
            address = entry
            if entry not in proxies:
                break
        return address

    return by_hops if proxies is None else by_proxies


def _reader(name: bytes) -> Callable[[Scope, int], list[bytes | None]]:
    """Return what reads at most so many of a header's entries, from the right."""
    parse = _forwarded if name == b"forwarded" else _entry
    several = name.decode() in LISTS

    def read(scope: Scope, most: int) -> list[bytes | None]:
        lines = [value for field, value in scope["headers"] if field == name]
        if not several:
            return [parse(lines[0])] if len(lines) == 1 else []
        entries: list[bytes] = []
        for line in reversed(lines):
            wanted = most - len(entries)
            if not wanted:
                break
            entries += line.rsplit(b",", wanted)[-wanted:][::-1]
        return list(map(parse, entries))

    return read


def _entry(entry: bytes) -> bytes | None:
    """Return the address that an entry is, or None if it is none."""
    if len(entry) > _LONGEST:
        return None
    return packed(entry.decode("latin-1").strip(" \t").strip('"'))


def _forwarded(entry: bytes) -> bytes | None:
    """Return the address that an entry of `Forwarded` is for, or None if it names none."""
    if len(entry) > _LONGEST:
        return None
    text = entry.decode("latin-1").strip(" \t")
    if _FORWARDED.fullmatch(text) is None:
        return None
    found = [value for name, value in _EACH.findall(text) if name.lower() == "for"]
    return packed(found[0].strip('"')) if len(found) == 1 else None
