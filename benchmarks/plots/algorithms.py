"""The five algorithms under the same traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.plots import style

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from ratelimit import Algorithm

LIMIT = 10
SECOND = 1_000_000
START = 1_790_000_000 * SECOND
STEP = SECOND // 50
WINDOWS = 4


def traffic() -> list[int]:
    """Return when hits come: a burst across a boundary, a pause, and twice the rate."""
    burst = [round((0.85 + number * 0.012) * SECOND) for number in range(25)]
    steady = [round((2.0 + number * 0.05) * SECOND) for number in range(36)]
    return burst + steady


def played(algorithm: Algorithm) -> tuple[list[tuple[float, bool, float]], list[tuple[float, int]]]:
    """Return each hit's moment, outcome and delay; and what is used up at each step of time."""
    from ratelimit import Limiter, MemoryStore

    now = START
    limiter = Limiter(algorithm, store=MemoryStore(clock=lambda: now))
    hits, levels, coming = [], [(0.0, 0)], traffic()
    for moment in range(0, WINDOWS * SECOND, STEP):
        while coming and coming[0] < moment + STEP:
            now = START + coming[0]
            decision = limiter.hit("key")
            hits.append((coming.pop(0) / SECOND, decision.allowed, decision.delay))
        now = START + moment + STEP
        left = limiter.peek("key").remaining
        levels.append(((moment + STEP) / SECOND, algorithm.max_cost - left))
    return hits, levels


def draw(folder: Path) -> Path:
    """Draw what each admits, and beneath it what it counts."""
    from ratelimit import (
        FixedWindow,
        LeakyBucket,
        SlidingLog,
        SlidingWindowCounter,
        TokenBucket,
    )

    quota = f"{LIMIT}/second"
    chosen = {
        "FixedWindow: hits in this window": FixedWindow(quota),
        "SlidingLog: hits of the last second": SlidingLog(quota),
        "SlidingWindowCounter: this window, and the one before as it fades": SlidingWindowCounter(
            quota
        ),
        "TokenBucket: tokens that are out": TokenBucket(quota),
        "LeakyBucket: places taken in the queue; hits leave where the rings are": LeakyBucket(
            quota, capacity=LIMIT - 1
        ),
    }
    with style.figure(8, 8.5) as drawn:
        for place, (title, algorithm) in enumerate(chosen.items(), 1):
            axes = drawn.add_subplot(len(chosen), 1, place)
            _panel(axes, algorithm)
            axes.set_title(title)
        axes.set_xlabel(f"seconds; a limit of {LIMIT} a second; | allowed, x denied")
        return style.save(drawn, folder / "algorithms.svg")


def _panel(axes: Axes, algorithm: Algorithm) -> None:
    hits, levels = played(algorithm)
    above = LIMIT * 1.25
    moments, used = [at for at, _ in levels], [level for _, level in levels]
    axes.fill_between(moments, used, step="post", color=style.OWN, alpha=0.35, lw=0)
    axes.plot([0, WINDOWS], [LIMIT, LIMIT], color=style.INK, lw=0.8, ls=":")
    _marks(axes, [at for at, allowed, _ in hits if not allowed], above, "x", style.TOO_MUCH)
    allowed = [(at, delay) for at, allowed, delay in hits if allowed]
    _marks(axes, [at for at, _ in allowed], above * 1.15, "|", style.OWN)
    if any(delay for _, delay in allowed):
        leaving = [at + delay for at, delay in allowed]
        axes.plot(leaving, [above * 1.32] * len(leaving), "o", color=style.OWN, ms=3.5, mfc="none")
    axes.set_xlim(0, WINDOWS)
    axes.set_ylim(0, above * 1.45)
    axes.set_yticks([0, LIMIT])
    axes.set_xticks(range(WINDOWS + 1))
    axes.grid(axis="x", color=style.INK, lw=0.4, alpha=0.5)


def _marks(axes: Axes, moments: list[float], height: float, marker: str, colour: str) -> None:
    axes.plot(moments, [height] * len(moments), marker, color=colour, ms=5, mew=1)
