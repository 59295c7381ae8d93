"""What a decision says of itself."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ratelimit.algorithms import FixedWindow, LeakyBucket, SlidingLog, TokenBucket
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import RateLimitExceeded
from ratelimit.limiter import Limiter
from ratelimit.stores.memory import MemoryStore

if TYPE_CHECKING:
    from tests.conftest import Clock


def two(clock: Clock) -> Limiter:
    """Return a limiter of two limits."""
    limits = {"burst": TokenBucket("2/second"), "daily": SlidingLog("9/day")}
    return Limiter(limits, store=MemoryStore(clock=clock))


def test_one_limit_says_its_name(clock: Clock) -> None:
    """A decision of one limit is its own part, and names it when it denies."""
    limiter = Limiter(FixedWindow("1/day"), store=MemoryStore(clock=clock), name="daily")
    allowed, denied = limiter.hit("k"), limiter.hit("k")
    assert (allowed.name, allowed.denied, allowed.limits) == ("daily", (), {"daily": allowed})
    assert (denied.denied, denied.limit, denied.degraded) == (("daily",), 1, False)


def test_several_limits_say_the_tightest(clock: Clock) -> None:
    """Of several limits the tightest is told, and the longest wait."""
    decision = two(clock).hit("k", 2)
    assert (decision.name, decision.limit, decision.remaining) == ("burst", 2, 0)
    assert (decision.retry_after, decision.reset_after, decision.delay) == (0, 86_400, 0)
    assert decision.degraded is False


def test_a_decision_tells_itself_without_the_key(clock: Clock) -> None:
    """Its text is for a log: the limits and the numbers, and nobody's key."""
    limiter = two(clock)
    limiter.hit("secret", 2)
    text = repr(limiter.hit("secret"))
    assert text == (
        "<CombinedDecision denied by burst: remaining=0 retry_after=0.500000 "
        "reset_after=86400.000000>"
    )


def test_an_error_says_how_long_to_wait(clock: Clock) -> None:
    """The exception's text names the limits and the wait, or says that it never fits."""
    limiter = two(clock)
    limiter.hit("k", 2)
    with pytest.raises(RateLimitExceeded, match=r"denied by burst: retry after 0.500000 s"):
        limiter.enter("k")
    with pytest.raises(RateLimitExceeded, match="a cost of 3 never fits a limit of 2"):
        limiter.enter("k", 3)


def test_a_delay_that_is_cut_short_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is interrupted while waiting for the turn leaves the queue."""
    limiter = Limiter(LeakyBucket("1/hour", capacity=1))
    limiter.enter("k")

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ratelimit.waiting.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        limiter.enter("k")
    assert limiter.peek("k").remaining == 1


def test_the_core_needs_the_standard_library_alone() -> None:
    """`import ratelimit` imports no client, no framework and no event loop."""
    code = "import sys, ratelimit; print({'asyncio', 'redis', 'starlette'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_missing_client_library_is_told_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py the Redis store says what to install."""
    for module in [name for name in sys.modules if name.startswith("ratelimit.stores.redis")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ImportError, match=r'pip install "exact-ratelimit\[redis\]"'):
        Limiter(TokenBucket("1/s"), store="redis://127.0.0.1")


def test_settling_what_was_estimated_changes_nothing() -> None:
    """An estimate that was right is neither given back nor charged again, in both colours."""
    limiter = Limiter(TokenBucket("9/hour"))
    limiter.reserve("k", 4).settle(4)
    assert limiter.peek("k").remaining == 5

    async def scenario() -> int:
        limiter = AsyncLimiter(TokenBucket("9/hour"))
        await (await limiter.reserve("k", 4)).settle(4)
        return (await limiter.peek("k")).remaining

    assert asyncio.run(scenario()) == 5
