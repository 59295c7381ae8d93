"""The application that everybody limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request  # noqa: TC002 (FastAPI reads the annotation)
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.peers.base import FASTAPI

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


async def hello(request: Request) -> PlainTextResponse:
    """Answer with a few bytes."""
    return PlainTextResponse(f"hello from {request.scope['path']}\n")


def application(
    framework: str,
    *,
    endpoint: Callable[..., Any] = hello,
    dependencies: Sequence[Any] = (),
    lifespan: Any = None,
) -> Any:
    """Return an application with one route; only one of FastAPI has dependencies."""
    if framework != FASTAPI:
        return Starlette(routes=[Route("/", endpoint)], lifespan=lifespan)
    from fastapi import FastAPI

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.get("/", dependencies=list(dependencies))(endpoint)
    return app
