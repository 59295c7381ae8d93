"""What was decided on a request, for those who come later."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from ratelimit.algorithms import FixedWindow, LeakyBucket, SlidingLog, TokenBucket
from ratelimit.asgi import (
    Limit,
    RateLimitMiddleware,
    Rule,
    charge,
    client_ip,
    decisions,
    header,
    record,
    refund,
)
from ratelimit.errors import RateLimitExceeded, StoreUnavailable
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore
from tests.applications import ONE, Broken, ask, call, everyone, limited, ok, scope_of, statuses
from tests.conftest import Clock

if TYPE_CHECKING:
    from pathlib import Path

TEN = FixedWindow("10/minute")


def during(*doing: Any, status: int = 200) -> Any:
    """Return an application that does something with its request before it answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for do in doing:
            await do(scope)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def test_decisions_are_at_hand() -> None:
    """They are found by name, of a scope as of a request."""
    seen: list[Any] = []

    async def look(scope: Any) -> None:
        seen.extend((decisions(scope), decisions(Request(scope))))

    rules = [Rule("a", TEN, key="k"), Rule("b", FixedWindow("5/minute"), key="k")]
    ask(limited(*rules, app=during(look)))
    assert [list(each) for each in seen] == [["a", "b"], ["a", "b"]]
    assert [decision.remaining for decision in seen[0].values()] == [9, 4]


def test_without_a_middleware_nothing_was_decided() -> None:
    """It is no error to ask."""
    assert decisions(scope_of()) == {}


def test_more_is_charged_after_the_work() -> None:
    """What the work has cost is charged to the same key, and told if there is still time."""
    left: list[int] = []

    async def work(scope: Any) -> None:
        left.append((await charge(scope, 5)).remaining)

    app = limited(everyone(TEN), app=during(work))
    assert [ask(app).headers["ratelimit"].split(";")[1] for _ in range(2)] == ["r=4", "r=0"]
    assert left == [4, 0]
    assert ask(app).status == 429


def test_several_limits_are_charged_by_name() -> None:
    """Which one is meant isn't guessed."""

    async def work(scope: Any) -> None:
        with pytest.raises(LookupError, match="'requests', 'tokens' decided on this request"):
            await charge(scope, 5)
        with pytest.raises(LookupError, match="'other' hasn't decided"):
            await charge(scope, 5, "other")
        await charge(scope, 500, "tokens")
        with pytest.raises(ValueError, match="at least 0"):
            await charge(scope, -1, "tokens")

    rules = [Rule("requests", TEN, key="k"), Rule("tokens", FixedWindow("999/minute"), key="k")]
    answer = ask(limited(*rules, app=during(work)))
    assert answer.headers["ratelimit"].startswith('"requests";r=9;t=')
    assert '"tokens";r=498;t=' in answer.headers["ratelimit"]


def test_charging_a_request_that_nobody_decided_on() -> None:
    """There is no limit to charge."""
    with pytest.raises(LookupError, match="no limit decided on this request"):
        asyncio.run(charge(scope_of(), 1))


def test_a_request_is_given_back() -> None:
    """All that was charged, or what one limit has charged, and only once."""
    given: list[bool] = []

    async def one(scope: Any) -> None:
        await charge(scope, 3, "a")
        given.append(await refund(scope, "a"))
        given.append(await refund(scope, "a"))

    async def every(scope: Any) -> None:
        given.append(await refund(scope))
        given.append(await refund(scope))

    rules = [Rule("a", TEN, key="k"), Rule("b", TEN, key="k")]
    clock = Clock()
    app = limited(*rules, app=during(one), clock=clock)
    ask(app)
    assert given == [True, False]
    app.app = during(every)
    answer = ask(app)
    assert given == [True, False, True, False]
    assert answer.headers["ratelimit"].startswith('"a";r=9;')
    assert '"b";r=8;' in answer.headers["ratelimit"]
    app.app = ok
    assert '"b";r=8;' in ask(app).headers["ratelimit"]


def inside(limit: Limit, key: str = "k") -> Any:
    """Return what decides inside of an application, as a dependency does."""

    async def decide(scope: Any) -> None:
        decision = await limit.ledger.hit(key)
        record(scope, (limit, decision))
        if not decision:
            raise RateLimitExceeded(decision)

    return decide


