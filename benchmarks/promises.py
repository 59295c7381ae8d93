"""What is promised, and what was reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.beside import told

if TYPE_CHECKING:
    from collections.abc import Mapping


def at_least(bound: float, what: str, reached: Mapping[str, float]) -> list[str]:
    """Return a sentence on ratios that are to be as large as a bound; none if there are none."""
    kept = all(each >= bound for each in reached.values())
    return _sentences(f"at least {bound:.3g}", what, reached, kept=kept)


def at_most(bound: float, what: str, reached: Mapping[str, float]) -> list[str]:
    """Return a sentence on numbers that are to be as small as a bound; none if there are none."""
    kept = all(each <= bound for each in reached.values())
    return _sentences(f"at most {bound:.3g}", what, reached, kept=kept)


def _sentences(bound: str, what: str, reached: Mapping[str, float], *, kept: bool) -> list[str]:
    if not reached:
        return []
    numbers = ", ".join(f"{name} {told(each)}".strip() for name, each in reached.items())
    return [f"{what}: {numbers}; promised {bound}, {'kept' if kept else 'not kept'}."]
