"""The decorator for Starlette's endpoints, and the middleware on its routes and mounts."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from ratelimit import FixedWindow, MemoryStore, RateLimitExceeded, StoreUnavailable, rate_limited
from ratelimit.asgi import MessageLimit, RateLimitMiddleware, Rule, client_ip, decisions
from ratelimit.starlette import RateLimit
from ratelimit.stores.memory import AsyncMemoryStore
from ratelimit.testing import Clock, assert_allowed, assert_limited, forget_all, frozen, unlimited

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request
    from starlette.websockets import WebSocket

ONE = FixedWindow("1/minute")
TWO = FixedWindow("2/minute")
TEN = FixedWindow("10/minute")

with_and_without = pytest.mark.parametrize("outside", [False, True], ids=["alone", "middleware"])


def limit(algorithm: Any = ONE, *, name: str = "inner", **options: Any) -> RateLimit:
    """Return a limit in a store of its own, whose time stands still."""
    return RateLimit(algorithm, name=name, store=MemoryStore(clock=Clock()), **options)


def application(*routes: Any, outside: bool = False, **options: Any) -> Starlette:
    """Return an application, with a middleware that only tells if there is to be one."""
    middleware = [Middleware(RateLimitMiddleware, rules=None)] if outside else []
    return Starlette(routes=routes, middleware=middleware, **options)


def behind(host: str, app: Any) -> Any:
    """Return an application whose requests come from an address."""

    async def addressed(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": (host, 1)}, receive, send)

    return addressed


def limiting(*rules: Rule, **options: Any) -> Middleware:
    """Return a middleware with these rules, whose time stands still."""
    store = MemoryStore(clock=Clock())
    return Middleware(RateLimitMiddleware, rules=rules, store=store, **options)


def wrong(value: Any) -> Any:
    """Return what a type checker would refuse, to see it refused at run time."""
    return value


class Gone:
    """A store elsewhere that is gone."""

    def open(self, name: str, algorithm: Any) -> Any:
        """Return a ledger that fails."""
        ledger = AsyncMemoryStore(MemoryStore()).open(name, algorithm)
        ledger.hit = wrong(self.fail)
        return ledger

    async def fail(self, *asked: Any) -> Any:
        """Fail."""
        raise StoreUnavailable("the server is gone")

    hit_all = peek_all = charge_all = refund_all = reset_all = fail

    async def aclose(self) -> None:
        """Do nothing."""


async def failing(scope: Any, receive: Any, send: Any) -> None:
    """Fail to answer a denial."""
    raise ValueError


async def awaits(request: Request) -> PlainTextResponse:
    """Answer."""
    return PlainTextResponse("async")


def blocks(request: Request) -> PlainTextResponse:
    """Answer, and say if it is from a thread."""
    is_main = threading.current_thread() is threading.main_thread()
    return PlainTextResponse("main" if is_main else "thread")


@with_and_without
@pytest.mark.parametrize(("endpoint", "text"), [(awaits, "async"), (blocks, "thread")])
def test_functions(outside: bool, endpoint: Any, text: str) -> None:
    """Endpoints of both colours are limited, and answered as by the middleware."""
    limited = limit().endpoint(endpoint)
    assert limited.__name__ == endpoint.__name__
    client = TestClient(application(Route("/x", limited), outside=outside))
    first, second = client.get("/x"), client.get("/x")
    assert first.text == text
    assert ("ratelimit" in first.headers) == outside
    assert assert_limited(second, by="inner") == 40
    assert second.headers["content-type"] == "application/problem+json"
    assert second.json()["violated-policies"] == ["inner"]


def test_a_head_request_is_refused_without_a_body() -> None:
    """It runs the endpoint of GET, and is charged like it."""
    client = TestClient(application(Route("/x", limit().endpoint(awaits))))
    assert [client.head("/x").status_code for _ in range(2)] == [200, 429]
    assert client.head("/x").content == b""


@with_and_without
def test_one_object_is_one_limit(outside: bool) -> None:
    """Whatever is decorated with it shares its count."""
    inner = limit(TWO)

    class Item(HTTPEndpoint):
        """An item."""

        async def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("get")

        @inner.endpoint
        def put(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("put")

    routes = [Route("/x", inner.endpoint(awaits)), Route("/item", Item)]
    client = TestClient(application(*routes, outside=outside))
    assert [client.get("/item").status_code for _ in range(3)] == [200] * 3
    answers = [client.get("/x"), client.put("/item"), client.put("/item"), client.get("/x")]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]


@with_and_without
def test_a_class_of_endpoints(outside: bool) -> None:
    """All of its methods are one limit, also those that it doesn't have, and it stays itself."""

    class Item(HTTPEndpoint):
        """An item."""

        def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("get")

        async def delete(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("delete")

    limited = limit(FixedWindow("3/minute")).endpoint(Item)
    assert issubclass(limited, Item)
    assert (limited.__name__, limited.__doc__) == ("Item", "An item.")
    client = TestClient(application(Route("/x", limited), outside=outside))
    answers = [client.get("/x"), client.delete("/x"), client.patch("/x"), client.get("/x")]
    assert [answer.status_code for answer in answers] == [200, 200, 405, 429]
    assert assert_limited(answers[-1], by="inner") == 40


async def talk(socket: WebSocket) -> None:
    """Accept, and say something."""
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


class Talk(WebSocketEndpoint):
    """Accepts, and says something."""

    async def on_connect(self, websocket: WebSocket) -> None:
        """Do it."""
        await talk(websocket)


@with_and_without
@pytest.mark.parametrize("endpoint", [talk, Talk])
def test_websockets(outside: bool, endpoint: Any) -> None:
    """A handshake that is denied isn't accepted, of a function and of a class."""
    route = WebSocketRoute("/ws", limit().endpoint(endpoint))
    client = TestClient(application(route, outside=outside))
    with client.websocket_connect("/ws") as socket:
        assert socket.receive_text() == "hello"
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/ws"):
        pass
    assert assert_limited(denied.value, by="inner") == 40


@with_and_without
def test_an_accepted_websocket_is_closed(outside: bool) -> None:
    """A method that is called after the accept closes with a reason."""
    inner = limit(ONE)

    class Chat(WebSocketEndpoint):
        encoding = "text"

        @inner.endpoint
        async def on_receive(self, websocket: WebSocket, data: str) -> None:
            await websocket.send_text(data)

    app = Starlette(routes=[WebSocketRoute("/ws", Chat)])
    if outside:
        app.add_middleware(RateLimitMiddleware, rules=None, on_denied=failing)
    client = TestClient(app)
    with client.websocket_connect("/ws") as socket:
        socket.send_text("a")
        assert socket.receive_text() == "a"
        socket.send_text("b")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1008, "Retry after 40 s: denied by inner.")


