"""What a suite is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from benchmarks import peers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.results import Labels, Result


class Metric(NamedTuple):
    """What a number means."""

    unit: str
    better: str
    """`less`, `more`, or `neither`."""


class Layout(NamedTuple):
    """A table: one metric, a row for each who, in groups."""

    title: str
    metric: str
    groups: tuple[str, ...]
    """The labels by which rows are put together."""
    columns: tuple[str, ...]
    where: tuple[tuple[str, str | int], ...] = ()
    """The labels that a measurement has to have."""


class Suite(ABC):
    """Cases, and how one is measured."""

    name: ClassVar[str]
    metrics: ClassVar[Mapping[str, Metric]]
    layouts: ClassVar[Sequence[Layout]]
    rounds: ClassVar[Mapping[str, int]] = {"tiny": 1, "quick": 5, "full": 11}
    """How often each case is measured, by size; the rounds of all cases are interleaved."""
    fresh: ClassVar[bool] = False
    """Whether each sample needs a process of its own."""
    patience: ClassVar[float] = 60
    """How many seconds a case may take before it is left out."""
    server: ClassVar[bool] = False
    """Whether it needs a Redis or Valkey."""

    @abstractmethod
    def cases(self, size: str, who: Sequence[str]) -> list[Labels]:
        """Return what is to be measured, of those who take part."""

    @abstractmethod
    def sample(self, labels: Labels, size: str, url: str) -> dict[str, float]:
        """Measure a case once, in a process of its peer; checked and warmed up at its first."""

    def remarks(self, result: Result) -> list[str]:
        """Say in sentences what the numbers say."""
        return []


def offered(surface: str, who: Sequence[str]) -> list[Labels]:
    """Return each algorithm that somebody offers on a surface."""
    return [
        {"who": name, "algorithm": algorithm}
        for name in who
        for algorithm in peers.load(name).offers.get(surface, ())
    ]
