"""Speed and memory as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.plots import style

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Labels, Measurement, Result


class Chart(NamedTuple):
    """One bar for each measurement that has some labels."""

    name: str
    suite: str
    metric: str
    title: str
    where: tuple[tuple[str, str | int], ...] = ()


NAMED = ("who", "algorithm", "framework", "store")
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
    ),
)


def chosen(chart: Chart, result: Result) -> list[Measurement]:
    """Return what a chart shows."""
    return result.of(chart.suite, chart.metric, **dict(chart.where))


def draw(chart: Chart, result: Result, folder: Path) -> Path:
    """Draw a chart, the best first."""
    found = chosen(chart, result)
    found.sort(key=lambda each: each.middle, reverse=found[0].better == "more")
    with style.figure(8, 0.6 + 0.24 * len(found)) as drawn:
        axes = drawn.add_subplot()
        names = [_name(each.labels) for each in found]
        values = [each.middle for each in found]
        drawn_bars = axes.barh(names, values, color=[_colour(each) for each in found], height=0.7)
        axes.bar_label(drawn_bars, [f"{value:,.0f}" for value in values], padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_title(chart.title)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        return style.save(drawn, folder / f"{chart.name}.svg")


def _name(labels: Labels) -> str:
    parts = [str(labels[name]) for name in NAMED if name in labels]
    return ", ".join(dict.fromkeys(parts))


def _colour(measurement: Measurement) -> str:
    return {"ratelimit": style.OWN, "floor": style.FLOOR}.get(
        str(measurement.labels["who"]), style.OTHER
    )
