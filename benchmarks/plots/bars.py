"""Speed and memory as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks import beside, peers
from benchmarks.plots import style

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.results import Label, Labels, Measurement, Result


class Chart(NamedTuple):
    """One bar for each measurement that has some labels."""

    name: str
    suite: str
    metric: str
    title: str
    where: tuple[tuple[str, str | int], ...] = ()
    panels: str = ""
    """The label by which bars are kept apart, as their numbers are of another size."""


NAMED = ("who", "algorithm", "framework")
"""The labels that a bar is named by."""
CHARTS = (
    Chart(
        "memory",
        "memory",
        "time",
        "ns a decision in memory: one hot key, allowed, one thread (less is better)",
        (("colour", "sync"), ("keys", 1), ("outcome", "allowed"), ("threads", 1)),
    ),
    Chart(
        "footprint",
        "footprint",
        "alive",
        "bytes a key in memory, its own text counted (less is better)",
        (),
        "keys",
    ),
    Chart(
        "redis",
        "redis",
        "rate",
        "decisions a second on one server, 64 tasks on one event loop (more is better)",
        (("by", "tasks"), ("outcome", "allowed"), ("at_once", 64)),
    ),
    Chart(
        "asgi",
        "asgi",
        "added",
        "µs added to a request that is allowed, in process (less is better)",
        (("rules", 1),),
        "store",
    ),
)


def chosen(chart: Chart, result: Result) -> list[Measurement]:
    """Return what a chart shows."""
    return result.of(chart.suite, chart.metric, **dict(chart.where))


def draw(chart: Chart, result: Result, folder: Path) -> Path:
    """Draw a chart, the best first."""
    panels: dict[Label, list[Measurement]] = {}
    for each in chosen(chart, result):
        panels.setdefault(each.labels.get(chart.panels, ""), []).append(each)
    counts = [len(found) for found in panels.values()]
    with style.figure(8, 0.5 + 0.5 * len(counts) + 0.24 * sum(counts)) as drawn:
        drawn.suptitle(chart.title, x=0.01, ha="left", size=10)
        places = drawn.subplots(len(counts), squeeze=False, height_ratios=counts)
        for axes, (value, found) in zip(places.flat, panels.items(), strict=True):
            _bars(axes, found)
            if len(counts) > 1:
                axes.set_title(beside.label(chart.panels, value))
        return style.save(drawn, folder / f"{chart.name}.svg")


def _bars(axes: Axes, found: list[Measurement]) -> None:
    found.sort(key=lambda each: each.middle, reverse=found[0].better == "more")
    names = [_name(each.labels) for each in found]
    values = [each.middle for each in found]
    drawn = axes.barh(names, values, color=[_colour(each) for each in found], height=0.7)
    axes.bar_label(drawn, [beside.told(value) for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.02)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _name(labels: Labels) -> str:
    parts = [str(labels[name]) for name in NAMED if name in labels]
    return ", ".join(dict.fromkeys(parts))


def _colour(measurement: Measurement) -> str:
    who = str(measurement.labels["who"])
    if who in peers.OTHERS:
        return style.OTHER
    return style.OWN if who.startswith(beside.OWN) else style.FLOOR
