"""What every algorithm promises on every store, in both colours."""

from __future__ import annotations

import pickle
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from ratelimit.algorithms import (
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
)
from ratelimit.errors import RateLimitExceeded
from tests.conftest import ALGORITHMS, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Clock

    Make = Callable[..., Any]

LIMIT = 5


def face(decision: Any) -> list[tuple[Any, ...]]:
    """Return all that a decision says."""
    return [
        (name, part.allowed, part.now, part.reading, part.spent, part.retry_after, part.delay)
        for name, part in decision.limits.items()
    ]


def of_five(kind: type[Algorithm]) -> Algorithm:
    """Return an algorithm that admits five units at once."""
    return LeakyBucket("5/second", capacity=4) if kind is LeakyBucket else kind("5/second")


@pytest.fixture(params=ALGORITHMS, ids=lambda kind: kind.kind)
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    """Return each algorithm, with five units a second."""
    return of_five(request.param)


def test_admits_exactly_the_limit(make_limiter: Make, algorithm: Algorithm) -> None:
    """A fresh key admits the limit, counts down, and then denies."""
    limiter = make_limiter(algorithm)
    assert [limiter.hit("k").remaining for _ in range(LIMIT)] == [4, 3, 2, 1, 0]
    assert not limiter.hit("k")


def test_retry_after_is_sufficient_and_tight(
    make_limiter: Make, algorithm: Algorithm, clock: Clock
) -> None:
    """After `retry_after` the same cost is allowed, and a microsecond earlier it is not."""
    limiter = make_limiter(algorithm)
    limiter.hit("k", 3)
    clock.advance(0.123457)
    limiter.hit("k", 2)
    wait = limiter.hit("k", 4).retry_after_us
    clock.now += wait - 1
    assert not limiter.hit("k", 4)
    clock.now += 1
    assert limiter.hit("k", 4)


def test_denied_calls_cost_nothing(make_limiter: Make, algorithm: Algorithm) -> None:
    """A denial leaves what is there to those who ask for less."""
    limiter = make_limiter(algorithm)
    limiter.hit("k", 3)
    assert [limiter.hit("k", 3).remaining for _ in range(3)] == [2, 2, 2]
    assert limiter.hit("k", 2)


def test_a_cost_beyond_the_limit_never_fits(make_limiter: Make, algorithm: Algorithm) -> None:
    """More than the limit is denied for ever, whatever its size, and charges nothing."""
    limiter = make_limiter(algorithm)
    assert [limiter.hit("k", cost).retry_after for cost in (6, 10**30)] == [inf, inf]
    assert limiter.peek("k").remaining == LIMIT


def test_a_cost_of_nothing_is_always_allowed(make_limiter: Make, algorithm: Algorithm) -> None:
    """A cost of 0 asks, and changes nothing, even when nothing is left."""
    limiter = make_limiter(algorithm)
    assert limiter.hit("k", 0).remaining == LIMIT
    limiter.hit("k", 5)
    assert limiter.hit("k", 0).remaining == 0


def test_peek_changes_nothing(make_limiter: Make, algorithm: Algorithm) -> None:
    """`peek` says what `hit` would, and what is left without it."""
    limiter = make_limiter(algorithm)
    assert [limiter.peek("k", cost).allowed for cost in (5, 6)] == [True, False]
    assert limiter.peek("k", 3).remaining == LIMIT


def test_what_is_reset_is_fresh(make_limiter: Make, algorithm: Algorithm) -> None:
    """`reset` forgets the key, and only that one."""
    limiter = make_limiter(algorithm)
    limiter.hit("k", 5)
    limiter.hit("other", 5)
    limiter.reset("k")
    assert limiter.peek("k").reset_after == 0
    assert not limiter.peek("other")


def test_after_reset_after_the_key_is_fresh(
    make_limiter: Make, algorithm: Algorithm, clock: Clock
) -> None:
    """`reset_after` is when everything is there again, to the microsecond."""
    limiter = make_limiter(algorithm)
    clock.advance(0.3)
    wait = round(limiter.hit("k", 4).reset_after * 1e6)
    clock.now += wait - 1
    assert limiter.peek("k").reset_after == 1e-6
    clock.now += 1
    assert limiter.peek("k", LIMIT).reset_after == 0


def test_a_refund_gives_back_once(make_limiter: Make, algorithm: Algorithm) -> None:
    """What a decision charged is given back, and only once."""
    limiter = make_limiter(algorithm)
    decision = limiter.hit("k", 4)
    assert limiter.refund(decision)
    assert limiter.peek("k").remaining == LIMIT
    assert not limiter.refund(decision)


