"""Give back what a response says doesn't count."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ratelimit.asgi.plan import give_back_calmly
from ratelimit.errors import RateLimitExceeded, StoreError
from ratelimit.stores.base import Ask

if TYPE_CHECKING:
    from ratelimit.asgi.limit import Entry
    from ratelimit.asgi.plan import Plan
    from ratelimit.asgi.protocol import Application, Message, Receive, Scope, Send
    from ratelimit.asgi.state import Room

_STARTS = ("http.response.start", "websocket.http.response.start")
_HANDSHAKES = {"websocket.accept": 101, "websocket.close": 403}
"""What the answers to a handshake are as statuses."""

_log = logging.getLogger(__name__)


class Settlement:
    """What was charged for a request in advance, until its response says whether it counts.

    It is settled before the client hears of the response, so that whoever asks again after a
    response that didn't count finds it given back.
    """

    __slots__ = ("_limits", "_open", "_plan", "_room", "_send")

    def __init__(self, plan: Plan, room: Room, send: Send) -> None:
        self._plan = plan
        self._limits = {limit for limit, _ in room.entries if plan.has(limit)}
        self._room = room
        self._send = send
        self._open = True

    async def serve(self, app: Application, scope: Scope, receive: Receive) -> None:
        """Run the application, and settle what its response says."""
        try:
            await app(scope, receive, self._pass)
        except Exception as error:
            await self._settle(_response_to(error))
            raise

    async def _pass(self, message: Message) -> None:
        """Settle when the response starts, and pass every message on."""
        response = _response_of(message)
        if response is not None:
            await self._settle(response)
        await self._send(message)

    async def _settle(self, response: Message) -> None:
        """Give back what this response says doesn't count; the first response decides."""
        if not self._open:
            return
        self._open = False
        rules, limits = self._plan.rules, self._limits
        free = [
            entry
            for entry in self._room.entries
            if entry[0] in limits and not rules[entry[0].name].counts(response)
        ]
        await give_back_calmly(free)
        again = [await _looked_at_again(entry) for entry in free]
        self._room.is_mixed = True
        self._room.entries = [*self._room.entries, *again]


def _response_of(message: Message) -> Message | None:
    """Return the start of a response, or what the answer to a handshake is as one; else None."""
    if message["type"] in _STARTS:
        return message
    if message["type"] not in _HANDSHAKES:
        return None
    status = _HANDSHAKES[message["type"]]
    return {"type": "http.response.start", "status": status, "headers": []}


def _response_to(error: Exception) -> Message:
    """Return the start of the response that an error becomes."""
    if isinstance(error, RateLimitExceeded):
        status = 429
    else:
        status = 503 if isinstance(error, StoreError) else 500
    return {"type": "http.response.start", "status": status, "headers": []}


async def _looked_at_again(entry: Entry) -> Entry:
    """Return what a limit says after something was given back."""
    limit, decision = entry
    try:
        (again,) = await limit.store.peek_all([Ask(limit.ledger, decision.key, 0)])
    except StoreError as error:
        _log.warning("a rate limit could not be looked at again: %s", error)
        return entry
    return limit, again
