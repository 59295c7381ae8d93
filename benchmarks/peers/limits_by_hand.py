"""The `limits` library, in a middleware written by hand."""

from __future__ import annotations

import time
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import ASGI, STORES, Peer, url_of
from benchmarks.peers.limits import item_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.base import Setting


class Middleware:
    """Limits by client address, and tells what ours tells: pure ASGI, two questions a rule."""

    def __init__(self, app: Any, storage: Callable[[], Any], setting: Setting) -> None:
        self.app = app
        self.storage = storage
        limits = [replace(setting, limit=setting.limit + more) for more in range(setting.rules)]
        self.items = [item_of(each) for each in limits]
        self.policy = b", ".join(
            b'"rule-%d";q=%d;w=%d' % (number, each.limit, each.seconds)
            for number, each in enumerate(limits)
        )
        self.limiter: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limiter = self.limiter or self.open()
        key = scope["client"][0]
        allowed, told, longest = True, [], 1
        for number, item in enumerate(self.items):
            hit = await limiter.hit(item, key)
            stats = await limiter.get_window_stats(item, key)
            wait = max(1, ceil(stats.reset_time - time.time()))
            told.append(b'"rule-%d";r=%d;t=%d' % (number, stats.remaining, wait))
            if not hit:
                allowed, longest = False, max(longest, wait)
        fields = [(b"ratelimit", b", ".join(told)), (b"ratelimit-policy", self.policy)]
        if not allowed:
            fields.append((b"retry-after", b"%d" % longest))
            await send({"type": "http.response.start", "status": 429, "headers": fields})
            await send({"type": "http.response.body", "body": b"slow down"})
            return

        async def send_fields(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *fields]}
            await send(message)

        await self.app(scope, receive, send_fields)

    def open(self) -> Any:
        """Make the limiter: its storage wants a running loop."""
        from limits.aio.strategies import FixedWindowRateLimiter

        self.limiter = FixedWindowRateLimiter(self.storage())
        return self.limiter


def _storage(url: str | None) -> Any:
    from limits.aio.storage import MemoryStorage
    from limits.storage import storage_from_string

    if url is None:
        return MemoryStorage()
    return storage_from_string(f"async+{url}", implementation="redispy")


class LimitsByHand(Peer):
    """What one writes who has `limits` and no framework's package."""

    name = "limits, by hand"
    packages = ("limits", "redis", "hiredis", "starlette", "uvicorn")
    way = "a pure ASGI middleware around `limits.aio`'s fixed window, same header fields"
    lighter = "Its denial is a fixed text; ours is a problem document that names the limit."
    offers = {ASGI: STORES}
    many_rules = True

    def asgi(self, store: str, setting: Setting) -> Any:
        """Return an application behind the middleware."""
        from benchmarks.applications import application

        app = application(setting.framework)
        url = url_of(store, setting)
        app.add_middleware(Middleware, storage=lambda: _storage(url), setting=setting)
        return app


PEER = LimitsByHand()
