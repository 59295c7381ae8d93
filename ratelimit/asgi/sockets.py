"""Serve WebSockets: their handshakes by the rules for requests, their messages by their own."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from ratelimit.asgi.answers import REFUSED
from ratelimit.asgi.handshakes import as_http, as_request, closing, denying, no_body
from ratelimit.asgi.listening import HungUp, Listener
from ratelimit.asgi.plan import give_back_calmly
from ratelimit.asgi.settling import Settlement
from ratelimit.errors import StoreError

if TYPE_CHECKING:
    from ratelimit.asgi.answers import Answers
    from ratelimit.asgi.holding import Holding
    from ratelimit.asgi.matching import RuleSet
    from ratelimit.asgi.messages import MessageLimits
    from ratelimit.asgi.protocol import Application, Message, Receive, Scope, Send
    from ratelimit.asgi.state import Room

_ENDS = ("websocket.close", "websocket.http.response.start")

_logger = logging.getLogger(__name__)


class Ended(OSError):
    """What is sent by a WebSocket that a limit has closed."""


class Socket:
    """A WebSocket, and what has become of it."""

    __slots__ = ("_last", "_receive", "_send", "accepted", "over")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._last: Message | None = None
        self.accepted = False
        """Whether the application has accepted it."""
        self.over = False
        """Whether it was denied or closed, by whomever, or the client has gone."""

    async def receive(self) -> Message:
        """Receive for the application; when a limit has closed it, that it is over."""
        if self._last is not None:
            return self._last
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.over = True
        return message

    async def send(self, message: Message) -> None:
        """Send for the application.

        Raises:
            Ended: A limit has closed it.

        """
        kind = message["type"]
        if self._last is not None:
            if kind == "websocket.close":
                return
            raise Ended(self._last["reason"])
        if kind == "websocket.accept":
            self.accepted = True
        elif kind in _ENDS:
            self.over = True
        await self._send(message)

    async def end(self, error: Exception) -> Message:
        """Close it for what an error says, and return what the application learns of that."""
        if isinstance(error, StoreError):
            _logger.error("a rate limit could not be checked: %s", error)
        close = closing(error)
        self.over = True
        self._last = {**close, "type": "websocket.disconnect"}
        with suppress(OSError):  # the client has gone meanwhile
            await self._send(close)
        return self._last


class Sockets:
    """Serves the WebSockets of a middleware.

    Args:
        answers: How those that are denied are answered.
        holding: Where handshakes wait.
        messages: The limits on what comes when they are accepted.

    """

    def __init__(self, answers: Answers, holding: Holding, messages: MessageLimits) -> None:
        self._answers = answers
        self._holding = holding
        self._messages = messages

    async def serve(
        self,
        app: Application,
        rules: RuleSet,
        asked: Scope,
        scope: Scope,
        receive: Receive,
        send: Send,
        room: Room,
        outermost: bool,
    ) -> None:
        """Serve one: decide on its handshake, then let the application have it."""
        listener = Listener(receive)
        socket = Socket(listener.receive, send)
        deny = denying(scope, socket.send)
        asked = as_request(asked)
        plan = rules.plan_of(asked)
        inlet = self._messages.inlet(asked, room, socket)
        incoming = socket.receive if inlet is None else inlet.receive
        try:
            if not await self._holding.decide(plan, asked, room, listener):
                await self._answers.deny(plan, as_http(scope), no_body, deny, room)
                return
            tell = self._answers.telling(scope, socket.send, room) if outermost else socket.send
            if plan.counts:
                await Settlement(plan, room, tell).serve(app, scope, incoming)
            else:
                await app(scope, incoming, tell)
        except HungUp:
            await give_back_calmly(room.entries)
        except REFUSED as error:
            if socket.over or not outermost:
                raise
            if socket.accepted:
                await socket.end(error)
            else:
                await self._answers.refuse(error, as_http(scope), no_body, deny, room)
        finally:
            listener.close()
            if inlet is not None:
                await inlet.close()
