"""What users may write by mistake, with what each checker has to say to that line."""

from __future__ import annotations

from typing import assert_type

import redis
import redis.asyncio

from ratelimit import AsyncLimiter, FixedWindow, Limiter, Quota, TokenBucket, rate_limited
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from tests.typing.accepted import Client, coroutine, function

TEN = TokenBucket("10/second")
limiter = Limiter(TEN)
awaiting = AsyncLimiter(TEN)
decision = limiter.hit("key")

assert_type(decision.remaining, float)  # refused: assert-type reportAssertTypeFailure

Quota("10", 1)  # refused: arg-type reportArgumentType
Quota.parse(10)  # refused: arg-type reportArgumentType
FixedWindow(10)  # refused: arg-type reportArgumentType
FixedWindow("10/s", burst=5)  # refused: call-arg reportCallIssue
TokenBucket("10/s", burst="5")  # refused: arg-type reportArgumentType
Limiter("10/s")  # refused: arg-type reportArgumentType
Limiter([TEN])  # refused: arg-type reportArgumentType
Limiter({"ten": "10/s"})  # refused: dict-item reportArgumentType
Limiter(TEN, "memory://")  # refused: call-arg reportCallIssue
Limiter(TEN, name=10)  # refused: arg-type reportArgumentType
Limiter(TEN, store=10)  # refused: arg-type reportArgumentType
Limiter(TEN, store=AsyncRedisStore("redis://localhost"))  # refused: arg-type reportArgumentType
AsyncLimiter(TEN, store=RedisStore("redis://localhost"))  # refused: arg-type reportArgumentType
RedisStore(redis.asyncio.Redis())  # refused: arg-type reportArgumentType
AsyncRedisStore(redis.Redis())  # refused: arg-type reportArgumentType
RedisStore(redis.asyncio.RedisCluster("one"))  # refused: arg-type reportArgumentType
AsyncRedisStore(redis.RedisCluster("one"))  # refused: arg-type reportArgumentType

limiter.hit(42)  # refused: arg-type reportArgumentType
limiter.hit(b"key")  # refused: arg-type reportArgumentType
limiter.hit("key", 1.5)  # refused: arg-type reportArgumentType
limiter.hit("key", "1")  # refused: arg-type reportArgumentType
limiter.hit()  # refused: call-arg reportCallIssue
limiter.charge("key")  # refused: call-arg reportCallIssue
limiter.acquire("key", 1, 1.5)  # refused: call-arg reportCallIssue
limiter.acquire("key", timeout="1")  # refused: arg-type reportArgumentType
limiter.reserve("key", {"default": 1})  # refused: arg-type reportArgumentType
limiter.refund("key")  # refused: arg-type reportArgumentType
print(decision.allowed_now)  # refused: attr-defined reportAttributeAccessIssue
decision.remaining = 5  # refused: misc reportAttributeAccessIssue
print(awaiting.hit("key").allowed)  # refused: attr-defined reportAttributeAccessIssue
with awaiting.guard("key"):  # refused: attr-defined reportGeneralTypeIssues
    pass

rate_limited("10/s")  # refused: arg-type reportArgumentType
rate_limited(TEN, "key")  # refused: call-arg reportCallIssue
rate_limited(TEN, key=42)  # refused: arg-type reportArgumentType
rate_limited(TEN, key=len)  # refused: arg-type reportArgumentType
rate_limited(TEN, cost="1")  # refused: arg-type reportArgumentType
rate_limited(TEN, cost=str)  # refused: arg-type reportArgumentType
rate_limited(TEN)("function")  # refused: call-overload reportArgumentType reportCallIssue

function("1")  # refused: arg-type reportArgumentType
function(1, "text")  # refused: call-arg reportCallIssue
function(1, colour="red")  # refused: call-arg reportCallIssue
function()  # refused: call-arg reportCallIssue
coroutine(1).hex()  # refused: attr-defined reportAttributeAccessIssue
Client().method(1)  # refused: arg-type reportArgumentType
Client.method(1, "/")  # refused: arg-type reportArgumentType
Client.outside_class(1)  # refused: arg-type reportArgumentType
Client.outside_static()  # refused: call-arg reportCallIssue
Client.inside_static(1)  # refused: arg-type reportArgumentType
