"""Keep states in Redis: one call of the script a transaction, or one for many."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Self

from ratelimit.stores.base import Ask
from ratelimit.stores.redis.async_cluster_calls import async_calls_to
from ratelimit.stores.redis.cluster_calls import calls_to
from ratelimit.stores.redis.denials import Denials, LimitDenials
from ratelimit.stores.redis.wire import Limit, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    import redis
    import redis.asyncio
    from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
    from redis.cluster import RedisCluster

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.decision import Decision


def _ticks_of(clock: Callable[[], int] | None) -> Callable[[], int]:
    """Return a clock of our own, in nanoseconds."""
    return monotonic_ns if clock is None else lambda: clock() * 1_000


def _microseconds(seconds: float, what: str, least: float) -> int:
    """Return a duration, checked.

    Raises:
        TypeError: It is no number.
        ValueError: It is too short, infinite or NaN.

    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{what} is seconds, not {type(seconds).__name__}: {seconds!r}")
    if not least <= seconds <= _LONGEST:
        raise ValueError(f"{what} is {least} to {_LONGEST} s, not {seconds}")
    return round(seconds * 1_000_000)


_LONGEST = 3_600


def _refund_asks(decisions: Sequence[tuple[Decision, int]]) -> list[Ask]:
    return [Ask(decision.page, decision.key, cost) for decision, cost in decisions]


class RedisLedger:
    """One limit in a `RedisStore`."""

    __slots__ = ("_call", "_denials", "_limit", "_now", "_recall", "algorithm", "degraded", "name")

    def __init__(self, store: RedisStore, name: str, algorithm: Algorithm) -> None:
        self.name = name
        self.algorithm = algorithm
        self.degraded = False
        self._call = store._calls.call
        self._limit = Limit(store._wire.prefix, self)
        self._denials = LimitDenials(store._denials, self._limit.name_of, self)
        self._recall = self._denials.recall
        self._now = store._denials.now

    def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""
        denied = self._recall(key, cost)
        if denied is not None:
            return denied
        request, asked = self._limit.hit(key, cost), self._now()
        decision = self._limit.decision(request, self._call(request))
        self._denials.keep(key, asked, decision)
        return decision


class RedisStore:
    """States in a Redis (6.2 or later) or Valkey, by its clock: for any number of processes.

    Each transaction is one round trip and atomic, and each key expires when its state is as good
    as fresh. Nothing is retried that may have run: what a lost answer leaves unknown is charged.
    Threads share 32 connections, and wait for one within the deadline.

    On a cluster this holds for limits on one key, and for each node. Limits on different keys are
    asked node by node, and what was charged is given back if a later one denies.

    Args:
        client: A URL (`redis://`, `rediss://`, `unix://`, or with `+sentinel` or `+cluster` in its
            scheme), or a client of redis-py's. Connections are made as the client makes them
            (to the same place, as the same user, over TLS or not), but they are the store's own,
            and never retry.
        prefix: What the name of each key starts with.
        deadline: How long a decision may take in all, in seconds; then it raises
            `StoreUnavailable`.
        remember_denials: For how long to deny by oneself, at the most, what Redis has denied, in
            seconds. Redis would say the same, unless somebody refunds or resets the key through
            another store: then what is denied may be so for this long. 0 to ask each time.
        clock: A function that returns the time in microseconds since the epoch, in place of the
            server's clock, for tests. Keys then expire an hour late.

    Raises:
        TypeError: `client` is no client and no URL, or one for code that awaits; a duration is no
            number.
        ValueError: The URL, the prefix or a duration can't be used.

    """

    def __init__(
        self,
        client: redis.Redis | RedisCluster | str,
        *,
        prefix: str = "ratelimit",
        deadline: float = 0.1,
        remember_denials: float = 1.0,
        clock: Callable[[], int] | None = None,
    ) -> None:
        _microseconds(deadline, "a deadline", 0.001)
        remembered = _microseconds(remember_denials, "remember_denials", 0)
        self.home = prefix, client
        """Where states are: the same for stores that were told the same."""
        self._wire = Wire(prefix, clock)
        self._denials = Denials(remembered, _ticks_of(clock))
        self._calls = calls_to(client, self._wire, deadline, self._denials)

    def open(self, name: str, algorithm: Algorithm) -> RedisLedger:
        """Return the ledger of the limit with this name and algorithm."""
        return RedisLedger(self, name, algorithm)

    def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""
        request, asked = self._wire.request("hit", asks), self._denials.now()
        denied = self._denials.recall(request, asked)
        if denied:
            return denied
        decisions = self._calls.decisions(request)
        self._denials.keep(request, asked, decisions)
        return decisions

    def recall(self, asks: Sequence[Ask]) -> list[Decision] | None:
        """Deny what Redis has denied lately, or return None: for who doesn't want to ask it."""
        return self._denials.recall(self._wire.request("hit", asks), self._denials.now())

    def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and write nothing."""
        request = self._wire.request("peek", asks)
        return self._calls.decisions(request)

    def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left."""
        request = self._wire.request("charge", asks)
        try:
            return self._calls.decisions(request)
        finally:
            self._denials.changes.note(request.names)

    def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision; whether anything could be given back."""
        readings = [decision.reading for decision, _ in decisions]
        request = self._wire.request("refund", _refund_asks(decisions), readings)
        try:
            return any(self._calls.numbers(request))
        finally:
            self._denials.changes.note(request.names)

    def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys."""
        request = self._wire.request("reset", asks)
        try:
            self._calls.numbers(request)
        finally:
            self._denials.changes.note(request.names)

    def check(self) -> list[str]:
        """Try every command that limits need, on a key that is gone afterwards: for start-up.

        Returns:
            What is worth knowing about the server, or each primary of a cluster, and is no
            mistake: that it evicts keys.

        Raises:
            StoreUnavailable: It can't be asked just now.
            StoreError: Something has to be mended first: the user lacks a right, the server is a
                replica, too old, or no Redis.

        """
        return self._calls.check()

    def close(self) -> None:
        """Close the connections; it can be called twice, and the store used again.

        A client that was handed in is left open.
        """
        self._calls.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()


