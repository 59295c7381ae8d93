"""A Starlette application with limits: `uvicorn starlette_app:app`, in this folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from ratelimit import FixedWindow, SlidingWindowCounter, TokenBucket
from ratelimit.asgi import RateLimitMiddleware, Rule, client_ip, decisions, header

if TYPE_CHECKING:
    from starlette.requests import Request


async def search(request: Request) -> JSONResponse:
    """Answer what was asked for, and what is left of the limits."""
    left = {name: decision.remaining for name, decision in decisions(request).items()}
    return JSONResponse({"query": request.query_params.get("q", ""), "left": left})


async def sign_up(_: Request) -> JSONResponse:
    """Make an account."""
    return JSONResponse({"account": "made"}, status_code=201)


app = Starlette(
    routes=[Route("/search", search), Route("/accounts", sign_up, methods=["POST"])],
    middleware=[
        Middleware(
            RateLimitMiddleware,
            store=os.environ.get("REDIS_URL", "memory://"),
            rules=[
                Rule("all", TokenBucket("100/minute", burst=20), key=client_ip()),
                Rule(
                    "search",
                    SlidingWindowCounter("5/second"),
                    key=header("x-api-key"),
                    path="/search",
                ),
                Rule(
                    "sign-up",
                    FixedWindow("10/day"),
                    key=client_ip(),
                    path="/accounts",
                    methods=["POST"],
                ),
            ],
        )
    ],
)
