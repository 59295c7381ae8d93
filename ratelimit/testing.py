"""Test what is limited, without waiting and without limits."""

from __future__ import annotations

import re
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, cast

from ratelimit.asgi import RateLimitMiddleware
from ratelimit.asgi.checkpoint import Checkpoint
from ratelimit.asgi.stores import Stores
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.decision import Decision
from ratelimit.limiter import Limiter
from ratelimit.stores.base import check_cost, check_key
from ratelimit.stores.constant import AllowAll, Constant, ConstantLedger, DenyAll
from ratelimit.stores.fallback import Fallback
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ratelimit.stores.base import Ask, AsyncStore, Store

_TEXT = r'"((?:[^"\\]|\\.)*)"'
_PARAMETERS = r'((?:\s*;\s*[a-z*][\w.*-]*(?:=(?:"[^"]*"|[^;,"]+))?)*)'
_ITEM = re.compile(rf"{_TEXT}{_PARAMETERS}(?:\s*,\s*(?=\S)|\s*$)")
_OLDER = ("ratelimit-remaining", "x-ratelimit-remaining")

Limiting = Limiter | AsyncLimiter | RateLimitMiddleware | Checkpoint
"""What can be switched off."""

_switching = Lock()
_wanted: Counter[int] = Counter()


class Clock:
    """A clock that moves when it is told to: `MemoryStore(clock=Clock())`.

    Args:
        now: The time to begin with, in microseconds since the epoch: one in September 2026, on
            a whole second, if not given.

    """

    def __init__(self, now: int = 1_790_000_000_000_000) -> None:
        self.now = now
        """The time in microseconds since the epoch."""
        self._moving = Lock()

    def __call__(self) -> int:
        """Return the time in microseconds since the epoch."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds, or back if they are negative."""
        with self._moving:
            self.now += round(seconds * 1_000_000)


class Response(Protocol):
    """What httpx, requests and Starlette make of a response."""

    @property
    def status_code(self) -> int:
        """The status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The fields, whatever the case of their names."""


