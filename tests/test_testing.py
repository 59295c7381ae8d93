"""Limits are switched off, frozen, forgotten and asserted on."""

from __future__ import annotations

import asyncio
from math import inf
from threading import Thread
from typing import Any

import fakeredis
import httpx2
import pytest
import requests
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ratelimit import (
    AsyncLimiter,
    FixedWindow,
    LeakyBucket,
    Limiter,
    MemoryStore,
    RateLimitExceeded,
    TokenBucket,
    rate_limited,
)
from ratelimit.asgi import RateLimitMiddleware, Rule, RuleBook, client_ip
from ratelimit.stores import AllowAll, AsyncFallbackStore, FallbackStore
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from ratelimit.testing import (
    Clock,
    assert_allowed,
    assert_limited,
    forget_all,
    frozen,
    unlimited,
)
from tests.applications import ok, statuses
from tests.conftest import wrong

ONE = FixedWindow("1/day")
SEVERAL = {"a": ONE, "b": TokenBucket("2/day")}


class Error(Exception):
    """Something goes wrong inside."""


@rate_limited(ONE)
def greet() -> str:
    """Greet once a day."""
    return "hello"


def app_with(rule: Rule, store: MemoryStore | None = None) -> Starlette:
    """Return an application that is limited."""

    async def hello(request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    middleware = Middleware(RateLimitMiddleware, rules=[rule], store=store)
    return Starlette(routes=[Route("/", hello)], middleware=[middleware])


def daily() -> Rule:
    """Return a rule that allows one request a day."""
    return Rule("daily", ONE, key=client_ip())


def response_of(status: int = 200, **fields: str) -> Response:
    """Return a response with these fields."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return Response(status_code=status, headers=headers)


def test_the_clock_moves_when_it_is_told_to() -> None:
    """Time stands still, and moves on and back to the microsecond."""
    clock = Clock(now=5_000_000)
    assert clock() == clock.now == 5_000_000
    clock.advance(1.000001)
    assert clock() == 6_000_001
    clock.advance(-6)
    assert clock() == 1


def test_a_store_runs_by_the_clock() -> None:
    """A window ends when the clock says so, and no sooner."""
    clock = Clock()
    limiter = Limiter(FixedWindow("1/10 seconds"), store=MemoryStore(clock=clock))
    assert limiter.hit("k")
    wait = limiter.hit("k").retry_after
    clock.advance(wait - 0.000001)
    assert not limiter.hit("k")
    clock.advance(0.000001)
    assert limiter.hit("k")


def test_clear_forgets_all_keys() -> None:
    """A store that was cleared remembers nobody, in either generation, and goes on counting."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    limiter = Limiter(ONE, store=store)
    limiter.hit("older")
    clock.advance(86_400)
    limiter.hit("recent")
    assert len(store) == 2
    store.clear()
    assert len(store) == 0
    assert [limiter.hit("recent").allowed for _ in range(2)] == [True, False]


@pytest.mark.parametrize("limits", [ONE, SEVERAL], ids=["one", "several"])
def test_unlimited_allows_all_and_charges_nothing(limits: Any) -> None:
    """While it is off everything is allowed, even what never fits, and nothing is charged."""
    limiter = Limiter(limits)
    with unlimited(limiter):
        decisions = [limiter.hit("k", 7) for _ in range(3)]
        assert all(decisions)
        assert {decision.spent for decision in decisions} == {0}
        assert {decision.remaining for decision in decisions} == {1}
        assert limiter.peek("k", 9)
        assert limiter.acquire("k", timeout=0)
        assert limiter.charge("k", 9)
        limiter.reserve("k", 1).settle(5)
    assert [limiter.hit("k").allowed for _ in range(2)] == [True, False]


def test_unlimited_checks_what_it_is_given() -> None:
    """A mistake is told even while the limit is off."""
    limiter = Limiter(ONE)
    with unlimited(limiter):
        with pytest.raises(TypeError, match="a key is a str"):
            limiter.hit(wrong(5))
        with pytest.raises(ValueError, match="a cost"):
            limiter.hit("k", -1)


def test_unlimited_awaits_too() -> None:
    """An `AsyncLimiter` is off for all tasks."""

    async def scene(limits: Any) -> None:
        limiter = AsyncLimiter(limits)
        with unlimited(limiter):
            assert all(await asyncio.gather(*(limiter.hit("k", 7) for _ in range(3))))
            assert await limiter.charge("k", 9)
            assert await limiter.peek("k", 9)
            await limiter.reset("k")
        assert [(await limiter.hit("k")).allowed for _ in range(2)] == [True, False]

    asyncio.run(scene(ONE))
    asyncio.run(scene(SEVERAL))


def test_a_queue_that_is_off_holds_nobody_back() -> None:
    """Calls that would have to wait for an hour don't."""
    limiter = Limiter(LeakyBucket("1/hour", capacity=5))
    with unlimited(limiter):
        assert [limiter.acquire("k").delay for _ in range(3)] == [0, 0, 0]


def test_unlimited_gives_back_and_resets_for_real() -> None:
    """What was charged before is given back while it is off, and keys are forgotten."""
    limiter = Limiter(ONE)
    decision = limiter.hit("a")
    limiter.hit("b")
    with unlimited(limiter):
        assert limiter.refund(decision)
        assert not limiter.refund(limiter.hit("a"))
        limiter.reset("b")
    assert limiter.hit("a")
    assert limiter.hit("b")


def test_unlimited_ends_with_an_error() -> None:
    """A limiter is on again after an error inside."""
    limiter = Limiter(ONE)
    with pytest.raises(Error), unlimited(limiter):
        raise Error
    assert [limiter.hit("k").allowed for _ in range(2)] == [True, False]


def test_unlimited_lasts_until_the_last_one_leaves() -> None:
    """Of two who overlap, the first to leave doesn't switch the limit on again."""
    limiter = Limiter(ONE)
    first, second = unlimited(limiter), unlimited(limiter)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert all(limiter.hit("k") for _ in range(3))
    second.__exit__(None, None, None)
    assert [limiter.hit("k").allowed for _ in range(2)] == [True, False]


def test_threads_may_switch_at_any_time() -> None:
    """Hits never fail while other threads switch the limit off and on, and it ends up on."""
    limiter = Limiter(SEVERAL)
    errors: list[BaseException] = []

    def switch() -> None:
        for _ in range(100):
            with unlimited(limiter):
                limiter.hit("k")

    def hit() -> None:
        try:
            for _ in range(1_000):
                limiter.hit("k")
        except Exception as error:  # noqa: BLE001  # whatever it is, the test names it
            errors.append(error)

    threads = [Thread(target=each) for each in (switch, switch, hit, hit)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert not limiter.hit("k", 2)


def test_functions_are_switched_off() -> None:
    """A function that is limited, twice even, can be called as often as the test wants."""
    twice = rate_limited(ONE, name="outer")(rate_limited(TokenBucket("1/day"))(greet))
    forget_all(twice)
    with unlimited(twice):
        assert [twice() for _ in range(3)] == ["hello"] * 3
    assert twice() == "hello"
    with pytest.raises(RateLimitExceeded):
        twice()
    forget_all(twice)
    assert twice() == "hello"


def test_methods_and_coroutines_are_switched_off() -> None:
    """The limiter of a method is found on a bound one."""

    class Service:
        @rate_limited(ONE)
        async def call(self) -> int:
            return 1

    async def scene() -> None:
        service = Service()
        with unlimited(service.call):
            assert [await service.call() for _ in range(3)] == [1, 1, 1]
        await service.call()
        with pytest.raises(RateLimitExceeded):
            await service.call()

    asyncio.run(scene())


@pytest.mark.parametrize("asked", [True, False], ids=["asked", "fresh"])
def test_an_application_is_switched_off(asked: bool) -> None:
    """The middleware of an application lets all requests through, and none of them counts."""
    app = app_with(daily())
    client = TestClient(app)
    if asked:
        assert_allowed(client.get("/"), remaining=0)
        forget_all(app)
    with unlimited(app):
        answers = [client.get("/") for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 200]
    assert not any("ratelimit" in each.headers for each in answers)
    assert_allowed(client.get("/"), remaining=0)
    assert_limited(client.get("/"))


def test_a_middleware_is_switched_off() -> None:
    """A middleware can be named itself; the server's other calls reach it while it is off."""
    middleware = RateLimitMiddleware(app_with(daily()), rules=[daily()], store="memory://")
    kind = type(middleware)
    with unlimited(middleware):
        assert type(middleware).__name__ == kind.__name__
        with TestClient(middleware) as client:
            assert [client.get("/").status_code for _ in range(2)] == [200, 429]
    assert type(middleware) is kind


@pytest.mark.parametrize("switch", [unlimited, frozen, forget_all])
def test_what_has_no_limit_is_refused(switch: Any) -> None:
    """A mistake is told: the test would pass for the wrong reason."""
    with pytest.raises(TypeError, match="neither a limiter nor a function"):
        switch(print).__enter__()


@pytest.mark.parametrize("limits", [ONE, SEVERAL], ids=["one", "several"])
def test_frozen_stops_the_time(limits: Any) -> None:
    """A limiter begins anew on a clock of its own, and has its own states back afterwards."""
    limiter = Limiter(limits, store=MemoryStore())
    limiter.hit("k")
    with frozen(limiter, now=0) as clock:
        assert [limiter.hit("k").allowed for _ in range(2)] == [True, False]
        clock.advance(86_400)
        assert limiter.hit("k")
        assert clock.now == 86_400_000_000
    assert not limiter.hit("k")


def test_frozen_needs_no_server() -> None:
    """A limiter whose server isn't there decides in memory."""
    store = AsyncRedisStore("redis://127.0.0.1:1")
    limiter = AsyncLimiter(ONE, store=store)

    async def scene() -> None:
        with frozen(limiter) as clock:
            assert [(await limiter.hit("k")).allowed for _ in range(2)] == [True, False]
            clock.advance(86_400)
            assert await limiter.hit("k")
            with unlimited(limiter):
                assert await limiter.hit("k", 5)
            assert not await limiter.hit("k")
        assert limiter.store is store
        await limiter.aclose()

    asyncio.run(scene())


def test_frozen_in_unlimited_puts_things_back() -> None:
    """The limit holds by the frozen clock inside, and is off again outside of it."""
    limiter = Limiter(ONE)
    with unlimited(limiter):
        with frozen(limiter):
            assert [limiter.hit("k").allowed for _ in range(2)] == [True, False]
        assert all(limiter.hit("k") for _ in range(3))
    assert [limiter.hit("k").allowed for _ in range(2)] == [True, False]


def test_frozen_applications() -> None:
    """Middleware decides by the frozen clock, with fresh states, and has its own back after it."""
    book = RuleBook([Rule("all", ONE, key="k")])
    app = RateLimitMiddleware(ok, rules=book, store=MemoryStore())
    assert statuses(app, "/", "/") == [200, 429]
    with frozen(app, now=0) as clock:
        assert statuses(app, "/", "/") == [200, 429]
        clock.advance(24 * 3_600)
        assert statuses(app, "/", "/") == [200, 429]
        book.replace([Rule("all", FixedWindow("2/day"), key="k")])
        assert statuses(app, "/", "/") == [200, 429]
        with unlimited(app):
            assert statuses(app, "/", "/") == [200, 200]
    assert statuses(app, "/", "/") == [200, 429]


def test_frozen_applications_need_no_server() -> None:
    """What would be on Redis is in memory."""
    app = RateLimitMiddleware(ok, rules=[Rule("all", ONE, key="k")], store="redis://127.0.0.1:1/0")
    with frozen(app):
        assert statuses(app, "/", "/") == [200, 429]


def test_frozen_ends_with_an_error() -> None:
    """A limiter has its store back after an error inside."""
    limiter = Limiter(ONE)
    store = limiter.store
    with pytest.raises(Error), frozen(limiter):
        raise Error
    assert limiter.store is store


def test_frozen_functions_share_the_clock() -> None:
    """A function and a limiter move together."""
    limiter = Limiter(ONE)
    with frozen(greet, limiter) as clock:
        greet()
        limiter.hit("k")
        clock.advance(86_400)
        assert greet() == "hello"
        assert limiter.hit("k")


def test_everything_in_memory_is_forgotten() -> None:
    """Limiters, middleware, applications and stores of every sort begin anew."""
    store = MemoryStore()
    app = app_with(daily(), store)
    fallback = FallbackStore(MemoryStore(), AllowAll())
    awaited = AsyncFallbackStore(AsyncLimiter(ONE).store, MemoryStore())
    limiter = Limiter(ONE, store=fallback)
    with TestClient(app) as client:
        assert_allowed(client.get("/"))
        limiter.hit("k")
        forget_all(limiter, app, store, fallback, awaited)
        assert_allowed(client.get("/"))
        assert limiter.hit("k")
        with unlimited(limiter):
            forget_all(limiter)
        assert limiter.hit("k")


def test_what_is_elsewhere_is_not_forgotten() -> None:
    """A store that can't be cleared says so: tests would depend on each other."""
    with pytest.raises(TypeError, match="isn't in memory"):
        forget_all(RedisStore(fakeredis.FakeRedis()))


FIELD = '"burst";r=5;t=1, "daily";r=3;t=60;pk=:cHJv:;x="y,z"'


@pytest.mark.parametrize(
    "response",
    [
        response_of(ratelimit=FIELD),
        httpx2.Response(200, headers={"RateLimit": FIELD}),
        response_of(ratelimit_remaining="3"),
        response_of(x_ratelimit_remaining="3"),
    ],
    ids=["starlette", "httpx", "draft-06", "x-ratelimit"],
)
def test_what_is_left_is_read(response: Any) -> None:
    """The least that is told, in whatever fields, is what is left."""
    assert_allowed(response)
    assert_allowed(response, remaining=3)
    with pytest.raises(AssertionError, match="expected 4 to be left, not 3: the response is 200"):
        assert_allowed(response, remaining=4)


def test_what_is_left_of_one_limit_is_read() -> None:
    """A limit is found by its name, quoted as it may be."""
    response = requests.Response()
    response.status_code = 200
    response.headers["ratelimit"] = FIELD
    assert_allowed(response, by="burst")
    assert_allowed(response, by="burst", remaining=5)
    with pytest.raises(AssertionError, match="expected 3 to be left, not 5"):
        assert_allowed(response, by="burst", remaining=3)
    with pytest.raises(AssertionError, match="what is left of hourly to be told, not 200"):
        assert_allowed(response, by="hourly")
    assert_allowed(response_of(ratelimit=r'"a\"b";r=1'), by='a"b', remaining=1)


def test_what_is_not_told_is_not_left() -> None:
    """A response without fields can't be asked for what is left."""
    with pytest.raises(AssertionError, match=r"200 \(without any fields of limits\)"):
        assert_allowed(response_of(), remaining=1)


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_is_not_allowed(status: int) -> None:
    """The message tells the status and the fields."""
    response = response_of(status, retry_after="7", ratelimit='"a";r=0;t=7')
    told = rf"not {status} \(.*retry-after: 7, ratelimit: \"a\";r=0;t=7\)"
    with pytest.raises(AssertionError, match=told):
        assert_allowed(response)


@pytest.mark.parametrize("field", ['"a";r=1,', '"a";t=1', "a;r=1", '"a";r=1 "b";r=2', '"a;r=1'])
def test_a_malformed_field_is_told(field: str) -> None:
    """What can't be read is not taken for something else."""
    with pytest.raises(AssertionError, match="expected a well-formed RateLimit"):
        assert_allowed(response_of(ratelimit=field), remaining=1)


def test_the_wait_is_returned() -> None:
    """A test can move its clock by what a denial says."""
    clock = Clock()
    with TestClient(app_with(daily(), MemoryStore(clock=clock))) as client:
        assert_allowed(client.get("/"), by="daily", remaining=0)
        clock.advance(assert_limited(client.get("/"), by="daily"))
        assert_allowed(client.get("/"))


def test_never_is_an_endless_wait() -> None:
    """A denial without `Retry-After` is one that waiting doesn't help."""
    assert assert_limited(response_of(429)) == inf


@pytest.mark.parametrize("wait", ["0", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_wrong_wait_is_told(wait: str) -> None:
    """Clients loop or fail on such values."""
    with pytest.raises(AssertionError, match="Retry-After of whole seconds from 1 on"):
        assert_limited(response_of(429, retry_after=wait))


def test_an_answer_is_no_denial() -> None:
    """What was allowed, or denied by another limit, isn't taken for it."""
    with pytest.raises(AssertionError, match="expected a 429, not 200"):
        assert_limited(response_of(ratelimit=FIELD))
    with pytest.raises(AssertionError, match="expected hourly to have denied, not 429"):
        assert_limited(response_of(429, ratelimit=FIELD), by="hourly")
