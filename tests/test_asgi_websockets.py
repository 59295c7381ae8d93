"""Handshakes of WebSockets, and the messages that come by them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from ratelimit.algorithms import FixedWindow, LeakyBucket, TokenBucket
from ratelimit.asgi import (
    MessageLimit,
    RateLimitMiddleware,
    Rule,
    charge,
    client_ip,
    decisions,
    header,
    message_size,
    refund,
)
from ratelimit.errors import RateLimitExceeded, StoreError
from ratelimit.limiter import Limiter
from ratelimit.stores import DenyAll
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore
from ratelimit.stores.redis import AsyncRedisStore
from tests.applications import ONE, Broken, everyone, limited, statuses
from tests.conftest import Clock, wrong
from tests.sockets import Peer, data, echo, fate, handshake, shake, shaken, text
from tests.test_asgi_answers import TIMING
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable

TWO = FixedWindow("2/minute")
TEN = FixedWindow("10/minute")


def test_a_handshake_counts_as_a_get() -> None:
    """It is charged by the rules for its path and GET, from the same bucket as requests."""
    app = limited(everyone(TWO, path="/ws", methods=["GET"]), app=both)
    assert statuses(app, "/ws", "/other") == [200, 200]
    assert [fate(shaken(app, path="/ws")) for _ in range(2)] == [101, 429]
    assert fate(shaken(app, path="/other")) == 101
    assert statuses(app, "/ws") == [429]


def test_a_handshake_is_told_how_long_it_took_to_decide() -> None:
    """`Server-Timing` is on what accepts and on what denies."""
    rules = [everyone(ONE)]
    app = RateLimitMiddleware(echo, rules=rules, server_timing=True, store=MemoryStore())
    for _ in range(2):
        fields = dict(shaken(app)[0]["headers"])
        assert TIMING.fullmatch(fields[b"server-timing"])


def test_rules_for_other_methods_leave_handshakes_alone() -> None:
    """A rule for POST isn't for WebSockets."""
    app = limited(everyone(methods=["POST"]), app=echo)
    assert [fate(shaken(app)) for _ in range(3)] == [101] * 3


async def both(scope: Any, receive: Any, send: Any) -> None:
    """Answer requests, and serve WebSockets."""
    if scope["type"] == "websocket":
        await echo(scope, receive, send)
    else:
        await PlainTextResponse("ok")(scope, receive, send)


def test_an_accept_tells_what_is_left() -> None:
    """The fields are on the response that accepts, next to the application's own."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "subprotocol": "x", "headers": [(b"x-app", b"1")]})

    limited_app = limited(everyone(TokenBucket("100/minute"), cost=50), app=app)
    assert shaken(limited_app) == [
        {
            "type": "websocket.accept",
            "subprotocol": "x",
            "headers": [
                (b"x-app", b"1"),
                (b"ratelimit", b'"all";r=50;t=30'),
                (b"ratelimit-policy", b'"all";q=100;w=60'),
            ],
        }
    ]


def test_a_denial_is_the_response_of_a_request() -> None:
    """A server with the extension sends the same status, fields and body as for a request."""
    app = limited(everyone(FixedWindow("1/hour")), clock=Clock(1_500_000), app=echo)
    shaken(app)
    start, body = shaken(app)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    assert dict(start["headers"]) == {
        b"content-type": b"application/problem+json",
        b"content-length": str(len(body["body"])).encode(),
        b"cache-control": b"no-store",
        b"ratelimit": b'"all";r=0;t=3599',
        b"ratelimit-policy": b'"all";q=1;w=3600',
        b"retry-after": b"3599",
    }
    assert body["type"] == "websocket.http.response.body"
    assert json.loads(body["body"])["violated-policies"] == ["all"]


@pytest.mark.parametrize("extensions", [{}, None])
def test_a_server_that_cannot_answer_closes(extensions: Any) -> None:
    """Without the extension a handshake is closed before it is accepted, and nothing else sent."""
    app = limited(everyone(), app=echo)
    shaken(app)
    assert shaken(app, extensions=extensions) == [
        {"type": "websocket.close", "code": 1008, "reason": ""}
    ]


def test_store_trouble_is_no_fault_of_the_client() -> None:
    """A store that can't decide is a 503, or a close that says to try again later."""
    app = RateLimitMiddleware(echo, rules=[everyone()], store=Broken("hit_all"))
    assert fate(shaken(app)) == 503
    assert fate(shaken(app, extended=False)) == 1013


