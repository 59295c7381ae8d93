"""The dependency for FastAPI, which runs with the oldest version that it serves too."""

from collections.abc import Mapping
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import HTTPConnection
from starlette.testclient import WebSocketDenialResponse

from ratelimit import (
    Decision,
    FixedWindow,
    MemoryStore,
    RateLimitExceeded,
    StoreUnavailable,
    TokenBucket,
)
from ratelimit.asgi import (
    RateLimitMiddleware,
    Rule,
    charge,
    client_ip,
    decisions,
    path_param,
    refund,
)
from ratelimit.fastapi import RESPONSES, RateLimit, document_limits
from ratelimit.stores.memory import AsyncMemoryStore
from ratelimit.stores.redis import AsyncRedisStore
from ratelimit.testing import Clock, assert_allowed, assert_limited

ONE = FixedWindow("1/minute")
TWO = FixedWindow("2/minute")
TEN = FixedWindow("10/minute")

with_and_without = pytest.mark.parametrize("outside", [False, True], ids=["alone", "middleware"])


def limit(algorithm: Any = TWO, *, name: str = "inner", **options: Any) -> RateLimit:
    """Return a limit in a store of its own, whose time stands still."""
    return RateLimit(algorithm, name=name, store=MemoryStore(clock=Clock()), **options)


def application(*limits: RateLimit, outside: bool = False, **options: Any) -> FastAPI:
    """Return an application with limits on all of its routes."""
    app = FastAPI(dependencies=[Depends(each) for each in limits], **options)
    if outside:
        app.add_middleware(RateLimitMiddleware, rules=None)
    return app


def statuses(app: FastAPI, *paths: str) -> list[int]:
    """Return the statuses of requests for paths, one after the other."""
    client = TestClient(app)
    return [client.get(path).status_code for path in paths]


@with_and_without
def test_a_route_is_limited(outside: bool) -> None:
    """The dependency of a route denies with all that the middleware's 429 has."""
    app = application(outside=outside)

    @app.get("/report", dependencies=[Depends(limit(ONE))])
    async def report() -> str:
        return "report"

    @app.get("/free")
    async def free() -> str:
        return "free"

    client = TestClient(app)
    assert client.get("/report").json() == "report"
    answer = client.get("/report")
    assert assert_limited(answer, by="inner") == 40
    assert answer.headers["ratelimit"] == '"inner";r=0;t=40'
    assert answer.headers["ratelimit-policy"] == '"inner";q=1;w=60'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.json() == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "Denied by inner: retry after 40 s.",
        "violated-policies": ["inner"],
    }
    assert statuses(app, "/free", "/free", "/free") == [200] * 3


@with_and_without
def test_a_decision_in_the_signature(outside: bool) -> None:
    """It is at hand in endpoints of both colours, and shared by those that have one limit."""
    per_client = limit(TEN)
    app = application(outside=outside)

    @app.get("/async")
    async def awaits(decision: Annotated[Decision, Depends(per_client)]) -> int:
        return decision.remaining

    @app.get("/sync")
    def blocks(decision: Annotated[Decision, Depends(per_client)]) -> int:
        return decision.remaining

    client = TestClient(app)
    answers = [client.get(path) for path in ("/async", "/sync", "/async")]
    assert [answer.json() for answer in answers] == [9, 8, 7]
    assert [answer.headers.get("ratelimit") for answer in answers] == (
        [f'"inner";r={left};t=40' for left in (9, 8, 7)] if outside else [None] * 3
    )


@with_and_without
def test_one_object_is_charged_once(outside: bool) -> None:
    """On the application, the router and the route, and in the signature, it is one limit."""
    once = limit(TWO)
    app = application(once, outside=outside)
    router = APIRouter(dependencies=[Depends(once)])

    @router.get("/x", dependencies=[Depends(once)])
    async def read(decision: Annotated[Decision, Depends(once)]) -> int:
        return decision.remaining

    app.include_router(router, dependencies=[Depends(once)])
    client = TestClient(app)
    assert [client.get("/x").status_code for _ in range(3)] == [200, 200, 429]


