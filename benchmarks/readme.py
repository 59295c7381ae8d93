"""The README's numbers, read from the committed result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import peers
from benchmarks.results import load

if TYPE_CHECKING:
    from benchmarks.results import Labels, Measurement, Result

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
COMMITTED = ROOT / "benchmarks" / "results" / "full.json"
START, END = "<!-- numbers -->\n", "<!-- end of numbers -->\n"


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
    Column("added to a request", "asgi", "added", {"store": "memory"}, "{:,.0f} µs"),
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


def expected(text: str, committed: Path = COMMITTED) -> str:
    """Return what a README should be: with the numbers of the result, or none without one."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    filling = numbers(load(committed)) if committed.exists() else ""
    return f"{before}{START}{filling}{END}{after}"


def write() -> None:
    """Write the numbers into the README."""
    README.write_text(expected(README.read_text(encoding="utf-8")), encoding="utf-8")


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