def test_nobody_can_be_charged() -> None:
    """A rule that denies whom it can't tell answers 403."""
    app = limited(Rule("all", ONE, key=header("x-key"), unknown="deny"), app=echo)
    assert fate(shaken(app)) == 403
    assert fate(shaken(app, extended=False)) == 1008


def test_an_answer_of_the_application() -> None:
    """`on_denied` answers a handshake as it answers a request, and gets the fields too."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        assert await Request(scope, receive).body() == b""
        await PlainTextResponse("sorry", status_code=429)(scope, receive, send)

    app = RateLimitMiddleware(echo, rules=[everyone()], on_denied=answer)
    shaken(app)
    start, body = shaken(app)
    assert (start["status"], body["body"]) == (429, b"sorry")
    assert b"retry-after" in dict(start["headers"])


def raising(error: Exception, *before: str) -> Any:
    """Return an application that sends messages of some types, and raises."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for kind in before:
            await send({"type": kind, "status": 403, "code": 1000, "headers": []})
        raise error

    return app


def exceeded(cost: int = 2, name: str = "inner") -> RateLimitExceeded:
    """Return the error of a limit inside of the application."""
    limiter = Limiter(ONE, store=MemoryStore(clock=Clock(0)), name=name)
    limiter.hit("k")
    return RateLimitExceeded(limiter.hit("k", cost))


def test_exceeded_before_it_is_accepted() -> None:
    """What a limit inside denies before the accept is a denial of the handshake."""
    app = limited(everyone(TEN), app=raising(exceeded(1)))
    start, _ = shaken(app)
    assert start["status"] == 429
    assert dict(start["headers"])[b"ratelimit"] == b'"inner";r=0;t=60'
    assert fate(shaken(app, extended=False)) == 1008


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (exceeded(1), 1008, "Retry after 60 s: denied by inner."),
        (exceeded(2), 1008, "Never fits: denied by inner."),
        (exceeded(1, "x" * 128), 1008, f"Retry after 60 s: denied by {'x' * 94}"),
        (
            StoreError("redis://secret"),
            1013,
            "The rate limit could not be checked; try again later.",
        ),
    ],
)
def test_exceeded_after_it_was_accepted(error: Exception, code: int, reason: str) -> None:
    """The WebSocket is closed with a reason, which fits into a close."""
    _, close = shaken(limited(everyone(), app=raising(error, "websocket.accept")))
    assert close == {"type": "websocket.close", "code": code, "reason": reason}
    assert len(close["reason"].encode()) < 123


def test_a_limit_that_is_closed_for_want_of_a_store() -> None:
    """A denial because the store is gone says to try again later."""
    error = RateLimitExceeded(Limiter(ONE, store=DenyAll()).hit("k"))
    _, close = shaken(limited(everyone(), app=raising(error, "websocket.accept")))
    assert close["code"] == 1013


@pytest.mark.parametrize("last", ["websocket.close", "websocket.http.response.start"])
def test_exceeded_when_it_is_over(last: str) -> None:
    """What is raised after the end can't be told any more, and is left to the server."""
    with pytest.raises(RateLimitExceeded):
        shaken(limited(everyone(), app=raising(exceeded(), last)))


