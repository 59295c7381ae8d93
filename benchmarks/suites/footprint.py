"""The memory of a key."""

from __future__ import annotations

import gc
import time
import tracemalloc
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import beside, clock, peers, promises, timing
from benchmarks.peers.base import MEMORY, Built, Setting
from benchmarks.suites.base import Layout, Metric, Suite, offered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.results import Labels, Result

MINUTE = 60
MILLION = 1_000_000
COUNTS = {"tiny": 100, "quick": 20_000, "full": MILLION}
"""How many keys there are."""
BATCH = 10_000
FLOODS = {"tiny": 400, "quick": 10_000, "full": 50_000}
"""How many keys come in a flood, which makes no difference to what is kept of each."""
COLLECTIONS = 5
A_MOMENT = 0.2
"""What threads of a library are given at a time to do their work, in seconds."""


class Footprint(Suite):
    """Bytes of a key, alive, expired and in a flood; and what they cost a collection."""

    name = "footprint"
    metrics = {
        "alive": Metric("bytes", "less"),
        "expired": Metric("bytes", "less"),
        "flooded": Metric("bytes", "less"),
        "collection": Metric("ms", "less"),
    }
    layouts = tuple(
        Layout(title, metric, ("algorithm",), ("keys",))
        for title, metric in (
            ("bytes a key, with all alive", "alive"),
            ("bytes a key, expired, and after a tenth as many new ones", "expired"),
            ("bytes a key, where a tenth of those that come may be kept", "flooded"),
            ("ms a full garbage collection, with all alive", "collection"),
        )
    )
    rounds = {"tiny": 1, "quick": 1, "full": 1}
    fresh = True
    patience = 300

    def cases(self, size: str, who: Sequence[str]) -> list[Labels]:
        """Return each algorithm, with as many keys for all."""
        return [{**each, "keys": COUNTS[size]} for each in offered(MEMORY, who)]

    def sample(self, labels: Labels, size: str, url: str) -> dict[str, float]:
        """Use each key once; time is virtual, so that keys expire at once."""
        count = int(labels["keys"])
        with clock.put_in_place(clock.Clock(still=True)) as now:
            return {**_weigh(labels, count, now), "flooded": _flood(labels, FLOODS[size])}

    def remarks(self, result: Result) -> list[str]:
        """Say how light a key is beside the others', and how long the collector takes."""
        return [*_bytes(result), *_pauses(result), *beside.leads(result, self.name)]


def _bytes(result: Result) -> list[str]:
    """Return how many times as many bytes the lightest of the others takes, by algorithm."""
    others = beside.theirs(result, "footprint", "alive")
    reached = {}
    for own in beside.ours(result, "footprint", "alive"):
        same = [each for each in others if beside.same_case(own, each)]
        if same:
            other = beside.best(same)
            name = f"{own.labels['algorithm']} ({other.labels['who']})"
            reached[name] = beside.times_better(own, other)
    return promises.at_least(1, "Times as light as the lightest of the others", reached)


def _pauses(result: Result) -> list[str]:
    pauses = {
        str(own.labels["algorithm"]): own.middle
        for own in beside.ours(result, "footprint", "collection", keys=MILLION)
    }
    return promises.at_most(60, "A collection with a million keys takes, in ms", pauses)


def _build(labels: Labels, keys: int) -> Built:
    setting = Setting(10, MINUTE, keys)
    return peers.load(str(labels["who"])).build(MEMORY, str(labels["algorithm"]), setting)


def _keys(count: int) -> Iterator[list[str]]:
    """Give the keys in batches, made anew: whoever keeps one pays for it."""
    numbers = iter(range(count))
    while batch := [f"user:{number}" for number in islice(numbers, BATCH)]:
        yield batch


def _use(built: Built, count: int) -> None:
    for batch in _keys(count):
        timing.ask_all(built, batch)


def _weigh(labels: Labels, count: int, now: clock.Clock) -> dict[str, float]:
    """Return what is allocated for a key while it is alive, and when it is no more.

    And the ms of a full collection with all keys alive, which has gone over them before.
    """
    _use(_build(labels, 10), 10)
    timing.settle()
    built = _build(labels, count)
    gc.collect()
    tracemalloc.start()
    _use(built, count)
    alive = _allocated() / count
    pause = median(_pause() for _ in range(COLLECTIONS))
    for generation in ("later", "last"):
        now.advance(3 * MINUTE)
        timing.ask_all(built, [f"{generation}:{number}" for number in range(count // 20)])
        built.tidy()
        _wait_for_threads()
    expired = _allocated() / count
    tracemalloc.stop()
    gc.unfreeze()
    built.close()
    return {"alive": alive, "expired": expired, "collection": pause}


def _wait_for_threads() -> None:
    """Let threads of a library forget, until they have done so."""
    before, now = -1, tracemalloc.get_traced_memory()[0]
    while now != before:
        time.sleep(A_MOMENT)
        before, now = now, tracemalloc.get_traced_memory()[0]


def _allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _pause() -> float:
    start = time.perf_counter()
    gc.collect()
    return (time.perf_counter() - start) * 1_000


def _flood(labels: Labels, count: int) -> float:
    """Return the bytes that are kept for a key sent, of ten times as many as there is room for."""
    built = _build(labels, count // 20)
    gc.collect()
    tracemalloc.start()
    _use(built, count)
    kept = _allocated() / count
    tracemalloc.stop()
    built.close()
    return kept


SUITE = Footprint()
