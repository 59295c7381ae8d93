"""Call a limiter over and over, with nothing around it."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.peers.base import Built


def pin(core: int) -> None:
    """Run on one core from now on, where the system can and there are several."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > core:
        os.sched_setaffinity(0, {core})


def unpin() -> None:
    """Run on all cores from now on."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def settle() -> None:
    """Collect garbage, and keep what is alive out of the collections that follow."""
    gc.collect()
    gc.freeze()


def _plain(call: Callable[..., Any], keys: Sequence[str]) -> None:
    for key in keys:
        call(key)


def _one_before(call: Callable[..., Any], first: Any, keys: Sequence[str]) -> None:
    for key in keys:
        call(first, key)


def _two_after(call: Callable[..., Any], keys: Sequence[str], second: Any, third: Any) -> None:
    for key in keys:
        call(key, second, third)


async def _await_plain(call: Callable[..., Any], keys: Sequence[str]) -> None:
    for key in keys:
        await call(key)


async def _await_one_before(call: Callable[..., Any], first: Any, keys: Sequence[str]) -> None:
    for key in keys:
        await call(first, key)


async def _await_two_after(
    call: Callable[..., Any], keys: Sequence[str], second: Any, third: Any
) -> None:
    for key in keys:
        await call(key, second, third)


_LOOPS = {(0, 0): _plain, (1, 0): _one_before, (0, 2): _two_after}
_ASYNC_LOOPS = {(0, 0): _await_plain, (1, 0): _await_one_before, (0, 2): _await_two_after}


def ask_all(built: Built, keys: Sequence[str]) -> Any:
    """Take a decision for each key."""
    loop: Any = _LOOPS[len(built.before), len(built.after)]
    return loop(built.call, *built.before, keys, *built.after)


def ask_all_async(built: Built, keys: Sequence[str]) -> Any:
    """Return an awaitable that takes a decision for each key."""
    loop: Any = _ASYNC_LOOPS[len(built.before), len(built.after)]
    return loop(built.call, *built.before, keys, *built.after)


def ask(built: Built, key: str) -> bool:
    """Take one decision, and say whether it was allowed."""
    return built.allowed(built.call(*built.before, key, *built.after))


async def ask_async(built: Built, key: str) -> bool:
    """Take one decision, and say whether it was allowed."""
    return built.allowed(await built.call(*built.before, key, *built.after))


def timed(built: Built, keys: Sequence[str]) -> float:
    """Return the ns of one decision."""
    start = time.perf_counter_ns()
    ask_all(built, keys)
    return (time.perf_counter_ns() - start) / len(keys)


async def timed_async(built: Built, keys: Sequence[str]) -> float:
    """Return the ns of one decision."""
    start = time.perf_counter_ns()
    await ask_all_async(built, keys)
    return (time.perf_counter_ns() - start) / len(keys)


def timed_in_threads(built: Built, keys: Sequence[str], threads: int) -> float:
    """Return the ns of one decision where so many threads decide, from the first to the last."""
    barrier = Barrier(threads + 1)

    def work(share: Sequence[str]) -> None:
        barrier.wait()
        ask_all(built, share)

    workers = [Thread(target=work, args=(keys[index::threads],)) for index in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    start = time.perf_counter_ns()
    for worker in workers:
        worker.join()
    return (time.perf_counter_ns() - start) / len(keys)


def asked_in_threads(built: Built, keys: Sequence[str], threads: int) -> list[bool]:
    """Return what so many threads were answered, who ask at the same time."""
    barrier = Barrier(threads)
    answers: list[bool] = []

    def work(share: Sequence[str]) -> None:
        barrier.wait()
        answers.extend([ask(built, key) for key in share])

    workers = [Thread(target=work, args=(keys[index::threads],)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return answers


class Taken(NamedTuple):
    """What many decisions took."""

    latencies: list[int]
    """The ns of each."""
    seconds: float
    """From the first to the last."""
    allowed: int
    """How many were allowed."""


async def latencies_async(built: Built, keys: Sequence[str], tasks: int, seconds: float) -> Taken:
    """Return what the decisions of so many tasks take."""
    taken: list[int] = []
    answers: list[bool] = []
    clock = time.perf_counter_ns
    start = clock()
    end = start + round(seconds * 1e9)

    async def work(index: int) -> None:
        before = start
        while not taken or before < end:
            before = clock()
            answer = await built.call(*built.before, keys[index % len(keys)], *built.after)
            taken.append(clock() - before)
            answers.append(built.allowed(answer))
            index += tasks

    async with asyncio.TaskGroup() as group:
        for index in range(tasks):
            group.create_task(work(index))
    return Taken(taken, (clock() - start) / 1e9, sum(answers))


async def rate_async(built: Built, keys: Sequence[str], tasks: int, seconds: float) -> float:
    """Return the decisions a second of so many tasks, who look at the clock after all keys."""
    start = time.perf_counter()
    end = start + seconds

    async def work() -> int:
        rounds = 0
        while not rounds or time.perf_counter() < end:
            await ask_all_async(built, keys)
            rounds += 1
        return rounds

    rounds = await asyncio.gather(*(work() for _ in range(tasks)))
    return sum(rounds) * len(keys) / (time.perf_counter() - start)


def rate(built: Built, keys: Sequence[str], threads: int, seconds: float) -> float:
    """Return the decisions a second of so many threads, who look at the clock after all keys."""
    start = time.perf_counter()
    end = start + seconds

    def work(_: int) -> int:
        rounds = 0
        while not rounds or time.perf_counter() < end:
            ask_all(built, keys)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(threads) as pool:
        rounds = sum(pool.map(work, range(threads)))
    return rounds * len(keys) / (time.perf_counter() - start)


def latencies(built: Built, keys: Sequence[str], threads: int, seconds: float) -> Taken:
    """Return what the decisions of so many threads take."""
    taken: list[int] = []
    answers: list[bool] = []
    clock = time.perf_counter_ns
    start = clock()
    end = start + round(seconds * 1e9)

    def work(index: int) -> None:
        before = start
        while not taken or before < end:
            before = clock()
            answer = built.call(*built.before, keys[index % len(keys)], *built.after)
            taken.append(clock() - before)
            answers.append(built.allowed(answer))
            index += threads

    workers = [Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return Taken(taken, (clock() - start) / 1e9, sum(answers))
