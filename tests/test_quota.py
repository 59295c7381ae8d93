"""How much, per how long."""

from __future__ import annotations

import pickle
from datetime import timedelta
from enum import IntEnum
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import (
    FixedWindow,
    LeakyBucket,
    Quota,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
    per,
    per_day,
    per_hour,
    per_minute,
    per_second,
)
from ratelimit.quota import EXACT, LONGEST, microseconds, whole

SECOND = 1_000_000

ACCEPTED = [
    ("100/minute", 100, 60 * SECOND),
    ("100/m", 100, 60 * SECOND),
    ("100 / min", 100, 60 * SECOND),
    ("100 /minutes", 100, 60 * SECOND),
    ("100/ minute", 100, 60 * SECOND),
    ("5 per 10 seconds", 5, 10 * SECOND),
    ("5 per second", 5, SECOND),
    ("5 per 10s", 5, 10 * SECOND),
    ("1000/2h", 1000, 7200 * SECOND),
    ("1/ms", 1, 1_000),
    ("1/250 milliseconds", 1, 250_000),
    ("1/millisecond", 1, 1_000),
    ("7/sec", 7, SECOND),
    ("7/hour", 7, 3600 * SECOND),
    ("7/3 hours", 7, 3 * 3600 * SECOND),
    ("7/d", 7, 86_400 * SECOND),
    ("7/3653 days", 7, LONGEST),
    ("7/w", 7, 604_800 * SECOND),
    ("007/01 week", 7, 604_800 * SECOND),
    (f"{EXACT}/day", EXACT, 86_400 * SECOND),
]

REFUSED = [
    "",
    " ",
    "100",
    "/minute",
    "100/",
    "100/minute ",
    " 100/minute",
    "100  / minute",
    "100/Minute",
    "100 MINUTE",
    "100permute",
    "100per minute",
    "-1/minute",
    "+1/minute",
    "1.5/minute",
    "1e3/minute",
    "1_000/minute",
    "0x10/minute",
    "0/minute",
    "5/0 seconds",
    "5/-1 second",
    "5/1.5 seconds",
    "5/month",
    "5/year",
    "5/fortnight",
    "5/µs",
    "٥/minute",
    "5/minute\n",
    "5/minute\x00",
    "5/3654 days",
    "5/9999999999999999 weeks",
    "9999999999999999/minute",
    f"{EXACT + 1}/minute",
    "12345678901234567/minute",
    "nan/second",
    "inf/second",
    "5/minute" * 1_000,
]


@pytest.mark.parametrize(("text", "limit", "period_us"), ACCEPTED)
def test_a_text_is_read(text: str, limit: int, period_us: int) -> None:
    """A quota's text means its numbers."""
    quota = Quota.parse(text)
    assert (limit, period_us) == (quota.limit, quota.period_us)


@pytest.mark.parametrize("text", REFUSED)
def test_a_text_that_is_no_quota_is_refused(text: str) -> None:
    """What isn't one quota is refused, in a message that isn't long."""
    with pytest.raises(ValueError, match=r".") as raised:
        Quota.parse(text)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "text", ["1/s, 2/m", "1/s; 2/m", "1/s|2/m", "1/s & 2/m", "1/s\n2/m", "1/s and 2/m"]
)
def test_several_quotas_are_refused_with_the_mend(text: str) -> None:
    """Who writes several quotas learns how to give several limits."""
    with pytest.raises(ValueError, match="looks like several: give a mapping"):
        Quota.parse(text)


def test_an_unknown_unit_is_named_with_those_there_are() -> None:
    """The message names the unit and lists what would do."""
    with pytest.raises(ValueError, match=r"unknown unit 'month' in '5/month'; .* week"):
        Quota.parse("5/month")


