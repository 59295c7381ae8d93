"""Where states are kept."""

from ratelimit.stores.breaker import Breaker
from ratelimit.stores.memory import MemoryStore

__all__ = ["Breaker", "MemoryStore"]
