"""Who is charged."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from hashlib import blake2b
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any

from ratelimit.quota import whole

Scope = MutableMapping[str, Any]
"""What an ASGI server says about a request."""
Key = Callable[[Scope], str | None]
"""Who is charged for a request; None if that can't be told."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_MAPPED = b"\0" * 10 + b"\xff\xff"
_LONGEST = 128


def client_ip(*, ipv6_prefix: int = 64) -> Key:
    """Charge the address that the server says the request comes from.

    An IPv4 address is a key of its own, also where it is written as IPv6. An IPv6 address is
    charged with its network, as one customer has at least a /64. A name that is no address, such
    as a test client's, is a key too. No forwarding header is read: a server behind a proxy has
    to be told which proxies to trust, and then puts the right address into the scope.

    Args:
        ipv6_prefix: How many bits of an IPv6 address tell clients apart, from 1 to 128.

    Raises:
        TypeError: `ipv6_prefix` is no `int`.
        ValueError: `ipv6_prefix` is out of range.

    """
    if whole(ipv6_prefix, "ipv6_prefix", 1) > 128:
        raise ValueError(f"ipv6_prefix is at most 128, not {ipv6_prefix}")
    mask = (1 << 128) - (1 << (128 - ipv6_prefix))

    def key(scope: Scope) -> str | None:
        client = scope.get("client")
        if not client or not client[0]:
            return None
        packed = _packed(client[0])
        if packed is None:
            return _text("host", client[0].encode("utf-8", "backslashreplace"))
        if len(packed) == 4:
            return f"ip:{inet_ntop(AF_INET, packed)}"
        network = (int.from_bytes(packed) & mask).to_bytes(16)
        return f"ip:{inet_ntop(AF_INET6, network)}/{ipv6_prefix}"

    return key


def header(name: str) -> Key:
    """Charge the value of a request header, such as an API key.

    A client can send any value, and have a limit of its own for each: charge a header that is
    checked before, or limit the address as well. Values longer than 128 bytes are hashed.

    Raises:
        TypeError: `name` is no `str`.
        ValueError: `name` can't be a header's name.

    """
    if not isinstance(name, str):
        raise TypeError(f"a header's name is a str, not {type(name).__name__}: {name!r}")
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"not a header's name: {name[:80]!r}")
    lower = name.lower()
    wanted = lower.encode()

    def key(scope: Scope) -> str | None:
        lines = [value for field, value in scope["headers"] if field == wanted]
        return _text(f"header:{lower}", b", ".join(lines)) if lines else None

    return key


def _text(kind: str, value: bytes) -> str:
    """Return a key of a value, hashed if it is long; the two can't be the same text."""
    if len(value) > _LONGEST:
        return f"blake2b:{kind}:{blake2b(value, digest_size=32).hexdigest()}"
    return f"{kind}:{value.decode('latin-1')}"


def _packed(host: str) -> bytes | None:
    """Return the 4 or 16 bytes of an address, or None if it is none."""
    try:
        return _unmapped(inet_pton(*_plain(host)))
    except (OSError, ValueError):
        return None


def _plain(host: str) -> tuple[int, str]:
    """Return an address without brackets, port and scope, and its family."""
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    if host.count(":") < 2:
        return AF_INET, host.partition(":")[0]
    return AF_INET6, host.partition("%")[0]


def _unmapped(packed: bytes) -> bytes:
    """Return IPv4 that is written as IPv6 as what it is."""
    return packed[12:] if packed.startswith(_MAPPED) and len(packed) == 16 else packed
