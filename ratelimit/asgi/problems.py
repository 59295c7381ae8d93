"""What the bodies of refusals say.

They are problem details (RFC 9457) of the types that draft-ietf-httpapi-ratelimit-headers-11
registers, or one line of plain text.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratelimit.asgi.protocol import Fields

Body = Literal["problem", "text"]
"""How the body of a refusal is written."""

Refusal = tuple[int, bytes, "Fields"]
"""A status, a body, and the fields that go with them."""

_TYPES = "https://iana.org/assignments/http-problem-types#"


@lru_cache(maxsize=1024)
def quota_exceeded(
    body: Body, names: tuple[str, ...], wait: int | None, never: str | None
) -> Refusal:
    """Return the answer that tells which limits denied.

    Args:
        body: How it is written.
        names: The names of the limits.
        wait: When to return, in seconds.
        never: What to say if there is no use in returning.

    """
    title = "Request cannot be satisfied as assigned quota has been exceeded"
    detail = never or f"Denied by {', '.join(names)}: retry after {wait} s."
    more = {"detail": detail, "violated-policies": names}
    return _refusal(body, 429, _TYPES + "quota-exceeded", title, more)


@lru_cache
def reduced_capacity(body: Body, detail: str) -> Refusal:
    """Return the answer that tells that the limits can't be checked."""
    title = "Request cannot be satisfied due to temporary server capacity constraints"
    return _refusal(body, 503, _TYPES + "temporary-reduced-capacity", title, {"detail": detail})


@lru_cache
def unknown_client(body: Body, name: str) -> Refusal:
    """Return the answer that tells that nobody can be charged."""
    detail = f"The request doesn't say whom to charge for {name}."
    return _refusal(body, 403, "about:blank", "Forbidden", {"detail": detail})


def _refusal(body: Body, status: int, kind: str, title: str, more: Mapping[str, object]) -> Refusal:
    problem = json.dumps({"type": kind, "title": title, "status": status, **more})
    text, media = (
        (problem, b"application/problem+json")
        if body == "problem"
        else (f"{more['detail']}\n", b"text/plain; charset=utf-8")
    )
    fields = [
        (b"content-type", media),
        (b"content-length", b"%d" % len(text.encode())),
        (b"cache-control", b"no-store"),
    ]
    return status, text.encode(), fields
