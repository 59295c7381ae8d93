"""Decisions a second on a Redis."""

from __future__ import annotations

import asyncio
import gc
import re
import shutil
import subprocess
from statistics import quantiles
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks import beside, peers, promises, servers, timing
from benchmarks.peers.base import ASYNC_REDIS, RAW, REDIS, Built, Setting
from benchmarks.suites.base import Layout, Metric, Suite, offered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Labels, Measurement, Result

DAY = 86_400
SECONDS = {"tiny": 0.02, "quick": 0.1, "full": 0.25}
TASKS = {"tiny": (1, 64), "quick": (1, 64), "full": (1, 16, 64, 256)}
THREADS = {"tiny": (2,), "quick": (1, 8), "full": (1, 8)}
DENIED = {"tiny": (64, 2), "quick": (64, 8), "full": (64, 8)}
"""How many tasks and threads are denied; and so many are the clients of redis-benchmark."""
KEYS = [f"user:{number}" for number in range(1_000)]
HOT = ["user:42"] * 50
"""One key, and how often it is asked for between two looks at the clock."""
PROGRAM = "redis-benchmark"
METRICS = {
    "rate": ("decisions a second", Metric("decisions/s", "more")),
    "p50": ("p50 of a decision, µs", Metric("µs", "less")),
    "p99": ("p99 of a decision, µs", Metric("µs", "less")),
    "server": ("the server's CPU a decision, µs", Metric("µs", "less")),
    "reads": ("the server's reads a decision", Metric("reads", "less")),
}
SHOWN = {
    ("allowed", "tasks"): tuple(METRICS),
    ("allowed", "threads"): ("rate", "p50", "p99", "server"),
    ("denied", "tasks"): ("rate",),
    ("denied", "threads"): ("rate",),
}
"""The metrics that have a table, by outcome and by who asks."""


class Redis(Suite):
    """Tasks on one loop, or threads; spread over keys and allowed, or one key and denied."""

    name = "redis"
    metrics = {name: metric for name, (_, metric) in METRICS.items()}
    layouts = tuple(
        Layout(
            f"{METRICS[metric][0]}, {outcome}, {by}",
            metric,
            ("algorithm",),
            ("at_once",),
            (("by", by), ("outcome", outcome)),
        )
        for (outcome, by), shown in SHOWN.items()
        for metric in shown
    )
    rounds = {"tiny": 1, "quick": 2, "full": 5}
    server = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def cases(self, size: str, who: Sequence[str]) -> list[Labels]:
        """Return each algorithm at each concurrency; denied at one, as it makes no difference."""
        tasks, threads = DENIED[size]
        return [
            {**each, "by": by, "at_once": count, "outcome": outcome}
            for surface, by, outcome, counts in (
                (ASYNC_REDIS, "tasks", "allowed", TASKS[size]),
                (RAW, "tasks", "allowed", (tasks,) if shutil.which(PROGRAM) else ()),
                (REDIS, "threads", "allowed", THREADS[size]),
                (ASYNC_REDIS, "tasks", "denied", (tasks,)),
                (REDIS, "threads", "denied", (threads,)),
            )
            for each in offered(surface, who)
            for count in counts
        ]

    def sample(self, labels: Labels, size: str, url: str) -> dict[str, float]:
        """Decide for as long as the size says, on an empty server."""
        gc.unfreeze()
        alone = labels["by"] == "tasks" or labels["at_once"] == 1
        timing.pin(0) if alone else timing.unpin()
        servers.command(url, "FLUSHALL")
        if labels["who"] == PROGRAM:
            return _benchmark(labels, size, url)
        if labels["by"] == "tasks":
            return self._runner.run(_tasks(labels, SECONDS[size], url))
        return _threads(labels, SECONDS[size], url)

    def remarks(self, result: Result) -> list[str]:
        """Say how many times as good as the best of the others we are, and who does better."""
        missing = [] if shutil.which(PROGRAM) else [f"{PROGRAM} isn't installed: not measured."]
        return [*missing, *_promised(result), *beside.leads(result, self.name)]


def _setting(labels: Labels, url: str) -> Setting:
    return Setting(1_000_000 if labels["outcome"] == "allowed" else 10, DAY, len(KEYS), url)


