"""What grows with what, as curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.plots import style
from benchmarks.suites.scale import AXES, series

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.results import Result


def draw(result: Result, folder: Path) -> Path:
    """Draw the cost of a decision over each of what may grow."""
    with style.figure(9.5, 6.5) as drawn:
        for place, (axis, label) in enumerate(AXES.items(), 1):
            axes = drawn.add_subplot(2, 2, place)
            _curves(axes, result, axis)
            axes.set_xlabel(label)
        return style.save(drawn, folder / "scale.svg")


def _short(size: int) -> str:
    """Return a round number in a few letters."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if size >= unit:
            return f"{size // unit}{letter}"
    return str(size)


def _curves(axes: Axes, result: Result, axis: str) -> None:
    found = series(result, axis)
    lines = zip(style.LINES * 5, style.DASHES * 5, strict=True)
    for (name, points), (colour, dashes) in zip(found.items(), lines, strict=False):
        axes.plot(
            *zip(*points, strict=True), color=colour, linestyle=dashes, marker=".", label=name
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = sorted({size for points in found.values() for size, _ in points})
    axes.set_xticks(sizes, [_short(size) for size in sizes])
    axes.minorticks_off()
    axes.set_ylabel("µs a decision")
    axes.yaxis.set_major_formatter("{x:g}")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.5), high * 20)
    axes.legend(fontsize=7, loc="upper left")
