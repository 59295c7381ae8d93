"""How a client is answered, in each of the ways there are."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.algorithms import FixedWindow, LeakyBucket, TokenBucket
from ratelimit.asgi import RateLimitMiddleware, Rule, client_ip
from ratelimit.asgi.headers import STYLES, Tightest, waits_of
from ratelimit.asgi.limit import Notice
from ratelimit.errors import StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.stores import AsyncFallbackStore, DenyAll
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore
from tests.applications import ONE, ask, call, everyone, ok, scope_of
from tests.conftest import ALGORITHMS, Clock

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCH = 1_790_000_000


def told(*rules: Rule, **options: Any) -> RateLimitMiddleware:
    """Return an application that answers in a certain way, at a known time."""
    store = MemoryStore(clock=Clock(EPOCH * 1_000_000 + 1))
    return RateLimitMiddleware(ok, rules=rules or [everyone()], store=store, **options)


def fields(answer: Any) -> dict[str, str]:
    """Return the fields of an answer that tell of limits."""
    return {
        name: value
        for name, value in answer.headers.items()
        if "ratelimit" in name or name == "retry-after"
    }


def test_draft_06() -> None:
    """Three fields, of which the reset is in seconds from now."""
    app = told(headers="draft-06")
    allowed = {"ratelimit-limit": "1", "ratelimit-remaining": "0", "ratelimit-reset": "40"}
    assert fields(ask(app)) == allowed
    assert fields(ask(app)) == {**allowed, "retry-after": "40"}


def test_x_ratelimit() -> None:
    """The same with an X, and the reset in seconds of Unix time, which octokit reads."""
    app = told(headers="x-ratelimit")
    allowed = {
        "x-ratelimit-limit": "1",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(EPOCH + 41),
    }
    assert fields(ask(app)) == allowed
    assert fields(ask(app)) == {**allowed, "retry-after": "40"}


def test_no_fields() -> None:
    """A denial says when to return, and nothing else is told."""
    app = told(headers="none")
    assert fields(ask(app)) == {}
    assert fields(ask(app)) == {"retry-after": "40"}


RULES = (
    Rule("wide", FixedWindow("100/hour"), key="k"),
    Rule("narrow", FixedWindow("1/minute"), key="k"),
)


@pytest.mark.parametrize(
    ("style", "name", "allowed", "denied"),
    [
        ("draft-11", "ratelimit", '"narrow";r=0;t=40', '"narrow";r=0;t=40'),
        ("draft-11", "ratelimit-policy", '"narrow";q=1;w=60', '"narrow";q=1;w=60'),
        ("draft-06", "ratelimit-limit", "1", "1"),
        ("x-ratelimit", "x-ratelimit-remaining", "0", "0"),
    ],
)
def test_the_tightest(style: Any, name: str, allowed: str, denied: str) -> None:
    """Of several limits the one that has to be waited for longest is told, or has least left."""
    app = told(*RULES, headers=style, tell="tightest")
    assert [ask(app).headers[name] for _ in range(2)] == [allowed, denied]


def test_plain_text() -> None:
    """A refusal may be one line of text."""
    app = told(body="text")
    ask(app)
    answer = ask(app)
    assert answer.body == b"Denied by all: retry after 40 s.\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-length"] == str(len(answer.body))


async def teapot(scope: Any, receive: Any, send: Any) -> None:
    """Answer as no one else does."""
    await send({"type": "http.response.start", "status": 429, "headers": [(b"x-tea", b"1")]})
    await send({"type": "http.response.body", "body": b"short and stout"})


def test_the_applications_own_answer() -> None:
    """It is sent as it is, with the fields."""
    app = told(on_denied=teapot)
    ask(app)
    answer = ask(app)
    assert answer.body == b"short and stout"
    assert answer.headers["x-tea"] == "1"
    assert fields(answer) == {
        "ratelimit": '"all";r=0;t=40',
        "ratelimit-policy": '"all";q=1;w=60',
        "retry-after": "40",
    }


def test_the_answer_of_a_rule_comes_before_the_others() -> None:
    """Each rule may have an answer of its own."""
    app = told(
        Rule("tea", ONE, key="k", path="/tea", on_denied=teapot),
        Rule("all", FixedWindow("1/hour"), key="k"),
        on_denied=None,
    )
    ask(app, "/tea")
    assert ask(app, "/tea").body == b"short and stout"
    assert ask(app, "/").body.startswith(b"{")


def test_an_answer_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A denial is a denial, whatever becomes of the application's own answer."""

    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError

    app = told(on_denied=breaks)
    ask(app)
    assert ask(app).status == 429
    assert "on_denied fails" in caplog.text


