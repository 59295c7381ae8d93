"""Who is measured."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers.base import Peer

OWN = {
    "floor": "floor",
    "redis-benchmark": "redis_benchmark",
    "ratelimit": "own",
    "ratelimit, always asking": "own_asking",
}
OTHERS = {
    "limits": "limits",
    "limits (coredis)": "limits_coredis",
    "throttled-py": "throttled",
    "PyrateLimiter": "pyrate",
    "aiolimiter": "aiolimiter",
    "fastapi-limiter": "fastapi_limiter",
    "fastapi-limiter 0.1": "fastapi_limiter_script",
    "moderato": "moderato",
    "fastapi-redis-sdk": "fastapi_redis_sdk",
    "limits, by hand": "limits_by_hand",
    "slowapi": "slowapi",
    "slowapi, middleware": "slowapi_middleware",
    "asgi-ratelimit": "asgi_ratelimit",
}
"""The module of each peer by its name."""


def load(name: str) -> Peer:
    """Return a peer; its library is imported when something is built with it."""
    module = import_module(f"benchmarks.peers.{(OWN | OTHERS)[name]}")
    peer: Peer = module.PEER
    return peer
