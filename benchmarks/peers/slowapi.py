"""The `slowapi` library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import ASGI, STORES, Peer, url_of

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting


class Slowapi(Peer):
    """A decorator around `limits`, which blocks the event loop where the store is Redis."""

    name = "slowapi"
    packages = ("slowapi", "limits", "redis", "hiredis", "fastapi", "uvicorn")
    way = "`@Limiter(key_func=get_remote_address, headers_enabled=True).limit(…)` on the endpoint"
    offers = {ASGI: STORES}

    def asgi(self, store: str, setting: Setting) -> Any:
        """Return an application whose endpoint is decorated."""
        from slowapi import Limiter, _rate_limit_exceeded_handler
        from slowapi.errors import RateLimitExceeded
        from slowapi.util import get_remote_address

        from benchmarks.applications import application, hello

        limiter = Limiter(
            key_func=get_remote_address,
            headers_enabled=True,
            storage_uri=url_of(store, setting),
        )
        limited = limiter.limit(f"{setting.limit} per {setting.seconds} seconds")(hello)
        app = application(endpoint=limited)
        app.state.limiter = limiter
        app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
        return app


PEER = Slowapi()