def test_an_answer_that_fails_too_late() -> None:
    """What has begun can't be answered again."""

    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await teapot(scope, receive, send)
        raise KeyError

    app = told(on_denied=breaks)
    ask(app)
    with pytest.raises(KeyError):
        ask(app)


def test_an_answer_is_for_denials_alone() -> None:
    """A store that can't decide is an outage, and not what the application's own answer is for."""

    class Gone(AsyncMemoryStore):
        async def hit_all(self, asks: Any) -> Any:
            raise StoreUnavailable("gone")

    rules = [everyone(), Rule("other", ONE, key="k")]
    store = Gone(MemoryStore(clock=Clock()))
    app = RateLimitMiddleware(ok, rules=rules, store=store, on_denied=teapot)
    assert ask(app).status == 503
    closed = AsyncFallbackStore(store, DenyAll())
    app = RateLimitMiddleware(ok, rules=rules, store=closed, on_denied=teapot)
    assert ask(app).status == 503


def test_an_answer_that_says_nothing() -> None:
    """A denial is answered, though the application's own answer returns without a word."""

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        pass

    app = told(on_denied=silent)
    ask(app)
    assert ask(app).status == 429


@pytest.mark.parametrize("style", ["draft-11", "draft-06", "x-ratelimit", "none"])
def test_retry_after_comes_once(style: Any) -> None:
    """The application's own Retry-After stands, also where no other field is the application's."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Retry-After", b"7")]
        await send({"type": "http.response.start", "status": 429, "headers": headers})

    middleware = told(on_denied=app, headers=style)
    ask(middleware)
    sent = asyncio.run(call(middleware, scope_of())).sent
    waits = [value for name, value in sent[0]["headers"] if name.lower() == b"retry-after"]
    assert waits == [b"7"]
    assert len(sent[0]["headers"]) == 1 + len({name.lower() for name in STYLES[style].names})


@pytest.mark.parametrize(
    ("style", "name"), [(style, name) for style in STYLES for name in sorted(STYLES[style].names)]
)
def test_a_field_of_the_application_stands(style: Any, name: bytes) -> None:
    """Who tells of limits in the application, in whichever spelling, is left alone."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(name, b"1")]})

    middleware = RateLimitMiddleware(app, rules=[everyone()], headers=style)
    sent = asyncio.run(call(middleware, scope_of())).sent
    assert sent[0]["headers"] == [(name, b"1")]


