"""Results as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.plots import algorithms, bars, curves, heat

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Result


def draw_all(result: Result, folder: Path) -> list[Path]:
    """Draw what a result has numbers for, and the five algorithms; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        *(bars.draw(chart, result, folder) for chart in bars.CHARTS if bars.chosen(chart, result)),
        *([heat.draw(result, folder)] if result.of("accuracy") else []),
        *([curves.draw(result, folder)] if result.of("scale") else []),
        algorithms.draw(folder),
    ]
