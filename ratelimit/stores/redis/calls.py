"""Make calls that block, on connections that threads share."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from ratelimit.stores.redis.connections import INFO, ask, check_quiet, converse, is_quiet
from ratelimit.stores.redis.suitability import remarks_on
from ratelimit.stores.redis.timed import wake
from ratelimit.stores.redis.troubles import is_demoted, overloaded, store_error
from ratelimit.stores.redis.wire import numbers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimit.decision import Decision
    from ratelimit.errors import StoreError
    from ratelimit.stores.redis.connections import Template
    from ratelimit.stores.redis.wire import Answer, Transaction, Wire

_MOST = 32
"""How many connections there are at most; a thread that finds none free waits for one."""


class Pool:
    """The connections of one process, and permits to use one."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(_MOST):
            self.permits.put(None)
        self.idle: deque[Any] = deque()

    def clear(self) -> None:
        """Close the connections that are idle."""
        with suppress(IndexError):
            while True:
                self.idle.pop().disconnect()


class Calls:
    """One call of the script for each transaction, over before its deadline."""

    def __init__(self, wire: Wire, template: Template, deadline: float) -> None:
        self._wire = wire
        self._template = template
        self._deadline = deadline
        self._pool = Pool()

    def call(self, transaction: Transaction) -> Answer:
        """Return what the server says of a transaction.

        Raises:
            StoreError: It can't say, or not before the deadline.

        """
        end = monotonic() + self._deadline
        pool = self._own_pool()
        try:
            pool.permits.get(timeout=self._deadline)
        except Empty:
            raise self._overloaded() from None
        try:
            return self._wire.answers(self._exchange(pool, transaction, end), [transaction])[0]
        except RedisError as error:
            raise store_error(error) from error
        finally:
            pool.permits.put(None)

    def decisions(self, request: Transaction) -> list[Decision]:
        """Return what a hit, a peek or a charge is answered."""
        return self._wire.decisions(request, self.call(request))

    def numbers(self, request: Transaction) -> Sequence[int]:
        """Return what a refund or a reset is answered, for each limit."""
        return numbers_of(request, self.call(request))

    def check(self) -> list[str]:
        """Try every command, and return what is worth knowing about the server."""
        self.numbers(self._wire.trial())
        return remarks_on(self.info())

    def info(self) -> bytes:
        """Return what the server says of itself; nothing if this user may not ask.

        Raises:
            StoreError: It can't say, or not before the deadline.

        """
        try:
            info: bytes = self.once(INFO, monotonic() + self._deadline)
        except ResponseError:
            return b""
        except RedisError as error:
            raise store_error(error) from error
        return info

    def once(self, packed: bytes, end: float) -> Any:
        """Return the reply to a command, on a connection of its own."""
        connection = self._opened(end)
        try:
            return ask(connection, packed)
        finally:
            connection.disconnect()

    def close(self) -> None:
        """Close the connections; it can be called twice, and calls be made again."""
        self._pool.clear()

    def _overloaded(self) -> StoreError:
        return overloaded(_MOST, self._deadline)

    def _own_pool(self) -> Pool:
        """Return this process's connections: those of a parent process are its own."""
        pool = self._pool
        if pool.process != os.getpid():
            pool = self._pool = Pool()
        return pool

    def _exchange(self, pool: Pool, transaction: Transaction, end: float) -> bytes:
        connection = self._connection(pool, end)
        try:
            reply = converse(connection, self._wire.command([transaction]))
        except ResponseError:
            pool.idle.append(connection)
            raise
        except BaseException as error:
            connection.disconnect()
            if isinstance(error, RedisError):
                pool.clear()  # the others may have been cut off with it
            raise
        if is_demoted(reply):
            connection.disconnect()
        else:
            pool.idle.append(connection)
        return reply

    def _connection(self, pool: Pool, end: float) -> Any:
        """Return the connection that was used last, so that the others can be closed by a proxy."""
        while True:
            try:
                connection = pool.idle.pop()
            except IndexError:
                return self._opened(end)
            wake(connection, end)
            if is_quiet(connection):
                return connection
            connection.disconnect()

    def _opened(self, end: float) -> Any:
        connection = self._template.connection()
        connection.end = end
        try:
            connection.connect()
            check_quiet(connection)
        except BaseException:
            connection.disconnect()
            raise
        return connection
