"""WebSockets for tests: raw calls of applications, as a server makes them."""

from __future__ import annotations

import asyncio
from typing import Any

DENIAL: dict[str, Any] = {"websocket.http.response": {}}
"""The extension of servers that can answer a handshake with a response."""


def handshake(path: str = "/", *, extended: bool = True, **more: Any) -> dict[str, Any]:
    """Return the scope of a handshake."""
    return {
        "type": "websocket",
        "path": path,
        "headers": [],
        "client": ("192.0.2.1", 1),
        "extensions": DENIAL if extended else {},
        **more,
    }


def text(said: str) -> dict[str, Any]:
    """Return a message of a client's."""
    return {"type": "websocket.receive", "text": said}


def data(said: bytes) -> dict[str, Any]:
    """Return a message of a client's in bytes."""
    return {"type": "websocket.receive", "bytes": said}


class Peer:
    """A client that says what it is told to, and hears what is sent."""

    def __init__(self, app: Any, *saying: dict[str, Any], **more: Any) -> None:
        self.scope = handshake(**more)
        self.saying: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for message in ({"type": "websocket.connect"}, *saying):
            self.saying.put_nowait(message)
        self.heard: list[dict[str, Any]] = []
        self.answered = asyncio.Event()
        self.task = asyncio.ensure_future(app(self.scope, self.saying.get, self._hear))

    async def _hear(self, message: dict[str, Any]) -> None:
        self.heard.append(message)
        self.answered.set()

    def say(self, *messages: dict[str, Any]) -> None:
        """Say more."""
        for message in messages:
            self.saying.put_nowait(message)

    def leave(self) -> None:
        """Go away."""
        self.say({"type": "websocket.disconnect", "code": 1001})

    @property
    def texts(self) -> list[str]:
        """What the application has sent back."""
        return [each["text"] for each in self.heard if each["type"] == "websocket.send"]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Accept, and send back what comes, until the client goes."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        said = message.get("text")
        await send(
            {"type": "websocket.send", "text": repr(message["bytes"]) if said is None else said}
        )


async def shake(app: Any, **more: Any) -> list[dict[str, Any]]:
    """Connect, and leave again when there is an answer; what was heard."""
    peer = Peer(app, **more)
    answered = asyncio.ensure_future(peer.answered.wait())
    await asyncio.wait([answered, peer.task], return_when=asyncio.FIRST_COMPLETED)
    answered.cancel()
    peer.leave()
    await peer.task
    return peer.heard


def shaken(app: Any, **more: Any) -> list[dict[str, Any]]:
    """Connect once, on a loop of its own; what was heard."""
    return asyncio.run(shake(app, **more))


def fate(heard: list[dict[str, Any]]) -> Any:
    """Return what became of a handshake: a status, or the code it was closed with."""
    first = heard[0]
    if first["type"] == "websocket.accept":
        return 101
    return first.get("status") or first["code"]
