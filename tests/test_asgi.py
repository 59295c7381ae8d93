"""What a client of a limited application sees."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from math import inf
from typing import TYPE_CHECKING, Any

import http_sf
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from ratelimit.algorithms import (
    FixedWindow,
    LeakyBucket,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
)
from ratelimit.asgi import RateLimitMiddleware, Rule, client_ip, header
from ratelimit.asgi import decisions as decided
from ratelimit.asgi.headers import STYLES, waits_of
from ratelimit.asgi.limit import Notice
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import RateLimitExceeded, StoreError
from ratelimit.limiter import Limiter
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore
from tests.applications import ONE, Broken, ask, call, everyone, limited, ok, scope_of, statuses
from tests.conftest import ALGORITHMS, Clock, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from ratelimit.algorithms import Algorithm
    from ratelimit.decision import Decision

TYPES = "https://iana.org/assignments/http-problem-types#"


def test_allowed_responses_tell_what_remains() -> None:
    """An allowed response carries both fields of the draft, next to the application's own."""
    app = limited(Rule("burst", TokenBucket("100/minute"), key=client_ip(), cost=50))
    answer = ask(app)
    assert answer.status == 200
    assert answer.headers == {
        "x-app": "1",
        "ratelimit": '"burst";r=50;t=30',
        "ratelimit-policy": '"burst";q=100;w=60',
    }


def test_denied_responses_tell_when_to_return() -> None:
    """A 429 says which policy was violated and when to return, and is never stored."""
    app = limited(everyone(FixedWindow("1/hour")), clock=Clock(1_500_000))
    ask(app)
    answer = ask(app)
    assert answer.status == 429
    assert answer.headers == {
        "content-type": "application/problem+json",
        "content-length": str(len(answer.body)),
        "cache-control": "no-store",
        "ratelimit": '"all";r=0;t=3599',
        "ratelimit-policy": '"all";q=1;w=3600',
        "retry-after": "3599",
    }
    assert json.loads(answer.body) == {
        "type": TYPES + "quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "Denied by all: retry after 3599 s.",
        "violated-policies": ["all"],
    }


def test_retry_after_is_never_zero() -> None:
    """A wait of microseconds is told as one second, as clients that are told 0 ask in a loop."""
    app = limited(everyone(FixedWindow("1/second")), clock=Clock(999_999))
    ask(app)
    assert ask(app).headers["retry-after"] == "1"


@pytest.mark.usefixtures("naps")
def test_who_waits_for_retry_after_is_let_in() -> None:
    """A client that waits as long as it is told is always let in."""
    for kind in ALGORITHMS:
        clock = Clock()
        app = limited(everyone(kind("3/7 seconds"), cost=2), clock=clock)
        while (answer := ask(app)).status == 200:
            pass
        clock.advance(int(answer.headers["retry-after"]))
        assert ask(app).status == 200


def test_a_cost_that_never_fits_has_no_retry_after() -> None:
    """A request that costs more than the limit is denied without a time to return at."""
    app = limited(everyone(FixedWindow("5/minute"), cost=lambda scope: 6))
    answer = ask(app)
    assert answer.status == 429
    assert answer.headers["ratelimit"] == '"all";r=5'
    assert "retry-after" not in answer.headers
    assert json.loads(answer.body)["detail"] == (
        "Denied by all: a cost of 6 never fits a limit of 5."
    )


def test_all_or_nothing_over_rules() -> None:
    """What one rule denies has used up nothing of another."""
    app = limited(
        Rule("wide", FixedWindow("10/minute"), key="everyone"),
        Rule("narrow", ONE, key=header("x-key")),
    )
    for _ in range(5):
        answer = ask(app, headers=[(b"x-key", b"a")])
    assert answer.status == 429
    assert json.loads(answer.body)["violated-policies"] == ["narrow"]
    assert answer.headers["ratelimit"].startswith('"narrow";r=0;t=')
    assert answer.headers["ratelimit-policy"] == '"wide";q=10;w=60, "narrow";q=1;w=60'
    assert '"wide";r=8' in ask(app, headers=[(b"x-key", b"b")]).headers["ratelimit"]


