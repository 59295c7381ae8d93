"""WebSockets over real connections, of each implementation that uvicorn has, and a real Redis."""

from __future__ import annotations

import json
import socket
import time
from contextlib import asynccontextmanager, contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import redis
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from ratelimit import FixedWindow, TokenBucket
from ratelimit.asgi import MessageLimit, RateLimitMiddleware, Rule, client_ip
from ratelimit.starlette import RateLimit
from ratelimit.stores.redis import AsyncRedisStore
from tests.conftest import PATIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.websockets import WebSocket

# the first of them is deprecated, and still what many run
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.*implementation is deprecated"
)
every_implementation = pytest.mark.parametrize("ws", ["websockets", "websockets-sansio", "wsproto"])


@contextmanager
def served(app: Any, ws: Any) -> Iterator[str]:
    """Serve an application as long as the block lasts; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws=ws))
    thread = Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


async def echo(websocket: WebSocket) -> None:
    """Send back what comes."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


def application(*limits: RateLimit, **options: Any) -> Any:
    """Return an application with limits."""
    endpoint: Any = echo
    for limit in limits:
        endpoint = limit.endpoint(endpoint)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        for limit in limits:
            await limit.aclose()

    app = Starlette(routes=[WebSocketRoute("/ws", endpoint)], lifespan=lifespan)
    if options:
        app.add_middleware(RateLimitMiddleware, **options)
    return app


ONE = FixedWindow("1/day")


@every_implementation
@pytest.mark.parametrize("where", ["middleware", "endpoint"])
def test_a_handshake_that_is_denied(ws: str, where: str) -> None:
    """The client of a server that can answer sees the 429 with its fields and its body."""
    if where == "middleware":
        app = application(rules=[Rule("all", ONE, key=client_ip())])
    else:
        app = application(RateLimit(ONE, name="all"))
    with served(app, ws) as address:
        with connect(f"{address}/ws") as client:
            client.send("a")
            assert client.recv(timeout=PATIENT) == "a"
            fields = client.response.headers if client.response else {}
            assert fields.get("ratelimit-policy") == (
                '"all";q=1;w=86400' if where == "middleware" else None
            )
        with pytest.raises(InvalidStatus) as denied:
            connect(f"{address}/ws")
        response = denied.value.response
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
        assert response.headers["ratelimit-policy"] == '"all";q=1;w=86400'
        assert json.loads(response.body or b"")["violated-policies"] == ["all"]


def test_limits_of_two_processes_share_a_store(ports: Callable[[str], int]) -> None:
    """Middleware, routes and messages count together, wherever they are, in one Redis."""
    url = f"redis://127.0.0.1:{ports('redis-6.2')}"
    with redis.Redis.from_url(url) as client:
        client.flushall()

    def process() -> Any:
        store = AsyncRedisStore(url, deadline=PATIENT)
        inner = RateLimit(FixedWindow("3/day"), name="inner", store=store)
        rules = [Rule("outer", FixedWindow("9/day"), key=client_ip())]
        messages = [MessageLimit("chat", FixedWindow("4/day"), key=client_ip())]
        return application(inner, rules=rules, store=store, messages=messages)

    with served(process(), "wsproto") as one, served(process(), "wsproto") as other:
        for address in (one, other, one):
            with connect(f"{address}/ws") as client:
                client.send("a")
                assert client.recv(timeout=PATIENT) == "a"
        with pytest.raises(InvalidStatus) as denied:
            connect(f"{other}/ws")
        headers = denied.value.response.headers
        assert headers["ratelimit-policy"] == '"outer";q=9;w=86400, "inner";q=3;w=86400'
        assert '"inner";r=0;' in headers["ratelimit"]


@every_implementation
def test_messages_that_are_too_many(ws: str) -> None:
    """The client is closed with 1008 and the reason, and the server goes on."""
    messages = [MessageLimit("chat", ONE)]
    with served(application(rules=None, messages=messages), ws) as address:
        for _ in range(2):
            with connect(f"{address}/ws") as client:
                client.send("a")
                assert client.recv(timeout=PATIENT) == "a"
                client.send("b")
                with pytest.raises(ConnectionClosed) as closed:
                    client.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1008
                assert closed.value.rcvd.reason.endswith("denied by chat.")


@every_implementation
def test_messages_that_are_held_back(ws: str) -> None:
    """Nothing of a flood is lost or out of order."""
    messages = [MessageLimit("chat", TokenBucket("200/second", burst=1), policy="hold")]
    app = application(rules=None, messages=messages)
    with served(app, ws) as address, connect(f"{address}/ws") as client:
        for number in range(50):
            client.send(str(number))
        assert [client.recv() for _ in range(50)] == list(map(str, range(50)))
