"""Each decision is told once, counted under the right name, and logged in measure."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry

from ratelimit import (
    AsyncLimiter,
    FixedWindow,
    LeakyBucket,
    Limiter,
    MemoryStore,
    RateLimitExceeded,
    TokenBucket,
    rate_limited,
)
from ratelimit.metrics import AsyncObservedStore, DenialLog, ObservedStore, in_turn, outcome
from ratelimit.metrics.opentelemetry import OpenTelemetryHook
from ratelimit.metrics.prometheus import PrometheusHook
from ratelimit.stores import FallbackStore
from ratelimit.testing import Clock, forget_all, unlimited
from tests.conftest import wrong

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimit.algorithms import Algorithm
    from ratelimit.decision import Decision

ONE = FixedWindow("1/day")
SECRET = b"sixteen bytes or more"


class Told:
    """A hook that keeps what it is told."""

    def __init__(self) -> None:
        self.decisions: list[tuple[str, bool, int]] = []

    def __call__(self, scope: Any, limit: Any, decision: Decision) -> None:
        assert scope == {}
        assert (limit.name, limit.algorithm) == (decision.name, decision.page.algorithm)
        self.decisions.append((limit.name, decision.allowed, decision.cost))


class Shadow:
    """A limit that only reports, or doesn't."""

    def __init__(self, algorithm: Algorithm = ONE, name: str = "api", shadow: bool = False) -> None:
        self.name = name
        self.algorithm = algorithm
        self.shadow = shadow


def failing(scope: Any, limit: Any, decision: Decision) -> None:
    """Fail, as hooks may."""
    raise LookupError("no such metric")


def decisions_of(*costs: int, algorithm: Algorithm = ONE) -> list[Decision]:
    """Return what a limit decides on these costs."""
    limiter = Limiter(algorithm, store=MemoryStore(clock=Clock()))
    return [limiter.hit("secret-key", cost) for cost in costs]


def test_a_store_tells_each_decision() -> None:
    """What is hit and charged is told once, what is peeked at, reset or given back isn't."""
    told = Told()
    limiter = Limiter(ONE, store=ObservedStore(None, told), name="daily")
    decision = limiter.hit("k")
    assert told.decisions == [("daily", True, 1)]
    assert not limiter.hit("k", 1)
    assert not limiter.peek("k")
    assert limiter.refund(decision)
    limiter.reset("k")
    limiter.charge("k", 3)
    assert told.decisions == [("daily", True, 1), ("daily", False, 1), ("daily", True, 3)]
    limiter.close()


def test_a_store_tells_each_limit_of_a_decision() -> None:
    """Of several limits each is told, with its own answer."""
    told = Told()
    limits = {"a": ONE, "b": TokenBucket("5/day")}
    limiter = Limiter(limits, store=ObservedStore("memory://", told))
    limiter.hit("k")
    limiter.hit("k")
    assert told.decisions == [("a", True, 1), ("b", True, 1), ("a", False, 1), ("b", True, 1)]


def test_a_store_that_awaits_tells_each_decision() -> None:
    """It is the same for code that awaits."""
    told = Told()

    async def scene() -> None:
        limiter = AsyncLimiter(ONE, store=AsyncObservedStore(MemoryStore(), told), name="daily")
        decision = await limiter.hit("k")
        assert not await limiter.hit("k")
        assert not await limiter.peek("k")
        assert await limiter.refund(decision)
        await limiter.reset("k")
        await limiter.charge("k", 3)
        assert await AsyncLimiter({"a": ONE}, store=limiter.store).hit("k")
        await limiter.aclose()

    asyncio.run(scene())
    assert told.decisions == [
        ("daily", True, 1),
        ("daily", False, 1),
        ("daily", True, 3),
        ("a", True, 1),
    ]


def test_functions_are_told_too() -> None:
    """A function's limiter takes the store, and the kit finds the memory behind it."""
    told = Told()

    @rate_limited(ONE, store=ObservedStore(None, told), name="greet")
    def greet() -> None:
        pass

    greet()
    with pytest.raises(RateLimitExceeded):
        greet()
    forget_all(greet)
    with unlimited(greet):
        greet()
    greet()
    assert told.decisions == [("greet", True, 1), ("greet", False, 1), ("greet", True, 1)]


def test_a_queue_is_asked_within_its_patience() -> None:
    """A limit whose numbers depend on the deadline is told by its name, too."""
    told = Told()
    store = ObservedStore(None, told)
    limiter = Limiter(LeakyBucket("10/second", capacity=5), store=store)
    assert limiter.acquire("k", timeout=5)
    assert told.decisions == [("default", True, 1)]


