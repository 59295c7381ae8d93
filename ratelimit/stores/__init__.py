"""Where states are kept."""

from ratelimit.stores.memory import MemoryStore

__all__ = ["MemoryStore"]
