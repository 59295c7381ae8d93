"""Limit routes and endpoints: a dependency for FastAPI, a decorator for Starlette."""

# No annotation here is postponed: FastAPI reads those of a dependency, and couldn't resolve them.

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial, wraps
from itertools import count
from typing import Any, ParamSpec, TypeVar, cast, overload

from starlette.concurrency import run_in_threadpool
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.requests import HTTPConnection

from ratelimit.algorithms.base import Algorithm
from ratelimit.asgi.answers import REFUSED
from ratelimit.asgi.checkpoint import Checkpoint, RoutedRule
from ratelimit.asgi.clients import client_ip
from ratelimit.asgi.keys import Key
from ratelimit.asgi.protocol import Scope
from ratelimit.asgi.rules import Test, Unknown
from ratelimit.asgi.stores import Stores
from ratelimit.decision import Decision
from ratelimit.decorator import _colour
from ratelimit.limits import of_limit
from ratelimit.quota import whole
from ratelimit.refusals import refusal_of
from ratelimit.stores.base import AsyncStore
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.opening import OnError

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=type[HTTPEndpoint | WebSocketEndpoint])

Chosen = Algorithm | Callable[[Scope], Algorithm | Awaitable[Algorithm]]
"""An algorithm, or a function that says which."""
Who = str | Key
"""A key, or a function that says which."""
Cost = int | Callable[[Scope], int | Awaitable[int]]
"""What a request costs, or a function that says so."""

_CLIENT = client_ip()
_unnamed = count(1)


class RateLimit:
    """Limit the requests that come to a route, a router or an application.

    It is a dependency of FastAPI's, `Depends(RateLimit(...))`, which gives the `Decision`; and its
    method `endpoint` decorates endpoints of Starlette's. A request that is denied is answered with
    429 as by `RateLimitMiddleware`, and a WebSocket isn't accepted. If there is such a middleware
    outside, it tells what was decided in the fields of every response, and what its rules have
    charged for a request that is denied here is given back.

    One object is one limit, wherever it is used. As a dependency of the application and of the
    route at once it is charged once a request.

    Every function gets the ASGI scope of the request, and may be a coroutine function.

    Args:
        limits: An algorithm, a function that says which, or a mapping of names to these: then
            they are one decision, all or nothing.
        key: Who is charged, as in a `Rule`, where `path_param` is a parameter of the route. The
            address of the client if not given. Of several limits each may have its own: then it is
            a mapping of their names to keys.
        cost: What a request costs, or a function that says so; 0 isn't counted. Of several limits
            each may have its own, as with `key`.
        name: What clients know the limit by, if there is one only: 1 to 64 of A-Z a-z 0-9 _ -.
            Limits of one name and algorithm in one store share their states.
        store: Where states are kept: a store, or its URL (`"memory://"`, `"redis://..."`), for
            which it opens one of its own. A `MemoryStore` of its own if not given.
        on_error: What to do while the store can't decide: `"local"`, `"open"`, `"closed"` or
            `"raise"`, as for `RateLimitMiddleware`.
        nodes: Among how many processes a limit is shared while each decides for itself.
        when: A function that says whether the limits are for a request.
        exempt: Who isn't limited: a function that says so, or a list of networks.
        unknown: What to do if it can't be told who is charged or how much: `"shared"`, `"exempt"`
            or `"deny"`.
        shadow: Whether it only decides and reports, tells clients nothing and denies none.
        wait: How many seconds a request may be held back instead of being denied.
        jitter: Up to how many seconds more a client is told to wait.
        max_waiting: How many requests may be held back at once.

    Raises:
        TypeError: An argument has the wrong type, or there is a store and no name.
        ValueError: An argument can't be used, one of the limits has no key or cost, or its cost is
            more than it ever admits.

    """

    def __init__(
        self,
        limits: Chosen | Mapping[str, Chosen],
        *,
        key: Who | Mapping[str, Who] = _CLIENT,
        cost: Cost | Mapping[str, Cost] = 1,
        name: str | None = None,
        store: AsyncStore | MemoryStore | str | None = None,
        on_error: OnError = "local",
        nodes: int = 1,
        when: Test | None = None,
        exempt: Test | Iterable[str] | None = None,
        unknown: Unknown = "shared",
        shadow: bool = False,
        wait: float = 0,
        jitter: int = 0,
        max_waiting: int = 1000,
    ) -> None:
        alone = not isinstance(limits, Mapping)
        by_name = _named(limits, name, store)
        rules = [
            RoutedRule(
                each,
                algorithm,
                key=cast("Who", of_limit(key, each, "key", alone)),
                cost=cast("Cost", of_limit(cost, each, "cost", alone)),
                when=when,
                exempt=exempt,
                unknown=unknown,
                shadow=shadow,
                wait=wait,
                jitter=jitter,
            )
            for each, algorithm in by_name.items()
        ]
        _check_names(key, by_name, "key")
        _check_names(cost, by_name, "cost")
        stores = Stores(store, on_error, nodes)
        self.checkpoint = Checkpoint(rules, stores, whole(max_waiting, "max_waiting", 0))
        """What decides, whatever the framework is."""

    async def __call__(self, connection: HTTPConnection) -> Decision:
        """Charge a request or a handshake; the decision, if it is allowed.

        Raises:
            HTTPException: It isn't: with the status, and the fields of the answer. If it was
                denied it is a `RateLimitExceeded` too.

        """
        try:
            return await self.checkpoint.enter(connection.scope)
        except REFUSED as error:
            raise await refusal_of(error, connection) from error

    @overload
    def endpoint(  # type: ignore[overload-overlap]  # a class can be called too
        self, endpoint: E
    ) -> E: ...

    @overload
    def endpoint(
        self, endpoint: Callable[P, Coroutine[Any, Any, R]]
    ) -> Callable[P, Coroutine[Any, Any, R]]: ...

    @overload
    def endpoint(self, endpoint: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]: ...

    def endpoint(self, endpoint: Any) -> Any:
        """Decorate an endpoint of Starlette's: a function, a method, or a class.

        A function gets a request or a WebSocket among its arguments. One that doesn't await runs
        in the thread pool, as it would anyway; a request that is denied takes no thread of it.

        Raises:
            TypeError: It is no such endpoint.

        """
        if isinstance(endpoint, type):
            return self._class(endpoint)
        _check_endpoint(endpoint)
        awaits, _ = _colour(endpoint)

        @wraps(endpoint)
        async def limited(*args: Any, **options: Any) -> Any:
            await self(_connection_of(endpoint, (*args, *options.values())))
            if awaits:
                return await endpoint(*args, **options)
            return await run_in_threadpool(endpoint, *args, **options)

        return limited

    async def aclose(self) -> None:
        """Close the store. A store that was handed in is closed too; twice does no harm."""
        await self.checkpoint.stores.aclose()

    def _class(self, kind: type) -> type:
        """Return a class of endpoints, limited."""
        if not issubclass(kind, HTTPEndpoint | WebSocketEndpoint):
            raise TypeError(
                f"a class of endpoints is an HTTPEndpoint or a WebSocketEndpoint: {kind!r}"
            )
        limit = self

        async def dispatch(self: Any) -> None:
            await limit(HTTPConnection(self.scope))
            await kind.dispatch(self)

        names = ("__module__", "__qualname__", "__doc__")
        return type(
            kind.__name__,
            (kind,),
            {"dispatch": dispatch, **{name: getattr(kind, name) for name in names}},
        )