def test_a_store_that_falls_back_is_told_of() -> None:
    """A store that is observed can be the first of two, or hold both."""
    told = Told()
    for store in (
        FallbackStore(ObservedStore(None, told), MemoryStore()),
        ObservedStore(FallbackStore(MemoryStore(), MemoryStore()), told),
    ):
        assert Limiter(ONE, store=store).hit("k")
    assert told.decisions == [("default", True, 1)] * 2


def test_a_hook_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The decision stands, the error is logged, and the hooks after it are called."""
    told = Told()
    store = ObservedStore(None, in_turn(failing, told))
    assert Limiter(ONE, store=store, name="daily").hit("k")
    assert told.decisions == [("daily", True, 1)]
    assert "a hook failed on a decision of the limit 'daily'" in caplog.text
    assert "no such metric" in caplog.text
    assert Limiter(ONE, store=ObservedStore(None, failing)).hit("k")


def test_outcomes() -> None:
    """A limit that only reports would have denied."""
    allowed, denied = decisions_of(1, 1)
    assert outcome(Shadow(), allowed) == "allowed"
    assert outcome(Shadow(shadow=True), allowed) == "allowed"
    assert outcome(Shadow(), denied) == "denied"
    assert outcome(Shadow(shadow=True), denied) == "shadow"


def tell_all(hook: Any) -> None:
    """Tell a hook of three allowed, two denied, one that never fits, and one in the shadow."""
    allowed, denied, never = decisions_of(1, 1, 2)
    for decision in (allowed, allowed, allowed, denied, denied, never):
        hook({}, Shadow(), decision)
    hook({}, Shadow(shadow=True, name="trial"), denied)


def series(limit: str, result: str) -> dict[str, Any]:
    """Return the attributes of a series."""
    return {
        "ratelimit.limit": limit,
        "ratelimit.algorithm": "fixed_window",
        "ratelimit.outcome": result,
        "ratelimit.degraded": False,
    }


def points_of(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """Return what was measured, by the instrument."""
    data = wrong(reader.get_metrics_data())
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    return {metric.name: list(metric.data.data_points) for metric in metrics}


def by_outcome(points: Iterable[Any]) -> dict[str, Any]:
    """Return what was measured, by the outcome."""
    return {point.attributes["ratelimit.outcome"]: point for point in points}


def test_opentelemetry_counts() -> None:
    """Each decision is in one series; the waits that end are in the histogram, in seconds."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    tell_all(OpenTelemetryHook(provider.get_meter("test")))
    points = points_of(reader)
    counts = by_outcome(points["ratelimit.decisions"])
    assert {name: point.value for name, point in counts.items()} == {
        "allowed": 3,
        "denied": 3,
        "shadow": 1,
    }
    assert counts["denied"].attributes == series("api", "denied")
    assert counts["shadow"].attributes == series("trial", "shadow")
    waits = by_outcome(points["ratelimit.retry_after"])
    assert {name: point.count for name, point in waits.items()} == {"denied": 2, "shadow": 1}
    wait = decisions_of(1, 1)[1].retry_after
    assert waits["denied"].sum == pytest.approx(2 * wait)
    assert waits["denied"].explicit_bounds[-1] == 86_400
    assert "secret-key" not in str(points)
    provider.shutdown()


def test_opentelemetry_is_silent_without_a_provider() -> None:
    """Without the SDK nothing is counted, and nothing fails."""
    tell_all(OpenTelemetryHook())


def test_opentelemetry_tells_who_decided() -> None:
    """A decision that a fallback took is in a series of its own."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    hook = OpenTelemetryHook(provider.get_meter("test"))
    (decision,) = decisions_of(1)
    hook({}, Shadow(), decision)
    decision.page.degraded = True
    hook({}, Shadow(), decision)
    points = points_of(reader)["ratelimit.decisions"]
    assert {point.attributes["ratelimit.degraded"]: point.value for point in points} == {
        False: 1,
        True: 1,
    }
    provider.shutdown()


def test_prometheus_counts() -> None:
    """Each decision is in one series; only denials have a histogram of waits."""
    registry = CollectorRegistry()
    tell_all(PrometheusHook(registry))
    samples = {
        (sample.name, sample.labels["outcome"]): sample
        for metric in registry.collect()
        for sample in metric.samples
    }
    counts = {
        result: samples["ratelimit_decisions_total", result]
        for result in ("allowed", "denied", "shadow")
    }
    assert {name: sample.value for name, sample in counts.items()} == {
        "allowed": 3,
        "denied": 3,
        "shadow": 1,
    }
    assert counts["denied"].labels == {
        "limit": "api",
        "algorithm": "fixed_window",
        "outcome": "denied",
        "degraded": "false",
    }
    assert samples["ratelimit_retry_after_seconds_count", "denied"].value == 2
    assert samples["ratelimit_retry_after_seconds_count", "shadow"].value == 1
    assert ("ratelimit_retry_after_seconds_count", "allowed") not in samples
    assert "secret-key" not in str(samples)


def test_prometheus_refuses_a_second_hook() -> None:
    """Two hooks in one registry would be one series too many."""
    registry = CollectorRegistry()
    PrometheusHook(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusHook(registry)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record says about a decision."""
    return {
        name.removeprefix("ratelimit_"): value
        for name, value in vars(record).items()
        if name.startswith("ratelimit_")
    }