def test_exceeded_when_the_client_has_gone() -> None:
    """Nothing is sent to a client that has gone."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        raise exceeded()

    with pytest.raises(RateLimitExceeded):
        shaken(limited(everyone(), app=app))


def test_nested_middlewares_tell_handshakes_together() -> None:
    """The fields are there once, of all limits, and the outer one answers what the inner raises."""
    inner = limited(Rule("inner", ONE, key="k"), app=echo)
    outer = limited(Rule("outer", TEN, key="k"), app=inner)
    (accept,) = shaken(outer)
    assert [name for name, _ in accept["headers"]] == [b"ratelimit", b"ratelimit-policy"]
    assert dict(accept["headers"])[b"ratelimit-policy"] == b'"outer";q=10;w=60, "inner";q=1;w=60'
    start, _ = shaken(outer)
    assert dict(start["headers"])[b"ratelimit"].startswith(b'"inner";r=0;')
    inner.app = raising(exceeded(), "websocket.accept")
    outer.app = RateLimitMiddleware(inner.app, rules=[Rule("other", TEN, key="k")])
    assert shaken(outer)[1]["code"] == 1008


def test_the_outer_one_says_how_it_is_told() -> None:
    """A middleware inside adds its decisions, and not its fields."""
    inner = RateLimitMiddleware(echo, rules=[Rule("inner", TEN, key="k")], headers="x-ratelimit")
    (accept,) = shaken(limited(Rule("outer", TEN, key="k"), app=inner))
    assert [name for name, _ in accept["headers"]] == [b"ratelimit", b"ratelimit-policy"]


def test_a_handshake_that_does_not_count() -> None:
    """`count_if` sees an accept as 101, a close before it as 403, and a response as it is."""
    seen: list[int] = []

    def counts(response: Any) -> bool:
        seen.append(response["status"])
        return bool(response["status"] != 101)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kind = scope["path"][1:]
        await send({"type": kind, "status": 404, "code": 1000, "headers": []})
        if kind == "websocket.accept":
            await send({"type": "websocket.close", "code": 1000})

    app = limited(everyone(FixedWindow("3/minute"), count_if=counts), app=app)
    kinds = ("websocket.accept", "websocket.close", "websocket.http.response.start")
    heard = [shaken(app, path=f"/{kind}") for kind in kinds]
    assert seen == [101, 403, 404]
    assert b'"all";r=3;t=' in dict(heard[0][0]["headers"])[b"ratelimit"]
    assert b'"all";r=1;t=' in dict(heard[2][0]["headers"])[b"ratelimit"]


def test_a_handshake_waits_instead_of_being_denied(clock: Clock) -> None:
    """It is held back until it is allowed, and a leaky bucket's until its turn."""
    start = clock.now

    async def scenario() -> list[Any]:
        rule = everyone(TokenBucket("10/second", burst=1), wait=2)
        app = limited(rule, app=echo, clock=clock)
        queue = limited(everyone(LeakyBucket("10/second", capacity=1)), app=echo, clock=clock)
        heard = [await shake(each) for each in (app, app, queue, queue)]
        return [fate(each) for each in heard]

    assert run(clock, scenario()) == [101] * 4
    assert clock.now - start == 200_000


def test_who_hangs_up_during_a_handshake_is_not_charged(clock: Clock) -> None:
    """A client that goes while its handshake is held back gives its place back."""

    async def scenario() -> list[Any]:
        rule = everyone(LeakyBucket("1/second", capacity=1))
        app = limited(rule, app=echo, clock=clock)
        await shake(app)
        gone = Peer(app)
        await asyncio.sleep(0.5)
        gone.leave()
        await gone.task
        return [gone.heard, fate(await shake(app))]

    assert run(clock, scenario()) == [[], 101]


def talking(*limits: MessageLimit, clock: Clock | None = None, **options: Any) -> Any:
    """Return an echo with these limits on its messages."""
    store = MemoryStore(clock=clock or Clock())
    return RateLimitMiddleware(echo, rules=None, messages=limits, store=store, **options)


async def converse(app: Any, *messages: Any, **more: Any) -> Peer:
    """Say something and leave."""
    peer = Peer(app, *messages, **more)
    peer.leave()
    await peer.task
    return peer


def conversed(app: Any, *messages: Any, **more: Any) -> Peer:
    """Say something and leave, on a loop of its own."""
    return asyncio.run(converse(app, *messages, **more))


