"""Our own limiters, which ask the server even for what it has just denied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers.base import ASYNC_REDIS, BUCKET, REDIS, Built, Peer
from benchmarks.peers.own import PATIENCE, algorithm_of, awaited, sync

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting


class OwnAsking(Peer):
    """The token bucket, without its memory for denials."""

    name = "ratelimit, always asking"
    group = None
    packages = ("exact-ratelimit", "redis", "hiredis")
    way = "as ratelimit, with `RedisStore(url, remember_denials=0)`"
    offers = {REDIS: (BUCKET,), ASYNC_REDIS: (BUCKET,)}

    def redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis."""
        from ratelimit import Limiter
        from ratelimit.stores.redis import RedisStore

        store = RedisStore(setting.url, deadline=PATIENCE, remember_denials=0)
        return sync(Limiter(algorithm_of(algorithm, setting), store=store))

    def async_redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis, and be awaited."""
        from ratelimit import AsyncLimiter
        from ratelimit.stores.redis import AsyncRedisStore

        store = AsyncRedisStore(setting.url, deadline=PATIENCE, remember_denials=0)
        return awaited(AsyncLimiter(algorithm_of(algorithm, setting), store=store))


PEER = OwnAsking()