def test_a_denial_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A record has fields, and no key; what is allowed isn't logged."""
    allowed, denied = decisions_of(1, 1)
    log = DenialLog()
    log({}, Shadow(), allowed)
    assert caplog.records == []
    log({}, Shadow(), denied)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ratelimit.denials", logging.WARNING)
    assert record.getMessage() == str(RateLimitExceeded(denied))
    assert fields_of(record) == {
        "limit": "api",
        "algorithm": "fixed_window",
        "outcome": "denied",
        "cost": 1,
        "remaining": 0,
        "retry_after": denied.retry_after,
        "degraded": False,
        "left_out": 0,
    }


def test_never_is_no_number(caplog: pytest.LogCaptureFixture) -> None:
    """JSON has no infinity."""
    DenialLog()({}, Shadow(shadow=True), decisions_of(2)[0])
    fields = fields_of(caplog.records[0])
    assert (fields["retry_after"], fields["outcome"]) == (None, "shadow")


def test_a_flood_is_sampled(caplog: pytest.LogCaptureFixture) -> None:
    """So many a second of each limit are logged, and the next record tells how many weren't."""
    clock = Clock()
    _, denied = decisions_of(1, 1)
    log = DenialLog(per_second=2, store=MemoryStore(clock=clock))
    for _ in range(100):
        log({}, Shadow(), denied)
    log({}, Shadow(name="other"), denied)
    clock.advance(1)
    log({}, Shadow(), denied)
    log({}, Shadow(), denied)
    told = [(vars(r)["ratelimit_limit"], vars(r)["ratelimit_left_out"]) for r in caplog.records]
    assert told == [("api", 0), ("api", 0), ("other", 0), ("api", 98), ("api", 0)]


def test_a_key_is_hashed(caplog: pytest.LogCaptureFixture) -> None:
    """Denials of one key are found by its hash, which depends on the secret."""
    _, denied = decisions_of(1, 1)
    for secret in (SECRET, SECRET, SECRET + b"!"):
        DenialLog(secret=secret)({}, Shadow(), denied)
    first, second, third = (fields_of(record)["key"] for record in caplog.records)
    assert first == second != third
    assert len(first) == 16
    assert "secret-key" not in str([vars(record) for record in caplog.records])


def test_the_logger_and_level_can_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    """At a level that isn't logged nothing is counted either."""
    _, denied = decisions_of(1, 1)
    logger = logging.getLogger("app.denials")
    log = DenialLog(per_second=1, logger=logger, level=logging.INFO)
    caplog.set_level(logging.WARNING, logger.name)
    log({}, Shadow(), denied)
    assert caplog.records == []
    caplog.set_level(logging.INFO, logger.name)
    log({}, Shadow(), denied)
    assert [(r.name, r.levelname) for r in caplog.records] == [("app.denials", "INFO")]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"per_second": 0}, ValueError, "0"),
        ({"per_second": "5"}, TypeError, "'5'"),
        ({"secret": "text"}, TypeError, "a secret is bytes, not str"),
        ({"secret": b"short"}, ValueError, "16 to 64 bytes, not 5"),
        ({"secret": b"x" * 65}, ValueError, "16 to 64 bytes, not 65"),
    ],
)
def test_mistakes_are_told(options: Any, error: Any, message: str) -> None:
    """A log that can't be is refused when it is made."""
    with pytest.raises(error, match=message):
        DenialLog(**options)


def test_metrics_need_no_library() -> None:
    """The log and the stores need neither OpenTelemetry nor Prometheus."""
    code = (
        "import sys, ratelimit.metrics; "
        "sys.exit(any(name in sys.modules for name in ('opentelemetry', 'prometheus_client')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