def test_the_longest_wait_is_told() -> None:
    """Where several rules deny, Retry-After is the longest wait, and each tells its own."""
    app = limited(
        Rule("short", FixedWindow("1/minute"), key="k"),
        Rule("long", FixedWindow("1/hour"), key="k"),
        clock=Clock(0),
    )
    ask(app)
    answer = ask(app)
    assert answer.headers["retry-after"] == "3600"
    assert answer.headers["ratelimit"] == '"short";r=0;t=60, "long";r=0;t=3600'


def test_the_decision_is_left_in_the_scope() -> None:
    """The application finds the decision beside what else is in its state."""
    scope = scope_of(state={"other": 1})
    asyncio.run(call(limited(everyone()), scope))
    assert decided(scope)["all"].remaining == 0
    assert scope["state"]["other"] == 1


def test_no_rules_at_all() -> None:
    """A middleware without rules limits nothing, and answers for the limits inside."""
    app = RateLimitMiddleware(ok, rules=None)
    assert (app.rules, ask(app).headers) == ((), {"x-app": "1"})
    assert ask(RateLimitMiddleware(raising(exceeded()), rules=None)).status == 429


def test_a_request_that_matches_no_rule() -> None:
    """It is passed on without a word."""
    app = limited(everyone(methods=["post"]))
    assert ask(app).headers == {"x-app": "1"}


def test_prefix_ends_at_a_segment() -> None:
    """`/admin/*` is `/admin` and what is below it, and isn't `/administrator`."""
    app = limited(everyone(path="/admin/*"))
    assert statuses(app, "/administrator", "/administrator", "/", "/admin", "/admin/x") == [
        200, 200, 200, 200, 429,
    ]  # fmt: skip


def test_exact_path_is_that_path_alone() -> None:
    """`/search` is neither `/search/` nor `/Search`."""
    app = limited(everyone(path="/search"))
    assert statuses(app, "/search/", "/Search", "//search", "/search", "/search") == [
        200, 200, 200, 200, 429,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("root", "path", "matches"),
    [
        ("", "/search", True),
        ("/api", "/api/search", True),
        ("/api", "/search", True),
        ("/api", "/apisearch", False),
        ("/search", "/search", False),
        ("/api", "/api/x/search", False),
    ],
)
def test_root_path_is_taken_off(root: str, path: str, matches: bool) -> None:
    """Rules see the path that the application routes by, wherever it is mounted."""
    app = limited(everyone(path="/search"))
    ask(app, path, root_path=root)
    assert ask(app, path, root_path=root).status == (429 if matches else 200)


def test_the_root_of_a_mounted_application_is_a_slash() -> None:
    """A request for the root path itself is one for `/`."""
    assert statuses(limited(everyone(path="/")), "/api", "/api/", root_path="/api") == [200, 429]


def test_mounted_application() -> None:
    """A middleware inside of a mount matches what is below the mount."""
    inner = limited(everyone(path="/x"), app=PlainTextResponse("x"))
    client = TestClient(Starlette(routes=[Mount("/api", inner)]))
    assert [client.get(path).status_code for path in ("/api/x", "/api/y", "/api/x")] == [
        200, 200, 429,
    ]  # fmt: skip


def test_head_counts_as_get() -> None:
    """A HEAD spends what a GET would, and is refused without a body."""
    app = limited(everyone(methods=["GET"]))
    assert ask(app, method="HEAD").status == 200
    answer = ask(app, method="HEAD")
    assert (answer.status, answer.body) == (429, b"")
    assert int(answer.headers["content-length"]) > 0
    assert ask(app, method="POST").status == 200


def test_a_rule_for_head_alone() -> None:
    """A rule that names HEAD alone leaves GET alone."""
    app = limited(everyone(methods=["HEAD"]))
    assert [ask(app, method=method).status for method in ("HEAD", "GET", "HEAD")] == [200, 200, 429]


