"""Results as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmarks import beside, suites

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from benchmarks.results import Absence, Label, Labels, Measurement, Result
    from benchmarks.suites.base import Layout

WIDTH = 100
"""The columns of a terminal that all tables fit into."""


def show(result: Result, console: Console) -> None:
    """Print the tables of all suites that were run, and what they say."""
    console.print(header(result), highlight=False)
    for name in result.suites:
        for layout in suites.load(name).layouts:
            chosen = result.of(name, layout.metric, **dict(layout.where))
            if chosen:
                console.print(layout.title, style="bold", highlight=False)
                console.print(table(layout, chosen))
        for remark in result.remarks.get(name, []):
            console.print(Padding(Text(remark), (0, 0, 0, 2)))
        console.print()
    for line in left_out(result.absences):
        console.print(line, markup=False, highlight=False)
    shares = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.took.items())
    console.print(f"took {sum(result.took.values()):.0f} s: {shares}", highlight=False)


def header(result: Result) -> str:
    """Return where and with what it was measured."""
    machine = ", ".join(f"{name} {each}" for name, each in result.machine.items() if each)
    packages = {
        f"{package} {version}"
        for found in result.versions.values()
        for package, version in found.items()
    }
    return f"{machine}\n{', '.join(sorted(packages))}\n"


def left_out(absences: Iterable[Absence]) -> list[str]:
    """Return a line for each reason that something was left out, by who."""
    cases: dict[tuple[str, Label, str], list[str]] = {}
    for each in absences:
        case = ", ".join(
            beside.label(name, value) for name, value in each.labels.items() if name != "who"
        )
        cases.setdefault((each.suite, each.labels["who"], each.reason), []).append(case)
    return [
        f"left out of {suite}: {who}: {'; '.join(filter(None, found)) or 'everything'}: {reason}"
        for (suite, who, reason), found in cases.items()
    ]


def table(layout: Layout, measurements: Sequence[Measurement]) -> Table:
    """Return one metric: a group of rows for each value of some labels, in it a row for each who.

    A star is at what is better than ours in the same case.
    """
    drawn = Table(box=box.SIMPLE, padding=(0, 1), collapse_padding=True)
    drawn.add_column("", no_wrap=True)
    columns = list(dict.fromkeys(_values(each.labels, layout.columns) for each in measurements))
    for column in columns:
        drawn.add_column("\n".join(column), justify="right", no_wrap=True)
    for group, rows in _grouped(layout, measurements).items():
        if group:
            drawn.add_row(Text(", ".join(group), "italic"))
        for who, cells in rows.items():
            style = "bold" if who == beside.OWN else ""
            name = f"  {who}" if group else who
            drawn.add_row(name, *_cells(columns, cells, measurements), style=style)
    return drawn


def _grouped(
    layout: Layout, measurements: Iterable[Measurement]
) -> dict[tuple[str, ...], dict[str, dict[tuple[str, ...], Measurement]]]:
    found: dict[tuple[str, ...], dict[str, dict[tuple[str, ...], Measurement]]] = {}
    for each in measurements:
        rows = found.setdefault(_values(each.labels, layout.groups), {})
        cells = rows.setdefault(str(each.labels["who"]), {})
        cells[_values(each.labels, layout.columns)] = each
    return found


def _cells(
    columns: Iterable[tuple[str, ...]],
    cells: dict[tuple[str, ...], Measurement],
    measurements: Sequence[Measurement],
) -> Iterator[Text]:
    for column in columns:
        each = cells.get(column)
        yield Text("") if each is None else _cell(each, measurements)


def _cell(measurement: Measurement, measurements: Sequence[Measurement]) -> Text:
    """Return the median, and the spread where there is one."""
    ahead = beside.lead_over_us(measurement, measurements) is not None
    text = Text(f"{'*' if ahead else ''}{beside.told(measurement.middle)}")
    if len(measurement.samples) > 1:
        text.append(f" ±{measurement.spread:.0%}", "dim")
    return text


def _values(labels: Labels, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(beside.label(name, labels[name]) for name in names)
