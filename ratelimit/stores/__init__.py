"""Where states are kept."""

from ratelimit.stores.breaker import Breaker
from ratelimit.stores.constant import AllowAll, DenyAll
from ratelimit.stores.fallback import AsyncFallbackStore, FallbackStore
from ratelimit.stores.memory import MemoryStore

__all__ = [
    "AllowAll",
    "AsyncFallbackStore",
    "Breaker",
    "DenyAll",
    "FallbackStore",
    "MemoryStore",
]
