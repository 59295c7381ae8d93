"""What users write, and the types that they get."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Iterator, Mapping
from datetime import timedelta
from typing import Any, assert_type

import redis
import redis.asyncio

from ratelimit import (
    AsyncLimiter,
    Decision,
    FixedWindow,
    LeakyBucket,
    Limiter,
    MemoryStore,
    Quota,
    RateLimitExceeded,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
    per,
    per_minute,
    rate_limited,
)
from ratelimit.async_limiter import AsyncGuard, AsyncReservation
from ratelimit.limiter import Guard, Reservation
from ratelimit.stores.redis import AsyncRedisStore, RedisStore

assert_type(Quota.parse("100/minute"), Quota)
assert_type(Quota(5, timedelta(minutes=1)).limit, int)
assert_type(Quota(5, 0.5).period, float)
assert_type(per(10, 5), Quota)
assert_type(per_minute(5), Quota)

ALGORITHMS = (
    FixedWindow("1/s"),
    SlidingLog(per_minute(1), max_debt=0),
    SlidingWindowCounter(Quota(1, 1)),
    TokenBucket("1/s", burst=20),
    LeakyBucket("1/s", capacity=20),
)
TEN = TokenBucket("10/second")

limiter = Limiter(TEN)
awaiting = AsyncLimiter(TEN)
decision = limiter.hit("key")

assert_type(decision, Decision)
assert_type(bool(decision), bool)
assert_type(decision.allowed, bool)
assert_type(decision.cost, int)
assert_type(decision.key, str)
assert_type(decision.name, str)
assert_type(decision.limit, int)
assert_type(decision.remaining, int)
assert_type(decision.retry_after, float)
assert_type(decision.reset_after, float)
assert_type(decision.delay, float)
assert_type(decision.limits, Mapping[str, Decision])
assert_type(decision.denied, tuple[str, ...])
assert_type(decision.degraded, bool)
assert_type(RateLimitExceeded(decision).decision, Decision)

Limiter(TEN, store="redis://localhost", name="ten")
Limiter(TEN, store=MemoryStore(max_keys=10, clock=lambda: 0))
Limiter(TEN, store=RedisStore("redis://localhost"))
Limiter(TEN, store=RedisStore(redis.Redis(), prefix="app"))
Limiter(TEN, store=RedisStore(redis.RedisCluster("one")))
Limiter({"burst": TEN, "daily": FixedWindow("1000/day")})
Limiter({str(number): algorithm for number, algorithm in enumerate(ALGORITHMS)})
AsyncLimiter(TEN, store="memory://", name="ten")
AsyncLimiter(TEN, store=MemoryStore())
AsyncLimiter(TEN, store=AsyncRedisStore("redis://localhost"))
AsyncLimiter(TEN, store=AsyncRedisStore(redis.asyncio.Redis()))
AsyncLimiter(TEN, store=AsyncRedisStore(redis.asyncio.RedisCluster("one")))


def blocks() -> None:
    """Every method of a limiter."""
    assert_type(limiter.hit("key", 3), Decision)
    assert_type(limiter.hit("key", cost=3), Decision)
    assert_type(limiter.hit({"burst": "a", "daily": "b"}, {"burst": 1, "daily": 2}), Decision)
    assert_type(limiter.peek("key", 3), Decision)
    assert_type(limiter.charge("key", 3), Decision)
    assert_type(limiter.refund(decision), bool)
    assert_type(limiter.acquire("key", 3, timeout=1.5), Decision)
    assert_type(limiter.enter("key", 3, timeout=None), Decision)
    assert_type(limiter.guard("key", 3, timeout=1), Guard)
    with limiter.guard("key") as entered:
        assert_type(entered, Decision)
    with limiter.reserve("key", 100, timeout=1) as reservation:
        assert_type(reservation, Reservation)
        assert_type(reservation.decision, Decision)
        reservation.settle(80)
    limiter.reset("key")
    with Limiter(TEN) as itself:
        assert_type(itself, Limiter)
    limiter.close()


async def awaits() -> None:
    """Every method of an awaiting limiter."""
    waiting: Coroutine[Any, Any, Decision] = awaiting.hit("key")
    assert_type(await waiting, Decision)
    assert_type(await awaiting.hit("key", cost=3), Decision)
    assert_type(await awaiting.hit({"burst": "a"}, {"burst": 1}), Decision)
    assert_type(await awaiting.peek("key", 3), Decision)
    assert_type(await awaiting.charge("key", 3), Decision)
    assert_type(await awaiting.refund(decision), bool)
    assert_type(await awaiting.acquire("key", 3, timeout=1.5), Decision)
    assert_type(await awaiting.enter("key", 3, timeout=None), Decision)
    assert_type(awaiting.guard("key", 3, timeout=1), AsyncGuard)
    async with awaiting.guard("key") as entered:
        assert_type(entered, Decision)
    async with await awaiting.reserve("key", 100, timeout=1) as reservation:
        assert_type(reservation, AsyncReservation)
        assert_type(reservation.decision, Decision)
        await reservation.settle(80)
    await awaiting.reset("key")
    async with AsyncLimiter(TEN) as itself:
        assert_type(itself, AsyncLimiter)
    await awaiting.aclose()


@rate_limited(TEN)
def function(user: int, *, text: str = "") -> float:
    """Do something."""
    return user + len(text)


@rate_limited(TEN, key=lambda user: f"user:{user}", cost=lambda user: 2, timeout=1.5)
async def coroutine(user: int) -> bytes:
    """Do something later."""
    return bytes(user)


@rate_limited({"burst": TEN, "daily": FixedWindow("1000/day")}, key="all", cost=2)
def generator(count: int) -> Generator[int, str, bytes]:
    """Yield, and take what is sent."""
    sent = yield count
    return sent.encode()


@rate_limited(limiter)
def iterator(count: int) -> Iterator[int]:
    """Yield."""
    yield count


@rate_limited(awaiting)
async def async_generator(count: int) -> AsyncGenerator[int, str]:
    """Yield, and take what is sent."""
    yield count


@rate_limited(TEN, store=MemoryStore(), name="ten")
async def async_iterator(count: int) -> AsyncIterator[int]:
    """Yield."""
    yield count


class Client:
    """What has methods."""

    @rate_limited(TEN)
    def method(self, path: str) -> bytes:
        """Ask."""
        return path.encode()

    @rate_limited(TEN, key=lambda self, path: f"path:{path}")
    async def async_method(self, path: str) -> bytes:
        """Ask, and wait."""
        return path.encode()

    @rate_limited(TEN)
    @classmethod
    def outside_class(cls, path: str) -> bytes:
        """Ask."""
        return path.encode()

    @classmethod
    @rate_limited(TEN)
    def inside_class(cls, path: str) -> bytes:
        """Ask."""
        return path.encode()

    @rate_limited(TEN)
    @staticmethod
    def outside_static(path: str) -> bytes:
        """Ask."""
        return path.encode()

    @staticmethod
    @rate_limited(TEN)
    def inside_static(path: str) -> bytes:
        """Ask."""
        return path.encode()


async def calls(client: Client) -> None:
    """Call what is decorated."""
    assert_type(function(1), float)
    assert_type(function(user=1, text=""), float)
    waiting: Coroutine[Any, Any, bytes] = coroutine(1)
    assert_type(await waiting, bytes)
    assert_type(await coroutine(user=1), bytes)
    assert_type(generator(count=1), Generator[int, str, bytes])
    assert_type(iterator(1), Iterator[int])
    assert_type(async_generator(1), AsyncGenerator[int, str])
    assert_type(async_iterator(1), AsyncIterator[int])
    assert_type(client.method("/"), bytes)
    assert_type(Client.method(client, path="/"), bytes)
    assert_type(await client.async_method("/"), bytes)
    assert_type(client.outside_class("/"), bytes)
    assert_type(Client.outside_class(path="/"), bytes)
    assert_type(Client.inside_class("/"), bytes)
    assert_type(client.outside_static("/"), bytes)
    assert_type(Client.outside_static(path="/"), bytes)
    assert_type(Client.inside_static("/"), bytes)
