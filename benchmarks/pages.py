"""What pages say of the committed result: the README's numbers, and what each suite has found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import peers, suites
from benchmarks.results import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.results import Labels, Measurement, Result

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "benchmarks" / "results" / "full.json"
START, END = "<!-- measured -->\n", "<!-- end of what was measured -->\n"
NOTHING = "No run is published yet: `make bench` measures on your machine.\n"


class Column(NamedTuple):
    """One number of ours, and the best of the others'."""

    title: str
    suite: str
    metric: str
    where: Labels
    form: str


COLUMNS = (
    Column(
        "a decision in memory",
        "memory",
        "time",
        {"colour": "sync", "keys": 1, "outcome": "allowed", "threads": 1},
        "{:,.0f} ns",
    ),
    Column("a key in memory", "footprint", "alive", {}, "{:,.0f} bytes"),
    Column(
        "on a server, 64 tasks",
        "redis",
        "rate",
        {"by": "tasks", "at_once": 64, "outcome": "allowed"},
        "{:,.0f}/s",
    ),
    Column(
        "added to a request, by a fixed window",
        "asgi",
        "added",
        {"store": "memory", "rules": 1},
        "{:,.1f} µs",
    ),
)


def numbers(result: Result) -> str:
    """Return the table: the token bucket beside the best of the others, whatever they do."""
    machine = result.machine
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['python']}"
    server = result.versions.get("server", {}).get("server", "")
    rows = [
        ["", *(column.title for column in COLUMNS)],
        ["---"] * (len(COLUMNS) + 1),
        ["exact-ratelimit, `TokenBucket`", *(_own(result, column) for column in COLUMNS)],
        ["the best of the others", *(_best(result, column) for column in COLUMNS)],
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"Measured on {', '.join(filter(None, (where, server)))}:\n\n{table}\n"


def findings(result: Result) -> str:
    """Return each suite's picture, and what it says in sentences."""
    sections = []
    for name in result.suites:
        remarks = "\n".join(f"- {remark.removeprefix('* ')}" for remark in result.remarks[name])
        picture = f"![{suites.load(name).__doc__}](../images/{name}.svg)"
        sections.append(f"### {name}\n\n{picture}\n\n{remarks}\n")
    return "\n".join(sections)


PAGES: dict[Path, Callable[[Result], str]] = {
    ROOT / "README.md": numbers,
    ROOT / "docs" / "explanation" / "benchmarks.md": findings,
}
"""What is told of a result, between the marks of each page."""


def expected(text: str, tell: Callable[[Result], str], committed: Path = COMMITTED) -> str:
    """Return what a page should be: with what the result says, or that there is none yet."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    filling = tell(load(committed)) if committed.exists() else NOTHING
    return f"{before}{START}{filling}{END}{after}"


def write() -> None:
    """Write into all pages what the committed result says."""
    for page, tell in PAGES.items():
        page.write_text(expected(page.read_text(encoding="utf-8"), tell), encoding="utf-8")


def _chosen(result: Result, column: Column) -> list[Measurement]:
    return result.of(column.suite, column.metric, **column.where)


def _own(result: Result, column: Column) -> str:
    own = [
        each
        for each in _chosen(result, column)
        if each.labels["who"] == "ratelimit"
        and each.labels.get("algorithm", "token bucket") == "token bucket"
    ]
    return f"**{column.form.format(own[0].middle)}**" if own else "not measured"


def _best(result: Result, column: Column) -> str:
    others = [each for each in _chosen(result, column) if each.labels["who"] in peers.OTHERS]
    if not others:
        return "not measured"
    choose = max if others[0].better == "more" else min
    best = choose(others, key=lambda each: each.middle)
    algorithm = best.labels.get("algorithm")
    what = f"{best.labels['who']}, {algorithm}" if algorithm else str(best.labels["who"])
    return f"{column.form.format(best.middle)} ({what})"
