"""The time of a decision in memory."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from benchmarks import beside, peers, promises, timing
from benchmarks.peers.base import ASYNC_MEMORY, BUCKET, MEMORY, Built, Setting
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
SEVERAL = 2_000
"""How many keys are there before it is judged how long the others will take."""
THREADS = {"tiny": 2, "quick": 8, "full": 8}
ALONE: Labels = {"colour": "sync", "keys": 1, "threads": 1}
"""The labels of one hot key in one thread."""
SURFACES = {"sync": MEMORY, "async": ASYNC_MEMORY}


class Memory(Suite):
    """One hot key or many, allowed or denied, sync or async, alone or in threads."""

    name = "memory"
    patience = 15
    metrics = {"time": Metric("ns", "less")}
    layouts = (
        Layout(
            "ns a decision, sync, one thread",
            "time",
            ("algorithm",),
            ("keys", "outcome"),
            (("colour", "sync"), ("threads", 1)),
        ),
        Layout(
            "ns a decision, async, one thread",
            "time",
            ("algorithm",),
            ("keys", "outcome"),
            (("colour", "async"),),
        ),
        Layout(
            "ns a decision, one hot key, threads together",
            "time",
            ("algorithm",),
            ("threads", "outcome"),
            (("colour", "sync"), ("keys", 1)),
        ),
    )
    rounds = {"tiny": 1, "quick": 3, "full": 11}

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._filled: dict[tuple[str | int, ...], tuple[Built, list[str]]] = {}

    def cases(self, size: str, who: Sequence[str]) -> list[Labels]:
        """Return one hot key or many, and the hot key in threads too, where calls are sync."""
        return [
            {**each, "colour": colour, "keys": keys, "outcome": outcome, "threads": threads}
            for colour, surface in SURFACES.items()
            for each in offered(surface, who)
            for keys, threads in ((1, 1), (MANY[size], 1), (1, THREADS[size]))
            if colour == "sync" or threads == 1
            for outcome in ("allowed", "denied")
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
        self._check_together(labels, built, chosen)
        if len(keys) == 1:
            self._close(built)
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
        self._fill(labels, built, keys)
        if count > 1:
            self._filled[case] = built, keys
        return built, keys

    def _close(self, built: Built) -> None:
        async def closed() -> None:
            waiting = built.close()
            if waiting is not None:
                await waiting

        self._runner.run(closed())

    def _fill(self, labels: Labels, built: Built, keys: Sequence[str]) -> None:
        """Use each key once.

        Raises:
            RuntimeError: It would take too long, judged by the last of the first keys.

        """
        first, rest = keys[:SEVERAL], keys[SEVERAL:]
        self._time(labels, built, first)
        if not rest:
            return
        seconds = self._time(labels, built, rest[:100]) * len(rest) / 1e9
        if seconds > self.patience:
            raise RuntimeError(f"filling it with {len(keys):,} keys takes over {seconds:.0f} s")
        self._time(labels, built, rest[100:])

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

    def _check_together(self, labels: Labels, built: Built, chosen: Sequence[str]) -> None:
        """Make sure that threads are answered the same when they get in each other's way.

        Raises:
            RuntimeError: They are not.

        """
        threads = int(labels["threads"])
        if threads == 1:
            return
        answers = timing.asked_in_threads(built, chosen, threads)
        wrong = answers.count(labels["outcome"] != "allowed")
        if wrong:
            raise RuntimeError(f"{wrong / len(answers):.1%} were not {labels['outcome']}")

    def remarks(self, result: Result) -> list[str]:
        """Say how far it is to limits and to the floor, what async adds, and who is faster."""
        return [
            *(line for outcome in ("allowed", "denied") for line in _to_limits(result, outcome)),
            *_to_the_floor(result),
            *_of_async(result),
            *beside.leads(result, self.name),
        ]


def _built(labels: Labels, setting: Setting) -> Built:
    surface = SURFACES[str(labels["colour"])]
    return peers.load(str(labels["who"])).build(surface, str(labels["algorithm"]), setting)


def _to_limits(result: Result, outcome: str) -> list[str]:
    reached = {}
    for own in beside.ours(result, "memory", "time", outcome=outcome, **ALONE):
        algorithm = own.labels["algorithm"]
        for other in result.of(
            "memory", "time", who="limits", algorithm=algorithm, outcome=outcome, **ALONE
        ):
            reached[str(algorithm)] = beside.times_better(own, other)
    return promises.at_least(4, f"Times as fast as limits, one hot key, {outcome}", reached)


def _to_the_floor(result: Result) -> list[str]:
    floors = {
        outcome: result.of("memory", "time", who="floor", outcome=outcome, **ALONE)
        for outcome in ("allowed", "denied")
    }
    reached = {
        outcome: own.middle / floor.middle
        for outcome, found in floors.items()
        for floor in found
        for own in beside.ours(result, "memory", "time", algorithm=BUCKET, outcome=outcome, **ALONE)
    }
    return promises.at_most(2.5, "The token bucket beside the floor, times as long", reached)


def _of_async(result: Result) -> list[str]:
    """Return what awaiting adds to a decision, at the most of allowed and denied."""
    added: dict[str, float] = {}
    for own in beside.ours(result, "memory", "time", colour="async", keys=1):
        same = {**own.labels, "colour": "sync"}
        for plain in result.of("memory", "time", **same):
            name = str(own.labels["algorithm"])
            added[name] = max(added.get(name, 0), own.middle - plain.middle)
    return promises.at_most(200, "AsyncLimiter adds, in ns", added)


SUITE = Memory()
