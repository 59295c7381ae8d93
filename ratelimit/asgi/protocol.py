"""What ASGI calls things."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
"""What a server says about a request."""
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Fields = list[tuple[bytes, bytes]]
"""Header fields."""


class Connection(Protocol):
    """What a framework makes of a scope, such as Starlette's `Request`."""

    @property
    def scope(self) -> Scope:
        """The scope itself."""


def scope_of(request: Scope | Connection) -> Scope:
    """Return the scope of a request, given as itself or as a framework's object."""
    return request if isinstance(request, MutableMapping) else request.scope
