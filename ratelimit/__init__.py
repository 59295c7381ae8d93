"""Rate limits that are exact: five algorithms, one interface, in memory or on Redis."""

from ratelimit.algorithms import (
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
)
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.decision import Decision
from ratelimit.decorator import rate_limited
from ratelimit.errors import RateLimitError, RateLimitExceeded, StoreError, StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.quota import Quota, per, per_day, per_hour, per_minute, per_second
from ratelimit.stores.memory import MemoryStore

__all__ = [
    "Algorithm",
    "AsyncLimiter",
    "Decision",
    "FixedWindow",
    "LeakyBucket",
    "Limiter",
    "MemoryStore",
    "Quota",
    "RateLimitError",
    "RateLimitExceeded",
    "SlidingLog",
    "SlidingWindowCounter",
    "StoreError",
    "StoreUnavailable",
    "TokenBucket",
    "per",
    "per_day",
    "per_hour",
    "per_minute",
    "per_second",
    "rate_limited",
]
