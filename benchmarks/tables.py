"""Results as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks import suites

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from benchmarks.results import Labels, Measurement, Result
    from benchmarks.suites.base import Layout

OWN = "ratelimit"


def show(result: Result, console: Console) -> None:
    """Print the tables of all suites that were run, and what they say."""
    console.print(header(result))
    for name in result.suites:
        for layout in suites.load(name).layouts:
            chosen = result.of(name, layout.metric, **dict(layout.where))
            if chosen:
                console.print(layout.title, style="bold", highlight=False)
                console.print(table(layout, chosen))
        for remark in result.remarks.get(name, []):
            console.print(f"  {remark}", highlight=False)
    for absence in result.absences:
        case = ", ".join(map(str, absence.labels.values()))
        console.print(f"left out: {absence.suite}: {case}: {absence.reason}", markup=False)


def header(result: Result) -> str:
    """Return where and with what it was measured."""
    machine = ", ".join(f"{each}" for each in result.machine.values() if each)
    packages = {
        f"{package} {version}"
        for found in result.versions.values()
        for package, version in found.items()
    }
    return f"{machine}\n{', '.join(sorted(packages))}"


def table(layout: Layout, measurements: Iterable[Measurement]) -> Table:
    """Return one metric by labels: a row for each of some, a column for each of others."""
    drawn = Table(box=box.SIMPLE)
    by_row: dict[tuple[str, ...], dict[tuple[str, ...], Measurement]] = {}
    columns: dict[tuple[str, ...], None] = {}
    for each in measurements:
        row, column = _values(each.labels, layout.rows), _values(each.labels, layout.columns)
        by_row.setdefault(row, {})[column] = each
        columns[column] = None
    for name in layout.rows:
        drawn.add_column(name)
    for column in columns:
        drawn.add_column("\n".join(column), justify="right")
    for row, cells in by_row.items():
        style = "bold" if row[0] == OWN else ""
        drawn.add_row(*row, *_cells(columns, cells, layout.digits), style=style)
    return drawn


def _cells(
    columns: Iterable[tuple[str, ...]],
    cells: dict[tuple[str, ...], Measurement],
    digits: int,
) -> Iterator[Text]:
    for column in columns:
        each = cells.get(column)
        yield Text("") if each is None else _cell(each, digits)


def _cell(measurement: Measurement, digits: int) -> Text:
    """Return the median, and the spread where there is one."""
    text = Text(f"{measurement.middle:,.{digits}f}")
    if len(measurement.samples) > 1:
        text.append(f" ±{measurement.spread:.0%}", "dim")
    return text


def _values(labels: Labels, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(_told(name, labels[name]) for name in names)


def _told(name: str, value: str | int) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,} {name}" if name in {"keys", "threads", "limit", "rules"} else f"{value:,}"