def test_preflights_never_count() -> None:
    """A CORS preflight is neither counted nor refused, and any other OPTIONS is."""
    app = limited(everyone())
    preflight: dict[str, Any] = {
        "headers": [(b"origin", b"https://x"), (b"access-control-request-method", b"PUT")]
    }
    assert [ask(app, method="OPTIONS", **preflight).status for _ in range(3)] == [200, 200, 200]
    assert [ask(app, method="OPTIONS").status for _ in range(2)] == [200, 429]


def key_of(host: Any, **options: Any) -> str | None:
    """Return the key of a client's address."""
    return client_ip(**options)(scope_of(client=(host, 1)))


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "ip:192.0.2.1"),
        ("192.0.2.1:8080", "ip:192.0.2.1"),
        ("::ffff:192.0.2.1", "ip:192.0.2.1"),
        ("::ffff:c000:201", "ip:192.0.2.1"),
        ("0:0:0:0:0:FFFF:192.0.2.1", "ip:192.0.2.1"),
        ("[::ffff:192.0.2.1]:8080", "ip:192.0.2.1"),
        ("2001:db8::1", "ip:2001:db8::/64"),
        ("2001:DB8:0:0:ffff::9", "ip:2001:db8::/64"),
        ("2001:0db8:0000:0001::1", "ip:2001:db8:0:1::/64"),
        ("[2001:db8::1]", "ip:2001:db8::/64"),
        ("fe80::1%eth0", "ip:fe80::/64"),
        ("testclient", "host:testclient"),
        ("1.2.3", "host:1.2.3"),
        ("a\0b", "host:a\0b"),
        ("\udcff", "host:\\udcff"),
        ("", None),
    ],
)
def test_one_client_has_one_key(host: str, key: str | None) -> None:
    """However an address is written, its client is the same; IPv6 is keyed by its network."""
    assert key_of(host) == key


def test_the_prefix_can_be_chosen() -> None:
    """A longer or shorter prefix tells more or fewer clients apart."""
    assert key_of("2001:db8::1", ipv6_prefix=128) == "ip:2001:db8::1/128"
    assert key_of("2001:db8:ffff::1", ipv6_prefix=32) == "ip:2001:db8::/32"


def test_long_names_are_hashed() -> None:
    """A host name that would be too long a key is hashed."""
    assert str(key_of("x" * 5000)).startswith("blake2b:host:")


@pytest.mark.parametrize("client", [None, ("", 0)])
def test_unknown_clients_share_one_limit(client: Any) -> None:
    """Those who can't be told apart are limited together, not left alone."""
    app = limited(Rule("all", ONE, key=client_ip()))
    assert statuses(app, "/", "/", client=client) == [200, 429]
    assert ask(app).status == 200


def test_no_client_in_the_scope_at_all() -> None:
    """A scope may have no client."""
    assert client_ip()({}) is None


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_key_function_that_cannot_tell(nothing: str | None) -> None:
    """Requests without a key share one bucket, which is never unlimited."""
    app = limited(Rule("all", ONE, key=lambda scope: nothing))
    assert statuses(app, "/", "/") == [200, 429]


def test_header_keys() -> None:
    """The name's case makes no difference, and one that is missing or comes twice is None."""
    key = header("X-Api-Key")
    assert key(scope_of(headers=[(b"x-api-key", b"\xe9"), (b"a", b"b")])) == "header:x-api-key:é"
    assert key(scope_of(headers=[(b"x-api-key", b"a"), (b"x-api-key", b"b")])) is None
    assert key(scope_of()) is None


