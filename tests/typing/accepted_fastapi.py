"""What users of FastAPI, Starlette and WebSockets write, and the types that they get."""

from __future__ import annotations

from typing import Annotated, Any, assert_type

from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

from ratelimit import Decision, FixedWindow, MemoryStore, TokenBucket
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
from ratelimit.fastapi import RESPONSES, RateLimit, document_limits
from ratelimit.stores.redis import AsyncRedisStore

TEN = TokenBucket("10/second")


async def key(scope: Any) -> str | None:
    """Return who is charged."""
    return str(scope["path"])


reports = RateLimit(TEN)
RateLimit(TEN, name="reports", store="redis://localhost", on_error="closed", nodes=4)
RateLimit({"burst": TEN, "daily": FixedWindow("1000/day")}, store=MemoryStore(), wait=1.5)
RateLimit(
    {"a": TEN, "b": TEN}, key={"a": key, "b": "everyone"}, cost={"a": 1, "b": lambda scope: 2}
)
RateLimit(lambda scope: TEN, key=key, cost=lambda scope: 2, exempt=["192.0.2.0/24"])
RateLimit(TEN, name="a", store=AsyncRedisStore("redis://localhost"), key=header("x-key"), jitter=3)

app = FastAPI(dependencies=[Depends(reports)], responses=RESPONSES)
router = APIRouter(dependencies=[Depends(RateLimit(TEN))])
document_limits(app)
app.add_middleware(RateLimitMiddleware, rules=None, messages=[MessageLimit("chat", TEN)])

Limited = Annotated[Decision, Depends(reports)]


@app.get("/report", dependencies=[Depends(reports)], responses={**RESPONSES})
async def report(request: Request, decision: Limited) -> int:
    """Return what is left."""
    assert_type(decision, Decision)
    assert_type(await reports(request), Decision)
    assert_type(await charge(request, 5, "reports"), Decision)
    assert_type(await refund(request), bool)
    assert_type(decisions(request), dict[str, Decision])
    return decision.remaining


@app.websocket("/chat")
async def chat(websocket: WebSocket, decision: Limited) -> None:
    """Accept."""
    assert_type(decision, Decision)
    assert_type(await charge(websocket, 5), Decision)
    await websocket.accept()


@reports.endpoint
async def awaits(request: Request) -> PlainTextResponse:
    """Answer."""
    return PlainTextResponse("x")


@reports.endpoint
def blocks(request: Request, number: int = 0) -> PlainTextResponse:
    """Answer from a thread."""
    return PlainTextResponse("x")


@reports.endpoint
class Item(HTTPEndpoint):
    """An item."""

    @reports.endpoint
    async def get(self, request: Request) -> PlainTextResponse:
        """Answer."""
        return PlainTextResponse("x")


@reports.endpoint
class Chat(WebSocketEndpoint):
    """A chat."""

    encoding = "text"


async def calls(request: Request, websocket: WebSocket, item: Item) -> None:
    """Call what is decorated."""
    assert_type(await awaits(request), PlainTextResponse)
    assert_type(await blocks(request, number=1), PlainTextResponse)
    assert_type(await item.get(request), PlainTextResponse)
    assert_type(Item, type[Item])
    assert_type(Chat, type[Chat])
    assert_type(await reports(websocket), Decision)
    await reports.aclose()


ROUTES = [
    Route(
        "/a", awaits, middleware=[Middleware(RateLimitMiddleware, rules=[Rule("a", TEN, key="k")])]
    ),
    Route("/b", blocks),
    Route("/item", Item),
    WebSocketRoute("/chat", Chat),
    Mount("/sub", app, middleware=[Middleware(RateLimitMiddleware, rules=None)]),
]

MESSAGES = [
    MessageLimit("a", TEN, policy="close", cost=message_size),
    MessageLimit("b", TEN, policy="drop", key=client_ip(), path="/chat"),
    MessageLimit("c", lambda scope: TEN, policy="hold", wait=5, cost=lambda message: 2),
]
