"""Limit the calls of a function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ratelimit.async_limiter import AsyncLimiter
from ratelimit.limiter import Limiter
from ratelimit.limits import check_names, of_limit
from ratelimit.stores.base import check_cost, check_key
from ratelimit.waiting import Deadline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator

    from ratelimit.limits import Costs, Keys, Limits
    from ratelimit.stores.base import AsyncStore, Store

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
Y = TypeVar("Y")

_ODD = re.compile(r"[^A-Za-z0-9_.:-]")
_LONGEST = 128


def rate_limited(
    limit: Limits | Limiter | AsyncLimiter,
    *,
    key: Keys | Callable[..., Keys] | None = None,
    cost: Costs | Callable[..., Costs] = 1,
    timeout: float | None = None,
    store: Store | AsyncStore | str | None = None,
    name: str | None = None,
) -> Decorator:
    """Let a function be called as often as a limit allows.

    It serves functions and methods, coroutine functions, generator functions of both colours
    (charged when they are first asked for a value), and `classmethod` and `staticmethod` on
    either side of it. A call that is denied raises `RateLimitExceeded`, and does not run.

    For several limits give a mapping rather than decorate twice: they are then one decision. The
    function's attribute `limiter` is what limits it.

    Args:
        limit: An algorithm, a mapping of names to algorithms, or a limiter: an `AsyncLimiter`
            for what awaits, a `Limiter` for what doesn't.
        key: Who is charged: a text, or a function of the call's arguments (of a method, `self`
            too). All who call the function share one key if not given. Of several limits each
            can have a key of its own: then it is, or the function returns, a mapping.
        cost: How much: a whole number, or a function of the call's arguments, in the same way.
        timeout: The seconds that a call may wait for its turn. None: it raises at once.
        store: Where states are kept, as for `Limiter`; each function has a `MemoryStore` of its
            own if not given.
        name: The limit's name. The function's module and qualified name if not given, so
            functions that have these in common need names to be apart on one store.

    Raises:
        TypeError: An argument has the wrong type, or doesn't go with the limit or the function.
        ValueError: A key, cost, timeout or name can't be used, or a cost never fits.

    """
    _check_limit(limit, store, name)
    Deadline(timeout)
    if key is not None:
        _check_given(key, check_key, "a key")
    _check_given(cost, check_cost, "a cost")
    return Decorator(limit, key, cost, timeout, store, name)


@dataclass(frozen=True, slots=True)
class Decorator:
    """What `rate_limited` returns: it limits the function that it is called with."""

    limit: Limits | Limiter | AsyncLimiter
    key: Keys | Callable[..., Keys] | None
    cost: Costs | Callable[..., Costs]
    timeout: float | None
    store: Store | AsyncStore | str | None
    name: str | None

    @overload
    def __call__(self, function: classmethod[C, P, R]) -> classmethod[C, P, R]: ...

    @overload
    def __call__(self, function: staticmethod[P, R]) -> staticmethod[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]: ...

    def __call__(self, function: object) -> object:
        """Return the function, limited, with its signature.

        Raises:
            TypeError: It is no function, has no name where one is needed, or awaits what its
                limiter doesn't, or the other way round.
            ValueError: The key or name can't be used, or the cost never fits.

        """
        if isinstance(function, classmethod):
            return classmethod(self._limited(function.__func__))
        if isinstance(function, staticmethod):
            return staticmethod(self._limited(function.__func__))
        return self._limited(function)

    def _limited(self, function: object) -> Callable[..., object]:
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"rate_limited decorates functions and methods, not {function!r}")
        self._check_named(function)
        awaits, yields = _colour(function)
        limiter = self._limiter(function, awaits)
        key = check_key(_path(function, ":")) if self.key is None else self.key
        _check_fits(key, self.cost, limiter)
        enter = _entrance(limiter.enter, _made(key), _made(self.cost), self.timeout)
        limited = _SHELLS[awaits, yields](function, enter)
        vars(limited)["limiter"] = limiter
        return limited

    def _limiter(self, function: Callable[..., object], awaits: bool) -> Limiter | AsyncLimiter:
        kind: Callable[..., Limiter | AsyncLimiter] = AsyncLimiter if awaits else Limiter
        if isinstance(self.limit, Limiter | AsyncLimiter):
            _check_colour(function, self.limit, awaits)
            return self.limit
        if isinstance(self.limit, Mapping):
            return kind(self.limit, store=self.store)
        name = _plain(_path(function, ".")) if self.name is None else self.name
        return kind(self.limit, store=self.store, name=name)

    def _check_named(self, function: Callable[..., object]) -> None:
        if _path(function, "."):
            return
        needed = {"a key": self.key}
        if not isinstance(self.limit, Limiter | AsyncLimiter | Mapping):
            needed["a name"] = self.name
        if None in needed.values():
            raise TypeError(
                f"{function!r} has no qualified name: give rate_limited {' and '.join(needed)}"
            )


def _check_limit(limit: object, store: object, name: object) -> None:
    """Check that a limit which has a store or name isn't given another."""
    if isinstance(limit, Limiter | AsyncLimiter) and (store is not None or name is not None):
        raise TypeError("a limiter has its store and names: give an algorithm, or neither of them")
    if isinstance(limit, Mapping) and name is not None:
        raise TypeError(f"a mapping names its limits itself: leave out the name {name!r}")


