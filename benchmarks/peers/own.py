"""Our own limiters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.peers.base import (
    ASGI,
    ASYNC_MEMORY,
    ASYNC_REDIS,
    BUCKET,
    COUNTER,
    FASTAPI,
    FIXED,
    LOG,
    MEMORY,
    QUEUE,
    REDIS,
    STARLETTE,
    STORES,
    Built,
    Peer,
    Verdict,
    url_of,
)

if TYPE_CHECKING:
    from typing import Any

    from benchmarks.peers.base import Setting
    from ratelimit import (
        Algorithm,
        AsyncLimiter,
        Decision,
        FixedWindow,
        Limiter,
        SlidingLog,
        SlidingWindowCounter,
        TokenBucket,
    )

PATIENCE = 5.0
"""The deadline of a decision, in s: a busy machine is no outage."""
ALL = (FIXED, LOG, COUNTER, BUCKET, QUEUE)


def algorithm_of(name: str, setting: Setting) -> Algorithm:
    """Return the algorithm with the numbers of a setting."""
    import ratelimit

    quota = ratelimit.Quota(setting.limit, setting.seconds)
    if name == QUEUE:
        return ratelimit.LeakyBucket(quota, capacity=setting.limit - 1)
    kinds: dict[str, type[FixedWindow | SlidingLog | SlidingWindowCounter | TokenBucket]] = {
        FIXED: ratelimit.FixedWindow,
        LOG: ratelimit.SlidingLog,
        COUNTER: ratelimit.SlidingWindowCounter,
        BUCKET: ratelimit.TokenBucket,
    }
    return kinds[name](quota)


def _verdict(decision: Decision) -> Verdict:
    return Verdict(decision.allowed, decision.retry_after)


def sync(limiter: Limiter) -> Built:
    """Call a limiter."""

    def spend(key: str, cost: int) -> Verdict:
        return _verdict(limiter.hit(key, cost))

    return Built(limiter.hit, spend=spend, close=limiter.close)


def awaited(limiter: AsyncLimiter) -> Built:
    """Call a limiter, and wait for it."""

    async def spend(key: str, cost: int) -> Verdict:
        return _verdict(await limiter.hit(key, cost))

    return Built(limiter.hit, spend=spend, close=limiter.aclose)


class Own(Peer):
    """The five algorithms, by the public interface."""

    name = "ratelimit"
    group = None
    packages = ("exact-ratelimit", "redis", "hiredis", "starlette", "uvicorn")
    way = (
        "`Limiter(algorithm, store=…).hit(key)`, `await AsyncLimiter(algorithm, store=…).hit(key)`"
    )
    frameworks = (STARLETTE, FASTAPI)
    many_rules = True
    offers = {MEMORY: ALL, ASYNC_MEMORY: ALL, REDIS: ALL, ASYNC_REDIS: ALL, ASGI: STORES}

    def memory(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in this process."""
        from ratelimit import Limiter, MemoryStore

        store = MemoryStore(max_keys=max(10, 2 * setting.keys))
        return sync(Limiter(algorithm_of(algorithm, setting), store=store))

    def async_memory(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in this process, and be awaited."""
        from ratelimit import AsyncLimiter, MemoryStore

        store = MemoryStore(max_keys=max(10, 2 * setting.keys))
        return awaited(AsyncLimiter(algorithm_of(algorithm, setting), store=store))

    def redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis."""
        from ratelimit import Limiter
        from ratelimit.stores.redis import RedisStore

        store = RedisStore(setting.url, deadline=PATIENCE)
        return sync(Limiter(algorithm_of(algorithm, setting), store=store))

    def async_redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis, and be awaited."""
        from ratelimit import AsyncLimiter
        from ratelimit.stores.redis import AsyncRedisStore

        store = AsyncRedisStore(setting.url, deadline=PATIENCE)
        return awaited(AsyncLimiter(algorithm_of(algorithm, setting), store=store))

    def asgi(self, store: str, setting: Setting) -> Any:
        """Return an application behind the middleware."""
        from benchmarks.applications import application
        from ratelimit.asgi import RateLimitMiddleware, Rule, client_ip

        app = application(setting.framework)
        rules = [
            Rule(
                f"rule-{more}",
                algorithm_of(FIXED, replace(setting, limit=setting.limit + more)),
                key=client_ip(),
            )
            for more in range(setting.rules)
        ]
        app.add_middleware(RateLimitMiddleware, rules=rules, store=url_of(store, setting))
        return app


PEER = Own()
