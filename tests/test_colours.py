"""Each async class or function says what its blocking twin says."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from ratelimit import async_limiter, limiter
from ratelimit.metrics import observed
from ratelimit.stores import fallback
from ratelimit.stores.redis import (
    async_cluster_calls,
    cluster_calls,
    connections,
    sentinel,
    store,
)

TWINS = [
    (limiter.Limiter, async_limiter.AsyncLimiter),
    (limiter.Guard, async_limiter.AsyncGuard),
    (limiter.Reservation, async_limiter.AsyncReservation),
    (fallback.FallbackLedger, fallback.AsyncFallbackLedger),
    (fallback.FallbackStore, fallback.AsyncFallbackStore),
    (observed.ObservedLedger, observed.AsyncObservedLedger),
    (observed.ObservedStore, observed.AsyncObservedStore),
    (store.RedisLedger, store.AsyncRedisLedger),
    (store.RedisStore, store.AsyncRedisStore),
    (sentinel.primary_of, sentinel.async_primary_of),
    (sentinel.Primary, sentinel.AsyncPrimary),
    (connections.ask, connections.async_ask),
    (connections.check_quiet, connections.async_check_quiet),
    (cluster_calls.calls_to, async_cluster_calls.async_calls_to),
    *(
        (getattr(cluster_calls.Nodes, name), getattr(async_cluster_calls.AsyncNodes, name))
        for name in (
            "call",
            "follow",
            "check",
            "_examine",
            "_info",
            "_heard",
            "_answers",
            "_has_to_learn",
            "_learn",
            "_learn_alone",
            "_ask_around",
        )
    ),
]


def colourless(kind: Any) -> str:
    """Return the code of a class or function without what makes it async, and its docstrings."""
    code = re.sub(r'""".*?"""', "", inspect.getsource(kind), flags=re.DOTALL)
    code = re.sub(r"\b(async|await) |Async|async_|_async|\basyncio\.", "", code)
    code = re.sub(r"Awaitable\[(\w+)\]", r"\1", code)
    code = code.replace("MemoryStore | ", "")
    code = re.sub(r"__a(enter|exit)__", r"__\1__", code)
    return re.sub(r"\s+|[(),]", "", code.replace("aclose", "close"))


@pytest.mark.parametrize(("blocking", "awaiting"), TWINS)
def test_twins_say_the_same(blocking: Any, awaiting: Any) -> None:
    """Without `async` and `await` the sources are equal."""
    assert colourless(awaiting) == colourless(blocking)
