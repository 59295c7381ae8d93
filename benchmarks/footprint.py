"""Memory of a key."""

from __future__ import annotations

import gc
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

from benchmarks.memory import cases

if TYPE_CHECKING:
    from collections.abc import Callable

BARE = "dict of floats"


def weigh(name: str, count: int) -> tuple[float, float]:
    """Return the bytes of a key, and the ms of a full collection with all of them alive."""
    keys = [f"user:{number}" for number in range(count)]
    states: dict[str, float] = {}
    hit: Callable[[str], object]
    hit = (
        (lambda key: states.update({key: time.monotonic()}))
        if name == BARE
        else cases()[name](10, count)
    )
    gc.collect()
    tracemalloc.start()
    for key in keys:
        hit(key)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    start = time.perf_counter()
    gc.collect()
    return used / count, (time.perf_counter() - start) * 1_000


def measure(count: int) -> dict[str, tuple[float, float]]:
    """Weigh each case in a process of its own."""
    names = [BARE, *(name for name in cases() if name != "floor")]
    results = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            results[name] = pool.submit(weigh, name, count).result()
    return results


def report(count: int) -> None:
    """Print the table."""
    print(f"{f'{count} keys, by tracemalloc, keys not counted':48}{'bytes a key':>12}{'gc ms':>8}")
    for name, (weight, pause) in measure(count).items():
        print(f"{name:48}{weight:12.0f}{pause:8.1f}")
