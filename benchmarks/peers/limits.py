"""The `limits` library."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import (
    ASYNC_MEMORY,
    ASYNC_REDIS,
    CONNECTIONS,
    COUNTER,
    FIXED,
    LOG,
    MEMORY,
    REDIS,
    Built,
    Peer,
    Verdict,
)

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting

STRATEGIES = {
    FIXED: "FixedWindowRateLimiter",
    LOG: "MovingWindowRateLimiter",
    COUNTER: "SlidingWindowCounterRateLimiter",
}


def item_of(setting: Setting) -> Any:
    """Return the limit that a setting wants."""
    from limits import RateLimitItemPerSecond

    return RateLimitItemPerSecond(setting.limit, setting.seconds)


def sync(algorithm: str, storage: Any, setting: Setting) -> Built:
    """Call a strategy on a storage."""
    from limits import strategies

    limiter, item = getattr(strategies, STRATEGIES[algorithm])(storage), item_of(setting)

    def spend(key: str, cost: int) -> Verdict:
        if limiter.hit(item, key, cost=cost):
            return Verdict(allowed=True)
        stats = limiter.get_window_stats(item, key)
        return Verdict(allowed=False, retry_after=stats.reset_time - time.time())

    return Built(limiter.hit, before=(item,), spend=spend)


def awaited(algorithm: str, storage: Any, setting: Setting) -> Built:
    """Call a strategy on a storage, and wait for it."""
    from limits.aio import strategies

    limiter, item = getattr(strategies, STRATEGIES[algorithm])(storage), item_of(setting)

    async def spend(key: str, cost: int) -> Verdict:
        if await limiter.hit(item, key, cost=cost):
            return Verdict(allowed=True)
        stats = await limiter.get_window_stats(item, key)
        return Verdict(allowed=False, retry_after=stats.reset_time - time.time())

    return Built(limiter.hit, before=(item,), spend=spend)


class Limits(Peer):
    """Three strategies, with redis-py."""

    name = "limits"
    packages = ("limits", "redis", "hiredis")
    way = "`strategy(storage).hit(item, key)`; the wait is `get_window_stats(item, key).reset_time`"
    lighter = (
        "It answers with a bool, and tells what is left "
        "and when by a second call; its Redis reads no clock."
    )
    lighter_in = {
        "footprint": "A thread of its own sweeps its keys all the time; ours go as new ones come."
    }
    offers = {
        MEMORY: tuple(STRATEGIES),
        ASYNC_MEMORY: tuple(STRATEGIES),
        REDIS: tuple(STRATEGIES),
        ASYNC_REDIS: tuple(STRATEGIES),
    }

    def memory(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in this process."""
        from limits.storage import MemoryStorage

        return sync(algorithm, MemoryStorage(), setting)

    def async_memory(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in this process, and be awaited."""
        from limits.aio.storage import MemoryStorage

        return awaited(algorithm, MemoryStorage(), setting)

    def redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis."""
        from limits.storage import storage_from_string

        return sync(algorithm, storage_from_string(setting.url), setting)

    def async_redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis, by redis-py, and be awaited."""
        from limits.storage import storage_from_string

        storage = storage_from_string(
            f"async+{setting.url}", implementation="redispy", max_connections=CONNECTIONS
        )
        return awaited(algorithm, storage, setting)


PEER = Limits()
