"""Run suites: all cases in turn, round after round."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatch
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Any

from benchmarks import environments, machine, peers, servers, suites
from benchmarks.results import Absence, Measurement, Result
from benchmarks.workers import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.results import Labels
    from benchmarks.suites.base import Suite
    from benchmarks.workers import Workers


@dataclass(frozen=True, slots=True)
class Options:
    """What to run."""

    suites: tuple[str, ...] = suites.NAMES
    size: str = "full"
    """`tiny`, `quick` or `full`."""
    peers: bool = False
    """Whether the others take part."""
    only: str = "*"
    """A pattern that what a case is called has to match."""


def _ignore(_done: int, _all: int, _what: str) -> None:
    """Tell nobody."""


def run(options: Options, tell: Callable[[int, int, str], None] = _ignore) -> Result:
    """Run some suites.

    Args:
        options: What to run.
        tell: Is told how many samples there are, of how many, and what comes next.

    """
    start = time.monotonic()
    result = Result(
        machine.describe(),
        {},
        {"suites": options.suites, "size": options.size, "peers": options.peers},
    )
    who = [*peers.OWN, *(_installed(result) if options.peers else ())]
    result.took["installation"] = round(time.monotonic() - start, 1)
    plan = [(suites.load(name), _cases(name, options, who)) for name in options.suites]
    steps = _Steps(sum(len(cases) * suite.rounds[options.size] for suite, cases in plan), tell)
    for suite, cases in plan:
        start = time.monotonic()
        _run_suite(suite, cases, options.size, result, steps)
        result.remarks[suite.name] = suite.remarks(result)
        result.took[suite.name] = round(time.monotonic() - start, 1)
    return result


def called(suite: str, labels: Labels) -> str:
    """Return what `--only` is matched with."""
    return "/".join([suite, *map(str, labels.values())])


class _Steps:
    """How far it is."""

    def __init__(self, count: int, tell: Callable[[int, int, str], None]) -> None:
        self._count = count
        self._done = 0
        self._tell = tell

    def next(self, what: str) -> None:
        """Tell what comes."""
        self._tell(self._done, self._count, what)
        self._done += 1


def _installed(result: Result) -> Iterator[str]:
    """Give the peers whose environment could be made."""
    failed: dict[str, str] = {}
    for name in peers.OTHERS:
        group = str(peers.load(name).group)
        if group not in failed:
            failed[group] = _failure(group)
        if failed[group]:
            result.absences.append(Absence("all", {"who": name}, failed[group]))
        else:
            yield name


def _failure(group: str) -> str:
    try:
        environments.install(group)
    except (OSError, SubprocessError) as error:
        return f"its environment can't be installed: {error}"
    return ""


def _cases(name: str, options: Options, who: Sequence[str]) -> list[Labels]:
    pattern = f"*{options.only}*"
    cases = suites.load(name).cases(options.size, who)
    return [labels for labels in cases if fnmatch(called(name, labels), pattern)]


def _run_suite(suite: Suite, cases: list[Labels], size: str, result: Result, steps: _Steps) -> None:
    with ExitStack() as stack:
        try:
            url = stack.enter_context(servers.running()) if suite.server and cases else ""
        except RuntimeError as error:
            result.absences.append(Absence(suite.name, {"who": "all"}, str(error)))
            return
        running = stack.enter_context(workers())
        if url:
            result.versions["server"] = {"server": servers.version(url)}
        _add_versions(cases, running, result)
        samples, failures = _measure(suite, cases, size, url, running, steps)
    for index, labels in enumerate(cases):
        if index in failures:
            result.absences.append(Absence(suite.name, labels, failures[index]))
        else:
            result.measurements += _measurements(suite, labels, samples[index])


def _measure(
    suite: Suite, cases: list[Labels], size: str, url: str, running: Workers, steps: _Steps
) -> tuple[list[list[dict[str, float]]], dict[int, str]]:
    """Return the samples of each case, and why there are none."""
    samples: list[list[dict[str, float]]] = [[] for _ in cases]
    failures: dict[int, str] = {}
    for number in range(suite.rounds[size]):
        for index in _turned(len(cases), number):
            labels = cases[index]
            steps.next(called(suite.name, labels))
            if index in failures:
                continue
            request: dict[str, Any] = {"labels": labels, "size": size, "url": url}
            request["suite"] = suite.name
            reply = running.ask(str(labels["who"]), request, suite.patience)
            if "error" in reply:
                failures[index] = reply["error"]
            else:
                samples[index].append(reply["sample"])
            if suite.fresh:
                running.close()
    return samples, failures


def _turned(count: int, number: int) -> Iterator[int]:
    """Give the cases in an order that is another one each round."""
    start = number * count // 7 % max(1, count)
    forth = [*range(start, count), *range(start)]
    yield from forth if number % 2 == 0 else reversed(forth)


def _add_versions(cases: list[Labels], running: Workers, result: Result) -> None:
    for name in dict.fromkeys(str(labels["who"]) for labels in cases):
        result.versions[name] = running.ask(name, {"versions": name}).get("versions", {})


def _measurements(
    suite: Suite, labels: Labels, samples: list[dict[str, float]]
) -> Iterator[Measurement]:
    for metric, (unit, better) in suite.metrics.items():
        values = [float(f"{sample[metric]:.5g}") for sample in samples if metric in sample]
        if values:
            yield Measurement(suite.name, labels, metric, unit, better, values)