def test_messages_that_are_too_many_close() -> None:
    """The connection is closed with a reason, and the application learns that it is over."""
    ends: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        ends.extend([await receive(), await receive()])

    middleware = talking(MessageLimit("chat", TWO), clock=Clock(0))
    middleware.app = app
    peer = conversed(middleware, *map(text, "abcd"))
    assert peer.texts == ["a", "b"]
    reason = "Retry after 60 s: denied by chat."
    assert peer.heard[-1] == {"type": "websocket.close", "code": 1008, "reason": reason}
    assert ends == [{"type": "websocket.disconnect", "code": 1008, "reason": reason}] * 2


def test_sending_after_a_limit_has_closed() -> None:
    """It is an `OSError`, as on any connection that is gone; to close again does nothing."""
    errors: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        with pytest.raises(OSError, match="denied by chat") as raised:
            await send({"type": "websocket.send", "text": "x"})
        errors.append(raised)
        await send({"type": "websocket.close", "code": 1000})

    middleware = talking(MessageLimit("chat", ONE))
    middleware.app = app
    peer = conversed(middleware, text("a"), text("b"))
    assert len(errors) == 1
    assert [each["type"] for each in peer.heard].count("websocket.close") == 1


def test_exceeded_when_a_limit_has_closed() -> None:
    """It can't be told any more either, and nothing is sent twice."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        raise exceeded()

    async def scenario() -> Peer:
        middleware = talking(MessageLimit("chat", ONE))
        middleware.app = app
        peer = Peer(middleware, text("a"), text("b"))
        with pytest.raises(RateLimitExceeded):
            await peer.task
        return peer

    heard = asyncio.run(scenario()).heard
    assert [each["type"] for each in heard].count("websocket.close") == 1


def test_a_client_that_has_gone_is_not_closed() -> None:
    """A server that can't send any more is no error, and the application learns that it is over."""
    ends: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        ends.extend([(await receive())["type"] for _ in range(3)])

    async def scenario() -> None:
        saying = iter([{"type": "websocket.connect"}, text("a"), text("b")])

        async def receive() -> Any:
            return next(saying)

        async def send(message: Any) -> None:
            if message["type"] == "websocket.close":
                raise OSError

        middleware = talking(MessageLimit("chat", ONE))
        middleware.app = app
        await middleware(handshake(), receive, send)

    asyncio.run(scenario())
    assert ends == ["websocket.connect", "websocket.receive", "websocket.disconnect"]


def test_messages_that_are_too_many_are_dropped(clock: Clock) -> None:
    """The application sees what is allowed, in order, and the connection goes on."""

    async def scenario() -> list[str]:
        peer = Peer(talking(MessageLimit("chat", TWO, policy="drop"), clock=clock))
        peer.say(*map(text, "abcd"))
        await asyncio.sleep(60)
        peer.say(text("e"))
        peer.leave()
        await peer.task
        return peer.texts

    assert run(clock, scenario()) == ["a", "b", "e"]


def test_messages_are_held_back(clock: Clock) -> None:
    """Nothing is lost and nothing is reordered: the application waits, and takes no more."""
    start = clock.now

    async def scenario() -> tuple[list[str], int]:
        limit = MessageLimit("chat", TokenBucket("10/second", burst=1), policy="hold")
        peer = Peer(talking(limit, clock=clock), *map(text, "abcdef"))
        await asyncio.sleep(0.25)
        left = peer.saying.qsize()
        peer.leave()
        await peer.task
        return peer.texts, left

    assert run(clock, scenario()) == (list("abcdef"), 2)
    assert clock.now - start == 500_000


@pytest.mark.parametrize("policy", ["close", "drop", "hold"])
def test_a_queue_spaces_messages_evenly(clock: Clock, policy: Any) -> None:
    """A leaky bucket holds each message back until its turn, whatever the policy is."""
    start = clock.now

    async def scenario() -> list[str]:
        limit = MessageLimit("chat", LeakyBucket("10/second", capacity=9), policy=policy)
        return (await converse(talking(limit, clock=clock), *map(text, "abc"))).texts

    assert run(clock, scenario()) == ["a", "b", "c"]
    assert clock.now - start == 200_000


