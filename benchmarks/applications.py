"""The application that everybody limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


async def hello(request: Request) -> PlainTextResponse:
    """Answer with a few bytes."""
    return PlainTextResponse(f"hello from {request.scope['path']}\n")


def application(
    dependencies: Sequence[Any] = (), lifespan: Any = None, endpoint: Callable[..., Any] = hello
) -> FastAPI:
    """Return a FastAPI application with one route."""
    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.get("/", dependencies=list(dependencies))(endpoint)
    return app