@with_and_without
def test_in_mounted_applications(outside: bool) -> None:
    """An application in another answers in the same way, and doesn't take it for an error."""
    inner = limit(ONE)
    deep = Starlette(routes=[Route("/x", inner.endpoint(awaits))])
    routes = [Mount("/a", deep), Mount("/b", routes=[Mount("/c", deep)])]
    client = TestClient(application(*routes, outside=outside))
    answers = [client.get(path) for path in ("/a/x", "/b/c/x")]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert assert_limited(answers[-1], by="inner") == 40


def test_without_an_application() -> None:
    """Where nobody handles exceptions, the middleware outside answers, or the server gets them."""
    router = Router([Route("/x", limit().endpoint(awaits))])
    client = TestClient(RateLimitMiddleware(router, rules=None))
    assert [client.get("/x").status_code for _ in range(2)] == [200, 429]
    with pytest.raises(RateLimitExceeded):
        TestClient(router).get("/x")


def yields(request: Request) -> Any:
    """Yield what no endpoint of Starlette's may."""
    yield "x"


def test_a_partial_function() -> None:
    """It is an endpoint of Starlette's as well, of either colour."""

    async def greet(word: str, request: Request) -> PlainTextResponse:
        return PlainTextResponse(word)

    def part(word: str, request: Request) -> PlainTextResponse:
        return PlainTextResponse(word)

    inner = limit(TWO)
    routes = [
        Route("/a", inner.endpoint(partial(greet, "hello"))),
        Route("/b", inner.endpoint(partial(part, "goodbye"))),
    ]
    client = TestClient(application(*routes))
    assert [client.get(path).text[:7] for path in ("/a", "/b")] == ["hello", "goodbye"]
    assert client.get("/a").status_code == 429


@pytest.mark.parametrize(
    "refusing",
    [
        {"algorithm": FixedWindow("2/day"), "cost": lambda scope: 3},
        {"key": lambda scope: None, "unknown": "deny"},
        {"algorithm": lambda scope: None},
        {"store": wrong(Gone()), "on_error": "raise"},
    ],
)
def test_what_was_charged_before_is_given_back(refusing: dict[str, Any]) -> None:
    """Whatever refuses a request, and also if nobody answers it."""
    before = limit(TEN, name="before")
    options = {"algorithm": TEN, "store": MemoryStore(), **refusing}
    inner = RateLimit(options.pop("algorithm"), name="inner", **options)

    async def ask(*limits: RateLimit) -> int:
        scope: Any = {"type": "http", "method": "GET", "client": None, "headers": []}
        decisions = [await each(HTTPConnection(scope)) for each in limits]
        return decisions[0].remaining

    async def scenario() -> int:
        for _ in range(3):
            with pytest.raises(Exception, match=r"inner|gone"):
                await ask(before, inner)
        return await ask(before)

    assert asyncio.run(scenario()) == 9


