"""Doubt what is probably set up wrong, when it is set up."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ratelimit.algorithms.base import Algorithm
from ratelimit.asgi.clients import ClientIP
from ratelimit.asgi.identity import Combined
from ratelimit.errors import StoreError, StoreUnavailable
from ratelimit.stores.memory import AsyncMemoryStore
from ratelimit.warning import EVICTING, SINGLE_ADDRESSES, TWICE, UNFIT, WORKERS, warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ratelimit.asgi.limit import Entry, Limit
    from ratelimit.asgi.rules import Rule
    from ratelimit.stores.base import AsyncStore

_CUSTOMER = 64
"""How many bits of an IPv6 address one customer can't choose."""

_SERVERS = ("fastapi", "granian", "gunicorn", "hypercorn", "uvicorn")
_BY_ENVIRONMENT = ("fastapi", "gunicorn", "uvicorn")
"""The servers that take the number of their workers from WEB_CONCURRENCY."""
_WORKERS = re.compile(r"(?<!\S)(?:--workers[ =]|-w ?)([0-9]+)")


def addresses_of(rules: Iterable[Rule]) -> Iterator[ClientIP]:
    """Return the keys of rules, and the parts of keys, that are a client's address."""
    for rule in rules:
        for part in rule.key.parts if isinstance(rule.key, Combined) else (rule.key,):
            if isinstance(part, ClientIP):
                yield part


def horizon_of(rules: Iterable[Rule]) -> int:
    """Return for how many microseconds the rules count, at the longest that is known."""
    algorithms = (rule.algorithm for rule in rules)
    known = (each.horizon for each in algorithms if isinstance(each, Algorithm))
    return max(known, default=0)


def doubt_rules(rules: Iterable[Rule]) -> None:
    """Warn if IPv6 addresses are told apart that one customer has, and nothing else is."""
    prefixes = [key.ipv6_prefix for key in addresses_of(rules)]
    if prefixes and min(prefixes) > _CUSTOMER:
        warn(
            SINGLE_ADDRESSES,
            "the first %d bits of an IPv6 address have a limit of their own, and one customer has "
            "at least a /64 of them: leave ipv6_prefix out, or add a rule that has",
            min(prefixes),
        )


def doubt_store(store: AsyncStore) -> bool:
    """Warn if states are in memory, and there are several processes; whether that is so."""
    from multiprocessing import parent_process  # 10 ms that only one who serves has to pay

    if not isinstance(store, AsyncMemoryStore):
        return False
    workers = workers_of(sys.argv, os.environ, is_child=parent_process() is not None)
    if workers > 1:
        warn(
            WORKERS,
            "each of %d workers keeps states in its own memory, so that a limit admits up to %d "
            "times as much: share a store, such as redis://",
            workers,
            workers,
        )
    return workers > 1


def workers_of(arguments: Sequence[str], environment: Mapping[str, str], *, is_child: bool) -> int:
    """Return how many processes serve, as far as the command line and the environment say so.

    Args:
        arguments: The command line: workers have it from the process that started them.
        environment: The environment.
        is_child: Whether another process of Python's has started this one.

    """
    server = _server(arguments[0]) if arguments else ""
    options = " ".join(arguments[1:])
    if "--reload" in options:
        return 1
    told = _WORKERS.search(options)
    if server in _SERVERS and told:
        return int(told[1])
    by_program = server not in _SERVERS and is_child and "uvicorn" in sys.modules
    if server in _BY_ENVIRONMENT or by_program:
        number = environment.get("WEB_CONCURRENCY", "")
        return int(number) if number.isdecimal() else 1
    return 1


def doubt_twice(before: Iterable[Entry], entries: Iterable[Entry]) -> None:
    """Warn if what decides on a request has decided on it before, in another's hands."""
    earlier = {(limit.name, decision.key): limit for limit, decision in before}
    for limit, decision in entries:
        other = earlier.get((limit.name, decision.key), limit)
        if other is not limit and not limit.doubted and _share_states(other, limit):
            limit.doubted = True
            warn(
                TWICE,
                "the limit %r was charged twice for one request: two middlewares or dependencies "
                "have it; leave one out, or give it another name",
                limit.name,
            )


async def doubt_server(store: AsyncStore) -> None:
    """Warn if a server doesn't suit limits. That it is gone just now is told when it matters."""
    check = getattr(store, "check", None)
    if check is None:
        return
    try:
        for remark in await check():
            warn(EVICTING, "%s", remark)
    except StoreError as error:
        if not isinstance(error, StoreUnavailable) or error.kind == "read-only":
            warn(UNFIT, "%s: it can't keep the states of limits until that is mended", error)


def _server(program: str) -> str:
    """Return the name of a program, run by itself or as a module."""
    path = Path(program)
    return path.parent.name if path.name == "__main__.py" else path.stem


def _share_states(one: Limit, other: Limit) -> bool:
    kinds = one.algorithm.kind, other.algorithm.kind
    return kinds[0] == kinds[1] and _home(one.store) == _home(other.store)


def _home(store: AsyncStore) -> object:
    """Return what is the same for stores that share their states."""
    first = getattr(store, "first", store)
    inner = getattr(first, "store", first)
    return getattr(inner, "home", inner)
