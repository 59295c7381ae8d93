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

from benchmarks import peers, servers, timing
from benchmarks.peers.base import ASYNC_REDIS, REDIS, Built, Setting
from benchmarks.suites.base import Layout, Metric, Suite, offered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Labels, Result

DAY = 86_400
SECONDS = {"tiny": 0.02, "quick": 0.2, "full": 0.5}
TASKS = {"tiny": (1, 4), "quick": (1, 64), "full": (1, 16, 64, 256)}
THREADS = {"tiny": (2,), "quick": (1, 8), "full": (1, 8)}
KEYS = [f"user:{number}" for number in range(1_000)]
HOT = ["user:42"]
CLIENTS = 50
RAW = "redis-benchmark"


class Redis(Suite):
    """Tasks on one loop, or threads; spread over keys and allowed, or one key and denied."""

    name = "redis"
    metrics = {
        "rate": Metric("decisions/s", "more"),
        "p50": Metric("ms", "less"),
        "p99": Metric("ms", "less"),
        "server": Metric("µs", "less"),
        "reads": Metric("reads", "less"),
    }
    layouts = tuple(
        Layout(
            f"{title}, {outcome}",
            metric,
            ("who", "algorithm"),
            ("by", "at_once"),
            (("outcome", outcome),),
            digits,
        )
        for outcome in ("allowed", "denied")
        for title, metric, digits in (
            ("decisions a second", "rate", 0),
            ("p50 in ms", "p50", 2),
            ("p99 in ms", "p99", 2),
            ("µs of the server's CPU a decision", "server", 1),
            ("reads from sockets a decision", "reads", 2),
        )
    )
    rounds = {"tiny": 1, "quick": 3, "full": 5}
    server = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def cases(self, size: str, who: Sequence[str]) -> list[Labels]:
        """Return each algorithm at each concurrency."""
        counts = {"tasks": (ASYNC_REDIS, TASKS[size]), "threads": (REDIS, THREADS[size])}
        cases: list[Labels] = [
            {**each, "by": by, "at_once": count, "outcome": outcome}
            for by, (surface, numbers) in counts.items()
            for each in offered(surface, who)
            for count in numbers
            for outcome in ("allowed", "denied")
        ]
        return cases + _raw(who)

    def sample(self, labels: Labels, size: str, url: str) -> dict[str, float]:
        """Decide for as long as the size says, on an empty server."""
        timing.pin(0) if labels["by"] == "tasks" else timing.unpin()
        servers.command(url, "FLUSHALL")
        if labels["by"] == RAW:
            return _benchmark(str(labels["algorithm"]), size, url)
        if labels["by"] == "tasks":
            return self._runner.run(_tasks(labels, SECONDS[size], url))
        return _threads(labels, SECONDS[size], url)

    def remarks(self, result: Result) -> list[str]:
        """Say who is faster where."""
        return _fastest(result)


def _raw(who: Sequence[str]) -> list[Labels]:
    """Return a case for each script as a client in C would send it."""
    if not shutil.which(RAW):
        return []
    return [
        {**each, "by": RAW, "at_once": CLIENTS, "outcome": "allowed"}
        for each in offered(REDIS, who)
        if each["who"] == "ratelimit"
    ]


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
    await timing.latencies_async(built, keys, tasks, seconds / 10)
    timing.settle()
    before = servers.info(url)
    taken, lasted = await timing.latencies_async(built, keys, tasks, seconds)
    after = servers.info(url)
    _check(labels, await timing.ask_async(built, keys[0]))
    closed = built.close()
    if closed is not None:
        await closed
    return _numbers(taken, lasted, before, after)


def _threads(labels: Labels, seconds: float, url: str) -> dict[str, float]:
    built, keys = _build(labels, REDIS, url)
    for _ in range(11):
        timing.ask(built, keys[0])
    _check(labels, timing.ask(built, keys[0]))
    threads = int(labels["at_once"])
    timing.latencies(built, keys, threads, seconds / 10)
    timing.settle()
    before = servers.info(url)
    taken, lasted = timing.latencies(built, keys, threads, seconds)
    after = servers.info(url)
    _check(labels, timing.ask(built, keys[0]))
    built.close()
    return _numbers(taken, lasted, before, after)


def _check(labels: Labels, allowed: bool) -> None:
    if allowed is not (labels["outcome"] == "allowed"):
        raise RuntimeError(f"not {labels['outcome']}, as it should be")


def _numbers(
    taken: list[int], lasted: float, before: dict[str, str], after: dict[str, str]
) -> dict[str, float]:
    """Return the metrics; two of the server's reads are for asking it."""
    gc.unfreeze()
    cuts = quantiles(taken, n=100, method="inclusive") if len(taken) > 1 else taken * 99
    return {
        "rate": len(taken) / lasted,
        "p50": cuts[49] / 1e6,
        "p99": cuts[98] / 1e6,
        "server": (_cpu(after) - _cpu(before)) * 1e6 / len(taken),
        "reads": max(0, _reads(after) - _reads(before) - 1) / len(taken),
    }


def _cpu(said: dict[str, str]) -> float:
    return float(said["used_cpu_user"]) + float(said["used_cpu_sys"])


def _reads(said: dict[str, str]) -> int:
    return int(said["total_reads_processed"])


def _benchmark(algorithm: str, size: str, url: str) -> dict[str, float]:
    """Send what one of our decisions sends, by the server's own benchmark."""
    calls = {"tiny": 200, "quick": 20_000, "full": 100_000}[size]
    asked = [str(shutil.which(RAW)), "-p", str(urlsplit(url).port), "--csv", "--precision", "3"]
    sent = _sent(algorithm, url)
    before = servers.info(url)
    done = subprocess.run(
        [*asked, "-c", str(CLIENTS), "-n", str(calls), *sent],
        capture_output=True,
        text=True,
        check=True,
    )
    after = servers.info(url)
    _, rate, _, _, p50, _, p99, _ = re.findall(r'"([^"]*)"', done.stdout.splitlines()[-1])
    return {
        "rate": float(rate),
        "p50": float(p50),
        "p99": float(p99),
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


def _fastest(result: Result) -> list[str]:
    """Return a sentence for each concurrency and outcome: ours beside the best of the others."""
    found = []
    for own in result.of("redis", "rate", who="ratelimit", algorithm="token bucket"):
        place = {name: own.labels[name] for name in ("by", "at_once", "outcome")}
        others = [
            each
            for each in result.of("redis", "rate", **place)
            if each.labels["who"] != "ratelimit"
        ]
        if others:
            best = max(others, key=lambda each: each.middle)
            found.append(
                f"{place['at_once']} {place['by']}, {place['outcome']}: the token bucket takes "
                f"{own.middle:,.0f} decisions a second, and {best.labels['who']}, the best of the "
                f"others, {best.middle:,.0f} ({best.labels['algorithm']})."
            )
    return found


SUITE = Redis()
