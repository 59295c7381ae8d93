"""The `fastapi-limiter` library before 0.2, which had a script of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
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
    from collections.abc import AsyncIterator

    from benchmarks.peers.base import Setting


class FastapiLimiterScript(Peer):
    """A fixed window that starts at the first hit; no costs."""

    name = "fastapi-limiter 0.1"
    group = "peers-fastapi-limiter-01"
    packages = ("fastapi-limiter", "redis", "hiredis", "fastapi", "uvicorn")
    way = (
        "`Depends(RateLimiter(times=…, seconds=…))` after `FastAPILimiter.init(redis)`; without an "
        "application what the dependency itself calls: `redis.evalsha` of its script"
    )
    lighter = "Its script is one counter with an expiry, which reads no clock."
    frameworks = (FASTAPI,)
    offers = {ASYNC_REDIS: (FIXED,), ASGI: ("redis",)}

    def async_redis(self, _algorithm: str, setting: Setting) -> Built:
        """Ask its script as its dependency does."""
        from fastapi_limiter import FastAPILimiter
        from redis.asyncio import Redis

        client = Redis.from_url(setting.url, max_connections=CONNECTIONS)
        shas: list[str] = []

        async def hit(key: str) -> Any:
            if not shas:
                shas.append(await client.script_load(FastAPILimiter.lua_script))
            milliseconds = setting.seconds * 1_000
            return await client.evalsha(shas[0], 1, key, str(setting.limit), str(milliseconds))

        async def spend(key: str, _cost: int) -> Verdict:
            wait = await hit(key)
            return Verdict(wait == 0, wait / 1_000)

        return Built(hit, allowed=lambda wait: wait == 0, spend=spend, close=client.aclose)

    def asgi(self, _store: str, setting: Setting) -> Any:
        """Return an application with the dependency."""
        from fastapi import Depends
        from fastapi_limiter import FastAPILimiter
        from fastapi_limiter.depends import RateLimiter
        from redis.asyncio import Redis

        from benchmarks.applications import application

        @asynccontextmanager
        async def lifespan(_app: Any) -> AsyncIterator[None]:
            await FastAPILimiter.init(Redis.from_url(setting.url))
            yield
            await FastAPILimiter.close()

        limiter = RateLimiter(times=setting.limit, seconds=setting.seconds)
        return application(setting.framework, dependencies=[Depends(limiter)], lifespan=lifespan)


PEER = FastapiLimiterScript()
