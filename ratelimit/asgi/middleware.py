"""Decide before the application runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimit.asgi.answers import REFUSED, Answers
from ratelimit.asgi.holding import Holding
from ratelimit.asgi.listening import HungUp, Listener
from ratelimit.asgi.matching import RuleSet
from ratelimit.asgi.messages import MessageLimits, checked_limits
from ratelimit.asgi.plan import give_back_calmly
from ratelimit.asgi.rule_book import RuleBook
from ratelimit.asgi.rules import check_names
from ratelimit.asgi.settling import Settlement
from ratelimit.asgi.sockets import Sockets
from ratelimit.asgi.state import enter
from ratelimit.asgi.stores import Stores
from ratelimit.quota import whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimit.asgi.headers import Style, Tell
    from ratelimit.asgi.messages import MessageLimit
    from ratelimit.asgi.plan import Plan
    from ratelimit.asgi.problems import Body
    from ratelimit.asgi.protocol import Application, Message, Receive, Scope, Send
    from ratelimit.asgi.rules import Rule
    from ratelimit.asgi.state import Hook, Room
    from ratelimit.stores.base import AsyncStore
    from ratelimit.stores.memory import MemoryStore
    from ratelimit.stores.opening import OnError


class RateLimitMiddleware:
    """Limit the requests to an ASGI application.

    All rules that a request matches are one decision, all or nothing. A request that is denied
    is answered with 429, and with 503 if the store can't decide; one that is allowed is held back
    for as long as a leaky bucket says. What was decided, here or inside of the application, is
    told in the fields of the response, and at hand by `decisions(request)`. A `RateLimitExceeded`
    that comes out of the application becomes a 429 too. CORS preflights aren't counted.

    The handshake of a WebSocket is a GET to the rules. One that is denied is answered in the same
    way, or closed where the server can't answer; what is raised after it was accepted closes it.

    Args:
        app: The application.
        rules: What is limited; the order makes no difference. A `RuleBook` can change them later.
            With None it limits no requests itself, and tells what dependencies and decorators
            inside have decided.
        store: Where states are kept: a store, or its URL (`"memory://"`, `"redis://..."`). A
            `MemoryStore` of its own if not given. One opened from a URL is closed at shutdown.
        on_error: What to do while the store can't decide: `"local"` (decide in this process's
            memory), `"open"` (allow all), or `"closed"` or `"raise"` (answer with 503; only
            `"raise"` goes on asking the store). A rule may have its own; a `FallbackStore` says so
            itself.
        nodes: Among how many processes a limit is shared while each decides for itself.
        headers: Which fields are sent: `"draft-11"`, `"draft-06"`, `"x-ratelimit"` or `"none"`.
        tell: Whether they tell of `"all"` limits of a request, or of the `"tightest"`.
        body: How refusals are written: `"problem"` details, or `"text"`.
        on_denied: The ASGI application that answers a request that was denied, unless its rule
            has one. What it answers with 429 gets the fields too.
        on_decision: A function that is called with the scope, the `Limit` and the `Decision` once
            for each decision, as soon as it is taken.
        max_waiting: How many requests and messages may be held back at once.
        messages: What is limited of the messages that come by WebSockets.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The rules are none, two have one name, or an argument can't be used.

    """

    def __init__(
        self,
        app: Application,
        *,
        rules: Iterable[Rule] | RuleBook | None,
        store: AsyncStore | MemoryStore | str | None = None,
        on_error: OnError = "local",
        nodes: int = 1,
        headers: Style = "draft-11",
        tell: Tell = "all",
        body: Body = "problem",
        on_denied: Application | None = None,
        on_decision: Hook | None = None,
        max_waiting: int = 1000,
        messages: Iterable[MessageLimit] = (),
    ) -> None:
        self.app = app
        self._book = rules if isinstance(rules, RuleBook) else RuleBook(rules)
        self._stores = Stores(store, on_error, nodes)
        self._closes = isinstance(store, str)
        self._answers = Answers(headers, tell, body, on_denied)
        self._hook = on_decision
        self._holding = Holding(whole(max_waiting, "max_waiting", 0))
        self._messages = checked_limits(messages)
        check_names([rule.name for rule in self.rules] + [limit.name for limit in self._messages])
        self._read()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules as they are now."""
        return self._book.rules

    @property
    def stores(self) -> tuple[AsyncStore, ...]:
        """The stores that states are kept in: one for each way to do without the first."""
        return self._stores.all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or whatever else a server calls an application for."""
        rules = self._set if self._book.rules is self._seen else self._read()
        if scope["type"] != "http":
            await self._pass(rules, scope, receive, send)
            return
        room, outermost = enter(scope, self._hook, self._answers)
        plan = rules.plan_of(scope)
        tell = self._answers.telling(scope, send, room) if outermost else send
        try:
            if plan is not None and not plan.is_plain:
                await self._hold(plan, scope, receive, tell, room)
            elif plan is None or await plan.decide(scope, room):
                await self.app(scope, receive, tell)
            else:
                await self._answers.deny(plan, scope, receive, send, room)
        except HungUp:
            await give_back_calmly(room.entries)
        except REFUSED as error:
            if room.started or not outermost:
                raise
            await self._answers.refuse(error, scope, receive, send, room)

    async def _pass(self, rules: RuleSet, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket, and pass on what is no request either."""
        if scope["type"] == "websocket":
            await self._sockets.serve(self.app, rules, scope, receive, send)
            return
        if scope["type"] == "lifespan" and self._closes:
            send = self._closing(send)
        await self.app(scope, receive, send)

    async def _hold(
        self, plan: Plan, scope: Scope, receive: Receive, send: Send, room: Room
    ) -> None:
        """Serve a request that may have to wait, or whose response says if it counts."""
        listener = Listener(receive)
        try:
            if not await self._holding.decide(plan, scope, room, listener):
                await self._answers.deny(plan, scope, listener.receiver, send, room)
            elif plan.counts:
                await Settlement(plan, room, send).serve(self.app, scope, listener.receiver)
            else:
                await self.app(scope, listener.receiver, send)
        finally:
            listener.close()

    def _read(self) -> RuleSet:
        """Read the rules, which states are kept by name outlive."""
        self._seen = self._book.rules
        self._set = RuleSet(self._seen, self._stores.of)
        limits = MessageLimits(self._messages, self._stores, self._holding)
        self._sockets = Sockets(self._answers, self._holding, limits, self._hook)
        return self._set

    def _closing(self, send: Send) -> Send:
        """Close the store when the application has shut down: a server waits no longer then."""

        async def close_and_send(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._stores.aclose()
            await send(message)

        return close_and_send
