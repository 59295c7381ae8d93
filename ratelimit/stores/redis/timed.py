"""Sockets that keep a deadline over any number of reads."""

from __future__ import annotations

import socket
from math import inf
from ssl import SSLWantReadError
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis import exceptions

from ratelimit.stores.redis.replies import new_replies

if TYPE_CHECKING:
    from ratelimit.stores.redis.replies import Reply

_READ_AT_ONCE = 65_536


class TimedSocket:
    """A socket each of whose calls ends before one moment, however many there are.

    A timeout of the socket's own counts from each read, so that a server which sends a byte now
    and then would never be given up.
    """

    __slots__ = ("_longest", "_raw", "_replies", "end", "is_plain")

    def __init__(self, raw: socket.socket, end: float) -> None:
        self._raw = raw
        self._replies = new_replies()
        self._longest = inf
        self.end = end
        """When it is too late, by the monotonic clock."""
        self.is_plain = type(raw) is socket.socket
        """Whether its bytes can be looked at before they are read: not those of TLS."""

    def exchange(self, packed: bytes) -> Reply:
        """Send a command and return its reply, without redis-py.

        Raises:
            redis.RedisError: The reply doesn't come, or is none that a script gives.

        """
        replies = self._replies
        try:
            self.sendall(packed)
            while (reply := replies.take()) is None:
                data = self.recv(_READ_AT_ONCE)
                if not data:
                    raise exceptions.ConnectionError("the server has closed the connection")
                replies.feed(data)
        except (TimeoutError, BlockingIOError, SSLWantReadError) as error:
            raise exceptions.TimeoutError("the reply doesn't come") from error
        except OSError as error:
            raise exceptions.ConnectionError(str(error)) from error
        return reply

    @property
    def has_more(self) -> bool:
        """Whether more was read than was asked for."""
        return bool(self._replies)

    def is_quiet(self) -> bool:
        """Say whether it is open, and holds nothing that nobody has asked for."""
        if self._replies:
            return False
        try:
            self._raw.settimeout(0)
            self._raw.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def settimeout(self, timeout: float | None) -> None:
        """Let each call take so long at most, too."""
        self._longest = inf if timeout is None else timeout

    def sendall(self, data: bytes) -> None:
        """Send all of it before the end."""
        self._arm()
        self._raw.sendall(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive what comes before the end, or has come although it is noticed too late."""
        self._arm(reads=True)
        return self._raw.recv(size, flags)

    def recv_into(self, buffer: bytearray) -> int:
        """Receive what comes before the end, or has come although it is noticed too late."""
        self._arm(reads=True)
        return self._raw.recv_into(buffer)

    def __getattr__(self, name: str) -> Any:
        """Do the rest as the socket does it."""
        return getattr(self._raw, name)

    def _arm(self, *, reads: bool = False) -> None:
        left = self.end - monotonic()
        if left <= 0 and not reads:
            raise TimeoutError("timed out")
        self._raw.settimeout(min(max(left, 0), self._longest))


def timed(kind: type[Any]) -> type[Any]:
    """Return a kind of connection that keeps the moment in its `end`, from its handshake on."""

    def connect(self: Any) -> Any:
        left = max(0.001, self.end - monotonic())
        self.socket_connect_timeout = min(left, self.socket_connect_timeout)
        raw = kind._connect(self)
        return TimedSocket(raw, self.end) if isinstance(raw, socket.socket) else raw

    return type(f"Timed{kind.__name__}", (kind,), {"_connect": connect, "end": inf})


def wake(connection: Any, end: float) -> None:
    """Let an open connection work until a moment."""
    if isinstance(connection._sock, TimedSocket):
        connection._sock.end = end