def test_retry_after_is_there_once() -> None:
    """Also where the middleware sends no other fields."""
    app = Starlette(routes=[Route("/x", limit().endpoint(awaits))])
    app.add_middleware(RateLimitMiddleware, rules=None, headers="none")
    client = TestClient(app)
    client.get("/x")
    assert client.get("/x").headers.get_list("retry-after") == ["40"]


def test_an_answer_of_the_middleware_that_is_not_wanted() -> None:
    """A handler inside answers instead, and the middleware tells as if nothing had been said."""
    sorry = PlainTextResponse("sorry", status_code=429)

    async def mine(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("mine", status_code=429)

    routes = [Route("/x", limit().endpoint(awaits))]
    app = Starlette(routes=routes, exception_handlers={RateLimitExceeded: mine})
    app.add_middleware(RateLimitMiddleware, rules=None, on_denied=sorry)
    client = TestClient(app)
    client.get("/x")
    answer = client.get("/x")
    assert answer.text == "mine"
    assert assert_limited(answer, by="inner") == 40


def test_an_endpoint_that_is_called_without_a_request() -> None:
    """It can't be told what to limit."""
    endpoint: Any = limit().endpoint(awaits)
    with pytest.raises(TypeError, match="was called without a request"):
        asyncio.run(endpoint(5))


def test_unnamed_limits_share_nothing() -> None:
    """Two limits without a name are apart, and told apart."""
    routes = [Route(path, RateLimit(ONE).endpoint(awaits)) for path in ("/a", "/b")]
    client = TestClient(application(*routes, outside=True))
    answers = [client.get(path) for path in ("/a", "/b", "/a", "/b")]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    names = {answer.headers["ratelimit-policy"] for answer in answers}
    assert len(names) == 2


def test_named_limits_in_one_store_share_their_states() -> None:
    """The name says which limits are one."""
    store = MemoryStore(clock=Clock())
    limits = [RateLimit(ONE, name=name, store=store) for name in "aab"]
    routes = [Route(f"/{i}", each.endpoint(awaits)) for i, each in enumerate(limits)]
    client = TestClient(application(*routes))
    assert [client.get(path).status_code for path in ("/0", "/1", "/2")] == [200, 429, 200]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: RateLimit(ONE, store="memory://"), TypeError),
        (lambda: RateLimit(ONE, store=MemoryStore()), TypeError),
        (lambda: RateLimit({"a": ONE}, name="a"), TypeError),
        (lambda: RateLimit({}), ValueError),
        (lambda: RateLimit({"a b": ONE}), ValueError),
        (lambda: RateLimit({"a": wrong("1/minute")}), TypeError),
        (lambda: RateLimit(wrong("1/minute")), TypeError),
        (lambda: RateLimit(ONE, name="a b"), ValueError),
        (lambda: RateLimit(ONE, name=wrong(1)), TypeError),
        (lambda: RateLimit(ONE, key=""), ValueError),
        (lambda: RateLimit(ONE, key=wrong(None)), TypeError),
        (lambda: RateLimit(ONE, cost=2), ValueError),
        (lambda: RateLimit(ONE, name="a", store="x://"), ValueError),
        (lambda: RateLimit(ONE, on_error=wrong("ask")), ValueError),
        (lambda: RateLimit(ONE, nodes=0), ValueError),
        (lambda: RateLimit(ONE, unknown=wrong("ask")), ValueError),
        (lambda: RateLimit(ONE, wait=-1), ValueError),
        (lambda: RateLimit(ONE, max_waiting=-1), ValueError),
        (lambda: RateLimit(ONE, key="k", exempt=["192.0.2.0/24"]), ValueError),
        (lambda: limit().endpoint(wrong(5)), TypeError),
        (lambda: limit().endpoint(wrong(lambda: None)), TypeError),
        (lambda: limit().endpoint(wrong(int)), TypeError),
        (lambda: limit().endpoint(yields), TypeError),
        (lambda: limit().endpoint(wrong(PlainTextResponse("x"))), TypeError),
    ],
)
def test_misuse_is_told_at_construction(make: Callable[[], object], error: type[Exception]) -> None:
    """What can't work is refused before the first request."""
    with pytest.raises(error):
        make()


