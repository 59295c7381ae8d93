"""Talk over a connection that redis-py has opened, without redis-py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from ratelimit.stores.redis.replies import new_replies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimit.stores.redis.replies import Reply


class Listener(Protocol):
    """Who makes calls on a channel."""

    def heard(self, replies: Sequence[Reply]) -> None:
        """Take the replies to the commands of a call, in their order."""

    def failed(self, error: Exception) -> None:
        """Learn that the channel has ended in the middle of a call."""


class Channel(Protocol):
    """An open connection, for one call at a time."""

    quiet: bool
    """Whether it can be used: it is open, and has said nothing that nobody asked for."""

    def send(self, packed: bytes, count: int) -> None:
        """Send so many commands; the listener hears of it once, and later."""

    def close(self) -> None:
        """Close it; the listener hears nothing any more."""


def channel_of(connection: Any, listener: Listener) -> Channel:
    """Return a channel over a connection that is open."""
    writer = connection._writer
    if isinstance(writer, asyncio.StreamWriter):
        connection._reader = connection._writer = None
        return TransportChannel(writer, listener)
    return ClientChannel(connection, listener)


class TransportChannel(asyncio.Protocol):
    """A channel over a transport: a call needs no task, no timer and no `await`."""

    def __init__(self, writer: asyncio.StreamWriter, listener: Listener) -> None:
        self.quiet = True
        self._writer = writer
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self._listener = listener
        self._replies = new_replies()
        self._heard: list[Reply] = []
        self._awaited = 0

    def send(self, packed: bytes, count: int) -> None:
        """Send so many commands; the listener hears of it once, and later."""
        self._awaited = count
        self._transport.write(packed)

    def close(self) -> None:
        """Close it; the listener hears nothing any more."""
        self._awaited = 0
        self.quiet = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read what has come, and tell the listener when a call is answered."""
        replies, heard = self._replies, self._heard
        replies.feed(data)
        try:
            while len(heard) < self._awaited and (reply := replies.take()) is not None:
                heard.append(reply)
        except InvalidResponse as error:
            self._fail(error)
            return
        if len(heard) == self._awaited:
            if replies:
                self.quiet = False
                self._transport.abort()
            if heard:
                self._heard, self._awaited = [], 0
                self._listener.heard(heard)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the listener if it waits."""
        lost = RedisConnectionError("the server has closed the connection")
        lost.__cause__ = error
        self._fail(lost)

    def _fail(self, error: Exception) -> None:
        waited, self._awaited = self._awaited, 0
        self.close()
        if waited:
            self._listener.failed(error)


class ClientChannel:
    """A channel over a connection of another kind, such as fakeredis's, as redis-py uses it."""

    def __init__(self, connection: Any, listener: Listener) -> None:
        self.quiet = True
        self._connection = connection
        self._listener = listener
        self._call: asyncio.Task[None] | None = None

    def send(self, packed: bytes, count: int) -> None:
        """Send so many commands; the listener hears of it once, and later."""
        self._call = asyncio.get_running_loop().create_task(self._exchange(packed, count))

    def close(self) -> None:
        """Close it; the listener hears nothing any more."""
        self.quiet = False
        if self._call is not None:
            self._call.cancel()
        self._connection._close()

    async def _exchange(self, packed: bytes, count: int) -> None:
        try:
            await self._connection.send_packed_command([packed])
            replies = [await self._reply() for _ in range(count)]
        except RedisError as error:
            self._call = None
            self.close()
            self._listener.failed(error)
            return
        self._listener.heard(replies)

    async def _reply(self) -> Reply:
        try:
            reply: bytes = await self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error
        return reply
