"""The least that a limiter does."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import ASGI, ASYNC_MEMORY, FASTAPI, MEMORY, STARLETTE, Built, Peer

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting


class Floor(Peer):
    """A bare dict, a lock and a clock read in a function."""

    name = "floor"
    group = None
    packages = ("starlette", "fastapi", "uvicorn")
    way = "a function that reads a clock, takes a lock, and counts in a dict"
    frameworks = (STARLETTE, FASTAPI)
    offers = {MEMORY: ("count",), ASYNC_MEMORY: ("count",), ASGI: ("none",)}

    def memory(self, _algorithm: str, setting: Setting) -> Built:
        """Count for ever: nothing is forgotten, so it is no limiter yet."""
        lock, states, limit = Lock(), dict[str, int](), setting.limit

        def hit(key: str) -> bool:
            time.monotonic_ns()
            with lock:
                used = states[key] = states.get(key, 0) + 1
            return used <= limit

        return Built(hit)

    def async_memory(self, _algorithm: str, setting: Setting) -> Built:
        """Count for ever, and be awaited."""
        lock, states, limit = Lock(), dict[str, int](), setting.limit

        async def hit(key: str) -> bool:
            time.monotonic_ns()
            with lock:
                used = states[key] = states.get(key, 0) + 1
            return used <= limit

        return Built(hit)

    def asgi(self, _store: str, setting: Setting) -> Any:
        """Return the bare application."""
        from benchmarks.applications import application

        return application(setting.framework)


PEER = Floor()
