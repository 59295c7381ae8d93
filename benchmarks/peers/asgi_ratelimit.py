"""The `asgi-ratelimit` library."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import ASGI, STORES, Peer

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting

UNITS = {1: "second", 60: "minute", 3_600: "hour", 86_400: "day"}


async def _authenticate(scope: Any) -> tuple[str, str]:
    """Take the address as it is: its own `client_ip` refuses loopback."""
    return scope["client"][0], "default"


def _backend(store: str, setting: Setting) -> Any:
    from redis.asyncio import StrictRedis

    if store == "memory":
        return import_module("ratelimit.backends.simple").MemoryBackend()
    backend = import_module("ratelimit.backends.redis").RedisBackend
    return backend(StrictRedis.from_url(setting.url))


class AsgiRatelimit(Peer):
    """A middleware; its package has the same import name as ours, so it lives apart."""

    name = "asgi-ratelimit"
    group = "peers-asgi-ratelimit"
    packages = ("asgi-ratelimit", "redis", "hiredis", "starlette", "uvicorn")
    way = "`RateLimitMiddleware(authenticate=_authenticate, backend=…, config=…)`; no header fields"
    lighter = "It writes no header fields, and its denial has no body."
    offers = {ASGI: STORES}

    def asgi(self, store: str, setting: Setting) -> Any:
        """Return an application behind its middleware."""
        from benchmarks.applications import application

        theirs = import_module("ratelimit")
        rule = theirs.Rule(**{UNITS[setting.seconds]: setting.limit})
        app = application(setting.framework)
        app.add_middleware(
            theirs.RateLimitMiddleware,
            authenticate=_authenticate,
            backend=_backend(store, setting),
            config={r"^/": [rule]},
        )
        return app


PEER = AsgiRatelimit()