def limit_of(algorithm: Any = TEN, name: str = "inner", **options: Any) -> Limit:
    """Return a limit in a store of its own."""
    return Limit(name, algorithm, AsyncMemoryStore(MemoryStore(clock=Clock())), **options)


def test_what_is_decided_inside_is_told_outside() -> None:
    """The fields tell of dependencies' decisions too, also if no rule matches."""
    app = during(inside(limit_of()))
    answer = ask(limited(everyone(), app=app))
    assert answer.headers["ratelimit-policy"] == '"all";q=1;w=60, "inner";q=10;w=60'
    answer = ask(limited(everyone(path="/x"), app=app))
    assert answer.headers["ratelimit-policy"] == '"inner";q=10;w=60'


def test_what_denies_inside_has_used_up_nothing_outside() -> None:
    """A request that a dependency denies gives back what the rules outside have charged."""
    app = limited(everyone(TEN), app=during(inside(limit_of(ONE))))
    first, *others = [ask(app) for _ in range(5)]
    assert first.headers["ratelimit"].startswith('"all";r=9;')
    assert [answer.status for answer in others] == [429] * 4
    assert others[0].headers["ratelimit"].startswith('"inner";r=0;')
    assert others[0].headers["ratelimit-policy"] == '"all";q=10;w=60, "inner";q=1;w=60'
    app.app = ok
    assert ask(app).headers["ratelimit"].startswith('"all";r=8;')


def test_what_the_work_was_denied_stays_charged() -> None:
    """A limit deep inside that nobody has recorded says nothing about what was done before."""
    limit = limit_of(ONE)

    async def work(scope: Any) -> None:
        decision = await limit.ledger.hit("k")
        if not decision:
            raise RateLimitExceeded(decision)

    app = limited(everyone(TEN), app=during(work))
    assert [ask(app).status for _ in range(3)] == [200, 429, 429]
    app.app = ok
    assert ask(app).headers["ratelimit"].startswith('"all";r=6;')