def _build(labels: Labels, surface: str, url: str) -> tuple[Built, list[str]]:
    peer = peers.load(str(labels["who"]))
    built = peer.build(surface, str(labels["algorithm"]), _setting(labels, url))
    return built, KEYS if labels["outcome"] == "allowed" else HOT


async def _tasks(labels: Labels, seconds: float, url: str) -> dict[str, float]:
    built, keys = _build(labels, ASYNC_REDIS, url)
    for _ in range(11):
        await timing.ask_async(built, keys[0])
    _check(labels, await timing.ask_async(built, keys[0]))
    tasks = int(labels["at_once"])
    if labels["outcome"] == "denied":
        await timing.rate_async(built, keys, tasks, seconds / 10)
        timing.settle()
        numbers = {"rate": await timing.rate_async(built, keys, tasks, seconds)}
        _check(labels, await timing.ask_async(built, keys[0]))
    else:
        await timing.latencies_async(built, keys, tasks, seconds / 10)
        timing.settle()
        before = servers.info(url)
        taken = await timing.latencies_async(built, keys, tasks, seconds)
        numbers = _numbers(taken, before, servers.info(url))
    closed = built.close()
    if closed is not None:
        await closed
    return numbers


def _threads(labels: Labels, seconds: float, url: str) -> dict[str, float]:
    built, keys = _build(labels, REDIS, url)
    for _ in range(11):
        timing.ask(built, keys[0])
    _check(labels, timing.ask(built, keys[0]))
    threads = int(labels["at_once"])
    if labels["outcome"] == "denied":
        timing.rate(built, keys, threads, seconds / 10)
        timing.settle()
        numbers = {"rate": timing.rate(built, keys, threads, seconds)}
        _check(labels, timing.ask(built, keys[0]))
    else:
        timing.latencies(built, keys, threads, seconds / 10)
        timing.settle()
        before = servers.info(url)
        taken = timing.latencies(built, keys, threads, seconds)
        numbers = _numbers(taken, before, servers.info(url))
    built.close()
    return numbers


def _check(labels: Labels, allowed: bool) -> None:
    if allowed is not (labels["outcome"] == "allowed"):
        raise RuntimeError(f"not {labels['outcome']}, as it should be")


def _numbers(
    taken: timing.Taken, before: dict[str, str], after: dict[str, str]
) -> dict[str, float]:
    """Return the metrics; one of the server's reads is for asking it.

    Raises:
        RuntimeError: Some were denied.

    """
    count = len(taken.latencies)
    if taken.allowed < count:
        raise RuntimeError(f"{1 - taken.allowed / count:.1%} were not allowed")
    cuts = quantiles(taken.latencies * 2, n=100, method="inclusive")
    return {
        "rate": count / taken.seconds,
        "p50": cuts[49] / 1e3,
        "p99": cuts[98] / 1e3,
        "server": (_cpu(after) - _cpu(before)) * 1e6 / count,
        "reads": max(0, _reads(after) - _reads(before) - 1) / count,
    }


def _cpu(said: dict[str, str]) -> float:
    return float(said["used_cpu_user"]) + float(said["used_cpu_sys"])


def _reads(said: dict[str, str]) -> int:
    return int(said["total_reads_processed"])


def _benchmark(labels: Labels, size: str, url: str) -> dict[str, float]:
    """Send what one of our decisions sends, by the server's own benchmark."""
    calls = {"tiny": 200, "quick": 10_000, "full": 25_000}[size]
    asked = [str(shutil.which(PROGRAM)), "-p", str(urlsplit(url).port), "--csv", "--precision", "3"]
    sent = _sent(str(labels["algorithm"]), url)
    before = servers.info(url)
    done = subprocess.run(
        [*asked, "-c", str(labels["at_once"]), "-n", str(calls), *sent],
        capture_output=True,
        text=True,
        check=True,
    )
    after = servers.info(url)
    _, rate, _, _, p50, _, p99, _ = re.findall(r'"([^"]*)"', done.stdout.splitlines()[-1])
    return {
        "rate": float(rate),
        "p50": float(p50) * 1e3,
        "p99": float(p99) * 1e3,
        "server": (_cpu(after) - _cpu(before)) * 1e6 / calls,
        "reads": (_reads(after) - _reads(before) - 1) / calls,
    }


