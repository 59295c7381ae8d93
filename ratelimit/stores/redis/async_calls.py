"""Make calls that are awaited, on a few connections an event loop."""

from __future__ import annotations

import asyncio
from threading import Lock
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from ratelimit.stores.redis.connections import INFO, async_ask, async_converse, async_is_quiet
from ratelimit.stores.redis.dispatcher import Dispatcher
from ratelimit.stores.redis.troubles import is_demoted, store_error, too_late

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from ratelimit.stores.redis.connections import Template
    from ratelimit.stores.redis.wire import Answer, Transaction, Wire


_LANES = 2
"""How many connections an event loop has at most."""


class Lane:
    """One connection of one event loop, opened when it is needed."""

    def __init__(self, wire: Wire, template: Template) -> None:
        self._wire = wire
        self._template = template
        self._connection: Any = None

    async def __call__(self, transactions: Sequence[Transaction]) -> list[Answer]:
        """Return what the server says of some transactions, in one call.

        Raises:
            StoreError: It can't say.

        """
        try:
            connection = await self._opened()
            reply = await async_converse(connection, self._wire.command(transactions))
        except ResponseError as error:
            raise store_error(error) from error
        except RedisError as error:
            await self.aclose()
            raise store_error(error) from error
        except BaseException:
            await self.aclose()
            raise
        if is_demoted(reply):
            await self.aclose()
        return self._wire.answers(reply, transactions)

    async def aclose(self) -> None:
        """Close the connection; the next call opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _opened(self) -> Any:
        """Return the connection, or a new one if it was closed or holds what nobody asked for."""
        if self._connection is not None and await async_is_quiet(self._connection):
            return self._connection
        await self.aclose()
        self._connection = self._template.connection()
        await self._connection.connect()
        return self._connection


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
        self._guard = Lock()
        self._lines: dict[asyncio.AbstractEventLoop, Line] = {}

    def call(self, transaction: Transaction) -> Awaitable[Answer]:
        """Return what the server says of a transaction, to be awaited at once.

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
