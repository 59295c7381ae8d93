"""A FastAPI application with limits: `uvicorn fastapi_app:app`, in this folder."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket

from ratelimit import Decision, FixedWindow, SlidingWindowCounter, TokenBucket
from ratelimit.asgi import MessageLimit, RateLimitMiddleware, charge, header
from ratelimit.fastapi import RateLimit, document_limits
from ratelimit.stores.opening import open_async_store

store = open_async_store(os.environ.get("REDIS_URL", "memory://"))

everything = RateLimit(TokenBucket("100/minute", burst=20), name="all", store=store)
searches = RateLimit(
    SlidingWindowCounter("5/second"), name="search", key=header("x-api-key"), store=store
)
sign_ups = RateLimit(FixedWindow("10/day"), name="sign-up", store=store)
tokens = RateLimit(TokenBucket("10000/hour"), name="tokens", store=store)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the store at the end."""
    yield
    await store.aclose()


app = FastAPI(lifespan=lifespan, dependencies=[Depends(everything)])
app.add_middleware(
    RateLimitMiddleware,
    rules=None,
    messages=[MessageLimit("chat", TokenBucket("5/second"))],
    store=store,
)
document_limits(app)
router = APIRouter()


@router.get("/search")
async def search(
    decision: Annotated[Decision, Depends(searches)], q: str = ""
) -> dict[str, object]:
    """Answer what was asked for, and what is left."""
    return {"query": q, "left": decision.remaining}


@router.post("/accounts", status_code=201, dependencies=[Depends(sign_ups)])
def sign_up() -> dict[str, str]:
    """Make an account."""
    return {"account": "made"}


@router.post("/complete", dependencies=[Depends(tokens)])
async def complete(request: Request, prompt: str) -> dict[str, object]:
    """Answer, and charge what it took."""
    decision = await charge(request, len(prompt), "tokens")
    return {"answer": prompt[::-1], "left": decision.remaining}


@router.websocket("/chat")
async def chat(websocket: WebSocket) -> None:
    """Send back what comes."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


app.include_router(router)
