"""What Starlette answers when a limit inside of an application denies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.websockets import WebSocket, WebSocketState

from ratelimit.asgi.answers import Answers
from ratelimit.asgi.handshakes import as_http, closing, denying, no_body
from ratelimit.asgi.state import enter
from ratelimit.errors import RateLimitExceeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import HTTPConnection

    from ratelimit.asgi.protocol import Message, Receive, Scope, Send

_ANSWERS = Answers("draft-11", "all", "problem", None)
"""How it is answered where no middleware is outside."""

_HANDLERS = "starlette.exception_handlers"
_OF_THE_BODY = {"content-type", "content-length"}


class Refused(HTTPException):
    """What keeps a request from being served, and the ASGI application that answers it.

    An application may have an answer of its own: a handler for the status or, where a limit
    denied, for `RateLimitExceeded`.

    Args:
        error: What keeps it from being served.
        answer: The messages of the response.
        accepted: Whether it came by a WebSocket that is accepted already, and has to be closed.

    """

    def __init__(self, error: Exception, answer: Sequence[Message], accepted: bool) -> None:
        start = answer[0]
        fields = {
            name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]
        }
        headers = {name: fields[name] for name in fields.keys() - _OF_THE_BODY}
        super().__init__(start["status"], headers=headers)
        self.accepted = accepted
        self._messages = [closing(error)] if accepted else answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and let no middleware tell what is told here."""
        enter(scope)[0].started = True
        for message in self._messages:
            await send(message)


class Exceeded(RateLimitExceeded, Refused):
    """A limit denied."""

    def __init__(self, error: RateLimitExceeded, answer: Sequence[Message], accepted: bool) -> None:
        Refused.__init__(self, error, answer, accepted)
        self.decision = error.decision


async def refusal_of(error: Exception, connection: HTTPConnection) -> Exception:
    """Return what to raise for what keeps a request from being served.

    What answers it is put beside the exception handlers of the application, which may be mounted
    in another. Where there are none, whatever is outside gets the error as it is.
    """
    scope = connection.scope
    if _HANDLERS not in scope:
        return error
    scope[_HANDLERS][0].setdefault(Refused, _answer)
    accepted = (
        isinstance(connection, WebSocket)
        and connection.application_state is not WebSocketState.CONNECTING
    )
    answer = await _answer_to(error, scope)
    if isinstance(error, RateLimitExceeded):
        return Exceeded(error, answer, accepted)
    return Refused(error, answer, accepted)


async def _answer(connection: Request | WebSocket, error: Refused) -> Refused | None:
    """Handle the exception: return what answers a request, or answer a handshake."""
    if isinstance(connection, Request):
        return error
    send = connection.send if error.accepted else denying(connection.scope, connection.send)
    await error(connection.scope, connection.receive, send)
    return None


async def _answer_to(error: Exception, scope: Scope) -> list[Message]:
    """Return the response of the outermost middleware, or of none, to what is refused."""
    answer: list[Message] = []

    async def send(message: Message) -> None:
        answer.append(message)

    room, _ = enter(scope)
    started, room.started = room.started, False
    asked = scope if scope["type"] == "http" else as_http(scope)
    await (room.answers or _ANSWERS).refuse(error, asked, no_body, send, room)
    room.started = started
    return answer
