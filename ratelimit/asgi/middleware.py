"""Decide before the application runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from ratelimit.asgi.headers import (
    Fields,
    allowed_fields,
    denied_fields,
    policies_of,
    policy_of,
    quota_exceeded,
    reduced_capacity,
    with_fields,
)
from ratelimit.asgi.identity import Scope
from ratelimit.asgi.rules import Rule, checked
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import RateLimitExceeded, StoreError
from ratelimit.stores.constant import refused
from ratelimit.stores.opening import open_async_store

if TYPE_CHECKING:
    from ratelimit.decision import Decision
    from ratelimit.stores.base import AsyncStore
    from ratelimit.stores.memory import MemoryStore
    from ratelimit.stores.opening import OnError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)


class RateLimitMiddleware:
    """Limit the requests to an ASGI application.

    All rules that a request matches are one decision, all or nothing. A request that is denied
    is answered with 429, and with 503 if the store can't decide; one that is allowed is held back
    for as long as a leaky bucket says. The decision is left in `scope["state"]["ratelimit"]`. A
    `RateLimitExceeded` that comes out of the application becomes a 429 too. CORS preflights and
    WebSockets aren't counted.

    Args:
        app: The application.
        rules: What is limited; the order makes no difference.
        store: Where states are kept: a store, or its URL (`"memory://"`, `"redis://..."`). A
            `MemoryStore` of its own if not given. One opened from a URL is closed at shutdown.
        on_error: What to do while the store can't decide: `"local"` (decide in this process's
            memory), `"open"` (allow all), or `"closed"` or `"raise"` (answer with 503; only
            `"raise"` goes on asking the store). A `FallbackStore` says so itself.
        nodes: Among how many processes a limit is shared while each decides for itself.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: There is no rule, two have one name, or another argument can't be used.

    """

    def __init__(
        self,
        app: Application,
        *,
        rules: Iterable[Rule],
        store: AsyncStore | MemoryStore | str | None = None,
        on_error: OnError = "local",
        nodes: int = 1,
    ) -> None:
        self.app = app
        self.rules = checked(rules)
        self._store = open_async_store(store, on_error, nodes)
        self._closes = isinstance(store, str)
        self._plans: dict[tuple[int, ...], _Plan] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or whatever else a server calls an application for."""
        if scope["type"] == "http":
            await self._serve(scope, receive, _Response(scope, send))
            return
        if scope["type"] == "lifespan" and self._closes:
            send = self._closing(send)
        await self.app(scope, receive, send)

    def _closing(self, send: Send) -> Send:
        """Close the store when the application has shut down: a server waits no longer then."""

        async def close_and_send(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._store.aclose()
            await send(message)

        return close_and_send

    async def _serve(self, scope: Scope, receive: Receive, response: _Response) -> None:
        try:
            await self._limit(scope, receive, response)
        except RateLimitExceeded as error:
            if response.started:
                raise
            await response.deny(error.decision, policies_of(error.decision))
        except StoreError as error:
            if response.started:
                raise
            _log.error("a rate limit could not be checked: %s", error)
            await response.refuse(*reduced_capacity(), [])

    async def _limit(self, scope: Scope, receive: Receive, response: _Response) -> None:
        plan = self._plan_of(scope)
        if plan is not None:
            decision = await plan.hit(scope)
            scope.setdefault("state", {})["ratelimit"] = decision
            if not decision:
                await response.deny(decision, plan.policies)
                return
            response.fields = allowed_fields(decision, plan.policies)
            await plan.wait_out(decision)
        await self.app(scope, receive, response.send)

    def _plan_of(self, scope: Scope) -> _Plan | None:
        """Return what to do for the rules that a request matches, or None if it matches none."""
        method = scope["method"].upper()
        if method == "OPTIONS" and _is_preflight(scope):
            return None
        path = _path(scope)
        rules = self.rules
        matching = tuple(i for i, rule in enumerate(rules) if rule.matches(method, path))
        if not matching:
            return None
        plan = self._plans.get(matching)
        if plan is None:
            plan = self._plans[matching] = _Plan([rules[i] for i in matching], self._store)
        return plan


class _Plan:
    """What to do for the requests that match the same rules."""

    __slots__ = ("_limiter", "_rules", "policies")

    def __init__(self, rules: list[Rule], store: AsyncStore) -> None:
        self._rules = rules
        self._limiter = AsyncLimiter({rule.name: rule.algorithm for rule in rules}, store=store)
        self.policies = b", ".join(policy_of(rule.name, rule.algorithm) for rule in rules)

    async def hit(self, scope: Scope) -> Decision:
        """Decide all rules as one."""
        keys = {rule.name: rule.key_of(scope) for rule in self._rules}
        costs = {rule.name: rule.cost_of(scope) for rule in self._rules}
        return await self._limiter.hit(keys, costs)

    async def wait_out(self, decision: Decision) -> None:
        """Hold a request back until its turn; if it is given up before, it isn't charged."""
        delay = decision.delay
        if not delay:
            return
        try:
            await asyncio.sleep(delay)
        except BaseException:
            await asyncio.shield(self._give_back(decision))
            raise

    async def _give_back(self, decision: Decision) -> None:
        try:
            await self._limiter.refund(decision)
        except StoreError as error:
            _log.warning("a rate limit could not be given back: %s", error)


class _Response:
    """What goes back to the client."""

    __slots__ = ("_scope", "_send", "fields", "started")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.fields: Fields = []
        self.started = False

    async def send(self, message: Message) -> None:
        """Pass a message of the application's on, the first one with our fields."""
        if message["type"] == "http.response.start" and not self.started:
            self.started = True
            if self.fields:
                headers = with_fields(message.get("headers", ()), self.fields)
                message = {**message, "headers": headers}
        await self._send(message)

    async def deny(self, decision: Decision, policies: bytes) -> None:
        """Answer in place of the application that a limit denied."""
        if refused(decision):
            await self.refuse(*reduced_capacity(), [])
            return
        await self.refuse(*quota_exceeded(decision), denied_fields(decision, policies))

    async def refuse(self, status: int, body: bytes, fields: Fields) -> None:
        """Answer in place of the application."""
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            *fields,
        ]
        body = b"" if self._scope["method"].upper() == "HEAD" else body
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _is_preflight(scope: Scope) -> bool:
    """Say whether a browser asks for permission; it can't be told to wait."""
    return any(name == b"access-control-request-method" for name, _ in scope["headers"])


def _path(scope: Scope) -> str:
    """Return the path that the application routes by: without its root path."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path or "/"
