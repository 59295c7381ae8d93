"""Make calls that block, on connections that threads share."""

from __future__ import annotations

import os
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from ratelimit.stores.redis.connections import INFO, ask, check_quiet, converse, is_quiet
from ratelimit.stores.redis.timed import wake
from ratelimit.stores.redis.troubles import is_demoted, overloaded, store_error

if TYPE_CHECKING:
    from ratelimit.stores.redis.connections import Template
    from ratelimit.stores.redis.wire import Answer, Transaction, Wire

_MOST = 32
"""How many connections there are at most; a thread that finds none free waits for one."""


class Calls:
    """One call of the script for each transaction, over before its deadline."""

    def __init__(self, wire: Wire, template: Template, deadline: float) -> None:
        self._wire = wire
        self._template = template
        self._deadline = deadline
        self._start()

    def _start(self) -> None:
        """Begin without connections: those of a parent process are its own."""
        self._process = os.getpid()
        self._permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(_MOST):
            self._permits.put(None)
        self._idle: list[Any] = []

    def call(self, transaction: Transaction) -> Answer:
        """Return what the server says of a transaction.

        Raises:
            StoreError: It can't say, or not before the deadline.

        """
        end = monotonic() + self._deadline
        if self._process != os.getpid():
            self._start()
        try:
            self._permits.get(timeout=self._deadline)
        except Empty:
            raise overloaded(_MOST, self._deadline) from None
        try:
            return self._wire.answers(self._exchange(transaction, end), [transaction])[0]
        except RedisError as error:
            raise store_error(error) from error
        finally:
            self._permits.put(None)

    def info(self) -> bytes:
        """Return what the server says of itself; nothing if this user may not ask.

        Raises:
            StoreError: It can't say, or not before the deadline.

        """
        try:
            connection = self._opened(monotonic() + self._deadline)
            try:
                return ask(connection, INFO)
            except ResponseError:
                return b""
            finally:
                connection.disconnect()
        except RedisError as error:
            raise store_error(error) from error

    def close(self) -> None:
        """Close the connections; it can be called twice, and calls be made again."""
        while self._idle:
            self._idle.pop().disconnect()

    def _exchange(self, transaction: Transaction, end: float) -> bytes:
        connection = self._connection(end)
        try:
            reply = converse(connection, self._wire.command([transaction]))
        except ResponseError:
            self._idle.append(connection)
            raise
        except BaseException:
            connection.disconnect()
            raise
        if is_demoted(reply):
            connection.disconnect()
        else:
            self._idle.append(connection)
        return reply

    def _connection(self, end: float) -> Any:
        """Return the connection that was used last, so that the others can be closed by a proxy."""
        while True:
            try:
                connection = self._idle.pop()
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
