"""An application that real servers serve to real clients, limited and bare."""

from __future__ import annotations

import asyncio
import contextvars
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from ratelimit import LeakyBucket, TokenBucket
from ratelimit.asgi import RateLimitMiddleware, Rule, client_ip, header

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

MEGABYTE = 1 << 20

happened: defaultdict[str, list[Any]] = defaultdict(list)
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def name_of(request: Request) -> str:
    """Return by which name a client will ask what happened."""
    return request.headers.get("x-name", "")


async def hello(request: Request) -> PlainTextResponse:
    """Answer with a few bytes."""
    return PlainTextResponse("hello")


class Echo:
    """Sends each chunk back when it comes."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            body = message.get("body", b"")
            await send({"type": "http.response.body", "body": body, "more_body": more})


async def drip(request: Request) -> StreamingResponse:
    """Send chunks until the client has gone."""

    async def drops() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"drop"
                await asyncio.sleep(0.01)
        finally:
            happened[name_of(request)].append("closed")

    return StreamingResponse(drops())


async def much(request: Request) -> StreamingResponse:
    """Send more than fits into the buffers, and tell how far it came."""

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(32):
            happened[name_of(request)].append(number)
            yield bytes(MEGABYTE)

    return StreamingResponse(chunks())


async def upload(request: Request) -> PlainTextResponse:
    """Count what comes, until the client has gone."""
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
    except ClientDisconnect:
        happened[name_of(request)].append("gone")
        raise
    return PlainTextResponse(str(size))


async def later(request: Request) -> PlainTextResponse:
    """Go on when the answer is sent, in the same context."""
    happened[name_of(request)].append(variable.get())
    variable.set("inside")

    async def task() -> None:
        happened[name_of(request)].append(f"later {variable.get()}")

    return PlainTextResponse("now", background=BackgroundTask(task))


ROUTES = [
    Route("/", hello),
    Route("/retry", hello),
    Route("/drip", drip),
    Route("/echo", Echo(), methods=["POST"]),
    Route("/later", later),
    Route("/much", much),
    Route("/once", hello),
    Route("/upload", upload, methods=["POST"]),
    Route("/wait", hello),
]
RULES = [
    Rule("once", TokenBucket("1/hour"), key=header("x-name"), path="/once"),
    Rule("retry", TokenBucket("1/2 seconds"), key=header("x-name"), path="/retry"),
    Rule("wait", LeakyBucket("10/second", capacity=9), key=header("x-name"), path="/wait"),
    Rule("all", TokenBucket("100000/second"), key=client_ip()),
]


async def told(request: Request) -> JSONResponse:
    """Tell what happened to a client."""
    return JSONResponse(happened[name_of(request)])


class Outside:
    """What stands around both: it sets a variable, and takes note of each status."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        variable.set("outside")

        async def noting(message: Any) -> None:
            if message["type"] == "http.response.start" and scope["path"].endswith("/retry"):
                name = dict(scope["headers"]).get(b"x-name", b"").decode()
                happened[name].append(message["status"])
            await send(message)

        await self.app(scope, receive, noting)
        if scope["path"].endswith("/later"):
            name = dict(scope["headers"]).get(b"x-name", b"").decode()
            happened[name].append(f"outside {variable.get()}")


app = Outside(
    Starlette(
        routes=[
            Route("/told", told),
            Mount("/bare", Starlette(routes=ROUTES)),
            Mount("/limited", RateLimitMiddleware(Starlette(routes=ROUTES), rules=RULES)),
        ]
    )
)