def _sent(algorithm: str, url: str) -> list[str]:
    """Return the command that one of our decisions sends."""
    built = peers.load("ratelimit").build(REDIS, algorithm, Setting(1_000_000, DAY, 1, url))
    timing.ask(built, HOT[0])
    with servers.overheard(url) as lines:
        timing.ask(built, HOT[0])
    built.close()
    asked = next(line for line in lines if '"evalsha"' in line.lower() and " lua]" not in line)
    return [_unescaped(each) for each in re.findall(r'"((?:[^"\\]|\\.)*)"', asked)]


def _unescaped(text: str) -> str:
    return re.sub(r"\\x(..)|\\(.)", lambda found: found[2] or chr(int(found[1], 16)), text)


def _promised(result: Result) -> list[str]:
    """Return a sentence for each ratio that is promised."""
    return [
        *promises.at_least(1, *_times_as_many(result, 1, "tasks")),
        *promises.at_least(5, *_times_as_many(result, 64, "tasks")),
        *promises.at_least(7, *_times_as_many(result, 256, "tasks")),
        *promises.at_least(1, *_times_as_many(result, 1, "threads")),
        *promises.at_least(1, *_times_as_many(result, 8, "threads")),
        *promises.at_least(100, *_times_as_many(result, 64, "tasks", "denied")),
        *promises.at_most(1 / 3, *_of_the_fastest(result)),
        *promises.at_most(0.5, *_of_the_least_cpu(result)),
        *_of_the_program(result),
    ]


def _times_as_many(
    result: Result, count: int, by: str, outcome: str = "allowed"
) -> tuple[str, dict[str, float]]:
    where: Labels = {"at_once": count, "by": by, "outcome": outcome}
    others = beside.theirs(result, "redis", "rate", **where)
    reached = {}
    for own in beside.ours(result, "redis", "rate", **where) if others else []:
        other = beside.rival(own, others)
        reached[_beside(own, other)] = beside.times_better(own, other)
    one_or_more = f"{count} {by if count > 1 else by.removesuffix('s')}"
    return f"{one_or_more}, {outcome}: times as many decisions as the best of the others", reached


def _of_the_fastest(result: Result) -> tuple[str, dict[str, float]]:
    """Return our p99 as a share of that of whoever else decides most."""
    where: Labels = {"at_once": 64, "by": "tasks", "outcome": "allowed"}
    others = beside.theirs(result, "redis", "rate", **where)
    reached = {}
    for own in beside.ours(result, "redis", "p99", **where) if others else []:
        fastest = beside.rival(own, others)
        for other in result.of("redis", "p99", **fastest.labels):
            reached[_beside(own, other)] = own.middle / other.middle
    return "64 tasks, allowed: our p99 as a share of that of the fastest of the others", reached


def _of_the_least_cpu(result: Result) -> tuple[str, dict[str, float]]:
    where: Labels = {"at_once": 64, "by": "tasks", "outcome": "allowed"}
    others = beside.theirs(result, "redis", "server", **where)
    reached = {}
    for own in beside.ours(result, "redis", "server", **where) if others else []:
        other = beside.rival(own, others)
        reached[_beside(own, other)] = own.middle / other.middle
    return "64 tasks, allowed: the server's CPU as a share of the best of the others'", reached


def _of_the_program(result: Result) -> list[str]:
    """Return how many decisions we take for each call of redis-benchmark."""
    where: Labels = {"at_once": 64, "by": "tasks", "outcome": "allowed"}
    shares = [
        f"{own.labels['algorithm']} {own.middle / raw.middle:.0%}"
        for own in beside.ours(result, "redis", "rate", **where)
        for raw in result.of("redis", "rate", **{**own.labels, "who": PROGRAM})
    ]
    if not shares:
        return []
    return [f"64 tasks, allowed: as many decisions as calls of {PROGRAM}: {', '.join(shares)}."]


def _beside(own: Measurement, other: Measurement) -> str:
    """Return our algorithm and who it is beside; with what, if that is another algorithm."""
    same = beside.algorithm_of(other) == own.labels["algorithm"]
    what = other.labels["who"] if same else f"{other.labels['who']}, {other.labels['algorithm']}"
    return f"{own.labels['algorithm']} ({what})"


SUITE = Redis()