def test_a_name_for_a_store_is_asked_for_with_the_reason() -> None:
    """A store that others may use needs names in it."""
    with pytest.raises(TypeError, match="limits share the states of one name in a store"):
        RateLimit(ONE, store="memory://")


class Elsewhere(AsyncMemoryStore):
    """A store that counts how often it is closed."""

    closed = 0

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1


def test_a_store_is_closed() -> None:
    """`aclose` closes it, and twice does no harm."""
    store = Elsewhere(MemoryStore())
    inner = RateLimit(ONE, name="a", store=store)

    async def close() -> None:
        await inner.aclose()
        await inner.aclose()

    asyncio.run(close())
    assert store.closed == 2


def test_who_is_exempt() -> None:
    """Networks are looked up for the address that is charged, which is that of the client."""
    inner = limit(exempt=["192.0.2.0/24"])
    app = application(Route("/x", inner.endpoint(awaits)), outside=True)
    inside, outsider = (TestClient(behind(host, app)) for host in ("192.0.2.9", "198.51.100.9"))
    assert [inside.get("/x").status_code for _ in range(3)] == [200] * 3
    assert "ratelimit" not in inside.get("/x").headers
    assert [outsider.get("/x").status_code for _ in range(2)] == [200, 429]


def test_middleware_on_a_route_and_a_mount() -> None:
    """Rules hold where the middleware is, and see the path below the mount."""
    routes = [
        Route("/route", awaits, middleware=[limiting(Rule("route", ONE, key=client_ip()))]),
        Mount(
            "/mount",
            routes=[Route("/x", awaits), Route("/y", awaits)],
            middleware=[limiting(Rule("mount", ONE, key=client_ip(), path="/x"))],
        ),
        Route("/free", awaits),
    ]
    client = TestClient(application(*routes))
    paths = ["/route", "/mount/x", "/mount/y", "/free"]
    assert [client.get(path).status_code for path in paths * 2] == [
        200, 200, 200, 200, 429, 429, 200, 200,
    ]  # fmt: skip
    assert_limited(client.get("/mount/x"), by="mount")


def test_middleware_in_middleware() -> None:
    """The fields are there once and tell of all limits; what one denies the others give back."""
    inner = limit(TEN)
    routes = [
        Mount(
            "/mount",
            routes=[
                Route(
                    "/x",
                    inner.endpoint(awaits),
                    middleware=[limiting(Rule("route", TWO, key=client_ip()))],
                )
            ],
            middleware=[limiting(Rule("mount", TEN, key=client_ip()))],
        )
    ]
    app = Starlette(routes=routes, middleware=[limiting(Rule("outer", TEN, key=client_ip()))])
    client = TestClient(app)
    answers = [client.get("/mount/x") for _ in range(9)]
    assert [answer.status_code for answer in answers] == [200, 200] + [429] * 7
    every = '"outer";q=10;w=60, "mount";q=10;w=60, "route";q=2;w=60'
    assert answers[1].headers["ratelimit-policy"] == f'{every}, "inner";q=10;w=60'
    assert answers[8].headers["ratelimit-policy"] == every
    assert answers[8].headers["ratelimit"] == '"route";r=0;t=40'
    assert answers[8].headers.get_list("retry-after") == ["40"]
    assert_allowed(client.get("/none"), remaining=7, by="outer")


@with_and_without
def test_every_kind_of_response_tells(outside: bool, tmp_path: Path) -> None:
    """Streams, files, redirects and errors do if there is a middleware, whoever decided."""
    path = tmp_path / "file"
    path.write_text("file")
    plain = rate_limited(FixedWindow("1/hour"), name="plain")

    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(iter("abc"))

    async def file(request: Request) -> FileResponse:
        return FileResponse(path)

    async def redirect(request: Request) -> RedirectResponse:
        return RedirectResponse("/free")

    async def error(request: Request) -> None:
        raise HTTPException(418, headers={"x-own": "1"})

    @plain
    async def work() -> None: ...

    async def works(request: Request) -> PlainTextResponse:
        await work()
        return PlainTextResponse("done")

    inner = limit(TEN)
    endpoints: list[Any] = [stream, file, redirect, error, works]
    routes = [Route(f"/{each.__name__}", inner.endpoint(each)) for each in endpoints]
    client = TestClient(application(*routes, outside=outside), follow_redirects=False)
    answers = [client.get(f"/{each.__name__}") for each in endpoints]
    assert [answer.status_code for answer in answers] == [200, 200, 307, 418, 200]
    told = [answer.headers.get("ratelimit", "")[:11] for answer in answers]
    assert told == ([f'"inner";r={left}' for left in (9, 8, 7, 6, 5)] if outside else [""] * 5)
    assert answers[3].headers["x-own"] == "1"
    if outside:
        denied = client.get("/works")
        assert_limited(denied, by="plain")
        assert denied.headers["ratelimit-policy"] == '"inner";q=10;w=60, "plain";q=1;w=3600'


