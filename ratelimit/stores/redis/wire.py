"""What goes to Redis and what comes back, for whoever makes the call."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from redis import exceptions

from ratelimit.decision import Decision
from ratelimit.errors import StoreError, StoreUnavailable
from ratelimit.stores.base import check_cost, check_key, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.stores.base import Ask

_LONGEST_SUBJECT = 200


class Trouble(NamedTuple):
    """What an error means."""

    kind: str
    wrong: str
    passes: bool = True
    """Whether it passes by waiting; else somebody has made a mistake."""

    def error(self, said: object, keys: str = "") -> StoreError:
        """Return the error to raise."""
        where = f" (for {keys})" if keys else ""
        error = StoreUnavailable if self.passes else StoreError
        return error(f"Redis {self.wrong}{where}: {said}", self.kind)


_UNKNOWN = Trouble("error", "could not decide", passes=False)
_FOREIGN = Trouble("foreign", "holds something else than a limit at our key", passes=False)
_DENIED = Trouble(
    "permission", "denies this user a command or a key that limits need", passes=False
)
_REFUSED = Trouble("authentication", "needs a password, or another one", passes=False)

_BY_CODE = {
    "FOREIGN": _FOREIGN,
    "WRONGTYPE": _FOREIGN,
    "OOM": Trouble("full", "is full (maxmemory with noeviction)"),
    "READONLY": Trouble("read-only", "is a replica and takes no writes: name the primary"),
    "NOPERM": _DENIED,
    "WRONGPASS": _REFUSED,
    "BUSY": Trouble("busy", "is busy with another script"),
}
"""What an error means, by the code that it carries."""

_BY_CLASS = {
    exceptions.NoPermissionError: _DENIED,
    exceptions.BusyLoadingError: Trouble("loading", "is still loading its data"),
    exceptions.MasterDownError: Trouble("read-only", "is a replica that has lost its primary"),
    exceptions.AuthenticationError: _REFUSED,
    exceptions.TimeoutError: Trouble("timeout", "did not answer in time"),
    exceptions.ConnectionError: Trouble("connection", "can't be reached"),
}
"""What an error means, by the class that redis-py gives it; the special before the general."""


def subject(key: str) -> str:
    """Return a key as Redis sees it: escaped, so that it can't move the slot, or hashed."""
    text = quote(key, safe="@:/", errors="surrogatepass")
    if len(text) <= _LONGEST_SUBJECT:
        return text
    return "#" + blake2b(key.encode(errors="surrogatepass"), digest_size=20).hexdigest()


class Request(NamedTuple):
    """One transaction: what is asked, and the arguments of `EVALSHA` behind the digest."""

    operation: str
    asks: Sequence[Ask]
    arguments: list[str | int]


class Wire:
    """Builds requests and reads replies; it never calls.

    Args:
        prefix: What the name of each key in Redis starts with.
        clock: A function that returns the time in microseconds since the epoch, in place of the
            server's clock, for tests.

    """

    def __init__(self, prefix: str, clock: Callable[[], int] | None) -> None:
        self.prefix = check_name(prefix)
        self._clock = clock

    def key(self, name: str, algorithm: Algorithm, key: str) -> str:
        """Return the name of the Redis key that holds a state.

        Raises:
            TypeError, ValueError: It is no key.

        """
        return f"{self.prefix}:{{{subject(check_key(key))}}}:{name}:{algorithm.kind}"

    def keys(self, asks: Sequence[Ask]) -> list[str]:
        """Return the names of the Redis keys that hold the states asked for.

        Raises:
            TypeError, ValueError: A key or a cost can't be used.

        """
        for ask in asks:
            check_cost(ask.cost)
        return [self.key(page.name, page.algorithm, key) for page, key, _ in asks]

    def request(
        self, operation: str, asks: Sequence[Ask], readings: Sequence[Sequence[int]] = ()
    ) -> Request:
        """Return a transaction; a refund needs the reading of each decision.

        Raises:
            TypeError, ValueError: A key or a cost can't be used.

        """
        keys = self.keys(asks)
        arguments: list[str | int] = [len(keys), *keys, self._clock() if self._clock else ""]
        arguments += (operation, len(asks))
        for index, (page, _, cost) in enumerate(asks):
            algorithm = page.algorithm
            beyond = algorithm.max_cost + algorithm.max_debt + 1
            arguments += (algorithm.kind, min(cost, beyond), *algorithm.args)
            if readings:
                arguments += readings[index]
        return Request(operation, asks, arguments)

    def decisions(self, request: Request, reply: Any) -> list[Decision]:
        """Read what a transaction was answered.

        Raises:
            StoreError: It failed on the server.

        """
        parts = self._parts(request, reply)
        now: int = reply[0]
        charged = request.operation == "charge"
        hit = request.operation == "hit" and all(answer for answer, _ in parts)
        decisions = []
        for (page, key, cost), (answer, reading) in zip(request.asks, parts, strict=True):
            spent = answer if charged else cost if hit else 0
            decision = Decision.of(page, key, cost, charged or bool(answer), now, reading, spent)
            decisions.append(decision)
        return decisions

    def given_back(self, request: Request, reply: Any) -> bool:
        """Say whether a refund gave anything back.

        Raises:
            StoreError: It failed on the server.

        """
        return any(answer for answer, _ in self._parts(request, reply))

    def _parts(self, request: Request, reply: Any) -> list[tuple[int, tuple[int, ...]]]:
        parts = []
        position = 1
        for page, _, _ in request.asks:
            answer = reply[position]
            if not isinstance(answer, int):
                raise self.failure(answer, request.arguments)
            end = position + 1 + page.algorithm.reading_size
            parts.append((answer, tuple(reply[position + 1 : end])))
            position = end
        return parts

    def failure(self, text: str | bytes, arguments: Sequence[str | int]) -> StoreError:
        """Return the error for what the server said of a transaction."""
        said = text.decode(errors="replace") if isinstance(text, bytes) else text
        keys = ", ".join(map(str, arguments[1 : 1 + int(arguments[0])]))
        return _trouble(said).error(said, keys)

    def error(self, error: exceptions.RedisError) -> StoreError:
        """Return the error for what redis-py raised."""
        for kind, trouble in _BY_CLASS.items():
            if isinstance(error, kind):
                return trouble.error(error)
        return _trouble(str(error)).error(error)


def _trouble(said: str) -> Trouble:
    return next((trouble for code, trouble in _BY_CODE.items() if code in said), _UNKNOWN)
