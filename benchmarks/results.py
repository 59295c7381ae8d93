"""What was measured, as it is kept."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1
_NUMBERS = re.compile(r"\[\s*([-\d.e+]+(?:,\s*[-\d.e+]+)*)\s*\]")

Label = str | int
Labels = dict[str, Label]
"""What tells a case from the others of its suite; `who` is always there."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric of one case."""

    suite: str
    labels: Labels
    metric: str
    unit: str
    better: str
    """`less`, `more`, or `neither`."""
    samples: list[float]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.samples)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        if len(self.samples) < 2 or not self.middle:
            return 0.0
        low, _, high = quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / 2 / abs(self.middle)

    @property
    def case(self) -> tuple[str, str, tuple[tuple[str, str | int], ...]]:
        """What it is the same measurement by, in another run."""
        return self.suite, self.metric, tuple(sorted(self.labels.items()))


@dataclass(frozen=True, slots=True)
class Absence:
    """A case that could not be measured, and why."""

    suite: str
    labels: Labels
    reason: str


@dataclass(slots=True)
class Result:
    """A run: where, with what, and all samples."""

    machine: dict[str, str | int]
    versions: dict[str, dict[str, str]]
    """The versions of packages, by who uses them."""
    options: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    """What the numbers of a suite say, in sentences."""
    took: dict[str, float] = field(default_factory=dict)
    """How long each suite took, and the peers' installation, in seconds."""

    def of(
        self, suite: str, metric: str | None = None, /, **labels: str | int
    ) -> list[Measurement]:
        """Return the measurements of a suite that have these labels."""
        return [
            each
            for each in self.measurements
            if each.suite == suite
            and metric in {None, each.metric}
            and labels.items() <= each.labels.items()
        ]

    @property
    def suites(self) -> list[str]:
        """The suites that were run, in their order."""
        return list(dict.fromkeys(each.suite for each in self.measurements))

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, ensure_ascii=False)
        path.write_text(f"{_on_one_line(text)}\n", encoding="utf-8")


def _on_one_line(text: str) -> str:
    """Write lists of numbers on one line, so that a difference can be read."""
    return _NUMBERS.sub(lambda found: f"[{', '.join(found[1].replace(',', ' ').split())}]", text)


def load(path: Path) -> Result:
    """Read a result.

    Raises:
        ValueError: It is none, or of another schema.

    """
    kept = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(kept, dict) or kept.pop("schema", None) != SCHEMA:
        raise ValueError(f"{path} holds no result of schema {SCHEMA}")
    measurements = [Measurement(**each) for each in kept.pop("measurements")]
    absences = [Absence(**each) for each in kept.pop("absences")]
    return Result(**kept, measurements=measurements, absences=absences)
