"""ASGI applications for tests, and raw calls of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ratelimit.algorithms import FixedWindow
from ratelimit.asgi import RateLimitMiddleware, Rule
from ratelimit.errors import StoreUnavailable
from ratelimit.stores.base import Ask
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore
from tests.conftest import Clock

if TYPE_CHECKING:
    from ratelimit.algorithms import Algorithm
    from ratelimit.decision import Decision

ONE = FixedWindow("1/minute")


class Exchange:
    """What an application answered to one raw call."""

    def __init__(self, sent: list[dict[str, Any]]) -> None:
        self.sent = sent
        self.status: int = sent[0]["status"] if sent else 0
        self.headers = {
            name.decode(): value.decode() for name, value in (sent[0]["headers"] if sent else ())
        }
        self.body = b"".join(message.get("body", b"") for message in sent[1:])


async def ok(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with 200."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]})
    await send({"type": "http.response.body", "body": b"ok"})


def scope_of(path: str = "/", method: str = "GET", **more: Any) -> dict[str, Any]:
    """Return the scope of a request."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [],
        "client": ("192.0.2.1", 1),
        **more,
    }


async def call(app: Any, scope: dict[str, Any]) -> Exchange:
    """Call an application as a server does."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, asyncio.Event().wait, send)
    return Exchange(sent)


def ask(app: Any, path: str = "/", method: str = "GET", **more: Any) -> Exchange:
    """Call an application once, on a loop of its own."""
    return asyncio.run(call(app, scope_of(path, method, **more)))


def statuses(app: Any, *paths: str, **more: Any) -> list[int]:
    """Return the statuses of requests for paths, one after the other."""
    return [ask(app, path, **more).status for path in paths]


def limited(*rules: Rule, app: Any = ok, clock: Clock | None = None) -> RateLimitMiddleware:
    """Return an application with these rules."""
    return RateLimitMiddleware(app, rules=rules, store=MemoryStore(clock=clock or Clock()))


def everyone(algorithm: Algorithm = ONE, **options: Any) -> Rule:
    """Return a rule of one limit for all."""
    return Rule("all", algorithm, key="everyone", **options)


class Broken(AsyncMemoryStore):
    """A store that fails."""

    def __init__(self, *failing: str) -> None:
        super().__init__(MemoryStore(clock=Clock()))
        self.failing = failing

    def open(self, name: str, algorithm: Algorithm) -> Any:
        """Return a ledger that fails as its store does."""
        ledger = super().open(name, algorithm)

        async def hit(key: str, cost: int = 1) -> Decision:
            return (await self.hit_all([Ask(ledger, key, cost)]))[0]

        ledger.hit = hit
        return ledger

    async def hit_all(self, asks: Any) -> list[Decision]:
        """Fail, if it is to."""
        if "hit_all" in self.failing:
            raise StoreUnavailable("the server is gone")
        return await super().hit_all(asks)

    async def refund_all(self, decisions: Any) -> bool:
        """Fail, if it is to."""
        if "refund_all" in self.failing:
            raise StoreUnavailable("the server is gone")
        return await super().refund_all(decisions)