def test_a_message_that_would_be_held_too_long_closes(clock: Clock) -> None:
    """It isn't waited for what comes too late anyway."""
    start = clock.now

    async def scenario() -> Peer:
        limit = MessageLimit("chat", ONE, policy="hold", wait=5)
        return await converse(talking(limit, clock=clock), *map(text, "ab"))

    assert run(clock, scenario()).heard[-1]["code"] == 1008
    assert clock.now == start


def test_no_more_messages_are_held_than_may_wait(clock: Clock) -> None:
    """One beyond that closes its connection: with 1013 if it was its turn already."""

    async def scenario() -> list[int]:
        hold = MessageLimit("hold", TokenBucket("1/second", burst=1), policy="hold")
        queue = MessageLimit("queue", LeakyBucket("1/second", capacity=9))
        apps = [talking(limit, clock=clock, max_waiting=0) for limit in (hold, queue)]
        peers = [await converse(app, *map(text, "ab")) for app in apps]
        return [peer.heard[-1]["code"] for peer in peers]

    assert run(clock, scenario()) == [1008, 1013]


def test_a_held_message_can_be_cancelled(clock: Clock) -> None:
    """A server that gives up isn't held up, and the place in the line is free again."""

    async def scenario() -> int:
        limit = MessageLimit("chat", TokenBucket("1/second", burst=1), policy="hold", key="all")
        app = talking(limit, clock=clock, max_waiting=1)
        peer = Peer(app, *map(text, "ab"))
        await asyncio.sleep(0.1)
        peer.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await peer.task
        return len((await converse(app, text("c"))).texts)

    assert run(clock, scenario()) == 1


def test_each_connection_has_a_count_of_its_own() -> None:
    """Without a key one connection's messages don't count on another's."""
    app = talking(MessageLimit("chat", TWO, policy="drop"))
    assert [conversed(app, *map(text, "abc")).texts for _ in range(2)] == [["a", "b"]] * 2


def test_a_connection_is_forgotten_when_it_ends() -> None:
    """However many come and go, their counts don't pile up; those of subjects stay."""
    store = MemoryStore(clock=Clock())
    limits = [MessageLimit("own", TWO), MessageLimit("client", TEN, key=client_ip())]
    app = RateLimitMiddleware(echo, rules=None, messages=limits, store=store)
    for _ in range(5):
        conversed(app, *map(text, "abc"))
    assert len(store) == 1


def test_a_subject_has_one_count() -> None:
    """With a key all connections of a client share its limit."""
    app = talking(MessageLimit("chat", TWO, key=client_ip(), policy="drop"))
    peers = [conversed(app, *map(text, "ab"), client=(host, 1)) for host in "aab"]
    assert [peer.texts for peer in peers] == [["a", "b"], [], ["a", "b"]]


def test_connections_are_counted_in_memory() -> None:
    """Where the store is somewhere else, what one connection sends isn't asked there."""
    store = AsyncRedisStore("redis://127.0.0.1:1")
    limits = [MessageLimit("chat", TWO, policy="drop")]
    app = RateLimitMiddleware(echo, rules=None, messages=limits, store=store, on_error="raise")
    assert conversed(app, *map(text, "abc")).texts == ["a", "b"]
    assert [type(each) for each in app.stores] == [AsyncRedisStore, AsyncMemoryStore]


def test_messages_cost_by_their_size() -> None:
    """A cost is a function of the message: of its bytes, in either form."""
    app = talking(MessageLimit("bytes", FixedWindow("10/minute"), cost=message_size, policy="drop"))
    said = [text("€€"), data(b"12345"), text(""), data(b"123"), text("x" * 11)]
    assert conversed(app, *said).texts == ["€€", "", "b'123'"]
    assert message_size({"type": "websocket.receive", "text": None, "bytes": None}) == 1
    assert message_size({"type": "websocket.receive", "text": None, "bytes": b"ab"}) == 2


