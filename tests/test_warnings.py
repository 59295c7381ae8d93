"""What is probably set up wrong is told, once, and what is right never is."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from ratelimit import short_lived, warning
from ratelimit.algorithms import FixedWindow, SlidingLog
from ratelimit.asgi import (
    Limit,
    MessageLimit,
    RateLimitMiddleware,
    Rule,
    client_ip,
    combined,
    header,
    record,
)
from ratelimit.asgi import doubts as doubting
from ratelimit.asgi.checkpoint import Checkpoint
from ratelimit.asgi.doubts import workers_of
from ratelimit.asgi.watching import WATCHED, Watch
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import StoreError, StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.starlette import RateLimit
from ratelimit.stores import AsyncFallbackStore
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore
from ratelimit.stores.redis import AsyncRedisStore
from tests.applications import ONE, ask, call, everyone, limited, ok, scope_of
from tests.conftest import Clock, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parent.parent / "docs/reference/warnings.md"
MANY = FixedWindow("100000/minute")


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that gives the codes that were told since it was asked last."""
    for code in warning.CODES:  # what a page of the documentation silences stays so
        logging.getLogger(f"ratelimit.warnings.{code}").setLevel(logging.NOTSET)

    def codes() -> list[str]:
        records = [each for each in caplog.records if each.name.startswith("ratelimit.warnings")]
        caplog.clear()
        return [wrong(each).ratelimit_code for each in records]

    return codes


def test_each_code_has_its_section() -> None:
    """The page explains every code, no other, and each by what, why, how to mend and silence."""
    page = PAGE.read_text(encoding="utf-8")
    sections = re.split(r"^## (RL\d{3})$", page, flags=re.MULTILINE)
    assert tuple(sections[1::2]) == warning.CODES
    for code, text in zip(sections[1::2], sections[2::2], strict=True):
        for part in ("**Seen**", "**Why it matters**", "**Mend it**"):
            assert part in text, f"{code} lacks {part}"


def test_a_warning_leads_to_its_section(caplog: pytest.LogCaptureFixture) -> None:
    """The message begins with the code and names the page, and the record has the code."""
    warning.warn(warning.TWICE, "the limit %r", "a")
    (record,) = caplog.records
    assert record.getMessage() == "RL004: the limit 'a' (docs/reference/warnings.md#rl004)"
    assert (record.name, record.levelno) == ("ratelimit.warnings.RL004", logging.WARNING)


def test_one_code_is_silenced(told: Any) -> None:
    """The logger of a code silences that one alone."""
    logger = logging.getLogger(f"ratelimit.warnings.{warning.TWICE}")
    logger.setLevel(logging.ERROR)
    warning.warn(warning.TWICE, "silent")
    logger.setLevel(logging.NOTSET)
    warning.warn(warning.WORKERS, "heard")
    assert told() == [warning.WORKERS]


def requests(
    app: Any, count: int, *, peer: Any = ("10.0.0.1", 1), agents: int = 1, **fields: Any
) -> None:
    """Ask so many times, from one address and by so many programs; `%d` is the number."""

    async def every() -> None:
        for number in range(count):
            headers = [(b"user-agent", b"agent %d" % (number % agents))]
            for name, value in fields.items():
                text = value % number if "%" in value else value
                headers.append((name.replace("_", "-").encode(), text.encode()))
            host = (peer[0] % number, 1) if peer and "%" in peer[0] else peer
            await call(app, scope_of(client=host, headers=headers))

    asyncio.run(every())


def by_ip(**options: Any) -> RateLimitMiddleware:
    """Return an application that limits by address."""
    return limited(Rule("all", MANY, key=client_ip(**options)))


@pytest.mark.parametrize("name", ["x_forwarded_for", "forwarded", "x_real_ip"])
@pytest.mark.parametrize("peer", [("10.0.0.1", 1), ("::1", 1), None])
def test_forwarded_and_nobody_reads_it(told: Any, name: str, peer: Any) -> None:
    """Two clients that one proxy speaks for are told, once."""
    app = by_ip()
    fields: dict[str, Any] = {name: "192.0.2.%d"}
    requests(app, 10, peer=peer, **fields)
    assert told() == [warning.FORWARDED]
    requests(app, WATCHED, peer=peer, **fields)
    assert told() == []