def _check_given(given: object, check: Callable[[object], object], what: str) -> None:
    """Check a constant, or that a function doesn't need to be awaited."""
    if not callable(given):
        for one in given.values() if isinstance(given, Mapping) else (given,):
            check(one)
    elif any(_colour(given)):
        raise TypeError(f"{what} comes from a function that returns it, not from {given!r}")


def _check_colour(
    function: Callable[..., object], limiter: Limiter | AsyncLimiter, awaits: bool
) -> None:
    """Check that a limiter awaits if and only if the function does."""
    if awaits and isinstance(limiter, Limiter):
        raise TypeError(
            f"{function!r} awaits, and a Limiter would block its event loop: "
            f"give rate_limited an AsyncLimiter"
        )
    if not awaits and isinstance(limiter, AsyncLimiter):
        raise TypeError(
            f"{function!r} can't await an AsyncLimiter: "
            f"give rate_limited a Limiter, or make it an async function"
        )


def _check_fits(key: Any, cost: Any, limiter: Limiter | AsyncLimiter) -> None:
    """Check that a constant key and cost are for the limits, which admit the cost at some time."""
    for name, algorithm in limiter.limits.items():
        if not callable(key):
            of_limit(key, name, "key", limiter._alone)
        if not callable(cost):
            units = of_limit(cost, name, "cost", limiter._alone)
            if units > algorithm.max_cost:
                raise ValueError(f"a cost of {units} never fits a limit of {algorithm.max_cost}")
    check_names(key, limiter.limits)
    check_names(cost, limiter.limits)


def _path(function: object, joint: str) -> str:
    """Return a function's module and qualified name, or nothing if it lacks one of them."""
    module: str | None = getattr(function, "__module__", None)
    qualname: str | None = getattr(function, "__qualname__", None)
    return f"{module}{joint}{qualname}" if module and qualname else ""


def _plain(path: str) -> str:
    """Return a path as a limit's name: with a digest if it had to be changed, to be no other's."""
    plain = _ODD.sub("_", path)
    if plain == path and len(path) <= _LONGEST:
        return path
    digest = blake2b(path.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{plain[-_LONGEST + len(digest) + 1 :]}-{digest}"


def _colour(function: object) -> tuple[bool, bool]:
    """Say whether a function awaits, and whether it yields."""
    while isinstance(function, partial):
        function = function.func
    code = function if inspect.isroutine(function) else type(function).__call__
    both = inspect.isasyncgenfunction(code)
    return both or inspect.iscoroutinefunction(code), both or inspect.isgeneratorfunction(code)


def _made(given: R | Callable[..., R]) -> Callable[..., R]:
    """Return what makes a key or cost of a call's arguments."""
    return given if callable(given) else lambda *_args, **_options: given


def _entrance(
    enter: Callable[..., R],
    key: Callable[..., Keys],
    cost: Callable[..., Costs],
    timeout: float | None,
) -> Callable[..., R]:
    """Return a limiter's `enter` as a function of a call's arguments."""

    def entrance(*args: object, **options: object) -> R:
        return enter(key(*args, **options), cost(*args, **options), timeout=timeout)

    return entrance


def _function(function: Callable[P, R], enter: Callable[P, object]) -> Callable[P, R]:
    @wraps(function)
    def limited(*args: P.args, **options: P.kwargs) -> R:
        enter(*args, **options)
        return function(*args, **options)

    return limited


def _generator(
    function: Callable[P, Generator[Y, S, R]], enter: Callable[P, object]
) -> Callable[P, Generator[Y, S, R]]:
    @wraps(function)
    def limited(*args: P.args, **options: P.kwargs) -> Generator[Y, S, R]:
        enter(*args, **options)
        return (yield from function(*args, **options))

    return limited


def _coroutine(
    function: Callable[P, Awaitable[R]], enter: Callable[P, Awaitable[object]]
) -> Callable[P, Coroutine[object, object, R]]:
    @wraps(function)
    async def limited(*args: P.args, **options: P.kwargs) -> R:
        await enter(*args, **options)
        return await function(*args, **options)

    return limited


def _async_generator(
    function: Callable[P, AsyncGenerator[Y, S]], enter: Callable[P, Awaitable[object]]
) -> Callable[P, AsyncGenerator[Y, S]]:
    @wraps(function)
    async def limited(*args: P.args, **options: P.kwargs) -> AsyncGenerator[Y, S]:
        await enter(*args, **options)
        inner = function(*args, **options)
        try:
            value = await anext(inner)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001  # whatever is thrown is passed on
                    value = await inner.athrow(error)
                else:
                    value = await inner.asend(sent)
        except StopAsyncIteration:
            return
        finally:
            await inner.aclose()

    return limited


_SHELLS: dict[tuple[bool, bool], Callable[..., Callable[..., object]]] = {
    (False, False): _function,
    (False, True): _generator,
    (True, False): _coroutine,
    (True, True): _async_generator,
}
