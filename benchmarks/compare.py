"""What changed between two results, beyond the noise."""

from __future__ import annotations

from statistics import quantiles
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Measurement, Result

LEAST = 0.05
"""A change that is smaller than this is none."""


class Change(NamedTuple):
    """A measurement, before and after."""

    old: Measurement
    new: Measurement

    @property
    def ratio(self) -> float:
        """How many times the old value the new one is."""
        return self.new.middle / self.old.middle

    @property
    def verdict(self) -> str:
        """Whether that is good."""
        if self.new.better == "neither":
            return "other"
        return "better" if (self.ratio < 1) is (self.new.better == "less") else "worse"


def changes(old: Result, new: Result) -> list[Change]:
    """Return what is in both and differs, the largest change first.

    It differs if the medians are at least 5 % apart, and the middle halves of the samples don't
    overlap; of single samples only the first counts.
    """
    before = {each.case: each for each in old.measurements}
    pairs = [Change(before[each.case], each) for each in new.measurements if each.case in before]
    differing = [pair for pair in pairs if _differs(pair)]
    return sorted(differing, key=_size, reverse=True)


def table(found: Sequence[Change]) -> Table:
    """Return changes as a table."""
    drawn = Table(box=box.SIMPLE)
    for heading in ("suite", "case", "metric"):
        drawn.add_column(heading)
    for heading in ("old", "new", "new / old", ""):
        drawn.add_column(heading, justify="right")
    for change in found:
        old, new = change
        case = ", ".join(map(str, new.labels.values()))
        values = f"{old.middle:,.4g}", f"{new.middle:,.4g}", f"{change.ratio:.2f}"
        drawn.add_row(new.suite, case, f"{new.metric}, {new.unit}", *values, change.verdict)
    return drawn


def _differs(change: Change) -> bool:
    old, new = change
    if not old.middle:
        return False
    if not abs(change.ratio - 1) > LEAST:
        return False
    (old_low, old_high), (new_low, new_high) = _half(old), _half(new)
    return new_low > old_high or new_high < old_low


def _size(change: Change) -> float:
    return max(change.ratio, 1 / change.ratio) if change.ratio > 0 else float("inf")


def _half(measurement: Measurement) -> tuple[float, float]:
    """Return the quartiles."""
    samples = measurement.samples
    if len(samples) < 2:
        return samples[0], samples[0]
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return low, high
