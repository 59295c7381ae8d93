"""The `pyrate-limiter` library."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import (
    ASYNC_MEMORY,
    ASYNC_REDIS,
    BUCKET,
    CONNECTIONS,
    FIXED,
    LOG,
    MEMORY,
    REDIS,
    Built,
    Peer,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.base import Setting

NAMES = (FIXED, LOG, BUCKET)
NEVER = 86_400_000
"""An interval in ms, for states in memory: real time has no part where time is virtual, and the
library's thread is kept out of samples of others."""


def _rates(setting: Setting) -> list[Any]:
    from pyrate_limiter import Duration, Rate

    return [Rate(setting.limit, setting.seconds * Duration.SECOND)]


def _in_memory(algorithm: str, setting: Setting) -> Callable[[str], Any]:
    from pyrate_limiter import FixedWindow, InMemoryBucket, StateBucket, TokenBucket

    rates = _rates(setting)
    if algorithm == BUCKET:
        return lambda _key: StateBucket(rates, algorithm=TokenBucket())
    policy = FixedWindow() if algorithm == FIXED else None
    return lambda _key: InMemoryBucket(rates, algorithm=policy)


def _in_redis(algorithm: str, setting: Setting, client: Any) -> Callable[[str], Any]:
    from pyrate_limiter import FixedWindow, RedisBucket, RedisStateStore, StateBucket, TokenBucket

    rates = _rates(setting)
    if algorithm == BUCKET:
        return lambda key: StateBucket(
            rates, algorithm=TokenBucket(), store=RedisStateStore(client, key)
        )
    policy = FixedWindow() if algorithm == FIXED else None
    return lambda key: RedisBucket.init(rates, client, key, policy)


def _factory(make: Callable[[str], Any], *, shared: bool) -> Any:
    """Return a bucket a key, as its README shows."""
    from pyrate_limiter import BucketFactory, MonotonicClock, RateItem, WallClock

    clock = WallClock() if shared else MonotonicClock()

    class Keyed(BucketFactory):
        def __init__(self) -> None:
            self.buckets: dict[str, Any] = {}
            if not shared:
                self.leak_interval = NEVER

        def wrap_item(self, name: str, weight: int = 1) -> Any:
            return RateItem(name, clock.now(), weight=weight)

        def get(self, item: Any) -> Any:
            bucket = self.buckets.get(item.name)
            if bucket is not None:
                return bucket
            bucket = make(item.name)
            return self.adopt(item, bucket) if isawaitable(bucket) else self.keep(item, bucket)

        def keep(self, item: Any, bucket: Any) -> Any:
            self.buckets[item.name] = bucket
            self.schedule_leak(bucket)
            return bucket

        def tidy(self) -> None:
            for bucket in self.buckets.values():
                bucket.leak(clock.now())

        async def adopt(self, item: Any, bucket: Any) -> Any:
            return self.keep(item, await bucket)

    return Keyed()


def _waiting(factory: Any, key: str, cost: int) -> Any:
    """Return the ms that the bucket says, or an awaitable of them; -1 is never."""
    item = factory.wrap_item(key, cost)
    return factory.get(item).waiting(item)


def _sync(factory: Any) -> Built:
    from pyrate_limiter import Limiter

    limiter = Limiter(factory)

    def spend(key: str, cost: int) -> Verdict:
        if limiter.try_acquire(key, cost, blocking=False):
            return Verdict(allowed=True)
        return Verdict(allowed=False, retry_after=_waiting(factory, key, cost) / 1_000)

    return Built(
        limiter.try_acquire,
        after=(1, False),
        spend=spend,
        close=limiter.close,
        tidy=factory.tidy,
    )


def _awaited(factory: Any) -> Built:
    from pyrate_limiter import Limiter

    limiter = Limiter(factory)

    async def spend(key: str, cost: int) -> Verdict:
        if await limiter.try_acquire_async(key, cost, blocking=False):
            return Verdict(allowed=True)
        waiting = _waiting(factory, key, cost)
        wait = await waiting if isawaitable(waiting) else waiting
        return Verdict(allowed=False, retry_after=wait / 1_000)

    return Built(limiter.try_acquire_async, after=(1, False), spend=spend, close=limiter.close)


class Pyrate(Peer):
    """Two log algorithms and a token bucket; a bucket factory keeps keys apart."""

    name = "PyrateLimiter"
    packages = ("pyrate-limiter", "redis", "hiredis")
    way = (
        "`Limiter(factory).try_acquire(key, 1, blocking=False)` and `try_acquire_async`, with a "
        "bucket factory that keeps one bucket a key; the wait is `bucket.waiting(item)`"
    )
    lighter = "It answers with a bool, in milliseconds, and goes by the clients' clocks."
    offers = {MEMORY: NAMES, ASYNC_MEMORY: NAMES, REDIS: NAMES, ASYNC_REDIS: NAMES}

    def memory(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in this process."""
        return _sync(_factory(_in_memory(algorithm, setting), shared=False))

    def async_memory(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in this process, and be awaited."""
        return _awaited(_factory(_in_memory(algorithm, setting), shared=False))

    def redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis."""
        from redis import Redis

        client = Redis.from_url(setting.url)
        return _sync(_factory(_in_redis(algorithm, setting, client), shared=True))

    def async_redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis, and be awaited."""
        from redis.asyncio import Redis

        client = Redis.from_url(setting.url, max_connections=CONNECTIONS)
        return _awaited(_factory(_in_redis(algorithm, setting, client), shared=True))


PEER = Pyrate()
