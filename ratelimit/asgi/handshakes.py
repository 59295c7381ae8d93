"""Deny the handshakes of WebSockets, and tell why they are closed."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING

from ratelimit.asgi.asking import UnknownClient
from ratelimit.asgi.limit import seconds
from ratelimit.errors import RateLimitExceeded
from ratelimit.stores.constant import refused

if TYPE_CHECKING:
    from ratelimit.asgi.protocol import Message, Scope, Send
    from ratelimit.decision import Decision

POLICY_VIOLATION = 1008
"""What a WebSocket is closed with if a limit denies."""
TRY_AGAIN_LATER = 1013
"""What a WebSocket is closed with if the limits can't be checked."""

_EXTENSION = "websocket.http.response"
_LONGEST_REASON = 122  # bytes of ASCII, as names of limits are


def as_request(scope: Scope) -> Scope:
    """Return the scope of a handshake as rules see it: it asks as a GET does."""
    return {**scope, "method": "GET"}


def as_http(scope: Scope) -> Scope:
    """Return the scope of a handshake as what answers HTTP requests sees it."""
    return {**scope, "method": "GET", "type": "http"}


async def no_body() -> Message:
    """Receive what comes with a handshake, for what answers HTTP requests."""
    return {"type": "http.request", "body": b"", "more_body": False}


def denying(scope: Scope, send: Send) -> Send:
    """Return a `send` that denies a handshake with a response.

    A server that can't send one closes instead, which its client sees as 403.
    """
    extended = _EXTENSION in (scope.get("extensions") or ())

    async def deny(message: Message) -> None:
        if extended:
            await send({**message, "type": f"websocket.{message['type']}"})
        elif message["type"] == "http.response.start":
            code = TRY_AGAIN_LATER if message["status"] == 503 else POLICY_VIOLATION
            await send({"type": "websocket.close", "code": code, "reason": ""})

    return deny


def closing(error: Exception) -> Message:
    """Return what closes a WebSocket that was accepted, and tells why."""
    if isinstance(error, UnknownClient):
        code, reason = POLICY_VIOLATION, "It can't be told whom to charge."
    elif isinstance(error, RateLimitExceeded) and not refused(error.decision):
        code, reason = POLICY_VIOLATION, _reason(error.decision)
    else:
        code, reason = TRY_AGAIN_LATER, "The rate limit could not be checked; try again later."
    return {"type": "websocket.close", "code": code, "reason": reason}


def _reason(decision: Decision) -> str:
    """Say when to return and which limits denied, as short as a reason has to be."""
    wait = decision.retry_after_us
    when = "Never fits" if isinf(wait) else f"Retry after {seconds(wait)} s"
    names = ", ".join(decision.denied or decision.limits)
    return f"{when}: denied by {names}."[:_LONGEST_REASON]
