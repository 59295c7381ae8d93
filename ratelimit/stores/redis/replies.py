"""Read replies out of what a server sends, with hiredis where it is installed."""

from __future__ import annotations

from typing import Protocol

from redis.exceptions import (
    AskError,
    ClusterDownError,
    InvalidResponse,
    MovedError,
    NoScriptError,
    ResponseError,
    TryAgainError,
)

Reply = bytes | ResponseError
"""A text, or an error."""

_NOT_YET = object()

_SPECIAL: dict[str, type[ResponseError]] = {
    "ASK": AskError,
    "CLUSTERDOWN": ClusterDownError,
    "MOVED": MovedError,
    "NOSCRIPT": NoScriptError,
    "TRYAGAIN": TryAgainError,
}


class Replies(Protocol):
    """What a server has sent, and nobody has taken yet: texts and errors, as scripts answer."""

    def __bool__(self) -> bool:
        """Say whether there is anything."""

    def feed(self, data: bytes) -> None:
        """Add what the server has sent."""

    def take(self) -> Reply | None:
        """Return the next reply, or None if it isn't all there yet.

        Raises:
            redis.InvalidResponse: It is none that a script gives.

        """


class PlainReplies:
    """Replies as Python reads them."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = b""

    def __bool__(self) -> bool:
        """Say whether there is anything."""
        return bool(self._data)

    def feed(self, data: bytes) -> None:
        """Add what the server has sent."""
        self._data += data

    def take(self) -> Reply | None:
        """Return the next reply, or None if it isn't all there yet."""
        data = self._data
        end = data.find(b"\r\n")
        if end < 0:
            return None
        kind, said, start = data[:1], data[1:end], end + 2
        if kind == b"$" and said.isdigit():
            end = start + int(said)
            if len(data) < end + 2:
                return None
            self._data = data[end + 2 :]
            return data[start:end]
        if kind not in (b"+", b"-"):
            raise InvalidResponse(f"Protocol Error: {data[:80]!r}")
        self._data = data[start:]
        return said if kind == b"+" else _error(str(said, errors="replace"))


class QuickReplies:
    """Replies as hiredis reads them, in a third of the time."""

    __slots__ = ("_reader", "feed")

    def __init__(self) -> None:
        from hiredis import Reader

        self._reader = Reader(InvalidResponse, _error, notEnoughData=_NOT_YET)
        self.feed = self._reader.feed

    def __bool__(self) -> bool:
        """Say whether there is anything."""
        return self._reader.has_data()

    def take(self) -> Reply | None:
        """Return the next reply, or None if it isn't all there yet."""
        reply = self._reader.gets()
        if type(reply) is bytes or isinstance(reply, ResponseError):
            return reply
        if reply is _NOT_YET:
            return None
        raise InvalidResponse(f"Protocol Error: {reply!r}")


def new_replies() -> Replies:
    """Return what reads the replies of one connection, in the quickest way there is."""
    try:
        return QuickReplies()
    except ImportError:
        return PlainReplies()


def _error(said: str) -> ResponseError:
    code, _, rest = said.partition(" ")
    try:
        return _SPECIAL[code](rest)
    except (KeyError, ValueError):
        return ResponseError(said)