class AsyncRedisLedger:
    """One limit in a `AsyncRedisStore`."""

    __slots__ = ("_call", "_denials", "_limit", "_now", "_recall", "algorithm", "degraded", "name")

    def __init__(self, store: AsyncRedisStore, name: str, algorithm: Algorithm) -> None:
        self.name = name
        self.algorithm = algorithm
        self.degraded = False
        self._call = store._calls.call
        self._limit = Limit(store._wire.prefix, self)
        self._denials = LimitDenials(store._denials, self._limit.name_of, self)
        self._recall = self._denials.recall
        self._now = store._denials.now

    async def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""
        denied = self._recall(key, cost)
        if denied is not None:
            return denied
        request, asked = self._limit.hit(key, cost), self._now()
        decision = self._limit.decision(request, await self._call(request))
        self._denials.keep(key, asked, decision)
        return decision


class AsyncRedisStore:
    """States in a Redis (6.2 or later) or Valkey, by its clock: for any number of processes.

    Each transaction is one round trip and atomic, and each key expires when its state is as good
    as fresh. Nothing is retried that may have run: what a lost answer leaves unknown is charged.
    Each event loop has two connections at most: what is asked while a call is in flight leaves
    together.

    On a cluster this holds for limits on one key, and for each node. Limits on different keys are
    asked node by node, and what was charged is given back if a later one denies.

    Args:
        client: A URL (`redis://`, `rediss://`, `unix://`, or with `+sentinel` or `+cluster` in its
            scheme), or a client of redis-py's. Connections are made as the client makes them
            (to the same place, as the same user, over TLS or not), but they are the store's own,
            and never retry.
        prefix: What the name of each key starts with.
        deadline: How long a decision may take in all, in seconds; then it raises
            `StoreUnavailable`.
        remember_denials: For how long to deny by oneself, at the most, what Redis has denied, in
            seconds. Redis would say the same, unless somebody refunds or resets the key through
            another store: then what is denied may be so for this long. 0 to ask each time.
        clock: A function that returns the time in microseconds since the epoch, in place of the
            server's clock, for tests. Keys then expire an hour late.

    Raises:
        TypeError: `client` is no client and no URL, or one that blocks; a duration is no
            number.
        ValueError: The URL, the prefix or a duration can't be used.

    """

    def __init__(
        self,
        client: redis.asyncio.Redis | AsyncRedisCluster | str,
        *,
        prefix: str = "ratelimit",
        deadline: float = 0.1,
        remember_denials: float = 1.0,
        clock: Callable[[], int] | None = None,
    ) -> None:
        _microseconds(deadline, "a deadline", 0.001)
        remembered = _microseconds(remember_denials, "remember_denials", 0)
        self.home = prefix, client
        """Where states are: the same for stores that were told the same."""
        self._wire = Wire(prefix, clock)
        self._denials = Denials(remembered, _ticks_of(clock))
        self._calls = async_calls_to(client, self._wire, deadline, self._denials)

    def open(self, name: str, algorithm: Algorithm) -> AsyncRedisLedger:
        """Return the ledger of the limit with this name and algorithm."""
        return AsyncRedisLedger(self, name, algorithm)

    async def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""
        request, asked = self._wire.request("hit", asks), self._denials.now()
        denied = self._denials.recall(request, asked)
        if denied:
            return denied
        decisions = await self._calls.decisions(request)
        self._denials.keep(request, asked, decisions)
        return decisions

    def recall(self, asks: Sequence[Ask]) -> list[Decision] | None:
        """Deny what Redis has denied lately, or return None: for who doesn't want to ask it."""
        return self._denials.recall(self._wire.request("hit", asks), self._denials.now())

    async def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and write nothing."""
        request = self._wire.request("peek", asks)
        return await self._calls.decisions(request)

    async def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left."""
        request = self._wire.request("charge", asks)
        try:
            return await self._calls.decisions(request)
        finally:
            self._denials.changes.note(request.names)

    async def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision; whether anything could be given back."""
        readings = [decision.reading for decision, _ in decisions]
        request = self._wire.request("refund", _refund_asks(decisions), readings)
        try:
            return any(await self._calls.numbers(request))
        finally:
            self._denials.changes.note(request.names)

    async def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys."""
        request = self._wire.request("reset", asks)
        try:
            await self._calls.numbers(request)
        finally:
            self._denials.changes.note(request.names)

    async def check(self) -> list[str]:
        """Try every command that limits need, on a key that is gone afterwards: for start-up.

        Returns:
            What is worth knowing about the server, or each primary of a cluster, and is no
            mistake: that it evicts keys.

        Raises:
            StoreUnavailable: It can't be asked just now.
            StoreError: Something has to be mended first: the user lacks a right, the server is a
                replica, too old, or no Redis.

        """
        return await self._calls.check()

    async def aclose(self) -> None:
        """Close the connections; it can be called twice, and the store used again.

        A client that was handed in is left open.
        """
        await self._calls.aclose()

    async def __aenter__(self) -> Self:
        """Return the store itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.aclose()
