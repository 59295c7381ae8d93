"""Keep states in Redis or Valkey."""

try:
    import redis as _redis  # noqa: F401
except ImportError as error:
    raise ImportError(
        'the Redis store needs redis-py: pip install "exact-ratelimit[redis]"'
    ) from error

from ratelimit.stores.redis.store import AsyncRedisStore, RedisStore

__all__ = ["AsyncRedisStore", "RedisStore"]
