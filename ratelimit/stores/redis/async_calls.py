"""Make calls that are awaited, on a few connections an event loop."""

from __future__ import annotations

import asyncio
from threading import Lock
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, RedisError, ResponseError

from ratelimit.errors import StoreError
from ratelimit.forks import fork_safe
from ratelimit.stores.redis.async_channel import channel_of
from ratelimit.stores.redis.connections import INFO, async_ask, async_check_quiet
from ratelimit.stores.redis.dispatcher import Dispatcher
from ratelimit.stores.redis.troubles import is_demoted, store_error, too_late

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit.stores.redis.async_channel import Channel
    from ratelimit.stores.redis.connections import Template
    from ratelimit.stores.redis.dispatcher import Waiting
    from ratelimit.stores.redis.replies import Reply
    from ratelimit.stores.redis.wire import Answer, Transaction, Wire

    Asked = Sequence[Waiting[Transaction, Answer]]
    """Transactions that somebody waits for."""

_LANES = 8
"""How many connections an event loop has at most; more than two only where calls are slow."""


class Lane:
    """One connection of one event loop, opened when it is needed; makes one call at a time."""

    def __init__(self, wire: Wire, template: Template) -> None:
        self._wire = wire
        self._template = template
        self._channel: Channel | None = None
        self._opening: asyncio.Task[Any] | None = None
        self._parts: list[Asked] = []
        """Who waits for a reply, in the order in which the replies come."""
        self._has_text = False
        """Whether the script's text was sent, and not only its digest."""
        self._demoted = False
        self._done: Callable[[], None] = _nothing

    def call(self, batch: Asked, done: Callable[[], None]) -> None:
        """Ask all of them at once, tell each what the server says, and then that it is done."""
        self._parts, self._done = [batch], done
        self._has_text = self._demoted = False
        if self._channel is not None and self._channel.quiet:
            self._send(self._channel)
        else:
            self._close()
            self._opening = asyncio.get_running_loop().create_task(self._open())
            self._opening.add_done_callback(self._opened)

    def drop(self) -> None:
        """Give up the call that is in flight: all who wait for it have been told."""
        self._close()
        if self._opening is not None:
            self._opening.cancel()
        else:
            self._finish()

    async def aclose(self) -> None:
        """Close the connection; the next call opens another one."""
        self._close()
        await asyncio.sleep(0)  # the transport closes its socket then

    def heard(self, replies: Sequence[Reply]) -> None:
        """Tell those who wait what the server says, or send it a script that it lacks."""
        lacking = []
        for part, reply in zip(self._parts, replies, strict=True):
            if isinstance(reply, NoScriptError) and not self._has_text:
                lacking.append(part)
            else:
                self._tell(part, reply)
        if lacking and self._channel is not None:
            self._parts, self._has_text = lacking, True
            self._send(self._channel)
        else:
            self._finish()

    def failed(self, error: Exception) -> None:
        """Tell those who wait that the connection has ended, or couldn't be made."""
        self._close()
        told = error
        if isinstance(error, RedisError):
            told = store_error(error)
            told.__cause__ = error
        for part in self._parts:
            for waiting in part:
                waiting.fail(told)
        self._finish()

    def _tell(self, part: Asked, reply: Reply) -> None:
        try:
            if isinstance(reply, ResponseError):
                raise store_error(reply) from reply
            self._demoted |= is_demoted(reply)
            answers = self._wire.answers(reply, [waiting.question for waiting in part])
        except StoreError as error:
            for waiting in part:
                waiting.fail(error)
            return
        for waiting, answer in zip(part, answers, strict=True):
            waiting.succeed(answer)

    def _send(self, channel: Channel) -> None:
        """Send a command for each part."""
        try:
            commands = [
                self._wire.command([each.question for each in part]) for part in self._parts
            ]
        except Exception as error:  # noqa: BLE001  # the store's clock may raise anything
            self.failed(error)
            return
        packed = [each.by_text() if self._has_text else each.by_digest() for each in commands]
        channel.send(b"".join(packed), len(packed))

    def _finish(self) -> None:
        done, self._done = self._done, _nothing
        self._parts = []
        if self._demoted:
            self._close()
        done()

    def _close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    async def _open(self) -> Any:
        """Return an open connection."""
        connection = self._template.connection()
        try:
            await connection.connect()
            await async_check_quiet(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _opened(self, opening: asyncio.Task[Any]) -> None:
        """Send what still waits for a connection, whatever became of it."""
        self._opening = None
        if opening.cancelled():
            self._finish()
            return
        error = opening.exception()
        if isinstance(error, Exception):
            self.failed(error)
            return
        self._channel = channel_of(opening.result(), self)
        waiting = [[each for each in part if not each.answer.done()] for part in self._parts]
        self._parts = [part for part in waiting if part]
        if self._parts:
            self._send(self._channel)
        else:
            self._finish()


def _nothing() -> None:
    """Tell nobody."""


class Line:
    """One event loop's way to one server."""

    def __init__(self, wire: Wire, template: Template, deadline: float) -> None:
        self._lanes = [Lane(wire, template) for _ in range(_LANES)]
        self._dispatcher: Dispatcher[Transaction, Answer] = Dispatcher(
            self._lanes, deadline, lambda: too_late(deadline)
        )
        self.ask = self._dispatcher.ask

    async def aclose(self) -> None:
        """Answer who waits, and close the connections."""
        await self._dispatcher.finish()
        for lane in self._lanes:
            await lane.aclose()


class AsyncCalls:
    """Calls of the script for the transactions that are ready, each over before its deadline."""

    def __init__(self, wire: Wire, template: Template, deadline: float) -> None:
        self._wire = wire
        self._template = template
        self._deadline = deadline
        self._guard = fork_safe(Lock())
        self._lines: dict[asyncio.AbstractEventLoop, Line] = {}

    def call(self, transaction: Transaction) -> asyncio.Future[Answer]:
        """Return what the server says of a transaction, to be awaited.

        Raises:
            StoreError: It can't say, or not before the deadline.

        """
        line = self._lines.get(asyncio.get_running_loop())
        if line is None:
            line = self._line()
        return line.ask(transaction)

    async def info(self) -> bytes:
        """Return what the server says of itself; nothing if this user may not ask.

        Raises:
            StoreError: It can't say, or not before the deadline.

        """
        connection = self._template.connection()
        try:
            async with asyncio.timeout(self._deadline):
                await connection.connect()
                return await async_ask(connection, INFO)
        except TimeoutError as error:
            raise too_late(self._deadline) from error
        except ResponseError:
            return b""
        except RedisError as error:
            raise store_error(error) from error
        finally:
            await connection.disconnect(nowait=True)

    async def aclose(self) -> None:
        """Close this loop's connections; it can be called twice, and calls be made again."""
        with self._guard:
            line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.aclose()

    def _line(self) -> Line:
        """Return a new line for this loop, and forget those of loops that are closed."""
        line = Line(self._wire, self._template, self._deadline)
        with self._guard:
            for loop in [loop for loop in self._lines if loop.is_closed()]:
                del self._lines[loop]
            self._lines[asyncio.get_running_loop()] = line
        return line
