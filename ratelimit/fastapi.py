"""Limit the routes of FastAPI: the dependency, and what OpenAPI says of it."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from fastapi import routing

from ratelimit.starlette import RateLimit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastapi import FastAPI
    from fastapi.dependencies.models import Dependant

__all__ = ["RESPONSES", "RateLimit", "document_limits"]

_PROBLEM = {
    "title": "Quota exceeded",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "const": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        },
        "title": {"type": "string"},
        "status": {"type": "integer", "const": 429},
        "detail": {"type": "string", "description": "Which limits denied, and for how long."},
        "violated-policies": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The names of the limits that denied.",
        },
    },
    "required": ["type", "title", "status", "detail", "violated-policies"],
}
_FIELDS = {
    "Retry-After": (
        "After how many seconds to ask again; not sent if that will never help.",
        {"type": "integer", "minimum": 1},
    ),
    "RateLimit": (
        "What is left of the limits that denied, and in how many seconds there is more.",
        {"type": "string", "examples": ['"reports";r=0;t=20']},
    ),
    "RateLimit-Policy": (
        "How much each limit admits, in how many seconds.",
        {"type": "string", "examples": ['"reports";q=3;w=60']},
    ),
}

RESPONSES: dict[int | str, dict[str, Any]] = {
    429: {
        "description": "Too many requests",
        "headers": {
            name: {"description": description, "schema": schema}
            for name, (description, schema) in _FIELDS.items()
        },
        "content": {"application/problem+json": {"schema": _PROBLEM}},
    }
}
"""What a limit answers, for the `responses` of a route, a router or an application."""


def document_limits(app: FastAPI) -> None:
    """Let OpenAPI tell of the 429 of each route that has a `RateLimit`, wherever it comes from.

    It is looked for when the schema is made, so routes may be added later. What a route says of
    429 itself is left alone. An application that is mounted has a schema of its own.

    Args:
        app: The application.

    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        schema = build()
        for path, method in _limited(app):
            operation = schema["paths"].get(path, {}).get(method.lower(), {})
            operation.setdefault("responses", {}).setdefault("429", deepcopy(RESPONSES[429]))
        return schema

    vars(app)["openapi"] = openapi


def _limited(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Give path and method of each operation that has a limit."""
    for route in _routes(app):
        dependant: Dependant | None = getattr(route, "dependant", None)
        if dependant is not None and _has_limit(dependant.dependencies):
            for method in getattr(route, "methods", None) or ():
                yield route.path_format, method


def _routes(app: FastAPI) -> Iterable[Any]:
    """Return the routes as they are served.

    Later versions of FastAPI keep routers that were included as a tree, earlier ones as one list.
    """
    flat = getattr(routing, "iter_route_contexts", iter)
    return flat(app.routes)


def _has_limit(dependants: Iterable[Dependant]) -> bool:
    """Say whether there is a limit among dependencies, or among theirs."""
    return any(
        isinstance(each.call, RateLimit) or _has_limit(each.dependencies) for each in dependants
    )