def test_a_message_that_never_fits() -> None:
    """It closes, also where messages are held back."""
    limit = MessageLimit("bytes", TEN, cost=message_size, policy="hold")
    assert conversed(talking(limit), text("x" * 11)).heard[-1]["reason"] == (
        "Never fits: denied by bytes."
    )


def test_a_cost_that_awaits_and_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A cost may be a coroutine function; if it fails, the message costs all there is."""

    async def cost(message: Any) -> int:
        return int(message["text"])

    app = talking(MessageLimit("chat", TEN, cost=cost, policy="drop"))
    assert conversed(app, *map(text, ("4", "6", "1"))).texts == ["4", "6"]
    assert conversed(app, *map(text, ("x", "1"))).texts == ["x"]
    assert "the cost of the rule 'chat' fails" in caplog.text


def test_several_limits_on_messages_are_one_decision() -> None:
    """What one denies has used up nothing of another, and one that closes goes before a drop."""
    dropping = MessageLimit("burst", TWO, key="k", policy="drop")
    closing = MessageLimit("daily", FixedWindow("4/day"), key="k")
    app = talking(dropping, closing, clock=(clock := Clock()))
    assert conversed(app, *map(text, "abcd")).texts == ["a", "b"]
    clock.advance(60)
    peer = conversed(app, *map(text, "cd"))
    assert peer.texts == ["c", "d"]
    clock.advance(60)
    assert conversed(app, text("e")).heard[-1]["code"] == 1008


def test_limits_on_messages_have_a_path_and_conditions() -> None:
    """They are for the connections that they say, and no others."""
    limits = [
        MessageLimit("chat", ONE, path="/chat/*", policy="drop"),
        MessageLimit("other", ONE, path="/other", policy="drop", when=lambda scope: False),
        MessageLimit("own", ONE, path="/own", policy="drop", exempt=lambda scope: True),
    ]
    app = talking(*limits)
    texts = {
        path: conversed(app, *map(text, "ab"), path=path).texts
        for path in ("/chat/x", "/free", "/other", "/own")
    }
    assert texts == {
        "/chat/x": ["a"], "/free": ["a", "b"], "/other": ["a", "b"], "/own": ["a", "b"],
    }  # fmt: skip


def test_what_else_comes_is_no_message() -> None:
    """Connects, disconnects and what is unknown pass, and cost nothing."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([(await receive())["type"] for _ in range(4)])

    middleware = talking(MessageLimit("chat", ONE, policy="drop"))
    middleware.app = app
    conversed(middleware, {"type": "websocket.ping"}, text("a"), text("b"))
    assert seen == [
        "websocket.connect",
        "websocket.ping",
        "websocket.receive",
        "websocket.disconnect",
    ]


