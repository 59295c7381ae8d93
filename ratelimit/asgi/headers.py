"""How decisions are told in header fields.

`"draft-11"` are the fields of draft-ietf-httpapi-ratelimit-headers-11, whose values are structured
fields (RFC 9651). The others are older: `"draft-06"` has a field for each of limit, remaining and
reset, and `"x-ratelimit"` has them with an X and the reset in seconds of Unix time.
"""

from __future__ import annotations

from hashlib import blake2b
from math import ceil, isinf
from typing import TYPE_CHECKING, Literal, Protocol

from ratelimit.asgi.limit import LARGEST, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ratelimit.asgi.limit import Notice, Told
    from ratelimit.asgi.protocol import Fields, Scope
    from ratelimit.decision import Decision

Style = Literal["draft-11", "draft-06", "x-ratelimit", "none"]
"""Which fields are sent."""
Tell = Literal["all", "tightest"]
"""Which limits are told of."""

Waits = dict[str, int | None]
"""The seconds that a limit which denied says to wait, by its name; None for ever."""


class Fielding(Protocol):
    """A way to tell decisions in fields."""

    names: frozenset[bytes]
    """The names of the fields."""

    def fields(self, entries: Sequence[Told], waits: Waits) -> Fields:
        """Return the fields for what was decided."""


class Draft11:
    """`RateLimit` and `RateLimit-Policy`."""

    names = frozenset((b"ratelimit", b"ratelimit-policy"))

    def fields(self, entries: Sequence[Told], waits: Waits) -> Fields:
        """Return both fields: of limits that denied if one did, with the policies of all."""
        if len(entries) == 1 and not waits:
            limit, decision = entries[0]
            return [
                (b"ratelimit", _item(limit, decision)),
                (b"ratelimit-policy", limit.policy),
            ]
        told = [entry for entry in entries if entry[0].name in waits] if waits else entries
        items = [
            _denied(limit, decision, waits[limit.name]) if waits else _item(limit, decision)
            for limit, decision in told
        ]
        return [
            (b"ratelimit", b", ".join(items)),
            (b"ratelimit-policy", b", ".join([limit.policy for limit, _ in entries])),
        ]


class Trio:
    """A field for each of limit, remaining and reset, of the tightest limit."""

    def __init__(self, prefix: bytes, *, epoch: bool) -> None:
        self._limit, self._remaining, self._reset = (
            prefix + name for name in (b"limit", b"remaining", b"reset")
        )
        self.names = frozenset((self._limit, self._remaining, self._reset))
        self._epoch = epoch

    def fields(self, entries: Sequence[Told], waits: Waits) -> Fields:
        """Return the three fields."""
        limit, decision = tightest(entries)
        wait = waits.get(limit.name) or seconds(_window(decision))
        reset = ceil(decision.now / 1_000_000) + wait if self._epoch else wait
        return [
            (self._limit, limit.quota),
            (self._remaining, b"%d" % min(decision.remaining, LARGEST)),
            (self._reset, b"%d" % reset),
        ]


class Silence:
    """No fields."""

    names: frozenset[bytes] = frozenset()

    def fields(self, entries: Sequence[Told], waits: Waits) -> Fields:
        """Return nothing."""
        return []


STYLES: dict[str, Fielding] = {
    "draft-11": Draft11(),
    "draft-06": Trio(b"ratelimit-", epoch=False),
    "x-ratelimit": Trio(b"x-ratelimit-", epoch=True),
    "none": Silence(),
}


def tightest(entries: Sequence[Told]) -> Told:
    """Return the limit that has to be waited for longest, else the one with the least left."""
    return min(entries, key=lambda entry: (-entry[1].retry_after_us, entry[1].remaining))


def waits_of(entries: Iterable[Told], scope: Scope) -> Waits:
    """Return how long the limits that denied say to wait."""
    return {
        limit.name: _wait(limit, decision, scope)
        for limit, decision in entries
        if not decision.allowed
    }


def longest(waits: Waits) -> int | None:
    """Return the wait after which all allow; None if one never will."""
    every = [wait for wait in waits.values() if wait is not None]
    return max(every) if len(every) == len(waits) else None


def with_fields(
    present: Iterable[tuple[bytes, bytes]], fields: Fields, names: frozenset[bytes]
) -> Fields:
    """Return a new list of fields, with ours if the application has set none of them itself."""
    headers = list(present)
    for name, _ in headers:
        if name in names or name.lower() in names:
            return headers
    return headers + fields


def _item(limit: Notice, decision: Decision) -> bytes:
    """Return an item of `RateLimit`: what remains, and within which time no more can be used."""
    algorithm, reading, now = decision.page.algorithm, decision.reading, decision.now
    remaining = algorithm.remaining(reading, now)
    window = -(-algorithm.effective_window(reading, now) // 1_000_000)
    remaining = min(remaining, LARGEST)
    return b"%b%d;t=%d" % (limit.head, remaining, window or 1)


def _denied(limit: Notice, decision: Decision, wait: int | None) -> bytes:
    """Return an item of `RateLimit`: what remains, and when more may be asked for, if ever."""
    item = b"%b%d" % (limit.head, min(decision.remaining, LARGEST))
    return item if wait is None else b"%b;t=%d" % (item, wait)


def _window(decision: Decision) -> int:
    return decision.page.algorithm.effective_window(decision.reading, decision.now)


def _wait(limit: Notice, decision: Decision, scope: Scope) -> int | None:
    """Return how long a client is told to wait, each always the same."""
    wait_us = decision.retry_after_us
    if isinf(wait_us):
        return None
    if not limit.jitter:
        return seconds(wait_us)
    host = (scope.get("client") or ("",))[0]
    who = f"{decision.key} {host}".encode("utf-8", "surrogatepass")
    share = int.from_bytes(blake2b(who, digest_size=8).digest())
    return seconds(wait_us) + share % (limit.jitter + 1)
