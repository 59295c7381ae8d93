"""What every algorithm promises, on states alone."""

from __future__ import annotations

import copy
from datetime import timedelta
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import (
    Algorithm,
    Decision,
    FixedWindow,
    LeakyBucket,
    Quota,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
)
from ratelimit.algorithms.sliding_log import Log
from ratelimit.quota import EXACT, LONGEST
from tests.conftest import every_kind
from tests.oracle import Answer, oracle_of

if TYPE_CHECKING:
    from ratelimit.algorithms.base import State, Verdict

SECOND = 1_000_000
MOMENTS = [
    0,
    1,
    SECOND,
    2**31 * SECOND,
    2**32 * SECOND,
    2**33 * SECOND,
    1_751_664_256 * SECOND,
    2_145_916_800 * SECOND,
]
"""Near 0; where 31, 32 and 33 bits of seconds end; 2025-07-04 21:24:16 UTC; 2038."""

every_moment = pytest.mark.parametrize("start", MOMENTS)


class Page:
    """Where a decision was taken."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.name = "page"
        self.algorithm = algorithm
        self.degraded = False


class Key:
    """One key, kept by hand."""

    def __init__(self, algorithm: Algorithm, state: State | None = None) -> None:
        self.algorithm = algorithm
        self.page = Page(algorithm)
        self.state = algorithm.fresh if state is None else state

    def verdict(self, now: int, cost: int) -> Verdict:
        """Ask about a copy of the state."""
        return self.algorithm.decide(copy.deepcopy(self.state), now, cost)

    def allows(self, now: int, cost: int) -> bool:
        """Ask, and keep nothing."""
        return self.verdict(now, cost)[0]

    def hit(self, now: int, cost: int) -> Decision:
        """Ask, and keep what is to be kept."""
        allowed, reading, after = self.algorithm.decide(self.state, now, cost)
        self.state = self.state if after is None else after
        spent = cost if allowed else 0
        return Decision.of(self.page, "key", cost, allowed, now, reading, spent)

    def charge(self, now: int, cost: int) -> Decision:
        """Charge, and keep what is to be kept."""
        spent, reading, after = self.algorithm.charge(self.state, now, cost)
        self.state = self.state if after is None else after
        return Decision.of(self.page, "key", cost, True, now, reading, spent)

    def refund(self, now: int, decision: Decision) -> bool:
        """Give a decision's units back."""
        spent = decision.take()
        if not spent:
            return False
        after = self.algorithm.refund(self.state, now, spent, decision.reading)
        self.state = self.state if after is None else after
        return after is not None

    def answer(self, decision: Decision) -> Answer:
        """Return what a decision says, in microseconds."""
        return Answer(
            decision.allowed,
            decision.remaining,
            decision.retry_after_us,
            self.algorithm.reset_after(decision.reading, decision.now),
            decision.delay_us,
        )


class Step(NamedTuple):
    """One step of a trace."""

    act: str
    elapsed: Fraction
    nudge: int
    cost: int


