"""What grows with what."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import beside, peers, timing
from benchmarks.peers.base import ASYNC_REDIS, BUCKET, COUNTER, LOG, MEMORY, Built, Setting
from benchmarks.suites.base import Layout, Metric, Suite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Labels, Result

DAY = 86_400
CALLS = {"tiny": 200, "quick": 5_000, "full": 10_000}
AXES = {
    "keys": "keys in memory",
    "limit": "units of a limit that is used up",
    "rules": "limits of one request",
    "processes": "processes on one server",
}
"""What may grow."""
KEYS = {
    "tiny": (1, 10, 100),
    "quick": (1, 1_000, 100_000),
    "full": (1, 100, 10_000, 100_000, 1_000_000, 10_000_000),
}
LIMITS = {
    "tiny": (10, 1_000),
    "quick": (10, 1_000, 100_000),
    "full": (10, 100, 1_000, 10_000, 100_000, 1_000_000),
}
RULES = {"tiny": (1, 4), "quick": (1, 5, 20), "full": (1, 2, 5, 10, 20)}
PROCESSES = {"tiny": (1, 2), "quick": (1, 2), "full": (1, 2, 4, 8)}
SECONDS = {"tiny": 0.05, "quick": 0.3, "full": 0.5}
OTHERS = {"limits": LOG, "throttled-py": BUCKET, "PyrateLimiter": LOG}
MOST_FOR_OTHERS = 100_000
"""What the others are asked to hold at the most, to end in time."""


class Scale(Suite):
    """The cost of a decision, as something grows and all else stays."""

    name = "scale"
    metrics = {"cost": Metric("µs", "less")}
    layouts = tuple(
        Layout(
            f"µs a decision, by {label}",
            "cost",
            ("algorithm",),
            ("size",),
            (("axis", axis),),
        )
        for axis, label in AXES.items()
    )
    rounds = {"tiny": 1, "quick": 2, "full": 3}
    server = True
    patience = 120

    def __init__(self) -> None:
        self._built: dict[tuple[str | int, ...], tuple[Built, list[str]]] = {}

    def cases(self, size: str, who: Sequence[str]) -> list[Labels]:
        """Return each algorithm of ours on each axis, and some of the others on the first two."""
        return [
            *_cases("ratelimit", "keys", (COUNTER,), KEYS[size][:-1]),
            *_cases("ratelimit", "keys", (BUCKET,), KEYS[size]),
            *_cases("ratelimit", "limit", (LOG, COUNTER, BUCKET), LIMITS[size]),
            *_cases("ratelimit", "rules", (COUNTER, BUCKET), RULES[size]),
            *_cases("ratelimit", "processes", (BUCKET,), PROCESSES[size]),
            *_of_others(size, who),
        ]

    def sample(self, labels: Labels, size: str, url: str) -> dict[str, float]:
        """Return the µs of a decision; of several processes, that pass between decisions."""
        if labels["axis"] == "processes":
            timing.unpin()
            return {"cost": _processes(int(labels["size"]), SECONDS[size], url)}
        timing.pin(0)
        built, keys = self._prepared(labels)
        chosen = random.choices(keys, k=CALLS[size])
        timing.timed(built, chosen[: len(chosen) // 10])
        timing.settle()
        return {"cost": timing.timed(built, chosen) / 1_000}

    def _prepared(self, labels: Labels) -> tuple[Built, list[str]]:
        case = tuple(labels.values())
        if case not in self._built:
            self._built[case] = _prepared(labels)
        return self._built[case]

    def remarks(self, result: Result) -> list[str]:
        """Say what grows with what."""
        sentences = [
            _sentence(axis, name, points)
            for axis in AXES
            for name, points in series(result, axis).items()
            if len(points) > 1
        ]
        return [*sentences, *beside.leads(result, self.name)]


def _cases(who: str, axis: str, algorithms: Sequence[str], sizes: Sequence[int]) -> list[Labels]:
    return [
        {"who": who, "algorithm": algorithm, "axis": axis, "size": size}
        for algorithm in algorithms
        for size in sizes
    ]


def _of_others(size: str, who: Sequence[str]) -> list[Labels]:
    return [
        case
        for name, algorithm in OTHERS.items()
        if name in who
        for axis, sizes in (("keys", KEYS[size]), ("limit", LIMITS[size]))
        for case in _cases(name, axis, (algorithm,), [n for n in sizes if n <= MOST_FOR_OTHERS])
    ]


def _prepared(labels: Labels) -> tuple[Built, list[str]]:
    """Return a limiter of that size, and the keys to ask it for."""
    axis, size = labels["axis"], int(labels["size"])
    if axis == "rules":
        return _of_rules(str(labels["algorithm"]), size), ["user:42"]
    peer = peers.load(str(labels["who"]))
    if axis == "keys":
        built = peer.build(MEMORY, str(labels["algorithm"]), Setting(1_000_000, DAY, size))
        keys = [f"user:{number}" for number in range(size)]
    else:
        built = peer.build(MEMORY, str(labels["algorithm"]), Setting(size, DAY))
        keys = ["user:42"] * size
    gc.disable()
    timing.ask_all(built, keys)
    gc.enable()
    return built, keys


def _of_rules(algorithm: str, count: int) -> Built:
    """Return a limiter of so many limits, decided as one."""
    from benchmarks.peers.own import algorithm_of
    from ratelimit import Limiter

    setting = Setting(1_000_000, DAY)
    limits = {f"rule-{number}": algorithm_of(algorithm, setting) for number in range(count)}
    return Built(Limiter(limits).hit)


def _processes(count: int, seconds: float, url: str) -> float:
    """Return the µs between decisions of so many processes with 64 tasks each."""
    command = [sys.executable, "-m", "benchmarks.suites.scale", url, str(seconds)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        for each in running:
            _expect_ready(each)
        replies = [each.communicate()[0] for each in _all_told(running)]
    finally:
        for each in running:
            each.kill()
            each.wait()
    return 1e6 / sum(map(float, replies))


def _expect_ready(process: subprocess.Popen[str]) -> None:
    if process.stdout is None or process.stdout.readline() != "ready\n":
        raise RuntimeError("a process did not start")


def _all_told(running: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """Tell all of them to go, before anyone is waited for."""
    for each in running:
        print("go", file=each.stdin, flush=True)
    return running


async def _decide(url: str, seconds: float) -> float:
    """Return the decisions a second of this process, from when it is told to go."""
    built = peers.load("ratelimit").build(ASYNC_REDIS, BUCKET, Setting(1_000_000, DAY, 1, url))
    keys = [f"user:{os.getpid()}:{number}" for number in range(100)]
    await timing.latencies_async(built, keys, 64, seconds / 10)
    print("ready", flush=True)
    sys.stdin.readline()
    taken = await timing.latencies_async(built, keys, 64, seconds)
    await built.close()
    return len(taken.latencies) / taken.seconds


def series(result: Result, axis: str) -> dict[str, list[tuple[int, float]]]:
    """Return the points of each curve, by who and with what."""
    found: dict[str, list[tuple[int, float]]] = {}
    for each in result.of("scale", axis=axis):
        name = f"{each.labels['who']}, {each.labels['algorithm']}"
        found.setdefault(name, []).append((int(each.labels["size"]), each.middle))
    return {name: sorted(points) for name, points in found.items()}


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the exponent e of the power n**e that fits best: 0 is constant, 1 is linear."""
    x = [math.log(size) for size, _ in points]
    y = [math.log(cost) for _, cost in points]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return above / sum((a - x_mean) ** 2 for a in x)


def _sentence(axis: str, name: str, points: Sequence[tuple[int, float]]) -> str:
    (smallest, least), *_, (largest, most) = points
    found = exponent(points)
    return (
        f"{name}: the cost {_grown(found)} from {smallest:,} to {largest:,} {AXES[axis]}, "
        f"{beside.told(most / least)} times as much (exponent {found:.2f})."
    )


def _grown(found: float) -> str:
    if found < -0.15:
        return "falls"
    if found < 0.15:
        return "hardly grows"
    return "grows in proportion" if found > 0.85 else "grows less than in proportion"


SUITE = Scale()

if __name__ == "__main__":
    print(asyncio.run(_decide(sys.argv[1], float(sys.argv[2]))))
