"""Accuracy as a map: too much, too little, or right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from benchmarks.plots import style

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.results import Result

MOST = 50
"""The % at which colours end."""
COLOURS = LinearSegmentedColormap.from_list("wrong", [style.OWN, "#e9eaec", style.TOO_MUCH])


def draw(result: Result, folder: Path) -> Path:
    """Draw by how much each limiter admits too much or too little of each shape of traffic."""
    surpluses = _surpluses(result)
    rows = list(dict.fromkeys(row for row, _ in surpluses))
    columns = list(dict.fromkeys(column for _, column in surpluses))
    with style.figure(8, 1.2 + 0.26 * len(rows)) as drawn:
        axes = drawn.add_subplot()
        for (row, column), surplus in surpluses.items():
            _cell(axes, columns.index(column), rows.index(row), surplus)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="left")
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        drawn.suptitle("% admitted too much (red, +) or too little (blue, -)", x=0.01, ha="left")
        return style.save(drawn, folder / "accuracy.svg")


def _surpluses(result: Result) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for each in result.of("accuracy"):
        if each.metric in {"over", "under"}:
            row = ", ".join(str(each.labels[name]) for name in ("who", "algorithm", "store"))
            cell = row, str(each.labels["shape"])
            sign = 1 if each.metric == "over" else -1
            found[cell] = found.get(cell, 0) + sign * each.middle
    return found


def _cell(axes: Axes, x: int, y: int, surplus: float) -> None:
    share = 0.5 + max(-MOST, min(MOST, surplus)) / MOST / 2
    axes.add_patch(
        Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=COLOURS(share), edgecolor="none")
    )
    text = "0" if not surplus else f"{surplus:+.1f}"
    axes.text(x, y, text, ha="center", va="center", color="#22262b", fontsize=8)
