"""The `slowapi` library, by its pure ASGI middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import ASGI, STORES, Peer
from benchmarks.peers.slowapi import PACKAGES, limiter_of, limits_of, with_limiter

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting


class SlowapiMiddleware(Peer):
    """The same limiter for all routes; it looks for the route of each request itself."""

    name = "slowapi, middleware"
    packages = PACKAGES
    way = "the same `Limiter` with `default_limits=[…]`, and `SlowAPIASGIMiddleware`"
    offers = {ASGI: STORES}
    many_rules = True

    def asgi(self, store: str, setting: Setting) -> Any:
        """Return an application behind the middleware."""
        from slowapi.middleware import SlowAPIASGIMiddleware

        from benchmarks.applications import application

        limiter = limiter_of(store, setting, default_limits=[limits_of(setting)])
        app = with_limiter(application(setting.framework), limiter)
        app.add_middleware(SlowAPIASGIMiddleware)
        return app


PEER = SlowapiMiddleware()
