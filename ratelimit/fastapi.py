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

_TYPES = "https://iana.org/assignments/http-problem-types#"


def _problem(title: str, kind: str, status: int, detail: str, **more: Any) -> dict[str, Any]:
    """Return the content of a response with problem details."""
    properties = {
        "type": {"type": "string", "format": "uri", "const": kind},
        "title": {"type": "string"},
        "status": {"type": "integer", "const": status},
        "detail": {"type": "string", "description": detail},
        **more,
    }
    schema = {
        "title": title,
        "description": "Problem details (RFC 9457).",
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }
    return {"application/problem+json": {"schema": schema}}


_NAMES = {
    "type": "array",
    "items": {"type": "string"},
    "description": "The names of the limits that denied.",
}
_QUOTA_EXCEEDED = _problem(
    "Quota exceeded",
    f"{_TYPES}quota-exceeded",
    429,
    "Which limits denied, and for how long.",
    **{"violated-policies": _NAMES},
)
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
        "content": _QUOTA_EXCEEDED,
    }
}
"""What a limit answers, for the `responses` of a route, a router or an application."""

_ANSWERS: dict[int | str, dict[str, Any]] = {
    **RESPONSES,
    403: {
        "description": "It can't be told who is charged",
        "content": _problem("Forbidden", "about:blank", 403, "Which limit has nobody to charge."),
    },
    503: {
        "description": "The limits can't be checked",
        "content": _problem(
            "Reduced capacity", f"{_TYPES}temporary-reduced-capacity", 503, "Why they can't be."
        ),
    },
}


def document_limits(app: FastAPI) -> None:
    """Let OpenAPI tell what the `RateLimit`s of each route answer, wherever they come from.

    That is a 429; a 503 where a limit is in a store that can be gone, holds requests back or has
    its algorithm from a function; and a 403 where it denies those of whom it can't be told who is
    charged.

    They are looked for when the schema is made, so routes may be added later. What a route says of
    a status itself is left alone. An application that is mounted has a schema of its own.

    Args:
        app: The application.

    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        schema = build()
        for path, method, limit in _limited(app):
            operation = schema["paths"].get(path, {}).get(method.lower(), {})
            responses = operation.setdefault("responses", {})
            for status in sorted(limit.checkpoint.statuses):
                responses.setdefault(str(status), deepcopy(_ANSWERS[status]))
        return schema

    vars(app)["openapi"] = openapi


def _limited(app: FastAPI) -> Iterator[tuple[str, str, RateLimit]]:
    """Give path and method of each operation that has a limit, with each limit that it has."""
    for route in _routes(app):
        dependant: Dependant | None = getattr(route, "dependant", None)
        for limit in () if dependant is None else _limits(dependant.dependencies):
            for method in getattr(route, "methods", None) or ():
                yield route.path_format, method, limit


def _routes(app: FastAPI) -> Iterable[Any]:
    """Return the routes as they are served.

    Later versions of FastAPI keep routers that were included as a tree, earlier ones as one list.
    """
    flat = getattr(routing, "iter_route_contexts", iter)
    return flat(app.routes)


def _limits(dependants: Iterable[Dependant]) -> Iterator[RateLimit]:
    """Give the limits among dependencies, and among theirs."""
    for each in dependants:
        if isinstance(each.call, RateLimit):
            yield each.call
        yield from _limits(each.dependencies)