def test_a_denial_that_the_application_answers_itself() -> None:
    """A 429 of the application's gets the fields of the limits that denied, and Retry-After."""
    limit = limit_of(ONE)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        decision = await limit.ledger.hit("k")
        record(scope, (limit, decision))
        await during(status=200 if decision else 429)(scope, receive, send)

    answers = [ask(limited(everyone(TEN), app=app)) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert int(answers[1].headers["retry-after"]) >= 1
    assert answers[1].headers["ratelimit"].startswith('"inner";r=0;')


def test_nested_middlewares_tell_together() -> None:
    """A middleware inside of another adds to what that one tells, and both are all or nothing."""
    inner = limited(Rule("inner", ONE, key="k"))
    outer = limited(Rule("outer", TEN, key="k"), app=inner)
    first, second = ask(outer), ask(outer)
    assert first.headers["ratelimit-policy"] == '"outer";q=10;w=60, "inner";q=1;w=60'
    assert second.status == 429
    assert second.headers["ratelimit"].startswith('"inner";r=0;')
    assert list(second.headers).count("ratelimit") == 1
    outer.app = ok
    assert ask(outer).headers["ratelimit"].startswith('"outer";r=8;')


def test_nested_middlewares_fail_together() -> None:
    """What an inner one can't decide the outer one answers, once."""
    inner = RateLimitMiddleware(ok, rules=[everyone()], store=Broken("hit_all"))
    answer = ask(limited(Rule("outer", TEN, key="k"), app=inner))
    assert answer.status == 503
    nobody = limited(Rule("inner", ONE, key=header("x-key"), unknown="deny"))
    outer = limited(Rule("outer", TEN, key="k"), app=nobody)
    assert [ask(outer).status for _ in range(12)] == [403] * 12


def test_who_looks_from_outside_of_the_middleware() -> None:
    """What stands outside may ask and record before: the middleware answers for the request."""
    outer = limit_of(TEN, "outer")
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["query_string"]:
            raise RateLimitExceeded(await outer.ledger.hit("k", 11))
        await ok(scope, receive, send)

    middleware = RateLimitMiddleware(
        app, rules=[everyone(TEN)], on_decision=lambda scope, limit, _: heard.append(limit.name)
    )

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        assert decisions(scope) == {}
        record(scope, (outer, await outer.ledger.hit("k")))
        await middleware(scope, receive, send)

    answer = ask(outside, query_string=b"")
    assert answer.headers["ratelimit-policy"] == '"outer";q=10;w=60, "all";q=10;w=60'
    assert ask(outside, query_string=b"x").status == 429
    assert heard == ["all", "all"]


def test_the_hook_hears_of_each_decision(caplog: pytest.LogCaptureFixture) -> None:
    """It is called once for each, as soon as it is taken, and harms nobody if it fails."""
    heard: list[Any] = []

    def hook(scope: Any, limit: Limit, decision: Any) -> None:
        heard.append((scope["path"], limit.name, decision.allowed))
        raise RuntimeError("a bug")

    rules = [Rule("a", TEN, key="k"), Rule("b", ONE, key="k")]
    app = RateLimitMiddleware(during(inside(limit_of())), rules=rules, on_decision=hook)
    assert [ask(app, "/x").status for _ in range(2)] == [200, 429]
    assert heard == [
        ("/x", "a", True), ("/x", "b", True), ("/x", "inner", True),
        ("/x", "a", True), ("/x", "b", False),
    ]  # fmt: skip
    assert "on_decision failed for the limit 'b'" in caplog.text


def failures(response: Any) -> bool:
    """Say that only failures count."""
    return bool(response["status"] >= 400)


@pytest.mark.parametrize("algorithm", [FixedWindow, TokenBucket, SlidingLog, LeakyBucket])
def test_only_failures_count(algorithm: Any) -> None:
    """What a request cost is given back before its response is sent, if it doesn't count."""
    rule = everyone(algorithm("2/minute"), count_if=failures)
    app = limited(rule, Rule("every", TEN, key="k"), app=during(status=200))
    answers = [ask(app) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    full = algorithm("2/minute").max_cost
    assert f'"all";r={full};' in answers[0].headers["ratelimit"]
    assert '"every";r=5;' in answers[4].headers["ratelimit"]
    assert [answer.headers["ratelimit"].count('"all"') for answer in answers] == [1] * 5


def test_concurrent_requests_do_not_slip_through() -> None:
    """A request is charged before it runs, so no more can be under way than the limit admits."""

    async def scenario() -> list[int]:
        release = asyncio.Event()

        async def wait(scope: Any) -> None:
            await release.wait()

        rule = everyone(FixedWindow("2/minute"), count_if=failures)
        app = limited(rule, app=during(wait, status=401))
        tasks = [asyncio.create_task(call(app, scope_of())) for _ in range(5)]
        await asyncio.sleep(0)
        release.set()
        return sorted([(await task).status for task in tasks])

    assert asyncio.run(scenario()) == [401, 401, 429, 429, 429]


def test_errors_count_as_the_responses_that_they_become() -> None:
    """An exception is a 500, a limit that is exceeded inside a 429, a store that is gone a 503."""

    async def fail(scope: Any) -> None:
        raise KeyError

    async def lose(scope: Any) -> None:
        raise StoreUnavailable("the server is gone")

    app = limited(everyone(count_if=lambda response: response["status"] != 500), app=during(fail))
    for _ in range(3):
        with pytest.raises(KeyError):
            ask(app)
    app = limited(everyone(count_if=lambda response: response["status"] != 503), app=during(lose))
    assert [ask(app).status for _ in range(3)] == [503, 503, 503]
    inner = during(inside(limit_of(FixedWindow("1/minute"))))
    app = limited(everyone(TEN, count_if=lambda response: response["status"] == 429), app=inner)
    assert [ask(app).status for _ in range(3)] == [200, 429, 429]


def test_errors_after_the_response_has_started() -> None:
    """The response that the client saw is the one that counts."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await ok(scope, receive, send)
        raise KeyError

    middleware = limited(everyone(count_if=failures), app=app)
    for _ in range(3):
        with pytest.raises(KeyError):
            ask(middleware)


def test_a_count_if_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """If it can't be told whether a request counts, it does, and the log says so once."""
    app = limited(everyone(count_if=lambda response: 1 / 0 > 0))
    assert statuses(app, *"///") == [200, 429, 429]
    assert caplog.text.count("the count_if of the rule 'all' fails") == 1


def test_whether_a_request_counts_is_said_of_ones_own_limits() -> None:
    """A limit inside that has the name of a rule isn't given back by the rule."""
    limit = limit_of(TEN, "all")
    app = limited(everyone(TEN, count_if=failures), app=during(inside(limit)))
    assert statuses(app, *"///") == [200, 200, 200]
    assert asyncio.run(limit.ledger.hit("k")).remaining == 6


def test_whether_a_request_counts_with_an_algorithm_of_its_own() -> None:
    """What a caller's own algorithm has charged is given back too."""
    rule = Rule("all", lambda scope: ONE, key="k", count_if=failures)
    assert statuses(limited(rule), *"///") == [200, 200, 200]


class Blind(AsyncMemoryStore):
    """A store that can give back but not be looked at."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(clock=Clock()))

    async def peek_all(self, asks: Any) -> Any:
        """Fail."""
        raise StoreUnavailable("gone")


def test_what_is_left_cannot_be_looked_at_again(caplog: pytest.LogCaptureFixture) -> None:
    """Then the response tells what was left before."""
    rule = everyone(FixedWindow("2/minute"), count_if=failures)
    app = RateLimitMiddleware(ok, rules=[rule], store=Blind())
    assert [ask(app).headers["ratelimit"].split(";")[1] for _ in range(3)] == ["r=1"] * 3
    assert "could not be looked at again" in caplog.text


def test_every_kind_of_response_carries_the_fields(tmp_path: Path) -> None:
    """Files, redirects, streams, errors and what isn't there do."""
    path = tmp_path / "file"
    path.write_text("x")

    def raising(request: Any) -> Any:
        raise ValueError

    routes = [
        Route("/file", FileResponse(path)),
        Route("/redirect", RedirectResponse("/file")),
        Route("/stream", lambda request: StreamingResponse(iter("abc"))),
        Route("/error", raising),
        Mount("/mount", routes=[Route("/x", PlainTextResponse("x"))]),
    ]

    def handler(request: Any, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("oops", status_code=400)

    inner = Starlette(routes=routes, exception_handlers={ValueError: handler})
    client = TestClient(limited(everyone(TokenBucket("100/minute")), app=inner))
    paths = ("/file", "/redirect", "/stream", "/error", "/none", "/mount/x", "/mount/none")
    answers = [client.get(path, follow_redirects=False) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 307, 200, 400, 404, 200, 404]
    assert [answer.headers["ratelimit-policy"] for answer in answers] == ['"all";q=100;w=60'] * 7


def test_background_tasks_and_context_variables() -> None:
    """They behave as without the middleware."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        variable.set("outer")
        await middleware(scope, receive, send)
        seen.append(variable.get())

    async def endpoint(request: Request) -> PlainTextResponse:
        seen.append(variable.get())
        variable.set("inner")
        return PlainTextResponse("x", background=BackgroundTask(lambda: seen.append("later")))

    middleware = limited(everyone(), app=Starlette(routes=[Route("/", endpoint)]))
    assert TestClient(outer).get("/").status_code == 200
    assert seen == ["outer", "later", "inner"]


def test_sub_applications_of_fastapi() -> None:
    """Rules without a path count what routers and mounted applications serve, at any depth."""
    app, sub = FastAPI(), FastAPI()

    @sub.get("/x/{item}")
    def read(item: int) -> int:
        return item

    app.mount("/sub", sub)
    app.include_router(sub.router, prefix="/router")
    app.add_middleware(RateLimitMiddleware, rules=[Rule("all", FixedWindow("3/minute"), key="k")])
    client = TestClient(app)
    paths = ("/sub/x/1", "/router/x/2", "/sub/x/oops", "/router/x/3")
    assert [client.get(path).status_code for path in paths] == [200, 200, 422, 429]


def test_a_slow_reader_slows_the_application_down() -> None:
    """What is sent is passed on at once, and the application waits for the server to take it."""

    async def scenario() -> list[str]:
        events: list[str] = []
        taken = asyncio.Event()

        async def receive() -> Any:
            raise AssertionError

        async def send(message: Any) -> None:
            events.append(message["type"])
            await taken.wait()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await ok(scope, receive, send)
            events.append("done")

        middleware = limited(Rule("all", TEN, key=client_ip()), app=app)
        task = asyncio.create_task(middleware(scope_of(), receive, send))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen = list(events)
        taken.set()
        await task
        return seen + events

    start, body = "http.response.start", "http.response.body"
    assert asyncio.run(scenario()) == [start, start, body, "done"]
