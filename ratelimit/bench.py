"""Measure what a decision costs here."""

from __future__ import annotations

import gc
import platform
import time
from statistics import median
from threading import Lock
from typing import TYPE_CHECKING

from ratelimit.algorithms import (
    FixedWindow,
    LeakyBucket,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
)
from ratelimit.limiter import Limiter
from ratelimit.quota import per_day

if TYPE_CHECKING:
    from collections.abc import Callable

    Hit = Callable[[str], object]

FLOOR = "a dict, a lock, a clock"
PLENTY = 1_000_000

_KEY = "ratelimit bench"
_ROUNDS = 11
_CALLS = 10_000
_CALLS_ELSEWHERE = 500
_ROW = "{:<24}{:>14}{:>14}"


def run(store: str, *, quick: bool) -> None:
    """Print the µs of a decision, allowed and denied: medians of rounds that are interleaved.

    Args:
        store: The URL of the store.
        quick: Whether to make do with a tenth of the calls.

    Raises:
        ImportError: The store's client library isn't installed.
        StoreError: The store can't decide.
        ValueError: No store has such a URL.

    """
    calls = _CALLS if store.startswith("memory:") else _CALLS_ELSEWHERE
    limiters = _limiters(store)
    try:
        times = _measure(_hits(store, limiters), calls // 10 if quick else calls)
    finally:
        for limiter in limiters.values():
            limiter.reset(_KEY)
            limiter.close()
    _print(store, times)


def floor() -> Hit:
    """Return the least that a limiter has to do."""
    lock, counts = Lock(), dict[str, int]()

    def hit(key: str) -> bool:
        time.monotonic_ns()
        with lock:
            count = counts[key] = counts.get(key, 0) + 1
        return count <= PLENTY

    return hit


def _limiters(store: str) -> dict[tuple[str, bool], Limiter]:
    """Return limiters by their algorithm's name, and by whether they are to allow."""
    return {
        (kind.__name__, allowed): Limiter(
            kind(per_day(PLENTY if allowed else 1)),
            store=store,
            name=f"bench-{'allowed' if allowed else 'denied'}",
        )
        for kind in (FixedWindow, SlidingLog, SlidingWindowCounter, TokenBucket, LeakyBucket)
        for allowed in (True, False)
    }


def _hits(store: str, limiters: dict[tuple[str, bool], Limiter]) -> dict[tuple[str, bool], Hit]:
    """Return what is timed; a queue takes two before it denies."""
    hits: dict[tuple[str, bool], Hit] = {case: each.hit for case, each in limiters.items()}
    for hit in hits.values():
        hit(_KEY)
        hit(_KEY)
    return {(FLOOR, True): floor(), **hits} if store.startswith("memory:") else hits


def _measure(hits: dict[tuple[str, bool], Hit], calls: int) -> dict[tuple[str, bool], float]:
    samples: dict[tuple[str, bool], list[float]] = {case: [] for case in hits}
    for _ in range(_ROUNDS):
        gc.collect()
        for case, hit in hits.items():
            samples[case].append(_timed(hit, calls))
    return {case: median(each) for case, each in samples.items()}


def _timed(hit: Hit, calls: int) -> float:
    """Return the µs of one call of so many."""
    keys = [_KEY] * calls
    start = time.perf_counter_ns()
    for key in keys:
        hit(key)
    return (time.perf_counter_ns() - start) / calls / 1_000


def _print(store: str, times: dict[tuple[str, bool], float]) -> None:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"µs a decision, one key, one thread, kept in {store.rsplit('@', 1)[-1]}, {python}\n")
    print(_ROW.format("", "allowed", "denied"))
    for name in dict.fromkeys(name for name, _ in times):
        cells = [times.get((name, allowed)) for allowed in (True, False)]
        print(_ROW.format(name, *("" if each is None else f"{each:.2f}" for each in cells)))
