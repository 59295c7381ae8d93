"""What the tests share: a clock of their own, and every store in both colours."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
import redis
import redis.asyncio
from hypothesis import settings

from ratelimit.algorithms import (
    FixedWindow,
    LeakyBucket,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
)
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.limiter import Limiter
from ratelimit.stores import AsyncFallbackStore, FallbackStore
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from tests import clusters, servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ratelimit.algorithms import Algorithm

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("default")
if os.environ.get("CI"):
    settings.load_profile("ci")

ALGORITHMS: tuple[type[Algorithm], ...] = (
    FixedWindow,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
    LeakyBucket,
)
every_kind = pytest.mark.parametrize("kind", ALGORITHMS, ids=lambda kind: kind.kind)
PATIENT = 20.0
"""A deadline for tests that aren't about deadlines, in seconds: they share two busy cores."""


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self, now: int = 1_790_000_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        """Return the time in microseconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on, or back."""
        self.now += round(seconds * 1_000_000)


class Blocking:
    """An `AsyncLimiter` with the face of a `Limiter`, on a loop of its own."""

    def __init__(self, limiter: AsyncLimiter, loop: asyncio.AbstractEventLoop) -> None:
        self._limiter = limiter
        self._loop = loop

    def run(self, waiting: Any) -> Any:
        """Wait for something."""
        return self._loop.run_until_complete(waiting)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return the method that waits for its twin."""
        method = getattr(self._limiter, name)
        return lambda *args, **options: self._loop.run_until_complete(method(*args, **options))


@contextmanager
def maker(colour: str) -> Iterator[Callable[..., Any]]:
    """Give a function that makes limiters in a colour, which are closed afterwards."""
    with ExitStack() as stack:

        def make(store: Any, limits: Any, deadline: float = PATIENT, **options: Any) -> Any:
            if colour == "sync":
                opened = stack.enter_context(RedisStore(store, deadline=deadline, **options))
                return Limiter(limits, store=opened)
            loop = asyncio.new_event_loop()
            stack.callback(loop.close)
            async_store = AsyncRedisStore(store, deadline=deadline, **options)
            limiter = Blocking(AsyncLimiter(limits, store=async_store), loop)
            stack.callback(limiter.aclose)
            return limiter

        yield make


def check(limiter: Any) -> Any:
    """Check the store of a limiter of either colour."""
    if isinstance(limiter, Blocking):
        return limiter.run(wrong(limiter._limiter.store).check())
    return limiter.store.check()


def wrong(value: Any) -> Any:
    """Return what a type checker would refuse, to see it refused at run time."""
    return value


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture(scope="session")
def ports() -> Iterator[Callable[[str], int]]:
    """Return a function that runs a server at first use, and gives its port."""
    running: dict[str, tuple[Any, int]] = {}

    def port_of(kind: str) -> int:
        if kind not in running:
            context = servers.running(kind)
            running[kind] = (context, context.__enter__())
        return running[kind][1]

    yield port_of
    for context, _ in running.values():
        context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def cluster() -> Iterator[clusters.Cluster]:
    """Run a cluster of three primaries, which nobody changes."""
    with clusters.built(3) as cluster:
        yield cluster


SERVERS = ("fakeredis", *servers.KINDS)
BACKENDS = (
    "memory",
    "fallback",
    "fakeredis",
    *servers.KINDS,
    "redis-7.0-resp3",
    "valkey-9.1-decoded",
    "cluster",
)


def _options(backend: str) -> dict[str, Any]:
    protocol = 3 if backend.endswith("resp3") else 2
    return {"protocol": protocol, "decode_responses": backend.endswith("decoded")}


def _kind(backend: str) -> str:
    return backend.removesuffix("-resp3").removesuffix("-decoded")


@pytest.fixture(
    params=[f"{backend}-{colour}" for backend in BACKENDS for colour in ("sync", "async")]
)
def make_limiter(
    request: pytest.FixtureRequest, clock: Clock, ports: Callable[[str], int]
) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a limiter on each store, in each colour, on the test's clock.

    All limiters of a test share a store, whose keys are gone when the test begins.
    """
    backend, _, colour = request.param.rpartition("-")
    loop = asyncio.new_event_loop()
    closers: list[Callable[[], object]] = [loop.close]
    if backend in {"memory", "fallback"}:
        memory: Any = MemoryStore(clock=clock)
        awaited: Any = memory
        if backend == "fallback":
            awaited = AsyncFallbackStore(AsyncMemoryStore(memory), MemoryStore(clock=clock))
            memory = FallbackStore(memory, MemoryStore(clock=clock))

        def make(limits: Any, **options: Any) -> Any:
            if colour == "sync":
                return Limiter(limits, store=memory, **options)
            return Blocking(AsyncLimiter(limits, store=awaited, **options), loop)

    else:
        if backend == "cluster":
            cluster = request.getfixturevalue("cluster")
            cluster.flush()
            blocking: Any = cluster.url
            awaiting: Any = cluster.url
        else:
            if backend == "fakeredis":
                server = fakeredis.FakeServer()
                blocking = fakeredis.FakeRedis(server=server)
                awaiting = fakeredis.FakeAsyncRedis(server=server)
            else:
                port = ports(_kind(backend))
                blocking = redis.Redis(port=port, **_options(backend))
                awaiting = redis.asyncio.Redis(port=port, **_options(backend))
            blocking.flushall()
            closers[:0] = [blocking.close, lambda: loop.run_until_complete(awaiting.aclose())]

        def make(limits: Any, **options: Any) -> Any:
            if colour == "sync":
                store = RedisStore(blocking, deadline=PATIENT, clock=clock)
                closers.insert(0, store.close)
                return Limiter(limits, store=store, **options)
            async_store = AsyncRedisStore(awaiting, deadline=PATIENT, clock=clock)
            closers.insert(0, lambda: loop.run_until_complete(async_store.aclose()))
            return Blocking(AsyncLimiter(limits, store=async_store, **options), loop)

    yield make
    for close in closers:
        close()
