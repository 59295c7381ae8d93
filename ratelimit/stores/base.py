"""What a limiter needs of a store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ratelimit.quota import whole

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.decision import Decision, Page

MAX_KEY = 4_096
"""The longest key, in characters."""

_METHODS = ("open", "hit_all", "peek_all", "charge_all", "refund_all", "reset_all")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)


def check_name(name: object) -> str:
    """Check a limit's name: it goes into keys and header fields, so it is short and plain.

    Raises:
        TypeError: It is no `str`.
        ValueError: It is empty, too long, or has a character that isn't allowed.

    """
    if not isinstance(name, str):
        raise TypeError(f"a limit's name is a str, not {type(name).__name__}: {name!r}")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"a limit's name is 1 to 128 of A-Z a-z 0-9 _ . : -, not {name[:160]!r}")
    return name


def check_key(key: object) -> str:
    """Check a key: any text that isn't empty, up to `MAX_KEY` characters.

    Raises:
        TypeError: It is no `str`.
        ValueError: It is empty or too long.

    """
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    if not key:
        raise ValueError("a key is not empty: all who have none would share one limit")
    if len(key) > MAX_KEY:
        raise ValueError(f"a key has at most {MAX_KEY} characters, not {len(key)}: hash it")
    return key


def check_cost(cost: object) -> int:
    """Check a cost: a whole number, 0 or more.

    Raises:
        TypeError: It is no `int` (a `bool` is none).
        ValueError: It is negative.

    """
    if type(cost) is int and cost >= 0:
        return cost
    return whole(cost, "a cost", 0)


def is_store(given: object, closing: str) -> bool:
    """Say whether something has the methods of a store; `closing` tells its colour."""
    return all(hasattr(given, method) for method in (*_METHODS, closing))


class Ask(NamedTuple):
    """One limit's part of a transaction."""

    page: Page
    key: str
    cost: int


class Hit(Protocol):
    """Ask, and spend if it is allowed."""

    def __call__(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""


class AsyncHit(Protocol):
    """Ask, and spend if it is allowed, for code that awaits."""

    def __call__(self, key: str, cost: int = 1) -> Coroutine[Any, Any, Decision]:
        """Ask, and spend if it is allowed."""


class Ledger(Protocol):
    """One limit in one store, bound once so that a hit looks nothing up."""

    name: str
    algorithm: Algorithm
    degraded: bool

    def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""


class Store(Protocol):
    """Where states are kept. It brings the time and makes each transaction atomic.

    Each call is one transaction over several limits. None of them retries what may have run.
    """

    def open(self, name: str, algorithm: Algorithm) -> Ledger:
        """Return the ledger of the limit with this name and algorithm."""

    def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""

    def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and write nothing."""

    def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left."""

    def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision; whether anything could be given back."""

    def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys."""

    def close(self) -> None:
        """Release what the store holds; it can be called twice."""


class AsyncLedger(Protocol):
    """One limit in one store, for code that awaits."""

    name: str
    algorithm: Algorithm
    degraded: bool

    async def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""


class AsyncStore(Protocol):
    """A store for code that awaits; otherwise as `Store`."""

    def open(self, name: str, algorithm: Algorithm) -> AsyncLedger:
        """Return the ledger of the limit with this name and algorithm."""

    async def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""

    async def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and write nothing."""

    async def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left."""

    async def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision; whether anything could be given back."""

    async def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys."""

    async def aclose(self) -> None:
        """Release what the store holds; it can be called twice."""