def test_long_header_values_are_hashed() -> None:
    """A value of more than 128 bytes is hashed, and never mistaken for one that looks hashed."""
    key = header("x-key")

    def of(value: bytes) -> str:
        return str(key(scope_of(headers=[(b"x-key", value)])))

    assert of(b"a" * 128) == f"header:x-key:{'a' * 128}"
    hashed = of(b"a" * 129)
    assert hashed.startswith("blake2b:header:x-key:")
    assert len(hashed) < 128
    assert hashed != of(b"b" * 129)
    assert of(hashed.encode()) != hashed


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Rule("a b", ONE, key="k"), ValueError),
        (lambda: Rule("", ONE, key="k"), ValueError),
        (lambda: Rule("x" * 65, ONE, key="k"), ValueError),
        (lambda: Rule("a\n", ONE, key="k"), ValueError),
        (lambda: Rule(wrong(1), ONE, key="k"), TypeError),
        (lambda: Rule("a", wrong("1/minute"), key="k"), TypeError),
        (lambda: Rule("a", ONE, key=""), ValueError),
        (lambda: Rule("a", ONE, key=wrong(None)), TypeError),
        (lambda: everyone(cost=True), TypeError),
        (lambda: everyone(cost=1.0), TypeError),
        (lambda: everyone(cost=0), ValueError),
        (lambda: everyone(path="search"), ValueError),
        (lambda: everyone(path=""), ValueError),
        (lambda: everyone(path=1), TypeError),
        (lambda: everyone(path="/a*"), ValueError),
        (lambda: everyone(path="/*/a"), ValueError),
        (lambda: everyone(path="/items/{id:word}"), ValueError),
        (lambda: everyone(methods="GET"), TypeError),
        (lambda: everyone(methods=5), TypeError),
        (lambda: everyone(methods=[b"GET"]), TypeError),
        (lambda: everyone(methods=[]), ValueError),
        (lambda: client_ip(ipv6_prefix=0), ValueError),
        (lambda: client_ip(ipv6_prefix=129), ValueError),
        (lambda: client_ip(ipv6_prefix=wrong("64")), TypeError),
        (lambda: header("x key"), ValueError),
        (lambda: header(wrong(b"x-key")), TypeError),
        (limited, ValueError),
        (lambda: limited(everyone(), everyone()), ValueError),
        (lambda: limited(wrong(ONE)), TypeError),
        (lambda: RateLimitMiddleware(ok, rules=wrong(everyone())), TypeError),
        (lambda: RateLimitMiddleware(ok, rules=wrong(5)), TypeError),
        (lambda: RateLimitMiddleware(ok, rules=[]), ValueError),
        (lambda: RateLimitMiddleware(ok, rules=[everyone()], store="x://"), ValueError),
    ],
)
def test_misuse_is_told_at_construction(make: Callable[[], object], error: type[Exception]) -> None:
    """What can't work is refused before the first request."""
    with pytest.raises(error):
        make()


def test_a_cost_above_the_limit_is_told_with_its_numbers() -> None:
    """A constant cost that never fits is refused when the rule is made."""
    with pytest.raises(ValueError, match="a cost of 11 never fits a limit of 10"):
        everyone(TokenBucket("10/second"), cost=11)


def test_rules_are_frozen() -> None:
    """A rule can't be changed, and its methods are in upper case."""
    rule: Any = everyone(methods=["get"])
    assert rule.methods == {"GET"}
    with pytest.raises(AttributeError):
        rule.cost = 2


def test_store_trouble_is_503(caplog: pytest.LogCaptureFixture) -> None:
    """A store that can't decide makes a 503, never a 429, and a line in the log without keys."""
    rule = Rule("all", ONE, key="secret")
    answer = ask(RateLimitMiddleware(ok, rules=[rule], store=Broken("hit_all")))
    assert answer.status == 503
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/problem+json"
    assert "retry-after" not in answer.headers
    assert json.loads(answer.body)["type"] == TYPES + "temporary-reduced-capacity"
    assert "the server is gone" in caplog.text
    assert "secret" not in caplog.text


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list of how long was slept, while nobody does."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return slept


def test_delay_is_honoured(naps: list[float]) -> None:
    """A leaky bucket's requests are held back until their turn, and denied if its queue is full."""
    app = limited(everyone(LeakyBucket("2/second", capacity=2)))
    assert statuses(app, "/", "/", "/", "/") == [200, 200, 200, 429]
    assert naps == [0.5, 1.0]


