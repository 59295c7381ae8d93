"""The `throttled-py` library."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import (
    ASYNC_MEMORY,
    ASYNC_REDIS,
    BUCKET,
    CONNECTIONS,
    COUNTER,
    FIXED,
    GCRA,
    MEMORY,
    QUEUE,
    REDIS,
    Built,
    Peer,
    Verdict,
)

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting

USING = {
    FIXED: "fixed_window",
    COUNTER: "sliding_window",
    BUCKET: "token_bucket",
    QUEUE: "leaking_bucket",
    GCRA: "gcra",
}
NAMES = tuple(USING)


def _options(algorithm: str, setting: Setting) -> dict[str, Any]:
    from throttled import rate_limiter

    period = timedelta(seconds=setting.seconds)
    quota = rate_limiter.per_duration(period, setting.limit, burst=setting.limit)
    return {"using": USING[algorithm], "quota": quota}


def _allowed(result: Any) -> bool:
    return not result.limited


def _verdict(result: Any) -> Verdict:
    return Verdict(not result.limited, result.state.retry_after)


def _sync(algorithm: str, store: Any, setting: Setting) -> Built:
    from throttled import Throttled

    throttle = Throttled(store=store, **_options(algorithm, setting))

    def spend(key: str, cost: int) -> Verdict:
        return _verdict(throttle.limit(key, cost))

    return Built(throttle.limit, allowed=_allowed, spend=spend)


def _awaited(algorithm: str, store: Any, setting: Setting) -> Built:
    from throttled.asyncio import Throttled

    throttle = Throttled(store=store, **_options(algorithm, setting))

    async def spend(key: str, cost: int) -> Verdict:
        return _verdict(await throttle.limit(key, cost))

    return Built(throttle.limit, allowed=_allowed, spend=spend)


class ThrottledPy(Peer):
    """Five algorithms."""

    name = "throttled-py"
    packages = ("throttled-py", "redis", "hiredis")
    way = "`Throttled(using=…, quota=…, store=…).limit(key)`, with `MAX_SIZE` raised to the keys"
    lighter = "It goes by the clients' clocks, so its Redis reads none."
    offers = {MEMORY: NAMES, ASYNC_MEMORY: NAMES, REDIS: NAMES, ASYNC_REDIS: NAMES}

    def memory(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in this process."""
        from throttled import MemoryStore

        store = MemoryStore(options={"MAX_SIZE": max(10, 2 * setting.keys)})
        return _sync(algorithm, store, setting)

    def async_memory(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in this process, and be awaited."""
        from throttled.asyncio import MemoryStore

        store = MemoryStore(options={"MAX_SIZE": max(10, 2 * setting.keys)})
        return _awaited(algorithm, store, setting)

    def redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis."""
        from throttled import RedisStore

        return _sync(algorithm, RedisStore(server=setting.url), setting)

    def async_redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis, and be awaited."""
        from throttled.asyncio import RedisStore

        return _awaited(
            algorithm,
            RedisStore(
                server=setting.url,
                options={"CONNECTION_POOL_KWARGS": {"max_connections": CONNECTIONS}},
            ),
            setting,
        )


PEER = ThrottledPy()