def test_a_denial_has_nothing_to_refund(make_limiter: Make, algorithm: Algorithm) -> None:
    """A refund of a denial gives nothing."""
    limiter = make_limiter(algorithm)
    limiter.hit("k", 5)
    assert not limiter.refund(limiter.hit("k"))
    assert limiter.peek("k").remaining == 0


def test_a_refund_comes_too_late(make_limiter: Make, algorithm: Algorithm, clock: Clock) -> None:
    """When the charge is forgotten, its refund gives nothing to those who came after."""
    limiter = make_limiter(algorithm)
    decision = limiter.hit("k", 4)
    clock.advance(2)
    limiter.hit("k", 1)
    left = limiter.peek("k").remaining
    limiter.refund(decision)
    assert limiter.peek("k").remaining == (left if algorithm.kind != "token_bucket" else LIMIT)


def test_a_debt_is_worked_off(make_limiter: Make, algorithm: Algorithm, clock: Clock) -> None:
    """A charge goes beyond the limit, up to the cap, and later hits wait for it."""
    limiter = make_limiter(algorithm)
    limiter.hit("k", 4)
    assert limiter.charge("k", 100).spent == 6
    decision = limiter.hit("k")
    assert not decision
    clock.now += decision.retry_after_us - 1
    assert not limiter.hit("k")
    clock.now += 1
    assert limiter.hit("k")


def test_several_limits_are_all_or_nothing(make_limiter: Make, clock: Clock) -> None:
    """What one limit denies is charged to none, whichever comes first."""
    limits = {kind.kind: of_five(kind) for kind in ALGORITHMS}
    limiter = make_limiter({"small": TokenBucket("1/minute", burst=3), **limits})
    assert limiter.hit("k", 2)
    denied = limiter.hit("k", 2)
    assert (denied.allowed, denied.denied, denied.remaining) == (False, ("small",), 1)
    assert {name: part.remaining for name, part in denied.limits.items()} == {
        "small": 1,
        **dict.fromkeys(limits, 3),
    }
    assert denied.retry_after == denied.limits["small"].retry_after == 60
    clock.advance(60)
    assert limiter.hit("k", 2)


def test_each_limit_has_its_own_key_and_cost(make_limiter: Make) -> None:
    """A mapping gives each limit its key and its cost."""
    limiter = make_limiter({"user": FixedWindow("5/hour"), "team": SlidingLog("8/hour")})
    limiter.hit({"user": "ann", "team": "red"}, {"user": 1, "team": 4})
    limiter.hit({"user": "bob", "team": "red"}, {"user": 1, "team": 4})
    decision = limiter.hit({"user": "eve", "team": "red"})
    assert decision.denied == ("team",)
    assert decision.limits["user"].remaining == LIMIT
    assert decision.limits["team"].remaining == 0


def test_an_only_limit_takes_no_mapping(make_limiter: Make) -> None:
    """Who has one limit gives one key and one cost, whatever is asked."""
    limiter = make_limiter(FixedWindow("5/hour"), name="user")
    for ask in (limiter.hit, limiter.peek, limiter.acquire, limiter.charge):
        with pytest.raises(TypeError, match="key"):
            ask(wrong({"user": "ann"}), 1)
        with pytest.raises(TypeError, match="cost"):
            ask("ann", wrong({"user": 1}))
    assert limiter.peek("ann").remaining == LIMIT


def test_a_limit_that_is_not_there(make_limiter: Make) -> None:
    """A mapping that names a limit which isn't there is refused, and a stranger's decision."""
    limiter = make_limiter({"a": FixedWindow("5/hour"), "b": TokenBucket("5/hour")})
    other = make_limiter(FixedWindow("5/hour"), name="c")
    with pytest.raises(ValueError, match="no cost for the limit 'b', only for "):
        limiter.hit("k", {"a": 1, "bb": 1})
    with pytest.raises(ValueError, match="there is no limit 'bb', only a, b"):
        limiter.hit("k", {"a": 1, "b": 1, "bb": 1})
    with pytest.raises(ValueError, match="there is no limit 'bb', only a, b"):
        limiter.hit({"a": "k", "b": "k", "bb": "k"})
    decision = other.hit("k")
    with pytest.raises(ValueError, match="the decision of c is another limiter's"):
        limiter.refund(decision)
    assert other.refund(decision)
    with pytest.raises(TypeError, match="a decision is what hit returns, not NoneType"):
        limiter.refund(wrong(None))
    with pytest.raises(TypeError, match="a cost is a whole number"):
        limiter.reserve("k", wrong({"a": 1}))


