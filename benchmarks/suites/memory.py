"""The time of a decision in memory."""

from __future__ import annotations

import asyncio
import gc
import random
from itertools import product
from typing import TYPE_CHECKING

from benchmarks import peers, timing
from benchmarks.peers.base import ASYNC_MEMORY, MEMORY, Built, Setting
from benchmarks.suites.base import Layout, Metric, Suite, offered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Labels, Result

DAY = 86_400
HOT = "user:42"
CALLS = {"tiny": 20, "quick": 5_000, "full": 5_000}
LONG_ENOUGH = 20_000_000
"""The ns that a sample takes at the most, where that is less than all calls."""
MANY = {"tiny": 50, "quick": 100_000, "full": 100_000}
THREADS = {"tiny": 2, "quick": 8, "full": 8}
SURFACES = {"sync": MEMORY, "async": ASYNC_MEMORY}


class Memory(Suite):
    """One hot key or many, allowed or denied, sync or async, alone or in threads."""

    name = "memory"
    patience = 15
    metrics = {"time": Metric("ns", "less")}
    layouts = (
        Layout(
            "ns a decision, one thread",
            "time",
            ("who", "algorithm", "colour"),
            ("keys", "outcome"),
            (("threads", 1),),
        ),
        Layout(
            "ns a decision, threads together",
            "time",
            ("who", "algorithm"),
            ("threads", "keys", "outcome"),
            (("colour", "sync"),),
        ),
    )

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._filled: dict[tuple[str | int, ...], tuple[Built, list[str]]] = {}

    def cases(self, size: str, who: Sequence[str]) -> list[Labels]:
        """Return all combinations; only the sync ones have threads."""
        return [
            {**each, "colour": colour, "keys": keys, "outcome": outcome, "threads": threads}
            for colour, surface in SURFACES.items()
            for each in offered(surface, who)
            for threads, keys, outcome in product(
                (1, THREADS[size]) if colour == "sync" else (1,),
                (1, MANY[size]),
                ("allowed", "denied"),
            )
        ]

    def sample(self, labels: Labels, size: str, url: str) -> dict[str, float]:
        """Time some calls; one hot key has a new limiter each time, many keys keep theirs."""
        timing.pin(0) if labels["threads"] == 1 else timing.unpin()
        built, keys = self._limiter(labels)
        self._check(labels, built, keys[0])
        chosen = random.choices(keys, k=CALLS[size])
        warm_up = chosen[: len(chosen) // 10]
        enough = round(LONG_ENOUGH / self._time(labels, built, warm_up))
        timing.settle()
        taken = self._time(labels, built, chosen[: max(enough, len(warm_up))])
        self._check(labels, built, keys[0])
        gc.unfreeze()
        return {"time": taken}

    def _limiter(self, labels: Labels) -> tuple[Built, list[str]]:
        """Return a limiter that allows or denies from now on, and the keys that it knows."""
        case = tuple(value for name, value in labels.items() if name != "threads")
        if case in self._filled:
            return self._filled[case]
        count = int(labels["keys"])
        keys = [f"user:{number}" for number in range(count)] if count > 1 else [HOT]
        allowed = labels["outcome"] == "allowed"
        built = self._build(labels, Setting(1_000_000 if allowed else 1, DAY, count))
        self._time(labels, built, keys)
        if count > 1:
            self._filled[case] = built, keys
        return built, keys

    def _build(self, labels: Labels, setting: Setting) -> Built:
        async def within_loop() -> Built:
            return _built(labels, setting)

        return self._runner.run(within_loop())

    def _time(self, labels: Labels, built: Built, keys: Sequence[str]) -> float:
        if labels["colour"] == "async":
            return self._runner.run(timing.timed_async(built, keys))
        if labels["threads"] == 1:
            return timing.timed(built, keys)
        return timing.timed_in_threads(built, keys, int(labels["threads"]))

    def _ask(self, labels: Labels, built: Built, key: str) -> bool:
        if labels["colour"] == "async":
            return self._runner.run(timing.ask_async(built, key))
        return timing.ask(built, key)

    def _check(self, labels: Labels, built: Built, key: str) -> None:
        """Make sure that what is timed is what is said to be.

        Raises:
            RuntimeError: It allows what it is to deny, or the other way round.

        """
        if self._ask(labels, built, key) is not (labels["outcome"] == "allowed"):
            raise RuntimeError(f"not {labels['outcome']}, as it should be")

    def remarks(self, result: Result) -> list[str]:
        """Say where a peer is faster, and how far it is to the floor."""
        return [*_beaten(result), *_to_the_floor(result)]


def _built(labels: Labels, setting: Setting) -> Built:
    surface = SURFACES[str(labels["colour"])]
    return peers.load(str(labels["who"])).build(surface, str(labels["algorithm"]), setting)


def _beaten(result: Result) -> list[str]:
    """Return a sentence for each case in which somebody else is faster at the same algorithm."""
    found = []
    for own in result.of("memory", who="ratelimit"):
        same = {name: label for name, label in own.labels.items() if name != "who"}
        for other in result.of("memory", **same):
            if other.labels["who"] != "ratelimit" and other.middle < own.middle:
                case = ", ".join(map(str, same.values()))
                found.append(
                    f"{other.labels['who']} is faster: {other.middle:.0f} ns beside "
                    f"{own.middle:.0f} ns ({case})."
                )
    return found


def _to_the_floor(result: Result) -> list[str]:
    same: Labels = {"colour": "sync", "keys": 1, "outcome": "allowed", "threads": 1}
    floors = result.of("memory", who="floor", **same)
    buckets = result.of("memory", who="ratelimit", algorithm="token bucket", **same)
    if not floors or not buckets:
        return []
    times = buckets[0].middle / floors[0].middle
    return [f"The token bucket takes {times:.1f} times the floor: one hot key, allowed."]


SUITE = Memory()