@pytest.mark.parametrize(
    ("app", "options"),
    [
        (by_ip(hops=1), {"x_forwarded_for": "192.0.2.%d"}),
        (by_ip(trusted_proxies=["10.0.0.0/8"]), {"x_forwarded_for": "192.0.2.%d"}),
        (limited(Rule("all", MANY, key=header("x-key"))), {"x_forwarded_for": "192.0.2.%d"}),
        (by_ip(), {"x_forwarded_for": "192.0.2.7"}),
        (by_ip(), {"x_forwarded_for": "6.6.6.%d", "peer": ("203.0.113.7", 1)}),
        (by_ip(), {"x_forwarded_for": "10.0.1.%d, 10.0.0.9", "peer": ("10.0.1.%d", 0)}),
        (by_ip(), {"x_forwarded_for": "%d", "peer": ("testclient", 1)}),
        (by_ip(), {}),
    ],
    ids=[
        "hops", "trusted", "another key", "one client", "from the internet", "read by the server",
        "no address", "no header",
    ],
)  # fmt: skip
def test_forwarded_and_nothing_is_wrong(told: Any, app: Any, options: dict[str, Any]) -> None:
    """A header that is read, or that one client wrote, is no reason to warn."""
    requests(app, WATCHED + 1, **options)
    assert told() == []


@pytest.mark.parametrize(
    ("count", "options", "codes"),
    [
        (WATCHED, {"agents": 10}, [warning.ONE_ADDRESS]),
        (WATCHED, {"agents": 10, "peer": None}, [warning.ONE_ADDRESS]),
        (WATCHED - 1, {"agents": 10}, []),
        (WATCHED, {"agents": 9}, []),
        (WATCHED, {"agents": 10, "peer": ("203.0.113.7", 1)}, []),
        (WATCHED, {"agents": 10, "peer": ("10.0.0.%d", 1)}, []),
    ],
    ids=["shared", "a Unix socket", "too few", "one caller", "the internet", "apart"],
)
def test_all_have_one_address(
    told: Any, count: int, options: dict[str, Any], codes: list[str]
) -> None:
    """Many programs at one address inside are told, and fewer or others aren't."""
    requests(by_ip(), count, **options)
    assert told() == codes