def test_a_decision_can_be_pickled(make_limiter: Make) -> None:
    """What leaves a process says the same, and can be given back where the state is."""
    limiter = make_limiter({"a": LeakyBucket("1/hour", 4), "b": SlidingLog("5/hour")})
    decision = limiter.hit("k", 3)
    for made in (decision, *decision.limits.values(), limiter.hit("k", 3)):
        copied = pickle.loads(pickle.dumps(made))
        assert face(copied) == face(made)
        assert repr(copied) == repr(made)
    error = pickle.loads(pickle.dumps(RateLimitExceeded(limiter.hit("k", 3))))
    assert error.decision.denied == ("a", "b")
    assert limiter.refund(pickle.loads(pickle.dumps(decision)))
    assert limiter.peek("k").remaining == LIMIT


def test_refunds_all_limits(make_limiter: Make) -> None:
    """The refund of a decision of several limits is given back to each."""
    limiter = make_limiter({"a": FixedWindow("5/hour"), "b": TokenBucket("5/hour")})
    decision = limiter.hit("k", 5)
    assert limiter.refund(decision)
    assert limiter.peek("k").remaining == LIMIT


def test_names_and_keys_never_run_together(make_limiter: Make) -> None:
    """Limits and keys that join to the same text are different limits and keys."""
    first, second = (
        make_limiter(FixedWindow("1/h"), name="a:b"),
        make_limiter(FixedWindow("1/h"), name="a"),
    )
    keys = ["c", "b:c", "{c}", "c}", "%7Bc%7D", "c\n", "c\0", "ć", "\ud800", "🙂", "#c", "x" * 4096]
    assert all(limiter.hit(key) for key in keys for limiter in (first, second))
    assert not any(limiter.hit(key) for key in keys for limiter in (first, second))


@pytest.mark.parametrize("key", ["", "x" * 4_097, b"k", 7, None, ["k"]], ids=lambda k: repr(k)[:9])
def test_bad_keys_are_refused(make_limiter: Make, algorithm: Algorithm, key: Any) -> None:
    """A key that is no text, empty or too long is refused, and the next call works."""
    limiter = make_limiter(algorithm)
    for ask in (limiter.hit, limiter.peek, limiter.reset):
        with pytest.raises((TypeError, ValueError), match=r"key|unhashable"):
            ask(key)
    assert limiter.hit("k")


@pytest.mark.parametrize("cost", [-1, True, 1.0, float("nan"), "1", None])
def test_bad_costs_are_refused(make_limiter: Make, algorithm: Algorithm, cost: Any) -> None:
    """A cost that is no whole number from 0 on is refused by name, and nothing is charged."""
    limiter = make_limiter(algorithm)
    for ask in (limiter.hit, limiter.peek, limiter.charge):
        with pytest.raises((TypeError, ValueError), match="a cost is"):
            ask("k", cost)
    assert limiter.peek("k").remaining == LIMIT


def test_clock_jumps_backwards(make_limiter: Make, algorithm: Algorithm, clock: Clock) -> None:
    """A clock that is set back admits no more, and locks nobody out."""
    limiter = make_limiter(algorithm)
    limiter.hit("k", 5)
    clock.advance(-0.5)
    assert not limiter.hit("k")
    clock.advance(-86_400)
    decision = limiter.hit("k")
    assert not decision
    assert decision.retry_after <= 2
    clock.now += decision.retry_after_us
    assert limiter.hit("k")


def test_a_leaky_bucket_spaces_its_hits(make_limiter: Make, clock: Clock) -> None:
    """Each hit is told its turn, and the turns are evenly spaced."""
    limiter = make_limiter(LeakyBucket("3/second", capacity=3))
    delays = [limiter.hit("k").delay for _ in range(4)]
    assert delays == [0, 0.333334, 0.666667, 1]
    assert limiter.hit("k").retry_after == 0.333334


def test_a_window_ends_at_its_boundary(make_limiter: Make, clock: Clock) -> None:
    """A window starts on a whole multiple of its period, and the boundary belongs to the new."""
    clock.now = 1_790_000_039_999_999
    limiter = make_limiter(FixedWindow("1/10s"))
    assert limiter.hit("k").reset_after == 1e-6
    clock.now += 1
    assert limiter.hit("k").reset_after == 10


def test_settling_gives_back_or_charges(make_limiter: Make) -> None:
    """A reservation is settled to the actual cost, in both directions."""
    limiter = make_limiter(SlidingWindowCounter("10/hour"))
    for actual, left in ((2, 8), (7, 1)):
        reservation = limiter.reserve("k", 5)
        settled = reservation.settle(actual)
        if settled is not None:
            limiter.run(settled)
        assert limiter.peek("k").remaining == left
        with pytest.raises(RuntimeError, match="once"):
            limiter.run(reservation.settle(0)) if settled is not None else reservation.settle(0)