@pytest.mark.parametrize("text", [None, 5, 5.0, True, b"5/minute", ["5/minute"], (5, 60)])
def test_only_a_text_is_parsed(text: Any) -> None:
    """Another type is a TypeError that names it."""
    with pytest.raises(TypeError, match=type(text).__name__):
        Quota.parse(text)
    with pytest.raises(TypeError, match=type(text).__name__):
        FixedWindow(text)


@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text: str) -> None:
    """A text is a quota or a ValueError."""
    try:
        quota = Quota.parse(text)
    except ValueError:
        return
    assert quota == Quota.parse(str(quota))


whole_ms = st.integers(1, LONGEST // 1_000).map(lambda ms: timedelta(milliseconds=ms))
any_period = st.integers(1_000, LONGEST).map(lambda us: timedelta(microseconds=us))


@given(st.integers(1, EXACT), whole_ms)
def test_str_is_what_parse_reads(limit: int, period: timedelta) -> None:
    """Writing a quota and reading it gives the same quota."""
    quota = Quota(limit, period)
    assert quota == Quota.parse(str(quota))


@given(st.integers(1, EXACT), any_period)
def test_repr_is_what_python_reads(limit: int, period: timedelta) -> None:
    """Evaluating a quota's repr gives the same quota."""
    quota = Quota(limit, period)
    assert quota == eval(repr(quota), {"Quota": Quota})
    assert quota == Quota(limit, quota.period)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5/60 seconds", "5/minute"),
        ("5/120 s", "5/2 minutes"),
        ("5/7 days", "5/week"),
        ("5/1500 ms", "5/1500 ms"),
        ("5/ms", "5/ms"),
        ("5/24h", "5/day"),
    ],
)
def test_str_uses_the_largest_unit_that_fits(text: str, said: str) -> None:
    """A quota is said in its simplest form."""
    assert said == str(Quota.parse(text))


def test_str_of_a_period_between_milliseconds() -> None:
    """A period that no unit fits is said in seconds."""
    assert "5 in 1.234567 s" == str(Quota(5, 1.234567))


def test_a_quota_is_a_value() -> None:
    """It compares, hashes, pickles, and can't be changed."""
    quota: Any = Quota(5, 60)
    assert quota == Quota(5, timedelta(minutes=1))
    assert quota != Quota(6, 60)
    assert 1 == len({quota, Quota.parse("5/minute")})
    assert quota == pickle.loads(pickle.dumps(quota))
    with pytest.raises(AttributeError):
        quota.limit = 6


def test_of_takes_a_quota_or_its_text() -> None:
    """Both ways of writing a quota are one."""
    quota = Quota(5, 60)
    assert quota is Quota.of(quota)
    assert quota == Quota.of("5/minute")


def test_the_short_forms() -> None:
    """The functions build what they say."""
    made = [per_second(3), per_minute(3), per_hour(3), per_day(3), per(2.5, 3)]
    assert [1, 60, 3_600, 86_400, 2.5] == [quota.period for quota in made]
    assert {3} == {quota.limit for quota in made}


@pytest.mark.parametrize("limit", [0, -1, EXACT + 1, 10**400, -(10**400)])
def test_a_limit_out_of_range(limit: int) -> None:
    """A limit is from 1 to 2**53 - 1."""
    with pytest.raises(ValueError, match="a limit is at"):
        Quota(limit, 1)


@pytest.mark.parametrize("limit", [True, False, 1.0, nan, inf, "5", None, 5 + 0j])
def test_a_limit_of_another_type(limit: Any) -> None:
    """A limit is an int, and a bool is none."""
    with pytest.raises(TypeError, match=f"not {type(limit).__name__}"):
        Quota(limit, 1)


@pytest.mark.parametrize(
    "period", [0, -1, 0.000999, 1e-300, 3653.1 * 86_400, 10**30, 10**400, 1e308, timedelta.max]
)
def test_a_period_out_of_range(period: Any) -> None:
    """A period is from 1 ms to ten years."""
    with pytest.raises(ValueError, match="a period is"):
        Quota(1, period)


