"""How an answer is told over HTTP.

The fields are those of draft-ietf-httpapi-ratelimit-headers-11, whose values are structured
fields (RFC 9651); the bodies are problem details (RFC 9457) of the types that it registers.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from math import isinf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.decision import Decision

Fields = list[tuple[bytes, bytes]]
"""Header fields as ASGI has them."""

RATELIMIT = b"ratelimit"
POLICY = b"ratelimit-policy"

_LARGEST = 10**15 - 1
_TYPES = "https://iana.org/assignments/http-problem-types#"
_UNPRINTABLE = re.compile(r"[^ -~]")
_SPECIAL = re.compile(r'(["\\])')


def policy_of(name: str, algorithm: Algorithm) -> bytes:
    """Return a limit as an item of `RateLimit-Policy`: how much, per how many seconds.

    Where more than the quota's limit can be there at once, that is the quota, and the window is
    as much longer. A window shorter than a second can't be told, and is left out.
    """
    quota = algorithm.quota
    most = max(quota.limit, algorithm.max_cost)
    window_us = -(-quota.period_us * most // quota.limit)
    policy = b"%b;q=%d" % (_string(name), min(most, _LARGEST))
    return policy if window_us < 1_000_000 else b"%b;w=%d" % (policy, _seconds(window_us))


def policies_of(decision: Decision) -> bytes:
    """Return the value of `RateLimit-Policy`: all limits that decided."""
    return b", ".join(
        policy_of(name, part.page.algorithm) for name, part in decision.limits.items()
    )


def allowed_fields(decision: Decision, policies: bytes) -> Fields:
    """Return the fields of a response to a request that was allowed."""
    return [
        (RATELIMIT, b", ".join(_allowing(*item) for item in decision.limits.items())),
        (POLICY, policies),
    ]


def denied_fields(decision: Decision, policies: bytes) -> Fields:
    """Return the fields of a response to a request that was denied."""
    value = b", ".join(_denying(name, decision.limits[name]) for name in violated(decision))
    fields = [(RATELIMIT, value), (POLICY, policies)]
    if not isinf(decision.retry_after_us):
        fields.append((b"retry-after", b"%d" % _seconds(decision.retry_after_us)))
    return fields


def violated(decision: Decision) -> tuple[str, ...]:
    """Return the names of the limits that a request was refused for.

    If none denied, its turn would have come too late, and it is the tightest.
    """
    return decision.denied or (decision.name,)


def quota_exceeded(decision: Decision) -> tuple[int, bytes]:
    """Return the status and the body that tell that a limit denied."""
    names = violated(decision)
    more = {"detail": _detail(decision, names), "violated-policies": names}
    title = "Request cannot be satisfied as assigned quota has been exceeded"
    return 429, _problem("quota-exceeded", title, 429, more)


def reduced_capacity() -> tuple[int, bytes]:
    """Return the status and the body that tell that the store could not decide."""
    more = {"detail": "The rate limit could not be checked; try again later."}
    title = "Request cannot be satisfied due to temporary server capacity constraints"
    return 503, _problem("temporary-reduced-capacity", title, 503, more)


def with_fields(present: Iterable[tuple[bytes, bytes]], fields: Fields) -> Fields:
    """Return a new list of header fields, with ours if the application has set none of its own."""
    headers = list(present)
    if any(name.lower() in (RATELIMIT, POLICY) for name, _ in headers):
        return headers
    return headers + fields


def _detail(decision: Decision, names: tuple[str, ...]) -> str:
    for name in names:
        part = decision.limits[name]
        if isinf(part.retry_after_us):
            return f"Denied by {name}: a cost of {part.cost} never fits a limit of {part.limit}."
    wait = _seconds(decision.retry_after_us)
    return f"Denied by {', '.join(names)}: retry after {wait} s."


def _problem(kind: str, title: str, status: int, more: Mapping[str, object]) -> bytes:
    problem = {"type": _TYPES + kind, "title": title, "status": status, **more}
    return json.dumps(problem).encode()


def _allowing(name: str, decision: Decision) -> bytes:
    """Return an item of `RateLimit`: what remains, and within which time no more can be used."""
    window_us = decision.page.algorithm.effective_window(decision.reading, decision.now)
    return b"%b;t=%d" % (_remaining(name, decision), _seconds(window_us))


def _denying(name: str, decision: Decision) -> bytes:
    """Return an item of `RateLimit`: what remains, and when more may be asked for, if ever."""
    item = _remaining(name, decision)
    wait_us = decision.retry_after_us
    return item if isinf(wait_us) else b"%b;t=%d" % (item, _seconds(wait_us))


def _remaining(name: str, decision: Decision) -> bytes:
    return b"%b;r=%d" % (_string(name), min(decision.remaining, _LARGEST))


def _seconds(microseconds: float) -> int:
    """Round up to whole seconds, at least 1: clients that are told 0 ask in a loop."""
    return min(max(1, -int(-microseconds // 1_000_000)), _LARGEST)


@lru_cache(maxsize=1024)
def _string(text: str) -> bytes:
    """Write a structured-field string, which nothing can break out of."""
    escaped = _SPECIAL.sub(r"\\\1", _UNPRINTABLE.sub("?", text))
    return f'"{escaped}"'.encode()
