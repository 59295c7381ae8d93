"""Ours beside the others: who does better, by how much, and why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.peers.base import BUCKET, GCRA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.results import Label, Labels, Measurement, Result

OWN = "ratelimit"
COUNTED = ("key", "thread", "rule")
"""What a label of that name, in the plural, counts."""


def algorithm_of(measurement: Measurement) -> Label:
    """Return what it is to be compared with: GCRA is the token bucket, by another name."""
    algorithm = measurement.labels.get("algorithm", "")
    return BUCKET if algorithm == GCRA else algorithm


def ours(result: Result, suite: str, metric: str, /, **labels: Label) -> list[Measurement]:
    """Return what was measured of us."""
    return result.of(suite, metric, who=OWN, **labels)


def theirs(result: Result, suite: str, metric: str, /, **labels: Label) -> list[Measurement]:
    """Return what was measured of the others."""
    found = result.of(suite, metric, **labels)
    return [each for each in found if each.labels["who"] in peers.OTHERS]


def best(measurements: Iterable[Measurement]) -> Measurement:
    """Return the one with the best median."""
    found = list(measurements)
    choose = max if found[0].better == "more" else min
    return choose(found, key=lambda each: each.middle)


def rival(own: Measurement, others: Sequence[Measurement]) -> Measurement:
    """Return the best of those with the same algorithm, or of all if nobody else has it."""
    same = [each for each in others if algorithm_of(each) == algorithm_of(own)]
    return best(same or others)


def times_better(own: Measurement, other: Measurement) -> float:
    """Return how many times better we are; below 1 the other one is."""
    above, below = own.middle, other.middle
    if own.better == "less":
        above, below = below, above
    return above / below if below else float("inf")


def lead_over_us(other: Measurement, measurements: Iterable[Measurement]) -> Measurement | None:
    """Return what we took in the same case, if another library did better there, as told."""
    if other.labels["who"] not in peers.OTHERS or other.better == "neither":
        return None
    for own in measurements:
        if own.labels["who"] == OWN and same_case(own, other):
            ahead = times_better(own, other) < 1 and told(own.middle) != told(other.middle)
            return own if ahead else None
    return None


def leads(result: Result, suite: str) -> list[str]:
    """Return a sentence for each library that does better than we do somewhere, with the reason."""
    found: dict[str, list[tuple[Measurement, Measurement]]] = {}
    for other in result.of(suite):
        own = lead_over_us(other, result.of(suite, other.metric))
        if own is not None:
            found.setdefault(str(other.labels["who"]), []).append((own, other))
    return [_lead(who, pairs) for who, pairs in found.items()]


def _lead(who: str, pairs: list[tuple[Measurement, Measurement]]) -> str:
    own, other = min(pairs, key=lambda pair: times_better(*pair))
    case = ", ".join(label(name, value) for name, value in other.labels.items() if name != "who")
    counts = Counter(other.metric for _, other in pairs)
    metrics = ", ".join(f"{metric} {count}" for metric, count in counts.items())
    peer = peers.load(who)
    reason = peer.lighter_in.get(own.suite, peer.lighter)
    return (
        f"* {who} does better than we do in {len(pairs)} of the numbers ({metrics}), most of all: "
        f"{own.metric}, {case}, {told(other.middle)} beside {told(own.middle)} {own.unit}."
        f"{f' {reason}' if reason else ''}"
    )


def same_case(one: Measurement, another: Measurement) -> bool:
    """Return whether all labels are the same but who."""
    return _case(one) == _case(another)


def _case(measurement: Measurement) -> Labels:
    labels = {**measurement.labels, "algorithm": algorithm_of(measurement)}
    del labels["who"]
    return labels


def label(name: str, value: Label) -> str:
    """Return the value of a label, with what it counts."""
    if isinstance(value, str):
        return value
    singular = name.removesuffix("s")
    if singular not in COUNTED:
        return f"{value:,}"
    return f"{value:,} {singular if value == 1 else name}"


def told(value: float) -> str:
    """Return a number in about three digits."""
    size = abs(value)
    if size >= 100 or not size:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.01 else f"{value:.1g}"
