"""Decide before the application runs."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING

from ratelimit.asgi.answers import REFUSED, Answers, check_choice
from ratelimit.asgi.doubts import addresses_of, doubt_rules, doubt_server, doubt_store, horizon_of
from ratelimit.asgi.holding import Holding
from ratelimit.asgi.listening import HungUp, Listener
from ratelimit.asgi.matching import RuleSet
from ratelimit.asgi.messages import MessageLimits, checked_limits
from ratelimit.asgi.paths import Slashes, merged
from ratelimit.asgi.plan import give_back_calmly
from ratelimit.asgi.rule_book import RuleBook
from ratelimit.asgi.rules import check_names
from ratelimit.asgi.settling import Settlement
from ratelimit.asgi.sockets import Sockets
from ratelimit.asgi.state import ROOM, Room, enter
from ratelimit.asgi.stores import Stores
from ratelimit.asgi.watching import Watch
from ratelimit.quota import whole
from ratelimit.short_lived import made
from ratelimit.stores.opening import is_own

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimit.asgi.headers import Style, Tell
    from ratelimit.asgi.messages import MessageLimit
    from ratelimit.asgi.plan import Plan
    from ratelimit.asgi.problems import Body
    from ratelimit.asgi.protocol import Application, Message, Receive, Scope, Send
    from ratelimit.asgi.rules import Rule
    from ratelimit.asgi.state import Hook
    from ratelimit.stores.base import AsyncStore
    from ratelimit.stores.memory import MemoryStore
    from ratelimit.stores.opening import OnError

_logger = logging.getLogger(__name__)


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
            `MemoryStore` of its own if not given. One opened from a URL is checked when the
            application starts up, and closed when it shuts down.
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
        slashes: How the application's router takes slashes: `"exact"`, or `"merged"` if `//search/`
            is `/search` to it, as to Litestar's. Rules and their functions see paths like that.
        server_timing: Whether responses tell in a `Server-Timing` field how long it took to decide,
            waiting included.

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
        slashes: Slashes = "exact",
        server_timing: bool = False,
    ) -> None:
        self.app = app
        self._book = rules if isinstance(rules, RuleBook) else RuleBook(rules)
        self._stores = Stores(store, on_error, nodes)
        self._is_opened = isinstance(store, str)
        if not isinstance(server_timing, bool):
            raise TypeError(f"server_timing is true or false, not {server_timing!r}")
        self._times = server_timing
        self._answers = Answers(headers, tell, body, on_denied)
        self._hook = on_decision
        self._holding = Holding(whole(max_waiting, "max_waiting", 0))
        self._messages = checked_limits(messages)
        check_names([rule.name for rule in self.rules] + [limit.name for limit in self._messages])
        check_choice(slashes, Slashes, "slashes")
        self._merges = slashes == "merged"
        self._read()
        self._watch = self._doubt()
        self._prepares = self._merges or self._times or self._watch is not None
        if is_own(store):
            made(self, horizon_of(self.rules))

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
        room = Room()
        room.answers = self._answers
        room.hook = self._hook
        outermost = True
        if scope.setdefault(ROOM, room) is not room:
            room, outermost = enter(scope, self._hook, self._answers)
        asked = self._prepare(scope, room) if self._prepares else scope
        plan = rules.plan_of(asked)
        try:
            allowed = plan.at_once(asked, room)
            if allowed is None:
                if not plan.is_plain:
                    await self._hold(plan, asked, scope, receive, send, room, outermost)
                    return
                allowed = await plan.decide(asked, room)
            if not allowed:
                await self._answers.deny(plan, scope, receive, send, room)
                return
            if outermost:
                send = plan.telling(scope, send, room)
            await self.app(scope, receive, send)
        except HungUp:
            await give_back_calmly(room.entries)
        except REFUSED as error:
            if room.started or not outermost:
                raise
            await self._answers.refuse(error, scope, receive, send, room)

    async def _pass(self, rules: RuleSet, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket, and pass on what is no request either."""
        if scope["type"] == "websocket":
            room, outermost = enter(scope, self._hook, self._answers)
            asked = self._prepare(scope, room) if self._prepares else scope
            serve = self._sockets.serve
            await serve(self.app, rules, asked, scope, receive, send, room, outermost)
            return
        if scope["type"] == "lifespan" and self._is_opened:
            send = self._living(send)
        await self.app(scope, receive, send)

    def _prepare(self, scope: Scope, room: Room) -> Scope:
        """Do what some middlewares do before they decide; return the scope that rules see."""
        if self._times:
            room.begun = perf_counter()
        if self._watch is not None and not self._watch.goes_on(scope):
            self._watch = None
            self._prepares = self._merges or self._times
        return merged(scope) if self._merges else scope

    async def _hold(
        self,
        plan: Plan,
        asked: Scope,
        scope: Scope,
        receive: Receive,
        send: Send,
        room: Room,
        outermost: bool,
    ) -> None:
        """Serve a request that may have to wait, or whose response says if it counts."""
        listener = Listener(receive)
        try:
            if not await self._holding.decide(plan, asked, room, listener):
                await self._answers.deny(plan, scope, listener.receiver, send, room)
                return
            tell = self._answers.telling(scope, send, room) if outermost else send
            if plan.counts:
                await Settlement(plan, room, tell).serve(self.app, scope, listener.receiver)
            else:
                await self.app(scope, listener.receiver, tell)
        finally:
            listener.close()

    def _read(self) -> RuleSet:
        """Read the rules, which states are kept by name outlive."""
        self._seen = self._book.rules
        self._set = RuleSet(self._seen, self._stores.of, self._answers)
        limits = MessageLimits(self._messages, self._stores, self._holding)
        self._sockets = Sockets(self._answers, self._holding, limits)
        return self._set

    def _doubt(self) -> Watch | None:
        """Warn of what is probably set up wrong; what watches for the rest, if it can be seen."""
        doubt_rules(self.rules)
        if self.rules or any(limit.key is not None for limit in self._messages):
            doubt_store(self._stores.first)
        by_peer = any(key.address is None for key in addresses_of(self.rules))
        return Watch() if by_peer else None

    def _living(self, send: Send) -> Send:
        """Look at the store when the application has started up, and close it when it is down.

        A server waits for nothing more when it has been told of the end.
        """

        async def act_and_send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await doubt_server(self._stores.first)
            if message["type"].startswith("lifespan.shutdown."):
                try:
                    await self._stores.aclose()
                except Exception:
                    _logger.exception("the store could not be closed")
            await send(message)

        return act_and_send
