"""Accuracy as a map: too much, too little, or right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from benchmarks import traffic
from benchmarks.plots import style

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.results import Result

PLACES = {"memory": "in memory, in virtual time", "redis": "on a server, in real time"}
MOST_COLUMNS = len(traffic.VIRTUAL)
MOST = 50
"""The % at which colours end."""
COLOURS = LinearSegmentedColormap.from_list("wrong", [style.OWN, "#e9eaec", style.TOO_MUCH])


def draw(result: Result, folder: Path) -> Path:
    """Draw by how much each limiter admits too much or too little of each shape of traffic."""
    stores = dict.fromkeys(str(each.labels["store"]) for each in result.of("accuracy", "over"))
    panels = {store: _surpluses(result, store) for store in stores}
    counts = [len({row for row, _ in surpluses}) for surpluses in panels.values()]
    with style.figure(8, 0.6 + 0.6 * len(counts) + 0.24 * sum(counts)) as drawn:
        drawn.suptitle(
            "% of units admitted too much (red, +) or too little (blue, -)",
            x=0.01,
            ha="left",
            size=10,
        )
        places = drawn.subplots(len(counts), squeeze=False, height_ratios=counts)
        for axes, (store, surpluses) in zip(places.flat, panels.items(), strict=True):
            _map(axes, surpluses)
            axes.set_title(PLACES[store], loc="right")
        return style.save(drawn, folder / "accuracy.svg")


def _map(axes: Axes, surpluses: dict[tuple[str, str], float]) -> None:
    rows = list(dict.fromkeys(row for row, _ in surpluses))
    columns = list(dict.fromkeys(column for _, column in surpluses))
    for (row, column), surplus in surpluses.items():
        _cell(axes, columns.index(column), rows.index(row), surplus)
    axes.set_xlim(-0.5, MOST_COLUMNS - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), columns)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _surpluses(result: Result, store: str) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for metric, sign in (("over", 1), ("under", -1)):
        for each in result.of("accuracy", metric, store=store):
            row = f"{each.labels['who']}, {each.labels['algorithm']}"
            cell = row, str(each.labels["shape"])
            found[cell] = found.get(cell, 0) + sign * each.middle
    return found


def _cell(axes: Axes, x: int, y: int, surplus: float) -> None:
    share = 0.5 + max(-MOST, min(MOST, surplus)) / MOST / 2
    axes.add_patch(
        Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=COLOURS(share), edgecolor="none")
    )
    text = "0" if not surplus else f"{surplus:+.1f}"
    axes.text(x, y, text, ha="center", va="center", color="#22262b", fontsize=8)
