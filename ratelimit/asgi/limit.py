"""A limit, and how clients are told of it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ratelimit.algorithms.base import Algorithm
    from ratelimit.decision import Decision
    from ratelimit.stores.base import AsyncStore

LARGEST = 10**15 - 1
"""The largest number in a structured field."""

_SPECIAL = re.compile(r'(["\\])')
_UNPRINTABLE = re.compile(r"[^ -~]")


class Notice:
    """How clients are told of a limit: what its items in header fields begin with, made once.

    Args:
        name: What clients know the limit by.
        algorithm: How it counts.
        jitter: Up to how many seconds more a client is told to wait.

    """

    __slots__ = (
        "algorithm",
        "head",
        "jitter",
        "name",
        "policy",
        "policy_field",
        "quota",
        "template",
    )

    head: bytes
    """An item of `RateLimit` up to the number that remains."""
    template: bytes
    """The item with a place for what remains, and one for the seconds."""
    policy: bytes
    """The item of `RateLimit-Policy`."""
    quota: bytes
    """How much can be there at once."""

    def __init__(self, name: str, algorithm: Algorithm, *, jitter: int = 0) -> None:
        self.name = name
        self.algorithm = algorithm
        self.jitter = jitter
        quoted = _string(name)
        most, window_us = _policy(algorithm)
        self.head = b"%b;r=" % quoted
        self.template = self.head.replace(b"%", b"%%") + b"%d;t=%d"
        self.quota = b"%d" % most
        self.policy = b"%b;q=%d" % (quoted, most)
        if window_us >= 1_000_000:
            self.policy += b";w=%d" % seconds(window_us)
        self.policy_field = b"ratelimit-policy", self.policy


class Limit(Notice):
    """A limit in a store, bound once for all requests.

    Args:
        name: What clients know it by.
        algorithm: How it counts.
        store: Where its states are kept.
        shadow: Whether it only reports: it is told to nobody, and denies nobody.
        jitter: Up to how many seconds more a client is told to wait.
        prefix: What keys begin with, where several limits of one name are to be apart.

    Raises:
        TypeError, ValueError: The store can't take it.

    """

    __slots__ = ("doubted", "ledger", "prefix", "shadow", "store")

    def __init__(
        self,
        name: str,
        algorithm: Algorithm,
        store: AsyncStore,
        *,
        shadow: bool = False,
        jitter: int = 0,
        prefix: str = "",
    ) -> None:
        super().__init__(name, algorithm, jitter=jitter)
        self.store = store
        self.shadow = shadow
        self.prefix = prefix
        self.ledger = store.open(name, algorithm)
        self.doubted = False
        """Whether it was told that others charge it too."""


Entry = tuple[Limit, "Decision"]
"""A limit, and what it decided."""


Told = tuple[Notice, "Decision"]
"""What clients are told by, and what is told."""


class Part(NamedTuple):
    """What a request asks of one limit."""

    limit: Limit
    key: str
    cost: int

    def at_most(self, cost: int) -> Part:
        """Return the same with another cost, or as much as the limit ever admits."""
        return self._replace(cost=min(cost, self.limit.algorithm.max_cost))


def seconds(microseconds: float) -> int:
    """Round up to whole seconds, at least 1: clients that are told 0 ask in a loop."""
    return max(1, -int(-microseconds // 1_000_000))


def _policy(algorithm: Algorithm) -> tuple[int, int]:
    """Return how much can be there at once, and in which time (µs) so much comes back."""
    quota = algorithm.quota
    most = max(quota.limit, algorithm.max_cost)
    return min(most, LARGEST), -(-quota.period_us * most // quota.limit)


@lru_cache(maxsize=1024)
def _string(text: str) -> bytes:
    """Write a structured-field string, which nothing can break out of."""
    escaped = _SPECIAL.sub(r"\\\1", _UNPRINTABLE.sub("?", text))
    return f'"{escaped}"'.encode()