def test_retry_after_of_the_application_is_kept() -> None:
    """An answer that tells its own limits tells its own wait."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"RateLimit", b'"x"'), (b"Retry-After", b"7")]
        await send({"type": "http.response.start", "status": 429, "headers": headers})

    middleware = told(on_denied=app)
    ask(middleware)
    assert ask(middleware).headers == {"RateLimit": '"x"', "Retry-After": "7"}


def test_jitter_spreads_those_who_return() -> None:
    """Clients are told different waits, upward only, and each the same one every time."""
    app = told(Rule("all", ONE, key=client_ip(), jitter=30))
    hosts = [(f"192.0.2.{number}", 1) for number in range(50)]
    waits = []
    for host in hosts:
        ask(app, client=host)
        first, again = (ask(app, client=(host[0], port)).headers for port in (1, 2))
        assert first["retry-after"] == again["retry-after"]
        assert first["ratelimit"] == f'"all";r=0;t={first["retry-after"]}'
        waits.append(int(first["retry-after"]))
    assert len(set(waits)) > 10
    assert 40 <= min(waits) <= max(waits) <= 70


def test_jitter_where_all_share_a_key() -> None:
    """Clients that share a limit are spread too."""
    app = told(everyone(jitter=30))
    ask(app)
    answers = [ask(app, client=(f"192.0.2.{number}", 1)) for number in range(50)]
    assert len({answer.headers["retry-after"] for answer in answers}) > 10
    assert ask(app, client=None).status == 429


def test_a_quota_that_exceeds_structured_fields() -> None:
    """Numbers beyond what a structured field holds are told as the largest that it holds."""
    app = told(everyone(FixedWindow(f"{2**53 - 1}/day", max_debt=0)))
    assert '"all";r=999999999999999;' in ask(app).headers["ratelimit"]
    app = told(everyone(FixedWindow(f"{2**53 - 1}/day", max_debt=0)), headers="draft-06")
    assert ask(app).headers["ratelimit-remaining"] == "999999999999999"


def test_several_quotas_that_exceed_structured_fields() -> None:
    """Each of several limits is told with the largest number at most."""
    huge = FixedWindow(f"{2**53 - 1}/day", max_debt=0)
    answer = ask(told(Rule("huge", huge, key="k"), Rule("one", ONE, key="k")))
    assert '"huge";r=999999999999999;' in answer.headers["ratelimit"]
    assert '"one";r=0;' in answer.headers["ratelimit"]


def test_a_name_that_looks_like_a_template() -> None:
    """A per cent sign in a name is told as it is, by one limit and by several."""
    decision = Limiter(TokenBucket("10/second"), store=MemoryStore(clock=Clock(0))).hit("k")
    entry = Notice("100%d", decision.page.algorithm), decision
    style = STYLES["draft-11"]
    one, several = (dict(style.allowed(entries)) for entries in ([entry], [entry, entry]))
    assert one[b"ratelimit"] == b'"100%d";r=9;t=1'
    assert several[b"ratelimit"] == b'"100%d";r=9;t=1, "100%d";r=9;t=1'


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**12))
def test_a_denial_is_never_told_with_a_shorter_wait(limit: int, cost: int, now: int) -> None:
    """In every style the reset of a limit that denied is when it admits again, or later."""
    limiter = Limiter(TokenBucket(f"{limit}/7 seconds"), store=MemoryStore(clock=Clock(now)))
    limiter.hit("k", limit)
    decision = limiter.hit("k", min(cost, limit))
    entries = [(Notice("n", decision.page.algorithm), decision)]
    waits = waits_of(entries, {})
    trio = dict(STYLES["draft-06"].denied(entries, waits))
    assert int(trio[b"ratelimit-reset"]) >= decision.retry_after
    epoch = dict(Tightest(STYLES["x-ratelimit"]).denied(entries, waits))
    assert int(epoch[b"x-ratelimit-reset"]) * 1_000_000 >= now + decision.retry_after_us


TIMING = re.compile(rb"ratelimit;dur=\d+\.\d{3}")


def timings(app: Any, **more: Any) -> list[bytes]:
    """Return the Server-Timing fields of an answer."""
    headers = asyncio.run(call(app, scope_of(**more))).sent[0]["headers"]
    return [value for name, value in headers if name == b"server-timing"]


def test_server_timing() -> None:
    """It tells how long it took to decide, on each answer, next to the application's own."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"server-timing", b"db;dur=5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    rules = [everyone(path="/"), Rule("leaky", LeakyBucket("9/second"), key="k", path="/leaky")]
    limits = told(*rules, server_timing=True)
    limits.app = app
    for path in ("/", "/leaky", "/none"):
        own, ours = timings(limits, path=path)
        assert own == b"db;dur=5"
        assert TIMING.fullmatch(ours)
    (denied,) = timings(limits)
    assert TIMING.fullmatch(denied)
    outer = told(everyone(FixedWindow("9/minute")), server_timing=True)
    outer.app = limits
    assert len(timings(outer, path="/none")) == 2
    outer = told(everyone(FixedWindow("9/minute")))
    outer.app = limits
    assert len(timings(outer)) == 1
    assert timings(told()) == []


