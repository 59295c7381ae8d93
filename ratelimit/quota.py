"""How much, per how long."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Self

EXACT = 2**53 - 1
"""The largest whole number that every store computes with exactly (a Lua number is a double)."""

_MICROSECOND = timedelta(microseconds=1)
_SHORTEST = 1_000
LONGEST = timedelta(days=3653) // _MICROSECOND
"""The longest period, in microseconds: ten years."""

_UNITS = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 1_000),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1_000_000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000_000),
    **dict.fromkeys(("h", "hour", "hours"), 3_600_000_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000_000),
    **dict.fromkeys(("w", "week", "weeks"), 604_800_000_000),
}
_TEXT = re.compile(r"([0-9]{1,16})(?: ?/ ?| per )(?:([0-9]{1,16}) ?)?([a-z]+)", re.ASCII)
_SEVERAL = re.compile(r"[,;|&\n]| and ")


def whole(value: object, what: str, least: int) -> int:
    """Check that a number a caller gave is a whole one, at least `least` and exact everywhere.

    Raises:
        TypeError: It is no `int` (a `bool` is none).
        ValueError: It is smaller than `least` or larger than 2**53 - 1.

    """
    if type(value) is not int:
        raise TypeError(f"{what} is a whole number, not {type(value).__name__}: {value!r}")
    if value < least:
        raise ValueError(f"{what} is at least {least}, not {value}")
    if value > EXACT:
        raise ValueError(f"{what} is at most {EXACT} (2**53 - 1), to stay exact: got {value}")
    return value


def microseconds(duration: float | timedelta, what: str) -> int:
    """Turn seconds, or a `timedelta`, into whole microseconds.

    Raises:
        TypeError: It is neither a number nor a `timedelta`.
        ValueError: It is infinite, NaN, or has a fraction of a microsecond.

    """
    if isinstance(duration, timedelta):
        return duration // _MICROSECOND
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        raise TypeError(
            f"{what} is seconds or a timedelta, not {type(duration).__name__}: {duration!r}"
        )
    number = int(duration) if isinstance(duration, int) else float.__repr__(duration)
    exact = Decimal(number) * 1_000_000
    if not exact.is_finite() or exact != exact.to_integral_value():
        raise ValueError(f"{what} is a whole number of microseconds, not {duration!r} seconds")
    return int(exact)


@dataclass(frozen=True, slots=True, init=False)
class Quota:
    """So many units in every period.

    Args:
        limit: How many units; at least 1.
        period: How long, in seconds or as a `timedelta`; from 1 ms to 10 years, and a whole
            number of microseconds.

    Raises:
        TypeError: `limit` is no `int`, or `period` neither a number nor a `timedelta`.
        ValueError: One of them is out of range.

    """

    limit: int
    period_us: int
    """The period in microseconds."""

    def __init__(self, limit: int, period: float | timedelta) -> None:
        period_us = microseconds(period, "a period")
        if not _SHORTEST <= period_us <= LONGEST:
            raise ValueError(f"a period is from 1 ms to 10 years (3653 days), not {period}")
        object.__setattr__(self, "limit", whole(limit, "a limit", 1))
        object.__setattr__(self, "period_us", period_us)

    @property
    def period(self) -> float:
        """The period in seconds."""
        return self.period_us / 1_000_000

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a quota such as `"100/minute"`, `"5 per 10 seconds"` or `"1000/2h"`.

        The units are ms, s, m, h, d and w, their names, and those in the plural. A month and a
        year have no fixed length and are refused.

        Raises:
            TypeError: `text` is no `str`.
            ValueError: `text` is not one quota, or the quota is out of range.

        """
        if not isinstance(text, str):
            raise TypeError(f"a quota is a Quota or a text, not {type(text).__name__}: {text!r}")
        match = _TEXT.fullmatch(text)
        if match is None:
            several = _SEVERAL.search(text)
            mend = (
                "that looks like several: give a mapping of names to algorithms, one quota each"
                if several
                else "write it as '100/minute', '5 per 10 seconds' or '1000/2h'"
            )
            raise ValueError(f"not a quota: {text[:80]!r}; {mend}")
        limit, count, unit = match.groups()
        if unit not in _UNITS:
            raise ValueError(
                f"unknown unit {unit!r} in {text!r}; the units are {', '.join(_UNITS)}"
            )
        period_us = int(count or 1) * _UNITS[unit]
        return cls(int(limit), min(period_us, 2 * LONGEST) * _MICROSECOND)

    @classmethod
    def of(cls, quota: Quota | str) -> Quota:
        """Return `quota` itself, or what its text says."""
        return quota if isinstance(quota, Quota) else cls.parse(quota)

    def __str__(self) -> str:
        """Say it as `parse` reads it, if the period is one of whole milliseconds."""
        for unit in ("week", "day", "hour", "minute", "second", "ms"):
            count, rest = divmod(self.period_us, _UNITS[unit])
            if not rest:
                plural = unit if unit == "ms" else f"{unit}s"
                return f"{self.limit}/{unit}" if count == 1 else f"{self.limit}/{count} {plural}"
        return f"{self.limit} in {self.period} s"

    def __repr__(self) -> str:
        """Say it as Python reads it."""
        return f"Quota({self.limit}, {self.period:.15g})"


def per(period: float | timedelta, limit: int) -> Quota:
    """Allow `limit` units in every `period` (seconds or a `timedelta`)."""
    return Quota(limit, period)


def per_second(limit: int) -> Quota:
    """Allow `limit` units a second."""
    return Quota(limit, 1)


def per_minute(limit: int) -> Quota:
    """Allow `limit` units a minute."""
    return Quota(limit, 60)


def per_hour(limit: int) -> Quota:
    """Allow `limit` units an hour."""
    return Quota(limit, 3_600)


def per_day(limit: int) -> Quota:
    """Allow `limit` units a day."""
    return Quota(limit, 86_400)
