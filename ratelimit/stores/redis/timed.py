"""Sockets that keep a deadline over any number of reads."""

from __future__ import annotations

import socket
from math import inf
from time import monotonic
from typing import Any


class TimedSocket:
    """A socket each of whose calls ends before one moment, however many there are.

    A timeout of the socket's own counts from each read, so that a server which sends a byte now
    and then would never be given up.
    """

    __slots__ = ("_longest", "_raw", "end")

    def __init__(self, raw: socket.socket, end: float) -> None:
        self._raw = raw
        self._longest = inf
        self.end = end
        """When it is too late, by the monotonic clock."""

    def settimeout(self, timeout: float | None) -> None:
        """Let each call take so long at most, too."""
        self._longest = inf if timeout is None else timeout

    def sendall(self, data: bytes) -> None:
        """Send all of it before the end."""
        self._arm()
        self._raw.sendall(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive what comes before the end."""
        self._arm()
        return self._raw.recv(size, flags)

    def recv_into(self, buffer: bytearray) -> int:
        """Receive what comes before the end."""
        self._arm()
        return self._raw.recv_into(buffer)

    def __getattr__(self, name: str) -> Any:
        """Do the rest as the socket does it."""
        return getattr(self._raw, name)

    def _arm(self) -> None:
        left = self.end - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._raw.settimeout(min(left, self._longest))


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
