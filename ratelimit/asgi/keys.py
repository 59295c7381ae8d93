"""What keys are made of.

A key says of what kind it is, so that an address and an API key of the same text are apart, and
values that are long or secret are hashed. None means that nobody can be told; the rule says what
becomes of such requests.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from hashlib import blake2b

from ratelimit.asgi.addresses import TCHAR
from ratelimit.asgi.protocol import Scope

Key = Callable[[Scope], Awaitable[str | None] | str | None]
"""Who is charged for a request; None if that can't be told."""

_LONGEST = 128
_NAME = re.compile(rf"{TCHAR}+", re.ASCII)


def text(kind: str, value: bytes) -> str:
    """Return a key of a value, hashed if it is long; the two can't be the same text."""
    return hashed(kind, value) if len(value) > _LONGEST else f"{kind}:{value.decode('latin-1')}"


def hashed(kind: str, value: bytes) -> str:
    """Return a key of a value that isn't in it."""
    return f"blake2b:{kind}:{blake2b(value, digest_size=20).hexdigest()}"


def header_name(name: str) -> str:
    """Return a header's name in lower case.

    Raises:
        TypeError: It is no `str`.
        ValueError: No header can have it.

    """
    return checked(name, "a header").lower()


def checked(name: str, what: str) -> str:
    """Return a name that can be a token in a header field.

    Raises:
        TypeError: It is no `str`.
        ValueError: It has a character that no token has.

    """
    if not isinstance(name, str):
        raise TypeError(f"{what}'s name is a str, not {type(name).__name__}: {name!r}")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"not {what}'s name: {name[:80]!r}")
    return name