@pytest.mark.parametrize(("policy", "code"), [("close", 1013), ("hold", 1013), ("drop", 1001)])
def test_the_store_is_gone_for_messages(
    policy: Any, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no fault of the client's: 1013, and a line in the log; or the message is dropped."""
    limits = [MessageLimit("chat", ONE, key="k", policy=policy)]
    store = Broken("hit_all")
    app = RateLimitMiddleware(echo, rules=None, messages=limits, store=store, on_error="raise")
    peer = conversed(app, text("a"))
    assert peer.texts == []
    assert [each.get("code", 1001) for each in peer.heard][-1] == code
    assert ("could not be checked: the server is gone" in caplog.text) == (policy != "drop")


def test_nobody_can_be_charged_for_a_message() -> None:
    """A limit that denies whom it can't tell closes."""
    limit = MessageLimit("chat", ONE, key=header("x-key"), unknown="deny")
    peer = conversed(talking(limit), text("a"))
    assert peer.heard[-1] == {
        "type": "websocket.close", "code": 1008, "reason": "It can't be told whom to charge.",
    }  # fmt: skip


def test_a_limit_that_only_reports() -> None:
    """It decides, and lets everything pass."""
    heard: list[bool] = []
    app = RateLimitMiddleware(
        echo,
        rules=None,
        messages=[MessageLimit("chat", ONE, shadow=True)],
        on_decision=lambda scope, limit, decision: heard.append(decision.allowed),
    )
    assert conversed(app, *map(text, "abc")).texts == ["a", "b", "c"]
    assert heard == [True, False, False]


def test_decisions_on_messages_are_at_hand() -> None:
    """The handler sees the last one, charges more for what a message asks for, and gives back."""
    left: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            left.append(decisions(scope)["chat"].remaining)
            left.append((await charge(scope, 2, "chat")).remaining)
        left.append(await refund(scope, "chat"))
        left.append(len(scope["ratelimit"].entries))

    middleware = talking(MessageLimit("chat", TEN))
    middleware.app = app
    conversed(middleware, *map(text, "abc"))
    assert left == [9, 7, 6, 4, 3, 1, True, 1]


def test_nothing_piles_up(clock: Clock) -> None:
    """However many messages come by a connection, it keeps the last decision of each limit."""

    async def scenario() -> int:
        limits = [MessageLimit(name, FixedWindow("9999/s"), policy="drop") for name in "abc"]
        app = talking(*limits, clock=clock)
        peer = await converse(app, *map(text, ["x"] * 500))
        return len(peer.scope["ratelimit"].entries)

    assert run(clock, scenario()) == 3


def test_messages_of_a_starlette_endpoint() -> None:
    """An endpoint is closed as if the client had gone, and hears the code."""
    codes: list[int] = []

    class Chat(WebSocketEndpoint):
        encoding = "text"

        async def on_receive(self, websocket: Any, data: str) -> None:
            await websocket.send_text(data)

        async def on_disconnect(self, websocket: Any, close_code: int) -> None:
            codes.append(close_code)

    app = Starlette(routes=[WebSocketRoute("/chat", Chat)])
    app.add_middleware(
        RateLimitMiddleware,
        rules=[Rule("handshakes", TWO, key=client_ip(), path="/chat")],
        messages=[MessageLimit("chat", ONE)],
    )
    client = TestClient(app)
    with client.websocket_connect("/chat") as socket:
        socket.send_text("a")
        assert socket.receive_text() == "a"
        socket.send_text("b")
        assert socket.receive()["code"] == 1008
    assert codes == [1008]
    with client.websocket_connect("/chat"):
        pass
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/chat"):
        pass
    assert denied.value.status_code == 429


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: MessageLimit("a b", ONE), ValueError),
        (lambda: MessageLimit("a", wrong("1/minute")), TypeError),
        (lambda: MessageLimit("a", ONE, key=""), ValueError),
        (lambda: MessageLimit("a", ONE, cost=2), ValueError),
        (lambda: MessageLimit("a", ONE, policy=wrong("kill")), ValueError),
        (lambda: MessageLimit("a", ONE, wait=-1), ValueError),
        (lambda: MessageLimit("a", ONE, wait=wrong("1")), TypeError),
        (lambda: MessageLimit("a", ONE, on_error="open"), TypeError),
        (lambda: MessageLimit("a", ONE, exempt=["192.0.2.0/24"]), ValueError),
        (lambda: talking(wrong(everyone())), TypeError),
        (lambda: talking(MessageLimit("a", ONE), MessageLimit("a", TWO)), ValueError),
        (lambda: RateLimitMiddleware(echo, rules=None, messages=wrong(5)), TypeError),
        (
            lambda: RateLimitMiddleware(echo, rules=None, messages=wrong(MessageLimit("a", ONE))),
            TypeError,
        ),
        (
            lambda: RateLimitMiddleware(
                echo, rules=[everyone()], messages=[MessageLimit("all", ONE)]
            ),
            ValueError,
        ),
    ],
)
def test_misuse_is_told_at_construction(make: Callable[[], object], error: type[Exception]) -> None:
    """What can't work is refused before the first connection."""
    with pytest.raises(error):
        make()
