"""Whether to ask a store that may be gone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.stores import Breaker
from tests.conftest import Clock

if TYPE_CHECKING:
    from collections.abc import Callable


def opened(clock: Callable[[], int], pause: float = 0.5) -> Breaker:
    """Return a breaker that has just opened."""
    breaker = Breaker(failures=1, pause=pause, clock=clock)
    assert breaker.failed()
    return breaker


def test_opens_after_several_failures_in_a_row(clock: Clock) -> None:
    """A failure or two are no outage, and a success in between starts the count again."""
    breaker = Breaker(clock=clock)
    assert [breaker.failed(), breaker.failed(), breaker.succeeded()] == [False, False, False]
    assert [breaker.failed() for _ in range(4)] == [False, False, True, False]
    assert not breaker.permits()


def test_one_probe_per_pause(clock: Clock) -> None:
    """After the pause one call is permitted, to the microsecond, and no second one."""
    breaker = opened(clock)
    clock.now += 499_999
    assert not breaker.permits()
    clock.now += 1
    assert [breaker.permits() for _ in range(3)] == [True, False, False]


def test_a_probe_that_succeeds_closes(clock: Clock) -> None:
    """A success lets all calls through, and tells once that it did."""
    breaker = opened(clock)
    clock.advance(0.5)
    assert breaker.permits()
    assert [breaker.succeeded(), breaker.succeeded()] == [True, False]
    assert [breaker.permits() for _ in range(3)] == [True] * 3
    assert (breaker.is_open, breaker.recent_failures) == (False, 0)


def test_a_probe_that_fails_opens_again(clock: Clock) -> None:
    """The pause counts from the failure, and nothing is told again."""
    breaker = opened(clock)
    clock.advance(0.5)
    assert breaker.permits()
    clock.advance(0.1)
    assert not breaker.failed()
    clock.advance(0.499999)
    assert not breaker.permits()
    clock.now += 1
    assert breaker.permits()


def test_a_probe_that_never_reports(clock: Clock) -> None:
    """A cancelled probe wedges nothing: the next one comes a pause later."""
    breaker = opened(clock)
    for _ in range(5):
        clock.advance(0.5)
        assert [breaker.permits(), breaker.permits()] == [True, False]


def test_eight_threads_make_one_probe() -> None:
    """Whoever comes first is the probe, and exactly one is."""
    clock = Clock()
    breaker = opened(clock)
    barrier = Barrier(8)

    def ask(_: int) -> int:
        barrier.wait()
        return sum(breaker.permits() for _ in range(200))

    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            clock.advance(0.5)
            assert sum(threads.map(ask, range(8))) == 1


def test_eight_threads_open_it_once() -> None:
    """However many fail together, one of them is told that it has opened."""
    for _ in range(20):
        breaker = Breaker()
        with ThreadPoolExecutor(8) as threads:
            told = list(threads.map(lambda _, breaker=breaker: breaker.failed(), range(32)))
        assert told.count(True) == 1


@given(st.lists(st.tuples(st.integers(0, 300_000), st.booleans()), max_size=80))
def test_what_is_permitted(calls: list[tuple[int, bool]]) -> None:
    """All calls until three failed in a row, then one per pause until one succeeds."""
    clock = Clock()
    breaker = Breaker(clock=clock)
    in_a_row, probe_at = 0, 0
    for wait, succeeds in calls:
        clock.now += wait
        expected = in_a_row < 3 or clock.now >= probe_at
        assert breaker.permits() is expected
        if not expected:
            continue
        (breaker.succeeded if succeeds else breaker.failed)()
        in_a_row = 0 if succeeds else in_a_row + 1
        probe_at = clock.now + 500_000
        assert breaker.is_open is (in_a_row >= 3)


def test_the_monotonic_clock_serves() -> None:
    """Without a clock of the test's own, half a second is longer than no time at all."""
    breaker = Breaker(failures=1)
    assert breaker.pause == 0.5
    breaker.failed()
    assert not breaker.permits()
    short = Breaker(failures=1, pause=1e-6)
    short.failed()
    assert any(short.permits() for _ in range(10_000))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"failures": 0}, ValueError),
        ({"failures": True}, TypeError),
        ({"pause": 0}, ValueError),
        ({"pause": float("nan")}, ValueError),
        ({"pause": "1"}, TypeError),
    ],
)
def test_misuse_is_told_at_construction(options: dict[str, Any], error: type[Exception]) -> None:
    """Numbers that make no sense are refused by name."""
    with pytest.raises(error, match=r"failures|pause"):
        Breaker(**options)
