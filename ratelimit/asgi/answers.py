"""How a refusal is answered, and a response told of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, get_args

from ratelimit.asgi.asking import NoAlgorithm, UnknownClient
from ratelimit.asgi.headers import STYLES, Style, Tell, Tightest, longest, tightest, waits_of
from ratelimit.asgi.holding import Crowded
from ratelimit.asgi.limit import Notice, seconds
from ratelimit.asgi.plan import give_back_calmly
from ratelimit.asgi.problems import (
    Body,
    Refusal,
    quota_exceeded,
    reduced_capacity,
    unknown_client,
)
from ratelimit.asgi.rules import check_function
from ratelimit.errors import RateLimitExceeded, StoreError
from ratelimit.stores.constant import Constant, refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from ratelimit.asgi.limit import Entry, Limit, Told
    from ratelimit.asgi.plan import Plan
    from ratelimit.asgi.protocol import Application, Fields, Message, Receive, Scope, Send
    from ratelimit.asgi.state import Room
    from ratelimit.decision import Decision

REFUSED = (RateLimitExceeded, StoreError, UnknownClient, NoAlgorithm, Crowded)
"""What keeps a request from being served."""

Telling = Callable[["Scope", "Send", "Room"], "Send"]
"""What makes a `send` that tells the client what was decided on a request."""

_STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
_STATUSES = (429, 503)
_UNCHECKED = "The rate limit could not be checked; try again later."

_logger = logging.getLogger(__name__)


class Answers:
    """How clients are answered.

    Args:
        style: Which header fields are sent.
        tell: Whether they tell of all limits, or of the tightest.
        body: How refusals are written.
        on_denied: What answers a request that was denied, unless its rule has something.

    Raises:
        TypeError: `on_denied` is no function.
        ValueError: One of the others is none of its values.

    """

    def __init__(self, style: Style, tell: Tell, body: Body, on_denied: Application | None) -> None:
        check_choice(style, Style, "headers")
        check_choice(tell, Tell, "tell")
        check_choice(body, Body, "body")
        check_function(on_denied, "on_denied")
        self._body: Body = body
        self._on_denied = on_denied
        fielding = STYLES[style] if tell == "all" else Tightest(STYLES[style])
        self._names = fielding.names
        self._allowed = fielding.allowed
        self._allowed_by = fielding.allowed_by
        self._denied = fielding.denied
        self.telling = self.telling_by(())
        """Return a `send` that adds the fields to the start of the response, or to an accept.

        It is asked for when the request has been decided on. Fields that the application has set
        itself are left alone.
        """

    def telling_by(self, limits: Sequence[Limit]) -> Telling:
        """Return `telling` for requests that these limits allow, all of them or else mixed ones.

        Most requests come this way, so what they needn't be asked for is worked out once.
        """
        names, fields_of = self._names, self._allowed_by(limits)

        def telling(scope: Scope, send: Send, room: Room) -> Send:
            if room.begun is not None:
                room.timing = self._timing(room)

            def tell(message: Message) -> Awaitable[None]:
                if room.started or message["type"] not in _STARTS:
                    return send(message)
                room.started = True
                headers = [*message.get("headers", ())]
                for name, _ in headers:
                    if name in names:
                        break
                else:
                    if room.is_mixed or not limits:
                        headers += self._fields(scope, message.get("status"), headers, room)
                    else:
                        headers += fields_of(room.entries)
                headers += room.timing
                message = dict(message)
                message["headers"] = headers
                return send(message)

            return tell

        return telling

    def _fields(self, scope: Scope, status: object, headers: Fields, room: Room) -> Fields:
        """Return the fields of what was decided, for the start of a response."""
        told = room.told if room.is_mixed else room.entries
        waits = waits_of(told, scope) if status in _STATUSES else None
        if not waits:
            return self._allowed(told) if told else []
        if any(name.lower() == b"retry-after" for name, _ in headers):
            return self._denied(told, waits)
        return [*self._denied(told, waits), *_retry_after(longest(waits))]

    async def deny(
        self, plan: Plan, scope: Scope, receive: Receive, send: Send, room: Room
    ) -> None:
        """Answer that rules of a plan denied, and give back what others charged before."""
        denied: Sequence[Entry] = room.entries
        if len(denied) > 1:
            denied = [entry for entry in room.told if not entry[1].verdict[0]]
            if room.is_mixed:  # else they decided as one, which has charged nothing
                await give_back_calmly(room.entries)
        app = self._on_denied
        for limit, _ in denied if plan.answers else ():
            app = plan.answers.get(limit.name, app)
        if app is None:
            await self._send(scope, send, room, *self._denial(scope, room, denied))
        else:
            await self._answer(app, scope, receive, send, room, denied)

    async def refuse(
        self, error: Exception, scope: Scope, receive: Receive, send: Send, room: Room
    ) -> None:
        """Answer what kept a request from being served."""
        if isinstance(error, RateLimitExceeded):
            denied = _parts(error.decision, room)
            if any(entry in room.entries for entry in denied):
                await give_back_calmly(room.entries)
            await self._answer(self._on_denied, scope, receive, send, room, denied)
            return
        if isinstance(error, StoreError):
            _logger.error("a rate limit could not be checked: %s", error)
        else:
            await give_back_calmly(room.entries)
        await self._send(scope, send, room, self._refusal(error), [])

    async def _answer(
        self,
        app: Application | None,
        scope: Scope,
        receive: Receive,
        send: Send,
        room: Room,
        denied: Sequence[Told],
    ) -> None:
        """Answer a denial as the application wants it to be, or as we do if it can't."""
        if app is not None and not _is_refused(denied):
            try:
                await app(scope, receive, self.telling(scope, send, room))
            except Exception:
                if room.started:
                    raise
                _logger.exception("on_denied fails")
        if not room.started:
            await self._send(scope, send, room, *self._denial(scope, room, denied))

    def _denial(self, scope: Scope, room: Room, denied: Sequence[Told]) -> tuple[Refusal, Fields]:
        """Return the answer that tells which limits denied, and for how long."""
        if _is_refused(denied):
            return reduced_capacity(self._body, _UNCHECKED), []
        waits = waits_of(denied, scope)
        if not waits:
            limit, decision = tightest(denied)
            waits = {limit.name: seconds(decision.retry_after_us)}
        told: Sequence[Told] = denied
        if room.entries != denied:
            told = [each for each in room.told if each not in denied] + [*denied]
        wait = longest(waits)
        never = _never_fits(denied) if wait is None else None
        refusal = quota_exceeded(self._body, tuple(waits), wait, never)
        return refusal, self._denied(told, waits) + _retry_after(wait)

    def _refusal(self, error: Exception) -> Refusal:
        if isinstance(error, UnknownClient):
            return unknown_client(self._body, str(error))
        if isinstance(error, Crowded):
            return reduced_capacity(self._body, "Too many requests are waiting; try again later.")
        return reduced_capacity(self._body, _UNCHECKED)

    def _timing(self, room: Room) -> Fields:
        """Return the field that tells how many milliseconds it took to decide, if it was noted."""
        if room.begun is None:
            return []
        taken = (perf_counter() - room.begun) * 1_000
        return [(b"server-timing", b"ratelimit;dur=%.3f" % taken)]

    async def _send(
        self, scope: Scope, send: Send, room: Room, answer: Refusal, fields: Fields
    ) -> None:
        """Send an answer in place of the application's."""
        status, body, own = answer
        headers = own + fields + self._timing(room)
        start = {"type": "http.response.start", "status": status, "headers": headers}
        body = b"" if scope["method"].upper() == "HEAD" else body
        await send(start)
        await send({"type": "http.response.body", "body": body})


def _is_refused(denied: Iterable[Told]) -> bool:
    """Say whether a store denied that is to deny all, and so nobody has used too much."""
    for _, decision in denied:
        if type(decision.page.algorithm) is Constant and refused(decision):
            return True
    return False


def _retry_after(wait: int | None) -> Fields:
    return [] if wait is None else [(b"retry-after", b"%d" % wait)]


def _never_fits(denied: Sequence[Told]) -> str:
    """Return the sentence that says what never fits."""
    limit, decision = tightest(denied)
    never = f"a cost of {decision.cost} never fits a limit of {decision.limit}"
    return f"Denied by {limit.name}: {never}."


def _parts(decision: Decision, room: Room) -> list[Told]:
    """Return the limits of a decision; those of the room as they are in it."""
    known: dict[int, Told] = {id(entry[1]): entry for entry in room.entries}
    return [
        known.get(id(part)) or (Notice(part.name, part.page.algorithm), part)
        for part in decision.limits.values()
    ]


def check_choice(value: object, kind: object, what: str) -> None:
    """Refuse what is none of the values that an option has.

    Raises:
        ValueError: It is none of them.

    """
    if value not in get_args(kind):
        raise ValueError(f"{what} is one of {get_args(kind)}, not {value!r}")