limits = st.one_of(st.integers(1, 8), st.integers(1, 1_000), st.integers(1, 2**27))
periods = st.one_of(
    st.sampled_from([1_000, SECOND, 60 * SECOND, 86_400 * SECOND]),
    st.integers(1_000, 10 * SECOND),
    st.integers(1_000, LONGEST // 4),
)


@st.composite
def algorithms(draw: st.DrawFn, kind: type[Algorithm]) -> Algorithm:
    """Draw an algorithm of a kind, of any numbers that it accepts."""
    period = draw(periods)
    limit = draw(limits)
    if issubclass(kind, LeakyBucket | TokenBucket):
        limit = draw(st.sampled_from([limit, max(1, limit % 50), 2 ** (limit % 20)]))
    debt = draw(st.sampled_from([None, 0, 1, 5, limit]))
    quota = Quota(limit, timedelta(microseconds=period))
    room = draw(st.sampled_from([None, 0, 1, 5, limit // 2 + 1]))
    try:
        if kind is TokenBucket:
            return TokenBucket(quota, room or None, max_debt=debt)
        if kind is LeakyBucket:
            return LeakyBucket(quota, room, max_debt=debt)
        return kind(quota, max_debt=debt)
    except ValueError:
        return kind(Quota(limit % 50 + 1, 1))


fractions = st.one_of(
    st.just(Fraction(0)),
    st.sampled_from([Fraction(1, 10), Fraction(1, 2), Fraction(1), Fraction(2)]),
    st.fractions(0, 1, max_denominator=20),
)
costs = st.one_of(st.just(1), st.integers(0, 5), st.integers(0, 2**30))


@st.composite
def steps(draw: st.DrawFn, back: bool = False) -> Step:
    """Draw a step; its time goes back only if that is asked for."""
    act = draw(st.sampled_from(["hit", "hit", "hit", "hit", "charge", "refund"]))
    elapsed = draw(fractions)
    if back and draw(st.booleans()):
        elapsed = -elapsed
    nudge = draw(st.sampled_from([0, 0, 1, -1] if back else [0, 0, 1]))
    return Step(act, elapsed, nudge, draw(costs))


def time_after(algorithm: Algorithm, now: int, step: Step) -> int:
    """Return when a step is taken: its elapsed time is a share of the period."""
    return max(0, now + int(step.elapsed * algorithm.quota.period_us) + step.nudge)


def cost_of(algorithm: Algorithm, step: Step) -> int:
    """Return a step's cost, from 0 to a little more than what ever fits."""
    return step.cost if step.cost < 3 else step.cost % (algorithm.max_cost + 3)


moments = st.tuples(st.sampled_from(MOMENTS), st.integers(0, 10 * SECOND)).map(sum)


@every_kind
@given(data=st.data(), now=moments, trace=st.lists(steps(), max_size=40))
def test_it_agrees_with_the_oracle(
    kind: type[Algorithm], data: st.DataObject, now: int, trace: list[Step]
) -> None:
    """Any trace of hits, peeks, charges and refunds gets the answers of rational arithmetic."""
    algorithm = data.draw(algorithms(kind))
    key, oracle = Key(algorithm), oracle_of(algorithm)
    spendings: list[tuple[Decision, int, int]] = []
    for step in trace:
        now = time_after(algorithm, now, step)
        cost = cost_of(algorithm, step)
        if step.act == "refund" and spendings:
            decision, spent, turn = spendings.pop(step.cost % len(spendings))
            expected = oracle.refund(now, spent, decision.now, turn)
            assert expected == key.refund(now, decision)
        elif step.act == "charge":
            spent = oracle.charge(now, cost)
            decision = key.charge(now, cost)
            assert spent == decision.spent
            spendings.append((decision, spent, oracle.turn))
        else:
            answer = oracle.hit(now, cost)
            decision = key.hit(now, cost)
            assert answer == key.answer(decision)
            spendings.append((decision, decision.spent, oracle.turn))
        expected_peek = oracle.hit(now, 0)
        assert expected_peek == key.answer(key.hit(now, 0))


def used_key(
    data: st.DataObject, kind: type[Algorithm], *, back: bool = False
) -> tuple[Key, int, list[Decision]]:
    """Draw a key with a history, the time, and what was charged and is not given back."""
    algorithm = data.draw(algorithms(kind))
    key, now = Key(algorithm), data.draw(moments)
    spendings: list[Decision] = []
    for step in data.draw(st.lists(steps(back), min_size=1, max_size=20)):
        now = time_after(algorithm, now, step)
        cost = cost_of(algorithm, step)
        if step.act == "refund" and spendings:
            key.refund(now, spendings.pop(step.cost % len(spendings)))
        elif step.act == "charge":
            spendings.append(key.charge(now, cost))
        else:
            spendings.append(key.hit(now, cost))
    return key, now, spendings


@every_kind
@given(data=st.data())
def test_retry_after_is_sufficient_and_tight(kind: type[Algorithm], data: st.DataObject) -> None:
    """After the wait the same cost is allowed, and 1 µs earlier it is denied."""
    key, now, _ = used_key(data, kind, back=True)
    cost = data.draw(st.integers(1, key.algorithm.max_cost))
    decision = key.hit(now, cost)
    wait = decision.retry_after_us
    if decision:
        assert 0 == wait == decision.retry_after
        return
    assert isinstance(wait, int)
    assert wait > 0
    assert key.allows(now + wait, cost)
    assert not key.allows(now + wait - 1, cost)


@every_kind
@given(data=st.data())
def test_remaining_is_the_largest_cost_that_is_allowed(
    kind: type[Algorithm], data: st.DataObject
) -> None:
    """What remains can be spent at once, and one unit more can't."""
    key, now, _ = used_key(data, kind, back=True)
    decision = key.hit(now, data.draw(st.integers(0, key.algorithm.max_cost + 1)))
    assert decision.remaining >= 0
    assert key.allows(now, decision.remaining)
    assert not key.allows(now, decision.remaining + 1)


@every_kind
@given(data=st.data())
def test_a_denial_changes_no_state(kind: type[Algorithm], data: st.DataObject) -> None:
    """Under a clock that never runs backwards a denial gives no state to keep."""
    key, now, _ = used_key(data, kind)
    before = key.answer(key.hit(now, 0))
    for cost in (before.remaining + 1, key.algorithm.max_cost + 1, 10**30):
        allowed, _, after = key.algorithm.decide(key.state, now, cost)
        assert (False, None) == (allowed, after)
    assert before == key.answer(key.hit(now, 0))


@every_kind
@given(data=st.data())
def test_a_cost_of_nothing_is_always_allowed_and_writes_nothing(
    kind: type[Algorithm], data: st.DataObject
) -> None:
    """A peek is allowed even in debt, and gives no state to keep."""
    key, now, _ = used_key(data, kind, back=True)
    allowed, _, after = key.algorithm.decide(key.state, now, 0)
    assert (True, None) == (allowed, after)
    spent, _, after = key.algorithm.charge(key.state, now, 0)
    assert (0, None) == (spent, after)


@every_kind
@given(data=st.data())
def test_after_reset_after_it_is_as_never_used(kind: type[Algorithm], data: st.DataObject) -> None:
    """Nothing is left of any history after the wait, which is at most the horizon."""
    key, now, _ = used_key(data, kind, back=True)
    algorithm = key.algorithm
    decision = key.hit(now, data.draw(st.integers(1, algorithm.max_cost)))
    wait = algorithm.reset_after(decision.reading, now)
    assert 0 <= wait <= algorithm.horizon
    assert (decision.retry_after_us or 0) <= wait
    then = now + wait
    assert key.allows(then, algorithm.max_cost)
    assert key.answer(key.hit(then, 0)) == Answer(True, algorithm.max_cost, 0, 0, 0)
    if wait and decision.spent:
        assert algorithm.reset_after(key.hit(then - 1, 0).reading, then - 1) == 1


@every_kind
@given(data=st.data())
def test_within_the_effective_window_no_more_than_what_remains_is_used(
    kind: type[Algorithm], data: st.DataObject
) -> None:
    """The effective window is longer than nothing, and at most as long as the reset or period."""
    key, now, _ = used_key(data, kind)
    reading = key.hit(now, data.draw(st.integers(0, key.algorithm.max_cost))).reading
    window = key.algorithm.effective_window(reading, now)
    longest = max(key.algorithm.horizon, key.algorithm.quota.period_us)
    assert 0 < window <= longest


@every_kind
@given(data=st.data())
def test_what_is_available_is_told_by_one_question(
    kind: type[Algorithm], data: st.DataObject
) -> None:
    """It is what remains, and the effective window, at whatever time it is asked for."""
    key, now, _ = used_key(data, kind)
    algorithm = key.algorithm
    reading = key.hit(now, data.draw(st.integers(0, algorithm.max_cost))).reading
    key.hit(now + data.draw(st.integers(0, algorithm.quota.period_us)), 1)
    expected = algorithm.remaining(reading, now), algorithm.effective_window(reading, now)
    assert expected == algorithm.available(reading, now)


@every_kind
@given(data=st.data())
def test_clock_jumps_backwards(kind: type[Algorithm], data: st.DataObject) -> None:
    """An earlier time never has more to give, and locks nobody out beyond `reset_after`."""
    key, now, _ = used_key(data, kind)
    algorithm = key.algorithm
    back = data.draw(st.integers(0, min(now, algorithm.quota.period_us)))
    at_once, earlier = key.hit(now, 0), key.hit(now - back, 0)
    assert earlier.remaining <= at_once.remaining
    assert algorithm.reset_after(earlier.reading, now - back) <= algorithm.horizon


@every_kind
@every_moment
def test_a_state_from_far_ahead_is_brought_back_and_written(
    kind: type[Algorithm], start: int
) -> None:
    """After a leap of the clock into the past the key is let in after one reset, not years."""
    algorithm = kind("10/minute")
    key = Key(algorithm)
    key.hit(start + 10**13, algorithm.max_cost)
    decision = key.hit(start, algorithm.max_cost)
    assert not decision
    allowed, reading, _ = key.verdict(start, algorithm.max_cost)
    assert not allowed
    wait = algorithm.reset_after(reading, start)
    assert decision.retry_after_us <= wait <= algorithm.horizon
    retry_at = start + int(decision.retry_after_us)
    assert not key.allows(retry_at - 1, algorithm.max_cost)
    assert key.hit(retry_at, algorithm.max_cost)


@every_kind
def test_a_charge_brings_a_state_from_far_ahead_back(kind: type[Algorithm]) -> None:
    """A charge after such a leap leads to a debt that is worked off in one horizon."""
    algorithm = kind("10/minute")
    key = Key(algorithm)
    key.hit(10**15, algorithm.max_cost)
    decision = key.charge(SECOND, 3)
    assert 3 == decision.spent
    denied = key.hit(SECOND, 1)
    assert not denied
    assert key.hit(SECOND + int(denied.retry_after_us), 1)


@every_kind
def test_a_refund_of_a_state_from_far_ahead_breaks_nothing(kind: type[Algorithm]) -> None:
    """A refund after such a leap never gives more than a fresh key has."""
    algorithm = kind("10/minute")
    key = Key(algorithm)
    decision = key.hit(10**15, algorithm.max_cost)
    key.refund(SECOND, decision)
    after = key.hit(SECOND, 0)
    assert after.remaining <= algorithm.max_cost
    assert algorithm.reset_after(after.reading, SECOND) <= algorithm.horizon


@every_kind
@given(data=st.data())
def test_a_refund_gives_back_what_was_charged_and_no_more(
    kind: type[Algorithm], data: st.DataObject
) -> None:
    """Availability rises by no more than the cost, never above capacity, and only once."""
    key, now, _ = used_key(data, kind)
    decision = key.hit(now, data.draw(st.integers(1, key.algorithm.max_cost)))
    before, spent = key.hit(now, 0).remaining, decision.spent
    given_back = key.refund(now, decision)
    after = key.hit(now, 0).remaining
    assert before <= after <= min(key.algorithm.max_cost, before + spent + 1)
    assert (spent > 0) == given_back
    if spent:
        assert key.allows(now, spent)
    assert not key.refund(now, decision)


@pytest.mark.parametrize("kind", [FixedWindow, SlidingLog])
def test_a_refund_goes_only_into_its_window(kind: type[Algorithm]) -> None:
    """Once the window is over there is nothing to give back."""
    key = Key(kind("5/second"))
    first = key.hit(0, 3)
    second = key.hit(SECOND, 4)
    assert not key.refund(SECOND, first)
    assert 1 == key.hit(SECOND, 0).remaining
    assert key.refund(SECOND, second)
    assert 5 == key.hit(SECOND, 0).remaining


def test_a_counter_refunds_the_window_before_as_long_as_it_counts() -> None:
    """The faded window is refunded as itself, not as the present one."""
    key = Key(SlidingWindowCounter("4/second"))
    first, second = key.hit(0, 4), key.hit(SECOND + SECOND // 2, 2)
    assert second
    assert key.refund(SECOND + SECOND // 2, first)
    assert 2 == key.hit(SECOND + SECOND // 2, 0).remaining
    assert not key.refund(3 * SECOND, second)


def test_a_queue_refunds_the_last_in_line_alone() -> None:
    """Who has somebody behind can't leave the queue; the last can, and then the one before."""
    key = Key(LeakyBucket("10/second"))
    first, second = key.hit(0, 1), key.hit(0, 2)
    assert not Key(key.algorithm, key.state).refund(0, copy.copy(first))
    assert key.refund(0, second)
    assert key.refund(0, first)
    assert 11 == key.hit(0, 0).remaining


@every_kind
@every_moment
def test_a_cost_that_never_fits(kind: type[Algorithm], start: int) -> None:
    """A cost beyond the capacity is denied for ever, and doesn't raise."""
    key = Key(kind("10/second"))
    for cost in (key.algorithm.max_cost + 1, EXACT, 10**40):
        decision = key.hit(start, cost)
        assert (False, inf) == (decision.allowed, decision.retry_after)
        assert key.algorithm.max_cost == decision.remaining == decision.limit
    assert key.algorithm.fresh == key.state


@every_kind
@every_moment
def test_a_debt_is_worked_off_and_capped(kind: type[Algorithm], start: int) -> None:
    """A charge goes beyond the limit up to `max_debt`, and every hit waits until it is paid."""
    algorithm = kind("10/second", max_debt=4)
    key = Key(algorithm)
    start -= start % SECOND
    decision = key.charge(start, 1_000)
    assert algorithm.max_cost + 4 >= decision.spent >= 14
    assert 0 == key.charge(start, 1).spent
    assert 0 == decision.remaining
    denied = key.hit(start, 1)
    assert not denied
    assert not key.hit(start + int(denied.retry_after_us) - 1, 1)
    assert key.hit(start + int(denied.retry_after_us), 1)


@every_kind
@every_moment
def test_a_fresh_key_admits_exactly_its_limit(kind: type[Algorithm], start: int) -> None:
    """The burst loses no unit at any time of the world: 10/s is 10, and the 11th is denied."""
    for text in ("10/second", "997/second", "3/7 ms", "90/minute"):
        key = Key(kind(text))
        admitted = sum(bool(key.hit(start, 1)) for _ in range(key.algorithm.max_cost + 5))
        assert key.algorithm.max_cost == admitted
        assert 0 == key.hit(start, 0).remaining


@every_kind
@every_moment
def test_no_drift_in_a_long_run(kind: type[Algorithm], start: int) -> None:
    """A client who waits for `retry_after` is always let in, and gets the rate that was agreed."""
    key, now = Key(kind("7/second")), start - start % SECOND
    admitted, end = 0, start + 100 * SECOND
    while now < end:
        decision = key.hit(now, 1)
        admitted += bool(decision)
        now += int(decision.retry_after_us)
    lost = 100 if kind is SlidingWindowCounter else 1
    assert 700 - lost <= admitted <= 700 + key.algorithm.max_cost


@every_kind
@given(data=st.data())
def test_a_state_written_under_other_numbers_is_never_misread(
    kind: type[Algorithm], data: st.DataObject
) -> None:
    """Other numbers never lock a key out beyond their reset, nor do they answer nonsense."""
    key, now, _ = used_key(data, kind)
    algorithm = data.draw(algorithms(kind))
    other = Key(algorithm, key.state)
    decision = other.hit(now, algorithm.max_cost)
    assert 0 <= decision.remaining <= algorithm.max_cost
    wait = algorithm.reset_after(decision.reading, now)
    assert decision.retry_after_us <= wait <= algorithm.horizon
    if not decision:
        assert other.allows(now + int(decision.retry_after_us), algorithm.max_cost)
    assert other.allows(now + wait, algorithm.max_cost)


@every_kind
@given(data=st.data(), limit=st.integers(1, 100), used=st.integers(1, 100), now=moments)
def test_a_changed_limit_is_no_free_burst(
    kind: type[Algorithm], data: st.DataObject, limit: int, used: int, now: int
) -> None:
    """What was used stays used: in units in a window, in time in a bucket."""
    key = Key(kind(Quota(used, 60)))
    spent = key.hit(now, used)
    other = Key(kind(Quota(limit, 60)), key.state)
    decision = other.hit(now, 0)
    if issubclass(kind, LeakyBucket | TokenBucket):
        old = spent.reset_after
        new = decision.reset_after
        assert new == old or new * limit >= other.algorithm.max_cost
        return
    assert max(0, limit - used) == decision.remaining


@given(data=st.data(), now=moments)
def test_the_bucket_never_admits_too_many_over_all_windows(data: st.DataObject, now: int) -> None:
    """Over all windows of a trace at most the burst and what has flowed in since passes."""
    algorithm = data.draw(algorithms(TokenBucket))
    key, arrival = Key(algorithm), Fraction(0)
    quota = algorithm.quota
    interval = Fraction(quota.period_us, quota.limit)
    for step in data.draw(st.lists(steps(), max_size=60)):
        now = time_after(algorithm, now, step)
        cost = cost_of(algorithm, step)
        if key.hit(now, cost):
            arrival = max(arrival, Fraction(now)) + cost * interval
            assert arrival - now - algorithm.max_cost * interval <= 0


@given(data=st.data(), now=moments)
def test_the_log_never_admits_too_many_over_all_windows(data: st.DataObject, now: int) -> None:
    """Over all windows of a trace at most the limit passes, even as the clock steps back."""
    algorithm = data.draw(algorithms(SlidingLog))
    period = algorithm.quota.period_us
    key, admitted, latest = Key(algorithm), [], 0
    for step in data.draw(st.lists(steps(), max_size=60)):
        now = time_after(algorithm, now, step)
        latest = max(latest, now)
        back = data.draw(st.integers(0, min(latest, period)))
        cost = cost_of(algorithm, step)
        decision = key.hit(latest - back, cost)
        if decision and cost:
            admitted.append((decision.reading[2], cost))
    for start, _ in admitted:
        window = sum(cost for time, cost in admitted if start <= time < start + period)
        assert window <= algorithm.quota.limit


@given(data=st.data(), now=moments)
def test_the_counter_admits_less_than_twice_its_limit(data: st.DataObject, now: int) -> None:
    """Over all windows of a trace at most `2 * limit - 1` units pass."""
    algorithm = data.draw(algorithms(SlidingWindowCounter))
    period, limit = algorithm.quota.period_us, algorithm.quota.limit
    key, admitted = Key(algorithm), []
    for step in data.draw(st.lists(steps(), max_size=60)):
        now = time_after(algorithm, now, step)
        cost = min(limit, cost_of(algorithm, step))
        if key.hit(now, cost):
            admitted.append((now, cost))
    for start, _ in admitted:
        window = sum(cost for time, cost in admitted if start <= time < start + period)
        assert window <= 2 * limit - 1


@every_moment
def test_the_counter_at_its_worst(start: int) -> None:
    """The published worst case is reached: `2 * limit - 1` within one period, and not one more."""
    key, start = Key(SlidingWindowCounter("10/second")), start - start % SECOND
    assert key.hit(start + SECOND - 1, 10)
    end = start + 2 * SECOND - 2
    assert not key.hit(end, 10)
    assert key.hit(end, 9)


@every_moment
def test_the_fixed_window_at_its_boundary(start: int) -> None:
    """An event on the boundary belongs to the new window, and twice the limit passes across it."""
    key, start = Key(FixedWindow("10/second")), start - start % SECOND
    assert key.hit(start + SECOND - 1, 10)
    denied = key.hit(start + SECOND - 1, 1)
    assert (False, 1) == (denied.allowed, denied.retry_after_us)
    assert key.hit(start + SECOND, 10)


@every_moment
def test_the_log_forgets_exactly_one_period_later(start: int) -> None:
    """An event counts until 1 µs before it is one period old."""
    key = Key(SlidingLog("1/second"))
    assert key.hit(start, 1)
    assert 1 == key.hit(start + SECOND - 1, 1).retry_after_us
    assert key.hit(start + SECOND, 1)


def test_a_long_log_is_packed_and_stays_small() -> None:
    """What is forgotten leaves the log's room too, with totals and without."""
    for cost in (1, 2):
        key = Key(SlidingLog("100/second"))
        for now in range(0, 20 * SECOND, SECOND // 100 * cost):
            assert key.hit(now, cost)
        log = Log(*key.state)
        assert len(log.times) <= 2 * 100 * 8


def test_the_totals_of_a_log_turn_over() -> None:
    """A log of huge costs counts right where its totals start again from 0."""
    limit = 2**51
    key = Key(SlidingLog(Quota(limit, 1), max_debt=0))
    for now in range(0, 20 * SECOND, 2 * SECOND):
        assert limit == key.hit(now, 0).remaining
        assert key.hit(now, limit - 3)
        assert key.hit(now + SECOND // 2, 2)
        assert 1 == key.hit(now + SECOND // 2, 0).remaining
        assert not key.hit(now + SECOND // 2, 2)


def test_a_log_gives_back_what_lies_between() -> None:
    """A refund in the middle of the log leaves the others counted, in both forms of entries."""
    for cost in (1, 2):
        key = Key(SlidingLog("6/second"))
        hits = [key.hit(now, cost) for now in (0, 10, 20)]
        assert key.refund(30, hits[1])
        assert 6 - 2 * cost == key.hit(30, 0).remaining
        assert 6 - cost == key.hit(SECOND, 0).remaining
        assert 6 == key.hit(SECOND + 20, 0).remaining


def test_a_queue_is_evenly_spaced() -> None:
    """Who honours `delay` leaves one interval after the one before, never closer."""
    key = Key(LeakyBucket("10/second", capacity=5))
    turns = []
    for now in (0, 0, 1, 1, 50_000, 150_000, 900_000):
        decision = key.hit(now, 1)
        assert decision
        turns.append(now + decision.delay_us)
    assert [0, 100_000, 200_000, 300_000, 400_000, 500_000, 900_000] == turns
    assert 0 == key.hit(900_000, 0).delay


def test_a_queue_without_places_denies_who_comes_too_early() -> None:
    """With a capacity of 0 nobody waits."""
    key = Key(LeakyBucket("10/second", capacity=0))
    assert key.hit(0, 1)
    assert 100_000 == key.hit(0, 1).retry_after_us
    assert key.hit(100_000, 1)


@given(data=st.data(), share=st.fractions(0, 2, max_denominator=9))
def test_a_queue_refuses_who_would_wait_too_long(data: st.DataObject, share: Fraction) -> None:
    """Within a patience an allowed hit's delay is no longer, and a denial's wait is tight."""
    key, now, _ = used_key(data, LeakyBucket)
    patience = int(share * key.algorithm.quota.period_us)
    impatient = Key(key.algorithm.within(patience), key.state)
    cost = data.draw(st.integers(1, key.algorithm.max_cost))
    decision = impatient.hit(now, cost)
    if decision:
        assert decision.delay_us <= patience
        return
    peeked = impatient.hit(now, 0)
    assert not impatient.allows(now, peeked.remaining + 1)
    assert impatient.allows(now, peeked.remaining)
    retry_at = now + int(decision.retry_after_us)
    assert not impatient.allows(retry_at - 1, cost)
    assert impatient.hit(retry_at, cost).delay_us <= patience


@every_kind
def test_patience_that_is_long_enough_changes_nothing(kind: type[Algorithm]) -> None:
    """Only a queue tells the impatient from the others, and only if they would have to wait."""
    algorithm = kind("10/second")
    assert algorithm is algorithm.within(inf)
    assert (algorithm is algorithm.within(5)) == (kind is not LeakyBucket)


@every_kind
def test_an_algorithm_is_a_value(kind: type[Algorithm]) -> None:
    """It compares and hashes by its kind and numbers, and says them as Python reads them."""
    made: list[Algorithm] = [kind("10/second"), kind("9/second"), kind("10/second", max_debt=3)]
    if kind in (TokenBucket, LeakyBucket):
        made.append(kind("10/second", 4))
    names: dict[str, Any] = {kind.__name__: kind}
    for algorithm in made:
        assert algorithm == eval(repr(algorithm), names)
        assert hash(algorithm) == hash(eval(repr(algorithm), names))
    assert len(made) == len(set(made))
    assert made[0] != "10/second"
    assert kind(Quota(10, 1)) == made[0]


@every_kind
@pytest.mark.parametrize("debt", [-1, True, 1.0, "1", EXACT + 1, EXACT])
def test_a_debt_out_of_range_is_refused(kind: type[Algorithm], debt: Any) -> None:
    """The cap on debt is a whole number that stays exact."""
    with pytest.raises((TypeError, ValueError)):
        kind("10/minute", max_debt=debt)


@pytest.mark.parametrize("number", [-1, True, 1.0, "1", EXACT + 1])
@pytest.mark.parametrize("kind", [TokenBucket, LeakyBucket])
def test_a_capacity_out_of_range_is_refused(kind: Any, number: Any) -> None:
    """A burst and a capacity are whole numbers that stay exact."""
    with pytest.raises((TypeError, ValueError), match=r"a (burst|capacity) is"):
        kind("10/minute", number)


def test_a_bucket_that_takes_a_lifetime_to_fill_is_refused() -> None:
    """A state has to be forgotten some day."""
    with pytest.raises(ValueError, match="years to fill, and 20"):
        TokenBucket("1/3000 days", 10)


def test_a_decision_that_is_not_kept_leaves_no_trace() -> None:
    """A log that a hit was decided on, but that was not charged, is as it was when asked again."""
    log = SlidingLog("5/hour")
    state = log.decide(log.fresh, 1_000, 1)[2]
    assert state is not None
    for cost in (1, 2, 1):
        log.decide(state, 2_000, cost)
        log.decide(state, 3_000, 0)
    after = log.decide(state, 4_000, 1)[2]
    assert after is not None
    assert log.decide(after, 5_000, 5)[1] == (2, 4_000, 4_000)