@pytest.mark.parametrize(
    ("command", "environment", "is_child", "workers"),
    [
        ("uvicorn app:app --workers 4", {}, True, 4),
        ("/usr/bin/gunicorn -w 3 app:app", {}, False, 3),
        ("gunicorn -w3 app:app", {}, False, 3),
        ("hypercorn app:app --workers=2", {}, True, 2),
        ("/x/uvicorn/__main__.py app:app --workers 4", {}, True, 4),
        ("uvicorn app:app --workers 1", {"WEB_CONCURRENCY": "4"}, False, 1),
        ("uvicorn app:app", {"WEB_CONCURRENCY": "4"}, True, 4),
        ("uvicorn app:app", {"WEB_CONCURRENCY": "auto"}, True, 1),
        ("uvicorn app:app --reload", {"WEB_CONCURRENCY": "4"}, True, 1),
        ("hypercorn app:app", {"WEB_CONCURRENCY": "4"}, True, 1),
        ("serve.py", {"WEB_CONCURRENCY": "4"}, True, 4),
        ("serve.py", {"WEB_CONCURRENCY": "4"}, False, 1),
        ("serve.py --workers 4", {}, True, 1),
        ("pytest -w 4", {}, False, 1),
        ("uvicorn app:app", {}, True, 1),
        ("", {"WEB_CONCURRENCY": "4"}, False, 1),
    ],
)
def test_how_many_workers_there_are(
    command: str,
    environment: dict[str, str],
    is_child: bool,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are known where a server's command line or environment says so, and else one."""
    monkeypatch.setitem(sys.modules, "uvicorn", sys)
    assert workers_of(command.split(), environment, is_child=is_child) == workers


def test_memory_under_several_workers(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of states in memory alone."""
    monkeypatch.setattr(sys, "argv", ["uvicorn", "app:app", "--workers", "4"])
    limited(everyone())
    assert told() == [warning.WORKERS]
    RateLimitMiddleware(ok, rules=[everyone()], store="redis://localhost:1/0")
    assert told() == []


def test_memory_that_nothing_is_kept_in(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A middleware that only tells, or counts each connection by itself, shares nothing."""
    monkeypatch.setattr(sys, "argv", ["uvicorn", "app:app", "--workers", "4"])
    RateLimitMiddleware(ok, rules=None)
    RateLimitMiddleware(ok, rules=None, messages=[MessageLimit("a", MANY)])
    assert told() == []
    RateLimitMiddleware(ok, rules=None, messages=[MessageLimit("a", MANY, key="everyone")])
    assert told() == [warning.WORKERS]


def test_what_is_doubted_of_dependencies(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits inside of an application are looked at as those of a middleware, and told of once."""
    monkeypatch.setattr(sys, "argv", ["uvicorn", "app:app", "--workers", "4"])
    monkeypatch.setattr(Checkpoint, "is_doubted", False)
    monkeypatch.setattr(Checkpoint, "watch", Watch())
    RateLimit(MANY, name="elsewhere", store="redis://localhost:1/0")
    assert told() == []
    limits = [RateLimit(MANY, key=key) for key in (client_ip(), client_ip(ipv6_prefix=128), "k")]
    assert told() == [warning.WORKERS, warning.SINGLE_ADDRESSES]

    async def scenario() -> None:
        for number in range(9):
            headers = [(b"x-forwarded-for", b"198.51.100.%d" % number)]
            for limit in limits:
                scope = scope_of(client=("10.0.0.1", 1), headers=headers)
                await limit.checkpoint.enter(scope)

    asyncio.run(scenario())
    assert told() == [warning.FORWARDED]


def again(store: Any, rule: Rule, app: Any) -> RateLimitMiddleware:
    """Return an application that is limited by a rule on a store."""
    return RateLimitMiddleware(app, rules=[rule], store=store)


def test_a_rule_that_is_applied_twice(told: Any) -> None:
    """Two middlewares with one rule on one store are told once."""
    store = MemoryStore(clock=Clock())
    app = again(store, everyone(MANY), again(store, everyone(MANY), ok))
    assert [ask(app).status for _ in range(3)] == [200] * 3
    assert told() == [warning.TWICE]


def test_a_rule_that_is_applied_twice_on_redis(told: Any, ports: Callable[[str], int]) -> None:
    """Stores are the same if their states are, and not only if their objects are."""
    url = f"redis://127.0.0.1:{ports('redis-7.0')}/0"
    rule = Rule("twice", MANY, key="k")

    async def scenario() -> None:
        inner = again(url, rule, ok)
        twice = again(url, rule, inner)
        await call(twice, scope_of())
        assert told() == [warning.TWICE]
        outer = again(AsyncRedisStore(url, prefix="other"), rule, inner)
        await call(outer, scope_of())
        assert told() == []
        for store in (inner.stores, twice.stores, outer.stores):
            await store[0].aclose()

    asyncio.run(scenario())


def test_a_dependency_that_applies_a_rule_twice(told: Any) -> None:
    """A dependency that has the name, key and store of a rule is told too."""
    memory = MemoryStore(clock=Clock())
    limit = Limit("all", MANY, AsyncMemoryStore(memory))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        record(scope, (limit, await limit.ledger.hit("everyone")))
        record(scope, (limit, await limit.ledger.hit("everyone")))
        await ok(scope, receive, send)

    ask(again(memory, everyone(MANY), app))
    assert told() == [warning.TWICE]


@pytest.mark.parametrize(
    "inner",
    [
        Rule("other", MANY, key="everyone"),
        Rule("all", MANY, key="someone"),
        Rule("all", SlidingLog("9/minute"), key="everyone"),
    ],
    ids=["name", "key", "algorithm"],
)
def test_rules_that_are_not_the_same(told: Any, inner: Rule) -> None:
    """Another name, key, algorithm or memory is another limit."""
    store = MemoryStore(clock=Clock())
    ask(again(store, everyone(MANY), again(store, inner, ok)))
    ask(again(store, everyone(MANY), again(MemoryStore(), everyone(MANY), ok)))
    assert told() == []


@pytest.mark.parametrize(
    ("keys", "codes"),
    [
        ([client_ip(ipv6_prefix=128)], [warning.SINGLE_ADDRESSES]),
        ([combined(client_ip(ipv6_prefix=65), header("x-key"))], [warning.SINGLE_ADDRESSES]),
        ([client_ip(ipv6_prefix=128), client_ip(ipv6_prefix=48)], []),
        ([client_ip()], []),
        (["everyone"], []),
    ],
)
def test_single_addresses(told: Any, keys: list[Any], codes: list[str]) -> None:
    """Longer prefixes than a customer has are told, if nothing shorter is limited too."""
    limited(*(Rule(f"rule-{number}", ONE, key=key) for number, key in enumerate(keys)))
    assert told() == codes


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock by which limiters are made, where no other test has made any."""
    clock = Clock(0)
    fresh = short_lived.Nursery(lambda: clock.now / 1_000_000)
    for name in ("limiter", "async_limiter", "asgi.middleware"):
        monkeypatch.setattr(f"ratelimit.{name}.made", fresh.made)
    return clock


def middleware(algorithm: Any) -> RateLimitMiddleware:
    """Return an application that keeps its states itself."""
    return RateLimitMiddleware(ok, rules=[everyone(algorithm)])


@pytest.mark.parametrize("make", [Limiter, AsyncLimiter, middleware])
def test_a_limiter_for_each_request(told: Any, nursery: Clock, make: Any) -> None:
    """Those that are gone before they have limited anything are told, once."""
    for _ in range(250):
        make(FixedWindow("5/minute"))
        nursery.advance(0.1)
    assert told() == [warning.MADE_ANEW]


def test_each_line_is_told(caplog: pytest.LogCaptureFixture, nursery: Clock) -> None:
    """The message names the line."""
    for _ in range(100):
        Limiter(FixedWindow("5/minute"))
    for _ in range(100):
        Limiter(FixedWindow("5/minute"))
    lines = [re.findall(r"test_warnings\.py:(\d+)", record.message) for record in caplog.records]
    assert int(lines[1][0]) - int(lines[0][0]) == 2


def test_limiters_that_are_meant_to_be_many(told: Any, nursery: Clock) -> None:
    """Those that live on, count for less than they live, or share a store, are not told."""
    kept = [Limiter(FixedWindow("5/minute")) for _ in range(250)]
    for _ in range(250):
        Limiter(FixedWindow("5/second"))
        nursery.advance(0.1)
    store = MemoryStore()
    for _ in range(250):
        Limiter(FixedWindow("5/minute"), store=store)
    rule = Rule("all", lambda scope: ONE, key="k")
    for _ in range(250):
        RateLimitMiddleware(ok, rules=[rule])
    assert len(kept) == 250
    assert told() == []


def test_lines_that_make_limiters_do_not_pile_up(nursery: Clock) -> None:
    """A program that writes itself isn't watched for ever."""
    fresh = short_lived.Nursery()
    source = "\n".join(["def make(made): pass", *(["made(object_(), 1)"] * 1_100)])

    class Object:
        pass

    exec(compile(source, "written", "exec"), {"made": fresh.made, "object_": Object})
    assert len(fresh._places) == 1_000


@pytest.fixture
def started(told: Any) -> Callable[..., list[str]]:
    """Return a function that starts an application up, and gives what was told."""

    def start(store: Any, **options: Any) -> list[str]:
        options = {"rules": [everyone()], "store": store, **options}
        with TestClient(Starlette(middleware=[Middleware(RateLimitMiddleware, **options)])):
            return list(told())

    return start


@pytest.mark.parametrize("on_error", ["local", "raise"])
def test_servers(
    told: Any, started: Any, ports: Callable[[str], int], caplog: Any, on_error: Any
) -> None:
    """A server that evicts, or is a replica, is told at the start, and one that suits isn't."""
    port = ports("redis-7.0")
    url = f"redis://127.0.0.1:{port}/0"
    with redis.Redis(port=port) as client:
        assert started(url, on_error=on_error) == []
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert started(url, on_error=on_error) == [warning.EVICTING]
        assert started(AsyncRedisStore(url)) == []
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        assert started(url, on_error=on_error) == [warning.UNFIT]
        client.execute_command("REPLICAOF", "NO", "ONE")
    assert started("redis://127.0.0.1:1/0", on_error=on_error) == []
    assert started("memory://", on_error=on_error) == []


@pytest.mark.parametrize(
    ("error", "codes"),
    [
        (StoreError("a user without rights", "permission"), [warning.UNFIT]),
        (StoreUnavailable("gone", "connection"), []),
    ],
)
def test_a_server_that_cannot_be_checked(told: Any, error: Exception, codes: list[str]) -> None:
    """A mistake is told at the start, and an outage when it matters."""

    class Checked(AsyncMemoryStore):
        async def check(self) -> list[str]:
            raise error

    asyncio.run(doubting.doubt_server(Checked(MemoryStore())))
    assert told() == codes


def test_what_a_fallback_stands_before(told: Any) -> None:
    """Behind a fallback the first store is the one whose states are shared."""
    memory = AsyncMemoryStore(MemoryStore(clock=Clock()))
    stores = [AsyncFallbackStore(memory) for _ in range(2)]
    ask(again(stores[0], everyone(MANY), again(stores[1], everyone(MANY), ok)))
    assert told() == [warning.TWICE]
