"""Make calls that are awaited, on a few connections an event loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redis.exceptions import NoScriptError, RedisError, ResponseError

from ratelimit.errors import StoreError
from ratelimit.stores.redis.async_channel import channel_of
from ratelimit.stores.redis.connections import INFO, async_ask, async_check_quiet
from ratelimit.stores.redis.dispatcher import Dispatcher
from ratelimit.stores.redis.loops import PerLoop
from ratelimit.stores.redis.suitability import remarks_on
from ratelimit.stores.redis.troubles import is_demoted, store_error, too_late
from ratelimit.stores.redis.wire import numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit.decision import Decision
    from ratelimit.stores.redis.async_channel import Channel
    from ratelimit.stores.redis.connections import Template
    from ratelimit.stores.redis.dispatcher import Waiting
    from ratelimit.stores.redis.replies import Reply
    from ratelimit.stores.redis.wire import Answer, Transaction, Wire

T = TypeVar("T")
A = TypeVar("A")

LANES = 8
"""How many connections an event loop has at most; more than two only where calls are slow."""


class Connected(ABC, Generic[T, A]):
    """One connection of one event loop, opened when it is needed; makes one call at a time."""

    def __init__(self, wire: Wire, template: Template) -> None:
        self._wire = wire
        self._template = template
        self._channel: Channel | None = None
        self._opening: asyncio.Task[Any] | None = None
        self._batch: Sequence[Waiting[T, A]] = ()
        """Who waits for an answer."""
        self._done: Callable[[], None] = _nothing

    @abstractmethod
    def heard(self, replies: Sequence[Reply]) -> None:
        """Take the replies to what was sent."""

    @abstractmethod
    def _begin(self, channel: Channel) -> None:
        """Send what the batch asks."""

    @abstractmethod
    def _tell_all(self, error: Exception) -> None:
        """Tell those who wait that the connection has ended, or couldn't be made."""

    def call(self, batch: Sequence[Waiting[T, A]], done: Callable[[], None]) -> None:
        """Ask all of them at once, tell each what the server says, and then that it is done."""
        self._batch, self._done = batch, done
        if self._channel is not None and self._channel.quiet:
            self._begin(self._channel)
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

    def failed(self, error: Exception) -> None:
        """Tell those who wait that the connection has ended, or couldn't be made."""
        self._close()
        self._tell_all(error)
        self._finish()

    def _finish(self) -> None:
        done, self._done = self._done, _nothing
        self._batch = ()
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
        self._batch = [each for each in self._batch if not each.answer.done()]
        if self._batch:
            self._begin(self._channel)
        else:
            self._finish()


class Lane(Connected["Transaction", "Answer"]):
    """One connection of one event loop to a server alone: makes one call of a batch."""

    _has_text = False
    """Whether the script's text was sent, and not only its digest."""
    _demoted = False

    def heard(self, replies: Sequence[Reply]) -> None:
        """Tell those who wait what the server says, or send it a script that it lacks."""
        (reply,) = replies
        if isinstance(reply, NoScriptError) and not self._has_text and self._channel is not None:
            self._has_text = True
            self._send(self._channel)
        else:
            self._tell(reply)
            self._finish()

    def _begin(self, channel: Channel) -> None:
        self._has_text = self._demoted = False
        self._send(channel)

    def _send(self, channel: Channel) -> None:
        try:
            command = self._wire.command([waiting.question for waiting in self._batch])
        except Exception as error:  # noqa: BLE001  # the store's clock may raise anything
            self.failed(error)
            return
        channel.send(command.by_text() if self._has_text else command.by_digest(), 1)

    def _tell(self, reply: Reply) -> None:
        try:
            if isinstance(reply, ResponseError):
                raise store_error(reply) from reply
            self._demoted = is_demoted(reply)
            answers = self._wire.answers(reply, [waiting.question for waiting in self._batch])
        except StoreError as error:
            self._fail(error)
            return
        for waiting, answer in zip(self._batch, answers, strict=True):
            waiting.succeed(answer)

    def _tell_all(self, error: Exception) -> None:
        told = error
        if isinstance(error, RedisError):
            told = store_error(error)
            told.__cause__ = error
        self._fail(told)

    def _fail(self, error: Exception) -> None:
        for waiting in self._batch:
            waiting.fail(error)

    def _finish(self) -> None:
        if self._demoted:
            self._close()
        super()._finish()


def _nothing() -> None:
    """Tell nobody."""


class Line:
    """One event loop's way to one server."""

    def __init__(self, wire: Wire, template: Template, deadline: float) -> None:
        self._lanes = [Lane(wire, template) for _ in range(LANES)]
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
        self._lines = PerLoop(self._line)

    def call(self, transaction: Transaction) -> asyncio.Future[Answer]:
        """Return what the server says of a transaction, to be awaited.

        Raises:
            StoreError: It can't say, or not before the deadline.

        """
        return self._lines[asyncio.get_running_loop()].ask(transaction)

    async def decisions(self, request: Transaction) -> list[Decision]:
        """Return what a hit, a peek or a charge is answered."""
        return self._wire.decisions(request, await self.call(request))

    async def numbers(self, request: Transaction) -> Sequence[int]:
        """Return what a refund or a reset is answered, for each limit."""
        return numbers_of(request, await self.call(request))

    async def check(self) -> list[str]:
        """Try every command, and return what is worth knowing about the server."""
        await self.numbers(self._wire.trial())
        return remarks_on(await self.info())

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
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.aclose()

    def _line(self) -> Line:
        return Line(self._wire, self._template, self._deadline)
