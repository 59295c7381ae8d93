"""How pictures look: on white paper and on a dark screen alike."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.figure import Figure

INK = "#6b7079"
"""Grey that can be read on white, and on black where nobody knows that it is black."""
LIGHT_INK = "#b4bac2"
"""What becomes of it on a screen that is said to be dark."""
DARK = f"""<style>@media (prefers-color-scheme: dark) {{
[style*="fill: {INK}"] {{ fill: {LIGHT_INK} !important }}
[style*="stroke: {INK}"] {{ stroke: {LIGHT_INK} !important }}
}}</style>
"""
OWN = "#2f81c7"
OTHER = "#a8adb5"
FLOOR = "#d9a13b"
TOO_MUCH = "#c8553d"
LINES = (OWN, TOO_MUCH, "#5d9b6b", FLOOR, "#8c6bb1", OTHER)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))

_SETTINGS: Any = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "none",
    "font.size": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "exact-ratelimit",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """Give a figure without background."""
    with mpl.rc_context(_SETTINGS):
        drawn = plt.figure(figsize=(width, height), layout="constrained")
        try:
            yield drawn
        finally:
            plt.close(drawn)


def save(drawn: Figure, path: Path) -> Path:
    """Write a figure as SVG, the same each time that the numbers are the same."""
    drawn.savefig(path, format="svg", metadata={"Date": None})
    text = path.read_text(encoding="utf-8").replace(" <defs>\n", f"{DARK} <defs>\n", 1)
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
    return path