@with_and_without
def test_two_objects_are_two_limits(outside: bool) -> None:
    """Each counts for itself, also without a name, and all of them are told."""
    app = application(RateLimit(TEN), outside=outside)

    @app.get("/a", dependencies=[Depends(RateLimit(TWO))])
    async def a() -> None: ...

    @app.get("/b", dependencies=[Depends(RateLimit(TWO))])
    async def b() -> None: ...

    paths = ("/a", "/a", "/a", "/b", "/b", "/b")
    assert statuses(app, *paths) == [200, 200, 429, 200, 200, 429]
    answer = TestClient(app).get("/b")
    told = answer.headers["ratelimit-policy"]
    assert [item.split(";")[1] for item in told.split(", ")] == ["q=10", "q=2"]


@with_and_without
@pytest.mark.parametrize("path", ["/a/b/x", "/sub/x", "/sub/b/x", "/sub/deep/x", "/sub/deep/b/x"])
def test_routers_and_mounts_of_any_depth(outside: bool, path: str) -> None:
    """A limit holds wherever its router is included or mounted, and is one limit everywhere."""
    app, sub, deep = application(outside=outside), FastAPI(), FastAPI()
    leaf, middle = APIRouter(dependencies=[Depends(limit())]), APIRouter()

    @leaf.get("/x")
    async def read() -> None: ...

    middle.include_router(leaf, prefix="/b")
    app.include_router(middle, prefix="/a")
    for each in (sub, deep):
        each.include_router(leaf)
        each.include_router(middle)
    sub.mount("/deep", deep)
    app.mount("/sub", sub)
    client = TestClient(app)
    answers = [client.get(path) for path in ("/a/b/x", "/sub/deep/x", path)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json()["violated-policies"] == ["inner"]
    assert ("ratelimit" in answers[0].headers) == outside


@with_and_without
def test_every_response_tells_if_there_is_a_middleware(outside: bool) -> None:
    """Whether the endpoint returns a response, raises, or was asked for nonsense."""
    app = application(limit(TEN), outside=outside)

    @app.get("/response")
    async def response() -> PlainTextResponse:
        return PlainTextResponse("x")

    @app.get("/error")
    async def error() -> None:
        raise HTTPException(418)

    @app.get("/item/{item}")
    async def item(item: int) -> int:
        return item

    client = TestClient(app)
    answers = [client.get(path) for path in ("/response", "/error", "/item/x", "/none")]
    assert [answer.status_code for answer in answers] == [200, 418, 422, 404]
    told = [answer.headers.get("ratelimit", "")[:11] for answer in answers]
    assert told == ['"inner";r=9', '"inner";r=8', '"inner";r=7', ""] if outside else [""] * 4


def test_what_a_dependency_denies_has_used_up_nothing_outside() -> None:
    """The rules of the middleware and the dependencies before get back what they charged."""
    before = limit(TEN, name="before")
    app = application(before)
    rules = [Rule("outer", TEN, key="k")]
    app.add_middleware(RateLimitMiddleware, rules=rules, store=MemoryStore(clock=Clock()))

    @app.get("/x", dependencies=[Depends(limit(ONE))])
    async def read() -> None: ...

    @app.get("/free")
    async def free() -> None: ...

    client = TestClient(app)
    answers = [client.get("/x") for _ in range(15)]
    assert [answer.status_code for answer in answers] == [200] + [429] * 14
    policies = '"outer";q=10;w=60, "before";q=10;w=60, "inner";q=1;w=60'
    assert answers[-1].headers["ratelimit-policy"] == policies
    assert answers[-1].headers["ratelimit"] == '"inner";r=0;t=40'
    free_answer = client.get("/free")
    assert_allowed(free_answer, remaining=8, by="outer")
    assert_allowed(free_answer, remaining=8, by="before")


def test_the_middleware_says_how_it_is_answered() -> None:
    """Its fields, its body and its own answer are those of limits inside as well."""
    app = FastAPI(dependencies=[Depends(limit(ONE))])
    app.add_middleware(RateLimitMiddleware, rules=None, headers="x-ratelimit", body="text")

    @app.get("/x")
    async def read() -> None: ...

    client = TestClient(app)
    client.get("/x")
    answer = client.get("/x")
    assert answer.text == "Denied by inner: retry after 40 s.\n"
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert "ratelimit" not in answer.headers

    async def sorry(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b""
        await PlainTextResponse("sorry", status_code=429)(scope, receive, send)

    app = FastAPI(dependencies=[Depends(limit(ONE))])
    app.add_middleware(RateLimitMiddleware, rules=None, on_denied=sorry)
    app.get("/x")(read)
    client = TestClient(app)
    client.get("/x")
    answer = client.get("/x")
    assert answer.text == "sorry"
    assert assert_limited(answer, by="inner") == 40


@with_and_without
@pytest.mark.parametrize("kind", [429, RateLimitExceeded, StarletteHTTPException])
def test_an_exception_handler_of_the_application(outside: bool, kind: Any) -> None:
    """One for 429 or `RateLimitExceeded` answers; one for every HTTP error is less exact."""
    app = application(limit(ONE), outside=outside)

    @app.get("/x")
    async def read() -> None: ...

    @app.exception_handler(kind)
    async def answer(request: Request, error: Any) -> PlainTextResponse:
        assert error.decision.name == "inner"
        assert str(error) == "denied by inner: retry after 40.000000 s"
        return PlainTextResponse("mine", error.status_code, error.headers)

    client = TestClient(app)
    client.get("/x")
    answered = client.get("/x")
    assert assert_limited(answered, by="inner") == 40
    assert answered.headers["ratelimit-policy"] == '"inner";q=1;w=60'
    assert (answered.text == "mine") == (kind in {429, RateLimitExceeded})


@with_and_without
def test_a_dependency_with_yield_sees_the_denial(outside: bool) -> None:
    """What was opened before is closed, and nobody is answered twice."""
    seen: list[Any] = []

    async def opened() -> Any:
        try:
            yield
        except Exception as error:
            seen.append(type(error))
            raise
        finally:
            seen.append("closed")

    app = application(outside=outside)

    @app.get("/x", dependencies=[Depends(opened), Depends(limit(ONE))])
    async def read() -> None: ...

    assert statuses(app, "/x", "/x") == [200, 429]
    assert seen[0] == "closed"
    assert seen[2] == "closed"
    assert issubclass(seen[1], RateLimitExceeded)
    assert issubclass(seen[1], StarletteHTTPException)


class Gone:
    """A store elsewhere that is gone."""

    def open(self, name: str, algorithm: Any) -> Any:
        """Return a ledger that fails."""
        ledger = AsyncMemoryStore(MemoryStore()).open(name, algorithm)
        failing: Any = self.fail
        ledger.hit = failing
        return ledger

    async def fail(self, *asked: Any) -> Any:
        """Fail."""
        raise StoreUnavailable("the server is gone")

    hit_all = peek_all = charge_all = refund_all = reset_all = fail

    async def aclose(self) -> None:
        """Do nothing."""


@with_and_without
def test_the_store_is_gone(outside: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The process decides for itself, or it is a 503, in a mounted application too."""
    app, sub = application(outside=outside), FastAPI()
    gone: Any = Gone()
    local = RateLimit(ONE, name="local", store=gone)
    raising = RateLimit(ONE, name="raise", store=gone, on_error="raise")
    closed = RateLimit(ONE, name="closed", store=gone, on_error="closed")

    @sub.get("/local", dependencies=[Depends(local)])
    @sub.get("/raise", dependencies=[Depends(raising)])
    @sub.get("/closed", dependencies=[Depends(closed)])
    async def read() -> None: ...

    app.mount("/sub", sub)
    paths = ("/sub/local", "/sub/local", "/sub/raise", "/sub/closed")
    assert statuses(app, *paths) == [200, 429, 503, 503]
    answer = TestClient(app).get("/sub/raise")
    assert answer.json()["type"].endswith("#temporary-reduced-capacity")
    assert "could not be checked: the server is gone" in caplog.text


def test_nobody_can_be_charged() -> None:
    """A request without a key shares one limit, isn't limited, or is denied with 403."""
    app = FastAPI()
    for unknown in ("shared", "exempt", "deny"):
        per_key = limit(ONE, key=lambda scope: None, unknown=unknown)
        app.get(f"/{unknown}", dependencies=[Depends(per_key)])(lambda: None)
    paths = ("/shared", "/shared", "/exempt", "/exempt", "/deny")
    assert statuses(app, *paths) == [200, 429, 200, 200, 403]


def test_keys_and_costs() -> None:
    """They are functions of the scope after routing, of both colours, and cost what they say."""

    async def cost(scope: Any) -> int:
        return int(scope["path_params"]["cost"])

    async def who(scope: Any) -> str:
        return str(scope["state"]["user"])

    async def log_in(request: Request) -> None:
        request.state.user = request.query_params["user"]

    app = FastAPI()
    per_tenant = limit(TEN, key=path_param("tenant"), cost=cost)

    @app.get("/{tenant}/{cost}", dependencies=[Depends(per_tenant)])
    async def read(tenant: str, cost: int) -> None: ...

    @app.get("/me", dependencies=[Depends(log_in), Depends(limit(ONE, key=who))])
    async def me() -> None: ...

    assert statuses(app, "/a/6", "/a/5", "/a/4", "/b/10", "/a/1") == [200, 429, 200, 200, 429]
    assert statuses(app, "/me?user=a", "/me?user=a", "/me?user=b") == [200, 429, 200]


def test_conditions_and_plans() -> None:
    """Who is exempt gets a decision that knows no limit, and the algorithm may be chosen."""

    def plan(scope: Any) -> Any:
        return TWO if scope["query_string"] == b"premium" else ONE

    app = FastAPI()
    some = limit(plan, key="all", exempt=lambda scope: scope["query_string"] == b"admin")

    @app.get("/x")
    async def read(decision: Annotated[Decision, Depends(some)]) -> list[Any]:
        return [decision.name, decision.allowed, decision.remaining]

    client = TestClient(app)
    asked = ("premium", "premium", "premium", "", "", "admin")
    answers = [client.get(f"/x?{query}") for query in asked]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 200, 429, 200]
    assert answers[0].json() == ["inner", True, 1]
    assert answers[-1].json() == ["inner", True, 10**15 - 1]


def test_several_limits_are_one_decision() -> None:
    """A mapping of limits is all or nothing, and its decision has the answer of each."""
    limits = {"burst": ONE, "daily": FixedWindow("100/day")}
    both = RateLimit(limits, store=MemoryStore(clock=Clock()))
    app = FastAPI()

    @app.get("/x")
    async def read(decision: Annotated[Decision, Depends(both)]) -> dict[str, int]:
        return {name: each.remaining for name, each in decision.limits.items()}

    client = TestClient(app)
    assert client.get("/x").json() == {"burst": 0, "daily": 99}
    assert client.get("/x").json()["violated-policies"] == ["burst"]


def test_several_limits_with_keys_and_costs_of_their_own() -> None:
    """One decision charges an address and what another dependency has read of the body."""
    app = FastAPI()
    both = RateLimit(
        {"address": TEN, "name": TWO},
        key={"address": client_ip(), "name": lambda scope: scope["state"]["name"]},
        cost={"address": 3, "name": 1},
        store=MemoryStore(clock=Clock()),
    )

    async def name_of(request: Request, name: Annotated[str, Body()]) -> None:
        request.state.name = name.casefold()

    @app.post("/log-in", dependencies=[Depends(name_of), Depends(both)])
    async def log_in(request: Request) -> dict[str, int]:
        return {name: each.remaining for name, each in decisions(request).items()}

    client = TestClient(app)
    answers = [client.post("/log-in", json=name) for name in ("bob", "BOB", "Bob", "eve", "sue")]
    assert [answer.json() for answer in answers[:2]] == [
        {"address": 7, "name": 1}, {"address": 4, "name": 0}
    ]  # fmt: skip
    assert answers[2].json()["violated-policies"] == ["name"]
    assert answers[3].json() == {"address": 1, "name": 1}
    assert answers[4].json()["violated-policies"] == ["address"]


def test_keys_that_no_limit_has() -> None:
    """A mapping that leaves a limit out is refused at once, as one of others and one for one is."""
    with pytest.raises(ValueError, match=r"no key for the limit 'b', only for \['a'\]"):
        RateLimit({"a": ONE, "b": ONE}, key={"a": client_ip()})
    with pytest.raises(ValueError, match="no cost for the limit 'b'"):
        RateLimit({"a": ONE, "b": ONE}, cost={"a": 1})
    with pytest.raises(ValueError, match=r"a key is given to 'b', but the limits are \['a'\]"):
        RateLimit({"a": ONE}, key={"a": client_ip(), "b": client_ip()})
    with pytest.raises(TypeError, match="the only limit takes one key"):
        RateLimit(ONE, key={"a": client_ip()})


def test_a_limit_that_only_reports() -> None:
    """It denies nobody; the endpoint sees what it would have denied."""
    app = FastAPI()
    trial = limit(ONE, shadow=True)

    @app.get("/x")
    async def read(decision: Annotated[Decision, Depends(trial)]) -> bool:
        return decision.allowed

    client = TestClient(app)
    assert [client.get("/x").json() for _ in range(2)] == [True, False]


def test_a_request_waits_instead_of_being_denied() -> None:
    """It is held back up to the time that the limit says."""
    app = application(RateLimit(TokenBucket("50/second", burst=1), wait=5))

    @app.get("/x")
    async def read() -> None: ...

    assert statuses(app, "/x", "/x", "/x") == [200] * 3
    app = application(RateLimit(TokenBucket("1/minute"), wait=5))
    app.get("/x")(read)
    assert statuses(app, "/x", "/x") == [200, 429]


@with_and_without
def test_decisions_are_charged_and_given_back_in_handlers(outside: bool) -> None:
    """What dependencies have decided is at hand, with and without a middleware."""
    app = application(limit(TEN), outside=outside)

    @app.get("/charge")
    async def more(request: Request) -> int:
        return (await charge(request, 4)).remaining

    @app.get("/refund")
    async def back(request: Request) -> list[Any]:
        return [await refund(request), decisions(request)["inner"].remaining]

    client = TestClient(app)
    assert client.get("/charge").json() == 5
    assert client.get("/refund").json() == [True, 4]
    answer = client.get("/charge")
    assert answer.json() == 0
    if outside:
        assert answer.headers["ratelimit"] == '"inner";r=0;t=40'


@with_and_without
def test_websockets_are_not_accepted(outside: bool) -> None:
    """A handshake that is denied is answered as a request is, or closed."""
    app = application(outside=outside)
    inner = limit(ONE)

    @app.websocket("/ws")
    async def serve(socket: WebSocket, decision: Annotated[Decision, Depends(inner)]) -> None:
        await socket.accept()
        await socket.send_json([decision.remaining, list(decisions(socket))])
        await socket.close()

    client = TestClient(app)
    with client.websocket_connect("/ws") as socket:
        assert socket.receive_json() == [0, ["inner"]]
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/ws"):
        pass
    assert assert_limited(denied.value, by="inner") == 40
    assert denied.value.json()["violated-policies"] == ["inner"]


def test_the_decorator_of_starlette() -> None:
    """It limits endpoints of both colours that take the request, and leaves their parameters."""
    app, inner = FastAPI(), limit(TWO)

    @app.get("/async/{item}")
    @inner.endpoint
    async def awaits(item: int, request: Request) -> int:
        return item

    @app.get("/sync/{item}")
    @inner.endpoint
    def blocks(item: int, request: Request) -> int:
        return item

    client = TestClient(app)
    assert [client.get(path).json() for path in ("/async/1", "/sync/2")] == [1, 2]
    assert client.get("/sync/x").status_code == 422
    assert_limited(client.get("/sync/3"), by="inner")


def test_the_decorator_refuses_what_gets_no_request() -> None:
    """Annotations that leave no parameter for a request are told at once, not at the first one."""

    def of_numbers(item: int, name: str) -> None: ...

    def of_a_request(item: int, connection: HTTPConnection) -> None: ...

    def of_anything(item: int, scope: Mapping[str, Any], given: Any) -> None: ...

    def of_something(item: "int", given: Annotated[Request, {}]) -> None: ...

    with pytest.raises(TypeError, match="an endpoint is a function of a request"):
        limit().endpoint(of_numbers)
    for endpoint in (of_a_request, of_anything, of_something):
        assert limit().endpoint(endpoint).__name__ == endpoint.__name__


def test_a_schema_of_the_application() -> None:
    """What an application leaves out of its own schema isn't told of."""
    app = application(limit())
    app.get("/x")(lambda: None)
    vars(app)["openapi"] = lambda: {"paths": {"/other": {}}}
    document_limits(app)
    assert app.openapi() == {"paths": {"/other": {}}}


def test_overridden_in_tests() -> None:
    """`dependency_overrides` takes a limit for what it is: a dependency."""
    inner = limit(ONE)
    app = application(inner)
    app.get("/x")(lambda: None)
    app.dependency_overrides[inner] = lambda: None
    assert statuses(app, "/x", "/x") == [200, 200]


def test_openapi_tells_of_the_limits() -> None:
    """Each route that has one tells of its 429, however it came by it, and no other does."""
    inner = limit(ONE)

    async def nested(decision: Annotated[Decision, Depends(inner)]) -> Decision:
        return decision

    app, sub = FastAPI(), FastAPI(dependencies=[Depends(inner)])
    leaf, middle = APIRouter(dependencies=[Depends(inner)]), APIRouter()
    own: dict[int | str, Any] = {429: {"description": "mine"}}

    async def read() -> None: ...

    document_limits(app)
    document_limits(sub)
    app.get("/free")(read)
    app.get("/route", dependencies=[Depends(inner)])(read)
    app.get("/nested", dependencies=[Depends(nested)])(read)
    app.get("/own", dependencies=[Depends(inner)], responses=own)(read)
    app.get("/hidden", dependencies=[Depends(inner)], include_in_schema=False)(read)
    app.api_route("/put", methods=["PUT"], dependencies=[Depends(inner)])(read)
    app.websocket("/ws", dependencies=[Depends(inner)])(read)
    leaf.get("/{item}")(read)
    middle.include_router(leaf, prefix="/leaf")
    app.include_router(middle, prefix="/middle")
    app.include_router(APIRouter(), prefix="/empty")
    sub.get("/x")(read)
    app.mount("/sub", sub)
    client = TestClient(app)
    for _ in range(2):
        schema = client.get("/openapi.json").json()
        told = {
            (path, method)
            for path, operations in schema["paths"].items()
            for method, operation in operations.items()
            if "429" in operation["responses"]
        }
        assert told == {
            ("/route", "get"), ("/nested", "get"), ("/own", "get"), ("/put", "put"),
            ("/middle/leaf/{item}", "get"),
        }  # fmt: skip
    response = schema["paths"]["/route"]["get"]["responses"]["429"]
    assert set(response["headers"]) == {"Retry-After", "RateLimit", "RateLimit-Policy"}
    schema_of = response["content"]["application/problem+json"]["schema"]
    assert "violated-policies" in schema_of["required"]
    assert schema["paths"]["/own"]["get"]["responses"]["429"] == {"description": "mine"}
    assert "429" in client.get("/sub/openapi.json").json()["paths"]["/x"]["get"]["responses"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, {"429"}),
        ({"unknown": "deny"}, {"403", "429"}),
        ({"wait": 2}, {"429", "503"}),
        ({"store": AsyncRedisStore("redis://localhost")}, {"429", "503"}),
        ({"shadow": True}, set()),
    ],
)
def test_openapi_tells_what_a_limit_can_answer(options: Any, told: set[str]) -> None:
    """It tells of no status that can't come, and of all that can."""
    app = application(RateLimit(ONE, name="inner", **options))
    app.get("/x")(lambda: None)
    document_limits(app)
    assert app.openapi()["paths"]["/x"]["get"]["responses"].keys() == {"200"} | told


def test_a_route_that_documents_itself() -> None:
    """The entry can be given to a route, a router or an application."""
    app = FastAPI(responses={**RESPONSES})
    app.get("/x")(lambda: None)
    responses = TestClient(app).get("/openapi.json").json()["paths"]["/x"]["get"]["responses"]
    assert responses["429"]["headers"]["Retry-After"]["schema"] == {"type": "integer", "minimum": 1}


def test_what_is_documented_is_what_is_sent() -> None:
    """A 429 has the fields and members that OpenAPI tells of."""
    app = application(limit(ONE))
    app.get("/x")(lambda: None)
    client = TestClient(app)
    client.get("/x")
    answer = client.get("/x")
    told = RESPONSES[429]
    assert all(name in answer.headers for name in told["headers"])
    schema = told["content"][answer.headers["content-type"]]["schema"]
    assert set(answer.json()) == set(schema["properties"]) == set(schema["required"])
    constants = {
        name: each["const"] for name, each in schema["properties"].items() if "const" in each
    }
    assert constants.items() <= answer.json().items()
