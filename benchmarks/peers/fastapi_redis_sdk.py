"""The `fastapi-redis-sdk` library."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import (
    ASGI,
    ASYNC_REDIS,
    CONNECTIONS,
    FASTAPI,
    FIXED,
    Built,
    Peer,
    Verdict,
)

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting


class FastapiRedisSdk(Peer):
    """A fixed window that starts at the first hit: INCREX where there is one, else a script."""

    name = "fastapi-redis-sdk"
    packages = ("fastapi-redis-sdk", "redis", "hiredis", "fastapi", "uvicorn")
    way = "`await RateLimitBackend(redis).hit(key, limit=…, window=…)`, `Depends(rate_limit(…))`"
    lighter = "Its script is one counter with an expiry, which reads no clock."
    frameworks = (FASTAPI,)
    offers = {ASYNC_REDIS: (FIXED,), ASGI: ("redis",)}

    def async_redis(self, _algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis, and be awaited."""
        from redis.asyncio import Redis
        from redis_fastapi import RateLimitBackend

        client = Redis.from_url(setting.url, max_connections=CONNECTIONS)
        hit = partial(RateLimitBackend(client).hit, limit=setting.limit, window=setting.seconds)

        async def spend(key: str, cost: int) -> Verdict:
            result = await hit(key, cost=cost)
            return Verdict(result.allowed, result.retry_after)

        return Built(
            hit,
            allowed=lambda result: bool(result.allowed),
            spend=spend,
            close=client.aclose,
        )

    def asgi(self, _store: str, setting: Setting) -> Any:
        """Return an application with the dependency."""
        os.environ["REDIS_URL"] = setting.url
        from fastapi import Depends
        from redis_fastapi import FastAPIRedis, rate_limit

        from benchmarks.applications import application

        dependency = Depends(rate_limit((setting.limit, setting.seconds)))
        app = application(setting.framework, dependencies=[dependency])
        FastAPIRedis(app).lifespan().rate_limiting()
        return app


PEER = FastapiRedisSdk()
