"""Measure, show, keep, draw and compare."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import compare, pages, suites, tables
from benchmarks.results import load
from benchmarks.running import Options, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Result


def main(arguments: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Run the command line, and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    console = console or _console()
    if given[:1] == ["compare"]:
        return _compare(given[1:], console)
    if given == ["pages"]:
        pages.write()
        return 0
    options = _parser().parse_args(given)
    result = _measured(options, console)
    tables.show(result, console)
    if options.json:
        result.save(options.json)
    if options.plots:
        from benchmarks import plots

        plots.draw_all(result, options.plots)
    return 0 if result.measurements else 1


def _console() -> Console:
    """Return what is printed on: a file has the width of the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=tables.WIDTH)


def _measured(options: argparse.Namespace, console: Console) -> Result:
    wanted = Options(
        suites=tuple(options.suites or suites.NAMES),
        size=options.size,
        peers=options.peers,
        only=options.only,
    )
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=None)

        def tell(done: int, count: int, what: str) -> None:
            progress.update(task, completed=done, total=count, description=what)

        return run(wanted, tell)


def _compare(arguments: Sequence[str], console: Console) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare", description="Say what changed beyond the noise."
    )
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    given = parser.parse_args(arguments)
    changes = compare.changes(load(given.old), load(given.new))
    console.print(compare.table(changes) if changes else "Nothing changed beyond the noise.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what a decision costs and how right it is.",
        epilog="`python -m benchmarks compare OLD.json NEW.json` says what changed; `python -m "
        "benchmarks pages` writes what benchmarks/results/full.json says into README and docs.",
    )
    parser.add_argument(
        "suites", nargs="*", metavar="suite", help=f"{', '.join(suites.NAMES)}; all by default"
    )
    parser.add_argument("--peers", action="store_true", help="beside the other libraries")
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="only cases whose name has this in it"
    )
    parser.add_argument("--quick", dest="size", action="store_const", const="quick", default="full")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the result there")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the pictures there")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # end servers too
    sys.exit(main())
