"""Time of a decision in memory."""

from __future__ import annotations

import asyncio
import gc
import time
from importlib.util import find_spec
from statistics import median
from threading import Lock
from typing import TYPE_CHECKING

from ratelimit import (
    Algorithm,
    AsyncLimiter,
    FixedWindow,
    LeakyBucket,
    Limiter,
    MemoryStore,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
    per_hour,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Hit = Callable[[str], object]
    Build = Callable[[int, int], Hit]

TWINS = {
    "FixedWindow": "FixedWindowRateLimiter",
    "SlidingLog": "MovingWindowRateLimiter",
    "SlidingWindowCounter": "SlidingWindowCounterRateLimiter",
}
THROTTLED = ("fixed_window", "sliding_window", "token_bucket", "leaking_bucket", "gcra")


def algorithms(limit: int) -> dict[str, Algorithm]:
    """Return each algorithm by its name, with so much an hour."""
    quota = per_hour(limit)
    return {
        "FixedWindow": FixedWindow(quota),
        "SlidingLog": SlidingLog(quota),
        "SlidingWindowCounter": SlidingWindowCounter(quota),
        "TokenBucket": TokenBucket(quota),
        "LeakyBucket": LeakyBucket(quota),
    }


def _ours(name: str) -> Build:
    return lambda limit, keys: (
        Limiter(algorithms(limit)[name], store=MemoryStore(max_keys=keys)).hit
    )


def _limits(strategy: str) -> Build:
    def build(limit: int, _keys: int) -> Hit:
        from limits import RateLimitItemPerHour, storage, strategies

        hit = getattr(strategies, strategy)(storage.MemoryStorage()).hit
        item = RateLimitItemPerHour(limit)
        return lambda key: hit(item, key)

    return build


def _throttled(using: str) -> Build:
    def build(limit: int, keys: int) -> Hit:
        from throttled import MemoryStore as Store
        from throttled import Throttled
        from throttled import per_hour as quota

        store = Store(options={"MAX_SIZE": keys})
        hit: Hit = Throttled(using=using, quota=quota(limit, burst=limit), store=store).limit
        return hit

    return build


def floor(limit: int, _keys: int) -> Hit:
    """Return the least that a limiter does: a lock, a clock and a dict."""
    lock, states = Lock(), dict[str, int]()

    def hit(key: str) -> bool:
        time.monotonic_ns()
        with lock:
            used = states[key] = states.get(key, 0) + 1
        return used <= limit

    return hit


def cases() -> dict[str, Build]:
    """Return how to build each limiter that is installed, by name."""
    built = {"floor": floor} | {f"ratelimit {name}": _ours(name) for name in algorithms(1)}
    if find_spec("limits"):
        built |= {f"limits {name}": _limits(each) for name, each in TWINS.items()}
    if find_spec("throttled"):
        built |= {f"throttled-py {using}": _throttled(using) for using in THROTTLED}
    return built


def timed(hit: Hit, calls: int) -> float:
    """Return the ns of one of so many calls."""
    keys = ["user:42"] * calls
    start = time.perf_counter_ns()
    for key in keys:
        hit(key)
    return (time.perf_counter_ns() - start) / calls


def measure(rounds: int, calls: int) -> dict[str, tuple[float, float]]:
    """Return the median ns of an allowed and a denied decision, by name."""
    built = cases()
    allowed: dict[str, list[float]] = {name: [] for name in built}
    denied: dict[str, list[float]] = {name: [] for name in built}
    for _ in range(rounds):
        for name, build in built.items():
            gc.collect()
            allowed[name].append(timed(build(calls, 10), calls))
            exhausted = build(1, 10)
            exhausted("user:42")
            denied[name].append(timed(exhausted, calls))
    return {name: (median(allowed[name]), median(denied[name])) for name in built}


def report(rounds: int, calls: int) -> None:
    """Print the table."""
    results = measure(rounds, calls)
    least = results["floor"][0]
    print(
        f"{'ns a decision':36}{'allowed':>9}{'denied':>9}{'x floor':>9}{'x as fast as limits':>21}"
    )
    for name, (allowed, denied) in results.items():
        own = name.startswith("ratelimit ")
        twin = results.get(name.replace("ratelimit ", "limits ")) if own else None
        times = f"{twin[0] / allowed:.1f} / {twin[1] / denied:.1f}" if twin else ""
        print(f"{name:36}{allowed:9.0f}{denied:9.0f}{allowed / least:9.1f}{times:>21}")


async def _awaited(name: str, calls: int) -> float:
    hit = AsyncLimiter(algorithms(calls)[name]).hit
    start = time.perf_counter_ns()
    for _ in range(calls):
        await hit("user:42")
    return (time.perf_counter_ns() - start) / calls


async def measure_async(rounds: int, calls: int) -> dict[str, float]:
    """Return the median ns that awaiting adds to a decision, by algorithm."""
    added: dict[str, list[float]] = {name: [] for name in algorithms(1)}
    for _ in range(rounds):
        for name, each in added.items():
            each.append(await _awaited(name, calls) - timed(_ours(name)(calls, 10), calls))
    return {name: median(each) for name, each in added.items()}


def report_async(rounds: int, calls: int) -> None:
    """Print what awaiting adds."""
    print("ns that AsyncLimiter.hit adds to Limiter.hit")
    for name, added in asyncio.run(measure_async(rounds, calls)).items():
        print(f"{name:36}{added:9.0f}")
