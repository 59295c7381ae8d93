"""Notice a client that hangs up while its request is held back."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ratelimit.asgi.protocol import Message, Receive

T = TypeVar("T")

_MOST_HEARD = 65_536
_GONE = ("http.disconnect", "websocket.disconnect")


class HungUp(Exception):
    """The client has hung up while its request was held back."""


class Deaf:
    """Waits where nobody may listen, as the application itself may be receiving."""

    async def wait_for(self, something: Coroutine[object, object, T]) -> T:
        """Wait for something."""
        return await something


class Listener:
    """Listens to a client whose request is held back, and keeps what it says for the application.

    It stops listening when it has heard more than 64 KiB, so that no body piles up here.
    """

    __slots__ = ("_heard", "_listening", "_receive", "_task")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._heard: deque[Message] = deque()
        self._listening = True
        self._task: asyncio.Task[bool] | None = None

    async def wait_for(self, something: Coroutine[object, object, T]) -> T:
        """Wait for something, for as long as the client is there.

        Raises:
            HungUp: It has hung up.

        """
        if self._task is None:
            self._task = asyncio.ensure_future(self._listen())
        waiting = asyncio.ensure_future(something)
        try:
            await asyncio.wait([waiting, self._task], return_when=asyncio.FIRST_COMPLETED)
            if self._task.done() and self._task.result():
                raise HungUp
            return await waiting
        finally:
            waiting.cancel()

    @property
    def receiver(self) -> Receive:
        """What the application receives with: as it was, if nobody has listened."""
        return self._receive if self._task is None else self.receive

    async def receive(self) -> Message:
        """Receive for the application: first what was heard before."""
        self._listening = False
        if self._task is not None and not self._heard:
            task, self._task = self._task, None
            await task
        return self._heard.popleft() if self._heard else await self._receive()

    def close(self) -> None:
        """Listen no more."""
        task = self._task
        if task is not None and not task.cancel() and not task.cancelled():
            task.exception()

    async def _listen(self) -> bool:
        """Say whether the client has hung up, or something is in the way of listening on."""
        size = 0
        while self._listening and size <= _MOST_HEARD:
            message = await self._receive()
            self._heard.append(message)
            if message["type"] in _GONE:
                return True
            size += len(message.get("body", b""))
        return False