def _named(
    limits: Chosen | Mapping[str, Chosen], name: str | None, store: object
) -> Mapping[str, Chosen]:
    """Return the limits by name; one without a name gets one, and no other limit's states."""
    if isinstance(limits, Mapping):
        if name is not None:
            raise TypeError(f"a mapping names its limits itself: leave out the name {name!r}")
        return limits
    if name is not None:
        return {name: limits}
    if store is not None:
        raise TypeError(
            "limits share the states of one name in a store: give this limit a name of its own, "
            "or leave out the store"
        )
    return {f"limit-{next(_unnamed)}": limits}


def _check_names(given: object, limits: Mapping[str, Chosen], what: str) -> None:
    """Refuse what is given to a limit that isn't there."""
    for name in given if isinstance(given, Mapping) else ():
        if name not in limits:
            raise ValueError(f"a {what} is given to {name!r}, but the limits are {list(limits)}")


def _check_endpoint(endpoint: Any) -> None:
    """Refuse what no request can be given to, or what yields its response."""
    is_function = inspect.isroutine(endpoint) or isinstance(endpoint, partial)
    parameters = inspect.signature(endpoint).parameters.values() if is_function else ()
    if not any(map(_may_be_a_request, parameters)) or _colour(endpoint)[1]:
        raise TypeError(f"an endpoint is a function of a request, or a class: not {endpoint!r}")


def _may_be_a_request(parameter: inspect.Parameter) -> bool:
    """Say whether a parameter may be given a request, as far as its annotation tells."""
    kind = parameter.annotation
    if kind is parameter.empty or kind is Any or not isinstance(kind, type):
        return True
    return issubclass(kind, HTTPConnection) or kind in HTTPConnection.__mro__


def _connection_of(endpoint: object, given: Iterable[object]) -> HTTPConnection:
    """Return the request or WebSocket among the arguments of an endpoint."""
    for each in given:
        if isinstance(each, HTTPConnection):
            return each
    raise TypeError(f"{endpoint!r} was called without a request, and can't be limited")
