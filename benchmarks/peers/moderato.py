"""The `moderato` library."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import (
    ASGI,
    ASYNC_REDIS,
    BUCKET,
    COUNTER,
    FIXED,
    Built,
    Peer,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.peers.base import Setting

ALGORITHMS = {FIXED: "fixed_window", COUNTER: "sliding_window", BUCKET: "token_bucket"}
UNITS = {1: "second", 60: "minute", 3_600: "hour", 86_400: "day"}


def _rate(setting: Setting) -> str:
    return f"{setting.limit}/{UNITS[setting.seconds]}"


class Moderato(Peer):
    """Three scripts; wants a redis-py before 6, so it lives apart."""

    name = "moderato"
    group = "peers-moderato"
    packages = ("moderato", "redis", "hiredis", "starlette", "uvicorn")
    way = "`await RateLimiter(redis_url=…).check_with_info(key, rate, algorithm)`, `@limiter.limit`"
    lighter = "It awaits each call by itself, with no dispatcher and no deadline of its own."
    offers = {ASYNC_REDIS: tuple(ALGORITHMS), ASGI: ("redis",)}

    def async_redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis, and be awaited."""
        from moderato import RateLimiter

        limiter = RateLimiter(redis_url=setting.url)
        after = (_rate(setting), ALGORITHMS[algorithm])

        async def spend(key: str, cost: int) -> Verdict:
            result = await limiter.check_with_info(key, *after, cost=cost)
            return Verdict(result.allowed, result.retry_after)

        return Built(
            limiter.check_with_info,
            after=after,
            allowed=lambda result: bool(result.allowed),
            spend=spend,
            close=limiter.close,
        )

    def asgi(self, _store: str, setting: Setting) -> Any:
        """Return an application with the decorator and the middleware for its header fields."""
        from moderato import RateLimiter, RateLimitHeadersMiddleware

        from benchmarks.applications import application, hello

        limiter = RateLimiter(redis_url=setting.url)

        @asynccontextmanager
        async def lifespan(_app: Any) -> AsyncIterator[None]:
            async with limiter:
                yield

        limited = limiter.limit(_rate(setting))(hello)
        app = application(setting.framework, endpoint=limited, lifespan=lifespan)
        app.add_middleware(RateLimitHeadersMiddleware)
        return app


PEER = Moderato()
