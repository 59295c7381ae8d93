"""Make the calls: one `EVALSHA` a transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from ratelimit.stores.base import Ask
from ratelimit.stores.redis import script
from ratelimit.stores.redis.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.decision import Decision

_CONNECTIONS = 32
_SETTINGS: dict[str, Any] = {
    "max_connections": _CONNECTIONS,
    "timeout": 5,
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
}


def _client_of(client: redis.Redis | str) -> Callable[[], redis.Redis]:
    """Return what returns the client."""
    if isinstance(client, str):
        pool = redis.BlockingConnectionPool.from_url(
            client, **_SETTINGS, retry=Retry(NoBackoff(), 0)
        )
        made = redis.Redis.from_pool(pool)
        return lambda: made
    if not isinstance(client, redis.Redis):
        raise TypeError(
            f"a RedisStore needs a redis.Redis or a URL, not {client!r}; "
            "an AsyncRedisStore takes a redis.asyncio.Redis"
        )
    return lambda: client


def _async_client_of(client: redis.asyncio.Redis | str) -> Callable[[], redis.asyncio.Redis]:
    """Return what returns the client: of a URL one for each event loop, as connections need."""
    if not isinstance(client, str):
        if not isinstance(client, redis.asyncio.Redis):
            raise TypeError(
                f"an AsyncRedisStore needs a redis.asyncio.Redis or a URL, not {client!r}; "
                "a RedisStore takes a redis.Redis"
            )
        return lambda: client
    url = client
    clients: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis]
    clients = WeakKeyDictionary()
    redis.asyncio.ConnectionPool.from_url(url)  # so that a bad URL is told now

    def of_loop() -> redis.asyncio.Redis:
        loop = asyncio.get_running_loop()
        if loop not in clients:
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                url, **_SETTINGS, retry=AsyncRetry(NoBackoff(), 0)
            )
            clients[loop] = redis.asyncio.Redis.from_pool(pool)
        return clients[loop]

    return of_loop


def _refund_asks(decisions: Sequence[tuple[Decision, int]]) -> list[Ask]:
    return [Ask(decision.page, decision.key, cost) for decision, cost in decisions]


class RedisLedger:
    """One limit in a `RedisStore`."""

    __slots__ = ("_store", "algorithm", "degraded", "name")

    def __init__(self, store: RedisStore, name: str, algorithm: Algorithm) -> None:
        self.name = name
        self.algorithm = algorithm
        self.degraded = False
        self._store = store

    def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""
        return (self._store.hit_all([Ask(self, key, cost)]))[0]


class RedisStore:
    """States in a Redis (6.2 or later) or Valkey, by its clock: for any number of processes.

    Each transaction is one round trip and atomic, and each key expires when its state is as good
    as fresh. Nothing is retried that may have run.

    Args:
        client: A client of redis-py's, or a URL, for which one is made that doesn't retry, waits
            5 s at the most, and has 32 connections that threads wait for. A client that retries
            by itself may charge twice.
        prefix: What the name of each key starts with.
        clock: A function that returns the time in microseconds since the epoch, in place of the
            server's clock, for tests. Keys then expire an hour late.

    Raises:
        TypeError: `client` is no client and no URL, or one for code that awaits.
        ValueError: The URL or the prefix can't be used.

    """

    def __init__(
        self,
        client: redis.Redis | str,
        *,
        prefix: str = "ratelimit",
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._wire = Wire(prefix, clock)
        self._client = _client_of(client)

    def open(self, name: str, algorithm: Algorithm) -> RedisLedger:
        """Return the ledger of the limit with this name and algorithm."""
        return RedisLedger(self, name, algorithm)

    def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""
        request = self._wire.request("hit", asks)
        return self._wire.decisions(request, self._call(request.arguments))

    def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and write nothing."""
        request = self._wire.request("peek", asks)
        return self._wire.decisions(request, self._call(request.arguments))

    def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left."""
        request = self._wire.request("charge", asks)
        return self._wire.decisions(request, self._call(request.arguments))

    def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision; whether anything could be given back."""
        readings = [decision.reading for decision, _ in decisions]
        request = self._wire.request("refund", _refund_asks(decisions), readings)
        return self._wire.given_back(request, self._call(request.arguments))

    def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys."""
        self._execute("DEL", *self._wire.keys(asks))

    def close(self) -> None:
        """Close the connections; it can be called twice, and the store used again."""
        self._client().close()

    def _call(self, arguments: list[str | int]) -> Any:
        try:
            return self._execute("EVALSHA", script.SHA, *arguments)
        except NoScriptError:
            self._execute("SCRIPT LOAD", script.TEXT)
            return self._execute("EVALSHA", script.SHA, *arguments)

    def _execute(self, *command: str | int) -> Any:
        try:
            return self._client().execute_command(*command)  # type: ignore[no-untyped-call]
        except NoScriptError:
            raise
        except RedisError as error:
            raise self._wire.error(error) from error


class AsyncRedisLedger:
    """One limit in an `AsyncRedisStore`."""

    __slots__ = ("_store", "algorithm", "degraded", "name")

    def __init__(self, store: AsyncRedisStore, name: str, algorithm: Algorithm) -> None:
        self.name = name
        self.algorithm = algorithm
        self.degraded = False
        self._store = store

    async def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""
        return (await self._store.hit_all([Ask(self, key, cost)]))[0]


class AsyncRedisStore:
    """States in a Redis (6.2 or later) or Valkey, by its clock: for any number of processes.

    Each transaction is one round trip and atomic, and each key expires when its state is as good
    as fresh. Nothing is retried that may have run.

    Args:
        client: A client of redis-py's, or a URL, for which one is made that doesn't retry, waits
            5 s at the most, and has 32 connections an event loop that tasks wait for. A client that
            retries by itself may charge twice.
        prefix: What the name of each key starts with.
        clock: A function that returns the time in microseconds since the epoch, in place of the
            server's clock, for tests. Keys then expire an hour late.

    Raises:
        TypeError: `client` is no client and no URL, or one that blocks.
        ValueError: The URL or the prefix can't be used.

    """

    def __init__(
        self,
        client: redis.asyncio.Redis | str,
        *,
        prefix: str = "ratelimit",
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._wire = Wire(prefix, clock)
        self._client = _async_client_of(client)

    def open(self, name: str, algorithm: Algorithm) -> AsyncRedisLedger:
        """Return the ledger of the limit with this name and algorithm."""
        return AsyncRedisLedger(self, name, algorithm)

    async def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""
        request = self._wire.request("hit", asks)
        return self._wire.decisions(request, await self._call(request.arguments))

    async def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and write nothing."""
        request = self._wire.request("peek", asks)
        return self._wire.decisions(request, await self._call(request.arguments))

    async def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left."""
        request = self._wire.request("charge", asks)
        return self._wire.decisions(request, await self._call(request.arguments))

    async def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision; whether anything could be given back."""
        readings = [decision.reading for decision, _ in decisions]
        request = self._wire.request("refund", _refund_asks(decisions), readings)
        return self._wire.given_back(request, await self._call(request.arguments))

    async def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys."""
        await self._execute("DEL", *self._wire.keys(asks))

    async def aclose(self) -> None:
        """Close the connections; it can be called twice, and the store used again."""
        await self._client().aclose()

    async def _call(self, arguments: list[str | int]) -> Any:
        try:
            return await self._execute("EVALSHA", script.SHA, *arguments)
        except NoScriptError:
            await self._execute("SCRIPT LOAD", script.TEXT)
            return await self._execute("EVALSHA", script.SHA, *arguments)

    async def _execute(self, *command: str | int) -> Any:
        try:
            return await self._client().execute_command(*command)  # type: ignore[no-untyped-call]
        except NoScriptError:
            raise
        except RedisError as error:
            raise self._wire.error(error) from error