@pytest.mark.parametrize("options", [{}, {"on_denied": teapot}])
@pytest.mark.parametrize("style", ["draft-11", "none"])
def test_what_was_held_back_and_denied_is_told_once(options: Any, style: Any) -> None:
    """A rule that waits tells its denials as others do."""
    app = told(everyone(wait=1), headers=style, **options)
    ask(app)
    sent = asyncio.run(call(app, scope_of())).sent
    names = [name for name, _ in sent[0]["headers"]]
    assert sorted(set(names)) == sorted(names)
    assert b"retry-after" in names


@pytest.mark.parametrize("style", ["draft-11", "draft-06"])
def test_the_tightest_limit_is_the_one_to_wait_for(style: Any) -> None:
    """Among limits that deny, the one is told whose wait `Retry-After` tells, jitter included."""
    late = Rule("late", FixedWindow("1/ms"), key="k", jitter=1000)
    rules = [everyone(FixedWindow("1/ms")), late]
    middleware = told(*rules, headers=style, tell="tightest")
    ask(middleware)
    headers = ask(middleware).headers
    wait = int(headers["retry-after"])
    assert wait > 1
    if style == "draft-11":
        assert headers["ratelimit"] == f'"late";r=0;t={wait}'
    else:
        assert headers["ratelimit-reset"] == str(wait)


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
PERIODS = st.sampled_from(["ms", "second", "7 seconds", "90 minutes", "day"])


@st.composite
def some_rules(draw: Callable[..., Any]) -> list[Rule]:
    """Make up to five rules of all kinds, which a request may cost more than they ever admit."""
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    return [
        Rule(
            name,
            draw(st.sampled_from(ALGORITHMS))(f"{draw(st.integers(1, 50))}/{draw(PERIODS)}"),
            key="k",
            cost=lambda scope: scope["cost"],
            jitter=draw(st.sampled_from([0, 30])),
            shadow=draw(st.booleans()),
        )
        for name in names
    ]


@given(
    some_rules(),
    st.sampled_from(["all", "tightest"]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3_000_000)), min_size=1, max_size=6),
)
def test_another_implementation_reads_every_field(
    rules: list[Rule], tell: Any, asked: list[tuple[int, int]]
) -> None:
    """Whatever was decided, the fields are well-formed, and agree with each other."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    app = RateLimitMiddleware(ok, rules=rules, store=store, tell=tell, max_waiting=0)
    enforced = {rule.name: rule.algorithm for rule in rules if not rule.shadow}
    for cost, later in asked:
        answer = ask(app, cost=cost)
        clock.now += later
        assert answer.status in {200, 429, 503}
        told: Any = http_sf.parse(answer.headers.get("ratelimit", "").encode(), tltype="list")
        policies: Any = http_sf.parse(
            answer.headers.get("ratelimit-policy", "").encode(), tltype="list"
        )
        if answer.status != 503:
            assert bool(told) == bool(policies) == bool(enforced)
        quotas = dict(policies)
        assert quotas.keys() <= enforced.keys()
        for name, parameters in told:
            assert 0 <= parameters["r"] <= quotas[name]["q"]
            assert quotas[name].get("w", 1) >= 1
            assert parameters.get("t", 1) >= 1
        if "retry-after" in answer.headers:
            assert int(answer.headers["retry-after"]) == max(each["t"] for _, each in told)
        if answer.status == 429:
            never = any("t" not in each for _, each in told)
            assert ("retry-after" in answer.headers) is not never