def test_a_server_error_is_answered_further_out() -> None:
    """The 500 of an unhandled error is Starlette's, outside of all middleware, and tells nothing.

    It has cost what any request costs.
    """

    async def fail(request: Request) -> None:
        raise KeyError

    app = Starlette(
        routes=[Route("/fail", fail), Route("/x", awaits)],
        middleware=[limiting(Rule("all", TEN, key=client_ip()))],
    )
    client = TestClient(app, raise_server_exceptions=False)
    answer = client.get("/fail")
    assert (answer.status_code, "ratelimit" in answer.headers) == (500, False)
    assert_allowed(client.get("/x"), remaining=8, by="all")
    around = RateLimitMiddleware(app, rules=None)
    client = TestClient(around, raise_server_exceptions=False)
    assert client.get("/fail").headers["ratelimit"] == '"all";r=7;t=40'


@with_and_without
def test_background_tasks_and_context_variables(outside: bool) -> None:
    """They behave as without the decorator: the task runs after the response, in its context."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def outermost(scope: Any, receive: Any, send: Any) -> None:
        variable.set("outer")
        await app(scope, receive, send)
        seen.append(variable.get())

    @limit().endpoint
    async def endpoint(request: Request) -> PlainTextResponse:
        seen.append(variable.get())
        variable.set("inner")
        later = BackgroundTask(lambda: seen.append("later"))
        return PlainTextResponse("x", background=later)

    app = application(Route("/x", endpoint), outside=outside)
    assert TestClient(outermost).get("/x").status_code == 200
    assert seen == ["outer", "later", "inner"]


@with_and_without
def test_decisions_are_at_hand(outside: bool) -> None:
    """An endpoint finds what the decorator has decided."""

    @limit(TEN).endpoint
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(decisions(request)["inner"].remaining))

    client = TestClient(application(Route("/x", endpoint), outside=outside))
    assert [client.get("/x").text for _ in range(2)] == ["9", "8"]


def test_the_hook_of_the_middleware_hears_of_it() -> None:
    """Each decision inside is told once, as soon as it is taken."""
    heard: list[Any] = []
    app = Starlette(routes=[Route("/x", limit().endpoint(awaits))])
    app.add_middleware(
        RateLimitMiddleware,
        rules=None,
        on_decision=lambda scope, limit, decision: heard.append((limit.name, decision.allowed)),
    )
    client = TestClient(app)
    assert [client.get("/x").status_code for _ in range(2)] == [200, 429]
    assert heard == [("inner", True), ("inner", False)]


def test_messages_of_websockets_that_are_limited_inside() -> None:
    """Handshakes by a decorator and messages by the middleware go together."""
    inner = limit(TEN)

    class Chat(WebSocketEndpoint):
        encoding = "text"

        async def on_receive(self, websocket: WebSocket, data: str) -> None:
            left = {name: each.remaining for name, each in decisions(websocket).items()}
            await websocket.send_json(left)

    app = Starlette(routes=[WebSocketRoute("/ws", inner.endpoint(Chat))])
    messages = [MessageLimit("chat", TWO)]
    app.add_middleware(RateLimitMiddleware, rules=None, messages=messages)
    with TestClient(app).websocket_connect("/ws") as socket:
        socket.send_text("a")
        assert socket.receive_json() == {"inner": 9, "chat": 1}
        socket.send_text("b")
        assert socket.receive_json() == {"inner": 9, "chat": 0}
        socket.send_text("c")
        assert socket.receive()["code"] == 1008


def test_switched_off_and_forgotten_in_tests() -> None:
    """The testing kit takes these limits too."""
    inner = limit()
    client = TestClient(application(Route("/x", inner.endpoint(awaits))))
    with unlimited(inner), unlimited(inner):
        assert [client.get("/x").status_code for _ in range(3)] == [200] * 3
    assert [client.get("/x").status_code for _ in range(2)] == [200, 429]
    forget_all(inner)
    assert client.get("/x").status_code == 200
    with frozen(inner) as clock:
        assert [client.get("/x").status_code for _ in range(2)] == [200, 429]
        clock.advance(60)
        assert client.get("/x").status_code == 200
    assert client.get("/x").status_code == 429