@contextmanager
def frozen(*limited: object, now: int | None = None) -> Iterator[Clock]:
    """Stop the time of limits: they decide in memory, by the clock that is returned.

    All of them begin as if never used, whatever their stores, and have their own states back
    afterwards. Whoever waits (`acquire`, the delay of a leaky bucket) still waits in real time.
    Enter and leave it while nobody else uses them.

    Args:
        limited: Limiters, functions that `rate_limited` limits, a `RateLimit`, a
            `RateLimitMiddleware`, or an application that has some.
        now: The time, in microseconds since the epoch: the present if not given.

    Raises:
        TypeError: One of them is something else.

    """
    clock = Clock(time.time_ns() // 1_000 if now is None else now)
    store = MemoryStore(clock=clock)
    with ExitStack() as stack:
        for each in [each for one in limited for each in _limiting(one)]:
            on = _on if isinstance(each, Limiter | AsyncLimiter) else _behind
            stack.enter_context(on(cast("Any", each), store))
        yield clock


@contextmanager
def unlimited(*limited: object) -> Iterator[None]:
    """Switch limits off: everything is allowed, and nothing is charged.

    It holds for all threads and tasks, until the last one leaves that has entered it. What was
    charged before can still be given back, and keys can be reset.

    Args:
        limited: Limiters, functions that `rate_limited` limits, a `RateLimit`, a
            `RateLimitMiddleware`, or an application that has some.

    Raises:
        TypeError: One of them is something else.

    """
    with ExitStack() as stack:
        for each in [each for one in limited for each in _limiting(one)]:
            stack.enter_context(_off(each))
        yield


def forget_all(*limited: object) -> None:
    """Forget all keys, as if they had never been used: between two tests.

    Args:
        limited: Limiters, functions that `rate_limited` limits, a `RateLimit`, a
            `RateLimitMiddleware`, an application that has some, or stores; all of them in memory.

    Raises:
        TypeError: One of them is something else, or keeps its states elsewhere.

    """
    stores = [store for one in limited for store in _stores(one)]
    for memory in [memory for store in stores for memory in _memories(store)]:
        memory.clear()


def assert_allowed(
    response: Response, *, remaining: int | None = None, by: str | None = None
) -> None:
    """Assert that a response isn't a refusal.

    Args:
        response: A response of httpx, requests or Starlette.
        remaining: What it has to tell that is left.
        by: The limit that has to tell it; the one with the least left if not given.

    Raises:
        AssertionError: It is a 429 or 503, or tells something else.

    """
    __tracebackhide__ = True
    if response.status_code in {429, 503}:
        raise AssertionError(f"expected a response that is allowed, not {_told(response)}")
    if remaining is None and by is None:
        return
    left = _remaining(response)
    if not left or (by is not None and by not in left):
        raise AssertionError(
            f"expected what is left of {by or 'a limit'} to be told, not {_told(response)}"
        )
    told = min(left.values()) if by is None else left[by]
    if remaining not in {None, told}:
        raise AssertionError(
            f"expected {remaining} to be left, not {told}: the response is {_told(response)}"
        )


def assert_limited(response: Response, *, by: str | None = None) -> float:
    """Assert that a response is a 429 that tells for how long to wait, if that helps.

    Args:
        response: A response of httpx, requests or Starlette.
        by: The limit that has to be told of.

    Returns:
        The seconds to wait: `Retry-After`, or infinity if it has none as waiting doesn't help.

    Raises:
        AssertionError: It is something else, or `Retry-After` is no whole number from 1 on.

    """
    __tracebackhide__ = True
    if response.status_code != 429:
        raise AssertionError(f"expected a 429, not {_told(response)}")
    if by is not None and by not in _remaining(response):
        raise AssertionError(f"expected {by} to have denied, not {_told(response)}")
    wait = response.headers.get("retry-after")
    if wait is None:
        return inf
    if re.fullmatch("[1-9][0-9]*", wait) is None:
        raise AssertionError(f"expected a Retry-After of whole seconds from 1 on, not {wait!r}")
    return int(wait)


class _Off:
    """Stands before a store while a limiter is off; all but questions still goes to the store."""

    def __init__(self, store: object) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        return [_allowed(ask) for ask in asks]

    peek_all = charge_all = hit_all


class _AsyncOff:
    """As `_Off`, for code that awaits."""

    def __init__(self, store: object) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        return [_allowed(ask) for ask in asks]

    peek_all = charge_all = hit_all


async def _pass(middleware: RateLimitMiddleware, scope: Any, receive: Any, send: Any) -> None:
    """Serve a request without its limits: what a middleware does while it is off."""
    if scope["type"] == "lifespan":
        await _kind_of(middleware).__call__(middleware, scope, receive, send)
    else:
        await middleware.app(scope, receive, send)


def _kind_of(middleware: RateLimitMiddleware) -> Any:
    """Return the class of a middleware that is off."""
    return type(middleware).__base__


def _allowed(ask: Ask) -> Decision:
    algorithm = ask.page.algorithm
    page = ConstantLedger(ask.page.name, Constant(algorithm, algorithm.max_cost, 0))
    key, cost, now = check_key(ask.key), check_cost(ask.cost), time.time_ns() // 1_000
    return Decision.of(page, key, cost, True, now, (algorithm.max_cost,), 0)


@contextmanager
def _on(limiter: Limiter | AsyncLimiter, memory: MemoryStore) -> Iterator[None]:
    """Let a limiter decide on another store."""
    store, pages = limiter.store, limiter._pages
    other = memory if isinstance(limiter, Limiter) else AsyncMemoryStore(memory)
    _put(limiter, other, {name: other.open(name, each) for name, each in limiter.limits.items()})
    try:
        yield
    finally:
        _put(limiter, store, pages)


@contextmanager
def _behind(limiting: RateLimitMiddleware | Checkpoint, memory: MemoryStore) -> Iterator[None]:
    """Let a middleware or a `RateLimit` decide on another store."""
    stores = limiting._stores
    _keep_in(limiting, Stores(memory, "raise", 1))
    try:
        yield
    finally:
        _keep_in(limiting, stores)


def _keep_in(limiting: RateLimitMiddleware | Checkpoint, stores: Stores) -> None:
    limiting._stores = stores
    limiting._read()


def _put(limiter: Limiter | AsyncLimiter, store: object, pages: Mapping[str, Any]) -> None:
    limiter._pages = dict(pages)
    limiter.store = cast("Any", store)
    vars(limiter).pop("hit", None)
    if limiter._alone and not isinstance(store, _Off | _AsyncOff):
        vars(limiter)["hit"] = next(iter(pages.values())).hit


@contextmanager
def _off(limiting: Limiting) -> Iterator[None]:
    """Switch something off for as long as anybody wants it to be."""
    who = id(limiting)
    with _switching:
        if not _wanted[who]:
            _switch_off(limiting)
        _wanted[who] += 1
    try:
        yield
    finally:
        with _switching:
            _wanted[who] -= 1
            if not _wanted[who]:
                del _wanted[who]
                _switch_on(limiting)


def _switch_off(limiting: Limiting) -> None:
    if isinstance(limiting, Checkpoint):
        limiting.is_open = True
        return
    if isinstance(limiting, RateLimitMiddleware):
        kind = type(limiting)
        limiting.__class__ = type(kind.__name__, (kind,), {"__call__": _pass})
        return
    off = _Off if isinstance(limiting, Limiter) else _AsyncOff
    _put(limiting, off(limiting.store), limiting._pages)


def _switch_on(limiting: Limiting) -> None:
    if isinstance(limiting, Checkpoint):
        limiting.is_open = False
        return
    if isinstance(limiting, RateLimitMiddleware):
        limiting.__class__ = _kind_of(limiting)
        return
    _put(limiting, cast("Any", limiting.store).store, limiting._pages)


def _limiters(limited: object) -> list[Limiter | AsyncLimiter]:
    """Return a limiter, or those of a function that is limited, perhaps several times."""
    if isinstance(limited, Limiter | AsyncLimiter):
        return [limited]
    found = []
    function = limited
    while function is not None:
        limiter = getattr(function, "limiter", None)
        if isinstance(limiter, Limiter | AsyncLimiter):
            found.append(limiter)
        function = getattr(function, "__wrapped__", None)
    if not found:
        raise TypeError(
            f"{limited!r} is neither a limiter nor a function with a limit, and has no "
            f"RateLimitMiddleware"
        )
    return found


def _limiting(limited: object) -> Sequence[Limiting]:
    """Return what can be switched off in something."""
    return _checkpoints(limited) or _middleware(limited) or _limiters(limited)


def _checkpoints(limited: object) -> list[Checkpoint]:
    """Return what decides in a `RateLimit`, if it is one."""
    checkpoint = getattr(limited, "checkpoint", None)
    return [checkpoint] if isinstance(checkpoint, Checkpoint) else []


def _middleware(app: object) -> list[RateLimitMiddleware]:
    """Return the middleware of an application: itself, or what is stacked around the routes."""
    if getattr(app, "middleware_stack", app) is None:
        made: Any = app
        made.middleware_stack = made.build_middleware_stack()
    found = []
    while app is not None:
        if isinstance(app, RateLimitMiddleware):
            found.append(app)
        app = getattr(app, "middleware_stack", None) or getattr(app, "app", None)
    return found


def _stores(limited: object) -> list[Store | AsyncStore | Any]:
    """Return the stores of something, or the store that it is."""
    if hasattr(limited, "hit_all"):
        return [limited]
    checkpoints = _checkpoints(limited)
    if checkpoints:
        return [store for each in checkpoints for store in each.stores.all]
    middleware = _middleware(limited)
    if middleware:
        return [store for each in middleware for store in each.stores]
    return [each.store for each in _limiters(limited)]


def _memories(store: object) -> list[MemoryStore]:
    """Return the memory in a store, and in those that it stands before."""
    if isinstance(store, MemoryStore):
        return [store]
    if isinstance(store, AllowAll | DenyAll):
        return []
    if isinstance(store, Fallback):
        return [*_memories(cast("Any", store).first), *_memories(store.second)]
    inner = getattr(store, "store", None)
    if inner is None:
        raise TypeError(f"{store!r} isn't in memory: give each test keys or a prefix of its own")
    return _memories(inner)


def _remaining(response: Response) -> dict[str, int]:
    """Return what is left of each limit that a response tells of."""
    field = response.headers.get("ratelimit")
    if field is not None:
        return dict(_items(field))
    for name in _OLDER:
        if name in response.headers:
            return {"": int(response.headers[name])}
    return {}


def _items(field: str) -> Iterator[tuple[str, int]]:
    """Read the items of `RateLimit`, which has to be well-formed."""
    at = 0
    while at < len(field):
        item = _ITEM.match(field, at)
        left = re.search(r";\s*r=(\d+)", item[2]) if item else None
        if item is None or left is None:
            raise AssertionError(f"expected a well-formed RateLimit, not {field!r}")
        yield re.sub(r"\\(.)", r"\1", item[1]), int(left[1])
        at = item.end()


def _told(response: Response) -> str:
    """Return what a response says of limits, for a message."""
    told = [
        f"{name}: {value}"
        for name, value in response.headers.items()
        if name.lower() == "retry-after" or "ratelimit" in name.lower()
    ]
    return f"{response.status_code} ({', '.join(told) or 'without any fields of limits'})"