def test_the_policy_of_a_leaky_bucket() -> None:
    """The one whose turn it is counts too: the window is as much longer, and rounded up."""
    app = limited(everyone(LeakyBucket("100/minute")))
    headers = ask(app).headers
    assert headers["ratelimit-policy"] == '"all";q=101;w=61'
    assert headers["ratelimit"] == '"all";r=100;t=60'


def cancelled_during_the_delay(store: AsyncMemoryStore) -> int:
    """Give a request up while it is held back, and return what is left then."""

    async def give_up() -> int:
        rule = everyone(LeakyBucket("1/minute", capacity=5))
        app = RateLimitMiddleware(ok, rules=[rule], store=store)
        await call(app, scope_of())
        waiting = asyncio.create_task(call(app, scope_of()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        limiter = AsyncLimiter(LeakyBucket("1/minute", capacity=5), store=store, name="all")
        return (await limiter.peek("everyone")).remaining

    return asyncio.run(give_up())


def test_cancelled_during_the_delay_is_given_back() -> None:
    """A request that is given up before its turn isn't charged."""
    assert cancelled_during_the_delay(AsyncMemoryStore(MemoryStore(clock=Clock()))) == 5


def test_cancelled_while_the_store_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """What can't be given back stays charged, and the cancellation is still seen."""
    assert cancelled_during_the_delay(Broken("refund_all")) == 4
    assert "could not be given back" in caplog.text


def raising(error: Exception, started: bool = False) -> Any:
    """Return an application that raises, before or after its response has started."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if started:
            await ok(scope, receive, send)
        raise error

    return app


def exceeded(algorithm: Algorithm = ONE, cost: int = 2) -> RateLimitExceeded:
    """Return the error of a limit inside of the application."""
    limiter = Limiter(algorithm, store=MemoryStore(clock=Clock(0)), name="app.views:report")
    return RateLimitExceeded(limiter.hit("k", cost))


def test_a_limit_inside_of_the_application_is_a_429() -> None:
    """A `RateLimitExceeded` that comes out of the application is answered with its own limits."""
    error = exceeded(FixedWindow("5/minute"), 6)
    answer = ask(limited(everyone(), app=raising(error)))
    assert answer.status == 429
    assert answer.headers["ratelimit"] == '"app.views:report";r=5'
    assert answer.headers["ratelimit-policy"] == '"all";q=1;w=60, "app.views:report";q=5;w=60'
    assert json.loads(answer.body)["violated-policies"] == ["app.views:report"]


def test_a_limit_inside_without_a_matching_rule_is_a_429() -> None:
    """The application's own limits are told on every request."""
    assert ask(limited(everyone(path="/x"), app=raising(exceeded()))).status == 429


def test_a_turn_that_comes_too_late_is_a_429() -> None:
    """An error whose decision was no denial, as its turn came too late, names its limit."""
    limiter = Limiter(ONE, store=MemoryStore(clock=Clock(0)), name="late")
    answer = ask(limited(everyone(), app=raising(RateLimitExceeded(limiter.peek("k")))))
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["ratelimit"] == '"late";r=1;t=1'
    assert json.loads(answer.body)["violated-policies"] == ["late"]


def test_store_trouble_inside_of_the_application_is_503() -> None:
    """A store that fails a limit inside of the application makes a 503 as well."""
    assert ask(limited(everyone(), app=raising(StoreError("gone")))).status == 503


@pytest.mark.parametrize("error", [exceeded(), StoreError("gone")])
def test_after_the_response_has_started_errors_pass(error: Exception) -> None:
    """What is raised after the response has started can't be told any more."""
    with pytest.raises(type(error)):
        ask(limited(everyone(), app=raising(error, started=True)))


def test_other_errors_pass() -> None:
    """Errors that aren't ours are left to others."""
    with pytest.raises(KeyError):
        ask(limited(everyone(), app=raising(KeyError("x"))))


@pytest.mark.parametrize("name", [b"ratelimit", b"RateLimit-Policy"])
def test_fields_of_the_application_are_kept(name: bytes) -> None:
    """An application that tells its own limits isn't contradicted."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(name, b'"x"')]})

    assert asyncio.run(call(limited(everyone(), app=app), scope_of())).sent == [
        {"type": "http.response.start", "status": 200, "headers": [(name, b'"x"')]}
    ]


def test_only_the_first_message_is_touched_and_copied() -> None:
    """The start gets a new list of headers, once; every other message passes as it is."""
    start = {"type": "http.response.start", "status": 200}
    messages = [
        {"type": "http.response.early_hint", "links": []},
        start,
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.pathsend", "path": "/x"},
        start,
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(limited(everyone(), app=app)(scope_of(), wrong(None), send))
    assert [sent[i] is messages[i] for i in range(5)] == [True, False, True, True, True]
    assert "headers" not in start
    assert [name for name, _ in sent[1]["headers"]] == [b"ratelimit", b"ratelimit-policy"]


@pytest.mark.parametrize("kind", ["lifespan", "something"])
def test_other_scopes_pass_untouched(kind: str) -> None:
    """What is neither a request nor a WebSocket has the very same objects in the application."""
    seen: list[Any] = []

    async def app(*given: Any) -> None:
        seen.extend(given)

    given: list[Any] = [{"type": kind}, object(), object()]
    asyncio.run(limited(everyone(), app=app)(*given))
    assert all(mine is theirs for mine, theirs in zip(seen, given, strict=True))


@pytest.mark.parametrize(("store", "closed"), [("memory://", 1), (None, 0), (MemoryStore(), 0)])
def test_a_store_of_its_own_is_closed(
    store: Any, closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that was opened from a URL is closed when the lifespan is over, no other one."""
    closings: list[AsyncMemoryStore] = []

    async def aclose(store: AsyncMemoryStore) -> None:
        closings.append(store)

    monkeypatch.setattr(AsyncMemoryStore, "aclose", aclose)
    app = Starlette(
        routes=[Route("/", PlainTextResponse("x"))],
        middleware=[Middleware(RateLimitMiddleware, rules=[everyone()], store=store)],
    )
    with TestClient(app) as client:
        assert [client.get("/").status_code for _ in range(2)] == [200, 429]
        assert not closings
    assert len(closings) == closed


def test_a_store_that_cannot_be_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The application has shut down all the same, and the server is told so."""

    async def aclose(store: AsyncMemoryStore) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(AsyncMemoryStore, "aclose", aclose)
    middleware = Middleware(RateLimitMiddleware, rules=[everyone()], store="memory://")
    with TestClient(Starlette(middleware=[middleware])):
        pass
    assert "the store could not be closed" in caplog.text


def test_fastapi() -> None:
    """The middleware is added to FastAPI, and its decision is in the request's state."""
    app = FastAPI()
    app.add_middleware(
        RateLimitMiddleware,
        store="memory://",
        rules=[Rule("all", TokenBucket("2/minute"), key=client_ip())],
    )

    @app.get("/items/{item}")
    async def read(item: int) -> int:
        return item

    client = TestClient(app)
    answers = [client.get(f"/items/{item}") for item in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[1].headers["ratelimit"] == '"all";r=0;t=30'
    assert answers[2].json()["violated-policies"] == ["all"]


def test_an_exception_in_a_route_reaches_the_middleware() -> None:
    """A limit that is exceeded inside of a Starlette route is a 429 of the middleware's."""

    def route(request: Request) -> PlainTextResponse:
        if decided(request):
            raise exceeded()
        return PlainTextResponse("never")

    app = Starlette(routes=[Route("/", route)])
    app.add_middleware(RateLimitMiddleware, rules=[everyone()])
    assert TestClient(app).get("/").status_code == 429


def test_streaming() -> None:
    """A streamed response arrives chunk by chunk, with its fields told once."""

    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(iter(["a", "b", "c"]))

    inner = Starlette(routes=[Route("/", stream)])
    answer = ask(limited(everyone(), app=inner), query_string=b"", http_version="1.1")
    starts = [message for message in answer.sent if message["type"] == "http.response.start"]
    assert len(starts) == 1
    bodies = [message["body"] for message in answer.sent[1:]]
    assert bodies == [b"a", b"b", b"c", b""]
    assert answer.headers["ratelimit"].startswith('"all";r=0;t=')


def test_rules_share_states_whatever_else_matches() -> None:
    """A rule has one count, whichever other rules a request matches too."""
    app = limited(
        Rule("all", FixedWindow("2/minute"), key="k"),
        Rule("x", FixedWindow("9/minute"), key="k", path="/x"),
    )
    assert statuses(app, "/x", "/", "/x", "/") == [200, 200, 429, 429]


@pytest.mark.parametrize(
    ("algorithm", "policy"),
    [
        (TokenBucket("100/minute", burst=20), b'"n";q=100;w=60'),
        (TokenBucket("100/minute", burst=200), b'"n";q=200;w=120'),
        (FixedWindow("5/1500 ms"), b'"n";q=5;w=2'),
        (FixedWindow("5/999 ms"), b'"n";q=5'),
        (TokenBucket("5/100 ms", burst=500), b'"n";q=500;w=10'),
        (FixedWindow(f"{2**53 - 1}/day", max_debt=0), b'"n";q=999999999999999;w=86400'),
    ],
)
def test_policies(algorithm: Algorithm, policy: bytes) -> None:
    """A policy is what can be there at once, per the time in which so much comes back."""
    assert Notice("n", algorithm).policy == policy


def test_nothing_breaks_out_of_a_name() -> None:
    """Names from elsewhere are escaped, so that no field can be forged."""
    assert Notice('a"b\\c\r\nx: y\u2028é', ONE).policy == b'"a\\"b\\\\c??x: y??";q=1;w=60'


KINDS = st.sampled_from([FixedWindow, SlidingLog, SlidingWindowCounter, TokenBucket, LeakyBucket])
NAMES = st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True)


@st.composite
def decisions(draw: Callable[..., Any]) -> Decision:
    """Make the decisions of up to three limits on a key that has been used."""
    limits = draw(
        st.dictionaries(NAMES, st.tuples(KINDS, st.integers(1, 50)), min_size=1, max_size=3)
    )
    period = draw(st.sampled_from(["ms", "second", "7 seconds", "day"]))
    clock = Clock(draw(st.integers(0, 2**40)))
    limiter = Limiter(
        {name: kind(f"{limit}/{period}") for name, (kind, limit) in limits.items()},
        store=MemoryStore(clock=clock),
    )
    for cost in draw(st.lists(st.integers(0, 20), max_size=4)):
        limiter.hit("k", cost)
        clock.now += draw(st.integers(0, 3_000_000))
    return limiter.hit("k", draw(st.integers(0, 60)))


@given(decisions())
def test_an_oracle_reads_every_field(decision: Decision) -> None:
    """Another implementation of structured fields reads back what the decision says."""
    told = [(Notice(name, part.page.algorithm), part) for name, part in decision.limits.items()]
    waits = waits_of(told, {})
    style = STYLES["draft-11"]
    fields = dict(style.denied(told, waits) if waits else style.allowed(told))
    wanted = list(decision.limits) if decision else list(decision.denied)
    items: Any = http_sf.parse(fields[b"ratelimit"], tltype="list")
    read: Any = http_sf.parse(fields[b"ratelimit-policy"], tltype="list")
    quotas = dict(read)
    assert [name for name, _ in items] == wanted
    assert list(quotas) == list(decision.limits)
    for name, parameters in items:
        part = decision.limits[name]
        assert parameters["r"] == part.remaining <= quotas[name]["q"]
        assert ("t" in parameters) == (part.retry_after < inf)
        assert parameters.get("t", inf) >= max(1, part.retry_after)


def test_the_package_needs_no_framework() -> None:
    """Importing the middleware imports neither Starlette nor redis."""
    check = (
        "import sys, ratelimit.asgi; "
        "sys.exit(any(name in sys.modules for name in ('starlette', 'fastapi', 'redis')))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