@pytest.mark.parametrize("period", [nan, inf, -inf, 1.0000001, 0.1 + 0.2, 1 / 3])
def test_a_period_that_is_no_whole_number_of_microseconds(period: float) -> None:
    """A period is never rounded in silence."""
    with pytest.raises(ValueError, match="whole number of microseconds"):
        Quota(1, period)


@pytest.mark.parametrize("period", [True, False, "60", None, 1j, b"1"])
def test_a_period_of_another_type(period: Any) -> None:
    """A period is a number or a timedelta, and a bool is none."""
    with pytest.raises(TypeError, match=f"not {type(period).__name__}"):
        Quota(1, period)


def test_the_bounds_themselves_are_in_range() -> None:
    """The shortest and the longest period, and the largest limit, are accepted."""
    assert 1_000 == Quota(EXACT, 0.001).period_us
    assert LONGEST == Quota(1, 3653 * 86_400).period_us
    assert LONGEST == Quota(1, timedelta(days=3653)).period_us


class Seconds(float):
    """A float that doesn't look like one, as those of numpy."""

    def __repr__(self) -> str:
        return f"Seconds({super().__repr__()})"


class Minutes(IntEnum):
    """An int that doesn't look like one."""

    ONE = 60


def test_a_period_of_a_number_that_looks_otherwise() -> None:
    """Subclasses of int and float are taken by their value, not by their looks."""
    assert 2_500_000 == microseconds(Seconds(2.5), "a period")
    assert 60_000_000 == microseconds(Minutes.ONE, "a period")


@given(st.integers(-LONGEST, LONGEST))
def test_seconds_are_exact_microseconds(us: int) -> None:
    """Every whole number of microseconds survives as a float of seconds."""
    assert us == microseconds(us / SECOND, "a wait")
    assert us == microseconds(timedelta(microseconds=us), "a wait")


def test_whole_says_what_it_wants() -> None:
    """The message names the thing, the bound and the value."""
    assert 0 == whole(0, "a cost", 0)
    assert EXACT == whole(EXACT, "a cost", 0)
    with pytest.raises(ValueError, match="a cost is at least 0, not -3"):
        whole(-3, "a cost", 0)
    with pytest.raises(ValueError, match=f"a cost is at most {EXACT} .* got {EXACT + 1}"):
        whole(EXACT + 1, "a cost", 0)
    with pytest.raises(TypeError, match="a cost is a whole number, not bool: True"):
        whole(True, "a cost", 0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TokenBucket(Quota(999_983, 86_400), 10**9), r"TokenBucket\('999983/day', burst"),
        (lambda: LeakyBucket(Quota(7, 86_400), 10**8), r"LeakyBucket\('7/day', capacity=1000"),
        (lambda: TokenBucket(Quota(7, 86_400), max_debt=10**6), r"max_debt=1000000"),
        (lambda: SlidingWindowCounter(Quota(2**28, 1), max_debt=1), r"268435456 .* max_debt of 1 "),
        (lambda: SlidingLog(Quota(2**51, 1)), r"2251799813685248 .* at most 4503599627370495"),
        (lambda: FixedWindow(Quota(EXACT, 1)), rf"{EXACT} .* lower max_debt"),
    ],
)
def test_numbers_beyond_exact_arithmetic_are_refused(build: Any, message: str) -> None:
    """A limit that could lose a unit to rounding is refused, with its numbers and a mend."""
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: TokenBucket(Quota(1_000_000, 86_400), 10**9),
        lambda: SlidingWindowCounter(Quota(2**28, 1), max_debt=0),
        lambda: SlidingLog(Quota(2**51, 1), max_debt=0),
        lambda: FixedWindow(Quota(EXACT, 1), max_debt=0),
    ],
)
def test_numbers_within_exact_arithmetic_are_accepted(build: Any) -> None:
    """The largest limits that are exact are accepted."""
    assert build().max_cost > 1
