"""What is admitted, beside what should be."""

from __future__ import annotations

import asyncio
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import beside, clock, peers, servers, traffic
from benchmarks.judges import CONTRACTS, NEVER
from benchmarks.peers.base import (
    ASYNC_MEMORY,
    ASYNC_REDIS,
    MEMORY,
    REDIS,
    Built,
    Setting,
    Verdict,
)
from benchmarks.suites.base import Layout, Metric, Suite, offered
from benchmarks.traffic import Hit, worst_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.judges import Judge
    from benchmarks.results import Labels, Result

SECOND = 1_000_000_000
VIRTUAL_SETTING = {"tiny": (20, 60, 4), "quick": (100, 60, 10), "full": (100, 60, 10)}
REAL_SETTING = {"tiny": (10, 1, 0.4), "quick": (20, 1, 1.3), "full": (20, 1, 3.2)}
"""The limit, the seconds of its period, and for how many periods it is asked."""
REAL_SHAPES = {"tiny": ("skewed",), "quick": ("skewed",), "full": tuple(traffic.REAL)}
SLACK = {"memory": SECOND // 1_000, "redis": SECOND // 100}
"""What is wrong by less than this, in ns, isn't counted: some count milliseconds."""


COARSE = (
    "On a server the period is one second, so whoever counts whole seconds is at his worst there."
)


class Seen(NamedTuple):
    """A hit, and what became of it."""

    hit: Hit
    at: int
    """When it was asked, by the true clock."""
    verdict: Verdict
    took: int = 0
    """How many ns the answer took, in real time."""


class Judgement(NamedTuple):
    """How wrong a limiter was by one contract."""

    wrong: int
    """How many hits were decided wrongly, after what the limiter itself had admitted before."""
    due: int
    """The units that the contract admits, all in all."""
    early: int
    """The most ns that a wait was too short by."""
    late: int


class Accuracy(Suite):
    """Traffic of several shapes; a judge says of each hit whether it was decided rightly."""

    name = "accuracy"
    metrics = {
        "over": Metric("% of units due", "less"),
        "under": Metric("% of units due", "less"),
        "wrong": Metric("% of hits", "less"),
        "worst": Metric("% of limit", "neither"),
        "wait": Metric("ms", "less"),
        "early": Metric("ms", "neither"),
    }
    layouts = tuple(
        Layout(f"{title}, {where}", metric, ("algorithm",), ("shape",), (("store", store),))
        for store, where in (("memory", "in memory"), ("redis", "on a server"))
        for title, metric in (
            ("admitted too much, % of what the algorithm admits", "over"),
            ("admitted too little, % of what the algorithm admits", "under"),
            ("decided wrongly after what was admitted before, % of hits", "wrong"),
            ("most in any one period, % of the limit", "worst"),
            ("retry_after too early or too late, ms at worst", "wait"),
            ("retry_after too early, ms at worst", "early"),
        )
    )
    rounds = {"tiny": 1, "quick": 1, "full": 1}
    server = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def cases(self, size: str, who: Sequence[str]) -> list[Labels]:
        """Return each algorithm, store and shape; sync where there is such, else async."""
        others = [name for name in who if name != "floor"]
        return [
            {**each, "store": store, "shape": shape}
            for store, shapes in (("memory", traffic.VIRTUAL), ("redis", REAL_SHAPES[size]))
            for each in _offered(store, others)
            for shape in shapes
        ]

    def sample(self, labels: Labels, size: str, url: str) -> dict[str, float]:
        """Play a shape to a limiter, and judge it."""
        store = str(labels["store"])
        virtual = store == "memory"
        limit, seconds, periods = (VIRTUAL_SETTING if virtual else REAL_SETTING)[size]
        shapes = traffic.VIRTUAL if virtual else traffic.REAL
        hits = shapes[str(labels["shape"])](limit, seconds, periods)
        with clock.put_in_place(clock.Clock(still=virtual)) as now:
            seen = self._runner.run(_play(labels, Setting(limit, seconds, 10, url), hits, now))
        slack = SLACK[store] + max(each.took for each in seen)
        return _numbers(str(labels["algorithm"]), limit, seconds * SECOND, seen, slack)

    def remarks(self, result: Result) -> list[str]:
        """Say where anybody, ourselves included, was wrong."""
        on_server = [COARSE] if result.of(self.name, store="redis") else []
        return [*_mistakes(result), *on_server, *beside.leads(result, self.name)]


def _offered(store: str, who: Sequence[str]) -> list[Labels]:
    sync, awaited = (MEMORY, ASYNC_MEMORY) if store == "memory" else (REDIS, ASYNC_REDIS)
    first = offered(sync, who)
    return first + [each for each in offered(awaited, who) if each not in first]


async def _play(labels: Labels, setting: Setting, hits: list[Hit], now: clock.Clock) -> list[Seen]:
    """Ask when the time has come, and write down what was said."""
    if labels["store"] == "redis":
        servers.command(setting.url, "FLUSHALL")
        clients = {ahead: _build(labels, setting) for ahead in {hit.clock for hit in hits}}
        return await _ask_in_time(clients, hits, now)
    built = _build(labels, setting)
    seen = []
    for hit in hits:
        now.ns, now.set_by = hit.at, hit.set_by
        seen.append(Seen(hit, clock.START + hit.at, await _spend(built, hit)))
    return seen


async def _ask_in_time(clients: dict[int, Built], hits: list[Hit], now: clock.Clock) -> list[Seen]:
    """Ask in real time, from a whole second on; one hit first opens each client's connection."""
    for ahead, built in clients.items():
        now.ns = ahead
        await _spend(built, Hit(0, "another key"))
    now.ns = 0
    start = (now.now // SECOND + 1) * SECOND if hits[0].at > SECOND // 2 else now.now
    seen = []
    for hit in hits:
        now.ns = 0
        await asyncio.sleep(max(0, start + hit.at - now.now) / SECOND)
        at = now.now
        now.ns = hit.clock
        verdict = await _spend(clients[hit.clock], hit)
        now.ns = 0
        seen.append(Seen(hit, at, verdict, now.now - at))
    return seen


def _build(labels: Labels, setting: Setting) -> Built:
    peer = peers.load(str(labels["who"]))
    sync, awaited = (MEMORY, ASYNC_MEMORY) if labels["store"] == "memory" else (REDIS, ASYNC_REDIS)
    surface = sync if labels["algorithm"] in peer.offers.get(sync, ()) else awaited
    return peer.build(surface, str(labels["algorithm"]), setting)


async def _spend(built: Built, hit: Hit) -> Verdict:
    if built.spend is None:
        raise RuntimeError("it can't be asked with a cost")
    said: Any = built.spend(hit.key, hit.cost)
    verdict: Verdict = await said if isawaitable(said) else said
    return verdict


def _numbers(
    algorithm: str, limit: int, period: int, seen: list[Seen], slack: int
) -> dict[str, float]:
    best = min(
        (_judged(contract, limit, period, seen, slack) for contract in CONTRACTS[algorithm]),
        key=lambda judgement: judgement.wrong,
    )
    admitted = sum(each.hit.cost for each in seen if each.verdict.allowed)
    surplus = admitted - best.due if best.wrong else 0
    numbers = {
        "over": 100 * max(0, surplus) / best.due,
        "under": 100 * max(0, -surplus) / best.due,
        "wrong": 100 * best.wrong / len(seen),
        "worst": 100 * max(_worst(seen, key, period) for key in _keys(seen)) / limit,
    }
    if any(each.verdict.retry_after is not None and not each.verdict.allowed for each in seen):
        numbers["early"] = round(best.early / 1e6, 2)
        numbers["wait"] = round(max(best.early, best.late) / 1e6, 2)
    return numbers


def _judged(
    contract: type[Judge], limit: int, period: int, seen: list[Seen], slack: int
) -> Judgement:
    """Return what a contract says of what was seen."""
    judges = {key: contract(limit, period) for key in _keys(seen)}
    wrong = early = late = 0
    for hit, at, verdict, _ in seen:
        judge = judges[hit.key]
        wait = judge.wait(at, hit.cost)
        if verdict.allowed:
            wrong += wait > slack
            judge.spend(at, hit.cost)
            continue
        wrong += judge.wait(at - slack, hit.cost) == 0
        if verdict.retry_after is not None and wait < NEVER:
            error = round(verdict.retry_after * SECOND) - wait
            early, late = max(early, -error), max(late, error)
    return Judgement(wrong, _due(contract, limit, period, seen), early, late)


def _due(contract: type[Judge], limit: int, period: int, seen: list[Seen]) -> int:
    """Return the units that a contract admits of the same hits."""
    judges = {key: contract(limit, period) for key in _keys(seen)}
    due = 0
    for hit, at, *_ in seen:
        if not judges[hit.key].wait(at, hit.cost):
            judges[hit.key].spend(at, hit.cost)
            due += hit.cost
    return due


def _keys(seen: list[Seen]) -> set[str]:
    return {each.hit.key for each in seen}


def _worst(seen: list[Seen], key: str, period: int) -> int:
    admitted = [
        (each.at, each.hit.cost) for each in seen if each.verdict.allowed and each.hit.key == key
    ]
    return worst_window(admitted, period)


def _mistakes(result: Result) -> list[str]:
    """Return a sentence for each limiter of which a hit was decided wrongly."""
    found = []
    for who in dict.fromkeys(str(each.labels["who"]) for each in result.of("accuracy")):
        sentences = list(_mistakes_of(who, result))
        found += sentences or [f"{who}: as much was admitted as the algorithms admit."]
    return found


def _mistakes_of(who: str, result: Result) -> Iterator[str]:
    for metric, what in (("over", "much"), ("under", "little")):
        measurements = result.of("accuracy", metric, who=who)
        wrong = [each for each in measurements if each.middle > 0]
        if wrong:
            worst = max(wrong, key=lambda each: each.middle)
            names = ", ".join(str(worst.labels[name]) for name in ("algorithm", "store", "shape"))
            yield (
                f"{who}: too {what} was admitted in {len(wrong)} of {len(measurements)} cases, at "
                f"worst by {worst.middle:.1f} % ({names})."
            )


SUITE = Accuracy()
