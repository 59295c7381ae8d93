"""The `slowapi` library, by its decorator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import ASGI, STORES, Peer, url_of

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting

PACKAGES = ("slowapi", "limits", "redis", "hiredis", "starlette", "uvicorn")


def limits_of(setting: Setting) -> str:
    """Return the limits of a request, as the library writes them."""
    return ";".join(
        f"{setting.limit + more} per {setting.seconds} seconds" for more in range(setting.rules)
    )


def limiter_of(store: str, setting: Setting, **options: Any) -> Any:
    """Return a limiter of client addresses, which tells its header fields."""
    from slowapi import Limiter
    from slowapi.util import get_remote_address

    return Limiter(
        key_func=get_remote_address,
        headers_enabled=True,
        storage_uri=url_of(store, setting),
        **options,
    )


def with_limiter(app: Any, limiter: Any) -> Any:
    """Tell an application of its limiter, and how a denial is answered."""
    from slowapi import _rate_limit_exceeded_handler
    from slowapi.errors import RateLimitExceeded

    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
    return app


class Slowapi(Peer):
    """A decorator around `limits`, which blocks the event loop where the store is Redis."""

    name = "slowapi"
    packages = PACKAGES
    way = "`@Limiter(key_func=get_remote_address, headers_enabled=True).limit(…)` on the endpoint"
    offers = {ASGI: STORES}
    many_rules = True

    def asgi(self, store: str, setting: Setting) -> Any:
        """Return an application whose endpoint is decorated."""
        from benchmarks.applications import application, hello

        limiter = limiter_of(store, setting)
        limited = limiter.limit(limits_of(setting))(hello)
        return with_limiter(application(setting.framework, endpoint=limited), limiter)


PEER = Slowapi()
